//go:build roomsuite

package mls

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
)

// The build tag roomsuite makes a package for browsers: it does the suite of Conclave's rooms and no other, so that what is
// loaded holds nothing to downgrade to; and it leaves ECDSA to WebCrypto, which every browser that can seal frames has, so
// that 36 kB less are loaded. It has no signers of its own.

// offered says whether this build does a suite that the package knows.
func (s CipherSuite) offered() bool { return s == MLKEM768P256 }

func (algorithms) newAEAD(key []byte) (cipher.AEAD, error) { return newGCM(key) }

func (algorithms) newKEM() hpke.KEM { return hpke.MLKEM768P256() }

func (algorithms) newHPKEAEAD() hpke.AEAD { return hpke.AES256GCM() }

var errNoECDSA = errors.New("mls: this build leaves ECDSA to its host, which has not verified the signature")

// verifyECDSA fails: a BatchVerifier that ends here has not verified.
func (signatureAlgorithm) verifyECDSA(SignatureCheck) error { return errNoECDSA }

// checkPoint tells whether key is an uncompressed point of P-256.
func (signatureAlgorithm) checkPoint(key SignatureKey) error {
	_, err := ecdh.P256().NewPublicKey(key)
	return err
}
