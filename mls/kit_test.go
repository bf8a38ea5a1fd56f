package mls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tests play groups without secrets: keys of nodes are real, path secrets and tags are random bytes, which no public
// rule can tell from the right ones.

var testNow = time.Unix(1_800_000_000, 0)

const testSuite = X25519AES128SHA256Ed25519

// guard is a verifier that refuses identities on a list and keeps its questions.
type guard struct {
	refused  string // identity that is not let in
	sender   string // external sender that is not let in
	clients  bool   // identities name clients
	asked    []LeafCheck
	enforced bool // successors must keep their identity
}

var errRefused = errors.New("refused")

func (g *guard) VerifyLeaf(c LeafCheck) error {
	g.asked = append(g.asked, c)
	if g.refused != "" && string(c.Leaf.Credential.Identity) == g.refused {
		return errRefused
	}
	if g.enforced && c.Predecessor != nil && !c.Predecessor.Credential.Equal(&c.Leaf.Credential) {
		return errRefused
	}
	return nil
}

func (g *guard) VerifyExternalSender(s *ExternalSender, _ *GroupContext, _ time.Time) error {
	if g.sender != "" && string(s.Credential.Identity) == g.sender {
		return errRefused
	}
	return nil
}

func (g *guard) Client(l *LeafNode) string {
	if g.clients {
		return string(l.Credential.Identity)
	}
	return ""
}

// source is reproducible randomness.
type source struct{ *rand.ChaCha8 }

func newSource(seed uint64) source {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	return source{rand.NewChaCha8(s)}
}

func (s source) bytes(n int) []byte {
	b := make([]byte, n)
	_, _ = s.Read(b)
	return b
}

// world makes clients and keys.
type world struct {
	t     testing.TB
	suite CipherSuite
	rand  source
}

func newWorld(t testing.TB, suite CipherSuite) *world {
	return &world{t, suite, newSource(uint64(suite))}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) encryptionKey() EncryptionKey {
	key, err := w.suite.DeriveKeyPair(w.rand.bytes(64))
	w.must(err)
	return key.PublicKey().Bytes()
}

func (w *world) signer() Signer {
	b, err := w.suite.GenerateSignatureKey(w.rand)
	w.must(err)
	s, err := NewSigner(w.suite, b)
	w.must(err)
	return s
}

type client struct {
	*world
	name   string
	signer Signer
}

func (w *world) client(name string) *client { return &client{w, name, w.signer()} }

// leaf makes an unsigned leaf.
func (c *client) leaf(source LeafNodeSource) *LeafNode {
	l := &LeafNode{
		EncryptionKey: c.encryptionKey(),
		SignatureKey:  c.signer.Public(),
		Credential:    BasicCredential([]byte(c.name)),
		Capabilities: Capabilities{
			Versions: []ProtocolVersion{MLS10}, CipherSuites: []CipherSuite{0x1a1a, c.suite},
			Extensions: []ExtensionType{0xf000, 0x2a2a}, Proposals: []ProposalType{0x3a3a},
			Credentials: []CredentialType{CredentialBasic, 0x4a4a},
		},
		Source: source,
	}
	if source == LeafFromKeyPackage {
		l.Lifetime = Lifetime{uint64(testNow.Unix()) - 3600, uint64(testNow.Unix()) + 3600}
	}
	return l
}

// keyPackage makes a key package; change may spoil it before anything is signed.
func (c *client) keyPackage(change func(*KeyPackage)) *KeyPackage {
	k := &KeyPackage{Version: MLS10, CipherSuite: c.suite, InitKey: c.encryptionKey(), LeafNode: c.leaf(LeafFromKeyPackage)}
	if change != nil {
		change(k)
	}
	c.must(k.LeafNode.Sign(c.signer, nil, 0))
	c.must(k.Sign(c.signer))
	return k
}

// room is a group that a Follower follows, and its clients by leaf.
type room struct {
	*world
	*Follower
	guard   *guard
	members map[LeafIndex]*client
	remover Signer // external sender 0
}

