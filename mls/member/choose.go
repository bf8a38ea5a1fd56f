package member

import (
	"fmt"
	"time"

	"conclave/mls"
)

// stageOwn chooses the proposals of an own commit and applies them. Pending
// ones that cannot be committed together with the others stay behind.
func (g *Group) stageOwn(opt CommitOptions, now time.Time) (*mls.Staged, error) {
	me := mls.MemberSender(g.epoch.own)
	value := make([]mls.CommittedProposal, len(opt.Proposals))
	for i, p := range opt.Proposals {
		if err := mls.CheckForm(p); err != nil {
			return nil, fmt.Errorf("member: commit: %w", err)
		}
		value[i] = mls.CommittedProposal{Proposal: p, Sender: me}
	}
	stage := func(chosen []mls.CommittedProposal) (*mls.Staged, error) {
		return g.rules.StageProposals(g.epoch.public, me, append(chosen[:len(chosen):len(chosen)], value...), now)
	}
	chosen := g.choosePending(value, opt.Skip)
	staged, err := stage(chosen)
	if err == nil || len(chosen) == 0 {
		return staged, err
	}
	// One of them spoils the list, unless those by value do.
	if len(value) > 0 {
		if _, err := stage(nil); err != nil {
			return nil, err
		}
	}
	return stage(sift(chosen, func(part []mls.CommittedProposal) bool {
		_, err := stage(part)
		return err == nil
	}))
}

// maxSifted bounds what sift may cost, in proposals that are staged: about a
// second natively. One spoiler among maxPending costs 11,000.
const maxSifted = 16 * maxPending

// sift returns the most of list that is good together, by halving whatever is
// not: a few spoilers among many cost little. When that has cost maxSifted, what
// was not tried yet is left out. Adds are tried last, so that nobody's removal
// is left out for the sake of somebody who wants in.
func sift(list []mls.CommittedProposal, good func([]mls.CommittedProposal) bool) []mls.CommittedProposal {
	var first, adds, taken []mls.CommittedProposal
	for _, p := range list {
		if p.Proposal.Type() == mls.ProposalAdd {
			adds = append(adds, p)
		} else {
			first = append(first, p)
		}
	}
	cost := 0
	var take func(part []mls.CommittedProposal)
	take = func(part []mls.CommittedProposal) {
		if cost += len(taken) + len(part); len(part) == 0 || cost > maxSifted {
			return
		}
		if good(append(taken, part...)) {
			taken = append(taken, part...)
			return
		}
		if half := len(part) / 2; half > 0 {
			take(part[:half])
			take(part[half:])
		}
	}
	take(first)
	take(adds)
	return taken
}

// choosePending picks the pending proposals that a commit of this member may
// cover beside those by value (Section 12.2): not its own Updates nor its own
// removal, one change a leaf with removals first, a ReInit only if alone.
func (g *Group) choosePending(value []mls.CommittedProposal, skip func(*mls.PendingProposal) bool) []mls.CommittedProposal {
	gone := map[mls.LeafIndex]bool{}     // removed by somebody
	last := map[mls.LeafIndex]int{}      // its last Update
	taken := map[mls.ProposalType]bool{} // kinds that may stand once
	psks := map[string]bool{}            // nonces included
	for i := range value {
		switch p := value[i].Proposal.(type) {
		case *mls.Remove:
			gone[p.Removed] = true
		case *mls.PreSharedKey:
			psks[string(mls.Marshal(p.PSK))] = true
		}
		taken[value[i].Proposal.Type()] = true
	}
	var pick []*pendingProposal
	for i := range g.pending {
		p := &g.pending[i]
		if skip != nil && skip(p.PendingProposal) {
			continue
		}
		switch q := p.Proposal.(type) {
		case *mls.Update:
			if p.Sender.Leaf == g.epoch.own {
				continue
			}
			last[p.Sender.Leaf] = len(pick)
		case *mls.Remove:
			if q.Removed == g.epoch.own || gone[q.Removed] {
				continue
			}
			gone[q.Removed] = true
		case *mls.PreSharedKey:
			id := string(mls.Marshal(q.PSK))
			if _, err := g.psks.find(&q.PSK); err != nil || psks[id] {
				continue
			}
			psks[id] = true
		case *mls.GroupContextExtensions:
			if taken[mls.ProposalGroupContextExtensions] {
				continue
			}
			taken[mls.ProposalGroupContextExtensions] = true
		}
		pick = append(pick, p)
	}
	var list []mls.CommittedProposal
	var leaves int // Adds and Updates
	for i, p := range pick {
		switch p.Proposal.(type) {
		case *mls.Update:
			if gone[p.Sender.Leaf] || last[p.Sender.Leaf] != i {
				continue
			}
			leaves++
		case *mls.Add:
			leaves++
		case *mls.ReInit:
			if len(pick) > 1 || len(value) > 0 {
				continue
			}
		}
		list = append(list, mls.CommittedProposal{Proposal: p.Proposal, Sender: p.Sender, Ref: p.Ref})
	}
	if leaves == 0 {
		return list
	}
	return g.dropTwins(list, value, gone)
}

// dropTwins leaves out Updates and Adds that bring a client or key that another
// member has already: one that stays as it is, or an earlier proposal of list or
// value. gone are the members that are removed.
func (g *Group) dropTwins(list, value []mls.CommittedProposal, gone map[mls.LeafIndex]bool) []mls.CommittedProposal {
	tree := g.epoch.public.Tree
	c := claims{verifier: g.cfg.Verifier, taken: map[string]bool{}}
	updated := map[mls.LeafIndex]bool{}
	for i := range list {
		if _, ok := list[i].Proposal.(*mls.Update); ok {
			updated[list[i].Sender.Leaf] = true
		}
	}
	for i, l := range tree.Members() {
		if !gone[i] && !updated[i] {
			c.take(l)
		}
	}
	// Updates first: whoever is a member stays one.
	var kept []mls.CommittedProposal
	for _, p := range list {
		u, ok := p.Proposal.(*mls.Update)
		if ok && !c.take(u.LeafNode) {
			c.take(tree.Leaf(p.Sender.Leaf))
			continue
		}
		kept = append(kept, p)
	}
	for i := range value {
		if a, ok := value[i].Proposal.(*mls.Add); ok {
			c.take(a.KeyPackage.LeafNode)
		}
	}
	list = kept[:0]
	for _, p := range kept {
		if a, ok := p.Proposal.(*mls.Add); !ok || c.take(a.KeyPackage.LeafNode) {
			list = append(list, p)
		}
	}
	return list
}

// claims are what may stand once in a group: clients, signature keys and
// encryption keys, each under a letter of its own.
type claims struct {
	verifier mls.Verifier
	taken    map[string]bool
}

// take claims all of a leaf, unless any of it is taken.
func (c *claims) take(l *mls.LeafNode) bool {
	all := [...]string{"s" + string(l.SignatureKey), "e" + string(l.EncryptionKey), "c" + c.verifier.Client(l)}
	for _, x := range all {
		if c.taken[x] {
			return false
		}
	}
	for _, x := range all {
		c.taken[x] = x != "c" // nobody's name is not taken
	}
	return true
}
