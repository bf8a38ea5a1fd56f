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
  assert.deepEqual(dog.sent(totals(50, 24), 1000), { question: 1 });
  assert.equal(dog.sealed(totals(50, 0), 1), "camera");
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
