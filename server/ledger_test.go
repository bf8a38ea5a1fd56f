package server

import (
	"testing"
	"time"

	"conclave"
)

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
