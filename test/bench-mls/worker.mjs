// The browser's half of the measurement, in a worker like the endpoint core's.
import "/wasm_exec.js";

const algorithms = {
  "P-256": [{ name: "ECDSA", namedCurve: "P-256" }, { name: "ECDSA", hash: "SHA-256" }],
  Ed25519: ["Ed25519", "Ed25519"],
};

// As web/src/core/keys.ts does.
async function verify(checks) {
  const keys = new Map();
  const held = await Promise.all(checks.map(async ({ alg, key, message, signature }) => {
    const name = alg + String(key);
    if (!keys.has(name)) keys.set(name, crypto.subtle.importKey("raw", key, algorithms[alg][0], false, ["verify"]));
    return crypto.subtle.verify(algorithms[alg][1], await keys.get(name), signature, message);
  }));
  return held.every((ok) => ok);
}

async function go(name) {
  const program = new Go();
  const { instance } = await WebAssembly.instantiateStreaming(fetch(name), program.importObject);
  void program.run(instance);
}

/** Time until the shipped core has set its functions, in ms, from the fetch on. */
async function ready() {
  globalThis.conclaveHost = new Proxy({}, { get: () => () => undefined });
  const start = performance.now();
  await go("/conclave.wasm");
  if (!globalThis.conclaveCore) throw new Error("the core did not start");
  return performance.now() - start;
}

async function measure(room) {
  const encoded = new Uint8Array(await (await fetch(room)).arrayBuffer());
  const figures = await new Promise((done, failed) => {
    globalThis.benchHost = { room: encoded, verify, done };
    go("/bench.wasm").catch(failed);
  });
  return JSON.parse(figures);
}

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ ok: data === "ready" ? await ready() : await measure(data) });
  } catch (e) {
    self.postMessage({ error: String(e) });
  }
};
