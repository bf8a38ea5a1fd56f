package member

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"conclave/mls"
)

// pathLabel is the label under which path secrets are encrypted.
const pathLabel = "UpdatePathNode"

// privateTree holds the HPKE private keys that a member knows: its leaf's and
// those of ancestors (RFC 9420, Section 7.4). A key stands only as long as the
// public tree shows its public half at the same node.
type privateTree struct {
	_    [0]func()
	keys map[mls.NodeIndex]keyPair
}

// keyPair is an HPKE key pair in its encoded form, which can be wiped.
type keyPair struct {
	_       [0]func()
	public  mls.EncryptionKey
	private []byte
}

// deriveKeyPair is KEM.DeriveKeyPair; secret stays the caller's.
func deriveKeyPair(suite mls.CipherSuite, secret []byte) (keyPair, error) {
	k, err := suite.DeriveKeyPair(secret)
	if err != nil {
		return keyPair{}, fmt.Errorf("member: derive key pair: %v", err)
	}
	private, err := k.Bytes()
	if err != nil {
		return keyPair{}, fmt.Errorf("member: derive key pair: %v", err)
	}
	return keyPair{public: k.PublicKey().Bytes(), private: private}, nil
}

// newKeyPair makes a key pair from Nh bytes of rand.
func newKeyPair(suite mls.CipherSuite, rand io.Reader) (keyPair, error) {
	secret, err := newSecret(suite, rand)
	if err != nil {
		return keyPair{}, err
	}
	defer wipe(secret)
	return deriveKeyPair(suite, secret)
}

// newSecret reads Nh bytes of rand.
func newSecret(suite mls.CipherSuite, rand io.Reader) ([]byte, error) {
	b := make([]byte, suite.HashSize())
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, fmt.Errorf("member: read random bytes: %w", err)
	}
	return b, nil
}

func (k keyPair) clone() keyPair {
	return keyPair{public: k.public, private: bytes.Clone(k.private)}
}

// decrypt opens what was encrypted to the key with a label.
func (k keyPair) decrypt(suite mls.CipherSuite, label string, context []byte, c mls.HPKECiphertext) ([]byte, error) {
	private, err := suite.ParsePrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("member: %v", err)
	}
	return suite.DecryptWithLabel(private, label, context, c)
}

// next returns copies of the keys that still stand in tree.
func (t *privateTree) next(tree *mls.RatchetTree) *privateTree {
	n := &privateTree{keys: make(map[mls.NodeIndex]keyPair, len(t.keys))}
	for at, k := range t.keys {
		if public := tree.EncryptionKey(at); public != nil && bytes.Equal(public, k.public) {
			n.keys[at] = k.clone()
		}
	}
	return n
}

// set takes over k as the key of a node.
func (t *privateTree) set(at mls.NodeIndex, k keyPair) {
	wipe(t.keys[at].private)
	t.keys[at] = k
}

func (t *privateTree) wipe() {
	if t == nil {
		return
	}
	for _, k := range t.keys {
		wipe(k.private)
	}
	clear(t.keys)
}

// pathSecrets are the secrets of an UpdatePath from some node up.
type pathSecrets struct {
	_      [0]func()
	nodes  []mls.NodeIndex // of the filtered direct path, from the bottom
	secret [][]byte        // one for each node
	keys   []keyPair       // one for each node
	commit []byte
}

// derivePath runs the ratchet of path secrets up nodes (Section 7.4), the
// first secret being that of nodes[0]; it takes over first. Without nodes,
// first itself is the commit secret: the committer is alone.
func derivePath(suite mls.CipherSuite, nodes []mls.NodeIndex, first []byte) (*pathSecrets, error) {
	p := &pathSecrets{nodes: nodes, commit: first}
	for range nodes {
		node := suite.DeriveSecret(p.commit, "node")
		k, err := deriveKeyPair(suite, node)
		wipe(node)
		if err != nil {
			p.wipe()
			return nil, err
		}
		p.secret = append(p.secret, p.commit)
		p.keys = append(p.keys, k)
		p.commit = suite.DeriveSecret(p.commit, "path")
	}
	return p, nil
}

// moveKeys gives the private keys to t.
func (p *pathSecrets) moveKeys(t *privateTree) {
	for i, n := range p.nodes {
		t.set(n, p.keys[i])
	}
	p.keys = nil
}

func (p *pathSecrets) wipe() {
	if p == nil {
		return
	}
	for _, s := range p.secret {
		wipe(s)
	}
	for _, k := range p.keys {
		wipe(k.private)
	}
	wipe(p.commit)
}

