package member

import (
	"bytes"
	"testing"

	"conclave/mls"
)

// packages makes a key package for each of the members given, in a suite.
func packages(t *testing.T, suite mls.CipherSuite, names ...string) (cfgs []Config, kps []*KeyPackageSecrets, public []*mls.KeyPackage) {
	t.Helper()
	for _, name := range names {
		cfg := newConfig(t, suite)
		kp := must(NewKeyPackage(cfg, named(name), nil, testNow))(t)
		cfgs, kps, public = append(cfgs, cfg), append(kps, kp), append(public, kp.Package)
	}
	return cfgs, kps, public
}

func readWelcome(t *testing.T, b []byte) *mls.Welcome {
	t.Helper()
	var m mls.Message
	if err := mls.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m.Welcome
}

func TestReinitMovesTheGroupToAnotherSuite(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	r.commit(r.member(1), CommitOptions{Proposals: []mls.Proposal{&mls.ReInit{
		GroupID: mls.GroupID("better"), Version: mls.MLS10, CipherSuite: mls.MLKEM768P256,
	}}})
	old := r.members
	for _, g := range old {
		if !g.Closed() {
			t.Fatal("the old group goes on")
		}
		if _, err := g.Commit(CommitOptions{}, r.now); err == nil {
			t.Fatal("a closed group was committed to")
		}
		if _, err := g.Protect([]byte("x"), nil); err == nil {
			t.Fatal("a closed group was written to")
		}
	}
	cfgs, kps, public := packages(t, mls.MLKEM768P256, "member 1", "member 2")
	founder, welcome, err := old[0].Reinit(newConfig(t, mls.MLKEM768P256), SuccessorOptions{
		Leaf: named("0"), KeyPackages: public, WelcomeTree: true,
	}, r.now)
	if err != nil {
		t.Fatal(err)
	}
	w := readWelcome(t, welcome)
	for i := range cfgs {
		if _, err := JoinWelcome(cfgs[i], w, kps[i], nil, WelcomeOptions{}, r.now); err == nil {
			t.Fatal("joined without the old group")
		}
		g := must(JoinWelcome(cfgs[i], w, kps[i], nil, WelcomeOptions{From: old[i+1]}, r.now))(t)
		if !bytes.Equal(g.EpochAuthenticator(), founder.EpochAuthenticator()) || string(g.GroupID()) != "better" {
			t.Fatal("members of the new group disagree")
		}
	}
	if _, _, err := old[0].Reinit(newConfig(t, mls.MLKEM768P256), SuccessorOptions{Leaf: named("0"), KeyPackages: public[:1]}, r.now); err == nil {
		t.Fatal("a member was left behind")
	}
	// A stranger cannot be taken along.
	_, _, strange := packages(t, mls.MLKEM768P256, "member 1", "member 2", "stranger")
	if _, _, err := old[0].Reinit(newConfig(t, mls.MLKEM768P256), SuccessorOptions{Leaf: named("0"), KeyPackages: strange}, r.now); err == nil {
		t.Fatal("a stranger was taken along")
	}
}

func TestBranchIsForMembersOnly(t *testing.T) {
	r := newRoom(t, mls.MLKEM768P256)
	r.fill(4)
	cfgs, kps, public := packages(t, r.suite, "member 3")
	side, welcome, err := r.member(1).Branch(newConfig(t, r.suite), SuccessorOptions{
		GroupID: []byte("side"), Leaf: named("member 1"), KeyPackages: public, WelcomeTree: true,
	}, r.now)
	if err != nil {
		t.Fatal(err)
	}
	w := readWelcome(t, welcome)
	if _, err := JoinWelcome(cfgs[0], w, kps[0], nil, WelcomeOptions{From: newRoom(t, r.suite).members[0]}, r.now); err == nil {
		t.Fatal("joined a branch of another group")
	}
	g := must(JoinWelcome(cfgs[0], w, kps[0], nil, WelcomeOptions{From: r.member(3)}, r.now))(t)
	if !bytes.Equal(g.EpochAuthenticator(), side.EpochAuthenticator()) {
		t.Fatal("members of the branch disagree")
	}
	// A Welcome that is opened late is held against the members of its epoch:
	// one that went is not missed, one that came is none of them.
	cfgs, kps, public = packages(t, r.suite, "member 3", "member 2")
	side, welcome, err = r.member(1).Branch(newConfig(t, r.suite), SuccessorOptions{
		GroupID: []byte("late"), Leaf: named("member 1"), KeyPackages: public, WelcomeTree: true,
	}, r.now)
	if err != nil {
		t.Fatal(err)
	}
	w = readWelcome(t, welcome)
	late := r.member(3)
	var snap Snapshot
	r.commit(r.member(0), CommitOptions{Proposals: []mls.Proposal{&mls.Remove{Removed: 2}}})
	r.agree()
	if err := late.Save(&snap); err != nil {
		t.Fatal(err)
	}
	newcomer := r.join("newcomer")
	if _, err := JoinWelcome(cfgs[0], w, kps[0], nil, WelcomeOptions{From: newcomer}, r.now); err == nil {
		t.Fatal("joined a branch of an epoch that was before one's time")
	}
	restored := must(Restore(late.cfg, snap.Bytes()))(t)
	if _, err := JoinWelcome(cfgs[0], w, kps[0], nil, WelcomeOptions{From: restored}, r.now); err == nil {
		t.Fatal("joined a branch whose members are not known any more")
	}
	g = must(JoinWelcome(cfgs[0], w, kps[0], nil, WelcomeOptions{From: late}, r.now))(t)
	if !bytes.Equal(g.EpochAuthenticator(), side.EpochAuthenticator()) {
		t.Fatal("members of the late branch disagree")
	}
	for range maxResumption {
		r.commit(r.member(0), CommitOptions{})
	}
	r.agree()
	if _, err := JoinWelcome(cfgs[1], w, kps[1], nil, WelcomeOptions{From: late}, r.now); err == nil {
		t.Fatal("joined a branch of an epoch long ago")
	}
	_, _, stranger := packages(t, r.suite, "stranger")
	if _, _, err := r.member(1).Branch(newConfig(t, r.suite), SuccessorOptions{GroupID: []byte("x"), Leaf: named("member 1"), KeyPackages: stranger}, r.now); err == nil {
		t.Fatal("a stranger is in the branch")
	}
}
