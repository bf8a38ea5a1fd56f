package delivery

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"conclave"
	"conclave/gate"
	"conclave/mls"
	"conclave/mls/member"
	"conclave/pass"
	"conclave/pass/passtest"
	"conclave/store"
)

func TestOneMakesTheGroupAndTheOthersJoinOneAfterTheOther(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.party("anna"), w.party("ben"), w.party("cleo")
	info, tree := b.make(w.context())
	a.found()
	if _, err := w.group.StageFounding(info, tree, b.device(), now); !errors.Is(err, ErrStale) {
		t.Errorf("a second group: %v", err)
	}
	epoch, late, lateInfo := c.external(false)
	b.join(a)
	if _, err := w.group.StageJoin(epoch, late, lateInfo, c.device(), now); !errors.Is(err, ErrStale) {
		t.Errorf("a commit that lost the race: %v", err)
	}
	c.join(a, b)
	if w.group.Epoch() != 2 || len(w.group.Leaves()) != 3 {
		t.Errorf("epoch %d with %d members", w.group.Epoch(), len(w.group.Leaves()))
	}
	if !bytes.Equal(w.group.TreeHash(), c.group.Context().TreeHash) {
		t.Error("the server follows another tree")
	}
}

// A commit may lead to the next rules, and a member's leaf go by a newer pass than it carries; a new group may do neither.
func TestANewGroupIsForWhatTheMeetingIsNowAndItsMakerBringsAPass(t *testing.T) {
	w := newWorld(t)
	a := w.party("anna")
	next := w.meeting
	next.FormerPolicy, next.PolicyHash = w.meeting.PolicyHash, [32]byte{1}
	info, tree := a.make(gate.ContextExtensions(next, passtest.Point(w.org.Removal)))
	if _, err := w.group.StageFounding(info, tree, a.device(), now); !errors.Is(err, errRules) {
		t.Errorf("a group under the next policy: %v", err)
	}
	w.renewed[a.device()] = a.pass
	a.pass = w.org.Pass(a.signer.Public(), next, now)
	info, tree = a.make(w.context())
	var p conclave.Problem
	if _, err := w.group.StageFounding(info, tree, a.device(), now); !errors.As(err, &p) || p.Code != "pass_policy" {
		t.Errorf("its maker's pass is of another policy: %v", err)
	}
}

