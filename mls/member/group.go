package member

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"conclave/mls"
)

// Errors that callers branch on.
var (
	// ErrOwnMessage means that a message is one's own: a commit is merged
	// from its Staged, and nobody can open a private message of its own.
	ErrOwnMessage = errors.New("member: own message")
	// ErrStale means that a Staged belongs to an epoch the group has left.
	ErrStale = errors.New("member: staged commit is for another epoch")
	// ErrRemoved means that the group ended for this member: it was removed,
	// or the state was wiped.
	ErrRemoved = errors.New("member: not a member any more")
	// ErrAlreadyMember means that the own signature key stands in the tree, so
	// that joining needs Resync to replace that leaf; or that a Welcome is
	// into a group of a name that the client is in already.
	ErrAlreadyMember = errors.New("member: already in the group")
	// ErrRestored means that the group was restored from a snapshot and must
	// commit before it may send, or derive keys to send with.
	ErrRestored = errors.New("member: restored group may not send before its own commit")
)

// Config is what a member brings along to all its groups.
type Config struct {
	Suite    mls.CipherSuite
	Signer   mls.Signer        // leaf signature key
	Verifier mls.Verifier      // mandatory
	Verify   mls.BatchVerifier // nil: standard library
	Rand     io.Reader         // of own keys; HPKE itself draws from the system

	// MaxLifetime and TolerateExpired are those of mls.Config.
	MaxLifetime     time.Duration
	TolerateExpired bool
	// Private sends proposals and commits as PrivateMessages, which a
	// delivery service cannot follow. External commits are always public.
	Private bool
	// PadTo rounds the plaintext of PrivateMessages up to a multiple of so
	// many bytes; 0 pads nothing.
	PadTo int
}

// rules panics without a verifier: there is none that accepts everything.
func (c *Config) rules() *mls.Rules {
	return mls.NewRules(mls.Config{
		Verifier: c.Verifier, Signatures: c.Verify, MaxLifetime: c.MaxLifetime, TolerateExpired: c.TolerateExpired,
	})
}

// check refuses a Config that cannot work.
func (c *Config) check() error {
	switch {
	case !c.Suite.Supported():
		return errors.New("member: cipher suite is not supported")
	case c.Signer == nil || c.Rand == nil:
		return errors.New("member: config lacks a signer or a source of randomness")
	}
	return nil
}

// Leaf is what a member shows of itself.
type Leaf struct {
	Credential mls.Credential
	// Capabilities nil lists the suite, both kinds of credential, and the
	// extensions that leaf and group use.
	Capabilities *mls.Capabilities
	Extensions   []mls.Extension
	// Lifetime of a founder's leaf or a key package's, until it is updated;
	// 0 is a day.
	Lifetime time.Duration
}

const (
	defaultLifetime = 24 * time.Hour
	// clockSkew is how far behind another member's clock may be.
	clockSkew = time.Hour
)

// node returns an unsigned leaf node with source update or commit. context
// are the extensions of the group, if there is one already.
func (l *Leaf) node(suite mls.CipherSuite, context mls.Extensions) *mls.LeafNode {
	n := &mls.LeafNode{Credential: l.Credential, Extensions: l.Extensions}
	if l.Capabilities != nil {
		n.Capabilities = *l.Capabilities
		return n
	}
	n.Capabilities = mls.Capabilities{
		Versions:     []mls.ProtocolVersion{mls.MLS10},
		CipherSuites: []mls.CipherSuite{suite},
		Credentials:  []mls.CredentialType{mls.CredentialBasic, mls.CredentialX509},
	}
	add := func(t mls.ExtensionType) {
		if !n.Capabilities.SupportsExtension(t) {
			n.Capabilities.Extensions = append(n.Capabilities.Extensions, t)
		}
	}
	for i := range l.Extensions {
		add(l.Extensions[i].Type)
	}
	for i := range context {
		add(context[i].Type)
	}
	if required, err := context.RequiredCapabilities(); err == nil && required != nil {
		for _, t := range required.Extensions {
			add(t)
		}
	}
	return n
}

// packaged returns the leaf node of a founder or a key package, signed.
func (l *Leaf) packaged(cfg *Config, context mls.Extensions, now time.Time) (*mls.LeafNode, keyPair, error) {
	n := l.node(cfg.Suite, context)
	lifetime := l.Lifetime
	if lifetime == 0 {
		lifetime = defaultLifetime
	}
	n.Source = mls.LeafFromKeyPackage
	n.Lifetime = mls.Lifetime{
		NotBefore: uint64(max(0, now.Add(-clockSkew).Unix())),
		NotAfter:  uint64(max(0, now.Add(lifetime).Unix())),
	}
	n.SignatureKey = cfg.Signer.Public()
	key, err := newKeyPair(cfg.Suite, cfg.Rand)
	if err != nil {
		return nil, keyPair{}, err
	}
	n.EncryptionKey = key.public
	if err := n.Sign(cfg.Signer, nil, 0); err != nil {
		wipe(key.private)
		return nil, keyPair{}, fmt.Errorf("member: %w", err)
	}
	return n, key, nil
}

