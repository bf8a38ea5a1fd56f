package kept

import (
	"bytes"
	"crypto/sha256"
	"errors"
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

// What cannot be recorded is not kept, and what is kept is recorded once and never replaced.
func TestALegsMinuteIsKeptOnceAndOnlyWithItsRecord(t *testing.T) {
	w := newWorld(t)
	w.addPerson(t, "anna")
	m := w.openMeeting(t, "anna")
	block := func(b byte) Ledger {
		return Ledger{Leg: conclave.LegID{7}, Minute: 1, Sealed: bytes.Repeat([]byte{b}, ledgerSealed)}
	}
	var recorded [][]byte
	var full error
	keep := func(l Ledger) error {
		return w.KeepLedger(t.Context(), m, l, func(commitment []byte) error {
			if full == nil {
				recorded = append(recorded, commitment)
			}
			return full
		})
	}
	full = errors.New("the disk is full")
	if err := keep(block(1)); err != full {
		t.Errorf("without a record: %v", err)
	}
	if kept, err := w.Ledgers(t.Context(), m.ID); err != nil || len(kept) != 0 {
		t.Errorf("%d are kept without a record, %v", len(kept), err)
	}
	full = nil
	if err := errors.Join(keep(block(1)), keep(block(1))); err != nil {
		t.Errorf("handed in, and handed in anew: %v", err)
	}
	for what, l := range map[string]Ledger{"another": block(2), "short": {Leg: conclave.LegID{7}, Minute: 2, Sealed: []byte("short")},
		"of a minute to come": {Leg: conclave.LegID{7}, Minute: 9, Sealed: block(1).Sealed}} {
		var p conclave.Problem
		if err := keep(l); !errors.As(err, &p) || p.Code != "ledger_refused" {
			t.Errorf("%s: %v", what, err)
		}
	}
	sum := sha256.Sum256(block(1).Sealed)
	if len(recorded) != 1 || !bytes.Equal(recorded[0], sum[:]) {
		t.Errorf("%d recorded", len(recorded))
	}
	kept, err := w.Ledgers(t.Context(), m.ID)
	if err != nil || len(kept) != 1 || kept[0].Leg != (conclave.LegID{7}) || kept[0].Minute != 1 || !bytes.Equal(kept[0].Sealed, block(1).Sealed) {
		t.Errorf("%d are kept, %v", len(kept), err)
	}
}
