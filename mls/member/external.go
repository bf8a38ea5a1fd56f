package member

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"conclave/mls"
)

// ExternalOptions say how to join by an external commit.
type ExternalOptions struct {
	// Resync replaces the own old leaf, if there is one: that with the same
	// signature key, or of the same client in the verifier's words.
	Resync bool
	// PSKs are mixed into the new epoch.
	PSKs []PSK
	// Resumptions are, too: they prove to have been a member of an earlier
	// epoch, or of another group, to members who hold them as well.
	Resumptions []Resumption
	// AuthenticatedData is sent along, signed.
	AuthenticatedData []byte
}

// JoinExternal joins a group without an invitation (RFC 9420, Section
// 12.4.3.2): it validates info and tree and builds the external commit, an
// encoded MLSMessage. tree may be nil if info carries it. The returned group
// is in the new epoch already and must be wiped if the delivery service
// refuses the commit. tree is not changed.
func JoinExternal(cfg Config, info *mls.GroupInfo, tree *mls.RatchetTree, leaf Leaf, opt ExternalOptions, now time.Time) (*Group, []byte, error) {
	g := &Group{cfg: cfg, rules: cfg.rules()}
	if err := cfg.check(); err != nil {
		return nil, nil, err
	}
	commit, err := g.joinExternal(info, tree, leaf, opt, now)
	if err != nil {
		return nil, nil, err
	}
	return g, commit, nil
}

// joinExternal makes the commit and enters the epoch that it begins. After an
// error the group holds nothing.
func (g *Group) joinExternal(info *mls.GroupInfo, tree *mls.RatchetTree, leaf Leaf, opt ExternalOptions, now time.Time) (commit []byte, err error) {
	defer func() {
		if err != nil {
			g.Wipe()
		}
	}()
	before, external, err := g.checkExternal(info, tree, now)
	if err != nil {
		return nil, err
	}
	cfg, suite := &g.cfg, g.cfg.Suite
	kem, init, err := suite.ExportTo(external, externalInitLabel, suite.HashSize())
	if err != nil {
		return nil, fmt.Errorf("member: join: %v", err)
	}
	defer wipe(init)
	sender := mls.Sender{Type: mls.SenderNewMemberCommit}
	list := []mls.CommittedProposal{{Proposal: &mls.ExternalInit{KEMOutput: kem}, Sender: sender}}
	node := leaf.node(suite, before.Context.Extensions)
	node.SignatureKey = cfg.Signer.Public()
	if old, ok := g.findClient(before.Tree, node); ok {
		if !opt.Resync {
			return nil, ErrAlreadyMember
		}
		list = append(list, mls.CommittedProposal{Proposal: &mls.Remove{Removed: old}, Sender: sender})
	}
	for i := range opt.PSKs {
		g.psks.add(opt.PSKs[i].ID, opt.PSKs[i].Secret)
		p, err := g.NewPSK(opt.PSKs[i].ID)
		if err != nil {
			return nil, err
		}
		list = append(list, mls.CommittedProposal{Proposal: p, Sender: sender})
	}
	for i := range opt.Resumptions {
		r := &opt.Resumptions[i]
		g.psks.addResumption(r.GroupID, r.Epoch, r.Secret)
		p, err := g.newResumption(r.GroupID, r.Epoch)
		if err != nil {
			return nil, err
		}
		list = append(list, mls.CommittedProposal{Proposal: p, Sender: sender})
	}
	staged, err := g.rules.StageProposals(before, sender, list, now)
	if err != nil {
		return nil, fmt.Errorf("member: join: %w", err)
	}
	psk, err := g.psks.secret(suite, staged.PSKs)
	if err != nil {
		return nil, err
	}
	defer wipe(psk)
	d := &draft{
		before: before, staged: staged, sender: sender, data: opt.AuthenticatedData, leaf: node, signer: cfg.Signer,
		leafSigner: cfg.Signer, init: init, psk: psk, keys: &privateTree{keys: map[mls.NodeIndex]keyPair{}}, rand: cfg.Rand,
	}
	s, err := d.seal()
	if err != nil {
		return nil, err
	}
	defer s.wipe()
	m := &mls.PublicMessage{Content: s.content.Content, Auth: s.content.Auth}
	if commit, err = encode(&mls.Message{Public: m}); err != nil {
		s.next.wipe()
		return nil, err
	}
	g.enter(s.next)
	return commit, nil
}

