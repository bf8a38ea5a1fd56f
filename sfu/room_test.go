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
