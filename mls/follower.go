package mls

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// What a Follower keeps of proposals in one epoch; more are refused. A commit empties it.
const (
	maxPending      = 1024
	maxPendingBytes = 8 << 20 // of encoded proposals
)

// Follower follows a group from outside: it keeps the public state and accepts only handshake messages that every honest
// member will accept, as far as that can be seen without the group's secrets. It cannot check membership tags and
// confirmation tags, nor whether path secrets are encrypted correctly: a member who forges these splits nobody but itself
// from the group's view, or stalls the epoch until the others refuse its commit.
//
// A Follower is not for concurrent use.
type Follower struct {
	rules   *Rules
	state   *State
	pending []*PendingProposal // in order of arrival
	bytes   int                // of what brought pending
}

// NewFollower begins to follow a group at the epoch of info, having validated info and tree in full (Rules.CheckJoin). The
// Follower keeps the tree; the caller must not change it afterwards.
func NewFollower(info *GroupInfo, tree *RatchetTree, rules *Rules, now time.Time) (*Follower, error) {
	if rules == nil {
		panic("mls: follower without rules")
	}
	if err := rules.CheckJoin(info, tree, now); err != nil {
		return nil, err
	}
	if err := checkExternalPub(info); err != nil {
		return nil, err
	}
	return &Follower{rules: rules, state: NewState(info, tree)}, nil
}

// Clone returns a Follower of its own that stands where f stands.
func (f *Follower) Clone() *Follower {
	return &Follower{f.rules, &State{
		Context: f.state.Context, Tree: f.state.Tree.Clone(), ConfirmationTag: f.state.ConfirmationTag,
		InterimTranscriptHash: f.state.InterimTranscriptHash, ReInit: f.state.ReInit,
	}, append([]*PendingProposal(nil), f.pending...), f.bytes}
}

// Epoch returns the epoch the group is in.
func (f *Follower) Epoch() Epoch { return f.state.Context.Epoch }

// GroupID returns the group's identifier.
func (f *Follower) GroupID() GroupID { return f.state.Context.GroupID }

// Context returns the group context of the epoch. Nobody may write to it.
func (f *Follower) Context() *GroupContext { return f.state.Context }

// Tree returns the ratchet tree of the epoch. Nobody may write to it; the Follower replaces it with each epoch.
func (f *Follower) Tree() *RatchetTree { return f.state.Tree }

// Closed tells whether the group was closed by a reinitialization.
func (f *Follower) Closed() bool { return f.state.ReInit != nil }

// Member is a leaf that is not blank.
type Member struct {
	Leaf LeafIndex
	Node *LeafNode
}

// Leaves returns the members in ascending order of their leaves.
func (f *Follower) Leaves() []Member {
	list := make([]Member, 0, f.state.Tree.MemberCount())
	for i, l := range f.state.Tree.Members() {
		list = append(list, Member{i, l})
	}
	return list
}

// Pending returns the proposals of the epoch in the order of their arrival.
func (f *Follower) Pending() []*PendingProposal { return append([]*PendingProposal(nil), f.pending...) }

// ChangeKind is what a message did to the group.
type ChangeKind uint8

// The kinds of change.
const (
	ChangeProposal ChangeKind = iota + 1 // a proposal is pending
	ChangeCommit                         // a new epoch has begun
)

// Change is what a message did to the group.
type Change struct {
	Kind  ChangeKind
	Epoch Epoch // that the group is in now
	// Sender sent the message.
	Sender Sender
	// Proposal is set for ChangeProposal.
	Proposal *PendingProposal

	// The rest is set for ChangeCommit. Committer is the committer's leaf; for an external commit, that of the new member.
	Committer LeafIndex
	// Joined tells that the committer came in by an external commit.
	Joined bool
	// Added are new members' leaves, less the committer; Updated are those who proposed a new leaf. A leaf that is removed
	// may be taken again in the same change: Removed counts in the tree before it.
	Added, Updated, Removed []LeafIndex
	// Proposals are all that the commit covers, in its order.
	Proposals []CommittedProposal
	// Closed tells that the commit closed the group by a reinitialization.
	Closed bool
}

