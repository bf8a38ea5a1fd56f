// Package interop holds our members of MLS groups against those of a second implementation, ts-mls under Node: both
// found groups, add, remove, update, join by Welcome and by external commit, and must agree on every epoch.
//
// ts-mls and its one dependency are installed by `npm ci` in this folder (make test does it). Without them the test is
// skipped, unless CI is set.
package interop

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"conclave/mls"
	"conclave/mls/member"
)

// steps of one history. The aim of 200 for each seed is met by the default; CONCLAVE_INTEROP_SEEDS asks for more seeds.
const steps = 200

// maxMembers keeps a history in minutes: the oracle processes a commit in tens of milliseconds a member.
const maxMembers = 9

func TestBothImplementationsAgreeAfterEveryStep(t *testing.T) {
	if _, err := os.Stat("node_modules/ts-mls"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("ts-mls is not installed: run npm ci in mls/interop")
		}
		t.Skip("ts-mls is not installed: run npm ci in mls/interop")
	}
	seeds := 1
	if s := os.Getenv("CONCLAVE_INTEROP_SEEDS"); s != "" {
		seeds, _ = strconv.Atoi(s)
	}
	for _, suite := range []mls.CipherSuite{1, 2, 7} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("suite %d seed %d", suite, seed), func(t *testing.T) {
				t.Parallel()
				w := &world{t: t, suite: suite, rnd: mathrand.New(mathrand.NewPCG(uint64(suite), uint64(seed))),
					oracle: start(t, suite), now: time.Now(), psks: make(map[string]string), count: make(map[string]int)}
				w.found(seed%2 == 0)
				for i := range steps {
					w.step(i)
					w.agree(i)
				}
				t.Logf("%d steps, %d members at the end: %v", steps, len(w.members), w.count)
			})
		}
	}
}

// party is a member of the one group of a world, played by either implementation. Messages are encoded MLSMessages.
type party interface {
	name() string
	keyPackage() []byte
	welcome(welcome []byte) error
	groupInfo() []byte
	external(info []byte, resync bool) (commit []byte, err error) // to be merged or dropped
	propose(what proposal, publicly bool) ([]byte, error)
	commit(what []proposal, publicly bool) (commit, welcome []byte, err error) // to be merged or dropped
	merge() error
	process(message []byte) (data []byte, err error)
	send(data []byte) ([]byte, error)
	state() state
	export(length int) []byte
}

// proposal is one of its fields.
type proposal struct {
	add    []byte // key package
	remove *int
	psk    string // id; its secret is in world.psks
}

type state struct {
	Epoch         uint64
	Authenticator string
	TreeHash      string
	Leaf          int
	Active        bool
}

// world is one group and its history.
type world struct {
	t       *testing.T
	suite   mls.CipherSuite
	rnd     *mathrand.Rand
	oracle  *oracle
	now     time.Time
	members []party
	born    int
	psks    map[string]string // hexadecimal id and secret
	count   map[string]int
}

func (w *world) newParty(ours bool) party {
	w.born++
	name := fmt.Sprintf("member %d", w.born)
	if ours {
		return newOurs(w, name)
	}
	return &theirs{w: w, id: name}
}

