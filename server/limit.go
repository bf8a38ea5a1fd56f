package server

import (
	"net/netip"
	"sync"
	"time"

	"conclave"
)

// Limits bound what one address, and all together, may ask for.
type Limits struct {
	Connections int     // signalling connections at once, in all
	PerAddress  int     // of them from one address
	Rate        float64 // new connections a second from one address, in the long run
	Burst       float64 // and at once
	Requests    float64 // other requests that cost work (enrolments, renewals) a second from one address; burst tenfold
}

// DefaultLimits suit a ministry behind one address: 500 people who all come at the full hour, and come back at once when
// the server was restarted.
func DefaultLimits() Limits {
	return Limits{Connections: 5000, PerAddress: 1000, Rate: 50, Burst: 500, Requests: 5}
}

// maxAddresses bounds the memory of the limiter: 64 bytes each. When as many addresses are busy at once, further ones
// share one budget.
const maxAddresses = 1 << 16

// limiter counts by address; those of IPv6 by their /64, since one household has as many as it likes of the rest.
type limiter struct {
	limits Limits

	mu        sync.Mutex
	addresses map[netip.Prefix]*budget // guarded by mu, as is the rest
	shared    budget
	open      int
	swept     time.Time
}

type budget struct {
	open     int
	connects bucket
	requests bucket
}

// bucket holds what was used up, which leaks away.
type bucket struct {
	level float64
	at    time.Time
}

func (b *bucket) take(rate, burst float64, now time.Time) bool {
	if !b.has(rate, burst, now) {
		return false
	}
	b.level++
	return true
}

// has says whether one could be taken.
func (b *bucket) has(rate, burst float64, now time.Time) bool {
	b.leak(rate, now)
	return b.level+1 <= burst
}

func (b *bucket) leak(rate float64, now time.Time) {
	// Callers read the clock before they get the mutex, so now may lie a little before at: time passes only once.
	if dt := now.Sub(b.at).Seconds(); dt > 0 {
		b.level = max(0, b.level-dt*rate)
		b.at = now
	}
}

// spent is what a leg has used up of what leaves a record by its own wish alone. Honest legs never come near the end of it.
type spent struct {
	ledger   bucket // blocks of its speech ledger
	refused  bucket // commits that break the rules
	renewed  bucket // commits that nobody asked for: keys of its own made anew, which all others have to follow
	screens  bucket // screens that it begins to share
	presided bucket // what it did as the chair, or answered to it
}

// Members renew their keys twice an hour, and where their statement was renewed. Whoever has a commit refused is broken, or
// tries something. A screen is shown and shown again while people look for the right window.
const (
	refusedRate, refusedBurst = 1.0 / 30, 20
	renewedRate, renewedBurst = 1.0 / 60, 20
	screensRate, screensBurst = 1.0 / 10, 30
)

func (r *room) spent(leg conclave.LegID) *spent {
	if r.spending[leg] == nil {
		r.spending[leg] = new(spent)
	}
	return r.spending[leg]
}

func newLimiter(l Limits) *limiter {
	return &limiter{limits: l, addresses: map[netip.Prefix]*budget{}}
}

// connect counts a connection in. The caller calls release when it ends; it is nil if the connection is not allowed.
func (l *limiter) connect(a netip.Addr, now time.Time) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.budget(a, now)
	if l.open >= l.limits.Connections || b.open >= l.limits.PerAddress || !b.connects.take(l.limits.Rate, l.limits.Burst, now) {
		return nil
	}
	l.open++
	b.open++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open--
		b.open--
	})
}

// request counts a request that costs work.
func (l *limiter) request(a netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.budget(a, now).requests.take(l.limits.Requests, 10*l.limits.Requests, now)
}

func (l *limiter) budget(a netip.Addr, now time.Time) *budget {
	key := addressKey(a)
	if b := l.addresses[key]; b != nil {
		return b
	}
	if len(l.addresses) >= maxAddresses {
		l.sweep(now)
		if len(l.addresses) >= maxAddresses {
			return &l.shared
		}
	}
	b := new(budget)
	l.addresses[key] = b
	return b
}

// sweep forgets addresses that have used up nothing, at most once a second.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for key, b := range l.addresses {
		b.connects.leak(l.limits.Rate, now)
		b.requests.leak(l.limits.Requests, now)
		if b.open == 0 && b.connects.level == 0 && b.requests.level == 0 {
			delete(l.addresses, key)
		}
	}
}

func addressKey(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil { // no address at all: they share a budget
		return netip.Prefix{}
	}
	return p
}
