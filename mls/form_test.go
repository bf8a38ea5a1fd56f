package mls

import (
	"errors"
	"testing"
)

// A message of another kind than was waited for leaves a nil field in Message: whoever passes that on gets an error.
func TestWhatIsMissingIsAnError(t *testing.T) {
	r := newRoom(t, testSuite, "a", "b")
	info := r.currentInfo(0)
	sender := r.members[0].signer
	proposal := func(p Proposal) *AuthenticatedContent {
		return &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{
			GroupID: r.GroupID(), Epoch: r.Epoch(), Sender: MemberSender(0), ContentType: ContentProposal, Proposal: p,
		}}
	}
	commit := func(c *Commit) *AuthenticatedContent {
		return &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{
			GroupID: r.GroupID(), Epoch: r.Epoch(), Sender: MemberSender(0), ContentType: ContentCommit, Commit: c,
		}}
	}
	try := func(name string, do func() error) {
		t.Helper()
		if err := do(); !errors.Is(err, errIncomplete) && !errors.Is(err, errNoEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, info := range map[string]*GroupInfo{"no group info": nil, "group info without context": {}} {
		try(name, func() error { _, err := NewFollower(info, r.Tree(), r.rules, testNow); return err })
		try(name, func() error { return r.CheckGroupInfo(info) })
		try(name, func() error { return r.rules.CheckGroupInfo(info, r.Tree()) })
		try(name, func() error { return r.rules.CheckJoin(info, r.Tree(), testNow) })
		try(name, func() error { return info.Sign(sender) })
	}
	try("no tree", func() error { _, err := NewFollower(info, nil, r.rules, testNow); return err })
	try("no tree", func() error { return r.rules.CheckTree(nil, r.Context(), testNow) })
	try("no context", func() error { return r.rules.CheckTree(r.Tree(), nil, testNow) })
	for name, k := range map[string]*KeyPackage{"no key package": nil, "key package without leaf": {}, "leaf without credential": {LeafNode: &LeafNode{}}} {
		try(name, func() error { return r.rules.CheckKeyPackage(k, testNow) })
		try(name, func() error { return k.Sign(sender) })
	}
	for name, l := range map[string]*LeafNode{"no leaf": nil, "leaf without credential": {}} {
		try(name, func() error { return l.Sign(sender, r.GroupID(), 0) })
		try(name, func() error { return r.rules.MergePath(&Staged{}, &UpdatePath{LeafNode: l}, testNow) })
	}
	try("no path", func() error { return r.rules.MergePath(&Staged{}, nil, testNow) })
	for name, p := range map[string]Proposal{
		"no proposal": nil, "empty Add": &Add{}, "Add without leaf": &Add{&KeyPackage{}}, "no Add": (*Add)(nil), "empty Update": &Update{},
		"no Update": (*Update)(nil), "no Remove": (*Remove)(nil), "empty PSK": &PreSharedKey{}, "no PSK": (*PreSharedKey)(nil),
		"no ReInit": (*ReInit)(nil), "no ExternalInit": (*ExternalInit)(nil), "no extensions": (*GroupContextExtensions)(nil),
	} {
		try(name, func() error { return CheckForm(p) })
		try(name, func() error { _, err := r.ExternalProposal(r.remover, 0, p); return err })
		try(name, func() error { return proposal(p).Sign(sender, r.Context()) })
		try(name, func() error { _, err := r.rules.CheckProposal(r.state, proposal(p), testNow); return err })
		list := []CommittedProposal{{Proposal: p, Sender: MemberSender(0)}}
		try(name, func() error { _, err := r.rules.StageProposals(r.state, MemberSender(0), list, testNow); return err })
		if p != nil { // in a commit that is a reference
			c := &Commit{Proposals: []ProposalOrRef{{Proposal: p}}}
			try(name, func() error { _, err := r.rules.StageCommit(r.state, commit(c), nil, testNow); return err })
		}
	}
	for name, c := range map[string]*Commit{"no commit": nil, "path without leaf": {Path: &UpdatePath{}}} {
		try(name, func() error { return commit(c).Sign(sender, r.Context()) })
		try(name, func() error { _, err := r.rules.StageCommit(r.state, commit(c), nil, testNow); return err })
	}
	try("no content type", func() error { return new(AuthenticatedContent).Sign(sender, r.Context()) })
	r.must(CheckForm(&Add{r.client("c").keyPackage(nil)}))
	r.must(CheckForm(&PreSharedKey{PreSharedKeyID{Type: PSKExternal}}))
}

// What CheckForm calls too long is what no decoder reads, and the reverse.
func TestFormIsWhatDecodersRead(t *testing.T) {
	leaf := func(change func(*LeafNode)) Proposal {
		l := &LeafNode{Credential: BasicCredential(nil), Source: LeafFromUpdate}
		change(l)
		return &Update{l}
	}
	pack := func(change func(*KeyPackage)) Proposal {
		k := &KeyPackage{LeafNode: &LeafNode{Credential: BasicCredential(nil), Source: LeafFromKeyPackage}}
		change(k)
		return &Add{k}
	}
	b := func(n int) []byte { return make([]byte, n) }
	extensions := func(n int) Extensions { return make(Extensions, n) }
	for _, c := range []struct {
		name  string
		limit int
		make  func(n int) Proposal
	}{
		{"encryption key", maxSmall, func(n int) Proposal { return leaf(func(l *LeafNode) { l.EncryptionKey = b(n) }) }},
		{"signature key", maxSmall, func(n int) Proposal { return leaf(func(l *LeafNode) { l.SignatureKey = b(n) }) }},
		{"signature", maxSmall, func(n int) Proposal { return leaf(func(l *LeafNode) { l.Signature = b(n) }) }},
		{"parent hash", maxSmall, func(n int) Proposal {
			return leaf(func(l *LeafNode) { l.Source, l.ParentHash = LeafFromCommit, b(n) })
		}},
		{"identity", maxSmall, func(n int) Proposal { return leaf(func(l *LeafNode) { l.Credential.Identity = b(n) }) }},
		{"certificate", maxSmall, func(n int) Proposal {
			return leaf(func(l *LeafNode) { l.Credential = X509Credential([][]byte{b(n)}) })
		}},
		{"chain", maxChain, func(n int) Proposal {
			return leaf(func(l *LeafNode) { l.Credential = X509Credential(make([][]byte, n)) })
		}},
		{"capabilities", maxCodes, func(n int) Proposal {
			return leaf(func(l *LeafNode) { l.Capabilities.Proposals = make([]ProposalType, n) })
		}},
		{"extensions of a leaf", maxExtensions, func(n int) Proposal { return leaf(func(l *LeafNode) { l.Extensions = extensions(n) }) }},
		{"source", int(LeafFromCommit), func(n int) Proposal { return leaf(func(l *LeafNode) { l.Source = LeafNodeSource(n) }) }},
		{"init key", maxSmall, func(n int) Proposal { return pack(func(k *KeyPackage) { k.InitKey = b(n) }) }},
		{"key package's signature", maxSmall, func(n int) Proposal { return pack(func(k *KeyPackage) { k.Signature = b(n) }) }},
		{"key package's extensions", maxExtensions, func(n int) Proposal { return pack(func(k *KeyPackage) { k.Extensions = extensions(n) }) }},
		{"PSK", maxSmall, func(n int) Proposal { return &PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: b(n)}} }},
		{"nonce", maxSmall, func(n int) Proposal { return &PreSharedKey{PreSharedKeyID{Type: PSKExternal, Nonce: b(n)}} }},
		{"usage", int(ResumptionBranch), func(n int) Proposal {
			return &PreSharedKey{PreSharedKeyID{Type: PSKResumption, Usage: ResumptionPSKUsage(n)}}
		}},
		{"group of a PSK", maxSmall, func(n int) Proposal {
			return &PreSharedKey{PreSharedKeyID{Type: PSKResumption, Usage: ResumptionApplication, GroupID: b(n)}}
		}},
		{"group of a ReInit", maxSmall, func(n int) Proposal { return &ReInit{GroupID: b(n)} }},
		{"extensions of a ReInit", maxExtensions, func(n int) Proposal { return &ReInit{Extensions: extensions(n)} }},
		{"external init", maxSmall, func(n int) Proposal { return &ExternalInit{b(n)} }},
		{"extensions", maxExtensions, func(n int) Proposal { return &GroupContextExtensions{extensions(n)} }},
	} {
		for _, n := range []int{c.limit, c.limit + 1} {
			p := c.make(n)
			var w Writer
			WriteProposal(&w, p)
			r := NewReader(w.Bytes())
			ReadProposal(r)
			form, read := CheckForm(p), r.Finish()
			if (form == nil) != (read == nil) || (form == nil) != (n == c.limit) {
				t.Errorf("%s of %d: form %v, read %v", c.name, n, form, read)
			}
		}
	}
	if err := CheckForm(&GroupContextExtensions{Extensions{{0xf000, b(maxExtensionData + 1)}}}); !errors.Is(err, errOversized) {
		t.Errorf("extension that no message has room for: %v", err)
	}
}

func TestMessagesOfAnotherKindAreNotRead(t *testing.T) {
	r := newRoom(t, testSuite, "a", "b")
	encoded := [][]byte{
		Marshal(&Message{Welcome: &Welcome{CipherSuite: testSuite}}),
		Marshal(&Message{GroupInfo: r.currentInfo(0)}),
		Marshal(&Message{KeyPackage: r.client("c").keyPackage(nil)}),
		r.commit(draft{at: 0}),
		[]byte("garbage"),
	}
	for i, message := range encoded {
		w, errW := ReadWelcome(message)
		g, errG := ReadGroupInfo(message)
		k, errK := ReadKeyPackage(message)
		for kind, good := range []bool{w != nil && errW == nil, g != nil && errG == nil, k != nil && errK == nil} {
			if good != (kind == i) {
				t.Errorf("message %d, reader %d: %v %v %v", i, kind, errW, errG, errK)
			}
		}
	}
}
