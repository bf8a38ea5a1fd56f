// Package interop holds our members of MLS groups against those of a second implementation, ts-mls under Node: both
// found groups, add, remove, update, propose, join by Welcome and by external commit, change the group's extensions, follow
// proposals from outside, and continue groups in others, and must agree on every epoch.
//
// ts-mls and its one dependency are installed by `npm ci` in this folder (make test does it). Without them the tests are
// skipped, unless CI is set.
package interop

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"conclave/mls"
)

// suites that both implementations can do.
var suites = []mls.CipherSuite{mls.X25519AES128SHA256Ed25519, mls.P256AES128SHA256P256, mls.P384AES256SHA384P384}

// steps of one history. The aim of 200 for each seed is met by the default; CONCLAVE_INTEROP_SEEDS asks for more seeds.
const steps = 200

// maxMembers keeps a history in minutes: the oracle processes a commit in tens of milliseconds a member.
const maxMembers = 9

// externalSender is the identity of those who may propose from outside: ours at index 0, the oracle's at 1.
const externalSender = "the delivery service"

// someExtension is of the private range; all members support it.
const someExtension mls.ExtensionType = 0xf0aa

func TestBothImplementationsAgreeAfterEveryStep(t *testing.T) {
	needOracle(t)
	seeds := 1
	if s := os.Getenv("CONCLAVE_INTEROP_SEEDS"); s != "" {
		seeds, _ = strconv.Atoi(s)
	}
	for _, suite := range suites {
		for seed := range seeds {
			t.Run(fmt.Sprintf("suite %d seed %d", suite, seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, suite, uint64(seed))
				w.found(seed%2 == 0)
				for i := range steps {
					w.i = i
					w.step()
					w.agree()
				}
				t.Logf("%d steps, %d members at the end: %v", steps, len(w.members), w.count)
			})
		}
	}
}

// world is one group and its history.
type world struct {
	t       *testing.T
	suite   mls.CipherSuite
	rnd     *mathrand.Rand
	oracle  *oracle
	now     time.Time
	i       int // step
	members []party
	born    int
	signer  mls.Signer        // of the external sender at index 0
	ca      *authority        // of all members' certificates; nil: they have names
	psks    map[string]string // hexadecimal id and secret
	count   map[string]int
}

func newWorld(t *testing.T, suite mls.CipherSuite, seed uint64) *world {
	w := &world{t: t, suite: suite, rnd: mathrand.New(mathrand.NewPCG(uint64(suite), seed)),
		oracle: start(t), now: time.Now(), psks: make(map[string]string), count: make(map[string]int)}
	w.signer = newSigner(w, suite)
	return w
}

// credential is that of a member with a name and a signature key.
func (w *world) credential(name string, key mls.SignatureKey) mls.Credential {
	if w.ca == nil {
		return mls.BasicCredential([]byte(name))
	}
	if key == nil {
		return mls.X509Credential(nil)
	}
	return mls.X509Credential(w.ca.chain(w.t, name, key))
}

func (w *world) verifier() mls.Verifier {
	if w.ca == nil {
		return names{}
	}
	return w.ca
}

func (w *world) newParty(ours bool) party {
	w.born++
	name := fmt.Sprintf("member %d", w.born)
	if ours {
		return newOurs(w, w.suite, name, w.rnd.IntN(2) == 0)
	}
	return &theirs{w: w, suite: w.suite, id: name, name: name}
}

func (w *world) found(ours bool) {
	p := w.newParty(ours)
	w.must(p.create([]byte("a group of two kinds"), w.extensions()))
	w.members = []party{p}
}

// extensions for a group: the external senders, and something random.
func (w *world) extensions() mls.Extensions {
	var a struct{ Key string }
	w.must(w.oracle.call(map[string]any{"do": "signatureKey", "name": externalSender, "suite": w.suite}, &a))
	credential := mls.BasicCredential([]byte(externalSender))
	e := mls.Extensions{mls.ExternalSendersExtension([]mls.ExternalSender{
		{SignatureKey: w.signer.Public(), Credential: credential}, {SignatureKey: unhex(a.Key), Credential: credential},
	})}
	if w.rnd.IntN(2) == 0 {
		e = append(e, mls.Extension{Type: someExtension, Data: unhex(randomHex(w.rnd.IntN(100)))})
	}
	if w.rnd.IntN(2) == 0 {
		e = append(e, mls.RequiredCapabilitiesExtension(mls.RequiredCapabilities{
			Extensions: []mls.ExtensionType{someExtension}, Credentials: []mls.CredentialType{w.credential("", nil).Type},
		}))
	}
	return e
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("step %d: %v", w.i, err)
	}
}

