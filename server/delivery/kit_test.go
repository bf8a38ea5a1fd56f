package delivery

import (
	"context"
	"crypto/rand"
	"log/slog"
	"testing"
	"time"

	"conclave"
	"conclave/gate"
	"conclave/gate/gatetest"
	"conclave/mls"
	"conclave/mls/member"
	"conclave/pass"
	"conclave/pass/passtest"
	"conclave/store"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is an organisation, a meeting and its group on a real store.
type world struct {
	t       testing.TB
	org     *passtest.Organisation
	devices *gatetest.DeviceLog
	meeting pass.MeetingContext
	engine  *store.JetStream
	store   store.Store // engine, or what a test puts before it
	renewed map[conclave.DeviceID][]byte
	group   *Group
}

func newWorld(t *testing.T) *world {
	t.Helper()
	engine, err := store.Open(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	w := newWorldOn(t, engine)
	w.engine = engine
	return w
}

// newWorldOn is newWorld on a store that the test brings along.
func newWorldOn(t testing.TB, s store.Store) *world {
	t.Helper()
	w := &world{t: t, org: passtest.New(t, "ministry.example", now), renewed: map[conclave.DeviceID][]byte{}, store: s}
	w.devices = gatetest.New(t, w.org)
	w.meeting = pass.MeetingContext{Meeting: conclave.MeetingID{7}, Level: 1, PolicyHash: [32]byte{9}}
	w.open()
	return w
}

// open opens the group anew, as after a restart.
func (w *world) open() {
	w.t.Helper()
	var err error
	w.group, err = Open(context.Background(), w.config(), now, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) config() Config {
	return Config{Store: w.store, Meeting: w.meeting, Trust: w.org.Trust(), Removal: w.org.Removal,
		Renewed: func(d conclave.DeviceID) []byte { return w.renewed[d] }}
}

// party is a member, or somebody who would like to be one, whose own program checks nothing.
type party struct {
	w         *world
	signer    mls.Signer
	statement []byte
	pass      []byte
	proof     []byte
	extra     mls.Extensions
	group     *member.Group
}

// easy accepts everything: bad members run it.
type easy struct{}

func (easy) VerifyLeaf(mls.LeafCheck) error { return nil }
func (easy) VerifyExternalSender(*mls.ExternalSender, *mls.GroupContext, time.Time) error {
	return nil
}
func (easy) Client(*mls.LeafNode) string { return "" }

func (w *world) party(name string) *party {
	w.t.Helper()
	key := passtest.LeafKey(w.t)
	scalar, err := key.Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	p := &party{w: w}
	if p.signer, err = mls.NewSigner(gate.Suite, scalar); err != nil {
		w.t.Fatal(err)
	}
	p.statement = w.org.Statement(p.signer.Public(), conclave.PersonID(name), name)
	p.pass = w.org.Pass(p.signer.Public(), w.meeting, now)
	p.proof = w.devices.Proof(p.statement)
	return p
}

func (p *party) device() conclave.DeviceID { return conclave.DeviceOf(p.signer.Public()) }

func (p *party) config() member.Config {
	return member.Config{Suite: gate.Suite, Signer: p.signer, Verifier: easy{}, Rand: rand.Reader}
}

func (p *party) leaf() member.Leaf {
	return member.Leaf{
		Credential: mls.BasicCredential(p.statement),
		Capabilities: &mls.Capabilities{Versions: []mls.ProtocolVersion{mls.MLS10}, CipherSuites: []mls.CipherSuite{gate.Suite},
			Extensions: gate.Extensions, Credentials: []mls.CredentialType{mls.CredentialBasic}},
		Extensions: append(mls.Extensions{{Type: pass.ExtensionPass, Data: p.pass}, {Type: pass.ExtensionLogProof, Data: p.proof}}, p.extra...),
	}
}

func (w *world) context() mls.Extensions {
	return gate.ContextExtensions(w.meeting, passtest.Point(w.org.Removal))
}

// make makes a group of its own, and returns what it would hand in.
func (p *party) make(context mls.Extensions) (info, tree []byte) {
	p.w.t.Helper()
	id := append(p.w.meeting.Meeting[:], make([]byte, 16)...)
	rand.Read(id[16:])
	var err error
	if p.group, err = member.Create(p.config(), id, context, p.leaf(), now); err != nil {
		p.w.t.Fatal(err)
	}
	if info, err = p.group.GroupInfo(false); err != nil {
		p.w.t.Fatal(err)
	}
	return info, mls.Marshal(p.group.Tree())
}

// found makes the group and has it ordered.
func (p *party) found() {
	p.w.t.Helper()
	info, tree := p.make(p.w.context())
	s, err := p.w.group.StageFounding(info, tree, p.device(), now)
	if err == nil {
		err = p.w.group.Apply(context.Background(), s)
	}
	if err != nil {
		p.w.t.Fatal(err)
	}
}

// external makes the external commit by which the party would come in.
func (p *party) external(resync bool) (epoch uint64, commit, info []byte) {
	p.w.t.Helper()
	st := p.w.group.State()
	gi, err := readInfo(st.GroupInfo)
	if err != nil {
		p.w.t.Fatal(err)
	}
	tree, err := mls.ParseRatchetTree(gate.Suite, st.Tree)
	if err != nil {
		p.w.t.Fatal(err)
	}
	if p.group, commit, err = member.JoinExternal(p.config(), gi, tree, p.leaf(), member.ExternalOptions{Resync: resync}, now); err != nil {
		p.w.t.Fatal(err)
	}
	if info, err = p.group.GroupInfo(false); err != nil {
		p.w.t.Fatal(err)
	}
	return uint64(st.Epoch), commit, info
}

// join comes in, and the others follow.
func (p *party) join(others ...*party) {
	p.w.t.Helper()
	epoch, commit, info := p.external(false)
	s, err := p.w.group.StageJoin(epoch, commit, info, p.device(), now)
	if err == nil {
		err = p.w.group.Apply(context.Background(), s)
	}
	if err != nil {
		p.w.t.Fatal(err)
	}
	follow(p.w.t, commit, others...)
}

// follow has parties process a message, and enter the epoch that it begins.
func follow(t testing.TB, message []byte, parties ...*party) {
	t.Helper()
	for _, p := range parties {
		processed, err := p.group.Process(message, now)
		if err == nil && processed.Commit != nil && !processed.Removed {
			err = p.group.Merge(processed.Commit)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// commit makes a commit of the party, not merged.
func (p *party) commit(opt member.CommitOptions) *member.Staged {
	p.w.t.Helper()
	leaf := p.leaf()
	opt.Leaf = &leaf
	s, err := p.group.Commit(opt, now)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return s
}

func (p *party) own() mls.LeafIndex { return p.group.OwnLeaf() }

// stage hands a commit in.
func (p *party) stage(s *member.Staged) (*Staged, error) {
	return p.w.group.StageCommit(uint64(p.group.Epoch()), s.Message(), s.GroupInfo(), p.own(), now)
}
