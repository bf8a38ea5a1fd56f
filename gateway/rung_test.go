package gateway

import (
	"testing"
	"time"

	"conclave/signal"
)

// A server that is another's may wish for as many calls as it likes: they cost no more than the operator has said.
func TestAServerThatWishesForCallsWithoutEndGetsADaysBudget(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	g := &Gateway{config: Config{Calls: 60, Rings: 24, Now: func() time.Time { return now }}, legs: map[signal.CallID]*leg{}}
	made := 0
	for range 1000 {
		if over := g.mayRing(); over != nil {
			made++
			over()
			over() // counts once
		}
	}
	if made != 24 || g.rung.now != 0 {
		t.Errorf("%d calls were made, want 24; %d ring", made, g.rung.now)
	}
	if now = now.Add(time.Hour); g.mayRing() == nil || g.mayRing() != nil {
		t.Error("an hour gives one of a day's 24 back, and no more")
	}
	now = now.Add(48 * time.Hour)
	for made = 0; g.mayRing() != nil; made++ {
	}
	if made != ringsAtOnce-1 { // one rings since above
		t.Errorf("%d more ring at once, want %d", made, ringsAtOnce-1)
	}
}

func TestNobodyIsRungWhileAllLinesAreInUse(t *testing.T) {
	g := &Gateway{config: Config{Calls: 2, Rings: 24, Now: time.Now}, legs: map[signal.CallID]*leg{signal.NewCallID(): {}}}
	if over := g.mayRing(); over == nil {
		t.Error("a line is free, and nobody is rung")
	} else if g.mayRing() != nil {
		t.Error("what rings takes no line")
	} else if over(); g.mayRing() == nil {
		t.Error("what is over keeps its line")
	}
}