func (w *world) at(err error, format string, args ...any) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("step %d: %s: %v", w.i, fmt.Sprintf(format, args...), err)
	}
}

func (w *world) pick() party { return w.members[w.rnd.IntN(len(w.members))] }

func (w *world) coin() bool { return w.rnd.IntN(2) == 0 }

// kind chooses what happens next.
func (w *world) kind() string {
	if len(w.members) < 2 {
		return "add"
	}
	for {
		one := kinds[w.rnd.IntN(len(kinds))]
		if n := len(w.members); n+one.more <= maxMembers && n+one.more > 1 {
			return one.name
		}
	}
}

// kinds of steps, and the members that each brings at most or takes. Those that stand twice are twice as frequent.
var kinds = []struct {
	name string
	more int
}{
	{"add", 2}, {"add with psk", 2}, {"external join", 1}, {"external join", 1}, {"resync", 0}, {"remove", -1}, {"proposed remove", -1},
	{"external remove", -1}, {"external add", 1}, {"proposed join", 1}, {"psk", 0}, {"message", 0}, {"message", 0}, {"update", 0},
	{"proposed update", 0}, {"proposed update", 0}, {"extensions", 0}, {"proposed extensions", 0}, {"mixed", 1},
}

// step does one random thing.
func (w *world) step() {
	kind := w.kind()
	w.count[kind]++
	switch kind {
	case "add":
		w.commit(w.pick(), w.adds(1+w.rnd.IntN(2)))
	case "add with psk":
		// The PSK between the Adds, so that orders differ if they can.
		list := w.adds(2)
		w.commit(w.pick(), []change{list[0], {proposal: w.psk()}, list[1]})
	case "external join":
		p := w.newParty(w.coin())
		p.keyPackage()
		w.joinExternal(p, false)
		w.members = append(w.members, p)
	case "resync":
		p := w.pick()
		p.keyPackage()
		w.joinExternal(p, true)
	case "remove":
		by, gone := w.twoOf()
		leaf := gone.state().Leaf
		w.commit(by, []change{{proposal: proposal{remove: &leaf}}})
		w.drop(gone)
	case "proposed remove", "external remove":
		by, gone := w.twoOf()
		leaf := gone.state().Leaf
		if what := (proposal{remove: &leaf}); kind == "external remove" {
			w.proposeExternal(what)
		} else {
			w.propose(w.pick(), what)
		}
		w.commit(by, nil)
		w.drop(gone)
	case "external add":
		p := w.newParty(w.coin())
		w.proposeExternal(proposal{add: p.keyPackage()})
		w.commit(w.pick(), nil, p)
	case "proposed join":
		p := w.newParty(w.coin())
		p.keyPackage()
		m, err := p.proposeJoin(w.pick().groupInfo())
		w.at(err, "%T asks to be added", p)
		w.deliver(m)
		w.commit(w.pick(), nil, p)
	case "psk":
		w.commit(w.pick(), []change{{proposal: w.psk()}})
	case "message":
		w.message()
	case "proposed update":
		by, other := w.twoOf()
		w.proposeUpdate(other)
		w.commit(by, nil)
	case "extensions":
		w.commit(w.pick(), []change{{proposal: proposal{extensions: w.extensions()}}})
	case "proposed extensions":
		w.propose(w.pick(), proposal{extensions: w.extensions()})
		w.commit(w.pick(), nil)
	case "mixed":
		w.mixed()
	default:
		w.commit(w.pick(), nil)
	}
}

// mixed commits nearly every kind of proposal at once, by reference and by value.
func (w *world) mixed() {
	by, other := w.twoOf()
	if len(w.members) > 2 && w.coin() {
		third := w.pick()
		for third == by || third == other {
			third = w.pick()
		}
		leaf := third.state().Leaf
		w.proposeExternal(proposal{remove: &leaf})
		defer w.drop(third)
	}
	w.proposeUpdate(other)
	w.commit(by, append(w.adds(1), change{proposal: w.psk()}, change{proposal: proposal{extensions: w.extensions()}}))
}

// change is a proposal by value, and who comes in by it.
type change struct {
	proposal proposal
	party    party
}

func (w *world) adds(n int) []change {
	list := make([]change, n)
	for i := range list {
		p := w.newParty(w.coin())
		list[i] = change{proposal{add: p.keyPackage()}, p}
	}
	return list
}

// psk invents a pre-shared key.
func (w *world) psk() proposal {
	id := randomHex(8)
	w.psks[id] = randomHex(32)
	return proposal{psk: id}
}

func (w *world) twoOf() (a, b party) {
	perm := w.rnd.Perm(len(w.members))
	return w.members[perm[0]], w.members[perm[1]]
}

