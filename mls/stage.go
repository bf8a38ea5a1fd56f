package mls

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// CommittedProposal is a proposal that a commit covers, with its sender: the committer for one by value.
type CommittedProposal struct {
	Proposal Proposal
	Sender   Sender
	Ref      ProposalRef // nil for one by value
}

// Staged is what a commit makes of a state, before secrets come into play. Nothing of it is shared with the old State but
// nodes, which nobody writes to.
type Staged struct {
	Proposals []CommittedProposal
	// Provisional is the group context of Section 12.4.1, to which path secrets are encrypted: epoch, extensions and
	// (once the path is merged) tree hash are new, the confirmed transcript hash is old.
	Provisional *GroupContext
	// Context is the group context of the new epoch; nil before Confirm.
	Context *GroupContext
	Tree    *RatchetTree
	// Committer is the committer's leaf: for an external commit the new one.
	Committer LeafIndex
	// External tells that the committer joins by this commit.
	External bool
	// Added are the leaves of new members, in the order of the Add proposals, less the committer of an external commit.
	Added []LeafIndex
	// Updated and Removed are leaves in the old tree. A removed leaf may be taken by a new member of the same commit.
	Updated, Removed []LeafIndex
	// PSKs are in the order of their proposals.
	PSKs         []PreSharedKeyID
	ExternalInit *ExternalInit // set if External
	ReInit       *ReInit       // set if the commit closes the group

	// PathRequired tells that the proposals demand a path.
	PathRequired bool
	// Path is nil if there is none, or as long as none is merged.
	Path *UpdatePath
	// PathNodes and Copath are the committer's filtered direct path and, for each node of it, the resolution its path
	// secret is encrypted to. They are set by MergePath; a committer calls PreparePath.
	PathNodes []NodeIndex
	Copath    [][]NodeIndex

	before *State
}

// StageProposals validates a list of proposals (Section 12.2) and applies it to the state (Section 12.3). committer is
// the sender of the commit. Proposals that carry a Ref must come from CheckProposal in this epoch: their signatures are
// not verified again. A committer goes on with PreparePath, SetPath, SetLeaf, Confirm and State.
func (r *Rules) StageProposals(s *State, committer Sender, list []CommittedProposal, now time.Time) (*Staged, error) {
	g, checks, err := r.stageProposals(s, committer, list, now)
	if err != nil {
		return nil, err
	}
	if err := r.VerifySignatures(checks...); err != nil {
		return nil, fmt.Errorf("mls: proposal: %w", err)
	}
	return g, nil
}

func (r *Rules) stageProposals(s *State, committer Sender, list []CommittedProposal, now time.Time) (*Staged, []SignatureCheck, error) {
	if s.ReInit != nil {
		return nil, nil, ErrClosed
	}
	for i := range list {
		if err := CheckForm(list[i].Proposal); err != nil {
			return nil, nil, err
		}
	}
	g := &Staged{
		Proposals: list, before: s, External: committer.Type == SenderNewMemberCommit, Committer: committer.Leaf,
		Provisional: s.Context.Clone(), Tree: s.Tree.Clone(), PathRequired: len(list) == 0,
	}
	g.Provisional.Epoch++
	if err := g.checkList(committer); err != nil {
		return nil, nil, err
	}
	var extensions *GroupContextExtensions
	for i := range list {
		if p, ok := list[i].Proposal.(*GroupContextExtensions); ok {
			extensions = p
			g.Provisional.Extensions = p.Extensions
		}
	}
	if extensions != nil {
		if err := checkContextExtensions(extensions.Extensions); err != nil {
			return nil, nil, err
		}
	}
	required, err := g.Provisional.Extensions.RequiredCapabilities()
	if err != nil {
		return nil, nil, err
	}
	pc := proposalCheck{r, s, g.Provisional, required, now}
	var checks []SignatureCheck
	for i := range list {
		more, err := pc.check(list[i].Proposal, list[i].Sender)
		if err != nil {
			return nil, nil, err
		}
		if list[i].Ref == nil {
			checks = append(checks, more...)
		}
	}
	g.apply()
	if g.External {
		g.Committer = g.Tree.FreeLeaf()
	}
	if err := g.checkChanged(r, required, now); err != nil {
		return nil, nil, err
	}
	if extensions != nil {
		if err := r.verifyExternalSenders(s.Context, g.Provisional, now); err != nil {
			return nil, nil, err
		}
	}
	return g, checks, nil
}

