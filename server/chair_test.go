package server_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/server/servertest"
	"conclave/signal"
)

// shown waits until the guest is shown a room that is so, and returns it.
func (g *guest) shown(what string, is func(*endpoint.RosterEvent) bool) *endpoint.RosterEvent {
	g.t.Helper()
	wait(g.t, g.name+" to be shown "+what, 10*time.Second, func() bool { return is(g.roster()) })
	return g.roster()
}

// role is how the room shows one of its members.
func role(r *endpoint.RosterEvent, name string) conclave.Role {
	for _, m := range r.Members {
		if m.Name == name {
			return m.Role
		}
	}
	return ""
}

// letIn has the chair let in the one at the door.
func (g *guest) letIn() {
	g.t.Helper()
	g.Decide(g.shown("one at the door", func(r *endpoint.RosterEvent) bool { return len(r.Waiting) == 1 }).Waiting[0].Leg, true)
}

func outcomes(w *servertest.World, m conclave.MeetingID, kind audit.Kind) (out []string) {
	for _, e := range kindsOf(w, m, kind) {
		out = append(out, e.Record.Outcome)
	}
	return out
}

func TestTheChairMutesAllAndEverybodyIsToldByWhom(t *testing.T) {
	w := servertest.Start(t)
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := w.OpenMeeting("anna", "ben", "cleo")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	from := ben.count()
	ben.Preside("mute_all", conclave.LegID{})
	ben.await("not_chair", from, failed("preside", "not_chair"))
	anna.Preside("mute_all", conclave.LegID{})
	hushed := func(r *endpoint.RosterEvent) bool { return r.Hushed != nil }
	if h := ben.shown("that all are muted", hushed).Hushed; h.By != "anna" || h.Mine {
		t.Errorf("ben is told %+v", h)
	}
	first := anna.shown("that all are muted", hushed).Hushed
	if first.By != "anna" || !first.Mine {
		t.Errorf("anna is told %+v", first)
	}
	anna.Preside("mute_all", conclave.LegID{})
	ben.shown("it again", func(r *endpoint.RosterEvent) bool { return r.Hushed != nil && r.Hushed.Since.After(first.Since) })
	if records := kindsOf(w, m, audit.KindAllMuted); len(records) != 2 || records[0].Record.By != anna.leg("anna") {
		t.Errorf("recorded %+v", records)
	}
	// Whoever comes later is not muted by it, but is told; nothing else is different.
	alike(t, anna, ben, come(t, w, c, "cleo", m).in())
	ben.noAlarm()
}

