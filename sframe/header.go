package sframe

import "math/bits"

// MaxHeaderSize is that of a header with KID and CTR of eight bytes each.
const MaxHeaderSize = 17

// Header is what stands in clear before a ciphertext (RFC 9605, Section 4.3).
type Header struct {
	KID uint64
	CTR uint64
}

// Append appends the header's only valid encoding to dst.
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+---------------------------+---------------------------+
//	|X|  K  |Y|  C  |   KID... (length=K+1)     |   CTR... (length=C+1)     |
//	+-+-+-+-+-+-+-+-+---------------------------+---------------------------+
func (h Header) Append(dst []byte) []byte {
	kid, kidSize := nibble(h.KID)
	ctr, ctrSize := nibble(h.CTR)
	dst = append(dst, kid<<4|ctr)
	dst = appendInteger(dst, h.KID, kidSize)
	return appendInteger(dst, h.CTR, ctrSize)
}

// ParseHeader reads the header at the start of a frame and returns its size. An encoding that is longer than need be is
// malformed: no sender makes one.
func ParseHeader(frame []byte) (h Header, size int, err error) {
	if len(frame) == 0 {
		return h, 0, ErrHeader
	}
	rest := frame[1:]
	var ok bool
	if h.KID, rest, ok = readNibble(frame[0]>>4, rest); !ok {
		return Header{}, 0, ErrHeader
	}
	if h.CTR, rest, ok = readNibble(frame[0]&15, rest); !ok {
		return Header{}, 0, ErrHeader
	}
	return h, len(frame) - len(rest), nil
}

// nibble returns the four bits for v and how many bytes follow for it.
func nibble(v uint64) (bitsOfIt byte, size int) {
	if v < 8 {
		return byte(v), 0
	}
	size = (bits.Len64(v) + 7) / 8
	return 8 | byte(size-1), size
}

func appendInteger(dst []byte, v uint64, size int) []byte {
	for i := size - 1; i >= 0; i-- {
		dst = append(dst, byte(v>>(8*i)))
	}
	return dst
}

func readNibble(n byte, rest []byte) (uint64, []byte, bool) {
	if n < 8 {
		return uint64(n), rest, true
	}
	size := int(n&7) + 1
	if len(rest) < size {
		return 0, nil, false
	}
	var v uint64
	for _, b := range rest[:size] {
		v = v<<8 | uint64(b)
	}
	if _, least := nibble(v); least != size {
		return 0, nil, false
	}
	return v, rest[size:], true
}
