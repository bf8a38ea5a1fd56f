package line

import (
	"slices"
	"time"

	"conclave"
)

// Hold is how long a line has to stay as it is before it counts as better. It is short enough that who mends a line is back
// within two seconds, and long enough that a loose plug, or a machine that changes between two networks, does not throw a
// leg in and out: each time costs the room new keys.
const Hold = 800 * time.Millisecond

// Steady holds a line's opinion of itself still: what makes it worse counts at once, what makes it better once it has stayed
// so for Hold. The zero value knows nothing yet. It is not for several goroutines at once.
type Steady struct {
	facts   []conclave.Fact
	grade   conclave.Grade
	changed time.Time // zero: never
	samples []sample  // grades that were seen within Hold, each worse than all after it
	known   bool
}

type sample struct {
	at    time.Time
	grade conclave.Grade
}

// Sample takes what the line is now and returns the grade that counts: the worst of the last Hold. The first sample counts
// as it is. again is when it may be a better one without any change of the line; zero: never.
func (s *Steady) Sample(a Assessment, now time.Time) (grade conclave.Grade, again time.Time) {
	if !s.known {
		s.known, s.facts, s.grade = true, slices.Clone(a.Facts), a.Grade
		return a.Grade, time.Time{}
	}
	if a.Grade != s.grade || !slices.Equal(a.Facts, s.facts) {
		if a.Grade > s.grade {
			s.samples = append(s.samples, sample{now, s.grade})
		}
		s.facts, s.grade, s.changed = slices.Clone(a.Facts), a.Grade, now
	}
	s.samples = slices.DeleteFunc(s.samples, func(o sample) bool { return now.Sub(o.at) >= Hold || o.grade >= a.Grade })
	grade = a.Grade
	for _, o := range s.samples {
		if o.grade < grade {
			grade = o.grade
		}
		if end := o.at.Add(Hold); end.After(again) {
			again = end
		}
	}
	return grade, again
}

// Settled says whether the line has been as it is for Hold, and otherwise when it will have been. One that never changed is
// settled.
func (s *Steady) Settled(now time.Time) (ok bool, at time.Time) {
	if s.changed.IsZero() || now.Sub(s.changed) >= Hold {
		return true, time.Time{}
	}
	return false, s.changed.Add(Hold)
}