func (w *world) found(ours bool) {
	p := w.newParty(ours)
	id := []byte("a group of two kinds")
	switch p := p.(type) {
	case *us:
		g, err := member.Create(p.cfg, id, nil, p.leaf, w.now)
		w.must(err)
		p.group = g
	case *theirs:
		p.keyPackage()
		w.must(w.oracle.call(map[string]any{"do": "create", "name": p.id, "group": hex.EncodeToString(id)}, nil))
	}
	w.members = []party{p}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pick() party { return w.members[w.rnd.IntN(len(w.members))] }

// step does one random thing.
func (w *world) step(i int) {
	kind := "update"
	switch r := w.rnd.IntN(100); {
	case len(w.members) < 2 || r < 18 && len(w.members) < maxMembers:
		kind = "add"
	case r < 36 && len(w.members) < maxMembers:
		kind = "external join"
	case r < 44:
		kind = "resync"
	case r < 58 && len(w.members) > 2:
		kind = "remove"
	case r < 70 && len(w.members) > 2:
		kind = "proposed remove"
	case r < 78:
		kind = "psk"
	case r < 88:
		kind = "message"
	}
	w.count[kind]++
	publicly := w.rnd.IntN(2) == 0
	switch kind {
	case "add":
		var news []party
		var what []proposal
		for range 1 + w.rnd.IntN(2) {
			p := w.newParty(w.rnd.IntN(2) == 0)
			news = append(news, p)
			what = append(what, proposal{add: p.keyPackage()})
		}
		w.commit(i, w.pick(), what, publicly, news...)
	case "external join":
		p := w.newParty(w.rnd.IntN(2) == 0)
		p.keyPackage()
		w.joinExternal(i, p, false)
		w.members = append(w.members, p)
	case "resync":
		p := w.pick()
		p.keyPackage()
		w.joinExternal(i, p, true)
	case "remove":
		by, gone := w.twoOf()
		leaf := gone.state().Leaf
		w.commit(i, by, []proposal{{remove: &leaf}}, publicly)
		w.drop(gone)
	case "proposed remove":
		by, gone := w.twoOf()
		leaf := gone.state().Leaf
		m, err := w.pick().propose(proposal{remove: &leaf}, publicly)
		w.at(i, "propose", err)
		w.deliver(i, m)
		w.commit(i, by, nil, publicly)
		w.drop(gone)
	case "psk":
		id, secret := randomHex(8), randomHex(32)
		w.psks[id] = secret
		w.commit(i, w.pick(), []proposal{{psk: id}}, publicly)
	case "message":
		from := w.pick()
		text := fmt.Appendf(nil, "step %d", i)
		m, err := from.send(text)
		w.at(i, "send", err)
		for _, p := range w.members {
			if p == from {
				continue
			}
			got, err := p.process(m)
			w.at(i, "open", err)
			if !bytes.Equal(got, text) {
				w.t.Fatalf("step %d: %T opened %q, want %q", i, p, got, text)
			}
		}
	default:
		w.commit(i, w.pick(), nil, publicly)
	}
}

func (w *world) twoOf() (a, b party) {
	perm := w.rnd.Perm(len(w.members))
	return w.members[perm[0]], w.members[perm[1]]
}

func (w *world) drop(gone party) {
	if s := gone.state(); s.Active {
		w.t.Fatalf("%T does not know that it was removed", gone)
	}
	for i, p := range w.members {
		if p == gone {
			w.members = append(w.members[:i], w.members[i+1:]...)
			return
		}
	}
}

func (w *world) at(step int, what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("step %d: %s: %v", step, what, err)
	}
}

// deliver hands a message that stands for itself to all but its sender, who knows it.
func (w *world) deliver(i int, m []byte) {
	for _, p := range w.members {
		if _, err := p.process(m); err != nil && !errors.Is(err, errOwn) {
			w.at(i, fmt.Sprintf("%T processes a proposal", p), err)
		}
	}
}

func (w *world) commit(i int, by party, what []proposal, publicly bool, news ...party) {
	commit, welcome, err := by.commit(what, publicly)
	w.at(i, fmt.Sprintf("%T commits", by), err)
	for _, p := range w.members {
		if p == by {
			continue
		}
		_, err := p.process(commit)
		w.at(i, fmt.Sprintf("%T processes a commit of %T", p, by), err)
	}
	w.at(i, "merge", by.merge())
	for _, p := range news {
		w.at(i, fmt.Sprintf("%T is welcomed by %T", p, by), p.welcome(welcome))
		w.members = append(w.members, p)
	}
}

func (w *world) joinExternal(i int, p party, resync bool) {
	host := w.pick()
	for host == p && len(w.members) > 1 {
		host = w.pick()
	}
	commit, err := p.external(host.groupInfo(), resync)
	w.at(i, fmt.Sprintf("%T joins %T by external commit", p, host), err)
	for _, other := range w.members {
		if other == p {
			continue
		}
		_, err := other.process(commit)
		w.at(i, fmt.Sprintf("%T processes the external commit of %T", other, p), err)
	}
	w.at(i, "merge", p.merge())
}

