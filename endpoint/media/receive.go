//go:build !js

package media

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/pion/rtcp"

	"conclave/sfu/slot"
	"conclave/sfu/srtp"
)

const (
	tick       = time.Second
	maxStreams = 512
	maxBlocks  = 31 // reception reports in one packet (RFC 3550, Section 6.4.1)
	ntpEpoch   = 2208988800
)

// inbound is the reading goroutine's state. Reports are made from it under the transport's mutex.
type inbound struct {
	streams map[uint32]*receiving
}

// receiving is one stream that is received; mu of the transport guards what reports use.
type receiving struct {
	slot     slot.Slot
	window   srtp.Window
	first    uint64
	highest  uint64
	received uint64
	expected uint64 // at the last report
	reported uint64 // received at the last report
	lastSR   uint32
	srAt     time.Time
}

// read takes datagrams until the socket closes.
func (t *Transport) read() {
	b := make([]byte, maxDatagram)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(b)
		if err != nil {
			select {
			case <-t.done:
				return
			default:
			}
			if n == 0 && isTransient(err) {
				continue
			}
			t.fail(err)
			return
		}
		t.deliver(b[:n], from)
	}
}

// Deliver takes a datagram that the owner's Socket has received; b is overwritten. It is called by one goroutine at a time, from
// before Connect on, and does nothing until then.
func (t *Transport) Deliver(b []byte, from netip.AddrPort) {
	if t.udp == nil && t.reading.Load() {
		t.deliver(b, from)
	}
}

func (t *Transport) deliver(b []byte, from netip.AddrPort) {
	if len(b) < rtpHeader {
		t.stat.bad.Add(1)
		return
	}
	switch first := b[0]; { // RFC 7983
	case first < 4:
		t.takeSTUN(b, from)
	case first >= 20 && first < 64:
		t.push(b)
	case first < 128 || first > 191:
		t.stat.bad.Add(1)
	case b[1] >= 192 && b[1] <= 223:
		t.takeRTCP(b)
	default:
		t.takeRTP(b)
	}
}

func (t *Transport) takeRTP(b []byte) {
	opener := t.opener.Load()
	ssrc := binary.BigEndian.Uint32(b[8:])
	size := rtpHeader + 4*int(b[0]&15)
	if b[0]&0x10 != 0 && len(b) >= size+4 {
		size += 4 + 4*int(binary.BigEndian.Uint16(b[size+2:]))
	}
	if opener == nil || len(b) < size+srtp.TagSize {
		t.stat.bad.Add(1)
		return
	}
	s := t.in.streams[ssrc]
	if s == nil {
		name, ok := slot.Of(ssrc)
		if !ok && !t.config.Foreign || len(t.in.streams) >= maxStreams {
			t.stat.bad.Add(1)
			return
		}
		s = &receiving{slot: name}
	}
	payload, index, err := opener.OpenRTP(b, size, ssrc, binary.BigEndian.Uint16(b[2:]), &s.window)
	if err != nil {
		t.stat.bad.Add(1)
		return
	}
	if b[0]&0x20 != 0 {
		n := 0
		if len(payload) > 0 {
			n = int(payload[len(payload)-1])
		}
		if n == 0 || n > len(payload) {
			t.stat.bad.Add(1)
			return
		}
		payload = payload[:len(payload)-n]
	}
	t.note(s, ssrc, index)
	if t.config.Packet != nil {
		t.config.Packet(Packet{
			Slot: s.slot, SSRC: ssrc, Index: index, Timestamp: binary.BigEndian.Uint32(b[4:]), Marker: b[1]&0x80 != 0, Payload: payload,
		})
	}
}

func (t *Transport) note(s *receiving, ssrc uint32, index uint64) {
	t.stat.received.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case s.received == 0:
		s.first, s.highest = index, index
		t.in.streams[ssrc] = s
	case index > s.highest:
		t.stat.lost.Add(index - s.highest - 1)
		s.highest = index
	}
	s.received++
}

func (t *Transport) takeRTCP(b []byte) {
	opener := t.opener.Load()
	if opener == nil {
		t.stat.bad.Add(1)
		return
	}
	plain, err := opener.OpenRTCP(b)
	if err != nil {
		t.stat.bad.Add(1)
		return
	}
	t.followRTCP(plain)
}

