package mls

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"conclave/mls/internal/vectors"
)

func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, want)
	}
}

func TestTreeMathFollowsOfficialVectors(t *testing.T) {
	var cases []struct {
		Leaves  LeafCount    `json:"n_leaves"`
		Nodes   uint32       `json:"n_nodes"`
		Root    NodeIndex    `json:"root"`
		Left    []*NodeIndex `json:"left"`
		Right   []*NodeIndex `json:"right"`
		Parent  []*NodeIndex `json:"parent"`
		Sibling []*NodeIndex `json:"sibling"`
	}
	vectors.Load(t, "tree-math", &cases)
	for _, c := range cases {
		if c.Leaves.NodeCount() != c.Nodes || c.Leaves.Root() != c.Root {
			t.Errorf("%d leaves: %d nodes, root %d", c.Leaves, c.Leaves.NodeCount(), c.Leaves.Root())
		}
		check := func(what string, n NodeIndex, got NodeIndex, ok bool, want *NodeIndex) {
			if ok != (want != nil) || ok && got != *want {
				t.Errorf("%d leaves: %s of %d is %d, %v", c.Leaves, what, n, got, ok)
			}
		}
		for i := range c.Nodes {
			n := NodeIndex(i)
			l, ok := n.Left()
			check("left", n, l, ok, c.Left[i])
			r, ok := n.Right()
			check("right", n, r, ok, c.Right[i])
			p, ok := c.Leaves.Parent(n)
			check("parent", n, p, ok, c.Parent[i])
			s, ok := c.Leaves.Sibling(n)
			check("sibling", n, s, ok, c.Sibling[i])
		}
	}
}

func TestTreeMathAgreesWithItself(t *testing.T) {
	const size = LeafCount(64)
	for i := range size.NodeCount() {
		x := NodeIndex(i)
		above := size.DirectPath(x)
		if len(size.Copath(x)) != len(above) {
			t.Fatalf("copath and direct path of %d differ in length", x)
		}
		first, end := x.Leaves()
		for j := range size.NodeCount() {
			y := NodeIndex(j)
			if y.IsAncestor(x) != slices.Contains(above, y) {
				t.Fatalf("IsAncestor(%d, %d) = %v", y, x, y.IsAncestor(x))
			}
			if y.IsLeaf() && (y == x || x.IsAncestor(y)) != (y.Leaf() >= first && y.Leaf() < end) {
				t.Fatalf("leaves of %d are %d to %d, leaf %d", x, first, end, y.Leaf())
			}
			want := x
			if x != y {
				for _, a := range append([]NodeIndex{x}, above...) {
					if a == y || a.IsAncestor(y) {
						want = a
						break
					}
				}
			}
			if got := CommonAncestor(x, y); got != want {
				t.Fatalf("common ancestor of %d and %d is %d, want %d", x, y, got, want)
			}
		}
	}
}

func TestVectorLengthsFollowOfficialVectors(t *testing.T) {
	var cases []struct {
		Header vectors.Hex `json:"vlbytes_header"`
		Length int         `json:"length"`
	}
	vectors.Load(t, "deserialization", &cases)
	for _, c := range cases {
		r := NewReader(c.Header)
		if got := r.varint(); got != c.Length || r.Finish() != nil {
			t.Errorf("%x: length %d, want %d; %v", []byte(c.Header), got, c.Length, r.Err())
		}
		var w Writer
		w.varint(c.Length)
		equal(t, "header", w.buf, c.Header)
	}
}

