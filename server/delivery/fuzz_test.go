package delivery

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"

	"conclave"
	"conclave/gate"
	"conclave/mls"
	"conclave/mls/member"
	"conclave/store"
)

// memory is a store without a disk: a fuzz target puts it back to what it was for every input.
type memory struct {
	store.Store
	entries map[store.Key]store.Entry
	last    store.Revision
}

func (m *memory) Get(_ context.Context, k store.Key) (store.Entry, error) {
	e, ok := m.entries[k]
	if !ok {
		return store.Entry{}, store.ErrNotFound
	}
	return e, nil
}

func (m *memory) Put(_ context.Context, k store.Key, v []byte) (store.Revision, error) {
	m.last++
	m.entries[k] = store.Entry{Key: k, Value: bytes.Clone(v), Revision: m.last}
	return m.last, nil
}

func (m *memory) Create(ctx context.Context, k store.Key, v []byte) (store.Revision, error) {
	return m.CompareAndPut(ctx, k, v, 0)
}

func (m *memory) CompareAndPut(ctx context.Context, k store.Key, v []byte, old store.Revision) (store.Revision, error) {
	if m.entries[k].Revision != old {
		return 0, store.ErrConflict
	}
	return m.Put(ctx, k, v)
}

func (m *memory) Delete(_ context.Context, k store.Key) error { delete(m.entries, k); return nil }

func (m *memory) List(_ context.Context, prefix store.Key) (list []store.Entry, err error) {
	for k, e := range m.entries {
		if strings.HasPrefix(string(k), string(prefix)+".") {
			list = append(list, e)
		}
	}
	return list, nil
}

func (m *memory) copy() *memory { return &memory{entries: maps.Clone(m.entries), last: m.last} }

// handed is what somebody hands in, good in one epoch of a scene.
type handed struct {
	by            *party
	leaf          mls.LeafIndex
	epoch         uint64
	message, info []byte
	tree          []byte // of a new group
}

// scene is a group of three in epoch 2, one of them to be removed, with all that could be handed in next, and in the epoch
// that the first of these begins.
type scene struct {
	*world
	kept    *memory // the store in epoch 2
	signers []mls.Signer
	handed  []handed
}

