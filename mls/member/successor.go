package member

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave/mls"
)

// SuccessorOptions say what a group that grows out of another one is.
type SuccessorOptions struct {
	// GroupID and Extensions are for a branch only; a reinitialization takes
	// them from the proposal that closed the old group.
	GroupID    []byte
	Extensions []mls.Extension
	Leaf       Leaf // the own leaf
	// KeyPackages are those of the other members.
	KeyPackages []*mls.KeyPackage
	// WelcomeTree puts the ratchet tree into the Welcome.
	WelcomeTree bool
}

// Reinit opens the group that a committed ReInit proposal announced (RFC 9420,
// Section 11.2), for all members of the old one. cfg has the suite of the new
// group. It returns the new group, at epoch 1, and the encoded Welcome for the
// others. The old group should be wiped when the new one stands.
func (g *Group) Reinit(cfg Config, opt SuccessorOptions, now time.Time) (*Group, []byte, error) {
	if g.epoch == nil {
		return nil, nil, ErrRemoved
	}
	p := g.epoch.public.ReInit
	if p == nil {
		return nil, nil, errors.New("member: reinit: the group is not closed")
	}
	if cfg.Suite != p.CipherSuite || p.Version != mls.MLS10 {
		return nil, nil, errors.New("member: reinit: another version or cipher suite was agreed on")
	}
	opt.GroupID, opt.Extensions = p.GroupID, p.Extensions
	return g.succeed(cfg, opt, mls.ResumptionReInit, now)
}

// Branch opens a group of some of the members of g, which goes on (RFC 9420,
// Section 11.3). The suite is that of g.
func (g *Group) Branch(cfg Config, opt SuccessorOptions, now time.Time) (*Group, []byte, error) {
	if g.epoch == nil {
		return nil, nil, ErrRemoved
	}
	if cfg.Suite != g.cfg.Suite {
		return nil, nil, errors.New("member: branch: another cipher suite")
	}
	return g.succeed(cfg, opt, mls.ResumptionBranch, now)
}

// succeed founds the new group and commits its members and the resumption PSK
// of the old one.
func (g *Group) succeed(cfg Config, opt SuccessorOptions, usage mls.ResumptionPSKUsage, now time.Time) (_ *Group, welcome []byte, err error) {
	n, err := Create(cfg, opt.GroupID, opt.Extensions, opt.Leaf, now)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			n.Wipe()
		}
	}()
	if len(opt.KeyPackages) == 0 {
		return nil, nil, errors.New("member: a new group needs others than its founder")
	}
	me := mls.MemberSender(0)
	var list []mls.CommittedProposal
	for _, k := range opt.KeyPackages {
		list = append(list, mls.CommittedProposal{Proposal: &mls.Add{KeyPackage: k}, Sender: me})
	}
	staged, err := n.rules.StageProposals(n.epoch.public, me, list, now)
	if err != nil {
		return nil, nil, fmt.Errorf("member: %w", err)
	}
	if err := g.checkSuccessor(g.epoch.public.Tree, staged.Tree, usage == mls.ResumptionReInit); err != nil {
		return nil, nil, err
	}
	nonce, err := newSecret(cfg.Suite, cfg.Rand)
	if err != nil {
		return nil, nil, err
	}
	// Only this commit, which its maker alone ever processes, may use such a
	// PSK, so the rules for commits of others refuse it.
	id := mls.PreSharedKeyID{Type: mls.PSKResumption, Usage: usage, GroupID: g.GroupID(), Epoch: g.Epoch(), Nonce: nonce}
	staged.Proposals = append(staged.Proposals, mls.CommittedProposal{Proposal: &mls.PreSharedKey{PSK: id}, Sender: me})
	staged.PSKs = append(staged.PSKs, id)
	psk, err := g.psks.secret(cfg.Suite, staged.PSKs)
	if err != nil {
		return nil, nil, err
	}
	defer wipe(psk)
	d := &draft{
		before: n.epoch.public, staged: staged, sender: me, signer: cfg.Signer, leafSigner: cfg.Signer,
		init: n.epoch.secrets.init, psk: psk, keys: n.epoch.keys.next(staged.Tree), rand: cfg.Rand,
	}
	s, err := d.seal()
	if err != nil {
		return nil, nil, err
	}
	defer s.wipe()
	out := &Staged{base: n.epoch, next: s.next, own: true, change: newChange(staged, me)}
	if err := n.finish(out, s, cfg.Signer, opt.WelcomeTree, 0); err != nil {
		out.Wipe()
		return nil, nil, err
	}
	if err := n.Merge(out); err != nil {
		return nil, nil, err
	}
	return n, out.Welcome(), nil
}

