package media

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"time"
)

// reportEvery is between two reports: RTCP's least interval (RFC 3550, Section 6.2).
const reportEvery = 5 * time.Second

// reports is what RTCP remembers.
type reports struct {
	next      time.Time
	lastSR    uint32    // the middle of the NTP time of the other end's last sender report
	lastAt    time.Time // when it came
	expected  uint32    // at our last report
	taken     uint32
	roundTrip time.Duration
}

// report sends a compound packet when it is due; s.mu is held. With DTLS and no multiplexing there would have to be a second
// association: then there is no RTCP.
func (s *Session) report(now time.Time) {
	if s.rtcpState.next.IsZero() {
		s.rtcpState.next = now.Add(reportEvery / 2)
	}
	if now.Before(s.rtcpState.next) {
		return
	}
	s.rtcpState.next = now.Add(reportEvery)
	keying := s.agreement.Security.Keying
	to := s.path.remote
	if !to.IsValid() || keying != Clear && s.sending.keys == nil || keying == DTLS && !s.agreement.Mux {
		return
	}
	b := s.compound(now)
	if s.sending.keys != nil {
		var err error
		if b, err = s.sending.keys.EncryptRTCP(nil, b, nil); err != nil {
			return
		}
	}
	if s.agreement.Mux {
		s.write(b, to)
	} else if to.Port() < 65535 {
		_, _ = s.rtcp.WriteToUDPAddrPort(b, netip.AddrPortFrom(to.Addr(), to.Port()+1))
	}
}

// compound returns a sender report with one block, or an empty one before anything came, and the SDES that must be there.
// The name in it is the SSRC: it says nothing about us.
func (s *Session) compound(now time.Time) []byte {
	be := binary.BigEndian
	r, o := &s.receiving, &s.sending
	count := byte(0)
	if r.known {
		count = 1
	}
	b := []byte{2<<6 | count, 200, 0, byte(6 + 6*count)}
	b = be.AppendUint32(b, s.ssrc)
	b = be.AppendUint64(b, ntp(now))
	b = be.AppendUint32(b, o.timestamp)
	b = be.AppendUint32(b, o.packets)
	b = be.AppendUint32(b, o.octets)
	if r.known {
		extended := r.cycles<<16 | uint32(r.highest)
		expected := extended - uint32(r.first) + 1
		lost := min(max(int64(expected)-int64(r.taken), -1<<23), 1<<23-1)
		interval := int64(expected - s.rtcpState.expected)
		missing := max(interval-int64(r.taken-s.rtcpState.taken), 0)
		s.rtcpState.expected, s.rtcpState.taken = expected, r.taken
		fraction := uint32(0)
		if interval > 0 {
			fraction = uint32(min(missing*256/interval, 255))
		}
		since := uint32(0)
		if !s.rtcpState.lastAt.IsZero() {
			since = uint32(now.Sub(s.rtcpState.lastAt) * 65536 / time.Second)
		}
		b = be.AppendUint32(b, r.ssrc)
		b = be.AppendUint32(b, fraction<<24|uint32(lost)&0xffffff)
		b = be.AppendUint32(b, extended)
		b = be.AppendUint32(b, uint32(r.buffer.Counts().Jitter*time.Duration(s.agreement.Codec.ClockRate())/time.Second))
		b = be.AppendUint32(b, s.rtcpState.lastSR)
		b = be.AppendUint32(b, since)
	}
	b = append(b, 2<<6|1, 202, 0, 4)
	b = be.AppendUint32(b, s.ssrc)
	b = append(b, 1, 8)
	b = hex.AppendEncode(b, be.AppendUint32(nil, s.ssrc))
	return append(b, 0, 0)
}

// ntp returns a time as in Section 4.
func ntp(t time.Time) uint64 {
	n := uint64(t.UnixNano())
	return (n/1e9+2208988800)<<32 | (n%1e9)<<32/1e9
}

// handleSeparateRTCP takes a datagram of the RTCP port.
func (s *Session) handleSeparateRTCP(now time.Time, from netip.AddrPort, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b) < 8 || len(b) > maxPacket || b[0]>>6 != 2 {
		s.drop(&s.stats.Malformed)
		return
	}
	s.handleRTCP(now, from, b)
}

// handleRTCP takes a compound packet; s.mu is held. It only counts: nothing in it ends or moves a call.
func (s *Session) handleRTCP(now time.Time, from netip.AddrPort, b []byte) {
	if s.agreement.Security.Keying == Clear {
		if from.Addr() != s.path.remote.Addr() {
			s.drop(&s.stats.Foreign)
			return
		}
	} else {
		if s.receiving.keys == nil {
			s.drop(&s.stats.Forged)
			return
		}
		var err error
		if b, err = s.receiving.keys.DecryptRTCP(s.receiving.opened[:0], b, nil); err != nil {
			s.drop(&s.stats.Forged)
			return
		}
	}
	if !s.rtcpState.read(now, b, s.ssrc) {
		s.drop(&s.stats.Malformed)
	}
}

// read takes what matters out of a compound packet: when the other end's report was written, and the round trip to it.
func (r *reports) read(now time.Time, b []byte, ssrc uint32) bool {
	be := binary.BigEndian
	for len(b) >= 8 {
		size := 4 * (int(be.Uint16(b[2:])) + 1)
		if b[0]>>6 != 2 || size > len(b) {
			return false
		}
		p, blocks := b[:size], []byte(nil)
		b = b[size:]
		switch p[1] {
		case 200:
			if len(p) < 28 {
				return false
			}
			r.lastSR, r.lastAt = be.Uint32(p[10:]), now
			blocks = p[28:]
		case 201:
			if len(p) < 8 {
				return false
			}
			blocks = p[8:]
		}
		for range p[0] & 0x1f {
			if len(blocks) < 24 {
				break
			}
			if lsr := be.Uint32(blocks[16:]); be.Uint32(blocks) == ssrc && lsr != 0 {
				trip := time.Duration(uint32(ntp(now)>>16)-lsr-be.Uint32(blocks[20:])) * time.Second / 65536
				if trip < 10*time.Second {
					r.roundTrip = trip
				}
			}
			blocks = blocks[24:]
		}
	}
	return true
}

// snapshot is Stats; s.mu is held.
func (s *Session) snapshot() Stats {
	st := s.stats
	c := s.receiving.buffer.Counts()
	st.Lost, st.Late, st.Reordered, st.Delay, st.Jitter = c.Lost, c.Late, c.Reordered, c.Delay, c.Jitter
	st.RoundTrip = s.rtcpState.roundTrip
	return st
}