// Group is the state of one member of a group. It is not safe for concurrent
// use, and is neither copied nor compared.
type Group struct {
	_        [0]func()
	cfg      Config
	rules    *mls.Rules
	epoch    *epoch // nil when removed or wiped
	pending  []pendingProposal
	psks     pskStore
	restored bool // from a snapshot, and no commit of its own was merged since
	behind   bool // in the epoch of the snapshot
}

// epoch is a member's view of one epoch. public is shared with nobody who
// writes to it; the secrets are the epoch's own.
type epoch struct {
	_       [0]func()
	public  *mls.State
	own     mls.LeafIndex
	keys    *privateTree
	secrets *epochSecrets
	private *privateKeys
}

func (e *epoch) wipe() {
	if e == nil {
		return
	}
	e.keys.wipe()
	e.secrets.wipe()
	e.private.wipe()
}

// newPrivateKeys takes over encryption; senderData is copied.
func newPrivateKeys(suite mls.CipherSuite, senderData, encryption []byte, width mls.LeafCount) *privateKeys {
	return &privateKeys{suite: suite, senderData: bytes.Clone(senderData), tree: newSecretTree(suite, encryption, width)}
}

// pendingProposal is a proposal of this epoch. For one's own Update it holds
// the new leaf's keys.
type pendingProposal struct {
	*mls.PendingProposal
	size   int // encoded
	key    keyPair
	signer mls.Signer
}

// Create founds a group of one at epoch 0 (RFC 9420, Section 11). context
// becomes the extensions of the group context. groupID is copied.
func Create(cfg Config, groupID []byte, context []mls.Extension, leaf Leaf, now time.Time) (*Group, error) {
	rules := cfg.rules()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	node, key, err := leaf.packaged(&cfg, context, now)
	if err != nil {
		return nil, err
	}
	tree := mls.NewRatchetTree(cfg.Suite, node)
	ctx := &mls.GroupContext{
		Version: mls.MLS10, CipherSuite: cfg.Suite, GroupID: bytes.Clone(groupID),
		TreeHash: tree.TreeHash(), ConfirmedTranscriptHash: []byte{}, Extensions: context,
	}
	if err := rules.CheckTree(tree, ctx, now); err != nil {
		wipe(key.private)
		return nil, fmt.Errorf("member: create: %w", err)
	}
	secret, err := newSecret(cfg.Suite, cfg.Rand)
	if err != nil {
		wipe(key.private)
		return nil, err
	}
	defer wipe(secret)
	secrets, encryption := deriveEpoch(cfg.Suite, secret)
	tag := secrets.confirmationTag(nil)
	g := &Group{cfg: cfg, rules: rules}
	g.enter(&epoch{
		public: &mls.State{
			Context: ctx, Tree: tree, ConfirmationTag: tag,
			InterimTranscriptHash: mls.InterimTranscriptHash(cfg.Suite, nil, tag),
		},
		keys:    &privateTree{keys: map[mls.NodeIndex]keyPair{0: key}},
		secrets: secrets,
		private: newPrivateKeys(cfg.Suite, secrets.senderData, encryption, tree.LeafCount()),
	})
	return g, nil
}

// enter replaces the epoch and wipes the old one and its proposals.
func (g *Group) enter(e *epoch) {
	g.epoch.wipe()
	g.clearPending()
	g.epoch = e
	g.behind = false
	g.psks.addResumption(e.public.Context.GroupID, e.public.Context.Epoch, e.secrets.resumption)
	g.psks.resumption[len(g.psks.resumption)-1].tree = e.public.Tree
}

func (g *Group) clearPending() {
	for i := range g.pending {
		wipe(g.pending[i].key.private)
	}
	g.pending = nil
}

// Wipe forgets all secrets. Every later call fails with ErrRemoved.
func (g *Group) Wipe() {
	g.clearPending()
	g.psks.wipe()
	g.epoch.wipe()
	g.epoch = nil
}

// Config is what the member brought along, with the signer of its leaf as it is
// now, to restore the group with.
func (g *Group) Config() Config { return g.cfg }

// Active tells whether the member still has the group's secrets.
func (g *Group) Active() bool { return g.epoch != nil }

// Restored tells that the group comes from a snapshot and has not entered an
// epoch by a commit of its own since: it may not send, nor derive keys to send
// with. Another copy of the snapshot, or the state that it was taken of, may be
// alive and send under the same keys, and follows the commits of others as this
// one does. It cannot follow a commit of this one.
func (g *Group) Restored() bool { return g.restored }

// Export is MLS-Exporter (Section 8.5): length bytes for a label and context
// of the application's, the same for every member of the epoch. A restored
// group gets ErrRestored: keys that it seals with from the beginning of a
// counter may have been used (see Restored and ExportToReceive).
func (g *Group) Export(label string, context []byte, length int) ([]byte, error) {
	if g.epoch != nil && g.restored {
		return nil, ErrRestored
	}
	return g.ExportToReceive(label, context, length)
}

// ExportToReceive is Export for keys that nothing is ever sealed with, which
// restored groups may have, too.
func (g *Group) ExportToReceive(label string, context []byte, length int) ([]byte, error) {
	if g.epoch == nil {
		return nil, ErrRemoved
	}
	return g.epoch.secrets.export(label, context, length)
}

