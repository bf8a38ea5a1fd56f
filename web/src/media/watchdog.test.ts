import assert from "node:assert/strict";
import { test } from "node:test";
import { Watchdog } from "./watchdog";

const totals = (microphone: number, camera = 0, screen = 0) => ({ microphone, camera, screen });

test("what is sealed before it is sent passes", () => {
  const dog = new Watchdog(totals(100, 50));
  for (let second = 1; second < 60; second++) {
    assert.deepEqual(dog.sent(totals(50 * second - 1, 24 * second), second * 1000), { question: second });
    assert.equal(dog.sealed(totals(100 + 50 * second, 50 + 24 * second), second), undefined);
  }
});

test("one stream sent in clear beside sealed ones is noticed", () => {
  const dog = new Watchdog(totals(0));
  for (const n of [1, 2, 3]) {
    assert.deepEqual(dog.sent(totals(50 * n, 24 * n), 1000 * n), { question: n });
    assert.equal(dog.sealed(totals(50 * n, 0), n), n < 3 ? undefined : "camera");
  }
});

test("pictures on their way to a busy worker are no alarm", () => {
  const dog = new Watchdog(totals(0));
  for (let n = 1; n < 30; n++) {
    assert.deepEqual(dog.sent(totals(50 * n, 24 * n), 1000 * n), { question: n });
    assert.equal(dog.sealed(totals(50 * n, 24 * n - 20), n), undefined);
  }
});

test("a few clear pictures among many sealed ones are noticed", () => {
  const dog = new Watchdog(totals(0));
  let verdict: string | undefined;
  // Every tenth picture goes round the worker: the gap grows, and is at last wider than what can be on its way.
  for (let n = 1; n < 60 && !verdict; n++) {
    dog.sent(totals(50 * n, 20 * n), 1000 * n);
    verdict = dog.sealed(totals(50 * n, 18 * n), n);
  }
  assert.equal(verdict, "camera");
});

test("a worker that falls silent after an answer is noticed", () => {
  const dog = new Watchdog(totals(0));
  dog.sent(totals(0, 24), 1000);
  assert.equal(dog.sealed(totals(0, 10), 1), undefined);
  for (let n = 2; n < 10; n++) dog.sent(totals(50 * n, 24 * n), 1000 * n);
  assert.deepEqual(dog.sent(totals(600, 300), 11_000), { clear: "microphone" });
});

test("a few clear frames among many sealed ones are noticed", () => {
  const dog = new Watchdog(totals(0));
  dog.sent(totals(53), 1000);
  assert.equal(dog.sealed(totals(50), 1), "microphone");
});

test("an answer to an earlier question proves nothing", () => {
  const dog = new Watchdog(totals(0));
  dog.sent(totals(50), 1000);
  assert.equal(dog.sealed(totals(50), 1), undefined);
  assert.deepEqual(dog.sent(totals(100), 2000), { question: 2 });
  assert.equal(dog.sealed(totals(60), 1), undefined, "said before the question, read after it");
  assert.equal(dog.sealed(totals(100), 2), undefined);
  assert.deepEqual(dog.sent(totals(150), 3000), { question: 3 });
  assert.equal(dog.sealed(totals(100), 3), "microphone");
});

test("sending while the worker says nothing is noticed", () => {
  const dog = new Watchdog(totals(0));
  dog.sent(totals(0), 0);
  for (let second = 1; second < 8; second++) assert.deepEqual(dog.sent(totals(50 * second), 1000 * second), {});
  assert.deepEqual(dog.sent(totals(400), 8000), { clear: "microphone" });
});

test("a page that slept does not take the worker for silent", () => {
  const dog = new Watchdog(totals(0));
  dog.sent(totals(0), 0);
  assert.deepEqual(dog.sent(totals(400), 9000), {});
  assert.equal(dog.sealed(totals(400), 1), undefined);
});

test("a silent worker with nothing sent is no alarm", () => {
  const dog = new Watchdog(totals(0));
  dog.sent(totals(0), 0);
  for (let now = 1000; now < 60_000; now += 1000) assert.deepEqual(dog.sent(totals(0), now), {});
});
