// A server with an organisation, and how people come into its meetings.
import { execFile, execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import http from "node:http";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startChromium, startFirefox } from "./browser.mjs";
import { certificate, trusted } from "./certificate.mjs";
import { Network, ready, serverAddress } from "./host.mjs";
import { tones, writeTone } from "./sound.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const toneList = Object.entries(tones).map(([n, hz]) => `${n}=${hz}`).join(",");
export const port = 8080;
export const results = fileURLToPath(new URL("../results/", import.meta.url));

/** Who is who in the tests. Each has a tone of their own, see sound.mjs. */
export const people = {
  anna: { id: "anna.weber", name: "Anna Weber", unit: "Interior" },
  ben: { id: "ben.okafor", name: "Ben Okafor", unit: "Border Agency" },
  carla: { id: "carla.rossi", name: "Carla Rossi", unit: "Foreign Affairs" },
  david: { id: "david.novak", name: "David Novák", unit: "Transport" },
  eva: { id: "eva.lind", name: "Eva Lind", unit: "Interior" },
  franz: { id: "franz.huber", name: "Franz Huber", unit: "Finance" },
};

export class House {
  log = [];

  /** settings is the text of a configuration file. With tls the server speaks TLS, and house.trust has a Chromium trust it, and a middlebox. */
  static async open({ settings = "", tls = false } = {}) {
    const house = new House();
    house.network = await Network.make();
    house.data = join(house.network.folder, "data");
    house.origin = `${tls ? "https" : "http"}://localhost:${port}`;
    if (tls) {
      const { folder } = house.network;
      house.trust = trusted(certificate(folder, "server"), certificate(folder, "middlebox"));
      settings += `[tls]\ncertificate = "${folder}/server.pem"\nkey = "${folder}/server.key"\n`;
    }
    execFileSync(process.env.TMP_INIT ?? join(root, "bin/conclave"), ["init", "--id", "conclave.example", "--name", "Example Organisation", "--data", house.data]);
    if (settings) writeFileSync(join(house.data, "conclaved.toml"), settings);
    await house.start();
    for (const person of Object.values(people)) await house.admin("POST", "/people", person);
    return house;
  }

  /** Starts the server, on the data that an earlier start left. Returns once it answers. */
  async start() {
    const began = Date.now();
    this.process = this.network.server.spawn(join(root, "bin/conclaved"), ["--data", this.data, "--listen", `${serverAddress}:${port}`, "--media", `${serverAddress}:7000`, "--public-host", `localhost:${port}`, "--insecure-http"]);
    const child = this.process;
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (d) => this.log.push(String(d)));
    for (;;) {
      if (child.exitCode !== null) throw new Error(`conclaved: ended with ${child.exitCode}\n${this.log.join("").slice(-3000)}`);
      if (existsSync(join(this.data, "admin.sock")) && (await this.admin("GET", "/organisation").catch(() => false))) return Date.now() - began;
      if (Date.now() - began > 20_000) throw new Error(`conclaved: does not answer\n${this.log.join("").slice(-3000)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Ends the server as a fault would: at once, without a word. */
  async kill() {
    const gone = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill("SIGKILL");
    await gone;
  }

  /** Asks over the administrator's socket. */
  admin(method, path, body) {
    return new Promise((resolve, reject) => {
      const request = http.request({ socketPath: join(this.data, "admin.sock"), method, path, timeout: 5000, headers: { "content-type": "application/json" } }, (answer) => {
        let text = "";
        answer.on("data", (d) => (text += d));
        answer.on("end", () => (answer.statusCode === 200 ? resolve(JSON.parse(text)) : reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`))));
      });
      request.once("error", reject);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async meeting({ title = "Border liaison, weekly", level = "RESTRICTED", chair = "anna", invited = Object.keys(people), door = "invited" } = {}) {
    const { pointer } = await this.admin("POST", "/meetings", { title, level, chair: people[chair].id, people: invited.map((p) => people[p].id), door });
    return pointer;
  }

  token(person, use = "") {
    return this.admin("POST", "/links", { person: people[person].id, ...(use && { use }) });
  }

  /** A personal link into a meeting. */
  async link(pointer, person, use = "") {
    const { token, root_hash: hash } = await this.token(person, use);
    return `${this.origin}/m/${pointer}#e=${token}&r=${hash}`;
  }

  /** A host with a forwarder to the server, which its programs know as localhost. */
  async host(name) {
    const host = await this.network.host(name);
    await host.forward(port);
    return host;
  }

  /** A file with a person's tone. */
  tone(person, ...how) {
    return writeTone(join(this.network.folder, `${person}.wav`), tones[person], ...how);
  }

  /** A person with a Chromium on a host of their own, who sends their tone. */
  async chromium(person, options = {}) {
    const host = await this.host(person);
    return startChromium(host, { microphone: this.tone(person, options.tone), ...options });
  }

  async firefox(person, options = {}) {
    return startFirefox(await this.host(person), { hz: tones[person], ...options });
  }

  /** headless, by a link for a machine that nobody touches. */
  headlessRoom(person, pointer, options = {}) {
    return this.headless(person, pointer, { ...options, use: "room" });
  }

  /** A headless endpoint that plays a person's tone and records what it hears. */
  async headless(person, pointer, { host, play = this.tone(person), args = [], use = "" } = {}) {
    host ??= await this.host(person);
    const record = join(this.network.folder, `${person}-heard`);
    const child = host.spawn(join(root, "bin/conclave"), ["join", await this.link(pointer, person, use), "--key", join(this.network.folder, `${person}.key`), "--play", play, "--loop", "--record", record, "--json", ...args], { stdio: ["pipe", "pipe", "pipe"] });
    return new Lines(child, `${person} (conclave join)`, { record, host });
  }

  async #tapProgram() {
    const program = join(this.network.folder, "tap");
    if (!existsSync(program)) await promisify(execFile)("go", ["build", "-o", program, "./test/tap"], { cwd: root, env: { ...process.env, CGO_ENABLED: "0" } });
    return program;
  }

  /** In how many tenths of a second of a recording (Ogg/Opus) each tone stands out. */
  async tonesIn(file) {
    const { stdout } = await promisify(execFile)(await this.#tapProgram(), ["--tones", toneList, "--listen", file]);
    return JSON.parse(stdout).listen;
  }

  /** The endpoint that shows what the server forwards: see ../tap. With removed, it also plays that person. */
  async tap(person, pointer, { removed } = {}) {
    const program = await this.#tapProgram();
    const args = ["--url", `http://localhost:${port}`, "--meeting", pointer, "--token", (await this.token(person)).token, "--tones", toneList];
    if (removed) args.push("--removed", (await this.token(removed)).token);
    const host = await this.host(`tap-${person}`);
    const lines = new Lines(host.spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] }), `${person} (tap)`, { host });
    lines.report = async () => {
      const seen = lines.all.length;
      lines.child.stdin.write("report\n");
      const line = await lines.next((l) => l.report, { from: seen });
      line.report.of = (name, kind = "microphone") => line.report.streams.find((s) => s.name === people[name].name && s.kind === kind);
      return line.report;
    };
    return lines;
  }

  async close() {
    await this.network.close();
  }
}

