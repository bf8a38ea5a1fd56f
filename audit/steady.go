package audit

import (
	"sync"
	"time"
)

// A server's clock may be set while it runs. What happened how long after what must not depend on that: a record whose time
// is not that of a clock that nobody sets tells both.

// Clocks reads the server's clock, and one that nobody sets, at the same moment; the latter since some moment.
type Clocks func() (time.Time, time.Duration)

// set is how far the two must have come apart for a record to say so: less than a report may be off the truth (200 ms).
const set = 100 * time.Millisecond

// steady follows both clocks from the first record on.
type steady struct {
	read Clocks // nil: there is no clock that nobody sets

	mu    sync.Mutex
	began time.Time // what the server's clock said when the other one began; zero: not read yet; guarded by mu
}

// tell notes in r what the server's clock would have said had nobody set it, where it said something else. r's time is of
// the last seconds: a clock that was set within them is taken for set before.
func (s *steady) tell(r *Record) {
	if s.read == nil {
		return
	}
	now, elapsed := s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		s.began = now.Add(-elapsed)
	}
	if off := now.Sub(s.began.Add(elapsed)); off.Abs() > set {
		r.Steady = r.Time.Add(-off)
	}
}
