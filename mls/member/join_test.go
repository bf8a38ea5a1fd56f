package member

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"conclave/mls"
)

// invitation is a Welcome with all that its reader has.
type invitation struct {
	cfg     Config
	kp      *KeyPackageSecrets
	welcome *mls.Welcome
	tree    []byte
}

func invite(t testing.TB, r *room, psk bool) *invitation {
	t.Helper()
	in := &invitation{cfg: newConfig(t, r.suite)}
	in.kp = must(NewKeyPackage(in.cfg, named("invited"), nil, r.now))(t)
	opt := CommitOptions{Proposals: []mls.Proposal{&mls.Add{KeyPackage: in.kp.Package}}}
	if psk {
		r.member(0).SetPSK([]byte("p"), []byte("secret"))
		opt.Proposals = append(opt.Proposals, must(r.member(0).NewPSK([]byte("p")))(t))
	}
	s := must(r.member(0).Commit(opt, r.now))(t)
	var m mls.Message
	if err := mls.Unmarshal(s.Welcome(), &m); err != nil {
		t.Fatal(err)
	}
	in.welcome, in.tree = m.Welcome, mls.Marshal(s.Tree())
	return in
}

func (in *invitation) join(t testing.TB, opt WelcomeOptions) (*Group, error) {
	t.Helper()
	tree, err := mls.ParseRatchetTree(in.cfg.Suite, bytes.Clone(in.tree))
	if err != nil {
		t.Fatal(err)
	}
	return JoinWelcome(in.cfg, in.welcome, in.kp, tree, opt, testNow)
}

func TestBrokenWelcomeIsRefused(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	other := newRoom(t, r.suite)
	for _, c := range []struct {
		name, want string
		psk        bool
		edit       func(*invitation)
		opt        WelcomeOptions
	}{
		{"for somebody else", "not for this key package", false, func(in *invitation) {
			in.kp = must(NewKeyPackage(in.cfg, named("invited"), nil, r.now))(t)
		}, WelcomeOptions{}},
		{"another init key", "member: welcome:", false, func(in *invitation) {
			in.kp.InitKey = must(newKeyPair(r.suite, in.cfg.Rand))(t).private
		}, WelcomeOptions{}},
		{"another signer", "signer is not the key package's", false, func(in *invitation) { in.cfg.Signer = newSigner(t, r.suite) }, WelcomeOptions{}},
		{"another suite", "another cipher suite", false, func(in *invitation) { in.welcome.CipherSuite = 1 }, WelcomeOptions{}},
		{"secrets changed", "member: welcome:", false, func(in *invitation) { in.welcome.Secrets[0].Secrets.Ciphertext[9] ^= 1 }, WelcomeOptions{}},
		// The encryption of the secrets is bound to it.
		{"group info changed", "member: welcome:", false, func(in *invitation) { in.welcome.EncryptedGroupInfo[9] ^= 1 }, WelcomeOptions{}},
		{"another tree", "tree hash", false, func(in *invitation) { in.tree = mls.Marshal(r.follower.Tree()) }, WelcomeOptions{}},
		{"no PSK", "unknown pre-shared key", true, nil, WelcomeOptions{}},
		{"wrong PSK", "group info does not open", true, nil, WelcomeOptions{PSKs: []PSK{{ID: []byte("p"), Secret: []byte("guess")}}}},
		{"continues nothing", "does not continue the old group", false, nil, WelcomeOptions{From: other.members[0]}},
		{"into a group it is in", "already in the group", false, nil, WelcomeOptions{Joined: func(id mls.GroupID) bool { return string(id) == "room" }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := invite(t, r, c.psk)
			if c.edit != nil {
				c.edit(in)
			}
			if _, err := in.join(t, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("refused with %v, want: %s", err, c.want)
			}
		})
	}
	for _, psk := range []bool{false, true} {
		in := invite(t, r, psk)
		if _, err := in.join(t, WelcomeOptions{
			PSKs:   []PSK{{ID: []byte("p"), Secret: []byte("secret")}},
			Joined: func(id mls.GroupID) bool { return string(id) != "room" },
		}); err != nil {
			t.Fatal(err)
		}
	}
	in := invite(t, r, false)
	in.kp.Wipe()
	if _, err := in.join(t, WelcomeOptions{}); err == nil {
		t.Fatal("joined with a wiped key package")
	}
}

