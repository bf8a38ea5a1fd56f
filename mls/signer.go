//go:build !roomsuite

package mls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
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

func (a signatureAlgorithm) verifyECDSA(c SignatureCheck) error {
	pub, err := ecdsa.ParseUncompressedPublicKey(a.curve(), c.PublicKey)
	if err != nil {
		return fmt.Errorf("mls: signature key: %v", err)
	}
	newHash, _ := a.hash()
	h := newHash()
	h.Write(c.Message)
	if !ecdsa.VerifyASN1(pub, h.Sum(nil), c.Signature) {
		return errSignature
	}
	return nil
}

// checkPoint tells whether key is an uncompressed point of the curve.
func (a signatureAlgorithm) checkPoint(key SignatureKey) error {
	_, err := ecdsa.ParseUncompressedPublicKey(a.curve(), key)
	return err
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
