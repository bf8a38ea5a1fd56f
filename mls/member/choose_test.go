package member

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"conclave/mls"
)

func TestSiftingKeepsWhatIsGoodTogether(t *testing.T) {
	list := make([]mls.CommittedProposal, 200)
	for i := range list {
		list[i].Proposal = &mls.Remove{Removed: mls.LeafIndex(i)}
	}
	number := func(p mls.CommittedProposal) int { return int(p.Proposal.(*mls.Remove).Removed) }
	tries := 0
	good := func(part []mls.CommittedProposal) bool {
		tries++
		spoilt := slices.ContainsFunc(part, func(p mls.CommittedProposal) bool { return number(p) == 77 || number(p) == 141 })
		both := slices.ContainsFunc(part, func(p mls.CommittedProposal) bool { return number(p) == 3 }) &&
			slices.ContainsFunc(part, func(p mls.CommittedProposal) bool { return number(p) == 190 })
		return !spoilt && !both
	}
	got := sift(list, good)
	if len(got) != 197 || !good(got) {
		t.Errorf("%d of 200 are left", len(got))
	}
	if tries > 60 {
		t.Errorf("took %d tries", tries)
	}
}

func TestSiftingIsBounded(t *testing.T) {
	list := make([]mls.CommittedProposal, maxPending)
	for i := range list {
		list[i].Proposal = &mls.Add{}
	}
	list[maxPending-1].Proposal = &mls.Remove{}
	cost := 0
	got := sift(list, func(part []mls.CommittedProposal) bool {
		cost += len(part)
		// No two Adds go together.
		adds := 0
		for i := range part {
			if part[i].Proposal.Type() == mls.ProposalAdd {
				adds++
			}
		}
		return adds <= 1
	})
	if cost > maxSifted {
		t.Errorf("%d proposals were staged, want %d at most", cost, maxSifted)
	}
	if !slices.ContainsFunc(got, func(p mls.CommittedProposal) bool { return p.Proposal.Type() != mls.ProposalAdd }) {
		t.Error("a removal is left out for the sake of those who want in")
	}
}

// counter counts how often its verifier is asked.
type counter struct {
	namesVerifier
	asked *int
}

func (c counter) VerifyLeaf(l mls.LeafCheck) error {
	*c.asked++
	return c.namesVerifier.VerifyLeaf(l)
}

// Many who ask to be added under one name, or with one key, or too late, cost a
// commit little, and one of them comes in.
func TestContradictingAddsCostLittle(t *testing.T) {
	const many = 48
	for _, c := range []struct {
		name  string
		who   func(i int) string
		late  time.Duration // at the commit
		adds  int
		asked int // the verifier, at most: one for each Add of a list that is staged, twice over
	}{
		{"one name", func(int) string { return "crowd" }, 0, 1, 8},
		{"a member's name", func(int) string { return "member 1" }, 0, 0, 8},
		{"one spoils", func(i int) string { return fmt.Sprint("crowd ", i) }, 90 * time.Minute, many - 1, 10 * many},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRoom(t, mls.P256AES128SHA256P256)
			r.fill(2)
			g := r.member(0)
			asked := 0
			g.cfg.Verifier = counter{asked: &asked}
			g.rules = g.cfg.rules()
			for i := range many {
				leaf := named(c.who(i))
				leaf.Lifetime = 5 * time.Hour
				if i == 20 {
					leaf.Lifetime = time.Hour
				}
				cfg := newConfig(t, r.suite)
				kp := must(NewKeyPackage(cfg, leaf, nil, r.now))(t)
				if _, err := g.Process(must(ProposeJoin(cfg, kp, g.Context()))(t), r.now); err != nil {
					t.Fatal(err)
				}
			}
			asked = 0
			s := must(g.Commit(CommitOptions{}, r.now.Add(c.late)))(t)
			if len(s.Change().Added) != c.adds {
				t.Errorf("%d of %d come in, want %d", len(s.Change().Added), many, c.adds)
			}
			if asked > c.asked {
				t.Errorf("the verifier was asked %d times, want %d at most", asked, c.asked)
			}
		})
	}
}
