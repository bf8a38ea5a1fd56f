package member

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"conclave/mls"
)

// refuses makes sure that g refuses message for the reason given and stays as
// it was.
func refuses(t *testing.T, g *Group, r *room, want string, message []byte) {
	t.Helper()
	unchanged(t, g, func() {
		if p, err := g.Process(message, r.now); err == nil {
			t.Errorf("accepted %+v, want: %s", p, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("refused with %q, want: %s", err, want)
		}
	})
}

func TestBrokenCommitIsRefused(t *testing.T) { // Sections 7.5 and 12.4.2
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(4)
	for _, g := range r.members {
		g.SetPSK([]byte("p"), []byte("secret"))
	}
	me, victim := r.member(0), r.member(3)
	psk := []mls.CommittedProposal{{Proposal: must(me.NewPSK([]byte("p")))(t), Sender: mls.MemberSender(0)}}
	flipped := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	// The victim opens the path secret of the root, the insider's others that of
	// the node below.
	top := func(p *mls.UpdatePath) *mls.UpdatePathNode { return &p.Nodes[len(p.Nodes)-1] }
	const (
		signature    = "signature does not verify"
		confirmation = "confirmation tag does not verify"
	)
	for _, c := range []struct {
		name, want string
		in         insider
	}{
		{"wrong confirmation tag", confirmation, insider{signed: func(a *mls.AuthenticatedContent) {
			a.Auth.ConfirmationTag = flipped(a.Auth.ConfirmationTag, 0)
		}}},
		{"wrong init secret", confirmation, insider{draft: func(d *draft) { d.init = make([]byte, 32) }}},
		{"wrong PSK secret", confirmation, insider{draft: func(d *draft) { d.psk = bytes.Repeat([]byte{1}, 32) }}},
		{"wrong PSK", confirmation, insider{list: psk, draft: func(d *draft) { d.psk = bytes.Repeat([]byte{1}, 32) }}},
		{"wrong signature", signature, insider{signed: func(a *mls.AuthenticatedContent) {
			a.Auth.Signature = flipped(a.Auth.Signature, 20)
		}}},
		{"signed by another", signature, insider{draft: func(d *draft) { d.signer = newSigner(t, r.suite) }}},
		{"sent as another member", signature, insider{list: psk, bare: true, draft: func(d *draft) { d.sender = mls.MemberSender(1) }}},
		{"sent as the victim", "own message", insider{list: psk, bare: true, draft: func(d *draft) { d.sender = mls.MemberSender(3) }}},
		{"sent as nobody", "leaf is blank or not in the ratchet tree", insider{list: psk, bare: true, draft: func(d *draft) {
			d.sender = mls.MemberSender(99)
		}}},
		{"leaf signed by another", signature, insider{draft: func(d *draft) { d.leafSigner = publicOf{newSigner(t, r.suite), me.cfg.Signer} }}},
		{"leaf that the verifier refuses", "credential is not good", insider{draft: func(d *draft) {
			d.leaf.Extensions = mls.Extensions{mls.ApplicationIDExtension([]byte("bad"))}
		}}},
		{"leaf of another client", "takes the place of another client", insider{draft: func(d *draft) {
			d.leaf.Credential = named("mallory").Credential
		}}},
		{"leaf that names another member", "client stands twice", insider{draft: func(d *draft) { d.leaf.Credential = victim.Tree().Leaf(3).Credential }}},
		{"leaf with another member's key", "key stands twice", insider{draft: func(d *draft) { d.leafSigner = victim.cfg.Signer }}},
		{"no path", "commit has no path", insider{bare: true}},
		{"path too short", "update path has 1 nodes where the filtered direct path has 2", insider{path: func(p *mls.UpdatePath) { p.Nodes = p.Nodes[1:] }}},
		{"ciphertext too few", "another number of ciphertexts", insider{path: func(p *mls.UpdatePath) { top(p).EncryptedPathSecret = nil }}},
		{"ciphertext of another node", "member: path secret:", insider{path: func(p *mls.UpdatePath) {
			top(p).EncryptedPathSecret[0] = p.Nodes[0].EncryptedPathSecret[0]
		}}},
		{"ciphertext changed", "member: path secret:", insider{path: func(p *mls.UpdatePath) {
			c := &top(p).EncryptedPathSecret[0]
			c.Ciphertext = flipped(c.Ciphertext, 7)
		}}},
		{"path secret of another path", "path secret does not match the public key", insider{secret: func(i int, secret []byte) []byte {
			return bytes.Repeat([]byte{9}, len(secret))
		}}},
		{"path secret of the node below", "path secret does not match the public key", insider{secret: below()}},
		{"public key of nobody's", "path secret does not match the public key", insider{keys: func(keys []mls.EncryptionKey) {
			keys[len(keys)-1] = must(newKeyPair(r.suite, me.cfg.Rand))(t).public
		}}},
		{"path secret too short", "path secret has the wrong size", insider{secret: func(_ int, secret []byte) []byte { return secret[1:] }}},
		{"path secret too long", "path secret has the wrong size", insider{secret: func(_ int, secret []byte) []byte { return append(secret, 0) }}},
		{"no path secret", "path secret has the wrong size", insider{secret: func(int, []byte) []byte { return nil }}},
		{"unknown proposal", "unknown proposal", insider{frame: func(c *mls.FramedContent) {
			c.Commit.Proposals = append(c.Commit.Proposals, mls.ProposalOrRef{Ref: make([]byte, 32)})
		}}},
		{"another epoch", "another epoch", insider{frame: func(c *mls.FramedContent) { c.Epoch++ }}},
		{"another group", "another group", insider{frame: func(c *mls.FramedContent) { c.GroupID = []byte("x") }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.t, c.in.room, c.in.Group = t, r, me
			refuses(t, victim, r, c.want, c.in.commit())
		})
	}
	// The same without a flaw are accepted, so that each case above fails for
	// its own reason.
	for _, in := range []insider{{}, {list: psk}, {list: psk, bare: true}, {draft: func(d *draft) { d.private = true }}} {
		in.t, in.room, in.Group = t, r, me
		if _, err := victim.Process(in.commit(), r.now); err != nil {
			t.Fatal(err)
		}
	}
}

// What somebody who joins can spoil behind what the server sees.
func TestBrokenExternalCommitIsRefused(t *testing.T) { // Sections 8.3 and 12.4.3.2
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	cfg := newConfig(t, r.suite)
	joiner := &Group{cfg: cfg, rules: cfg.rules()}
	before, external, err := joiner.checkExternal(r.groupInfo(), r.follower.Tree().Clone(), r.now)
	if err != nil {
		t.Fatal(err)
	}
	commit := func(edit func(kem, init []byte) ([]byte, []byte)) []byte {
		kem, init, err := r.suite.ExportTo(external, externalInitLabel, r.suite.HashSize())
		if err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			kem, init = edit(kem, init)
		}
		sender := mls.Sender{Type: mls.SenderNewMemberCommit}
		list := []mls.CommittedProposal{{Proposal: &mls.ExternalInit{KEMOutput: kem}, Sender: sender}}
		leaf := named("new")
		node := leaf.node(r.suite, before.Context.Extensions)
		d := &draft{
			before: before, staged: must(joiner.rules.StageProposals(before, sender, list, r.now))(t), sender: sender, leaf: node,
			signer: cfg.Signer, leafSigner: cfg.Signer, init: init, psk: make([]byte, r.suite.HashSize()),
			keys: &privateTree{keys: map[mls.NodeIndex]keyPair{}}, rand: cfg.Rand,
		}
		s := must(d.seal())(t)
		return mls.Marshal(&mls.Message{Public: &mls.PublicMessage{Content: s.content.Content, Auth: s.content.Auth}})
	}
	victim := r.member(1)
	refuses(t, victim, r, "member: external init:", commit(func(kem, init []byte) ([]byte, []byte) { return kem[1:], init }))
	refuses(t, victim, r, "confirmation tag does not verify", commit(func(kem, init []byte) ([]byte, []byte) { return kem, make([]byte, len(init)) }))
	if _, err := victim.Process(commit(nil), r.now); err != nil {
		t.Fatal(err)
	}
}

func TestCommitWithoutPathRenewsNoLeaf(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	g, leaf := r.member(0), named("0")
	kp := must(NewKeyPackage(newConfig(t, r.suite), named("new"), nil, r.now))(t)
	add := []mls.Proposal{&mls.Add{KeyPackage: kp.Package}}
	for _, opt := range []CommitOptions{{Leaf: &leaf}, {Signer: newSigner(t, r.suite)}} {
		opt.Proposals, opt.SkipPath = add, true
		if _, err := g.Commit(opt, r.now); err == nil {
			t.Error("a commit without a path renews the leaf")
		}
		opt.SkipPath = false
		must(g.Commit(opt, r.now))(t)
	}
}

// below gives each node the secret of the one before it.
func below() func(int, []byte) []byte {
	last := bytes.Repeat([]byte{3}, 32)
	return func(_ int, secret []byte) []byte {
		secret, last = last, secret
		return secret
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
	if !bytes.Equal(before.Bytes(), after.Bytes()) || !slices.Equal(pending, refs()) {
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
