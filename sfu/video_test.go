package sfu_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"conclave/endpoint/media"
	"conclave/sfu"
	"conclave/sfu/slot"
)

// lossy is a socket that loses what it is told to lose.
type lossy struct {
	*net.UDPConn
	in, out atomic.Pointer[func(packet []byte) bool] // lose it; sees RTP only
}

func loses(f *atomic.Pointer[func([]byte) bool], b []byte) bool {
	lose := f.Load()
	return lose != nil && isRTP(b) && (*lose)(b)
}

func isRTP(b []byte) bool {
	return len(b) >= 12 && b[0]>>6 == 2 && (b[1] < 192 || b[1] > 223)
}

func newLossy(t testing.TB) *lossy {
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &lossy{UDPConn: conn}
}

func (l *lossy) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if loses(&l.out, b) {
		return len(b), nil
	}
	return l.UDPConn.WriteToUDPAddrPort(b, to)
}

func (l *lossy) serve(t *media.Transport) {
	b := make([]byte, 1500)
	for {
		n, from, err := l.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if loses(&l.in, b[:n]) {
			continue
		}
		t.Deliver(b[:n], from)
	}
}

// enterLossy is enter with a lossy socket.
func (h *house) enterLossy(id byte, config media.Config, l *lossy) *guest {
	h.t.Helper()
	config.Socket = l
	g := newGuest(h.t, id, config)
	go l.serve(g.Transport)
	h.connect(g)
	if err := h.room.Admit(g.id); err != nil {
		h.t.Fatal(err)
	}
	return g
}

var seeing = media.Config{Microphone: true, Camera: true, Screen: true}

