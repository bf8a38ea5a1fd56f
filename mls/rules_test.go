package mls

import (
	"strings"
	"testing"
	"time"
)

// Each test here breaks one rule and nothing else; r.accepts is the control that the same message with the rule kept is
// good.

func TestFrameRules(t *testing.T) { // Sections 6 and 12.4.2
	r := newRoom(t, testSuite, "a", "b", "c")
	r.accepts(r.commit(draft{at: 1}))
	r.refuses("another group", r.commit(draft{at: 1, message: func(m *AuthenticatedContent) { m.Content.GroupID = []byte("x") }}))
	r.refuses("another epoch", r.commit(draft{at: 1, message: func(m *AuthenticatedContent) { m.Content.Epoch++ }}))
	r.refuses("another epoch", r.commit(draft{at: 1, message: func(m *AuthenticatedContent) { m.Content.Epoch-- }}))
	r.refuses("blank", r.commit(draft{at: 1, message: func(m *AuthenticatedContent) { m.Content.Sender.Leaf = 3 }}))
	r.refuses("blank", r.commit(draft{at: 1, message: func(m *AuthenticatedContent) { m.Content.Sender.Leaf = 1 << 31 }}))
	r.refuses("does not verify", r.commit(draft{at: 1, signer: r.members[0].signer}))
	r.refuses("does not verify", r.commit(draft{at: 1, signed: func(m *AuthenticatedContent) { m.Content.AuthenticatedData = []byte("x") }}))
	r.refuses("confirmation tag has the wrong size", r.commit(draft{at: 1, message: func(m *AuthenticatedContent) { m.Auth.ConfirmationTag = []byte{1} }}))
	r.refuses("external sender sends something other", r.commit(draft{at: 1, message: func(m *AuthenticatedContent) {
		m.Content.Sender = Sender{Type: SenderExternal}
	}}))
	r.refuses("new member proposes something other", r.commit(draft{at: 1, message: func(m *AuthenticatedContent) {
		m.Content.Sender = Sender{Type: SenderNewMemberProposal}
	}}))
	r.refuses("application data", r.propose(MemberSender(0), r.members[0].signer, nil, func(m *AuthenticatedContent) {
		m.Content.ContentType, m.Content.ApplicationData = ContentApplication, []byte("hello")
	}))
	r.refuses("needs a public message", Marshal(&Message{Private: &PrivateMessage{ContentType: ContentCommit}}))
	r.refuses("decode", []byte("garbage"))
}

func TestMessagesFromOutsideArePublic(t *testing.T) { // Section 6
	r := newRoom(t, testSuite, "a", "b")
	private := func(message []byte) *AuthenticatedContent {
		var m Message
		r.must(Unmarshal(message, &m))
		a := m.Public.Authenticated()
		a.WireFormat = WirePrivateMessage
		return a
	}
	d := r.client("d")
	join := r.commit(draft{by: d, external: true})
	remove := r.propose(Sender{Type: SenderExternal}, r.remover, &Remove{1}, nil)
	r.accepts(join)
	r.accepts(remove)
	_, err := r.rules.StageCommit(r.state, private(join), nil, testNow)
	r.wants("from outside of the group is not public", err)
	_, err = r.rules.CheckProposal(r.state, private(remove), testNow)
	r.wants("from outside of the group is not public", err)
	_, err = r.rules.CheckProposal(r.state, private(join), testNow)
	r.wants("not a proposal", err)
	_, err = r.rules.StageCommit(r.state, private(remove), nil, testNow)
	r.wants("not a commit", err)
}

func TestProposalSenderRules(t *testing.T) { // Sections 6.1 and 12.1.8
	r := newRoom(t, testSuite, "a", "b", "c")
	external, member := Sender{Type: SenderExternal}, MemberSender(1)
	self := r.members[1].signer
	d := r.client("d")
	r.accepts(r.propose(external, r.remover, &Remove{1}, nil))
	r.accepts(r.propose(external, r.remover, &Add{d.keyPackage(nil)}, nil))
	r.accepts(r.propose(external, r.remover, &ReInit{GroupID: []byte("n"), Version: MLS10, CipherSuite: testSuite}, nil))
	r.accepts(r.propose(external, r.remover, &GroupContextExtensions{}, nil))
	r.refuses("not one of the group's", r.propose(Sender{Type: SenderExternal, Index: 1}, r.remover, &Remove{1}, nil))
	r.refuses("may not send such", r.propose(external, r.remover, r.update(1, nil), nil))
	r.refuses("may not send such", r.propose(external, r.remover, &ExternalInit{[]byte("x")}, nil))
	r.refuses("does not verify", r.propose(external, self, &Remove{1}, nil))
	r.refuses("does not verify", r.propose(member, r.members[2].signer, &Remove{2}, nil))
	r.refuses("another epoch", r.propose(member, self, &Remove{2}, func(m *AuthenticatedContent) { m.Content.Epoch-- }))

	newcomer := Sender{Type: SenderNewMemberProposal}
	r.accepts(r.propose(newcomer, d.signer, &Add{d.keyPackage(nil)}, nil))
	r.refuses("does not verify", r.propose(newcomer, self, &Add{d.keyPackage(nil)}, nil))
	r.refuses("other than adding itself", r.propose(newcomer, d.signer, &Remove{1}, nil))
	r.refuses("other than a commit", r.propose(Sender{Type: SenderNewMemberCommit}, d.signer, &Remove{1}, nil))
	r.refuses("external init outside", r.propose(member, self, &ExternalInit{[]byte("x")}, nil))

	r.process(r.commit(draft{at: 0, list: byValue(&GroupContextExtensions{})}))
	r.refuses("not one of the group's", r.propose(external, r.remover, &Remove{1}, nil))
	if _, err := r.ExternalRemove(r.remover, 0, 1); err == nil {
		t.Error("a removal is built without external senders")
	}
}

