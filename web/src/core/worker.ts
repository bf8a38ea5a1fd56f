// The core worker: starts the endpoint core (Go, as WebAssembly) and gives it what a browser has. It holds the device key
// and hands the keys of frames to the frames worker; the page gets neither.

import wasm from "conclave.wasm?url";
import "wasm_exec";
import { assert, enrol, furtherLink, identify, ownDevices, Refusal, renew, renewed, revokeDevice, type Examiner } from "./enrol";
import type { AssertionWanted, Command, CoreEvent, Problem, ReadyEvent, State, StreamKind, TouchAnswer, TouchWanted } from "./events";
import { keepDevice, readDevice, sign, verify, type Check, type Device } from "./keys";
import type { FromFrames, ToFrames } from "./port";
import { connect } from "./socket";
import { base64 } from "./text";

declare const self: DedicatedWorkerGlobalScope;

/** What cmd/conclave-wasm sets. All but context answer by events. */
interface Core extends Examiner {
  open(json: string): void;
  join(json: string): void;
  media(json: string): void;
  state(json: string): void;
  decide(json: string): void;
  remove(json: string): void;
  facts(json: string): void;
  raise(json: string): void;
  pause(json: string): void;
  preside(json: string): void;
  except(json: string): void;
  confirm(json: string): void;
  read(json: string): void;
  mission(json: string): void;
  probe(json: string): void;
  ring(json: string): void;
  leave(): void;
  restart(): void;
  /** The device has a fresh statement; no meeting need be open. */
  renewed(json: string): void;
  stranger(json: string): void;
  opened(json: string): void;
  spoke(json: string): void;
  context(stream: number): number;
}

const streams: Record<StreamKind, number> = { microphone: 1, camera: 2, screen: 3 };

const post = (event: CoreEvent) => self.postMessage(event);

let device: Device | undefined;
/** The meeting that is open, and what its line, or the quarantine, asks of a join. */
let meeting = "";
let assertion: AssertionWanted | undefined;
let state: State = "connecting";
let port: MessagePort | undefined;
// What the frames worker must know and has not been told, because the page has not joined the two yet.
let held: ToFrames[] = [];
const heldAtMost = 32;

function toFrames(message: ToFrames): void {
  if (!port) {
    if (held.length === heldAtMost) held.shift();
    held.push(message);
    return;
  }
  port.postMessage(message, "epoch" in message ? [message.epoch.key.buffer] : []);
}

const host = {
  connect,
  sign(message: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    if (!device) return Promise.reject(new Error("core: not enrolled"));
    return sign(device.privateKey, message);
  },
  verify: (checks: Check[]) => verify(checks),
  post: (json: string) => {
    const event = JSON.parse(json) as CoreEvent;
    if (event.event === "line") assertion = event.line.assertion;
    if (event.event === "state") {
      state = event.state.state;
      if (state === "quarantined") assertion = event.state.assertion;
    }
    if (event.event === "keys" && device) void keepDevice(Object.assign(device, { withdrawn: event.keys.withdrawn }));
    if (event.event === "ready") event.ready.file = missionFile(event.ready);
    post(event);
  },
  epoch: (epoch: number, leaf: number, key: Uint8Array<ArrayBuffer>, members: number[], first: boolean) =>
    toFrames({ epoch: { epoch, leaf, key, members, first } }),
  retire: (epoch: number) => toFrames({ retire: { epoch } }),
  bar: (leaf: number) => toFrames({ bar: { leaf } }),
  slots: (audio: number[], camera: number[], screen: number[], crowded: boolean) =>
    toFrames({ slots: { audio, camera, screen, crowded } }),
  hold: (on: boolean) => post({ event: "hold", hold: { on } }),
  mark: (sync: Uint8Array | null, code: Uint8Array | null, sinceMS: number) =>
    post({ event: "mark", mark: sync && code && { sync, code, since: sinceMS / 1000 } }),
  suspended: () => {
    toFrames({ closed: true });
    post({ event: "suspended" });
  },
  closed: () => toFrames({ closed: true }),
};

