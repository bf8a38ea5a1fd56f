// What the bundler gives beyond TypeScript modules (vite.config.ts).

declare module "*.css";

/** The address of conclave.wasm, with a hash of its content in the name. */
declare module "conclave.wasm?url" {
  const url: string;
  export default url;
}

/** Go's own loader for WebAssembly, from the toolchain that built the core; it sets the global `Go`. */
declare module "wasm_exec";

declare module "*?worker&url" {
  const url: string;
  export default url;
}

declare module "*.json?raw" {
  const text: string;
  export default text;
}
