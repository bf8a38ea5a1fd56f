// Enrolling this browser with a link's token, keeping its statement fresh, and the touches of a passkey that this needs. The
// server's answers are examined by the core, from the pin in the link down to the own key, before anything is kept. The
// touches themselves are the page's (src/screens/passkey.ts): a worker cannot ask a person.

import type { AssertionWanted, Identity, OwnDevice, Problem, TouchAnswer, TouchWanted } from "./events";
import { keepDevice, newKey, sign, type Device } from "./keys";
import { base64, bytes } from "./text";

type Bytes = Uint8Array<ArrayBuffer>;

/** The part of the core that needs no meeting. */
export interface Examiner {
  der(raw: Uint8Array): Bytes | null;
  enrolContent(token: string): Bytes;
  renewContent(nonce: Uint8Array, statement: Uint8Array, host: string): Bytes;
  devicesContent(nonce: Uint8Array, statement: Uint8Array, host: string): Bytes;
  /** Null if device is no device's id. */
  revokeContent(nonce: Uint8Array, statement: Uint8Array, device: string, host: string): Bytes | null;
  linkContent(nonce: Uint8Array, statement: Uint8Array, host: string): Bytes;
  /** What is touched for in a join; null if meeting is none. */
  assertionContent(nonce: Uint8Array, leafKey: Uint8Array, meeting: string, client: Uint8Array, server: Uint8Array, host: string): Bytes | null;
  /** The challenge under which a statement's content is vouched for; null if that is not for leafKey. */
  vouched(content: Uint8Array, leafKey: Uint8Array): Bytes | null;
  examine(claim: string): string;
}

/** Has the page touch a passkey. */
export type Touch = (wanted: TouchWanted) => Promise<TouchAnswer>;

/** A problem as an error. */
export class Refusal extends Error {
  constructor(readonly problem: Problem) {
    super(problem.code);
  }
}

interface Enrolled {
  statement: string;
  organisation?: { id: string; name: string };
  root?: string;
  grants?: string[];
}

interface Start {
  site: string;
  challenge: string;
  algorithms: number[];
  attestation: "none" | "direct";
  rule: "required" | "preferred" | "off";
  hardware: boolean;
  use: string;
  person: { name: string; unit: string };
}

interface Vouching {
  content?: string;
  credential?: string;
  site: string;
}

async function ask<T>(path: string, body: object): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(10_000),
    });
  } catch {
    throw new Refusal({ code: "server_unreachable", fix: "check_connection" });
  }
  let answer: unknown;
  try {
    answer = await response.json();
  } catch {
    throw new Refusal({ code: "server_unreachable", fix: "try_later" });
  }
  if (!response.ok) {
    const inner = answer as Partial<Problem> & { problem?: Problem };
    const problem = inner.problem ?? inner;
    throw new Refusal(
      typeof problem.code === "string" && typeof problem.fix === "string"
        ? (problem as Problem)
        : { code: "server_unreachable", fix: "try_later" },
    );
  }
  return answer as T;
}

async function proof(core: Examiner, key: CryptoKey, content: Bytes): Promise<string> {
  const der = core.der(await sign(key, content));
  if (!der) throw new Refusal({ code: "key_unusable", fix: "try_other_browser" });
  return base64(der);
}

async function touched(touch: Touch, wanted: TouchWanted): Promise<object> {
  const answer = await touch(wanted);
  if ("problem" in answer) throw new Refusal(answer.problem);
  return answer.response;
}

async function hash(data: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data));
}

interface Claim {
  organisation: string;
  root: string;
  pin?: string;
  grants?: string[];
  statement: string;
  leaf_key: string;
}

function examine(core: Examiner, claim: Claim): { name: string; unit: string; until: string } {
  const verdict = JSON.parse(core.examine(JSON.stringify(claim))) as {
    identity?: { name: string; unit: string; until: string };
    problem?: Problem;
  };
  if (!verdict.identity) throw new Refusal(verdict.problem ?? { code: "statement_malformed", fix: "enrol_again" });
  return verdict.identity;
}

/** What a link asks for. */
export interface Enrolment {
  token: string;
  /** The root's hash from the link. */
  pin: string;
  deviceName: string;
  /** Make and use a passkey, where the organisation has any use for one. */
  passkey: boolean;
  /** A guest's: the meeting that the invitation is for. */
  guest?: string;
}

/** An enrolment that was interrupted after its passkey was made: trying again shall not make another one. */
interface Begun {
  token: string;
  privateKey: CryptoKey;
  leafKey: Bytes;
  challenge: string;
  registration: object;
  at: number;
}

