// Certificates for localhost, and by which a Chromium knows them: as if an authority that the device trusts had vouched.
import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Makes name.pem and name.key in folder, and returns the hash of the key. */
export function certificate(folder, name) {
  const file = (kind) => join(folder, `${name}.${kind}`);
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
    "-keyout", file("key"), "-out", file("pem")], { stdio: "ignore" });
  const key = new X509Certificate(readFileSync(file("pem"))).publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(key).digest("base64");
}

/** What a Chromium is started with to trust them. */
export const trusted = (...hashes) => `--ignore-certificate-errors-spki-list=${hashes.join(",")}`;
