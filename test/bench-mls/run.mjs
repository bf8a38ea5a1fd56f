// Measures what a member of a room does, natively and in Chromium's worker, in one run, and prints it side by side. The
// least of several runs is closest to what the machine can do; the median shows what else it was doing.
//
//   node test/bench-mls/run.mjs [members …]     (100 and 500 without; npm ci in test, bin/conclave.wasm built before)
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
const here = fileURLToPath(new URL(".", import.meta.url));
const minutes = 60_000;
const run = (command, args, options) =>
  execFileSync(command, args, { cwd: root, timeout: 10 * minutes, maxBuffer: 1 << 28, stdio: ["pipe", "pipe", "inherit"], ...options });

/** The files that the page and its worker ask for. */
function serve(files) {
  const types = { wasm: "application/wasm", mjs: "text/javascript", js: "text/javascript", html: "text/html" };
  return new Promise((listening) => {
    const server = createServer((request, response) => {
      const body = files[request.url];
      response.writeHead(body ? 200 : 404, { "content-type": types[request.url.split(".").pop()] ?? "application/octet-stream" });
      response.end(body);
    });
    server.listen(0, "127.0.0.1", () => listening(server));
  });
}

/** Asks a fresh worker of the page. */
const ask = (page, what) => page.evaluate((what) => new Promise((done, failed) => {
  const worker = new Worker("/worker.mjs", { type: "module" });
  worker.onmessage = ({ data }) => {
    worker.terminate();
    if (data.error) failed(new Error(data.error));
    else done(data.ok);
  };
  worker.onerror = (e) => failed(new Error(e.message));
  worker.postMessage(what);
}), what);

async function inChromium(files, act) {
  const server = await serve(files);
  const executablePath = execFileSync("bash", ["-c", `. "${root}/scripts/browsers"; find_chromium`], { encoding: "utf8" }).trim();
  const browser = await chromium.launch({ executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(10 * minutes);
    await page.goto(`http://127.0.0.1:${server.address().port}/index.html`);
    return await act(page, browser.version());
  } finally {
    await browser.close();
    server.close();
  }
}

const ms = (f) => (f.Least ? `${f.Least.toFixed(1)} (${f.Median.toFixed(1)})` : "");

function table(members, native, chromium) {
  console.log(`\n${members} members                 native ms      Chromium ms    ratio     bytes   signatures`);
  for (const [i, n] of native.entries()) {
    const c = chromium[i];
    console.log([n.Act.padEnd(25), ms(n).padEnd(15), ms(c).padEnd(18), (n.Least ? (c.Least / n.Least).toFixed(1) : "").padStart(5),
      String(n.Bytes).padStart(9), n.Checks ? `${n.Checks} in ${n.Batches}` : ""].join("  "));
  }
}

const sizes = process.argv.length > 2 ? process.argv.slice(2) : ["100", "500"];
const dir = mkdtempSync(join(tmpdir(), "bench-mls-"));
try {
  run("go", ["build", "-trimpath", "-o", join(dir, "bench"), "./test/bench-mls"]);
  const flags = run("scripts/wasm-flags", []).toString().trim().split("\n");
  run("go", ["build", "-trimpath", "-ldflags=-s -w", ...flags, "-o", join(dir, "bench.wasm"), "./test/bench-mls"], { env: { ...process.env, GOOS: "js", GOARCH: "wasm" } });
  const core = readFileSync(join(root, "bin/conclave.wasm"));
  const files = {
    "/index.html": "<!doctype html><title>bench-mls</title>",
    "/worker.mjs": readFileSync(join(here, "worker.mjs")),
    "/wasm_exec.js": readFileSync(join(run("go", ["env", "GOROOT"]).toString().trim(), "lib/wasm/wasm_exec.js")),
    "/bench.wasm": readFileSync(join(dir, "bench.wasm")),
    "/conclave.wasm": core,
  };
  for (const n of sizes) files[`/room-${n}`] = run(join(dir, "bench"), ["prepare", n]);
  await inChromium(files, async (page, version) => {
    console.log(`Chromium ${version}; least of some runs, their median in brackets`);
    console.log(`conclave.wasm: ${core.length} bytes, ${brotliCompressSync(core).length} in brotli`);
    const starts = [];
    for (let i = 0; i < 5; i++) starts.push(await ask(page, "ready"));
    starts.sort((a, b) => a - b);
    console.log(`ready: ${starts[0].toFixed(0)} ms (${starts[2].toFixed(0)})`);
    for (const n of sizes) {
      const native = JSON.parse(run(join(dir, "bench"), [], { input: files[`/room-${n}`] }).toString());
      table(n, native, await ask(page, `/room-${n}`));
    }
  });
} finally {
  rmSync(dir, { recursive: true });
}