var errPathMissing = errors.New("mls: commit has no path where it needs one")

// checkList applies Section 12.2 to the list as such.
func (g *Staged) checkList(committer Sender) error {
	if err := checkPSKs(g.Proposals); err != nil {
		return err
	}
	if g.External {
		return checkExternalList(g.Proposals)
	}
	if committer.Type != SenderMember || g.before.Tree.Leaf(committer.Leaf) == nil {
		return errNotMember
	}
	return checkMemberList(g.Proposals, committer.Leaf)
}

// checkExternalList applies Section 12.2 to the list of an external commit.
func checkExternalList(list []CommittedProposal) error {
	var inits, removes int
	for i := range list {
		if list[i].Ref != nil {
			return errors.New("mls: external commit has a proposal by reference")
		}
		switch list[i].Proposal.(type) {
		case *ExternalInit:
			inits++
		case *Remove:
			removes++
		case *PreSharedKey:
		default:
			return errors.New("mls: external commit has a proposal of a kind that is not permitted in it")
		}
	}
	if inits != 1 {
		return errors.New("mls: external commit needs exactly one external init")
	}
	if removes > 1 {
		return errors.New("mls: external commit has more than one remove")
	}
	return nil
}

// checkPSKs makes sure that no two proposals name the very same PSK identifier, nonce included.
func checkPSKs(list []CommittedProposal) error {
	seen := make(map[string]struct{})
	for i := range list {
		p, ok := list[i].Proposal.(*PreSharedKey)
		if !ok {
			continue
		}
		id := string(Marshal(p.PSK))
		if _, twice := seen[id]; twice {
			return errors.New("mls: commit has one PSK twice")
		}
		seen[id] = struct{}{}
	}
	return nil
}

// checkMemberList applies Section 12.2 to the list of a member's commit, less what is left for checkChanged.
func checkMemberList(list []CommittedProposal, committer LeafIndex) error {
	touched := make(map[LeafIndex]struct{})
	touch := func(l LeafIndex) error {
		if _, twice := touched[l]; twice {
			return errors.New("mls: commit updates or removes one leaf twice")
		}
		touched[l] = struct{}{}
		return nil
	}
	extensions := false
	for i := range list {
		switch p := list[i].Proposal.(type) {
		case *Update:
			if list[i].Sender.Type != SenderMember || list[i].Sender.Leaf == committer {
				return errors.New("mls: commit has an update of the committer")
			}
			if err := touch(list[i].Sender.Leaf); err != nil {
				return err
			}
		case *Remove:
			if p.Removed == committer {
				return errors.New("mls: commit removes the committer")
			}
			if err := touch(p.Removed); err != nil {
				return err
			}
		case *GroupContextExtensions:
			if extensions {
				return errors.New("mls: commit has more than one group context extensions proposal")
			}
			extensions = true
		case *ReInit:
			if len(list) > 1 {
				return errors.New("mls: commit has a reinitialization beside other proposals")
			}
		case *ExternalInit:
			return errors.New("mls: external init outside of an external commit")
		}
	}
	return nil
}

