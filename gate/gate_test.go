package gate

import (
	"bytes"
	"testing"
	"time"

	"conclave"
	"conclave/mls"
	"conclave/pass"
	"conclave/pass/passtest"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestAContextIsOfThisMeetingAndNothingMore(t *testing.T) {
	org := passtest.New(t, "example.org", now)
	meeting := pass.MeetingContext{Meeting: conclave.MeetingID{1}, Level: 2, PolicyHash: [32]byte{3}}
	removal := passtest.Point(org.Removal)
	good := func() *mls.GroupContext {
		id := append(bytes.Clone(meeting.Meeting[:]), make([]byte, GroupIDSize-len(meeting.Meeting))...)
		return &mls.GroupContext{Version: mls.MLS10, CipherSuite: Suite, GroupID: id, Extensions: ContextExtensions(meeting, removal)}
	}
	if err := CheckContext(good(), org.Trust(), meeting, now); err != nil {
		t.Fatalf("a good context: %v", err)
	}
	other := func(change func(*pass.MeetingContext)) mls.Extensions {
		m := meeting
		change(&m)
		return ContextExtensions(m, removal)
	}
	for name, change := range map[string]func(*mls.GroupContext){
		"another suite":        func(c *mls.GroupContext) { c.CipherSuite = mls.P256AES128SHA256P256 },
		"another version":      func(c *mls.GroupContext) { c.Version++ },
		"another meeting's id": func(c *mls.GroupContext) { c.GroupID[0]++ },
		"a short id":           func(c *mls.GroupContext) { c.GroupID = c.GroupID[:16] },
		"no extension":         func(c *mls.GroupContext) { c.Extensions = nil },
		"another meeting":      func(c *mls.GroupContext) { c.Extensions = other(func(m *pass.MeetingContext) { m.Meeting[0]++ }) },
		"another level":        func(c *mls.GroupContext) { c.Extensions = other(func(m *pass.MeetingContext) { m.Level-- }) },
		"another policy":       func(c *mls.GroupContext) { c.Extensions = other(func(m *pass.MeetingContext) { m.PolicyHash[0]++ }) },
		"another removal key": func(c *mls.GroupContext) {
			c.Extensions = ContextExtensions(meeting, passtest.Point(passtest.LeafKey(t)))
		},
		"one extension more":    func(c *mls.GroupContext) { c.Extensions = append(c.Extensions, mls.Extension{Type: 0xF0C9}) },
		"one extension less":    func(c *mls.GroupContext) { c.Extensions = c.Extensions[:2] },
		"another order of them": func(c *mls.GroupContext) { c.Extensions[0], c.Extensions[1] = c.Extensions[1], c.Extensions[0] },
	} {
		c := good()
		change(c)
		if CheckContext(c, org.Trust(), meeting, now) == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestOnlyGoingIsProposedByOneselfOrTheRemovalKey(t *testing.T) {
	proposal := func(sender mls.Sender, p mls.Proposal) *mls.PublicMessage {
		return &mls.PublicMessage{Content: mls.FramedContent{Sender: sender, ContentType: mls.ContentProposal, Proposal: p}}
	}
	member := func(l mls.LeafIndex) mls.Sender { return mls.Sender{Type: mls.SenderMember, Leaf: l} }
	for _, c := range []struct {
		name string
		m    *mls.PublicMessage
		good bool
	}{
		{"one's own going", proposal(member(3), &mls.Remove{Removed: 3}), true},
		{"the removal key's", proposal(mls.Sender{Type: mls.SenderExternal}, &mls.Remove{Removed: 3}), true},
		{"another's going", proposal(member(4), &mls.Remove{Removed: 3}), false},
		{"a stranger's", proposal(mls.Sender{Type: mls.SenderNewMemberProposal}, &mls.Remove{Removed: 3}), false},
		{"new rules", proposal(member(3), &mls.GroupContextExtensions{}), false},
		{"new rules from outside", proposal(mls.Sender{Type: mls.SenderExternal}, &mls.GroupContextExtensions{}), false},
		{"a new member", proposal(mls.Sender{Type: mls.SenderExternal}, &mls.Add{KeyPackage: new(mls.KeyPackage)}), false},
	} {
		removed, err := CheckProposal(c.m, nil)
		if (err == nil) != c.good || c.good && removed != 3 {
			t.Errorf("%s: leaf %d, %v", c.name, removed, err)
		}
	}
}

func TestACommitBringsKeysAndReferencesOnly(t *testing.T) {
	path := func(key string) *mls.UpdatePath {
		return &mls.UpdatePath{LeafNode: &mls.LeafNode{SignatureKey: mls.SignatureKey(key)}}
	}
	tree := mls.NewRatchetTree(Suite, &mls.LeafNode{SignatureKey: mls.SignatureKey("own")})
	seen := mls.ProposalRef("seen")
	known := func(r mls.ProposalRef) bool { return bytes.Equal(r, seen) }
	commit := func(sender mls.SenderType, c *mls.Commit) *mls.PublicMessage {
		return &mls.PublicMessage{Content: mls.FramedContent{Sender: mls.Sender{Type: sender}, ContentType: mls.ContentCommit, Commit: c}}
	}
	byValue := func(ps ...mls.Proposal) (out []mls.ProposalOrRef) {
		for _, p := range ps {
			out = append(out, mls.ProposalOrRef{Proposal: p})
		}
		return out
	}
	for _, c := range []struct {
		name string
		m    *mls.PublicMessage
		good bool
	}{
		{"new keys", commit(mls.SenderMember, &mls.Commit{Path: path("own")}), true},
		{"a seen proposal", commit(mls.SenderMember, &mls.Commit{Path: path("own"), Proposals: []mls.ProposalOrRef{{Ref: seen}}}), true},
		{"an unseen proposal", commit(mls.SenderMember, &mls.Commit{Path: path("own"), Proposals: []mls.ProposalOrRef{{Ref: mls.ProposalRef("no")}}}), false},
		{"no path", commit(mls.SenderMember, &mls.Commit{Proposals: []mls.ProposalOrRef{{Ref: seen}}}), false},
		{"a removal by value", commit(mls.SenderMember, &mls.Commit{Path: path("own"), Proposals: byValue(&mls.Remove{})}), false},
		{"joining", commit(mls.SenderNewMemberCommit, &mls.Commit{Path: path("new"), Proposals: byValue(&mls.ExternalInit{})}), true},
		{"coming back", commit(mls.SenderNewMemberCommit, &mls.Commit{Path: path("own"), Proposals: byValue(&mls.ExternalInit{}, &mls.Remove{})}), true},
		{"pushing another out", commit(mls.SenderNewMemberCommit, &mls.Commit{Path: path("new"), Proposals: byValue(&mls.ExternalInit{}, &mls.Remove{})}), false},
		{"removing nobody", commit(mls.SenderNewMemberCommit, &mls.Commit{Path: path("own"), Proposals: byValue(&mls.Remove{Removed: 7})}), false},
		{"joining by reference", commit(mls.SenderNewMemberCommit, &mls.Commit{Path: path("new"), Proposals: []mls.ProposalOrRef{{Ref: seen}}}), false},
		{"a commit from outside", commit(mls.SenderExternal, &mls.Commit{Path: path("own")}), false},
	} {
		if err := CheckCommit(c.m, tree, known); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestWhatTheGroupIsForIsChangedByTheRemovalKeyAloneAndUpwards(t *testing.T) {
	org := passtest.New(t, "example.org", now)
	from := pass.MeetingContext{Meeting: conclave.MeetingID{1}, Level: 1, PolicyHash: [32]byte{3}}
	higher, lower := from, from
	higher.Level, lower.Level = 2, 0
	change := func(sender mls.SenderType, extensions mls.Extensions) *mls.PublicMessage {
		return &mls.PublicMessage{Content: mls.FramedContent{Sender: mls.Sender{Type: sender}, ContentType: mls.ContentProposal,
			Proposal: &mls.GroupContextExtensions{Extensions: extensions}}}
	}
	removal := passtest.Point(org.Removal)
	next, err := CheckChange(change(mls.SenderExternal, ContextExtensions(higher, removal)), org.Trust(), from, now)
	if err != nil || next != higher {
		t.Fatalf("a higher level: %v, %v", next, err)
	}
	more := append(ContextExtensions(higher, removal), mls.Extension{Type: 0xF0C9})
	for name, m := range map[string]*mls.PublicMessage{
		"a lower level":                change(mls.SenderExternal, ContextExtensions(lower, removal)),
		"a member's wish":              change(mls.SenderMember, ContextExtensions(higher, removal)),
		"another external sender":      change(mls.SenderExternal, ContextExtensions(higher, passtest.Point(passtest.LeafKey(t)))),
		"one extension more":           change(mls.SenderExternal, more),
		"no meeting":                   change(mls.SenderExternal, ContextExtensions(higher, removal)[1:]),
		"the same once more":           change(mls.SenderExternal, ContextExtensions(from, removal)),
		"a removal taken for a change": {Content: mls.FramedContent{Sender: mls.Sender{Type: mls.SenderExternal}, ContentType: mls.ContentProposal, Proposal: &mls.Remove{}}},
	} {
		if _, err := CheckChange(m, org.Trust(), from, now); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
