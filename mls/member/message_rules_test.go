package member

import (
	"errors"
	"strings"
	"testing"

	"conclave/mls"
)

// Each message here breaks one rule of Sections 6 and 12.1; a member sealed it,
// with the right keys.

// sealAs is privateKeys.seal for a message that says to be from leaf, with the
// plaintext spoilt before it is encrypted.
func sealAs(t *testing.T, g *Group, leaf mls.LeafIndex, a *mls.AuthenticatedContent, spoil func([]byte) []byte) []byte {
	t.Helper()
	k := g.epoch.private
	from := a.Content.Sender.Leaf
	one := must(must(k.ratchet(from, a.Content.ContentType))(t).take(k.suite))(t)
	data := mls.SenderData{Leaf: leaf, Generation: one.generation}
	guard(one.nonce, data.ReuseGuard)
	plaintext := a.PrivateContent(16)
	if spoil != nil {
		plaintext = spoil(plaintext)
	}
	m := &mls.PrivateMessage{GroupID: a.Content.GroupID, Epoch: a.Content.Epoch, ContentType: a.Content.ContentType}
	m.Ciphertext = must(k.suite.Seal(one.key, one.nonce, m.ContentAAD(), plaintext))(t)
	key, nonce := k.senderDataKey(m.Ciphertext)
	m.EncryptedSenderData = must(k.suite.Seal(key, nonce, m.SenderDataAAD(), mls.Marshal(data)))(t)
	return mls.Marshal(&mls.Message{Private: m})
}

func TestPrivateMessageRules(t *testing.T) { // Sections 6.1 and 6.3
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	victim := r.member(2)
	hello := func(g *Group, from mls.LeafIndex) *mls.AuthenticatedContent {
		a := &mls.AuthenticatedContent{WireFormat: mls.WirePrivateMessage, Content: mls.FramedContent{
			GroupID: g.GroupID(), Epoch: g.Epoch(), Sender: mls.MemberSender(from),
			ContentType: mls.ContentApplication, ApplicationData: []byte("hello"),
		}}
		if err := a.Sign(g.cfg.Signer, g.Context()); err != nil {
			t.Fatal(err)
		}
		return a
	}
	me := r.member(0)
	for leaf := range mls.LeafIndex(4) { // which a message derives, refused or not
		must(victim.epoch.private.tree.leaf(leaf))(t)
	}
	refuses(t, victim, r, "application data: mls: signature does not verify", sealAs(t, me, 1, hello(me, 1), nil))
	refuses(t, victim, r, "padding is not all zero", sealAs(t, me, 0, hello(me, 0), func(b []byte) []byte { b[len(b)-1] = 1; return b }))
	refuses(t, victim, r, "decode private message content", sealAs(t, me, 0, hello(me, 0), func(b []byte) []byte { return b[:20] }))
	refuses(t, victim, r, "leaf is outside the secret tree", sealAs(t, me, 99, hello(me, 0), nil))
	refuses(t, victim, r, "leaf is blank or not in the ratchet tree", sealAs(t, me, 3, hello(me, 3), nil))
	refuses(t, victim, r, "message does not open", sealAs(t, me, 1, hello(me, 0), nil))
	refuses(t, victim, r, "own message", sealAs(t, me, 2, hello(me, 2), nil))
	changed := hello(me, 0)
	changed.Content.ApplicationData = []byte("other")
	refuses(t, victim, r, "application data: mls: signature does not verify", sealAs(t, me, 0, changed, nil))
	p, err := victim.Process(sealAs(t, me, 0, hello(me, 0), nil), r.now)
	if err != nil || string(p.Application) != "hello" {
		t.Fatalf("a message without a flaw: %v", err)
	}
}

func TestPublicMessageRules(t *testing.T) { // Sections 6.1 and 6.2
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	me, victim := r.member(0), r.member(2)
	public := func(content mls.FramedContent) []byte {
		content.GroupID, content.Epoch, content.Sender = me.GroupID(), me.Epoch(), mls.MemberSender(0)
		a := &mls.AuthenticatedContent{WireFormat: mls.WirePublicMessage, Content: content}
		if err := a.Sign(me.cfg.Signer, me.Context()); err != nil {
			t.Fatal(err)
		}
		m := &mls.PublicMessage{Content: a.Content, Auth: a.Auth}
		m.MembershipTag = r.suite.MAC(me.epoch.secrets.membership, a.TBM(me.Context()))
		return mls.Marshal(&mls.Message{Public: m})
	}
	refuses(t, victim, r, "application data in the clear", public(mls.FramedContent{
		ContentType: mls.ContentApplication, ApplicationData: []byte("hello"),
	}))
	remove := mls.FramedContent{ContentType: mls.ContentProposal, Proposal: &mls.Remove{Removed: 1}}
	var m mls.Message
	if err := mls.Unmarshal(public(remove), &m); err != nil {
		t.Fatal(err)
	}
	m.Public.MembershipTag = make([]byte, 32)
	refuses(t, victim, r, "membership tag does not verify", mls.Marshal(&m))
	refuses(t, victim, r, "neither public nor private", r.info)
	if _, err := victim.Process(public(remove), r.now); err != nil {
		t.Fatal(err)
	}
}

