package member

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave/mls"
)

// welcomeLabel is the label under which group secrets are encrypted.
const welcomeLabel = "Welcome"

// KeyPackageSecrets is a key package with its private keys, by which its owner
// opens one Welcome. JoinWelcome wipes it when it succeeds.
type KeyPackageSecrets struct {
	_             [0]func()
	Package       *mls.KeyPackage
	InitKey       []byte // private
	EncryptionKey []byte // private
}

// Wipe forgets the private keys.
func (k *KeyPackageSecrets) Wipe() {
	wipe(k.InitKey)
	wipe(k.EncryptionKey)
}

// NewKeyPackage makes a key package to be added to groups with (RFC 9420,
// Section 10). extensions are those of the groups it is meant for, so that the
// leaf lists them among its capabilities.
func NewKeyPackage(cfg Config, leaf Leaf, extensions []mls.Extension, now time.Time) (*KeyPackageSecrets, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	node, key, err := leaf.packaged(&cfg, extensions, now)
	if err != nil {
		return nil, err
	}
	out := &KeyPackageSecrets{EncryptionKey: key.private}
	init, err := newKeyPair(cfg.Suite, cfg.Rand)
	if err != nil {
		out.Wipe()
		return nil, err
	}
	out.InitKey = init.private
	out.Package = &mls.KeyPackage{Version: mls.MLS10, CipherSuite: cfg.Suite, InitKey: init.public, LeafNode: node}
	if err := out.Package.Sign(cfg.Signer); err != nil {
		out.Wipe()
		return nil, fmt.Errorf("member: %w", err)
	}
	return out, nil
}

// welcomeKey derives the key that encrypts the GroupInfo of a Welcome.
func welcomeKey(suite mls.CipherSuite, welcome []byte) (key, nonce []byte) {
	return suite.ExpandWithLabel(welcome, "key", nil, suite.KeySize()),
		suite.ExpandWithLabel(welcome, "nonce", nil, suite.NonceSize())
}

// makeWelcomes invites the members that a commit adds (Section 12.4.3.1), batch
// of them in each message; 0 is all in one. added are the leaves of the Adds
// among proposals.
func (s *sealed) makeWelcomes(info *mls.GroupInfo, proposals []mls.CommittedProposal, added []mls.LeafIndex, batch int) ([]*mls.Welcome, error) {
	suite := info.GroupContext.CipherSuite
	key, nonce := welcomeKey(suite, s.welcome)
	defer wipe(key)
	sealedInfo, err := suite.Seal(key, nonce, nil, mls.Marshal(info))
	if err != nil {
		return nil, fmt.Errorf("member: welcome: %v", err)
	}
	var psks []mls.PreSharedKeyID
	var joiners []*mls.KeyPackage
	for i := range proposals {
		switch p := proposals[i].Proposal.(type) {
		case *mls.PreSharedKey:
			psks = append(psks, p.PSK)
		case *mls.Add:
			joiners = append(joiners, p.KeyPackage)
		}
	}
	// With all room made beforehand, growing leaves no copies of secrets behind.
	size := len(mls.Marshal(&mls.GroupSecrets{PSKs: psks})) + 2*(suite.HashSize()+4)
	var list []*mls.Welcome
	for i, k := range joiners {
		if i == 0 || batch > 0 && i%batch == 0 {
			list = append(list, &mls.Welcome{CipherSuite: suite, EncryptedGroupInfo: sealedInfo})
		}
		secrets := mls.GroupSecrets{JoinerSecret: s.joiner, PSKs: psks, PathSecret: s.pathSecretFor(added[i])}
		w := mls.NewWriter(size)
		secrets.MarshalMLS(w)
		plaintext := w.Bytes()
		c, err := suite.EncryptWithLabel(k.InitKey, welcomeLabel, sealedInfo, plaintext)
		wipe(plaintext)
		if err != nil {
			return nil, fmt.Errorf("member: welcome: %v", err)
		}
		last := list[len(list)-1]
		last.Secrets = append(last.Secrets, mls.EncryptedGroupSecrets{NewMember: k.Ref(), Secrets: c})
	}
	return list, nil
}

// pathSecretFor returns the secret of the lowest node that a new member shares
// with the committer; nil without a path.
func (s *sealed) pathSecretFor(leaf mls.LeafIndex) []byte {
	if s.path == nil {
		return nil
	}
	at := slices.IndexFunc(s.path.nodes, func(n mls.NodeIndex) bool { return n.IsAncestor(leaf.Node()) })
	if at < 0 {
		return nil
	}
	return s.path.secret[at]
}

