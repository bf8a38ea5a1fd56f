import { fileURLToPath } from "node:url";
import { base } from "../vite.config";

// Draws every screen and state with a scripted core in place of the real one: `npm run dev`, then /?scene=room.
export default { ...base(), root: fileURLToPath(new URL(".", import.meta.url)), server: { port: 5199, strictPort: true, fs: { allow: [".."] } } };
