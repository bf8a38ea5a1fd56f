package server_test

import (
	"bytes"
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/server/servertest"
)

// notAlone is a claim that keeps a leg out of a RESTRICTED meeting; alone is one that does not.
var (
	notAlone = []conclave.Fact{{Name: "alone", Value: "no"}}
	alone    = []conclave.Fact{{Name: "alone", Value: "yes"}}
)

func (g *guest) away() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range slices.Backward(g.events) {
		if e.Roster != nil {
			names := []string{}
			for _, a := range e.Roster.Away {
				names = append(names, a.Name)
			}
			return names
		}
	}
	return nil
}

// startClaims starts a server whose policy asks at RESTRICTED what the default asks at CONFIDENTIAL only: to be alone. It is
// the fact that a test can change.
func startClaims(t testing.TB) *servertest.World {
	t.Helper()
	return servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, "")})
}

func claimsPolicy(t testing.TB, more string) *admission.Policy {
	t.Helper()
	source := append(admission.DefaultPolicy(), []byte(`
@reason("not_alone")
@fix("be_alone")
forbid (principal, action == Action::"join", resource in Level::"RESTRICTED")
when { context.claimed.hasTag("alone") && context.claimed.getTag("alone") == "no" };
`+more)...)
	p, err := admission.Load(source, admission.DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func openRestricted(w *servertest.World, people ...conclave.PersonID) conclave.MeetingID {
	return w.OpenMeetingWith(identity.Meeting{Title: "Closed", Level: 2, Chair: people[0], People: people, Door: identity.DoorInvited})
}

func TestALegWhoseLineTurnsBadIsKeylessAtOnceAndBackOnceItIsGood(t *testing.T) {
	w := startClaims(t)
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := openRestricted(w, "anna", "ben", "cleo")
	anna, ben, cleo := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in(), come(t, w, c, "cleo", m).in()
	alike(t, anna, ben, cleo)
	_, before := anna.keys.now()
	from := ben.count()
	began := time.Now()
	if err := ben.Facts(notAlone); err != nil {
		t.Fatal(err)
	}
	ben.await("quarantine", from, reason("not_alone"))
	alike(t, anna, cleo)
	t.Logf("others have new keys after %v", time.Since(began))
	if _, key := ben.keys.now(); key != nil {
		t.Error("ben has keys in quarantine")
	}
	if _, key := anna.keys.now(); bytes.Equal(key, before) {
		t.Error("the keys did not change")
	}
	wait(t, "cleo's sight of it", 5*time.Second, func() bool { return slices.Equal(cleo.away(), []string{"ben"}) })

	from = ben.count()
	began = time.Now()
	ben.Facts(alone)
	ben.await("in again", from, state(endpoint.StateIn))
	t.Logf("back after %v", time.Since(began))
	alike(t, anna, ben, cleo)
	wait(t, "cleo's sight of the return", 5*time.Second, func() bool { return len(cleo.away()) == 0 })
	for _, g := range []*guest{anna, ben, cleo} {
		g.noAlarm()
	}
	var kinds []audit.Kind
	for _, e := range w.Records() {
		switch e.Record.Kind {
		case audit.KindQuarantine, audit.KindHealed:
			kinds = append(kinds, e.Record.Kind)
		}
	}
	if !slices.Equal(kinds, []audit.Kind{audit.KindQuarantine, audit.KindHealed}) {
		t.Errorf("recorded %v", kinds)
	}
}

func TestALegInQuarantineThatLosesItsLineComesBackToIt(t *testing.T) {
	w := startClaims(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := openRestricted(w, "anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	var line wire
	ben := comeOver(t, w, b, "ben", m, &line).in()
	alike(t, anna, ben)
	ben.Facts(notAlone)
	ben.await("quarantine", 0, state(endpoint.StateQuarantined))
	from := ben.count()
	line.cut()
	ben.await("reconnecting", from, state(endpoint.StateReconnecting))
	line.mend()
	from = ben.await("quarantine again", from, state(endpoint.StateQuarantined))
	ben.Facts(alone)
	ben.await("in again", from, state(endpoint.StateIn))
	alike(t, anna, ben)
	anna.noAlarm()
	ben.noAlarm()
}

func TestAMemberThatComesBackWithAWorseLineIsQuarantined(t *testing.T) {
	w := startClaims(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := openRestricted(w, "anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	var line wire
	ben := comeOver(t, w, b, "ben", m, &line).in()
	alike(t, anna, ben)
	from := ben.count()
	line.cut()
	ben.Facts(notAlone) // known only once it is back
	ben.await("reconnecting", from, state(endpoint.StateReconnecting))
	line.mend()
	ben.await("quarantine", from, state(endpoint.StateQuarantined))
	alike(t, anna)
	if _, key := ben.keys.now(); key != nil {
		t.Error("ben has keys in quarantine")
	}
}

func TestTheOnlyMemberIsQuarantinedAndMakesTheNextGroup(t *testing.T) {
	w := startClaims(t)
	a := w.Enrol("anna")
	m := openRestricted(w, "anna")
	anna := come(t, w, a, "anna", m).in()
	from := anna.count()
	anna.Facts(notAlone)
	from = anna.await("quarantine", from, state(endpoint.StateQuarantined))
	anna.Facts(alone)
	anna.await("in again", from, state(endpoint.StateIn))
	anna.noAlarm()
}

func TestAGroupAtTheDoorIsLetInAtOnceAndEachIsRuledOnByItself(t *testing.T) {
	w := startClaims(t)
	people := []conclave.PersonID{"anna", "ben", "cleo", "dora"}
	var devices []*servertest.Device
	for _, p := range people {
		devices = append(devices, w.Enrol(p))
	}
	m := w.OpenMeetingWith(identity.Meeting{Title: "Closed", Level: 2, Chair: "anna", People: people, Door: identity.DoorChair})
	anna := come(t, w, devices[0], "anna", m).in()
	var group []*guest
	for i, p := range people[1:] {
		g := come(t, w, devices[i+1], string(p), m)
		g.await("waiting", 0, state(endpoint.StateWaiting))
		group = append(group, g)
	}
	door := map[string]conclave.LegID{}
	wait(t, "all at the door", 5*time.Second, func() bool {
		anna.mu.Lock()
		defer anna.mu.Unlock()
		for _, e := range anna.events {
			if e.Roster != nil {
				for _, g := range e.Roster.Waiting {
					door[g.Name] = g.Leg
				}
			}
		}
		return len(door) == 3
	})
	dora := group[2]
	dora.Facts(notAlone)
	dora.await("quarantine at the door", 0, state(endpoint.StateQuarantined))
	anna.DecideAll([]conclave.LegID{door["ben"], door["cleo"], door["dora"]}, true)
	group[0].in()
	group[1].in()
	alike(t, anna, group[0], group[1])
	if _, key := dora.keys.now(); key != nil {
		t.Error("the chair's word outranked policy")
	}
	dora.Facts(alone) // the chair has let her in: she comes by herself now
	dora.in()
	alike(t, anna, group[0], group[1], dora)
}

// deaf is a line on which nothing arrives any more, in either direction, and which nobody has closed: a tunnel, a lift.
type deaf struct {
	endpoint.Conn
	on *atomic.Bool
}

func (d deaf) Read(ctx context.Context) ([]byte, error) {
	frame, err := d.Conn.Read(ctx)
	for err == nil && d.on.Load() {
		frame, err = d.Conn.Read(ctx)
	}
	return frame, err
}

func (d deaf) Write(ctx context.Context, frame []byte) error {
	if d.on.Load() {
		return nil
	}
	return d.Conn.Write(ctx, frame)
}

// Whose heartbeats are lost is cut, and the room speaks under keys that it does not hold, within seconds: two after a
// connection that broke, and as many after six of silence. Its place is kept: it is back by itself within two seconds once the
// line is good.
func TestALegWhoseHeartbeatsAreLostIsWithoutKeysWithinSecondsAndBackByItself(t *testing.T) {
	for name, due := range map[string]time.Duration{"broken": 4 * time.Second, "silent": 9 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := servertest.Start(t)
			a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
			m := openRestricted(w, "anna", "ben", "cleo")
			anna, cleo := come(t, w, a, "anna", m).in(), come(t, w, c, "cleo", m).in()
			var dead atomic.Bool
			line := wire{keep: func(c endpoint.Conn) endpoint.Conn { return deaf{c, &dead} }}
			ben := comeOver(t, w, b, "ben", m, &line).in()
			alike(t, anna, ben, cleo)
			epoch, held := ben.keys.now()
			from := ben.count()
			lost := time.Now()
			if name == "broken" {
				line.cut()
			} else {
				line.mu.Lock()
				line.off = true
				line.mu.Unlock()
				dead.Store(true)
			}
			wait(t, "new keys", 20*time.Second, func() bool { now, _ := anna.keys.now(); return now > epoch })
			rekeyed := time.Since(lost)
			if rekeyed > due || rekeyed < 2*time.Second {
				t.Errorf("the keys were changed after %v", rekeyed)
			}
			if _, now := anna.keys.now(); slices.Equal(now, held) {
				t.Error("the room speaks under the keys that ben holds")
			}
			alike(t, anna, cleo)
			away := anna.roster().Away
			if len(away) != 1 || away[0].Name != "ben" || away[0].Reasons[0].Code != "line_lost" {
				t.Errorf("the others see %+v", away)
			}
			if got := kindsOf(w, m, audit.KindQuarantine); len(got) != 1 || got[0].Record.Codes[0] != "line_lost" {
				t.Errorf("recorded %+v", got)
			}
			ben.await("reconnecting", from, state(endpoint.StateReconnecting))
			from = ben.count()
			dead.Store(false)
			line.mend()
			mended := time.Now()
			ben.await("in again", from, state(endpoint.StateIn))
			back := time.Since(mended)
			if back > 2*time.Second {
				t.Errorf("back after %v", back)
			}
			alike(t, anna, cleo, ben)
			for _, g := range []*guest{anna, cleo, ben} {
				g.noAlarm()
			}
			t.Logf("new keys %v after the line was lost; back %v after it was mended", rekeyed.Round(time.Millisecond), back.Round(time.Millisecond))
		})
	}
}

// One whose line was lost for a moment comes back to its keys.
func TestALineLostForAMomentChangesNoKeys(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := openRestricted(w, "anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	var line wire
	ben := comeOver(t, w, b, "ben", m, &line).in()
	alike(t, anna, ben)
	epoch, _ := anna.keys.now()
	from := ben.count()
	line.cut()
	ben.await("reconnecting", from, state(endpoint.StateReconnecting))
	line.mend()
	ben.await("in again", from, state(endpoint.StateIn))
	time.Sleep(3 * time.Second)
	if now, _ := anna.keys.now(); now != epoch {
		t.Errorf("epoch %d, was %d", now, epoch)
	}
	alike(t, anna, ben)
	anna.noAlarm()
}