// Process validates an encoded MLSMessage and applies it. Only PublicMessages with proposals and commits can be followed.
// After an error the Follower stands where it stood. A proposal that is known already is no error.
func (f *Follower) Process(message []byte, now time.Time) (*Change, error) {
	var m Message
	if err := Unmarshal(message, &m); err != nil {
		return nil, err
	}
	if m.Public == nil {
		return nil, errors.New("mls: follower needs a public message")
	}
	switch m.Public.Content.ContentType {
	case ContentProposal:
		return f.processProposal(m.Public.Authenticated(), len(message), now)
	case ContentCommit:
		return f.processCommit(m.Public.Authenticated(), now)
	}
	return nil, errors.New("mls: application data in a public message")
}

func (f *Follower) processProposal(msg *AuthenticatedContent, size int, now time.Time) (*Change, error) {
	p, err := f.rules.CheckProposal(f.state, msg, now)
	if err != nil {
		return nil, err
	}
	change := &Change{Kind: ChangeProposal, Epoch: f.Epoch(), Sender: p.Sender, Proposal: p}
	if known := f.find(p.Ref); known != nil {
		change.Proposal = known
		return change, nil
	}
	if len(f.pending) >= maxPending || f.bytes+size > maxPendingBytes {
		return nil, errors.New("mls: too many proposals in one epoch")
	}
	f.pending = append(f.pending, p)
	f.bytes += size
	return change, nil
}

func (f *Follower) find(ref ProposalRef) *PendingProposal {
	for _, p := range f.pending {
		if bytes.Equal(p.Ref, ref) {
			return p
		}
	}
	return nil
}

func (f *Follower) processCommit(msg *AuthenticatedContent, now time.Time) (*Change, error) {
	if len(msg.Auth.ConfirmationTag) != f.state.Context.CipherSuite.HashSize() {
		return nil, errors.New("mls: confirmation tag has the wrong size")
	}
	g, err := f.rules.StageCommit(f.state, msg, f.find, now)
	if err != nil {
		return nil, err
	}
	f.state = g.State(bytes.Clone(msg.Auth.ConfirmationTag))
	f.pending, f.bytes = nil, 0
	return &Change{
		Kind: ChangeCommit, Epoch: f.Epoch(), Sender: msg.Content.Sender, Committer: g.Committer, Joined: g.External,
		Added: g.Added, Updated: g.Updated, Removed: g.Removed, Proposals: g.Proposals, Closed: g.ReInit != nil,
	}, nil
}

// checkExternalPub makes sure that a GroupInfo lets others join by external commit.
func checkExternalPub(info *GroupInfo) error {
	key, err := info.Extensions.ExternalPub()
	if err != nil {
		return err
	}
	if key == nil {
		return errors.New("mls: group info has no external public key")
	}
	return info.GroupContext.CipherSuite.CheckEncryptionKey(key)
}

// CheckGroupInfo tells whether info describes the epoch that the Follower is in, and lets others join by external commit:
// same context (epoch, tree hash, confirmed transcript hash, extensions), the confirmation tag of the last commit, signed
// by a member, with an external public key. Whether that key is the right one only members can tell. GroupInfos travel
// without the tree, so one with a ratchet_tree extension is refused.
func (f *Follower) CheckGroupInfo(info *GroupInfo) error {
	if err := info.checkForm(); err != nil {
		return err
	}
	if !bytes.Equal(Marshal(info.GroupContext), Marshal(f.state.Context)) {
		if !bytes.Equal(info.GroupContext.GroupID, f.GroupID()) {
			return ErrGroup
		}
		if info.GroupContext.Epoch != f.Epoch() {
			return ErrEpoch
		}
		return errors.New("mls: group info has another group context")
	}
	if !bytes.Equal(info.ConfirmationTag, f.state.ConfirmationTag) {
		return errors.New("mls: group info has another confirmation tag")
	}
	if _, ok := info.Extensions.Find(ExtensionRatchetTree); ok {
		return errors.New("mls: group info carries a ratchet tree")
	}
	if err := checkExternalPub(info); err != nil {
		return err
	}
	return f.rules.CheckGroupInfo(info, f.state.Tree)
}

