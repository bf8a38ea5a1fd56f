// Package speech is the encoding of a speech ledger: for each minute of a leg's stay in a meeting, when its own person
// spoke. It holds spans, never content. Endpoints encode, seal (package escrow) and hand in one block a minute, also where
// nobody spoke; investigations decode. All blocks have one size, so that they say nothing to whoever keeps them.
package speech

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"conclave"
	"conclave/escrow"
)

const (
	// Minute is what one block covers.
	Minute = time.Minute
	// Size is that of a block in the clear, in bytes; SealedSize is what is handed in.
	Size       = 512
	SealedSize = Size + escrow.Overhead
	// MaxSpans is how many spans a block holds; where a minute has more, those with the shortest silence between them are
	// merged, and the block says so.
	MaxSpans = (Size - header) / 4
	// MaxMinutes bounds a stay: a week.
	MaxMinutes = 7 * 24 * 60

	header  = 16
	version = 1
)

// Span is a span of speech, in milliseconds since the minute began: 0 ≤ From < To ≤ 60000.
type Span struct{ From, To uint16 }

// Block is one minute of a leg's ledger.
type Block struct {
	Minute uint32 // since the leg first entered, from 0
	// Sent is when the block was sealed, in milliseconds since the leg first entered, by the clock of the endpoint. Held against
	// the server's record of the block it shows how the two clocks stand to each other.
	Sent uint32
	// Until is how much of the minute the block tells of, in milliseconds: 60000 but for the minute in which the leg left.
	Until  uint16
	Merged bool   // short silences were left out for want of room
	Spans  []Span // in order, apart from each other
}

var (
	errBlock = errors.New("speech: malformed block")
	errSpans = errors.New("speech: spans are not in order, or reach out of the minute")
)

// Encode returns the Size bytes of a block. It merges spans where there are too many for it, and fails where they are not
// in order.
func (b *Block) Encode() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	spans, merged := fit(b.Spans)
	out := make([]byte, Size)
	out[0] = version
	if merged || b.Merged {
		out[1] = 1
	}
	out[2] = byte(len(spans))
	binary.BigEndian.PutUint32(out[4:], b.Minute)
	binary.BigEndian.PutUint32(out[8:], b.Sent)
	binary.BigEndian.PutUint16(out[12:], b.Until)
	for i, s := range spans {
		binary.BigEndian.PutUint16(out[header+4*i:], s.From)
		binary.BigEndian.PutUint16(out[header+4*i+2:], s.To)
	}
	return out, nil
}

// Decode reads a block. It accepts what Encode makes, and nothing else.
func Decode(in []byte) (*Block, error) {
	if len(in) != Size || in[0] != version || in[1] > 1 || in[3] != 0 || in[14] != 0 || in[15] != 0 || int(in[2]) > MaxSpans {
		return nil, errBlock
	}
	b := &Block{Merged: in[1] == 1, Minute: binary.BigEndian.Uint32(in[4:]), Sent: binary.BigEndian.Uint32(in[8:]),
		Until: binary.BigEndian.Uint16(in[12:])}
	rest := in[header:]
	for range in[2] {
		b.Spans = append(b.Spans, Span{binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])})
		rest = rest[4:]
	}
	if slices.ContainsFunc(rest, func(c byte) bool { return c != 0 }) {
		return nil, errBlock
	}
	return b, b.check()
}

func (b *Block) check() error {
	if b.Minute >= MaxMinutes || b.Until > 60_000 {
		return errBlock
	}
	last := -1
	for _, s := range b.Spans {
		if int(s.From) <= last || s.To <= s.From || s.To > 60_000 {
			return errSpans
		}
		last = int(s.To)
	}
	return nil
}

// fit merges the spans with the shortest silences between them until they fit.
func fit(spans []Span) ([]Span, bool) {
	if len(spans) <= MaxSpans {
		return spans, false
	}
	spans = slices.Clone(spans)
	for len(spans) > MaxSpans {
		best := 0
		for i := range len(spans) - 1 {
			if spans[i+1].From-spans[i].To < spans[best+1].From-spans[best].To {
				best = i
			}
		}
		spans[best].To = spans[best+1].To
		spans = slices.Delete(spans, best+1, best+2)
	}
	return spans, true
}

const infoLabel = "Conclave ledger 1\x00"

// bound returns info and aad of a sealed block: it opens as that leg's, that meeting's and that minute's, or not at all.
func bound(meeting conclave.MeetingID, leg conclave.LegID, minute uint32) (info, aad []byte) {
	info = append(append([]byte(infoLabel), meeting[:]...), leg[:]...)
	return info, binary.BigEndian.AppendUint32(nil, minute)
}

// Seal encodes and seals a block, SealedSize bytes.
func (b *Block) Seal(public []byte, meeting conclave.MeetingID, leg conclave.LegID) ([]byte, error) {
	plain, err := b.Encode()
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	info, aad := bound(meeting, leg, b.Minute)
	return escrow.Seal(public, info, aad, plain)
}

// Open opens and decodes the block of a minute.
func Open(key *escrow.Key, meeting conclave.MeetingID, leg conclave.LegID, minute uint32, sealed []byte) (*Block, error) {
	info, aad := bound(meeting, leg, minute)
	plain, err := key.Open(info, aad, sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	b, err := Decode(plain)
	if err != nil {
		return nil, err
	}
	if b.Minute != minute {
		return nil, errBlock
	}
	return b, nil
}
