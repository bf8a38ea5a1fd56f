// Package rtp is RTP and RTCP as a forwarder sees them: headers, the few RTCP packets it speaks, and the arithmetic of
// sequence numbers, arrivals and gaps (RFC 3550, RFC 4585, RFC 7741). It is pure: bytes and time in, bytes and numbers out,
// and nothing is allocated. What peers send is parsed with bounds; none of it is believed.
package rtp

import (
	"encoding/binary"

	"conclave/sfu/srtp"
)

const (
	// HeaderSize is the length of a header without anything optional.
	HeaderSize = 12
	// AudioClock and VideoClock are the ticks a second of timestamps.
	AudioClock = 48000
	VideoClock = 90000
)

// Header is a parsed RTP header (RFC 3550, Section 5.1).
type Header struct {
	Size        int // of the header with everything that belongs to it
	PayloadType uint8
	Marker, Pad bool
	Sequence    uint16
	Timestamp   uint32
	SSRC        uint32
}

// ParseHeader parses the header of a sealed packet; what it names fits into b, with a tag behind.
func ParseHeader(b []byte) (h Header, ok bool) {
	if len(b) < HeaderSize || b[0]>>6 != 2 {
		return h, false
	}
	h = Header{
		Size:        HeaderSize + 4*int(b[0]&15),
		PayloadType: b[1] & 127,
		Marker:      b[1]&128 != 0,
		Pad:         b[0]&32 != 0,
		Sequence:    binary.BigEndian.Uint16(b[2:]),
		Timestamp:   binary.BigEndian.Uint32(b[4:]),
		SSRC:        binary.BigEndian.Uint32(b[8:]),
	}
	if b[0]&16 != 0 { // an extension: never asked for, and not passed on
		if len(b) < h.Size+4 {
			return h, false
		}
		h.Size += 4 + 4*int(binary.BigEndian.Uint16(b[h.Size+2:]))
	}
	return h, len(b) >= h.Size+srtp.TagSize
}
