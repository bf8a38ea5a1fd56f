package sfu

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"conclave/sfu/rtp"
	"conclave/sfu/slot"
	"conclave/sfu/srtp"
)

const (
	maxCompound = 32 // packets taken of one compound
	maxNACK     = 32 // entries taken of one NACK, of up to 17 packets each
	shortestRTT = 100 * time.Microsecond

	srMemory = 32 // sender reports that a receiver may still refer to: a room's, for some seconds
)

// meter is what the forwarder measures of one leg's line.
type meter struct {
	received atomic.Uint64
	lossUp   atomic.Uint32 // 256ths
	lossDown atomic.Uint32 // 256ths
	rtt      atomic.Int64  // nanoseconds

	// The forwarder's: when which sender report left, to know the round trip from its echo.
	echoes [srMemory]echo
	echo   uint
}

type echo struct {
	middle uint32 // of the NTP time
	at     time.Duration
}

func (t *transport) read(now time.Duration) LegStats {
	return LegStats{
		Ready:    t.keys.Load() != nil,
		Open:     t.open.Load(),
		Heard:    now - time.Duration(t.heard.Load()),
		LossUp:   float64(t.meter.lossUp.Load()) / 256,
		LossDown: float64(t.meter.lossDown.Load()) / 256,
		RTT:      time.Duration(t.meter.rtt.Load()),
		Received: t.meter.received.Load(),
	}
}

// takeRTCP opens a compound packet and follows it. Only open legs are followed.
func (f *forwarder) takeRTCP(b []byte, t *transport) {
	k := t.keys.Load()
	if k == nil {
		f.sfu.stats.stranger.Add(1)
		return
	}
	plain, err := k.opener.OpenRTCP(b)
	if err != nil {
		if err == srtp.ErrReplay {
			f.sfu.stats.replayed.Add(1)
		} else {
			f.sfu.stats.forged.Add(1)
		}
		return
	}
	t.heard.Store(int64(f.now))
	if !t.open.Load() {
		return
	}
	f.followRTCP(plain, t, k)
}

func (f *forwarder) followRTCP(plain []byte, t *transport, k *keys) {
	least, blocks := uint8(255), false
	for range maxCompound {
		p, rest, ok := rtp.NextRTCP(plain)
		if !ok {
			if len(plain) > 0 {
				f.sfu.stats.malformed.Add(1)
			}
			break
		}
		plain = rest
		switch p.Kind {
		case rtp.TypeSR:
			f.takeSR(p, t)
			if len(p.Body) >= 24 {
				blocks = f.takeReports(p.Body[24:], p.Format, t, &least) || blocks
			}
		case rtp.TypeRR:
			if len(p.Body) >= 4 {
				blocks = f.takeReports(p.Body[4:], p.Format, t, &least) || blocks
			}
		case rtp.TypeTransport:
			if p.Format == rtp.FormatNACK {
				f.takeNACK(p, t, k)
			}
		case rtp.TypePayload:
			f.takePayloadFeedback(p, t)
		}
	}
	if blocks {
		t.meter.lossDown.Store(uint32(least))
	}
}

// takeSR keeps a publisher's report for those who receive it.
func (f *forwarder) takeSR(p rtp.RTCP, t *transport) {
	if len(p.Body) < 24 {
		return
	}
	in := t.inbound(binary.BigEndian.Uint32(p.Body))
	if in == nil {
		return
	}
	in.report = senderReport{ntp: binary.BigEndian.Uint64(p.Body[4:]), rtp: binary.BigEndian.Uint32(p.Body[12:]), at: f.now, fresh: true}
}

// takeReports notes what a receiver says of the slots it is sent. least is the loss of the stream that loses least: what
// others lose on their way to us, gaps in their streams alone, is not this line's.
func (f *forwarder) takeReports(b []byte, n uint8, t *transport, least *uint8) (any bool) {
	for ; n > 0 && len(b) >= rtp.ReportBlockSize; n-- {
		r := rtp.ParseReportBlock(b)
		b = b[rtp.ReportBlockSize:]
		s := f.seat(t, r.SSRC)
		if s == nil {
			continue
		}
		any = true
		*least = min(*least, r.Share)
		if r.LastSR == 0 {
			continue
		}
		for _, e := range t.meter.echoes {
			// The echo's time in receiver's hands, as it says; the rest is the way there and back.
			// Clients count in milliseconds and round: a short way can come out as less than none.
			if rtt := f.now - e.at - time.Duration(r.Delay)*time.Second>>16; e.middle == r.LastSR && rtt > -50*time.Millisecond && rtt < 10*time.Second {
				t.meter.rtt.Store(int64(max(rtt, shortestRTT)))
			}
		}
	}
	return any
}

