package pass

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"conclave"
)

// What stands in the device log, an append-only Merkle tree (package merkle) of all that the organisation has signed
// to let devices be believed. A statement that does not stand there counts for nothing: who would forge one, with a stolen
// enrolment key or by order, must leave it where its victim and every witness can find it.

// LogKind says what a leaf of the device log is about.
type LogKind uint8

// The kinds of leaves.
const (
	LogStatement  LogKind = iota + 1 // a device statement
	LogGrant                         // a grant of the root key, without person and device
	LogRevocation                    // a device that was taken out of use; there is no object
)

// LogLeafSize is the size of a leaf of the device log.
const LogLeafSize = 1 + 1 + tagSize + 16 + sha256.Size

const tagSize = 16

// LogLeaf returns the leaf for an encoded statement or grant, or a revocation: version, kind, PersonTag, the device's id, and
// the SHA-256 of the object. It names nobody to whom the person's id is unknown.
func LogLeaf(kind LogKind, organisation conclave.OrganisationID, person conclave.PersonID, device conclave.DeviceID, object []byte) []byte {
	leaf := append(make([]byte, 0, LogLeafSize), version, uint8(kind))
	tag := [tagSize]byte{}
	if person != "" {
		tag = PersonTag(organisation, person)
	}
	sum := sha256.Sum256(object)
	return slices.Concat(leaf, tag[:], device[:], sum[:])
}

// LoggedLeaf is what a leaf of the device log says.
type LoggedLeaf struct {
	Kind   LogKind
	Person [tagSize]byte // PersonTag; zeros: nobody's
	Device conclave.DeviceID
	Object [sha256.Size]byte // hash of the statement or grant
}

var errLeaf = errors.New("pass: malformed leaf of a device log")

// ParseLogLeaf reads what LogLeaf returns.
func ParseLogLeaf(leaf []byte) (LoggedLeaf, error) {
	if len(leaf) != LogLeafSize || leaf[0] != version || LogKind(leaf[1]) < LogStatement || LogKind(leaf[1]) > LogRevocation {
		return LoggedLeaf{}, errLeaf
	}
	l := LoggedLeaf{Kind: LogKind(leaf[1])}
	rest := leaf[2:]
	rest = rest[copy(l.Person[:], rest):]
	rest = rest[copy(l.Device[:], rest):]
	copy(l.Object[:], rest)
	return l, nil
}

// PersonTag is by what a person finds the leaves that are about them.
func PersonTag(organisation conclave.OrganisationID, person conclave.PersonID) [tagSize]byte {
	sum := sha256.Sum256(slices.Concat([]byte("Conclave person 1\x00"), []byte(organisation), []byte{0}, []byte(person)))
	return [tagSize]byte(sum[:tagSize])
}

// LogKeys returns the keys that are granted the signing of checkpoints at now.
func (t *Trust) LogKeys(now time.Time) []ed25519.PublicKey {
	var out []ed25519.PublicKey
	for _, v := range t.grants {
		if v.Role == RoleLog && inForce(v.NotBefore, v.NotAfter, now) {
			out = append(out, ed25519.PublicKey(v.Key))
		}
	}
	return out
}