func newScene(t *testing.T) *scene {
	m := &memory{entries: map[store.Key]store.Entry{}}
	s := &scene{world: newWorldOn(t, m)}
	a, b, c, d, e := s.party("anna"), s.party("ben"), s.party("cleo"), s.party("dora"), s.party("emil")
	a.found()
	b.join(a)
	c.join(a, b)
	back := *b // ben, who comes back while his old leaf is there
	commit := func(p *party, opt member.CommitOptions) handed {
		made := p.commit(opt)
		h := handed{by: p, leaf: p.own(), epoch: uint64(p.group.Epoch()), message: made.Message(), info: made.GroupInfo()}
		p.group.ClearPending(nil)
		return h
	}
	join := func(p *party, resync bool) handed {
		epoch, message, info := p.external(resync)
		return handed{by: p, leaf: p.own(), epoch: epoch, message: message, info: info}
	}
	first := a.commit(member.CommitOptions{})
	s.handed = append(s.handed, handed{by: a, leaf: 0, epoch: 2, message: first.Message(), info: first.GroupInfo()})
	removal, err := s.group.Remove(t.Context(), c.own(), now)
	if err != nil {
		t.Fatal(err)
	}
	follow(t, removal, b)
	s.handed = append(s.handed, commit(b, member.CommitOptions{}), join(d, false), join(&back, true))
	own, err := b.group.Propose(&mls.Remove{Removed: b.own()}, now)
	if err != nil {
		t.Fatal(err)
	}
	s.handed = append(s.handed, handed{by: b, leaf: b.own(), epoch: 2, message: own})
	info, tree := e.make(s.context())
	s.handed = append(s.handed, handed{by: e, info: info, tree: tree})
	s.kept = m.copy()
	for _, p := range []*party{a, b, c, d} {
		s.signers = append(s.signers, p.signer)
	}
	staged, err := a.stage(first)
	if err == nil {
		err = s.group.Apply(t.Context(), staged)
	}
	if err == nil {
		err = a.group.Merge(first)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.handed = append(s.handed, commit(a, member.CommitOptions{}), join(s.party("fritz"), false))
	return s
}

// begin puts the group back into epoch 2.
func (s *scene) begin(t *testing.T) *memory {
	m := s.kept.copy()
	s.t, s.store = t, m
	s.open()
	return m
}

// mutate makes of what is handed in something else: one octet changed, cut short, or a field exchanged for that of
// another; and has it signed again, as a member with keys could.
func (s *scene) mutate(h handed, other handed, how, x, y, z byte) handed {
	h.message, h.info, h.tree = bytes.Clone(h.message), bytes.Clone(h.info), bytes.Clone(h.tree)
	at := int(x)<<8 | int(y)
	flip := func(b []byte) {
		if len(b) > 0 {
			b[at%len(b)] ^= z
		}
	}
	cut := func(b []byte) []byte { return b[:at%(len(b)+1)] }
	switch how % 16 {
	case 1:
		flip(h.message)
	case 2:
		flip(h.info)
	case 3:
		flip(h.tree)
	case 4:
		h.message = cut(h.message)
	case 5:
		h.info = cut(h.info)
	case 6:
		h.tree = cut(h.tree)
	case 7:
		h.message = swapMessage(h.message, other.message, x)
	case 8:
		h.info = swapInfo(h.info, other.info, x)
	case 9:
		h.info = other.info
	case 10:
		h.tree = other.tree
	case 11:
		h.message = other.message
	case 12:
		h.by, h.leaf = other.by, other.leaf
	case 13:
		h.epoch += uint64(x) - 1
	}
	if how&16 != 0 {
		h.message = s.signMessage(h.message)
	}
	if how&32 != 0 {
		h.info = s.signInfo(h.info)
	}
	return h
}

// swapMessage returns message with one field of another's.
func swapMessage(message, another []byte, field byte) []byte {
	var m, o mls.Message
	if mls.Unmarshal(message, &m) != nil || mls.Unmarshal(another, &o) != nil || m.Public == nil || o.Public == nil {
		return message
	}
	a, b := m.Public, o.Public
	switch field % 12 {
	case 0:
		a.Content.GroupID = b.Content.GroupID
	case 1:
		a.Content.Epoch = b.Content.Epoch
	case 2:
		a.Content.Sender = b.Content.Sender
	case 3:
		a.Content = b.Content
	case 4:
		a.Auth.Signature = b.Auth.Signature
	case 5:
		a.Auth.ConfirmationTag = b.Auth.ConfirmationTag
	case 6:
		a.MembershipTag = b.MembershipTag
	}
	if c, d := a.Content.Commit, b.Content.Commit; c != nil && d != nil {
		switch field % 12 {
		case 7:
			c.Proposals = d.Proposals
		case 8:
			c.Path = d.Path
		case 9:
			c.Path.LeafNode = d.Path.LeafNode
		case 10:
			c.Path.Nodes = d.Path.Nodes
		case 11:
			c.Proposals = append(slices.Clone(c.Proposals), d.Proposals...)
		}
	}
	return mls.Marshal(&m)
}

// swapInfo returns a GroupInfo with one field of another's.
func swapInfo(info, another []byte, field byte) []byte {
	var m, o mls.Message
	if mls.Unmarshal(info, &m) != nil || mls.Unmarshal(another, &o) != nil || m.GroupInfo == nil || o.GroupInfo == nil {
		return info
	}
	a, b := m.GroupInfo, o.GroupInfo
	switch field % 8 {
	case 0:
		a.GroupContext = b.GroupContext
	case 1:
		a.GroupContext.Epoch = b.GroupContext.Epoch
	case 2:
		a.GroupContext.TreeHash = b.GroupContext.TreeHash
	case 3:
		a.GroupContext.ConfirmedTranscriptHash = b.GroupContext.ConfirmedTranscriptHash
	case 4:
		a.Extensions = b.Extensions
	case 5:
		a.ConfirmationTag = b.ConfirmationTag
	case 6:
		a.Signer = b.Signer
	case 7:
		a.Signature = b.Signature
	}
	return mls.Marshal(&m)
}

// signMessage signs a message again with the key of the member that it claims to be from, or of the one who comes in.
func (s *scene) signMessage(message []byte) []byte {
	var m mls.Message
	if mls.Unmarshal(message, &m) != nil || m.Public == nil || s.group.follower == nil {
		return message
	}
	signer := s.signers[len(s.signers)-1]
	if from := m.Public.Content.Sender; from.Type == mls.SenderMember && int(from.Leaf) < len(s.signers)-1 {
		signer = s.signers[from.Leaf]
	}
	a := m.Public.Authenticated()
	if a.Sign(signer, s.group.follower.Context()) != nil {
		return message
	}
	m.Public.Auth = a.Auth
	return mls.Marshal(&m)
}

func (s *scene) signInfo(info []byte) []byte {
	var m mls.Message
	if mls.Unmarshal(info, &m) != nil || m.GroupInfo == nil {
		return info
	}
	if m.GroupInfo.Sign(s.signers[int(m.GroupInfo.Signer)%len(s.signers)]) != nil {
		return info
	}
	return mls.Marshal(&m)
}

// told is all that can be seen of the group, and what is on the disk.
type told struct {
	epoch    mls.Epoch
	exists   bool
	snapshot []byte
	state    *State
	pending  [][]byte
	commits  int
	entries  map[store.Key]store.Entry
}

func (s *scene) tell(m *memory) told {
	g := s.group
	t := told{epoch: g.Epoch(), exists: g.Exists(), state: g.State(), pending: g.Pending(), commits: len(g.recent), entries: maps.Clone(m.entries)}
	if g.follower != nil {
		t.snapshot = g.follower.Snapshot()
	}
	return t
}

func (t told) same(u told) bool {
	if t.epoch != u.epoch || t.exists != u.exists || t.commits != u.commits || !bytes.Equal(t.snapshot, u.snapshot) ||
		!slices.EqualFunc(t.pending, u.pending, bytes.Equal) ||
		!maps.EqualFunc(t.entries, u.entries, func(a, b store.Entry) bool { return a.Revision == b.Revision && bytes.Equal(a.Value, b.Value) }) {
		return false
	}
	return t.state == nil && u.state == nil || t.state != nil && u.state != nil && t.state.Epoch == u.state.Epoch &&
		bytes.Equal(t.state.GroupInfo, u.state.GroupInfo) && bytes.Equal(t.state.Tree, u.state.Tree)
}

// FuzzHandedIn hands in what endpoints could: founding, joining, commits and proposals, spoiled, in another's name, in any
// order. Nothing may panic; what is refused changes nothing, in memory or on the disk, and neither does what is only judged; what
// is ordered begins the next epoch, which is on the disk and can be joined, and whatever was judged before it is stale.
func FuzzHandedIn(f *testing.F) {
	for i := range byte(8) {
		f.Add([]byte{i, 0, 0, 0, 0, 0})
		f.Add([]byte{0, 0, 0, 0, 0, 0, i, 0, 0, 0, 0, 0}) // behind the first commit
		f.Add([]byte{8, 0, 0, 0, 0, 0, i, 0, 0, 0, 0, 0}) // without a group
		f.Add([]byte{9, 0, 0, 0, 0, 0, i, 0, 0, 0, 0, 0}) // with a change of what the group is for before it
		for how := range byte(14) {
			f.Add([]byte{i, 1, how | 16, 3, 5, 1, i, 2, how | 48, 200, 9, 64})
		}
		for field := range byte(12) {
			f.Add([]byte{i, 1, 7 | 16, field, 0, 0, i, 2, 8 | 32, field, 0, 0})
		}
	}
	var s *scene
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 60 {
			return
		}
		cryptotest.SetGlobalRandom(t, 15)
		if s == nil {
			s = newScene(t)
		}
		m := s.begin(t)
		for ; len(script) >= 6; script = script[6:] {
			s.step(t, m, script)
		}
	})
}