func TestAClosedDoorTurnsAwayWhoIsNewWithOneAnswerWhoeverIsIn(t *testing.T) {
	w := servertest.Start(t)
	a, b, c, d, x := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo"), w.Enrol("dora"), w.Enrol("xenia")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Test", Chair: "anna", People: []conclave.PersonID{"anna", "ben", "cleo", "dora"}, Door: identity.DoorChair})
	anna := come(t, w, a, "anna", m).in()
	var line wire
	ben := comeOver(t, w, b, "ben", m, &line)
	ben.await("door", 0, state(endpoint.StateWaiting))
	anna.letIn()
	alike(t, anna, ben.in())
	cleo := come(t, w, c, "cleo", m)
	cleo.await("door", 0, state(endpoint.StateWaiting))
	stranger := answerTo(t, w, x, m)

	from := ben.count()
	ben.Preside("close_door", conclave.LegID{})
	ben.await("not_chair", from, failed("preside", "not_chair"))
	anna.Preside("close_door", conclave.LegID{})
	for _, g := range []*guest{anna, ben} {
		if s := g.shown("that the door is closed", func(r *endpoint.RosterEvent) bool { return r.Shut != nil }).Shut; s.By != "anna" || s.Mine != (g == anna) {
			t.Errorf("%s is told %+v", g.name, s)
		}
	}
	cleo.await("the end", 0, reason("door_closed")) // nobody waits at it
	full := answerTo(t, w, d, m)
	var refused signal.Refused
	if json.Unmarshal([]byte(full), &struct{ Body *signal.Refused }{&refused}); len(refused.Reasons) != 1 || refused.Reasons[0].Code != "door_closed" || refused.Reasons[0].Fix == "" || !refused.Again {
		t.Fatalf("dora is told %s", full)
	}
	if now := answerTo(t, w, x, m); now != stranger {
		t.Errorf("a stranger is told %s, and before it was closed %s", now, stranger)
	}
	// Who is in keeps their place: over a lost line, and over a restart of the server.
	from = ben.count()
	line.cut()
	time.Sleep(100 * time.Millisecond)
	line.mend()
	ben.await("in again", from, state(endpoint.StateIn))
	alike(t, anna, ben)
	from, also := ben.count(), anna.count()
	w.Restart()
	ben.await("in again", from, state(endpoint.StateIn))
	anna.await("in again", also, state(endpoint.StateIn))
	alike(t, anna, ben)
	anna.shown("that the door is closed", func(r *endpoint.RosterEvent) bool { return r.Shut != nil })
	if now := answerTo(t, w, d, m); now != full {
		t.Errorf("after a restart dora is told %s", now)
	}
	// An empty room has the same answer; the chair alone comes in, and opens it.
	ben.Leave()
	anna.Leave()
	wait(t, "the room to be empty", 5*time.Second, func() bool { return w.Server.Rooms() == 0 })
	if now := answerTo(t, w, d, m); now != full {
		t.Errorf("in an empty room dora is told %s", now)
	}
	again := come(t, w, a, "anna", m).in()
	again.shown("that the door is closed", func(r *endpoint.RosterEvent) bool { return r.Shut != nil })
	if now := answerTo(t, w, d, m); now != full {
		t.Errorf("with the chair back dora is told %s", now)
	}
	again.Preside("open_door", conclave.LegID{})
	again.shown("that the door is open", func(r *endpoint.RosterEvent) bool { return r.Shut == nil })
	dora := come(t, w, d, "dora", m)
	dora.await("door", 0, state(endpoint.StateWaiting))
	again.letIn()
	alike(t, again, dora.in())
	if got := outcomes(w, m, audit.KindDoor); !slices.Equal(got, []string{"closed", "opened"}) {
		t.Errorf("recorded %v", got)
	}
	turned := 0
	for _, e := range kindsOf(w, m, audit.KindRuling) {
		if slices.Equal(e.Record.Codes, []string{"door_closed"}) && e.Record.Outcome == "refuse" {
			turned++
		}
	}
	if turned != 4 {
		t.Errorf("%d that were turned away stand in the record", turned)
	}
}

// answerTo is what a device is answered that asks to be let in, as it came.
func answerTo(t *testing.T, w *servertest.World, d *servertest.Device, m conclave.MeetingID) string {
	t.Helper()
	r := joining(t, w, d, m)
	defer r.socket.CloseNow()
	return string(signal.Encode(expect[*signal.Refused](r)))
}

// One who is on the way in when the door is closed has a pass already, and gets no key.
func TestADoorIsClosedToWhoIsOnTheWayInToo(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	i := intrude(t, w, b, m)
	epoch, _ := anna.keys.now()
	anna.Preside("close_door", conclave.LegID{})
	anna.shown("that the door is closed", func(r *endpoint.RosterEvent) bool { return r.Shut != nil })
	i.send(i.enter(i.papers()))
	if e := expect[*signal.Ended](i.raw); e.Reason.Code != "door_closed" {
		t.Errorf("told %+v", e)
	}
	if now, _ := anna.keys.now(); now != epoch || len(anna.members()) != 1 {
		t.Error("somebody came in through a closed door")
	}
}

