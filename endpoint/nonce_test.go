package endpoint

import (
	"bytes"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"conclave/mls"
	"conclave/mls/member"
	"conclave/sframe"
)

// everybody is a verifier for whom the identity is the client.
type everybody struct{}

func (everybody) VerifyLeaf(mls.LeafCheck) error { return nil }

func (everybody) VerifyExternalSender(*mls.ExternalSender, *mls.GroupContext, time.Time) error {
	return nil
}

func (everybody) Client(l *mls.LeafNode) string { return string(l.Credential.Identity) }

// sending is one instance of a client: its state of the group, its contexts and
// its workers' streams. A restored copy is an instance of its own, which knows
// nothing of what the first one sent.
type sending struct {
	*sealing
	group    *member.Group
	contexts *contexts
	streams  []*sframe.Sender
}

// sealing plays clients whose frames may never share a key, KID and counter.
type sealing struct {
	t        *testing.T
	rng      *mathrand.Rand
	now      time.Time
	used     map[sealedUnder]string
	frames   int
	refused  int // keys that a restored copy was not given
	rejoined int
	resumed  int
}

// sealedUnder names what a frame was sealed under. The base key says which
// group and epoch.
type sealedUnder struct {
	base     [keySize]byte
	kid, ctr uint64
}

func (s *sealing) instance(g *member.Group) *sending {
	i := &sending{sealing: s, group: g, contexts: &contexts{live: map[Stream]int{}}}
	i.contexts.epoch()
	return i
}

// entered is what an endpoint and its workers do in a new epoch; a worker may
// hear of it late.
func (i *sending) entered() {
	i.contexts.epoch()
	base, err := i.group.Export(keyLabel, nil, keySize)
	if errors.Is(err, member.ErrRestored) {
		i.refused++
		return
	}
	if err != nil {
		i.t.Fatal(err)
	}
	for _, s := range i.streams {
		if i.rng.IntN(5) == 0 {
			continue
		}
		if err := s.Enter(base, uint64(i.group.Epoch())); err != nil {
			i.t.Fatal(err)
		}
	}
}

// start begins a stream: for the first time, or again in a worker or layer that
// was started anew.
func (i *sending) start() {
	kind := 1 + i.rng.IntN(3)
	base, err := i.group.Export(keyLabel, nil, keySize)
	if errors.Is(err, member.ErrRestored) {
		i.refused++
		return
	}
	if err != nil {
		i.t.Fatal(err)
	}
	id, ok := i.contexts.take(Stream(kind))
	if !ok {
		return
	}
	s, err := sframe.NewSender(base, uint64(i.group.Epoch()), sframe.Leaf(i.group.OwnLeaf()), sframe.Context(id), sframe.Kind(kind))
	if err != nil {
		i.t.Fatal(err)
	}
	// The old worker may be alive for a while.
	if len(i.streams) > 4 {
		i.streams[0].Wipe()
		i.streams = i.streams[1:]
	}
	i.streams = append(i.streams, s)
}

// seal seals frames and holds each against all others. keys are the base keys
// of all epochs, by number.
func (i *sending) seal(who string, keys map[uint64][]byte) {
	for _, s := range i.streams {
		for range 1 + i.rng.IntN(3) {
			sealed, err := s.Seal(nil, nil, []byte("x"))
			if err != nil {
				i.t.Fatal(err)
			}
			h, _, err := sframe.ParseHeader(sealed)
			if err != nil {
				i.t.Fatal(err)
			}
			u := sealedUnder{kid: h.KID, ctr: h.CTR}
			for e, base := range keys {
				if uint8(e) == uint8(h.KID) {
					copy(u.base[:], base)
				}
			}
			if before, twice := i.used[u]; twice {
				i.t.Fatalf("%s seals under what %s has sealed under: KID %#x, counter %d", who, before, u.kid, u.ctr)
			}
			i.used[u] = who
			i.frames++
		}
	}
}