func TestCryptographyFollowsOfficialVectors(t *testing.T) {
	type hex = vectors.Hex
	var cases []struct {
		Suite   CipherSuite `json:"cipher_suite"`
		RefHash struct {
			Label      string
			Value, Out hex
		} `json:"ref_hash"`
		Expand struct {
			Secret, Context, Out hex
			Label                string
			Length               int
		} `json:"expand_with_label"`
		Derive struct {
			Secret, Out hex
			Label       string
		} `json:"derive_secret"`
		DeriveTree struct {
			Secret, Out hex
			Label       string
			Generation  uint32
			Length      int
		} `json:"derive_tree_secret"`
		Sign struct {
			Priv, Pub, Content, Signature hex
			Label                         string
		} `json:"sign_with_label"`
		Encrypt struct {
			Priv, Pub, Context, Plaintext, Ciphertext hex
			KEMOutput                                 hex `json:"kem_output"`
			Label                                     string
		} `json:"encrypt_with_label"`
	}
	vectors.Load(t, "crypto-basics", &cases)
	tried := 0
	for _, c := range cases {
		s := c.Suite
		if !s.Supported() {
			continue
		}
		tried++
		equal(t, "RefHash", s.RefHash(c.RefHash.Label, c.RefHash.Value), c.RefHash.Out)
		equal(t, "ExpandWithLabel", s.ExpandWithLabel(c.Expand.Secret, c.Expand.Label, c.Expand.Context, c.Expand.Length), c.Expand.Out)
		equal(t, "DeriveSecret", s.DeriveSecret(c.Derive.Secret, c.Derive.Label), c.Derive.Out)
		equal(t, "DeriveTreeSecret", s.DeriveTreeSecret(c.DeriveTree.Secret, c.DeriveTree.Label, c.DeriveTree.Generation, c.DeriveTree.Length), c.DeriveTree.Out)

		if err := s.VerifyWithLabel(SignatureKey(c.Sign.Pub), c.Sign.Label, c.Sign.Content, c.Sign.Signature); err != nil {
			t.Errorf("suite %d: %v", s, err)
		}
		signer, err := NewSigner(s, c.Sign.Priv)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "public key", signer.Public(), c.Sign.Pub)
		sig, err := SignWithLabel(signer, c.Sign.Label, c.Sign.Content)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.VerifyWithLabel(signer.Public(), c.Sign.Label, c.Sign.Content, sig); err != nil {
			t.Errorf("suite %d: own signature: %v", s, err)
		}
		sig[len(sig)-1] ^= 1
		if s.VerifyWithLabel(signer.Public(), c.Sign.Label, c.Sign.Content, sig) == nil {
			t.Errorf("suite %d: broken signature verifies", s)
		}

		key, err := s.ParsePrivateKey(c.Encrypt.Priv)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "HPKE public key", key.PublicKey().Bytes(), c.Encrypt.Pub)
		if len(c.Encrypt.Pub) != s.encryptionKeySize() {
			t.Errorf("suite %d: size of encryption keys", s)
		}
		got, err := s.DecryptWithLabel(key, c.Encrypt.Label, c.Encrypt.Context, HPKECiphertext{c.Encrypt.KEMOutput, c.Encrypt.Ciphertext})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "DecryptWithLabel", got, c.Encrypt.Plaintext)
		ct, err := s.EncryptWithLabel(EncryptionKey(c.Encrypt.Pub), c.Encrypt.Label, c.Encrypt.Context, c.Encrypt.Plaintext)
		if err != nil {
			t.Fatal(err)
		}
		if got, err = s.DecryptWithLabel(key, c.Encrypt.Label, c.Encrypt.Context, ct); err != nil {
			t.Fatal(err)
		}
		equal(t, "DecryptWithLabel of our own", got, c.Encrypt.Plaintext)
	}
	if tried != 5 {
		t.Errorf("%d suites tried, want 5", tried)
	}
}

func TestTranscriptHashesFollowOfficialVectors(t *testing.T) {
	var cases []struct {
		Suite           CipherSuite `json:"cipher_suite"`
		ConfirmationKey vectors.Hex `json:"confirmation_key"`
		Content         vectors.Hex `json:"authenticated_content"`
		InterimBefore   vectors.Hex `json:"interim_transcript_hash_before"`
		ConfirmedAfter  vectors.Hex `json:"confirmed_transcript_hash_after"`
		InterimAfter    vectors.Hex `json:"interim_transcript_hash_after"`
	}
	vectors.Load(t, "transcript-hashes", &cases)
	for _, c := range cases {
		if !c.Suite.Supported() {
			continue
		}
		var a AuthenticatedContent
		if err := Unmarshal(c.Content, &a); err != nil {
			t.Fatal(err)
		}
		confirmed := a.ConfirmedTranscriptHash(c.Suite, c.InterimBefore)
		equal(t, "confirmed", confirmed, c.ConfirmedAfter)
		if !c.Suite.VerifyMAC(c.ConfirmationKey, confirmed, a.Auth.ConfirmationTag) {
			t.Errorf("suite %d: confirmation tag", c.Suite)
		}
		equal(t, "interim", InterimTranscriptHash(c.Suite, confirmed, a.Auth.ConfirmationTag), c.InterimAfter)
	}
}

