package certificate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"conclave/mls"
	"conclave/mls/certificate"
	"conclave/mls/member"
)

// A group whose members have certificates of the company's authority. The client is the e-mail address.
func ExampleAuthority() {
	now := time.Now()
	root, rootKey := issue("Example CA", "", nil, nil, now)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	verifier := certificate.NewVerifier(certificate.NewAuthority(roots, nil), func(c *x509.Certificate) (string, error) {
		if len(c.EmailAddresses) != 1 {
			return "", errors.New("not for one address")
		}
		return c.EmailAddresses[0], nil
	}, nil)
	newMember := func(address string) (member.Config, member.Leaf) {
		cert, key := issue(address, address, root, rootKey, now)
		scalar, err := key.Bytes()
		check(err)
		signer, err := mls.NewSigner(mls.P256AES128SHA256P256, scalar)
		check(err)
		return member.Config{Suite: mls.P256AES128SHA256P256, Signer: signer, Verifier: verifier, Rand: rand.Reader},
			member.Leaf{Credential: mls.X509Credential([][]byte{cert.Raw})}
	}

	config, leaf := newMember("alice@example.org")
	alice, err := member.Create(config, []byte("group"), nil, leaf, now)
	check(err)
	published, err := alice.GroupInfo(true)
	check(err)
	info, err := mls.ReadGroupInfo(published)
	check(err)
	config, leaf = newMember("bob@example.org")
	_, commit, err := member.JoinExternal(config, info, nil, leaf, member.ExternalOptions{}, now)
	check(err)
	received, err := alice.Process(commit, now)
	check(err)
	check(alice.Merge(received.Commit))
	for _, l := range alice.Tree().Members() {
		fmt.Println(verifier.Client(l))
	}

	// Alice renews certificate and key.
	config, leaf = newMember("alice@example.org")
	staged, err := alice.Commit(member.CommitOptions{Leaf: &leaf, Signer: config.Signer}, now)
	check(err)
	fmt.Println("epoch", staged.Epoch())
	// Output:
	// alice@example.org
	// bob@example.org
	// epoch 2
}

// issue makes a certificate; without an issuer that of an authority.
func issue(name, address string, issuer *x509.Certificate, by *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if issuer == nil {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
		issuer, by = c, key
	} else {
		c.EmailAddresses = []string{address}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, &key.PublicKey, by)
	check(err)
	cert, err := x509.ParseCertificate(der)
	check(err)
	return cert, key
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
