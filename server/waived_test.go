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
