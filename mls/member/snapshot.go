package member

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"conclave/mls"
)

// Snapshot is a group's state in encoded form, with all its secrets. Whoever
// stores it encrypts it. Its zero value is empty.
type Snapshot struct {
	_ [0]func()
	b []byte
}

// Bytes returns the encoding, which stays the snapshot's: it is overwritten by
// the next Save and by Wipe.
func (s *Snapshot) Bytes() []byte { return s.b }

// Wipe forgets the snapshot.
func (s *Snapshot) Wipe() {
	wipe(s.b)
	s.b = nil
}

const (
	snapshotVersion = 1
	// Bounds for the decoder. A snapshot comes from our own disk, yet a
	// damaged one must not do worse than fail.
	maxSnapshotSecret = 1 << 16
)

// Save encodes the group into s and wipes what s held before. The own sending
// ratchets are not part of it: a group that is restored may receive, and may
// propose and commit in public messages (in private ones from the next epoch
// on, where a fresh reuse guard keeps nonces apart). It may send again once its
// own commit is merged, which no other copy of the state can follow. So two
// copies of one state never seal under the same key.
func (g *Group) Save(s *Snapshot) error {
	e := g.epoch
	if e == nil {
		return ErrRemoved
	}
	// Deriving the own leaf moves its ratchets out of the tree's node
	// secrets, from which a copy could derive them again.
	if _, err := e.private.tree.leaf(e.own); err != nil {
		return err
	}
	public := g.savePublic()
	// With all room made beforehand, growing leaves no copies of secrets behind.
	w := mls.NewWriter(len(public) + g.secretSize() + 4096)
	w.Uint8(snapshotVersion)
	w.Opaque(public)
	e.keys.save(w)
	for _, secret := range e.secrets.list() {
		w.Opaque(*secret)
	}
	w.Opaque(e.private.senderData)
	e.private.tree.save(w, e.own)
	g.psks.save(w)
	for _, p := range g.savable() {
		p.key.save(w)
	}
	s.Wipe()
	s.b = w.Bytes()
	return nil
}

// savable are the pending proposals that a snapshot keeps: all but own updates
// to a new signer, which cannot be saved.
func (g *Group) savable() []pendingProposal {
	return slices.DeleteFunc(slices.Clone(g.pending), func(p pendingProposal) bool { return p.signer != nil })
}

// savePublic encodes what is no secret, to be decoded into memory that may
// stay.
func (g *Group) savePublic() []byte {
	e := g.epoch
	var w mls.Writer
	e.public.Context.MarshalMLS(&w)
	e.public.Tree.MarshalMLS(&w)
	w.Opaque(e.public.ConfirmationTag)
	w.Optional(e.public.ReInit != nil)
	if e.public.ReInit != nil {
		e.public.ReInit.MarshalMLS(&w)
	}
	w.Uint32(uint32(e.own))
	keep := g.savable()
	w.Uint32(uint32(len(keep)))
	for i := range keep {
		w.Opaque(keep[i].Ref)
		keep[i].Sender.MarshalMLS(&w)
		mls.WriteProposal(&w, keep[i].Proposal)
	}
	return w.Bytes()
}

// secretSize is an upper bound of what the secrets and pending proposals take.
func (g *Group) secretSize() int {
	n := 0
	for _, k := range g.epoch.keys.keys {
		n += len(k.public) + len(k.private) + 16
	}
	n += 10 * (g.cfg.Suite.HashSize() + 4)
	n += len(g.epoch.private.tree.nodes) * (g.cfg.Suite.HashSize() + 8)
	for _, l := range g.epoch.private.tree.ratchets {
		n += 2*(g.cfg.Suite.HashSize()+16) + 8
		n += (len(l.handshake.skipped) + len(l.application.skipped)) * (4 + g.cfg.Suite.KeySize() + g.cfg.Suite.NonceSize() + 8)
	}
	for i := range g.psks.external {
		n += len(g.psks.external[i].ID) + len(g.psks.external[i].Secret) + 8
	}
	for i := range g.psks.resumption {
		n += len(g.psks.resumption[i].GroupID) + len(g.psks.resumption[i].Secret) + 16
	}
	for i := range g.pending {
		n += len(g.pending[i].key.public) + len(g.pending[i].key.private) + 16
	}
	return n
}

