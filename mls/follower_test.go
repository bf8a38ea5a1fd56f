package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestFollowerFollowsAGroup(t *testing.T) {
	for _, suite := range []CipherSuite{testSuite, P256AES128SHA256P256, MLKEM768P256} {
		t.Run(fmt.Sprintf("%#04x", uint16(suite)), func(t *testing.T) {
			r := newRoom(t, suite, "a", "b", "c", "d", "e")
			r.isAt(0, 1, 2, 3, 4)
			if r.Epoch() != 4 {
				t.Errorf("epoch is %d", r.Epoch())
			}

			// The server proposes a removal, a member commits it.
			remove, err := r.ExternalRemove(r.remover, 0, 2)
			r.must(err)
			p := r.pend(remove)
			if again := r.pend(remove); again != p {
				t.Error("the same proposal is pending twice")
			}
			change := r.process(r.commit(draft{at: 0, list: byReference(p)}))
			if change.Kind != ChangeCommit || change.Epoch != 5 || change.Committer != 0 || !slices.Equal(change.Removed, []LeafIndex{2}) {
				t.Errorf("change is %+v", change)
			}
			r.isAt(0, 1, 3, 4)

			// The next one to join takes the place; somebody else comes back to a new leaf.
			r.join("f")
			r.isAt(0, 1, 2, 3, 4)
			change = r.process(r.commit(draft{by: r.members[1], external: true, list: byValue(&Remove{1})}))
			if !change.Joined || change.Committer != 1 || !slices.Equal(change.Removed, []LeafIndex{1}) {
				t.Errorf("change is %+v", change)
			}
			r.isAt(0, 1, 2, 3, 4)

			// Updates, additions by others and by the newcomer, PSKs, and new extensions in one commit.
			var pending []*PendingProposal
			pending = append(pending, r.pend(r.propose(MemberSender(3), r.members[3].signer, r.update(3, nil), nil)))
			g, h, i := r.client("g"), r.client("h"), r.client("i")
			pending = append(pending, r.pend(r.propose(MemberSender(4), r.members[4].signer, &Add{g.keyPackage(nil)}, nil)))
			pending = append(pending, r.pend(r.propose(Sender{Type: SenderNewMemberProposal}, h.signer, &Add{h.keyPackage(nil)}, nil)))
			psk := &PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte("psk"), Nonce: r.rand.bytes(suite.HashSize())}}
			list := append(byReference(pending...), byValue(psk, &Add{i.keyPackage(nil)}, &GroupContextExtensions{r.Context().Extensions[:1]})...)
			change = r.process(r.commit(draft{at: 0, list: list}))
			if !slices.Equal(change.Added, []LeafIndex{5, 6, 7}) || !slices.Equal(change.Updated, []LeafIndex{3}) {
				t.Errorf("change is %+v", change)
			}
			if len(r.Context().Extensions) != 1 {
				t.Error("extensions did not change")
			}
			r.members[5], r.members[6], r.members[7] = g, h, i
			r.isAt(0, 1, 2, 3, 4, 5, 6, 7)
			if len(r.Pending()) != 0 {
				t.Error("proposals outlive their epoch")
			}

			// The GroupInfo of the epoch is recognized, a newcomer can follow from it, and so can a restored follower.
			info := r.currentInfo(7)
			r.must(r.CheckGroupInfo(info))
			tree, err := ParseRatchetTree(suite, Marshal(r.Tree()))
			r.must(err)
			fresh, err := NewFollower(info, tree, r.rules, testNow)
			r.must(err)
			restored, err := RestoreFollower(r.Snapshot(), r.rules)
			r.must(err)
			remove, err = r.ExternalRemove(r.remover, 0, 7)
			r.must(err)
			commit := []byte(nil)
			for _, f := range []*Follower{r.Follower, fresh, restored} {
				change, err := f.Process(remove, testNow)
				r.must(err)
				if commit == nil {
					commit = r.commit(draft{at: 4, list: byReference(change.Proposal)})
				}
				if f == restored { // with a proposal pending
					f, err = RestoreFollower(f.Snapshot(), r.rules)
					r.must(err)
					restored = f
				}
				_, err = f.Process(commit, testNow)
				r.must(err)
			}
			for _, f := range []*Follower{fresh, restored} {
				if !bytes.Equal(f.Snapshot(), r.Snapshot()) {
					t.Error("followers differ")
				}
			}
			r.isAt(0, 1, 2, 3, 4, 5, 6)
		})
	}
}