// apply applies the proposals in the order of Section 12.3. Extensions are in the context already.
func (g *Staged) apply() {
	for i := range g.Proposals {
		if p, ok := g.Proposals[i].Proposal.(*Update); ok {
			leaf := g.Proposals[i].Sender.Leaf
			g.Tree.Update(leaf, p.LeafNode.Compact())
			g.Updated = append(g.Updated, leaf)
			g.PathRequired = true
		}
	}
	for i := range g.Proposals {
		switch p := g.Proposals[i].Proposal.(type) {
		case *Remove:
			g.Tree.Remove(p.Removed)
			g.Removed = append(g.Removed, p.Removed)
			g.PathRequired = true
		case *GroupContextExtensions:
			g.PathRequired = true
		case *ExternalInit:
			g.ExternalInit = p
			g.PathRequired = true
		case *PreSharedKey:
			g.PSKs = append(g.PSKs, p.PSK)
		case *ReInit:
			g.ReInit = p
		}
	}
	for i := range g.Proposals {
		if p, ok := g.Proposals[i].Proposal.(*Add); ok {
			g.Added = append(g.Added, g.Tree.Add(p.KeyPackage.LeafNode.Compact()))
		}
	}
}

// checkChanged validates the tree after the proposals, as far as they changed it: keys and clients are unique,
// credential types and capabilities fit, and the Verifier accepts the leaves that came in.
func (g *Staged) checkChanged(r *Rules, required *RequiredCapabilities, now time.Time) error {
	// A change of extensions concerns every member, any other change only the leaves it brings. The committer's leaf is
	// replaced by the path that such a commit needs: checkPathLeaf looks at the new one.
	if !g.Provisional.Extensions.Equal(g.before.Context.Extensions) {
		for i, l := range g.Tree.Members() {
			if i == g.Committer {
				continue
			}
			if err := l.CheckGroupExtensions(g.Provisional.Extensions, required); err != nil {
				return err
			}
		}
	}
	if len(g.Added)+len(g.Updated) == 0 {
		return nil
	}
	if err := g.Tree.checkUniqueKeys(); err != nil {
		return err
	}
	if err := checkCredentialTypes(g.Tree); err != nil {
		return err
	}
	if err := r.checkClients(g.Tree); err != nil {
		return err
	}
	for _, i := range g.Updated {
		check := LeafCheck{Occasion: OccasionUpdate, Leaf: g.Tree.Leaf(i), Index: i, Group: g.Provisional, Predecessor: g.before.Tree.Leaf(i), Now: now}
		if err := r.verifyLeaf(check); err != nil {
			return err
		}
	}
	for _, i := range g.Added {
		check := LeafCheck{Occasion: OccasionAdd, Leaf: g.Tree.Leaf(i), Index: i, Group: g.Provisional, Now: now}
		if err := r.verifyLeaf(check); err != nil {
			return err
		}
	}
	return nil
}

// PreparePath computes PathNodes and Copath: the nodes for which the committer makes new keys, and for each those whose
// keys its path secret is encrypted to, which leave out the members that the same commit adds (Section 7.5).
func (g *Staged) PreparePath() {
	path, copath := g.Tree.FilteredDirectPath(g.Committer)
	g.PathNodes = path
	g.Copath = make([][]NodeIndex, len(copath))
	for i, n := range copath {
		g.Copath[i] = g.Tree.ResolutionWithout(n, g.Added)
	}
}

// SetPath puts the committer's new keys into the tree, one for each of PathNodes, and returns the parent hash for its new
// leaf. For a committer; who receives calls MergePath.
func (g *Staged) SetPath(keys []EncryptionKey) (leafParentHash []byte, err error) {
	return g.Tree.SetPath(g.Committer, keys)
}

// SetLeaf puts the committer's new leaf, which is signed, into the tree and completes the provisional context.
func (g *Staged) SetLeaf(leaf *LeafNode) {
	g.Tree.SetLeaf(g.Committer, leaf)
	g.Provisional.TreeHash = g.Tree.TreeHash()
}

// MergePath validates an update path and merges its public keys (Sections 7.5 and 12.4.2).
func (r *Rules) MergePath(g *Staged, path *UpdatePath, now time.Time) error {
	checks, err := r.mergePath(g, path, now)
	if err != nil {
		return err
	}
	if err := r.VerifySignatures(checks...); err != nil {
		return fmt.Errorf("mls: update path: %w", err)
	}
	return nil
}

