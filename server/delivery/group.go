// Package delivery is the MLS delivery service of one meeting (RFC 9420, Section 15; RFC 9750): it follows the group's
// public state, refuses what honest members would refuse, and orders commits, one for each epoch. What it has ordered is on
// the disk before anybody learns of it. It holds no secret and cannot make one.
//
// A change takes two steps, so that a record can be written between them: a Stage function judges a message and changes
// nothing; Apply orders it.
package delivery

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"time"

	"conclave"
	"conclave/gate"
	"conclave/mls"
	"conclave/pass"
	"conclave/store"
)

const (
	maxInfo = 64 << 10 // bytes of a GroupInfo without its tree; 4 kB are usual
	// maxRecent and maxRecentBytes bound the commits that are kept for legs that come back to their place. In the minute
	// for which a place is kept, 100 legs may join; who missed more joins anew.
	maxRecent      = 256
	maxRecentBytes = 16 << 20
	// MaxMembers bounds a room. Trees of more members do not fit a frame.
	MaxMembers = 500
)

var (
	// ErrStale says that the message starts from another epoch than the group is in.
	ErrStale = errors.New("delivery: another commit was first")
	// ErrNoGroup says that there is no group yet: it is to be made.
	ErrNoGroup = errors.New("delivery: no group")
	// ErrFull says that the group has MaxMembers.
	ErrFull = errors.New("delivery: the room is full")
	// ErrStore says that it is not known what is on the disk: the Group must be opened anew.
	ErrStore = errors.New("delivery: the store failed")
)

// Config is what a Group needs.
type Config struct {
	Store   store.Store
	Meeting pass.MeetingContext
	Trust   *pass.Trust
	Removal *ecdsa.PrivateKey // of the group's external sender
	// Renewed returns the newest pass of a member's device, nil if there is none. It is called from within Stage
	// functions.
	Renewed func(conclave.DeviceID) []byte
}

// Commit is an ordered commit.
type Commit struct {
	Epoch     mls.Epoch // that it starts from
	Message   []byte
	Proposals [][]byte // of the epoch, which the commit refers to
}

func (c *Commit) size() int {
	n := len(c.Message)
	for _, p := range c.Proposals {
		n += len(p)
	}
	return n
}

// State is what a joiner needs of a group.
type State struct {
	Epoch     mls.Epoch
	GroupInfo []byte
	Tree      []byte
}

// Group is one meeting's group, or its absence. It is not for concurrent use. Slices that it returns are shared: nobody
// writes to them.
type Group struct {
	cfg    Config
	verify *verifier
	rules  *mls.Rules
	signer mls.Signer

	follower *mls.Follower // nil: no group
	info     []byte
	tree     []byte // encoded; nil until asked for in this epoch
	recent   []Commit
	bytes    int            // of recent
	pending  []pending      // of this epoch
	revision store.Revision // of the group's entry; 0: there is none
}

// pending is a proposal of the epoch: to remove a leaf, or to change what the group is for.
type pending struct {
	leaf    mls.LeafIndex
	change  *pass.MeetingContext // nil: a removal
	message []byte
}

// Leaf is a member as the tree has it.
type Leaf struct {
	Index  mls.LeafIndex
	Device conclave.DeviceID
}

// newGroup returns a Group that knows nothing yet.
func newGroup(cfg Config) (*Group, error) {
	scalar, err := cfg.Removal.Bytes()
	if err != nil {
		return nil, fmt.Errorf("delivery: removal key: %w", err)
	}
	signer, err := mls.NewSigner(gate.Suite, scalar)
	if err != nil {
		return nil, fmt.Errorf("delivery: removal key: %w", err)
	}
	clear(scalar)
	v := &verifier{trust: cfg.Trust, context: cfg.Meeting, renewed: cfg.Renewed}
	return &Group{cfg: cfg, verify: v, rules: mls.NewRules(mls.Config{Verifier: v}), signer: signer}, nil
}

// Exists says whether there is a group.
func (g *Group) Exists() bool { return g.follower != nil }

// Epoch returns the epoch that the group is in; 0 if there is none.
func (g *Group) Epoch() mls.Epoch {
	if g.follower == nil {
		return 0
	}
	return g.follower.Epoch()
}

// TreeHash returns the hash of the epoch's tree.
func (g *Group) TreeHash() []byte {
	if g.follower == nil {
		return nil
	}
	return g.follower.Context().TreeHash
}

// Leaves returns the members, in ascending order of their leaves.
func (g *Group) Leaves() []Leaf {
	if g.follower == nil {
		return nil
	}
	var out []Leaf
	for _, m := range g.follower.Leaves() {
		out = append(out, Leaf{m.Leaf, conclave.DeviceOf(m.Node.SignatureKey)})
	}
	return out
}

// State returns what a joiner needs, nil if there is no group.
func (g *Group) State() *State {
	if g.follower == nil {
		return nil
	}
	if g.tree == nil {
		g.tree = mls.Marshal(g.follower.Tree())
	}
	return &State{g.follower.Epoch(), g.info, g.tree}
}

