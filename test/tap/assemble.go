package main

import (
	"bytes"

	"conclave/endpoint/media"
)

// assembler joins the packets of one video stream to frames (RFC 7741), dropping those with a gap.
type assembler struct {
	next      uint64
	timestamp uint32
	frame     []byte
	whole     bool
}

// add returns a frame when p ends one.
func (a *assembler) add(p media.Packet) []byte {
	body, begins, ok := vp8Payload(p.Payload)
	switch {
	case !ok:
		a.whole = false
	case begins && (p.Timestamp != a.timestamp || !a.whole):
		a.frame, a.timestamp, a.whole = append(a.frame[:0], body...), p.Timestamp, true
	case a.whole && p.Index == a.next && p.Timestamp == a.timestamp:
		a.frame = append(a.frame, body...)
	default:
		a.whole = false
	}
	a.next = p.Index + 1
	if !p.Marker || !a.whole {
		return nil
	}
	a.whole = false
	return bytes.Clone(a.frame)
}

// vp8Payload parts the payload descriptor of RFC 7741, Section 4.2, from what follows.
func vp8Payload(b []byte) (body []byte, begins, ok bool) {
	if len(b) == 0 {
		return nil, false, false
	}
	begins = b[0]&0x10 != 0 && b[0]&0x07 == 0
	extended := b[0]&0x80 != 0
	b = b[1:]
	if extended {
		if len(b) == 0 {
			return nil, false, false
		}
		flags := b[0]
		b = b[1:]
		skip := 0
		if flags&0x80 != 0 {
			skip++
			if len(b) > 0 && b[0]&0x80 != 0 {
				skip++
			}
		}
		if flags&0x40 != 0 {
			skip++
		}
		if flags&0x30 != 0 {
			skip++
		}
		if len(b) < skip {
			return nil, false, false
		}
		b = b[skip:]
	}
	return b, begins, len(b) > 0
}
