package sfu

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/stun/v3"

	"conclave/sfu/udp"
)

// ICE, the lite side (RFC 8445, Section 2.5): we answer binding requests, and learn from them where a client is. A
// source is believed only if its request carries MESSAGE-INTEGRITY under the password that signalling gave to this leg.

const (
	maxSTUN = 548 // bytes; requests are about 100
	// Control of a session is the client's alone.
	attrIceControlled = stun.AttrICEControlled
)

// iceState is a transport's ICE.
type iceState struct {
	mu        sync.Mutex
	closed    bool
	nominated bool
	paths     []*udp.Path // oldest first
}

// serveICE answers STUN until done. It has its own goroutine so that a flood of requests does not hold up media.
func (s *SFU) serveICE(done <-chan struct{}) {
	gate := newGate(s.config.STUNRate)
	var m stun.Message
	for {
		select {
		case <-done:
			return
		case d := <-s.requests:
			if !gate.pass(d.From.IP, s.now()) {
				s.stats.stunDropped.Add(1)
				continue
			}
			if reply := s.answer(&m, d); reply != nil {
				s.socket.Write(reply, &udp.Path{To: d.From, From: d.To})
			}
		}
	}
}

// answer handles one STUN message and returns the reply, if there is to be one.
func (s *SFU) answer(m *stun.Message, d udp.Datagram) []byte {
	m.Raw = append(m.Raw[:0], d.Data...)
	if err := m.Decode(); err != nil {
		s.stats.malformed.Add(1)
		return nil
	}
	if m.Type != stun.BindingRequest {
		return nil // indications are keep-alives; we send no requests, so responses are nobody's
	}
	user, err := m.Get(stun.AttrUsername)
	if err != nil || m.Contains(stun.AttrFingerprint) && stun.Fingerprint.Check(m) != nil {
		s.stats.stunRefused.Add(1)
		return nil
	}
	s.mu.Lock()
	t := s.users[string(user)]
	s.mu.Unlock()
	if t == nil || stun.MessageIntegrity(t.password).Check(m) != nil {
		s.stats.stunRefused.Add(1)
		return nil
	}
	var reply *stun.Message
	if m.Contains(attrIceControlled) {
		reply, err = stun.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.NewType(stun.MethodBinding, stun.ClassErrorResponse),
			stun.CodeRoleConflict, stun.MessageIntegrity(t.password), stun.Fingerprint)
	} else {
		if !t.learn(d, m.Contains(stun.AttrUseCandidate)) {
			s.stats.stunRefused.Add(1)
			return nil
		}
		from := d.From.AddrPort()
		reply, err = stun.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
			&stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())},
			stun.MessageIntegrity(t.password), stun.Fingerprint)
	}
	if err != nil {
		return nil
	}
	return reply.Raw
}

// inUse is how recently an address must have carried another leg's packets to be refused to this one: a member who can
// forge source addresses must not be able to take another's packets for his own and so silence him.
const inUse = 5 * time.Second

// learn notes an authenticated request: where the client can be reached, and where it wants to be (nominated).
func (t *transport) learn(d udp.Datagram, nominated bool) bool {
	s := t.room.sfu
	if other := (*s.addresses.Load())[d.From]; other != nil && other.leg != t.leg &&
		other.keys.Load() != nil && s.now()-time.Duration(other.heard.Load()) < inUse {
		return false
	}
	t.ice.mu.Lock()
	if t.ice.closed {
		t.ice.mu.Unlock()
		return false
	}
	t.heard.Store(int64(s.now()))
	i := slices.IndexFunc(t.ice.paths, func(p *udp.Path) bool { return p.To == d.From && p.From == d.To })
	var evicted []udp.Address
	var p *udp.Path
	fresh := i < 0
	if fresh {
		p = &udp.Path{To: d.From, From: d.To}
		if len(t.ice.paths) == maxPaths {
			// Never the one in use.
			j := 0
			if t.ice.paths[0] == t.path.Load() {
				j = 1
			}
			evicted = append(evicted, t.ice.paths[j].To)
			t.ice.paths = slices.Delete(t.ice.paths, j, j+1)
		}
		t.ice.paths = append(t.ice.paths, p)
	} else {
		p = t.ice.paths[i]
	}
	moved := false
	if current := t.path.Load(); current != p && (nominated || !t.ice.nominated) {
		t.path.Store(p)
		moved = current != nil && current.To != p.To
	}
	t.ice.nominated = t.ice.nominated || nominated
	evicted = slices.DeleteFunc(evicted, func(k udp.Address) bool {
		return slices.ContainsFunc(t.ice.paths, func(p *udp.Path) bool { return p.To == k })
	})
	if fresh {
		// Under ice.mu, so that close, which marks ice closed first, cannot miss it.
		s.setAddress(d.From, t)
	}
	t.ice.mu.Unlock()
	if len(evicted) > 0 {
		s.forget(t, evicted, false)
	}
	if moved {
		t.room.moved(t)
	}
	return true
}

// gate bounds requests per source and second, in constant space: sources share counters by a keyed hash, so a flood from
// many addresses can at worst slow others down, never make us grow.
type gate struct {
	limit  uint32
	seed   maphash.Seed
	second time.Duration
	counts [4096]uint32
}

func newGate(limit int) *gate {
	return &gate{limit: uint32(limit), seed: maphash.MakeSeed()}
}

func (g *gate) pass(ip [16]byte, now time.Duration) bool {
	if second := now / time.Second; second != g.second {
		g.second = second
		clear(g.counts[:])
	}
	if !netip.AddrFrom16(ip).Is4In6() {
		clear(ip[8:]) // an IPv6 host has a whole /64
	}
	c := &g.counts[maphash.Bytes(g.seed, ip[:])%uint64(len(g.counts))]
	*c++
	return *c <= g.limit
}
