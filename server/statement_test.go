package server_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/pass"
	"conclave/server/servertest"
	"conclave/signal"
)

// renew has a device's statement renewed as over HTTP, and tells its endpoint.
func renew(t testing.TB, w *servertest.World, d *servertest.Device, g *guest) {
	t.Helper()
	renewStatement(t, w, d)
	if err := g.Renewed(d.Statement); err != nil {
		t.Fatal(err)
	}
}

// renewStatement has a device's statement renewed as over HTTP.
func renewStatement(t testing.TB, w *servertest.World, d *servertest.Device) {
	t.Helper()
	nonce := bytes.Repeat([]byte{1}, 32)
	last, err := pass.ParseStatement(d.Statement)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	if next := last.NotBefore.Add(time.Second); at.Before(next) {
		at = next // statements are good to the second: another one than the last
	}
	statement, _, err := w.Server.Directory().Renew(context.Background(), identity.Renewal{Statement: d.Statement, Nonce: nonce, Host: w.Host,
		Signature: d.Sign(signal.RenewContent(nonce, d.Statement, w.Host))}, at)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(statement, d.Statement) {
		t.Fatal("the statement is the same")
	}
	d.Statement = statement
}

// settled waits until the guest's own leaf was renewed: a code of its own that nobody came or went for.
func (g *guest) settled(from int) {
	g.t.Helper()
	g.await("the renewed leaf", from, func(e endpoint.Event) bool { return e.Code != nil && e.Code.Why == "renewed" })
}

func TestOneWhoRenewsInTheRoomStillCommitsWhatTheOthersFollow(t *testing.T) {
	w := startClaims(t)
	people := []conclave.PersonID{"anna", "ben", "cleo", "dora"}
	devices := map[conclave.PersonID]*servertest.Device{}
	for _, p := range people {
		devices[p] = w.Enrol(p)
	}
	m := openRestricted(w, people...)
	guests := map[conclave.PersonID]*guest{}
	for _, p := range people {
		guests[p] = come(t, w, devices[p], string(p), m).in()
	}
	anna, ben, cleo, dora := guests["anna"], guests["ben"], guests["cleo"], guests["dora"]
	alike(t, anna, ben, cleo, dora)
	from := ben.count()
	renew(t, w, devices["ben"], ben)
	ben.settled(from)
	alike(t, anna, ben, cleo, dora)

	// Anna's leaf is beside ben's: it is he who commits her removal.
	began := len(w.Records())
	anna.Facts(notAlone)
	anna.await("quarantine", 0, reason("not_alone"))
	alike(t, ben, cleo, dora)
	var by []conclave.LegID
	for _, e := range w.Records()[began:] {
		if e.Record.Kind == audit.KindCommitRefused {
			t.Error("a commit was refused")
		}
		if e.Record.Kind == audit.KindCommit {
			by = append(by, e.Record.Leg)
		}
	}
	if !slices.Contains(by, cleo.leg("ben")) {
		t.Errorf("ben committed nothing: %v", by)
	}
	// And where he is the only one who could.
	cleo.Leave()
	dora.Leave()
	alike(t, ben)
	from = anna.count()
	anna.Facts(alone)
	anna.await("in again", from, state(endpoint.StateIn))
	alike(t, anna, ben)
	anna.Facts(notAlone)
	alike(t, ben)
	for _, g := range guests {
		g.noAlarm()
	}
	// After a restart of the server his place is kept under the new statement.
	from = ben.count()
	w.Restart()
	ben.await("in", from, state(endpoint.StateIn))
	late := come(t, w, devices["cleo"], "cleo", m).in()
	alike(t, ben, late)
}

