package audit

import (
	"testing"
	"time"
)

func TestARecordTellsOfAClockThatWasSet(t *testing.T) {
	began := time.Date(2026, 4, 17, 11, 0, 0, 0, time.UTC)
	var now time.Time
	elapsed := time.Hour // the other clock runs for an hour already
	s := steady{read: func() (time.Time, time.Duration) { return now, elapsed }}
	for _, one := range []struct {
		after, set, late time.Duration
		tells            bool
	}{
		{after: 0}, {after: time.Minute}, {after: 2 * time.Minute, late: 3 * time.Second}, // a busy machine is no clock that was set
		{after: 3 * time.Minute, set: 50 * time.Millisecond}, {after: 4 * time.Minute, set: time.Hour, tells: true},
		{after: 5 * time.Minute, set: -24 * time.Hour, late: time.Second, tells: true},
		{after: 6 * time.Minute, set: 150 * time.Millisecond, tells: true}, {after: 7 * time.Minute},
	} {
		now, elapsed = began.Add(one.after+one.set+one.late), time.Hour+one.after+one.late
		r := Record{Time: began.Add(one.after + one.set)}
		s.tell(&r)
		if want := began.Add(one.after); one.tells && !r.Steady.Equal(want) || !one.tells && !r.Steady.IsZero() {
			t.Errorf("after %v, set by %v: %v", one.after, one.set, r.Steady)
		}
	}
}