// agree holds all members against each other.
func (w *world) agree(i int) {
	first := w.members[0].state()
	secret := w.members[0].export(48)
	leaves := make(map[int]bool)
	for _, p := range w.members {
		s := p.state()
		if s.Epoch != first.Epoch || s.Authenticator != first.Authenticator || s.TreeHash != first.TreeHash {
			w.t.Fatalf("step %d: %T and %T are in different epochs: %+v, %+v", i, p, w.members[0], s, first)
		}
		if !bytes.Equal(p.export(48), secret) {
			w.t.Fatalf("step %d: %T exports another secret", i, p)
		}
		if leaves[s.Leaf] {
			w.t.Fatalf("step %d: two members at leaf %d", i, s.Leaf)
		}
		leaves[s.Leaf] = true
	}
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// errOwn is what a party answers to its own proposal.
var errOwn = errors.New("own message")

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

func (names) VerifyExternalSender(*mls.ExternalSender, *mls.GroupContext, time.Time) error {
	return errors.New("no external senders here")
}

func (names) Client(l *mls.LeafNode) string { return string(l.Credential.Identity) }

func newOurs(w *world, name string) *us {
	p := &us{w: w, id: name, leaf: member.Leaf{Credential: mls.BasicCredential([]byte(name))}}
	p.renew()
	return p
}

// renew makes a signature key.
func (p *us) renew() {
	key, err := p.w.suite.GenerateSignatureKey(rand.Reader)
	p.w.must(err)
	signer, err := mls.NewSigner(p.w.suite, key)
	p.w.must(err)
	p.cfg = member.Config{Suite: p.w.suite, Signer: signer, Verifier: names{}, Rand: rand.Reader}
}

func (p *us) name() string { return p.id }

func (p *us) keyPackage() []byte {
	kp, err := member.NewKeyPackage(p.cfg, p.leaf, nil, p.w.now)
	p.w.must(err)
	p.kp = kp
	return mls.Marshal(&mls.Message{KeyPackage: kp.Package})
}

func (p *us) welcome(encoded []byte) error {
	var m mls.Message
	if err := mls.Unmarshal(encoded, &m); err != nil {
		return err
	}
	g, err := member.JoinWelcome(p.cfg, m.Welcome, p.kp, nil, member.WelcomeOptions{}, p.w.now)
	if err != nil {
		return err
	}
	p.group = g
	p.psks()
	return nil
}

func (p *us) psks() {
	for id, secret := range p.w.psks {
		p.group.SetPSK(unhex(id), unhex(secret))
	}
}

func (p *us) groupInfo() []byte {
	info, err := p.group.GroupInfo(true, p.w.now)
	p.w.must(err)
	return info
}

func (p *us) external(encoded []byte, resync bool) ([]byte, error) {
	var m mls.Message
	if err := mls.Unmarshal(encoded, &m); err != nil {
		return nil, err
	}
	g, commit, err := member.JoinExternal(p.cfg, m.GroupInfo, nil, p.leaf, member.ExternalOptions{Resync: resync}, p.w.now)
	p.joined = g
	return commit, err
}

func (p *us) proposal(what proposal) (mls.Proposal, error) {
	switch {
	case what.remove != nil:
		return &mls.Remove{Removed: mls.LeafIndex(*what.remove)}, nil
	case what.psk != "":
		p.psks()
		return p.group.NewPSK(unhex(what.psk))
	}
	var m mls.Message
	if err := mls.Unmarshal(what.add, &m); err != nil {
		return nil, err
	}
	return &mls.Add{KeyPackage: m.KeyPackage}, nil
}

func (p *us) propose(what proposal, publicly bool) ([]byte, error) {
	pr, err := p.proposal(what)
	if err != nil {
		return nil, err
	}
	return p.group.Propose(pr, p.w.now)
}

func (p *us) commit(what []proposal, publicly bool) (commit, welcome []byte, err error) {
	p.psks()
	var opt member.CommitOptions
	for _, one := range what {
		pr, err := p.proposal(one)
		if err != nil {
			return nil, nil, err
		}
		opt.Proposals = append(opt.Proposals, pr)
	}
	opt.WelcomeTree = true
	p.staged, err = p.group.Commit(opt, p.w.now)
	if err != nil {
		return nil, nil, err
	}
	return p.staged.Message(), p.staged.Welcome(), nil
}

func (p *us) merge() error {
	if p.joined != nil {
		p.group, p.joined = p.joined, nil
		p.psks()
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
		TreeHash: hex.EncodeToString(p.group.Context().TreeHash), Leaf: int(p.group.OwnLeaf()), Active: true}
}

func (p *us) export(length int) []byte {
	secret, err := p.group.Export("interop", []byte("context"), length)
	p.w.must(err)
	return secret
}

// theirs is a party of ts-mls.
type theirs struct {
	w    *world
	id   string
	sent string // the own proposal, which ts-mls has stored already
}

func (p *theirs) name() string { return p.id }

func (p *theirs) keyPackage() []byte {
	var a struct{ KeyPackage string }
	p.w.must(p.w.oracle.call(map[string]any{"do": "keyPackage", "name": p.id}, &a))
	return unhex(a.KeyPackage)
}

func (p *theirs) welcome(welcome []byte) error {
	return p.w.oracle.call(map[string]any{"do": "welcome", "name": p.id, "welcome": hex.EncodeToString(welcome)}, nil)
}

func (p *theirs) groupInfo() []byte {
	var a struct{ GroupInfo string }
	p.w.must(p.w.oracle.call(map[string]any{"do": "groupInfo", "name": p.id}, &a))
	return unhex(a.GroupInfo)
}

func (p *theirs) external(info []byte, resync bool) ([]byte, error) {
	var a struct{ Commit string }
	err := p.w.oracle.call(map[string]any{"do": "external", "name": p.id, "groupInfo": hex.EncodeToString(info),
		"resync": resync}, &a)
	return unhex(a.Commit), err
}

type pskArgument struct {
	ID    string `json:"id"`
	Nonce string `json:"nonce"`
}

func (p *theirs) propose(what proposal, publicly bool) ([]byte, error) {
	var a struct{ Message string }
	err := p.w.oracle.call(map[string]any{"do": "propose", "name": p.id, "remove": what.remove, "publicly": publicly}, &a)
	p.sent = a.Message
	return unhex(a.Message), err
}

func (p *theirs) commit(what []proposal, publicly bool) (commit, welcome []byte, err error) {
	var adds []string
	var removes []int
	var psks []pskArgument
	for _, one := range what {
		switch {
		case one.remove != nil:
			removes = append(removes, *one.remove)
		case one.psk != "":
			psks = append(psks, pskArgument{one.psk, randomHex(p.w.suite.HashSize())})
		default:
			adds = append(adds, hex.EncodeToString(one.add))
		}
	}
	command := map[string]any{"do": "commit", "name": p.id, "publicly": publicly, "psks": p.w.psks}
	if adds != nil {
		command["add"] = adds
	}
	if removes != nil {
		command["remove"] = removes
	}
	if psks != nil {
		command["psk"] = psks
	}
	var a struct{ Commit, Welcome string }
	err = p.w.oracle.call(command, &a)
	return unhex(a.Commit), unhex(a.Welcome), err
}

func (p *theirs) merge() error {
	return p.w.oracle.call(map[string]any{"do": "merge", "name": p.id}, nil)
}

func (p *theirs) process(message []byte) ([]byte, error) {
	text := hex.EncodeToString(message)
	if text == p.sent {
		return nil, errOwn
	}
	var a struct{ Data string }
	err := p.w.oracle.call(map[string]any{"do": "process", "name": p.id, "message": text, "psks": p.w.psks}, &a)
	return unhex(a.Data), err
}

func (p *theirs) send(data []byte) ([]byte, error) {
	var a struct{ Message string }
	err := p.w.oracle.call(map[string]any{"do": "send", "name": p.id, "data": hex.EncodeToString(data)}, &a)
	return unhex(a.Message), err
}

func (p *theirs) state() state {
	var s state
	p.w.must(p.w.oracle.call(map[string]any{"do": "state", "name": p.id}, &s))
	return s
}

func (p *theirs) export(length int) []byte {
	var a struct{ Secret string }
	p.w.must(p.w.oracle.call(map[string]any{"do": "export", "name": p.id, "label": "interop",
		"context": hex.EncodeToString([]byte("context")), "length": length}, &a))
	return unhex(a.Secret)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // the oracle's own output
	}
	return b
}

// oracle is a process that plays members by ts-mls.
type oracle struct {
	in  *json.Encoder
	out *bufio.Reader
}

func start(t *testing.T, suite mls.CipherSuite) *oracle {
	script, err := filepath.Abs("oracle.mjs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "--import", "./mend.mjs", script)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	o := &oracle{in: json.NewEncoder(in), out: bufio.NewReaderSize(out, 1<<20)}
	if err := o.call(map[string]any{"do": "suite", "suite": suite}, nil); err != nil {
		t.Fatal(err)
	}
	return o
}

// call sends one command and reads its answer into ok, if that is not nil.
func (o *oracle) call(command map[string]any, ok any) error {
	if err := o.in.Encode(command); err != nil {
		return err
	}
	line, err := o.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	var answer struct {
		OK    json.RawMessage `json:"ok"`
		Error string          `json:"error"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return errors.New("ts-mls: " + answer.Error)
	}
	if ok == nil {
		return nil
	}
	return json.Unmarshal(answer.OK, ok)
}
