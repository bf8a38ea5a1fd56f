package mls

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"

	"conclave/mls/internal/vectors"
)

var update = flag.Bool("update", false, "write testdata anew from the code as it is")

func TestEverySuiteEncryptsSignsAndDerives(t *testing.T) {
	for _, s := range Suites() {
		t.Run(fmt.Sprintf("%#04x", uint16(s)), func(t *testing.T) {
			w := newWorld(t, s)
			key, err := s.GenerateKeyPair()
			w.must(err)
			public := EncryptionKey(key.PublicKey().Bytes())
			w.must(s.CheckEncryptionKey(public))
			if len(public) != s.encryptionKeySize() || s.CheckEncryptionKey(public[1:]) == nil {
				t.Error("size of encryption keys")
			}
			b, err := key.Bytes()
			w.must(err)
			again, err := s.ParsePrivateKey(b)
			w.must(err)
			equal(t, "public key", again.PublicKey().Bytes(), public)

			ct, err := s.EncryptWithLabel(public, "label", []byte("context"), []byte("secret"))
			w.must(err)
			got, err := s.DecryptWithLabel(again, "label", []byte("context"), ct)
			w.must(err)
			equal(t, "plaintext", got, []byte("secret"))
			for _, err := range []error{
				second(s.DecryptWithLabel(key, "other", []byte("context"), ct)),
				second(s.DecryptWithLabel(key, "label", []byte("other"), ct)),
				second(s.DecryptWithLabel(key, "label", []byte("context"), HPKECiphertext{ct.KEMOutput, ct.Ciphertext[1:]})),
				second(s.DecryptWithLabel(key, "label", []byte("context"), HPKECiphertext{ct.KEMOutput[1:], ct.Ciphertext})),
			} {
				if err == nil {
					t.Error("a spoilt ciphertext opens")
				}
			}
			enc, secret, err := s.ExportTo(public, "export", 32)
			w.must(err)
			got, err = s.ExportFrom(key, enc, "export", 32)
			w.must(err)
			equal(t, "exported secret", got, secret)

			sealed, err := s.Seal(make([]byte, s.KeySize()), make([]byte, s.NonceSize()), []byte("aad"), []byte("text"))
			w.must(err)
			if len(sealed) != 4+s.TagSize() {
				t.Error("size of tags")
			}
			got, err = s.Open(make([]byte, s.KeySize()), make([]byte, s.NonceSize()), []byte("aad"), sealed)
			w.must(err)
			equal(t, "opened text", got, []byte("text"))
			for _, err := range []error{
				second(s.Open(make([]byte, s.KeySize()), make([]byte, s.NonceSize()), []byte("other"), sealed)),
				second(s.Open(make([]byte, s.KeySize()+1), make([]byte, s.NonceSize()), []byte("aad"), sealed)),
				second(s.Seal(make([]byte, s.KeySize()), make([]byte, 11), nil, nil)),
			} {
				if err == nil {
					t.Error("a spoilt text opens, or a wrong size is accepted")
				}
			}

			signer := w.signer()
			w.must(s.CheckSignatureKey(signer.Public()))
			sig, err := SignWithLabel(signer, "label", []byte("content"))
			w.must(err)
			w.must(s.VerifyWithLabel(signer.Public(), "label", []byte("content"), sig))
			for _, err := range []error{
				s.VerifyWithLabel(signer.Public(), "other", []byte("content"), sig),
				s.VerifyWithLabel(signer.Public(), "label", []byte("other"), sig),
				s.VerifyWithLabel(w.signer().Public(), "label", []byte("content"), sig),
				s.VerifyWithLabel(signer.Public()[1:], "label", []byte("content"), sig),
				s.VerifyWithLabel(signer.Public(), "label", []byte("content"), nil),
				s.CheckSignatureKey(signer.Public()[1:]),
			} {
				if err == nil {
					t.Error("a spoilt signature verifies")
				}
			}
			if n := s.HashSize(); len(s.Hash([]byte("x"))) != n || len(s.Extract(nil, []byte("x"))) != n || len(s.MAC([]byte("k"), nil)) != n {
				t.Error("size of hashes")
			}
		})
	}
	for _, s := range []CipherSuite{0, 4, 6, 0xf000, 0xf009, 0x0a0a} {
		if s.Supported() {
			t.Errorf("%#04x is supported", uint16(s))
		}
		if _, err := NewSigner(s, make([]byte, 32)); err == nil {
			t.Errorf("%#04x signs", uint16(s))
		}
		if (SignatureCheck{Suite: s}).Verify() == nil {
			t.Errorf("%#04x verifies", uint16(s))
		}
	}
}

func second(_ []byte, err error) error { return err }