func TestFollowerShrinksAndGrowsTheTree(t *testing.T) {
	r := newRoom(t, testSuite, "a", "b", "c", "d", "e")
	for _, leaf := range []LeafIndex{4, 3, 1} {
		r.process(r.commit(draft{at: 0, list: byValue(&Remove{leaf})}))
	}
	if r.Tree().LeafCount() != 4 {
		t.Errorf("tree has %d leaves", r.Tree().LeafCount())
	}
	r.process(r.commit(draft{at: 2, list: byValue(&Remove{0})}))
	r.process(r.commit(draft{by: r.members[2], external: true, list: byValue(&Remove{2})}))
	r.members = map[LeafIndex]*client{0: r.members[2]}
	r.isAt(0)
	if r.Tree().LeafCount() != 1 {
		t.Errorf("tree has %d leaves", r.Tree().LeafCount())
	}
	r.process(r.commit(draft{at: 0}))
	r.join("z")
	r.isAt(0, 1)
}

// A long random history, after each step of which the tree must be one that a newcomer accepts: incremental hashes are
// those of a tree read from its encoding.
func TestFollowerKeepsItsTreeValidOverRandomHistories(t *testing.T) {
	for seed := range uint64(4) {
		r := newRoom(t, testSuite, "a", "b", "c")
		random := newSource(seed)
		pick := func() LeafIndex {
			at := r.leaves()
			return at[random.Uint64()%uint64(len(at))]
		}
		for step := range 120 {
			committer := pick()
			switch random.Uint64() % 8 {
			case 0, 1, 2:
				r.join(fmt.Sprint("m", step))
			case 3:
				r.process(r.commit(draft{at: committer}))
			case 4:
				if victim := pick(); victim != committer {
					r.process(r.commit(draft{at: committer, list: byValue(&Remove{victim})}))
				}
			case 5:
				c := r.client(fmt.Sprint("k", step))
				d := draft{at: committer, list: byValue(&Add{c.keyPackage(nil)}), noPath: random.Uint64()%2 == 0}
				r.members[r.process(r.commit(d)).Added[0]] = c
			case 6:
				if other := pick(); other != committer {
					p := r.pend(r.propose(MemberSender(other), r.members[other].signer, r.update(other, nil), nil))
					r.process(r.commit(draft{at: committer, list: byReference(p)}))
				}
			case 7:
				c := r.members[committer]
				change := r.process(r.commit(draft{by: c, external: true, list: byValue(&Remove{committer})}))
				r.members[change.Committer] = c
			}
			tree, err := ParseRatchetTree(testSuite, Marshal(r.Tree()))
			r.must(err)
			at := pick()
			if err := r.rules.CheckJoin(r.currentInfo(at), tree, testNow); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

func TestFollowerAsksItsVerifierAboutEveryLeaf(t *testing.T) {
	r := newRoom(t, testSuite, "a", "b", "c")
	ask := func(message []byte) []LeafCheck {
		r.guard.asked = nil
		r.accepts(message)
		return r.guard.asked
	}
	one := func(what string, asked []LeafCheck, want Occasion, index LeafIndex, predecessor *LeafNode) {
		t.Helper()
		if len(asked) != 1 || asked[0].Occasion != want || asked[0].Index != index || asked[0].Predecessor != predecessor ||
			asked[0].Group == nil || !asked[0].Now.Equal(testNow) || asked[0].Leaf == nil {
			t.Errorf("%s: asked %+v", what, asked)
		}
	}
	b := r.Tree().Leaf(1)
	one("commit", ask(r.commit(draft{at: 1})), OccasionCommit, 1, b)
	one("join", ask(r.commit(draft{by: r.client("d"), external: true})), OccasionExternalCommit, 3, nil)
	one("resync", ask(r.commit(draft{by: r.members[1], external: true, list: byValue(&Remove{1})})), OccasionExternalCommit, 1, b)
	add := &Add{r.client("e").keyPackage(nil)}
	one("add, proposed", ask(r.propose(MemberSender(0), r.members[0].signer, add, nil)), OccasionAdd, 0, nil)
	one("add, committed", ask(r.commit(draft{at: 0, noPath: true, list: byValue(add)})), OccasionAdd, 3, nil)
	update := r.propose(MemberSender(1), r.members[1].signer, r.update(1, nil), nil)
	one("update, proposed", ask(update), OccasionUpdate, 1, b)
	asked := ask(r.commit(draft{at: 0, list: byReference(r.pend(update))}))
	one("update, committed", asked[:1], OccasionUpdate, 1, b)
	one("update, committer", asked[1:], OccasionCommit, 0, r.Tree().Leaf(0))

	r.guard.asked = nil
	r.must(r.rules.CheckJoin(r.currentInfo(0), r.Tree(), testNow))
	for i, c := range r.guard.asked {
		if c.Occasion != OccasionTree || c.Index != LeafIndex(i) || c.Leaf != r.Tree().Leaf(c.Index) {
			t.Errorf("tree: asked %+v", c)
		}
	}
	if len(r.guard.asked) != 3 {
		t.Errorf("tree: asked %d times", len(r.guard.asked))
	}
	r.guard.asked = nil
	r.must(r.rules.CheckKeyPackage(add.KeyPackage, testNow))
	if len(r.guard.asked) != 1 || r.guard.asked[0].Occasion != OccasionKeyPackage || r.guard.asked[0].Group != nil {
		t.Errorf("key package: asked %+v", r.guard.asked)
	}
}

func TestFollowerRefusesWhatItsVerifierRefuses(t *testing.T) {
	r := newRoom(t, testSuite, "a", "b")
	r.guard.refused = "x"
	x := r.client("x")
	b := r.members[1]
	r.refuses("refused", r.commit(draft{by: x, external: true}))
	r.refuses("refused", r.propose(MemberSender(0), r.members[0].signer, &Add{x.keyPackage(nil)}, nil))
	r.refuses("refused", r.commit(draft{at: 0, list: byValue(&Add{x.keyPackage(nil)})}))
	rename := func(l *LeafNode) { l.Credential = BasicCredential([]byte("x")) }
	r.refuses("refused", r.commit(draft{at: 1, leaf: rename}))
	r.refuses("refused", r.propose(MemberSender(1), b.signer, r.update(1, rename), nil))
	r.guard.refused, r.guard.enforced = "", true
	r.refuses("refused", r.commit(draft{at: 1, leaf: rename}))
	b.name = "x" // the same key under another name
	r.refuses("refused", r.commit(draft{by: b, external: true, list: byValue(&Remove{1})}))
	b.name = "b"
	r.guard.enforced = false
	r.accepts(r.commit(draft{at: 1, leaf: rename}))

	// Who is refused between proposal and commit stays out.
	p := r.pend(r.propose(MemberSender(0), r.members[0].signer, &Add{x.keyPackage(nil)}, nil))
	good := r.commit(draft{at: 0, list: byReference(p)})
	r.accepts(good)
	r.guard.refused = "x"
	r.refuses("refused", good)
	r.guard.refused = ""
	p = r.pend(r.propose(MemberSender(1), b.signer, r.update(1, rename), nil))
	good = r.commit(draft{at: 0, list: byReference(p)})
	r.accepts(good)
	r.guard.refused = "x"
	r.refuses("refused", good)

	r.guard.sender = "spy"
	spy := ExternalSendersExtension([]ExternalSender{{r.signer().Public(), BasicCredential([]byte("spy"))}})
	r.refuses("refused", r.commit(draft{at: 0, list: byValue(&GroupContextExtensions{Extensions{spy}})}))
	r.guard.refused, r.guard.sender = "a", ""
	if err := r.rules.CheckJoin(r.currentInfo(0), r.Tree(), testNow); !errors.Is(err, errRefused) {
		t.Errorf("tree with a refused leaf: %v", err)
	}
	r.guard.refused, r.guard.sender = "", "remover"
	if err := r.rules.CheckJoin(r.currentInfo(0), r.Tree(), testNow); !errors.Is(err, errRefused) {
		t.Errorf("tree with a refused external sender: %v", err)
	}
}

// heirs is a guard that lets others take a client's place: those it names.
type heirs struct {
	*guard
	heir string
}

func (h heirs) VerifySuccessor(c LeafCheck) error {
	if string(c.Leaf.Credential.Identity) != h.heir {
		return errRefused
	}
	return nil
}

func TestNobodyTakesThePlaceOfAnotherClient(t *testing.T) { // Sections 5.3.1 and 12.4.3.2
	r := newRoom(t, testSuite, "a", "b", "c")
	b, mallory := r.members[1], r.client("mallory")
	evict := func(by *client) []byte { return r.commit(draft{by: by, external: true, list: byValue(&Remove{1})}) }
	rename := func(l *LeafNode) { l.Credential = BasicCredential([]byte("mallory")) }
	update := func(change func(*LeafNode)) []byte {
		return r.propose(MemberSender(1), b.signer, r.update(1, change), nil)
	}
	const reason = "takes the place of another client"
	for _, names := range []bool{true, false} {
		r.guard.clients = names
		r.accepts(r.commit(draft{by: mallory, external: true})) // who is let in
		r.refuses(reason, evict(mallory))
		r.accepts(evict(b))
		r.accepts(evict(r.client("b"))) // the same client with a new key
	}
	r.accepts(update(rename)) // without names it is the same signature key
	r.guard.clients = true
	r.refuses(reason, update(rename))
	r.refuses(reason, r.commit(draft{at: 1, leaf: rename}))
	r.accepts(update(nil))
	r.accepts(r.commit(draft{at: 1}))

	// Unless the verifier knows better.
	r.rules = NewRules(Config{Verifier: heirs{r.guard, "mallory"}})
	r.accepts(evict(mallory))
	r.accepts(update(rename))
	r.accepts(r.commit(draft{at: 1, leaf: rename}))
	r.refuses(reason, evict(r.client("eve")))
}

func TestRulesNeedAVerifier(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewRules(Config{})
}

func TestFollowerChecksGroupInfo(t *testing.T) {
	r := newRoom(t, testSuite, "a", "b")
	r.must(r.CheckGroupInfo(r.currentInfo(1)))
	refuse := func(what string, change func(*GroupInfo)) {
		t.Helper()
		info := r.currentInfo(1)
		ctx := *info.GroupContext
		info.GroupContext = &ctx
		change(info)
		if signer := r.members[info.Signer]; signer != nil && what != "signature" {
			r.must(info.Sign(signer.signer))
		}
		if r.CheckGroupInfo(info) == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	refuse("signature", func(g *GroupInfo) { g.Signature[0] ^= 1 })
	refuse("group", func(g *GroupInfo) { g.GroupContext.GroupID = []byte("other") })
	refuse("epoch", func(g *GroupInfo) { g.GroupContext.Epoch++ })
	refuse("tree hash", func(g *GroupInfo) { g.GroupContext.TreeHash = r.rand.bytes(32) })
	refuse("transcript", func(g *GroupInfo) { g.GroupContext.ConfirmedTranscriptHash = r.rand.bytes(32) })
	refuse("extensions", func(g *GroupInfo) { g.GroupContext.Extensions = nil })
	refuse("confirmation tag", func(g *GroupInfo) { g.ConfirmationTag = r.rand.bytes(32) })
	refuse("no external pub", func(g *GroupInfo) { g.Extensions = nil })
	refuse("broken external pub", func(g *GroupInfo) { g.Extensions = Extensions{ExternalPubExtension([]byte("short"))} })
	refuse("extension twice", func(g *GroupInfo) { g.Extensions = append(g.Extensions, g.Extensions[0]) })
	refuse("ratchet tree", func(g *GroupInfo) { g.Extensions = append(g.Extensions, RatchetTreeExtension(r.Tree())) })
	refuse("signer", func(g *GroupInfo) { g.Signer = 7 })
}

func TestSnapshotOfBrokenStorageIsRefused(t *testing.T) {
	r := newRoom(t, testSuite, "a", "b", "c")
	good := r.Snapshot()
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x40
		f, err := RestoreFollower(bad, r.rules)
		// Not every octet is covered by the tree hash; what is read must still be what was written.
		if err == nil && bytes.Equal(f.Snapshot(), good) {
			t.Fatalf("octet %d makes no difference", i)
		}
	}
	// A tree that is not whole, under the hash that it has.
	whole := r.state.Context
	broken := r.Tree().Clone()
	broken.parents[0], broken.hashes = &ParentNode{EncryptionKey: r.encryptionKey()}, make([][]byte, len(broken.hashes))
	r.state.Context, r.state.Tree = whole.Clone(), broken
	r.state.Context.TreeHash = broken.TreeHash()
	_, err := RestoreFollower(r.Snapshot(), r.rules)
	r.wants("not parent-hash valid", err)
	for i := range good {
		if _, err := RestoreFollower(good[:i], r.rules); err == nil {
			t.Fatalf("a snapshot cut at %d is accepted", i)
		}
	}
}

func TestBatchVerifierSeesEverySignature(t *testing.T) {
	r := newRoom(t, testSuite, "a", "b", "c")
	var seen int
	rules := NewRules(Config{Verifier: r.guard, Signatures: func(checks []SignatureCheck) error {
		seen += len(checks)
		return VerifyEach(checks)
	}})
	f, err := RestoreFollower(r.Snapshot(), rules)
	r.must(err)
	count := func(what string, want int, do func() error) {
		t.Helper()
		seen = 0
		r.must(do())
		if seen != want {
			t.Errorf("%s: %d signatures, want %d", what, seen, want)
		}
	}
	process := func(m []byte) func() error {
		return func() error { _, err := f.Clone().Process(m, testNow); return err }
	}
	add := &Add{r.client("d").keyPackage(nil)}
	count("join", 4, func() error { return rules.CheckJoin(r.currentInfo(0), f.Tree(), testNow) })
	count("commit", 2, process(r.commit(draft{at: 0})))
	count("commit with an add", 4, process(r.commit(draft{at: 0, list: byValue(add)})))
	count("add", 3, process(r.propose(MemberSender(0), r.members[0].signer, add, nil)))
	count("update", 2, process(r.propose(MemberSender(0), r.members[0].signer, r.update(0, nil), nil)))
	count("group info", 1, func() error { return f.CheckGroupInfo(r.currentInfo(0)) })
}

func TestFollowerBoundsWhatItKeeps(t *testing.T) {
	r := newRoom(t, testSuite, "a", "b")
	propose := func(extension []byte) []byte {
		return r.propose(MemberSender(0), r.members[0].signer, &GroupContextExtensions{Extensions{{0xf000, extension}}}, nil)
	}
	for i := range maxPending {
		r.pend(propose([]byte{byte(i), byte(i >> 8)}))
	}
	r.refuses("too many proposals", propose([]byte("one more")))
	r.pend(propose([]byte{0, 0})) // known already
	r.process(r.commit(draft{at: 0}))
	for i := range maxPendingBytes >> 20 {
		if i < maxPendingBytes>>20-1 {
			r.pend(propose(bytes.Repeat([]byte{byte(i)}, 1<<20)))
		}
	}
	big := propose(bytes.Repeat([]byte{99}, 1<<20))
	r.refuses("too many proposals", big)
	restored, err := RestoreFollower(r.Snapshot(), r.rules)
	r.must(err)
	r.Follower = restored
	r.pend(propose([]byte("small")))
	r.refuses("too many proposals", big)
}