func TestExternalRemoveNeedsTheRightKeyAndAMember(t *testing.T) {
	r := newRoom(t, testSuite, "a", "b")
	if _, err := r.ExternalRemove(r.signer(), 0, 1); err == nil {
		t.Error("another key is accepted")
	}
	if _, err := r.ExternalRemove(r.remover, 1, 1); err == nil {
		t.Error("another index is accepted")
	}
	if _, err := r.ExternalRemove(r.remover, 0, 2); err == nil {
		t.Error("a blank leaf is accepted")
	}
}

func TestKeyPackageRules(t *testing.T) { // Sections 7.2, 7.3, 10.1
	r := newRoom(t, testSuite, "a", "b")
	d := r.client("d")
	unix := uint64(testNow.Unix())
	add := func(change func(*KeyPackage)) []byte {
		return r.commit(draft{at: 0, noPath: true, list: byValue(&Add{d.keyPackage(change)})})
	}
	r.accepts(add(nil))
	r.accepts(add(func(k *KeyPackage) { k.LeafNode.Lifetime = Lifetime{unix, unix} }))
	r.accepts(add(func(k *KeyPackage) { k.Extensions = Extensions{{0x2a2a, nil}} }))
	r.accepts(add(func(k *KeyPackage) { k.Extensions = Extensions{{0x9a9a, nil}} }))                // which its leaf does not list
	r.accepts(add(func(k *KeyPackage) { k.LeafNode.Capabilities.CipherSuites = []CipherSuite{2} })) // it has shown its own
	r.accepts(add(func(k *KeyPackage) {
		k.LeafNode.Extensions = Extensions{{0x2a2a, nil}, ApplicationIDExtension([]byte("x"))}
	}))
	for _, c := range []struct {
		reason string
		spoil  func(*KeyPackage)
	}{
		{"another protocol version", func(k *KeyPackage) { k.Version = 2 }},
		{"of another cipher suite", func(k *KeyPackage) { k.CipherSuite = X25519ChaChaSHA256Ed25519 }},
		{"wrong source", func(k *KeyPackage) { k.LeafNode.Source = LeafFromUpdate }},
		{"one key as init key", func(k *KeyPackage) { k.InitKey = k.LeafNode.EncryptionKey }},
		{"encryption key", func(k *KeyPackage) { k.InitKey = []byte("short") }},
		{"encryption key", func(k *KeyPackage) { k.LeafNode.EncryptionKey = []byte("short") }},
		{"outside of its lifetime", func(k *KeyPackage) { k.LeafNode.Lifetime = Lifetime{unix - 2, unix - 1} }},
		{"outside of its lifetime", func(k *KeyPackage) { k.LeafNode.Lifetime = Lifetime{unix + 1, unix + 2} }},
		{"outside of its lifetime", func(k *KeyPackage) { k.LeafNode.Lifetime = Lifetime{unix + 1, unix - 1} }},
		{"lifetime of leaf node is too long", func(k *KeyPackage) { k.LeafNode.Lifetime = Lifetime{0, unix + 1} }},
		{"protocol version mls10", func(k *KeyPackage) { k.LeafNode.Capabilities.Versions = []ProtocolVersion{2} }},
		{"its own credential type", func(k *KeyPackage) { k.LeafNode.Capabilities.Credentials = []CredentialType{CredentialX509} }},
		{"its own extension", func(k *KeyPackage) { k.LeafNode.Extensions = Extensions{{0xf777, nil}} }},
		{"twice in a list", func(k *KeyPackage) { k.LeafNode.Extensions = Extensions{{0xf000, nil}, {0xf000, nil}} }},
		{"twice in a list", func(k *KeyPackage) { k.Extensions = Extensions{{0xf000, nil}, {0xf000, nil}} }},
		{"extension that its leaf does not", func(k *KeyPackage) { k.Extensions = Extensions{{0xf777, nil}} }},
		{"required extension", func(k *KeyPackage) { k.LeafNode.Capabilities.Extensions = nil }},
	} {
		r.refuses(c.reason, add(c.spoil))
		r.refuses(c.reason, r.propose(MemberSender(0), r.members[0].signer, &Add{d.keyPackage(c.spoil)}, nil))
	}
	spoilt := d.keyPackage(nil)
	spoilt.Signature[3] ^= 1
	r.refuses("does not verify", r.commit(draft{at: 0, list: byValue(&Add{spoilt})}))
	r.refuses("does not verify", r.propose(MemberSender(0), r.members[0].signer, &Add{spoilt}, nil))
	spoilt = d.keyPackage(nil)
	spoilt.LeafNode.Signature[3] ^= 1
	r.must(spoilt.Sign(d.signer))
	r.refuses("does not verify", r.commit(draft{at: 0, list: byValue(&Add{spoilt})}))
	if r.rules.CheckKeyPackage(spoilt, testNow) == nil {
		t.Error("key package with a spoilt leaf is accepted")
	}

	strict := NewRules(Config{Verifier: r.guard, MaxLifetime: 2 * time.Hour})
	r.must(strict.CheckKeyPackage(d.keyPackage(nil), testNow))
	if strict.CheckKeyPackage(d.keyPackage(func(k *KeyPackage) { k.LeafNode.Lifetime.NotAfter++ }), testNow) == nil {
		t.Error("MaxLifetime is ignored")
	}
	r.must(NewRules(Config{Verifier: r.guard, MaxLifetime: -1}).CheckKeyPackage(d.keyPackage(func(k *KeyPackage) {
		k.LeafNode.Lifetime = Lifetime{0, 1<<64 - 1}
	}), testNow))
}

