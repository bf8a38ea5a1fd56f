package member

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave/mls"
	"conclave/mls/internal/vectors"
)

func TestWelcomeFollowsTheVectors(t *testing.T) {
	type vector struct {
		CipherSuite mls.CipherSuite `json:"cipher_suite"`
		InitPriv    hexBytes        `json:"init_priv"`
		SignerPub   hexBytes        `json:"signer_pub"`
		KeyPackage  hexBytes        `json:"key_package"`
		Welcome     hexBytes        `json:"welcome"`
	}
	for _, v := range readVectors[vector](t, "welcome.json") {
		if !supported(v.CipherSuite) {
			continue
		}
		var kp, w mls.Message
		if err := mls.Unmarshal(v.KeyPackage, &kp); err != nil {
			t.Fatal(err)
		}
		if err := mls.Unmarshal(v.Welcome, &w); err != nil {
			t.Fatal(err)
		}
		cfg := Config{Suite: v.CipherSuite}
		told, err := groupSecrets(&cfg, w.Welcome, &KeyPackageSecrets{Package: kp.KeyPackage, InitKey: v.InitPriv})
		if err != nil {
			t.Fatal(err)
		}
		none := make([]byte, v.CipherSuite.HashSize())
		info, err := openGroupInfo(v.CipherSuite, w.Welcome, told.JoinerSecret, none)
		if err != nil {
			t.Fatal(err)
		}
		if err := info.SignatureCheck(mls.SignatureKey(v.SignerPub)).Verify(); err != nil {
			t.Fatal(err)
		}
		e, _, _ := memberSecrets(v.CipherSuite, told.JoinerSecret, none, mls.Marshal(info.GroupContext))
		if !e.confirms(info.GroupContext.ConfirmedTranscriptHash, info.ConfirmationTag) {
			t.Fatal("confirmation tag does not verify")
		}
	}
}

// vectorsVerifier takes the credentials of the official vectors, which name
// nobody.
type vectorsVerifier struct{}

func (vectorsVerifier) VerifyLeaf(mls.LeafCheck) error { return nil }
func (vectorsVerifier) VerifyExternalSender(*mls.ExternalSender, *mls.GroupContext, time.Time) error {
	return nil
}
func (vectorsVerifier) Client(*mls.LeafNode) string { return "" }

// passiveVector is an entry of the passive-client files.
type passiveVector struct {
	CipherSuite  mls.CipherSuite `json:"cipher_suite"`
	ExternalPSKs []struct {
		ID  hexBytes `json:"psk_id"`
		PSK hexBytes `json:"psk"`
	} `json:"external_psks"`
	KeyPackage                hexBytes `json:"key_package"`
	SignaturePriv             hexBytes `json:"signature_priv"`
	EncryptionPriv            hexBytes `json:"encryption_priv"`
	InitPriv                  hexBytes `json:"init_priv"`
	Welcome                   hexBytes `json:"welcome"`
	RatchetTree               hexBytes `json:"ratchet_tree"`
	InitialEpochAuthenticator hexBytes `json:"initial_epoch_authenticator"`
	Epochs                    []struct {
		Proposals          []hexBytes `json:"proposals"`
		Commit             hexBytes   `json:"commit"`
		EpochAuthenticator hexBytes   `json:"epoch_authenticator"`
	} `json:"epochs"`
}

// join plays the member of the vector up to its Welcome.
func (v *passiveVector) join() (*Group, error) {
	var kp, w mls.Message
	if err := mls.Unmarshal(v.KeyPackage, &kp); err != nil {
		return nil, err
	}
	if err := mls.Unmarshal(v.Welcome, &w); err != nil {
		return nil, err
	}
	signer, err := mls.NewSigner(v.CipherSuite, v.SignaturePriv)
	if err != nil {
		return nil, err
	}
	var tree *mls.RatchetTree
	if v.RatchetTree != nil {
		if tree, err = mls.ParseRatchetTree(v.CipherSuite, v.RatchetTree); err != nil {
			return nil, err
		}
	}
	var opt WelcomeOptions
	for _, p := range v.ExternalPSKs {
		opt.PSKs = append(opt.PSKs, PSK{ID: p.ID, Secret: p.PSK})
	}
	// The vectors' lifetimes have no end that a limit of ours could hold.
	cfg := Config{
		Suite: v.CipherSuite, Signer: signer, Verifier: vectorsVerifier{}, Rand: rand.Reader,
		MaxLifetime: -1, TolerateExpired: true,
	}
	secrets := &KeyPackageSecrets{Package: kp.KeyPackage, InitKey: v.InitPriv, EncryptionKey: v.EncryptionPriv}
	return JoinWelcome(cfg, w.Welcome, secrets, tree, opt, testNow)
}

// follow plays the epochs of the vector.
func (v *passiveVector) follow() error {
	g, err := v.join()
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if !bytes.Equal(g.EpochAuthenticator(), v.InitialEpochAuthenticator) {
		return fmt.Errorf("first epoch authenticator differs")
	}
	for i, e := range v.Epochs {
		for _, p := range e.Proposals {
			if _, err := g.Process(p, testNow); err != nil {
				return fmt.Errorf("epoch %d: proposal: %w", i, err)
			}
		}
		p, err := g.Process(e.Commit, testNow)
		if err != nil {
			return fmt.Errorf("epoch %d: commit: %w", i, err)
		}
		if err := g.Merge(p.Commit); err != nil {
			return fmt.Errorf("epoch %d: %w", i, err)
		}
		if !bytes.Equal(g.EpochAuthenticator(), e.EpochAuthenticator) {
			return fmt.Errorf("epoch %d: epoch authenticator differs", i)
		}
	}
	return nil
}

func TestPassiveClientFollowsTheVectors(t *testing.T) {
	for _, name := range []string{"passive-client-welcome.json", "passive-client-handling-commit.json", "passive-client-random.json"} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(vectors.Folder(t, "mls"), name)); err != nil && strings.Contains(name, "random") {
				t.Skip("a large file, which copies of the vectors leave out")
			}
			followAll(t, name)
		})
	}
}

// What other implementations said to each other in the working group's scripts: external joins, external proposals, reinit,
// branch and more, as those saw it who joined by Welcome.
func TestPassiveClientFollowsOthersScripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectors.Folder(t, "mls"), "passive", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("copies of the vectors leave the folder interop/passive out")
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) { followAll(t, filepath.Join("passive", filepath.Base(path))) })
	}
}

// followAll plays the vectors of a file, but those of suites that there is no mathematics for.
func followAll(t *testing.T, name string) {
	t.Helper()
	var followed, epochs int
	for i, v := range readVectors[passiveVector](t, name) {
		if !supported(v.CipherSuite) {
			continue
		}
		if err := v.follow(); err != nil {
			t.Errorf("vector %d, suite %d: %v", i, v.CipherSuite, err)
		}
		followed, epochs = followed+1, epochs+len(v.Epochs)
	}
	t.Logf("%d members in %d epochs", followed, epochs)
}
