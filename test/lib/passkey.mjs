// Chromium's virtual authenticator, over the protocol of its developer tools. It belongs to one page.
import { fileURLToPath } from "node:url";

/** What an operator would write of it: by this the server knows it as hardware. */
export const metadata = fileURLToPath(new URL("authenticator.json", import.meta.url));

/** Gives page an authenticator that confirms everything by itself. */
export async function addPasskey(page, { synced = false, builtIn = true, verifies = true, confirms = true } = {}) {
  const cdp = await page.page.context().newCDPSession(page.page);
  await cdp.send("WebAuthn.enable", { enableUI: false });
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2", ctap2Version: "ctap2_1", transport: builtIn ? "internal" : "usb", hasResidentKey: true, hasUserVerification: true,
      isUserVerified: verifies, automaticPresenceSimulation: confirms, defaultBackupEligibility: synced, defaultBackupState: synced,
    },
  });
  const all = async () => (await cdp.send("WebAuthn.getCredentials", { authenticatorId })).credentials;
  return {
    credentials: all,
    /** How often its passkeys were touched, and made. */
    touches: async () => (await all()).reduce((sum, c) => sum + c.signCount, 0),
    set: (name, value) => cdp.send(`WebAuthn.${name}`, { authenticatorId, ...value }),
    /** Takes the passkeys of another page's authenticator over: it is the same piece of hardware. */
    async take(other) {
      for (const credential of await other.credentials()) await cdp.send("WebAuthn.addCredential", { authenticatorId, credential });
    },
    remove: () => cdp.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId }),
  };
}
