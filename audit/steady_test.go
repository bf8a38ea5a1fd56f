package audit

import (
	"testing"
	"time"
)

func TestARecordTellsOfAClockThatWasSet(t *testing.T) {
	var elapsed time.Duration
	s := steady{elapsed: func() time.Duration { return elapsed }}
	began := time.Date(2026, 4, 17, 11, 0, 0, 0, time.UTC)
	elapsed = time.Hour // the server runs for an hour already
	for _, one := range []struct {
		after, set time.Duration
		tells      bool
	}{
		{0, 0, false}, {time.Minute, 0, false}, {2 * time.Minute, 50 * time.Millisecond, false}, {3 * time.Minute, time.Hour, true},
		{4 * time.Minute, -24 * time.Hour, true}, {5 * time.Minute, 150 * time.Millisecond, true}, {6 * time.Minute, 0, false},
	} {
		elapsed = time.Hour + one.after
		r := Record{Time: began.Add(one.after + one.set)}
		s.tell(&r)
		if want := began.Add(one.after); one.tells && !r.Steady.Equal(want) || !one.tells && !r.Steady.IsZero() {
			t.Errorf("after %v, set by %v: %v", one.after, one.set, r.Steady)
		}
	}
}
