import assert from "node:assert/strict";
import { test } from "node:test";
import { Watchdog } from "./watchdog";

const totals = (microphone: number, camera = 0, screen = 0) => ({ microphone, camera, screen });

test("what is sealed before it is sent passes", () => {
  const dog = new Watchdog(totals(100, 50));
  for (let second = 1; second < 60; second++) {
    assert.equal(dog.sent(totals(50 * second - 1, 24 * second), second * 1000), undefined);
    assert.equal(dog.sealed(totals(100 + 50 * second, 50 + 24 * second)), undefined);
  }
});

test("one stream sent in clear beside sealed ones is noticed", () => {
  const dog = new Watchdog(totals(0));
  assert.equal(dog.sent(totals(50, 24), 1000), undefined);
  assert.equal(dog.sealed(totals(50, 0)), "camera");
});

test("a few clear frames among many sealed ones are noticed", () => {
  const dog = new Watchdog(totals(0));
  dog.sent(totals(53), 1000);
  assert.equal(dog.sealed(totals(50)), "microphone");
});

test("sending while the worker says nothing is noticed", () => {
  const dog = new Watchdog(totals(0));
  assert.equal(dog.sent(totals(0), 0), undefined);
  assert.equal(dog.sent(totals(50), 1000), undefined);
  assert.equal(dog.sent(totals(200), 4000), "microphone");
});

test("a silent worker with nothing sent is no alarm", () => {
  const dog = new Watchdog(totals(0));
  for (let now = 0; now < 60_000; now += 1000) assert.equal(dog.sent(totals(0), now), undefined);
});
