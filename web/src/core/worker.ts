// The core worker: starts the endpoint core (Go, as WebAssembly) and gives it what a browser has. It holds the device key
// and hands the keys of frames to the frames worker; the page gets neither.

import wasm from "conclave.wasm?url";
import "wasm_exec";
import { enrol, identify, Refusal, renewed, type Examiner } from "./enrol";
import type { Command, CoreEvent, Problem, StreamKind } from "./events";
import { readDevice, sign, verify, type Check, type Device } from "./keys";
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
  leave(): void;
  restart(): void;
  stranger(json: string): void;
  opened(json: string): void;
  spoke(json: string): void;
  context(stream: number): number;
}

const streams: Record<StreamKind, number> = { microphone: 1, camera: 2, screen: 3 };

const post = (event: CoreEvent) => self.postMessage(event);

let device: Device | undefined;
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
  post: (json: string) => post(JSON.parse(json) as CoreEvent),
  epoch: (epoch: number, leaf: number, key: Uint8Array<ArrayBuffer>, members: number[], first: boolean) =>
    toFrames({ epoch: { epoch, leaf, key, members, first } }),
  retire: (epoch: number) => toFrames({ retire: { epoch } }),
  slots: (audio: number[], camera: number[], screen: number[], crowded: boolean) =>
    toFrames({ slots: { audio, camera, screen, crowded } }),
  closed: () => toFrames({ closed: true }),
};

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

async function follow(command: Command, core: Core): Promise<void> {
  switch (command.do) {
    case "identify":
      device = await readDevice();
      if (device) device = await renewed(core, device);
      post({ event: "identity", identity: device ? identify(core, device) : null });
      break;
    case "enrol":
      device = await enrol(core, command.token, command.root, command.deviceName);
      post({ event: "enrolled" });
      post({ event: "identity", identity: identify(core, device) });
      break;
    case "open":
      device ??= await readDevice();
      if (!device) throw new Refusal({ code: "not_enrolled", fix: "ask_link" });
      core.open(
        JSON.stringify({
          meeting: command.meeting,
          url: command.url,
          host: location.host,
          statement: base64(device.statement),
          leaf_key: base64(device.leafKey),
          organisation: device.organisation.id,
          root: base64(device.root),
          client: { kind: "browser", name: "conclave-web", version: "0" },
          facts: [],
        }),
      );
      break;
    case "join":
      core.join(JSON.stringify(command.facts));
      break;
    case "media":
      core.media(JSON.stringify(command.media));
      break;
    case "state": {
      const { muted, camera, screen, hand } = command;
      core.state(JSON.stringify({ muted, camera, screen, hand }));
      break;
    }
    case "decide":
      core.decide(JSON.stringify({ leg: command.leg, admit: command.admit }));
      break;
    case "remove":
      core.remove(JSON.stringify({ leg: command.leg, reason: command.reason }));
      break;
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
  }
}

function failed(command: Command, error: unknown): void {
  const problem: Problem =
    error instanceof Refusal ? error.problem : { code: "core_failed", fix: "reload", args: { command: command.do } };
  if (command.do === "enrol") post({ event: "enrol_failed", problem });
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
