package mls

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"encoding/json"

	"conclave/mls/internal/vectors"
)

// value is what can be both read and written.
type value interface {
	Marshaler
	Unmarshaler
}

// decoders are all decoders for what a peer sends, by kind. The order is part of the corpus.
var decoders = []func() value{
	func() value { return new(Message) },
	func() value { return &RatchetTree{suite: testSuite} },
	func() value { return new(AuthenticatedContent) },
	func() value { return new(GroupInfo) },
	func() value { return new(GroupSecrets) },
	func() value { return new(Commit) },
	func() value { return new(KeyPackage) },
	func() value { return new(LeafNode) },
	func() value { return new(Update) },
	func() value { return new(PreSharedKey) },
	func() value { return new(ReInit) },
	func() value { return new(GroupContextExtensions) },
	func() value { return new(RequiredCapabilities) },
	func() value { return new(externalSenders) },
	func() value { return new(opaqueData) },
	func() value { return new(ParentNode) },
	func() value { return new(SenderData) },
	func() value { return new(GroupContext) },
	func() value { return new(UpdatePath) },
	func() value { return new(Welcome) },
	func() value { return new(Add) },
	func() value { return new(Remove) },
	func() value { return new(ExternalInit) },
	func() value { return new(PreSharedKeyID) },
	func() value { return new(Capabilities) },
	func() value { return new(Credential) },
	func() value { return new(ExternalSender) },
	func() value { return new(Sender) },
	func() value { return new(HPKECiphertext) },
}

// seeds are encodings of the kinds above out of a group's life, and out of the official vectors if they are here.
func seeds(f *testing.F) (list []struct {
	kind byte
	data []byte
}) {
	add := func(kind byte, data []byte) {
		list = append(list, struct {
			kind byte
			data []byte
		}{kind, data})
	}
	r := newRoom(f, testSuite, "a", "b", "c")
	for _, m := range roomMessages(r) {
		add(0, m)
		var msg Message
		if err := Unmarshal(m, &msg); err != nil {
			f.Fatal(err)
		}
		add(2, Marshal(msg.Public.Authenticated()))
	}
	add(1, Marshal(r.Tree()))
	add(3, Marshal(r.currentInfo(0)))
	add(4, Marshal(&GroupSecrets{JoinerSecret: make([]byte, 32), PathSecret: make([]byte, 32), PSKs: []PreSharedKeyID{{Type: PSKExternal}}}))
	add(6, Marshal(r.client("d").keyPackage(nil)))
	add(7, Marshal(r.Tree().Leaf(1)))
	add(8, Marshal(r.update(1, nil)))
	add(9, Marshal(&PreSharedKey{PreSharedKeyID{Type: PSKResumption, Usage: ResumptionBranch, GroupID: []byte("g")}}))
	add(11, Marshal(&GroupContextExtensions{r.Context().Extensions}))
	for _, e := range r.Context().Extensions {
		add(12, e.Data)
		add(13, e.Data)
		add(14, e.Data)
	}
	add(17, Marshal(r.Context()))
	add(19, Marshal(&Welcome{CipherSuite: testSuite, Secrets: []EncryptedGroupSecrets{{NewMember: make([]byte, 32)}}}))
	add(20, Marshal(&Add{r.client("e").keyPackage(nil)}))
	add(21, Marshal(&Remove{3}))
	add(22, Marshal(&ExternalInit{make([]byte, 32)}))
	add(23, Marshal(PreSharedKeyID{Type: PSKExternal, ID: []byte("p"), Nonce: make([]byte, 32)}))
	add(24, Marshal(r.Tree().Leaf(0).Capabilities))
	add(25, Marshal(X509Credential([][]byte{{1}, {2}})))
	add(26, Marshal(ExternalSender{r.remover.Public(), BasicCredential([]byte("remover"))}))
	add(27, Marshal(MemberSender(1)))
	add(28, Marshal(HPKECiphertext{make([]byte, 32), make([]byte, 16)}))
	if root := os.Getenv("CONCLAVE_VECTORS"); root != "" {
		var cases []map[string]vectors.Hex
		if b, err := os.ReadFile(filepath.Join(root, "mls", "messages.json")); err == nil && json.Unmarshal(b, &cases) == nil {
			for _, c := range cases[:3] {
				for _, b := range c {
					add(0, b)
				}
			}
		}
	}
	return list
}