func TestTreeOperationsFollowOfficialVectors(t *testing.T) {
	var cases []struct {
		Suite      CipherSuite `json:"cipher_suite"`
		Before     vectors.Hex `json:"tree_before"`
		Proposal   vectors.Hex `json:"proposal"`
		Sender     LeafIndex   `json:"proposal_sender"`
		HashBefore vectors.Hex `json:"tree_hash_before"`
		After      vectors.Hex `json:"tree_after"`
		HashAfter  vectors.Hex `json:"tree_hash_after"`
	}
	vectors.Load(t, "tree-operations", &cases)
	for i, c := range cases {
		tree, err := ParseRatchetTree(c.Suite, c.Before)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "tree hash before", tree.TreeHash(), c.HashBefore)
		r := NewReader(c.Proposal)
		p := ReadProposal(r)
		if err := r.Finish(); err != nil {
			t.Fatal(err)
		}
		g := Staged{Proposals: []CommittedProposal{{Proposal: p, Sender: MemberSender(c.Sender)}}, Tree: tree.Clone()}
		g.apply()
		equal(t, fmt.Sprintf("tree %d after", i), Marshal(g.Tree), c.After)
		equal(t, "tree hash after", g.Tree.TreeHash(), c.HashAfter)
		equal(t, "tree hash before, again", tree.TreeHash(), c.HashBefore)
		equal(t, "tree before, again", Marshal(tree), c.Before)
	}
}

func TestTreesFollowOfficialVectors(t *testing.T) {
	var cases []struct {
		Suite       CipherSuite   `json:"cipher_suite"`
		Tree        vectors.Hex   `json:"tree"`
		GroupID     vectors.Hex   `json:"group_id"`
		Resolutions [][]NodeIndex `json:"resolutions"`
		Hashes      []vectors.Hex `json:"tree_hashes"`
	}
	vectors.Load(t, "tree-validation", &cases)
	tried := 0
	for i, c := range cases {
		if !c.Suite.Supported() {
			continue
		}
		tried++
		tree, err := ParseRatchetTree(c.Suite, c.Tree)
		if err != nil {
			t.Fatal(err)
		}
		if int(tree.LeafCount().NodeCount()) != len(c.Hashes) {
			t.Fatalf("tree %d has %d nodes, want %d", i, tree.LeafCount().NodeCount(), len(c.Hashes))
		}
		var w Writer
		for n, want := range c.Hashes {
			equal(t, "tree hash", tree.nodeHash(&w, NodeIndex(n)), want)
		}
		for n, want := range c.Resolutions {
			if got := tree.Resolution(NodeIndex(n)); !slices.Equal(got, want) {
				t.Errorf("tree %d: resolution of %d is %v, want %v", i, n, got, want)
			}
		}
		if err := tree.CheckStructure(); err != nil {
			t.Errorf("tree %d: %v", i, err)
		}
		for l, leaf := range tree.Members() {
			if err := leaf.SignatureCheck(c.Suite, GroupID(c.GroupID), l).Verify(); err != nil {
				t.Errorf("tree %d: leaf %d: %v", i, l, err)
			}
		}
		equal(t, "tree", Marshal(tree), c.Tree)
	}
	if tried != 70 {
		t.Errorf("%d trees tried, want 70", tried)
	}
}

func TestMessagesFollowOfficialVectors(t *testing.T) {
	type hex = vectors.Hex
	var cases []map[string]hex
	vectors.Load(t, "messages", &cases)
	kinds := map[string]func() interface {
		Marshaler
		Unmarshaler
	}{}
	add := func(name string, f func() interface {
		Marshaler
		Unmarshaler
	}) {
		kinds[name] = f
	}
	type both = interface {
		Marshaler
		Unmarshaler
	}
	for _, name := range []string{"mls_welcome", "mls_group_info", "mls_key_package", "public_message_application",
		"public_message_proposal", "public_message_commit", "private_message"} {
		add(name, func() both { return new(Message) })
	}
	add("ratchet_tree", func() both { return new(RatchetTree) })
	add("group_secrets", func() both { return new(GroupSecrets) })
	add("add_proposal", func() both { return new(Add) })
	add("update_proposal", func() both { return new(Update) })
	add("remove_proposal", func() both { return new(Remove) })
	add("pre_shared_key_proposal", func() both { return new(PreSharedKey) })
	add("re_init_proposal", func() both { return new(ReInit) })
	add("external_init_proposal", func() both { return new(ExternalInit) })
	add("group_context_extensions_proposal", func() both { return new(GroupContextExtensions) })
	add("commit", func() both { return new(Commit) })
	for i, c := range cases {
		for name, b := range c {
			f := kinds[name]
			if f == nil {
				t.Fatalf("unknown kind %s", name)
			}
			x := f()
			if err := Unmarshal(b, x); err != nil {
				t.Errorf("%d: %s: %v", i, name, err)
				continue
			}
			equal(t, name, Marshal(x), b)
			if Unmarshal(append(slices.Clone(b), 0), f()) == nil {
				t.Errorf("%d: %s: a trailing byte is accepted", i, name)
			}
			if Unmarshal(b[:len(b)-1], f()) == nil {
				t.Errorf("%d: %s: a missing byte is accepted", i, name)
			}
		}
	}
}
