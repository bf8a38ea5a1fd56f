package endpoint

import (
	"bytes"
	"errors"

	"conclave/mls"
)

// The rules of a room are narrower than those of RFC 9420. Members come by external commits alone; who goes is proposed
// by the organisation's removal key or by the member itself; nobody changes what the group is. A member's commit
// therefore holds nothing but references to such proposals, so that one bad member cannot put another out.
var (
	errNotPublic   = errors.New("endpoint: handshake message is not a public message")
	errKind        = errors.New("endpoint: proposal of a kind that has no place in a room")
	errByValue     = errors.New("endpoint: member's commit has a proposal of its own")
	errUnknownRef  = errors.New("endpoint: commit refers to a proposal that nobody made")
	errNoPath      = errors.New("endpoint: commit brings no new keys")
	errOther       = errors.New("endpoint: member proposes that another goes")
	errPushedOut   = errors.New("endpoint: joiner removes another device")
	errWrongSender = errors.New("endpoint: message of a sender that has no say")
)

// readPublic decodes a handshake message.
func readPublic(encoded []byte, want mls.ContentType) (*mls.PublicMessage, error) {
	var m mls.Message
	if err := mls.Unmarshal(encoded, &m); err != nil {
		return nil, err
	}
	if m.Public == nil || m.Public.Content.ContentType != want {
		return nil, errNotPublic
	}
	return m.Public, nil
}

// checkProposal applies the room's rules to a proposal that stands by itself, and returns whom it removes.
func checkProposal(m *mls.PublicMessage) (removed mls.LeafIndex, err error) {
	remove, ok := m.Content.Proposal.(*mls.Remove)
	if !ok {
		return 0, errKind
	}
	switch s := m.Content.Sender; s.Type {
	case mls.SenderExternal: // the group has one: its key was verified when we joined
	case mls.SenderMember:
		if s.Leaf != remove.Removed {
			return 0, errOther
		}
	default:
		return 0, errWrongSender
	}
	return remove.Removed, nil
}

// checkCommit applies the room's rules to a commit against the tree that it starts from. known tells whether a proposal
// was seen and passed checkProposal in this epoch.
func checkCommit(m *mls.PublicMessage, tree *mls.RatchetTree, known func(mls.ProposalRef) bool) error {
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