func (r *Rules) mergePath(g *Staged, path *UpdatePath, now time.Time) ([]SignatureCheck, error) {
	if err := path.checkForm(); err != nil {
		return nil, err
	}
	leaf := path.LeafNode.Compact()
	if leaf.Source != LeafFromCommit {
		return nil, errLeafSource
	}
	if err := g.checkPathLeaf(r, leaf, now); err != nil {
		return nil, err
	}
	if err := g.checkPathKeys(leaf, path.Nodes); err != nil {
		return nil, err
	}
	g.PreparePath()
	if len(g.PathNodes) != len(path.Nodes) {
		return nil, fmt.Errorf("mls: update path has %d nodes where the filtered direct path has %d", len(path.Nodes), len(g.PathNodes))
	}
	keys := make([]EncryptionKey, len(path.Nodes))
	for i := range path.Nodes {
		if len(path.Nodes[i].EncryptedPathSecret) != len(g.Copath[i]) {
			return nil, errors.New("mls: update path has another number of ciphertexts than the resolution has nodes")
		}
		// A copy, so that the tree does not hold the message in memory.
		keys[i] = slices.Clone(path.Nodes[i].EncryptionKey)
	}
	hash, err := g.Tree.SetPath(g.Committer, keys)
	if err != nil {
		return nil, err
	}
	if string(hash) != string(leaf.ParentHash) {
		return nil, errParentHash
	}
	g.Path = path
	g.SetLeaf(leaf)
	return []SignatureCheck{leaf.SignatureCheck(g.Provisional.CipherSuite, g.Provisional.GroupID, g.Committer)}, nil
}

// checkPathLeaf validates the committer's new leaf against the group.
func (g *Staged) checkPathLeaf(r *Rules, leaf *LeafNode, now time.Time) error {
	required, err := g.Provisional.Extensions.RequiredCapabilities()
	if err != nil {
		return err
	}
	if err := checkGroup(leaf, g.Provisional, required); err != nil {
		return err
	}
	if err := g.Provisional.CipherSuite.CheckSignatureKey(leaf.SignatureKey); err != nil {
		return err
	}
	client := r.cfg.Verifier.Client(leaf)
	if old := g.Tree.Leaf(g.Committer); old != nil && client == r.cfg.Verifier.Client(old) {
		client = "" // a member that stays who it was
	}
	for i, l := range g.Tree.Members() {
		if i == g.Committer {
			continue
		}
		if string(l.SignatureKey) == string(leaf.SignatureKey) {
			return errDuplicateKey
		}
		if client != "" && client == r.cfg.Verifier.Client(l) {
			return errSameClient
		}
		if !l.Capabilities.SupportsCredential(leaf.Credential.Type) || !leaf.Capabilities.SupportsCredential(l.Credential.Type) {
			return errors.New("mls: member does not support a credential type in use")
		}
	}
	check := LeafCheck{Occasion: OccasionCommit, Leaf: leaf, Index: g.Committer, Group: g.Provisional, Now: now}
	if g.External {
		check.Occasion = OccasionExternalCommit
		if len(g.Removed) > 0 {
			check.Predecessor = g.before.Tree.Leaf(g.Removed[0])
			if string(check.Predecessor.EncryptionKey) == string(leaf.EncryptionKey) {
				return errDuplicateKey
			}
		}
	} else {
		check.Predecessor = g.Tree.Leaf(g.Committer)
	}
	return r.verifyLeaf(check)
}

// checkPathKeys makes sure that the keys of a path are well-formed and new to the tree.
func (g *Staged) checkPathKeys(leaf *LeafNode, nodes []UpdatePathNode) error {
	keys := make([]EncryptionKey, 0, len(nodes)+1)
	keys = append(keys, leaf.EncryptionKey)
	for i := range nodes {
		keys = append(keys, nodes[i].EncryptionKey)
	}
	for i, k := range keys {
		if err := g.Provisional.CipherSuite.CheckEncryptionKey(k); err != nil {
			return err
		}
		for j := range i {
			if string(k) == string(keys[j]) {
				return errDuplicateKey
			}
		}
		if g.Tree.usesEncryptionKey(k) {
			return errDuplicateKey
		}
	}
	return nil
}

