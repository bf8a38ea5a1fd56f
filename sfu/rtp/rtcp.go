package rtp

import (
	"encoding/binary"
	"math/bits"

	"conclave/sfu/slot"
)

// RTCP packet types and feedback formats (RFC 3550, RFC 4585, RFC 5104, draft-alvestrand-rmcat-remb).
const (
	TypeSR        = 200
	TypeRR        = 201
	TypeTransport = 205 // transport feedback; format 1: generic NACK
	TypePayload   = 206 // payload feedback; formats 1: PLI, 4: FIR, 15: REMB

	FormatNACK = 1
	FormatPLI  = 1
	FormatFIR  = 4
	FormatREMB = 15
)

// RTCP is one packet of a compound.
type RTCP struct {
	Kind   uint8
	Format uint8  // or report count
	Body   []byte // after the 4 bytes of header, without padding
}

// NextRTCP takes the first packet off a compound; ok is false at its end and at whatever does not parse.
func NextRTCP(b []byte) (p RTCP, rest []byte, ok bool) {
	if len(b) < 4 || b[0]>>6 != 2 {
		return p, nil, false
	}
	size := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
	if len(b) < size {
		return p, nil, false
	}
	p = RTCP{Kind: b[1], Format: b[0] & 31, Body: b[4:size]}
	if b[0]&32 != 0 {
		n := 0
		if len(p.Body) > 0 {
			n = int(p.Body[len(p.Body)-1])
		}
		if n == 0 || n > len(p.Body) {
			return p, nil, false
		}
		p.Body = p.Body[:len(p.Body)-n]
	}
	return p, b[size:], true
}

// ReportBlock is one reception report (RFC 3550, Section 6.4.1).
type ReportBlock struct {
	SSRC    uint32
	Share   uint8  // lost, in 256ths
	Lost    uint32 // 24 bits
	Highest uint32
	Jitter  uint32
	LastSR  uint32 // middle 32 bits of the SR's NTP time
	Delay   uint32 // since then, in 65536ths of a second
}

// ReportBlockSize is a block's length.
const ReportBlockSize = 24

// ParseReportBlock reads a block of ReportBlockSize bytes.
func ParseReportBlock(b []byte) ReportBlock {
	return ReportBlock{
		SSRC: binary.BigEndian.Uint32(b), Share: b[4], Lost: binary.BigEndian.Uint32(b[4:]) & 0xffffff,
		Highest: binary.BigEndian.Uint32(b[8:]), Jitter: binary.BigEndian.Uint32(b[12:]),
		LastSR: binary.BigEndian.Uint32(b[16:]), Delay: binary.BigEndian.Uint32(b[20:]),
	}
}

// Append appends the block to a report that BeginRTCP began.
func (r ReportBlock) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, r.SSRC)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Share)<<24|r.Lost&0xffffff)
	b = binary.BigEndian.AppendUint32(b, r.Highest)
	b = binary.BigEndian.AppendUint32(b, r.Jitter)
	b = binary.BigEndian.AppendUint32(b, r.LastSR)
	return binary.BigEndian.AppendUint32(b, r.Delay)
}

// BeginRTCP appends a packet's header; EndRTCP sets its length and count when its body is there.
func BeginRTCP(b []byte, kind uint8, sender uint32) (out []byte, at int) {
	at = len(b)
	b = append(b, 0x80, kind, 0, 0)
	return binary.BigEndian.AppendUint32(b, sender), at
}

// EndRTCP ends the packet that began at at.
func EndRTCP(b []byte, at int, format uint8) []byte {
	b[at] |= format
	binary.BigEndian.PutUint16(b[at+2:], uint16((len(b)-at)/4-1))
	return b
}

// AppendPLI appends a picture loss indication (RFC 4585, Section 6.3.1).
func AppendPLI(b []byte, ssrc uint32) []byte {
	b, at := BeginRTCP(b, TypePayload, slot.ServerSSRC)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return EndRTCP(b, at, FormatPLI)
}

// AppendREMB appends the rate that a sender may use for one stream.
func AppendREMB(b []byte, ssrc uint32, bitsPerSecond int) []byte {
	b, at := BeginRTCP(b, TypePayload, slot.ServerSSRC)
	exponent := max(0, bits.Len(uint(bitsPerSecond))-18)
	mantissa := uint32(bitsPerSecond >> exponent)
	b = append(b, 0, 0, 0, 0, 'R', 'E', 'M', 'B')
	b = binary.BigEndian.AppendUint32(b, 1<<24|uint32(exponent)<<18|mantissa)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return EndRTCP(b, at, FormatREMB)
}

// AppendSR appends a sender report without reception reports: that at the NTP time the stream's clock showed timestamp.
func AppendSR(b []byte, ssrc uint32, ntp uint64, timestamp, packets, octets uint32) []byte {
	b, at := BeginRTCP(b, TypeSR, ssrc)
	b = binary.BigEndian.AppendUint64(b, ntp)
	b = binary.BigEndian.AppendUint32(b, timestamp)
	b = binary.BigEndian.AppendUint32(b, packets)
	b = binary.BigEndian.AppendUint32(b, octets)
	return EndRTCP(b, at, 0)
}

// NACK makes a generic NACK (RFC 4585, Section 6.2.1) out of single sequence numbers.
type NACK struct {
	pid [16]uint16
	blp [16]uint16
	n   int
}

// Reset empties it.
func (w *NACK) Reset() { w.n = 0 }

// Empty reports whether there is nothing to ask for.
func (w *NACK) Empty() bool { return w.n == 0 }

// Add notes one missing packet; more than fit are asked for another time.
func (w *NACK) Add(seq uint16) {
	for i := range w.n {
		if d := seq - w.pid[i]; d >= 1 && d <= 16 {
			w.blp[i] |= 1 << (d - 1)
			return
		}
	}
	if w.n < len(w.pid) {
		w.pid[w.n], w.blp[w.n] = seq, 0
		w.n++
	}
}

// Append appends the packet.
func (w *NACK) Append(b []byte, ssrc uint32) []byte {
	b, at := BeginRTCP(b, TypeTransport, slot.ServerSSRC)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	for i := range w.n {
		b = binary.BigEndian.AppendUint16(b, w.pid[i])
		b = binary.BigEndian.AppendUint16(b, w.blp[i])
	}
	return EndRTCP(b, at, FormatNACK)
}
