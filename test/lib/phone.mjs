// The phone gateway as a process of its own, and telephones that nobody here made (baresip), each on a host of its own.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Lines, port } from "./house.mjs";
import { writeBursts } from "./sound.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** A certificate for an address, and its key, as PEM files. */
export function certificate(folder, name, address) {
  const [key, cert, both] = ["key", "cert", "both"].map((kind) => join(folder, `${name}-${kind}.pem`));
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", `/CN=${name}`,
    "-addext", `subjectAltName=IP:${address}`, "-addext", "extendedKeyUsage=serverAuth,clientAuth", "-keyout", key, "-out", cert], { stdio: "ignore" });
  writeFileSync(both, Buffer.concat([readFileSync(cert), readFileSync(key)]));
  return { key, cert, both };
}

/**
 * Recordings of an operator in place of the built-in sentences: each a short sound of hz, so that a test does not listen to a
 * minute of speech; and names, by person, each a sound of its own.
 */
function recordings(folder, { hz, names }) {
  const prompts = join(folder, "prompts");
  mkdirSync(join(prompts, "en"), { recursive: true });
  for (const line of readFileSync(join(root, "phone/prompt/texts/en.txt"), "utf8").trim().split("\n")) {
    writeBursts(join(prompts, "en", `${line.split(":")[0]}.wav`), hz, { rate: 16000, seconds: 0.4, length: 0.4 });
  }
  const spoken = join(folder, "names");
  mkdirSync(spoken);
  for (const [person, tone] of Object.entries(names)) writeBursts(join(spoken, `${person}.wav`), tone, { rate: 16000, seconds: 2, length: 2 });
  return { prompts, spoken };
}