// seat returns the seat whose SSRC a receiver names.
func (f *forwarder) seat(t *transport, ssrc uint32) *seat {
	name, ok := slot.Of(ssrc)
	if !ok {
		return nil
	}
	if seats := t.room.seats(name.Kind); name.Index < len(seats) {
		return seats[name.Index]
	}
	return nil
}

func (f *forwarder) takeNACK(p rtp.RTCP, t *transport, k *keys) {
	if len(p.Body) < 8 {
		return
	}
	s := f.seat(t, binary.BigEndian.Uint32(p.Body[4:]))
	if s == nil {
		return
	}
	b := p.Body[8:]
	for n := 0; n < maxNACK && len(b) >= 4; n++ {
		pid, blp := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		b = b[4:]
		f.resend(t, k, s, pid)
		for i := uint16(0); blp != 0; i, blp = i+1, blp>>1 {
			if blp&1 != 0 {
				f.resend(t, k, s, pid+i+1)
			}
		}
	}
}

func (f *forwarder) takePayloadFeedback(p rtp.RTCP, t *transport) {
	if len(p.Body) < 8 {
		return
	}
	switch p.Format {
	case rtp.FormatPLI:
		f.wantKey(t, binary.BigEndian.Uint32(p.Body[4:]))
	case rtp.FormatFIR: // RFC 5104, Section 4.3.1: the SSRCs are in the entries
		for b := p.Body[8:]; len(b) >= 8; b = b[8:] {
			f.wantKey(t, binary.BigEndian.Uint32(b))
		}
	}
}

// wantKey passes a receiver's wish on to who speaks in the slot; the throttle is at ask.
func (f *forwarder) wantKey(t *transport, ssrc uint32) {
	s := f.seat(t, ssrc)
	if s == nil || !s.name.Kind.Video() || s.out.era == nil {
		return
	}
	if in := s.out.speaker; in != nil && in.of != t && in.grant.Load() == s.out.era {
		in.wantKey.Store(true)
	}
}

// reportRoom sends every open leg of a room one compound: how its own streams arrive, how much video it may send, and
// the sender reports of the slots.
func (f *forwarder) reportRoom(r *Room) {
	r.stage.reported = f.now
	for _, t := range r.table.Load().receivers {
		k := t.keys.Load()
		if k == nil || !t.open.Load() {
			continue
		}
		f.sendRTCP(t, k, f.appendReports(f.scratch[:0], r, t))
	}
	for _, s := range r.slots {
		if in := s.out.speaker; in != nil {
			in.report.fresh = false
		}
	}
}

func (f *forwarder) appendReports(b []byte, r *Room, t *transport) []byte {
	b, at := rtp.BeginRTCP(b, rtp.TypeRR, slot.ServerSSRC)
	n, worst := uint8(0), uint8(0)
	for i := range t.in {
		in := &t.in[i]
		if in.ssrc == 0 || !in.receipt.Fresh() {
			continue
		}
		share, lost := in.receipt.Interval()
		block := in.receipt.Block(in.ssrc, share, lost)
		if in.report.at != 0 {
			block.LastSR = uint32(in.report.ntp >> 16)
			block.Delay = uint32((f.now - in.report.at) << 16 / time.Second)
		}
		b = block.Append(b)
		worst = max(worst, share)
		n++
	}
	b = rtp.EndRTCP(b, at, n)
	if n > 0 {
		t.meter.lossUp.Store(uint32(worst))
	}
	if in := &t.in[slot.Camera-1]; in.receipt.Received() > 0 {
		b = rtp.AppendREMB(b, in.ssrc, f.sfu.config.CameraRate)
	}
	if in := &t.in[slot.Screen-1]; in.receipt.Received() > 0 {
		b = rtp.AppendREMB(b, in.ssrc, f.sfu.config.ScreenRate)
	}
	for _, s := range r.slots {
		in := s.out.speaker
		if in == nil || in.of == t || !in.report.fresh || in.grant.Load() != s.out.era || cap(b)-len(b) < 128 {
			continue
		}
		b = rtp.AppendSR(b, s.out.ssrc, in.report.ntp, in.report.rtp+s.out.tsBase, s.out.packets, s.out.octets)
		t.meter.echoes[t.meter.echo%srMemory] = echo{middle: uint32(in.report.ntp >> 16), at: f.now}
		t.meter.echo++
	}
	return b
}
