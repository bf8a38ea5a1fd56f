package server_test

import (
	"testing"
	"time"

	"conclave/audit"
	"conclave/endpoint"
	"conclave/mls/member"
	"conclave/server/servertest"
	"conclave/signal"
)

// answers sends a message again and again, and counts what it is answered with: "" where it is followed.
func (r *raw) answers(n int, send func(), followed func(signal.Message) bool) map[string]int {
	r.t.Helper()
	out := map[string]int{}
	for range n {
		send()
		for {
			m := r.next()
			if m == nil {
				r.t.Fatal("the connection ended")
			}
			if f, ok := m.(*signal.Failed); ok {
				out[f.Reason.Code]++
				break
			}
			if followed(m) {
				out[""]++
				break
			}
		}
	}
	return out
}

func TestOneLegsRefusedCommitsAndOwnKeysAreBounded(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("mallory")
	m := w.OpenMeeting("anna", "mallory")
	anna := come(t, w, a, "anna", m).in()
	i := intrude(t, w, b, m)
	got := i.answers(60, func() { i.send(&signal.Enter{Epoch: i.admitted.Group.Epoch, GroupInfo: []byte{1}, Commit: []byte{1}}) }, func(signal.Message) bool { return false })
	if got["commit_refused"] < 15 || got["too_many"] < 30 || got["commit_refused"]+got["too_many"] != 60 {
		t.Errorf("answered %v", got)
	}
	if n := len(kindsOf(w, m, audit.KindCommitRefused)); n != got["commit_refused"] {
		t.Errorf("%d records of %d refusals", n, got["commit_refused"])
	}
	// A member's keys, made anew without end: each time all others have to follow.
	i.again(t, w)
	e, group := i.enterGroup(i.papers())
	i.send(e)
	expect[*signal.Entered](i.raw)
	wait(t, "mallory in the room", 5*time.Second, func() bool { return len(anna.members()) == 2 })
	var staged *member.Staged
	got = i.answers(60, func() {
		leaf := i.papers().leaf()
		var err error
		if staged, err = group.Commit(member.CommitOptions{Leaf: &leaf}, time.Now()); err != nil {
			t.Fatal(err)
		}
		i.send(&signal.Commit{Epoch: uint64(group.Epoch()), Message: staged.Message(), GroupInfo: staged.GroupInfo()})
	}, func(m signal.Message) bool {
		if _, ok := m.(*signal.Commit); !ok {
			return false
		}
		if err := group.Merge(staged); err != nil {
			t.Fatal(err)
		}
		return true
	})
	if got[""] < 15 || got["too_many"] < 30 {
		t.Errorf("answered %v", got)
	}
	if n := len(kindsOf(w, m, audit.KindCommit)); n != got[""] {
		t.Errorf("%d records of %d commits", n, got[""])
	}
	// Others are not held up by it: its removal is committed by who is there.
	anna.Remove(anna.leg("mallory"), "disturbs")
	alike(t, anna)
	anna.noAlarm()
}

func TestOneLegsScreensAreBoundedAndThatItStopsIsAlwaysTaken(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	for range 60 {
		ben.SetState(signal.State{Screen: true})
		ben.SetState(signal.State{})
	}
	ben.await("the answer", 0, func(e endpoint.Event) bool {
		return e.Failed != nil && e.Failed.Of == "state" && e.Failed.Reason.Code == "too_many"
	})
	ben.SetState(signal.State{Hand: true})
	anna.await("the hand", 0, func(e endpoint.Event) bool {
		return e.Roster != nil && len(e.Roster.Members) == 2 && (e.Roster.Members[0].Hand || e.Roster.Members[1].Hand)
	})
	shown := kindsOf(w, m, audit.KindShown)
	if len(shown) < 60 || len(shown) > 70 || shown[len(shown)-1].Record.Outcome != "" {
		t.Errorf("%d records", len(shown))
	}
}
