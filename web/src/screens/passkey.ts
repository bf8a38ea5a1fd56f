// The touches of a passkey: what the core asks for is put to the browser, and the browser to the person. Answers go back as
// JSON of the shapes of Web Authentication (PublicKeyCredential.toJSON), which not all browsers can make by themselves.

import type { Problem, TouchAnswer, TouchWanted } from "../core/events";
import { bytes } from "../core/text";

const patience = 5 * 60_000;

/** Whether this browser can make and use passkeys at all, and whether this machine verifies its user by itself. */
export async function passkeys(): Promise<{ able: boolean; builtIn: boolean }> {
  const able = isSecureContext && "PublicKeyCredential" in globalThis && "credentials" in navigator;
  const builtIn = able && (await PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable().catch(() => false));
  return { able, builtIn };
}

/** Puts one touch to the person. */
export async function touch(wanted: TouchWanted): Promise<TouchAnswer> {
  if (!("PublicKeyCredential" in globalThis)) return { problem: { code: "passkey_unable", fix: "try_other_browser" } };
  try {
    const response = "create" in wanted ? await create(wanted.create) : await get(wanted.get);
    return response ? { response } : { problem: { code: "passkey_cancelled", fix: "passkey_again" } };
  } catch (error) {
    return { problem: problemOf(error instanceof Error ? error.name : "") };
  }
}

function problemOf(name: string): Problem {
  switch (name) {
    case "SecurityError":
      return { code: "passkey_address", fix: "use_named_address" };
    case "NotSupportedError":
      return { code: "passkey_unable", fix: "try_other_browser" };
    case "ConstraintError":
      return { code: "passkey_unverified", fix: "passkey_pin" };
    case "InvalidStateError":
      return { code: "passkey_other", fix: "use_own_passkey" };
  }
  // Browsers tell no more, so that a page cannot find out which passkeys there are.
  return { code: "passkey_cancelled", fix: "passkey_again" };
}

async function create(o: Extract<TouchWanted, { create: object }>["create"]): Promise<object | null> {
  const made = (await navigator.credentials.create({
    publicKey: {
      rp: { id: o.site, name: "Conclave" },
      user: { id: bytes(o.user.id), name: o.user.name, displayName: o.user.name },
      challenge: bytes(o.challenge),
      pubKeyCredParams: o.algorithms.map((alg) => ({ type: "public-key", alg })),
      // It is always named when it is asked for, so it need not take one of the few places that a key has for nameless ones.
      authenticatorSelection: { userVerification: "required", residentKey: "discouraged" },
      attestation: o.attestation,
      timeout: patience,
    },
  })) as PublicKeyCredential | null;
  if (!made) return null;
  const response = made.response as AuthenticatorAttestationResponse;
  return {
    ...common(made),
    response: {
      clientDataJSON: base64url(response.clientDataJSON),
      attestationObject: base64url(response.attestationObject),
      transports: response.getTransports?.() ?? [],
    },
  };
}

async function get(o: Extract<TouchWanted, { get: object }>["get"]): Promise<object | null> {
  const made = (await navigator.credentials.get({
    publicKey: {
      rpId: o.site,
      challenge: bytes(o.challenge),
      allowCredentials: o.credentials.map((id) => ({ type: "public-key", id: bytes(id) })),
      userVerification: "required",
      timeout: patience,
    },
  })) as PublicKeyCredential | null;
  if (!made) return null;
  const response = made.response as AuthenticatorAssertionResponse;
  return {
    ...common(made),
    response: {
      clientDataJSON: base64url(response.clientDataJSON),
      authenticatorData: base64url(response.authenticatorData),
      signature: base64url(response.signature),
    },
  };
}

function common(made: PublicKeyCredential): object {
  const id = base64url(made.rawId);
  return { id, rawId: id, type: made.type, clientExtensionResults: {}, ...(made.authenticatorAttachment && { authenticatorAttachment: made.authenticatorAttachment }) };
}

function base64url(data: ArrayBuffer): string {
  let text = "";
  for (const byte of new Uint8Array(data)) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