/** What a person keeps of a tested line: as the program conclave writes and checks it. */
function missionFile({ grants, document }: ReadyEvent): string {
  if (!device || !document) return "";
  return `${JSON.stringify({ organisation: device.organisation.id, root: base64(device.root), grants, document }, null, " ")}\n`;
}

/** Starts the program; resolves when it has set its functions. */
async function start(): Promise<Core> {
  const global = globalThis as unknown as { conclaveHost: typeof host; conclaveCore: Core; Go: GoLoader };
  global.conclaveHost = host;
  const go = new global.Go();
  const { instance } = await WebAssembly.instantiateStreaming(fetch(wasm), go.importObject);
  void go.run(instance).then(() => stopped());
  return global.conclaveCore;
}

type GoLoader = new () => { importObject: WebAssembly.Imports; run(instance: WebAssembly.Instance): Promise<void> };

/** The program never ends by itself; if it does, it has failed, and no key may stay in use. */
function stopped(): void {
  toFrames({ closed: true });
  post({ event: "state", state: { state: "ended", reasons: [{ code: "core_failed", fix: "reload" }] } });
}

const starting = start();
starting.catch(stopped);

// Touches that the page was asked for, by their numbers.
const touches = new Map<number, (answer: TouchAnswer) => void>();
let lastTouch = 0;

function touch(wanted: TouchWanted): Promise<TouchAnswer> {
  return new Promise((resolve) => {
    touches.set(++lastTouch, resolve);
    post({ event: "touch", touch: { number: lastTouch, wanted } });
  });
}

// How often is looked whether the statement is to be renewed, in a meeting that lasts as well as on a page left open.
const lookEvery = 10 * 60_000;
let told = "";

async function look(core: Core): Promise<void> {
  if (!device) return;
  const before = device.statement;
  device = await renewed(core, touch, device);
  if (device.statement !== before) core.renewed(JSON.stringify({ statement: base64(device.statement) }));
  const identity = identify(core, device);
  // Once for each statement: the page shows it until it is done.
  if (!identity.due || told === identity.until) return;
  told = identity.until;
  post({ event: "identity", identity });
}

async function follow(command: Command, core: Core): Promise<void> {
  switch (command.do) {
    case "identify":
      device = await readDevice(command.guest);
      if (device) device = await renewed(core, touch, device);
      post({ event: "identity", identity: device ? identify(core, device) : null });
      setInterval(() => void look(core).catch(() => {}), lookEvery);
      break;
    case "enrol": {
      const { token, root: pin, deviceName, passkey = false, guest } = command;
      device = await enrol(core, touch, { token, pin, deviceName, passkey, ...(guest && { guest }) });
      post({ event: "enrolled" });
      post({ event: "identity", identity: identify(core, device) });
      break;
    }
    case "renew":
      if (!device) throw new Refusal({ code: "not_enrolled", fix: "ask_link" });
      device = await renew(core, touch, device);
      core.renewed(JSON.stringify({ statement: base64(device.statement) }));
      post({ event: "renewed" });
      post({ event: "identity", identity: identify(core, device) });
      break;
    case "devices":
      if (!device) throw new Refusal({ code: "not_enrolled", fix: "ask_link" });
      post({ event: "devices", devices: (await ownDevices(core, device)).devices });
      break;
    case "revoke":
      if (!device) throw new Refusal({ code: "not_enrolled", fix: "ask_link" });
      await revokeDevice(core, touch, device, command.device);
      post({ event: "devices", devices: (await ownDevices(core, device)).devices });
      break;
    case "link": {
      if (!device) throw new Refusal({ code: "not_enrolled", fix: "ask_link" });
      const url = await furtherLink(core, touch, device);
      post({ event: "link", link: { url } });
      break;
    }
    case "touched":
      break; // taken as it comes
    case "open":
      device ??= await readDevice();
      if (!device) throw new Refusal({ code: "not_enrolled", fix: "ask_link" });
      meeting = command.meeting;
      assertion = undefined;
      core.open(
        JSON.stringify({
          meeting: command.meeting,
          url: command.url,
          host: location.host,
          statement: base64(device.statement),
          leaf_key: base64(device.leafKey),
          organisation: device.organisation.id,
          root: base64(device.root),
          // Signed with the hello: whoever opens the TLS on the way cannot have it be another browser's.
          client: { kind: "browser", name: "conclave-web", version: "0", agent: navigator.userAgent.slice(0, 256) },
          facts: [],
          withdrawn: device.withdrawn ?? 0,
        }),
      );
      break;
    case "join":
      await joinMeeting(core, command);
      break;
    case "media":
      core.media(JSON.stringify(command.media));
      break;
    case "state":
    case "facts":
    case "decide":
    case "remove":
    case "raise":
    case "pause":
    case "preside":
    case "except":
    case "confirm":
    case "read":
    case "mission":
    case "probe":
    case "ring": {
      const { do: name, ...fields } = command;
      core[name](JSON.stringify(fields));
      break;
    }
    case "spoke":
      core.spoke(JSON.stringify({ from: command.from, to: command.to }));
      break;
    case "leave":
      core.leave();
      break;
    case "restart":
      core.restart();
      break;
    case "port":
      break; // taken as it comes
    default:
      command satisfies never; // one that nobody hands on would go nowhere without a word
  }
}

