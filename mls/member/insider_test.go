package member

import (
	"slices"
	"testing"

	"conclave/mls"
)

// insider is a member that breaks one rule and keeps all others: whatever it
// sends is built anew around the flaw, encrypted, hashed, confirmed and signed
// as it should be.
type insider struct {
	t *testing.T
	*room
	*Group
	list   []mls.CommittedProposal
	bare   bool                              // without a path
	psks   []mls.PreSharedKeyID              // beside those of list
	draft  func(*draft)                      // before anything is made
	keys   func(n []mls.EncryptionKey)       // of the path, before they enter the tree
	secret func(i int, secret []byte) []byte // what is encrypted as path secret of node i
	path   func(*mls.UpdatePath)             // before the message is signed
	frame  func(*mls.FramedContent)
	signed func(*mls.AuthenticatedContent)
}

// forge makes the commit.
func (in insider) forge() (*sealed, []byte) {
	t, e := in.t, in.Group.epoch
	t.Helper()
	sender := mls.MemberSender(e.own)
	staged := must(in.rules.StageProposals(e.public, sender, in.list, in.now))(t)
	for _, id := range in.psks {
		staged.Proposals = append(staged.Proposals, mls.CommittedProposal{Proposal: &mls.PreSharedKey{PSK: id}, Sender: sender})
		staged.PSKs = append(staged.PSKs, id)
	}
	d := &draft{
		before: e.public, staged: staged, sender: sender, leaf: ownLeaf(staged, nil), signer: in.cfg.Signer, leafSigner: in.cfg.Signer,
		init: e.secrets.init, psk: must(in.Group.psks.secret(in.cfg.Suite, staged.PSKs))(t), keys: e.keys.next(staged.Tree), rand: in.cfg.Rand,
	}
	if in.bare {
		d.leaf = nil
	}
	if in.draft != nil {
		in.draft(d)
	}
	s, commitSecret := &sealed{}, make([]byte, in.cfg.Suite.HashSize())
	if d.leaf != nil {
		s.path = in.renew(d)
		copy(commitSecret, s.path.commit)
	}
	commit := &mls.Commit{Path: staged.Path}
	for i := range staged.Proposals {
		p := &staged.Proposals[i]
		if p.Ref != nil {
			commit.Proposals = append(commit.Proposals, mls.ProposalOrRef{Ref: p.Ref})
		} else {
			commit.Proposals = append(commit.Proposals, mls.ProposalOrRef{Proposal: p.Proposal})
		}
	}
	wire := mls.WirePublicMessage
	if d.private {
		wire = mls.WirePrivateMessage
	}
	s.content = &mls.AuthenticatedContent{WireFormat: wire, Content: mls.FramedContent{
		GroupID: e.public.Context.GroupID, Epoch: e.public.Context.Epoch, Sender: d.sender, ContentType: mls.ContentCommit, Commit: commit,
	}}
	if in.frame != nil {
		in.frame(&s.content.Content)
	}
	if err := s.content.Sign(d.signer, e.public.Context); err != nil {
		t.Fatal(err)
	}
	staged.Confirm(s.content)
	context := mls.Marshal(staged.Context)
	s.joiner = joinerSecret(in.cfg.Suite, d.init, commitSecret, context)
	secrets, welcome, encryption := memberSecrets(in.cfg.Suite, s.joiner, d.psk, context)
	s.welcome = welcome
	s.content.Auth.ConfirmationTag = secrets.confirmationTag(staged.Context.ConfirmedTranscriptHash)
	s.next = &epoch{
		public: staged.State(s.content.Auth.ConfirmationTag), own: staged.Committer, keys: d.keys, secrets: secrets,
		private: newPrivateKeys(in.cfg.Suite, secrets.senderData, encryption, staged.Tree.LeafCount()),
	}
	if in.signed != nil {
		in.signed(s.content)
	}
	return s, must(in.Group.frame(s.content))(t)
}

