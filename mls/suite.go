package mls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
)

// CipherSuite is an MLS cipher suite (Section 5.1, 17.1).
//
// The post-quantum suites of draft-ietf-mls-pq-ciphersuites-06 have no numbers assigned. Until they have, they go under
// private-use numbers in the draft's order:
//
//	number  draft  HPKE KEM        KDF, hash  AEAD         signature
//	0xF001  TBD1   MLKEM768X25519  SHA-256    AES-128-GCM  Ed25519
//	0xF002  TBD2   MLKEM768X25519  SHA-384    AES-256-GCM  Ed25519
//	0xF003  TBD3   MLKEM768P256    SHA-256    AES-128-GCM  ECDSA P-256 SHA-256
//	0xF004  TBD4   MLKEM768P256    SHA-384    AES-256-GCM  ECDSA P-256 SHA-256
//	0xF005  TBD5   MLKEM1024P384   SHA-384    AES-256-GCM  ECDSA P-384 SHA-384
//	0xF006  TBD6   MLKEM768        SHA-384    AES-256-GCM  Ed25519
//	0xF007  TBD7   MLKEM768        SHA-384    AES-256-GCM  ECDSA P-256 SHA-256
//	0xF008  TBD8   MLKEM1024       SHA-384    AES-256-GCM  ECDSA P-384 SHA-384
//
// TBD9 to TBD11 sign with ML-DSA, which the standard library does not offer. Suites 4 and 6 (X448, Ed448) are left out
// for the same reason.
type CipherSuite uint16

// The cipher suites this package can do, less their prefix MLS_128_DHKEM or the like.
const (
	X25519AES128SHA256Ed25519 CipherSuite = 0x0001
	P256AES128SHA256P256      CipherSuite = 0x0002
	X25519ChaChaSHA256Ed25519 CipherSuite = 0x0003
	P521AES256SHA512P521      CipherSuite = 0x0005
	P384AES256SHA384P384      CipherSuite = 0x0007

	MLKEM768X25519AES128SHA256Ed25519 CipherSuite = 0xF001
	MLKEM768X25519AES256SHA384Ed25519 CipherSuite = 0xF002
	MLKEM768P256AES128SHA256P256      CipherSuite = 0xF003
	MLKEM768P256AES256SHA384P256      CipherSuite = 0xF004
	MLKEM1024P384AES256SHA384P384     CipherSuite = 0xF005
	MLKEM768AES256SHA384Ed25519       CipherSuite = 0xF006
	MLKEM768AES256SHA384P256          CipherSuite = 0xF007
	MLKEM1024AES256SHA384P384         CipherSuite = 0xF008

	// MLKEM768P256 is the default of Conclave.
	MLKEM768P256 = MLKEM768P256AES256SHA384P256
)

// Suites returns the cipher suites this package can do.
func Suites() []CipherSuite {
	return []CipherSuite{
		X25519AES128SHA256Ed25519, P256AES128SHA256P256, X25519ChaChaSHA256Ed25519, P521AES256SHA512P521,
		P384AES256SHA384P384, MLKEM768X25519AES128SHA256Ed25519, MLKEM768X25519AES256SHA384Ed25519,
		MLKEM768P256AES128SHA256P256, MLKEM768P256AES256SHA384P256, MLKEM1024P384AES256SHA384P384,
		MLKEM768AES256SHA384Ed25519, MLKEM768AES256SHA384P256, MLKEM1024AES256SHA384P384,
	}
}

type hashAlgorithm uint8

const (
	sha2_256 hashAlgorithm = iota + 1
	sha2_384
	sha2_512
)

type aeadAlgorithm uint8

const (
	aes128gcm aeadAlgorithm = iota + 1
	aes256gcm
	chacha20
)

// HPKE identifiers of the KEMs (RFC 9180, Section 7.1; draft-ietf-hpke-pq).
const (
	kemP256           = 0x0010
	kemP384           = 0x0011
	kemP521           = 0x0012
	kemX25519         = 0x0020
	kemMLKEM768       = 0x0041
	kemMLKEM1024      = 0x0042
	kemMLKEM768P256   = 0x0050
	kemMLKEM1024P384  = 0x0051
	kemMLKEM768X25519 = 0x647a
)

type algorithms struct {
	kem       uint16
	hash      hashAlgorithm
	aead      aeadAlgorithm
	signature signatureAlgorithm
}

