package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"conclave/mls"
	"conclave/mls/member"
)

const suite = mls.P256AES128SHA256P256

// office issues certificates to members.
type office struct {
	t    testing.TB
	root *issuer
	*Verifier
}

// email is the subject of the tests: the one address that a certificate is for.
func email(c *x509.Certificate) (string, error) {
	if len(c.EmailAddresses) != 1 {
		return "", errors.New("certificate is not for one address")
	}
	return c.EmailAddresses[0], nil
}

func newOffice(t testing.TB) *office {
	root := issue(t, nil, p256(t), authority)
	pool := x509.NewCertPool()
	pool.AddCert(root.cert)
	return &office{t, root, NewVerifier(NewAuthority(pool, nil), email, func(c *x509.Certificate) error {
		if c.Subject.CommonName != "server" {
			return errors.New("not a server")
		}
		return nil
	})}
}

// hire issues a certificate; change may spoil it.
func (o *office) hire(name string, change func(*x509.Certificate)) (member.Config, member.Leaf, *issuer) {
	o.t.Helper()
	key := p256(o.t)
	cert := issue(o.t, o.root, key, func(c *x509.Certificate) {
		c.EmailAddresses = []string{name}
		if change != nil {
			change(c)
		}
	})
	return member.Config{Suite: suite, Signer: o.signer(key), Verifier: o, Rand: rand.Reader},
		member.Leaf{Credential: mls.X509Credential([][]byte{cert.cert.Raw})}, cert
}

func (o *office) signer(key *ecdsa.PrivateKey) mls.Signer {
	o.t.Helper()
	scalar, err := key.Bytes()
	o.must(err)
	s, err := mls.NewSigner(suite, scalar)
	o.must(err)
	return s
}

func (o *office) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) refused(want string, err error) {
	o.t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		o.t.Errorf("refused with %v, want: %s", err, want)
	}
}

