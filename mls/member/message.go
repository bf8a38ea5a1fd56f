package member

import (
	"errors"
	"fmt"
	"io"

	"conclave/mls"
)

// sealPublic frames signed content of a member as a PublicMessage with its
// membership tag (RFC 9420, Section 6.2).
func sealPublic(suite mls.CipherSuite, membershipKey []byte, ctx *mls.GroupContext, a *mls.AuthenticatedContent) (*mls.PublicMessage, error) {
	if a.Content.ContentType == mls.ContentApplication {
		return nil, errors.New("member: application data is never sent in the clear")
	}
	m := &mls.PublicMessage{Content: a.Content, Auth: a.Auth}
	if a.Content.Sender.Type == mls.SenderMember {
		m.MembershipTag = suite.MAC(membershipKey, a.TBM(ctx))
	}
	return m, nil
}

// openPublic checks the membership tag of a member's PublicMessage. It does
// not check the signature.
func openPublic(suite mls.CipherSuite, membershipKey []byte, ctx *mls.GroupContext, m *mls.PublicMessage) (*mls.AuthenticatedContent, error) {
	if m.Content.ContentType == mls.ContentApplication {
		return nil, errors.New("member: application data in the clear")
	}
	a := m.Authenticated()
	if m.Content.Sender.Type == mls.SenderMember && !suite.VerifyMAC(membershipKey, a.TBM(ctx), m.MembershipTag) {
		return nil, errors.New("member: membership tag does not verify")
	}
	return a, nil
}

// privateKeys is what protects the PrivateMessages of an epoch.
type privateKeys struct {
	_          [0]func()
	suite      mls.CipherSuite
	senderData []byte
	tree       *secretTree
}

// ratchet returns the ratchet that protects a content type for a leaf.
func (k *privateKeys) ratchet(leaf mls.LeafIndex, t mls.ContentType) (*ratchet, error) {
	l, err := k.tree.leaf(leaf)
	if err != nil {
		return nil, err
	}
	if t == mls.ContentApplication {
		return &l.application, nil
	}
	return &l.handshake, nil
}

// senderDataKey derives the key and nonce that hide the sender of a message
// from a sample of its ciphertext (Section 6.3.2).
func (k *privateKeys) senderDataKey(ciphertext []byte) (key, nonce []byte) {
	sample := ciphertext[:min(len(ciphertext), k.suite.HashSize())]
	return k.suite.ExpandWithLabel(k.senderData, "key", sample, k.suite.KeySize()),
		k.suite.ExpandWithLabel(k.senderData, "nonce", sample, k.suite.NonceSize())
}

// seal encrypts signed content of a member (Section 6.3). padTo rounds the
// plaintext up to a multiple of padTo bytes; 0 or 1 pads nothing.
func (k *privateKeys) seal(rand io.Reader, a *mls.AuthenticatedContent, padTo int) (*mls.PrivateMessage, error) {
	data := mls.SenderData{Leaf: a.Content.Sender.Leaf}
	if _, err := io.ReadFull(rand, data.ReuseGuard[:]); err != nil {
		return nil, fmt.Errorf("member: reuse guard: %w", err)
	}
	r, err := k.ratchet(data.Leaf, a.Content.ContentType)
	if err != nil {
		return nil, err
	}
	one, err := r.take(k.suite)
	if err != nil {
		return nil, err
	}
	defer one.wipe()
	data.Generation = one.generation
	guard(one.nonce, data.ReuseGuard)
	plaintext := a.PrivateContent(0)
	if padTo > 1 {
		if over := len(plaintext) % padTo; over != 0 {
			plaintext = append(plaintext, make([]byte, padTo-over)...)
		}
	}
	m := &mls.PrivateMessage{
		GroupID:           a.Content.GroupID,
		Epoch:             a.Content.Epoch,
		ContentType:       a.Content.ContentType,
		AuthenticatedData: a.Content.AuthenticatedData,
	}
	if m.Ciphertext, err = k.suite.Seal(one.key, one.nonce, m.ContentAAD(), plaintext); err != nil {
		return nil, fmt.Errorf("member: seal: %v", err)
	}
	key, nonce := k.senderDataKey(m.Ciphertext)
	defer wipe(key)
	if m.EncryptedSenderData, err = k.suite.Seal(key, nonce, m.SenderDataAAD(), mls.Marshal(data)); err != nil {
		return nil, fmt.Errorf("member: seal sender data: %v", err)
	}
	return m, nil
}

// open decrypts m and hands the content to check, which verifies sender and
// signature. The message key is spent only if check agrees.
func (k *privateKeys) open(m *mls.PrivateMessage, own mls.LeafIndex, check func(*mls.AuthenticatedContent) error) error {
	key, nonce := k.senderDataKey(m.Ciphertext)
	defer wipe(key)
	b, err := k.suite.Open(key, nonce, m.SenderDataAAD(), m.EncryptedSenderData)
	if err != nil {
		return errors.New("member: sender data does not open")
	}
	r := mls.NewReader(b)
	var data mls.SenderData
	data.UnmarshalMLS(r)
	if err := r.Finish(); err != nil {
		return fmt.Errorf("member: sender data: %v", err)
	}
	if data.Leaf == own {
		return ErrOwnMessage
	}
	ratchet, err := k.ratchet(data.Leaf, m.ContentType)
	if err != nil {
		return err
	}
	return ratchet.open(k.suite, data.Generation, func(key, nonce []byte) error {
		nonce = append([]byte(nil), nonce...)
		guard(nonce, data.ReuseGuard)
		plaintext, err := k.suite.Open(key, nonce, m.ContentAAD(), m.Ciphertext)
		if err != nil {
			return errors.New("member: message does not open")
		}
		a := &mls.AuthenticatedContent{
			WireFormat: mls.WirePrivateMessage,
			Content: mls.FramedContent{
				GroupID:           m.GroupID,
				Epoch:             m.Epoch,
				Sender:            mls.MemberSender(data.Leaf),
				AuthenticatedData: m.AuthenticatedData,
				ContentType:       m.ContentType,
			},
		}
		if err := a.ReadPrivateContent(plaintext); err != nil {
			return fmt.Errorf("member: %v", err)
		}
		return check(a)
	})
}

func (k *privateKeys) wipe() {
	if k == nil {
		return
	}
	wipe(k.senderData)
	k.tree.wipe()
}

// guard keeps two messages from sharing a nonce after a sender's state was
// rolled back (Section 6.3.1).
func guard(nonce []byte, reuse [4]byte) {
	for i := range reuse {
		nonce[i] ^= reuse[i]
	}
}