let begun: Begun | undefined;
// The server takes a passkey's registration for ten minutes.
const begunFor = 8 * 60_000;

/** Enrols this browser in place of whatever it was before. */
export async function enrol(core: Examiner, touch: Touch, wanted: Enrolment): Promise<Device> {
  const { token, guest } = wanted;
  const again = begun?.token === token && Date.now() - begun.at < begunFor ? begun : undefined;
  const { privateKey, leafKey } = again ?? (await newKey());
  const request: Record<string, unknown> = {
    token,
    leaf_key: base64(leafKey),
    proof: await proof(core, privateKey, core.enrolContent(token)),
    device_name: wanted.deviceName,
  };
  let passkey: Device["passkey"];
  if (guest) request["meeting"] = guest;
  else passkey = await addPasskey(core, touch, wanted, request, { privateKey, leafKey, again });
  const answer = await ask<Enrolled>(guest ? "/v1/guest" : "/v1/enrol", request);
  begun = undefined;
  if (!answer.organisation || !answer.root || !answer.grants) throw new Refusal({ code: "statement_malformed", fix: "ask_link" });
  examine(core, {
    organisation: answer.organisation.id,
    root: answer.root,
    pin: wanted.pin,
    grants: answer.grants,
    statement: answer.statement,
    leaf_key: base64(leafKey),
  });
  const { id, name } = answer.organisation;
  const device: Device = {
    privateKey,
    leafKey,
    statement: bytes(answer.statement),
    organisation: { id, name },
    root: bytes(answer.root),
    ...(passkey && { passkey }),
    ...(guest && { guest }),
  };
  await keepDevice(device);
  return device;
}

/** Makes a passkey, and has it touched for the statement; nothing, where none is wanted. */
async function addPasskey(
  core: Examiner,
  touch: Touch,
  wanted: Enrolment,
  request: Record<string, unknown>,
  key: { privateKey: CryptoKey; leafKey: Bytes; again: Begun | undefined },
): Promise<Device["passkey"]> {
  const { token } = wanted;
  let made = key.again;
  if (!made) {
    const start = await ask<Start>("/v1/enrol/start", { token });
    if (!wanted.passkey || start.rule === "off" || start.use === "room") return undefined; // the server says so if that will not do
    if (start.site === "") throw new Refusal({ code: "passkey_address", fix: "use_named_address" });
    const registration = await touched(touch, {
      create: {
        site: start.site,
        challenge: start.challenge,
        algorithms: start.algorithms,
        attestation: start.attestation,
        // The authenticator's list shows the person's name; the id is no one's but this device's.
        user: { id: base64((await hash(key.leafKey)).slice(0, 16)), name: start.person.name },
      },
    });
    made = { token, privateKey: key.privateKey, leafKey: key.leafKey, challenge: start.challenge, registration, at: Date.now() };
    begun = made;
  }
  Object.assign(request, { challenge: made.challenge, registration: made.registration });
  const vouching = await ask<Vouching>("/v1/enrol/vouch", request).catch((error: unknown) => {
    begun = undefined; // with this passkey it will not come right
    throw error;
  });
  const { assertion, credential } = await vouch(core, touch, vouching, key.leafKey);
  Object.assign(request, { content: vouching.content, assertion });
  return { id: bytes(credential), site: vouching.site };
}

/** Has a passkey touched for a statement, after a look at whose key it names. */
async function vouch(core: Examiner, touch: Touch, vouching: Vouching, leafKey: Uint8Array): Promise<{ assertion: object; credential: string }> {
  const { content, credential, site } = vouching;
  const challenge = content && core.vouched(bytes(content), leafKey);
  if (!challenge || !credential) throw new Refusal({ code: "statement_key", fix: "enrol_again" });
  const assertion = await touched(touch, { get: { site, challenge: base64(challenge), credentials: [credential] } });
  return { assertion, credential };
}

/** Who this browser is, for the page. */
export function identify(core: Examiner, device: Device): Identity {
  const { name, unit, until } = examine(core, {
    organisation: device.organisation.id,
    root: base64(device.root),
    statement: base64(device.statement),
    leaf_key: base64(device.leafKey),
  });
  return {
    organisation: device.organisation.name,
    name,
    unit,
    until,
    passkey: device.passkey !== undefined,
    guest: device.guest !== undefined,
    due: Date.parse(until) - Date.now() < renewBefore && device.guest === undefined,
  };
}

