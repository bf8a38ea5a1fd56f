package member

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"conclave/mls"
)

// testNow is the time of all tests that need none in particular.
var testNow = time.Unix(1_790_000_000, 0)

// namesVerifier accepts basic credentials whose identity begins with "ok ".
// The rest of it names the client. It refuses leaves whose application ID is
// "bad".
type namesVerifier struct{}

func (namesVerifier) VerifyLeaf(c mls.LeafCheck) error {
	if c.Leaf.Credential.Type != mls.CredentialBasic || !bytes.HasPrefix(c.Leaf.Credential.Identity, []byte("ok ")) {
		return errCredential
	}
	if id, err := c.Leaf.Extensions.ApplicationID(); err != nil || string(id) == "bad" {
		return errCredential
	}
	return nil
}

var errCredential = errors.New("test: credential is not good")

func (namesVerifier) VerifyExternalSender(*mls.ExternalSender, *mls.GroupContext, time.Time) error {
	return nil
}

func (namesVerifier) Client(l *mls.LeafNode) string { return string(l.Credential.Identity) }

func newSigner(t testing.TB, suite mls.CipherSuite) mls.Signer {
	t.Helper()
	key, err := suite.GenerateSignatureKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := mls.NewSigner(suite, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newConfig(t testing.TB, suite mls.CipherSuite) Config {
	t.Helper()
	return Config{Suite: suite, Signer: newSigner(t, suite), Verifier: namesVerifier{}, Rand: rand.Reader}
}

func named(name string) Leaf {
	return Leaf{Credential: mls.BasicCredential([]byte("ok " + name))}
}

// room is a group as its delivery service sees it: the follower orders what
// the members send, and every member processes it.
type room struct {
	t        testing.TB
	suite    mls.CipherSuite
	server   mls.Signer // external sender 0
	follower *mls.Follower
	members  []*Group
	info     []byte // of the newest epoch
	now      time.Time
	bytes    int  // of the last commit
	lost     bool // the follower, by a private commit
}

// must returns v and fails the test on an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newRoom(t testing.TB, suite mls.CipherSuite) *room {
	t.Helper()
	r := &room{t: t, suite: suite, server: newSigner(t, suite), now: testNow}
	context := []mls.Extension{mls.ExternalSendersExtension([]mls.ExternalSender{
		{SignatureKey: r.server.Public(), Credential: mls.BasicCredential([]byte("server"))},
	})}
	g, err := Create(newConfig(t, suite), []byte("room"), context, named("0"), r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.info = must(g.GroupInfo(false))(t)
	rules := mls.NewRules(mls.Config{Verifier: namesVerifier{}})
	r.follower = must(mls.NewFollower(r.groupInfo(), g.Tree().Clone(), rules, r.now))(t)
	r.members = []*Group{g}
	return r
}

func (r *room) groupInfo() *mls.GroupInfo {
	r.t.Helper()
	var m mls.Message
	if err := mls.Unmarshal(r.info, &m); err != nil {
		r.t.Fatal(err)
	}
	return m.GroupInfo
}

// join lets somebody in by an external commit.
func (r *room) join(name string) *Group {
	r.t.Helper()
	return r.joinWith(newConfig(r.t, r.suite), name, ExternalOptions{})
}

func (r *room) joinWith(cfg Config, name string, opt ExternalOptions) *Group {
	r.t.Helper()
	g, commit, err := JoinExternal(cfg, r.groupInfo(), r.follower.Tree().Clone(), named(name), opt, r.now)
	if err != nil {
		r.t.Fatal(err)
	}
	r.order(commit, nil)
	r.info = must(g.GroupInfo(false))(r.t)
	r.members = append(r.members, g)
	r.find()
	r.agree()
	return g
}

// order gives a commit to the follower and to everybody but its maker.
func (r *room) order(commit []byte, maker *Group) {
	r.t.Helper()
	r.bytes = len(commit)
	r.follow(commit)
	var left []*Group
	for _, g := range r.members {
		if g == maker {
			left = append(left, g)
			continue
		}
		p, err := g.Process(commit, r.now)
		if err != nil {
			r.t.Fatalf("leaf %d: %v", g.OwnLeaf(), err)
		}
		if err := g.Merge(p.Commit); err != nil {
			r.t.Fatal(err)
		}
		if !p.Removed {
			left = append(left, g)
		} else if g.Active() {
			r.t.Fatal("a removed member keeps its secrets")
		}
	}
	r.members = left
}

// follow gives the follower a message; a private one leaves it behind, as it
// does a server.
func (r *room) follow(message []byte) {
	r.t.Helper()
	var m mls.Message
	if err := mls.Unmarshal(message, &m); err != nil {
		r.t.Fatal(err)
	}
	if m.Private != nil {
		r.lost = true
		return
	}
	if _, err := r.follower.Process(message, r.now); err != nil && !r.lost {
		r.t.Fatalf("follower: %v", err)
	}
}

// find has the follower begin anew where it was left behind.
func (r *room) find() {
	r.t.Helper()
	if !r.lost || len(r.members) == 0 {
		return
	}
	rules := mls.NewRules(mls.Config{Verifier: namesVerifier{}})
	r.follower = must(mls.NewFollower(r.groupInfo(), r.members[0].Tree().Clone(), rules, r.now))(r.t)
	r.lost = false
}

// propose gives a proposal to the follower and all members.
func (r *room) propose(message []byte, maker *Group) {
	r.t.Helper()
	r.follow(message)
	for _, g := range r.members {
		if g == maker {
			continue
		}
		p, err := g.Process(message, r.now)
		if err != nil {
			r.t.Fatalf("leaf %d: %v", g.OwnLeaf(), err)
		}
		if p.Proposal == nil {
			r.t.Fatal("no proposal")
		}
	}
}

// commit lets g commit what is pending, and everybody follow.
func (r *room) commit(g *Group, opt CommitOptions) *Staged {
	r.t.Helper()
	s, err := g.Commit(opt, r.now)
	if err != nil {
		r.t.Fatal(err)
	}
	r.order(s.Message(), g)
	if err := g.Merge(s); err != nil {
		r.t.Fatal(err)
	}
	r.info = s.GroupInfo()
	r.find()
	return s
}

// agree fails the test unless all members and the follower are in one state.
func (r *room) agree() {
	r.t.Helper()
	if len(r.members) == 0 {
		return
	}
	first := r.members[0]
	want := first.EpochAuthenticator()
	for _, g := range r.members {
		if !bytes.Equal(g.EpochAuthenticator(), want) {
			r.t.Fatalf("epoch %d: leaves %d and %d disagree", first.Epoch(), first.OwnLeaf(), g.OwnLeaf())
		}
		if !bytes.Equal(mls.Marshal(g.Context()), mls.Marshal(r.follower.Context())) {
			r.t.Fatalf("leaf %d and the follower disagree", g.OwnLeaf())
		}
	}
	if n := r.follower.Tree().MemberCount(); n != len(r.members) {
		r.t.Fatalf("the tree has %d members, %d are there", n, len(r.members))
	}
	if err := r.follower.CheckGroupInfo(r.groupInfo()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *room) member(leaf mls.LeafIndex) *Group {
	r.t.Helper()
	for _, g := range r.members {
		if g.OwnLeaf() == leaf {
			return g
		}
	}
	r.t.Fatalf("no member at leaf %d", leaf)
	return nil
}

// fill joins members until there are n.
func (r *room) fill(n int) {
	r.t.Helper()
	for len(r.members) < n {
		r.join(fmt.Sprint("member ", r.follower.Epoch()+1))
	}
}
