package certificate

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"conclave/mls"
)

// Verifier is an mls.Verifier for groups whose members all have certificates of one Authority. It can be shared by
// goroutines.
type Verifier struct {
	authority *Authority
	subject   func(*x509.Certificate) (string, error)
	sender    func(*x509.Certificate) error

	mu    sync.Mutex                   // guards names
	names map[[sha256.Size]byte]string // by certificate
}

// maxNames bounds the names that are kept, some megabytes; beyond it they are read again.
const maxNames = 1 << 14

// NewVerifier returns a Verifier that takes who has a certificate of authority, if subject finds whom it names. What
// subject returns is the client: nobody is in a group twice under it, and only under it may a certificate take the place
// of another, e.g. a renewed one. It returns an error for those that may not be in the group, and must not return the
// empty string. It must depend on the certificate alone.
//
// sender tells which certificates external senders may have; nil is none.
func NewVerifier(authority *Authority, subject func(*x509.Certificate) (string, error), sender func(*x509.Certificate) error) *Verifier {
	if authority == nil || subject == nil {
		panic("certificate: verifier without authority or subject")
	}
	return &Verifier{authority: authority, subject: subject, sender: sender, names: map[[sha256.Size]byte]string{}}
}

// VerifyLeaf implements mls.Verifier.
func (v *Verifier) VerifyLeaf(c mls.LeafCheck) error {
	end, err := v.authority.Verify(c.Leaf, c.Now)
	if err != nil {
		return err
	}
	name, err := v.subject(end)
	if err != nil {
		return fmt.Errorf("certificate: subject: %w", err)
	}
	if name == "" {
		return errors.New("certificate: subject has no name")
	}
	return nil
}

// VerifyExternalSender implements mls.Verifier.
func (v *Verifier) VerifyExternalSender(s *mls.ExternalSender, _ *mls.GroupContext, now time.Time) error {
	if v.sender == nil {
		return errors.New("certificate: nobody sends from outside of the group")
	}
	end, err := v.authority.Verify(&mls.LeafNode{SignatureKey: s.SignatureKey, Credential: s.Credential}, now)
	if err != nil {
		return err
	}
	if err := v.sender(end); err != nil {
		return fmt.Errorf("certificate: external sender: %w", err)
	}
	return nil
}

// Client implements mls.Verifier. It verifies nothing; the name of a leaf without a readable certificate, which
// VerifyLeaf refuses, is empty.
func (v *Verifier) Client(leaf *mls.LeafNode) string {
	if leaf.Credential.Type != mls.CredentialX509 || len(leaf.Credential.Certificates) == 0 {
		return ""
	}
	der := leaf.Credential.Certificates[0]
	at := sha256.Sum256(der)
	v.mu.Lock()
	name, known := v.names[at]
	v.mu.Unlock()
	if known {
		return name
	}
	if end, err := x509.ParseCertificate(der); err == nil {
		if name, err = v.subject(end); err != nil {
			name = ""
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.names) >= maxNames {
		clear(v.names)
	}
	v.names[at] = name
	return name
}