func TestGroupOfCertificates(t *testing.T) {
	o := newOffice(t)
	cfg, leaf, _ := o.hire("alice@example", nil)
	alice, err := member.Create(cfg, []byte("group"), nil, leaf, now)
	o.must(err)
	published, err := alice.GroupInfo(true)
	o.must(err)
	info, err := mls.ReadGroupInfo(published)
	o.must(err)
	server, err := mls.NewFollower(info, alice.Tree().Clone(), mls.NewRules(mls.Config{Verifier: o}), now)
	o.must(err)
	order := func(commit []byte) error {
		if _, err := server.Process(commit, now); err != nil {
			return err
		}
		p, err := alice.Process(commit, now)
		o.must(err)
		return alice.Merge(p.Commit)
	}
	join := func(name string, change func(*x509.Certificate)) (*member.Group, []byte) {
		t.Helper()
		cfg, leaf, _ := o.hire(name, change)
		published, err := alice.GroupInfo(true)
		o.must(err)
		info, err := mls.ReadGroupInfo(published)
		o.must(err)
		// Resync: without it the joiner itself would refuse to come in twice.
		g, commit, err := member.JoinExternal(cfg, info, nil, leaf, member.ExternalOptions{Resync: true}, now)
		o.must(err)
		return g, commit
	}
	bob, commit := join("bob@example", nil)
	o.must(order(commit))
	carolCfg, carolLeaf, _ := o.hire("carol@example", nil)
	kp, err := member.NewKeyPackage(carolCfg, carolLeaf, nil, now)
	o.must(err)
	staged, err := alice.Commit(member.CommitOptions{Proposals: []mls.Proposal{&mls.Add{KeyPackage: kp.Package}}, WelcomeTree: true}, now)
	o.must(err)
	_, err = server.Process(staged.Message(), now)
	o.must(err)
	p, err := bob.Process(staged.Message(), now)
	o.must(err)
	o.must(bob.Merge(p.Commit))
	o.must(alice.Merge(staged))
	welcome, err := mls.ReadWelcome(staged.Welcome())
	o.must(err)
	carol, err := member.JoinWelcome(carolCfg, welcome, kp, nil, member.WelcomeOptions{}, now)
	o.must(err)

	// A renewed certificate with a new key takes the old one's place; another's does not.
	renew := func(name string) error {
		cfg, leaf, _ := o.hire(name, nil)
		staged, err := bob.Commit(member.CommitOptions{Leaf: &leaf, Signer: cfg.Signer}, now)
		o.must(err)
		if _, err := server.Process(staged.Message(), now); err != nil {
			staged.Wipe()
			return err
		}
		for _, g := range []*member.Group{alice, carol} {
			p, err := g.Process(staged.Message(), now)
			o.must(err)
			o.must(g.Merge(p.Commit))
		}
		return bob.Merge(staged)
	}
	o.must(renew("bob@example"))
	o.refused("takes the place of another client", renew("dave@example"))
	o.refused("client stands twice", renew("alice@example"))
	if !bytes.Equal(alice.EpochAuthenticator(), bob.EpochAuthenticator()) || !bytes.Equal(alice.EpochAuthenticator(), carol.EpochAuthenticator()) {
		t.Error("members disagree")
	}

	// Who comes back with a new certificate replaces the old leaf.
	again, commit := join("bob@example", nil)
	o.must(order(commit))
	if again.OwnLeaf() != bob.OwnLeaf() {
		t.Errorf("came back at leaf %d", again.OwnLeaf())
	}
	_, commit = join("mail@example", func(c *x509.Certificate) { c.EmailAddresses = nil })
	o.refused("not for one address", order(commit))
	_, commit = join("late@example", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	o.refused("expired", order(commit))
	other := newOffice(t)
	o.root = other.root
	_, commit = join("stranger@example", nil)
	o.refused("unknown authority", order(commit))
}

func TestExternalSendersHaveCertificatesOfTheirOwn(t *testing.T) {
	o := newOffice(t)
	verify := func(v *Verifier, change func(*x509.Certificate), at time.Time) error {
		cfg, leaf, _ := o.hire("server@example", change)
		return v.VerifyExternalSender(&mls.ExternalSender{SignatureKey: cfg.Signer.Public(), Credential: leaf.Credential}, nil, at)
	}
	named := func(c *x509.Certificate) { c.Subject.CommonName = "server" }
	o.must(verify(o.Verifier, named, now))
	o.refused("not a server", verify(o.Verifier, nil, now))
	o.refused("expired", verify(o.Verifier, named, now.Add(2*time.Hour)))
	o.refused("nobody sends from outside", verify(NewVerifier(o.authority, email, nil), named, now))
}

func TestVerifierNamesNobodyItCannotRead(t *testing.T) {
	o := newOffice(t)
	nameless := NewVerifier(o.authority, func(*x509.Certificate) (string, error) { return "", nil }, nil)
	cfg, leaf, cert := o.hire("a@example", nil)
	node := &mls.LeafNode{SignatureKey: cfg.Signer.Public(), Credential: leaf.Credential}
	o.refused("no name", nameless.VerifyLeaf(mls.LeafCheck{Leaf: node, Now: now}))
	for range 2 { // read, and remembered
		if name := o.Client(node); name != "a@example" {
			t.Errorf("client is %q", name)
		}
	}
	for _, c := range []mls.Credential{mls.BasicCredential([]byte("a@example")), mls.X509Credential(nil), mls.X509Credential([][]byte{cert.cert.Raw[1:]})} {
		if name := o.Client(&mls.LeafNode{Credential: c}); name != "" {
			t.Errorf("client is %q", name)
		}
	}
}

// FuzzVerify gives the authority any chain. What it accepts ends in a certificate of the leaf's key.
func FuzzVerify(f *testing.F) {
	o := newOffice(f)
	middle := issue(f, o.root, p256(f), authority)
	key := p256(f)
	end := issue(f, middle, key, func(c *x509.Certificate) { c.EmailAddresses = []string{"a@example"} })
	point, err := key.PublicKey.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(end.cert.Raw, middle.cert.Raw, true)
	f.Add(o.root.cert.Raw, []byte{}, false)
	f.Add([]byte{0x30, 0x82, 0x01, 0x00}, end.cert.Raw, true)
	f.Fuzz(func(t *testing.T, first, second []byte, own bool) {
		leaf := &mls.LeafNode{SignatureKey: point, Credential: mls.X509Credential([][]byte{first, second})}
		if !own { // the key that the certificate says
			if c, err := x509.ParseCertificate(first); err == nil {
				if leaf.SignatureKey, err = signatureKey(c); err != nil {
					return
				}
			}
		}
		_ = o.Client(leaf)
		c, err := o.authority.Verify(leaf, now)
		if err != nil {
			return
		}
		if got, err := signatureKey(c); err != nil || !bytes.Equal(got, leaf.SignatureKey) || !bytes.Equal(c.Raw, first) {
			t.Fatal("accepted a certificate of another key")
		}
	})
}
