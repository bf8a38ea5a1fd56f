package audit

import (
	"sync"
	"time"
)

// A server's clock may be set while it runs. What happened how long after what must not depend on that: a record whose time
// is not that of a clock that nobody sets tells both.

// set is how far the two must be apart for a record to say so: less than a report may be off the truth (200 ms), more than a
// goroutine waits between reading the time and recording.
const set = 100 * time.Millisecond

// steady follows a clock that nobody sets, from the first record on.
type steady struct {
	elapsed func() time.Duration // since some moment; nil: there is no such clock

	mu    sync.Mutex
	began time.Time     // the first record's time; guarded by mu
	at    time.Duration // elapsed at it; guarded by mu
}

// tell notes in r what the server's clock would say had nobody set it, where it says something else.
func (s *steady) tell(r *Record) {
	if s.elapsed == nil {
		return
	}
	now := s.elapsed()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		s.began, s.at = r.Time, now
		return
	}
	if would := s.began.Add(now - s.at); r.Time.Sub(would).Abs() > set {
		r.Steady = would
	}
}
