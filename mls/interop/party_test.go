package interop

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"conclave/mls"
	"conclave/mls/member"
)

// party is a member of the group of a world, played by either implementation. Messages are encoded MLSMessages.
type party interface {
	// keyPackage makes a key package, which welcome, external and successor use up.
	keyPackage() []byte
	create(id []byte, extensions mls.Extensions) error
	welcome(welcome []byte) error
	groupInfo() []byte
	external(info []byte, resync bool) (commit []byte, err error) // to be merged
	proposeJoin(info []byte) ([]byte, error)                      // by who has a key package only
	propose(what proposal, publicly bool) ([]byte, error)
	update(publicly bool) ([]byte, error)
	commit(what []proposal, publicly bool) (commit, welcome []byte, err error) // to be merged
	merge() error
	process(message []byte) (data []byte, err error)
	send(data []byte) ([]byte, error)
	state() state
	export(length int) []byte
	// successor is the same person in a group that follows this one, with a key package for its suite.
	successor(suite mls.CipherSuite) party
	// succeed opens that group for the successor of p and the owners of packages: the branch id, or for nil the one that a
	// ReInit announced. tree is nil if it is in the Welcome.
	succeed(successor party, packages [][]byte, id []byte) (welcome, tree []byte, err error)
	follow(successor party, welcome, tree []byte, branch bool) error
}

// proposal is one of its fields.
type proposal struct {
	add        []byte // key package
	remove     *int
	psk        string // id; its secret is in world.psks
	extensions mls.Extensions
	reinit     *mls.ReInit
}

type state struct {
	Epoch         uint64
	Authenticator string
	TreeHash      string
	Extensions    string
	Leaf          int
	Active        bool
	Closed        bool
}

// errOwn is what a party answers to its own proposal.
var errOwn = errors.New("own message")

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // the oracle's own output
	}
	return b
}

// us is a party of this project.
type us struct {
	w      *world
	id     string
	cfg    member.Config
	leaf   member.Leaf
	kp     *member.KeyPackageSecrets
	group  *member.Group
	staged *member.Staged
	joined *member.Group
}

// names accepts a leaf that carries a basic credential: the identities of this test are names.
type names struct{}

func (names) VerifyLeaf(c mls.LeafCheck) error {
	if c.Leaf.Credential.Type != mls.CredentialBasic || len(c.Leaf.Credential.Identity) == 0 {
		return errors.New("no name")
	}
	return nil
}

func (names) VerifyExternalSender(s *mls.ExternalSender, _ *mls.GroupContext, _ time.Time) error {
	if string(s.Credential.Identity) != externalSender {
		return errors.New("not the external sender of these tests")
	}
	return nil
}

func (names) Client(l *mls.LeafNode) string { return string(l.Credential.Identity) }

func newOurs(w *world, suite mls.CipherSuite, name string, private bool) *us {
	signer := newSigner(w, suite)
	p := &us{w: w, id: name, leaf: member.Leaf{
		Credential: w.credential(name, signer.Public()),
		Capabilities: &mls.Capabilities{
			Versions: []mls.ProtocolVersion{mls.MLS10}, CipherSuites: suites, Extensions: []mls.ExtensionType{someExtension},
			Credentials: []mls.CredentialType{mls.CredentialBasic, mls.CredentialX509},
		},
	}}
	p.cfg = member.Config{Suite: suite, Signer: signer, Verifier: w.verifier(), Rand: rand.Reader, Private: private, PadTo: 64}
	return p
}

func newSigner(w *world, suite mls.CipherSuite) mls.Signer {
	key, err := suite.GenerateSignatureKey(rand.Reader)
	w.must(err)
	signer, err := mls.NewSigner(suite, key)
	w.must(err)
	return signer
}

func (p *us) keyPackage() []byte {
	kp, err := member.NewKeyPackage(p.cfg, p.leaf, nil, p.w.now)
	p.w.must(err)
	p.kp = kp
	return mls.Marshal(&mls.Message{KeyPackage: kp.Package})
}

func (p *us) create(id []byte, extensions mls.Extensions) (err error) {
	p.group, err = member.Create(p.cfg, id, extensions, p.leaf, p.w.now)
	return err
}

