package mls

import "math/bits"

// The array representation of a left-balanced binary tree (Appendix C): leaf i is node 2i, parents are odd. Trees here
// are always full: the number of leaves is a power of two, or zero.

// LeafIndex numbers the leaves of a ratchet tree from the left, from 0.
type LeafIndex uint32

// NodeIndex numbers the nodes of a ratchet tree in order, from 0.
type NodeIndex uint32

// LeafCount is a number of leaves; that of a tree is a power of two, or zero.
type LeafCount uint32

// Node returns the node of the leaf.
func (l LeafIndex) Node() NodeIndex { return NodeIndex(2 * l) }

// IsLeaf tells whether the node is a leaf.
func (n NodeIndex) IsLeaf() bool { return n&1 == 0 }

// Leaf returns the leaf of an even node.
func (n NodeIndex) Leaf() LeafIndex { return LeafIndex(n >> 1) }

// Level is the height of the node: 0 for a leaf.
func (n NodeIndex) Level() uint { return uint(bits.TrailingZeros32(^uint32(n))) }

// Left returns the left child; ok is false for a leaf.
func (n NodeIndex) Left() (left NodeIndex, ok bool) {
	k := n.Level()
	if k == 0 {
		return n, false
	}
	return n ^ 1<<(k-1), true
}

// Right returns the right child; ok is false for a leaf.
func (n NodeIndex) Right() (right NodeIndex, ok bool) {
	k := n.Level()
	if k == 0 {
		return n, false
	}
	return n ^ 3<<(k-1), true
}

// NodeCount is the number of nodes of a tree with c leaves.
func (c LeafCount) NodeCount() uint32 {
	if c == 0 {
		return 0
	}
	return 2*uint32(c) - 1
}

// Root returns the root of a tree with c > 0 leaves.
func (c LeafCount) Root() NodeIndex { return NodeIndex(c - 1) }

// Contains tells whether the node exists in a tree with c leaves.
func (c LeafCount) Contains(n NodeIndex) bool { return uint32(n) < c.NodeCount() }

// Parent returns the parent of n in a tree with c leaves; ok is false for the root.
func (c LeafCount) Parent(n NodeIndex) (parent NodeIndex, ok bool) {
	if n == c.Root() {
		return n, false
	}
	k := n.Level()
	b := (n >> (k + 1)) & 1
	return (n | 1<<k) ^ b<<(k+1), true
}

// Sibling returns the other child of n's parent; ok is false for the root.
func (c LeafCount) Sibling(n NodeIndex) (sibling NodeIndex, ok bool) {
	if n == c.Root() {
		return n, false
	}
	return n ^ 1<<(n.Level()+1), true
}

// DirectPath returns the ancestors of n from its parent up to the root; empty for the root itself.
func (c LeafCount) DirectPath(n NodeIndex) []NodeIndex {
	if !c.Contains(n) {
		return nil
	}
	path := make([]NodeIndex, 0, c.Root().Level()-n.Level())
	for p, ok := c.Parent(n); ok; p, ok = c.Parent(p) {
		path = append(path, p)
	}
	return path
}

// Copath returns the siblings of n and of its ancestors below the root, from the bottom.
func (c LeafCount) Copath(n NodeIndex) []NodeIndex {
	if !c.Contains(n) {
		return nil
	}
	path := make([]NodeIndex, 0, c.Root().Level()-n.Level())
	for s, ok := c.Sibling(n); ok; s, ok = c.Sibling(n) {
		path = append(path, s)
		n, _ = c.Parent(n)
	}
	return path
}

// IsAncestor tells whether a lies above d. A node is not its own ancestor.
func (a NodeIndex) IsAncestor(d NodeIndex) bool {
	k := a.Level()
	return a != d && d.Level() < k && d>>(k+1) == a>>(k+1)
}

// CommonAncestor returns the lowest node that is x or y or an ancestor of both.
func CommonAncestor(x, y NodeIndex) NodeIndex {
	if x == y || x.IsAncestor(y) {
		return x
	}
	if y.IsAncestor(x) {
		return y
	}
	// The ancestor at level k-1 keeps the bits from k up and ends in 0 followed by k-1 ones.
	k := uint(bits.Len32(uint32(x ^ y)))
	return (x>>k)<<k | (1<<(k-1) - 1)
}

// Leaves returns the half-open range of leaves below n, itself included if it is a leaf.
func (n NodeIndex) Leaves() (first, end LeafIndex) {
	k := n.Level()
	first = LeafIndex((n >> (k + 1)) << k)
	return first, first + 1<<k
}