func (s *scene) step(t *testing.T, m *memory, b []byte) {
	before := s.tell(m)
	switch {
	case b[0]%10 == 8:
		if err := s.group.Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
		return
	case b[0]%10 == 9:
		to := s.group.Meeting()
		to.Level += conclave.Level(b[1]%3) - 1
		if _, _, err := s.group.Change(t.Context(), to, now); err != nil && !s.tell(m).same(before) {
			t.Fatalf("a change that was refused (%v) changed something", err)
		}
		return
	}
	h := s.mutate(s.handed[b[0]%8], s.handed[b[1]%8], b[2], b[3], b[4], b[5])
	if b[0]%8 == 4 {
		s.propose(t, m, before, h)
		return
	}
	staged, err := s.judge(h, b[2]&64 != 0)
	if !s.tell(m).same(before) {
		t.Fatalf("what was judged (%v) changed something", err)
	}
	if err != nil {
		return
	}
	if err := s.group.Apply(t.Context(), staged); err != nil {
		t.Fatal(err)
	}
	s.ordered(t, m, before, staged, h)
	again := s.tell(m)
	if err := s.group.Apply(t.Context(), staged); !errors.Is(err, ErrStale) || !s.tell(m).same(again) {
		t.Fatalf("ordered twice: %v", err)
	}
}