func (p *us) welcome(encoded []byte) error {
	var m mls.Message
	if err := mls.Unmarshal(encoded, &m); err != nil {
		return err
	}
	var opt member.WelcomeOptions
	for id, secret := range p.w.psks {
		opt.PSKs = append(opt.PSKs, member.PSK{ID: unhex(id), Secret: unhex(secret)})
	}
	g, err := member.JoinWelcome(p.cfg, m.Welcome, p.kp, nil, opt, p.w.now)
	p.group = g
	return err
}

func (p *us) psks() {
	for id, secret := range p.w.psks {
		p.group.SetPSK(unhex(id), unhex(secret))
	}
}

func (p *us) groupInfo() []byte {
	info, err := p.group.GroupInfo(true)
	p.w.must(err)
	return info
}

func readGroupInfo(encoded []byte) (*mls.GroupInfo, error) {
	var m mls.Message
	if err := mls.Unmarshal(encoded, &m); err != nil {
		return nil, err
	}
	return m.GroupInfo, nil
}

func (p *us) external(encoded []byte, resync bool) ([]byte, error) {
	info, err := readGroupInfo(encoded)
	if err != nil {
		return nil, err
	}
	g, commit, err := member.JoinExternal(p.cfg, info, nil, p.leaf, member.ExternalOptions{Resync: resync}, p.w.now)
	p.joined = g
	return commit, err
}

func (p *us) proposeJoin(encoded []byte) ([]byte, error) {
	info, err := readGroupInfo(encoded)
	if err != nil {
		return nil, err
	}
	return member.ProposeJoin(p.cfg, p.kp, info.GroupContext)
}

// proposal makes what a PSK does not take part in.
func (what *proposal) proposal() (mls.Proposal, error) {
	switch {
	case what.remove != nil:
		return &mls.Remove{Removed: mls.LeafIndex(*what.remove)}, nil
	case what.extensions != nil:
		return &mls.GroupContextExtensions{Extensions: what.extensions}, nil
	case what.reinit != nil:
		return what.reinit, nil
	}
	var m mls.Message
	if err := mls.Unmarshal(what.add, &m); err != nil {
		return nil, err
	}
	return &mls.Add{KeyPackage: m.KeyPackage}, nil
}

func (p *us) proposal(what proposal) (mls.Proposal, error) {
	if what.psk != "" {
		p.psks()
		return p.group.NewPSK(unhex(what.psk))
	}
	return what.proposal()
}

func (p *us) propose(what proposal, _ bool) ([]byte, error) {
	pr, err := p.proposal(what)
	if err != nil {
		return nil, err
	}
	return p.group.Propose(pr, p.w.now)
}

func (p *us) update(bool) ([]byte, error) { return p.group.ProposeUpdate(nil, nil, p.w.now) }

func (p *us) commit(what []proposal, _ bool) (commit, welcome []byte, err error) {
	p.psks()
	opt := member.CommitOptions{WelcomeTree: true}
	for _, one := range what {
		pr, err := p.proposal(one)
		if err != nil {
			return nil, nil, err
		}
		opt.Proposals = append(opt.Proposals, pr)
	}
	p.staged, err = p.group.Commit(opt, p.w.now)
	if err != nil {
		return nil, nil, err
	}
	return p.staged.Message(), p.staged.Welcome(), nil
}

func (p *us) merge() error {
	if p.joined != nil {
		p.group, p.joined = p.joined, nil
		return nil
	}
	s := p.staged
	p.staged = nil
	return p.group.Merge(s)
}

func (p *us) process(message []byte) ([]byte, error) {
	p.psks()
	got, err := p.group.Process(message, p.w.now)
	switch {
	case errors.Is(err, member.ErrOwnMessage):
		return nil, errOwn
	case err != nil:
		return nil, err
	case got.Commit != nil:
		return nil, p.group.Merge(got.Commit)
	}
	return got.Application, nil
}

func (p *us) send(data []byte) ([]byte, error) { return p.group.Protect(data, nil) }

