package member

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave/mls"
)

// What is kept of proposals in one epoch; more are refused. A member takes at
// least what mls.Follower takes, so that it knows whatever is committed.
const (
	maxPending      = 1024
	maxPendingBytes = 16 << 20 // of encoded proposals
)

var errTooManyProposals = errors.New("member: too many proposals in one epoch")

// Processed is what a message brought. One of Proposal, Commit and Application
// is set.
type Processed struct {
	Sender            mls.Sender
	AuthenticatedData []byte
	// Proposal was stored as pending.
	Proposal *mls.PendingProposal
	// Commit waits for Merge, or for Wipe if the application refuses it.
	Commit *Staged
	// Removed tells that Commit removes the member itself.
	Removed bool
	// Application is data of the application, decrypted. It is not nil.
	Application []byte
}

// Process validates an encoded MLSMessage of this epoch: a proposal, a commit
// or application data, public or private. Commits are staged, not entered. The
// group stays as it was after an error. The errors ErrEpoch, ErrGroup and
// ErrUnknownProposal of package mls, ErrOwnMessage, ErrUnknownPSK and ErrReplay
// can be told apart.
func (g *Group) Process(msg []byte, now time.Time) (*Processed, error) {
	e := g.epoch
	if e == nil {
		return nil, ErrRemoved
	}
	var m mls.Message
	if err := mls.Unmarshal(msg, &m); err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	switch {
	case m.Public != nil:
		if err := e.checkFrame(m.Public.Content.GroupID, m.Public.Content.Epoch); err != nil {
			return nil, err
		}
		a, err := openPublic(g.cfg.Suite, e.secrets.membership, e.public.Context, m.Public)
		if err != nil {
			return nil, err
		}
		return g.process(a, now)
	case m.Private != nil:
		if err := e.checkFrame(m.Private.GroupID, m.Private.Epoch); err != nil {
			return nil, err
		}
		var out *Processed
		err := e.private.open(m.Private, e.own, func(a *mls.AuthenticatedContent) (err error) {
			out, err = g.process(a, now)
			return err
		})
		if err != nil {
			return nil, err
		}
		return out, nil
	}
	return nil, errors.New("member: message is neither public nor private")
}

func (e *epoch) checkFrame(id mls.GroupID, epoch mls.Epoch) error {
	if !bytes.Equal(id, e.public.Context.GroupID) {
		return mls.ErrGroup
	}
	if epoch != e.public.Context.Epoch {
		return mls.ErrEpoch
	}
	return nil
}