func TestSignaturesNeedNoRandomness(t *testing.T) {
	for _, s := range Suites() {
		signer := newWorld(t, s).signer()
		a, err := signer.Sign([]byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := signer.Sign([]byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "signature", a, b)
	}
}

// frozenSuite is what this code computed for a suite that nobody has published vectors of. A difference later on means
// that old peers and new ones no longer understand each other.
type frozenSuite struct {
	Suite CipherSuite `json:"cipher_suite"`
	// DeriveKeyPair
	IKM     vectors.Hex `json:"ikm"`
	Private vectors.Hex `json:"private_key"`
	Public  vectors.Hex `json:"public_key"`
	// EncryptWithLabel("label", "context", "plaintext") to that key, and export of 32 bytes under "export"
	KEMOutput  vectors.Hex `json:"kem_output"`
	Ciphertext vectors.Hex `json:"ciphertext"`
	ExportKEM  vectors.Hex `json:"export_kem_output"`
	Exported   vectors.Hex `json:"exported"`
	// SignWithLabel("label", "content")
	SignaturePrivate vectors.Hex `json:"signature_private_key"`
	SignaturePublic  vectors.Hex `json:"signature_public_key"`
	Signature        vectors.Hex `json:"signature"`
	// DeriveSecret(ikm, "label"), RefHash("label", ikm), DeriveTreeSecret(ikm, "label", 7, 16)
	Secret     vectors.Hex `json:"secret"`
	Ref        vectors.Hex `json:"ref"`
	TreeSecret vectors.Hex `json:"tree_secret"`
	// A group: founded, joined twice from outside, one added, one removed.
	GroupInfo vectors.Hex   `json:"group_info"`
	Tree      vectors.Hex   `json:"tree"`
	Messages  []vectors.Hex `json:"messages"`
	Context   vectors.Hex   `json:"context_after"`
}

func freeze(t *testing.T, s CipherSuite) (v frozenSuite) {
	w := newWorld(t, s)
	v.Suite, v.IKM = s, w.rand.bytes(64)
	key, err := s.DeriveKeyPair(v.IKM)
	w.must(err)
	v.Private, err = key.Bytes()
	w.must(err)
	v.Public = key.PublicKey().Bytes()
	ct, err := s.EncryptWithLabel(EncryptionKey(v.Public), "label", []byte("context"), []byte("plaintext"))
	w.must(err)
	v.KEMOutput, v.Ciphertext = ct.KEMOutput, ct.Ciphertext
	kem, exported, err := s.ExportTo(EncryptionKey(v.Public), "export", 32)
	w.must(err)
	v.ExportKEM, v.Exported = kem, exported
	v.SignaturePrivate, err = s.GenerateSignatureKey(w.rand)
	w.must(err)
	signer, err := NewSigner(s, v.SignaturePrivate)
	w.must(err)
	v.SignaturePublic = signer.Public()
	v.Signature, err = SignWithLabel(signer, "label", []byte("content"))
	w.must(err)
	v.Secret, v.Ref, v.TreeSecret = s.DeriveSecret(v.IKM, "label"), vectors.Hex(s.RefHash("label", v.IKM)), s.DeriveTreeSecret(v.IKM, "label", 7, 16)

	r := newRoom(t, s, "a")
	v.GroupInfo, v.Tree = Marshal(r.currentInfo(0)), Marshal(r.Tree())
	step := func(m []byte) *Change {
		v.Messages = append(v.Messages, m)
		return r.process(m)
	}
	b, c, d := r.client("b"), r.client("c"), r.client("d")
	for _, x := range []*client{b, c} {
		r.members[step(r.commit(draft{by: x, external: true})).Committer] = x
	}
	step(r.commit(draft{at: 1, noPath: true, list: byValue(&Add{d.keyPackage(nil)})}))
	remove, err := r.ExternalRemove(r.remover, 0, 0)
	r.must(err)
	step(r.commit(draft{at: 2, list: byReference(step(remove).Proposal)}))
	v.Context = Marshal(r.Context())
	return v
}

func TestPostQuantumSuitesStayAsTheyAre(t *testing.T) {
	const name = "testdata/post-quantum-suites.json"
	if *update {
		var list []frozenSuite
		for _, s := range Suites() {
			if s >= 0xf000 {
				list = append(list, freeze(t, s))
			}
		}
		b, err := json.MarshalIndent(list, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var list []frozenSuite
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 8 {
		t.Fatalf("%d suites", len(list))
	}
	for _, v := range list {
		t.Run(fmt.Sprintf("%#04x", uint16(v.Suite)), func(t *testing.T) { thaw(t, v) })
	}
}

func thaw(t *testing.T, v frozenSuite) {
	w, s := newWorld(t, v.Suite), v.Suite
	key, err := s.DeriveKeyPair(v.IKM)
	w.must(err)
	private, err := key.Bytes()
	w.must(err)
	equal(t, "private key", private, v.Private)
	equal(t, "public key", key.PublicKey().Bytes(), v.Public)
	plaintext, err := s.DecryptWithLabel(key, "label", []byte("context"), HPKECiphertext{v.KEMOutput, v.Ciphertext})
	w.must(err)
	equal(t, "plaintext", plaintext, []byte("plaintext"))
	exported, err := s.ExportFrom(key, v.ExportKEM, "export", 32)
	w.must(err)
	equal(t, "exported", exported, v.Exported)
	w.must(s.VerifyWithLabel(SignatureKey(v.SignaturePublic), "label", []byte("content"), v.Signature))
	signer, err := NewSigner(s, v.SignaturePrivate)
	w.must(err)
	equal(t, "signature key", signer.Public(), v.SignaturePublic)
	equal(t, "secret", s.DeriveSecret(v.IKM, "label"), v.Secret)
	equal(t, "ref", s.RefHash("label", v.IKM), v.Ref)
	equal(t, "tree secret", s.DeriveTreeSecret(v.IKM, "label", 7, 16), v.TreeSecret)

	var info GroupInfo
	w.must(Unmarshal(v.GroupInfo, &info))
	tree, err := ParseRatchetTree(s, v.Tree)
	w.must(err)
	f, err := NewFollower(&info, tree, NewRules(Config{Verifier: &guard{}}), testNow)
	w.must(err)
	for _, m := range v.Messages {
		_, err := f.Process(m, testNow)
		w.must(err)
	}
	equal(t, "context", Marshal(f.Context()), v.Context)
	if bytes.Equal(v.Context, Marshal(info.GroupContext)) || len(f.Leaves()) != 3 {
		t.Error("the group did not move")
	}
}