// algorithms returns what the suite is made of; ok is false for a suite this package cannot do.
func (s CipherSuite) algorithms() (a algorithms, ok bool) {
	switch s {
	case X25519AES128SHA256Ed25519:
		return algorithms{kemX25519, sha2_256, aes128gcm, ed25519Signature}, true
	case P256AES128SHA256P256:
		return algorithms{kemP256, sha2_256, aes128gcm, p256Signature}, true
	case X25519ChaChaSHA256Ed25519:
		return algorithms{kemX25519, sha2_256, chacha20, ed25519Signature}, true
	case P521AES256SHA512P521:
		return algorithms{kemP521, sha2_512, aes256gcm, p521Signature}, true
	case P384AES256SHA384P384:
		return algorithms{kemP384, sha2_384, aes256gcm, p384Signature}, true
	case MLKEM768X25519AES128SHA256Ed25519:
		return algorithms{kemMLKEM768X25519, sha2_256, aes128gcm, ed25519Signature}, true
	case MLKEM768X25519AES256SHA384Ed25519:
		return algorithms{kemMLKEM768X25519, sha2_384, aes256gcm, ed25519Signature}, true
	case MLKEM768P256AES128SHA256P256:
		return algorithms{kemMLKEM768P256, sha2_256, aes128gcm, p256Signature}, true
	case MLKEM768P256AES256SHA384P256:
		return algorithms{kemMLKEM768P256, sha2_384, aes256gcm, p256Signature}, true
	case MLKEM1024P384AES256SHA384P384:
		return algorithms{kemMLKEM1024P384, sha2_384, aes256gcm, p384Signature}, true
	case MLKEM768AES256SHA384Ed25519:
		return algorithms{kemMLKEM768, sha2_384, aes256gcm, ed25519Signature}, true
	case MLKEM768AES256SHA384P256:
		return algorithms{kemMLKEM768, sha2_384, aes256gcm, p256Signature}, true
	case MLKEM1024AES256SHA384P384:
		return algorithms{kemMLKEM1024, sha2_384, aes256gcm, p384Signature}, true
	}
	return algorithms{}, false
}

// must returns the suite's algorithms. What comes from a peer is checked with Supported first, so that an unknown suite
// here is a contradiction of our own.
func (s CipherSuite) must() algorithms {
	a, ok := s.algorithms()
	if !ok {
		panic("mls: cipher suite is not supported")
	}
	return a
}

// Supported tells whether this package can do the suite. All other methods panic if it cannot.
func (s CipherSuite) Supported() bool {
	_, ok := s.algorithms()
	return ok && s.offered()
}

var errSuite = errors.New("mls: cipher suite is not supported")

func newHash(h hashAlgorithm) func() hash.Hash {
	switch h {
	case sha2_256:
		return sha256.New
	case sha2_384:
		return sha512.New384
	}
	return sha512.New
}

// NewHash returns a running hash of the suite (KDF.Hash).
func (s CipherSuite) NewHash() hash.Hash { return newHash(s.must().hash)() }

// Hash returns the hash of the concatenation of parts, HashSize bytes.
func (s CipherSuite) Hash(parts ...[]byte) []byte {
	h := s.NewHash()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// HashSize is Nh, the size of hashes, MACs and secrets in bytes.
func (s CipherSuite) HashSize() int {
	switch s.must().hash {
	case sha2_256:
		return 32
	case sha2_384:
		return 48
	}
	return 64
}

// KeySize is Nk of the AEAD, in bytes.
func (s CipherSuite) KeySize() int {
	if s.must().aead == aes128gcm {
		return 16
	}
	return 32
}

// NonceSize is Nn of the AEAD, in bytes.
func (s CipherSuite) NonceSize() int { return 12 }

// TagSize is what the AEAD adds to a plaintext, in bytes.
func (s CipherSuite) TagSize() int { return 16 }

// MAC returns HMAC(key, data) of the suite (Section 5.1).
func (s CipherSuite) MAC(key, data []byte) []byte {
	m := hmac.New(newHash(s.must().hash), key)
	m.Write(data)
	return m.Sum(nil)
}

// VerifyMAC compares in constant time.
func (s CipherSuite) VerifyMAC(key, data, tag []byte) bool { return hmac.Equal(s.MAC(key, data), tag) }

// Extract is KDF.Extract(salt, ikm). The result is HashSize bytes.
func (s CipherSuite) Extract(salt, ikm []byte) []byte {
	prk, err := hkdf.Extract(newHash(s.must().hash), ikm, salt)
	if err != nil {
		panic("mls: extract: " + err.Error())
	}
	return prk
}

// Expand is KDF.Expand(prk, info, length). A length over 255 hashes is a contradiction of our own and panics.
func (s CipherSuite) Expand(prk []byte, info []byte, length int) []byte {
	out, err := hkdf.Expand(newHash(s.must().hash), prk, string(info), length)
	if err != nil {
		panic("mls: expand: " + err.Error())
	}
	return out
}

// ExpandWithLabel is that of Section 8. length is in bytes.
func (s CipherSuite) ExpandWithLabel(secret []byte, label string, context []byte, length int) []byte {
	w := NewWriter(2 + 2 + len(labelPrefix) + len(label) + 4 + len(context))
	w.Uint16(uint16(length))
	w.label(label)
	w.Opaque(context)
	return s.Expand(secret, w.buf, length)
}

// DeriveSecret is ExpandWithLabel with no context and HashSize bytes (Section 8).
func (s CipherSuite) DeriveSecret(secret []byte, label string) []byte {
	return s.ExpandWithLabel(secret, label, nil, s.HashSize())
}

// DeriveTreeSecret is that of Section 9.
func (s CipherSuite) DeriveTreeSecret(secret []byte, label string, generation uint32, length int) []byte {
	return s.ExpandWithLabel(secret, label, []byte{byte(generation >> 24), byte(generation >> 16), byte(generation >> 8), byte(generation)}, length)
}

const labelPrefix = "MLS 1.0 "

// label writes a label with the prefix of the protocol.
func (w *Writer) label(label string) {
	w.varint(len(labelPrefix) + len(label))
	w.buf = append(w.buf, labelPrefix...)
	w.buf = append(w.buf, label...)
}

// RefHash is that of Section 5.2. Its labels carry their own prefix.
func (s CipherSuite) RefHash(label string, value []byte) []byte {
	w := NewWriter(4 + len(label) + 4 + len(value))
	w.OpaqueString(label)
	w.Opaque(value)
	return s.Hash(w.buf)
}

// AEAD returns the suite's AEAD under key, which must be KeySize bytes.
func (s CipherSuite) AEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != s.KeySize() {
		return nil, errors.New("mls: AEAD key has the wrong size")
	}
	return s.must().newAEAD(key)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("mls: AEAD: %v", err)
	}
	return cipher.NewGCM(block)
}

