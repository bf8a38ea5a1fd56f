package delivery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"conclave"
	"conclave/gate"
	"conclave/mls"
	"conclave/store"
)

// What a group keeps in the store, <m> being the meeting's pointer:
//
//	group.<m>           entry: the state of the epoch and the commit that began it. One write orders a commit.
//	commit.<m>.<epoch>  earlier commits, for those who come back
//	pending.<m>         the removals proposed in an epoch, which is named: a value of an earlier epoch is void
//
// A crash between two of these writes loses nothing: the first is the truth, the second is made up for by Open.
type entry struct {
	Snapshot []byte `json:"snapshot"` // mls.Follower.Snapshot, without pending proposals
	Info     []byte `json:"info"`
	Commit   []byte `json:"commit,omitempty"` // that began the epoch; absent in epoch 0
	// Proposals are those of the epoch before, to which Commit refers.
	Proposals [][]byte `json:"proposals,omitempty"`
}

// commitEntry is an earlier commit.
type commitEntry struct {
	Message   []byte   `json:"message"`
	Proposals [][]byte `json:"proposals,omitempty"`
}

type pendingEntry struct {
	Group    []byte   `json:"group"`
	Epoch    uint64   `json:"epoch"`
	Messages [][]byte `json:"messages"`
}

func groupKey(m conclave.MeetingID) store.Key   { return "group." + store.Key(m.Text()) }
func pendingKey(m conclave.MeetingID) store.Key { return "pending." + store.Key(m.Text()) }
func commitsKey(m conclave.MeetingID) store.Key { return "commit." + store.Key(m.Text()) }
func commitKey(m conclave.MeetingID, e mls.Epoch) store.Key {
	return commitsKey(m) + "." + store.Key(strconv.FormatUint(uint64(e), 10))
}

// Open returns a meeting's group as the store has it. A group that was made for another level or under another policy is
// dropped: nobody's pass is good for it any more.
func Open(ctx context.Context, cfg Config, now time.Time, log *slog.Logger) (*Group, error) {
	g, err := newGroup(cfg)
	if err != nil {
		return nil, err
	}
	stored, err := cfg.Store.Get(ctx, groupKey(cfg.Meeting.Meeting))
	if errors.Is(err, store.ErrNotFound) {
		return g, nil
	}
	if err != nil {
		return nil, fmt.Errorf("delivery: open: %w", err)
	}
	g.revision = stored.Revision
	var e entry
	if err := json.Unmarshal(stored.Value, &e); err != nil {
		return nil, fmt.Errorf("delivery: open: %v", err)
	}
	if g.follower, err = mls.RestoreFollower(e.Snapshot, g.rules); err != nil {
		return nil, fmt.Errorf("delivery: open: %w", err)
	}
	g.info = e.Info
	if gate.CheckContext(g.follower.Context(), cfg.Trust, cfg.Meeting, now) != nil {
		log.Warn("group was made under other rules and is dropped", "meeting", cfg.Meeting.Meeting)
		return g, g.Drop(ctx)
	}
	if err := g.openCommits(ctx, &e); err != nil {
		return nil, err
	}
	return g, g.openPending(ctx, now)
}

func (g *Group) openCommits(ctx context.Context, last *entry) error {
	if last.Commit == nil {
		return nil
	}
	entries, err := g.cfg.Store.List(ctx, commitsKey(g.cfg.Meeting.Meeting))
	if err != nil {
		return fmt.Errorf("delivery: open: %w", err)
	}
	prefix := len(commitsKey(g.cfg.Meeting.Meeting)) + 1
	var all []Commit
	for _, e := range entries {
		epoch, err := strconv.ParseUint(string(e.Key[prefix:]), 10, 64)
		if err != nil {
			return fmt.Errorf("delivery: open: %v", err)
		}
		if mls.Epoch(epoch) >= g.follower.Epoch()-1 {
			continue
		}
		var c commitEntry
		if err := json.Unmarshal(e.Value, &c); err != nil {
			return fmt.Errorf("delivery: open: %v", err)
		}
		all = append(all, Commit{mls.Epoch(epoch), c.Message, c.Proposals})
	}
	all = append(all, Commit{g.follower.Epoch() - 1, last.Commit, last.Proposals})
	slices.SortFunc(all, func(a, b Commit) int { return cmp.Compare(a.Epoch, b.Epoch) })
	for i, c := range all {
		if i > 0 && c.Epoch != all[i-1].Epoch+1 {
			g.recent, g.bytes = nil, 0 // a hole: what lies before it brings nobody up to date
		}
		g.remember(c)
	}
	return nil
}

