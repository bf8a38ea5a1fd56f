package merkle

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	formats "github.com/transparency-dev/formats/log"
	formatsnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

func leaf(i int) []byte { return fmt.Appendf(nil, "leaf %d", i) }

func filled(n int) *Tree {
	t := &Tree{}
	for i := range n {
		t.Append(leaf(i))
	}
	return t
}

func signer(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

const sizes = 70 // past a power of two, so that every shape of edge is there

func TestEveryLeafIsProvenInEveryTreeAndAnotherImplementationAgrees(t *testing.T) {
	tree := filled(sizes)
	for size := Size(1); size <= sizes; size++ {
		root, err := tree.RootAt(size)
		if err != nil {
			t.Fatal(err)
		}
		for i := Index(0); Size(i) < size; i++ {
			p, err := tree.Inclusion(i, size)
			if err != nil {
				t.Fatal(err)
			}
			h := LeafHash(leaf(int(i)))
			if err := CheckInclusion(p, i, h, size, root); err != nil {
				t.Fatalf("leaf %d of %d: %v", i, size, err)
			}
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(i), uint64(size), h[:], raw(p), root[:]); err != nil {
				t.Fatalf("the other implementation: leaf %d of %d: %v", i, size, err)
			}
			if CheckInclusion(p, i+1, h, size, root) == nil || CheckInclusion(p, i, LeafHash([]byte("x")), size, root) == nil {
				t.Fatalf("leaf %d of %d: a wrong place or leaf was believed", i, size)
			}
		}
	}
}

func TestEveryTreeGoesOnFromEveryEarlierOneAndAnotherImplementationAgrees(t *testing.T) {
	tree, other := filled(sizes), &Tree{}
	for i := range sizes {
		if i == 20 {
			other.Append([]byte("another history"))
			continue
		}
		other.Append(leaf(i))
	}
	for to := Size(1); to <= sizes; to++ {
		toRoot, _ := tree.RootAt(to)
		for from := Size(0); from <= to; from++ {
			fromRoot, _ := tree.RootAt(from)
			p, err := tree.Consistency(from, to)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckConsistency(p, from, fromRoot, to, toRoot); err != nil {
				t.Fatalf("%d from %d: %v", to, from, err)
			}
			if from > 0 {
				if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(from), uint64(to), raw(p), fromRoot[:], toRoot[:]); err != nil {
					t.Fatalf("the other implementation: %d from %d: %v", to, from, err)
				}
			}
			forked, _ := other.RootAt(from)
			if from > 20 && CheckConsistency(p, from, forked, to, toRoot) == nil {
				t.Fatalf("%d from %d of another history was believed", to, from)
			}
		}
	}
}

func raw(p []Hash) [][]byte {
	out := make([][]byte, len(p))
	for i := range p {
		out[i] = p[i][:]
	}
	return out
}

func TestProofsOfWhatIsNotThereAreRefused(t *testing.T) {
	tree := filled(5)
	if _, err := tree.Inclusion(5, 5); err == nil {
		t.Error("a proof of a leaf behind the end")
	}
	if _, err := tree.Inclusion(0, 6); err == nil {
		t.Error("a proof in a tree that is not there yet")
	}
	if _, err := tree.Consistency(3, 6); err == nil {
		t.Error("a proof of a tree that is not there yet")
	}
	if _, err := tree.Consistency(4, 3); err == nil {
		t.Error("a proof backwards")
	}
	if err := CheckInclusion(nil, 1<<63, Hash{}, 1<<63+1, Hash{}); !errors.Is(err, ErrNotIncluded) {
		t.Errorf("a size that overflows: %v", err)
	}
	if err := CheckConsistency(nil, 1<<63, Hash{}, 1<<63+1, Hash{}); !errors.Is(err, ErrInconsistent) {
		t.Errorf("a size that overflows: %v", err)
	}
}

func TestACheckpointIsReadUnderItsKeyAlone(t *testing.T) {
	tree, key := filled(9), signer(1)
	c := &Checkpoint{Origin: "example.org/audit", Size: tree.Size(), Root: tree.Root()}
	signed, err := c.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(signed, LogKey("example.org/audit", public(key)))
	if err != nil || got.Text() != c.Text() {
		t.Fatalf("opened %+v, %v", got, err)
	}
	v, err := note.NewEd25519VerifierKey(c.Origin, public(key))
	if err != nil || v != LogKey(c.Origin, public(key)).String() {
		t.Errorf("the verifier key is %s, want %s", LogKey(c.Origin, public(key)), v)
	}
	verifier, _ := note.NewVerifier(v)
	if other, _, _, err := formats.ParseCheckpoint(signed, c.Origin, verifier); err != nil || other.Size != 9 || !bytes.Equal(other.Hash, c.Root[:]) {
		t.Errorf("the other implementation reads %+v, %v", other, err)
	}
	for name, keys := range map[string][]Key{
		"no key":           nil,
		"another key":      {LogKey(c.Origin, public(signer(2)))},
		"another log's":    {LogKey("example.org/devices", public(key))},
		"a witness's key":  {WitnessKey(c.Origin, public(key))},
		"a key of no size": {LogKey(c.Origin, nil)},
	} {
		if _, err := Open(signed, keys...); err == nil {
			t.Errorf("opened under %s", name)
		}
	}
	for i := range signed {
		bad := bytes.Clone(signed)
		bad[i] ^= 1
		if got, err := Open(bad, LogKey(c.Origin, public(key))); err == nil && got.Text() != c.Text() {
			t.Errorf("opened with octet %d changed", i)
		}
	}
}

