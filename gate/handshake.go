package gate

import (
	"bytes"
	"errors"
	"time"

	"conclave/mls"
	"conclave/pass"
)

var (
	errNotPublic  = errors.New("gate: handshake message is not a public message of its kind")
	errKind       = errors.New("gate: proposal of a kind that has no place in a room")
	errByValue    = errors.New("gate: member's commit has a proposal of its own")
	errUnknownRef = errors.New("gate: commit refers to a proposal that nobody made")
	errNoPath     = errors.New("gate: commit brings no new keys")
	// ErrOther says that a member proposes that another goes whose papers are good.
	ErrOther       = errors.New("gate: member proposes that another goes")
	errPushedOut   = errors.New("gate: joiner removes another device")
	errWrongSender = errors.New("gate: message of a sender that has no say")
)

// ReadPublic decodes a handshake message, which is a PublicMessage with content of the kind that is wanted.
func ReadPublic(encoded []byte, want mls.ContentType) (*mls.PublicMessage, error) {
	var m mls.Message
	if err := mls.Unmarshal(encoded, &m); err != nil {
		return nil, err
	}
	if m.Public == nil || m.Public.Content.ContentType != want {
		return nil, errNotPublic
	}
	return m.Public, nil
}

// CheckProposal applies the rules to a proposal that stands by itself, and returns whom it removes: by the external sender
// (the group has one, and its key was verified with the group's context), a member's own going, or by any member one whose
// papers have run out, which lapsed tells by the caller's own clock; nil: nobody's have.
func CheckProposal(m *mls.PublicMessage, lapsed func(mls.LeafIndex) bool) (removed mls.LeafIndex, err error) {
	remove, ok := m.Content.Proposal.(*mls.Remove)
	if !ok {
		return 0, errKind
	}
	switch s := m.Content.Sender; s.Type {
	case mls.SenderExternal:
	case mls.SenderMember:
		if s.Leaf != remove.Removed && (lapsed == nil || !lapsed(remove.Removed)) {
			return 0, ErrOther
		}
	default:
		return 0, errWrongSender
	}
	return remove.Removed, nil
}

// CheckChange applies the rules to a proposal that stands by itself and changes what the group is for, from now on, and
// returns what that will be: by the external sender, and only as MeetingContext.Follows allows.
func CheckChange(m *mls.PublicMessage, trust *pass.Trust, from pass.MeetingContext, now time.Time) (pass.MeetingContext, error) {
	change, ok := m.Content.Proposal.(*mls.GroupContextExtensions)
	if !ok {
		return pass.MeetingContext{}, errKind
	}
	if m.Content.Sender.Type != mls.SenderExternal {
		return pass.MeetingContext{}, errWrongSender
	}
	return meetingOf(change.Extensions, func(next pass.MeetingContext) error {
		if !from.Follows(next) {
			return errContext
		}
		for _, key := range trust.RemovalKeys(now) {
			if change.Extensions.Equal(ContextExtensions(next, key)) {
				return nil
			}
		}
		return errContext
	})
}

// CheckCommit applies the rules to a commit against the tree that it starts from. known tells whether a proposal was
// seen and passed CheckProposal in this epoch.
func CheckCommit(m *mls.PublicMessage, tree *mls.RatchetTree, known func(mls.ProposalRef) bool) error {
	c := m.Content.Commit
	if c.Path == nil {
		return errNoPath
	}
	switch m.Content.Sender.Type {
	case mls.SenderMember:
		for _, p := range c.Proposals {
			if p.Proposal != nil {
				return errByValue
			}
			if !known(p.Ref) {
				return errUnknownRef
			}
		}
		return nil
	case mls.SenderNewMemberCommit:
		for _, p := range c.Proposals {
			switch p := p.Proposal.(type) {
			case *mls.ExternalInit:
			case *mls.Remove:
				// A device that comes back replaces itself, and nobody else.
				old := tree.Leaf(p.Removed)
				if old == nil || !bytes.Equal(old.SignatureKey, c.Path.LeafNode.SignatureKey) {
					return errPushedOut
				}
			default:
				return errKind
			}
		}
		return nil
	}
	return errWrongSender
}