// roomMessages are valid messages of every kind for the group's epoch.
func roomMessages(r *room) [][]byte {
	d := r.client("d")
	remove, err := r.ExternalRemove(r.remover, 0, 2)
	r.must(err)
	return [][]byte{
		r.commit(draft{at: 0}),
		r.commit(draft{at: 1, list: byValue(&Remove{2}, &Add{d.keyPackage(nil)}, &GroupContextExtensions{r.Context().Extensions})}),
		r.commit(draft{by: d, external: true}),
		r.commit(draft{by: r.members[1], external: true, list: byValue(&Remove{1})}),
		r.commit(draft{at: 0, noPath: true, list: byValue(&ReInit{GroupID: []byte("n"), Version: MLS10, CipherSuite: testSuite})}),
		r.propose(MemberSender(1), r.members[1].signer, r.update(1, nil), nil),
		r.propose(Sender{Type: SenderNewMemberProposal}, d.signer, &Add{d.keyPackage(nil)}, nil),
		r.propose(MemberSender(1), r.members[1].signer, &PreSharedKey{PreSharedKeyID{Type: PSKExternal, Nonce: make([]byte, 32)}}, nil),
		remove,
	}
}

// FuzzDecode feeds every decoder. What is accepted must encode to the very same bytes: there is one encoding of each
// value, so that hashes and signatures over an encoding mean the value.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s.kind, s.data)
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		x := decoders[int(kind)%len(decoders)]()
		if Unmarshal(data, x) != nil {
			return
		}
		if got := Marshal(x); !bytes.Equal(got, data) {
			t.Fatalf("kind %d: %x is read and written as %x", kind, data, got)
		}
		if p, ok := x.(Proposal); ok && len(data) < maxExtensionData {
			if err := CheckForm(p); err != nil {
				t.Fatalf("kind %d: %x is read, and has no form: %v", kind, data, err)
			}
		}
	})
}

// FuzzPrivateContent feeds the decoder for what comes out of a PrivateMessage.
func FuzzPrivateContent(f *testing.F) {
	r := newRoom(f, testSuite, "a", "b", "c")
	for _, m := range roomMessages(r) {
		var msg Message
		r.must(Unmarshal(m, &msg))
		a := msg.Public.Authenticated()
		f.Add(byte(a.Content.ContentType), a.PrivateContent(3))
	}
	app := AuthenticatedContent{Content: FramedContent{ContentType: ContentApplication, ApplicationData: []byte("hello")}}
	f.Add(byte(ContentApplication), app.PrivateContent(16))
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		a := AuthenticatedContent{Content: FramedContent{ContentType: ContentType(kind)}}
		if a.ReadPrivateContent(data) != nil {
			return
		}
		got := a.PrivateContent(0)
		if len(got) > len(data) || !bytes.Equal(got, data[:len(got)]) {
			t.Fatalf("%x is read and written as %x", data, got)
		}
	})
}

