package member

import (
	"bytes"
	"errors"
	"testing"

	"conclave/mls"
)

func isWiped(b []byte) bool { return len(b) > 0 && bytes.Equal(b, make([]byte, len(b))) }

func TestKeyPackageServesOnce(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(2)
	in := invite(t, r, false)
	good := in.welcome
	in.welcome = &mls.Welcome{CipherSuite: good.CipherSuite, Secrets: good.Secrets, EncryptedGroupInfo: []byte("x")}
	if _, err := in.join(t, WelcomeOptions{}); err == nil {
		t.Fatal("joined by a broken Welcome")
	}
	if isWiped(in.kp.InitKey) || isWiped(in.kp.EncryptionKey) {
		t.Fatal("a broken Welcome cost the key package")
	}
	in.welcome = good
	g := must(in.join(t, WelcomeOptions{}))(t)
	if !isWiped(in.kp.InitKey) || !isWiped(in.kp.EncryptionKey) {
		t.Error("the keys of a package are kept after it was used")
	}
	if _, err := in.join(t, WelcomeOptions{}); err == nil {
		t.Error("a Welcome was opened twice")
	}
	must(g.Commit(CommitOptions{}, r.now))(t)
}

func TestFailedJoinForgetsItsPreSharedKeys(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(2)
	left := 0
	for _, broken := range []func(*Config){
		func(c *Config) { c.Signer = brokenSigner{c.Signer, &left} },
		func(c *Config) { c.Rand = &brokenRand{left: 40} },
	} {
		cfg := newConfig(t, r.suite)
		broken(&cfg)
		g := &Group{cfg: cfg, rules: cfg.rules()}
		g.psks.add([]byte("p"), []byte("secret"))
		kept := g.psks.external[0].Secret
		_, err := g.joinExternal(r.groupInfo(), r.follower.Tree().Clone(), named("new"), ExternalOptions{}, r.now)
		if !errors.Is(err, errSigner) {
			t.Fatalf("got %v", err)
		}
		if !isWiped(kept) || g.Active() {
			t.Error("a join that failed keeps its pre-shared keys")
		}
	}
}

func TestGroupSecretsThatAreRefusedAreWiped(t *testing.T) {
	suite := mls.P256AES128SHA256P256
	secret := bytes.Repeat([]byte{7}, suite.HashSize())
	for name, s := range map[string]*mls.GroupSecrets{
		"joiner secret": {JoinerSecret: secret[:31]},
		"PSK nonce":     {JoinerSecret: secret, PSKs: []mls.PreSharedKeyID{{Type: mls.PSKExternal, ID: []byte("p"), Nonce: secret[:31]}}},
	} {
		plaintext := mls.Marshal(s)
		if _, err := readGroupSecrets(suite, plaintext); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if !isWiped(plaintext) {
			t.Errorf("%s: kept", name)
		}
	}
	plaintext := mls.Marshal(&mls.GroupSecrets{JoinerSecret: secret})
	if s, err := readGroupSecrets(suite, plaintext); err != nil || !bytes.Equal(s.JoinerSecret, secret) {
		t.Errorf("good ones: %v", err)
	}
	if _, err := readGroupSecrets(suite, plaintext[:20]); err == nil || !isWiped(plaintext[:20]) {
		t.Errorf("broken ones: %v", err)
	}
}
