package endpoint

import "sync"

// Context identifiers stand in a frame's key id beside leaf and epoch and tell apart the streams that one leaf sends, so
// that no two ever count under one key (RFC 9605, Section 9.1). They lie in 0x800…0xFFF, so that a key id always takes
// four bytes and no length on the wire depends on them.
const (
	FirstContext = 0x800
	lastContext  = 0xfff
	contextCount = lastContext - FirstContext + 1
)

// contexts hands out context identifiers: each at most once under the keys of any epoch. A stream keeps its identifier
// when the epoch changes (its counter goes on), so one that is in use passes as used into the next epoch.
type contexts struct {
	mu   sync.Mutex         // guards all below
	next int                // where to look first: one is reused as late as can be
	used [contextCount]bool // in this epoch or in the one before, whose keys may still be in use
	now  [contextCount]bool // handed out or live in this epoch
	live map[Stream]int     // the newest of each stream
	open bool               // there is an epoch
	full func()             // called, without mu, when none is left
}

// take returns a fresh identifier for a new start of stream; ok is false where there are no keys yet, or none is left in
// this epoch. In the latter case full is called, and a new epoch brings new ones.
func (c *contexts) take(stream Stream) (id uint16, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return 0, false
	}
	for range contextCount {
		i := c.next
		c.next = (c.next + 1) % contextCount
		if c.used[i] {
			continue
		}
		c.used[i], c.now[i] = true, true
		c.live[stream] = i
		return uint16(FirstContext + i), true
	}
	if c.full != nil {
		c.full()
	}
	return 0, false
}

// epoch says that a new epoch has begun.
func (c *contexts) epoch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = true
	c.used = c.now
	c.now = [contextCount]bool{}
	for _, i := range c.live {
		c.used[i], c.now[i] = true, true
	}
}
