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

// staff is an authentication service that lets in whom it knows by name and key.
type staff map[string]string

func (s staff) VerifyLeaf(c mls.LeafCheck) error {
	if s[string(c.Leaf.SignatureKey)] == "" || s[string(c.Leaf.SignatureKey)] != string(c.Leaf.Credential.Identity) {
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

// groupInfo takes a GroupInfo out of its envelope.
func groupInfo(message []byte) *mls.GroupInfo {
	var m mls.Message
	check(mls.Unmarshal(message, &m))
	return m.GroupInfo
}

// The example of the README: Alice founds a group, a server follows it, Bob joins by himself and Alice removes him.
func Example() {
	now, trusted := time.Now(), staff{}

	// Alice founds a group and tells the server, which checks all it can see and holds no secret.
	aliceConfig, aliceLeaf := trusted.newMember("Alice")
	alice, err := member.Create(aliceConfig, []byte("group"), nil, aliceLeaf, now)
	check(err)
	info, err := alice.GroupInfo(false, now)
	check(err)
	server, err := mls.NewFollower(groupInfo(info), alice.Tree().Clone(), mls.NewRules(mls.Config{Verifier: trusted}), now)
	check(err)

	// Bob joins by an external commit; the server orders it, Alice processes it.
	bobConfig, bobLeaf := trusted.newMember("Bob")
	bob, commit, err := member.JoinExternal(bobConfig, groupInfo(info), server.Tree().Clone(), bobLeaf, member.ExternalOptions{}, now)
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

func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "func Example() {\n")
	body, _, _ = strings.Cut(body, "\t// Output:")
	for line := range strings.Lines(body) {
		if !strings.Contains(string(readme), strings.TrimPrefix(line, "\t")) {
			t.Errorf("README.md lacks: %s", line)
		}
	}
}
