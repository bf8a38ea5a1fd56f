package member

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"conclave/mls"
)

// everySuite runs a test with each suite; in short mode with one of each kind.
func everySuite(t *testing.T, f func(*testing.T, mls.CipherSuite)) {
	suites := mls.Suites()
	if testing.Short() {
		suites = []mls.CipherSuite{mls.X25519ChaChaSHA256Ed25519, mls.P256AES128SHA256P256, mls.MLKEM768P256}
	}
	for _, s := range suites {
		t.Run(fmt.Sprintf("%#04x", uint16(s)), func(t *testing.T) { f(t, s) })
	}
}

func TestJoinersAndMembersAgree(t *testing.T) {
	everySuite(t, func(t *testing.T, suite mls.CipherSuite) {
		r := newRoom(t, suite)
		r.fill(5)
		a := must(r.members[0].Export("test", []byte("context"), 40))(t)
		b := must(r.members[4].Export("test", []byte("context"), 40))(t)
		if len(a) != 40 || !bytes.Equal(a, b) {
			t.Fatal("exported secrets differ")
		}
	})
}

func TestServersRemovalIsCommittedByAMember(t *testing.T) {
	everySuite(t, func(t *testing.T, suite mls.CipherSuite) {
		r := newRoom(t, suite)
		r.fill(6)
		gone := r.member(3)
		r.propose(must(r.follower.ExternalRemove(r.server, 0, 3))(t), nil)
		s := r.commit(r.member(0), CommitOptions{})
		r.agree()
		if c := s.Change(); len(c.Removed) != 1 || c.Removed[0] != 3 || c.Committer != 0 {
			t.Fatalf("change is %+v", c)
		}
		if gone.Active() {
			t.Fatal("the removed member still has secrets")
		}
		if _, err := gone.Export("x", nil, 16); !errors.Is(err, ErrRemoved) {
			t.Fatalf("got %v, want ErrRemoved", err)
		}
		// The free place is taken again.
		if g := r.join("new"); g.OwnLeaf() != 3 {
			t.Fatalf("joined at leaf %d", g.OwnLeaf())
		}
	})
}

func TestMemberLeavesByItsOwnProposal(t *testing.T) {
	r := newRoom(t, mls.MLKEM768P256)
	r.fill(4)
	leaver := r.member(0)
	r.propose(must(leaver.Propose(&mls.Remove{Removed: 0}, r.now))(t), leaver)
	// The leaver cannot commit its own removal; the next in rank does.
	r.commit(r.member(1), CommitOptions{})
	r.agree()
	if leaver.Active() || len(r.members) != 3 {
		t.Fatal("the leaver is still there")
	}
}

func TestUpdatesRenewKeys(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(7)
	for _, g := range r.members {
		before := g.Tree().Leaf(g.OwnLeaf()).EncryptionKey
		last := g.EpochAuthenticator()
		r.commit(g, CommitOptions{})
		r.agree()
		if bytes.Equal(before, g.Tree().Leaf(g.OwnLeaf()).EncryptionKey) || bytes.Equal(last, g.EpochAuthenticator()) {
			t.Fatal("an update kept its key")
		}
	}
	// By proposals of several, committed by another.
	for _, i := range []mls.LeafIndex{1, 4, 6} {
		leaf := named(fmt.Sprintf("member %d", i))
		leaf.Extensions = []mls.Extension{mls.ApplicationIDExtension([]byte("renewed"))}
		r.propose(must(r.member(i).ProposeUpdate(&leaf, nil, r.now))(t), r.member(i))
	}
	s := r.commit(r.member(2), CommitOptions{})
	r.agree()
	if len(s.Change().Updated) != 3 {
		t.Fatalf("%d leaves were updated", len(s.Change().Updated))
	}
	for _, i := range []mls.LeafIndex{1, 4, 6} {
		r.commit(r.member(i), CommitOptions{})
		r.agree()
	}
}

