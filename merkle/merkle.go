// Package merkle is a log as a Merkle tree: leaves in order, a root over all of them, proofs that a leaf is in the tree and
// that one tree goes on from another, checkpoints that a key has signed, and the cosignatures of witnesses. The audit log and
// the device log are both of this kind, each with an origin of its own.
//
// The package is pure: no input and output, no clock, no log; it is small enough for a browser. It keeps no leaves, only
// their hashes. A Tree holds all hashes in memory (64 bytes a leaf) and proves; an Edge holds those of the right edge alone
// (at most 40 kB) and yields tiles, from which any reader proves.
//
// Sources: RFC 6962, Section 2.1 (the tree), C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof and tlog-tiles
// (the formats). The mathematics is that of golang.org/x/mod/sumdb/tlog.
package merkle

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a hash of the tree: SHA-256 with the prefixes of RFC 6962.
type Hash = tlog.Hash

// Index is a leaf's place in the log; the first has 0.
type Index uint64

// Size is a number of leaves.
type Size uint64

// MaxSize bounds what is accepted as a size: far more than will be, and far less than would overflow.
const MaxSize Size = 1 << 48

// Reader finds hashes of the tree by the numbers of tlog.StoredHashIndex: a Tree, or tiles through TileReader.
type Reader = tlog.HashReader

var (
	// ErrNotIncluded says that a proof does not show the leaf to be in the tree.
	ErrNotIncluded = errors.New("merkle: the proof does not show that the leaf is in the log")
	// ErrInconsistent says that a proof does not show one tree to go on from the other: two histories, or a bad proof.
	ErrInconsistent = errors.New("merkle: the proof does not show that the later log goes on from the earlier one")
)

// LeafHash returns the hash of a leaf.
func LeafHash(leaf []byte) Hash { return tlog.RecordHash(leaf) }

// EmptyRoot is the root of a log without leaves.
var EmptyRoot, _ = tlog.TreeHash(0, nil)

// ProveInclusion returns the proof that leaf i is in the tree of size, whose hashes r finds.
func ProveInclusion(r Reader, i Index, size Size) ([]Hash, error) {
	if size > MaxSize || Size(i) >= size {
		return nil, fmt.Errorf("merkle: no leaf %d in a log of %d", i, size)
	}
	p, err := tlog.ProveRecord(int64(size), int64(i), r)
	if err != nil {
		return nil, fmt.Errorf("merkle: prove leaf %d of %d: %w", i, size, err)
	}
	return p, nil
}

// ProveConsistency returns the proof that the tree of size to begins with the tree of size from. It is empty where from is 0
// or to.
func ProveConsistency(r Reader, from, to Size) ([]Hash, error) {
	if to > MaxSize || from > to {
		return nil, fmt.Errorf("merkle: a log of %d does not go on from one of %d", to, from)
	}
	if from == 0 || from == to {
		return nil, nil
	}
	p, err := tlog.ProveTree(int64(to), int64(from), r)
	if err != nil {
		return nil, fmt.Errorf("merkle: prove %d from %d: %w", to, from, err)
	}
	return p, nil
}

// CheckInclusion verifies that the leaf with a hash stands at i in the tree of size and root. The error is ErrNotIncluded.
func CheckInclusion(proof []Hash, i Index, leaf Hash, size Size, root Hash) error {
	if size > MaxSize || Size(i) >= size || tlog.CheckRecord(proof, int64(size), root, int64(i), leaf) != nil {
		return ErrNotIncluded
	}
	return nil
}

// CheckConsistency verifies that the tree of size to begins with the tree of size from. The error is ErrInconsistent.
func CheckConsistency(proof []Hash, from Size, fromRoot Hash, to Size, toRoot Hash) error {
	switch {
	case to > MaxSize || from > to:
		return ErrInconsistent
	case from == 0:
		if len(proof) != 0 || fromRoot != EmptyRoot {
			return ErrInconsistent
		}
		return nil
	case from == to:
		if len(proof) != 0 || fromRoot != toRoot {
			return ErrInconsistent
		}
		return nil
	}
	if tlog.CheckTree(proof, int64(to), toRoot, int64(from), fromRoot) != nil {
		return ErrInconsistent
	}
	return nil
}
