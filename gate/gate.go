// Package gate holds the rules of a room: who may hold a leaf of its group, what its group is for, and what may be
// proposed and committed in it. They are narrower than those of RFC 9420, and are applied twice, by every member's endpoint,
// on which the room's safety rests, and by the server, which refuses what members would refuse so that one bad member
// cannot stop the others.
//
// Members come by external commits alone; who goes is proposed by the organisation's removal key or by the member itself.
// What the group is for changes by that key's proposal alone, and upwards only. A member's commit therefore holds nothing
// but references to such proposals.
//
// The package keeps no state and verifies no signature of a leaf's papers: which papers count, and whether their
// signatures were verified before, is for the caller.
package gate

import (
	"bytes"
	"errors"
	"time"

	"conclave"
	"conclave/mls"
	"conclave/pass"
)

// Suite is the one cipher suite of a room's group: there is nothing to downgrade to.
const Suite = mls.MLKEM768P256

// Extensions are those of ours that every member must know.
var Extensions = []mls.ExtensionType{pass.ExtensionMeeting, pass.ExtensionPass, pass.ExtensionLogProof}

// GroupIDSize is the size of a group's name: the meeting's pointer and as many random bytes of the group's maker, for a
// meeting may have several groups, one after the other.
const GroupIDSize = 32

var (
	errCredential = errors.New("gate: leaf has no basic credential")
	errSuccessor  = errors.New("gate: leaf of another device in place of a member's")
	errAdded      = errors.New("gate: nobody is added to a room, one joins it")
	errContext    = errors.New("gate: the group is for another meeting, or under other rules")
	errExternal   = errors.New("gate: external sender is not the organisation's removal key")
)

// problemNoPass is told to who has a leaf without a pass handed in.
var problemNoPass = conclave.Problem{Code: "pass_missing", Fix: "join_again"}

// CheckLeaf applies what holds of a leaf besides its papers: how it came, into which group, and in whose place.
func CheckLeaf(c mls.LeafCheck, trust *pass.Trust, meeting pass.MeetingContext) error {
	if c.Occasion == mls.OccasionAdd || c.Occasion == mls.OccasionKeyPackage {
		return errAdded
	}
	if c.Group != nil {
		// A commit that changes the context is looked at under the next one; that it may be that one, CheckChange has found.
		of, err := MeetingOf(c.Group, trust, c.Now)
		if err != nil {
			return err
		}
		if of != meeting && !meeting.Follows(of) {
			return errContext
		}
	}
	if p := c.Predecessor; p != nil && !bytes.Equal(p.SignatureKey, c.Leaf.SignatureKey) {
		return errSuccessor
	}
	return nil
}

// Papers returns the device statement and the pass that a leaf carries, not verified. They alias the leaf.
func Papers(l *mls.LeafNode) (statement, inLeaf []byte, err error) {
	if l.Credential.Type != mls.CredentialBasic {
		return nil, nil, errCredential
	}
	inLeaf, ok := l.Extensions.Find(pass.ExtensionPass)
	if !ok {
		return nil, nil, problemNoPass
	}
	return l.Credential.Identity, inLeaf, nil
}

// Want is what the papers of a leaf with this signature key must say in the meeting.
func Want(leafKey mls.SignatureKey, meeting pass.MeetingContext) pass.Want {
	return pass.Want{LeafKey: leafKey, Meeting: meeting}
}

// Client names the device behind a leaf (mls.Verifier): a device is in a room once.
func Client(l *mls.LeafNode) string {
	id := conclave.DeviceOf(l.SignatureKey)
	return string(id[:])
}

// CheckExternalSender accepts the organisation's removal key alone, under its one name.
func CheckExternalSender(s *mls.ExternalSender, trust *pass.Trust, now time.Time) error {
	if s.Credential.Type != mls.CredentialBasic || string(s.Credential.Identity) != pass.ExternalSenderIdentity {
		return errExternal
	}
	for _, key := range trust.RemovalKeys(now) {
		if bytes.Equal(key, s.SignatureKey) {
			return nil
		}
	}
	return errExternal
}

// CheckContext holds a group's context against what the meeting is: the suite, the meeting, its level, its policy, and who
// may propose removals from outside. Nothing more may stand there, and nothing less.
func CheckContext(c *mls.GroupContext, trust *pass.Trust, meeting pass.MeetingContext, now time.Time) error {
	if c.Version != mls.MLS10 || c.CipherSuite != Suite || len(c.GroupID) != GroupIDSize ||
		!bytes.Equal(c.GroupID[:len(meeting.Meeting)], meeting.Meeting[:]) {
		return errContext
	}
	for _, key := range trust.RemovalKeys(now) {
		if c.Extensions.Equal(ContextExtensions(meeting, key)) {
			return nil
		}
	}
	return errContext
}

// MeetingOf returns what a group's context says that the group is for, if nothing else stands there and the context is of
// such a group. Whether it is the right meeting, under the right rules, is for the caller.
func MeetingOf(c *mls.GroupContext, trust *pass.Trust, now time.Time) (pass.MeetingContext, error) {
	return meetingOf(c.Extensions, func(m pass.MeetingContext) error { return CheckContext(c, trust, m, now) })
}

func meetingOf(extensions mls.Extensions, check func(pass.MeetingContext) error) (pass.MeetingContext, error) {
	data, ok := extensions.Find(pass.ExtensionMeeting)
	if !ok {
		return pass.MeetingContext{}, errContext
	}
	m, err := pass.ParseMeetingContext(data)
	if err != nil {
		return pass.MeetingContext{}, err
	}
	if err := check(*m); err != nil {
		return pass.MeetingContext{}, err
	}
	return *m, nil
}

// ContextExtensions is what stands in the group context of a meeting, in this order. removal is the organisation's
// removal key.
func ContextExtensions(meeting pass.MeetingContext, removal mls.SignatureKey) mls.Extensions {
	data, err := meeting.MarshalBinary()
	if err != nil {
		panic("gate: meeting context: " + err.Error())
	}
	return mls.Extensions{
		{Type: pass.ExtensionMeeting, Data: data},
		mls.RequiredCapabilitiesExtension(mls.RequiredCapabilities{
			Extensions: Extensions,
		}),
		mls.ExternalSendersExtension([]mls.ExternalSender{{
			SignatureKey: removal,
			Credential:   mls.BasicCredential([]byte(pass.ExternalSenderIdentity)),
		}}),
	}
}
