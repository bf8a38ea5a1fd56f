package member

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"conclave/mls"
)

// forge is a commit of a member's that breaks one rule. edit gets the content
// before it is signed, the commit after.
func forgeCommit(t *testing.T, r *room, g *Group, before func(*draft), after func(*sealed)) []byte {
	t.Helper()
	e := g.epoch
	staged := must(g.rules.StageProposals(e.public, mls.MemberSender(e.own), nil, r.now))(t)
	d := &draft{
		before: e.public, staged: staged, sender: mls.MemberSender(e.own), leaf: ownLeaf(staged, nil), signer: g.cfg.Signer,
		leafSigner: g.cfg.Signer, init: e.secrets.init, psk: make([]byte, r.suite.HashSize()), keys: e.keys.next(staged.Tree), rand: g.cfg.Rand,
	}
	if before != nil {
		before(d)
	}
	s := must(d.seal())(t)
	if after != nil {
		after(s)
	}
	return must(g.frame(s.content))(t)
}

func TestBrokenCommitIsRefused(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(4)
	insider, victim := r.member(0), r.member(3)
	resign := func(s *sealed) {
		if err := s.content.Sign(insider.cfg.Signer, insider.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		before func(*draft)
		after  func(*sealed)
	}{
		{"wrong confirmation tag", nil, func(s *sealed) { s.content.Auth.ConfirmationTag[0] ^= 1 }},
		{"wrong signature", nil, func(s *sealed) { s.content.Auth.Signature[20] ^= 1 }},
		{"signed by another", func(d *draft) { d.signer = newSigner(t, r.suite) }, nil},
		{"wrong init secret", func(d *draft) { d.init = make([]byte, 32) }, nil},
		{"wrong PSK secret", func(d *draft) { d.psk = bytes.Repeat([]byte{1}, 32) }, nil},
		{"no path", func(d *draft) { d.leaf = nil }, nil},
		{"ciphertext of another node", nil, func(s *sealed) {
			nodes := s.content.Content.Commit.Path.Nodes
			nodes[len(nodes)-1].EncryptedPathSecret[0] = nodes[0].EncryptedPathSecret[0]
			resign(s)
		}},
		{"ciphertext too few", nil, func(s *sealed) {
			nodes := s.content.Content.Commit.Path.Nodes
			nodes[len(nodes)-1].EncryptedPathSecret = nil
			resign(s)
		}},
		{"path too short", nil, func(s *sealed) {
			p := s.content.Content.Commit.Path
			p.Nodes = p.Nodes[1:]
			resign(s)
		}},
		{"another node's public key", nil, func(s *sealed) {
			p := s.content.Content.Commit.Path
			key := must(newKeyPair(r.suite, insider.cfg.Rand))(t)
			p.Nodes[0].EncryptionKey = key.public
			resign(s)
		}},
		{"leaf signed by another", func(d *draft) {
			d.leafSigner = publicOf{newSigner(t, r.suite), insider.cfg.Signer}
		}, nil},
		{"leaf that names nobody", func(d *draft) { d.leaf.Credential = mls.BasicCredential([]byte("mallory")) }, nil},
		{"leaf that names another member", func(d *draft) { d.leaf.Credential = victim.Tree().Leaf(3).Credential }, nil},
		{"leaf with another member's key", func(d *draft) { d.leafSigner = victim.cfg.Signer }, nil},
		{"sent as another member", func(d *draft) { d.sender = mls.MemberSender(1) }, nil},
		{"sent as the victim", func(d *draft) { d.sender = mls.MemberSender(3) }, nil},
		{"sent as nobody", func(d *draft) { d.sender = mls.MemberSender(99) }, nil},
		{"unknown proposal", nil, func(s *sealed) {
			c := s.content.Content.Commit
			c.Proposals = append(c.Proposals, mls.ProposalOrRef{Ref: make([]byte, 32)})
			resign(s)
		}},
		{"another epoch", nil, func(s *sealed) { s.content.Content.Epoch++; resign(s) }},
		{"another group", nil, func(s *sealed) { s.content.Content.GroupID = []byte("x"); resign(s) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			message := forgeCommit(t, r, insider, c.before, c.after)
			unchanged(t, victim, func() {
				if p, err := victim.Process(message, r.now); err == nil {
					t.Fatalf("accepted: %+v", p)
				}
			})
		})
	}
	// The same without a flaw is accepted, so that each case above fails for
	// its own reason.
	if _, err := victim.Process(forgeCommit(t, r, insider, nil, nil), r.now); err != nil {
		t.Fatal(err)
	}
}

// publicOf signs with one key and shows another.
type publicOf struct {
	mls.Signer
	shown mls.Signer
}

func (p publicOf) Public() []byte { return p.shown.Public() }

// unchanged fails the test if do changes what g knows.
func unchanged(t *testing.T, g *Group, do func()) {
	t.Helper()
	var before, after Snapshot
	refs := func() (list []string) {
		for _, p := range g.Pending() {
			list = append(list, string(p.Ref))
		}
		return list
	}
	pending := refs()
	if err := g.Save(&before); err != nil {
		t.Fatal(err)
	}
	do()
	if err := g.Save(&after); err != nil {
		t.Fatal(err)
	}
	// Maps are saved in random order; what can be compared is compared.
	if len(before.Bytes()) != len(after.Bytes()) || !slices.Equal(pending, refs()) {
		t.Fatal("a message that was refused changed the group")
	}
}

func TestMembershipTagKeepsStrangersOut(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	proposal := must(r.member(0).Propose(&mls.Remove{Removed: 2}, r.now))(t)
	var m mls.Message
	if err := mls.Unmarshal(proposal, &m); err != nil {
		t.Fatal(err)
	}
	m.Public.MembershipTag = bytes.Clone(m.Public.MembershipTag)
	m.Public.MembershipTag[3] ^= 1
	if _, err := r.member(1).Process(mls.Marshal(&m), r.now); err == nil {
		t.Fatal("a wrong membership tag was accepted")
	}
	if _, err := r.member(1).Process(proposal, r.now); err != nil {
		t.Fatal(err)
	}
}

func TestRemovedMemberCannotFollow(t *testing.T) {
	r := newRoom(t, mls.MLKEM768P256)
	r.fill(4)
	gone := r.member(2)
	s := must(r.member(0).Commit(CommitOptions{Proposals: []mls.Proposal{&mls.Remove{Removed: 2}}}, r.now))(t)
	p, err := gone.Process(s.Message(), r.now)
	if err != nil || !p.Removed || p.Commit.Tree() != nil {
		t.Fatalf("got %+v, %v", p, err)
	}
	// Instead of ending, it tries to open the path with what it has.
	var m mls.Message
	if err := mls.Unmarshal(s.Message(), &m); err != nil {
		t.Fatal(err)
	}
	staged, err := gone.rules.StageCommit(gone.epoch.public, m.Public.Authenticated(), gone.find, r.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decryptPath(staged, gone.epoch.keys, 2); err == nil {
		t.Fatal("a removed member opened the path")
	}
	for i, n := range staged.PathNodes {
		for _, c := range staged.Path.Nodes[i].EncryptedPathSecret {
			for at, k := range gone.epoch.keys.keys {
				if _, err := k.decrypt(r.suite, pathLabel, mls.Marshal(staged.Provisional), c); err == nil {
					t.Fatalf("a removed member opened the secret of node %d with the key of node %d", n, at)
				}
			}
		}
	}
}

func TestMemberRefusesToCommitItsOwnRemoval(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	g := r.member(1)
	if _, err := g.Commit(CommitOptions{Proposals: []mls.Proposal{&mls.Remove{Removed: 1}}}, r.now); err == nil {
		t.Fatal("committed its own removal")
	}
	r.propose(must(r.follower.ExternalRemove(r.server, 0, 1))(t), nil)
	// By reference it is left out.
	s := must(g.Commit(CommitOptions{}, r.now))(t)
	if len(s.Change().Removed) != 0 {
		t.Fatal("committed its own removal")
	}
}

func TestContradictingProposalsAreSorted(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(5)
	r.propose(must(r.member(2).ProposeUpdate(nil, nil, r.now))(t), r.member(2))
	r.propose(must(r.member(3).ProposeUpdate(nil, nil, r.now))(t), r.member(3))
	r.propose(must(r.member(3).ProposeUpdate(nil, nil, r.now))(t), r.member(3))
	r.propose(must(r.follower.ExternalRemove(r.server, 0, 2))(t), nil)
	r.propose(must(r.member(4).Propose(&mls.Remove{Removed: 2}, r.now))(t), r.member(4))
	r.propose(must(r.member(4).Propose(&mls.ReInit{GroupID: []byte("x"), Version: mls.MLS10, CipherSuite: r.suite}, r.now))(t), r.member(4))
	kp := must(NewKeyPackage(newConfig(t, r.suite), named("new"), nil, r.now))(t)
	same := must(NewKeyPackage(newConfig(t, r.suite), named("member 1"), nil, r.now))(t)
	r.propose(must(r.member(4).Propose(&mls.Add{KeyPackage: kp.Package}, r.now))(t), r.member(4))
	r.propose(must(r.member(4).Propose(&mls.Add{KeyPackage: same.Package}, r.now))(t), r.member(4))
	s := must(r.member(0).Commit(CommitOptions{}, r.now))(t)
	c := s.Change()
	if !slices.Equal(c.Removed, []mls.LeafIndex{2}) || !slices.Equal(c.Updated, []mls.LeafIndex{3}) || len(c.Added) != 1 || c.Closed {
		t.Fatalf("removed %v, updated %v, added %v, closed %v", c.Removed, c.Updated, c.Added, c.Closed)
	}
	for _, g := range r.members[1:] {
		if _, err := g.Process(s.Message(), r.now); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProposalsOfAnEpochAreBounded(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(2)
	big := func(i int) *mls.GroupContextExtensions {
		return &mls.GroupContextExtensions{Extensions: r.follower.Context().Extensions.With(
			mls.ApplicationIDExtension(bytes.Repeat([]byte{byte(i)}, 1<<20)),
		)}
	}
	for i := range 17 {
		m, err := r.member(0).Propose(big(i), r.now)
		if i == 16 {
			if err == nil {
				t.Fatal("17 MB of proposals were kept")
			}
			break
		}
		if i < 15 && err != nil {
			t.Fatal(err)
		}
		if err != nil {
			break
		}
		if _, err := r.member(1).Process(m, r.now); err != nil {
			t.Fatal(err)
		}
	}
	r.members[0].clearPending()
	for i := range 1024 {
		r.members[0].pending = append(r.members[0].pending, pendingProposal{PendingProposal: &mls.PendingProposal{Ref: []byte{byte(i)}}})
	}
	if _, err := r.member(0).Propose(&mls.Remove{Removed: 1}, r.now); err == nil {
		t.Fatal("1025 proposals were kept")
	}
}

// brokenSigner fails after some signatures, as a lost key does.
type brokenSigner struct {
	mls.Signer
	left *int
}

var errSigner = errors.New("test: no signature")

func (s brokenSigner) Sign(b []byte) ([]byte, error) {
	if *s.left--; *s.left < 0 {
		return nil, errSigner
	}
	return s.Signer.Sign(b)
}

// brokenRand ends after some bytes.
type brokenRand struct{ left int }

func (r *brokenRand) Read(b []byte) (int, error) {
	if r.left -= len(b); r.left < 0 {
		return 0, errSigner
	}
	for i := range b {
		b[i] = byte(r.left + i*7)
	}
	return len(b), nil
}

func TestFailingSignerOrRandomnessFailsCleanly(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	good := r.member(1).cfg
	try := func(cfg Config) {
		g := r.member(1)
		g.cfg = cfg
		unchanged(t, g, func() {
			_, err1 := g.Commit(CommitOptions{}, r.now)
			_, err2 := g.Propose(&mls.Remove{Removed: 0}, r.now)
			for _, p := range g.Pending() {
				g.ClearPending(p.Ref)
			}
			_, err3 := g.Protect([]byte("x"), nil)
			_, _, err4 := JoinExternal(cfg, r.groupInfo(), r.follower.Tree().Clone(), named("x"), ExternalOptions{Resync: true}, r.now)
			_, err5 := NewKeyPackage(cfg, named("x"), nil, r.now)
			_, _, err6 := g.Branch(cfg, SuccessorOptions{GroupID: []byte("b"), Leaf: named("x")}, r.now)
			if err1 == nil && err2 == nil && err3 == nil && err4 == nil && err5 == nil && err6 == nil {
				t.Fatal("nothing failed")
			}
		})
		g.cfg = good
	}
	for n := range 3 {
		cfg := good
		cfg.Signer = brokenSigner{good.Signer, &n}
		try(cfg)
	}
	for _, n := range []int{0, 4, 32, 40, 64} {
		cfg := good
		cfg.Rand = io.Reader(&brokenRand{left: n})
		try(cfg)
	}
	r.commit(r.member(1), CommitOptions{})
	r.agree()
}