func TestOfTwoStagedCommitsOneIsOrdered(t *testing.T) {
	w := newWorld(t)
	a, b := w.party("anna"), w.party("ben")
	a.found()
	b.join(a)
	sa, err := a.stage(a.commit(member.CommitOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	sb, err := b.stage(b.commit(member.CommitOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.group.Apply(t.Context(), sa); err != nil {
		t.Fatal(err)
	}
	if err := w.group.Apply(t.Context(), sb); !errors.Is(err, ErrStale) {
		t.Errorf("two commits in one epoch: %v", err)
	}
}

func TestARemovalIsProposedOnceInAnEpochAndCommitted(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	a, b, c := w.party("anna"), w.party("ben"), w.party("cleo")
	a.found()
	b.join(a)
	c.join(a, b)
	first, err := w.group.Remove(ctx, b.own(), now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.group.Remove(ctx, b.own(), now)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("another proposal: %v", err)
	}
	// C leaves by itself: its own proposal stands, ours is not needed.
	own, err := c.group.Propose(&mls.Remove{Removed: c.own()}, now)
	if err != nil {
		t.Fatal(err)
	}
	if fresh, err := w.group.Propose(ctx, own, c.own(), now); err != nil || !fresh {
		t.Fatalf("own removal: %v, %v", fresh, err)
	}
	if p, err := w.group.Remove(ctx, c.own(), now); err != nil || !bytes.Equal(p, own) {
		t.Errorf("a second proposal beside the own one: %v", err)
	}
	if fresh, err := w.group.Propose(ctx, own, c.own(), now); err != nil || fresh {
		t.Errorf("told twice: %v, %v", fresh, err)
	}
	w.open() // what is proposed outlives the server
	if p := w.group.Pending(); len(p) != 2 || !bytes.Equal(p[0], first) || !bytes.Equal(p[1], own) {
		t.Fatalf("%d proposals after a restart", len(p))
	}
	follow(t, first, a)
	follow(t, own, a)
	commit := a.commit(member.CommitOptions{})
	s, err := a.stage(commit)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Removed, []mls.LeafIndex{1, 2}) || s.Leaf != 0 {
		t.Errorf("removed %v by %d", s.Removed, s.Leaf)
	}
	if err := w.group.Apply(ctx, s); err != nil {
		t.Fatal(err)
	}
	if len(w.group.Pending()) != 0 || len(w.group.Leaves()) != 1 {
		t.Errorf("%d pending, %d members", len(w.group.Pending()), len(w.group.Leaves()))
	}
	w.open()
	if len(w.group.Pending()) != 0 || len(w.group.Leaves()) != 1 {
		t.Error("old proposals came back")
	}
}

func TestWhoComesBackGetsWhatItMissedAlsoAfterARestart(t *testing.T) {
	w := newWorld(t)
	a, b := w.party("anna"), w.party("ben")
	a.found()
	b.join(a)
	for range 5 {
		s := a.commit(member.CommitOptions{})
		staged, err := a.stage(s)
		if err == nil {
			err = w.group.Apply(t.Context(), staged)
		}
		if err == nil {
			err = a.group.Merge(s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, restart := range []bool{false, true} {
		if restart {
			w.open()
		}
		commits, ok := w.group.Since(b.group.Epoch())
		if !ok || len(commits) != 5 || commits[0].Epoch != b.group.Epoch() {
			t.Fatalf("restart %v: %d commits, %v", restart, len(commits), ok)
		}
		if none, ok := w.group.Since(6); !ok || len(none) != 0 {
			t.Errorf("restart %v: since the present: %d, %v", restart, len(none), ok)
		}
		if _, ok := w.group.Since(7); ok {
			t.Errorf("restart %v: since the future", restart)
		}
	}
	commits, _ := w.group.Since(1)
	for _, c := range commits {
		follow(t, c.Message, b)
	}
	if b.group.Epoch() != w.group.Epoch() {
		t.Error("b is not up to date")
	}
	// The joining of a device that was in already, with resync.
	epoch, commit, info := b.external(true)
	s, err := w.group.StageJoin(epoch, commit, info, b.device(), now)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Removed) != 1 {
		t.Errorf("the old leaf stays: %v", s.Removed)
	}
}

func TestCommitsAreKeptWithinBounds(t *testing.T) {
	g := &Group{}
	for i := range 1000 {
		g.remember(Commit{Epoch: mls.Epoch(i), Message: make([]byte, 100)})
	}
	if len(g.recent) != maxRecent || g.recent[0].Epoch != 1000-maxRecent || g.bytes != 100*maxRecent {
		t.Errorf("%d commits from %d, %d bytes", len(g.recent), g.recent[0].Epoch, g.bytes)
	}
	for i := range 20 {
		g.remember(Commit{Epoch: mls.Epoch(1000 + i), Message: make([]byte, 1<<20)})
	}
	if g.bytes > maxRecentBytes || len(g.recent) != 16 {
		t.Errorf("%d commits, %d bytes", len(g.recent), g.bytes)
	}
}

func TestNewGroupsThatAreNotWhatTheMeetingIsAreRefused(t *testing.T) {
	other := passtest.LeafKey(t)
	for name, c := range map[string]struct {
		context func(w *world) mls.Extensions
		leaf    func(w *world, p *party)
		device  conclave.DeviceID
	}{
		"another removal key": {context: func(w *world) mls.Extensions { return gate.ContextExtensions(w.meeting, passtest.Point(other)) }},
		"another level": {context: func(w *world) mls.Extensions {
			return gate.ContextExtensions(pass.MeetingContext{Meeting: w.meeting.Meeting, Level: 0, PolicyHash: w.meeting.PolicyHash}, passtest.Point(w.org.Removal))
		}},
		"another policy": {context: func(w *world) mls.Extensions {
			return gate.ContextExtensions(pass.MeetingContext{Meeting: w.meeting.Meeting, Level: 1}, passtest.Point(w.org.Removal))
		}},
		"no external sender": {context: func(w *world) mls.Extensions { return w.context()[:2] }},
		"something more": {context: func(w *world) mls.Extensions {
			return append(w.context(), mls.Extension{Type: pass.ExtensionPass, Data: []byte{1}})
		}},
		"another's device": {device: conclave.DeviceID{1}},
		"no pass":          {leaf: func(w *world, p *party) { p.pass = nil }},
		"another's pass":   {leaf: func(w *world, p *party) { p.pass = w.party("x").pass }},
		"a stranger's pass": {leaf: func(w *world, p *party) {
			p.pass = passtest.New(t, w.org.ID, now).Pass(p.signer.Public(), w.meeting, now)
		}},
		"a lapsed pass": {leaf: func(w *world, p *party) {
			p.pass = w.org.Pass(p.signer.Public(), w.meeting, now.Add(-pass.MaxPassLife))
		}},
		"another meeting's":   {leaf: func(w *world, p *party) { p.pass = w.org.Pass(p.signer.Public(), pass.MeetingContext{}, now) }},
		"another's statement": {leaf: func(w *world, p *party) { p.statement = w.party("x").statement }},
		"another root's": {leaf: func(w *world, p *party) {
			p.statement = passtest.New(t, w.org.ID, now).Statement(p.signer.Public(), "a", "A")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.party("anna")
			if c.leaf != nil {
				c.leaf(w, a)
			}
			ctx := w.context()
			if c.context != nil {
				ctx = c.context(w)
			}
			info, tree := a.make(ctx)
			device := a.device()
			if c.device != (conclave.DeviceID{}) {
				device = c.device
			}
			if _, err := w.group.StageFounding(info, tree, device, now); err == nil {
				t.Error("it was accepted")
			}
			if w.group.Exists() {
				t.Error("there is a group")
			}
		})
	}
}

func TestCommitsThatBreakTheRoomsRulesAreRefused(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.party("anna"), w.party("ben"), w.party("cleo")
	a.found()
	b.join(a)
	c.join(a, b)
	before := w.group.TreeHash()
	refused := func(name string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
		if !bytes.Equal(w.group.TreeHash(), before) || w.group.Epoch() != 2 {
			t.Fatalf("%s changed the group", name)
		}
	}
	stage := func(name string, p *party, opt member.CommitOptions) {
		t.Helper()
		s := p.commit(opt)
		_, err := p.stage(s)
		refused(name, err)
		p.group.ClearPending(nil)
	}
	stage("a member's removal of another", a, member.CommitOptions{Proposals: []mls.Proposal{&mls.Remove{Removed: 1}}})
	stage("a change of the context", a, member.CommitOptions{Proposals: []mls.Proposal{&mls.GroupContextExtensions{Extensions: w.context()}}})
	good := b.commit(member.CommitOptions{})
	_, err := w.group.StageCommit(2, good.Message(), good.GroupInfo(), a.own(), now)
	refused("another's commit", err)
	_, err = w.group.StageCommit(2, good.Message(), a.commit(member.CommitOptions{}).GroupInfo(), b.own(), now)
	refused("another commit's group info", err)
	_, err = w.group.StageCommit(1, good.Message(), good.GroupInfo(), b.own(), now)
	refused("a commit of an earlier epoch", err)
	_, err = w.group.StageCommit(2, nil, nil, b.own(), now)
	refused("nothing", err)
	for i := range 40 {
		// The membership tag, the last 49 octets, is the members' to check: we have no key for it.
		bad := bytes.Clone(good.Message())
		bad[i*(len(bad)-50)/39] ^= 1
		_, err = w.group.StageCommit(2, bad, good.GroupInfo(), b.own(), now)
		refused("a commit with a flipped bit", err)
	}
	lapsed := b.pass
	b.pass = w.org.Pass(b.signer.Public(), w.meeting, now.Add(-pass.MaxPassLife))
	stage("a leaf with a lapsed pass", b, member.CommitOptions{})
	w.renewed[b.device()] = lapsed // but the server has a newer one
	if _, err := b.stage(b.commit(member.CommitOptions{})); err != nil {
		t.Errorf("a leaf whose pass was renewed: %v", err)
	}
	d := w.party("dora")
	epoch, commit, info := d.external(false)
	_, err = w.group.StageJoin(epoch, commit, info, a.device(), now)
	refused("a join of another device", err)
	d.pass = nil
	epoch, commit, info = d.external(false)
	_, err = w.group.StageJoin(epoch, commit, info, d.device(), now)
	refused("a join without a pass", err)
	own, err := a.group.Propose(&mls.Remove{Removed: b.own()}, now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.group.Propose(t.Context(), own, a.own(), now)
	refused("a member's proposal to remove another", err)
}

func TestAGroupUnderAnotherPolicyIsDroppedAndADroppedOneLeavesNothing(t *testing.T) {
	w := newWorld(t)
	a, b := w.party("anna"), w.party("ben")
	a.found()
	b.join(a)
	w.meeting.PolicyHash[0]++
	w.open()
	if w.group.Exists() || w.group.State() != nil {
		t.Error("the group outlived its policy")
	}
	for _, prefix := range []store.Key{"group", "commit", "pending"} {
		if left, err := w.engine.List(t.Context(), prefix); err != nil || len(left) != 0 {
			t.Errorf("%d entries stay under %s, %v", len(left), prefix, err)
		}
	}
	a.pass = w.org.Pass(a.signer.Public(), w.meeting, now)
	a.found() // and the next can be made
}

// faulty is a store whose writes fail from the n-th on, before or after they are done.
type faulty struct {
	store.Store
	after  int
	really bool // the write happens though it fails
}

var errFault = errors.New("disk on fire")

func (f *faulty) fails(write func() error) error {
	if f.after--; f.after >= 0 {
		return write()
	}
	if f.really {
		write()
	}
	return errFault
}

func (f *faulty) Create(ctx context.Context, k store.Key, v []byte) (r store.Revision, err error) {
	err = f.fails(func() error { var e error; r, e = f.Store.Create(ctx, k, v); return e })
	return r, err
}

func (f *faulty) Put(ctx context.Context, k store.Key, v []byte) (r store.Revision, err error) {
	err = f.fails(func() error { var e error; r, e = f.Store.Put(ctx, k, v); return e })
	return r, err
}

func (f *faulty) CompareAndPut(ctx context.Context, k store.Key, v []byte, old store.Revision) (r store.Revision, err error) {
	err = f.fails(func() error { var e error; r, e = f.Store.CompareAndPut(ctx, k, v, old); return e })
	return r, err
}

func TestWhateverWriteFailsTheGroupIsWholeAfterwards(t *testing.T) {
	for _, really := range []bool{false, true} {
		for after := range 6 {
			w := newWorld(t)
			a, b := w.party("anna"), w.party("ben")
			a.found()
			b.join(a)
			f := &faulty{Store: w.engine, after: after, really: really}
			w.store = f
			w.open()
			told := w.group.Epoch() // what members have been told
			var failed error
			for failed == nil {
				s := a.commit(member.CommitOptions{})
				staged, err := a.stage(s)
				if err != nil {
					t.Fatal(err)
				}
				if failed = w.group.Apply(t.Context(), staged); failed == nil {
					told = staged.Epoch
					if err := a.group.Merge(s); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !errors.Is(failed, ErrStore) {
				t.Fatalf("after %d writes: %v", after, failed)
			}
			w.store = w.engine
			w.open()
			if e := w.group.Epoch(); e < told || e > told+1 || !really && e != told {
				t.Errorf("after %d writes (done: %v): epoch %d, told %d", after, really, e, told)
			}
			// Who was told of an epoch is brought up to date from it, or joins anew where a commit was not archived.
			if commits, ok := w.group.Since(told); !ok || len(commits) != int(w.group.Epoch()-told) {
				t.Errorf("after %d writes (done: %v): %d commits since %d, %v", after, really, len(commits), told, ok)
			}
		}
	}
}

func TestOfTwoServersWithOneMeetingOneOrders(t *testing.T) {
	w := newWorld(t)
	a, b := w.party("anna"), w.party("ben")
	a.found()
	b.join(a)
	other, err := Open(t.Context(), w.config(), now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	sa, err := a.stage(a.commit(member.CommitOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	cb := b.commit(member.CommitOptions{})
	sb, err := other.StageCommit(uint64(b.group.Epoch()), cb.Message(), cb.GroupInfo(), b.own(), now)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.group.Apply(t.Context(), sa); err != nil {
		t.Fatal(err)
	}
	if err := other.Apply(t.Context(), sb); !errors.Is(err, ErrStore) || !errors.Is(err, store.ErrConflict) {
		t.Errorf("two servers ordered in one epoch: %v", err)
	}
}

func TestWhatAGroupIsForChangesByACommitAndOutlivesARestart(t *testing.T) {
	w := newWorld(t)
	a, b := w.party("anna"), w.party("ben")
	a.found()
	b.join(a)
	from := w.group.Meeting()
	lower := from
	lower.Level--
	if _, _, err := w.group.Change(t.Context(), lower, now); err == nil {
		t.Error("a lower level was proposed")
	}
	to := from
	to.Level++
	message, fresh, err := w.group.Change(t.Context(), to, now)
	if err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	if again, fresh, err := w.group.Change(t.Context(), to, now); err != nil || fresh || !bytes.Equal(again, message) {
		t.Errorf("proposed twice: %v, %v", fresh, err)
	}
	w.open() // the proposal is kept
	if got := w.group.Pending(); len(got) != 1 || !bytes.Equal(got[0], message) {
		t.Fatalf("%d proposals after a restart", len(got))
	}
	if w.group.Meeting() != from {
		t.Error("it is in force before anybody has committed it")
	}
}
