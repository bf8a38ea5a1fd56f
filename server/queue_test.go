package server

import (
	"testing"
	"time"

	"conclave"
)

func TestWhoLostTheRaceGetsInOneAfterTheOther(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	a, b, c := conclave.LegID{1}, conclave.LegID{2}, conclave.LegID{3}
	var q queue
	next := func(want conclave.LegID, when time.Time) {
		t.Helper()
		got, ok := q.next(when)
		if got != want || ok != (want != conclave.LegID{}) {
			t.Errorf("the turn is %x's, want %x", got[0], want[0])
		}
	}
	none := conclave.LegID{}
	next(none, at)
	q.lost(a)
	q.lost(b)
	q.lost(b)
	q.lost(c)
	next(a, at)
	next(none, at.Add(turnLength-1)) // a has it
	q.done(a)
	next(b, at)
	q.lost(b) // somebody came by: b goes first again
	next(b, at)
	next(c, at.Add(turnLength)) // b did not use it
	q.done(b)
	q.done(c)
	next(none, at)
	// One that loses its turn again and again keeps it once: then others come first.
	q.lost(a)
	q.lost(b)
	next(a, at)
	q.lost(a)
	next(a, at)
	q.lost(a)
	next(b, at)
	q.done(b)
	next(a, at)
	q.done(a)
	if _, waits := q.due(); waits {
		t.Error("nobody waits, but something is due")
	}
}
