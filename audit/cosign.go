package audit

import (
	"time"

	"conclave/audit/merkle"
)

// MaxLag is how long a record may lie without a witness's signature before the log counts as not cosigned.
const MaxLag = time.Minute

// cosigning is what is known of the witnesses' signatures.
type cosigning struct {
	signed []byte      // the newest checkpoint with enough of them
	size   merkle.Size // of signed
	at     time.Time   // of the latest of them, by the witness's clock
	since  time.Time   // when the first checkpoint was signed that signed does not cover; zero: it covers all
}

func (c *cosigning) wanted(now time.Time) {
	if c.since.IsZero() {
		c.since = now
	}
}

// SetCosigned keeps a checkpoint that enough witnesses have cosigned, the latest of them at a time by its clock. now is ours.
// An older one than is known is left alone.
func (l *Log) SetCosigned(signed []byte, size merkle.Size, at, now time.Time) error {
	l.mu.Lock()
	if size < l.cosigning.size {
		l.mu.Unlock()
		return nil
	}
	l.cosigning.signed, l.cosigning.size, l.cosigning.at = signed, size, at
	l.cosigning.since = time.Time{}
	if size < l.size {
		l.cosigning.since = now // what came since is younger than a moment
	}
	l.mu.Unlock()
	if l.copy == nil {
		return nil
	}
	l.publishing.Lock()
	defer l.publishing.Unlock()
	return l.copy.Cosigned(signed)
}

// Cosigned returns when the witnesses last signed, by their clock, and whether they have signed all records but those of the
// last MaxLag.
func (l *Log) Cosigned(now time.Time) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.cosigning
	return c.at, c.signed != nil && (c.since.IsZero() || now.Sub(c.since) <= MaxLag)
}