/** Starts conclave-phone on a host of its own, for calls with phone, the host of telephones. What it logs are its lines. */
export async function startGateway(house, phone, { hz, names = {}, number }) {
  const host = await house.host("gateway");
  // Telephones and gateway reach each other past the server's machine.
  house.network.server.run("sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
  const folder = mkdtempSync(join(house.network.folder, "gateway-"));
  const { token, root_hash: hash } = await house.admin("POST", "/phone/gateways", { name: "Gateway" });
  const key = join(folder, "gateway.json");
  const program = join(root, "bin/conclave-phone");
  host.run(program, ["--enrol", `http://localhost:${port}/gateway#e=${token}&r=${hash}`, "--key", key]);
  const own = certificate(folder, "gateway", host.address);
  const peer = certificate(folder, "phone", phone.address);
  const { prompts, spoken } = recordings(folder, { hz, names });
  const config = join(folder, "conclave-phone.toml");
  writeFileSync(config, `server = "http://localhost:${port}"
key = "${key}"
language = "en"
numbers = { "door" = "en" }
prompts = "${prompts}"
names = "${spoken}"
[media]
address = "${host.address}"
[[listen]]
transport = "udp"
address = "${host.address}:5060"
[[listen]]
transport = "tls"
address = "${host.address}:5061"
certificate = "${own.cert}"
key = "${own.key}"
[[trunk]]
name = "pbx"
networks = ["${phone.address}"]
target = "${phone.address}:${tlsPort}"
transport = "tls"
domain = "${phone.address}"
ring = ["${number.slice(0, 5)}"]
`.replace("[media]", `trunk_ca = "${peer.cert}"\n[media]`));
  const child = host.spawn("sh", ["-c", `exec "${program}" --config "${config}" --verbose 2>&1`]);
  const lines = new Lines(child, "conclave-phone", { host, certificate: peer });
  await lines.next((l) => l.msg === "server knows this gateway", { what: "the server knows the gateway" });
  /** Waits until a call, since the line `from`, was in one of the states. */
  lines.call = (states, { from = 0, ...more } = {}) => lines.next((l) => l.msg === "call moved" && states.includes(l.state), { from, what: `a call that is ${states}`, ...more });
  lines.over = (from) => lines.next((l) => l.msg === "call over", { from, what: "a call's end" });
  return lines;
}

/** Where the second telephone is rung: baresip listens for TLS one above its other port. */
const tlsPort = 5071;

/** A telephone on a host. Its owner's voice are the bursts of a tone. */
export class Telephone {
  /** secure: TLS and SRTP, and is rung; else plain SIP and RTP, and calls. */
  static async start(host, { hz, secure, user = "ben" }) {
    const phone = new Telephone();
    phone.host = host;
    phone.printed = "";
    const folder = mkdtempSync(join(host.folder, "phone-"));
    const modules = spawnSync("sh", ["-c", "ls -d /usr/lib/baresip/modules /usr/lib/*/baresip/modules 2>/dev/null"], { encoding: "utf8" }).stdout.split("\n")[0];
    if (!existsSync(modules)) throw new Error("baresip is missing: scripts/need-test installs it");
    writeBursts(join(folder, "in.wav"), hz, { rate: 8000, seconds: 240 });
    const network = secure ? "tls" : "udp";
    writeFileSync(join(folder, "config"), `poll_method epoll
sip_listen ${host.address}:${secure ? tlsPort - 1 : 5060}
${secure ? `sip_certificate ${secure.both}\n` : ""}call_local_timeout 60
audio_player aufile,${join(folder, "out.wav")}
audio_source aufile,${join(folder, "in.wav")}
audio_alert aufile,${join(folder, "alert.wav")}
audio_buffer 20-160
jitter_buffer_delay 2-10
module_path ${modules}
${["stdio", "g711", "aufile", "srtp", "dtls_srtp"].map((m) => `module ${m}.so\n`).join("")}module_tmp uuid.so
module_tmp account.so
module_app menu.so
`);
    writeFileSync(join(folder, "accounts"), `<sip:${user}@${host.address};transport=${network}>;regint=0;audio_codecs=PCMA/8000/1;answermode=auto${secure ? ";mediaenc=srtp-mand" : ""}\n`);
    writeFileSync(join(folder, "contacts"), "");
    phone.child = host.spawn("baresip", ["-4", "-n", host.address, "-f", folder], { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
    phone.child.stdin.on("error", () => {});
    for (const stream of [phone.child.stdout, phone.child.stderr]) stream.on("data", (d) => (phone.printed += d));
    await phone.says("ready");
    return phone;
  }

  async says(text, ms = 20_000) {
    for (const end = Date.now() + ms; !this.printed.includes(text); await new Promise((resolve) => setTimeout(resolve, 30))) {
      if (Date.now() > end) throw new Error(`baresip never said ${JSON.stringify(text)}:\n${this.printed.slice(-2000)}`);
    }
  }

  dial(gateway) {
    this.child.stdin.write(`/dial sip:door@${gateway.host.address};transport=udp\n`);
  }

  /** Presses keys, as a quick finger does. */
  async press(keys) {
    for (const key of keys) {
      this.child.stdin.write(key);
      await new Promise((resolve) => setTimeout(resolve, 110));
      this.child.stdin.write("\x04"); // the key goes up
      await new Promise((resolve) => setTimeout(resolve, 70));
    }
  }

  /** Presses a key again and again, as who is not sure, until what is waited for has come. */
  async pressUntil(key, coming) {
    let come = false;
    const done = coming.finally(() => (come = true));
    for (const pressed = done.catch(() => {}); !come; await Promise.race([pressed, new Promise((resolve) => setTimeout(resolve, 1500))])) await this.press(key);
    return done;
  }
}

/** The samples of G.711 A-law (ITU-T G.711) in a packet's payload. */
export function alaw(payload) {
  return [...payload].map((byte) => {
    const b = byte ^ 0x55;
    const exponent = (b >> 4) & 7;
    const mantissa = ((b & 15) << 4) + 8;
    const value = exponent === 0 ? mantissa : (mantissa + 256) << (exponent - 1);
    return (b & 128 ? value : -value) / 32768;
  });
}