func (p *us) state() state {
	if !p.group.Active() {
		return state{}
	}
	return state{Epoch: uint64(p.group.Epoch()), Authenticator: hex.EncodeToString(p.group.EpochAuthenticator()),
		TreeHash: hex.EncodeToString(p.group.Context().TreeHash), Extensions: hex.EncodeToString(mls.Marshal(p.group.Context().Extensions)),
		Leaf: int(p.group.OwnLeaf()), Active: true, Closed: p.group.Closed()}
}

func (p *us) export(length int) []byte {
	secret, err := p.group.Export("interop", []byte("context"), length)
	p.w.must(err)
	return secret
}

func (p *us) successor(suite mls.CipherSuite) party { return newOurs(p.w, suite, p.id, p.cfg.Private) }

func (p *us) succeed(successor party, packages [][]byte, id []byte) (welcome, tree []byte, err error) {
	n := successor.(*us)
	opt := member.SuccessorOptions{GroupID: id, Extensions: p.group.Context().Extensions, Leaf: n.leaf, WelcomeTree: true}
	for _, encoded := range packages {
		var m mls.Message
		if err := mls.Unmarshal(encoded, &m); err != nil {
			return nil, nil, err
		}
		opt.KeyPackages = append(opt.KeyPackages, m.KeyPackage)
	}
	open := p.group.Reinit
	if id != nil {
		open = p.group.Branch
	}
	n.group, welcome, err = open(n.cfg, opt, p.w.now)
	if err != nil {
		return nil, nil, err
	}
	return welcome, mls.Marshal(n.group.Tree()), nil
}

func (p *us) follow(successor party, welcome, tree []byte, _ bool) error {
	n := successor.(*us)
	var m mls.Message
	if err := mls.Unmarshal(welcome, &m); err != nil {
		return err
	}
	nodes, err := mls.ParseRatchetTree(n.cfg.Suite, tree)
	if err != nil {
		return err
	}
	n.group, err = member.JoinWelcome(n.cfg, m.Welcome, n.kp, nodes, member.WelcomeOptions{From: p.group}, p.w.now)
	return err
}

// theirs is a party of ts-mls.
type theirs struct {
	w     *world
	suite mls.CipherSuite
	id    string // of its groups in the oracle
	name  string
	sent  string // the own proposal, which ts-mls has stored already
}

// call fills in whom the command is for.
func (p *theirs) call(command map[string]any, ok any) error {
	command["name"] = p.id
	return p.w.oracle.call(command, ok)
}

func (p *theirs) keyPackage() []byte {
	var a struct{ Key, KeyPackage string }
	command := map[string]any{"do": "keyPackage", "suite": p.suite, "identity": p.name, "extensions": []mls.ExtensionType{someExtension}}
	if p.w.ca != nil {
		p.w.must(p.call(map[string]any{"do": "signatureKey", "suite": p.suite}, &a))
		var chain []string
		for _, c := range p.w.credential(p.name, unhex(a.Key)).Certificates {
			chain = append(chain, hex.EncodeToString(c))
		}
		command["certificates"] = chain
	}
	p.w.must(p.call(command, &a))
	return unhex(a.KeyPackage)
}

func (p *theirs) create(id []byte, extensions mls.Extensions) error {
	p.keyPackage()
	return p.call(map[string]any{"do": "create", "group": hex.EncodeToString(id), "extensions": hex.EncodeToString(mls.Marshal(extensions))}, nil)
}

func (p *theirs) welcome(welcome []byte) error {
	return p.call(map[string]any{"do": "welcome", "welcome": hex.EncodeToString(welcome), "psks": p.w.psks}, nil)
}

func (p *theirs) groupInfo() []byte {
	var a struct{ GroupInfo string }
	p.w.must(p.call(map[string]any{"do": "groupInfo"}, &a))
	return unhex(a.GroupInfo)
}

func (p *theirs) external(info []byte, resync bool) ([]byte, error) {
	var a struct{ Commit string }
	err := p.call(map[string]any{"do": "external", "groupInfo": hex.EncodeToString(info), "resync": resync}, &a)
	return unhex(a.Commit), err
}

// message calls for a message.
func (p *theirs) message(command map[string]any) ([]byte, error) {
	var a struct{ Message string }
	err := p.call(command, &a)
	return unhex(a.Message), err
}