func TestUpdateRules(t *testing.T) { // Sections 7.3 and 12.1.2
	r := newRoom(t, testSuite, "a", "b", "c")
	old := r.Tree().Leaf(1)
	propose := func(p Proposal) []byte { return r.propose(MemberSender(1), r.members[1].signer, p, nil) }
	r.accepts(propose(r.update(1, nil)))
	r.refuses("wrong source", propose(r.update(1, func(l *LeafNode) { l.Source = LeafFromCommit })))
	r.refuses("wrong source", propose(r.update(1, func(l *LeafNode) { l.Source = LeafFromKeyPackage })))
	r.refuses("keeps the encryption key", propose(r.update(1, func(l *LeafNode) { l.EncryptionKey = old.EncryptionKey })))
	r.refuses("encryption key", propose(r.update(1, func(l *LeafNode) { l.EncryptionKey = []byte("short") })))
	r.refuses("signature key", propose(r.update(1, func(l *LeafNode) { l.SignatureKey = []byte("short") })))
	r.refuses("its own credential type", propose(r.update(1, func(l *LeafNode) { l.Capabilities.Credentials = nil })))
	r.refuses("required extension", propose(r.update(1, func(l *LeafNode) { l.Capabilities.Extensions = nil })))
	r.refuses("protocol version mls10", propose(r.update(1, func(l *LeafNode) { l.Capabilities.Versions = nil })))
	r.refuses("its own extension", propose(r.update(1, func(l *LeafNode) { l.Extensions = Extensions{{0xf777, nil}} })))
	u := r.update(1, nil)
	r.must(u.LeafNode.Sign(r.members[1].signer, r.GroupID(), 2))
	r.refuses("does not verify", propose(u))
	r.must(u.LeafNode.Sign(r.members[1].signer, []byte("other"), 1))
	r.refuses("does not verify", propose(u))

	// From whom, which a message cannot say wrongly.
	from := func(sender Sender) error {
		list := []CommittedProposal{{Proposal: r.update(1, nil), Sender: sender, Ref: ProposalRef("seen")}}
		_, err := r.rules.StageProposals(r.state, MemberSender(0), list, testNow)
		return err
	}
	r.must(from(MemberSender(1)))
	r.wants("update of the committer", from(Sender{Type: SenderExternal})) // the list's rule, before the proposal's
	r.wants("blank", from(MemberSender(7)))
	_, err := r.rules.StageProposals(r.state, MemberSender(7), nil, testNow)
	r.wants("blank", err)
	_, err = (&proposalCheck{r.rules, r.state, r.Context(), nil, testNow}).check(r.update(1, nil), Sender{Type: SenderExternal})
	r.wants("update is not from a member", err)

	// Keys of others.
	p := r.pend(propose(&Update{func() *LeafNode {
		l := r.update(1, func(l *LeafNode) { l.SignatureKey = r.Tree().Leaf(2).SignatureKey }).LeafNode
		r.must(l.Sign(r.members[2].signer, r.GroupID(), 1))
		return l
	}()}))
	r.refuses("key stands twice", r.commit(draft{at: 0, list: byReference(p)}))
	p = r.pend(propose(r.update(1, func(l *LeafNode) { l.EncryptionKey = r.Tree().Leaf(2).EncryptionKey })))
	r.refuses("key stands twice", r.commit(draft{at: 0, list: byReference(p)}))
	p = r.pend(propose(r.update(1, func(l *LeafNode) { l.EncryptionKey = r.Tree().Parent(3).EncryptionKey })))
	// That parent is on the updater's path, hence blanked: the key may live on in the leaf.
	r.accepts(r.commit(draft{at: 0, list: byReference(p)}))
}

