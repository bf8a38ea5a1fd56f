import assert from "node:assert/strict";
import { test } from "node:test";
import { reasonsFor } from "./reasons";

const someone = { organisation: "Example", name: "Ben", unit: "Border", until: "2026-01-01T00:00:00Z", passkey: false, guest: false, due: false };
const missing = { code: "assertion_missing", fix: "confirm_with_passkey" };
const early = { code: "meeting_early", fix: "come_later" };

test("who has no passkey is not told to touch one", () => {
  assert.deepEqual(reasonsFor(someone, [early, missing], false), [early, { code: "passkey_none", fix: "enrol_again" }]);
  assert.deepEqual(reasonsFor({ ...someone, passkey: true }, [missing], false), [missing]);
  assert.deepEqual(reasonsFor(someone, [missing], true), [missing], "the server asks for a touch: so there is a passkey");
});

test("a guest whose invitation is over is told that, and one thing to do", () => {
  const unknown = [{ code: "person_unknown", fix: "ask_administrator" }, { code: "not_invited", fix: "ask_chair_for_invitation" }];
  assert.deepEqual(reasonsFor({ ...someone, guest: true }, unknown, false), [{ code: "invitation_expired", fix: "ask_invitation" }]);
  assert.deepEqual(reasonsFor(someone, unknown, false), unknown, "of a member it is said as it is");
  assert.deepEqual(reasonsFor({ ...someone, guest: true }, [unknown[1]!, early], false), [unknown[1], early]);
});

test("of a device whose statement does not count, only that is told", () => {
  const invalid = { code: "statement_invalid", fix: "enrol_again" };
  const expired = { code: "statement_expired", fix: "renew_enrolment" };
  const bare = { code: "device_not_enrolled", fix: "enrol_device" };
  const unknown = { code: "person_unknown", fix: "ask_administrator" };
  assert.deepEqual(reasonsFor(someone, [invalid, unknown, bare], false), [invalid]);
  assert.deepEqual(reasonsFor({ ...someone, guest: true }, [invalid, unknown], false), [invalid]);
  assert.deepEqual(reasonsFor(someone, [expired, bare], false), [expired], "it is enrolled");
  assert.deepEqual(reasonsFor(someone, [bare], false), [bare]);
});
