package escrow

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
)

// MaxHolders bounds the shares of one key: points of GF(2^8) other than 0 would allow 255, people who must find each other
// in an emergency do not.
const MaxHolders = 16

// Share is one holder's part of a private key. Fewer than Threshold of them say nothing of it, whoever has them.
type Share struct {
	_         [0]func() // not comparable
	Key       KeyID     // of the key pair
	Threshold uint8     // how many open: 1 to Holders
	Holders   uint8     // how many there are: 1 to MaxHolders
	Number    uint8     // which this is: 1 to Holders
	secret    [SecretSize]byte
}

// Errors of Combine and Split, each said in full to whoever holds the shares.
var (
	ErrTooFew    = errors.New("escrow: not enough holders: the key does not open")
	ErrForeign   = errors.New("escrow: shares of different keys do not go together")
	ErrTwice     = errors.New("escrow: the same holder's share was given twice")
	ErrShare     = errors.New("escrow: a share is damaged: together they do not make the key")
	errThreshold = fmt.Errorf("escrow: of 1 to %d holders, at least one and at most all must open", MaxHolders)
)

// Split makes the shares of holders people, any threshold of whom can open.
func (k *Key) Split(holders, threshold int, rand io.Reader) ([]*Share, error) {
	if holders < 1 || holders > MaxHolders || threshold < 1 || threshold > holders {
		return nil, errThreshold
	}
	// The polynomials' coefficients but the constant one, which is the secret: one polynomial for each of its bytes.
	coefficients := make([]byte, SecretSize*(threshold-1))
	defer clear(coefficients)
	if _, err := io.ReadFull(rand, coefficients); err != nil {
		return nil, fmt.Errorf("escrow: draw a polynomial: %w", err)
	}
	shares := make([]*Share, holders)
	for i := range shares {
		s := &Share{Key: k.ID(), Threshold: uint8(threshold), Holders: uint8(holders), Number: uint8(i + 1)}
		for b := range s.secret {
			// Horner's rule at the point Number.
			var y byte
			for c := threshold - 2; c >= 0; c-- {
				y = multiply(y^coefficients[c*SecretSize+b], s.Number)
			}
			s.secret[b] = y ^ k.secret[b]
		}
		shares[i] = s
	}
	return shares, nil
}

// Combine makes the key of its shares, at least Threshold of them. That it is the right one is proven: its public half is
// the one that the shares name.
func Combine(shares []*Share) (*Key, error) {
	if len(shares) == 0 {
		return nil, ErrTooFew
	}
	first := shares[0]
	sorted := slices.Clone(shares)
	slices.SortFunc(sorted, func(a, b *Share) int { return cmp.Compare(a.Number, b.Number) })
	for i, s := range sorted {
		switch {
		case s.Key != first.Key || s.Threshold != first.Threshold || s.Holders != first.Holders:
			return nil, ErrForeign
		case s.Number == 0 || s.Number > s.Holders || s.Holders > MaxHolders:
			return nil, ErrShare
		case i > 0 && sorted[i-1].Number == s.Number:
			return nil, ErrTwice
		}
	}
	if len(sorted) < int(first.Threshold) || first.Threshold == 0 {
		return nil, ErrTooFew
	}
	sorted = sorted[:first.Threshold]
	var secret [SecretSize]byte
	defer clear(secret[:])
	// Lagrange's formula at the point 0.
	for i, s := range sorted {
		weight := byte(1)
		for j, other := range sorted {
			if i != j {
				weight = multiply(weight, multiply(other.Number, invert(other.Number^s.Number)))
			}
		}
		for b := range secret {
			secret[b] ^= multiply(weight, s.secret[b])
		}
	}
	key, err := derive(&secret)
	if err != nil {
		return nil, err
	}
	if id := key.ID(); !same(id[:], first.Key[:]) {
		key.Wipe()
		return nil, ErrShare
	}
	return key, nil
}

// Wipe forgets the share.
func (s *Share) Wipe() { clear(s.secret[:]) }

// Format implements fmt.Formatter: a share prints as whose it is.
func (s *Share) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "share %d of %d of key %x", s.Number, s.Holders, s.Key[:4])
}

// sum is the checksum of a share and what is said of it: it finds a slip of the hand or the disk, not an adversary.
func (s *Share) sum(head []byte) [4]byte {
	h := sha256.New()
	io.WriteString(h, "Conclave share 1\x00")
	h.Write(head)
	h.Write(s.secret[:])
	return [4]byte(h.Sum(nil)[:4])
}

// multiply multiplies in GF(2^8) with the polynomial x^8+x^4+x^3+x+1 (FIPS 197, Section 4.2), without tables or branches on
// its arguments, so that time and cache say nothing of a share.
func multiply(a, b byte) byte {
	var product byte
	for range 8 {
		product ^= a & -(b & 1)
		a = a<<1 ^ 0x1b&-(a>>7)
		b >>= 1
	}
	return product
}

// invert returns the inverse, a^254; that of 0 is 0.
func invert(a byte) byte {
	square := func(x byte) byte { return multiply(x, x) }
	a2 := square(a)
	a3 := multiply(a2, a)
	a12 := square(square(a3))
	a15 := multiply(a12, a3)
	a240 := square(square(square(square(a15))))
	return multiply(multiply(a240, a12), a2)
}