// FuzzTree validates arbitrary trees: nothing may panic, and a tree that passes must survive each operation.
func FuzzTree(f *testing.F) {
	r := newRoom(f, testSuite, "a", "b", "c", "d", "e")
	f.Add(Marshal(r.Tree()))
	r.process(r.commit(draft{at: 4, noPath: true, list: byValue(&Add{r.client("f").keyPackage(nil)})}))
	f.Add(Marshal(r.Tree()))
	r.process(r.commit(draft{at: 0, list: byValue(&Remove{2})}))
	f.Add(Marshal(r.Tree()))
	leaf := r.client("z").keyPackage(nil).LeafNode
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := ParseRatchetTree(testSuite, data)
		if err != nil {
			return
		}
		before := tree.TreeHash()
		valid := tree.CheckStructure() == nil
		_ = r.rules.CheckTree(tree, r.Context(), testNow)
		g := tree.Clone()
		at := g.Add(leaf)
		if path, _ := g.FilteredDirectPath(at); valid {
			keys := make([]EncryptionKey, len(path))
			for i := range keys {
				keys[i] = bytes.Repeat([]byte{byte(i + 1)}, 32)
			}
			if _, err := g.SetPath(at, keys); err != nil {
				t.Fatal(err)
			}
		}
		g.Remove(at)
		for i := range g.LeafCount() {
			g.Resolution(LeafIndex(i).Node())
		}
		again, err := ParseRatchetTree(testSuite, Marshal(tree))
		if err != nil || !bytes.Equal(again.TreeHash(), before) || !bytes.Equal(tree.TreeHash(), before) {
			t.Fatalf("tree hash changed: %v", err)
		}
	})
}

// FuzzFollower lets a peer play with a group: it takes valid messages, spoils them, signs them again with a member's key or
// not, and sends them in any order. Nothing may panic, a refused message may leave no trace, and after an accepted one the
// tree must be one that joiners accept.
func FuzzFollower(f *testing.F) {
	r := newRoom(f, testSuite, "a", "b", "c")
	messages := roomMessages(r)
	snapshot := r.Snapshot()
	for i := range messages {
		f.Add([]byte{byte(i), 0, 0, 0, 0})
		f.Add([]byte{byte(i), 1, 60, 0, 1, byte(i), 2, 90, 0, 0x40})
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		follower, err := RestoreFollower(snapshot, r.rules)
		if err != nil {
			t.Fatal(err)
		}
		before := snapshot
		for range 8 {
			if len(script) < 5 {
				return
			}
			step := script[:5]
			script = script[5:]
			m := spoil(r, messages[int(step[0])%len(messages)], step)
			_, err := follower.Process(m, testNow)
			after := follower.Snapshot()
			if err != nil {
				if !bytes.Equal(after, before) {
					t.Fatal("a refused message left a trace")
				}
				continue
			}
			before = after
			if _, err := RestoreFollower(after, r.rules); err != nil {
				t.Fatalf("accepted a message that leaves an invalid tree: %v", err)
			}
			r.guard.asked = nil
			if err := r.rules.CheckTree(follower.Tree(), follower.Context(), testNow); err != nil {
				t.Fatalf("accepted a message that leaves a tree that joiners refuse: %v", err)
			}
		}
	})
}

// spoil changes one octet of a message. With step[1] odd it is then signed again by the member that it claims to be from.
func spoil(r *room, message, step []byte) []byte {
	m := bytes.Clone(message)
	m[(int(step[2])<<8|int(step[3]))%len(m)] ^= step[4]
	if step[1]&1 == 0 {
		return m
	}
	var msg Message
	if Unmarshal(m, &msg) != nil || msg.Public == nil {
		return m
	}
	signer := r.members[0].signer
	if c := r.members[msg.Public.Content.Sender.Leaf]; c != nil {
		signer = c.signer
	}
	a := msg.Public.Authenticated()
	if a.Sign(signer, r.Context()) != nil {
		return m
	}
	msg.Public.Auth = a.Auth
	return Marshal(&msg)
}

// FuzzRestore feeds broken snapshots.
func FuzzRestore(f *testing.F) {
	r := newRoom(f, testSuite, "a", "b")
	f.Add(r.Snapshot())
	r.pend(r.propose(MemberSender(1), r.members[1].signer, &Remove{0}, nil))
	f.Add(r.Snapshot())
	rules := NewRules(Config{Verifier: &guard{}})
	f.Fuzz(func(t *testing.T, b []byte) {
		restored, err := RestoreFollower(b, rules)
		if err != nil {
			return
		}
		if !bytes.Equal(restored.Snapshot(), b) {
			t.Fatal("a snapshot is not what was restored")
		}
		_, _ = restored.Process([]byte("garbage"), time.Time{})
		restored.Leaves()
	})
}
