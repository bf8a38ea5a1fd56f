// Builds dist/: the page, its hashed assets, the two workers and the WebAssembly core, each also compressed.
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { build } from "vite";

const dist = fileURLToPath(new URL("../dist/", import.meta.url));
const core = fileURLToPath(new URL("../../bin/conclave.wasm", import.meta.url));

if (!existsSync(core)) {
  console.error("web: bin/conclave.wasm is missing: build the core first (make wasm)");
  process.exit(1);
}

await build({ configFile: fileURLToPath(new URL("../vite.config.ts", import.meta.url)), logLevel: "warn" });

// Served as they are by the server, which never compresses at run time.
const compressible = /\.(html|js|css|wasm|svg|json|txt)$/;
const small = (bytes) => (bytes / 1000).toFixed(1).padStart(8);
const names = (await readdir(dist, { recursive: true, withFileTypes: true }))
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath.replace(/\/?$/, "/")}${entry.name}`.slice(dist.length))
  .sort();
console.log("    kB raw      gzip    brotli");
for (const name of names) {
  const raw = await readFile(dist + name);
  if (!compressible.test(name)) {
    console.log(`${small(raw.length)}                      ${name}`);
    continue;
  }
  const [br, gz] = await Promise.all([
    promisify(brotliCompress)(raw, {
      params: {
        // The highest quality takes 12 s for the core and saves 13 %; it is made again only when the core changed.
        [constants.BROTLI_PARAM_QUALITY]: 11,
        [constants.BROTLI_PARAM_LGWIN]: 22,
        [constants.BROTLI_PARAM_LGBLOCK]: 19, // of 18 to 24 the one that suits the core: 0.4 % less than by default
        [constants.BROTLI_PARAM_SIZE_HINT]: raw.length,
      },
    }),
    promisify(gzip)(raw, { level: 9 }),
  ]);
  await writeFile(`${dist}${name}.br`, br);
  await writeFile(`${dist}${name}.gz`, gz);
  console.log(`${small(raw.length)}  ${small(gz.length)}  ${small(br.length)}  ${name}`);
}
