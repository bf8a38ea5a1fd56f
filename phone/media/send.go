package media

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/srtp/v3"

	"conclave/phone/codec"
	"conclave/phone/dsp"
)

const (
	tick = 20 * time.Millisecond
	// behind is how late the pacer may be before it gives the lost time up instead of sending a burst.
	behind = 200 * time.Millisecond
	// ducked is the loudness of the room behind a sentence to the caller, in 1/256: −15 dB.
	ducked = 45
)

// sending is the way out: sound for the caller, packets to the network.
type sending struct {
	encoder   codec.Encoder
	keys      *srtp.Context // nil: clear, or not yet there
	sequence  uint16
	timestamp uint32
	begun     bool // a packet was sent: the next one has no marker
	noise     dsp.Noise
	frame     Frame // what is being sent
	plain     [maxPacket]byte
	sealed    [maxPacket]byte

	packets, octets uint32 // for RTCP
	depth, judged   int    // least length of the room's queue in the running second, and how many frames that is of
}

func (o *sending) close() {
	if o.encoder != nil {
		o.encoder.Close()
		o.encoder = nil
	}
}

// begin starts what runs; s.mu is held.
func (s *Session) begin(ctx context.Context) {
	run := func(f func()) {
		s.running.Add(1)
		go func() {
			defer s.running.Done()
			f()
		}()
	}
	// Both end when Close, or the end of ctx, closes the sockets.
	run(func() { s.listen(s.rtp, s.handle) })
	run(func() { s.listen(s.rtcp, s.handleSeparateRTCP) })
	run(func() {
		s.pace(ctx)
		s.end(ErrClosed)
		s.rtp.Close()
		s.rtcp.Close()
	})
	if s.agreement.Security.Keying == DTLS {
		s.beginDTLS(ctx, run)
		return
	}
	close(s.ready)
}

// pace calls for a frame each way every 20 ms until ctx ends.
func (s *Session) pace(ctx context.Context) {
	timer := time.NewTimer(tick)
	defer timer.Stop()
	due := time.Now()
	for {
		due = due.Add(tick)
		if late := time.Since(due); late > behind {
			due = due.Add(late)
		}
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		s.turn(s.config.Now())
	}
}

// turn is one tick: a frame from the caller, a frame to the caller, and RTCP when it is due.
func (s *Session) turn(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.bridged {
		f := new(Frame) // whoever receives it owns it
		s.hear(now, f)
		push(s.in, f)
	} else {
		s.hear(now, &s.receiving.unheard)
	}
	s.speak()
	s.report(now)
}

// speak sends the next frame; s.mu is held.
func (s *Session) speak() {
	o := &s.sending
	f := &o.frame
	s.mixOut(f)
	o.timestamp += uint32(s.agreement.Codec.ClockRate() / 50)
	if s.agreement.NoSend || !s.path.remote.IsValid() || s.agreement.Security.Keying != Clear && o.keys == nil {
		return
	}
	b := o.plain[:12]
	b[0], b[1] = 2<<6, s.agreement.PayloadType
	if !o.begun {
		b[1] |= 0x80
		o.begun = true
	}
	o.sequence++
	binary.BigEndian.PutUint16(b[2:], o.sequence)
	binary.BigEndian.PutUint32(b[4:], o.timestamp)
	binary.BigEndian.PutUint32(b[8:], s.ssrc)
	b, err := o.encoder.Encode(b, f)
	if err != nil {
		s.end(fmt.Errorf("media: %w", err))
		return
	}
	o.packets++
	o.octets += uint32(len(b) - 12)
	if o.keys != nil {
		if b, err = o.keys.EncryptRTP(o.sealed[:0], b, nil); err != nil {
			s.end(fmt.Errorf("media: seal: %v", err))
			return
		}
	}
	s.stats.Sent++
	s.write(b, s.path.remote)
}

// write sends a datagram of the RTP port. A network that takes none of it is for the caller's silence to tell.
func (s *Session) write(b []byte, to netip.AddrPort) {
	if to.IsValid() {
		_, _ = s.rtp.WriteToUDPAddrPort(b, to)
	}
}

// mixOut makes the next frame for the caller: a sentence, the room, both, or comfort noise.
func (s *Session) mixOut(f *Frame) {
	room := s.fromRoom()
	p := s.playing
	if p != nil && s.agreement.Security.Keying == DTLS && s.sending.keys == nil {
		p = nil // nothing would be heard yet: the sentence waits
	}
	if p == nil || !p.source.Next(f) {
		if p != nil {
			s.playing = nil
			p.done <- nil
		}
		if room == nil {
			s.sending.noise.Fill(f)
		} else {
			*f = *room
		}
		return
	}
	if room != nil {
		for i := range f {
			f[i] = int16(min(max(int32(f[i])+int32(room[i])*ducked/256, -32768), 32767))
		}
	}
}

// fromRoom returns the next frame of the room, or nil. Where more waits than is needed, one that is quiet is left out.
func (s *Session) fromRoom() *Frame {
	o := &s.sending
	if !s.bridged {
		return nil
	}
	if n := len(s.out); o.judged == 0 || n < o.depth {
		o.depth = n
	}
	if o.judged++; o.judged >= 50 {
		if o.judged = 0; o.depth > 2 {
			<-s.out // never fewer than depth waited for a second: none of them is needed
		}
	}
	select {
	case f := <-s.out:
		return f
	default:
		return nil
	}
}
