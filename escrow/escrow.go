// Package escrow seals what only an organisation's investigators may read, and only some of them together: speech ledgers
// and the keys of marks. Everybody seals to one public key; its private half exists in shares alone, k of n of which open
// what was sealed (Shamir, "How to share a secret", 1979). It is for endpoints (Seal), for whoever makes the key, and for
// investigations; the server links none of it.
//
// Sealing is HPKE in base mode (RFC 9180) with the KEM MLKEM768-P256 (draft-ietf-hpke-pq), HKDF-SHA384 and AES-256-GCM, as
// the default suite of package mls. The package does no I/O and knows no clock; who sealed something is not proven by it.
package escrow

import (
	"crypto/hpke"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

const (
	// SecretSize is the size of a private key in bytes: the input of DeriveKeyPair, RFC 9180, Section 7.1.3.
	SecretSize = 32
	// PublicSize is the size of a public key: an ML-KEM-768 encapsulation key and an uncompressed P-256 point.
	PublicSize = 1184 + 65
	// Overhead is what sealing adds to a plaintext: an ML-KEM-768 ciphertext, a P-256 point and the tag.
	Overhead = 1088 + 65 + 16
	// MaxPlaintext bounds what is sealed at once.
	MaxPlaintext = 64 << 10
)

const encapsulated = Overhead - 16

var (
	errKey    = errors.New("escrow: malformed public key")
	errSize   = errors.New("escrow: plaintext is too long")
	errSealed = errors.New("escrow: does not open: sealed to another key, for another purpose, or changed")
)

// KeyID names a key pair: SHA-256 over the public key, as it stands in the root's grant (pass.RoleInvestigation).
type KeyID [sha256.Size]byte

// IDOf returns the name of a public key.
func IDOf(public []byte) KeyID { return sha256.Sum256(public) }

// CheckPublic says whether public is a well-formed public key.
func CheckPublic(public []byte) error {
	if len(public) != PublicSize {
		return errKey
	}
	if _, err := hpke.MLKEM768P256().NewPublicKey(public); err != nil {
		return errKey
	}
	return nil
}

// Seal seals plaintext to a public key for the purpose info, bound to aad. The result is Overhead bytes longer. It uses the
// system's randomness.
func Seal(public, info, aad, plaintext []byte) ([]byte, error) {
	if len(plaintext) > MaxPlaintext {
		return nil, errSize
	}
	if len(public) != PublicSize {
		return nil, errKey
	}
	key, err := hpke.MLKEM768P256().NewPublicKey(public)
	if err != nil {
		return nil, errKey
	}
	enc, sender, err := hpke.NewSender(key, hpke.HKDFSHA384(), hpke.AES256GCM(), info)
	if err != nil {
		return nil, fmt.Errorf("escrow: seal: %v", err)
	}
	ciphertext, err := sender.Seal(aad, plaintext)
	if err != nil {
		return nil, fmt.Errorf("escrow: seal: %v", err)
	}
	return append(enc, ciphertext...), nil
}

// Key is the private half. It exists where a key pair is made, until it is split, and where enough holders have come
// together, until they part: Wipe it.
type Key struct {
	_       [0]func() // not comparable
	secret  [SecretSize]byte
	private hpke.PrivateKey
	public  []byte
}

// Generate draws a key pair from rand.
func Generate(rand io.Reader) (*Key, error) {
	var secret [SecretSize]byte
	defer clear(secret[:])
	if _, err := io.ReadFull(rand, secret[:]); err != nil {
		return nil, fmt.Errorf("escrow: draw a key: %w", err)
	}
	return derive(&secret)
}

func derive(secret *[SecretSize]byte) (*Key, error) {
	private, err := hpke.MLKEM768P256().DeriveKeyPair(secret[:])
	if err != nil {
		return nil, fmt.Errorf("escrow: derive a key pair: %v", err)
	}
	return &Key{secret: *secret, private: private, public: private.PublicKey().Bytes()}, nil
}

// Public returns the public half, PublicSize bytes that the caller owns.
func (k *Key) Public() []byte { return append([]byte(nil), k.public...) }

// ID returns the key pair's name.
func (k *Key) ID() KeyID { return IDOf(k.public) }

// Open returns what was sealed to k with the same info and aad. Its error does not say which of them differs.
func (k *Key) Open(info, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead || len(sealed) > Overhead+MaxPlaintext || k.private == nil {
		return nil, errSealed
	}
	recipient, err := hpke.NewRecipient(sealed[:encapsulated:encapsulated], k.private, hpke.HKDFSHA384(), hpke.AES256GCM(), info)
	if err != nil {
		return nil, errSealed
	}
	plaintext, err := recipient.Open(aad, sealed[encapsulated:])
	if err != nil {
		return nil, errSealed
	}
	return plaintext, nil
}

// Wipe forgets the key; it opens nothing any more.
func (k *Key) Wipe() {
	clear(k.secret[:])
	k.private = nil
}

// Format implements fmt.Formatter: a private key never prints.
func (k *Key) Format(f fmt.State, _ rune) { io.WriteString(f, "escrow key") }

// same compares in constant time.
func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
