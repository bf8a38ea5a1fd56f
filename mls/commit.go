package mls

// UpdatePathNode is the new key of a node on the committer's path, and its path secret for those below the other child
// (Section 7.6).
type UpdatePathNode struct {
	EncryptionKey EncryptionKey
	// EncryptedPathSecret has one ciphertext for each node of the resolution of the copath node, less new leaves, in
	// that order.
	EncryptedPathSecret []HPKECiphertext
}

// MarshalMLS encodes.
func (n UpdatePathNode) MarshalMLS(w *Writer) {
	w.Opaque(n.EncryptionKey)
	mark := w.Begin()
	for i := range n.EncryptedPathSecret {
		n.EncryptedPathSecret[i].MarshalMLS(w)
	}
	w.End(mark)
}

// UnmarshalMLS decodes.
func (n *UpdatePathNode) UnmarshalMLS(r *Reader) {
	n.EncryptionKey = r.Opaque(maxSmall)
	outer := r.Begin()
	for r.More() {
		if len(n.EncryptedPathSecret) == maxList {
			r.Fail(errTooMany)
			break
		}
		var c HPKECiphertext
		c.UnmarshalMLS(r)
		n.EncryptedPathSecret = append(n.EncryptedPathSecret, c)
	}
	r.End(outer)
}

// UpdatePath renews the keys from a leaf to the root (Section 7.6).
type UpdatePath struct {
	LeafNode *LeafNode
	// Nodes stand for the leaf's filtered direct path, from the bottom.
	Nodes []UpdatePathNode
}

// MarshalMLS encodes.
func (p *UpdatePath) MarshalMLS(w *Writer) {
	p.LeafNode.MarshalMLS(w)
	mark := w.Begin()
	for i := range p.Nodes {
		p.Nodes[i].MarshalMLS(w)
	}
	w.End(mark)
}

// UnmarshalMLS decodes.
func (p *UpdatePath) UnmarshalMLS(r *Reader) {
	p.LeafNode = new(LeafNode)
	p.LeafNode.UnmarshalMLS(r)
	outer := r.Begin()
	for r.More() {
		// No tree is higher than 32 levels.
		if len(p.Nodes) == 32 {
			r.Fail(errTooMany)
			break
		}
		var n UpdatePathNode
		n.UnmarshalMLS(r)
		p.Nodes = append(p.Nodes, n)
	}
	r.End(outer)
}

// Commit applies proposals and begins a new epoch (Section 12.4).
type Commit struct {
	Proposals []ProposalOrRef
	Path      *UpdatePath // nil if there is none
}

// MarshalMLS encodes.
func (c *Commit) MarshalMLS(w *Writer) {
	mark := w.Begin()
	for i := range c.Proposals {
		c.Proposals[i].MarshalMLS(w)
	}
	w.End(mark)
	w.Optional(c.Path != nil)
	if c.Path != nil {
		c.Path.MarshalMLS(w)
	}
}

// UnmarshalMLS decodes.
func (c *Commit) UnmarshalMLS(r *Reader) {
	outer := r.Begin()
	for r.More() {
		if len(c.Proposals) == maxList {
			r.Fail(errTooMany)
			break
		}
		var p ProposalOrRef
		p.UnmarshalMLS(r)
		c.Proposals = append(c.Proposals, p)
	}
	r.End(outer)
	if r.Optional() {
		c.Path = new(UpdatePath)
		c.Path.UnmarshalMLS(r)
	}
}
