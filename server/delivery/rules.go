package delivery

import (
	"errors"
	"time"

	"conclave"
	"conclave/gate"
	"conclave/mls"
	"conclave/pass"
)

var (
	errSender   = errors.New("delivery: message was made by another than who sent it")
	errProposal = errors.New("delivery: a pending proposal is no removal")
	errFounder  = errors.New("delivery: a new group has its maker alone, in epoch 0")
	errRules    = errors.New("delivery: a new group is for another meeting, or under other rules")
	errChanges  = errors.New("delivery: the group may not become one for that")
	errInfo     = errors.New("delivery: group information is not a message of that kind")
)

func readInfo(encoded []byte) (*mls.GroupInfo, error) {
	if len(encoded) > maxInfo {
		return nil, errInfo
	}
	var m mls.Message
	if err := mls.Unmarshal(encoded, &m); err != nil {
		return nil, err
	}
	if m.GroupInfo == nil {
		return nil, errInfo
	}
	return m.GroupInfo, nil
}

// checkJoin tells whether a commit is the external commit of device, and keeps the room's rules.
func checkJoin(m *mls.PublicMessage, tree *mls.RatchetTree, device conclave.DeviceID) error {
	path := m.Content.Commit.Path
	if m.Content.Sender.Type != mls.SenderNewMemberCommit || path == nil ||
		conclave.DeviceOf(path.LeafNode.SignatureKey) != device {
		return errSender
	}
	return gate.CheckCommit(m, tree, nobody)
}

// checkCommit tells whether a commit is that of the member at leaf, and keeps the room's rules. That references are known
// the Follower checks: it knows only what Propose and Remove took in.
func checkCommit(m *mls.PublicMessage, tree *mls.RatchetTree, leaf mls.LeafIndex) error {
	if !sentBy(m, leaf) {
		return errSender
	}
	return gate.CheckCommit(m, tree, anybody)
}

// checkProposal tells whether a proposal is that of the member at leaf to go itself.
func checkProposal(m *mls.PublicMessage, leaf mls.LeafIndex) error {
	if !sentBy(m, leaf) {
		return errSender
	}
	_, err := gate.CheckProposal(m, nil)
	return err
}

// changedExtensions returns the context's extensions with another meeting in them; the external sender stays the same.
func changedExtensions(c *mls.GroupContext, from, to pass.MeetingContext) (mls.Extensions, error) {
	senders, err := c.Extensions.ExternalSenders()
	if err != nil || len(senders) != 1 || !c.Extensions.Equal(gate.ContextExtensions(from, senders[0].SignatureKey)) {
		return nil, errChanges
	}
	return gate.ContextExtensions(to, senders[0].SignatureKey), nil
}

func sentBy(m *mls.PublicMessage, leaf mls.LeafIndex) bool {
	s := m.Content.Sender
	return s.Type == mls.SenderMember && s.Leaf == leaf
}

func nobody(mls.ProposalRef) bool  { return false }
func anybody(mls.ProposalRef) bool { return true }

// verifier is the server's mls.Verifier. It holds what members hold too: the server refuses what they would refuse, so
// that one bad member cannot stop the others. Nobody relies on it.
type verifier struct {
	trust   *pass.Trust
	context pass.MeetingContext
	renewed func(conclave.DeviceID) []byte
}

// VerifyLeaf implements mls.Verifier.
func (v *verifier) VerifyLeaf(c mls.LeafCheck) error {
	if err := gate.CheckLeaf(c, v.trust, v.context); err != nil {
		return err
	}
	statement, inLeaf, err := gate.Papers(c.Leaf)
	if err != nil {
		return err
	}
	// Whose papers they are comes before where they stand: a statement that the organisation never signed stands in no log, and
	// that it is not signed is what its device must be told.
	if err := v.papers(c, statement, inLeaf); err != nil {
		return err
	}
	return v.logged(c, statement)
}

// papers holds statement and pass against the group that the leaf comes into.
func (v *verifier) papers(c mls.LeafCheck, statement, inLeaf []byte) (err error) {
	meeting := v.context
	if c.Group != nil {
		// A commit that changes what the group is for brings a leaf that must be good for the next.
		if meeting, err = gate.MeetingOf(c.Group, v.trust, c.Now); err != nil {
			return err
		}
	}
	want := gate.Want(c.Leaf.SignatureKey, meeting)
	if _, err = v.trust.Leaf(statement, inLeaf, want, c.Now); err == nil || c.Occasion == mls.OccasionExternalCommit {
		// Who joins brings its pass along: the others know of no newer one, and would all refuse what we had ordered.
		return err
	}
	if renewed := v.renewed(conclave.DeviceOf(c.Leaf.SignatureKey)); renewed != nil {
		_, err = v.trust.Leaf(statement, renewed, want, c.Now)
	}
	return err
}

// brought holds the papers that a leaf carries itself against what its group is for.
func (v *verifier) brought(l *mls.LeafNode, meeting pass.MeetingContext, now time.Time) error {
	statement, inLeaf, err := gate.Papers(l)
	if err == nil {
		_, err = v.trust.Leaf(statement, inLeaf, gate.Want(l.SignatureKey, meeting), now)
	}
	return err
}

// logged refuses a leaf that does not show that its statement stands in the device log.
func (v *verifier) logged(c mls.LeafCheck, statement []byte) error {
	s, err := pass.ParseStatement(statement)
	if err != nil {
		return err
	}
	_, check, err := gate.LoggedIn(c.Leaf, s, v.trust, c.Now)
	if err != nil {
		return err
	}
	return check.Verify()
}

// VerifyExternalSender implements mls.Verifier.
func (v *verifier) VerifyExternalSender(s *mls.ExternalSender, _ *mls.GroupContext, now time.Time) error {
	return gate.CheckExternalSender(s, v.trust, now)
}

// Client implements mls.Verifier.
func (v *verifier) Client(l *mls.LeafNode) string { return gate.Client(l) }
