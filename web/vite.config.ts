import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { UserConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Go's loader must be of the toolchain that compiled the core, so it is taken from there and never copied. */
export function wasmExec(): string {
  const root = execFileSync("go", ["env", "GOROOT"], { encoding: "utf8" }).trim();
  return [`${root}/lib/wasm/wasm_exec.js`, `${root}/misc/wasm/wasm_exec.js`].find(existsSync) ?? `${root}/lib/wasm/wasm_exec.js`;
}

/** Both the production build and the tests start from this. */
export function base(): UserConfig {
  return {
    root: here("."),
    publicDir: false,
    appType: "spa",
    resolve: {
      alias: [
        { find: /^conclave\.wasm/, replacement: here("../bin/conclave.wasm") },
        { find: /^wasm_exec$/, replacement: wasmExec() },
      ],
    },
    oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
    worker: { format: "es" },
    build: {
      target: ["chrome116", "firefox128", "safari17.4"],
      outDir: here("dist"),
      emptyOutDir: true,
      // An inlined asset would be a data: URL, which the content security policy refuses.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
    },
  };
}

export default base();
