// Runs the core in Node with what a browser gives it, as web/src/core/worker.ts does, and prints what it says as JSON lines.
// Arguments: the core, Go's wasm_exec.js, and what `open` takes, with the device key as a JWK beside it.
"use strict";
const fs = require("node:fs");
const { performance } = require("node:perf_hooks");
const { webcrypto } = require("node:crypto");
globalThis.crypto ??= webcrypto;
const [, , core, exec, opening] = process.argv;
require(exec);

const { jwk, ...facts } = JSON.parse(fs.readFileSync(opening, "utf8"));
const p256 = { name: "ECDSA", namedCurve: "P-256" };
const signing = { name: "ECDSA", hash: "SHA-256" };
const say = (object) => process.stdout.write(JSON.stringify(object) + "\n");
let key;

globalThis.conclaveHost = {
  connect: (url) =>
    new Promise((resolve, reject) => {
      const ws = new WebSocket(url, "conclave.1");
      const early = [];
      let started = false;
      const socket = {
        onmessage: null,
        onclose: null,
        start() {
          started = true;
          for (const frame of early.splice(0)) socket.onmessage?.(frame);
        },
        send: (frame) => ws.send(frame),
        close: () => ws.close(1000),
      };
      ws.onopen = () => resolve(socket);
      ws.onmessage = ({ data }) => (started ? socket.onmessage?.(data) : early.push(data));
      ws.onclose = () => (socket.onclose?.(), reject(new Error("closed")));
    }),
  sign: async (message) => new Uint8Array(await crypto.subtle.sign(signing, key, message)),
  verify: (checks) =>
    Promise.all(
      checks.map(async (c) => {
        const alg = c.alg === "P-256" ? p256 : "Ed25519";
        const k = await crypto.subtle.importKey("raw", c.key, alg, false, ["verify"]);
        return crypto.subtle.verify(c.alg === "P-256" ? signing : "Ed25519", k, c.signature, c.message);
      }),
    ),
  post(text) {
    const event = JSON.parse(text);
    say(event);
    if (event.event === "state" && event.state.state === "checked") (asked = performance.now()), conclaveCore.join("[]");
    if (event.event === "state" && event.state.state === "in") say({ event: "took", join: performance.now() - asked });
    if (event.event === "media_wanted") {
      conclaveCore.media(JSON.stringify({ ufrag: "node", password: "there is no media in Node", fingerprint: Buffer.alloc(32, 1).toString("base64"), ssrc: { microphone: 1, camera: 2, screen: 3 }, opus: 111, vp8: 96 }));
    }
  },
  epoch: (epoch, leaf, bytes, members, first) =>
    say({ event: "epoch", epoch, leaf, members, first, key: Buffer.from(bytes).toString("hex"), context: conclaveCore.context(1) }),
  retire: (epoch) => say({ event: "retire", epoch }),
  slots: (audio, camera, screen, crowded) => say({ event: "host_slots", audio, camera, screen, crowded }),
  closed: () => (say({ event: "closed" }), process.exit(0)),
};

let asked = 0;
(async () => {
  key = await crypto.subtle.importKey("jwk", jwk, p256, false, ["sign"]);
  const began = performance.now();
  const go = new Go();
  const { instance } = await WebAssembly.instantiate(fs.readFileSync(core), go.importObject);
  go.run(instance);
  say({ event: "took", ready: performance.now() - began });
  conclaveCore.open(JSON.stringify(facts));
  process.stdin.on("data", () => conclaveCore.leave());
})();