// newRoom founds a group; change may spoil context and leaf before they are signed.
func newRoom(t testing.TB, suite CipherSuite, names ...string) *room {
	w := newWorld(t, suite)
	r := &room{world: w, guard: &guard{}, members: map[LeafIndex]*client{}, remover: w.signer()}
	founder := w.client(names[0])
	r.members[0] = founder
	leaf := founder.leaf(LeafFromKeyPackage)
	w.must(leaf.Sign(founder.signer, nil, 0))
	tree := NewRatchetTree(suite, leaf)
	ctx := &GroupContext{
		Version: MLS10, CipherSuite: suite, GroupID: w.rand.bytes(16), TreeHash: tree.TreeHash(), ConfirmedTranscriptHash: []byte{},
		Extensions: Extensions{
			ExternalSendersExtension([]ExternalSender{{r.remover.Public(), BasicCredential([]byte("remover"))}}),
			RequiredCapabilitiesExtension(RequiredCapabilities{Extensions: []ExtensionType{0xf000}, Credentials: []CredentialType{CredentialBasic}}),
		},
	}
	info := r.groupInfo(ctx, w.rand.bytes(suite.HashSize()), 0)
	f, err := NewFollower(info, tree, NewRules(Config{Verifier: r.guard}), testNow)
	w.must(err)
	r.Follower = f
	for _, name := range names[1:] {
		r.join(name)
	}
	return r
}

// groupInfo makes a signed GroupInfo of a context.
func (r *room) groupInfo(ctx *GroupContext, tag []byte, signer LeafIndex) *GroupInfo {
	info := &GroupInfo{
		GroupContext: ctx, ConfirmationTag: tag, Signer: signer,
		Extensions: Extensions{ExternalPubExtension(r.encryptionKey()), {0x5a5a, []byte("grease")}},
	}
	r.must(info.Sign(r.members[signer].signer))
	return info
}

// currentInfo is the GroupInfo of the epoch the group is in.
func (r *room) currentInfo(signer LeafIndex) *GroupInfo {
	return r.groupInfo(r.Context(), r.state.ConfirmationTag, signer)
}

func (r *room) process(message []byte) *Change {
	r.t.Helper()
	change, err := r.Process(message, testNow)
	if err != nil {
		r.t.Fatal(err)
	}
	return change
}

// join lets a new client in by external commit.
func (r *room) join(name string) LeafIndex {
	r.t.Helper()
	c := r.client(name)
	change := r.process(r.commit(draft{by: c, external: true}))
	r.members[change.Committer] = c
	return change.Committer
}

// propose makes a proposal of a sender; change may spoil it before it is signed.
func (r *room) propose(sender Sender, signer Signer, p Proposal, change func(*AuthenticatedContent)) []byte {
	msg := &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{
		GroupID: r.GroupID(), Epoch: r.Epoch(), Sender: sender, AuthenticatedData: []byte{}, ContentType: ContentProposal, Proposal: p,
	}}
	if change != nil {
		change(msg)
	}
	r.must(msg.Sign(signer, r.Context()))
	return r.public(msg)
}

func (r *room) public(msg *AuthenticatedContent) []byte {
	return Marshal(&Message{Public: &PublicMessage{Content: msg.Content, Auth: msg.Auth, MembershipTag: make([]byte, 32)}})
}

// update makes a signed Update of a member.
func (r *room) update(at LeafIndex, change func(*LeafNode)) *Update {
	l := r.members[at].leaf(LeafFromUpdate)
	if change != nil {
		change(l)
	}
	r.must(l.Sign(r.members[at].signer, r.GroupID(), at))
	return &Update{l}
}

// draft describes a commit to be made, by a member or from outside.
type draft struct {
	at       LeafIndex // the committer, if by is nil
	by       *client
	external bool
	list     []CommittedProposal // by value if Ref is nil
	bare     bool                // no ExternalInit is added to an external commit
	noPath   bool
	key      EncryptionKey // of the new leaf
	leaf     func(*LeafNode)
	resign   func(*LeafNode) // after the leaf is signed
	nodes    func([]UpdatePathNode) []UpdatePathNode
	message  func(*AuthenticatedContent)
	signed   func(*AuthenticatedContent)
	signer   Signer // in the place of the committer
}

func byValue(list ...Proposal) (out []CommittedProposal) {
	for _, p := range list {
		out = append(out, CommittedProposal{Proposal: p})
	}
	return out
}

func byReference(list ...*PendingProposal) (out []CommittedProposal) {
	for _, p := range list {
		out = append(out, CommittedProposal{p.Proposal, p.Sender, p.Ref})
	}
	return out
}