func (w *world) drop(gone party) {
	if s := gone.state(); s.Active {
		w.t.Fatalf("step %d: %T does not know that it was removed", w.i, gone)
	}
	for i, p := range w.members {
		if p == gone {
			w.members = append(w.members[:i], w.members[i+1:]...)
			return
		}
	}
}

// message sends application data.
func (w *world) message() {
	from := w.pick()
	text := fmt.Appendf(nil, "step %d", w.i)
	m, err := from.send(text)
	w.at(err, "%T sends", from)
	for _, p := range w.members {
		if p == from {
			continue
		}
		got, err := p.process(m)
		w.at(err, "%T opens what %T sent", p, from)
		if !bytes.Equal(got, text) {
			w.t.Fatalf("step %d: %T opened %q, want %q", w.i, p, got, text)
		}
	}
}

// deliver hands a message that stands for itself to all but its sender, who knows it.
func (w *world) deliver(m []byte) {
	for _, p := range w.members {
		if _, err := p.process(m); err != nil && !errors.Is(err, errOwn) {
			w.at(err, "%T processes a proposal", p)
		}
	}
}

func (w *world) propose(by party, what proposal) {
	m, err := by.propose(what, w.coin())
	w.at(err, "%T proposes", by)
	w.deliver(m)
}

func (w *world) proposeUpdate(by party) {
	m, err := by.update(w.coin())
	w.at(err, "%T proposes an update", by)
	w.deliver(m)
}

// proposeExternal proposes from outside, as one of the two external senders.
func (w *world) proposeExternal(what proposal) {
	encoded := w.pick().groupInfo()
	var m []byte
	if w.coin() {
		info, err := readGroupInfo(encoded)
		w.must(err)
		tree, err := info.Extensions.RatchetTree(w.suite)
		w.must(err)
		f, err := mls.NewFollower(info, tree, mls.NewRules(mls.Config{Verifier: w.verifier()}), w.now)
		w.at(err, "our external sender follows")
		pr, err := what.proposal()
		w.must(err)
		m, err = f.ExternalProposal(w.signer, 0, pr)
		w.at(err, "our external sender proposes")
		_, err = f.Process(m, w.now)
		w.at(err, "our external sender takes its proposal in")
	} else {
		var err error
		sender := &theirs{w: w, suite: w.suite, id: externalSender}
		m, err = sender.message(what.argument(map[string]any{"do": "proposeExternal", "groupInfo": hex.EncodeToString(encoded)}, w.suite))
		w.at(err, "their external sender proposes")
	}
	w.deliver(m)
}

// commit lets by commit what is pending and what is given. news come in by pending proposals.
func (w *world) commit(by party, what []change, news ...party) {
	var list []proposal
	for _, c := range what {
		list = append(list, c.proposal)
		if c.party != nil {
			news = append(news, c.party)
		}
	}
	commit, welcome, err := by.commit(list, w.coin())
	w.at(err, "%T commits", by)
	for _, p := range w.members {
		if p == by {
			continue
		}
		_, err := p.process(commit)
		w.at(err, "%T processes a commit of %T", p, by)
	}
	w.at(by.merge(), "merge")
	for _, p := range news {
		w.at(p.welcome(welcome), "%T is welcomed by %T", p, by)
		w.members = append(w.members, p)
	}
}

func (w *world) joinExternal(p party, resync bool) {
	host := w.pick()
	for host == p && len(w.members) > 1 {
		host = w.pick()
	}
	commit, err := p.external(host.groupInfo(), resync)
	w.at(err, "%T joins %T by external commit", p, host)
	for _, other := range w.members {
		if other == p {
			continue
		}
		_, err := other.process(commit)
		w.at(err, "%T processes the external commit of %T", other, p)
	}
	w.at(p.merge(), "merge")
}

// agree holds all members against each other.
func (w *world) agree() {
	w.t.Helper()
	first := w.members[0].state()
	secret := w.members[0].export(48)
	leaves := make(map[int]bool)
	for _, p := range w.members {
		s := p.state()
		if s.Epoch != first.Epoch || s.Authenticator != first.Authenticator || s.TreeHash != first.TreeHash ||
			s.Extensions != first.Extensions || s.Closed != first.Closed || !s.Active {
			w.t.Fatalf("step %d: %T and %T are in different epochs: %+v, %+v", w.i, p, w.members[0], s, first)
		}
		if !bytes.Equal(p.export(48), secret) {
			w.t.Fatalf("step %d: %T exports another secret", w.i, p)
		}
		if leaves[s.Leaf] {
			w.t.Fatalf("step %d: two members at leaf %d", w.i, s.Leaf)
		}
		leaves[s.Leaf] = true
	}
}
