package member

import (
	"bytes"
	"crypto/hpke"
	"errors"
	"fmt"
	"io"
	"time"

	"conclave/mls"
)

// CommitOptions say what a commit does besides the pending proposals.
type CommitOptions struct {
	// Proposals are committed by value.
	Proposals []mls.Proposal
	// Skip leaves a pending proposal out if it returns true; nil leaves out
	// none that is valid.
	Skip func(*mls.PendingProposal) bool
	// Leaf renews what the member shows of itself; nil keeps it. Its keys
	// are renewed in any case, unless there is no path.
	Leaf *Leaf
	// Signer is a new signature key for the own leaf; nil keeps the old one.
	Signer mls.Signer
	// SkipPath leaves the path out where the proposals permit it. The commit
	// is small then, and heals nothing.
	SkipPath bool
	// WelcomeTree puts the ratchet tree into the Welcome.
	WelcomeTree bool
	// WelcomeBatch is how many new members share one Welcome; 0 is all.
	WelcomeBatch int
	// AuthenticatedData is sent along, signed.
	AuthenticatedData []byte
}

// Staged is a commit that was made or received and not entered yet. Whoever
// does not merge it wipes it.
type Staged struct {
	_         [0]func()
	base      *epoch
	next      *epoch // nil if the commit removes the member, or after Merge
	change    mls.Change
	removed   bool
	own       bool
	signer    mls.Signer // of the own leaf from now on; nil: as before
	message   []byte
	groupInfo []byte
	welcomes  [][]byte
}

// Message is the own commit as an encoded MLSMessage; nil for another's.
func (s *Staged) Message() []byte { return s.message }

// GroupInfo describes the epoch that an own commit begins, as an encoded
// MLSMessage, signed, with the external public key and without the ratchet
// tree; nil for another's commit (Group.GroupInfo makes one after Merge).
func (s *Staged) GroupInfo() []byte { return s.groupInfo }

// Welcome is the encoded MLSMessage for the members that an own commit adds,
// for the first batch of them if there are several; nil if it adds none. It
// must not be sent before the commit is accepted.
func (s *Staged) Welcome() []byte {
	if len(s.welcomes) == 0 {
		return nil
	}
	return s.welcomes[0]
}

// Welcomes are the encoded MLSMessages for all batches of new members.
func (s *Staged) Welcomes() [][]byte { return s.welcomes }

// Epoch is the epoch that the commit begins.
func (s *Staged) Epoch() mls.Epoch { return s.change.Epoch }

// Change tells what the commit does.
func (s *Staged) Change() *mls.Change { return &s.change }

// Own tells whether the member made the commit itself.
func (s *Staged) Own() bool { return s.own }

// Removed tells whether the commit removes the member itself. Merge ends the
// group then.
func (s *Staged) Removed() bool { return s.removed }

// Tree is the ratchet tree of the epoch that the commit begins, not to be
// written to; nil if the commit removes the member, or after Merge or Wipe.
func (s *Staged) Tree() *mls.RatchetTree {
	if s.next == nil {
		return nil
	}
	return s.next.public.Tree
}

// Wipe forgets the secrets of an epoch that will not be entered. It does
// nothing after Merge.
func (s *Staged) Wipe() {
	s.next.wipe()
	s.next = nil
}

func newChange(g *mls.Staged, sender mls.Sender) mls.Change {
	return mls.Change{
		Kind: mls.ChangeCommit, Epoch: g.Provisional.Epoch, Sender: sender, Committer: g.Committer, Joined: g.External,
		Added: g.Added, Updated: g.Updated, Removed: g.Removed, Proposals: g.Proposals, Closed: g.ReInit != nil,
	}
}

// Merge enters the staged epoch, one's own commit's or another's, and wipes
// the secrets of the old one. The delivery service must have accepted the
// commit. If it removes the member, the group ends.
func (g *Group) Merge(s *Staged) error {
	if g.epoch == nil {
		return ErrRemoved
	}
	if s.base != g.epoch {
		return ErrStale
	}
	if s.removed {
		g.Wipe()
		return nil
	}
	if s.next == nil {
		return ErrStale
	}
	g.enter(s.next)
	s.next = nil
	if s.own {
		g.restored = false
	}
	if s.signer != nil {
		g.cfg.Signer = s.signer
	}
	return nil
}

