package sfu_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/pion/stun/v3"

	"conclave"
	"conclave/sfu"
	"conclave/sfu/slot"
)

// check sends one binding request over a socket that takes answers from that address only, and returns the answer.
func check(t *testing.T, from, to netip.AddrPort, user, password string, more ...stun.Setter) *stun.Message {
	t.Helper()
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	setters := append([]stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(user)}, more...)
	m, err := stun.Build(append(setters, stun.NewShortTermIntegrity(password), stun.Fingerprint)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(m.Raw); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1500)
	conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := conn.Read(b)
	if err != nil {
		return nil
	}
	reply := &stun.Message{Raw: b[:n]}
	if err := reply.Decode(); err != nil {
		t.Fatal(err)
	}
	if reply.TransactionID != m.TransactionID {
		t.Fatal("answer to another request")
	}
	return reply
}

var anywhere = netip.MustParseAddrPort("127.0.0.1:0")

func TestOnlyAuthenticatedRequestsMoveALeg(t *testing.T) {
	h := build(t, sfu.Config{}, slot.Default)
	a, b := h.enter(1, mic, true), h.enter(2, mic, true)
	c, err := h.room.Credentials(b.id)
	if err != nil {
		t.Fatal(err)
	}
	server := h.sfu.Candidates()[0]
	user := c.Ufrag + ":" + b.Local().Ufrag
	nominate := stun.RawAttribute{Type: stun.AttrUseCandidate}
	for name, wrong := range map[string][2]string{
		"wrong password": {user, "notthepasswordatall00000"},
		"unknown user":   {"abcdefgh:" + b.Local().Ufrag, c.Password},
		"other client":   {c.Ufrag + ":wxyz", c.Password},
		"no client":      {c.Ufrag, c.Password},
	} {
		if reply := check(t, anywhere, server, wrong[0], wrong[1], nominate); reply != nil {
			t.Errorf("%s: answered", name)
		}
	}
	a.talk(t, 0, 20, 0)
	h.eventually("b still hears a", func() bool { return b.total() == 20 })
	if h.count(sfu.EventMoved, b.id) != 0 {
		t.Fatal("moved by a forged request")
	}
	// A request that does not nominate moves nothing; one that does moves the leg.
	if reply := check(t, anywhere, server, user, c.Password); reply == nil || reply.Type != stun.BindingSuccess {
		t.Fatalf("answer %v", reply)
	}
	a.talk(t, 20, 20, 0)
	h.eventually("b still hears a", func() bool { return b.total() == 40 })
	if reply := check(t, anywhere, server, user, c.Password, nominate); reply == nil || reply.Type != stun.BindingSuccess {
		t.Fatalf("answer %v", reply)
	}
	h.eventually("the move is told", func() bool { return h.count(sfu.EventMoved, b.id) == 1 })
	if reply := check(t, anywhere, server, user, c.Password, stun.RawAttribute{Type: stun.AttrICEControlled, Value: make([]byte, 8)}); reply == nil || reply.Type.Class != stun.ClassErrorResponse {
		t.Fatalf("a second controlled side got %v", reply)
	}
}

func TestAMemberCannotTakeAnothersAddress(t *testing.T) {
	h := build(t, sfu.Config{}, slot.Default)
	a, victim := h.enter(1, mic, true), h.enter(2, mic, true)
	// Source addresses can be forged; here the attacker simply sits at the victim's: its transport is gone for a moment.
	thief := conclave.LegID{3}
	c, err := h.room.Credentials(thief)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.room.Connect(thief, sfu.Offer{Ufrag: "evil", Microphone: 1, Opus: 111, VP8: 96}); err != nil {
		t.Fatal(err)
	}
	var address netip.AddrPort
	h.mu.Lock()
	for _, e := range h.events {
		if e.Kind == sfu.EventReady && e.Leg == victim.id {
			address = e.Address
		}
	}
	h.mu.Unlock()
	a.talk(t, 0, 5, 0)
	h.eventually("the victim hears", func() bool { return victim.total() == 5 })
	victim.Close()
	if reply := check(t, address, h.sfu.Candidates()[0], c.Ufrag+":evil", c.Password); reply != nil {
		t.Fatal("another leg's address was given away")
	}
}

func TestAnswersComeFromTheAddressThatWasAsked(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0"} {
		config := sfu.Config{Listen: netip.MustParseAddrPort(listen), Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.7"), netip.MustParseAddr("127.0.0.1")}}
		if listen[0] == '[' {
			config.Addresses = append(config.Addresses, netip.MustParseAddr("::1"))
		}
		h := build(t, config, slot.Default)
		g := newGuest(t, 1, mic)
		remote := h.remote(g.id)
		if err := h.room.Connect(g.id, offer(g.Local())); err != nil {
			t.Fatal(err)
		}
		for _, to := range remote.Candidates {
			from := anywhere
			if to.Addr().Is6() {
				from = netip.MustParseAddrPort("[::1]:0")
			}
			// check's socket is connected: an answer from elsewhere would not reach it.
			if reply := check(t, from, to, remote.Ufrag+":"+g.Local().Ufrag, remote.Password); reply == nil {
				t.Errorf("listening at %s: no answer from %s", listen, to)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if err := g.Connect(ctx, remote); err != nil {
			t.Errorf("listening at %s: %v", listen, err)
		}
		cancel()
	}
}

func TestNoGoroutineIsLeftBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	s, err := sfu.New(sfu.Config{Listen: anywhere}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	room, err := s.OpenRoom(conclave.MeetingID{1}, slot.Default, func(sfu.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, sfu: s, room: room}
	var guests []*guest
	for i := range byte(5) {
		guests = append(guests, h.enter(i, mic, true))
	}
	// One that never finishes its handshake.
	half := newGuest(t, 99, mic)
	remote := h.remote(half.id)
	remote.Fingerprint[0] ^= 1
	if err := room.Connect(half.id, offer(half.Local())); err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithTimeout(ctx, time.Second)
	half.Connect(short, remote)
	stop()
	if perLeg := (runtime.NumGoroutine() - before) / 6; perLeg > 8 {
		t.Errorf("%d goroutines a leg, both ends", perLeg)
	}
	for _, g := range guests {
		g.talk(t, 0, 3, 0)
		g.Close()
	}
	half.Close()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenRoom(conclave.MeetingID{2}, slot.Default, nil); err != sfu.ErrClosed {
		t.Fatalf("room in a closed SFU: %v", err)
	}
	h.eventually("all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

func TestGarbageDisturbsNobody(t *testing.T) {
	h := build(t, sfu.Config{}, slot.Default)
	a, b := h.enter(1, mic, true), h.enter(2, mic, true)
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(h.sfu.Candidates()[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 20_000 {
		junk := make([]byte, 1+i%1600)
		junk[0] = byte(i)
		if len(junk) > 20 && i%3 == 0 {
			copy(junk, []byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42})
		}
		conn.Write(junk)
		if i%200 == 0 {
			a.talk(t, i/200, 1, 0)
		}
	}
	h.eventually("b hears all of a", func() bool { return b.total() == 100 })
	if s := h.sfu.Stats(); s.Malformed == 0 || s.Stranger == 0 || s.STUNRefused == 0 {
		t.Fatalf("stats %+v", s)
	}
}
