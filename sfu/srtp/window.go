package srtp

// windowSize is how many packets behind the newest one are still taken, once each: video that was asked for again comes
// up to half a second late, at a few hundred packets a second. A power of two.
const windowSize = 1024

// Window is the receiving state of one SSRC: the packet index and the replay list of RFC 3711, Sections 3.3.1 and 3.3.2.
// The zero value is ready and takes the first packet's rollover counter for 0.
type Window struct {
	highest uint64
	started bool
	seen    [windowSize / 64]uint64 // a ring of bits, by index modulo windowSize
}

// Guess returns the index that a packet of sequence number seq most likely has: RFC 3711, Appendix A, with the rollover
// counter not going below 0 (as libsrtp and pion do it).
func (w *Window) Guess(seq uint16) uint64 {
	return Guess(w.highest, w.started, seq)
}

// Guess returns the index that a receiver takes a packet for whose sequence number is seq, if highest is the greatest
// index it has opened; nothing yet if started is false.
func Guess(highest uint64, started bool, seq uint16) uint64 {
	if !started {
		return uint64(seq)
	}
	roc, last := highest>>16, int32(highest&0xffff)
	switch diff := int32(seq) - last; {
	case last < 1<<15 && diff > 1<<15 && roc > 0:
		roc--
	case last >= 1<<15 && diff < -(1<<15):
		roc++
	}
	return roc<<16 | uint64(seq)
}

// Highest returns the greatest index accepted, and whether there is one.
func (w *Window) Highest() (uint64, bool) { return w.highest, w.started }

// Seen reports whether index was accepted before, or is too old to tell.
func (w *Window) Seen(index uint64) bool {
	if !w.started || index > w.highest {
		return false
	}
	if w.highest-index >= windowSize {
		return true
	}
	return w.seen[index%windowSize/64]&(1<<(index%64)) != 0
}

// Accept marks index as seen. Call it for packets that opened only.
func (w *Window) Accept(index uint64) {
	switch {
	case !w.started:
		w.started = true
		w.highest = index
	case index > w.highest:
		if index-w.highest >= windowSize {
			w.seen = [windowSize / 64]uint64{}
		} else {
			for i := w.highest + 1; i < index; i++ {
				w.seen[i%windowSize/64] &^= 1 << (i % 64)
			}
		}
		w.highest = index
	}
	w.seen[index%windowSize/64] |= 1 << (index % 64)
}