// EpochAuthenticator is equal for members who agree on everything up to this
// epoch (Section 8.7); nil when removed. The caller owns it.
func (g *Group) EpochAuthenticator() []byte {
	if g.epoch == nil {
		return nil
	}
	return bytes.Clone(g.epoch.secrets.authenticator)
}

// Epoch is the number of the epoch; 0 when removed.
func (g *Group) Epoch() mls.Epoch {
	if g.epoch == nil {
		return 0
	}
	return g.epoch.public.Context.Epoch
}

// GroupID is the group's name; nil when removed.
func (g *Group) GroupID() mls.GroupID {
	if g.epoch == nil {
		return nil
	}
	return g.epoch.public.Context.GroupID
}

// OwnLeaf is where the member stands in the tree.
func (g *Group) OwnLeaf() mls.LeafIndex {
	if g.epoch == nil {
		return 0
	}
	return g.epoch.own
}

// Context is the group context of the epoch, not to be written to; nil when
// removed.
func (g *Group) Context() *mls.GroupContext {
	if g.epoch == nil {
		return nil
	}
	return g.epoch.public.Context
}

// Tree is the ratchet tree of the epoch, not to be written to; nil when
// removed. It stays as it is when the group moves on.
func (g *Group) Tree() *mls.RatchetTree {
	if g.epoch == nil {
		return nil
	}
	return g.epoch.public.Tree
}

// ConfirmedTranscriptHash covers all commits up to this epoch; nil when
// removed. Not to be written to.
func (g *Group) ConfirmedTranscriptHash() []byte {
	if g.epoch == nil {
		return nil
	}
	return g.epoch.public.Context.ConfirmedTranscriptHash
}

// Closed tells whether the group was closed by a reinitialization.
func (g *Group) Closed() bool { return g.epoch != nil && g.epoch.public.ReInit != nil }

// ReInit is the proposal that closed the group; nil while it is open.
func (g *Group) ReInit() *mls.ReInit {
	if g.epoch == nil {
		return nil
	}
	return g.epoch.public.ReInit
}

// Pending returns the proposals of the epoch in the order of their arrival.
func (g *Group) Pending() []*mls.PendingProposal {
	list := make([]*mls.PendingProposal, len(g.pending))
	for i := range g.pending {
		list[i] = g.pending[i].PendingProposal
	}
	return list
}

// ClearPending drops a proposal, so that Commit does not cover it. A commit of
// another member that refers to it cannot be processed then.
func (g *Group) ClearPending(ref mls.ProposalRef) {
	for i := range g.pending {
		if bytes.Equal(g.pending[i].Ref, ref) {
			wipe(g.pending[i].key.private)
			g.pending = append(g.pending[:i], g.pending[i+1:]...)
			return
		}
	}
}

// SetPSK lets the group answer to an external pre-shared key. Both are copied.
func (g *Group) SetPSK(id, secret []byte) { g.psks.add(id, secret) }

// RemovePSK wipes an external pre-shared key.
func (g *Group) RemovePSK(id []byte) { g.psks.remove(id) }

// ResumptionPSK returns a copy of the epoch's resumption PSK, by which other
// groups can be bound to this one. The caller wipes it.
func (g *Group) ResumptionPSK() (*Resumption, error) {
	if g.epoch == nil {
		return nil, ErrRemoved
	}
	return &Resumption{
		GroupID: bytes.Clone(g.GroupID()), Epoch: g.Epoch(), Secret: bytes.Clone(g.epoch.secrets.resumption),
	}, nil
}

// AddResumption lets the group answer to the resumption PSK of another one. It
// is copied.
func (g *Group) AddResumption(r *Resumption) { g.psks.addResumption(r.GroupID, r.Epoch, r.Secret) }

// GroupInfo signs a description of the epoch by which others can join: an
// encoded MLSMessage with the external public key. The ratchet tree is in it
// if withTree is set.
func (g *Group) GroupInfo(withTree bool) ([]byte, error) {
	if g.epoch == nil {
		return nil, ErrRemoved
	}
	info, err := g.epoch.groupInfo(g.cfg.Signer, withTree, true)
	if err != nil {
		return nil, err
	}
	return encode(&mls.Message{GroupInfo: info})
}

// groupInfo describes the epoch (Section 12.4.3).
func (e *epoch) groupInfo(signer mls.Signer, withTree, withExternalPub bool) (*mls.GroupInfo, error) {
	info := &mls.GroupInfo{GroupContext: e.public.Context, ConfirmationTag: e.public.ConfirmationTag, Signer: e.own}
	if withTree {
		info.Extensions = append(info.Extensions, mls.RatchetTreeExtension(e.public.Tree))
	}
	if withExternalPub {
		k, err := e.secrets.externalKey()
		if err != nil {
			return nil, fmt.Errorf("member: external key: %v", err)
		}
		info.Extensions = append(info.Extensions, mls.ExternalPubExtension(k.PublicKey().Bytes()))
	}
	if err := info.Sign(signer); err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	return info, nil
}
