package media

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"conclave/phone/codec"
	"conclave/phone/dsp"
	"conclave/phone/jitter"
)

// maxPacket is the largest datagram that is looked at, in bytes; none of a call is larger than an Ethernet frame.
const maxPacket = 1500

// receiving is the way in: packets from the network, sound for the room.
type receiving struct {
	buffer  *jitter.Buffer
	decoder codec.Decoder
	keys    *srtp.Context // nil: clear, or not yet there
	opened  [maxPacket]byte

	known   bool // a packet came
	ssrc    uint32
	highest uint16
	cycles  uint32 // times that the sequence number began anew, for RTCP
	first   uint16
	taken   uint32 // packets of this SSRC
	press   press
	deaf    time.Time // until then sound is not taken

	// Sound that is decoded and not yet played, at 48 kHz.
	fifo  [codec.MaxSamples + 2*dsp.FrameSamples]int16
	held  int
	quiet int // level below which a frame may be left out or doubled without being heard
	urged int // frames for which an advice has waited

	unheard Frame // what is heard and given to nobody
}

// begin forgets the stream: another one follows.
func (r *receiving) begin() {
	r.known, r.cycles, r.taken, r.press = false, 0, 0, press{}
	r.drain()
}

// settle is how long after a drain no sound is taken: what was said before it may still be on the network, and in no call
// does anybody speak within a tenth of a second of the key that was pressed.
const settle = 100 * time.Millisecond

// drain forgets the sound that waits.
func (r *receiving) drain() {
	r.buffer.Reset()
	r.held, r.urged = 0, 0
}

// listen reads one socket until it is closed.
func (s *Session) listen(conn *net.UDPConn, handle func(time.Time, netip.AddrPort, []byte)) {
	b := make([]byte, maxPacket+1)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error of some packet that was sent
		}
		handle(s.config.Now(), netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), b[:n])
	}
}

// handle takes one datagram of the RTP port. What it is, the first octet says (RFC 7983), and the second (RFC 5761).
func (s *Session) handle(now time.Time, from netip.AddrPort, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(b) < 12 || len(b) > maxPacket:
		s.drop(&s.stats.Malformed)
	case b[0] >= 20 && b[0] <= 63:
		s.handleDTLS(from, b)
	case b[0] < 128 || b[0] > 191:
		s.drop(&s.stats.Malformed)
	case b[1] >= 192 && b[1] <= 223:
		s.handleRTCP(now, from, b)
	default:
		s.handleRTP(now, from, b)
	}
}

func (s *Session) drop(counter *uint64) {
	s.stats.Dropped++
	*counter++
}

func (s *Session) handleRTP(now time.Time, from netip.AddrPort, b []byte) {
	r := &s.receiving
	var header rtp.Header
	n, err := header.Unmarshal(b)
	if err != nil || n > len(b) {
		s.drop(&s.stats.Malformed)
		return
	}
	newest := !r.known || header.SSRC != r.ssrc || int16(header.SequenceNumber-r.highest) > 0
	if s.agreement.Security.Keying == Clear {
		if !s.path.clear(from) {
			s.drop(&s.stats.Foreign)
			return
		}
	} else {
		if r.keys == nil {
			s.drop(&s.stats.Forged)
			return
		}
		if b, err = r.keys.DecryptRTP(r.opened[:0], b, &header); err != nil {
			s.drop(&s.stats.Forged)
			return
		}
		s.path.authentic(from, newest)
	}
	payload, ok := unpad(&header, b, n)
	if !ok {
		s.drop(&s.stats.Malformed)
		return
	}
	if !r.known || header.SSRC != r.ssrc {
		r.begin()
		r.known, r.ssrc, r.highest, r.first = true, header.SSRC, header.SequenceNumber, header.SequenceNumber
	}
	if int16(header.SequenceNumber-r.highest) > 0 {
		if header.SequenceNumber < r.highest {
			r.cycles++
		}
		r.highest = header.SequenceNumber
	}
	r.taken++
	s.stats.Received++
	s.stats.LastPacket = now
	s.take(now, &header, payload)
}

// unpad cuts header and padding (RFC 3550, Section 5.1) off a packet.
func unpad(h *rtp.Header, b []byte, header int) ([]byte, bool) {
	payload := b[header:]
	if !h.Padding {
		return payload, true
	}
	if len(payload) == 0 {
		return nil, false
	}
	n := int(payload[len(payload)-1])
	if n == 0 || n > len(payload) {
		return nil, false
	}
	return payload[:len(payload)-n], true
}

