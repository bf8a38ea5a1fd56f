package member_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"conclave/mls"
	"conclave/mls/member"
)

// guests knows who may be in the group. The names are taken on trust here: see
// package mls for a verifier that knows everybody's key.
type guests map[string]bool

func (g guests) VerifyLeaf(c mls.LeafCheck) error {
	if !g[string(c.Leaf.Credential.Identity)] {
		return errors.New("not a guest")
	}
	return nil
}

func (g guests) VerifyExternalSender(*mls.ExternalSender, *mls.GroupContext, time.Time) error {
	return errors.New("no external senders here")
}

func (g guests) Client(l *mls.LeafNode) string { return string(l.Credential.Identity) }

// now is the time of the examples.
var now = time.Now()

// newGuest makes a signature key for a guest of the examples.
func newGuest(suite mls.CipherSuite, name string) (member.Config, member.Leaf) {
	key, err := suite.GenerateSignatureKey(rand.Reader)
	check(err)
	signer, err := mls.NewSigner(suite, key)
	check(err)
	return member.Config{Suite: suite, Signer: signer, Verifier: guests{"alice": true, "bob": true}, Rand: rand.Reader},
		member.Leaf{Credential: mls.BasicCredential([]byte(name))}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// two is a group of alice and bob, who joined by himself.
func two(suite mls.CipherSuite) (alice, bob *member.Group) {
	config, leaf := newGuest(suite, "alice")
	alice, err := member.Create(config, []byte("a group"), nil, leaf, now)
	check(err)
	published, err := alice.GroupInfo(true)
	check(err)
	info, err := mls.ReadGroupInfo(published)
	check(err)
	config, leaf = newGuest(suite, "bob")
	bob, commit, err := member.JoinExternal(config, info, nil, leaf, member.ExternalOptions{}, now)
	check(err)
	follow(alice, commit)
	return alice, bob
}

// follow processes a commit that the delivery service has ordered.
func follow(g *member.Group, commit []byte) {
	p, err := g.Process(commit, now)
	check(err)
	check(g.Merge(p.Commit))
}

func agree(a, b *member.Group) bool {
	return bytes.Equal(a.EpochAuthenticator(), b.EpochAuthenticator())
}

// Alice founds a group, Bob joins it by himself, and both have the same keys.
func Example() {
	suite := mls.MLKEM768P256
	config, leaf := newGuest(suite, "alice")
	alice, err := member.Create(config, []byte("a group"), nil, leaf, now)
	check(err)
	published, err := alice.GroupInfo(true)
	check(err)

	info, err := mls.ReadGroupInfo(published)
	check(err)
	config, leaf = newGuest(suite, "bob")
	bob, commit, err := member.JoinExternal(config, info, nil, leaf, member.ExternalOptions{}, now)
	check(err)

	processed, err := alice.Process(commit, now)
	check(err)
	fmt.Println("joined at leaf", processed.Commit.Change().Committer)
	check(alice.Merge(processed.Commit))
	a, err := alice.Export("frames", nil, 32)
	check(err)
	b, err := bob.Export("frames", nil, 32)
	check(err)
	fmt.Println("epoch", bob.Epoch(), "same keys:", bytes.Equal(a, b))

	// Mallory is none of the guests: whatever she sends, Alice refuses.
	published, err = alice.GroupInfo(true)
	check(err)
	info, err = mls.ReadGroupInfo(published)
	check(err)
	config, leaf = newGuest(suite, "mallory")
	_, commit, err = member.JoinExternal(config, info, nil, leaf, member.ExternalOptions{}, now)
	check(err)
	_, err = alice.Process(commit, now)
	fmt.Println(err)
	// Output:
	// joined at leaf 1
	// epoch 1 same keys: true
	// member: mls: verify leaf: not a guest
}

// Bob publishes a key package; Alice adds him, and sends him the Welcome once
// her commit is ordered.
func ExampleJoinWelcome() {
	suite := mls.MLKEM768P256
	config, leaf := newGuest(suite, "alice")
	alice, err := member.Create(config, []byte("a group"), nil, leaf, now)
	check(err)

	config, leaf = newGuest(suite, "bob")
	secrets, err := member.NewKeyPackage(config, leaf, nil, now)
	check(err)
	published := mls.Marshal(&mls.Message{KeyPackage: secrets.Package})

	kp, err := mls.ReadKeyPackage(published)
	check(err)
	staged, err := alice.Commit(member.CommitOptions{Proposals: []mls.Proposal{&mls.Add{KeyPackage: kp}}, WelcomeTree: true}, now)
	check(err)
	check(alice.Merge(staged)) // the delivery service has taken staged.Message()

	welcome, err := mls.ReadWelcome(staged.Welcome())
	check(err)
	bob, err := member.JoinWelcome(config, welcome, secrets, nil, member.WelcomeOptions{}, now)
	check(err)
	fmt.Println("leaf", bob.OwnLeaf(), "epoch", bob.Epoch(), "same epoch:", agree(alice, bob))

	// The key package has served.
	_, err = member.JoinWelcome(config, welcome, secrets, nil, member.WelcomeOptions{}, now)
	fmt.Println("again:", err != nil)
	// Output:
	// leaf 1 epoch 1 same epoch: true
	// again: true
}

// A secret that both agreed on elsewhere enters the next epoch: who does not
// know it cannot follow.
func ExampleGroup_SetPSK() {
	alice, bob := two(mls.MLKEM768P256)
	alice.SetPSK([]byte("password"), []byte("correct horse battery staple"))
	proposal, err := alice.NewPSK([]byte("password"))
	check(err)
	staged, err := alice.Commit(member.CommitOptions{Proposals: []mls.Proposal{proposal}}, now)
	check(err)

	_, err = bob.Process(staged.Message(), now)
	fmt.Println(errors.Is(err, member.ErrUnknownPSK))
	bob.SetPSK([]byte("password"), []byte("incorrect"))
	_, err = bob.Process(staged.Message(), now)
	fmt.Println(err)
	bob.SetPSK([]byte("password"), []byte("correct horse battery staple"))
	follow(bob, staged.Message())
	check(alice.Merge(staged))
	fmt.Println("same epoch:", agree(alice, bob))
	// Output:
	// true
	// member: confirmation tag does not verify
	// same epoch: true
}

// The group closes, and opens again under another cipher suite: every member
// of the old one is in the new one, and nobody else.
func ExampleGroup_Reinit() {
	alice, bob := two(mls.P256AES128SHA256P256)
	plan := &mls.ReInit{GroupID: mls.GroupID("next"), Version: mls.MLS10, CipherSuite: mls.MLKEM768P256}
	staged, err := alice.Commit(member.CommitOptions{Proposals: []mls.Proposal{plan}}, now)
	check(err)
	follow(bob, staged.Message())
	check(alice.Merge(staged))
	fmt.Println("closed:", alice.Closed(), bob.Closed())

	bobConfig, bobLeaf := newGuest(mls.MLKEM768P256, "bob")
	secrets, err := member.NewKeyPackage(bobConfig, bobLeaf, nil, now)
	check(err)
	aliceConfig, aliceLeaf := newGuest(mls.MLKEM768P256, "alice")
	next, message, err := alice.Reinit(aliceConfig, member.SuccessorOptions{
		Leaf: aliceLeaf, KeyPackages: []*mls.KeyPackage{secrets.Package}, WelcomeTree: true,
	}, now)
	check(err)
	welcome, err := mls.ReadWelcome(message)
	check(err)
	joined, err := member.JoinWelcome(bobConfig, welcome, secrets, nil, member.WelcomeOptions{From: bob}, now)
	check(err)
	fmt.Println(string(joined.GroupID()), "same epoch:", agree(next, joined))
	alice.Wipe()
	bob.Wipe()
	// Output:
	// closed: true true
	// next same epoch: true
}

// Some members of a group open one of their own, which nobody else can have
// set up: it is bound to the old group's secrets.
func ExampleGroup_Branch() {
	suite := mls.MLKEM768P256
	alice, bob := two(suite)
	bobConfig, bobLeaf := newGuest(suite, "bob")
	secrets, err := member.NewKeyPackage(bobConfig, bobLeaf, nil, now)
	check(err)
	aliceConfig, aliceLeaf := newGuest(suite, "alice")
	side, message, err := alice.Branch(aliceConfig, member.SuccessorOptions{
		GroupID: []byte("side room"), Leaf: aliceLeaf, KeyPackages: []*mls.KeyPackage{secrets.Package}, WelcomeTree: true,
	}, now)
	check(err)
	welcome, err := mls.ReadWelcome(message)
	check(err)
	_, err = member.JoinWelcome(bobConfig, welcome, secrets, nil, member.WelcomeOptions{}, now)
	fmt.Println(err)
	joined, err := member.JoinWelcome(bobConfig, welcome, secrets, nil, member.WelcomeOptions{From: bob}, now)
	check(err)
	fmt.Println(string(joined.GroupID()), "same epoch:", agree(side, joined))
	// Output:
	// member: welcome: continues a group that is not at hand
	// side room same epoch: true
}

// A snapshot holds all secrets: whoever stores it encrypts it. What comes out of
// it may receive at once, and sends after its own commit.
func ExampleRestore() {
	alice, bob := two(mls.MLKEM768P256)
	config, _ := newGuest(mls.MLKEM768P256, "carol")
	_, err := member.Restore(config, []byte("no snapshot"))
	fmt.Println("another signer's:", err != nil)

	var snapshot member.Snapshot
	check(bob.Save(&snapshot))
	again, err := member.Restore(bob.Config(), snapshot.Bytes())
	check(err)
	snapshot.Wipe()
	bob.Wipe()

	message, err := alice.Protect([]byte("hello"), nil)
	check(err)
	received, err := again.Process(message, now)
	check(err)
	fmt.Println(string(received.Application))
	_, err = again.Export("frames", nil, 32)
	fmt.Println(errors.Is(err, member.ErrRestored))

	staged, err := again.Commit(member.CommitOptions{}, now)
	check(err)
	follow(alice, staged.Message())
	check(again.Merge(staged))
	_, err = again.Export("frames", nil, 32)
	fmt.Println(err, "same epoch:", agree(alice, again))
	// Output:
	// another signer's: true
	// hello
	// true
	// <nil> same epoch: true
}

// Application data is encrypted and signed. A message opens once.
func ExampleGroup_Protect() {
	alice, bob := two(mls.MLKEM768P256)
	message, err := alice.Protect([]byte("hello"), []byte("seen by the server"))
	check(err)
	received, err := bob.Process(message, now)
	check(err)
	fmt.Printf("%s, from leaf %d, with %q\n", received.Application, received.Sender.Leaf, received.AuthenticatedData)
	_, err = bob.Process(message, now)
	fmt.Println(errors.Is(err, member.ErrReplay))
	// Output:
	// hello, from leaf 0, with "seen by the server"
	// true
}
