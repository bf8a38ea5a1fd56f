package server_test

import (
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/server/servertest"
	"conclave/signal"
)

const exceptableTwice = exceptable + `
@reason("device_too_weak")
@fix("use_enrolled_device")
@exception("two")
forbid (principal, action == Action::"join", resource in Level::"RESTRICTED")
when { context.claimed.hasTag("radio") && context.claimed.hasTag("worse") };
`

// excepted has anna and ben let cleo's radio headset pass.
func excepted(t *testing.T, w *servertest.World, level conclave.Level) (anna, ben, cleo *guest) {
	t.Helper()
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Closed", Level: level, Chair: "anna", People: []conclave.PersonID{"ben", "cleo"}, Door: identity.DoorInvited})
	anna, ben, cleo = come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in(), come(t, w, c, "cleo", m).in()
	alike(t, anna, ben, cleo)
	leg := anna.leg("cleo")
	cleo.Facts([]conclave.Fact{{Name: "radio", Value: "yes"}})
	cleo.await("quarantine", 0, reason("headset_radio"))
	anna.Except(leg, "no other headset", 60)
	wait(t, "the question", 5*time.Second, func() bool { return len(ben.roster().Exceptions) == 1 })
	from := cleo.count()
	ben.Confirm(ben.roster().Exceptions[0].ID, true)
	cleo.await("in by exception", from, state(endpoint.StateIn))
	alike(t, anna, ben, cleo)
	return anna, ben, cleo
}

func TestAnExceptionWaivesWhatTwoHaveSeenAndNothingThatComesLater(t *testing.T) {
	w := servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, exceptableTwice)})
	anna, ben, cleo := excepted(t, w, 2)
	from := cleo.count()
	cleo.Facts([]conclave.Fact{{Name: "radio", Value: "yes"}, {Name: "worse", Value: "yes"}})
	cleo.await("quarantine", from, reason("device_too_weak"))
	alike(t, anna, ben)
}

func TestAnExceptionEndsWithTheLevelThatItWasMadeAt(t *testing.T) {
	w := servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, strings.ReplaceAll(exceptable, "RESTRICTED", "INTERNAL"))})
	anna, ben, cleo := excepted(t, w, 1)
	from := cleo.count()
	anna.Raise(2)
	wait(t, "the end of the exception", 10*time.Second, func() bool { return len(ben.roster().Exceptions) == 0 })
	cleo.await("quarantine", from, reason("headset_radio"))
	alike(t, anna, ben)
	if got := recorded(w, audit.KindException); len(got) != 3 || got[2] != "done" {
		t.Errorf("recorded %v", got)
	}
}

func TestAMeetingIsNotRaisedToALevelThatDemandsWitnessesWithoutThem(t *testing.T) {
	levels := admission.DefaultLevels()
	levels[2].Cosigned = true
	policy, err := admission.Load(admission.DefaultPolicy(), levels)
	if err != nil {
		t.Fatal(err)
	}
	w := servertest.StartWith(t, servertest.Options{Policy: policy})
	a := w.Enrol("anna")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Open", Level: 1, Chair: "anna", Door: identity.DoorInvited})
	anna := come(t, w, a, "anna", m).in()
	anna.Raise(2)
	anna.await("no", 0, failed("raise", "record_not_cosigned"))
	if got := recorded(w, audit.KindLevelRaised); len(got) != 0 {
		t.Errorf("recorded %v", got)
	}
}

// Who has no pass does not learn from an answer whether the chair is in, or anybody: they stand aside in any case, are told the same,
// and nothing when people come and go.
func TestWhoCouldBeExceptedIsToldTheSameWithAndWithoutTheChair(t *testing.T) {
	w := &crawled{World: servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, exceptable)}), patience: 150 * time.Millisecond}
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	empty, unchaired, full := openRestricted(w.World, "anna", "ben", "cleo"), openRestricted(w.World, "anna", "ben", "cleo"), openRestricted(w.World, "anna", "ben", "cleo")
	come(t, w.World, b, "ben", unchaired).await("waiting", 0, state(endpoint.StateWaiting))
	come(t, w.World, a, "anna", full).in()
	come(t, w.World, b, "ben", full).in()
	radio := []conclave.Fact{{Name: "radio", Value: "yes"}}
	ask := func(m conclave.MeetingID) string {
		return sinceWhen.ReplaceAllString(w.transcript(t, c, m, nil, &signal.Join{Facts: radio}, &signal.Facts{Facts: radio}, &signal.Join{}), `"since":""`)
	}
	want := ask(empty)
	if !strings.Contains(want, `"quarantined"`) || strings.Contains(want, "RESTRICTED") || strings.Contains(want, "Closed") {
		t.Errorf("told %s", want)
	}
	for what, m := range map[string]conclave.MeetingID{"somebody waits": unchaired, "the chair is in": full} {
		if got := ask(m); got != want {
			t.Errorf("%s: told\n%s\nand where nobody is:\n%s", what, got, want)
		}
	}
	r := connect(t, w.World)
	r.hello(c, empty)
	expect[*signal.Line](r)
	r.send(&signal.Join{Facts: radio})
	expect[*signal.Quarantined](r)
	anna := come(t, w.World, a, "anna", empty).in()
	anna.Leave()
	anna.await("end", 0, state(endpoint.StateEnded))
	time.Sleep(w.patience)
	r.send(&signal.Ping{N: 77})
	if m, ok := r.next().(*signal.Pong); !ok {
		t.Errorf("told %+v", m)
	}
}