func (t *Transport) followRTCP(plain []byte) {
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		t.stat.bad.Add(1)
		return
	}
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.PictureLossIndication:
			for i := range t.out {
				if o := &t.out[i]; o.ssrc == p.MediaSSRC && o.ssrc != 0 && t.config.KeyFrame != nil {
					t.config.KeyFrame(slot.Kind(i + 1))
				}
			}
		case *rtcp.TransportLayerNack:
			for _, n := range p.Nacks {
				for _, seq := range n.PacketList() {
					t.again(p.MediaSSRC, seq)
				}
			}
		case *rtcp.SenderReport:
			t.mu.Lock()
			if s := t.in.streams[p.SSRC]; s != nil {
				s.lastSR, s.srAt = uint32(p.NTPTime>>16), time.Now()
			}
			t.mu.Unlock()
		}
	}
}

// tick runs once a second: consent, and RTCP.
func (t *Transport) tick() {
	now := time.Now()
	if !t.consent(now) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return
	}
	t.ticking.Reset(tick)
	blocks := t.reports(now)
	var compound []rtcp.Packet
	for i := range t.out {
		o := &t.out[i]
		if o.packets == 0 {
			continue
		}
		clock := int64(48000)
		if o.ring != nil {
			clock = 90000
		}
		elapsed := now.Sub(o.at)
		compound = append(compound, &rtcp.SenderReport{
			SSRC:        o.ssrc,
			NTPTime:     ntp(now),
			RTPTime:     o.ts + uint32(int64(elapsed/time.Microsecond)*clock/1_000_000),
			PacketCount: o.packets,
			OctetCount:  o.octets,
		})
	}
	if len(compound) == 0 {
		compound = append(compound, &rtcp.ReceiverReport{SSRC: 1, Reports: blocks})
	} else {
		compound[0].(*rtcp.SenderReport).Reports = blocks
	}
	t.writeRTCP(compound)
}

// reports makes reception reports of the streams that sent since the last ones. mu is held.
func (t *Transport) reports(now time.Time) (blocks []rtcp.ReceptionReport) {
	for ssrc, s := range t.in.streams {
		if s.received == s.reported || len(blocks) == maxBlocks {
			continue
		}
		expected := s.highest - s.first + 1
		expectedNow, receivedNow := expected-s.expected, s.received-s.reported
		s.expected, s.reported = expected, s.received
		r := rtcp.ReceptionReport{SSRC: ssrc, LastSequenceNumber: uint32(s.highest), LastSenderReport: s.lastSR}
		if expectedNow > receivedNow {
			r.FractionLost = uint8(min(255, (expectedNow-receivedNow)<<8/expectedNow))
		}
		if expected > s.received {
			r.TotalLost = uint32(min(expected-s.received, 0x7fffff))
		}
		if s.lastSR != 0 {
			r.Delay = uint32(now.Sub(s.srAt) * 65536 / time.Second)
		}
		blocks = append(blocks, r)
	}
	return blocks
}

// RequestKeyFrame asks who speaks in a video slot for a key frame.
func (t *Transport) RequestKeyFrame(s slot.Slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ssrc := s.SSRC(); ssrc != 0 && s.Kind.Video() && t.err == nil {
		t.writeRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: ssrc}})
	}
}

// RequestAgain asks for lost packets of a video slot by their indices, 17 at most.
func (t *Transport) RequestAgain(s slot.Slot, indices ...uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ssrc := s.SSRC()
	if ssrc == 0 || len(indices) == 0 || len(indices) > 17 || t.err != nil {
		return
	}
	var seqs []uint16
	for _, i := range indices {
		seqs = append(seqs, uint16(i))
	}
	t.writeRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(seqs)}})
}

// writeRTCP seals and sends. mu is held.
func (t *Transport) writeRTCP(packets []rtcp.Packet) {
	if t.sealer == nil {
		return
	}
	b, err := rtcp.Marshal(packets)
	if err != nil {
		return
	}
	t.buffer = t.sealer.SealRTCP(t.buffer[:0], b)
	t.conn.WriteToUDPAddrPort(t.buffer, t.ice.server())
}

// ntp is a time as RFC 3550, Section 4 writes it.
func ntp(t time.Time) uint64 {
	return uint64(t.Unix()+ntpEpoch)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}