func TestMemberProposalListRules(t *testing.T) { // Section 12.2
	r := newRoom(t, testSuite, "a", "b", "c", "d")
	m := r.members
	update1 := r.pend(r.propose(MemberSender(1), m[1].signer, r.update(1, nil), nil))
	again1 := r.pend(r.propose(MemberSender(1), m[1].signer, r.update(1, nil), nil))
	remove1 := r.pend(r.propose(MemberSender(2), m[2].signer, &Remove{1}, nil))
	remove0 := r.pend(r.propose(MemberSender(2), m[2].signer, &Remove{0}, nil))
	leave3 := r.pend(r.propose(MemberSender(3), m[3].signer, &Remove{3}, nil))
	e, f := r.client("e"), r.client("f")
	psk := func(change func(*PreSharedKeyID)) *PreSharedKey {
		p := &PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte("psk"), Nonce: make([]byte, 32)}}
		if change != nil {
			change(&p.PSK)
		}
		return p
	}
	commit := func(list ...CommittedProposal) []byte { return r.commit(draft{at: 0, list: list}) }

	r.accepts(commit(byReference(update1, leave3)...))
	r.refuses("update of the committer", r.commit(draft{at: 1, list: byReference(update1)}))
	r.refuses("update of the committer", commit(byValue(r.update(0, nil))...))
	r.accepts(r.commit(draft{at: 1, list: byReference(remove0)}))
	r.refuses("removes the committer", r.commit(draft{at: 0, list: byReference(remove0)}))
	r.refuses("removes the committer", r.commit(draft{at: 3, list: byReference(leave3)}))
	r.accepts(commit(byReference(remove1)...))
	r.refuses("one leaf twice", commit(byReference(update1, remove1)...))
	r.refuses("one leaf twice", commit(byReference(update1, again1)...))
	r.refuses("one leaf twice", commit(append(byReference(remove1), byValue(&Remove{1})...)...))
	r.refuses("one proposal twice", commit(byReference(leave3, leave3)...))
	r.refuses("unknown proposal", commit(CommittedProposal{leave3.Proposal, leave3.Sender, []byte("unknown")}))
	r.refuses("blank", r.commit(draft{at: 0, noPath: true, list: byValue(&Remove{9})}))

	r.accepts(commit(byValue(&Add{e.keyPackage(nil)}, &Add{f.keyPackage(nil)})...))
	r.refuses("key stands twice", commit(byValue(&Add{e.keyPackage(nil)}, &Add{e.keyPackage(nil)})...))
	r.refuses("key stands twice", commit(byValue(&Add{m[1].keyPackage(nil)})...))
	r.accepts(commit(append(byReference(remove1), byValue(&Add{m[1].keyPackage(nil)})...)...))
	steal := func(key EncryptionKey) []byte {
		return commit(byValue(&Add{e.keyPackage(func(k *KeyPackage) { k.LeafNode.EncryptionKey = key })})...)
	}
	r.refuses("key stands twice", steal(r.Tree().Leaf(2).EncryptionKey))
	r.refuses("key stands twice", steal(r.Tree().Parent(5).EncryptionKey))
	r.guard.clients = true
	twin := r.client("b") // another key, the same client
	r.refuses("client stands twice", commit(byValue(&Add{twin.keyPackage(nil)})...))
	r.refuses("client stands twice", r.commit(draft{by: twin, external: true}))
	r.refuses("client stands twice", r.commit(draft{at: 0, leaf: func(l *LeafNode) { l.Credential = BasicCredential([]byte("b")) }}))
	r.accepts(commit(append(byReference(remove1), byValue(&Add{twin.keyPackage(nil)})...)...))
	r.accepts(r.commit(draft{by: twin, external: true, list: byValue(&Remove{1})}))
	r.guard.clients = false

	r.accepts(commit(byValue(psk(nil), psk(func(p *PreSharedKeyID) { p.ID = []byte("other") }))...))
	r.refuses("one PSK twice", commit(byValue(psk(nil), psk(nil))...))
	r.refuses("nonce has the wrong size", commit(byValue(psk(func(p *PreSharedKeyID) { p.Nonce = p.Nonce[:31] }))...))
	resumption := func(usage ResumptionPSKUsage) []byte {
		return commit(byValue(psk(func(p *PreSharedKeyID) { p.Type, p.Usage, p.GroupID = PSKResumption, usage, r.GroupID() }))...)
	}
	r.accepts(resumption(ResumptionApplication))
	r.refuses("reinitialization or a branch", resumption(ResumptionReInit))
	r.refuses("reinitialization or a branch", resumption(ResumptionBranch))

	gce := &GroupContextExtensions{r.Context().Extensions}
	r.accepts(commit(byValue(gce)...))
	r.refuses("more than one group context extensions", commit(byValue(gce, gce)...))
	r.refuses("external init outside", commit(byValue(&ExternalInit{[]byte("x")})...))
}

func TestReInitRules(t *testing.T) { // Sections 12.1.5 and 12.2
	r := newRoom(t, testSuite, "a", "b")
	reinit := func(change func(*ReInit)) *ReInit {
		p := &ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: testSuite}
		if change != nil {
			change(p)
		}
		return p
	}
	commit := func(list ...Proposal) []byte { return r.commit(draft{at: 0, list: byValue(list...)}) }
	r.refuses("beside other proposals", commit(reinit(nil), &Remove{1}))
	r.refuses("older protocol version", commit(reinit(func(p *ReInit) { p.Version = 0 })))
	r.refuses("twice in a list", commit(reinit(func(p *ReInit) { p.Extensions = Extensions{{0xf000, nil}, {0xf000, nil}} })))
	r.accepts(commit(reinit(nil)))
	change := r.process(r.commit(draft{at: 0, noPath: true, list: byValue(reinit(nil))}))
	if !change.Closed || !r.Closed() {
		t.Error("the group is not closed")
	}
	r.refuses("closed by a reinitialization", r.commit(draft{at: 0}))
	r.refuses("closed by a reinitialization", r.commit(draft{by: r.client("c"), external: true}))
	_, err := r.ExternalRemove(r.remover, 0, 1)
	r.wants("closed by a reinitialization", err)
	_, err = r.rules.StageProposals(r.state, MemberSender(0), nil, testNow)
	r.wants("closed by a reinitialization", err)
	restored, err := RestoreFollower(r.Snapshot(), r.rules)
	r.must(err)
	if restored == nil || !restored.Closed() {
		t.Error("a restored group is open again")
	}
}

