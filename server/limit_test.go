package server

import (
	"net/netip"
	"testing"
	"time"
)

var at = time.Unix(1_800_000_000, 0)

func TestAnAddressHasARateABurstAndANumberOfConnections(t *testing.T) {
	l := newLimiter(Limits{Connections: 100, PerAddress: 5, Rate: 2, Burst: 4, Requests: 1})
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	take := func(addr netip.Addr, when time.Time, want bool) func() {
		t.Helper()
		release := l.connect(addr, when)
		if (release != nil) != want {
			t.Errorf("taken: %v, want %v", release != nil, want)
		}
		return release
	}
	var first func()
	for i := range 4 {
		if r := take(a, at, true); i == 0 {
			first = r
		}
	}
	take(a, at, false) // the burst is used up
	take(b, at, true)  // another's is not
	take(a, at.Add(500*time.Millisecond), true)
	take(a, at.Add(time.Hour), false) // five at once
	first()
	first() // counts once
	take(a, at.Add(time.Hour), true)
	take(a, at.Add(time.Hour), false)
}

func TestAllTogetherHaveANumberOfConnections(t *testing.T) {
	l := newLimiter(Limits{Connections: 3, PerAddress: 5, Rate: 10, Burst: 10})
	for i := range 4 {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		if got := l.connect(addr, at) != nil; got != (i < 3) {
			t.Errorf("connection %d taken: %v", i, got)
		}
	}
}

func TestAHouseholdOfIPv6IsOneAddress(t *testing.T) {
	for a, b := range map[string]string{
		"2001:db8::1":      "2001:db8::ffff:1",
		"::ffff:192.0.2.1": "192.0.2.1",
		"fe80::1%eth0":     "fe80::2%eth1",
	} {
		if addressKey(netip.MustParseAddr(a)) != addressKey(netip.MustParseAddr(b)) {
			t.Errorf("%s and %s are two", a, b)
		}
	}
	for a, b := range map[string]string{"2001:db8::1": "2001:db8:0:1::1", "192.0.2.1": "192.0.2.2"} {
		if addressKey(netip.MustParseAddr(a)) == addressKey(netip.MustParseAddr(b)) {
			t.Errorf("%s and %s are one", a, b)
		}
	}
	if addressKey(netip.Addr{}).IsValid() {
		t.Error("no address is one")
	}
}

func TestTheLimiterForgetsAddressesAndIsBounded(t *testing.T) {
	l := newLimiter(Limits{Connections: 1 << 30, PerAddress: 5, Rate: 1, Burst: 2, Requests: 1})
	addr := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
	}
	for i := range 3 * maxAddresses {
		if release := l.connect(addr(i), at); release != nil {
			release()
		}
	}
	if n := len(l.addresses); n > maxAddresses {
		t.Errorf("%d addresses are kept", n)
	}
	// Those who come when all places are taken share one budget.
	if l.connect(addr(4*maxAddresses), at) != nil {
		t.Error("a newcomer got a budget of its own")
	}
	// A minute later the places are free again.
	if l.connect(addr(4*maxAddresses), at.Add(time.Minute)) == nil || len(l.addresses) > 1 {
		t.Errorf("%d addresses are kept", len(l.addresses))
	}
}

func TestTimeThatIsReadOutOfOrderPassesOnce(t *testing.T) {
	var b bucket
	taken := 0
	for i := range 1000 {
		now := at.Add(time.Duration(i) * time.Millisecond)
		if i%2 == 1 {
			now = now.Add(-50 * time.Millisecond)
		}
		if b.take(10, 5, now) {
			taken++
		}
	}
	if taken > 15 {
		t.Errorf("%d were taken in one second, at most 15 allowed", taken)
	}
}