// process validates content whose membership is proven.
func (g *Group) process(a *mls.AuthenticatedContent, now time.Time) (*Processed, error) {
	out := &Processed{Sender: a.Content.Sender, AuthenticatedData: a.Content.AuthenticatedData}
	var err error
	switch a.Content.ContentType {
	case mls.ContentProposal:
		out.Proposal, err = g.receiveProposal(a, now)
	case mls.ContentCommit:
		if out.Commit, err = g.receiveCommit(a, now); err == nil {
			out.Removed = out.Commit.removed
		}
	case mls.ContentApplication:
		out.Application, err = g.receiveApplication(a)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// find returns a pending proposal; nil if it is unknown.
func (g *Group) find(ref mls.ProposalRef) *mls.PendingProposal {
	if p := g.findOwn(ref); p != nil {
		return p.PendingProposal
	}
	return nil
}

func (g *Group) findOwn(ref mls.ProposalRef) *pendingProposal {
	for i := range g.pending {
		if bytes.Equal(g.pending[i].Ref, ref) {
			return &g.pending[i]
		}
	}
	return nil
}

func (g *Group) receiveProposal(a *mls.AuthenticatedContent, now time.Time) (*mls.PendingProposal, error) {
	p, err := g.rules.CheckProposal(g.epoch.public, a, now)
	if err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	if known := g.find(p.Ref); known != nil {
		return known, nil
	}
	if _, update := p.Proposal.(*mls.Update); update && p.Sender.Type == mls.SenderMember && p.Sender.Leaf == g.epoch.own {
		// Its private key is not here: another instance of this member made
		// it, or this one before it was restored.
		return nil, ErrOwnMessage
	}
	keep := pendingProposal{PendingProposal: p, size: proposalSize(p.Proposal)}
	if !g.room(keep.size) {
		return nil, errTooManyProposals
	}
	g.pending = append(g.pending, keep)
	return p, nil
}

// room tells whether another proposal of size bytes can be kept.
func (g *Group) room(size int) bool {
	if len(g.pending) >= maxPending {
		return false
	}
	for i := range g.pending {
		size += g.pending[i].size
	}
	return size <= maxPendingBytes
}

func proposalSize(p mls.Proposal) int {
	var w mls.Writer
	mls.WriteProposal(&w, p)
	return len(w.Bytes())
}

func (g *Group) receiveApplication(a *mls.AuthenticatedContent) ([]byte, error) {
	s := g.epoch.public
	if a.Content.Sender.Type != mls.SenderMember {
		return nil, errors.New("member: application data from outside of the group")
	}
	key, err := s.SenderKey(&a.Content)
	if err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	if err := g.rules.VerifySignatures(a.SignatureCheck(g.cfg.Suite, key, s.Context)); err != nil {
		return nil, fmt.Errorf("member: application data: %w", err)
	}
	if a.Content.ApplicationData == nil {
		return []byte{}, nil
	}
	return a.Content.ApplicationData, nil
}

// receiveCommit stages another member's commit, or that of one who joins
// (RFC 9420, Section 12.4.2).
func (g *Group) receiveCommit(a *mls.AuthenticatedContent, now time.Time) (*Staged, error) {
	e := g.epoch
	if a.Content.Sender.Type == mls.SenderMember && a.Content.Sender.Leaf == e.own {
		return nil, ErrOwnMessage
	}
	staged, err := g.rules.StageCommit(e.public, a, g.find, now)
	if err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	out := &Staged{base: e, change: newChange(staged, a.Content.Sender)}
	if slices.Contains(staged.Removed, e.own) {
		// Nothing in the path is for us, so the confirmation tag stays
		// unchecked: the signature alone vouches for the removal.
		out.removed = true
		return out, nil
	}
	keys := e.keys.next(staged.Tree)
	if slices.Contains(staged.Updated, e.own) {
		for i := range staged.Proposals {
			if p := g.findOwn(staged.Proposals[i].Ref); p != nil && p.key.private != nil {
				keys.set(e.own.Node(), p.key.clone())
				out.signer = p.signer
			}
		}
	}
	if out.next, err = g.advance(a, staged, keys); err != nil {
		keys.wipe()
		return nil, err
	}
	return out, nil
}

// advance derives the epoch that a received commit begins; on success it takes
// over keys.
func (g *Group) advance(a *mls.AuthenticatedContent, staged *mls.Staged, keys *privateTree) (*epoch, error) {
	e, suite := g.epoch, g.cfg.Suite
	commitSecret := make([]byte, suite.HashSize())
	defer wipe(commitSecret)
	if staged.Path != nil {
		path, err := decryptPath(staged, keys, e.own)
		if err != nil {
			return nil, err
		}
		copy(commitSecret, path.commit)
		path.moveKeys(keys)
		path.wipe()
	}
	psk, err := g.psks.secret(suite, staged.PSKs)
	if err != nil {
		return nil, err
	}
	defer wipe(psk)
	init := e.secrets.init
	if staged.ExternalInit != nil {
		k, err := e.secrets.externalKey()
		if err != nil {
			return nil, fmt.Errorf("member: external key: %v", err)
		}
		if init, err = initFromExternal(suite, k, staged.ExternalInit); err != nil {
			return nil, err
		}
		defer wipe(init)
	}
	context := mls.Marshal(staged.Context)
	joiner := joinerSecret(suite, init, commitSecret, context)
	defer wipe(joiner)
	secrets, welcome, encryption := memberSecrets(suite, joiner, psk, context)
	wipe(welcome)
	if !secrets.confirms(staged.Context.ConfirmedTranscriptHash, a.Auth.ConfirmationTag) {
		secrets.wipe()
		wipe(encryption)
		return nil, errors.New("member: confirmation tag does not verify")
	}
	return &epoch{
		public: staged.State(bytes.Clone(a.Auth.ConfirmationTag)), own: e.own, keys: keys, secrets: secrets,
		private: newPrivateKeys(suite, secrets.senderData, encryption, staged.Tree.LeafCount()),
	}, nil
}

// Protect encrypts application data to the group as an encoded MLSMessage.
func (g *Group) Protect(data, authenticatedData []byte) ([]byte, error) {
	e := g.epoch
	if e == nil {
		return nil, ErrRemoved
	}
	if g.restored {
		return nil, ErrRestored
	}
	if e.public.ReInit != nil {
		return nil, mls.ErrClosed
	}
	a := &mls.AuthenticatedContent{WireFormat: mls.WirePrivateMessage, Content: mls.FramedContent{
		GroupID: e.public.Context.GroupID, Epoch: e.public.Context.Epoch, Sender: mls.MemberSender(e.own),
		AuthenticatedData: authenticatedData, ContentType: mls.ContentApplication, ApplicationData: data,
	}}
	if err := a.Sign(g.cfg.Signer, e.public.Context); err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	return g.frame(a)
}
