// Enrolling this browser with a link's token, and keeping its statement fresh. The server's answers are examined by the
// core, from the pin in the link down to the own key, before anything is kept.

import type { Identity, Problem } from "./events";
import { keepDevice, newKey, sign, type Device } from "./keys";
import { base64, bytes } from "./text";

/** The part of the core that needs no meeting. */
export interface Examiner {
  der(raw: Uint8Array): Uint8Array<ArrayBuffer> | null;
  enrolContent(token: string): Uint8Array<ArrayBuffer>;
  renewContent(nonce: Uint8Array, statement: Uint8Array, host: string): Uint8Array<ArrayBuffer>;
  examine(claim: string): string;
}

/** A problem as an error. */
export class Refusal extends Error {
  constructor(readonly problem: Problem) {
    super(problem.code);
  }
}

interface Answer {
  statement: string;
  organisation?: { id: string; name: string };
  root?: string;
  grants?: string[];
  nonce?: string;
}

async function ask(path: string, body: object): Promise<Answer> {
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
  return answer as Answer;
}

async function proof(core: Examiner, key: CryptoKey, content: Uint8Array<ArrayBuffer>): Promise<string> {
  const der = core.der(await sign(key, content));
  if (!der) throw new Refusal({ code: "key_unusable", fix: "try_other_browser" });
  return base64(der);
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

/** Enrols this browser in place of whatever it was before; pin is the root's hash from the link. */
export async function enrol(core: Examiner, token: string, pin: string, deviceName: string): Promise<Device> {
  const { privateKey, leafKey } = await newKey();
  const answer = await ask("/v1/enrol", {
    token,
    leaf_key: base64(leafKey),
    proof: await proof(core, privateKey, core.enrolContent(token)),
    device_name: deviceName,
  });
  if (!answer.organisation || !answer.root || !answer.grants) throw new Refusal({ code: "statement_malformed", fix: "ask_link" });
  examine(core, {
    organisation: answer.organisation.id,
    root: answer.root,
    pin,
    grants: answer.grants,
    statement: answer.statement,
    leaf_key: base64(leafKey),
  });
  const { id, name } = answer.organisation;
  const device: Device = { privateKey, leafKey, statement: bytes(answer.statement), organisation: { id, name }, root: bytes(answer.root) };
  await keepDevice(device);
  return device;
}

/** Who this browser is, for the page. */
export function identify(core: Examiner, device: Device): Identity {
  const { name, unit, until } = examine(core, {
    organisation: device.organisation.id,
    root: base64(device.root),
    statement: base64(device.statement),
    leaf_key: base64(device.leafKey),
  });
  return { organisation: device.organisation.name, name, unit, until };
}

// A statement holds for seven days.
const renewBefore = 3 * 24 * 3600 * 1000;

/** A device whose statement is fresh, as far as the server gives one; never fails, the old one is then told as it is. */
export async function renewed(core: Examiner, device: Device): Promise<Device> {
  try {
    if (Date.parse(identify(core, device).until) - Date.now() > renewBefore) return device;
    const { nonce } = await ask("/v1/nonce", {});
    if (!nonce) return device;
    const answer = await ask("/v1/renew", {
      statement: base64(device.statement),
      nonce,
      signature: await proof(core, device.privateKey, core.renewContent(bytes(nonce), device.statement, location.host)),
    });
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
  } catch {
    return device;
  }
}
