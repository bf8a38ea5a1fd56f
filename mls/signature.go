package mls

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash"
)

type signatureAlgorithm uint8

const (
	ed25519Signature signatureAlgorithm = iota + 1
	p256Signature
	p384Signature
	p521Signature
)

// hash is the one of the signature scheme, which need not be the suite's: TBD4 hashes with SHA-384 and signs with
// SHA-256.
func (a signatureAlgorithm) hash() (func() hash.Hash, crypto.Hash) {
	switch a {
	case p256Signature:
		return newHash(sha2_256), crypto.SHA256
	case p384Signature:
		return newHash(sha2_384), crypto.SHA384
	}
	return newHash(sha2_512), crypto.SHA512
}

// SignatureKey is a signature public key as it stands on the wire: the raw key for Ed25519, the uncompressed point for
// ECDSA (Section 5.1.1).
type SignatureKey []byte

// Signer signs with the private half of a leaf's signature key. In a browser this is a key of WebCrypto that cannot be
// taken out.
type Signer interface {
	// Public returns the signature key as it stands in the leaf.
	Public() []byte
	// Sign signs message, a fully encoded SignContent, and returns the suite's wire signature: DER for ECDSA.
	Sign(message []byte) ([]byte, error)
}

// SignContent encodes what SignWithLabel signs (Section 5.1.2).
func SignContent(label string, content []byte) []byte {
	w := NewWriter(2 + len(labelPrefix) + len(label) + 4 + len(content))
	w.label(label)
	w.Opaque(content)
	return w.buf
}

// SignWithLabel is that of Section 5.1.2.
func SignWithLabel(s Signer, label string, content []byte) ([]byte, error) {
	sig, err := s.Sign(SignContent(label, content))
	if err != nil {
		return nil, fmt.Errorf("mls: sign %s: %w", label, err)
	}
	return sig, nil
}

// VerifyWithLabel is that of Section 5.1.2.
func (s CipherSuite) VerifyWithLabel(key SignatureKey, label string, content, signature []byte) error {
	return SignatureCheck{Suite: s, PublicKey: key, Message: SignContent(label, content), Signature: signature}.Verify()
}

// SignatureCheck is one signature to be verified, with all that takes.
type SignatureCheck struct {
	Suite     CipherSuite
	PublicKey SignatureKey
	Message   []byte // encoded SignContent
	Signature []byte // wire form
}

// BatchVerifier verifies all checks, in any order or at once, and returns an error unless every one holds. It must not
// keep checks. VerifyEach is the one that needs nothing but the standard library.
type BatchVerifier func(checks []SignatureCheck) error

var errSignature = errors.New("mls: signature does not verify")

// VerifyEach verifies one check after the other.
func VerifyEach(checks []SignatureCheck) error {
	for i := range checks {
		if err := checks[i].Verify(); err != nil {
			return err
		}
	}
	return nil
}

// Verify verifies the signature with the standard library.
func (c SignatureCheck) Verify() error {
	a, ok := c.Suite.algorithms()
	if !ok {
		return errSuite
	}
	if a.signature == ed25519Signature {
		if len(c.PublicKey) != ed25519.PublicKeySize || !ed25519.Verify(ed25519.PublicKey(c.PublicKey), c.Message, c.Signature) {
			return errSignature
		}
		return nil
	}
	return a.signature.verifyECDSA(c)
}

// CheckSignatureKey tells whether key is a well-formed signature key of the suite.
func (s CipherSuite) CheckSignatureKey(key SignatureKey) error {
	a := s.must()
	if a.signature == ed25519Signature {
		if len(key) != ed25519.PublicKeySize {
			return errors.New("mls: signature key has the wrong size")
		}
		return nil
	}
	if err := a.signature.checkPoint(key); err != nil {
		return fmt.Errorf("mls: signature key: %v", err)
	}
	return nil
}