func TestExtensionRules(t *testing.T) { // Sections 11.1, 12.1.7, 13.4
	r := newRoom(t, testSuite, "a", "b", "c")
	commit := func(e ...Extension) []byte {
		return r.commit(draft{at: 0, list: byValue(&GroupContextExtensions{e})})
	}
	required := func(c RequiredCapabilities) []byte { return commit(RequiredCapabilitiesExtension(c)) }
	r.accepts(commit())
	r.accepts(commit(Extension{0xf000, []byte("x")}))
	r.accepts(required(RequiredCapabilities{
		Extensions: []ExtensionType{0xf000, ExtensionExternalSenders}, Proposals: []ProposalType{ProposalAdd}, Credentials: []CredentialType{CredentialBasic},
	}))
	r.refuses("extension 0xf777 of the group", commit(Extension{0xf777, nil}))
	r.refuses("required extension", required(RequiredCapabilities{Extensions: []ExtensionType{0xf777}}))
	r.refuses("required proposal", required(RequiredCapabilities{Proposals: []ProposalType{0xf777}}))
	r.refuses("required credential", required(RequiredCapabilities{Credentials: []CredentialType{CredentialX509}}))
	r.refuses("twice in a list", commit(Extension{0xf000, nil}, Extension{0xf000, nil}))
	r.refuses("extension 0x0003", commit(Extension{ExtensionRequiredCapabilities, []byte{9}}))
	r.refuses("extension 0x0005", commit(Extension{ExtensionExternalSenders, []byte{9}}))
	r.refuses("external sender", commit(ExternalSendersExtension([]ExternalSender{{[]byte("short"), BasicCredential(nil)}})))

	// The committer's own leaf counts as its path renews it.
	gce := byValue(&GroupContextExtensions{Extensions{{0xf777, nil}}})
	able := func(l *LeafNode) { l.Capabilities.Extensions = append(l.Capabilities.Extensions, 0xf777) }
	r.process(r.commit(draft{at: 1, leaf: able}))
	r.process(r.commit(draft{at: 2, leaf: able}))
	r.accepts(r.commit(draft{at: 0, list: gce, leaf: able}))
	r.refuses("extension 0xf777 of the group", r.commit(draft{at: 0, list: gce}))
	r.refuses("extension 0xf777 of the group", r.commit(draft{at: 1, list: gce, leaf: able}))

	// A member that cannot is no obstacle if the same commit removes it, and one if the same commit adds it.
	weak := r.client("weak")
	noGrease := func(l *LeafNode) { l.Capabilities.Extensions = []ExtensionType{0xf000} }
	at := r.process(r.commit(draft{by: weak, external: true, leaf: noGrease})).Committer
	list := byValue(&GroupContextExtensions{Extensions{{0x2a2a, nil}}})
	r.refuses("extension 0x2a2a of the group", r.commit(draft{at: 0, list: list}))
	r.accepts(r.commit(draft{at: 0, list: append(list, byValue(&Remove{at})...)}))
	r.process(r.commit(draft{at: 0, list: byValue(&Remove{at})}))
	r.accepts(r.commit(draft{at: 0, list: list}))
	add := byValue(&Add{weak.keyPackage(func(k *KeyPackage) { noGrease(k.LeafNode) })})
	r.accepts(r.commit(draft{at: 0, list: add}))
	r.refuses("extension 0x2a2a of the group", r.commit(draft{at: 0, list: append(add, list...)}))
}

func TestCredentialTypesMustBeSupportedByAll(t *testing.T) { // Section 7.3
	r := newRoom(t, testSuite, "a", "b")
	x509 := func(l *LeafNode) {
		l.Credential = X509Credential([][]byte{[]byte("certificate")})
		l.Capabilities.Credentials = append(l.Capabilities.Credentials, CredentialX509)
	}
	c := r.client("c")
	r.refuses("credential type in use", r.commit(draft{by: c, external: true, leaf: x509}))
	r.refuses("credential type in use", r.commit(draft{at: 1, leaf: x509}))
	add := &Add{c.keyPackage(func(k *KeyPackage) { x509(k.LeafNode) })}
	r.refuses("credential type in use", r.commit(draft{at: 1, list: byValue(add)}))
	both := func(l *LeafNode) { l.Capabilities.Credentials = append(l.Capabilities.Credentials, CredentialX509) }
	r.process(r.commit(draft{at: 0, leaf: both}))
	r.process(r.commit(draft{at: 1, leaf: both}))
	r.accepts(r.commit(draft{by: c, external: true, leaf: x509}))
	r.accepts(r.commit(draft{at: 1, leaf: x509}))
	r.accepts(r.commit(draft{at: 1, leaf: both, list: byValue(add)}))
}

