package member

import (
	"bytes"
	"fmt"
	"testing"

	"conclave/mls"
)

// benchRoom is a room whose members all came in by external commits. Only the
// first, the last and one in the middle stay alive, so that filling it does
// not take the square of its size.
func benchRoom(b *testing.B, suite mls.CipherSuite, n int) *room {
	b.Helper()
	r := newRoom(b, suite)
	for i := 1; i < n; i++ {
		g, commit, err := JoinExternal(newConfig(b, suite), r.groupInfo(), r.follower.Tree().Clone(), named(fmt.Sprint(i)), ExternalOptions{}, r.now)
		if err != nil {
			b.Fatal(err)
		}
		r.order(commit, nil)
		r.info = must(g.GroupInfo(false))(b)
		if len(r.members) == 3 {
			r.members[2].Wipe()
			r.members = r.members[:2]
		}
		r.members = append(r.members, g)
	}
	for _, g := range r.members {
		if !bytes.Equal(g.EpochAuthenticator(), r.members[0].EpochAuthenticator()) {
			b.Fatal("members disagree")
		}
	}
	return r
}

// trusting skips the verifier's part of a join: what is measured is MLS.
func BenchmarkGroup(b *testing.B) {
	for _, suite := range []mls.CipherSuite{mls.P256AES128SHA256P256, mls.MLKEM768P256} {
		for _, n := range []int{100, 500} {
			var r *room
			setup := func(b *testing.B) {
				b.Helper()
				if r == nil {
					r = benchRoom(b, suite, n)
				}
				r.t = b
				b.ReportAllocs()
				b.ResetTimer()
			}
			name := fmt.Sprintf("suite=%#04x/members=%d/", uint16(suite), n)
			b.Run(name+"join", func(b *testing.B) {
				setup(b)
				for b.Loop() {
					b.StopTimer()
					cfg, info := newConfig(b, suite), r.groupInfo()
					encoded := mls.Marshal(r.follower.Tree())
					b.StartTimer()
					tree, err := mls.ParseRatchetTree(suite, encoded)
					if err != nil {
						b.Fatal(err)
					}
					_, commit, err := JoinExternal(cfg, info, tree, named("new"), ExternalOptions{}, r.now)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(len(commit)), "commit-B")
					b.ReportMetric(float64(len(encoded)), "tree-B")
				}
			})
			b.Run(name+"process-join", func(b *testing.B) {
				setup(b)
				_, commit, err := JoinExternal(newConfig(b, suite), r.groupInfo(), r.follower.Tree().Clone(), named("new"), ExternalOptions{}, r.now)
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if _, err := r.members[0].Process(commit, r.now); err != nil {
						b.Fatal(err)
					}
				}
			})
			proposal := func(b *testing.B) {
				p := must(r.follower.Clone().ExternalRemove(r.server, 0, mls.LeafIndex(n/2)))(b)
				for _, g := range r.members {
					if _, err := g.Process(p, r.now); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.Run(name+"remove", func(b *testing.B) {
				setup(b)
				proposal(b)
				for b.Loop() {
					s, err := r.members[0].Commit(CommitOptions{}, r.now)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(len(s.Message())), "commit-B")
				}
			})
			b.Run(name+"process-remove", func(b *testing.B) {
				setup(b)
				proposal(b)
				s := must(r.members[0].Commit(CommitOptions{}, r.now))(b)
				for b.Loop() {
					if _, err := r.members[len(r.members)-1].Process(s.Message(), r.now); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