// Restore returns the group that Save encoded. cfg must have the signer of the
// own leaf. The snapshot stays the caller's, to be wiped. It is trusted like
// the place it was kept in: credentials and signatures are not verified again.
func Restore(cfg Config, snapshot []byte) (*Group, error) {
	g := &Group{cfg: cfg, rules: cfg.rules(), restored: true, behind: true}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	r := mls.NewReader(snapshot)
	if r.Uint8() != snapshotVersion {
		r.Fail(errors.New("unknown version"))
	}
	e, err := g.restorePublic(bytes.Clone(r.Opaque(mls.MaxMessageSize)))
	if err != nil {
		return nil, err
	}
	// Every secret is copied out, so that the caller can wipe snapshot.
	e.keys, e.secrets = restoreKeys(r), &epochSecrets{suite: cfg.Suite}
	for _, secret := range e.secrets.list() {
		*secret = bytes.Clone(r.Opaque(maxSnapshotSecret))
	}
	e.private = &privateKeys{suite: cfg.Suite, senderData: bytes.Clone(r.Opaque(maxSnapshotSecret))}
	e.private.tree = restoreSecretTree(r, cfg.Suite, e.public.Tree.LeafCount())
	g.psks.restore(r)
	for i := range g.pending {
		g.pending[i].key = restoreKeyPair(r)
	}
	g.epoch = e
	err = r.Finish()
	if err == nil {
		err = checkRestored(cfg, e, g.pending)
	}
	if err != nil {
		g.Wipe()
		return nil, fmt.Errorf("member: restore: %w", err)
	}
	return g, nil
}

// restorePublic decodes what savePublic wrote; b stays in use.
func (g *Group) restorePublic(b []byte) (*epoch, error) {
	r := mls.NewReader(b)
	ctx := new(mls.GroupContext)
	ctx.UnmarshalMLS(r)
	if r.Err() == nil && ctx.CipherSuite != g.cfg.Suite {
		r.Fail(errors.New("another cipher suite"))
	}
	// Reading a tree keeps the suite of the one it is read into.
	tree := mls.NewRatchetTree(g.cfg.Suite, nil)
	tree.UnmarshalMLS(r)
	info := &mls.GroupInfo{GroupContext: ctx, ConfirmationTag: r.Opaque(maxSnapshotSecret)}
	var reinit *mls.ReInit
	if r.Optional() {
		reinit = new(mls.ReInit)
		reinit.UnmarshalMLS(r)
	}
	own := mls.LeafIndex(r.Uint32())
	n := r.Uint32()
	if n > maxPending {
		r.Fail(errTooManyProposals)
	}
	for ; n > 0 && r.Err() == nil; n-- {
		p := &mls.PendingProposal{Ref: r.Opaque(maxSnapshotSecret)}
		p.Sender.UnmarshalMLS(r)
		p.Proposal = mls.ReadProposal(r)
		if r.Err() == nil {
			g.pending = append(g.pending, pendingProposal{PendingProposal: p, size: proposalSize(p.Proposal)})
		}
	}
	if err := r.Finish(); err != nil {
		return nil, fmt.Errorf("member: restore: %w", err)
	}
	e := &epoch{public: mls.NewState(info, tree), own: own}
	e.public.ReInit = reinit
	return e, nil
}

// checkRestored makes sure that a snapshot fits together.
func checkRestored(cfg Config, e *epoch, pending []pendingProposal) error {
	tree := e.public.Tree
	if !bytes.Equal(tree.TreeHash(), e.public.Context.TreeHash) {
		return errors.New("ratchet tree is not that of the group context")
	}
	if err := tree.CheckStructure(); err != nil {
		return err
	}
	leaf := tree.Leaf(e.own)
	if leaf == nil || !bytes.Equal(leaf.SignatureKey, cfg.Signer.Public()) {
		return errors.New("signer does not hold the key of the own leaf")
	}
	for _, secret := range append(e.secrets.list(), &e.private.senderData) {
		if len(*secret) != cfg.Suite.HashSize() {
			return errors.New("secret has the wrong size")
		}
	}
	for at, k := range e.keys.keys {
		if k.public == nil || !bytes.Equal(k.public, tree.EncryptionKey(at)) {
			return errors.New("private key is not of the ratchet tree")
		}
	}
	return checkRestoredPending(tree, e.own, pending)
}

// checkRestoredPending makes sure that pending proposals are of members, and that own Updates, and nothing else, have the
// private key that they bring.
func checkRestoredPending(tree *mls.RatchetTree, own mls.LeafIndex, pending []pendingProposal) error {
	for i := range pending {
		p := &pending[i]
		ofMember := p.Sender.Type == mls.SenderMember
		if ofMember && tree.Leaf(p.Sender.Leaf) == nil {
			return errors.New("pending proposal is of no member")
		}
		var brings mls.EncryptionKey // nil: no private key belongs to it
		if u, ok := p.Proposal.(*mls.Update); ok {
			if !ofMember {
				return errors.New("pending update is of no member")
			}
			if p.Sender.Leaf == own {
				brings = u.LeafNode.EncryptionKey
			}
		}
		if !bytes.Equal(p.key.public, brings) {
			return errors.New("pending proposal does not go with its private key")
		}
	}
	return nil
}

// list returns the secrets in the order of a snapshot.
func (e *epochSecrets) list() []*[]byte {
	return []*[]byte{&e.senderData, &e.exporter, &e.external, &e.confirmation, &e.membership, &e.resumption, &e.authenticator, &e.init}
}