// commit is forge for who wants the message alone.
func (in insider) commit() []byte {
	_, message := in.forge()
	return message
}

// renew is createPath with flaws.
func (in insider) renew(d *draft) *pathSecrets {
	t, g, suite := in.t, d.staged, in.cfg.Suite
	t.Helper()
	g.PreparePath()
	secrets := must(derivePath(suite, g.PathNodes, must(newSecret(suite, d.rand))(t)))(t)
	leafKey := must(newKeyPair(suite, d.rand))(t)
	public := make([]mls.EncryptionKey, len(g.PathNodes))
	for i := range public {
		public[i] = secrets.keys[i].public
	}
	if in.keys != nil {
		in.keys(public)
	}
	leaf := d.leaf
	leaf.Source, leaf.Lifetime = mls.LeafFromCommit, mls.Lifetime{}
	leaf.SignatureKey, leaf.EncryptionKey = d.leafSigner.Public(), leafKey.public
	leaf.ParentHash = must(g.SetPath(public))(t)
	if err := leaf.Sign(d.leafSigner, g.Provisional.GroupID, g.Committer); err != nil {
		t.Fatal(err)
	}
	g.SetLeaf(leaf)
	g.Path = &mls.UpdatePath{LeafNode: leaf, Nodes: make([]mls.UpdatePathNode, len(public))}
	context := mls.Marshal(g.Provisional)
	for i := range public {
		g.Path.Nodes[i].EncryptionKey = public[i]
		secret := secrets.secret[i]
		if in.secret != nil {
			secret = in.secret(i, slices.Clone(secret))
		}
		for _, n := range g.Copath[i] {
			c := must(suite.EncryptWithLabel(g.Tree.EncryptionKey(n), pathLabel, context, secret))(t)
			g.Path.Nodes[i].EncryptedPathSecret = append(g.Path.Nodes[i].EncryptedPathSecret, c)
		}
	}
	if in.path != nil {
		in.path(g.Path)
	}
	d.keys.set(g.Committer.Node(), leafKey)
	return secrets
}

// invite makes a Welcome for the owner of kp, which in.list need not add. info
// may spoil the GroupInfo before it is signed, secrets what is told.
func (in insider) invite(kp *KeyPackageSecrets, info func(*mls.GroupInfo), secrets func(*mls.GroupSecrets)) *mls.Welcome {
	t, suite := in.t, in.cfg.Suite
	t.Helper()
	s, _ := in.forge()
	gi := must(s.next.groupInfo(in.cfg.Signer, true, true))(t)
	if info != nil {
		gi.GroupContext = gi.GroupContext.Clone()
		info(gi)
		if err := gi.Sign(in.cfg.Signer); err != nil {
			t.Fatal(err)
		}
	}
	told := mls.GroupSecrets{JoinerSecret: s.joiner}
	for i := range s.content.Content.Commit.Proposals {
		if p, ok := s.content.Content.Commit.Proposals[i].Proposal.(*mls.PreSharedKey); ok {
			told.PSKs = append(told.PSKs, p.PSK)
		}
	}
	if own, ok := s.next.public.Tree.FindSignatureKey(kp.Package.LeafNode.SignatureKey); ok {
		told.PathSecret = s.pathSecretFor(own)
	}
	if secrets != nil {
		secrets(&told)
	}
	key, nonce := welcomeKey(suite, s.welcome)
	sealedInfo := must(suite.Seal(key, nonce, nil, mls.Marshal(gi)))(t)
	c := must(suite.EncryptWithLabel(kp.Package.InitKey, welcomeLabel, sealedInfo, mls.Marshal(&told)))(t)
	return &mls.Welcome{CipherSuite: suite, EncryptedGroupInfo: sealedInfo, Secrets: []mls.EncryptedGroupSecrets{
		{NewMember: kp.Package.Ref(), Secrets: c},
	}}
}