func TestMemberChangesItsSignatureKey(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	key := newSigner(t, r.suite)
	r.commit(r.member(1), CommitOptions{Signer: key})
	r.agree()
	if !bytes.Equal(r.member(0).Tree().Leaf(1).SignatureKey, key.Public()) {
		t.Fatal("the tree shows the old key")
	}
	r.commit(r.member(1), CommitOptions{})
	key = newSigner(t, r.suite)
	r.propose(must(r.member(2).ProposeUpdate(nil, key, r.now))(t), r.member(2))
	r.commit(r.member(0), CommitOptions{})
	r.commit(r.member(2), CommitOptions{})
	r.agree()
}

func TestResyncReplacesTheOldLeaf(t *testing.T) {
	r := newRoom(t, mls.MLKEM768P256)
	r.fill(5)
	lost := r.member(2)
	if _, _, err := JoinExternal(lost.cfg, r.groupInfo(), r.follower.Tree().Clone(), named("member 2"), ExternalOptions{}, r.now); !errors.Is(err, ErrAlreadyMember) {
		t.Fatalf("got %v, want ErrAlreadyMember", err)
	}
	back := r.joinWith(lost.cfg, "member 2", ExternalOptions{Resync: true})
	if back.OwnLeaf() != 2 || lost.Active() || len(r.members) != 5 {
		t.Fatalf("came back at leaf %d, old state active: %v", back.OwnLeaf(), lost.Active())
	}
}

func TestExternalJoinWithAPreSharedKey(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(2)
	for _, g := range r.members {
		g.SetPSK([]byte("room secret"), []byte("0123456789abcdef"))
	}
	r.joinWith(newConfig(t, r.suite), "knows", ExternalOptions{PSKs: []PSK{{ID: []byte("room secret"), Secret: []byte("0123456789abcdef")}}})
	_, commit, err := JoinExternal(newConfig(t, r.suite), r.groupInfo(), r.follower.Tree().Clone(), named("guesses"),
		ExternalOptions{PSKs: []PSK{{ID: []byte("room secret"), Secret: []byte("wrong")}}}, r.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.members[0].Process(commit, r.now); err == nil {
		t.Fatal("a wrong pre-shared key was accepted")
	}
}

func TestWhoComesBackProvesToHaveBeenThere(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	gone := r.member(1)
	proof := must(gone.ResumptionPSK())(t)
	r.commit(r.member(0), CommitOptions{Proposals: []mls.Proposal{&mls.Remove{Removed: 1}}})
	back := r.joinWith(gone.cfg, "member 1", ExternalOptions{Resumptions: []Resumption{
		{GroupID: proof.GroupID, Epoch: proof.Epoch, Secret: proof.Secret},
	}})
	if back.OwnLeaf() != 1 {
		t.Fatalf("came back at leaf %d", back.OwnLeaf())
	}
	_, commit, err := JoinExternal(newConfig(t, r.suite), r.groupInfo(), r.follower.Tree().Clone(), named("guesses"),
		ExternalOptions{Resumptions: []Resumption{{GroupID: proof.GroupID, Epoch: proof.Epoch, Secret: make([]byte, 32)}}}, r.now)
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, r.member(0), r, "confirmation tag does not verify", commit)
}

func TestPreSharedKeysEnterTheNextEpoch(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	for _, g := range r.members {
		g.SetPSK([]byte("p"), []byte("secret"))
	}
	p := must(r.member(0).NewPSK([]byte("p")))(t)
	q := must(r.member(0).NewResumption(r.member(0).Epoch()))(t)
	r.commit(r.member(0), CommitOptions{Proposals: []mls.Proposal{p, q}, SkipPath: true})
	r.agree()
	for _, g := range r.members[1:] {
		g.RemovePSK([]byte("p"))
	}
	s := must(r.member(0).Commit(CommitOptions{Proposals: []mls.Proposal{must(r.member(0).NewPSK([]byte("p")))(t)}}, r.now))(t)
	if _, err := r.member(1).Process(s.Message(), r.now); !errors.Is(err, ErrUnknownPSK) {
		t.Fatalf("got %v, want ErrUnknownPSK", err)
	}
}

