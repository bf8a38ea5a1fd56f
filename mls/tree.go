package mls

import (
	"errors"
	"fmt"
	"iter"
	"slices"
)

// ParentNode holds the key of a subgroup (Section 7.1). In a tree it is never written to.
type ParentNode struct {
	EncryptionKey EncryptionKey
	ParentHash    []byte
	// UnmergedLeaves are the leaves below that do not know the private key, in ascending order.
	UnmergedLeaves []LeafIndex
}

// MarshalMLS encodes.
func (p *ParentNode) MarshalMLS(w *Writer) { p.marshalWithout(w, nil) }

// marshalWithout encodes the node as if the given leaves did not exist.
func (p *ParentNode) marshalWithout(w *Writer, excluded []LeafIndex) {
	w.Opaque(p.EncryptionKey)
	w.Opaque(p.ParentHash)
	mark := w.Begin()
	for _, l := range p.UnmergedLeaves {
		if _, out := slices.BinarySearch(excluded, l); !out {
			w.Uint32(uint32(l))
		}
	}
	w.End(mark)
}

// UnmarshalMLS decodes.
func (p *ParentNode) UnmarshalMLS(r *Reader) {
	p.EncryptionKey = r.Opaque(maxSmall)
	p.ParentHash = r.Opaque(maxSmall)
	outer := r.Begin()
	for r.More() {
		if len(p.UnmergedLeaves) == maxList {
			r.Fail(errTooMany)
			break
		}
		p.UnmergedLeaves = append(p.UnmergedLeaves, LeafIndex(r.Uint32()))
	}
	r.End(outer)
}

// RatchetTree is the public view of a group's ratchet tree (Section 7). The number of its leaves is a power of two.
//
// Nodes are never changed in place but replaced, so that clones share them. A tree caches its hashes and is not for
// concurrent use, reading included.
type RatchetTree struct {
	suite   CipherSuite
	leaves  []*LeafNode   // by LeafIndex; nil is blank
	parents []*ParentNode // node 2i+1 at i; nil is blank
	hashes  [][]byte      // tree hash by NodeIndex; nil is not computed. A node's hash is known only if all below it are
}

// NewRatchetTree returns the tree of a group of one.
func NewRatchetTree(suite CipherSuite, founder *LeafNode) *RatchetTree {
	return &RatchetTree{suite: suite, leaves: []*LeafNode{founder}, hashes: make([][]byte, 1)}
}

// maxLeaves bounds a tree; the size of a message bounds it long before.
const maxLeaves = maxList

// ParseRatchetTree decodes the data of a ratchet_tree extension (Section 12.4.3.3) without the copy: nobody may write to
// b from then on. It checks the form only; Validate does the rest.
func ParseRatchetTree(suite CipherSuite, b []byte) (*RatchetTree, error) {
	t := &RatchetTree{suite: suite}
	if err := UnmarshalShared(b, t); err != nil {
		return nil, err
	}
	return t, nil
}

const (
	nodeLeaf   = 1
	nodeParent = 2
)

var (
	errNodeKind   = errors.New("leaf in the place of a parent, or the reverse")
	errTreeEmpty  = errors.New("ratchet tree has no leaf")
	errTreeTail   = errors.New("last node of the ratchet tree is blank")
	errTreeTooBig = errors.New("ratchet tree is too large")
)

// MarshalMLS encodes the data of a ratchet_tree extension: all nodes up to the last that is not blank.
func (t *RatchetTree) MarshalMLS(w *Writer) {
	n := len(t.leaves) + len(t.parents)
	for n > 0 && t.blank(NodeIndex(n-1)) {
		n--
	}
	mark := w.Begin()
	for i := range n {
		if i&1 == 0 {
			leaf := t.leaves[i>>1]
			w.Optional(leaf != nil)
			if leaf != nil {
				w.Uint8(nodeLeaf)
				leaf.MarshalMLS(w)
			}
			continue
		}
		parent := t.parents[i>>1]
		w.Optional(parent != nil)
		if parent != nil {
			w.Uint8(nodeParent)
			parent.MarshalMLS(w)
		}
	}
	w.End(mark)
}

