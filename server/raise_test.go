package server_test

import (
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
	"conclave/server"
	"conclave/server/servertest"
	"conclave/signal"
)

func (g *guest) meeting() *endpoint.MeetingEvent {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range slices.Backward(g.events) {
		if e.Meeting != nil {
			return e.Meeting
		}
	}
	return nil
}

func (g *guest) roster() *endpoint.RosterEvent {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range slices.Backward(g.events) {
		if e.Roster != nil {
			return e.Roster
		}
	}
	return new(endpoint.RosterEvent)
}

func failed(of, code string) func(endpoint.Event) bool {
	return func(e endpoint.Event) bool {
		return e.Failed != nil && e.Failed.Of == of && e.Failed.Reason.Code == code
	}
}

func recorded(w *servertest.World, kind audit.Kind) (outcomes []string) {
	for _, e := range w.Records() {
		if e.Record.Kind == kind {
			outcomes = append(outcomes, e.Record.Outcome)
		}
	}
	return outcomes
}

func TestALevelIsRaisedOnceNobodyHoldsKeysWhoDoesNotPass(t *testing.T) {
	w := startClaims(t)
	a, b, c, d := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo"), w.Enrol("dora")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Open", Level: 1, Chair: "anna", People: []conclave.PersonID{"ben", "cleo", "dora"}, Door: identity.DoorInvited})
	anna, ben, cleo := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in(), come(t, w, c, "cleo", m).in()
	ben.Facts(notAlone) // good enough for INTERNAL
	alike(t, anna, ben, cleo)
	cleo.Raise(2)
	cleo.await("no", 0, failed("raise", "not_chair"))
	anna.Raise(1)
	anna.await("no", 0, failed("raise", "level_not_higher"))
	anna.Raise(9)
	anna.await("no", 0, failed("raise", "level_not_higher"))

	na, nc := anna.count(), cleo.count()
	began := time.Now()
	anna.Raise(2)
	ben.await("quarantine", 0, reason("not_alone"))
	raised := func(e endpoint.Event) bool {
		return e.Meeting != nil && e.Meeting.Level == 2 && e.Meeting.Raised == "anna"
	}
	anna.await("the new level", na, raised)
	cleo.await("the new level", nc, raised)
	t.Logf("raised after %v", time.Since(began))
	if _, key := ben.keys.now(); key != nil {
		t.Error("ben has keys")
	}
	alike(t, anna, cleo)
	dora := come(t, w, d, "dora", m).in() // who joins sees it
	if dora.meeting().Level != 2 || dora.meeting().LevelName != "RESTRICTED" {
		t.Errorf("dora was told %+v", dora.meeting())
	}
	ben.Facts(alone)
	ben.in()
	alike(t, anna, ben, cleo, dora)
	if ben.meeting().Level != 2 {
		t.Errorf("ben was told %+v", ben.meeting())
	}
	if got := recorded(w, audit.KindLevelRaised); !slices.Equal(got, []string{"wait", "done"}) {
		t.Errorf("recorded %v", got)
	}
	var order []audit.Kind
	for _, e := range w.Records() {
		switch e.Record.Kind {
		case audit.KindLevelRaised, audit.KindQuarantine, audit.KindRemoved:
			order = append(order, e.Record.Kind)
		}
	}
	if want := []audit.Kind{audit.KindLevelRaised, audit.KindQuarantine, audit.KindRemoved, audit.KindLevelRaised}; !slices.Equal(order, want) {
		t.Errorf("in the order %v", order)
	}
	for _, g := range []*guest{anna, ben, cleo, dora} {
		g.noAlarm()
	}
	// And it is so for good.
	w.Restart()
	alike(t, anna, ben, cleo, dora)
	if meeting, err := w.Server.Directory().Meeting(context.Background(), m); err != nil || meeting.Level != 2 {
		t.Errorf("the directory has level %d, %v", meeting.Level, err)
	}
}

func TestWhoComesWhileALevelIsRaisedWaitsAndComesInAtTheNewOne(t *testing.T) {
	w := startClaims(t)
	people := []conclave.PersonID{"anna", "ben", "cleo", "dora", "emil"}
	var devices []*servertest.Device
	for _, p := range people {
		devices = append(devices, w.Enrol(p))
	}
	m := w.OpenMeeting(people...)
	anna, ben := come(t, w, devices[0], "anna", m).in(), come(t, w, devices[1], "ben", m).in()
	alike(t, anna, ben)
	ben.Facts(notAlone)
	anna.Raise(2)
	var late []*guest
	for i, p := range people[2:] {
		late = append(late, come(t, w, devices[i+2], string(p), m))
	}
	for _, g := range late {
		g.in()
		if g.meeting().Level != 2 {
			t.Errorf("%s came in at level %d", g.name, g.meeting().Level)
		}
	}
	alike(t, append(late, anna)...)
	for _, g := range late {
		g.noAlarm()
	}
}

