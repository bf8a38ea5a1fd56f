package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"conclave/mls"
)

var now = time.Unix(1_800_000_000, 0)

type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func issue(t testing.TB, by *issuer, key crypto.Signer, change func(*x509.Certificate)) *issuer {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(c)
	}
	parent := by
	if by == nil {
		parent = &issuer{c, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{cert, key}
}

func p256(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func authority(c *x509.Certificate) {
	c.IsCA = true
	c.KeyUsage = x509.KeyUsageCertSign
}

func TestChainsAreVerifiedAgainstTheRoots(t *testing.T) {
	root := issue(t, nil, p256(t), authority)
	middle := issue(t, root, p256(t), authority)
	pool := x509.NewCertPool()
	pool.AddCert(root.cert)
	a := NewAuthority(pool, nil)
	key := p256(t)
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	leaf := func(signatureKey []byte, chain ...*issuer) *mls.LeafNode {
		var der [][]byte
		for _, c := range chain {
			der = append(der, c.cert.Raw)
		}
		return &mls.LeafNode{SignatureKey: signatureKey, Credential: mls.X509Credential(der)}
	}
	accept := func(what string, a *Authority, l *mls.LeafNode) {
		t.Helper()
		if c, err := a.Verify(l, now); err != nil || c == nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	refuse := func(reason string, a *Authority, l *mls.LeafNode) {
		t.Helper()
		if _, err := a.Verify(l, now); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("refused with %v, want: %s", err, reason)
		}
	}
	end := issue(t, middle, key, nil)
	accept("chain", a, leaf(point, end, middle))
	accept("known intermediate", NewAuthority(pool, []*x509.Certificate{middle.cert}), leaf(point, end))
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	accept("Ed25519", a, leaf(public, issue(t, root, private, nil)))
	accept("no key usage", a, leaf(point, issue(t, root, key, func(c *x509.Certificate) { c.KeyUsage = 0 })))

	refuse("unknown authority", a, leaf(point, end))
	refuse("unknown authority", NewAuthority(x509.NewCertPool(), nil), leaf(point, end, middle))
	other, err := p256(t).PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	refuse("not the leaf's signature key", a, leaf(other, end, middle))
	refuse("may not sign", a, leaf(point, issue(t, root, key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })))
	refuse("expired", a, leaf(point, issue(t, root, key, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })))
	refuse("not yet valid", a, leaf(point, issue(t, root, key, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) })))
	refuse("chain is empty", a, leaf(point))
	refuse("not X.509", a, &mls.LeafNode{Credential: mls.BasicCredential([]byte("x"))})
	refuse("certificate:", a, &mls.LeafNode{SignatureKey: point, Credential: mls.X509Credential([][]byte{[]byte("x")})})
	refuse("certificate:", a, &mls.LeafNode{SignatureKey: point, Credential: mls.X509Credential([][]byte{end.cert.Raw, []byte("x")})})
	mail := NewAuthority(pool, nil, x509.ExtKeyUsageEmailProtection)
	refuse("incompatible key usage", mail, leaf(point, issue(t, root, key, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})))
	accept("key usage", mail, leaf(point, issue(t, root, key, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	})))
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	refuse("does not sign with", a, leaf(point, issue(t, root, weak, nil)))
}

func TestAuthorityNeedsRoots(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewAuthority(nil, nil)
}