// Streams, workers and layers that start again, members that come back, and
// copies of a member's state beside it: nothing is sealed twice under one key,
// KID and counter.
func TestNothingIsSealedTwiceUnderOneKeyAndCounter(t *testing.T) {
	const suite = mls.X25519AES128SHA256Ed25519
	s := &sealing{t: t, rng: mathrand.New(mathrand.NewPCG(9605, 9420)), now: time.Unix(1_790_000_000, 0), used: map[sealedUnder]string{}}
	config := func() member.Config {
		key, err := suite.GenerateSignatureKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := mls.NewSigner(suite, key)
		if err != nil {
			t.Fatal(err)
		}
		return member.Config{Suite: suite, Signer: signer, Verifier: everybody{}, Rand: rand.Reader}
	}
	leaf := func(name string) member.Leaf {
		return member.Leaf{Credential: mls.BasicCredential([]byte(name))}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	cfgA, cfgB := config(), config()
	first, err := member.Create(cfgA, []byte("room"), nil, leaf("a"), s.now)
	must(err)
	a := s.instance(first)
	keys := map[uint64][]byte{}
	learn := func() {
		base, err := a.group.ExportToReceive(keyLabel, nil, keySize)
		must(err)
		keys[uint64(a.group.Epoch())] = base
	}
	learn()
	join := func() *sending {
		message, err := a.group.GroupInfo(true)
		must(err)
		var m mls.Message
		must(mls.Unmarshal(message, &m))
		g, commit, err := member.JoinExternal(cfgB, m.GroupInfo, nil, leaf("b"), member.ExternalOptions{Resync: true}, s.now)
		must(err)
		p, err := a.group.Process(commit, s.now)
		must(err)
		must(a.group.Merge(p.Commit))
		a.entered()
		learn()
		return s.instance(g)
	}
	// b is one member, by as many copies of its state as there are. Only those
	// that follow stay.
	copies := []*sending{join()}
	others := func(message []byte, maker *sending) {
		var left []*sending
		for _, c := range copies {
			if c != maker {
				p, err := c.group.Process(message, s.now)
				if err != nil {
					continue // the commit of another copy: this one is left behind
				}
				must(c.group.Merge(p.Commit))
				c.entered()
			}
			left = append(left, c)
		}
		copies = left
	}
	for range 3000 {
		c := copies[s.rng.IntN(len(copies))]
		switch n := s.rng.IntN(100); {
		case n < 40:
			a.seal("a", keys)
			for _, c := range copies {
				c.seal("b", keys)
			}
		case n < 55:
			a.start()
		case n < 75:
			c.start()
		case n < 82: // somebody else commits: all copies follow
			staged, err := a.group.Commit(member.CommitOptions{}, s.now)
			must(err)
			message := staged.Message()
			must(a.group.Merge(staged))
			a.entered()
			learn()
			others(message, nil)
		case n < 88: // one of the copies commits
			staged, err := c.group.Commit(member.CommitOptions{}, s.now)
			must(err)
			if c.group.Restored() {
				s.resumed++
			}
			message := staged.Message()
			p, err := a.group.Process(message, s.now)
			must(err)
			must(a.group.Merge(p.Commit))
			a.entered()
			learn()
			must(c.group.Merge(staged))
			c.entered()
			others(message, c)
			if len(copies) != 1 {
				t.Fatalf("%d copies follow what one of them committed", len(copies))
			}
		case n < 96 && len(copies) < 4: // a copy of the state comes up beside it
			var snap member.Snapshot
			must(c.group.Save(&snap))
			g, err := member.Restore(cfgB, bytes.Clone(snap.Bytes()))
			must(err)
			copies = append(copies, s.instance(g))
		case n >= 98: // b comes back, as if its tab was loaded anew
			copies = []*sending{join()}
			s.rejoined++
		}
		for e := range keys { // no worker is that late
			if e+200 < uint64(a.group.Epoch()) {
				delete(keys, e)
			}
		}
	}
	if s.frames < 5_000 || s.refused < 100 || s.rejoined < 10 || s.resumed < 10 {
		t.Errorf("too little happened: %d frames, %d keys refused, %d times back, %d copies resumed", s.frames, s.refused, s.rejoined, s.resumed)
	}
}
