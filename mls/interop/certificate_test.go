package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"testing"
	"time"

	"conclave/mls"
	"conclave/mls/certificate"
)

// authority is a root and an issuer beneath it, and the verifier of what that issues. ts-mls leaves certificates to its
// application; ours holds those of both sides against the root.
type authority struct {
	*certificate.Verifier
	issuer *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

func newAuthority(t *testing.T, now time.Time) *authority {
	a := &authority{}
	root := a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true}, nil, now)
	a.issuer = root
	a.issuer = a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "issuer"}, IsCA: true}, nil, now)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	a.Verifier = certificate.NewVerifier(certificate.NewAuthority(roots, nil),
		func(c *x509.Certificate) (string, error) { return c.Subject.CommonName, nil }, nil)
	return a
}

// issue signs a certificate for a key, or for one of an authority's own, which signs from then on.
func (a *authority) issue(t *testing.T, c *x509.Certificate, public crypto.PublicKey, now time.Time) *x509.Certificate {
	t.Helper()
	a.serial++
	c.SerialNumber, c.NotBefore, c.NotAfter, c.BasicConstraintsValid = big.NewInt(a.serial), now.Add(-time.Hour), now.Add(24*time.Hour), true
	c.KeyUsage = x509.KeyUsageDigitalSignature
	by, parent := a.key, a.issuer
	if c.IsCA {
		c.KeyUsage = x509.KeyUsageCertSign
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public, a.key = &key.PublicKey, key
		if parent == nil {
			parent, by = c, key
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// chain certifies a signature key as it stands in a leaf: the certificate, and the issuer's behind it.
func (a *authority) chain(t *testing.T, name string, key mls.SignatureKey) [][]byte {
	t.Helper()
	var public crypto.PublicKey = ed25519.PublicKey(key)
	if len(key) != ed25519.PublicKeySize {
		curve := elliptic.Curve(elliptic.P256())
		if len(key) > 65 {
			curve = elliptic.P384()
		}
		var err error
		if public, err = ecdsa.ParseUncompressedPublicKey(curve, key); err != nil {
			t.Fatal(err)
		}
	}
	c := a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}}, public, time.Now())
	return [][]byte{c.Raw, a.issuer.Raw}
}

// VerifyExternalSender is that of names: the senders of these tests have no certificates.
func (a *authority) VerifyExternalSender(s *mls.ExternalSender, c *mls.GroupContext, now time.Time) error {
	return names{}.VerifyExternalSender(s, c, now)
}

func TestBothImplementationsAgreeOnCertificatesAfterEveryStep(t *testing.T) {
	needOracle(t)
	for _, suite := range suites {
		t.Run(fmt.Sprintf("suite %d", suite), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, suite, 509)
			w.ca = newAuthority(t, w.now)
			w.found(suite == mls.P256AES128SHA256P256)
			for i := range steps / 2 {
				w.i = i
				w.step()
				w.agree()
			}
			t.Logf("%d members at the end: %v", len(w.members), w.count)
		})
	}
}

func TestACertificateOfAnotherAuthorityIsNotLetInBesideThem(t *testing.T) {
	needOracle(t)
	w := newWorld(t, mls.P256AES128SHA256P256, 1)
	w.ca = newAuthority(t, w.now)
	w.found(true)
	own := w.ca
	w.ca = newAuthority(t, w.now) // it calls itself the same
	stranger := &theirs{w: w, suite: w.suite, id: "stranger", name: "stranger"}
	stranger.keyPackage()
	w.ca = own
	commit, err := stranger.external(w.members[0].groupInfo(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.members[0].process(commit); err == nil {
		t.Error("a certificate under another root came in")
	}
	w.agree()
}