func (p *theirs) proposeJoin(info []byte) ([]byte, error) {
	return p.message(map[string]any{"do": "proposeJoin", "groupInfo": hex.EncodeToString(info)})
}

// argument writes a proposal for the oracle into command.
func (what *proposal) argument(command map[string]any, suite mls.CipherSuite) map[string]any {
	switch {
	case what.remove != nil:
		command["remove"] = *what.remove
	case what.psk != "":
		command["psk"] = map[string]any{"id": what.psk, "nonce": randomHex(suite.HashSize())}
	case what.extensions != nil:
		command["extensions"] = hex.EncodeToString(mls.Marshal(what.extensions))
	case what.reinit != nil:
		command["reinit"] = map[string]any{"group": hex.EncodeToString(what.reinit.GroupID), "suite": what.reinit.CipherSuite,
			"extensions": hex.EncodeToString(mls.Marshal(what.reinit.Extensions))}
	default:
		command["add"] = hex.EncodeToString(what.add)
	}
	return command
}

func (p *theirs) propose(what proposal, publicly bool) ([]byte, error) {
	m, err := p.message(what.argument(map[string]any{"do": "propose", "publicly": publicly}, p.suite))
	p.sent = hex.EncodeToString(m)
	return m, err
}

func (p *theirs) update(publicly bool) ([]byte, error) {
	m, err := p.message(map[string]any{"do": "update", "publicly": publicly})
	p.sent = hex.EncodeToString(m)
	return m, err
}

func (p *theirs) commit(what []proposal, publicly bool) (commit, welcome []byte, err error) {
	proposals := make([]map[string]any, len(what))
	for i := range what {
		proposals[i] = what[i].argument(map[string]any{}, p.suite)
	}
	var a struct{ Commit, Welcome string }
	err = p.call(map[string]any{"do": "commit", "publicly": publicly, "psks": p.w.psks, "proposals": proposals}, &a)
	return unhex(a.Commit), unhex(a.Welcome), err
}

func (p *theirs) merge() error { return p.call(map[string]any{"do": "merge"}, nil) }

func (p *theirs) process(message []byte) ([]byte, error) {
	text := hex.EncodeToString(message)
	if text == p.sent {
		return nil, errOwn
	}
	var a struct{ Data string }
	err := p.call(map[string]any{"do": "process", "message": text, "psks": p.w.psks}, &a)
	return unhex(a.Data), err
}

func (p *theirs) send(data []byte) ([]byte, error) {
	return p.message(map[string]any{"do": "send", "data": hex.EncodeToString(data)})
}

func (p *theirs) state() state {
	var s state
	p.w.must(p.call(map[string]any{"do": "state"}, &s))
	return s
}

func (p *theirs) export(length int) []byte {
	var a struct{ Secret string }
	p.w.must(p.call(map[string]any{"do": "export", "label": "interop", "context": hex.EncodeToString([]byte("context")), "length": length}, &a))
	return unhex(a.Secret)
}

func (p *theirs) successor(suite mls.CipherSuite) party {
	p.w.born++
	return &theirs{w: p.w, suite: suite, id: p.id + "'", name: p.name}
}

func (p *theirs) succeed(successor party, packages [][]byte, id []byte) (welcome, tree []byte, err error) {
	n := successor.(*theirs)
	n.keyPackage()
	command := map[string]any{"do": "succeed", "successor": n.id}
	if id != nil {
		command["id"] = hex.EncodeToString(id)
	}
	list := make([]string, len(packages))
	for i := range packages {
		list[i] = hex.EncodeToString(packages[i])
	}
	command["packages"] = list
	var a struct{ Welcome, Tree string }
	err = p.call(command, &a)
	return unhex(a.Welcome), unhex(a.Tree), err
}

func (p *theirs) follow(successor party, welcome, tree []byte, branch bool) error {
	return p.call(map[string]any{"do": "follow", "successor": successor.(*theirs).id, "branch": branch,
		"welcome": hex.EncodeToString(welcome), "tree": hex.EncodeToString(tree)}, nil)
}
