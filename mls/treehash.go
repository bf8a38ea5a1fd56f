package mls

import "slices"

// TreeHash returns the tree hash of the root (Section 7.8). Only what changed since the last call is computed.
func (t *RatchetTree) TreeHash() []byte {
	var w Writer
	return t.nodeHash(&w, t.LeafCount().Root())
}

// nodeHash returns the tree hash of n. w is scratch.
func (t *RatchetTree) nodeHash(w *Writer, n NodeIndex) []byte {
	if h := t.hashes[n]; h != nil {
		return h
	}
	var left, right []byte
	if !n.IsLeaf() {
		l, _ := n.Left()
		r, _ := n.Right()
		left, right = t.nodeHash(w, l), t.nodeHash(w, r)
	}
	h := t.hashNode(w, n, left, right, nil)
	t.hashes[n] = h
	return h
}

// hashNode hashes the TreeHashInput of n as if the excluded leaves, which are in ascending order, did not exist.
func (t *RatchetTree) hashNode(w *Writer, n NodeIndex, left, right []byte, excluded []LeafIndex) []byte {
	w.Reset()
	if n.IsLeaf() {
		leaf := t.leaves[n.Leaf()]
		if _, out := slices.BinarySearch(excluded, n.Leaf()); out {
			leaf = nil
		}
		w.Uint8(nodeLeaf)
		w.Uint32(uint32(n.Leaf()))
		w.Optional(leaf != nil)
		if leaf != nil {
			leaf.MarshalMLS(w)
		}
		return t.suite.Hash(w.buf)
	}
	parent := t.parents[n>>1]
	w.Uint8(nodeParent)
	w.Optional(parent != nil)
	if parent != nil {
		parent.marshalWithout(w, excluded)
	}
	w.Opaque(left)
	w.Opaque(right)
	return t.suite.Hash(w.buf)
}

// hashWithout returns the tree hash of n as if the excluded leaves, in ascending order, did not exist. What none of them
// lies below comes from the cache.
func (t *RatchetTree) hashWithout(w *Writer, n NodeIndex, excluded []LeafIndex) []byte {
	excluded = within(n, excluded)
	if len(excluded) == 0 {
		return t.nodeHash(w, n)
	}
	var left, right []byte
	if !n.IsLeaf() {
		l, _ := n.Left()
		r, _ := n.Right()
		left, right = t.hashWithout(w, l, excluded), t.hashWithout(w, r, excluded)
	}
	return t.hashNode(w, n, left, right, excluded)
}

// within returns the leaves of the ascending list that lie below n.
func within(n NodeIndex, list []LeafIndex) []LeafIndex {
	first, end := n.Leaves()
	i, _ := slices.BinarySearch(list, first)
	j, _ := slices.BinarySearch(list, end)
	return list[i:j]
}

// parentHash returns the parent hash of p with its child sibling as copath child (Section 7.9).
func (t *RatchetTree) parentHash(p *ParentNode, sibling NodeIndex) []byte {
	var w Writer
	original := t.hashWithout(&w, sibling, p.UnmergedLeaves)
	w.Reset()
	w.Opaque(p.EncryptionKey)
	w.Opaque(p.ParentHash)
	w.Opaque(original)
	return t.suite.Hash(w.buf)
}
