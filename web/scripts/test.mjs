// Bundles every src/**/*.test.ts (or those named) and runs them with Node's test runner: no browser, no DOM.
import { spawnSync } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("../", import.meta.url));
const out = `${root}node_modules/.tests/`;
const wanted = process.argv.slice(2);
const tests = (await readdir(`${root}src`, { recursive: true }))
  .filter((name) => name.endsWith(".test.ts") && (wanted.length === 0 || wanted.some((part) => name.includes(part))))
  .sort();
if (tests.length === 0) {
  console.error("web: no such test");
  process.exit(1);
}
await rm(out, { recursive: true, force: true });
await build({
  configFile: `${root}vite.config.ts`,
  logLevel: "warn",
  build: {
    ssr: true,
    outDir: out,
    target: "node20",
    rollupOptions: {
      input: Object.fromEntries(tests.map((name) => [name.replace(/\.ts$/, "").replaceAll("/", "-"), `${root}src/${name}`])),
      output: { entryFileNames: "[name].mjs", chunkFileNames: "chunk-[hash].mjs" },
    },
  },
});
const files = (await readdir(out)).filter((name) => name.endsWith(".test.mjs")).map((name) => out + name);
// CONCLAVE_WEB tells tests where files that they read (recorded offers, vectors) lie: bundling moves import.meta.url.
const run = spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit", env: { ...process.env, CONCLAVE_WEB: root } });
process.exit(run.status ?? 1);