// sealed is a commit with all that its maker learns from it.
type sealed struct {
	_       [0]func()
	content *mls.AuthenticatedContent
	next    *epoch
	path    *pathSecrets // nil without a path
	joiner  []byte
	welcome []byte
}

func (s *sealed) wipe() {
	s.path.wipe()
	wipe(s.joiner)
	wipe(s.welcome)
}

// draft is what a commit is made of, by a member or by somebody who joins.
type draft struct {
	before     *mls.State
	staged     *mls.Staged
	sender     mls.Sender
	private    bool
	data       []byte
	leaf       *mls.LeafNode // template; nil for no path
	signer     mls.Signer    // of the message
	leafSigner mls.Signer    // of the new leaf
	init       []byte        // init secret of the epoch before
	psk        []byte
	keys       *privateTree // the member's keys that still stand; taken over
	rand       io.Reader
}

// seal makes the commit and the epoch that it begins (RFC 9420, Section
// 12.4.1).
func (d *draft) seal() (_ *sealed, err error) {
	suite, g := d.before.Context.CipherSuite, d.staged
	s := &sealed{}
	defer func() {
		if err != nil {
			s.wipe()
			d.keys.wipe()
		}
	}()
	commit := &mls.Commit{Proposals: make([]mls.ProposalOrRef, len(g.Proposals))}
	for i := range g.Proposals {
		if ref := g.Proposals[i].Ref; ref != nil {
			commit.Proposals[i].Ref = ref
		} else {
			commit.Proposals[i].Proposal = g.Proposals[i].Proposal
		}
	}
	commitSecret := make([]byte, suite.HashSize())
	if d.leaf != nil {
		if err := checkLeaf(g, d.leaf); err != nil {
			return nil, err
		}
		var leafKey keyPair
		if s.path, leafKey, err = createPath(g, d.leaf, d.leafSigner, d.rand); err != nil {
			return nil, err
		}
		commit.Path = g.Path
		d.keys.set(g.Committer.Node(), leafKey)
		s.path.moveKeys(d.keys)
		copy(commitSecret, s.path.commit)
	}
	defer wipe(commitSecret)
	wire := mls.WirePublicMessage
	if d.private {
		wire = mls.WirePrivateMessage
	}
	s.content = &mls.AuthenticatedContent{WireFormat: wire, Content: mls.FramedContent{
		GroupID: d.before.Context.GroupID, Epoch: d.before.Context.Epoch, Sender: d.sender,
		AuthenticatedData: d.data, ContentType: mls.ContentCommit, Commit: commit,
	}}
	if err := s.content.Sign(d.signer, d.before.Context); err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	g.Confirm(s.content)
	context := mls.Marshal(g.Context)
	s.joiner = joinerSecret(suite, d.init, commitSecret, context)
	secrets, welcome, encryption := memberSecrets(suite, s.joiner, d.psk, context)
	s.welcome = welcome
	s.content.Auth.ConfirmationTag = secrets.confirmationTag(g.Context.ConfirmedTranscriptHash)
	s.next = &epoch{
		public: g.State(s.content.Auth.ConfirmationTag), own: g.Committer, keys: d.keys, secrets: secrets,
		private: newPrivateKeys(suite, secrets.senderData, encryption, g.Tree.LeafCount()),
	}
	return s, nil
}

// checkLeaf makes sure that the others will not refuse the own new leaf for
// what it cannot do.
func checkLeaf(g *mls.Staged, leaf *mls.LeafNode) error {
	required, err := g.Provisional.Extensions.RequiredCapabilities()
	if err == nil {
		err = leaf.CheckCapabilities()
	}
	if err == nil {
		err = leaf.CheckGroupExtensions(g.Provisional.Extensions, required)
	}
	if err != nil {
		return fmt.Errorf("member: own leaf: %w", err)
	}
	return nil
}