func TestOneWhoRenewsOnTheLineCheckAtTheDoorOrInQuarantineComesIn(t *testing.T) {
	w := startClaims(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Closed", Level: 2, Chair: "anna", People: []conclave.PersonID{"ben"}, Door: identity.DoorChair})
	anna := come(t, w, a, "anna", m).in()

	// On the line check: joining crosses the renewal on the way.
	ben := look(t, w, b, "ben", m)
	renew(t, w, b, ben)
	ben.Join(nil)
	ben.await("waiting", 0, state(endpoint.StateWaiting))
	// At the door.
	renew(t, w, b, ben)
	var leg conclave.LegID
	wait(t, "ben at the door", 20*time.Second, func() bool {
		anna.mu.Lock()
		defer anna.mu.Unlock()
		for _, e := range slices.Backward(anna.events) {
			if e.Roster != nil {
				for _, g := range e.Roster.Waiting {
					leg = g.Leg
				}
				return len(e.Roster.Waiting) > 0
			}
		}
		return false
	})
	anna.Decide(leg, true)
	ben.in()
	alike(t, anna, ben)
	// In quarantine.
	from := ben.count()
	ben.Facts(notAlone)
	from = ben.await("quarantine", from, reason("not_alone"))
	renew(t, w, b, ben)
	ben.Facts(alone)
	ben.await("in again", from, state(endpoint.StateIn))
	alike(t, anna, ben)
	anna.noAlarm()
	ben.noAlarm()
	// He can put others out still.
	from = anna.count()
	anna.Facts(notAlone)
	anna.await("quarantine", from, reason("not_alone"))
	alike(t, ben)
}

// What a line was while its device was not believed says nothing of the line: nobody looks at it again before the person does.
func TestOneWhoRenewsAStatementThatHasRunOutOnTheLineCheckMayAskAtOnce(t *testing.T) {
	w := servertest.Start(t)
	d := w.EnrolAt("anna", time.Now().Add(-time.Hour-pass.MaxStatementLife))
	m := w.OpenMeetingWith(identity.Meeting{Title: "Closed", Level: 2, Chair: "anna", People: []conclave.PersonID{"anna"}, Door: identity.DoorInvited})
	c := connect(t, w)
	c.hello(d, m)
	if l := expect[*signal.Line](c); l.Enough || l.Grade != conclave.GradeOpen || !slices.Contains(codes(l.Findings), "statement_expired") {
		t.Fatalf("with a statement that has run out: %+v", l)
	}
	renewStatement(t, w, d)
	c.send(&signal.Restate{Statement: d.Statement})
	expect[*signal.Restated](c)
	if l := expect[*signal.Line](c); !l.Enough || l.Grade != conclave.GradeSealed {
		t.Errorf("renewed: %+v", l)
	}
}

func TestAStatementOfAnotherDeviceIsNotTaken(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	for _, join := range []bool{false, true} {
		c := connect(t, w)
		if join {
			c.admitted(a, m)
		} else {
			c.hello(a, m)
			expect[*signal.Line](c)
		}
		for _, statement := range [][]byte{b.Statement, bytes.Clone(a.Statement[:len(a.Statement)-1]), forged(a.Statement)} {
			c.send(&signal.Restate{Statement: statement})
			if f := expect[*signal.Failed](c); f.Of != "restate" || f.Reason.Code == "server_trouble" {
				t.Errorf("a foreign statement: %+v", f)
			}
		}
	}
}

// forged is a statement whose signature is not the organisation's.
func forged(statement []byte) []byte {
	other := bytes.Clone(statement)
	other[len(other)-1] ^= 1
	return other
}

func TestAStatementThatRunsOutInTheRoomIsRuledOnThenAndLocksNobodyOut(t *testing.T) {
	w := servertest.Start(t)
	const left = 8 * time.Second
	soon := time.Now().Add(left - pass.MaxStatementLife)
	a, b, c, d := w.Enrol("anna"), w.EnrolAt("ben", soon), w.EnrolAt("cleo", soon), w.Enrol("dora")
	m := w.OpenMeeting("anna", "ben", "cleo", "dora")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	var line wire
	cleo := comeOver(t, w, c, "cleo", m, &line).in()
	alike(t, anna, ben, cleo)
	// Of one whose line is lost it is seen too.
	line.cut()
	from := ben.await("quarantine", 0, reason("statement_expired"))
	dora := come(t, w, d, "dora", m).in()
	if late := time.Since(soon.Add(pass.MaxStatementLife).Truncate(time.Second)); late < 0 {
		t.Errorf("ruled on %v before its end", -late)
	}
	alike(t, anna, dora)
	if _, key := ben.keys.now(); key != nil {
		t.Error("ben has keys")
	}
	renew(t, w, b, ben)
	ben.await("in again", from, state(endpoint.StateIn))
	alike(t, anna, ben, dora)
	for _, g := range []*guest{anna, ben, dora} {
		g.noAlarm()
	}
}

func TestAPassEndsWithTheStatement(t *testing.T) {
	w := servertest.Start(t)
	a := w.EnrolAt("anna", time.Now().Add(time.Minute-pass.MaxStatementLife))
	statement, err := pass.ParseStatement(a.Statement)
	if err != nil {
		t.Fatal(err)
	}
	p, err := pass.ParsePass(connect(t, w).admitted(a, w.OpenMeeting("anna")).Pass)
	if err != nil || !p.NotAfter.Equal(statement.NotAfter) {
		t.Errorf("the pass ends at %v, the statement at %v: %v", p.NotAfter, statement.NotAfter, err)
	}
}