// checkSuccessor makes sure that every member of a new group is one of old, the
// tree of g in the epoch that is continued, and if the group moves as a whole,
// that none of old's is missing.
func (g *Group) checkSuccessor(old, tree *mls.RatchetTree, whole bool) error {
	if !g.covers(old, tree) {
		return errors.New("member: the new group has a member that the old one has not")
	}
	if whole && !g.covers(tree, old) {
		return errors.New("member: the new group lacks a member of the old one")
	}
	return nil
}

// covers tells whether each member of part matches one of all: both stand for
// one client, or show the same credential.
func (g *Group) covers(all, part *mls.RatchetTree) bool {
	for _, l := range part.Members() {
		client, found := g.cfg.Verifier.Client(l), false
		for _, m := range all.Members() {
			if client != "" && client == g.cfg.Verifier.Client(m) || l.Credential.Equal(&m.Credential) {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// checkWelcomePSKs makes sure that a Welcome which continues another group
// continues from, the one the member expects (Sections 11.2 and 11.3): a closed
// group as it is, or for a branch any epoch that from still knows, for from may
// have moved on while the Welcome was on its way.
func checkWelcomePSKs(ids []mls.PreSharedKeyID, from *Group) (continues *mls.PreSharedKeyID, err error) {
	for i := range ids {
		id := &ids[i]
		if id.Type != mls.PSKResumption || id.Usage == mls.ResumptionApplication {
			continue
		}
		if continues != nil {
			return nil, errors.New("member: welcome: continues more than one group")
		}
		continues = id
	}
	switch {
	case continues == nil && from != nil:
		return nil, errors.New("member: welcome: does not continue the old group")
	case continues == nil:
		return nil, nil
	case from == nil || from.epoch == nil:
		return nil, errors.New("member: welcome: continues a group that is not at hand")
	case !bytes.Equal(continues.GroupID, from.GroupID()) || from.treeAt(continues) == nil:
		return nil, errors.New("member: welcome: continues another group, or an epoch that is not known")
	}
	return continues, nil
}

// treeAt returns the tree of g in the epoch that id names; nil if it is not
// known, or if the group moves as a whole and did not close in that epoch.
func (g *Group) treeAt(id *mls.PreSharedKeyID) *mls.RatchetTree {
	switch {
	case id.Epoch == g.Epoch():
		return g.epoch.public.Tree
	case id.Usage == mls.ResumptionReInit:
		return nil
	}
	return g.psks.tree(g.GroupID(), id.Epoch)
}

// checkContinues validates the GroupInfo of a Welcome that continues from.
func checkContinues(id *mls.PreSharedKeyID, from *Group, info *mls.GroupInfo, tree *mls.RatchetTree) error {
	ctx, old := info.GroupContext, from.epoch.public
	if ctx.Epoch != 1 {
		return errors.New("member: welcome: a continued group begins at epoch 1")
	}
	if id.Usage == mls.ResumptionReInit {
		p := old.ReInit
		if p == nil || p.Version != ctx.Version || p.CipherSuite != ctx.CipherSuite || !bytes.Equal(p.GroupID, ctx.GroupID) || !p.Extensions.Equal(ctx.Extensions) {
			return errors.New("member: welcome: the new group is not the one that was agreed on")
		}
	} else if ctx.Version != old.Context.Version || ctx.CipherSuite != old.Context.CipherSuite {
		return errors.New("member: welcome: a branch has the version and cipher suite of its group")
	}
	return from.checkSuccessor(from.treeAt(id), tree, id.Usage == mls.ResumptionReInit)
}

// copyResumption puts a copy of the secret behind id into another store.
func (s *pskStore) copyResumption(id *mls.PreSharedKeyID, to *pskStore) error {
	secret, err := s.find(id)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(to.resumption, func(r Resumption) bool { return r.Epoch == id.Epoch && bytes.Equal(r.GroupID, id.GroupID) }) {
		return nil
	}
	to.addResumption(id.GroupID, id.Epoch, secret)
	return nil
}
