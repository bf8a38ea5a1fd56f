// Package pass holds what an organisation signs so that a leg may hold a room's keys, and the rules that every member
// applies to it: grants (the root key vouches for working keys), device statements (the enrolment key vouches for a
// device), and passes (the admission key lets one device into one meeting for minutes). A member that finds anything
// wrong refuses the commit, whatever the server says.
//
// The package signs and verifies; it knows no clock, no network and no X.509, and is small enough for a browser.
// It does not decide who gets a pass (package admission), nor keep keys (package identity).
//
// Encodings are deterministic: one version octet, fields in the order of the types below, and the signature last. Texts and
// keys stand behind their length in one octet, times are seconds since 1970 in eight, levels and the like take one, ids,
// hashes and signatures (64) have fixed sizes. A signature covers a label of its own kind and all before it, so that nothing
// signed in one place means anything in another.
package pass

import (
	"crypto/ed25519"
	"crypto/sha256"
	"time"

	"conclave"
)

// Numbers from the private-use range of RFC 9420, Section 17.3, for what Conclave adds to an MLS group.
const (
	// ExtensionMeeting is the GroupContext extension that carries an encoded MeetingContext.
	ExtensionMeeting = 0xF0C1
	// ExtensionPass is the LeafNode extension that carries an encoded Pass.
	ExtensionPass = 0xF0C2
	// ExtensionLogProof is the LeafNode extension that proves that the leaf's statement stands in the device log: the
	// proof in the text form of C2SP tlog-proof.
	ExtensionLogProof = 0xF0C3
)

// ExternalSenderIdentity is the identity in the basic credential of the group's only external sender: the removal key.
const ExternalSenderIdentity = "conclave-removal"

// Limits on what is signed. A verifier refuses what exceeds them even under a good signature.
const (
	// MaxSize bounds every encoding of this package, in bytes; no valid one comes near it.
	MaxSize = 2 << 10
	// MaxGrantLife leaves room for a yearly rotation with an overlap.
	MaxGrantLife = 400 * 24 * time.Hour
	// MaxStatementLife is how long a lost device can at most go unnoticed.
	MaxStatementLife = 7 * 24 * time.Hour
	// MaxPassLife is how long a ruling can at most outlive its reasons when the server stays silent.
	MaxPassLife = 5 * time.Minute
	// MaxSkew is how far ahead of the verifier's clock the start of a validity may lie. The end has no such tolerance:
	// accepting something early is harmless, accepting it late is not.
	MaxSkew = 2 * time.Minute
)

// Role is what a key of the organisation is good for.
type Role uint8

// The roles that a root key grants.
const (
	RoleEnrolment     Role = iota + 1 // Ed25519; signs device statements
	RoleAdmission                     // Ed25519; signs passes
	RoleRemoval                       // P-256; the MLS external sender, proposes removals
	RoleLog                           // Ed25519; signs checkpoints of logs
	RoleInvestigation                 // SHA-256 of the HPKE public key that ledgers and marks are sealed to (package escrow)
)

// String returns the role's name.
func (r Role) String() string {
	switch r {
	case RoleEnrolment:
		return "enrolment"
	case RoleAdmission:
		return "admission"
	case RoleRemoval:
		return "removal"
	case RoleLog:
		return "log"
	case RoleInvestigation:
		return "investigation"
	}
	return "invalid"
}

// KeyID is the first 8 bytes of SHA-256 over a public key: a hint at which grant to verify with. It proves nothing.
type KeyID [8]byte

// KeyIDOf returns the hint at key.
func KeyIDOf(key []byte) KeyID {
	sum := sha256.Sum256(key)
	return KeyID(sum[:8])
}

// Grant is the root key's word that another key has a role.
type Grant struct {
	Organisation conclave.OrganisationID
	Role         Role
	Key          []byte // 32 bytes, or for RoleRemoval an uncompressed P-256 point (65 bytes)
	NotBefore    time.Time
	NotAfter     time.Time // at most MaxGrantLife after NotBefore
	Signature    []byte    // by the root key
}

// Kind says what a statement speaks of. Whoever reads a roster sees it: a guest or a phone is never taken for a colleague.
type Kind uint8

// The kinds of statements.
const (
	KindDevice  Kind = iota // a person's enrolled device
	KindGuest               // a guest's, by a one-time personal invitation to one meeting
	KindPhone               // one phone call, brought by Gateway, which hears the room while the call is in
	KindGateway             // the phone gateway itself: it is never a leg
)

// String returns the kind's word.
func (k Kind) String() string {
	switch k {
	case KindDevice:
		return "device"
	case KindGuest:
		return "guest"
	case KindPhone:
		return "phone"
	case KindGateway:
		return "gateway"
	}
	return "invalid"
}

