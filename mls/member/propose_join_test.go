package member

import (
	"testing"

	"conclave/mls"
)

func TestWhoAsksToBeAddedIsWelcomed(t *testing.T) {
	everySuite(t, func(t *testing.T, suite mls.CipherSuite) {
		r := newRoom(t, suite)
		r.fill(2)
		cfg := newConfig(t, suite)
		kp := must(NewKeyPackage(cfg, named("newcomer"), r.follower.Context().Extensions, r.now))(t)
		r.propose(must(ProposeJoin(cfg, kp, r.follower.Context()))(t), nil)
		s := r.commit(r.member(1), CommitOptions{WelcomeTree: true})
		r.members = append(r.members, must(JoinWelcome(cfg, readWelcome(t, s.Welcome()), kp, nil, WelcomeOptions{}, r.now))(t))
		r.agree()
	})
}

func TestNobodyAsksForAnother(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	cfg := newConfig(t, r.suite)
	kp := must(NewKeyPackage(cfg, named("newcomer"), nil, r.now))(t)
	if _, err := ProposeJoin(newConfig(t, r.suite), kp, r.follower.Context()); err == nil {
		t.Fatal("signed with another key than the key package's")
	}
	other := newConfig(t, mls.X25519AES128SHA256Ed25519)
	strange := must(NewKeyPackage(other, named("newcomer"), nil, r.now))(t)
	if _, err := ProposeJoin(other, strange, r.follower.Context()); err == nil {
		t.Fatal("key package of another cipher suite")
	}
}
