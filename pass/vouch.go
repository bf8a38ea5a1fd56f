package pass

import (
	"crypto/ed25519"
	"crypto/sha256"

	"conclave"
)

// A device statement is vouched for by the person's passkey before the enrolment key signs it: the challenge of the
// passkey's assertion is the hash of the statement's content, so that what was touched is this key, of this person, until
// then.

// vouchLabel keeps the challenge from being one for anything else.
const vouchLabel = "Conclave vouch 1\x00"

// Content returns what a signature of s by the enrolment key whose public half is key will cover: all of the encoding but
// the signature. It sets Signer. It fails if a field breaks its limits.
func (s *Statement) Content(key ed25519.PublicKey) ([]byte, error) {
	s.NotBefore, s.NotAfter = whole(s.NotBefore), whole(s.NotAfter)
	s.Signer = KeyIDOf(key)
	return s.content()
}

// ParseStatementContent decodes what Content returns; nobody has signed it. Errors hold a conclave.Problem (errors.As).
func ParseStatementContent(content []byte) (*Statement, error) {
	if len(content) > MaxSize-ed25519.SignatureSize {
		return nil, malformed("statement", errShape)
	}
	s, err := ParseStatement(append(append([]byte(nil), content...), make([]byte, ed25519.SignatureSize)...))
	if err != nil {
		return nil, err
	}
	s.Signature = nil
	return s, nil
}

// VouchChallenge returns the challenge of the assertion that vouches for a statement of this content.
func VouchChallenge(content []byte) [sha256.Size]byte {
	return sha256.Sum256(labelled(vouchLabel, content))
}

// Vouched decodes the content of a statement that a device is about to have vouched for, and checks that it names the
// device's own key: what a person touches for is not another's.
func Vouched(content, leafKey []byte) (*Statement, error) {
	s, err := ParseStatementContent(content)
	if err != nil {
		return nil, err
	}
	if s.Device() != conclave.DeviceOf(leafKey) {
		return nil, problem("statement_key")
	}
	return s, nil
}
