package server

import (
	"testing"
	"time"

	"conclave"
)

func TestAMinuteThatHasNotBeenIsNoneHoweverLarge(t *testing.T) {
	for _, c := range []struct {
		minute uint32
		open   time.Duration
		want   bool
	}{
		{0, 0, true}, {2, 0, true}, {3, 0, false}, {62, time.Hour, true}, {63, time.Hour, false},
		// 2^63 nanoseconds are 153 722 867 minutes.
		{153_722_867, time.Hour, false}, {153_722_868, time.Hour, false}, {1<<32 - 1, time.Hour, false}, {5, -time.Hour, false},
	} {
		if got := hasBeen(c.minute, c.open); got != c.want {
			t.Errorf("minute %d after %v: %v", c.minute, c.open, got)
		}
	}
}

func TestALegHandsInAsManyLedgersAsThereAreMinutes(t *testing.T) {
	now := time.Now()
	r := &room{Server: &Server{cfg: Config{Now: func() time.Time { return now }}}, spending: map[conclave.LegID]*spent{}}
	many := func() (n int) {
		for range 1000 {
			if r.mayHandIn(conclave.LegID{1}) {
				n++
			}
		}
		return n
	}
	if n := many(); n != ledgerBurst {
		t.Errorf("%d at once", n)
	}
	if !r.mayHandIn(conclave.LegID{2}) {
		t.Error("another leg pays for the first")
	}
	now = now.Add(10 * time.Minute)
	if n := many(); n != 20 {
		t.Errorf("%d after ten minutes", n)
	}
}
