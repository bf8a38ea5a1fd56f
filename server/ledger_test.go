package server

import (
	"testing"
	"time"
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
