package mls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"fmt"
	"hash"
	"io"
)

type signatureAlgorithm uint8

const (
	ed25519Signature signatureAlgorithm = iota + 1
	p256Signature
	p384Signature
	p521Signature
)

func (a signatureAlgorithm) curve() elliptic.Curve {
	switch a {
	case p256Signature:
		return elliptic.P256()
	case p384Signature:
		return elliptic.P384()
	}
	return elliptic.P521()
}

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
	pub, err := ecdsa.ParseUncompressedPublicKey(a.signature.curve(), c.PublicKey)
	if err != nil {
		return fmt.Errorf("mls: signature key: %v", err)
	}
	newHash, _ := a.signature.hash()
	h := newHash()
	h.Write(c.Message)
	if !ecdsa.VerifyASN1(pub, h.Sum(nil), c.Signature) {
		return errSignature
	}
	return nil
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
	if _, err := ecdsa.ParseUncompressedPublicKey(a.signature.curve(), key); err != nil {
		return fmt.Errorf("mls: signature key: %v", err)
	}
	return nil
}

// softwareSigner holds an Ed25519 or ECDSA key in memory.
type softwareSigner struct {
	_      [0]func() // secrets are not compared
	key    crypto.Signer
	public []byte
	scheme signatureAlgorithm
}

// NewSigner returns a Signer of a key in memory. private is the 32-byte seed of Ed25519 (or the 64 bytes of RFC 8032
// with the public key behind), or the big-endian scalar of ECDSA. It is not kept.
func NewSigner(suite CipherSuite, private []byte) (Signer, error) {
	a, ok := suite.algorithms()
	if !ok {
		return nil, errSuite
	}
	if a.signature == ed25519Signature {
		if len(private) != ed25519.SeedSize && len(private) != ed25519.PrivateKeySize {
			return nil, errors.New("mls: signature private key has the wrong size")
		}
		key := ed25519.NewKeyFromSeed(private[:ed25519.SeedSize])
		return &softwareSigner{key: key, public: key.Public().(ed25519.PublicKey), scheme: a.signature}, nil
	}
	curve := a.signature.curve()
	size := (curve.Params().BitSize + 7) / 8
	if len(private) > size {
		return nil, errors.New("mls: signature private key has the wrong size")
	}
	// Vectors and old files leave out leading zeros.
	scalar := make([]byte, size)
	copy(scalar[size-len(private):], private)
	key, err := ecdsa.ParseRawPrivateKey(curve, scalar)
	clear(scalar)
	if err != nil {
		return nil, fmt.Errorf("mls: signature private key: %v", err)
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("mls: signature private key: %v", err)
	}
	return &softwareSigner{key: key, public: public, scheme: a.signature}, nil
}

// GenerateSignatureKey reads a private key for NewSigner from rand.
func (s CipherSuite) GenerateSignatureKey(rand io.Reader) ([]byte, error) {
	a := s.must()
	if a.signature == ed25519Signature {
		seed := make([]byte, ed25519.SeedSize)
		if _, err := io.ReadFull(rand, seed); err != nil {
			return nil, fmt.Errorf("mls: generate signature key: %w", err)
		}
		return seed, nil
	}
	bits := a.signature.curve().Params().BitSize
	scalar := make([]byte, (bits+7)/8)
	for {
		if _, err := io.ReadFull(rand, scalar); err != nil {
			return nil, fmt.Errorf("mls: generate signature key: %w", err)
		}
		scalar[0] &= 0xff >> (8*len(scalar) - bits)
		// Rejects zero and what is not below the order, hence no bias.
		if _, err := ecdsa.ParseRawPrivateKey(a.signature.curve(), scalar); err == nil {
			return scalar, nil
		}
	}
}

// Public returns the signature key as it stands in a leaf.
func (s *softwareSigner) Public() []byte { return s.public }

// Sign signs; ECDSA without randomness (RFC 6979).
func (s *softwareSigner) Sign(message []byte) ([]byte, error) {
	if s.scheme == ed25519Signature {
		return s.key.Sign(nil, message, crypto.Hash(0))
	}
	newHash, id := s.scheme.hash()
	h := newHash()
	h.Write(message)
	return s.key.Sign(nil, h.Sum(nil), id)
}
