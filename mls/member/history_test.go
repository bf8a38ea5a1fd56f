package member

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"conclave/mls"
)

// history plays random steps in a room; everybody and the follower must agree
// after each.
type history struct {
	*room
	rng   *rand.Rand
	names int
}

func (h *history) pick() *Group { return h.members[h.rng.IntN(len(h.members))] }

func (h *history) newName() string {
	h.names++
	return fmt.Sprint("client ", h.names)
}

// steps are what may happen, each with the number of members it needs.
var steps = []struct {
	name string
	need int
	do   func(*history)
}{
	{"join", 1, func(h *history) { h.join(h.newName()) }},
	{"come back", 2, func(h *history) {
		g := h.pick()
		name := string(g.Tree().Leaf(g.OwnLeaf()).Credential.Identity[len("ok "):])
		h.joinWith(g.cfg, name, ExternalOptions{Resync: true})
	}},
	{"renew", 1, func(h *history) { h.commit(h.pick(), CommitOptions{}) }},
	{"server removes", 2, func(h *history) {
		committer, gone := h.two()
		h.propose(must(h.follower.ExternalRemove(h.server, 0, gone.OwnLeaf()))(h.t), nil)
		h.commit(committer, CommitOptions{})
	}},
	{"leave", 2, func(h *history) {
		committer, gone := h.two()
		h.propose(must(gone.Propose(&mls.Remove{Removed: gone.OwnLeaf()}, h.now))(h.t), gone)
		h.commit(committer, CommitOptions{})
	}},
	{"remove by value", 2, func(h *history) {
		committer, gone := h.two()
		h.commit(committer, CommitOptions{Proposals: []mls.Proposal{&mls.Remove{Removed: gone.OwnLeaf()}}})
	}},
	{"invite", 1, func(h *history) { h.invite(1+h.rng.IntN(4), h.rng.IntN(2) == 0) }},
	{"many proposals", 3, (*history).proposeMany},
	{"pre-shared key", 1, func(h *history) {
		for _, g := range h.members {
			g.SetPSK([]byte("psk"), []byte("of the room"))
		}
		g := h.pick()
		h.commit(g, CommitOptions{Proposals: []mls.Proposal{must(g.NewPSK([]byte("psk")))(h.t)}, SkipPath: h.rng.IntN(2) == 0})
	}},
	{"extensions", 1, func(h *history) {
		e := h.follower.Context().Extensions.With(mls.RequiredCapabilitiesExtension(mls.RequiredCapabilities{
			Credentials: []mls.CredentialType{mls.CredentialBasic},
		}))
		if h.rng.IntN(2) == 0 {
			e = e.Without(mls.ExtensionRequiredCapabilities)
		}
		h.commit(h.pick(), CommitOptions{Proposals: []mls.Proposal{&mls.GroupContextExtensions{Extensions: e}}})
	}},
	{"lost race", 2, func(h *history) {
		a, b := h.two()
		lost, err := a.Commit(CommitOptions{}, h.now)
		if err != nil {
			h.t.Fatal(err)
		}
		h.commit(b, CommitOptions{})
		lost.Wipe()
	}},
	{"restore", 1, func(h *history) {
		i := h.rng.IntN(len(h.members))
		var s Snapshot
		if err := h.members[i].Save(&s); err != nil {
			h.t.Fatal(err)
		}
		h.members[i] = must(Restore(h.members[i].cfg, s.Bytes()))(h.t)
		h.members[i].cfg.Private = false // it may send no private handshake yet
	}},
	{"speak in private, or not", 1, func(h *history) {
		if g := h.pick(); !g.behind {
			g.cfg.Private, g.cfg.PadTo = !g.cfg.Private, 64
		}
	}},
	{"new signature key", 2, func(h *history) {
		g, committer := h.two()
		key := newSigner(h.t, h.suite)
		if h.rng.IntN(2) == 0 {
			h.commit(g, CommitOptions{Signer: key})
			return
		}
		h.propose(must(g.ProposeUpdate(nil, key, h.now))(h.t), g)
		h.commit(committer, CommitOptions{})
	}},
	{"ask to be added", 1, func(h *history) {
		cfg := newConfig(h.t, h.suite)
		kp := must(NewKeyPackage(cfg, named(h.newName()), h.follower.Context().Extensions, h.now))(h.t)
		h.propose(must(ProposeJoin(cfg, kp, h.follower.Context()))(h.t), nil)
		s := h.commit(h.pick(), CommitOptions{WelcomeTree: true, SkipPath: h.rng.IntN(2) == 0})
		w := must(mls.ReadWelcome(s.Welcome()))(h.t)
		h.members = append(h.members, must(JoinWelcome(cfg, w, kp, nil, WelcomeOptions{}, h.now))(h.t))
	}},
	{"resumption", 1, func(h *history) {
		g := h.pick()
		h.commit(g, CommitOptions{Proposals: []mls.Proposal{must(g.NewResumption(g.Epoch()))(h.t)}, SkipPath: h.rng.IntN(2) == 0})
	}},
	{"branch", 2, (*history).branch},
	{"reinit", 2, (*history).reinit},
	{"talk", 2, func(h *history) {
		from := h.pick()
		if from.Restored() {
			return
		}
		m := must(from.Protect([]byte("hello"), nil))(h.t)
		for _, g := range h.members {
			if g == from {
				continue
			}
			if p, err := g.Process(m, h.now); err != nil || string(p.Application) != "hello" {
				h.t.Fatalf("leaf %d from %d: %v", g.OwnLeaf(), from.OwnLeaf(), err)
			}
		}
	}},
}