// film sends n frames of three packets, key frames when asked for.
func (g *guest) film(t testing.TB, kind slot.Kind, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		g.mu.Lock()
		key := g.keys > 0
		g.keys = 0
		g.mu.Unlock()
		picture := vp8(key, 3000)
		for part := 0; part < 3; part++ {
			payload := append([]byte{0}, picture[part*1000:(part+1)*1000]...)
			if part == 0 {
				payload[0] = 0x10
			}
			payload = binary.BigEndian.AppendUint32(payload, uint32(i*3+part))
			if err := g.Send(kind, payload, uint32(i)*3000, part == 2); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func number(p media.Packet) int {
	return int(binary.BigEndian.Uint32(p.Payload[len(p.Payload)-4:]))
}

func TestVideoBeginsWithAKeyFrameAndComesToLateComersToo(t *testing.T) {
	h := build(t, sfu.Config{}, slot.Default)
	a, b := h.enter(1, seeing, true), h.enter(2, mic, true)
	cam, screen := slot.Slot{Kind: slot.Camera}, slot.Slot{Kind: slot.Screen}
	a.film(t, slot.Camera, 0, 60)
	a.film(t, slot.Screen, 0, 60)
	for _, s := range []slot.Slot{cam, screen} {
		got := b.packets(s)
		if len(got) < 60 {
			t.Fatalf("b got %d packets of %v", len(got), s)
		}
		for i, p := range got {
			if key := p.Payload[0]&0x10 != 0 && p.Payload[1]&1 == 0; i == 0 && !key {
				t.Fatalf("%v begins with % x", s, p.Payload[:4])
			}
			if i > 0 && (p.Index != got[i-1].Index+1 || number(p) != number(got[i-1])+1) {
				t.Fatalf("%v: packet %d of index %d after %d of %d", s, number(p), p.Index, number(got[i-1]), got[i-1].Index)
			}
		}
	}
	o := h.room.Owners()
	if o.Camera[0] != a.id || o.Screen[0] != a.id {
		t.Fatalf("owners %v", o)
	}
	c := h.enter(3, mic, true)
	a.film(t, slot.Camera, 60, 60)
	keys := 0
	for _, p := range c.packets(cam) {
		if p.Payload[0]&0x10 != 0 && p.Payload[1]&1 == 0 {
			keys++
		}
	}
	if keys == 0 {
		t.Fatal("no key frame for one who came late")
	}
	// Receivers that ask all the time get what the throttle lets through.
	asked := 0
	for range 100 {
		b.RequestKeyFrame(cam)
		c.RequestKeyFrame(cam)
		before := a.keyRequests()
		a.Send(slot.Camera, []byte{0x10, 1, 0, 0, 0, 0}, 0, true)
		time.Sleep(10 * time.Millisecond)
		asked += max(0, a.keyRequests()-before)
	}
	if asked < 1 || asked > 4 {
		t.Fatalf("asked %d times for a key frame in a second", asked)
	}
}

func TestLostVideoIsSentAgainOnBothHops(t *testing.T) {
	h := build(t, sfu.Config{}, slot.Default)
	up, down := newLossy(t), newLossy(t)
	var lost atomic.Int32
	a := h.enterLossy(1, seeing, up)
	b := h.enterLossy(2, mic, down)
	cam := slot.Slot{Kind: slot.Camera}
	a.film(t, slot.Camera, 0, 40)
	h.eventually("video flows", func() bool { return len(b.packets(cam)) > 20 })

	// Up: every tenth packet is lost the first time.
	seen := map[uint16]bool{}
	everyTenth := func(p []byte) bool {
		seq := binary.BigEndian.Uint16(p[2:])
		if binary.BigEndian.Uint32(p[8:]) != a.Local().Camera || seq%10 != 0 || seen[seq] {
			return false
		}
		seen[seq] = true
		lost.Add(1)
		return true
	}
	up.out.Store(&everyTenth)
	a.film(t, slot.Camera, 40, 40)
	up.out.Store(nil)
	a.film(t, slot.Camera, 80, 10)
	complete := func() bool {
		numbers := map[int]bool{}
		for _, p := range b.packets(cam) {
			numbers[number(p)] = true
		}
		for n := 120; n < 270; n++ {
			if !numbers[n] {
				return false
			}
		}
		return true
	}
	if h.eventually("the publisher sends again what the server misses", complete); lost.Load() < 10 {
		t.Fatalf("only %d packets were lost", lost.Load())
	}

	// Down: one packet is lost, and asked for.
	var drop, dropped atomic.Int64
	drop.Store(1)
	one := func(p []byte) bool {
		if binary.BigEndian.Uint32(p[8:]) == cam.SSRC() && drop.CompareAndSwap(1, 0) {
			dropped.Store(int64(binary.BigEndian.Uint16(p[2:])))
			return true
		}
		return false
	}
	down.in.Store(&one)
	n := len(b.packets(cam))
	a.film(t, slot.Camera, 90, 5)
	h.eventually("the rest arrives", func() bool { return len(b.packets(cam)) == n+14 })
	b.RequestAgain(cam, uint64(dropped.Load()))
	h.eventually("the lost packet comes", func() bool { return len(b.packets(cam)) == n+15 })
	if got := b.packets(cam)[n+14]; int64(got.Index) != dropped.Load() || number(got) != 270 {
		t.Fatalf("index %d, number %d", got.Index, number(got))
	}
	if s := h.sfu.Stats(); s.Retransmitted != 1 {
		t.Fatalf("stats %+v", s)
	}
	if s := b.Stats(); s.Bad != 0 {
		t.Fatalf("b: %+v", s)
	}
}

func TestLinesAreMeasured(t *testing.T) {
	h := build(t, sfu.Config{}, slot.Default)
	up, down := newLossy(t), newLossy(t)
	quarter := func(p []byte) bool { return binary.BigEndian.Uint16(p[2:])%4 == 0 }
	half := func(p []byte) bool { return binary.BigEndian.Uint16(p[2:])%2 == 0 }
	up.out.Store(&quarter)
	down.in.Store(&half)
	a, b := h.enterLossy(1, mic, up), h.enterLossy(2, mic, down)
	c := h.enter(3, mic, true)
	for i := range 1800 {
		a.talk(t, i, 1, 0)
		b.Send(slot.Microphone, frame(uint32(i), 0), uint32(i)*960, false)
		c.Send(slot.Microphone, frame(uint32(i), 0), uint32(i)*960, false)
	}
	sa, _ := h.room.Stats(a.id)
	sb, _ := h.room.Stats(b.id)
	if sa.LossUp < 0.2 || sa.LossUp > 0.3 || sa.LossDown > 0.05 {
		t.Errorf("a loses a quarter upwards: %+v", sa)
	}
	if sb.LossDown < 0.45 || sb.LossUp > 0.01 {
		t.Errorf("b loses half downwards: %+v", sb)
	}
	if sc, _ := h.room.Stats(c.id); sc.LossUp > 0.01 || sc.LossDown > 0.05 {
		t.Errorf("c loses nothing itself: %+v", sc)
	}
	if sb.RTT == 0 || sb.RTT > 2*time.Second {
		t.Errorf("b's round trip is %v", sb.RTT)
	}
}