// judge stages what is handed in by the function for it, or by the one for another kind.
func (s *scene) judge(h handed, another bool) (*Staged, error) {
	if h.tree != nil != another {
		return s.group.StageFounding(h.info, h.tree, h.by.device(), now)
	}
	public, err := gate.ReadPublic(h.message, mls.ContentCommit)
	if err == nil && public.Content.Sender.Type == mls.SenderMember != another {
		return s.group.StageCommit(h.epoch, h.message, h.info, h.leaf, now)
	}
	return s.group.StageJoin(h.epoch, h.message, h.info, h.by.device(), now)
}

// ordered holds a group against what was ordered in it.
func (s *scene) ordered(t *testing.T, m *memory, before told, staged *Staged, h handed) {
	g, after := s.group, s.tell(m)
	want := before.epoch + 1
	if !before.exists {
		want = 0
	}
	if after.epoch != want || staged.Epoch != want || !after.exists || len(after.pending) != 0 {
		t.Fatalf("from epoch %d (a group: %v) to %d, said to be %d", before.epoch, before.exists, after.epoch, staged.Epoch)
	}
	if before.exists {
		commits, ok := g.Since(before.epoch)
		if !ok || len(commits) != 1 || !bytes.Equal(commits[0].Message, h.message) {
			t.Fatalf("who was in the epoch before gets %d commits, %v", len(commits), ok)
		}
	}
	var node *mls.LeafNode
	for _, l := range g.follower.Leaves() {
		if l.Leaf == staged.Leaf {
			node = l.Node
		}
	}
	if node == nil || conclave.DeviceOf(node.SignatureKey) != h.by.device() {
		t.Fatalf("leaf %d is not that of who handed it in", staged.Leaf)
	}
	gi, err := readInfo(after.state.GroupInfo)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := mls.ParseRatchetTree(gate.Suite, after.state.Tree)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mls.NewFollower(gi, tree, g.rules, now); err != nil {
		t.Fatalf("nobody can join what was ordered: %v", err)
	}
	s.open()
	if !s.tell(m).same(after) {
		t.Fatal("the disk has something else than what was ordered")
	}
}

// propose hands in somebody's wish to go.
func (s *scene) propose(t *testing.T, m *memory, before told, h handed) {
	fresh, err := s.group.Propose(t.Context(), h.message, h.leaf, now)
	after := s.tell(m)
	if err != nil || !fresh {
		if !after.same(before) {
			t.Fatalf("a proposal that was refused (%v) changed something", err)
		}
		return
	}
	if after.epoch != before.epoch || len(after.pending) != len(before.pending)+1 || !bytes.Equal(after.state.Tree, before.state.Tree) {
		t.Fatal("a proposal did more than to be pending")
	}
	s.open()
	if !s.tell(m).same(after) {
		t.Fatal("the disk has something else than what is pending")
	}
}