// commit makes a commit without asking any rule, so that tests can break them.
func (r *room) commit(d draft) []byte {
	r.t.Helper()
	sender := MemberSender(d.at)
	if d.external {
		sender = Sender{Type: SenderNewMemberCommit}
		if !d.bare {
			d.list = append(byValue(&ExternalInit{r.rand.bytes(32)}), d.list...)
		}
	} else if d.by == nil {
		d.by = r.members[d.at]
	}
	commit := &Commit{}
	for i, p := range d.list {
		if p.Ref != nil {
			commit.Proposals = append(commit.Proposals, ProposalOrRef{Ref: p.Ref})
			continue
		}
		d.list[i].Sender = sender
		commit.Proposals = append(commit.Proposals, ProposalOrRef{Proposal: p.Proposal})
	}
	if !d.noPath {
		commit.Path = r.path(d)
	}
	msg := &AuthenticatedContent{WireFormat: WirePublicMessage, Content: FramedContent{
		GroupID: r.GroupID(), Epoch: r.Epoch(), Sender: sender, AuthenticatedData: []byte{}, ContentType: ContentCommit, Commit: commit,
	}}
	msg.Auth.ConfirmationTag = r.rand.bytes(r.suite.HashSize())
	if d.message != nil {
		d.message(msg)
	}
	signer := d.by.signer
	if d.signer != nil {
		signer = d.signer
	}
	r.must(msg.Sign(signer, r.Context()))
	if d.signed != nil {
		d.signed(msg)
	}
	return r.public(msg)
}

func (r *room) path(d draft) *UpdatePath {
	g := &Staged{Proposals: d.list, before: r.state, Committer: d.at, Provisional: r.Context().Clone(), Tree: r.Tree().Clone()}
	g.apply()
	if d.external {
		g.Committer = g.Tree.FreeLeaf()
	}
	g.PreparePath()
	nodes := make([]UpdatePathNode, len(g.PathNodes))
	for i := range nodes {
		nodes[i].EncryptionKey = r.encryptionKey()
		for range g.Copath[i] {
			nodes[i].EncryptedPathSecret = append(nodes[i].EncryptedPathSecret, HPKECiphertext{r.rand.bytes(32), r.rand.bytes(48)})
		}
	}
	if d.nodes != nil {
		nodes = d.nodes(nodes)
	}
	var keys []EncryptionKey
	for i := range nodes {
		keys = append(keys, nodes[i].EncryptionKey)
	}
	leaf := d.by.leaf(LeafFromCommit)
	if d.key != nil {
		leaf.EncryptionKey = d.key
	}
	if hash, err := g.SetPath(keys); err == nil {
		leaf.ParentHash = hash
	}
	if d.leaf != nil {
		d.leaf(leaf)
	}
	r.must(leaf.Sign(d.by.signer, r.GroupID(), g.Committer))
	if d.resign != nil {
		d.resign(leaf)
	}
	return &UpdatePath{leaf, nodes}
}

// refuses makes sure that the message is refused for the given reason and leaves no trace.
func (r *room) refuses(reason string, message []byte) {
	r.t.Helper()
	before := r.Snapshot()
	_, err := r.Process(message, testNow)
	if err == nil {
		r.t.Errorf("message is accepted, want: %s", reason)
	} else if !strings.Contains(err.Error(), reason) {
		r.t.Errorf("refused with %q, want: %s", err, reason)
	}
	if !bytes.Equal(before, r.Snapshot()) {
		r.t.Error("a refused message left a trace")
	}
}

// wants makes sure that err gives the reason.
func (r *room) wants(reason string, err error) {
	r.t.Helper()
	if err == nil || !strings.Contains(err.Error(), reason) {
		r.t.Errorf("refused with %v, want: %s", err, reason)
	}
}

// accepts makes sure that a copy of the group accepts the message: the control of a test that breaks a rule.
func (r *room) accepts(message []byte) *Change {
	r.t.Helper()
	before := r.Snapshot()
	change, err := r.Clone().Process(message, testNow)
	if err != nil {
		r.t.Errorf("good message is refused: %v", err)
	}
	if !bytes.Equal(before, r.Snapshot()) {
		r.t.Error("a clone changed its original")
	}
	return change
}

// pend sends a proposal and returns what is pending.
func (r *room) pend(message []byte) *PendingProposal {
	r.t.Helper()
	return r.process(message).Proposal
}

func (r *room) leaves() (list []LeafIndex) {
	for _, m := range r.Leaves() {
		list = append(list, m.Leaf)
	}
	return list
}

func (r *room) isAt(leaves ...LeafIndex) {
	r.t.Helper()
	if !slices.Equal(r.leaves(), leaves) {
		r.t.Errorf("members are at %v, want %v", r.leaves(), leaves)
	}
}
