package mls

import (
	"errors"
	"fmt"
	"time"
)

// Errors that a caller may want to tell from others.
var (
	// ErrEpoch: the message is of another epoch than the group is in.
	ErrEpoch = errors.New("mls: message is of another epoch")
	// ErrGroup: the message is of another group.
	ErrGroup = errors.New("mls: message is of another group")
	// ErrUnknownProposal: a commit refers to a proposal that was not seen in this epoch.
	ErrUnknownProposal = errors.New("mls: commit refers to an unknown proposal")
	// ErrClosed: the group was reinitialized, nothing can be sent in it any more.
	ErrClosed = errors.New("mls: group is closed by a reinitialization")
)

// State is the public state of a group in one epoch. What processes a message makes a new State and leaves the old one
// as it was.
type State struct {
	Context *GroupContext
	Tree    *RatchetTree
	// ConfirmationTag is that of the commit that began the epoch, or of the founder.
	ConfirmationTag []byte
	// InterimTranscriptHash binds ConfirmationTag to the context's confirmed transcript hash.
	InterimTranscriptHash []byte
	// ReInit is set if the commit that began the epoch closed the group.
	ReInit *ReInit
}

// NewState returns the state that info describes. The caller must have checked info and tree, e.g. by Rules.CheckJoin.
func NewState(info *GroupInfo, tree *RatchetTree) *State {
	ctx := info.GroupContext
	return &State{
		Context:               ctx,
		Tree:                  tree,
		ConfirmationTag:       info.ConfirmationTag,
		InterimTranscriptHash: InterimTranscriptHash(ctx.CipherSuite, ctx.ConfirmedTranscriptHash, info.ConfirmationTag),
	}
}

// SenderKey returns the key that must verify the signature of the message (Section 6.1), once it is known that such a
// sender may send such content.
func (s *State) SenderKey(c *FramedContent) (SignatureKey, error) {
	switch c.Sender.Type {
	case SenderMember:
		leaf := s.Tree.Leaf(c.Sender.Leaf)
		if leaf == nil {
			return nil, errNotMember
		}
		return leaf.SignatureKey, nil
	case SenderExternal:
		if c.ContentType != ContentProposal {
			return nil, errors.New("mls: external sender sends something other than a proposal")
		}
		senders, err := s.Context.Extensions.ExternalSenders()
		if err != nil {
			return nil, err
		}
		if uint64(c.Sender.Index) >= uint64(len(senders)) {
			return nil, errors.New("mls: external sender is not one of the group's")
		}
		switch c.Proposal.Type() {
		case ProposalAdd, ProposalRemove, ProposalPSK, ProposalReInit, ProposalGroupContextExtensions:
			return senders[c.Sender.Index].SignatureKey, nil
		}
		return nil, errors.New("mls: external sender may not send such a proposal")
	case SenderNewMemberProposal:
		if c.ContentType == ContentProposal {
			if add, ok := c.Proposal.(*Add); ok {
				return add.KeyPackage.LeafNode.SignatureKey, nil
			}
		}
		return nil, errors.New("mls: new member proposes something other than adding itself")
	case SenderNewMemberCommit:
		if c.ContentType != ContentCommit || c.Commit.Path == nil {
			return nil, errors.New("mls: new member sends something other than a commit with a path")
		}
		return c.Commit.Path.LeafNode.SignatureKey, nil
	}
	return nil, errUnknownValue
}

// checkFrame makes sure that the message belongs to the group and its epoch.
func (s *State) checkFrame(c *FramedContent) error {
	if string(c.GroupID) != string(s.Context.GroupID) {
		return ErrGroup
	}
	if c.Epoch != s.Context.Epoch {
		return ErrEpoch
	}
	if s.ReInit != nil {
		return ErrClosed
	}
	return nil
}

// PendingProposal is a proposal that was received, found valid on its own, and may be committed by reference.
type PendingProposal struct {
	Ref      ProposalRef
	Sender   Sender
	Proposal Proposal
}

