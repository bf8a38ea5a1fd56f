// A device's statement that has run out, or is about to: as the organisation would have signed it a week ago (../lapse). The browser
// then holds what it would hold; nobody's clock is put on.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Runs in a page: returns the statement that this browser keeps, in base64, after it has kept another in its place. */
function statement(other) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("conclave", 1);
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const store = opening.result.transaction("device", "readwrite").objectStore("device");
      const getting = store.get("this");
      getting.onsuccess = () => {
        const device = getting.result;
        const kept = btoa(String.fromCharCode(...device.statement));
        if (other) store.put({ ...device, statement: Uint8Array.from(atob(other), (c) => c.charCodeAt(0)) }, "this");
        store.transaction.oncomplete = () => (opening.result.close(), resolve(kept));
      };
    };
  });
}

/** Has the browser of a page, which is enrolled, keep a statement that ends so many seconds from now. The page is to be loaded anew. */
export async function lapse(house, page, seconds) {
  const program = join(house.network.folder, "lapse");
  if (!existsSync(program)) execFileSync("go", ["build", "-o", program, "./test/lapse"], { cwd: root, env: { ...process.env, CGO_ENABLED: "0" } });
  const input = await page.evaluate(statement);
  const ends = execFileSync(program, ["--data", house.data, "--ends", `${seconds}s`], { input, encoding: "utf8" }).trim();
  await page.evaluate(statement, ends);
}
