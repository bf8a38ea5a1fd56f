//go:build !js

package media

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v3"
)

const (
	maxCandidates = 16
	firstCheck    = 20 * time.Millisecond  // between checks at first
	laterCheck    = 200 * time.Millisecond // and at last
	findTimeout   = 10 * time.Second
	consentEvery  = 4 * time.Second // RFC 7675, Section 5.1 asks for 4 to 6 s
	consentFor    = 15 * time.Second
)

// ice is the controlling side's state (RFC 8445). The server is lite: there is nothing to gather, order or unfreeze.
type ice struct {
	user       string
	password   stun.MessageIntegrity
	candidates []netip.AddrPort
	breaker    uint64
	selected   atomic.Pointer[netip.AddrPort]
	found      chan struct{} // closed with the first answer
	once       sync.Once

	mu       sync.Mutex
	pending  map[[stun.TransactionIDSize]byte]time.Time // requests without an answer; at most maxPending
	answered time.Time
	asked    time.Time
}

const maxPending = 64

func (i *ice) init(ufrag string, remote Remote) {
	i.user = remote.Ufrag + ":" + ufrag
	i.password = stun.NewShortTermIntegrity(remote.Password)
	i.candidates = remote.Candidates[:min(len(remote.Candidates), maxCandidates)]
	i.found = make(chan struct{})
	i.pending = make(map[[stun.TransactionIDSize]byte]time.Time)
	var b [8]byte
	rand.Read(b[:])
	i.breaker = binary.BigEndian.Uint64(b[:])
}

// server is where packets go.
func (i *ice) server() netip.AddrPort {
	if s := i.selected.Load(); s != nil {
		return *s
	}
	return netip.AddrPort{}
}

// request makes a binding request.
func (i *ice) request(nominate bool, now time.Time) []byte {
	setters := []stun.Setter{
		stun.TransactionID, stun.BindingRequest, stun.NewUsername(i.user),
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: binary.BigEndian.AppendUint64(nil, i.breaker)},
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{0x6e, 0xff, 0xff, 0xff}}, // one host candidate
	}
	if nominate {
		setters = append(setters, stun.RawAttribute{Type: stun.AttrUseCandidate})
	}
	m, err := stun.Build(append(setters, i.password, stun.Fingerprint)...)
	if err != nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.pending) >= maxPending {
		clear(i.pending)
	}
	i.pending[m.TransactionID] = now
	i.asked = now
	return m.Raw
}

// takeSTUN follows an answer. Requests are not for us: the server is lite.
func (t *Transport) takeSTUN(b []byte, from netip.AddrPort) {
	m := stun.Message{Raw: b}
	if m.Decode() != nil || m.Type != stun.BindingSuccess || t.ice.password.Check(&m) != nil {
		t.stat.bad.Add(1)
		return
	}
	now := time.Now()
	i := &t.ice
	i.mu.Lock()
	at, ok := i.pending[m.TransactionID]
	delete(i.pending, m.TransactionID)
	if ok {
		i.answered = now
	}
	i.mu.Unlock()
	if !ok {
		t.stat.bad.Add(1)
		return
	}
	t.stat.rtt.Store(uint64(now.Sub(at)))
	i.once.Do(func() {
		i.selected.Store(&from)
		close(i.found)
	})
}

// findServer checks all candidates until one answers, and nominates it.
func (t *Transport) findServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	every := firstCheck
	for {
		for _, c := range t.ice.candidates {
			t.conn.WriteToUDPAddrPort(t.ice.request(false, time.Now()), c)
		}
		timer := time.NewTimer(every)
		select {
		case <-t.ice.found:
			timer.Stop()
			t.conn.WriteToUDPAddrPort(t.ice.request(true, time.Now()), t.ice.server())
			return nil
		case <-t.done:
			timer.Stop()
			return t.Err()
		case <-ctx.Done():
			timer.Stop()
			return ErrUnreachable
		case <-timer.C:
		}
		every = min(every*3/2, laterCheck)
	}
}

// consent asks the server now and then whether it still wants packets, and ends the transport if it does not answer.
func (t *Transport) consent(now time.Time) bool {
	i := &t.ice
	i.mu.Lock()
	late, due := now.Sub(i.answered) > consentFor, now.Sub(i.asked) >= consentEvery
	i.mu.Unlock()
	if late {
		t.fail(ErrConsent)
		return false
	}
	if due {
		t.conn.WriteToUDPAddrPort(i.request(true, now), i.server())
	}
	return true
}