// UnmarshalMLS decodes into t, whose suite stays.
func (t *RatchetTree) UnmarshalMLS(r *Reader) {
	var leaves []*LeafNode
	var parents []*ParentNode
	outer := r.Begin()
	last := false
	for i := 0; r.More(); i++ {
		if i > 2*maxLeaves-2 {
			r.Fail(errTreeTooBig)
			break
		}
		var leaf *LeafNode
		var parent *ParentNode
		if last = r.Optional(); last {
			switch kind := r.Uint8(); {
			case kind == nodeLeaf && i&1 == 0:
				leaf = new(LeafNode)
				leaf.UnmarshalMLS(r)
			case kind == nodeParent && i&1 == 1:
				parent = new(ParentNode)
				parent.UnmarshalMLS(r)
			default:
				r.Fail(errNodeKind)
			}
		}
		if i&1 == 0 {
			leaves = append(leaves, leaf)
		} else {
			parents = append(parents, parent)
		}
	}
	r.End(outer)
	switch {
	case r.Err() != nil:
		return
	case len(leaves) == 0:
		r.Fail(errTreeEmpty)
		return
	case !last:
		r.Fail(errTreeTail)
		return
	}
	size := 1
	for size < len(leaves) || size-1 < len(parents) {
		size *= 2
	}
	t.leaves = append(leaves, make([]*LeafNode, size-len(leaves))...)
	t.parents = append(parents, make([]*ParentNode, size-1-len(parents))...)
	t.hashes = make([][]byte, 2*size-1)
}

// Clone returns a copy that can be changed without touching t. Nodes and hashes are shared.
func (t *RatchetTree) Clone() *RatchetTree {
	return &RatchetTree{t.suite, slices.Clone(t.leaves), slices.Clone(t.parents), slices.Clone(t.hashes)}
}

// CipherSuite returns the suite of the tree.
func (t *RatchetTree) CipherSuite() CipherSuite { return t.suite }

// LeafCount is the number of leaves, blank ones included.
func (t *RatchetTree) LeafCount() LeafCount { return LeafCount(len(t.leaves)) }

// MemberCount is the number of leaves that are not blank.
func (t *RatchetTree) MemberCount() int {
	n := 0
	for _, l := range t.leaves {
		if l != nil {
			n++
		}
	}
	return n
}

// Leaf returns the leaf; nil if it is blank or not in the tree.
func (t *RatchetTree) Leaf(i LeafIndex) *LeafNode {
	if int64(i) >= int64(len(t.leaves)) {
		return nil
	}
	return t.leaves[i]
}

// Parent returns the parent node at n, an odd index; nil if it is blank or not in the tree.
func (t *RatchetTree) Parent(n NodeIndex) *ParentNode {
	if n.IsLeaf() || int64(n>>1) >= int64(len(t.parents)) {
		return nil
	}
	return t.parents[n>>1]
}

// EncryptionKey returns the public key of the node; nil if it is blank or not in the tree.
func (t *RatchetTree) EncryptionKey(n NodeIndex) EncryptionKey {
	if n.IsLeaf() {
		if l := t.Leaf(n.Leaf()); l != nil {
			return l.EncryptionKey
		}
	} else if p := t.Parent(n); p != nil {
		return p.EncryptionKey
	}
	return nil
}

func (t *RatchetTree) blank(n NodeIndex) bool {
	if n.IsLeaf() {
		return t.Leaf(n.Leaf()) == nil
	}
	return t.Parent(n) == nil
}

// Members runs over the leaves that are not blank, in ascending order.
func (t *RatchetTree) Members() iter.Seq2[LeafIndex, *LeafNode] {
	return func(yield func(LeafIndex, *LeafNode) bool) {
		for i, l := range t.leaves {
			if l != nil && !yield(LeafIndex(i), l) {
				return
			}
		}
	}
}

// FindSignatureKey returns the leaf that has the signature key.
func (t *RatchetTree) FindSignatureKey(key SignatureKey) (LeafIndex, bool) {
	for i, l := range t.Members() {
		if string(l.SignatureKey) == string(key) {
			return i, true
		}
	}
	return 0, false
}

// Resolution returns the smallest list of nodes that are not blank and cover all members below n (Section 4.1.1).
func (t *RatchetTree) Resolution(n NodeIndex) []NodeIndex {
	return t.appendResolution(nil, n)
}

func (t *RatchetTree) appendResolution(list []NodeIndex, n NodeIndex) []NodeIndex {
	if n.IsLeaf() {
		if t.Leaf(n.Leaf()) != nil {
			list = append(list, n)
		}
		return list
	}
	if p := t.Parent(n); p != nil {
		list = append(list, n)
		for _, l := range p.UnmergedLeaves {
			list = append(list, l.Node())
		}
		return list
	}
	left, _ := n.Left()
	right, _ := n.Right()
	return t.appendResolution(t.appendResolution(list, left), right)
}

// ResolutionWithout is Resolution less the given leaves, which are in any order: those that the same commit adds.
func (t *RatchetTree) ResolutionWithout(n NodeIndex, added []LeafIndex) []NodeIndex {
	return slices.DeleteFunc(t.Resolution(n), func(x NodeIndex) bool {
		return x.IsLeaf() && slices.Contains(added, x.Leaf())
	})
}

// empty tells whether the resolution of n is.
func (t *RatchetTree) empty(n NodeIndex) bool {
	if !t.blank(n) {
		return false
	}
	first, end := n.Leaves()
	for _, l := range t.leaves[first:end] {
		if l != nil {
			return false
		}
	}
	return true
}

