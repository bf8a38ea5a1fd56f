package member

import (
	"errors"
	"fmt"
	"io"

	"conclave/mls"
)

// privateTree holds the HPKE private keys that a member knows: its leaf's and
// those of ancestors (RFC 9420, Section 7.4). A key stands only as long as the
// public tree shows its public half at the same node.
type privateTree struct {
	_    [0]func()
	keys map[mls.NodeIndex]keyPair
}

// keyPair is an HPKE key pair in its encoded form.
type keyPair struct {
	_               [0]func()
	public, private []byte
}

// pathSecrets are what a committer derived for an UpdatePath.
type pathSecrets struct {
	_      [0]func()
	nodes  []mls.NodeIndex // filtered direct path, from the bottom
	secret [][]byte        // one for each node
	keys   []keyPair       // one for each node
	commit []byte
}

// derivePath runs the ratchet of path secrets up nodes, the first secret
// being that of nodes[0]; it takes over first. Without nodes, first itself is
// the commit secret: the committer is alone.
func derivePath(suite mls.CipherSuite, nodes []mls.NodeIndex, first []byte) (*pathSecrets, error) {
	p := &pathSecrets{nodes: nodes, commit: first}
	for range nodes {
		node := suite.DeriveSecret(p.commit, "node")
		private, public, err := suite.DeriveKeyPair(node)
		wipe(node)
		if err != nil {
			p.wipe()
			return nil, fmt.Errorf("member: derive node key: %v", err)
		}
		p.secret = append(p.secret, p.commit)
		p.keys = append(p.keys, keyPair{public: public, private: private})
		p.commit = suite.DeriveSecret(p.commit, "path")
	}
	return p, nil
}

func (p *pathSecrets) wipe() {
	if p == nil {
		return
	}
	for _, s := range p.secret {
		wipe(s)
	}
	wipe(p.commit)
}

// at returns the path secret of a node, or nil.
func (p *pathSecrets) at(n mls.NodeIndex) []byte {
	for i := range p.nodes {
		if p.nodes[i] == n {
			return p.secret[i]
		}
	}
	return nil
}