// What only the one who invites can spoil: the Welcome opens, and is signed and
// confirmed as it should be.
func TestWelcomeOfADishonestMemberIsRefused(t *testing.T) { // Sections 8.4, 11.2, 11.3 and 12.4.3.1
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	me := r.member(0)
	cfg := newConfig(t, r.suite)
	fresh := func() *KeyPackageSecrets { return must(NewKeyPackage(cfg, named("invited"), nil, r.now))(t) }
	add := func(kp *KeyPackageSecrets) []mls.CommittedProposal {
		return []mls.CommittedProposal{{Proposal: &mls.Add{KeyPackage: kp.Package}, Sender: mls.MemberSender(0)}}
	}
	stranger := must(NewKeyPackage(newConfig(t, r.suite), named("stranger"), nil, r.now))(t)
	resumption := func(usage mls.ResumptionPSKUsage) mls.PreSharedKeyID {
		return mls.PreSharedKeyID{
			Type: mls.PSKResumption, Usage: usage, GroupID: me.GroupID(), Epoch: me.Epoch(), Nonce: must(newSecret(r.suite, cfg.Rand))(t),
		}
	}
	branch := resumption(mls.ResumptionBranch)
	for _, c := range []struct {
		name, want string
		in         insider
		adds       *KeyPackageSecrets // in the place of the one invited
		info       func(*mls.GroupInfo)
		secrets    func(*mls.GroupSecrets)
		opt        WelcomeOptions
	}{
		{name: "joiner secret too short", want: "joiner secret has the wrong size", secrets: func(s *mls.GroupSecrets) { s.JoinerSecret = s.JoinerSecret[1:] }},
		{name: "another joiner secret", want: "group info does not open", secrets: func(s *mls.GroupSecrets) { s.JoinerSecret = make([]byte, 32) }},
		{name: "PSK nonce too short", want: "PSK nonce has the wrong size", secrets: func(s *mls.GroupSecrets) {
			s.PSKs = []mls.PreSharedKeyID{{Type: mls.PSKExternal, ID: []byte("p"), Nonce: make([]byte, 31)}}
		}},
		{name: "group of another suite", want: "group has another cipher suite", info: func(i *mls.GroupInfo) {
			i.GroupContext.CipherSuite = mls.X25519AES128SHA256Ed25519
		}},
		{name: "wrong confirmation tag", want: "confirmation tag does not verify", info: func(i *mls.GroupInfo) {
			i.ConfirmationTag = bytes.Clone(i.ConfirmationTag)
			i.ConfirmationTag[3] ^= 1
		}},
		{name: "another epoch", want: "confirmation tag does not verify", info: func(i *mls.GroupInfo) { i.GroupContext.Epoch++ }},
		{name: "another tree", want: "tree hash", info: func(i *mls.GroupInfo) { i.GroupContext.TreeHash = make([]byte, 32) }},
		{name: "signed as another", want: "signature does not verify", info: func(i *mls.GroupInfo) { i.Signer = 1 }},
		{name: "signed as nobody", want: "leaf is blank", info: func(i *mls.GroupInfo) { i.Signer = 9 }},
		{name: "another path secret", want: "path secret does not match the public key", secrets: func(s *mls.GroupSecrets) { s.PathSecret = make([]byte, 32) }},
		{name: "path secret too short", want: "path secret has the wrong size", secrets: func(s *mls.GroupSecrets) { s.PathSecret = s.PathSecret[1:] }},
		{name: "not in the tree", want: "own leaf is not in the ratchet tree", adds: stranger},
		{name: "continues two groups", want: "continues more than one group", in: insider{psks: []mls.PreSharedKeyID{branch, resumption(mls.ResumptionReInit)}}, opt: WelcomeOptions{From: me}},
		{name: "continues unasked", want: "continues a group that is not at hand", in: insider{psks: []mls.PreSharedKeyID{branch}}},
		{name: "continues later than at epoch 1", want: "begins at epoch 1", in: insider{psks: []mls.PreSharedKeyID{branch}}, opt: WelcomeOptions{From: me}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kp := fresh()
			c.in.t, c.in.room, c.in.Group, c.in.list = t, r, me, add(kp)
			if c.adds != nil {
				c.in.list = add(c.adds)
			}
			welcome := c.in.invite(kp, c.info, c.secrets)
			if _, err := JoinWelcome(cfg, welcome, kp, nil, c.opt, r.now); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("refused with %v, want: %s", err, c.want)
			}
		})
	}
	kp := fresh()
	in := insider{t: t, room: r, Group: me, list: add(kp)}
	must(JoinWelcome(cfg, in.invite(kp, nil, nil), kp, nil, WelcomeOptions{}, r.now))(t)
}