/** Asks to be let in, with a fresh touch of the passkey where the line asks for one. */
async function joinMeeting(core: Core, command: Extract<Command, { do: "join" }>): Promise<void> {
  const { facts, fingerprint } = command;
  if (!assertion || !device?.passkey || !fingerprint) {
    core.join(JSON.stringify(facts)); // the server says so if that will not do
    return;
  }
  core.join(JSON.stringify({ facts, fingerprint, assertion: await assert(core, touch, device, meeting, assertion, fingerprint) }));
}

function failed(command: Command, error: unknown): void {
  const problem: Problem =
    error instanceof Refusal ? error.problem : { code: "core_failed", fix: "reload", args: { command: command.do } };
  if (command.do === "enrol") post({ event: "enrol_failed", problem });
  else if (command.do === "renew") post({ event: "renew_failed", problem });
  else if (command.do === "link") post({ event: "link", link: null, problem });
  else if (command.do === "devices" || command.do === "revoke") post({ event: "devices", devices: null, problem });
  else if (command.do === "join") {
    // The touch was not given. All is as it was, and may be asked again.
    if (state === "checked" || state === "refused") post({ event: "state", state: { state: "checked" } });
    post({ event: "failed", failed: { of: command.do, reason: problem } });
  }
  else if (command.do === "identify") post({ event: "identity", identity: null });
  else post({ event: "failed", failed: { of: command.do, reason: problem } });
}

// One after the other: an enrolment and the opening that follows it must not overtake each other.
let last: Promise<void> = Promise.resolve();

self.onmessage = (message: MessageEvent<Command>) => {
  const command = message.data;
  if (command.do === "port") {
    if (message.ports[0]) join(message.ports[0]);
    return;
  }
  if (command.do === "touched") {
    touches.get(command.number)?.(command.answer);
    touches.delete(command.number);
    return;
  }
  last = last
    .then(async () => follow(command, await starting))
    .catch((error: unknown) => failed(command, error));
};

/** Joins the frames worker to the core. */
function join(frames: MessagePort): void {
  port?.close();
  port = frames;
  frames.onmessage = (message: MessageEvent<FromFrames>) => {
    const said = message.data;
    if ("context" in said) void context(frames, said.context.stream);
    else if ("opened" in said) {
      post({ event: "opened", opened: said.opened });
      const { kind, slot, leaf } = said.opened;
      void starting.then((core) => core.opened(JSON.stringify({ stream: streams[kind], slot, leaf })));
    }
    else void starting.then((core) => core.stranger(JSON.stringify({ stream: streams[said.stranger.stream], leaf: said.stranger.leaf })));
  };
  for (const message of held.splice(0)) toFrames(message);
}

// No keys yet, or all ids of an epoch used up: the next epoch is at most moments away.
const contextAgain = 50;

async function context(frames: MessagePort, stream: StreamKind): Promise<void> {
  const core = await starting;
  while (port === frames) {
    const id = core.context(streams[stream]);
    if (id !== 0) {
      toFrames({ context: { stream, id } });
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, contextAgain));
  }
}
