package member

import (
	"bytes"
	"fmt"
	"testing"
	"testing/cryptotest"

	"conclave/mls"
)

// edit changes octets of b: edits are triples of a place, in two octets, and
// what is XORed there. So inputs of fuzz targets stay short, and need not know
// the keys.
func edit(b, edits []byte) []byte {
	b = bytes.Clone(b)
	for ; len(edits) >= 3 && len(b) > 0; edits = edits[3:] {
		b[(int(edits[0])<<8|int(edits[1]))%len(b)] ^= edits[2]
	}
	return b
}

// edited is edit for a value; nil if nothing can be read out of the result.
func edited[T any, P interface {
	*T
	mls.Marshaler
	mls.Unmarshaler
}](v P, edits []byte) P {
	out := P(new(T))
	if mls.Unmarshal(edit(mls.Marshal(v), edits), out) != nil {
		return nil
	}
	return out
}

// fixed makes chance the same in every run of a fuzz target, so that what it
// finds is found again: keys, nonces and signatures.
func fixed(t *testing.T) { cryptotest.SetGlobalRandom(t, 9420) }

// FuzzProcess gives a member any bytes: raw ones, or those of a good message
// with edits. It must not panic, must not change after an error, and must still
// follow the honest commit afterwards.
func FuzzProcess(f *testing.F) {
	for i := range byte(7) {
		f.Add(i, []byte{}, []byte{})
		f.Add(i, []byte{0, 40, 1}, []byte{})
	}
	f.Add(byte(255), []byte{}, []byte{0, 1, 0, 1})
	type scene struct {
		*room
		honest []byte
		good   [][]byte
		cfg    Config
		s      Snapshot
	}
	var at *scene
	f.Fuzz(func(t *testing.T, which byte, edits, raw []byte) {
		fixed(t)
		if at == nil {
			r := newRoom(t, mls.P256AES128SHA256P256)
			r.fill(4)
			at = &scene{room: r, honest: must(r.member(0).Commit(CommitOptions{}, r.now))(t).Message(), cfg: r.member(3).cfg}
			_, join, err := JoinExternal(newConfig(t, r.suite), r.groupInfo(), r.follower.Tree().Clone(), named("new"), ExternalOptions{}, r.now)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.member(3).Save(&at.s); err != nil {
				t.Fatal(err)
			}
			at.good = [][]byte{
				at.honest, join, r.info,
				must(r.member(0).Protect([]byte("hello"), []byte("aad")))(t),
				must(r.member(0).Propose(&mls.Remove{Removed: 1}, r.now))(t),
				must(r.follower.ExternalRemove(r.server, 0, 1))(t),
				must(r.member(1).ProposeUpdate(nil, nil, r.now))(t),
			}
		}
		b := raw
		if int(which) < len(at.good) {
			b = edit(at.good[which], edits)
		}
		g := must(Restore(at.cfg, at.s.Bytes()))(t)
		before := g.EpochAuthenticator()
		p, err := g.Process(b, at.now)
		if !bytes.Equal(before, g.EpochAuthenticator()) {
			t.Fatal("processing changed the epoch")
		}
		if err == nil {
			if p.Commit != nil {
				p.Commit.Wipe()
			}
			return
		}
		if len(g.Pending()) != 0 {
			t.Fatal("a message that was refused is pending")
		}
		if _, err := g.Process(at.honest, at.now); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzGroup plays a room in which leaf 0 is hostile: it has all of a member's
// keys, and signs what the input says. Whatever it sends, the honest members
// agree whether to take it, and never part.
func FuzzGroup(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add([]byte{4, 1, 0, 3, 0, 0, 0, 1})             // Remove of leaf 1
	f.Add([]byte{5, 1, 0, 3, 0, 0, 0, 2, 0, 1, 2})    // the same, private
	f.Add([]byte{4, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) // an empty commit
	f.Add([]byte{1, 2, 1, 0, 3, 7, 0, 9, 3, 0, 6})    // proposals, a mutation, replays
	for flaw := range byte(flaws) {
		f.Add([]byte{8, flaw, 1, 0, 2, 8, flaw, 0, 10, 0, 8, flaw, 5}) // commits with a flaw, a joiner between them
	}
	for kind := range byte(wishes) {
		f.Add([]byte{9, kind, 1, 0, 1, 9, kind, 1, 9, kind, 2, 6, 0, 2, 11, kind, 3, 0, 1}) // proposals of each kind, committed
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 2048 {
			return
		}
		fixed(t)
		r := newRoom(t, mls.P256AES128SHA256P256)
		r.fill(4)
		for _, g := range r.members {
			g.SetPSK([]byte("p"), []byte("secret"))
		}
		play := &play{room: r, test: t, hostile: r.members[0]}
		for n := 0; len(program) > 0 && n < 40; n++ {
			program = play.step(program)
		}
	})
}

// flaws and wishes are how many there are.
const (
	flaws  = 12
	wishes = 8
)

// spoil gives the hostile member's commit a flaw. divides tells that it is one
// that not every member can see, which the RFC cannot prevent.
func (p *play) spoil(in *insider, flaw, arg byte) (divides bool) {
	one := func(list [][]byte) []byte { return list[int(arg)%len(list)] }
	switch flaw % flaws {
	case 1:
		in.secret = func(i int, secret []byte) []byte {
			if i == int(arg)%3 {
				secret[0] ^= 1
			}
			return secret
		}
		return true
	case 2:
		in.path = func(u *mls.UpdatePath) {
			for i := range u.Nodes {
				if c := u.Nodes[i].EncryptedPathSecret; i == int(arg)%3 && len(c) > 0 {
					c[0].Ciphertext = edit(c[0].Ciphertext, []byte{0, arg, 1})
				}
			}
		}
		return true
	case 3:
		in.path = func(u *mls.UpdatePath) { // ciphertexts of two nodes change places
			if n := len(u.Nodes); n > 1 && len(u.Nodes[0].EncryptedPathSecret) > 0 && len(u.Nodes[n-1].EncryptedPathSecret) > 0 {
				a, b := u.Nodes[0].EncryptedPathSecret, u.Nodes[n-1].EncryptedPathSecret
				a[0], b[0] = b[0], a[0]
			}
		}
		return true
	case 4:
		in.path = func(u *mls.UpdatePath) {
			if n := len(u.Nodes); n > 0 {
				u.Nodes = u.Nodes[:n-1]
			}
		}
	case 5:
		in.path = func(u *mls.UpdatePath) { // any octet of it, as long as it can be read
			if again := edited(&mls.UpdatePath{LeafNode: u.LeafNode, Nodes: u.Nodes}, []byte{arg, arg, arg}); again != nil {
				*u = *again
			}
		}
		return true
	case 6:
		in.keys = func(keys []mls.EncryptionKey) {
			if len(keys) > 0 {
				keys[int(arg)%len(keys)] = must(newKeyPair(p.suite, p.hostile.cfg.Rand))(p.t).public
			}
		}
		return true
	case 7:
		in.signed = func(a *mls.AuthenticatedContent) {
			a.Auth.ConfirmationTag = edit(a.Auth.ConfirmationTag, []byte{0, arg, 1})
		}
	case 8:
		in.draft = func(d *draft) { d.init = edit(d.init, []byte{0, arg, 1}) }
	case 9:
		in.draft = func(d *draft) { d.sender = mls.MemberSender(mls.LeafIndex(arg)) }
	case 10:
		in.draft = func(d *draft) {
			d.leaf.Credential = mls.BasicCredential(one([][]byte{[]byte("ok member 2"), []byte("x"), []byte("ok other")}))
		}
	case 11:
		in.draft = func(d *draft) { d.private = true }
	}
	return false
}

// wish is a proposal that is good in form.
func (p *play) wish(kind, arg byte) mls.Proposal {
	switch kind % wishes {
	case 0:
		return &mls.Remove{Removed: mls.LeafIndex(arg % 6)}
	case 1: // under one of a few names, so that some contradict each other
		kp := must(NewKeyPackage(newConfig(p.t, p.suite), named(fmt.Sprint("member ", arg%5)), nil, p.now))(p.t)
		return &mls.Add{KeyPackage: kp.Package}
	case 2:
		return must(p.hostile.NewPSK([]byte{"pq"[arg%2]}))(p.t) // the second nobody knows
	case 3: // of this epoch, which all know, or of one that nobody does; who knows one of before depends on when he came
		return must(p.hostile.newResumption(p.hostile.GroupID(), p.hostile.Epoch()+mls.Epoch(arg%2)))(p.t)
	case 4:
		return &mls.GroupContextExtensions{Extensions: p.hostile.Context().Extensions.With(mls.ApplicationIDExtension([]byte{arg}))}
	case 5:
		return &mls.GroupContextExtensions{Extensions: mls.Extensions{{Type: mls.ExtensionType(arg), Data: []byte{arg}}}}
	case 6:
		if arg%4 > 0 { // which ends the game
			return &mls.ExternalInit{KEMOutput: []byte{arg}}
		}
		return &mls.ReInit{GroupID: mls.GroupID("next"), Version: mls.MLS10, CipherSuite: p.suite}
	}
	return &mls.PreSharedKey{PSK: mls.PreSharedKeyID{Type: mls.PSKResumption, Usage: mls.ResumptionBranch, GroupID: p.hostile.GroupID(), Nonce: make([]byte, 32)}}
}

// play is the state of FuzzGroup.
type play struct {
	*room
	test    *testing.T
	hostile *Group
	sent    []sent
	divides bool // what is sent next: not all members can see its flaw
}

// sent is a message that everybody was given.
type sent struct {
	message []byte
	divides bool
}

func (p *play) honest() []*Group { return p.members[1:] }

// step takes an action off the program.
func (p *play) step(program []byte) []byte {
	action, program := program[0], program[1:]
	take := func() byte {
		if len(program) == 0 {
			return 0
		}
		b := program[0]
		program = program[1:]
		return b
	}
	switch action % 12 {
	case 0: // an honest member commits
		honest := p.honest()
		g := honest[int(take())%len(honest)]
		if s, err := g.Commit(CommitOptions{}, p.now); err == nil {
			p.deliver(s.Message(), s, g)
		}
	case 1: // an honest member proposes
		honest := p.honest()
		g := honest[int(take())%len(honest)]
		if m, err := g.ProposeUpdate(nil, nil, p.now); err == nil {
			p.deliver(m, nil, g)
		}
	case 2, 3: // something that was sent before, mutated or not
		if len(p.sent) == 0 {
			break
		}
		before := p.sent[int(take())%len(p.sent)]
		m := bytes.Clone(before.message)
		if action%12 == 2 {
			m[(int(take())<<8|int(take()))%len(m)] ^= take()
		}
		p.divides = before.divides
		p.deliver(m, nil, nil)
		p.divides = false
	case 4, 5: // the hostile member signs the rest
		var m []byte
		m, program = p.forge(program, action%12 == 5)
		if m != nil {
			p.deliver(m, nil, nil)
		}
	case 6: // the hostile member commits by the rules
		if s, err := p.hostile.Commit(CommitOptions{}, p.now); err == nil {
			p.deliver(s.Message(), s, p.hostile)
		}
	case 7: // the server proposes
		if m, err := p.follower.ExternalRemove(p.server, 0, mls.LeafIndex(take()%5)); err == nil {
			p.deliver(m, nil, nil)
		}
	case 8: // the hostile member commits, built anew around a flaw
		flaw, arg := take(), take()
		if !p.hostile.Active() || p.hostile.Closed() {
			break
		}
		in := insider{t: p.test, room: p.room, Group: p.hostile}
		p.divides = p.spoil(&in, flaw, arg)
		p.deliver(in.commit(), nil, nil)
		p.divides = false
	case 9: // the hostile member proposes something that is good in form
		kind, arg := take(), take()
		if !p.hostile.Active() || p.hostile.Closed() {
			break
		}
		if m, err := p.hostile.Propose(p.wish(kind, arg), p.now); err == nil {
			p.deliver(m, nil, p.hostile)
		}
	case 10: // somebody joins by himself, asks to be added, or sends nonsense from outside
		kind := take()
		g := p.honest()[0]
		if g.Closed() {
			break
		}
		cfg := newConfig(p.t, p.suite)
		if kind%2 == 0 {
			info := must(mls.ReadGroupInfo(must(g.GroupInfo(true))(p.t)))(p.t)
			leaf := named(fmt.Sprint("joiner ", kind%8))
			if _, m, err := JoinExternal(cfg, info, nil, leaf, ExternalOptions{Resync: kind%3 == 0}, p.now); err == nil {
				p.deliver(edit(m, []byte{0, kind, kind >> 6}), nil, nil)
			}
			break
		}
		kp := must(NewKeyPackage(cfg, named(fmt.Sprint("asks ", kind%4)), nil, p.now))(p.t)
		p.deliver(must(ProposeJoin(cfg, kp, g.Context()))(p.t), nil, nil)
	case 11: // the hostile member commits by value
		kind, arg := take(), take()
		if !p.hostile.Active() || p.hostile.Closed() {
			break
		}
		list := []mls.Proposal{p.wish(kind, arg), p.wish(kind>>4, arg>>4)}
		s, err := p.hostile.Commit(CommitOptions{Proposals: list[:1+arg%2], SkipPath: arg%3 == 0}, p.now)
		if err == nil {
			p.deliver(s.Message(), s, p.hostile)
		}
	}
	return program
}

// forge signs a proposal, a commit or data that the program spells out, as the
// hostile member.
func (p *play) forge(program []byte, private bool) (message, rest []byte) {
	e := p.hostile.epoch
	if e == nil || len(program) == 0 {
		return nil, nil
	}
	kind, program := program[0], program[1:]
	a := &mls.AuthenticatedContent{WireFormat: mls.WirePublicMessage, Content: mls.FramedContent{
		GroupID: e.public.Context.GroupID, Epoch: e.public.Context.Epoch, Sender: mls.MemberSender(e.own),
	}}
	if private {
		a.WireFormat = mls.WirePrivateMessage
	}
	r := mls.NewReader(program)
	switch kind % 3 {
	case 0:
		a.Content.ContentType, a.Content.ApplicationData = mls.ContentApplication, program
		if !private {
			return nil, nil
		}
	case 1:
		a.Content.ContentType, a.Content.Proposal = mls.ContentProposal, mls.ReadProposal(r)
	case 2:
		a.Content.ContentType, a.Content.Commit = mls.ContentCommit, new(mls.Commit)
		a.Content.Commit.UnmarshalMLS(r)
		a.Auth.ConfirmationTag = make([]byte, 32)
	}
	if r.Err() != nil {
		return nil, nil
	}
	if err := a.Sign(p.hostile.cfg.Signer, e.public.Context); err != nil {
		p.t.Fatal(err)
	}
	m, err := p.hostile.frame(a)
	if err != nil {
		return nil, nil
	}
	return m, program[r.Offset():]
}

// deliver gives a message to all honest members but its maker, and has all of
// them enter the epoch that it begins. own is the maker's commit.
func (p *play) deliver(message []byte, own *Staged, maker *Group) {
	p.t.Helper()
	p.sent = append(p.sent, sent{message, p.divides})
	_, _ = p.follower.Process(message, p.now)
	var accepted, refused int
	staged := map[*Group]*Staged{}
	for _, g := range p.members {
		if g == maker {
			continue
		}
		out, err := g.Process(message, p.now)
		if g == p.hostile {
			if err == nil && out.Commit != nil {
				staged[g] = out.Commit
			}
			continue
		}
		if err != nil {
			refused++
			continue
		}
		accepted++
		if out.Commit != nil {
			staged[g] = out.Commit
		}
	}
	if p.divides && refused > 0 {
		for _, s := range staged {
			s.Wipe() // those who took it are left to come back by an external commit
		}
		return
	}
	// Its maker does not open a private message or its own commit.
	if accepted > 0 && refused > 1 {
		p.t.Fatalf("%d honest members accept what %d refuse", accepted, refused)
	}
	if own != nil {
		staged[maker] = own
	}
	if accepted == 0 && own == nil || len(staged) == 0 {
		return
	}
	var left []*Group
	for _, g := range p.members {
		s, ok := staged[g]
		if ok {
			if err := g.Merge(s); err != nil {
				p.t.Fatal(err)
			}
		}
		if g.Active() || g == p.hostile {
			left = append(left, g)
		}
	}
	p.members = left
	for _, g := range p.honest() {
		if !bytes.Equal(g.EpochAuthenticator(), p.honest()[0].EpochAuthenticator()) {
			p.t.Fatal("honest members parted")
		}
	}
	if len(p.honest()) < 2 {
		p.t.Skip("too few honest members are left to disagree")
	}
}