func TestAPolicyThatIsReadAnewIsInForceInEveryRoom(t *testing.T) {
	strict := claimsPolicy(t, "")
	loose := admission.Default()
	var next atomic.Pointer[admission.Policy]
	next.Store(strict)
	w := servertest.StartWith(t, servertest.Options{Policy: loose, Reload: func() (server.Ground, error) { return server.Ground{Policy: next.Load()}, nil }})
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := openRestricted(w, "anna", "ben", "cleo")
	anna, ben, cleo := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in(), come(t, w, c, "cleo", m).in()
	ben.Facts(notAlone)
	alike(t, anna, ben, cleo)
	if changed, err := w.Server.Reload(context.Background()); err != nil || !changed {
		t.Fatal(changed, err)
	}
	ben.await("quarantine", 0, reason("not_alone"))
	inForce := func(n int) func() bool { return func() bool { return len(recorded(w, audit.KindPolicyChanged)) == n } }
	wait(t, "the policy", 10*time.Second, inForce(3)) // read; under way; in force
	alike(t, anna, cleo)
	next.Store(loose)
	if changed, err := w.Server.Reload(context.Background()); err != nil || !changed {
		t.Fatal(changed, err)
	}
	ben.in()
	wait(t, "the policy of before", 10*time.Second, inForce(6))
	alike(t, anna, ben, cleo)
	for _, g := range []*guest{anna, ben, cleo} {
		g.noAlarm()
	}
}

func TestAnybodyPausesTheRoomWithoutANameAndTheChairContinues(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	ben.Pause(true, true)
	for _, g := range []*guest{anna, ben} {
		wait(t, "the pause", 5*time.Second, func() bool { p := g.roster().Paused; return p != nil && p.By == "" && p.Can == (g == anna) })
		if !g.keys.isHeld() {
			t.Errorf("%s goes on sending", g.name)
		}
	}
	ben.Pause(false, false)
	ben.await("no", 0, failed("pause", "not_yours_to_continue"))
	na, nb := anna.count(), ben.count()
	w.Restart() // it outlives the server
	anna.await("in again", na, state(endpoint.StateIn))
	ben.await("in again", nb, state(endpoint.StateIn))
	wait(t, "the pause after a restart", 5*time.Second, func() bool { return ben.roster().Paused != nil })
	anna.Pause(false, false)
	wait(t, "the end of the pause", 5*time.Second, func() bool { return ben.roster().Paused == nil && !ben.keys.isHeld() })
	ben.Pause(true, false)
	wait(t, "ben's pause", 5*time.Second, func() bool { p := ben.roster().Paused; return p != nil && p.By == "ben" && p.Can })
	ben.Pause(false, false)
	wait(t, "its end", 5*time.Second, func() bool { return anna.roster().Paused == nil })
	for _, e := range w.Records() {
		if e.Record.Kind == audit.KindPaused {
			if e.Record.By != (conclave.LegID{}) || e.Record.Device != (conclave.DeviceID{}) {
				t.Error("the record names who paused without a name")
			}
			break
		}
	}
	if p, c := recorded(w, audit.KindPaused), recorded(w, audit.KindContinued); len(p) != 2 || len(c) != 2 {
		t.Errorf("%d pauses and %d ends recorded", len(p), len(c))
	}
}

const exceptable = `
@reason("headset_radio")
@fix("use_wired_headset")
@exception("two")
forbid (principal, action == Action::"join", resource in Level::"RESTRICTED")
when { context.claimed.hasTag("radio") && context.claimed.getTag("radio") == "yes" };
`

