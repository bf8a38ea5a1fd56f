package interop

import (
	"fmt"
	"testing"

	"conclave/mls"
)

// fill makes a group of two members of each kind; the first is one of ours if asked for.
func (w *world) fill(ours bool) {
	w.found(ours)
	for i := range 3 {
		p := w.newParty(ours == (i == 1))
		w.commit(w.members[0], []change{{proposal{add: p.keyPackage()}, p}})
		w.agree()
	}
}

// move lets all members of the group open another one, the first of them being its founder, and holds that group to be
// alive.
func (w *world) move(suite mls.CipherSuite, branch []byte) *world {
	next := *w
	next.suite, next.members = suite, nil
	var packages [][]byte
	for i, p := range w.members {
		n := p.successor(suite)
		if i > 0 {
			packages = append(packages, n.keyPackage())
		}
		next.members = append(next.members, n)
	}
	welcome, tree, err := w.members[0].succeed(next.members[0], packages, branch)
	w.at(err, "%T opens the next group", w.members[0])
	for i := 1; i < len(w.members); i++ {
		w.at(w.members[i].follow(next.members[i], welcome, tree, branch != nil), "%T follows %T", w.members[i], w.members[0])
	}
	next.agree()
	for _, p := range next.members {
		next.commit(p, nil)
		next.agree()
		next.message()
	}
	return &next
}

// bothWays runs a test with a founder of either kind.
func bothWays(t *testing.T, f func(t *testing.T, ours bool)) {
	needOracle(t)
	for name, ours := range map[string]bool{"ours leads": true, "theirs leads": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, ours)
		})
	}
}

func TestBothFollowAReinitializationToAnotherSuite(t *testing.T) {
	for i, from := range suites {
		to := suites[(i+1)%len(suites)]
		t.Run(fmt.Sprintf("from suite %d to %d", from, to), func(t *testing.T) {
			bothWays(t, func(t *testing.T, ours bool) {
				w := newWorld(t, from, 1)
				w.fill(ours)
				extensions := mls.Extensions{{Type: someExtension, Data: []byte("carried along")}}
				w.commit(w.members[0], []change{{proposal: proposal{reinit: &mls.ReInit{
					GroupID: mls.GroupID("the next group"), Version: mls.MLS10, CipherSuite: to, Extensions: extensions,
				}}}})
				w.agree()
				for _, p := range w.members {
					if !p.state().Closed {
						t.Fatalf("%T does not know that the group is closed", p)
					}
					if _, _, err := p.commit(nil, true); err == nil {
						t.Fatalf("%T commits in a closed group", p)
					}
					if _, err := p.send([]byte("x")); err == nil {
						t.Fatalf("%T sends in a closed group", p)
					}
				}
				w.move(to, nil)
			})
		})
	}
}

func TestBothFollowABranch(t *testing.T) {
	for _, suite := range suites {
		t.Run(fmt.Sprintf("suite %d", suite), func(t *testing.T) {
			bothWays(t, func(t *testing.T, ours bool) {
				w := newWorld(t, suite, 2)
				w.fill(ours)
				w.move(suite, []byte("a branch"))
				w.commit(w.members[0], nil) // the old group goes on
				w.agree()
			})
		})
	}
}
