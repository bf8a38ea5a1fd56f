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

// guests knows who may be in the group.
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

// Alice founds a group, Bob joins it by himself, and both have the same keys.
func Example() {
	suite, now := mls.MLKEM768P256, time.Now()
	config := func() member.Config {
		key, _ := suite.GenerateSignatureKey(rand.Reader)
		signer, _ := mls.NewSigner(suite, key)
		return member.Config{Suite: suite, Signer: signer, Verifier: guests{"alice": true, "bob": true}, Rand: rand.Reader}
	}
	leaf := func(name string) member.Leaf {
		return member.Leaf{Credential: mls.BasicCredential([]byte(name))}
	}

	alice, err := member.Create(config(), []byte("a group"), nil, leaf("alice"), now)
	if err != nil {
		fmt.Println(err)
		return
	}
	published, _ := alice.GroupInfo(true, now)

	var m mls.Message
	_ = mls.Unmarshal(published, &m)
	bob, commit, err := member.JoinExternal(config(), m.GroupInfo, nil, leaf("bob"), member.ExternalOptions{}, now)
	if err != nil {
		fmt.Println(err)
		return
	}

	processed, err := alice.Process(commit, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("joined at leaf", processed.Commit.Change().Committer)
	if err := alice.Merge(processed.Commit); err != nil {
		fmt.Println(err)
		return
	}
	a, _ := alice.Export("frames", nil, 32)
	b, _ := bob.Export("frames", nil, 32)
	fmt.Println("epoch", bob.Epoch(), "same keys:", bytes.Equal(a, b))

	// Mallory is none of the guests: whatever she sends, Alice refuses.
	published, _ = alice.GroupInfo(true, now)
	_ = mls.Unmarshal(published, &m)
	_, commit, _ = member.JoinExternal(config(), m.GroupInfo, nil, leaf("mallory"), member.ExternalOptions{}, now)
	_, err = alice.Process(commit, now)
	fmt.Println(err)
	// Output:
	// joined at leaf 1
	// epoch 1 same keys: true
	// member: mls: verify leaf: not a guest
}
