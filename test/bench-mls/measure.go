package main

import (
	"fmt"
	"slices"
	"time"

	"conclave/mls"
	"conclave/mls/member"
)

// figure is what one act takes: times in milliseconds, of several runs.
type figure struct {
	Act     string
	Least   float64
	Median  float64
	Bytes   int // that it sends or receives
	Batches int // of signatures, in one run
	Checks  int // signatures in them
}

// runs bounds the runs of an act; fewer if they take longer than the budget together.
const (
	runs   = 15
	budget = 10 * time.Second
)

// meter counts what a BatchVerifier is asked.
type meter struct {
	verify          mls.BatchVerifier
	batches, checks int
}

func (m *meter) batch(checks []mls.SignatureCheck) error {
	m.batches++
	m.checks += len(checks)
	return m.verify(checks)
}

func measure(r *room) ([]figure, error) {
	m := &meter{verify: verifier()}
	g, err := r.guard(m.batch)
	if err != nil {
		return nil, err
	}
	var figures []figure
	act := func(name string, bytes int, f func() error) error {
		var times []float64
		for begin := time.Now(); len(times) < runs && (len(times) < 3 || time.Since(begin) < budget); {
			clear(g.proven)
			m.batches, m.checks = 0, 0
			start := time.Now()
			if err := f(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			times = append(times, float64(time.Since(start))/1e6)
		}
		slices.Sort(times)
		figures = append(figures, figure{name, times[0], times[len(times)/2], bytes, m.batches, m.checks})
		return nil
	}
	joiner, err := r.Joiner.config(g)
	if err != nil {
		return nil, err
	}
	var sent int
	if err := act("join", 0, func() error {
		var info mls.Message
		if err := mls.Unmarshal(r.Info, &info); err != nil {
			return err
		}
		tree, err := mls.ParseRatchetTree(suite, r.Tree)
		if err != nil {
			return err
		}
		if err := g.proveTree(tree, r.time()); err != nil {
			return err
		}
		group, commit, err := member.JoinExternal(joiner, info.GroupInfo, tree, r.Joiner.leaf(), member.ExternalOptions{}, r.time())
		if err != nil {
			return err
		}
		sent = len(commit)
		group.Wipe()
		return nil
	}); err != nil {
		return nil, err
	}
	figures[0].Bytes = sent
	figures = append(figures, figure{Act: "tree that a joiner reads", Bytes: len(r.Tree)})
	last, err := restore(&r.Last, g)
	if err != nil {
		return nil, err
	}
	process := func(commit []byte) func() error {
		return func() error {
			p, err := last.Process(commit, r.time())
			if err == nil {
				p.Commit.Wipe()
			}
			return err
		}
	}
	if err := act("process a join", len(r.Join), process(r.Join)); err != nil {
		return nil, err
	}
	first, err := restore(&r.First, g)
	if err != nil {
		return nil, err
	}
	for _, group := range []*member.Group{first, last} {
		if _, err := group.Process(r.Proposal, r.time()); err != nil {
			return nil, err
		}
	}
	if err := act("remove", len(r.Removal), func() error {
		s, err := first.Commit(member.CommitOptions{}, r.time())
		if err == nil {
			s.Wipe()
		}
		return err
	}); err != nil {
		return nil, err
	}
	err = act("process a removal", len(r.Removal), process(r.Removal))
	return figures, err
}

func restore(d *device, g *guard) (*member.Group, error) {
	cfg, err := d.config(g)
	if err != nil {
		return nil, err
	}
	return member.Restore(cfg, d.Snapshot)
}