func (g *Group) openPending(ctx context.Context, now time.Time) error {
	stored, err := g.cfg.Store.Get(ctx, pendingKey(g.cfg.Meeting.Meeting))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delivery: open: %w", err)
	}
	var p pendingEntry
	if err := json.Unmarshal(stored.Value, &p); err != nil {
		return fmt.Errorf("delivery: open: %v", err)
	}
	if p.Epoch != uint64(g.follower.Epoch()) || !slices.Equal(p.Group, g.follower.GroupID()) {
		return nil
	}
	for _, m := range p.Messages {
		change, err := g.follower.Process(m, now)
		if err != nil || change.Proposal == nil {
			return fmt.Errorf("delivery: open: a pending proposal does not hold: %w", err)
		}
		switch p := change.Proposal.Proposal.(type) {
		case *mls.Remove:
			g.pending = append(g.pending, pending{leaf: p.Removed, message: m})
		case *mls.GroupContextExtensions:
			public, err := gate.ReadPublic(m, mls.ContentProposal)
			if err != nil {
				return fmt.Errorf("delivery: open: %w", err)
			}
			to, err := gate.CheckChange(public, g.cfg.Trust, g.cfg.Meeting, now)
			if err != nil {
				return fmt.Errorf("delivery: open: %w", err)
			}
			g.pending = append(g.pending, pending{change: &to, message: m})
		default:
			return errProposal
		}
	}
	return nil
}

// write makes an entry durable if the store still has the one that this Group knows: of two servers that both think the
// meeting theirs, one fails here.
func (g *Group) write(ctx context.Context, e *entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		panic("delivery: entry: " + err.Error())
	}
	key := groupKey(g.cfg.Meeting.Meeting)
	var revision store.Revision
	if g.revision == 0 {
		revision, err = g.cfg.Store.Create(ctx, key, b)
	} else {
		revision, err = g.cfg.Store.CompareAndPut(ctx, key, b, g.revision)
	}
	if err != nil {
		return errors.Join(ErrStore, err)
	}
	g.revision = revision
	return nil
}

// archive writes the last commit under its own key, where it outlives the next one, and deletes what is kept no longer. If
// it fails, whoever comes back after a crash joins anew.
func (g *Group) archive(ctx context.Context) {
	last := g.recent[len(g.recent)-1]
	m := g.cfg.Meeting.Meeting
	b, err := json.Marshal(commitEntry{last.Message, last.Proposals})
	if err != nil {
		panic("delivery: commit: " + err.Error())
	}
	_, _ = g.cfg.Store.Put(ctx, commitKey(m, last.Epoch), b)
	if oldest := g.recent[0].Epoch; oldest > 0 {
		// One in, one out; more only where a large commit pushed out several, and those go with the group.
		_ = g.cfg.Store.Delete(ctx, commitKey(m, oldest-1))
	}
}

func (g *Group) writePending(ctx context.Context, list []pending) error {
	p := pendingEntry{Group: g.follower.GroupID(), Epoch: uint64(g.follower.Epoch())}
	for _, one := range list {
		p.Messages = append(p.Messages, one.message)
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic("delivery: pending: " + err.Error())
	}
	if _, err := g.cfg.Store.Put(ctx, pendingKey(g.cfg.Meeting.Meeting), b); err != nil {
		return errors.Join(ErrStore, err)
	}
	return nil
}

// erase deletes all that is kept; the entry goes last, so that a crash leaves nothing behind that a later group could take
// for its own.
func (g *Group) erase(ctx context.Context) error {
	m := g.cfg.Meeting.Meeting
	entries, err := g.cfg.Store.List(ctx, commitsKey(m))
	if err != nil {
		return errors.Join(ErrStore, err)
	}
	for _, e := range entries {
		if err := g.cfg.Store.Delete(ctx, e.Key); err != nil {
			return errors.Join(ErrStore, err)
		}
	}
	for _, key := range []store.Key{pendingKey(m), groupKey(m)} {
		if err := g.cfg.Store.Delete(ctx, key); err != nil {
			return errors.Join(ErrStore, err)
		}
	}
	g.revision = 0
	return nil
}