func TestCommitChangesNothingUntilMerged(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	g := r.member(1)
	before := g.EpochAuthenticator()
	mine := must(g.Commit(CommitOptions{}, r.now))(t)
	// Another one's commit wins the race.
	r.commit(r.member(0), CommitOptions{})
	r.agree()
	if err := g.Merge(mine); !errors.Is(err, ErrStale) {
		t.Fatalf("got %v, want ErrStale", err)
	}
	if bytes.Equal(before, g.EpochAuthenticator()) {
		t.Fatal("the epoch did not change")
	}
	if _, err := r.member(0).Process(mine.Message(), r.now); !errors.Is(err, mls.ErrEpoch) {
		t.Fatalf("got %v, want ErrEpoch", err)
	}
}

func TestApplicationDataReachesTheOthers(t *testing.T) {
	everySuite(t, func(t *testing.T, suite mls.CipherSuite) {
		r := newRoom(t, suite)
		r.fill(3)
		r.member(1).cfg.PadTo = 128
		var sent [][]byte
		for i := range 4 {
			sent = append(sent, must(r.member(1).Protect(fmt.Append(nil, "message ", i), []byte("aad")))(t))
		}
		for _, i := range []int{2, 0, 3, 1} {
			p, err := r.member(2).Process(sent[i], r.now)
			if err != nil {
				t.Fatal(err)
			}
			if string(p.Application) != fmt.Sprint("message ", i) || string(p.AuthenticatedData) != "aad" || p.Sender.Leaf != 1 {
				t.Fatalf("got %+v", p)
			}
		}
		if _, err := r.member(2).Process(sent[0], r.now); !errors.Is(err, ErrReplay) {
			t.Fatalf("got %v, want ErrReplay", err)
		}
		if _, err := r.member(1).Process(sent[0], r.now); !errors.Is(err, ErrOwnMessage) {
			t.Fatalf("got %v, want ErrOwnMessage", err)
		}
	})
}

func TestWelcomeInvitesABatch(t *testing.T) {
	everySuite(t, func(t *testing.T, suite mls.CipherSuite) {
		r := newRoom(t, suite)
		r.fill(3)
		var adds []mls.Proposal
		var kps []*KeyPackageSecrets
		var cfgs []Config
		for i := range 4 {
			cfg := newConfig(t, suite)
			kp := must(NewKeyPackage(cfg, named(fmt.Sprint("invited ", i)), r.follower.Context().Extensions, r.now))(t)
			adds, kps, cfgs = append(adds, &mls.Add{KeyPackage: kp.Package}), append(kps, kp), append(cfgs, cfg)
		}
		for _, skip := range []bool{false, true} {
			s := r.commit(r.member(1), CommitOptions{Proposals: adds[:2], SkipPath: skip, WelcomeTree: skip})
			var m mls.Message
			if err := mls.Unmarshal(s.Welcome(), &m); err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				var tree *mls.RatchetTree
				if !skip {
					tree = r.follower.Tree().Clone()
				}
				r.members = append(r.members, must(JoinWelcome(cfgs[i], m.Welcome, kps[i], tree, WelcomeOptions{}, r.now))(t))
			}
			r.agree()
			adds, kps, cfgs = adds[2:], kps[2:], cfgs[2:]
		}
		r.commit(r.members[len(r.members)-1], CommitOptions{})
		r.agree()
	})
}