// WelcomeOptions is what a Welcome may ask for beside the key package.
type WelcomeOptions struct {
	PSKs        []PSK
	Resumptions []Resumption
	// From is the group that the new one continues, by reinitialization or
	// as a branch; a Welcome of that kind is refused without it, and any
	// other one with it.
	From *Group
	// Joined tells whether the client is in a group of that name already, so
	// that the Welcome is refused with ErrAlreadyMember: names of groups are
	// unique among a client's (Section 12.4.3.1). Without it that is the
	// caller's to check.
	Joined func(mls.GroupID) bool
}

// JoinWelcome joins by an invitation. It takes over tree; nil stands for the
// ratchet tree that the Welcome carries. On success kp is wiped: who takes the
// member's state later cannot open the Welcome again. After an error it stands,
// so that another Welcome can be tried.
func JoinWelcome(cfg Config, welcome *mls.Welcome, kp *KeyPackageSecrets, tree *mls.RatchetTree, opt WelcomeOptions, now time.Time) (*Group, error) {
	g := &Group{cfg: cfg, rules: cfg.rules()}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	for i := range opt.PSKs {
		g.psks.add(opt.PSKs[i].ID, opt.PSKs[i].Secret)
	}
	for i := range opt.Resumptions {
		r := &opt.Resumptions[i]
		g.psks.addResumption(r.GroupID, r.Epoch, r.Secret)
	}
	e, err := g.openWelcome(welcome, kp, tree, &opt, now)
	if err != nil {
		g.psks.wipe()
		return nil, err
	}
	g.enter(e)
	kp.Wipe()
	return g, nil
}

// groupSecrets finds and decrypts what a Welcome tells the owner of kp.
func groupSecrets(cfg *Config, welcome *mls.Welcome, kp *KeyPackageSecrets) (*mls.GroupSecrets, error) {
	if welcome == nil || kp == nil || kp.Package == nil || kp.Package.LeafNode == nil {
		return nil, errors.New("member: welcome: no welcome or no key package")
	}
	suite := cfg.Suite
	if welcome.CipherSuite != suite || kp.Package.CipherSuite != suite {
		return nil, errors.New("member: welcome: another cipher suite")
	}
	ref := kp.Package.Ref()
	at := slices.IndexFunc(welcome.Secrets, func(s mls.EncryptedGroupSecrets) bool { return bytes.Equal(s.NewMember, ref) })
	if at < 0 {
		return nil, errors.New("member: welcome: not for this key package")
	}
	init := keyPair{public: kp.Package.InitKey, private: kp.InitKey}
	plaintext, err := init.decrypt(suite, welcomeLabel, welcome.EncryptedGroupInfo, welcome.Secrets[at].Secrets)
	if err != nil {
		return nil, fmt.Errorf("member: welcome: %v", err)
	}
	return readGroupSecrets(suite, plaintext)
}

// readGroupSecrets decodes plaintext, which is part of the result then. It is
// wiped after an error.
func readGroupSecrets(suite mls.CipherSuite, plaintext []byte) (_ *mls.GroupSecrets, err error) {
	defer func() {
		if err != nil {
			wipe(plaintext)
		}
	}()
	secrets := new(mls.GroupSecrets)
	if err := mls.UnmarshalShared(plaintext, secrets); err != nil {
		return nil, fmt.Errorf("member: welcome: %w", err)
	}
	if len(secrets.JoinerSecret) != suite.HashSize() {
		return nil, errors.New("member: welcome: joiner secret has the wrong size")
	}
	for i := range secrets.PSKs {
		if len(secrets.PSKs[i].Nonce) != suite.HashSize() {
			return nil, errors.New("member: welcome: PSK nonce has the wrong size")
		}
	}
	return secrets, nil
}

