package gate

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"testing/cryptotest"

	"conclave"
	"conclave/merkle"
	"conclave/mls"
	"conclave/pass"
	"conclave/pass/passtest"
)

// edit changes octets of b: edits are triples of a place, in two octets, and what is XORed there. So inputs need not know
// the keys.
func edit(b, edits []byte) []byte {
	b = bytes.Clone(b)
	for ; len(edits) >= 3 && len(b) > 0; edits = edits[3:] {
		b[(int(edits[0])<<8|int(edits[1]))%len(b)] ^= edits[2]
	}
	return b
}

// logged is a leaf whose statement stands in a device log of five, and the log's state.
type logged struct {
	org       *passtest.Organisation
	leaf      *mls.LeafNode
	statement *pass.Statement
	proof     []byte
	state     LogState
}

func newLogged(t *testing.T) *logged {
	t.Helper()
	l := &logged{org: passtest.New(t, "example.org", now)}
	key := passtest.Point(passtest.LeafKey(t))
	encoded := l.org.Statement(key, "anna", "Anna")
	var err error
	if l.statement, err = pass.ParseStatement(encoded); err != nil {
		t.Fatal(err)
	}
	var tree merkle.Tree
	for _, other := range []string{"a", "b", "c"} {
		tree.Append([]byte(other))
	}
	place := tree.Append(pass.LogLeaf(pass.LogStatement, l.org.ID, l.statement.Person, conclave.DeviceOf(key), encoded))
	tree.Append([]byte("d"))
	l.state = LogState{tree.Size(), tree.Root()}
	c := merkle.Checkpoint{Origin: DeviceLogOrigin(l.org.ID), Size: l.state.Size, Root: l.state.Root}
	p := merkle.Proof{Index: place}
	if p.Path, err = tree.Inclusion(place, c.Size); err != nil {
		t.Fatal(err)
	}
	if p.Checkpoint, err = c.Sign(l.org.Log); err != nil {
		t.Fatal(err)
	}
	l.proof = p.Encode()
	l.leaf = &mls.LeafNode{SignatureKey: key, Credential: mls.BasicCredential(encoded)}
	return l
}

// FuzzLoggedIn shows leaves with spoiled proofs and statements. What verifies is the one state that the log's key has
// signed, and the one statement that stands in it.
func FuzzLoggedIn(f *testing.F) {
	f.Add([]byte{}, []byte{}, []byte{}, false)
	f.Add([]byte{0, 60, 1}, []byte{}, []byte{}, false)
	f.Add([]byte{1, 20, 3, 0, 100, 7}, []byte{}, []byte{}, false)
	f.Add([]byte{}, []byte{0, 40, 1}, []byte{}, false)
	f.Add([]byte{}, []byte{}, []byte("c2sp.org/tlog-proof@v1\nindex 3\n\nexample.org/devices\n5\n"), true)
	var l *logged
	f.Fuzz(func(t *testing.T, edits, statement, raw []byte, bare bool) {
		cryptotest.SetGlobalRandom(t, 6962)
		if l == nil {
			l = newLogged(t)
		}
		proof := edit(l.proof, edits)
		if bare {
			proof = raw
		}
		leaf := *l.leaf
		leaf.Credential = mls.BasicCredential(edit(l.leaf.Credential.Identity, statement))
		leaf.Extensions = mls.Extensions{{Type: pass.ExtensionLogProof, Data: proof}}
		of, err := pass.ParseStatement(leaf.Credential.Identity)
		if err != nil {
			of = l.statement
		}
		state, check, err := LoggedIn(&leaf, of, l.org.Trust(), now)
		if err != nil {
			if len(edits) == 0 && len(statement) == 0 && !bare {
				t.Fatalf("the proof that the log made: %v", err)
			}
			return
		}
		if check.Verify() != nil {
			return
		}
		if state != l.state || !bytes.Equal(leaf.Credential.Identity, l.leaf.Credential.Identity) {
			t.Fatalf("shown to stand in %v, which is signed for %v", state, l.state)
		}
	})
}

// FuzzSignatureOf holds the signature that is found in a note against what package note finds: wherever that one is
// content, the same signature is found and verifies.
func FuzzSignatureOf(f *testing.F) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
	public := key.Public().(ed25519.PublicKey)
	c := merkle.Checkpoint{Origin: "example.org/devices", Size: 5}
	var notes [][]byte
	for _, by := range []ed25519.PrivateKey{key, other} {
		signed, err := c.Sign(by)
		if err != nil {
			f.Fatal(err)
		}
		notes = append(notes, signed)
	}
	_, line, _ := bytes.Cut(notes[1], []byte("\n\n"))
	both := append(bytes.Clone(notes[0]), line...)
	_, line, _ = bytes.Cut(notes[0], []byte("\n\n"))
	swapped := append(bytes.Clone(notes[1]), line...)
	for _, n := range append(notes, both, swapped, notes[0][:len(notes[0])-1], append(bytes.Clone(both), line...)) {
		f.Add(n, c.Origin)
	}
	f.Fuzz(func(t *testing.T, b []byte, origin string) {
		signature, ok := signatureOf(b, origin, public)
		if ok && len(signature) != ed25519.SignatureSize {
			t.Fatalf("a signature of %d octets", len(signature))
		}
		opened, err := merkle.Open(b, merkle.LogKey(c.Origin, public))
		if err != nil || origin != c.Origin {
			return
		}
		if !ok || !ed25519.Verify(public, []byte(opened.Text()), signature) {
			t.Fatalf("%q is signed, and its signature is not found", b)
		}
	})
}
