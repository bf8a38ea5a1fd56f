package gateway

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"conclave/phone/call"
	"conclave/phone/codec"
	"conclave/phone/media"
)

// A caller's packets keep a call alive, whether the room is silent or not; thirty seconds without one end it, counted from
// the end of a hold.
func TestACallersSilenceEndsACallAndTheRoomsDoesNot(t *testing.T) {
	var clock atomic.Int64
	clock.Store(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC).UnixNano())
	now := func() time.Time { return time.Unix(0, clock.Load()) }
	later := func(d time.Duration) { clock.Add(int64(d)) }
	caller, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	session, err := media.New(media.Config{Local: netip.MustParseAddr("127.0.0.1"), Rand: rand.Reader, Now: now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	remote := caller.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := session.Start(context.Background(), media.Agreement{Remote: remote, Codec: codec.PCMA, PayloadType: 8}); err != nil {
		t.Fatal(err)
	}
	l := &leg{gateway: &Gateway{config: Config{Now: now}}, media: session, course: call.New(call.Config{}, now()), started: now()}
	is := func(want bool, what string) {
		t.Helper()
		if l.silent() != want {
			t.Errorf("%s: silent is %v", what, !want)
		}
	}
	later(silentTime)
	is(false, "the caller may still be on the way")
	later(time.Second)
	is(true, "nothing ever came")
	packet := make([]byte, 172)
	packet[0], packet[1] = 0x80, 8
	if _, err := caller.WriteToUDPAddrPort(packet, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), session.LocalPort())); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); session.Stats().Received == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	later(silentTime)
	is(false, "a packet came half a minute ago; of the room there was none at all")
	later(time.Second)
	is(true, "none came since")
	l.do(call.Hold{On: true})
	later(time.Hour)
	is(false, "who holds us may be silent")
	l.do(call.Hold{On: false})
	is(false, "and takes a moment to speak again")
	later(silentTime + time.Second)
	is(true, "but no longer than others")
}