// Seal encrypts plaintext with the suite's AEAD. key and nonce must have the suite's sizes.
func (s CipherSuite) Seal(key, nonce, aad, plaintext []byte) ([]byte, error) {
	aead, err := s.AEAD(key)
	if err != nil {
		return nil, err
	}
	if len(nonce) != aead.NonceSize() {
		return nil, errors.New("mls: nonce has the wrong size")
	}
	return aead.Seal(nil, nonce, plaintext, aad), nil
}

// Open decrypts what Seal encrypted.
func (s CipherSuite) Open(key, nonce, aad, ciphertext []byte) ([]byte, error) {
	aead, err := s.AEAD(key)
	if err != nil {
		return nil, err
	}
	if len(nonce) != aead.NonceSize() {
		return nil, errors.New("mls: nonce has the wrong size")
	}
	plaintext, err := aead.Open(nil, nonce, ciphertext, aad)
	if err != nil {
		return nil, errors.New("mls: message does not open")
	}
	return plaintext, nil
}

func (a algorithms) newHPKEKDF() hpke.KDF {
	switch a.hash {
	case sha2_256:
		return hpke.HKDFSHA256()
	case sha2_384:
		return hpke.HKDFSHA384()
	}
	return hpke.HKDFSHA512()
}

// EncryptionKey is an HPKE public key as it stands on the wire (HPKEPublicKey).
type EncryptionKey []byte

// HPKECiphertext is what EncryptWithLabel makes (Section 7.6).
type HPKECiphertext struct {
	KEMOutput  []byte
	Ciphertext []byte
}

// MarshalMLS encodes.
func (c HPKECiphertext) MarshalMLS(w *Writer) {
	w.Opaque(c.KEMOutput)
	w.Opaque(c.Ciphertext)
}

// UnmarshalMLS decodes.
func (c *HPKECiphertext) UnmarshalMLS(r *Reader) {
	c.KEMOutput = r.Opaque(maxSmall)
	c.Ciphertext = r.Opaque(maxSmall)
}

// CheckEncryptionKey tells whether key is a well-formed HPKE public key of the suite.
func (s CipherSuite) CheckEncryptionKey(key EncryptionKey) error {
	if _, err := s.must().newKEM().NewPublicKey(key); err != nil {
		return fmt.Errorf("mls: encryption key: %v", err)
	}
	return nil
}

// encryptionKeySize is the size of HPKE public keys in bytes.
func (s CipherSuite) encryptionKeySize() int {
	switch s.must().kem {
	case kemP256:
		return 65
	case kemP384:
		return 97
	case kemP521:
		return 133
	case kemX25519:
		return 32
	case kemMLKEM768:
		return 1184
	case kemMLKEM1024:
		return 1568
	case kemMLKEM768P256:
		return 1184 + 65
	case kemMLKEM1024P384:
		return 1568 + 97
	}
	return 1184 + 32
}