// Commit makes a commit that covers every valid pending proposal and those of
// opt; of pending ones that contradict each other, the first. The group stays
// as it is until the result is merged.
func (g *Group) Commit(opt CommitOptions, now time.Time) (*Staged, error) {
	e := g.epoch
	if e == nil {
		return nil, ErrRemoved
	}
	if g.cfg.Private && g.behind {
		return nil, ErrRestored
	}
	staged, err := g.stageOwn(opt, now)
	if err != nil {
		return nil, err
	}
	psk, err := g.psks.secret(g.cfg.Suite, staged.PSKs)
	if err != nil {
		return nil, err
	}
	defer wipe(psk)
	d := &draft{
		before: e.public, staged: staged, sender: mls.MemberSender(e.own), private: g.cfg.Private, data: opt.AuthenticatedData,
		signer: g.cfg.Signer, leafSigner: g.cfg.Signer, init: e.secrets.init, psk: psk, keys: e.keys.next(staged.Tree), rand: g.cfg.Rand,
	}
	if staged.PathRequired || !opt.SkipPath && staged.ReInit == nil {
		d.leaf = ownLeaf(staged, opt.Leaf)
		if opt.Signer != nil {
			d.leafSigner = opt.Signer
		}
	} else if opt.Leaf != nil || opt.Signer != nil {
		d.keys.wipe()
		return nil, errors.New("member: a commit without a path cannot renew the leaf")
	}
	s, err := d.seal()
	if err != nil {
		return nil, err
	}
	defer s.wipe()
	out := &Staged{base: e, next: s.next, own: true, change: newChange(staged, d.sender)}
	if d.leaf != nil {
		out.signer = d.leafSigner
	}
	if err := g.finish(out, s, d.leafSigner, opt.WelcomeTree, opt.WelcomeBatch); err != nil {
		out.Wipe()
		return nil, err
	}
	return out, nil
}

// ownLeaf returns the template of the committer's next leaf.
func ownLeaf(staged *mls.Staged, leaf *Leaf) *mls.LeafNode {
	if leaf != nil {
		return leaf.node(staged.Provisional.CipherSuite, staged.Provisional.Extensions)
	}
	old := staged.Tree.Leaf(staged.Committer)
	return &mls.LeafNode{Credential: old.Credential, Capabilities: old.Capabilities, Extensions: old.Extensions}
}

// finish encodes what an own commit sends out.
func (g *Group) finish(out *Staged, s *sealed, signer mls.Signer, welcomeTree bool, batch int) error {
	message, err := g.frame(s.content)
	if err != nil {
		return err
	}
	out.message = message
	info, err := s.next.groupInfo(signer, false, true)
	if err != nil {
		return err
	}
	if out.groupInfo, err = encode(&mls.Message{GroupInfo: info}); err != nil {
		return err
	}
	if len(out.change.Added) == 0 {
		return nil
	}
	if welcomeTree {
		if info, err = s.next.groupInfo(signer, true, true); err != nil {
			return err
		}
	}
	welcomes, err := s.makeWelcomes(info, out.change.Proposals, out.change.Added, batch)
	if err != nil {
		return err
	}
	for _, w := range welcomes {
		b, err := encode(&mls.Message{Welcome: w})
		if err != nil {
			return err
		}
		out.welcomes = append(out.welcomes, b)
	}
	return nil
}

// frame protects a signed handshake message of the member for the wire.
func (g *Group) frame(a *mls.AuthenticatedContent) ([]byte, error) {
	if a.WireFormat == mls.WirePrivateMessage {
		m, err := g.epoch.private.seal(g.cfg.Rand, a, g.cfg.PadTo)
		if err != nil {
			return nil, err
		}
		return encode(&mls.Message{Private: m})
	}
	m, err := sealPublic(g.cfg.Suite, g.epoch.secrets.membership, g.epoch.public.Context, a)
	if err != nil {
		return nil, err
	}
	return encode(&mls.Message{Public: m})
}

// encode refuses to make a message that is too large for everybody.
func encode(m *mls.Message) ([]byte, error) {
	b := mls.Marshal(m)
	if len(b) > mls.MaxMessageSize {
		return nil, errors.New("member: message is too large")
	}
	return b, nil
}

// Propose signs a proposal of the member's and keeps it as pending. It returns
// the encoded MLSMessage. For an Update use ProposeUpdate.
func (g *Group) Propose(p mls.Proposal, now time.Time) ([]byte, error) {
	if _, ok := p.(*mls.Update); ok {
		return nil, errors.New("member: an update is made by ProposeUpdate")
	}
	return g.propose(p, pendingProposal{}, now)
}