// CheckProposal validates a proposal message in the given state: frame, signature, sender, and the proposal on its own
// (Section 12.1). The caller has checked the membership tag or decrypted the message, if it can.
func (r *Rules) CheckProposal(s *State, msg *AuthenticatedContent, now time.Time) (*PendingProposal, error) {
	c := &msg.Content
	if c.ContentType != ContentProposal {
		return nil, errors.New("mls: message is not a proposal")
	}
	if err := c.checkForm(); err != nil {
		return nil, err
	}
	if err := s.checkFrame(c); err != nil {
		return nil, err
	}
	if msg.WireFormat != WirePublicMessage && c.Sender.Type != SenderMember {
		return nil, errors.New("mls: message from outside of the group is not public")
	}
	key, err := s.SenderKey(c)
	if err != nil {
		return nil, err
	}
	checks := []SignatureCheck{msg.SignatureCheck(s.Context.CipherSuite, key, s.Context)}
	required, err := s.Context.Extensions.RequiredCapabilities()
	if err != nil {
		return nil, err
	}
	p := proposalCheck{r, s, s.Context, required, now}
	more, err := p.check(c.Proposal, c.Sender)
	if err != nil {
		return nil, err
	}
	if err := r.VerifySignatures(append(checks, more...)...); err != nil {
		return nil, fmt.Errorf("mls: proposal: %w", err)
	}
	if err := p.verify(c.Proposal, c.Sender); err != nil {
		return nil, err
	}
	return &PendingProposal{Ref: msg.ProposalRef(s.Context.CipherSuite), Sender: c.Sender, Proposal: c.Proposal}, nil
}

// proposalCheck validates proposals one by one against the state of an epoch.
type proposalCheck struct {
	rules    *Rules
	state    *State
	context  *GroupContext // with the extensions that hold after a GroupContextExtensions of the same commit
	required *RequiredCapabilities
	now      time.Time
}

// check applies Section 12.1 to one proposal and returns the signatures that remain to be verified.
func (c *proposalCheck) check(p Proposal, sender Sender) ([]SignatureCheck, error) {
	suite := c.context.CipherSuite
	switch p := p.(type) {
	case *Add:
		return p.KeyPackage.SignatureChecks(), c.checkAdd(p.KeyPackage)
	case *Update:
		if sender.Type != SenderMember {
			return nil, errors.New("mls: update is not from a member")
		}
		old := c.state.Tree.Leaf(sender.Leaf)
		if old == nil {
			return nil, errNotMember
		}
		if p.LeafNode.Source != LeafFromUpdate {
			return nil, errLeafSource
		}
		if string(old.EncryptionKey) == string(p.LeafNode.EncryptionKey) {
			return nil, errors.New("mls: update keeps the encryption key")
		}
		if err := checkKeys(suite, p.LeafNode); err != nil {
			return nil, err
		}
		if err := checkGroup(p.LeafNode, c.context, c.required); err != nil {
			return nil, err
		}
		return []SignatureCheck{p.LeafNode.SignatureCheck(suite, c.context.GroupID, sender.Leaf)}, nil
	case *Remove:
		if c.state.Tree.Leaf(p.Removed) == nil {
			return nil, errNotMember
		}
	case *PreSharedKey:
		if len(p.PSK.Nonce) != suite.HashSize() {
			return nil, errors.New("mls: PSK nonce has the wrong size")
		}
		if p.PSK.Type == PSKResumption && p.PSK.Usage != ResumptionApplication {
			return nil, errors.New("mls: PSK is for a reinitialization or a branch")
		}
	case *ReInit:
		if p.Version < c.context.Version {
			return nil, errors.New("mls: reinitialization goes back to an older protocol version")
		}
		return nil, p.Extensions.checkUnique()
	case *GroupContextExtensions:
		return nil, checkContextExtensions(p.Extensions)
	case *ExternalInit:
		if sender.Type != SenderNewMemberCommit {
			return nil, errors.New("mls: external init outside of an external commit")
		}
	}
	return nil, nil
}

// checkContextExtensions applies what Section 12.1.7 and 13.4 say of the extensions alone.
func checkContextExtensions(e Extensions) error {
	if err := e.checkUnique(); err != nil {
		return err
	}
	if _, err := e.RequiredCapabilities(); err != nil {
		return err
	}
	_, err := e.ExternalSenders()
	return err
}

func (c *proposalCheck) checkAdd(k *KeyPackage) error {
	if k.CipherSuite != c.context.CipherSuite {
		return errors.New("mls: key package is of another cipher suite")
	}
	if err := c.rules.checkKeyPackage(k, c.now); err != nil {
		return err
	}
	return checkGroup(k.LeafNode, c.context, c.required)
}

// verify asks the Verifier about leaves and external senders that one proposal brings.
func (c *proposalCheck) verify(p Proposal, sender Sender) error {
	switch p := p.(type) {
	case *Add:
		return c.rules.verifyLeaf(LeafCheck{Occasion: OccasionAdd, Leaf: p.KeyPackage.LeafNode, Group: c.context, Now: c.now})
	case *Update:
		return c.rules.verifyLeaf(LeafCheck{
			Occasion: OccasionUpdate, Leaf: p.LeafNode, Index: sender.Leaf, Group: c.context,
			Predecessor: c.state.Tree.Leaf(sender.Leaf), Now: c.now,
		})
	case *GroupContextExtensions:
		after := c.state.Context.Clone()
		after.Extensions = p.Extensions
		return c.rules.verifyExternalSenders(c.state.Context, after, c.now)
	}
	return nil
}
