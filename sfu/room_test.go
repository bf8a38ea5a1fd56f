package sfu_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint/media"
	"conclave/sfu"
	"conclave/sfu/slot"
)

// house is a running SFU with one room.
type house struct {
	t      testing.TB
	sfu    *sfu.SFU
	room   *sfu.Room
	mu     sync.Mutex
	events []sfu.Event
}

func build(t testing.TB, config sfu.Config, plan slot.Plan) *house {
	t.Helper()
	if !config.Listen.IsValid() {
		config.Listen = netip.MustParseAddrPort("127.0.0.1:0")
	}
	s, err := sfu.New(config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, sfu: s}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	h.room, err = s.OpenRoom(conclave.MeetingID{1}, plan, func(e sfu.Event) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.events = append(h.events, e)
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) count(kind sfu.EventKind, leg conclave.LegID) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.Kind == kind && e.Leg == leg {
			n++
		}
	}
	return n
}

// guest is one native client in the room.
type guest struct {
	id conclave.LegID
	*media.Transport
	mu    sync.Mutex
	heard map[slot.Slot][]media.Packet // payloads copied
	keys  int                          // key frames asked for
}

func (g *guest) packets(s slot.Slot) []media.Packet {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]media.Packet(nil), g.heard[s]...)
}

func (g *guest) total() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.heard {
		n += len(p)
	}
	return n
}

func (g *guest) keyRequests() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.keys
}

