package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/server/servertest"
	"conclave/signal"
)

func TestAChairWhoseOwnLineWouldNotPassRaisesNothing(t *testing.T) {
	w := startClaims(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Open", Level: 1, Chair: "anna", People: []conclave.PersonID{"ben"}, Door: identity.DoorInvited})
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	anna.Facts(notAlone) // good enough for INTERNAL
	anna.Raise(2)
	anna.await("no, and why", 0, func(e endpoint.Event) bool {
		return failed("raise", "level_own_line")(e) && e.Failed.Reason.Args["why"] == "not_alone" && e.Failed.Reason.Args["level"] == "RESTRICTED" && e.Failed.Reason.Fix == "be_alone"
	})
	if got := recorded(w, audit.KindLevelRaised); len(got) != 0 {
		t.Errorf("recorded %v", got)
	}
	from := anna.count()
	anna.Facts(alone)
	anna.Raise(2)
	anna.await("the new level", from, func(e endpoint.Event) bool { return e.Meeting != nil && e.Meeting.Level == 2 })
	alike(t, anna, ben)
}

func TestWhoIsPutOutByARaisedLevelIsToldTheLevelAndOneAtTheDoorIsNot(t *testing.T) {
	w := servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, exceptable)})
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Open", Level: 1, Chair: "anna", People: []conclave.PersonID{"ben", "cleo"}, Door: identity.DoorInvited})
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	ben.Facts(notAlone)
	alike(t, anna, ben)
	anna.Raise(2)
	level := func(name string) func(endpoint.Event) bool {
		return func(e endpoint.Event) bool {
			return e.State != nil && e.State.State == endpoint.StateQuarantined && e.State.Level == name
		}
	}
	ben.await("out, and of which level", 0, level("RESTRICTED"))
	wait(t, "the raised level", 20*time.Second, func() bool { return anna.meeting().Level == 2 })
	cleo := comeWith(t, w, c, "cleo", m, []conclave.Fact{{Name: "radio", Value: "yes"}})
	cleo.await("the door, and nothing of the meeting", 0, level(""))
}

func TestTheDoorIsToldWhoAskedForAGuest(t *testing.T) {
	w := &crawled{World: servertest.Start(t)}
	w.AddPerson("anna", "Anna Weber")
	w.AddPerson("ben", "Ben")
	m := w.OpenMeeting("anna")
	for by, want := range map[conclave.PersonID]string{"anna": "chair", "ben": "person", "": "administrator"} {
		r := httptest.NewRequest(http.MethodPost, "/meetings/"+m.Text()+"/invitations", strings.NewReader(`{"name":"Gil Guest","unit":"Ally","by":"`+string(by)+`"}`))
		r.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		w.Server.AdminHandler().ServeHTTP(answer, r)
		var out struct{ Token string }
		if err := json.Unmarshal(answer.Body.Bytes(), &out); err != nil || answer.Code != http.StatusOK {
			t.Fatal(answer.Code, answer.Body, err)
		}
		token, err := identity.ParseToken(out.Token)
		if err != nil {
			t.Fatal(err)
		}
		guest := connect(t, w.World)
		guest.hello(w.guest(t, invitation{token, m}), m)
		facts := expect[*signal.Line](guest).Facts
		if !slices.Contains(facts, conclave.Fact{Name: "invited_by", Value: want, Proven: true}) {
			t.Errorf("%q: told %+v", by, facts)
		}
		// It names nobody: who it was stands in the record of the invitation alone.
		if by != "" && slices.ContainsFunc(facts, func(f conclave.Fact) bool { return strings.Contains(f.Value, string(by)) }) {
			t.Errorf("%q: a fact has the name: %+v", by, facts)
		}
	}
}

func TestTheRosterSaysWhoMayBeExcepted(t *testing.T) {
	w := servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, exceptable)})
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := openRestricted(w, "anna", "ben", "cleo")
	anna, ben, cleo := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in(), come(t, w, c, "cleo", m).in()
	alike(t, anna, ben, cleo)
	ben.Facts(notAlone)                                        // no rule lets that be excepted
	cleo.Facts([]conclave.Fact{{Name: "radio", Value: "yes"}}) // this one does
	away := func() []endpoint.Away { return slices.Clone(anna.roster().Away) }
	wait(t, "both out, one of whom may be excepted", 20*time.Second, func() bool {
		out := map[string]bool{}
		for _, one := range away() {
			out[one.Name] = one.Exceptable
		}
		return len(out) == 2 && out["cleo"] && !out["ben"]
	})
}
