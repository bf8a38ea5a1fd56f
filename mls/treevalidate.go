package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

var (
	errTreeHash      = errors.New("mls: tree hash is not that of the group context")
	errParentHash    = errors.New("mls: parent node is not parent-hash valid")
	errUnmerged      = errors.New("mls: unmerged leaves of a parent node are invalid")
	errDuplicateKey  = errors.New("mls: key stands twice in the ratchet tree")
	errSameClient    = errors.New("mls: client stands twice in the ratchet tree")
	errNotMember     = errors.New("mls: leaf is blank or not in the ratchet tree")
	errEncryptionKey = errors.New("mls: encryption key has the wrong size")
)

// CheckJoin validates all that somebody who joins is told of a group (Sections 12.4.3.1 and 12.4.3.2): the signature of
// the GroupInfo, its context, and the tree with every leaf. It cannot check the confirmation tag. It must be called with
// a tree of the GroupInfo's suite.
func (r *Rules) CheckJoin(info *GroupInfo, tree *RatchetTree, now time.Time) error {
	checks, err := r.checkGroupInfo(info, tree)
	if err != nil {
		return err
	}
	treeChecks, err := r.checkTree(tree, info.GroupContext, now)
	if err != nil {
		return err
	}
	if err := r.VerifySignatures(append(checks, treeChecks...)...); err != nil {
		return fmt.Errorf("mls: join: %w", err)
	}
	return nil
}

// CheckGroupInfo validates the GroupInfo's form, and its signature against a tree that is known to be good.
func (r *Rules) CheckGroupInfo(info *GroupInfo, tree *RatchetTree) error {
	checks, err := r.checkGroupInfo(info, tree)
	if err != nil {
		return err
	}
	if err := r.VerifySignatures(checks...); err != nil {
		return fmt.Errorf("mls: group info: %w", err)
	}
	return nil
}

func (r *Rules) checkGroupInfo(info *GroupInfo, tree *RatchetTree) ([]SignatureCheck, error) {
	if err := info.checkForm(); err != nil {
		return nil, err
	}
	if tree == nil {
		return nil, errIncomplete
	}
	ctx := info.GroupContext
	if ctx.Version != MLS10 {
		return nil, errors.New("mls: group has another protocol version")
	}
	if !ctx.CipherSuite.Supported() {
		return nil, errSuite
	}
	if tree.suite != ctx.CipherSuite {
		return nil, errors.New("mls: ratchet tree is of another cipher suite")
	}
	if err := info.Extensions.checkUnique(); err != nil {
		return nil, err
	}
	signer := tree.Leaf(info.Signer)
	if signer == nil {
		return nil, errNotMember
	}
	return []SignatureCheck{info.SignatureCheck(signer.SignatureKey)}, nil
}

// CheckTree validates a tree against the context of its group: hashes, parent hashes, unmerged leaves, and every leaf.
func (r *Rules) CheckTree(tree *RatchetTree, ctx *GroupContext, now time.Time) error {
	checks, err := r.checkTree(tree, ctx, now)
	if err != nil {
		return err
	}
	if err := r.VerifySignatures(checks...); err != nil {
		return fmt.Errorf("mls: ratchet tree: %w", err)
	}
	return nil
}

// checkTree returns the signatures that remain to be verified.
func (r *Rules) checkTree(tree *RatchetTree, ctx *GroupContext, now time.Time) ([]SignatureCheck, error) {
	if tree == nil {
		return nil, errIncomplete
	}
	if err := ctx.checkForm(); err != nil {
		return nil, err
	}
	if !ctx.CipherSuite.Supported() || tree.suite != ctx.CipherSuite {
		return nil, errSuite
	}
	if err := ctx.Extensions.checkUnique(); err != nil {
		return nil, err
	}
	if !bytes.Equal(tree.TreeHash(), ctx.TreeHash) {
		return nil, errTreeHash
	}
	if err := tree.CheckStructure(); err != nil {
		return nil, err
	}
	required, err := ctx.Extensions.RequiredCapabilities()
	if err != nil {
		return nil, err
	}
	if err := r.verifyExternalSenders(nil, ctx, now); err != nil {
		return nil, err
	}
	if err := checkCredentialTypes(tree); err != nil {
		return nil, err
	}
	if err := r.checkClients(tree); err != nil {
		return nil, err
	}
	checks := make([]SignatureCheck, 0, tree.MemberCount()+1)
	for i, l := range tree.Members() {
		if err := checkGroup(l, ctx, required); err != nil {
			return nil, err
		}
		if err := r.checkTreeLifetime(l, now); err != nil {
			return nil, err
		}
		check := LeafCheck{Occasion: OccasionTree, Leaf: l, Index: i, Group: ctx, Now: now}
		if err := r.verifyLeaf(check); err != nil {
			return nil, err
		}
		checks = append(checks, l.SignatureCheck(ctx.CipherSuite, ctx.GroupID, i))
	}
	return checks, nil
}

