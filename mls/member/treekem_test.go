package member

import (
	"crypto/rand"
	"testing"

	"conclave/mls"
)

// treekemVector is an entry of treekem.json.
type treekemVector struct {
	CipherSuite             mls.CipherSuite `json:"cipher_suite"`
	GroupID                 hexBytes        `json:"group_id"`
	Epoch                   mls.Epoch       `json:"epoch"`
	ConfirmedTranscriptHash hexBytes        `json:"confirmed_transcript_hash"`
	RatchetTree             hexBytes        `json:"ratchet_tree"`
	LeavesPrivate           []struct {
		Index          mls.LeafIndex `json:"index"`
		EncryptionPriv hexBytes      `json:"encryption_priv"`
		SignaturePriv  hexBytes      `json:"signature_priv"`
		PathSecrets    []struct {
			Node       mls.NodeIndex `json:"node"`
			PathSecret hexBytes      `json:"path_secret"`
		} `json:"path_secrets"`
	} `json:"leaves_private"`
	UpdatePaths []struct {
		Sender        mls.LeafIndex `json:"sender"`
		UpdatePath    hexBytes      `json:"update_path"`
		PathSecrets   []hexBytes    `json:"path_secrets"`
		CommitSecret  hexBytes      `json:"commit_secret"`
		TreeHashAfter hexBytes      `json:"tree_hash_after"`
	} `json:"update_paths"`
}

// staged returns a commit of a member over the vector's tree, without
// proposals.
func (v *treekemVector) staged(tree *mls.RatchetTree, committer mls.LeafIndex) *mls.Staged {
	return &mls.Staged{
		Tree: tree.Clone(), Committer: committer,
		Provisional: &mls.GroupContext{
			Version: mls.MLS10, CipherSuite: v.CipherSuite, GroupID: mls.GroupID(v.GroupID), Epoch: v.Epoch,
			ConfirmedTranscriptHash: v.ConfirmedTranscriptHash,
		},
	}
}

func (v *treekemVector) tree(t *testing.T) *mls.RatchetTree {
	t.Helper()
	tree, err := mls.ParseRatchetTree(v.CipherSuite, v.RatchetTree)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// private returns what each member of the vector knows.
func (v *treekemVector) private(t *testing.T, tree *mls.RatchetTree) map[mls.LeafIndex]*privateTree {
	t.Helper()
	all := map[mls.LeafIndex]*privateTree{}
	for _, l := range v.LeavesPrivate {
		keys := &privateTree{keys: map[mls.NodeIndex]keyPair{
			l.Index.Node(): {public: tree.Leaf(l.Index).EncryptionKey, private: l.EncryptionPriv},
		}}
		for _, s := range l.PathSecrets {
			p, err := derivePathTo(v.CipherSuite, tree, []mls.NodeIndex{s.Node}, append([]byte(nil), s.PathSecret...))
			if err != nil {
				t.Fatal(err)
			}
			p.moveKeys(keys)
		}
		all[l.Index] = keys
	}
	return all
}

func TestTreeKEMFollowsTheVectors(t *testing.T) {
	for _, v := range readVectors[treekemVector](t, "treekem.json") {
		if !supported(v.CipherSuite) {
			continue
		}
		before := v.tree(t)
		private := v.private(t, before)
		for _, u := range v.UpdatePaths {
			var path mls.UpdatePath
			if err := mls.Unmarshal(u.UpdatePath, &path); err != nil {
				t.Fatal(err)
			}
			g := v.staged(before, u.Sender)
			g.PreparePath()
			keys := make([]mls.EncryptionKey, len(path.Nodes))
			for i := range path.Nodes {
				keys[i] = path.Nodes[i].EncryptionKey
			}
			if _, err := g.SetPath(keys); err != nil {
				t.Fatal(err)
			}
			g.SetLeaf(path.LeafNode)
			g.Path = &path
			wantBytes(t, "tree hash", g.Provisional.TreeHash, u.TreeHashAfter)
			for own, keys := range private {
				if own == u.Sender {
					continue
				}
				p, err := decryptPath(g, keys.next(g.Tree), own)
				if err != nil {
					t.Fatalf("leaf %d opens the path of %d: %v", own, u.Sender, err)
				}
				wantBytes(t, "path secret", p.secret[0], u.PathSecrets[own])
				wantBytes(t, "commit secret", p.commit, u.CommitSecret)
			}
		}
	}
}

func TestNewUpdatePathOpensForEveryMember(t *testing.T) {
	for _, v := range readVectors[treekemVector](t, "treekem.json") {
		if !supported(v.CipherSuite) || testing.Short() && v.CipherSuite != mls.P256AES128SHA256P256 {
			continue
		}
		before := v.tree(t)
		private := v.private(t, before)
		for _, l := range v.LeavesPrivate {
			signer, err := mls.NewSigner(v.CipherSuite, l.SignaturePriv)
			if err != nil {
				t.Fatal(err)
			}
			g := v.staged(before, l.Index)
			leaf := *before.Leaf(l.Index)
			secrets, leafKey, err := createPath(g, &leaf, signer, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "leaf key", leafKey.public, g.Tree.Leaf(l.Index).EncryptionKey)
			for own, keys := range private {
				if own == l.Index {
					continue
				}
				p, err := decryptPath(g, keys.next(g.Tree), own)
				if err != nil {
					t.Fatalf("leaf %d opens the path of %d: %v", own, l.Index, err)
				}
				wantBytes(t, "commit secret", p.commit, secrets.commit)
			}
		}
	}
}