// ProposeUpdate proposes new keys for the own leaf, and new contents unless
// leaf is nil; signer is a new signature key or nil. The member commits its
// own updates through CommitOptions instead.
func (g *Group) ProposeUpdate(leaf *Leaf, signer mls.Signer, now time.Time) ([]byte, error) {
	e := g.epoch
	if e == nil {
		return nil, ErrRemoved
	}
	old := e.public.Tree.Leaf(e.own)
	n := &mls.LeafNode{Credential: old.Credential, Capabilities: old.Capabilities, Extensions: old.Extensions}
	if leaf != nil {
		n = leaf.node(g.cfg.Suite, e.public.Context.Extensions)
	}
	keep := pendingProposal{signer: signer}
	if signer == nil {
		signer = g.cfg.Signer
	}
	key, err := newKeyPair(g.cfg.Suite, g.cfg.Rand)
	if err != nil {
		return nil, err
	}
	keep.key = key
	n.Source, n.SignatureKey, n.EncryptionKey = mls.LeafFromUpdate, signer.Public(), key.public
	if err := n.Sign(signer, e.public.Context.GroupID, e.own); err != nil {
		wipe(key.private)
		return nil, fmt.Errorf("member: %w", err)
	}
	message, err := g.propose(&mls.Update{LeafNode: n}, keep, now)
	if err != nil {
		wipe(key.private)
	}
	return message, err
}

func (g *Group) propose(p mls.Proposal, keep pendingProposal, now time.Time) ([]byte, error) {
	e := g.epoch
	if e == nil {
		return nil, ErrRemoved
	}
	wire := mls.WirePublicMessage
	if g.cfg.Private {
		if g.behind {
			return nil, ErrRestored
		}
		wire = mls.WirePrivateMessage
	}
	if err := mls.CheckForm(p); err != nil {
		return nil, fmt.Errorf("member: propose: %w", err)
	}
	keep.size = proposalSize(p)
	if !g.room(keep.size) {
		return nil, errTooManyProposals
	}
	a := &mls.AuthenticatedContent{WireFormat: wire, Content: mls.FramedContent{
		GroupID: e.public.Context.GroupID, Epoch: e.public.Context.Epoch, Sender: mls.MemberSender(e.own),
		ContentType: mls.ContentProposal, Proposal: p,
	}}
	if err := a.Sign(g.cfg.Signer, e.public.Context); err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	// The same rules as for everybody's, before anything is sent.
	known, err := g.rules.CheckProposal(e.public, a, now)
	if err != nil {
		return nil, fmt.Errorf("member: propose: %w", err)
	}
	message, err := g.frame(a)
	if err != nil {
		return nil, err
	}
	keep.PendingProposal = known
	if g.find(known.Ref) == nil {
		g.pending = append(g.pending, keep)
	}
	return message, nil
}

// NewPSK returns a proposal to mix an external pre-shared key into the next
// epoch, with a fresh nonce.
func (g *Group) NewPSK(id []byte) (*mls.PreSharedKey, error) {
	nonce, err := newSecret(g.cfg.Suite, g.cfg.Rand)
	if err != nil {
		return nil, err
	}
	return &mls.PreSharedKey{PSK: mls.PreSharedKeyID{Type: mls.PSKExternal, ID: bytes.Clone(id), Nonce: nonce}}, nil
}

// NewResumption is NewPSK for the resumption PSK of an epoch of this group,
// which proves to have been a member then.
func (g *Group) NewResumption(epoch mls.Epoch) (*mls.PreSharedKey, error) {
	if g.epoch == nil {
		return nil, ErrRemoved
	}
	return g.newResumption(g.GroupID(), epoch)
}

func (g *Group) newResumption(groupID mls.GroupID, epoch mls.Epoch) (*mls.PreSharedKey, error) {
	nonce, err := newSecret(g.cfg.Suite, g.cfg.Rand)
	if err != nil {
		return nil, err
	}
	return &mls.PreSharedKey{PSK: mls.PreSharedKeyID{
		Type: mls.PSKResumption, Usage: mls.ResumptionApplication, GroupID: bytes.Clone(groupID), Epoch: epoch, Nonce: nonce,
	}}, nil
}

// externalInitLabel is the exporter context of Section 8.3.
const externalInitLabel = "MLS 1.0 external init secret"

// initFromExternal derives the init secret that a joiner encapsulated.
func initFromExternal(suite mls.CipherSuite, k hpke.PrivateKey, init *mls.ExternalInit) ([]byte, error) {
	secret, err := suite.ExportFrom(k, init.KEMOutput, externalInitLabel, suite.HashSize())
	if err != nil {
		return nil, fmt.Errorf("member: external init: %v", err)
	}
	return secret, nil
}