/** A program that prints JSON lines. */
export class Lines {
  all = [];
  #waiting = new Set();

  constructor(child, name, more) {
    Object.assign(this, more, { child, name, errors: "" });
    createInterface({ input: child.stdout }).on("line", (text) => {
      let line;
      try {
        line = JSON.parse(text);
      } catch {
        line = { text };
      }
      this.all.push({ ...line, came: Date.now() });
      for (const look of this.#waiting) look();
    });
    child.stderr.on("data", (d) => (this.errors = (this.errors + d).slice(-4000)));
    child.stdin?.on("error", () => {});
    child.once("exit", () => {
      for (const look of this.#waiting) look();
    });
  }

  /** The first line, after the first `from`, for which f is true. */
  next(f, { from = 0, ms = 20_000, what = String(f) } = {}) {
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        settle(value);
      };
      const fail = (why) => done(reject, new Error(`${this.name}: ${why}: ${what}\n${this.all.slice(-15).map((l) => JSON.stringify(l).slice(0, 300)).join("\n")}\n${this.errors}`));
      const look = () => {
        const found = this.all.slice(from).find(f);
        if (found) done(resolve, found);
        else if (this.child.exitCode !== null) fail(`ended with ${this.child.exitCode}`);
      };
      const timer = setTimeout(() => fail(`not within ${ms} ms`), ms);
      this.#waiting.add(look);
      look();
    });
  }

  state(state, options) {
    return this.next((l) => l.event === "state" && l.state?.state === state, { what: `state ${state}`, ...options });
  }

  /** Ends the program and waits for it. */
  async end(signal = "SIGINT") {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill(signal);
    await gone;
  }
}

/** Opens a link, enrols the browser where that is due, and waits for the line check. */
export async function toCheck(page, link) {
  await page.goto(link);
  await page.until(() => document.querySelector('[data-testid="screen-enrol"], [data-testid="screen-check"]') !== null, undefined, { what: "the first screen" });
  if ((await page.text("screen-enrol")) !== "") await page.click("enrol");
  await page.shown("screen-check");
}

/** Goes all the way into the room. */
export async function comeIn(page, link) {
  await toCheck(page, link);
  await page.click("join");
  await inRoom(page);
}

/** Waits until a page is in the room, with keys and a media path. */
export function inRoom(page, options) {
  return page.until(() => {
    const room = document.querySelector('[data-testid="screen-room"]');
    return room?.dataset.state === "in" && room.dataset.media === "true";
  }, undefined, { what: "in the room, with media", ...options });
}

/** Listens until all the named tones were heard in a page, each in at least `looks` looks. */
export async function hears(page, names, { ms = 20_000, looks = 8 } = {}) {
  const end = Date.now() + ms;
  const total = Object.fromEntries(Object.keys(tones).map((n) => [n, 0]));
  for (;;) {
    const { most, streams } = await page.listen(tones, 1500);
    for (const n of Object.keys(total)) total[n] += most[n];
    if (names.every((n) => total[n] >= looks)) return total;
    if (Date.now() > end) throw new Error(`${page.name}: hears ${JSON.stringify(total)} in ${streams} streams, not all of ${names}\n${await page.describe()}`);
  }
}