// take sorts what a packet of the other end is: sound, a digit, or something that only counts in the sequence.
func (s *Session) take(now time.Time, h *rtp.Header, payload []byte) {
	r := &s.receiving
	switch {
	case slices.Contains(s.agreement.DigitTypes, h.PayloadType):
		if d, ok := r.press.event(now, h, payload); ok {
			select {
			case s.digits <- d:
			default:
			}
		}
	case h.PayloadType == s.agreement.PayloadType && len(payload) > 0:
		if !s.agreement.NoListen && !now.Before(r.deaf) {
			r.buffer.Put(now, h.SequenceNumber, h.Timestamp, false, payload)
			return
		}
	default: // comfort noise (RFC 3389), a codec that was not agreed
	}
	r.buffer.Put(now, h.SequenceNumber, h.Timestamp, true, nil)
}

// press follows one press of a key over the packets that tell it (RFC 4733, Section 2.5).
type press struct {
	known, ended bool
	digit        Digit
	timestamp    uint32
	last         time.Time
}

// broken is how long after its last packet a press counts as over, although no end was seen.
const broken = 150 * time.Millisecond

// event reads the payload of a telephone-event and returns the digit that it begins, if it begins one. The reserved bit is
// not looked at (Section 2.3.4: it must be ignored; sipp sets it).
func (p *press) event(now time.Time, h *rtp.Header, payload []byte) (Digit, bool) {
	const keys = "0123456789*#ABCD"
	if len(payload) < 4 || int(payload[0]) >= len(keys) {
		return 0, false
	}
	digit, end := Digit(keys[payload[0]]), payload[1]&0x80 != 0
	old := *p
	if old.known && int32(h.Timestamp-old.timestamp) < 0 {
		return 0, false // a press before the last one, overtaken
	}
	*p = press{known: true, ended: end || old.ended && h.Timestamp == old.timestamp, digit: digit, timestamp: h.Timestamp, last: now}
	switch {
	case !old.known, digit != old.digit, now.Sub(old.last) > broken:
		return digit, !old.known || h.Timestamp != old.timestamp || digit != old.digit
	case h.Timestamp == old.timestamp:
		return 0, false
	case h.Marker, old.ended && !end:
		return digit, true
	}
	// A sender that lets the timestamp run within one press, or repeats the end with another one.
	return 0, false
}

// hear makes the next frame of what the caller says; s.mu is held.
func (s *Session) hear(now time.Time, f *Frame) {
	r := &s.receiving
	s.fetch(now, f)
	quiet := r.isQuiet(f)
	advice := r.buffer.Advice()
	if advice == jitter.Keep {
		r.urged = 0
		return
	}
	if r.urged++; !quiet && (advice == jitter.Insert || r.urged < 100) {
		return
	}
	r.urged = 0
	r.buffer.Followed()
	if advice == jitter.Insert { // this frame is heard again: it goes back before the rest
		s.stats.Inserted++
		copy(r.fifo[dsp.FrameSamples:], r.fifo[:r.held])
		copy(r.fifo[:], f[:])
		r.held += dsp.FrameSamples
		return
	}
	s.stats.Skipped++
	old := *f
	s.fetch(now, f)
	for i := range f { // from the one into the other, so that nothing clicks
		f[i] = int16((int32(old[i])*int32(dsp.FrameSamples-i) + int32(f[i])*int32(i)) / dsp.FrameSamples)
	}
}

// fetch takes 20 ms from the buffer, whatever the size of the packets.
func (s *Session) fetch(now time.Time, f *Frame) {
	r := &s.receiving
	for r.held < dsp.FrameSamples {
		payload, verdict := r.buffer.Pop(now)
		switch verdict {
		case jitter.Packet:
			pcm, err := r.decoder.Decode(payload)
			if err == nil {
				r.held += copy(r.fifo[r.held:], pcm)
				continue
			}
			s.drop(&s.stats.Malformed)
			fallthrough
		case jitter.Missing:
			s.stats.Concealed++
			r.held += copy(r.fifo[r.held:], r.decoder.Conceal()[:])
		case jitter.Wait:
			clear(r.fifo[r.held:dsp.FrameSamples])
			r.held = dsp.FrameSamples
		}
	}
	copy(f[:], r.fifo[:dsp.FrameSamples])
	r.held = copy(r.fifo[:], r.fifo[dsp.FrameSamples:r.held])
}

// isQuiet says whether a frame is in a pause of speech: near the lowest level of late.
func (r *receiving) isQuiet(f *Frame) bool {
	sum := 0
	for _, v := range f {
		sum += int(max(v, -v))
	}
	level := sum / len(f)
	// The floor falls at once and rises by 1/64 a frame: it doubles in about a second.
	r.quiet = min(level, r.quiet+r.quiet/64+1)
	return level <= 2*r.quiet+16
}
