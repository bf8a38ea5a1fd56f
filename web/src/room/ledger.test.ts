import assert from "node:assert/strict";
import { test } from "node:test";
import { OwnSpeech } from "./ledger";

/** Feeds a level for each tenth of a second, and returns the spans told, those that touch joined. */
function spans(levels: (at: number) => number, until: number, muted: (at: number) => boolean = () => false): number[][] {
  const out: number[][] = [];
  const speech = new OwnSpeech((from, to) => {
    const last = out.at(-1);
    if (last && last[1] === from) last[1] = to;
    else out.push([from, to]);
  });
  for (let at = 1000; at < until; at += 100) speech.feed(levels(at), muted(at), at);
  speech.end();
  return out;
}

test("a span of speech is told with its begin and end, pauses between words within", () => {
  const words = (at: number) => (at >= 5000 && at < 9000 && at % 1000 < 600 ? 0.1 : 0.001);
  assert.deepEqual(spans(words, 12_000), [[4900, 8500]]);
});

test("silences part spans", () => {
  const words = (at: number) => ((at >= 3000 && at < 4000) || (at >= 6000 && at < 6500) ? 0.1 : 0);
  assert.deepEqual(spans(words, 9000), [
    [2900, 3900],
    [5900, 6400],
  ]);
});

test("nothing that is said while muted is noted", () => {
  assert.deepEqual(spans(() => 0.3, 5000, () => true), []);
  assert.deepEqual(spans(() => 0.3, 5000, (at) => at >= 2000), [[900, 1900]]);
});

test("a page that slept does not call its sleep speech", () => {
  const told: number[][] = [];
  const speech = new OwnSpeech((from, to) => told.push([from, to]));
  speech.feed(0.1, false, 1000);
  speech.feed(0.1, false, 1100);
  speech.feed(0.1, false, 60_000);
  speech.end();
  assert.deepEqual(told, [
    [900, 1100],
    [59_900, 60_000],
  ]);
});