func TestUpdateOfAnotherInstanceIsRefused(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(2)
	g := r.member(1)
	var snap Snapshot
	if err := g.Save(&snap); err != nil {
		t.Fatal(err)
	}
	other := must(Restore(g.cfg, snap.Bytes()))(t)
	update := must(other.ProposeUpdate(nil, nil, r.now))(t)
	if _, err := g.Process(update, r.now); !errors.Is(err, ErrOwnMessage) || len(g.Pending()) != 0 {
		t.Fatalf("an update without its key was taken: %v", err)
	}
	if p, err := other.Process(update, r.now); err != nil || p.Proposal == nil {
		t.Fatalf("the own update is not known: %v", err)
	}
	if p, err := r.member(0).Process(update, r.now); err != nil || p.Proposal == nil {
		t.Fatalf("the others refuse it: %v", err)
	}
}

// A private handshake takes a key of the sending ratchet, which a snapshot has
// not.
func TestRestoredPrivateGroupSendsNoHandshakes(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(2)
	g := r.member(1)
	g.cfg.Private = true
	var snap Snapshot
	if err := g.Save(&snap); err != nil {
		t.Fatal(err)
	}
	back := must(Restore(g.cfg, snap.Bytes()))(t)
	for name, do := range map[string]func(*Group) error{
		"commit":   func(g *Group) error { _, err := g.Commit(CommitOptions{}, r.now); return err },
		"proposal": func(g *Group) error { _, err := g.Propose(&mls.Remove{Removed: 0}, r.now); return err },
		"update":   func(g *Group) error { _, err := g.ProposeUpdate(nil, nil, r.now); return err },
	} {
		if err := do(back); !errors.Is(err, ErrRestored) {
			t.Errorf("%s: got %v, want ErrRestored", name, err)
		}
		if err := do(g); err != nil {
			t.Errorf("%s of the one that was not restored: %v", name, err)
		}
	}
	r.members[1] = back
	r.commit(r.member(0), CommitOptions{})
	s := must(back.Commit(CommitOptions{}, r.now))(t)
	p, err := r.member(0).Process(s.Message(), r.now)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.member(0).Merge(p.Commit), back.Merge(s)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.member(0).Process(must(back.Protect([]byte("x"), nil))(t), r.now); err != nil {
		t.Fatal(err)
	}
}

func TestSuccessorRules(t *testing.T) { // Sections 11.2 and 11.3
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(2)
	const other = mls.X25519AES128SHA256Ed25519
	old := r.members
	plan := &mls.ReInit{GroupID: mls.GroupID("next"), Version: mls.MLS10, CipherSuite: r.suite}
	wants := func(name, want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: refused with %v, want: %s", name, err, want)
		}
	}
	opt := func(suite mls.CipherSuite, id string) (Config, *KeyPackageSecrets, SuccessorOptions) {
		cfgs, kps, public := packages(t, suite, "member 1")
		return cfgs[0], kps[0], SuccessorOptions{GroupID: []byte(id), Leaf: named("0"), KeyPackages: public, WelcomeTree: true}
	}
	// found breaks the rules that Reinit and Branch hold, and has the other
	// member answer.
	found := func(suite mls.CipherSuite, id string, usage mls.ResumptionPSKUsage, change func(*SuccessorOptions)) error {
		t.Helper()
		cfg, kp, opt := opt(suite, id)
		if change != nil {
			change(&opt)
		}
		_, welcome, err := old[0].succeed(newConfig(t, suite), opt, usage, r.now)
		if err != nil {
			t.Fatal(err)
		}
		_, err = JoinWelcome(cfg, readWelcome(t, welcome), kp, nil, WelcomeOptions{From: old[1]}, r.now)
		return err
	}
	if err := found(r.suite, "side", mls.ResumptionBranch, nil); err != nil {
		t.Fatal(err)
	}
	wants("branch in another suite", "a branch has the version and cipher suite of its group", found(other, "side", mls.ResumptionBranch, nil))
	_, _, o := opt(other, "side")
	_, _, err := old[0].Branch(newConfig(t, other), o, r.now)
	wants("branch in another suite", "another cipher suite", err)
	_, _, err = old[0].Branch(newConfig(t, r.suite), SuccessorOptions{GroupID: []byte("side"), Leaf: named("0")}, r.now)
	wants("branch of one", "others than its founder", err)
	_, _, o = opt(r.suite, "next")
	_, _, err = old[0].Reinit(newConfig(t, r.suite), o, r.now)
	wants("reinit of an open group", "the group is not closed", err)
	wants("reinit of an open group", "not the one that was agreed on", found(r.suite, "next", mls.ResumptionReInit, nil))

	r.commit(old[0], CommitOptions{Proposals: []mls.Proposal{plan}})
	old = r.members
	_, _, o = opt(other, "next")
	_, _, err = old[0].Reinit(newConfig(t, other), o, r.now)
	wants("reinit in another suite", "another version or cipher suite was agreed on", err)
	if err := found(r.suite, "next", mls.ResumptionReInit, nil); err != nil {
		t.Fatal(err)
	}
	wants("reinit under another name", "not the one that was agreed on", found(r.suite, "other", mls.ResumptionReInit, nil))
	wants("reinit in another suite", "not the one that was agreed on", found(other, "next", mls.ResumptionReInit, nil))
	wants("reinit with other extensions", "not the one that was agreed on", found(r.suite, "next", mls.ResumptionReInit, func(o *SuccessorOptions) {
		o.Extensions = []mls.Extension{mls.ApplicationIDExtension([]byte("x"))}
	}))
}