// handOver has the chair go from one to another.
func handOver(from, to *guest) {
	from.t.Helper()
	from.Preside("offer", from.leg(to.name))
	to.shown("the offer", func(r *endpoint.RosterEvent) bool { return r.Offered != nil && r.Offered.Can })
	to.Preside("take", conclave.LegID{})
	for _, g := range []*guest{from, to} {
		g.shown("the new chair", func(r *endpoint.RosterEvent) bool { return r.Offered == nil && role(r, to.name) == conclave.RoleChair })
	}
}

func TestTheChairIsHandedOverWithTwoWords(t *testing.T) {
	w := servertest.Start(t)
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := w.OpenMeeting("anna", "ben", "cleo")
	anna, ben, cleo := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in(), come(t, w, c, "cleo", m).in()
	alike(t, anna, ben, cleo)
	epoch, _ := anna.keys.now()
	from := cleo.count()
	cleo.Preside("offer", cleo.leg("ben"))
	cleo.await("not_chair", from, failed("preside", "not_chair"))
	anna.Preside("offer", anna.leg("ben"))
	offered := cleo.shown("the offer", func(r *endpoint.RosterEvent) bool { return r.Offered != nil }).Offered
	if offered.By != "anna" || offered.To != "ben" || offered.Can {
		t.Errorf("cleo is told %+v", offered)
	}
	from = cleo.count()
	cleo.Preside("take", conclave.LegID{}) // another's
	cleo.await("chair_not_offered", from, failed("preside", "chair_not_offered"))
	ben.Preside("withdraw", conclave.LegID{})
	anna.shown("no offer", func(r *endpoint.RosterEvent) bool { return r.Offered == nil })
	if role(anna.roster(), "anna") != conclave.RoleChair {
		t.Error("the chair went to who declined it")
	}
	handOver(anna, ben)
	from = anna.count()
	anna.Remove(anna.leg("cleo"), "other")
	anna.await("not_chair", from, failed("remove", "not_chair"))
	anna.Preside("close_door", conclave.LegID{})
	anna.await("not_chair", from, failed("preside", "not_chair"))
	if now, _ := anna.keys.now(); now != epoch {
		t.Error("the keys changed for it")
	}
	ben.Remove(ben.leg("cleo"), "other")
	cleo.await("end", 0, reason("removed_other"))
	alike(t, anna, ben)
	// It outlives a restart of the server.
	from, also := ben.count(), anna.count()
	w.Restart()
	ben.await("in again", from, state(endpoint.StateIn))
	anna.await("in again", also, state(endpoint.StateIn))
	alike(t, anna, ben)
	ben.shown("his chair", func(r *endpoint.RosterEvent) bool {
		return role(r, "ben") == conclave.RoleChair && role(r, "anna") == conclave.RoleMember
	})
	// The meeting's own chair comes back later: an ordinary member, while ben has it.
	anna.Leave()
	alike(t, ben)
	late := come(t, w, a, "anna", m).in()
	alike(t, ben, late)
	if r := late.shown("who has the chair", func(r *endpoint.RosterEvent) bool { return role(r, "ben") != "" && role(r, "anna") != "" }); role(r, "anna") != conclave.RoleMember || role(r, "ben") != conclave.RoleChair {
		t.Error("who gave the chair away took it back by coming")
	}
	// He leaves: it is hers again.
	ben.Leave()
	late.shown("her chair", func(r *endpoint.RosterEvent) bool { return role(r, "anna") == conclave.RoleChair })
	late.Preside("close_door", conclave.LegID{})
	late.shown("that the door is closed", func(r *endpoint.RosterEvent) bool { return r.Shut != nil })
	if got := outcomes(w, m, audit.KindChair); !slices.Equal(got, []string{"wait", "refuse", "wait", "done", "back"}) {
		t.Errorf("recorded %v", got)
	}
	for _, g := range []*guest{anna, ben, late} {
		g.noAlarm()
	}
}