func (h *history) two() (a, b *Group) {
	i := h.rng.IntN(len(h.members))
	j := h.rng.IntN(len(h.members) - 1)
	if j >= i {
		j++
	}
	return h.members[i], h.members[j]
}

// packagesOf makes key packages for the same clients as those of groups.
func (h *history) packagesOf(groups []*Group) (cfgs []Config, kps []*KeyPackageSecrets, public []*mls.KeyPackage) {
	for _, g := range groups {
		cfg := newConfig(h.t, h.suite)
		kp := must(NewKeyPackage(cfg, h.leafOf(g), g.Context().Extensions, h.now))(h.t)
		cfgs, kps, public = append(cfgs, cfg), append(kps, kp), append(public, kp.Package)
	}
	return cfgs, kps, public
}

func (h *history) leafOf(g *Group) Leaf {
	return Leaf{Credential: g.Tree().Leaf(g.OwnLeaf()).Credential}
}

// branch opens a group of two beside the room, sometimes after the room has
// moved on.
func (h *history) branch() {
	a, b := h.two()
	cfgs, kps, public := h.packagesOf([]*Group{b})
	side, welcome, err := a.Branch(newConfig(h.t, h.suite), SuccessorOptions{
		GroupID: []byte(h.newName()), Leaf: h.leafOf(a), KeyPackages: public, WelcomeTree: true,
	}, h.now)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.rng.IntN(2) == 0 {
		h.commit(h.pick(), CommitOptions{})
	}
	g := must(JoinWelcome(cfgs[0], must(mls.ReadWelcome(welcome))(h.t), kps[0], nil, WelcomeOptions{From: b}, h.now))(h.t)
	if !bytes.Equal(g.EpochAuthenticator(), side.EpochAuthenticator()) {
		h.t.Fatal("members of the branch disagree")
	}
}

