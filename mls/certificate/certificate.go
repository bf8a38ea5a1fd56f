// Package certificate verifies the X.509 credentials of MLS leaves against roots (RFC 9420, Section 5.3).
//
// It is for verifiers on servers and native clients. It stands apart from package mls because crypto/x509 is large, and
// a browser's client has no use for it. It decides that a chain is genuine and belongs to the leaf; who may be in the
// group, and whether a new certificate is a valid successor of the old one, is for the caller to decide by the
// certificate it gets back. It does not ask for revocation.
package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"conclave/mls"
)

// Authority is a set of roots whose certificates are accepted. It can be shared by goroutines.
type Authority struct {
	roots         *x509.CertPool
	intermediates []*x509.Certificate
	usages        []x509.ExtKeyUsage
}

// NewAuthority returns an Authority of roots, which must not be nil: the system's own roots say nothing about a person.
// intermediates are those that chains may leave out. usages are the extended key usages of which an end entity must have
// one; without any, all are accepted, since RFC 9420 names none.
func NewAuthority(roots *x509.CertPool, intermediates []*x509.Certificate, usages ...x509.ExtKeyUsage) *Authority {
	if roots == nil {
		panic("certificate: authority without roots")
	}
	if len(usages) == 0 {
		usages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	}
	return &Authority{roots, intermediates, usages}
}

// Verify verifies the leaf's chain at the time now, and that the end entity's key is the leaf's signature key. It returns
// the end entity's certificate.
func (a *Authority) Verify(leaf *mls.LeafNode, now time.Time) (*x509.Certificate, error) {
	if leaf.Credential.Type != mls.CredentialX509 {
		return nil, errors.New("certificate: credential is not X.509")
	}
	chain := leaf.Credential.Certificates
	if len(chain) == 0 {
		return nil, errors.New("certificate: chain is empty")
	}
	end, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("certificate: %v", err)
	}
	key, err := signatureKey(end)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(key, leaf.SignatureKey) {
		return nil, errors.New("certificate: key is not the leaf's signature key")
	}
	// Bits of key usage are all zero if the certificate does not restrict them.
	if end.KeyUsage != 0 && end.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, errors.New("certificate: key may not sign")
	}
	pool := x509.NewCertPool()
	for _, c := range a.intermediates {
		pool.AddCert(c)
	}
	for _, der := range chain[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate: %v", err)
		}
		pool.AddCert(c)
	}
	_, err = end.Verify(x509.VerifyOptions{Roots: a.roots, Intermediates: pool, CurrentTime: now, KeyUsages: a.usages})
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return end, nil
}

// signatureKey returns the certificate's key as it stands in a leaf (Section 5.1.1).
func signatureKey(c *x509.Certificate) (mls.SignatureKey, error) {
	switch key := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		b, err := key.Bytes()
		if err != nil {
			return nil, fmt.Errorf("certificate: %v", err)
		}
		return b, nil
	case ed25519.PublicKey:
		return mls.SignatureKey(key), nil
	}
	return nil, errors.New("certificate: key is of a kind that MLS does not sign with")
}