// createPath renews the path of the committer of g, whose proposals are applied
// (Section 7.5): new keys for leaf and ancestors go into g's tree, path secrets
// into the ciphertexts for the others. leaf is a template that is signed with
// signer; it belongs to g afterwards.
func createPath(g *mls.Staged, leaf *mls.LeafNode, signer mls.Signer, rand io.Reader) (_ *pathSecrets, _ keyPair, err error) {
	suite := g.Provisional.CipherSuite
	first, err := newSecret(suite, rand)
	if err != nil {
		return nil, keyPair{}, err
	}
	g.PreparePath()
	secrets, err := derivePath(suite, g.PathNodes, first)
	if err != nil {
		return nil, keyPair{}, err
	}
	leafKey, err := newKeyPair(suite, rand)
	defer func() {
		if err != nil {
			secrets.wipe()
			wipe(leafKey.private)
		}
	}()
	if err != nil {
		return nil, keyPair{}, err
	}
	public := make([]mls.EncryptionKey, len(g.PathNodes))
	for i := range public {
		public[i] = secrets.keys[i].public
	}
	leaf.Source = mls.LeafFromCommit
	leaf.Lifetime = mls.Lifetime{}
	leaf.SignatureKey = signer.Public()
	leaf.EncryptionKey = leafKey.public
	if leaf.ParentHash, err = g.SetPath(public); err != nil {
		return nil, keyPair{}, fmt.Errorf("member: %v", err)
	}
	if err = leaf.Sign(signer, g.Provisional.GroupID, g.Committer); err != nil {
		return nil, keyPair{}, fmt.Errorf("member: %w", err)
	}
	g.SetLeaf(leaf)
	g.Path = &mls.UpdatePath{LeafNode: leaf, Nodes: make([]mls.UpdatePathNode, len(public))}
	context := mls.Marshal(g.Provisional)
	for i := range public {
		list := make([]mls.HPKECiphertext, len(g.Copath[i]))
		for j, n := range g.Copath[i] {
			if list[j], err = suite.EncryptWithLabel(g.Tree.EncryptionKey(n), pathLabel, context, secrets.secret[i]); err != nil {
				return nil, keyPair{}, fmt.Errorf("member: encrypt path secret: %v", err)
			}
		}
		g.Path.Nodes[i] = mls.UpdatePathNode{EncryptionKey: public[i], EncryptedPathSecret: list}
	}
	return secrets, leafKey, nil
}

var errPath = errors.New("member: update path does not fit the tree")

// decryptPath opens the path secret of g's committer that is meant for own and
// derives those above (Section 7.5). The path is merged into g; its context is
// the provisional one. keys are those of own that stand in g's tree.
func decryptPath(g *mls.Staged, keys *privateTree, own mls.LeafIndex) (*pathSecrets, error) {
	suite, me := g.Provisional.CipherSuite, own.Node()
	at := slices.IndexFunc(g.PathNodes, func(n mls.NodeIndex) bool { return n.IsAncestor(me) })
	if at < 0 || len(g.Path.Nodes) != len(g.PathNodes) || len(g.Path.Nodes[at].EncryptedPathSecret) != len(g.Copath[at]) {
		return nil, errPath
	}
	for i, n := range g.Copath[at] {
		k, ok := keys.keys[n]
		if !ok {
			continue
		}
		first, err := k.decrypt(suite, pathLabel, mls.Marshal(g.Provisional), g.Path.Nodes[at].EncryptedPathSecret[i])
		if err != nil {
			return nil, fmt.Errorf("member: path secret: %v", err)
		}
		return derivePathTo(suite, g.Tree, g.PathNodes[at:], first)
	}
	return nil, errors.New("member: no private key for the update path")
}

// derivePathTo is derivePath for a secret that came from a peer: the derived
// public keys must be those of tree.
func derivePathTo(suite mls.CipherSuite, tree *mls.RatchetTree, nodes []mls.NodeIndex, first []byte) (*pathSecrets, error) {
	if len(first) != suite.HashSize() {
		wipe(first)
		return nil, errors.New("member: path secret has the wrong size")
	}
	p, err := derivePath(suite, nodes, first)
	if err != nil {
		return nil, err
	}
	for i, n := range nodes {
		if !bytes.Equal(p.keys[i].public, tree.EncryptionKey(n)) {
			p.wipe()
			return nil, errors.New("member: path secret does not match the public key of its node")
		}
	}
	return p, nil
}
