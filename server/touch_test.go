package server_test

import (
	"crypto/sha256"
	"encoding/json"
	"testing"

	"conclave"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/identity/passkey"
	"conclave/identity/passkey/passkeytest"
	"conclave/server/servertest"
	"conclave/signal"
)

// touchPolicy asks whoever has hardware for a fresh touch, from RESTRICTED on.
const touchPolicy = `
@reason("assertion_missing")
@fix("confirm_with_passkey")
forbid (principal, action == Action::"join", resource in Level::"RESTRICTED")
when { context.assurance in Assurance::"hardware" }
unless { context.proven.hasTag("assertion") && context.proven.getTag("assertion") == "fresh" };
`

// asks returns what the guest's latest quarantine asks of a passkey.
func (g *guest) asks() *signal.AssertionWanted {
	g.mu.Lock()
	defer g.mu.Unlock()
	var wanted *signal.AssertionWanted
	for _, e := range g.events {
		if e.State != nil && e.State.State == endpoint.StateQuarantined {
			wanted = e.State.Assertion
		}
	}
	return wanted
}

func TestATouchLetsALegOutOfTheQuarantineThatARaisedLevelPutItInto(t *testing.T) {
	maker := passkeytest.NewMaker(t)
	metadata, err := passkey.ParseMetadata(maker.Metadata(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	w := byName(servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, touchPolicy), Enrolment: identity.Rules{Metadata: metadata}}))
	w.AddPerson("ben", "ben")
	key := passkeytest.New(t, "localhost", w.URL, maker)
	a, b := w.Enrol("anna"), enrolWithPasskey(t, w, "ben", key)
	m := w.OpenMeetingWith(identity.Meeting{Title: "Open", Level: 1, Chair: "anna", People: []conclave.PersonID{"ben"}, Door: identity.DoorInvited})
	anna := come(t, w, a, "anna", m).in()
	var line wire
	ben := comeOver(t, w, b, "ben", m, &line).in()
	alike(t, anna, ben)

	from := ben.count()
	anna.Raise(2)
	from = ben.await("quarantine", from, reason("assertion_missing"))
	before := ben.asks()
	if before == nil || len(before.Nonce) != 32 || len(before.ServerFingerprint) != 32 || len(before.Credentials) != 1 {
		t.Fatalf("asked for %+v", before)
	}
	// A touch is good for one connection: on another one, another is asked for.
	line.cut()
	from = ben.await("reconnecting", from, state(endpoint.StateReconnecting))
	line.mend()
	from = ben.await("quarantine again", from, reason("assertion_missing"))

	fingerprint := sha256.Sum256([]byte("the certificate of this end"))
	touch := func(meeting conclave.MeetingID, wanted *signal.AssertionWanted) []byte {
		challenge := signal.TouchOf(signal.AssertionContent(wanted.Nonce, b.Point, meeting, fingerprint[:], wanted.ServerFingerprint, w.Host))
		return json.RawMessage(key.Get(challenge[:]))
	}
	ben.JoinWith(nil, fingerprint[:], touch(m, before))
	from = ben.await("a stale touch refused", from, failed("join", "passkey_stale"))
	ben.JoinWith(nil, fingerprint[:], touch(conclave.MeetingID{1}, ben.asks()))
	from = ben.await("a touch for another meeting refused", from, failed("join", "passkey_stale"))
	ben.JoinWith(nil, nil, nil) // without a touch, nothing changes
	ben.JoinWith(nil, fingerprint[:], touch(m, ben.asks()))
	ben.await("in again", from, state(endpoint.StateIn))
	alike(t, anna, ben)
	if got := kindsOf(w, m, audit.KindAssertion); len(got) != 2 || got[0].Record.Codes[0] != "passkey_stale" || got[0].Record.Device != conclave.DeviceOf(b.Point) {
		t.Errorf("of touches that did not hold %+v are recorded", got)
	}
	if ben.meeting().Level != 2 {
		t.Errorf("ben was told %+v", ben.meeting())
	}
	anna.noAlarm()
	ben.noAlarm()

	// A member that comes back over another connection keeps what it touched for, until it has lost its keys: a copy of its
	// device, which could come back in its stead, is not given any.
	from = ben.count()
	line.cut()
	from = ben.await("reconnecting", from, state(endpoint.StateReconnecting))
	line.mend()
	from = ben.await("back in its place", from, state(endpoint.StateIn))
	ben.Facts([]conclave.Fact{{Name: "alone", Value: "no"}})
	from = ben.await("quarantine", from, reason("not_alone"))
	ben.Facts([]conclave.Fact{{Name: "alone", Value: "yes"}})
	from = ben.await("another touch asked for", from, reason("assertion_missing"))
	ben.JoinWith(nil, fingerprint[:], touch(m, ben.asks()))
	ben.await("in again", from, state(endpoint.StateIn))
}
