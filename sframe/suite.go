// Package sframe seals media frames end to end (RFC 9605). It has two layers.
//
// Key is the RFC itself: a cipher suite, a base key and a KID in, SFrame ciphertexts out, for any KID and counter.
//
// Sender and Keyring are what a room makes of it: one suite, KIDs that name who sent and in which epoch, headers of one
// size, counters that cannot repeat, keys that come from the MLS exporter and go when their epoch goes, and a window
// against replays. Nobody outside this package touches a counter.
//
// The package has no clock and no I/O. The server must not link it.
package sframe

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
)

// Suite is an SFrame cipher suite (RFC 9605, Section 4.5; the registry of Section 8.1).
type Suite uint16

// The cipher suites. 6 to 8 were registered after the RFC.
const (
	AES128CTRHMACSHA256Tag80 Suite = 1
	AES128CTRHMACSHA256Tag64 Suite = 2
	AES128CTRHMACSHA256Tag32 Suite = 3
	AES128GCMSHA256Tag128    Suite = 4
	AES256GCMSHA512Tag128    Suite = 5
	AES256CTRHMACSHA512Tag80 Suite = 6
	AES256CTRHMACSHA512Tag64 Suite = 7
	AES256CTRHMACSHA512Tag32 Suite = 8
)

// Errors of this package. Those of Open say nothing about why a frame did not authenticate: nobody should learn that.
var (
	ErrSuite  = errors.New("sframe: unknown cipher suite")
	ErrHeader = errors.New("sframe: malformed header")
	ErrOpen   = errors.New("sframe: frame does not open")
)

// nonceSize is Nn of every suite.
const nonceSize = 12

type parameters struct {
	hash   func() hash.Hash
	aesKey int // bytes
	macKey int // bytes; 0 for GCM
	tag    int // bytes, Nt
}

func (s Suite) parameters() (parameters, error) {
	switch s {
	case AES128CTRHMACSHA256Tag80:
		return parameters{sha256.New, 16, 32, 10}, nil
	case AES128CTRHMACSHA256Tag64:
		return parameters{sha256.New, 16, 32, 8}, nil
	case AES128CTRHMACSHA256Tag32:
		return parameters{sha256.New, 16, 32, 4}, nil
	case AES128GCMSHA256Tag128:
		return parameters{sha256.New, 16, 0, 16}, nil
	case AES256GCMSHA512Tag128:
		return parameters{sha512.New, 32, 0, 16}, nil
	case AES256CTRHMACSHA512Tag80:
		return parameters{sha512.New, 32, 64, 10}, nil
	case AES256CTRHMACSHA512Tag64:
		return parameters{sha512.New, 32, 64, 8}, nil
	case AES256CTRHMACSHA512Tag32:
		return parameters{sha512.New, 32, 64, 4}, nil
	}
	return parameters{}, ErrSuite
}

// Overhead returns how many bytes a ciphertext is longer than its plaintext, less the header; 0 for an unknown suite.
func (s Suite) Overhead() int {
	p, _ := s.parameters()
	return p.tag
}