func TestBrokenGroupInfoIsRefused(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	old := r.groupInfo()
	oldTree := r.follower.Tree().Clone()
	r.fill(4)
	join := func(info *mls.GroupInfo, tree *mls.RatchetTree) error {
		_, _, err := JoinExternal(newConfig(t, r.suite), info, tree, named("new"), ExternalOptions{}, r.now)
		return err
	}
	resign := func(info *mls.GroupInfo) *mls.GroupInfo {
		if err := info.Sign(r.member(info.Signer).cfg.Signer); err != nil {
			t.Fatal(err)
		}
		return info
	}
	for _, c := range []struct {
		name, want string
		edit       func(*mls.GroupInfo) (*mls.GroupInfo, *mls.RatchetTree)
	}{
		{"no group info", "no group info", func(*mls.GroupInfo) (*mls.GroupInfo, *mls.RatchetTree) { return nil, r.follower.Tree() }},
		{"no tree", "no ratchet tree", func(i *mls.GroupInfo) (*mls.GroupInfo, *mls.RatchetTree) { return i, nil }},
		{"an older tree", "tree hash", func(i *mls.GroupInfo) (*mls.GroupInfo, *mls.RatchetTree) {
			i.Signer = 0 // who is in both
			return resign(i), oldTree
		}},
		{"signature", "signature does not verify", func(i *mls.GroupInfo) (*mls.GroupInfo, *mls.RatchetTree) {
			i.Signature[8] ^= 1
			return i, r.follower.Tree()
		}},
		{"signed by another", "signature does not verify", func(i *mls.GroupInfo) (*mls.GroupInfo, *mls.RatchetTree) {
			i.Signer = 0
			return i, r.follower.Tree()
		}},
		{"external key replaced by the server", "signature does not verify", func(i *mls.GroupInfo) (*mls.GroupInfo, *mls.RatchetTree) {
			i.Extensions = mls.Extensions{mls.ExternalPubExtension(must(newKeyPair(r.suite, newConfig(t, r.suite).Rand))(t).public)}
			return i, r.follower.Tree()
		}},
		{"no external key", "no external public key", func(i *mls.GroupInfo) (*mls.GroupInfo, *mls.RatchetTree) {
			i.Extensions = nil
			return resign(i), r.follower.Tree()
		}},
		{"external key of another suite", "member: join:", func(i *mls.GroupInfo) (*mls.GroupInfo, *mls.RatchetTree) {
			i.Extensions = mls.Extensions{mls.ExternalPubExtension(make([]byte, 32))}
			return resign(i), r.follower.Tree()
		}},
		{"another suite", "another cipher suite", func(i *mls.GroupInfo) (*mls.GroupInfo, *mls.RatchetTree) {
			i.GroupContext.CipherSuite = 1
			return resign(i), r.follower.Tree()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := join(c.edit(r.groupInfo())); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("refused with %v, want: %s", err, c.want)
			}
		})
	}
	if err := join(r.groupInfo(), r.follower.Tree().Clone()); err != nil {
		t.Fatal(err)
	}
	// An old state is sound in itself; nobody in the group takes the commit.
	_, commit, err := JoinExternal(newConfig(t, r.suite), old, oldTree, named("late"), ExternalOptions{}, r.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.member(0).Process(commit, r.now); !errors.Is(err, mls.ErrEpoch) {
		t.Fatalf("got %v, want ErrEpoch", err)
	}
}

func TestResumptionSecretsAreBounded(t *testing.T) {
	var s pskStore
	first := bytes.Repeat([]byte{7}, 32)
	s.addResumption([]byte("g"), 0, first)
	kept := s.resumption[0].Secret
	for e := range mls.Epoch(maxResumption) {
		s.addResumption([]byte("g"), e+1, first)
	}
	if len(s.resumption) != maxResumption || s.resumption[0].Epoch != 1 || !bytes.Equal(kept, make([]byte, 32)) {
		t.Fatalf("%d are kept", len(s.resumption))
	}
}

