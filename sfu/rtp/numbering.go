package rtp

import "conclave/sfu/srtp"

const (
	// FirstIndex is where numbering begins: below 2^15, as RFC 3711 asks of the first sequence number.
	FirstIndex = 1 << 10
	// MaxLate is how many packets behind the newest one is still passed on, or sent again.
	MaxLate = 512
)

// Numbering is how one receiver of a stream numbers its packets. The stream has an index of its own, 64 bits, that never goes back.
// The receiver's differs by an offset which changes only after an absence, such that its index never goes back either, and
// never leaves a gap that it would take for loss. So the index a packet is sealed with is by construction the one the
// receiver guesses (RFC 3711, Appendix A): both count from the same first packet, with rollover counter 0; and no index is
// ever given two plaintexts. The zero value is ready.
type Numbering struct {
	offset uint64 // its index = the stream's + offset (modulo 2^64)
	since  uint64 // the stream's index from which offset holds
	last   uint64 // greatest of the stream's indices sent
	used   bool
}

// Next returns the receiver's index for a packet of the stream; previous is the stream's greatest index before that packet. It
// reports false for a packet that the receiver's index has no place for: from before it came, or too old.
func (s *Numbering) Next(index, previous uint64) (uint64, bool) {
	switch {
	case !s.used:
		s.used = true
		s.since, s.last = index, index
		s.offset = FirstIndex - index
	case index > s.last:
		if s.last != previous && index > previous {
			// It was away, and did not get what came last: go on where it stopped.
			s.offset += s.last + 1 - index
			s.since = index
		}
		s.last = index
	case index < s.since || s.last-index >= MaxLate:
		return 0, false
	}
	return index + s.offset, true
}

// Back returns, of a sequence number that the receiver names in a NACK, the stream's index and the receiver's own.
func (s *Numbering) Back(seq uint16) (index, own uint64, ok bool) {
	if !s.used {
		return 0, 0, false
	}
	own = srtp.Guess(s.last+s.offset, true, seq)
	index = own - s.offset
	if index > s.last || index < s.since {
		return 0, 0, false
	}
	return index, own, true
}
