package sframe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"log/slog"
)

// Key seals and opens the frames of one KID (RFC 9605, Section 4.4). It keeps its scratch space to itself: one goroutine
// at a time may use it. It does not remember counters; who seals twice under one counter gives the plaintexts away.
type Key struct {
	_      [0]func() // secret: not comparable
	kid    uint64
	tag    int
	salt   [nonceSize]byte
	nonce  [nonceSize]byte
	aad    []byte
	aead   cipher.AEAD // GCM suites
	block  cipher.Block
	mac    hash.Hash // CTR suites, with block
	macSum []byte
}

// NewKey derives the key of kid from a base key (Section 4.4.2). It does not keep baseKey.
func NewKey(suite Suite, baseKey []byte, kid uint64) (*Key, error) {
	p, err := suite.parameters()
	if err != nil {
		return nil, err
	}
	secret, err := hkdf.Extract(p.hash, baseKey, nil)
	if err != nil {
		return nil, fmt.Errorf("sframe: derive key: %v", err)
	}
	defer clear(secret)
	return deriveKey(suite, secret, kid)
}

// deriveKey is the second half of Section 4.4.2, from sframe_secret on.
func deriveKey(suite Suite, secret []byte, kid uint64) (*Key, error) {
	p, err := suite.parameters()
	if err != nil {
		return nil, err
	}
	var id [10]byte
	binary.BigEndian.PutUint64(id[:], kid)
	binary.BigEndian.PutUint16(id[8:], uint16(suite))
	key, err := hkdf.Expand(p.hash, secret, "SFrame 1.0 Secret key "+string(id[:]), p.aesKey+p.macKey)
	if err != nil {
		return nil, fmt.Errorf("sframe: derive key: %v", err)
	}
	defer clear(key)
	salt, err := hkdf.Expand(p.hash, secret, "SFrame 1.0 Secret salt "+string(id[:]), nonceSize)
	if err != nil {
		return nil, fmt.Errorf("sframe: derive salt: %v", err)
	}
	defer clear(salt)
	return newCipher(p, key, [nonceSize]byte(salt), kid)
}

// newCipher sets up the ciphers of sframe_key.
func newCipher(p parameters, key []byte, salt [nonceSize]byte, kid uint64) (*Key, error) {
	k := &Key{kid: kid, tag: p.tag, salt: salt, aad: make([]byte, 0, 64)}
	var err error
	if k.block, err = aes.NewCipher(key[:p.aesKey]); err != nil {
		return nil, fmt.Errorf("sframe: derive key: %v", err)
	}
	if p.macKey == 0 {
		if k.aead, err = cipher.NewGCM(k.block); err != nil {
			return nil, fmt.Errorf("sframe: derive key: %v", err)
		}
		return k, nil
	}
	k.mac = hmac.New(p.hash, key[p.aesKey:])
	k.macSum = make([]byte, 0, k.mac.Size())
	return k, nil
}

// Seal appends header and ciphertext of plaintext to dst. metadata is authenticated, not sent. plaintext must not
// overlap what is appended.
func (k *Key) Seal(dst, metadata, plaintext []byte, ctr uint64) []byte {
	start := len(dst)
	dst = Header{KID: k.kid, CTR: ctr}.Append(dst)
	k.prepare(ctr, dst[start:], metadata)
	if k.aead != nil {
		return k.aead.Seal(dst, k.nonce[:], plaintext, k.aad)
	}
	body := len(dst)
	dst = append(dst, plaintext...)
	k.xor(dst[body:], dst[body:])
	return append(dst, k.sum(dst[body:])...)
}

// Open appends the plaintext of frame, header and ciphertext, to dst. The caller has parsed the header, whose size is
// headerSize, and found this key by its KID. ciphertext and dst must not overlap.
func (k *Key) Open(dst, metadata, frame []byte, h Header, headerSize int) ([]byte, error) {
	if h.KID != k.kid || len(frame) < headerSize+k.tag {
		return dst, ErrOpen
	}
	k.prepare(h.CTR, frame[:headerSize], metadata)
	body := frame[headerSize:]
	if k.aead != nil {
		out, err := k.aead.Open(dst, k.nonce[:], body, k.aad)
		if err != nil {
			return dst, ErrOpen
		}
		return out, nil
	}
	body, tag := body[:len(body)-k.tag], body[len(body)-k.tag:]
	if subtle.ConstantTimeCompare(k.sum(body), tag) != 1 {
		return dst, ErrOpen
	}
	start := len(dst)
	dst = append(dst, body...)
	k.xor(dst[start:], dst[start:])
	return dst, nil
}

// prepare sets nonce and AAD (Section 4.4.3).
func (k *Key) prepare(ctr uint64, header, metadata []byte) {
	k.nonce = k.salt
	for i := range 8 {
		k.nonce[nonceSize-1-i] ^= byte(ctr >> (8 * i))
	}
	k.aad = append(append(k.aad[:0], header...), metadata...)
}

// xor encrypts or decrypts in counter mode (Section 4.5.1); the block counter starts at 0 behind the nonce.
func (k *Key) xor(dst, src []byte) {
	var iv [aes.BlockSize]byte
	copy(iv[:], k.nonce[:])
	cipher.NewCTR(k.block, iv[:]).XORKeyStream(dst, src)
}

// sum returns the truncated tag over lengths, nonce, AAD and ciphertext (Section 4.5.1). It lies in k's scratch space.
func (k *Key) sum(ciphertext []byte) []byte {
	var sizes [24]byte
	binary.BigEndian.PutUint64(sizes[0:], uint64(len(k.aad)))
	binary.BigEndian.PutUint64(sizes[8:], uint64(len(ciphertext)))
	binary.BigEndian.PutUint64(sizes[16:], uint64(k.tag))
	k.mac.Reset()
	k.mac.Write(sizes[:])
	k.mac.Write(k.nonce[:])
	k.mac.Write(k.aad)
	k.mac.Write(ciphertext)
	k.macSum = k.mac.Sum(k.macSum[:0])
	return k.macSum[:k.tag]
}

// wipe makes the key useless. The expanded AES key lies inside the standard library, out of reach: it goes with the
// garbage collector.
func (k *Key) wipe() {
	clear(k.salt[:])
	clear(k.nonce[:])
	clear(k.macSum[:cap(k.macSum)])
	k.aead, k.block, k.mac = nil, nil, nil
	k.tag = 1 << 30 // nothing is long enough to be opened
}

// Format implements fmt.Formatter: a key has nothing to show.
func (k *Key) Format(f fmt.State, _ rune) { io.WriteString(f, "sframe.Key") }

// LogValue implements slog.LogValuer.
func (k *Key) LogValue() slog.Value { return slog.StringValue("sframe.Key") }