func TestPrivateHandshake(t *testing.T) {
	suite := mls.P256AES128SHA256P256
	cfg := newConfig(t, suite)
	cfg.Private = true
	a := must(Create(cfg, []byte("g"), nil, named("a"), testNow))(t)
	other := newConfig(t, suite)
	other.Private = true
	kp := must(NewKeyPackage(other, named("b"), nil, testNow))(t)
	s := must(a.Commit(CommitOptions{Proposals: []mls.Proposal{&mls.Add{KeyPackage: kp.Package}}, WelcomeTree: true}, testNow))(t)
	if err := a.Merge(s); err != nil {
		t.Fatal(err)
	}
	var m mls.Message
	if err := mls.Unmarshal(s.Welcome(), &m); err != nil {
		t.Fatal(err)
	}
	b := must(JoinWelcome(other, m.Welcome, kp, nil, WelcomeOptions{}, testNow))(t)
	if _, err := a.Process(must(b.ProposeUpdate(nil, nil, testNow))(t), testNow); err != nil {
		t.Fatal(err)
	}
	s = must(a.Commit(CommitOptions{}, testNow))(t)
	p, err := b.Process(s.Message(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Merge(s), b.Merge(p.Commit)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.EpochAuthenticator(), b.EpochAuthenticator()) || len(s.Change().Updated) != 1 {
		t.Fatal("members disagree")
	}
}

func TestStrangerAsksToBeAdded(t *testing.T) {
	r := newRoom(t, mls.MLKEM768P256)
	r.fill(3)
	cfg := newConfig(t, r.suite)
	kp := must(NewKeyPackage(cfg, named("asks"), nil, r.now))(t)
	r.propose(must(ProposeJoin(cfg, kp, r.follower.Context()))(t), nil)
	s := r.commit(r.member(2), CommitOptions{})
	var m mls.Message
	if err := mls.Unmarshal(s.Welcome(), &m); err != nil {
		t.Fatal(err)
	}
	r.members = append(r.members, must(JoinWelcome(cfg, m.Welcome, kp, r.follower.Tree().Clone(), WelcomeOptions{}, r.now))(t))
	r.agree()
}

func TestServerProposesToAdd(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(2)
	cfg := newConfig(t, r.suite)
	kp := must(NewKeyPackage(cfg, named("invited"), nil, r.now))(t)
	r.propose(must(r.follower.ExternalProposal(r.server, 0, &mls.Add{KeyPackage: kp.Package}))(t), nil)
	s := r.commit(r.member(0), CommitOptions{WelcomeTree: true})
	var m mls.Message
	if err := mls.Unmarshal(s.Welcome(), &m); err != nil {
		t.Fatal(err)
	}
	r.members = append(r.members, must(JoinWelcome(cfg, m.Welcome, kp, nil, WelcomeOptions{}, r.now))(t))
	r.agree()
}

func TestGroupsAreBoundByResumptionPSK(t *testing.T) {
	r, other := newRoom(t, mls.P256AES128SHA256P256), newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	other.fill(2)
	psk := must(other.member(0).ResumptionPSK())(t)
	psk.GroupID = []byte("the other room") // both are called "room"
	for _, g := range r.members {
		g.AddResumption(psk)
	}
	psk.Wipe()
	p := &mls.PreSharedKey{PSK: mls.PreSharedKeyID{
		Type: mls.PSKResumption, Usage: mls.ResumptionApplication, GroupID: psk.GroupID, Epoch: psk.Epoch, Nonce: make([]byte, 32),
	}}
	r.commit(r.member(0), CommitOptions{Proposals: []mls.Proposal{p}})
	r.agree()
}

func TestOldEpochIsWiped(t *testing.T) {
	r := newRoom(t, mls.MLKEM768P256)
	r.fill(4)
	g := r.member(1)
	old := g.epoch
	var secrets [][]byte
	for _, s := range old.secrets.list() {
		secrets = append(secrets, *s)
	}
	for _, k := range old.keys.keys {
		secrets = append(secrets, k.private)
	}
	must(g.Protect([]byte("x"), nil))(t)
	for _, s := range old.private.tree.nodes {
		secrets = append(secrets, s)
	}
	for _, l := range old.private.tree.ratchets {
		secrets = append(secrets, l.application.secret, l.handshake.secret)
	}
	secrets = append(secrets, old.private.senderData)
	r.commit(r.member(0), CommitOptions{})
	now := g.epoch
	for _, s := range now.secrets.list() {
		secrets = append(secrets, *s)
	}
	g.Wipe()
	if len(secrets) < 24 {
		t.Fatalf("only %d secrets were looked at", len(secrets))
	}
	for i, s := range secrets {
		if len(s) == 0 || !bytes.Equal(s, make([]byte, len(s))) {
			t.Fatalf("secret %d is still in memory", i)
		}
	}
}

func TestRefusedCommitIsWiped(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	s := must(r.member(0).Commit(CommitOptions{}, r.now))(t)
	kept := s.next.secrets.exporter
	s.Wipe()
	if !bytes.Equal(kept, make([]byte, len(kept))) {
		t.Fatal("a staged secret is still in memory")
	}
	if err := r.member(0).Merge(s); !errors.Is(err, ErrStale) {
		t.Fatalf("got %v, want ErrStale", err)
	}
	r.commit(r.member(0), CommitOptions{})
	r.agree()
}