// openGroupInfo decrypts the GroupInfo of a Welcome. It is not validated.
func openGroupInfo(suite mls.CipherSuite, welcome *mls.Welcome, joiner, psk []byte) (*mls.GroupInfo, error) {
	secret := welcomeSecret(suite, joiner, psk)
	key, nonce := welcomeKey(suite, secret)
	wipe(secret)
	defer wipe(key)
	b, err := suite.Open(key, nonce, nil, welcome.EncryptedGroupInfo)
	if err != nil {
		return nil, errors.New("member: welcome: group info does not open")
	}
	info := new(mls.GroupInfo)
	if err := mls.UnmarshalShared(b, info); err != nil {
		return nil, fmt.Errorf("member: welcome: %w", err)
	}
	if info.GroupContext.CipherSuite != suite {
		return nil, errors.New("member: welcome: group has another cipher suite")
	}
	return info, nil
}

func (g *Group) openWelcome(welcome *mls.Welcome, kp *KeyPackageSecrets, tree *mls.RatchetTree, opt *WelcomeOptions, now time.Time) (*epoch, error) {
	suite, from := g.cfg.Suite, opt.From
	told, err := groupSecrets(&g.cfg, welcome, kp)
	if err != nil {
		return nil, err
	}
	defer wipe(told.JoinerSecret)
	defer wipe(told.PathSecret)
	continues, err := checkWelcomePSKs(told.PSKs, from)
	if err != nil {
		return nil, err
	}
	if continues != nil {
		if err := from.psks.copyResumption(continues, &g.psks); err != nil {
			return nil, err
		}
	}
	psk, err := g.psks.secret(suite, told.PSKs)
	if err != nil {
		return nil, err
	}
	defer wipe(psk)
	info, err := openGroupInfo(suite, welcome, told.JoinerSecret, psk)
	if err != nil {
		return nil, err
	}
	if opt.Joined != nil && opt.Joined(info.GroupContext.GroupID) {
		return nil, ErrAlreadyMember
	}
	if tree, err = joinTree(info, tree); err != nil {
		return nil, err
	}
	if err := g.rules.CheckJoin(info, tree, now); err != nil {
		return nil, fmt.Errorf("member: %w", err)
	}
	if continues != nil {
		if err := checkContinues(continues, from, info, tree); err != nil {
			return nil, err
		}
	}
	own, err := findOwnLeaf(tree, kp.Package.LeafNode)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(g.cfg.Signer.Public(), kp.Package.LeafNode.SignatureKey) {
		return nil, errors.New("member: welcome: signer is not the key package's")
	}
	secrets, again, encryption := memberSecrets(suite, told.JoinerSecret, psk, mls.Marshal(info.GroupContext))
	wipe(again)
	if !secrets.confirms(info.GroupContext.ConfirmedTranscriptHash, info.ConfirmationTag) {
		secrets.wipe()
		wipe(encryption)
		return nil, errors.New("member: welcome: confirmation tag does not verify")
	}
	leaf := keyPair{public: kp.Package.LeafNode.EncryptionKey, private: bytes.Clone(kp.EncryptionKey)}
	e := &epoch{
		public: mls.NewState(info, tree), own: own, secrets: secrets,
		keys:    &privateTree{keys: map[mls.NodeIndex]keyPair{own.Node(): leaf}},
		private: newPrivateKeys(suite, secrets.senderData, encryption, tree.LeafCount()),
	}
	if told.PathSecret != nil {
		path, err := welcomePath(suite, tree, own, info.Signer, bytes.Clone(told.PathSecret))
		if err != nil {
			e.wipe()
			return nil, err
		}
		path.moveKeys(e.keys)
		path.wipe()
	}
	return e, nil
}

// findOwnLeaf returns where leaf stands in tree.
func findOwnLeaf(tree *mls.RatchetTree, leaf *mls.LeafNode) (mls.LeafIndex, error) {
	own, ok := tree.FindSignatureKey(leaf.SignatureKey)
	if !ok || !bytes.Equal(mls.Marshal(tree.Leaf(own)), mls.Marshal(leaf)) {
		return 0, errors.New("member: welcome: own leaf is not in the ratchet tree")
	}
	return own, nil
}

// welcomePath derives the keys that a new member shares with the committer
// from the path secret it was told.
func welcomePath(suite mls.CipherSuite, tree *mls.RatchetTree, own, committer mls.LeafIndex, first []byte) (*pathSecrets, error) {
	nodes, _ := tree.FilteredDirectPath(committer)
	at := slices.IndexFunc(nodes, func(n mls.NodeIndex) bool { return n.IsAncestor(own.Node()) })
	if at < 0 || own == committer {
		wipe(first)
		return nil, errPath
	}
	return derivePathTo(suite, tree, nodes[at:], first)
}
