package delivery

import (
	"bytes"
	"errors"
	"time"

	"conclave"
	"conclave/mls"
	"conclave/pass"
)

// Suite is the one cipher suite of Conclave's groups: there is nothing to downgrade to.
const Suite = mls.MLKEM768P256

// groupIDSize is the meeting's pointer and as many random bytes of the group's maker: a meeting may have several groups,
// one after the other.
const groupIDSize = 32

// The rules of a room are narrower than those of RFC 9420, and every member applies the same (package endpoint; written
// twice, since the server must not link what the members run): members come by external commits alone; who goes is
// proposed by the organisation's removal key or by the member itself; nobody changes what the group is.
var (
	errNotPublic  = errors.New("delivery: handshake message is not a public message of its kind")
	errKind       = errors.New("delivery: proposal of a kind that has no place in a room")
	errByValue    = errors.New("delivery: member's commit has a proposal of its own")
	errNoPath     = errors.New("delivery: commit brings no new keys")
	errPushedOut  = errors.New("delivery: joiner removes another device")
	errSender     = errors.New("delivery: message was made by another than who sent it")
	errCredential = errors.New("delivery: leaf has no basic credential")
	errNoPass     = errors.New("delivery: leaf carries no pass")
	errSuccessor  = errors.New("delivery: leaf of another device in place of a member's")
	errAdded      = errors.New("delivery: nobody is added to a room, one joins it")
	errContext    = errors.New("delivery: the group is for another meeting, or under other rules")
	errExternal   = errors.New("delivery: external sender is not the organisation's removal key")
	errFounder    = errors.New("delivery: a new group has its maker alone, in epoch 0")
	errInfo       = errors.New("delivery: group information is not a message of that kind")
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

// checkJoin applies the room's rules to the external commit of a device.
func checkJoin(m *mls.PublicMessage, tree *mls.RatchetTree, device conclave.DeviceID) error {
	c := m.Content.Commit
	if m.Content.Sender.Type != mls.SenderNewMemberCommit {
		return errSender
	}
	if c.Path == nil {
		return errNoPath
	}
	if conclave.DeviceOf(c.Path.LeafNode.SignatureKey) != device {
		return errSender
	}
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

// checkCommit applies the room's rules to the commit of the member at leaf. That references are known the Follower checks;
// it knows only what Propose and Remove took in.
func checkCommit(m *mls.PublicMessage, leaf mls.LeafIndex) error {
	if s := m.Content.Sender; s.Type != mls.SenderMember || s.Leaf != leaf {
		return errSender
	}
	if m.Content.Commit.Path == nil {
		return errNoPath
	}
	for _, p := range m.Content.Commit.Proposals {
		if p.Proposal != nil {
			return errByValue
		}
	}
	return nil
}

// checkProposal applies the room's rules to the proposal of the member at leaf: its own going.
func checkProposal(m *mls.PublicMessage, leaf mls.LeafIndex) error {
	if s := m.Content.Sender; s.Type != mls.SenderMember || s.Leaf != leaf {
		return errSender
	}
	remove, ok := m.Content.Proposal.(*mls.Remove)
	if !ok || remove.Removed != leaf {
		return errKind
	}
	return nil
}

// verifier is the server's mls.Verifier. It holds what members hold too: the server refuses what they would refuse, so
// that one bad member cannot stop the others. Nobody relies on it.
type verifier struct {
	trust   *pass.Trust
	context pass.MeetingContext
	renewed func(conclave.DeviceID) []byte
}

// VerifyLeaf implements mls.Verifier.
func (v *verifier) VerifyLeaf(c mls.LeafCheck) error {
	if c.Occasion == mls.OccasionAdd || c.Occasion == mls.OccasionKeyPackage {
		return errAdded
	}
	if c.Group != nil {
		if err := v.checkContext(c.Group, c.Now); err != nil {
			return err
		}
	}
	if p := c.Predecessor; p != nil && !bytes.Equal(p.SignatureKey, c.Leaf.SignatureKey) {
		return errSuccessor
	}
	if c.Leaf.Credential.Type != mls.CredentialBasic {
		return errCredential
	}
	inLeaf, ok := c.Leaf.Extensions.Find(pass.ExtensionPass)
	if !ok {
		return errNoPass
	}
	want := pass.Want{LeafKey: c.Leaf.SignatureKey, Meeting: v.context.Meeting, Level: v.context.Level, PolicyHash: v.context.PolicyHash}
	_, err := v.trust.Leaf(c.Leaf.Credential.Identity, inLeaf, want, c.Now)
	if err == nil {
		return nil
	}
	if renewed := v.renewed(conclave.DeviceOf(c.Leaf.SignatureKey)); renewed != nil {
		_, err = v.trust.Leaf(c.Leaf.Credential.Identity, renewed, want, c.Now)
	}
	return err
}

// VerifyExternalSender implements mls.Verifier.
func (v *verifier) VerifyExternalSender(s *mls.ExternalSender, _ *mls.GroupContext, now time.Time) error {
	if s.Credential.Type != mls.CredentialBasic || string(s.Credential.Identity) != pass.ExternalSenderIdentity {
		return errExternal
	}
	for _, key := range v.trust.RemovalKeys(now) {
		if bytes.Equal(key, s.SignatureKey) {
			return nil
		}
	}
	return errExternal
}

// Client implements mls.Verifier: a device is in a room once.
func (v *verifier) Client(l *mls.LeafNode) string {
	id := conclave.DeviceOf(l.SignatureKey)
	return string(id[:])
}

// checkContext holds a group's context against what the meeting is. Nothing more may stand there, and nothing less.
func (v *verifier) checkContext(c *mls.GroupContext, now time.Time) error {
	if c.Version != mls.MLS10 || c.CipherSuite != Suite || len(c.GroupID) != groupIDSize ||
		!bytes.Equal(c.GroupID[:len(v.context.Meeting)], v.context.Meeting[:]) {
		return errContext
	}
	for _, key := range v.trust.RemovalKeys(now) {
		if c.Extensions.Equal(ContextExtensions(v.context, key)) {
			return nil
		}
	}
	return errContext
}

// ContextExtensions is what stands in the group context of a meeting, in this order.
func ContextExtensions(m pass.MeetingContext, removal mls.SignatureKey) mls.Extensions {
	data, err := m.MarshalBinary()
	if err != nil {
		panic("delivery: meeting context: " + err.Error())
	}
	return mls.Extensions{
		{Type: pass.ExtensionMeeting, Data: data},
		mls.RequiredCapabilitiesExtension(mls.RequiredCapabilities{
			Extensions: []mls.ExtensionType{pass.ExtensionMeeting, pass.ExtensionPass},
		}),
		mls.ExternalSendersExtension([]mls.ExternalSender{{
			SignatureKey: removal,
			Credential:   mls.BasicCredential([]byte(pass.ExternalSenderIdentity)),
		}}),
	}
}