// ExternalRemove builds an encoded MLSMessage by which the external sender at senderIndex of the group's external_senders
// proposes to remove the member at leaf. signer must hold that sender's key. The Follower does not take it in: send it
// through Process like any other.
func (f *Follower) ExternalRemove(signer Signer, senderIndex uint32, leaf LeafIndex) ([]byte, error) {
	if f.state.Tree.Leaf(leaf) == nil {
		return nil, errNotMember
	}
	return f.ExternalProposal(signer, senderIndex, &Remove{Removed: leaf})
}

// ExternalProposal builds a proposal of an external sender, like ExternalRemove.
func (f *Follower) ExternalProposal(signer Signer, senderIndex uint32, p Proposal) ([]byte, error) {
	if f.Closed() {
		return nil, ErrClosed
	}
	if err := CheckForm(p); err != nil {
		return nil, err
	}
	msg := &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{
		GroupID: f.GroupID(), Epoch: f.Epoch(), Sender: Sender{Type: SenderExternal, Index: senderIndex},
		ContentType: ContentProposal, Proposal: p,
	}}
	key, err := f.state.SenderKey(&msg.Content)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(key, signer.Public()) {
		return nil, errors.New("mls: signer does not hold the external sender's key")
	}
	if err := msg.Sign(signer, nil); err != nil {
		return nil, err
	}
	return Marshal(&Message{Public: &PublicMessage{Content: msg.Content, Auth: msg.Auth}}), nil
}

// snapshotVersion is the first octet of a snapshot.
const snapshotVersion = 1

// Snapshot encodes the Follower's state for RestoreFollower. It holds nothing secret, but who is in the group.
func (f *Follower) Snapshot() []byte {
	var w Writer
	w.Uint8(snapshotVersion)
	f.state.Context.MarshalMLS(&w)
	f.state.Tree.MarshalMLS(&w)
	w.Opaque(f.state.ConfirmationTag)
	w.Optional(f.state.ReInit != nil)
	if f.state.ReInit != nil {
		f.state.ReInit.MarshalMLS(&w)
	}
	mark := w.Begin()
	for _, p := range f.pending {
		w.Opaque(p.Ref)
		p.Sender.MarshalMLS(&w)
		WriteProposal(&w, p.Proposal)
	}
	w.End(mark)
	return w.buf
}

// RestoreFollower goes on where Snapshot left off. It trusts the place the snapshot was kept in: of signatures and
// credentials nothing is verified again, only that the tree is whole and is the one of the context.
func RestoreFollower(snapshot []byte, rules *Rules) (*Follower, error) {
	if rules == nil {
		panic("mls: follower without rules")
	}
	r := NewReader(bytes.Clone(snapshot))
	if r.Uint8() != snapshotVersion {
		r.Fail(errVersion)
	}
	ctx := new(GroupContext)
	ctx.UnmarshalMLS(r)
	tree := &RatchetTree{suite: ctx.CipherSuite}
	tree.UnmarshalMLS(r)
	tag := r.Opaque(maxSmall)
	var reinit *ReInit
	if r.Optional() {
		reinit = new(ReInit)
		reinit.UnmarshalMLS(r)
	}
	var pending []*PendingProposal
	outer := r.Begin()
	start := r.Offset()
	for r.More() {
		if len(pending) == maxPending {
			r.Fail(errTooMany)
			break
		}
		p := &PendingProposal{Ref: r.Opaque(maxSmall)}
		p.Sender.UnmarshalMLS(r)
		p.Proposal = ReadProposal(r)
		pending = append(pending, p)
	}
	r.End(outer)
	if err := r.Finish(); err != nil {
		return nil, fmt.Errorf("mls: restore follower: %w", err)
	}
	if !ctx.CipherSuite.Supported() {
		return nil, errSuite
	}
	if !bytes.Equal(tree.TreeHash(), ctx.TreeHash) {
		return nil, errTreeHash
	}
	if err := tree.CheckStructure(); err != nil {
		return nil, err
	}
	state := NewState(&GroupInfo{GroupContext: ctx, ConfirmationTag: tag}, tree)
	state.ReInit = reinit
	return &Follower{rules: rules, state: state, pending: pending, bytes: r.Offset() - start}, nil
}