// reinit moves the room to another group.
func (h *history) reinit() {
	h.commit(h.pick(), CommitOptions{Proposals: []mls.Proposal{&mls.ReInit{
		GroupID: mls.GroupID(h.newName()), Version: mls.MLS10, CipherSuite: h.suite, Extensions: h.follower.Context().Extensions,
	}}})
	h.agree()
	old := h.members
	cfgs, kps, public := h.packagesOf(old[1:])
	founder, welcome, err := old[0].Reinit(newConfig(h.t, h.suite), SuccessorOptions{Leaf: h.leafOf(old[0]), KeyPackages: public, WelcomeTree: true}, h.now)
	if err != nil {
		h.t.Fatal(err)
	}
	h.members = []*Group{founder}
	for i, g := range old[1:] {
		w := must(mls.ReadWelcome(welcome))(h.t)
		h.members = append(h.members, must(JoinWelcome(cfgs[i], w, kps[i], nil, WelcomeOptions{From: g}, h.now))(h.t))
	}
	for _, g := range old {
		g.Wipe()
	}
	h.info, h.lost = must(founder.GroupInfo(false))(h.t), true
	h.find()
}

func (h *history) invite(n int, skipPath bool) {
	var adds []mls.Proposal
	var kps []*KeyPackageSecrets
	var cfgs []Config
	for range n {
		cfg := newConfig(h.t, h.suite)
		kp := must(NewKeyPackage(cfg, named(h.newName()), h.follower.Context().Extensions, h.now))(h.t)
		adds, kps, cfgs = append(adds, &mls.Add{KeyPackage: kp.Package}), append(kps, kp), append(cfgs, cfg)
	}
	batch := h.rng.IntN(3)
	s := h.commit(h.pick(), CommitOptions{Proposals: adds, SkipPath: skipPath, WelcomeBatch: batch})
	for i := range kps {
		w := 0
		if batch > 0 {
			w = i / batch
		}
		var m mls.Message
		if err := mls.Unmarshal(s.Welcomes()[w], &m); err != nil {
			h.t.Fatal(err)
		}
		h.members = append(h.members, must(JoinWelcome(cfgs[i], m.Welcome, kps[i], h.follower.Tree().Clone(), WelcomeOptions{}, h.now))(h.t))
	}
}

// proposeMany lets several propose, so that some of it contradicts, and one
// commit what fits.
func (h *history) proposeMany() {
	for range 1 + h.rng.IntN(5) {
		g := h.pick()
		if h.rng.IntN(3) == 0 {
			h.propose(must(g.Propose(&mls.Remove{Removed: h.pick().OwnLeaf()}, h.now))(h.t), g)
		} else {
			h.propose(must(g.ProposeUpdate(nil, nil, h.now))(h.t), g)
		}
	}
	h.commit(h.pick(), CommitOptions{})
}

func playHistory(t *testing.T, suite mls.CipherSuite, seed uint64, n int) {
	h := &history{room: newRoom(t, suite), rng: rand.New(rand.NewPCG(seed, 9420))}
	for i := range n {
		var name string
		for {
			s := steps[h.rng.IntN(len(steps))]
			if len(h.members) < s.need || len(h.members) > 24 && (s.name == "join" || s.name == "invite" || s.name == "ask to be added") {
				continue
			}
			name = s.name
			s.do(h)
			break
		}
		if h.agree(); t.Failed() {
			t.Fatalf("seed %d, step %d: %s", seed, i, name)
		}
	}
}

// CONCLAVE_HISTORY sets the number of steps of each history.
func TestRandomHistories(t *testing.T) {
	everySuite(t, func(t *testing.T, suite mls.CipherSuite) {
		n := 40
		if long, err := strconv.Atoi(os.Getenv("CONCLAVE_HISTORY")); err == nil {
			n = long
		} else if testing.Short() {
			n = 12
		}
		for seed := range uint64(2) {
			playHistory(t, suite, seed, n)
			// Once more at length in the suite of rooms, and in that which every
			// other implementation has.
			if seed == 0 && n == 40 && (suite == mls.MLKEM768P256 || suite == mls.X25519AES128SHA256Ed25519) {
				playHistory(t, suite, 2, 200)
			}
		}
	})
}