func TestAChairThatWasGivenIsTheMeetingsOwnAgainOnceItsHoldersLineIsBad(t *testing.T) {
	w := startClaims(t)
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := openRestricted(w, "anna", "ben", "cleo")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	handOver(anna, ben)
	from := ben.count()
	ben.Facts(notAlone)
	ben.await("quarantine", from, state(endpoint.StateQuarantined))
	anna.shown("her chair", func(r *endpoint.RosterEvent) bool { return role(r, "anna") == conclave.RoleChair })
	from = ben.count()
	ben.Facts(alone)
	ben.await("in again", from, state(endpoint.StateIn))
	alike(t, anna, ben)
	if r := ben.shown("who has the chair", func(r *endpoint.RosterEvent) bool { return role(r, "ben") != "" && role(r, "anna") != "" }); role(r, "ben") != conclave.RoleMember || role(r, "anna") != conclave.RoleChair {
		t.Error("the chair came back with the line")
	}
	// A meeting that begins with its chair begins with its own: once all are gone, whoever had it by a gift waits for it.
	handOver(anna, ben)
	anna.Leave()
	alike(t, ben)
	ben.Leave()
	wait(t, "the room to be empty", 5*time.Second, func() bool { return w.Server.Rooms() == 0 })
	early := come(t, w, b, "ben", m)
	early.await("door", 0, func(e endpoint.Event) bool {
		return e.State != nil && e.State.State == endpoint.StateWaiting && e.State.Early
	})
	cleo := come(t, w, c, "cleo", m)
	cleo.await("door", 0, state(endpoint.StateWaiting))
	alike(t, come(t, w, a, "anna", m).in(), early.in(), cleo.in())
}

func TestTheChairGoesToNobodyWhoIsNotOfTheDirectoryOrInByAnException(t *testing.T) {
	w := servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, `
@reason("radio")
@fix("be_alone")
@exception("two")
forbid (principal, action == Action::"join", resource in Level::"RESTRICTED")
when { context.claimed.hasTag("radio") && context.claimed.getTag("radio") == "yes" };
`)})
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := openRestricted(w, "anna", "ben", "cleo")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	cleo := comeWith(t, w, c, "cleo", m, []conclave.Fact{{Name: "radio", Value: "yes"}})
	cleo.await("quarantine", 0, state(endpoint.StateQuarantined))
	leg := anna.shown("cleo at the door", func(r *endpoint.RosterEvent) bool { return len(r.Waiting) == 1 }).Waiting[0].Leg
	anna.Except(leg, "why not", 5)
	exception := ben.shown("the exception", func(r *endpoint.RosterEvent) bool { return len(r.Exceptions) == 1 }).Exceptions[0].ID
	ben.Confirm(exception, true)
	alike(t, anna, ben, cleo.in())
	from := anna.count()
	anna.Preside("offer", anna.leg("cleo"))
	anna.await("chair_not_possible", from, failed("preside", "chair_not_possible"))
	from = anna.count()
	anna.Preside("offer", anna.leg("anna"))
	anna.await("chair_not_possible", from, failed("preside", "chair_not_possible"))

	open := w.OpenMeeting("anna", "ben")
	x := &crawled{World: w}
	gil := x.guest(t, x.invitation(t, open))
	chair, guest := come(t, w, a, "anna", open).in(), come(t, w, gil, "Gil Guest", open)
	chair.letIn()
	guest.in()
	from = chair.count()
	members := chair.shown("the guest", func(r *endpoint.RosterEvent) bool {
		return slices.ContainsFunc(r.Members, func(m endpoint.Member) bool { return m.Kind == "guest" && m.Leg != (conclave.LegID{}) })
	}).Members
	chair.Preside("offer", members[slices.IndexFunc(members, func(m endpoint.Member) bool { return m.Kind == "guest" })].Leg)
	chair.await("chair_not_possible", from, failed("preside", "chair_not_possible"))
}