// Statement is the enrolment key's word on a device: whose it is, and by which key it is known. Encoded, it is the
// identity in the basic credential of the device's leaves.
type Statement struct {
	Organisation conclave.OrganisationID
	Person       conclave.PersonID
	Name         string // shown to others: 1 to 128 bytes of UTF-8 without control characters
	Unit         string // shown beside the name; at most 128 bytes, may be empty
	LeafKey      []byte // uncompressed P-256 point, 65 bytes
	Assurance    conclave.Assurance
	Kind         Kind
	Gateway      conclave.DeviceID // of KindPhone: the gateway that brings the leg; zero otherwise
	NotBefore    time.Time
	NotAfter     time.Time // at most MaxStatementLife after NotBefore
	Signer       KeyID     // of the enrolment key; set by SignStatement
	Signature    []byte
}

// Device returns the id of the device that the statement is about.
func (s *Statement) Device() conclave.DeviceID { return conclave.DeviceOf(s.LeafKey) }

// Pass is the admission key's word that a device may hold keys of a meeting.
type Pass struct {
	Organisation conclave.OrganisationID
	Meeting      conclave.MeetingID
	Device       conclave.DeviceID
	Level        conclave.Level // of the meeting
	Grade        conclave.Grade // of the leg's line, as ruled
	PolicyHash   [32]byte       // of the policy that ruled
	NotBefore    time.Time
	NotAfter     time.Time // at most MaxPassLife after NotBefore
	Signer       KeyID     // of the admission key; set by SignPass
	Signature    []byte
}

// MeetingContext is what a group's members agree on: it stands in the GroupContext, so that nobody can be in the same
// epoch under another level or policy. It changes by Follows alone.
type MeetingContext struct {
	Meeting    conclave.MeetingID
	Level      conclave.Level
	PolicyHash [32]byte
	// FormerPolicy is the policy that ruled before, whose passes still hold while all are being renewed; zero: none.
	FormerPolicy [32]byte
}

// Rules says whether passes that this policy has ruled count in the meeting.
func (m *MeetingContext) Rules(policy [32]byte) bool {
	return policy == m.PolicyHash || m.FormerPolicy != [32]byte{} && policy == m.FormerPolicy
}

// Follows says whether a group for m may become one for next: the same meeting, no lower a level, and where the policy is
// another, one that knows its predecessor, so that no pass counts longer than until all are renewed.
func (m *MeetingContext) Follows(next MeetingContext) bool {
	if next == *m || next.Meeting != m.Meeting || next.Level < m.Level {
		return false
	}
	if next.PolicyHash != m.PolicyHash {
		return next.FormerPolicy == m.PolicyHash
	}
	return next.FormerPolicy == m.FormerPolicy || next.FormerPolicy == [32]byte{}
}

// The labels of signatures. The zero octet ends each, so that none is another's prefix.
const (
	grantLabel     = "Conclave grant 1\x00"
	statementLabel = "Conclave statement 1\x00"
	passLabel      = "Conclave pass 1\x00"
)

// SignGrant signs g with the root key and returns its encoding. It fails if a field breaks its limits.
func SignGrant(root ed25519.PrivateKey, g *Grant) ([]byte, error) {
	g.NotBefore, g.NotAfter = whole(g.NotBefore), whole(g.NotAfter)
	content, err := g.content()
	if err != nil {
		return nil, err
	}
	g.Signature = ed25519.Sign(root, labelled(grantLabel, content))
	return append(content, g.Signature...), nil
}

// SignStatement signs s with an enrolment key, sets Signer and Signature, and returns its encoding. It fails if a field
// breaks its limits.
func SignStatement(key ed25519.PrivateKey, s *Statement) ([]byte, error) {
	s.NotBefore, s.NotAfter = whole(s.NotBefore), whole(s.NotAfter)
	s.Signer = KeyIDOf(key.Public().(ed25519.PublicKey))
	content, err := s.content()
	if err != nil {
		return nil, err
	}
	s.Signature = ed25519.Sign(key, labelled(statementLabel, content))
	return append(content, s.Signature...), nil
}

// SignPass signs p with an admission key, sets Signer and Signature, and returns its encoding. It fails if a field breaks
// its limits.
func SignPass(key ed25519.PrivateKey, p *Pass) ([]byte, error) {
	p.NotBefore, p.NotAfter = whole(p.NotBefore), whole(p.NotAfter)
	p.Signer = KeyIDOf(key.Public().(ed25519.PublicKey))
	content, err := p.content()
	if err != nil {
		return nil, err
	}
	p.Signature = ed25519.Sign(key, labelled(passLabel, content))
	return append(content, p.Signature...), nil
}

func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func labelled(label string, content []byte) []byte {
	return append(append(make([]byte, 0, len(label)+len(content)), label...), content...)
}