// GenerateKeyPair makes an HPKE key pair with the system's randomness.
func (s CipherSuite) GenerateKeyPair() (hpke.PrivateKey, error) {
	k, err := s.must().newKEM().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("mls: generate HPKE key: %v", err)
	}
	return k, nil
}

// DeriveKeyPair is KEM.DeriveKeyPair(ikm).
func (s CipherSuite) DeriveKeyPair(ikm []byte) (hpke.PrivateKey, error) {
	k, err := s.must().newKEM().DeriveKeyPair(ikm)
	if err != nil {
		return nil, fmt.Errorf("mls: derive HPKE key: %v", err)
	}
	return k, nil
}

// ParsePrivateKey reads an HPKE private key, as written by its method Bytes. Leading zeros of a scalar of the NIST curves
// may be missing, as in the official vectors.
func (s CipherSuite) ParsePrivateKey(b []byte) (hpke.PrivateKey, error) {
	var size int
	switch s.must().kem {
	case kemP256:
		size = 32
	case kemP384:
		size = 48
	case kemP521:
		size = 66
	}
	if len(b) < size {
		padded := make([]byte, size)
		copy(padded[size-len(b):], b)
		defer clear(padded)
		b = padded
	}
	k, err := s.must().newKEM().NewPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("mls: HPKE private key: %v", err)
	}
	return k, nil
}

func encryptContext(label string, context []byte) []byte {
	w := NewWriter(2 + len(labelPrefix) + len(label) + 4 + len(context))
	w.label(label)
	w.Opaque(context)
	return w.buf
}

// EncryptWithLabel is that of Section 5.1.3. It uses the system's randomness.
func (s CipherSuite) EncryptWithLabel(key EncryptionKey, label string, context, plaintext []byte) (HPKECiphertext, error) {
	a := s.must()
	pk, err := a.newKEM().NewPublicKey(key)
	if err != nil {
		return HPKECiphertext{}, fmt.Errorf("mls: encryption key: %v", err)
	}
	enc, sender, err := hpke.NewSender(pk, a.newHPKEKDF(), a.newHPKEAEAD(), encryptContext(label, context))
	if err != nil {
		return HPKECiphertext{}, fmt.Errorf("mls: encrypt with label: %v", err)
	}
	ct, err := sender.Seal(nil, plaintext)
	if err != nil {
		return HPKECiphertext{}, fmt.Errorf("mls: encrypt with label: %v", err)
	}
	return HPKECiphertext{KEMOutput: enc, Ciphertext: ct}, nil
}

// DecryptWithLabel is that of Section 5.1.3. The private key must be one of the suite.
func (s CipherSuite) DecryptWithLabel(key hpke.PrivateKey, label string, context []byte, ct HPKECiphertext) ([]byte, error) {
	a := s.must()
	recipient, err := hpke.NewRecipient(ct.KEMOutput, key, a.newHPKEKDF(), a.newHPKEAEAD(), encryptContext(label, context))
	if err != nil {
		return nil, fmt.Errorf("mls: decrypt with label: %v", err)
	}
	plaintext, err := recipient.Open(nil, ct.Ciphertext)
	if err != nil {
		return nil, errors.New("mls: decrypt with label: ciphertext does not open")
	}
	return plaintext, nil
}

// ExportTo makes a secret of length bytes for the holder of key, and the KEM output that lets him derive it: SetupBaseS
// with empty info, then Export (external initialization, Section 8.3).
func (s CipherSuite) ExportTo(key EncryptionKey, exporterContext string, length int) (kemOutput, secret []byte, err error) {
	a := s.must()
	pk, err := a.newKEM().NewPublicKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("mls: external key: %v", err)
	}
	enc, sender, err := hpke.NewSender(pk, a.newHPKEKDF(), a.newHPKEAEAD(), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("mls: external key: %v", err)
	}
	secret, err = sender.Export(exporterContext, length)
	if err != nil {
		return nil, nil, fmt.Errorf("mls: external key: %v", err)
	}
	return enc, secret, nil
}

// ExportFrom derives the secret that ExportTo made.
func (s CipherSuite) ExportFrom(key hpke.PrivateKey, kemOutput []byte, exporterContext string, length int) ([]byte, error) {
	a := s.must()
	recipient, err := hpke.NewRecipient(kemOutput, key, a.newHPKEKDF(), a.newHPKEAEAD(), nil)
	if err != nil {
		return nil, fmt.Errorf("mls: KEM output: %v", err)
	}
	secret, err := recipient.Export(exporterContext, length)
	if err != nil {
		return nil, fmt.Errorf("mls: KEM output: %v", err)
	}
	return secret, nil
}