// Meeting returns what the group is for; where there is none, what the next one will be for.
func (g *Group) Meeting() pass.MeetingContext { return g.cfg.Meeting }

// Pending returns the removals and changes that were proposed in this epoch, encoded, in their order.
func (g *Group) Pending() [][]byte {
	var out [][]byte
	for _, p := range g.pending {
		out = append(out, p.message)
	}
	return out
}

// Since returns the commits from an epoch on to the present, and false if they are not kept that far back.
func (g *Group) Since(epoch mls.Epoch) ([]Commit, bool) {
	if g.follower == nil || epoch > g.follower.Epoch() {
		return nil, false
	}
	n := int(g.follower.Epoch() - epoch)
	if n > len(g.recent) {
		return nil, false
	}
	return g.recent[len(g.recent)-n:], true
}

// Staged is a change that was found good and is not ordered yet.
type Staged struct {
	Leaf     mls.LeafIndex   // of the committer
	Removed  []mls.LeafIndex // leaves taken away
	Epoch    mls.Epoch       // that it begins
	TreeHash []byte          // of that epoch
	Asked    bool            // by proposals: it removes somebody, or changes what the group is for

	meeting  pass.MeetingContext // what the group is for in that epoch; zero for a new group
	follower *mls.Follower
	info     []byte
	tree     []byte // of a new group
	commit   []byte // absent for a new group
	before   *mls.Follower
}

// StageFounding judges a new group, made by device. There must be none yet: who comes second gets ErrStale.
func (g *Group) StageFounding(info, tree []byte, device conclave.DeviceID, now time.Time) (*Staged, error) {
	if g.follower != nil {
		return nil, ErrStale
	}
	gi, err := readInfo(info)
	if err != nil {
		return nil, err
	}
	t, err := mls.ParseRatchetTree(gate.Suite, tree)
	if err != nil {
		return nil, err
	}
	if gi.GroupContext.Epoch != 0 || t.MemberCount() != 1 || t.Leaf(0) == nil || conclave.DeviceOf(t.Leaf(0).SignatureKey) != device {
		return nil, errFounder
	}
	f, err := mls.NewFollower(gi, t, g.rules, now)
	if err != nil {
		return nil, err
	}
	// A commit may lead to the next rules, and a member's leaf go by a newer pass. A new group is for what the meeting is now, and
	// its maker brings its pass along: others would refuse to join it, and nobody could make a better one.
	if m, err := gate.MeetingOf(f.Context(), g.cfg.Trust, now); err != nil {
		return nil, err
	} else if m != g.cfg.Meeting {
		return nil, errRules
	}
	if err := g.verify.brought(t.Leaf(0), g.cfg.Meeting, now); err != nil {
		return nil, err
	}
	// Both may be shared with the message's memory: small, and kept for one epoch only.
	return &Staged{Leaf: 0, TreeHash: f.Context().TreeHash, follower: f, info: info, tree: tree}, nil
}

// StageJoin judges the external commit of device, which starts from epoch.
func (g *Group) StageJoin(epoch uint64, commit, info []byte, device conclave.DeviceID, now time.Time) (*Staged, error) {
	return g.stage(epoch, commit, info, now, func(m *mls.PublicMessage) error {
		if g.follower.Tree().MemberCount() >= MaxMembers {
			return ErrFull
		}
		return checkJoin(m, g.follower.Tree(), device)
	})
}

// StageCommit judges a commit of the member at leaf, which starts from epoch.
func (g *Group) StageCommit(epoch uint64, commit, info []byte, leaf mls.LeafIndex, now time.Time) (*Staged, error) {
	return g.stage(epoch, commit, info, now, func(m *mls.PublicMessage) error { return checkCommit(m, g.follower.Tree(), leaf) })
}

func (g *Group) stage(epoch uint64, commit, info []byte, now time.Time, check func(*mls.PublicMessage) error) (*Staged, error) {
	if g.follower == nil {
		return nil, ErrNoGroup
	}
	if epoch != uint64(g.follower.Epoch()) {
		return nil, ErrStale
	}
	public, err := gate.ReadPublic(commit, mls.ContentCommit)
	if err != nil {
		return nil, err
	}
	if err := check(public); err != nil {
		return nil, err
	}
	gi, err := readInfo(info)
	if err != nil {
		return nil, err
	}
	next := g.follower.Clone()
	change, err := next.Process(commit, now)
	if err != nil {
		return nil, err
	}
	if err := next.CheckGroupInfo(gi); err != nil {
		return nil, err
	}
	meeting, err := gate.MeetingOf(next.Context(), g.cfg.Trust, now)
	if err != nil {
		return nil, err
	}
	return &Staged{Leaf: change.Committer, Removed: change.Removed, Epoch: change.Epoch, TreeHash: next.Context().TreeHash,
		Asked:    len(change.Removed) > 0 || meeting != g.cfg.Meeting,
		follower: next, info: info, commit: commit, before: g.follower, meeting: meeting}, nil
}