func newGuest(t testing.TB, id byte, config media.Config) *guest {
	t.Helper()
	g := &guest{id: conclave.LegID{id}, heard: map[slot.Slot][]media.Packet{}}
	config.Packet = func(p media.Packet) {
		p.Payload = bytes.Clone(p.Payload)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.heard[p.Slot] = append(g.heard[p.Slot], p)
	}
	config.KeyFrame = func(slot.Kind) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.keys++
	}
	var err error
	if g.Transport, err = media.New(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func offer(l media.Local) sfu.Offer {
	return sfu.Offer{
		Ufrag: l.Ufrag, Fingerprint: l.Fingerprint, Microphone: l.Microphone, Camera: l.Camera, Screen: l.Screen, Opus: l.Opus, VP8: l.VP8,
	}
}

func (h *house) remote(id conclave.LegID) media.Remote {
	h.t.Helper()
	c, err := h.room.Credentials(id)
	if err != nil {
		h.t.Fatal(err)
	}
	return media.Remote{Ufrag: c.Ufrag, Password: c.Password, Fingerprint: h.sfu.Fingerprint(), Candidates: h.sfu.Candidates()}
}

// enter connects a new guest and, if asked, admits it.
func (h *house) enter(id byte, config media.Config, admit bool) *guest {
	h.t.Helper()
	g := newGuest(h.t, id, config)
	h.connect(g)
	if admit {
		if err := h.room.Admit(g.id); err != nil {
			h.t.Fatal(err)
		}
	}
	return g
}

func (h *house) connect(g *guest) {
	h.t.Helper()
	remote := h.remote(g.id)
	if err := h.room.Connect(g.id, offer(g.Local())); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Connect(ctx, remote); err != nil {
		h.t.Fatal(err)
	}
	h.eventually("the server takes the leg for ready", func() bool {
		s, err := h.room.Stats(g.id)
		return err == nil && s.Ready
	})
}

func (h *house) eventually(what string, f func() bool) {
	h.t.Helper()
	for range 1000 {
		if f() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	h.t.Fatalf("not within 5 s: %s", what)
}

// frame is a sealed audio frame's worth of bytes, numbered, with its loudness behind.
func frame(n uint32, loudness byte) []byte {
	b := make([]byte, 106)
	rand.Read(b)
	b[0], b[1], b[2], b[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	b[len(b)-1] = loudness
	return b
}

// talk sends n audio frames at 2 ms each, ten times as fast as speech.
func (g *guest) talk(t testing.TB, from, n int, loudness byte) {
	t.Helper()
	for i := from; i < from+n; i++ {
		if err := g.Send(slot.Microphone, frame(uint32(i), loudness), uint32(i)*960, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

var mic = media.Config{Microphone: true}

func TestTwoLegsHearEachOther(t *testing.T) {
	h := build(t, sfu.Config{}, slot.Default)
	a := h.enter(1, media.Config{Microphone: true, Opus: 109}, true)
	b := h.enter(2, mic, true)
	owners := h.room.Owners()
	if owners.Audio[0] != a.id || owners.Audio[1] != b.id || owners.Crowded {
		t.Fatalf("owners: %v", owners.Audio[:2])
	}
	var wg sync.WaitGroup
	wg.Go(func() { a.talk(t, 0, 100, 0) })
	wg.Go(func() { b.talk(t, 0, 100, 0) })
	wg.Wait()
	sa, sb := slot.Slot{Kind: slot.Microphone, Index: 0}, slot.Slot{Kind: slot.Microphone, Index: 1}
	h.eventually("all frames arrive", func() bool { return len(b.packets(sa)) == 100 && len(a.packets(sb)) == 100 })
	for i, p := range b.packets(sa) {
		if p.Payload[3] != byte(i) || len(p.Payload) != 106 {
			t.Fatalf("packet %d has number %d and %d bytes", i, p.Payload[3], len(p.Payload))
		}
		if i > 0 {
			before := b.packets(sa)[i-1]
			if p.Index != before.Index+1 || p.Timestamp != before.Timestamp+960 {
				t.Fatalf("packet %d: index %d after %d, timestamp %d after %d", i, p.Index, before.Index, p.Timestamp, before.Timestamp)
			}
		}
	}
	if n := len(a.packets(sa)); n != 0 {
		t.Fatalf("a hears itself: %d packets", n)
	}
	if s := h.sfu.Stats(); s.Forged+s.Malformed+s.Replayed+s.Stranger != 0 {
		t.Fatalf("stats: %+v", s)
	}
}

func TestALegThatIsNotAdmittedGetsAndGivesNothing(t *testing.T) {
	h := build(t, sfu.Config{}, slot.Default)
	a, b := h.enter(1, mic, true), h.enter(2, mic, true)
	stranger := h.enter(3, media.Config{Microphone: true, Camera: true}, false)
	var wg sync.WaitGroup
	for _, g := range []*guest{a, b, stranger} {
		wg.Go(func() { g.talk(t, 0, 100, 0) })
	}
	wg.Wait()
	h.eventually("a and b hear each other", func() bool { return a.total() == 100 && b.total() == 100 })
	stranger.RequestKeyFrame(slot.Slot{Kind: slot.Camera})
	time.Sleep(1200 * time.Millisecond) // a report interval
	if s := stranger.Stats(); s.Received != 0 || s.Bad != 0 {
		t.Fatalf("the stranger got packets: %+v", s)
	}
	if n := a.total() + b.total(); n != 200 {
		t.Fatalf("%d packets in the room, want 200: the stranger was heard", n)
	}
	if s, err := h.room.Stats(stranger.id); err != nil || !s.Ready || s.Open || s.Received != 100 {
		t.Fatalf("stats of the stranger: %+v, %v", s, err)
	}
}

func TestACutLegHearsAndSaysNothingWithinTenMilliseconds(t *testing.T) {
	h := build(t, sfu.Config{}, slot.Default)
	a, b := h.enter(1, mic, true), h.enter(2, mic, true)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, g := range []*guest{a, b} {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					g.talk(t, i, 1, 0)
				}
			}
		})
	}
	h.eventually("they hear each other", func() bool { return a.total() > 20 && b.total() > 20 })
	if err := h.room.Cut(b.id); err != nil {
		t.Fatal(err)
	}
	// What was on its way is given the ten milliseconds, and as many for this machine to schedule the reader.
	time.Sleep(20 * time.Millisecond)
	toA, toB := a.total(), b.total()
	time.Sleep(300 * time.Millisecond)
	if a.total() != toA || b.total() != toB {
		t.Fatalf("after the cut a heard %d, b heard %d", a.total()-toA, b.total()-toB)
	}
	// Healed, without a new handshake, and every packet opens: the streams go on where they stopped.
	if err := h.room.Admit(b.id); err != nil {
		t.Fatal(err)
	}
	h.eventually("they hear each other again", func() bool { return a.total() > toA+20 && b.total() > toB+20 })
	close(stop)
	wg.Wait()
	if s := b.Stats(); s.Bad != 0 || s.Lost != 0 {
		t.Fatalf("b: %+v", s)
	}
	h.room.Remove(b.id)
	if _, err := h.room.Stats(b.id); err != sfu.ErrNoLeg {
		t.Fatalf("stats of a removed leg: %v", err)
	}
}

func TestASecondConnectReplacesTheTransport(t *testing.T) {
	h := build(t, sfu.Config{}, slot.Default)
	a, b := h.enter(1, mic, true), h.enter(2, mic, true)
	a.talk(t, 0, 20, 0)
	h.eventually("b hears a", func() bool { return b.total() == 20 })
	again := newGuest(t, 1, mic)
	h.connect(again)
	again.talk(t, 0, 20, 0)
	h.eventually("b hears a's new transport in the same slot", func() bool {
		return len(b.packets(slot.Slot{Kind: slot.Microphone})) == 40
	})
	a.talk(t, 20, 20, 0)
	b.talk(t, 0, 20, 0)
	h.eventually("a's new transport hears b", func() bool { return again.total() == 20 })
	if n := b.total(); n != 40 {
		t.Fatalf("b heard the replaced transport: %d packets", n)
	}
	if n := a.total(); n != 0 {
		t.Fatalf("the replaced transport still hears: %d packets", n)
	}
	if s := b.Stats(); s.Bad != 0 || s.Lost != 0 {
		t.Fatalf("b: %+v", s)
	}
}

func TestAnotherCertificateThanAnnouncedGetsNoTransport(t *testing.T) {
	h := build(t, sfu.Config{}, slot.Default)
	g := newGuest(t, 1, mic)
	remote := h.remote(g.id)
	o := offer(g.Local())
	o.Fingerprint[5] ^= 1
	if err := h.room.Connect(g.id, o); err != nil {
		t.Fatal(err)
	}
	if err := h.room.Admit(g.id); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := g.Connect(ctx, remote); err == nil {
		t.Fatal("connected with another certificate")
	}
	h.eventually("the failure is told", func() bool { return h.count(sfu.EventFailed, g.id) == 1 })
	if s, _ := h.room.Stats(g.id); s.Ready || s.Open {
		t.Fatalf("stats %+v", s)
	}

	client := newGuest(t, 2, mic)
	remote = h.remote(client.id)
	remote.Fingerprint[5] ^= 1
	if err := h.room.Connect(client.id, offer(client.Local())); err != nil {
		t.Fatal(err)
	}
	if err := client.Connect(ctx, remote); err == nil {
		t.Fatal("the client took another server's certificate")
	}
}

func TestOffersOutOfBoundsAreRefused(t *testing.T) {
	h := build(t, sfu.Config{MaxLegs: 2}, slot.Default)
	good := sfu.Offer{Ufrag: "abcd", Microphone: 1, Opus: 111, VP8: 96}
	if _, err := h.room.Credentials(conclave.LegID{1}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*sfu.Offer){
		"short ufrag":         func(o *sfu.Offer) { o.Ufrag = "abc" },
		"long ufrag":          func(o *sfu.Offer) { o.Ufrag = string(make([]byte, 300)) },
		"ufrag with a colon":  func(o *sfu.Offer) { o.Ufrag = "ab:cd" },
		"one SSRC twice":      func(o *sfu.Offer) { o.Camera = 1 },
		"no payload type":     func(o *sfu.Offer) { o.Opus = 0 },
		"RTCP's payload type": func(o *sfu.Offer) { o.VP8 = 72 },
		"one type for both":   func(o *sfu.Offer) { o.VP8 = 111 },
	} {
		o := good
		if change(&o); h.room.Connect(conclave.LegID{1}, o) != sfu.ErrOffer {
			t.Errorf("%s: taken", name)
		}
	}
	if err := h.room.Connect(conclave.LegID{9}, good); err != sfu.ErrNoLeg {
		t.Errorf("unknown leg: %v", err)
	}
	if _, err := h.room.Credentials(conclave.LegID{2}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.room.Credentials(conclave.LegID{3}); err != sfu.ErrFull {
		t.Errorf("third leg of two: %v", err)
	}
}