// FilteredDirectPath returns the ancestors of leaf that an update path has keys for, from the bottom, and for each its
// child that does not lie on the direct path (Section 4.1.2). leaf itself may be blank.
func (t *RatchetTree) FilteredDirectPath(leaf LeafIndex) (path, copath []NodeIndex) {
	n := leaf.Node()
	size := t.LeafCount()
	for p, ok := size.Parent(n); ok; p, ok = size.Parent(n) {
		sibling, _ := size.Sibling(n)
		if !t.empty(sibling) {
			path = append(path, p)
			copath = append(copath, sibling)
		}
		n = p
	}
	return path, copath
}

// touch forgets the hashes that the node enters.
func (t *RatchetTree) touch(n NodeIndex) {
	t.hashes[n] = nil
	size := t.LeafCount()
	for p, ok := size.Parent(n); ok; p, ok = size.Parent(p) {
		t.hashes[p] = nil
	}
}

// blankPath blanks the ancestors of the leaf.
func (t *RatchetTree) blankPath(i LeafIndex) {
	size := t.LeafCount()
	for p, ok := size.Parent(i.Node()); ok; p, ok = size.Parent(p) {
		t.parents[p>>1] = nil
	}
	t.touch(i.Node())
}

// FreeLeaf returns the leftmost blank leaf, extending the tree if there is none (Section 7.7). This is where the next
// member goes.
func (t *RatchetTree) FreeLeaf() LeafIndex {
	if i := slices.Index(t.leaves, nil); i >= 0 {
		return LeafIndex(i)
	}
	n := len(t.leaves)
	t.leaves = append(t.leaves, make([]*LeafNode, n)...)
	t.parents = append(t.parents, make([]*ParentNode, n)...)
	t.hashes = append(t.hashes, make([][]byte, 2*n)...)
	return LeafIndex(n)
}

// Add puts a new member at the leftmost blank leaf, unmerged at all ancestors (Section 12.1.1).
func (t *RatchetTree) Add(leaf *LeafNode) LeafIndex {
	i := t.FreeLeaf()
	t.leaves[i] = leaf
	size := t.LeafCount()
	for n, ok := size.Parent(i.Node()); ok; n, ok = size.Parent(n) {
		p := t.parents[n>>1]
		if p == nil {
			continue
		}
		q := *p
		at, _ := slices.BinarySearch(p.UnmergedLeaves, i)
		q.UnmergedLeaves = make([]LeafIndex, 0, len(p.UnmergedLeaves)+1)
		q.UnmergedLeaves = append(append(append(q.UnmergedLeaves, p.UnmergedLeaves[:at]...), i), p.UnmergedLeaves[at:]...)
		t.parents[n>>1] = &q
	}
	t.touch(i.Node())
	return i
}

// Update replaces the leaf and blanks its ancestors (Section 12.1.2).
func (t *RatchetTree) Update(i LeafIndex, leaf *LeafNode) {
	t.leaves[i] = leaf
	t.blankPath(i)
}

// Remove blanks the leaf and its ancestors and truncates the tree (Section 12.1.3).
func (t *RatchetTree) Remove(i LeafIndex) {
	t.leaves[i] = nil
	t.blankPath(i)
	n := len(t.leaves)
	for n > 1 && slices.IndexFunc(t.leaves[n/2:n], func(l *LeafNode) bool { return l != nil }) < 0 {
		n /= 2
	}
	if n < len(t.leaves) {
		t.leaves = slices.Clip(t.leaves[:n])
		t.parents = slices.Clip(t.parents[:n-1])
		t.hashes = slices.Clip(t.hashes[:2*n-1])
	}
}

// SetLeaf replaces the leaf and nothing else; for a committer, after SetPath.
func (t *RatchetTree) SetLeaf(i LeafIndex, leaf *LeafNode) {
	t.leaves[i] = leaf
	t.touch(i.Node())
}

// SetPath blanks the ancestors of leaf and gives those on its filtered direct path the new keys, one for each, from the
// bottom, with their parent hashes. It returns the parent hash that the new leaf must carry: empty if the path is
// (Sections 7.5 and 7.9).
func (t *RatchetTree) SetPath(leaf LeafIndex, keys []EncryptionKey) (leafParentHash []byte, err error) {
	path, copath := t.FilteredDirectPath(leaf)
	if len(path) != len(keys) {
		return nil, fmt.Errorf("mls: update path has %d nodes where the filtered direct path has %d", len(keys), len(path))
	}
	t.blankPath(leaf)
	// From the root down: each hash covers the one above. The siblings are not on the path, so their hashes stand.
	hash := []byte{}
	for i := len(path) - 1; i >= 0; i-- {
		p := &ParentNode{EncryptionKey: keys[i], ParentHash: hash}
		t.parents[path[i]>>1] = p
		hash = t.parentHash(p, copath[i])
	}
	t.touch(leaf.Node())
	return hash, nil
}
