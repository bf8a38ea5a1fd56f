package mls_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"conclave/mls"
	"conclave/mls/member"
)

// staff is the authentication service: it knows everybody's name by signature key.
type staff map[string]string

// VerifyLeaf is asked for every leaf, whenever it is new to somebody. That a new leaf stands for the Client of the one it
// replaces is made sure of already.
func (s staff) VerifyLeaf(c mls.LeafCheck) error {
	name, ok := s[string(c.Leaf.SignatureKey)]
	if !ok || c.Leaf.Credential.Type != mls.CredentialBasic || name != string(c.Leaf.Credential.Identity) {
		return errors.New("not one of us")
	}
	return nil
}

func (s staff) VerifyExternalSender(*mls.ExternalSender, *mls.GroupContext, time.Time) error {
	return errors.New("nobody sends from outside")
}

func (s staff) Client(leaf *mls.LeafNode) string { return string(leaf.Credential.Identity) }

// newMember makes a key for somebody and makes him known.
func (s staff) newMember(name string) (member.Config, member.Leaf) {
	key, err := mls.MLKEM768P256.GenerateSignatureKey(rand.Reader)
	check(err)
	signer, err := mls.NewSigner(mls.MLKEM768P256, key)
	check(err)
	s[string(signer.Public())] = name
	return member.Config{Suite: mls.MLKEM768P256, Signer: signer, Verifier: s, Rand: rand.Reader},
		member.Leaf{Credential: mls.BasicCredential([]byte(name))}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// The example of the README: Alice founds a group, a server follows it, Bob joins by himself and Alice removes him.
func Example() {
	now, trusted := time.Now(), staff{}

	// Alice founds a group and tells the server, which checks all it can see and holds no secret.
	aliceConfig, aliceLeaf := trusted.newMember("Alice")
	alice, err := member.Create(aliceConfig, []byte("group"), nil, aliceLeaf, now)
	check(err)
	published, err := alice.GroupInfo(false)
	check(err)
	info, err := mls.ReadGroupInfo(published)
	check(err)
	server, err := mls.NewFollower(info, alice.Tree().Clone(), mls.NewRules(mls.Config{Verifier: trusted}), now)
	check(err)

	// Bob joins by an external commit; the server orders it, Alice processes it.
	bobConfig, bobLeaf := trusted.newMember("Bob")
	bob, commit, err := member.JoinExternal(bobConfig, info, server.Tree().Clone(), bobLeaf, member.ExternalOptions{}, now)
	check(err)
	change, err := server.Process(commit, now)
	check(err)
	fmt.Println("joined at leaf", change.Committer, "in epoch", change.Epoch)
	received, err := alice.Process(commit, now)
	check(err)
	check(alice.Merge(received.Commit))
	fmt.Println("same epoch:", bytes.Equal(alice.EpochAuthenticator(), bob.EpochAuthenticator()))

	// Both export the same key, which the server cannot.
	a, err := alice.Export("my application", nil, 32)
	check(err)
	b, err := bob.Export("my application", nil, 32)
	check(err)
	fmt.Println("same key:", bytes.Equal(a, b))

	// Alice removes Bob; her group moves on once the server has taken the commit.
	staged, err := alice.Commit(member.CommitOptions{Proposals: []mls.Proposal{&mls.Remove{Removed: bob.OwnLeaf()}}}, now)
	check(err)
	change, err = server.Process(staged.Message(), now)
	check(err)
	check(alice.Merge(staged))
	fmt.Println("removed:", change.Removed, "members:", len(server.Leaves()))
	// Output:
	// joined at leaf 1 in epoch 1
	// same epoch: true
	// same key: true
	// removed: [1] members: 1
}

// office is staff that lets the server propose what it may.
type office struct {
	staff
	server mls.SignatureKey
}

func (o office) VerifyExternalSender(s *mls.ExternalSender, _ *mls.GroupContext, _ time.Time) error {
	if !bytes.Equal(s.SignatureKey, o.server) {
		return errors.New("not our server")
	}
	return nil
}

// A server that stands in the group's external_senders proposes removals. It cannot carry them out: a member commits them.
func ExampleFollower_ExternalRemove() {
	now, trusted := time.Now(), office{staff: staff{}}
	key, err := mls.MLKEM768P256.GenerateSignatureKey(rand.Reader)
	check(err)
	server, err := mls.NewSigner(mls.MLKEM768P256, key)
	check(err)
	trusted.server = server.Public()

	config, leaf := trusted.newMember("Alice")
	config.Verifier = trusted
	senders := mls.ExternalSendersExtension([]mls.ExternalSender{
		{SignatureKey: server.Public(), Credential: mls.BasicCredential([]byte("server"))},
	})
	alice, err := member.Create(config, []byte("group"), []mls.Extension{senders}, leaf, now)
	check(err)
	published, err := alice.GroupInfo(true)
	check(err)
	info, err := mls.ReadGroupInfo(published)
	check(err)
	follower, err := mls.NewFollower(info, alice.Tree().Clone(), mls.NewRules(mls.Config{Verifier: trusted}), now)
	check(err)
	config, leaf = trusted.newMember("Bob")
	config.Verifier = trusted
	bob, commit, err := member.JoinExternal(config, info, nil, leaf, member.ExternalOptions{}, now)
	check(err)
	received, err := alice.Process(commit, now)
	check(err)
	check(alice.Merge(received.Commit))
	_, err = follower.Process(commit, now)
	check(err)

	proposal, err := follower.ExternalRemove(server, 0, bob.OwnLeaf())
	check(err)
	_, err = follower.Process(proposal, now)
	check(err)
	received, err = alice.Process(proposal, now)
	check(err)
	fmt.Println("by the external sender:", received.Sender.Type == mls.SenderExternal)
	staged, err := alice.Commit(member.CommitOptions{}, now)
	check(err)
	change, err := follower.Process(staged.Message(), now)
	check(err)
	check(alice.Merge(staged))
	fmt.Println("removed:", change.Removed, "members:", len(follower.Leaves()))
	// Output:
	// by the external sender: true
	// removed: [1] members: 1
}

func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, verifier, _ := strings.Cut(string(source), "// staff is")
	verifier, _, _ = strings.Cut("// staff is"+verifier, "// The example of the README")
	_, body, _ := strings.Cut(string(source), "func Example() {\n")
	body, _, _ = strings.Cut(body, "\t// Output:")
	for _, part := range []string{verifier, body} {
		shown := ""
		for line := range strings.Lines(part) {
			if part == body {
				line = strings.TrimPrefix(line, "\t")
			}
			shown += line
		}
		if !strings.Contains(string(readme), "```go\n"+strings.TrimRight(shown, "\n")+"\n```") {
			t.Errorf("README.md does not show:\n%s", shown)
		}
	}
}