func TestExternalCommitRules(t *testing.T) { // Sections 12.2 and 12.4.3.2
	r := newRoom(t, testSuite, "a", "b", "c")
	d := r.client("d")
	psk := &PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte("psk"), Nonce: make([]byte, 32)}}
	init := &ExternalInit{r.rand.bytes(32)}
	join := func(list ...Proposal) []byte { return r.commit(draft{by: d, external: true, list: byValue(list...)}) }
	r.accepts(join())
	r.accepts(join(psk))
	r.accepts(r.commit(draft{by: r.members[1], external: true, list: byValue(psk, &Remove{1})}))
	r.refuses("exactly one external init", join(init))
	r.refuses("exactly one external init", r.commit(draft{by: d, external: true, bare: true}))
	r.refuses("more than one remove", join(&Remove{1}, &Remove{2}))
	r.refuses("blank", join(&Remove{3}))
	r.refuses("one PSK twice", join(psk, psk))
	for _, p := range []Proposal{&Add{r.client("e").keyPackage(nil)}, r.update(1, nil), &ReInit{Version: MLS10}, &GroupContextExtensions{}} {
		r.refuses("not permitted in it", join(p))
	}
	pending := r.pend(r.propose(MemberSender(0), r.members[0].signer, &Remove{1}, nil))
	r.refuses("proposal by reference", r.commit(draft{by: d, external: true, list: byReference(pending)}))
	r.refuses("other than a commit with a path", r.commit(draft{by: d, external: true, noPath: true}))
	r.refuses("does not verify", r.commit(draft{by: d, external: true, signer: r.members[0].signer}))
	r.refuses("key stands twice", r.commit(draft{by: r.members[1], external: true}))
	old := r.Tree().Leaf(1)
	r.refuses("key stands twice", r.commit(draft{by: r.members[1], external: true, key: old.EncryptionKey, list: byValue(&Remove{1})}))
	r.accepts(r.commit(draft{by: r.members[1], external: true, list: byValue(&Remove{1})}))
}

func TestPathRules(t *testing.T) { // Sections 7.3, 7.5, 12.4, 12.4.2
	r := newRoom(t, testSuite, "a", "b", "c", "d", "e")
	none := func(list ...Proposal) []byte { return r.commit(draft{at: 0, noPath: true, list: byValue(list...)}) }
	psk := &PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte("psk"), Nonce: make([]byte, 32)}}
	r.accepts(none(psk, &Add{r.client("f").keyPackage(nil)}))
	r.refuses("no path", none())
	r.refuses("no path", none(&Remove{1}))
	r.refuses("no path", none(&GroupContextExtensions{}))
	update := r.pend(r.propose(MemberSender(1), r.members[1].signer, r.update(1, nil), nil))
	r.refuses("no path", r.commit(draft{at: 0, noPath: true, list: byReference(update)}))

	old := r.Tree().Leaf(1)
	leaf := func(change func(*LeafNode)) []byte { return r.commit(draft{at: 1, leaf: change}) }
	r.accepts(leaf(nil))
	r.refuses("wrong source", leaf(func(l *LeafNode) { l.Source = LeafFromUpdate }))
	r.refuses("wrong source", leaf(func(l *LeafNode) { l.Source = LeafFromKeyPackage }))
	r.refuses("not parent-hash valid", leaf(func(l *LeafNode) { l.ParentHash = r.rand.bytes(32) }))
	r.refuses("not parent-hash valid", leaf(func(l *LeafNode) { l.ParentHash = nil }))
	r.refuses("key stands twice", r.commit(draft{at: 1, key: old.EncryptionKey}))
	r.refuses("key stands twice", r.commit(draft{at: 1, key: r.Tree().Leaf(2).EncryptionKey}))
	r.refuses("key stands twice", r.commit(draft{at: 1, key: r.Tree().Parent(7).EncryptionKey}))
	r.refuses("key stands twice", leaf(func(l *LeafNode) { l.SignatureKey = r.Tree().Leaf(2).SignatureKey }))
	r.refuses("signature key", leaf(func(l *LeafNode) { l.SignatureKey = []byte("short") }))
	r.refuses("encryption key", r.commit(draft{at: 1, key: []byte("short")}))
	r.refuses("required extension", leaf(func(l *LeafNode) { l.Capabilities.Extensions = nil }))
	r.refuses("its own extension", leaf(func(l *LeafNode) { l.Extensions = Extensions{{0xf777, nil}} }))
	r.refuses("does not verify", r.commit(draft{at: 1, resign: func(l *LeafNode) { l.Signature[0] ^= 1 }}))
	r.refuses("does not verify", r.commit(draft{at: 1, resign: func(l *LeafNode) { r.must(l.Sign(r.members[1].signer, r.GroupID(), 2)) }}))

	nodes := func(change func([]UpdatePathNode) []UpdatePathNode) []byte {
		return r.commit(draft{at: 1, nodes: change})
	}
	r.refuses("filtered direct path", nodes(func(n []UpdatePathNode) []UpdatePathNode { return n[:len(n)-1] }))
	r.refuses("filtered direct path", nodes(func(n []UpdatePathNode) []UpdatePathNode {
		return append(n, UpdatePathNode{EncryptionKey: r.encryptionKey()})
	}))
	r.refuses("number of ciphertexts", nodes(func(n []UpdatePathNode) []UpdatePathNode {
		n[1].EncryptedPathSecret = n[1].EncryptedPathSecret[1:]
		return n
	}))
	set := func(i int, key EncryptionKey) []byte {
		return nodes(func(n []UpdatePathNode) []UpdatePathNode { n[i].EncryptionKey = key; return n })
	}
	r.accepts(set(0, r.encryptionKey()))
	r.refuses("encryption key", set(0, []byte("short")))
	r.refuses("key stands twice", set(0, old.EncryptionKey))
	r.refuses("key stands twice", set(2, r.Tree().Parent(1).EncryptionKey))
	r.refuses("key stands twice", nodes(func(n []UpdatePathNode) []UpdatePathNode { n[0].EncryptionKey = n[1].EncryptionKey; return n }))

	// Members that the same commit adds get no path secret from it.
	add := byValue(&Add{r.client("f").keyPackage(nil)})
	r.accepts(r.commit(draft{at: 4, list: add}))
	r.refuses("number of ciphertexts", r.commit(draft{at: 0, list: add, nodes: func(n []UpdatePathNode) []UpdatePathNode {
		last := &n[len(n)-1]
		last.EncryptedPathSecret = append(last.EncryptedPathSecret, HPKECiphertext{})
		return n
	}}))
}

