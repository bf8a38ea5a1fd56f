package sfu

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"conclave"
	"conclave/sfu/slot"
)

func TestASourceThatAsksTooOftenWaitsAndOthersDoNot(t *testing.T) {
	g := newGate(100)
	loud, quiet := netip.MustParseAddr("192.0.2.1").As16(), netip.MustParseAddr("198.51.100.9").As16()
	passed := 0
	for range 1000 {
		if g.pass(loud, time.Second) {
			passed++
		}
	}
	if passed != 100 {
		t.Fatalf("%d passed, want 100", passed)
	}
	if g.counts != (newGate(1)).counts && !g.pass(quiet, time.Second) {
		t.Fatal("another source was stopped")
	}
	if !g.pass(loud, 2*time.Second) {
		t.Fatal("the next second does not pass")
	}
	// All addresses of one IPv6 host count as one.
	g = newGate(100)
	passed = 0
	for i := range 1000 {
		a := netip.MustParseAddr("2001:db8::1").As16()
		a[15], a[14] = byte(i), byte(i>>8)
		if g.pass(a, time.Second) {
			passed++
		}
	}
	if passed != 100 {
		t.Fatalf("%d of one host passed, want 100", passed)
	}
}

func TestHandshakesInFlightAreBounded(t *testing.T) {
	s, err := New(Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), Handshakes: 3}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	room, err := s.OpenRoom(conclave.MeetingID{1}, slot.Default, nil)
	if err != nil {
		t.Fatal(err)
	}
	hello := []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}
	for i := range byte(10) {
		id := conclave.LegID{i}
		if _, err := room.Credentials(id); err != nil {
			t.Fatal(err)
		}
		if err := room.Connect(id, Offer{Ufrag: "abcd", Microphone: 1, Opus: 111, VP8: 96}); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			room.legs[id].transport.push(hello)
		}
	}
	if n := s.handshakes.Load(); n != 3 {
		t.Fatalf("%d handshakes in flight, want 3", n)
	}
	if dropped := s.Stats().DTLSDropped; dropped < 7 {
		t.Fatalf("%d dropped", dropped)
	}
	s.Close()
	s.handshaker.Wait() // they end with their transports, not with their time
}

func TestAnIdleScreenGivesItsSlotBack(t *testing.T) {
	s, room, all := workbench(t)
	now := s.now()
	show := func(i int, at time.Duration) { all[i].in[slot.Screen-1].last.Store(int64(at)) }
	owner := func() byte { return room.Owners().Screen[0][0] }
	show(0, now)
	room.tick(now)
	show(1, now)
	room.tick(now)
	if owner() != 1 {
		t.Fatalf("the screen is leg %d's, want the first's", owner())
	}
	now += videoIdle + time.Second
	show(1, now)
	room.tick(now)
	if owner() != 2 {
		t.Fatalf("the screen is leg %d's, want the other's", owner())
	}
	if g := all[0].in[slot.Screen-1].grant.Load(); g != nil {
		t.Fatal("the former owner may still speak")
	}
	now += videoIdle + time.Second
	room.tick(now)
	if owner() != 0 {
		t.Fatal("nobody sends, and the slot is taken")
	}
}

func TestWhatIsShutIsForwardedForNobody(t *testing.T) {
	s, room, all := workbench(t)
	now := s.now()
	for i := range all {
		all[i].in[slot.Screen-1].last.Store(int64(now))
	}
	room.tick(now)
	if room.Owners().Screen[0] == (conclave.LegID{}) {
		t.Fatal("nobody has the screen")
	}
	room.Shut(slot.Screen, true)
	room.tick(now)
	for i := range all {
		if all[i].in[slot.Screen-1].grant.Load() != nil {
			t.Errorf("leg %d may show its screen", i+1)
		}
	}
	if room.Owners().Screen[0] != (conclave.LegID{}) || room.Owners().Audio[0] == (conclave.LegID{}) {
		t.Error("not the screen alone is shut")
	}
	room.Shut(slot.Screen, false)
	if room.Owners().Screen[0] == (conclave.LegID{}) {
		t.Error("it stays shut")
	}
}

func TestPlansAndConfigsOutOfBoundsAreRefused(t *testing.T) {
	s, _, _ := workbench(t)
	for _, p := range []slot.Plan{{}, {Audio: 65}, {Audio: 1, Camera: 33}, {Audio: 1, Screen: 5}, {Audio: 1, Camera: -1}} {
		if _, err := s.OpenRoom(conclave.MeetingID{}, p, nil); err == nil {
			t.Errorf("plan %+v taken", p)
		}
	}
	for _, c := range []Config{{}, {Listen: netip.MustParseAddrPort("127.0.0.1:0"), MaxGather: time.Second}} {
		if s, err := New(c, slog.New(slog.DiscardHandler)); err == nil {
			s.Close()
			t.Errorf("config %+v taken", c)
		}
	}
}