func TestWitnessesCosignAndAnotherImplementationAgrees(t *testing.T) {
	tree, key, witness := filled(3), signer(1), signer(2)
	c := &Checkpoint{Origin: "example.org/audit", Size: tree.Size(), Root: tree.Root()}
	signed, _ := c.Sign(key)
	now := time.Unix(1_800_000_000, 5)
	line, err := Cosign(c, "witness.example", witness, now)
	if err != nil {
		t.Fatal(err)
	}
	w := WitnessKey("witness.example", public(witness))
	both, err := AddCosignature(signed, line, w)
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := Cosignature(both, w); !ok || at.Unix() != now.Unix() {
		t.Errorf("cosigned at %v, %v", at, ok)
	}
	if _, ok := Cosignature(signed, w); ok {
		t.Error("a cosignature was found where there is none")
	}
	v, err := formatsnote.NewVerifierForCosignatureV1(w.String())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := note.Open(both, note.VerifierList(v)); err != nil || len(n.Sigs) != 1 {
		t.Errorf("the other implementation: %v", err)
	}
	if _, err := Open(both, LogKey(c.Origin, public(key))); err != nil {
		t.Errorf("the log's own signature: %v", err)
	}
	later, _ := Cosign(c, "witness.example", witness, now.Add(time.Hour))
	again, err := AddCosignature(both, later, w)
	if err != nil || bytes.Count(again, []byte("witness.example")) != 1 {
		t.Errorf("a second cosignature of the same witness does not replace the first: %s, %v", again, err)
	}
	if _, err := AddCosignature(signed, line, WitnessKey("witness.example", public(signer(3)))); err == nil {
		t.Error("a cosignature under another key was taken")
	}
	elsewhere := *c
	elsewhere.Size, elsewhere.Root = 0, EmptyRoot
	foreign, _ := Cosign(&elsewhere, "witness.example", witness, now)
	if _, err := AddCosignature(signed, foreign, w); err == nil {
		t.Error("a cosignature of another checkpoint was taken")
	}
	if k, err := ParseKey(w.String()); err != nil || k.String() != w.String() || !k.Witness() {
		t.Errorf("the key is read as %v, %v", k, err)
	}
}

func TestAProofStandsAlone(t *testing.T) {
	tree, key := filled(10), signer(1)
	c := &Checkpoint{Origin: "example.org/devices", Size: 8}
	c.Root, _ = tree.RootAt(8)
	p := &Proof{Index: 6}
	p.Path, _ = tree.Inclusion(6, 8)
	p.Checkpoint, _ = c.Sign(key)
	read, err := ParseProof(p.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read.Verify(leaf(6), LogKey(c.Origin, public(key))); err != nil || got.Size != 8 {
		t.Errorf("verified %+v, %v", got, err)
	}
	if _, err := read.Verify(leaf(7), LogKey(c.Origin, public(key))); !errors.Is(err, ErrNotIncluded) {
		t.Errorf("another leaf: %v", err)
	}
	if _, err := read.Verify(leaf(6), LogKey(c.Origin, public(signer(9)))); err == nil {
		t.Error("verified under another key")
	}
}

func TestNamesThatNotesCannotHoldAreRefused(t *testing.T) {
	for _, name := range []string{"", "a b", "a+b", "a\nb", "a\u2028b", strings.Repeat("x", MaxName+1), "\xff"} {
		if _, err := (&Checkpoint{Origin: name, Root: EmptyRoot}).Sign(signer(1)); err == nil {
			t.Errorf("signed under %q", name)
		}
		if _, err := Cosign(&Checkpoint{Origin: "a", Root: EmptyRoot}, name, signer(1), time.Unix(0, 0)); err == nil {
			t.Errorf("cosigned as %q", name)
		}
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	c := &Checkpoint{Origin: "example.org/audit", Size: 9, Root: filled(9).Root(), Extensions: []string{"x"}}
	f.Add(c.Text())
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseCheckpoint(text); err == nil && c.Text() != text {
			t.Errorf("%q is written as %q", text, c.Text())
		}
	})
}

func FuzzOpen(f *testing.F) {
	c := &Checkpoint{Origin: "example.org/audit", Size: 9, Root: filled(9).Root()}
	signed, _ := c.Sign(signer(1))
	f.Add(signed)
	w := WitnessKey("w", public(signer(2)))
	line, _ := Cosign(c, "w", signer(2), time.Unix(1, 0))
	both, _ := AddCosignature(signed, line, w)
	f.Add(both)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Open(b, LogKey(c.Origin, public(signer(1))))
		if err == nil && got.Text() != c.Text() {
			t.Errorf("opened %q", b)
		}
		Unverified(b)
		Cosignature(b, w)
		AddCosignature(b, line, w)
		AddCosignature(signed, b, w)
	})
}

func FuzzParseProof(f *testing.F) {
	tree := filled(10)
	c := &Checkpoint{Origin: "example.org/audit", Size: 10, Root: tree.Root()}
	p := &Proof{Index: 3}
	p.Path, _ = tree.Inclusion(3, 10)
	p.Checkpoint, _ = c.Sign(signer(1))
	f.Add(p.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Encode(), b) {
			t.Errorf("%q is written as %q", b, p.Encode())
		}
		if _, err := p.Verify(leaf(4), LogKey(c.Origin, public(signer(1)))); err == nil {
			t.Error("a leaf was proven in another's place")
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(WitnessKey("w", public(signer(2))).String())
	f.Add(LogKey("example.org/audit", public(signer(2))).String())
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseKey(s); err == nil && k.String() != s {
			t.Errorf("%q is written as %q", s, k.String())
		}
	})
}
