package sfu

import (
	"encoding/binary"
	"math/bits"

	"conclave/sfu/slot"
)

// RTCP packet types and feedback formats (RFC 3550, RFC 4585, RFC 5104, draft-alvestrand-rmcat-remb).
const (
	typeSR   = 200
	typeRR   = 201
	typeRTPF = 205 // transport feedback; format 1: generic NACK
	typePSF  = 206 // payload feedback; formats 1: PLI, 4: FIR, 15: REMB

	formatNACK = 1
	formatPLI  = 1
	formatFIR  = 4
	formatREMB = 15
)

// rtcp is one packet of a compound.
type rtcp struct {
	kind   uint8
	format uint8  // or report count
	body   []byte // after the 4 bytes of header, without padding
}

// nextRTCP takes the first packet off a compound; ok is false at its end and at whatever does not parse.
func nextRTCP(b []byte) (p rtcp, rest []byte, ok bool) {
	if len(b) < 4 || b[0]>>6 != 2 {
		return p, nil, false
	}
	size := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
	if len(b) < size {
		return p, nil, false
	}
	p = rtcp{kind: b[1], format: b[0] & 31, body: b[4:size]}
	if b[0]&32 != 0 {
		n := 0
		if len(p.body) > 0 {
			n = int(p.body[len(p.body)-1])
		}
		if n == 0 || n > len(p.body) {
			return p, nil, false
		}
		p.body = p.body[:len(p.body)-n]
	}
	return p, b[size:], true
}

// reportBlock is one reception report (RFC 3550, Section 6.4.1).
type reportBlock struct {
	ssrc    uint32
	share   uint8  // lost, in 256ths
	lost    uint32 // 24 bits
	highest uint32
	jitter  uint32
	lastSR  uint32 // middle 32 bits of the SR's NTP time
	delay   uint32 // since then, in 65536ths of a second
}

const reportBlockSize = 24

func parseReportBlock(b []byte) reportBlock {
	return reportBlock{
		ssrc: binary.BigEndian.Uint32(b), share: b[4], lost: binary.BigEndian.Uint32(b[4:]) & 0xffffff,
		highest: binary.BigEndian.Uint32(b[8:]), jitter: binary.BigEndian.Uint32(b[12:]),
		lastSR: binary.BigEndian.Uint32(b[16:]), delay: binary.BigEndian.Uint32(b[20:]),
	}
}

func (r reportBlock) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, r.ssrc)
	b = binary.BigEndian.AppendUint32(b, uint32(r.share)<<24|r.lost&0xffffff)
	b = binary.BigEndian.AppendUint32(b, r.highest)
	b = binary.BigEndian.AppendUint32(b, r.jitter)
	b = binary.BigEndian.AppendUint32(b, r.lastSR)
	return binary.BigEndian.AppendUint32(b, r.delay)
}

// beginRTCP appends a packet's header; endRTCP sets its length and count when its body is there.
func beginRTCP(b []byte, kind uint8, sender uint32) (out []byte, at int) {
	at = len(b)
	b = append(b, 0x80, kind, 0, 0)
	return binary.BigEndian.AppendUint32(b, sender), at
}

func endRTCP(b []byte, at int, format uint8) []byte {
	b[at] |= format
	binary.BigEndian.PutUint16(b[at+2:], uint16((len(b)-at)/4-1))
	return b
}

// appendPLI appends a picture loss indication (RFC 4585, Section 6.3.1).
func appendPLI(b []byte, ssrc uint32) []byte {
	b, at := beginRTCP(b, typePSF, slot.ServerSSRC)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return endRTCP(b, at, formatPLI)
}

// appendREMB appends the rate that a sender may use for one stream.
func appendREMB(b []byte, ssrc uint32, bitsPerSecond int) []byte {
	b, at := beginRTCP(b, typePSF, slot.ServerSSRC)
	exponent := max(0, bits.Len(uint(bitsPerSecond))-18)
	mantissa := uint32(bitsPerSecond >> exponent)
	b = append(b, 0, 0, 0, 0, 'R', 'E', 'M', 'B')
	b = binary.BigEndian.AppendUint32(b, 1<<24|uint32(exponent)<<18|mantissa)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return endRTCP(b, at, formatREMB)
}

// appendSR appends a sender report without reception reports.
func appendSR(b []byte, l *lane, report *senderReport) []byte {
	b, at := beginRTCP(b, typeSR, l.ssrc)
	b = binary.BigEndian.AppendUint64(b, report.ntp)
	b = binary.BigEndian.AppendUint32(b, report.rtp+l.tsBase)
	b = binary.BigEndian.AppendUint32(b, l.packets)
	b = binary.BigEndian.AppendUint32(b, l.octets)
	return endRTCP(b, at, 0)
}

// nackWriter makes a generic NACK (RFC 4585, Section 6.2.1) out of single sequence numbers.
type nackWriter struct {
	pid [16]uint16
	blp [16]uint16
	n   int
}

func (w *nackWriter) reset() { w.n = 0 }

// add notes one missing packet; more than fit are asked for another time.
func (w *nackWriter) add(seq uint16) {
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

func (w *nackWriter) append(b []byte, ssrc uint32) []byte {
	b, at := beginRTCP(b, typeRTPF, slot.ServerSSRC)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	for i := range w.n {
		b = binary.BigEndian.AppendUint16(b, w.pid[i])
		b = binary.BigEndian.AppendUint16(b, w.blp[i])
	}
	return endRTCP(b, at, formatNACK)
}