// FuzzJoinWelcome gives the owner of a key package a Welcome whose parts are
// edited: the message, the tree, and what a member can encrypt in it.
func FuzzJoinWelcome(f *testing.F) {
	f.Add([]byte{}, []byte{}, []byte{}, []byte{})
	for i := range byte(4) {
		list := [4][]byte{}
		list[i] = []byte{0, 30, 1}
		f.Add(list[0], list[1], list[2], list[3])
	}
	f.Add([]byte{}, []byte{}, []byte{0, 60, 1, 0, 9, 2}, []byte{})
	type scene struct {
		r   *room
		in  insider
		cfg Config
		kp  *KeyPackageSecrets
	}
	var at *scene
	f.Fuzz(func(t *testing.T, message, tree, info, secrets []byte) {
		fixed(t)
		if at == nil {
			r := newRoom(t, mls.P256AES128SHA256P256)
			r.fill(3)
			r.member(0).SetPSK([]byte("p"), []byte("secret"))
			at = &scene{r: r, cfg: newConfig(t, r.suite)}
			at.kp = must(NewKeyPackage(at.cfg, named("invited"), nil, r.now))(t)
			at.in = insider{room: r, Group: r.member(0), list: []mls.CommittedProposal{
				{Proposal: &mls.Add{KeyPackage: at.kp.Package}, Sender: mls.MemberSender(0)},
				{Proposal: must(r.member(0).NewPSK([]byte("p")))(t), Sender: mls.MemberSender(0)},
			}}
		}
		in := at.in
		in.t = t
		var parsed *mls.RatchetTree
		w := in.invite(at.kp, func(i *mls.GroupInfo) {
			parsed = must(i.Extensions.RatchetTree(at.cfg.Suite))(t)
			if again := edited(&mls.GroupInfo{GroupContext: i.GroupContext, ConfirmationTag: i.ConfirmationTag, Signer: i.Signer}, info); again != nil {
				i.GroupContext, i.ConfirmationTag, i.Signer = again.GroupContext, again.ConfirmationTag, again.Signer
			}
		}, func(s *mls.GroupSecrets) {
			if again := edited(s, secrets); again != nil {
				s.JoinerSecret, s.PathSecret, s.PSKs = again.JoinerSecret, again.PathSecret, again.PSKs
			}
		})
		if w = edited(w, message); w == nil {
			return
		}
		p, err := mls.ParseRatchetTree(at.cfg.Suite, edit(mls.Marshal(parsed), tree))
		if err != nil {
			return
		}
		kp := &KeyPackageSecrets{Package: at.kp.Package, InitKey: bytes.Clone(at.kp.InitKey), EncryptionKey: bytes.Clone(at.kp.EncryptionKey)}
		g, err := JoinWelcome(at.cfg, w, kp, p, WelcomeOptions{PSKs: []PSK{{ID: []byte("p"), Secret: []byte("secret")}}}, at.r.now)
		if err == nil && g.OwnLeaf() != 3 {
			t.Fatalf("joined at leaf %d", g.OwnLeaf())
		}
	})
}

// FuzzJoinExternal gives a joiner an edited GroupInfo, signed again by a member
// so that what lies behind the signature is reached, and an edited tree.
func FuzzJoinExternal(f *testing.F) {
	f.Add([]byte{}, []byte{}, true)
	f.Add([]byte{0, 20, 1}, []byte{}, true)
	f.Add([]byte{}, []byte{0, 99, 1}, true)
	f.Add([]byte{0, 200, 1}, []byte{1, 0, 1}, false)
	var r *room
	var cfg Config
	f.Fuzz(func(t *testing.T, infoEdits, treeEdits []byte, hash bool) {
		fixed(t)
		if r == nil {
			r = newRoom(t, mls.P256AES128SHA256P256)
			r.fill(3)
			cfg = newConfig(t, r.suite)
		}
		r.t = t
		info := edited(r.groupInfo(), infoEdits)
		if info == nil || info.GroupContext.CipherSuite != r.suite {
			return
		}
		tree, err := mls.ParseRatchetTree(r.suite, edit(mls.Marshal(r.follower.Tree()), treeEdits))
		if err != nil {
			return
		}
		if hash {
			info.GroupContext.TreeHash = tree.TreeHash()
		}
		for _, g := range r.members {
			if g.OwnLeaf() == info.Signer {
				if err := info.Sign(g.cfg.Signer); err != nil {
					t.Fatal(err)
				}
			}
		}
		g, _, err := JoinExternal(cfg, info, tree, named("new"), ExternalOptions{}, r.now)
		if err == nil && g.Epoch() != info.GroupContext.Epoch+1 {
			t.Fatal("joined another epoch")
		}
	})
}
