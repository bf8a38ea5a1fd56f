// What is heard: one audio element for each receiving slot, on the speaker that was chosen.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../app";

/** The browser holds sound back until the person presses something. */
export const blocked = signal(false);

const all = new Set<HTMLAudioElement>();
const graphs = new Set<() => void>();

/** To be called from a press: plays what was held back. */
export function playAll(): void {
  blocked.value = false;
  for (const audio of all) void play(audio);
  for (const resume of graphs) resume();
}

async function play(audio: HTMLAudioElement): Promise<void> {
  try {
    await audio.play();
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotAllowedError") blocked.value = true;
  }
}

export function Sinks({ app }: { app: App }) {
  void app.session.truthVersion.value;
  const { output } = app.media;
  const waits = output.waits.value;
  useEffect(() => {
    if (waits) blocked.value = true;
    const resume = () => output.resume();
    graphs.add(resume);
    return () => void graphs.delete(resume);
  }, [waits]);
  return (
    <div class="sinks">
      {app.media.streams.value.audio.map((stream, slot) => (
        <Sink key={stream.id} app={app} stream={stream} slot={slot} leaf={app.session.truth.in("microphone", slot)} />
      ))}
    </div>
  );
}

function Sink({ app, stream, slot, leaf }: { app: App; stream: MediaStream; slot: number; leaf: number }) {
  const ref = useRef<HTMLAudioElement>(null);
  const speaker = app.media.devices.speakerID.value;
  useEffect(() => {
    const audio = ref.current;
    if (!audio) return;
    all.add(audio);
    audio.srcObject = stream;
    void play(audio);
    return () => {
      all.delete(audio);
      audio.srcObject = null;
    };
  }, [stream]);
  useEffect(() => {
    if (app.media.devices.choosesSpeaker) void ref.current?.setSinkId(speaker).catch(() => {});
  }, [speaker]);
  // What is played marked, is played by the graph; before that is known, nothing is.
  const sound = app.media.output.sound.value;
  return <audio ref={ref} autoplay muted={sound !== "plain"} data-testid={`audio-${slot}`} data-leaf={leaf} data-marked={String(sound === "marked")} />;
}