func TestTreeRules(t *testing.T) { // Sections 7.3, 7.9.2, 12.4.3.1
	r := newRoom(t, testSuite, "a", "b", "c", "d", "e")
	// Unmerged leaves at the root and below.
	f, g := r.client("f"), r.client("g")
	r.process(r.commit(draft{at: 4, noPath: true, list: byValue(&Add{f.keyPackage(nil)}, &Add{g.keyPackage(nil)})}))
	r.members[5], r.members[6] = f, g
	check := func(spoil func(*RatchetTree, *GroupContext)) error {
		tree, err := ParseRatchetTree(testSuite, Marshal(r.Tree()))
		r.must(err)
		ctx := r.Context().Clone()
		spoil(tree, ctx)
		if string(ctx.TreeHash) == string(r.Context().TreeHash) {
			ctx.TreeHash = (&RatchetTree{testSuite, tree.leaves, tree.parents, make([][]byte, len(tree.hashes))}).TreeHash()
		}
		tree.hashes = make([][]byte, len(tree.hashes))
		return r.rules.CheckTree(tree, ctx, testNow)
	}
	r.must(check(func(*RatchetTree, *GroupContext) {}))
	refuse := func(reason string, spoil func(*RatchetTree, *GroupContext)) {
		t.Helper()
		if err := check(spoil); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("refused with %v, want: %s", err, reason)
		}
	}
	resign := func(tr *RatchetTree, i LeafIndex) { r.must(tr.leaves[i].Sign(r.members[i].signer, r.GroupID(), i)) }
	root := func(tr *RatchetTree) *ParentNode { return tr.Parent(tr.LeafCount().Root()) }
	if len(root(r.Tree()).UnmergedLeaves) != 2 {
		t.Fatal("the test needs unmerged leaves")
	}

	refuse("tree hash", func(_ *RatchetTree, c *GroupContext) { c.TreeHash = r.rand.bytes(32) })
	refuse("not supported", func(_ *RatchetTree, c *GroupContext) { c.CipherSuite = 4 })
	refuse("not supported", func(_ *RatchetTree, c *GroupContext) { c.CipherSuite = X25519ChaChaSHA256Ed25519 })
	refuse("does not verify", func(tr *RatchetTree, _ *GroupContext) { tr.leaves[6].Signature[0] ^= 1 })
	refuse("parent-hash", func(tr *RatchetTree, _ *GroupContext) { tr.leaves[3].Signature[0] ^= 1 }) // bound by those above
	refuse("does not verify", func(_ *RatchetTree, c *GroupContext) { c.GroupID = []byte("other") })
	refuse("unmerged leaves", func(tr *RatchetTree, _ *GroupContext) { root(tr).UnmergedLeaves = []LeafIndex{6, 5} })
	refuse("unmerged leaves", func(tr *RatchetTree, _ *GroupContext) { root(tr).UnmergedLeaves = []LeafIndex{5, 5, 6} })
	refuse("unmerged leaves", func(tr *RatchetTree, _ *GroupContext) { root(tr).UnmergedLeaves = []LeafIndex{5, 6, 7} })
	refuse("unmerged leaves", func(tr *RatchetTree, _ *GroupContext) { root(tr).UnmergedLeaves = []LeafIndex{5, 6, 99} })
	refuse("unmerged leaves", func(tr *RatchetTree, _ *GroupContext) { tr.Parent(1).UnmergedLeaves = []LeafIndex{5} })
	refuse("unmerged leaves", func(tr *RatchetTree, _ *GroupContext) { root(tr).UnmergedLeaves = []LeafIndex{0, 5, 6} })
	refuse("parent-hash", func(tr *RatchetTree, _ *GroupContext) { root(tr).UnmergedLeaves = []LeafIndex{5} })
	refuse("parent-hash", func(tr *RatchetTree, _ *GroupContext) { root(tr).EncryptionKey = r.encryptionKey() })
	refuse("parent-hash", func(tr *RatchetTree, _ *GroupContext) { tr.Parent(1).ParentHash = r.rand.bytes(32) })
	refuse("parent-hash", func(tr *RatchetTree, _ *GroupContext) {
		tr.parents[9>>1] = &ParentNode{EncryptionKey: r.encryptionKey(), UnmergedLeaves: []LeafIndex{5}} // nobody's
	})
	refuse("parent-hash", func(tr *RatchetTree, _ *GroupContext) { // a leaf that forgot its chain
		tr.leaves[4].Source, tr.leaves[4].ParentHash = LeafFromUpdate, nil
		resign(tr, 4)
	})
	refuse("key stands twice", func(tr *RatchetTree, _ *GroupContext) {
		tr.leaves[6].EncryptionKey = tr.leaves[5].EncryptionKey
		resign(tr, 6)
	})
	refuse("key stands twice", func(tr *RatchetTree, _ *GroupContext) {
		tr.leaves[6].SignatureKey = tr.leaves[5].SignatureKey
		r.must(tr.leaves[6].Sign(r.members[5].signer, r.GroupID(), 6))
	})
	refuse("key stands twice", func(tr *RatchetTree, _ *GroupContext) { root(tr).EncryptionKey = tr.Parent(1).EncryptionKey })
	refuse("key stands twice", func(tr *RatchetTree, _ *GroupContext) { root(tr).EncryptionKey = tr.leaves[6].EncryptionKey })
	refuse("wrong size", func(tr *RatchetTree, _ *GroupContext) { root(tr).EncryptionKey = []byte("short") })
	refuse("wrong size", func(tr *RatchetTree, _ *GroupContext) { tr.leaves[6].EncryptionKey = []byte("short") })
	refuse("outside of its lifetime", func(tr *RatchetTree, _ *GroupContext) {
		tr.leaves[6].Lifetime = Lifetime{1, 2}
		resign(tr, 6)
	})
	refuse("too long", func(tr *RatchetTree, _ *GroupContext) {
		tr.leaves[6].Lifetime.NotBefore = 0
		resign(tr, 6)
	})
	refuse("required extension", func(tr *RatchetTree, _ *GroupContext) {
		tr.leaves[6].Capabilities.Extensions = nil
		resign(tr, 6)
	})
	refuse("extension 0xf777 of the group", func(_ *RatchetTree, c *GroupContext) { c.Extensions = Extensions{{0xf777, nil}} })
	refuse("twice in a list", func(_ *RatchetTree, c *GroupContext) { c.Extensions = append(c.Extensions, c.Extensions[0]) })
	refuse("credential type in use", func(tr *RatchetTree, _ *GroupContext) {
		tr.leaves[6].Credential = X509Credential(nil)
		tr.leaves[6].Capabilities.Credentials = []CredentialType{CredentialBasic, CredentialX509}
		resign(tr, 6)
	})
	r.guard.clients = true
	r.must(check(func(*RatchetTree, *GroupContext) {}))
	refuse("client stands twice", func(tr *RatchetTree, _ *GroupContext) {
		tr.leaves[6].Credential = tr.leaves[5].Credential
		resign(tr, 6)
	})
	r.guard.clients = false

	late := testNow.Add(3 * time.Hour) // the added leaves are over
	if err := r.rules.CheckTree(r.Tree(), r.Context(), late); err == nil {
		t.Error("expired leaves are accepted")
	}
	tolerant := NewRules(Config{Verifier: r.guard, TolerateExpired: true})
	r.must(tolerant.CheckTree(r.Tree(), r.Context(), late))
	if tolerant.CheckKeyPackage(f.keyPackage(nil), late) == nil {
		t.Error("TolerateExpired lets key packages through")
	}
}

