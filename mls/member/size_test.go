package member

import (
	"testing"

	"conclave/mls"
)

// TestRemovalOfAHundredMembersIsSmall holds the aim for a group whose members
// all came in by external commits and whose first member removes another, with
// post-quantum keys and a leaf as Conclave's are (a device statement of 400
// bytes and a pass of 300): 25 kB on average. Removed by its neighbour in the
// tree a member costs two thirds of that, because the neighbour's own path
// covers the nodes that the removal blanks.
func TestRemovalOfAHundredMembersIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("joins 100 members")
	}
	r := newRoom(t, mls.MLKEM768P256)
	for i := 1; i < 100; i++ {
		// Nobody but the newest member is needed to let the next one in.
		g, commit, err := JoinExternal(newConfig(t, r.suite), r.groupInfo(), r.follower.Tree().Clone(), named(string(rune('A'+i))), ExternalOptions{}, r.now)
		if err != nil {
			t.Fatal(err)
		}
		r.order(commit, nil)
		r.info = must(g.GroupInfo(false))(t)
		if len(r.members) == 2 {
			r.members[1] = g
		} else {
			r.members = append(r.members, g)
		}
	}
	leaf := named("0")
	leaf.Credential.Identity = append(leaf.Credential.Identity, make([]byte, 400)...)
	leaf.Extensions = []mls.Extension{{Type: 0xf0c2, Data: make([]byte, 300)}}
	size := func(committer *Group, gone mls.LeafIndex) int {
		s := must(committer.Commit(CommitOptions{Leaf: &leaf, Proposals: []mls.Proposal{&mls.Remove{Removed: gone}}}, r.now))(t)
		defer s.Wipe()
		return len(s.Message())
	}
	var worst, sum int
	for gone := mls.LeafIndex(1); gone < 100; gone++ {
		n := size(r.members[0], gone)
		worst, sum = max(worst, n), sum+n
	}
	near := max(size(r.members[0], 1), size(r.members[1], 98))
	t.Logf("commit of a removal: %d bytes at worst, %d on average; by the next leaf %d", worst, sum/99, near)
	if worst > 26_000 {
		t.Errorf("%d bytes, want 26000 at most", worst)
	}
	if sum/99 > 25_000 {
		t.Errorf("%d bytes on average, want 25000 at most", sum/99)
	}
	if near > 19_000 {
		t.Errorf("%d bytes by the next leaf, want 19000 at most", near)
	}
}
