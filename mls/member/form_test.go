package member

import (
	"bytes"
	"testing"

	"conclave/mls"
)

// Whoever waits for a Welcome and takes what came out of a message of another
// kind, or forgets a part of its own, gets an error.
func TestWhatIsMissingIsAnError(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(2)
	g, cfg := r.members[0], newConfig(t, r.suite)
	in := invite(t, r, false)
	var other mls.Message // another kind of message than the one waited for
	if err := mls.Unmarshal(r.info, &other); err != nil {
		t.Fatal(err)
	}
	try := func(name string, do func() error) {
		t.Helper()
		if do() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	join := func(w *mls.Welcome, kp *KeyPackageSecrets) error {
		_, err := JoinWelcome(cfg, w, kp, nil, WelcomeOptions{}, r.now)
		return err
	}
	try("no welcome", func() error { return join(other.Welcome, in.kp) })
	try("no key package", func() error { return join(in.welcome, nil) })
	try("empty key package", func() error { return join(in.welcome, &KeyPackageSecrets{}) })
	try("key package without leaf", func() error { return join(in.welcome, &KeyPackageSecrets{Package: &mls.KeyPackage{}}) })
	for name, info := range map[string]*mls.GroupInfo{"no group info": nil, "empty group info": {}} {
		try(name, func() error {
			_, _, err := JoinExternal(cfg, info, r.follower.Tree(), named("x"), ExternalOptions{}, r.now)
			return err
		})
	}
	try("leaf without credential", func() error {
		_, _, err := JoinExternal(cfg, r.groupInfo(), r.follower.Tree().Clone(), Leaf{}, ExternalOptions{}, r.now)
		return err
	})
	try("leaf without credential", func() error { _, err := Create(cfg, []byte("x"), nil, Leaf{}, r.now); return err })
	try("leaf without credential", func() error { _, err := NewKeyPackage(cfg, Leaf{}, nil, r.now); return err })
	try("leaf without credential", func() error { _, err := g.ProposeUpdate(&Leaf{}, nil, r.now); return err })
	try("leaf without credential", func() error { _, err := g.Commit(CommitOptions{Leaf: &Leaf{}}, r.now); return err })
	try("no key package", func() error { _, err := ProposeJoin(cfg, nil, r.follower.Context()); return err })
	try("empty key package", func() error { _, err := ProposeJoin(cfg, &KeyPackageSecrets{}, r.follower.Context()); return err })
	try("no group", func() error { _, err := ProposeJoin(in.cfg, in.kp, nil); return err })
	try("branch with no key package", func() error {
		_, _, err := g.Branch(g.cfg, SuccessorOptions{GroupID: []byte("b"), Leaf: named("0"), KeyPackages: []*mls.KeyPackage{nil}}, r.now)
		return err
	})
	for name, p := range map[string]mls.Proposal{
		"no proposal": nil, "empty Add": &mls.Add{}, "no Remove": (*mls.Remove)(nil), "empty Update": &mls.Update{}, "empty PSK": &mls.PreSharedKey{},
	} {
		try(name, func() error { _, err := g.Propose(p, r.now); return err })
		try(name, func() error { _, err := g.Commit(CommitOptions{Proposals: []mls.Proposal{p}}, r.now); return err })
	}
	if len(g.Pending()) != 0 {
		t.Error("something without form is pending")
	}
	r.commit(g, CommitOptions{})
	r.agree()
}

// What nobody could read is not sent: it would not even be read back by the
// member itself.
func TestWhatNobodyReadsIsNotMade(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(2)
	g, cfg := r.members[0], newConfig(t, r.suite)
	const most = 64 << 10
	big := func(n int) Leaf { return named(string(bytes.Repeat([]byte("x"), n-len("ok ")))) }
	long := big(most + 1)
	must(NewKeyPackage(cfg, big(most), nil, r.now))(t)
	for name, err := range map[string]error{
		"key package": func() error { _, err := NewKeyPackage(cfg, long, nil, r.now); return err }(),
		"group":       func() error { _, err := Create(cfg, []byte("x"), nil, long, r.now); return err }(),
		"group name":  func() error { _, err := Create(cfg, make([]byte, most+1), nil, named("x"), r.now); return err }(),
		"commit":      func() error { _, err := g.Commit(CommitOptions{Leaf: &long}, r.now); return err }(),
		"update":      func() error { _, err := g.ProposeUpdate(&long, nil, r.now); return err }(),
		"join": func() error {
			_, _, err := JoinExternal(cfg, r.groupInfo(), r.follower.Tree().Clone(), long, ExternalOptions{}, r.now)
			return err
		}(),
		"data": func() error { _, err := g.Protect(make([]byte, 1<<20+1), nil); return err }(),
		"authenticated data": func() error {
			_, err := g.Commit(CommitOptions{AuthenticatedData: make([]byte, 1<<20+1)}, r.now)
			return err
		}(),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := r.members[1].Process(must(g.Protect(make([]byte, 1<<20), nil))(t), r.now); err != nil {
		t.Errorf("data of a megabyte: %v", err)
	}
	g.cfg.PadTo = mls.MaxMessageSize
	if _, err := g.Protect([]byte("x"), nil); err == nil {
		t.Error("a message of 16 MB and more was made")
	}
}