// checkClients makes sure that no two members stand for one client.
func (r *Rules) checkClients(t *RatchetTree) error {
	seen := make(map[string]struct{}, len(t.leaves))
	for _, l := range t.Members() {
		name := r.cfg.Verifier.Client(l)
		if name == "" {
			continue
		}
		if _, twice := seen[name]; twice {
			return errSameClient
		}
		seen[name] = struct{}{}
	}
	return nil
}

// CheckStructure validates what needs no context: sizes and uniqueness of keys, unmerged leaves, and the parent hash of
// every node (Sections 7.9.2 and 12.4.3.1).
func (t *RatchetTree) CheckStructure() error {
	if err := t.checkUniqueKeys(); err != nil {
		return err
	}
	// The lists of unmerged leaves must be known to be sorted before they are searched in what follows.
	for i, p := range t.parents {
		if p != nil && !t.unmergedInOrder(NodeIndex(2*i+1), p) {
			return errUnmerged
		}
	}
	for i, p := range t.parents {
		if p != nil && !t.unmergedBetween(NodeIndex(2*i+1), p) {
			return errUnmerged
		}
	}
	for i, p := range t.parents {
		if p == nil {
			continue
		}
		n := NodeIndex(2*i + 1)
		left, _ := n.Left()
		right, _ := n.Right()
		if t.parentHashMatches(p, left, right) == t.parentHashMatches(p, right, left) {
			return errParentHash
		}
	}
	return nil
}

// unmergedInOrder tells whether the unmerged leaves of p, at n, are ascending members below n.
func (t *RatchetTree) unmergedInOrder(n NodeIndex, p *ParentNode) bool {
	first, end := n.Leaves()
	for i, l := range p.UnmergedLeaves {
		if i > 0 && l <= p.UnmergedLeaves[i-1] || l < first || l >= end || t.leaves[l] == nil {
			return false
		}
	}
	return true
}

// unmergedBetween tells whether the leaves that are unmerged at p, at n, are so at every node between, too.
func (t *RatchetTree) unmergedBetween(n NodeIndex, p *ParentNode) bool {
	size := t.LeafCount()
	for _, l := range p.UnmergedLeaves {
		for q, ok := size.Parent(l.Node()); ok && q != n; q, ok = size.Parent(q) {
			if between := t.parents[q>>1]; between != nil {
				if _, in := slices.BinarySearch(between.UnmergedLeaves, l); !in {
					return false
				}
			}
		}
	}
	return true
}

// parentHashMatches tells whether a node below child carries the parent hash of p, with sibling as copath child, and is
// all that remains of child's resolution without p's unmerged leaves (Section 7.9.2).
func (t *RatchetTree) parentHashMatches(p *ParentNode, child, sibling NodeIndex) bool {
	unmerged := within(child, p.UnmergedLeaves)
	resolution := t.Resolution(child)
	if len(resolution) != len(unmerged)+1 {
		return false
	}
	var rest NodeIndex
	found := false
	for _, n := range resolution {
		if n.IsLeaf() {
			if _, ok := slices.BinarySearch(unmerged, n.Leaf()); ok {
				continue
			}
		}
		if found {
			return false
		}
		rest, found = n, true
	}
	if !found {
		return false
	}
	var carried []byte
	if rest.IsLeaf() {
		l := t.leaves[rest.Leaf()]
		if l.Source != LeafFromCommit {
			return false
		}
		carried = l.ParentHash
	} else {
		carried = t.parents[rest>>1].ParentHash
	}
	return bytes.Equal(carried, t.parentHash(p, sibling))
}

// checkUniqueKeys makes sure that no encryption key and no signature key stands twice.
func (t *RatchetTree) checkUniqueKeys() error {
	size := t.suite.encryptionKeySize()
	encryption := make(map[string]struct{}, len(t.leaves)+len(t.parents))
	signature := make(map[string]struct{}, len(t.leaves))
	add := func(set map[string]struct{}, key []byte) bool {
		n := len(set)
		set[string(key)] = struct{}{}
		return len(set) > n
	}
	for _, l := range t.leaves {
		if l == nil {
			continue
		}
		if len(l.EncryptionKey) != size {
			return errEncryptionKey
		}
		if !add(encryption, l.EncryptionKey) || !add(signature, l.SignatureKey) {
			return errDuplicateKey
		}
	}
	for _, p := range t.parents {
		if p == nil {
			continue
		}
		if len(p.EncryptionKey) != size {
			return errEncryptionKey
		}
		if !add(encryption, p.EncryptionKey) {
			return errDuplicateKey
		}
	}
	return nil
}

// usesEncryptionKey tells whether any node has the key.
func (t *RatchetTree) usesEncryptionKey(key EncryptionKey) bool {
	for _, l := range t.leaves {
		if l != nil && bytes.Equal(l.EncryptionKey, key) {
			return true
		}
	}
	for _, p := range t.parents {
		if p != nil && bytes.Equal(p.EncryptionKey, key) {
			return true
		}
	}
	return false
}
