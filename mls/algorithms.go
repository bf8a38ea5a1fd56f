//go:build !roomsuite

package mls

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hpke"

	"golang.org/x/crypto/chacha20poly1305"
)

// offered says whether this build does a suite that the package knows: all of them.
func (s CipherSuite) offered() bool { return true }

func (a algorithms) newAEAD(key []byte) (cipher.AEAD, error) {
	if a.aead == chacha20 {
		return chacha20poly1305.New(key)
	}
	return newGCM(key)
}

func (a algorithms) newKEM() hpke.KEM {
	switch a.kem {
	case kemP256:
		return hpke.DHKEM(ecdh.P256())
	case kemP384:
		return hpke.DHKEM(ecdh.P384())
	case kemP521:
		return hpke.DHKEM(ecdh.P521())
	case kemX25519:
		return hpke.DHKEM(ecdh.X25519())
	case kemMLKEM768:
		return hpke.MLKEM768()
	case kemMLKEM1024:
		return hpke.MLKEM1024()
	case kemMLKEM768P256:
		return hpke.MLKEM768P256()
	case kemMLKEM1024P384:
		return hpke.MLKEM1024P384()
	}
	return hpke.MLKEM768X25519()
}

func (a algorithms) newHPKEAEAD() hpke.AEAD {
	switch a.aead {
	case aes128gcm:
		return hpke.AES128GCM()
	case aes256gcm:
		return hpke.AES256GCM()
	}
	return hpke.ChaCha20Poly1305()
}