// Confirm advances the transcript: it makes Context. msg is the commit, signed; its confirmation tag is not needed yet.
func (g *Staged) Confirm(msg *AuthenticatedContent) {
	g.Provisional.TreeHash = g.Tree.TreeHash()
	g.Context = g.Provisional.Clone()
	g.Context.ConfirmedTranscriptHash = msg.ConfirmedTranscriptHash(g.Context.CipherSuite, g.before.InterimTranscriptHash)
}

// State returns the state of the new epoch. confirmationTag is the commit's; who holds the secrets has checked it.
func (g *Staged) State(confirmationTag []byte) *State {
	return &State{
		Context:               g.Context,
		Tree:                  g.Tree,
		ConfirmationTag:       confirmationTag,
		InterimTranscriptHash: InterimTranscriptHash(g.Context.CipherSuite, g.Context.ConfirmedTranscriptHash, confirmationTag),
		ReInit:                g.ReInit,
	}
}

// StageCommit validates a commit in the given state and applies all of it that is public (Section 12.4.2): frame,
// signatures, proposals, path, tree. pending finds proposals of this epoch by reference and returns nil for others; it may
// be nil itself. What remains for a member is to decrypt the path secret, with Provisional, and to check the confirmation
// tag, with Context; then State. The caller has checked the membership tag or decrypted the message, if it can.
func (r *Rules) StageCommit(s *State, msg *AuthenticatedContent, pending func(ProposalRef) *PendingProposal, now time.Time) (*Staged, error) {
	c := &msg.Content
	if c.ContentType != ContentCommit {
		return nil, errors.New("mls: message is not a commit")
	}
	if err := c.checkForm(); err != nil {
		return nil, err
	}
	if err := s.checkFrame(c); err != nil {
		return nil, err
	}
	if c.Sender.Type == SenderNewMemberCommit && msg.WireFormat != WirePublicMessage {
		return nil, errors.New("mls: message from outside of the group is not public")
	}
	key, err := s.SenderKey(c)
	if err != nil {
		return nil, err
	}
	checks := []SignatureCheck{msg.SignatureCheck(s.Context.CipherSuite, key, s.Context)}
	list, err := resolve(c, pending)
	if err != nil {
		return nil, err
	}
	g, more, err := r.stageProposals(s, c.Sender, list, now)
	if err != nil {
		return nil, err
	}
	checks = append(checks, more...)
	if c.Commit.Path == nil {
		if g.PathRequired {
			return nil, errPathMissing
		}
	} else {
		more, err := r.mergePath(g, c.Commit.Path, now)
		if err != nil {
			return nil, err
		}
		checks = append(checks, more...)
	}
	if err := r.VerifySignatures(checks...); err != nil {
		return nil, fmt.Errorf("mls: commit: %w", err)
	}
	g.Confirm(msg)
	return g, nil
}

// resolve puts the proposals that a commit refers to in the place of the references.
func resolve(c *FramedContent, pending func(ProposalRef) *PendingProposal) ([]CommittedProposal, error) {
	list := make([]CommittedProposal, len(c.Commit.Proposals))
	for i, p := range c.Commit.Proposals {
		if p.Proposal != nil {
			list[i] = CommittedProposal{Proposal: p.Proposal, Sender: c.Sender}
			continue
		}
		var known *PendingProposal
		if pending != nil {
			known = pending(p.Ref)
		}
		if known == nil {
			return nil, ErrUnknownProposal
		}
		if slices.ContainsFunc(list[:i], func(q CommittedProposal) bool { return string(q.Ref) == string(p.Ref) }) {
			return nil, errors.New("mls: commit refers to one proposal twice")
		}
		list[i] = CommittedProposal{Proposal: known.Proposal, Sender: known.Sender, Ref: p.Ref}
	}
	return list, nil
}