// checkExternal validates what a joiner is told and returns the state to
// commit to, and the external public key.
func (g *Group) checkExternal(info *mls.GroupInfo, tree *mls.RatchetTree, now time.Time) (*mls.State, mls.EncryptionKey, error) {
	if info == nil || info.GroupContext == nil {
		return nil, nil, errors.New("member: join: no group info")
	}
	if info.GroupContext.CipherSuite != g.cfg.Suite {
		return nil, nil, errors.New("member: join: group has another cipher suite")
	}
	tree, err := joinTree(info, tree)
	if err != nil {
		return nil, nil, err
	}
	if err := g.rules.CheckJoin(info, tree, now); err != nil {
		return nil, nil, fmt.Errorf("member: %w", err)
	}
	external, err := info.Extensions.ExternalPub()
	if err != nil {
		return nil, nil, fmt.Errorf("member: join: %w", err)
	}
	if external == nil {
		return nil, nil, errors.New("member: join: group info has no external public key")
	}
	return mls.NewState(info, tree), external, nil
}

// joinTree returns the tree to join with: the one given, or that in info.
func joinTree(info *mls.GroupInfo, tree *mls.RatchetTree) (*mls.RatchetTree, error) {
	if tree != nil {
		return tree, nil
	}
	tree, err := info.Extensions.RatchetTree(info.GroupContext.CipherSuite)
	if err != nil {
		return nil, fmt.Errorf("member: join: %w", err)
	}
	if tree == nil {
		return nil, errors.New("member: join: no ratchet tree")
	}
	return tree, nil
}

// findClient returns the leaf that leaf would replace.
func (g *Group) findClient(tree *mls.RatchetTree, leaf *mls.LeafNode) (mls.LeafIndex, bool) {
	client := g.cfg.Verifier.Client(leaf)
	for i, l := range tree.Members() {
		if bytes.Equal(l.SignatureKey, leaf.SignatureKey) || client != "" && client == g.cfg.Verifier.Client(l) {
			return i, true
		}
	}
	return 0, false
}

// ProposeJoin builds the proposal by which the owner of kp asks to be added to
// a group, an encoded MLSMessage (RFC 9420, Section 12.1.8). Members commit it
// by reference if their application lets them; the Welcome then answers kp.
// cfg must have the signer of kp.
func ProposeJoin(cfg Config, kp *KeyPackageSecrets, group *mls.GroupContext) ([]byte, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if kp == nil || kp.Package == nil || kp.Package.LeafNode == nil || group == nil {
		return nil, errors.New("member: propose: no key package or no group")
	}
	if kp.Package.CipherSuite != group.CipherSuite || !bytes.Equal(cfg.Signer.Public(), kp.Package.LeafNode.SignatureKey) {
		return nil, errors.New("member: propose: key package is of another cipher suite or signer")
	}
	a := &mls.AuthenticatedContent{WireFormat: mls.WirePublicMessage, Content: mls.FramedContent{
		GroupID: group.GroupID, Epoch: group.Epoch, Sender: mls.Sender{Type: mls.SenderNewMemberProposal},
		ContentType: mls.ContentProposal, Proposal: &mls.Add{KeyPackage: kp.Package},
	}}
	if err := a.Sign(cfg.Signer, nil); err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	return mls.Marshal(&mls.Message{Public: &mls.PublicMessage{Content: a.Content, Auth: a.Auth}}), nil
}