// A statement holds for seven days.
const renewBefore = 3 * 24 * 3600 * 1000;

async function signed(core: Examiner, device: Device, content: (nonce: Bytes) => Bytes | null): Promise<{ request: Record<string, unknown>; content: Bytes }> {
  const { nonce } = await ask<{ nonce: string }>("/v1/nonce", {});
  const what = content(bytes(nonce));
  if (!what) throw new Refusal({ code: "device_unknown", fix: "enrol_again" });
  return { request: { statement: base64(device.statement), nonce, signature: await proof(core, device.privateKey, what) }, content: what };
}

/** Renews the statement: with one touch where a passkey vouches for it. */
export async function renew(core: Examiner, touch: Touch, device: Device): Promise<Device> {
  const renewal = (nonce: Bytes) => core.renewContent(nonce, device.statement, location.host);
  const more: Record<string, unknown> = {};
  if (device.passkey) {
    const vouching = await ask<Vouching>("/v1/renew/start", (await signed(core, device, renewal)).request);
    more["assertion"] = (await vouch(core, touch, vouching, device.leafKey)).assertion;
    more["content"] = vouching.content;
  }
  // A nonce of its own: the person may have taken their time.
  const answer = await ask<Enrolled>("/v1/renew", { ...(await signed(core, device, renewal)).request, ...more });
  const fresh: Device = { ...device, statement: bytes(answer.statement) };
  // Under the pinned root: a server must not put a name of its own making in the place of what is kept.
  examine(core, {
    organisation: device.organisation.id,
    root: base64(device.root),
    grants: answer.grants ?? [],
    statement: answer.statement,
    leaf_key: base64(device.leafKey),
  });
  await keepDevice(fresh);
  return fresh;
}

/** A device whose statement is fresh, as far as that needs nobody; never fails, the old one is then told as it is. */
export async function renewed(core: Examiner, touch: Touch, device: Device): Promise<Device> {
  try {
    return !device.passkey && identify(core, device).due ? await renew(core, touch, device) : device;
  } catch {
    return device;
  }
}

/** A fresh assertion for a join: over the own key, the meeting, and both ends of the media path. */
export async function assert(core: Examiner, touch: Touch, device: Device, meeting: string, wanted: AssertionWanted, fingerprint: string): Promise<string> {
  const content = core.assertionContent(bytes(wanted.nonce), device.leafKey, meeting, bytes(fingerprint), bytes(wanted.server_fingerprint), location.host);
  if (!content) throw new Refusal({ code: "meeting_unknown", fix: "check_link" });
  if (!device.passkey) throw new Refusal({ code: "passkey_none", fix: "enrol_again" });
  const response = await touched(touch, {
    get: { site: device.passkey.site, challenge: base64(await hash(content)), credentials: wanted.credentials ?? [] },
  });
  return base64(new TextEncoder().encode(JSON.stringify(response)));
}

interface DeviceList {
  devices: OwnDevice[];
  credential?: string;
  site: string;
}

/** The person's devices. */
export async function ownDevices(core: Examiner, device: Device): Promise<DeviceList> {
  const { request } = await signed(core, device, (nonce) => core.devicesContent(nonce, device.statement, location.host));
  return ask<DeviceList>("/v1/devices", request);
}

/** Takes another of the person's devices out of use: with one touch where this one has a passkey. */
export async function revokeDevice(core: Examiner, touch: Touch, device: Device, id: string): Promise<void> {
  const { request, content } = await signed(core, device, (nonce) => core.revokeContent(nonce, device.statement, id, location.host));
  request["device"] = id;
  if (device.passkey) {
    const { site, id: credential } = device.passkey;
    request["assertion"] = await touched(touch, { get: { site, challenge: base64(await hash(content)), credentials: [base64(credential)] } });
  }
  await ask("/v1/devices/revoke", request);
}

/** Has a link made for a further device, with a touch. Its secret and the root's pin stand behind the #, which no browser sends. */
export async function furtherLink(core: Examiner, touch: Touch, device: Device): Promise<string> {
  const { request, content } = await signed(core, device, (nonce) => core.linkContent(nonce, device.statement, location.host));
  if (device.passkey) {
    const { site, id: credential } = device.passkey;
    request["assertion"] = await touched(touch, { get: { site, challenge: base64(await hash(content)), credentials: [base64(credential)] } });
  }
  const { token } = await ask<{ token: string }>("/v1/devices/link", request);
  const pin = base64((await hash(device.root as Bytes)).slice(0, 16)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `${location.origin}/devices#e=${token}&r=${pin}`;
}