func TestAnExceptionByTwoLetsALegInUntilItsEnd(t *testing.T) {
	var ahead atomic.Int64
	w := servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, exceptable), Now: func() time.Time {
		return time.Now().Add(time.Duration(ahead.Load()))
	}})
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := openRestricted(w, "anna", "ben", "cleo")
	anna, ben, cleo := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in(), come(t, w, c, "cleo", m).in()
	alike(t, anna, ben, cleo)
	leg := anna.leg("cleo")
	cleo.Facts([]conclave.Fact{{Name: "radio", Value: "yes"}})
	cleo.await("quarantine", 0, reason("headset_radio"))
	anna.Except(leg, "no other headset, and it is her paper", 1)
	var id uint32
	wait(t, "the question", 5*time.Second, func() bool {
		for _, e := range ben.roster().Exceptions {
			id = e.ID
			return e.Can && e.Name == "cleo" && e.By == "anna" && e.Second == "" && e.Waives[0].Code == "headset_radio"
		}
		return false
	})
	anna.Confirm(id, true)
	anna.await("no", 0, failed("confirm", "exception_second"))
	from := cleo.count()
	ben.Confirm(id, true)
	cleo.await("in by exception", from, state(endpoint.StateIn))
	alike(t, anna, ben, cleo)
	wait(t, "the exception on every screen", 5*time.Second, func() bool {
		for _, g := range []*guest{anna, ben, cleo} {
			x := g.roster().Exceptions
			if len(x) != 1 || x[0].Second != "ben" || !slices.Equal(g.roster().Closed, []string{"screen"}) {
				return false
			}
		}
		return true
	})
	anna.SetState(signal.State{Screen: true})
	anna.await("no screen", 0, failed("state", "screen_closed"))
	// It ends by itself.
	from = cleo.count()
	ahead.Store(int64(62 * time.Second))
	ben.Facts(alone) // wakes the room, whose timer runs by the true clock
	cleo.await("quarantine", from, reason("headset_radio"))
	alike(t, anna, ben)
	wait(t, "its end on the screens", 5*time.Second, func() bool { return len(ben.roster().Exceptions)+len(ben.roster().Closed) == 0 })
	if got := recorded(w, audit.KindException); !slices.Equal(got, []string{"wait", "admit", "done"}) {
		t.Errorf("recorded %v", got)
	}
}

func TestOneWhomPolicyRefusesStandsAtTheDoorIfTwoMayExceptThem(t *testing.T) {
	w := servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, exceptable)})
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := openRestricted(w, "anna", "ben", "cleo")
	early := comeWith(t, w, c, "cleo", m, []conclave.Fact{{Name: "radio", Value: "yes"}})
	early.await("quarantine", 0, reason("headset_radio")) // nobody is there who could: that is not told
	early.Leave()
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	cleo := comeWith(t, w, c, "cleo", m, []conclave.Fact{{Name: "radio", Value: "yes"}})
	cleo.await("quarantine", 0, reason("headset_radio"))
	var leg conclave.LegID
	wait(t, "cleo at the door", 5*time.Second, func() bool {
		for _, g := range anna.roster().Waiting {
			leg = g.Leg
			return g.Name == "cleo" && len(g.Reasons) == 1
		}
		return false
	})
	if len(ben.roster().Away)+len(ben.roster().Waiting) != 0 {
		t.Error("ben sees who stands at the door")
	}
	anna.Decide(leg, true)
	anna.await("no", 0, failed("decide", "headset_radio"))
	anna.Except(leg, "she has the map", 5)
	wait(t, "the question", 5*time.Second, func() bool { return len(ben.roster().Exceptions) == 1 })
	ben.Confirm(ben.roster().Exceptions[0].ID, true)
	cleo.in()
	alike(t, anna, ben, cleo)
}

func TestWhoComesBeforeTheChairSeesNobodyAndComesInWithIt(t *testing.T) {
	w := servertest.Start(t)
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := openRestricted(w, "anna", "ben", "cleo")
	ben, cleo := come(t, w, b, "ben", m), come(t, w, c, "cleo", m)
	for _, g := range []*guest{ben, cleo} {
		g.await("waiting", 0, func(e endpoint.Event) bool {
			return e.State != nil && e.State.State == endpoint.StateWaiting && e.State.Early
		})
	}
	if len(ben.roster().Members) != 0 || ben.meeting() != nil {
		t.Error("ben was told of the meeting")
	}
	anna := come(t, w, a, "anna", m).in()
	ben.in()
	cleo.in()
	alike(t, anna, ben, cleo)
	for _, g := range []*guest{anna, ben, cleo} {
		g.noAlarm()
	}
}

func TestAMeetingEndsAtItsTime(t *testing.T) {
	w := servertest.Start(t)
	a := w.Enrol("anna")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Short", Chair: "anna", Door: identity.DoorInvited, Until: time.Now().Add(2 * time.Second)})
	anna := come(t, w, a, "anna", m).in()
	anna.await("the end", 0, reason("meeting_over"))
	come(t, w, a, "anna", m).await("refusal", 0, reason("meeting_over"))
	if got := recorded(w, audit.KindMeetingEnded); len(got) != 1 {
		t.Errorf("recorded %d ends", len(got))
	}
}
