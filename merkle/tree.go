package merkle

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree is a log's hashes in memory: 64 bytes a leaf. The zero value is the empty log. It is not safe for concurrent use.
type Tree struct {
	hashes []Hash // in the order of tlog.StoredHashIndex
	size   Size
}

// Append adds a leaf at the end and returns its place.
func (t *Tree) Append(leaf []byte) Index { return t.AppendHash(LeafHash(leaf)) }

// AppendHash is Append for a leaf whose hash is known.
func (t *Tree) AppendHash(leaf Hash) Index {
	i := Index(t.size)
	hashes, err := tlog.StoredHashesForRecordHash(int64(i), leaf, t)
	if err != nil {
		panic("merkle: a tree misses hashes of its own: " + err.Error())
	}
	t.hashes = append(t.hashes, hashes...)
	t.size++
	return i
}

// Size returns how many leaves there are.
func (t *Tree) Size() Size { return t.size }

// Root returns the root over all leaves.
func (t *Tree) Root() Hash {
	h, _ := t.RootAt(t.size)
	return h
}

// RootAt returns the root that the log had at an earlier size. It fails if it never had it.
func (t *Tree) RootAt(size Size) (Hash, error) {
	if size > t.size {
		return Hash{}, fmt.Errorf("merkle: the log has %d leaves, not %d", t.size, size)
	}
	return tlog.TreeHash(int64(size), t)
}

// Inclusion returns the proof that leaf i is in the log as it was at size.
func (t *Tree) Inclusion(i Index, size Size) ([]Hash, error) {
	if size > t.size {
		return nil, fmt.Errorf("merkle: the log has %d leaves, not %d", t.size, size)
	}
	return ProveInclusion(t, i, size)
}

// Consistency returns the proof that the log at size to goes on from the log at size from.
func (t *Tree) Consistency(from, to Size) ([]Hash, error) {
	if to > t.size {
		return nil, fmt.Errorf("merkle: the log has %d leaves, not %d", t.size, to)
	}
	return ProveConsistency(t, from, to)
}

// ReadHashes implements Reader.
func (t *Tree) ReadHashes(indexes []int64) ([]Hash, error) {
	out := make([]Hash, len(indexes))
	for k, i := range indexes {
		if i < 0 || i >= int64(len(t.hashes)) {
			return nil, fmt.Errorf("merkle: there is no hash %d yet", i)
		}
		out[k] = t.hashes[i]
	}
	return out, nil
}
