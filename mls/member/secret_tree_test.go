package member

import (
	"bytes"
	"errors"
	"testing"

	"conclave/mls"
)

func TestSecretTreeFollowsTheVectors(t *testing.T) {
	type vector struct {
		CipherSuite mls.CipherSuite `json:"cipher_suite"`
		SenderData  struct {
			Secret     hexBytes `json:"sender_data_secret"`
			Ciphertext hexBytes `json:"ciphertext"`
			Key        hexBytes `json:"key"`
			Nonce      hexBytes `json:"nonce"`
		} `json:"sender_data"`
		EncryptionSecret hexBytes `json:"encryption_secret"`
		Leaves           [][]struct {
			Generation       uint32   `json:"generation"`
			HandshakeKey     hexBytes `json:"handshake_key"`
			HandshakeNonce   hexBytes `json:"handshake_nonce"`
			ApplicationKey   hexBytes `json:"application_key"`
			ApplicationNonce hexBytes `json:"application_nonce"`
		} `json:"leaves"`
	}
	for _, v := range readVectors[vector](t, "secret-tree.json") {
		if !supported(v.CipherSuite) {
			continue
		}
		k := privateKeys{suite: v.CipherSuite, senderData: v.SenderData.Secret}
		key, nonce := k.senderDataKey(v.SenderData.Ciphertext)
		wantBytes(t, "sender data key", key, v.SenderData.Key)
		wantBytes(t, "sender data nonce", nonce, v.SenderData.Nonce)

		tree := newSecretTree(v.CipherSuite, v.EncryptionSecret, mls.LeafCount(len(v.Leaves)))
		for i, generations := range v.Leaves {
			leaf, err := tree.leaf(mls.LeafIndex(i))
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range generations {
				check := func(what string, wantKey, wantNonce []byte) func(key, nonce []byte) error {
					return func(key, nonce []byte) error {
						wantBytes(t, what+" key", key, wantKey)
						wantBytes(t, what+" nonce", nonce, wantNonce)
						return nil
					}
				}
				if err := leaf.handshake.open(v.CipherSuite, g.Generation, check("handshake", g.HandshakeKey, g.HandshakeNonce)); err != nil {
					t.Fatal(err)
				}
				if err := leaf.application.open(v.CipherSuite, g.Generation, check("application", g.ApplicationKey, g.ApplicationNonce)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(tree.nodes) != 0 {
			t.Fatalf("%d node secrets are left after all leaves were derived", len(tree.nodes))
		}
	}
}

const suite1 = mls.X25519AES128SHA256Ed25519

func newTestRatchet() *ratchet { return &ratchet{secret: make([]byte, 32)} }

func accept(key, nonce []byte) error { return nil }

func TestMessageKeyIsUsedOnce(t *testing.T) {
	r := newTestRatchet()
	for _, g := range []uint32{0, 3, 2, 1} {
		if err := r.open(suite1, g, accept); err != nil {
			t.Fatalf("generation %d: %v", g, err)
		}
	}
	for g := range uint32(4) {
		if err := r.open(suite1, g, accept); !errors.Is(err, ErrReplay) {
			t.Fatalf("generation %d again: %v, want ErrReplay", g, err)
		}
	}
}

func TestForgedMessageMovesNothing(t *testing.T) {
	r := newTestRatchet()
	bad := errors.New("does not open")
	before := bytes.Clone(r.secret)
	if err := r.open(suite1, 20, func(_, _ []byte) error { return bad }); err != bad {
		t.Fatal(err)
	}
	if r.next != 0 || len(r.skipped) != 0 || !bytes.Equal(before, r.secret) {
		t.Fatal("a forged message moved the ratchet")
	}
	if err := r.open(suite1, 0, accept); err != nil {
		t.Fatal(err)
	}
}

func TestSkippedKeysAreBounded(t *testing.T) {
	r := newTestRatchet()
	if err := r.open(suite1, maxForward+1, accept); !errors.Is(err, ErrTooFarAhead) {
		t.Fatalf("got %v, want ErrTooFarAhead", err)
	}
	if err := r.open(suite1, maxForward, accept); err != nil {
		t.Fatal(err)
	}
	if len(r.skipped) != maxSkipped {
		t.Fatalf("%d skipped keys kept, want %d", len(r.skipped), maxSkipped)
	}
	if err := r.open(suite1, maxForward-maxSkipped, accept); err != nil {
		t.Fatalf("oldest key that is kept: %v", err)
	}
	if err := r.open(suite1, maxForward-maxSkipped-1, accept); !errors.Is(err, ErrReplay) {
		t.Fatalf("got %v, want ErrReplay", err)
	}
}

func TestSendingRatchetEnds(t *testing.T) {
	r := newTestRatchet()
	r.next = 1<<32 - 2
	if _, err := r.take(suite1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.take(suite1); !errors.Is(err, ErrExhausted) {
		t.Fatalf("got %v, want ErrExhausted", err)
	}
}
