package audit

import (
	"time"

	"conclave/merkle"
)

// MaxLag is how long a record may lie without a witness's signature before the log counts as not cosigned.
const MaxLag = time.Minute

// cosigning is what is known of the witnesses' signatures.
type cosigning struct {
	signed []byte      // the newest checkpoint with enough of them
	size   merkle.Size // of signed
	at     time.Time   // of the latest of them, by the witness's clock
	until  time.Time   // all records up to then stand in signed
	since  time.Time   // when the first checkpoint was signed that signed does not cover; zero: it covers all
}

func (c *cosigning) wanted(now time.Time) {
	if c.since.IsZero() {
		c.since = now
	}
}

// SetCosigned keeps a state whose checkpoint enough witnesses have cosigned, the latest of them at a time by its clock. now is
// ours.
// An older one than is known is left alone.
func (l *Log) SetCosigned(state State, at, now time.Time) error {
	l.mu.Lock()
	if state.Size < l.cosigning.size {
		l.mu.Unlock()
		return nil
	}
	c := &l.cosigning
	c.signed, c.size, c.until, c.at = state.Signed, state.Size, state.At, at
	c.since = time.Time{}
	if state.Size < l.size {
		c.since = now // what came since is younger than a moment
	}
	l.mu.Unlock()
	if l.copy == nil {
		return nil
	}
	l.publishing.Lock()
	defer l.publishing.Unlock()
	return l.copy.Cosigned(state.Signed)
}

// Cosigned returns when the witnesses last signed, by their clock, and whether they have signed all records but those of the
// last MaxLag.
func (l *Log) Cosigned(now time.Time) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.cosigning
	if now.Before(c.since) { // our clock was set back: a wait that lies ahead of it would never end
		c.since = now
	}
	return c.at, c.signed != nil && (c.since.IsZero() || now.Sub(c.since) <= MaxLag)
}

// Covered says whether what was recorded at a time, by our clock, stands under the witnesses' signatures.
func (l *Log) Covered(at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.cosigning
	return c.signed != nil && at.Before(c.until)
}
