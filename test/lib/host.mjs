// Hosts of our own: each is a network namespace with one line, a pair of veth, to the server's. So the machine's network is
// never touched, a host's line can be cut, and what passes on it can be read. Needs root, or root in a user namespace
// (see ../run).
//
//   server: 10.77.0.1 (on its loopback, reachable from every line)      line n: 10.77.n.1 ── 10.77.n.2 at host n
//
// Firefox does not connect to loopback addresses, which is why the server has another one. Pages are nevertheless opened at
// http://localhost, which browsers take for a secure context: on each host a forwarder stands there (Host.forward).
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const relay = fileURLToPath(new URL("relay.mjs", import.meta.url));

/** The server's address as every host reaches it. */
export const serverAddress = "10.77.0.1";

export class Network {
  #hosts = 0;
  #held = [];
  folder = mkdtempSync(join(tmpdir(), "conclave-test-"));

  static async make() {
    const network = new Network();
    network.server = await network.#hold("server");
    network.server.ip("addr", "add", `${serverAddress}/32`, "dev", "lo");
    return network;
  }

  async #hold(name) {
    // The namespace lives as long as a process in it: one that ends when we do, however we end.
    const holder = spawn("unshare", ["--net", "--", "sh", "-c", "echo ready; read never"], { stdio: ["pipe", "pipe", "inherit"] });
    await new Promise((resolve, reject) => {
      holder.stdout.once("data", resolve);
      holder.once("error", reject);
      holder.once("exit", (code) => reject(new Error(`no network namespace (exit ${code}): are we root?`)));
    });
    const host = new Host(name, holder, this.folder);
    this.#held.push(host);
    host.ip("link", "set", "lo", "up");
    return host;
  }

  /** A new host with a line to the server. */
  async host(name) {
    const n = ++this.#hosts;
    const host = await this.#hold(name);
    host.server = this.server;
    host.device = `line${n}`;
    host.address = `10.77.${n}.2`;
    execFileSync("ip", ["link", "add", host.device, "netns", String(this.server.pid), "type", "veth", "peer", "name", "eth0", "netns", String(host.pid)]);
    this.server.ip("addr", "add", `10.77.${n}.1/24`, "dev", host.device);
    this.server.ip("link", "set", host.device, "up");
    host.ip("addr", "add", `${host.address}/24`, "dev", "eth0");
    // An address of its own for IPv6 would come into force a second or two later: a browser takes that for another network, and drops what is under way.
    if (existsSync("/proc/sys/net/ipv6")) host.ip("link", "set", "eth0", "addrgenmode", "none");
    host.ip("link", "set", "eth0", "up");
    host.ip("route", "add", "default", "via", `10.77.${n}.1`);
    return host;
  }

  async close() {
    for (const host of this.#held.reverse()) await host.close();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

export class Host {
  #children = new Set();
  #servers = [];

  constructor(name, holder, folder) {
    this.name = name;
    this.holder = holder;
    this.folder = folder;
  }

  get pid() {
    return this.holder.pid;
  }

  /** What stands before a command to run it on this host. */
  get prefix() {
    return ["nsenter", `--net=/proc/${this.pid}/ns/net`, "--"];
  }

  ip(...args) {
    const [program, ...rest] = [...this.prefix, "ip", ...args];
    execFileSync(program, rest);
  }

  /** Runs a command to its end and returns what it printed. */
  run(command, args, options = {}) {
    const [program, ...rest] = [...this.prefix, command, ...args];
    return execFileSync(program, rest, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], ...options });
  }

  /** Starts a command; it is ended with the host. */
  spawn(command, args, options = {}) {
    const [program, ...rest] = [...this.prefix, command, ...args];
    const child = spawn(program, rest, { stdio: ["ignore", "pipe", "pipe"], ...options });
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }

  /** A script that starts program on this host, for those who want one path. */
  launcher(program, name) {
    const path = join(this.folder, `${this.name}-${name}`);
    writeFileSync(path, `#!/bin/sh\nexec ${this.prefix.join(" ")} "${program}" "$@"\n`, { mode: 0o755 });
    return path;
  }

  /** Lets this host's localhost:port lead to the server's port. */
  async forward(port) {
    const child = this.spawn(process.execPath, [relay, `tcp:127.0.0.1:${port}`, `tcp:${serverAddress}:${port}`]);
    await ready(child, `${this.name}: forwarder`);
  }

  /** Lets our own 127.0.0.1:port lead to this host's. */
  async reach(port) {
    const socket = join(this.folder, `${this.name}-${port}.sock`);
    const child = this.spawn(process.execPath, [relay, `unix:${socket}`, `tcp:127.0.0.1:${port}`]);
    await ready(child, `${this.name}: relay`);
    const server = net.createServer((from) => join2(from, net.connect(socket)));
    this.#servers.push(server);
    await new Promise((resolve, reject) => server.listen(port, "127.0.0.1", resolve).once("error", reject));
  }

  /** Cuts or mends this host's line. */
  line(up) {
    this.server.ip("link", "set", this.device, up ? "up" : "down");
    // The route goes with the line.
    if (up) this.ip("route", "replace", "default", "via", this.address.replace(/2$/, "1"));
  }

  async close() {
    for (const server of this.#servers) server.close();
    const children = [...this.#children];
    for (const child of children) child.kill("SIGTERM");
    const gone = Promise.all(children.map((child) => child.exitCode !== null || child.signalCode !== null || new Promise((resolve) => child.once("exit", resolve))));
    let timer;
    await Promise.race([gone, new Promise((resolve) => (timer = setTimeout(resolve, 3000)))]);
    clearTimeout(timer);
    for (const child of this.#children) child.kill("SIGKILL");
    this.holder.removeAllListeners("exit");
    this.holder.stdin.end();
  }
}

function join2(a, b) {
  a.pipe(b).pipe(a);
  for (const [x, y] of [[a, b], [b, a]]) x.on("error", () => y.destroy()).on("close", () => y.destroy());
}

/** Waits for the first line that a child prints. */
export function ready(child, what, ms = 10_000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: not ready within ${ms} ms`)), ms);
    const ended = (code) => (clearTimeout(timer), reject(new Error(`${what}: ended with ${code}`)));
    child.once("exit", ended);
    child.stdout.once("data", (line) => (clearTimeout(timer), child.off("exit", ended), resolve(String(line))));
  });
}