func TestRatchetTreeEncodingRules(t *testing.T) { // Section 12.4.3.3
	r := newRoom(t, testSuite, "a", "b", "c")
	refuse := func(reason string, encode func(*Writer)) {
		t.Helper()
		var w Writer
		mark := w.Begin()
		encode(&w)
		w.End(mark)
		if _, err := ParseRatchetTree(testSuite, w.buf); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("refused with %v, want: %s", err, reason)
		}
	}
	leaf := func(w *Writer) { w.Optional(true); w.Uint8(nodeLeaf); r.Tree().Leaf(0).MarshalMLS(w) }
	parent := func(w *Writer) { w.Optional(true); w.Uint8(nodeParent); r.Tree().Parent(1).MarshalMLS(w) }
	refuse("no leaf", func(*Writer) {})
	refuse("last node", func(w *Writer) { leaf(w); w.Optional(false) })
	refuse("leaf in the place", func(w *Writer) { parent(w) })
	refuse("leaf in the place", func(w *Writer) { leaf(w); leaf(w) })
	refuse("presence", func(w *Writer) { w.Uint8(2) })
	refuse("too large", func(w *Writer) { w.Raw(make([]byte, 2*maxLeaves)) })
	if _, err := ParseRatchetTree(testSuite, Marshal(r.Tree())); err != nil {
		t.Error(err)
	}
}

func TestGroupInfoRulesForJoiners(t *testing.T) { // Section 12.4.3.1
	r := newRoom(t, testSuite, "a", "b")
	r.must(r.rules.CheckJoin(r.currentInfo(1), r.Tree(), testNow))
	refuse := func(reason string, change func(*GroupInfo)) {
		t.Helper()
		info := r.currentInfo(1)
		info.GroupContext = info.GroupContext.Clone()
		change(info)
		if signer := r.members[info.Signer]; signer != nil && reason != "does not verify" {
			if info.GroupContext.CipherSuite == testSuite {
				r.must(info.Sign(signer.signer))
			}
		}
		if err := r.rules.CheckJoin(info, r.Tree(), testNow); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("refused with %v, want: %s", err, reason)
		}
	}
	refuse("does not verify", func(g *GroupInfo) { g.Signature[0] ^= 1 })
	refuse("does not verify", func(g *GroupInfo) { g.GroupContext.Epoch++ })
	refuse("does not verify", func(g *GroupInfo) { g.Signer = 0 })
	refuse("another protocol version", func(g *GroupInfo) { g.GroupContext.Version = 2 })
	refuse("not supported", func(g *GroupInfo) { g.GroupContext.CipherSuite = 4 })
	refuse("of another cipher suite", func(g *GroupInfo) { g.GroupContext.CipherSuite = X25519ChaChaSHA256Ed25519 })
	refuse("tree hash", func(g *GroupInfo) { g.GroupContext.TreeHash = nil })
	refuse("twice in a list", func(g *GroupInfo) { g.Extensions = append(g.Extensions, g.Extensions[0]) })
	refuse("blank", func(g *GroupInfo) { g.Signer = 2 })
}