func (g *Group) setMeeting(m pass.MeetingContext) { g.cfg.Meeting, g.verify.context = m, m }

// Apply orders a staged change: when it returns nil, the change is on the disk and may be told. A change that was staged
// before another one was applied gets ErrStale. After ErrStore the Group must not be used any more.
func (g *Group) Apply(ctx context.Context, s *Staged) error {
	if s.before != g.follower {
		return ErrStale
	}
	var proposals [][]byte
	for _, p := range g.pending {
		proposals = append(proposals, p.message)
	}
	e := entry{Snapshot: s.follower.Snapshot(), Info: s.info, Commit: s.commit, Proposals: proposals}
	if err := g.write(ctx, &e); err != nil {
		return err
	}
	g.follower, g.info, g.tree, g.pending = s.follower, s.info, s.tree, nil
	if s.meeting != (pass.MeetingContext{}) {
		g.setMeeting(s.meeting)
	}
	if s.commit == nil {
		g.recent, g.bytes = nil, 0
		return nil
	}
	g.remember(Commit{s.before.Epoch(), s.commit, proposals})
	g.archive(ctx)
	return nil
}

// Propose takes in the own removal of the member at leaf. It returns false if a removal of that leaf is pending already:
// then there is nothing to tell.
func (g *Group) Propose(ctx context.Context, message []byte, leaf mls.LeafIndex, now time.Time) (bool, error) {
	if g.follower == nil {
		return false, ErrNoGroup
	}
	public, err := gate.ReadPublic(message, mls.ContentProposal)
	if err != nil {
		return false, err
	}
	if err := checkProposal(public, leaf); err != nil {
		return false, err
	}
	if public.Content.Epoch != g.follower.Epoch() {
		return false, ErrStale
	}
	if g.findPending(leaf) != nil {
		return false, nil
	}
	return true, g.take(ctx, message, leaf, now)
}

// Remove returns the server's proposal to remove a leaf, which is made once in an epoch. If the leaf itself has proposed to
// go, it is that one.
func (g *Group) Remove(ctx context.Context, leaf mls.LeafIndex, now time.Time) ([]byte, error) {
	if g.follower == nil {
		return nil, ErrNoGroup
	}
	if p := g.findPending(leaf); p != nil {
		return p, nil
	}
	message, err := g.follower.ExternalRemove(g.signer, 0, leaf)
	if err != nil {
		return nil, err
	}
	return message, g.take(ctx, message, leaf, now)
}

// Change returns the server's proposal that the group be for something else from the next epoch on, which is made once in an
// epoch, and whether it was made just now. Where there is no group, the next one will be for it.
func (g *Group) Change(ctx context.Context, to pass.MeetingContext, now time.Time) (message []byte, fresh bool, err error) {
	if g.follower == nil {
		g.setMeeting(to)
		return nil, false, nil
	}
	for _, p := range g.pending {
		if p.change == nil {
			continue
		}
		if *p.change != to {
			return nil, false, errChanges
		}
		return p.message, false, nil
	}
	from := g.cfg.Meeting
	if !from.Follows(to) {
		return nil, false, errChanges
	}
	extensions, err := changedExtensions(g.follower.Context(), from, to)
	if err != nil {
		return nil, false, err
	}
	message, err = g.follower.ExternalProposal(g.signer, 0, &mls.GroupContextExtensions{Extensions: extensions})
	if err != nil {
		return nil, false, err
	}
	return message, true, g.takePending(ctx, pending{change: &to, message: message}, now)
}

func (g *Group) findPending(leaf mls.LeafIndex) []byte {
	for _, p := range g.pending {
		if p.change == nil && p.leaf == leaf {
			return p.message
		}
	}
	return nil
}

// take makes a proposal durable and then part of the epoch.
func (g *Group) take(ctx context.Context, message []byte, leaf mls.LeafIndex, now time.Time) error {
	return g.takePending(ctx, pending{leaf: leaf, message: message}, now)
}

func (g *Group) takePending(ctx context.Context, p pending, now time.Time) error {
	next := g.follower.Clone()
	if _, err := next.Process(p.message, now); err != nil {
		return err
	}
	list := append(g.pending[:len(g.pending):len(g.pending)], p)
	if err := g.writePending(ctx, list); err != nil {
		return err
	}
	g.follower, g.pending = next, list
	return nil
}

// Drop forgets the group. Who comes next makes a new one.
func (g *Group) Drop(ctx context.Context) error {
	if g.follower == nil {
		return nil
	}
	if err := g.erase(ctx); err != nil {
		return err
	}
	*g = Group{cfg: g.cfg, verify: g.verify, rules: g.rules, signer: g.signer}
	return nil
}

// remember keeps a commit for those who come back, within bounds: the oldest go first.
func (g *Group) remember(c Commit) {
	g.recent = append(g.recent, c)
	g.bytes += c.size()
	for len(g.recent) > maxRecent || g.bytes > maxRecentBytes {
		g.bytes -= g.recent[0].size()
		g.recent[0] = Commit{}
		g.recent = g.recent[1:]
	}
}