func (t *privateTree) save(w *mls.Writer) {
	w.Uint32(uint32(len(t.keys)))
	for _, at := range slices.Sorted(maps.Keys(t.keys)) {
		w.Uint32(uint32(at))
		t.keys[at].save(w)
	}
}

func restoreKeys(r *mls.Reader) *privateTree {
	t := &privateTree{keys: map[mls.NodeIndex]keyPair{}}
	for n := r.Uint32(); n > 0 && r.Err() == nil; n-- {
		at := mls.NodeIndex(r.Uint32())
		t.set(at, restoreKeyPair(r))
	}
	return t
}

func (k keyPair) save(w *mls.Writer) {
	w.Opaque(k.public)
	w.Opaque(k.private)
}

func restoreKeyPair(r *mls.Reader) keyPair {
	k := keyPair{public: bytes.Clone(r.Opaque(maxSnapshotSecret)), private: bytes.Clone(r.Opaque(maxSnapshotSecret))}
	if len(k.private) == 0 {
		return keyPair{}
	}
	return k
}

// save writes the tree without the ratchets of the leaf own, which must have
// been derived.
func (t *secretTree) save(w *mls.Writer, own mls.LeafIndex) {
	w.Uint32(uint32(len(t.nodes)))
	for _, at := range slices.Sorted(maps.Keys(t.nodes)) {
		w.Uint32(uint32(at))
		w.Opaque(t.nodes[at])
	}
	w.Uint32(uint32(len(t.ratchets)))
	for _, i := range slices.Sorted(maps.Keys(t.ratchets)) {
		l := t.ratchets[i]
		w.Uint32(uint32(i))
		if i == own {
			// Wiped ratchets that cannot be derived again.
			(&leafRatchets{}).save(w)
			continue
		}
		l.save(w)
	}
}

func (l *leafRatchets) save(w *mls.Writer) {
	l.handshake.save(w)
	l.application.save(w)
}

func (r *ratchet) save(w *mls.Writer) {
	w.Opaque(r.secret)
	w.Uint32(r.next)
	w.Uint32(uint32(len(r.skipped)))
	for i := range r.skipped {
		k := &r.skipped[i]
		w.Uint32(k.generation)
		w.Opaque(k.key)
		w.Opaque(k.nonce)
	}
}

func restoreRatchet(r *mls.Reader) ratchet {
	out := ratchet{secret: bytes.Clone(r.Opaque(maxSnapshotSecret)), next: r.Uint32()}
	if len(out.secret) == 0 {
		out.secret = nil
	}
	n := r.Uint32()
	if n > maxSkipped {
		r.Fail(errors.New("too many skipped keys"))
	}
	for ; n > 0 && r.Err() == nil; n-- {
		out.skipped = append(out.skipped, messageKey{
			generation: r.Uint32(), key: bytes.Clone(r.Opaque(maxSnapshotSecret)), nonce: bytes.Clone(r.Opaque(maxSnapshotSecret)),
		})
	}
	return out
}

func restoreSecretTree(r *mls.Reader, suite mls.CipherSuite, width mls.LeafCount) *secretTree {
	t := &secretTree{suite: suite, width: width, nodes: map[mls.NodeIndex][]byte{}, ratchets: map[mls.LeafIndex]*leafRatchets{}}
	for n := r.Uint32(); n > 0 && r.Err() == nil; n-- {
		at := mls.NodeIndex(r.Uint32())
		t.nodes[at] = bytes.Clone(r.Opaque(maxSnapshotSecret))
	}
	for n := r.Uint32(); n > 0 && r.Err() == nil; n-- {
		at := mls.LeafIndex(r.Uint32())
		t.ratchets[at] = &leafRatchets{handshake: restoreRatchet(r), application: restoreRatchet(r)}
	}
	return t
}

func (s *pskStore) save(w *mls.Writer) {
	w.Uint32(uint32(len(s.external)))
	for i := range s.external {
		w.Opaque(s.external[i].ID)
		w.Opaque(s.external[i].Secret)
	}
	w.Uint32(uint32(len(s.resumption)))
	for i := range s.resumption {
		x := &s.resumption[i]
		w.Opaque(x.GroupID)
		w.Uint64(uint64(x.Epoch))
		w.Opaque(x.Secret)
	}
}

func (s *pskStore) restore(r *mls.Reader) {
	for n := r.Uint32(); n > 0 && r.Err() == nil; n-- {
		s.add(r.Opaque(maxSnapshotSecret), r.Opaque(maxSnapshotSecret))
	}
	for n := r.Uint32(); n > 0 && r.Err() == nil; n-- {
		s.addResumption(r.Opaque(maxSnapshotSecret), mls.Epoch(r.Uint64()), r.Opaque(maxSnapshotSecret))
	}
}
