// The frames worker: hands the browser's encoded frames to Frames. The page makes it once and keeps it over connections.

import type { FromFrames as ToCore, ToFrames as FromCore } from "../core/port";
import { Frames, type Frame, type Pipe } from "./frames";
import type { FromFrames as ToPage, ToFrames as FromPage, TransformOptions } from "./messages";

declare const self: DedicatedWorkerGlobalScope;

let core: MessagePort | undefined;
// What was said to the core before the page joined the two.
let unsaid: ToCore[] = [];

const frames = new Frames({
  now: () => performance.now(),
  toPage: (message) => self.postMessage(message),
  toCore: (message) => {
    if (core) core.postMessage(message);
    else if (unsaid.length < 64) unsaid.push(message);
  },
});

setInterval(() => frames.tick(), 1000);

self.onmessage = ({ data, ports }: MessageEvent<FromPage>) => {
  if (data.do === "loudness") frames.loudness = data.loudness;
  else if (data.do === "count") frames.count(data.question);
  else if (ports[0]) join(ports[0]);
};

function join(port: MessagePort): void {
  core?.close();
  core = port;
  port.onmessage = ({ data }: MessageEvent<FromCore>) => void frames.follow(data);
  for (const message of unsaid.splice(0)) port.postMessage(message);
}

self.onrtctransform = ({ transformer }: RTCTransformEvent) => {
  const { direction, kind, slot } = transformer.options as TransformOptions;
  const pipe =
    direction === "send"
      ? frames.send(kind, () => attempt(() => transformer.generateKeyFrame()))
      : frames.receive(kind, slot, () => attempt(() => transformer.sendKeyFrameRequest()));
  run(transformer, pipe);
};

/** Not every browser can do this; without it, the receiver's own request for a key frame comes a moment later. */
function attempt(refresh: () => Promise<unknown>): void {
  try {
    refresh().catch(() => {});
  } catch {
    // No such method.
  }
}

/** Passes frames until the stream is over. A frame on which the code fails is dropped, and the page told once. */
function run(transformer: RTCRtpScriptTransformer, pipe: Pipe): void {
  let told = false;
  const stream = new TransformStream<Frame, Frame>({
    async transform(frame, sink) {
      try {
        await pipe.pass(frame, sink);
      } catch {
        if (!told) self.postMessage({ event: "failed", what: "frame" } satisfies ToPage);
        told = true;
      }
    },
  });
  void transformer.readable
    .pipeThrough(stream)
    .pipeTo(transformer.writable)
    .catch(() => {})
    .finally(() => pipe.end());
}
