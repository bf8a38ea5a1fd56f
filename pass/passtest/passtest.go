// Package passtest makes organisations for tests: real keys, grants, statements and passes, valid around a given time.
package passtest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"conclave"
	"conclave/pass"
)

// Organisation is an organisation with all its private keys.
type Organisation struct {
	ID        conclave.OrganisationID
	Root      ed25519.PrivateKey
	Enrolment ed25519.PrivateKey
	Admission ed25519.PrivateKey
	Removal   *ecdsa.PrivateKey
	Log       ed25519.PrivateKey
	Grants    [][]byte

	now time.Time
	t   testing.TB
}

// New makes an organisation whose grants are valid for a day before and a year after now.
func New(t testing.TB, id conclave.OrganisationID, now time.Time) *Organisation {
	t.Helper()
	o := &Organisation{ID: id, Root: ed25519Key(t), Enrolment: ed25519Key(t), Admission: ed25519Key(t),
		Removal: LeafKey(t), Log: ed25519Key(t), now: now, t: t}
	o.grant(pass.RoleEnrolment, o.Enrolment.Public().(ed25519.PublicKey))
	o.grant(pass.RoleAdmission, o.Admission.Public().(ed25519.PublicKey))
	o.grant(pass.RoleRemoval, Point(o.Removal))
	o.grant(pass.RoleLog, o.Log.Public().(ed25519.PublicKey))
	return o
}

func (o *Organisation) grant(role pass.Role, key []byte) {
	b, err := pass.SignGrant(o.Root, &pass.Grant{Organisation: o.ID, Role: role, Key: key,
		NotBefore: o.now.Add(-24 * time.Hour), NotAfter: o.now.Add(365 * 24 * time.Hour)})
	if err != nil {
		o.t.Fatal(err)
	}
	o.Grants = append(o.Grants, b)
}

// Trust returns a verifier that has pinned the organisation's root.
func (o *Organisation) Trust() *pass.Trust {
	o.t.Helper()
	trust, err := pass.NewTrust(o.ID, o.Root.Public().(ed25519.PublicKey), o.Grants, o.now)
	if err != nil {
		o.t.Fatal(err)
	}
	return trust
}

// Statement signs a statement on the device that holds leafKey, for six days from now, with a software key's assurance.
func (o *Organisation) Statement(leafKey []byte, person conclave.PersonID, name string) []byte {
	o.t.Helper()
	return o.StatementBetween(leafKey, person, name, o.now, o.now.Add(6*24*time.Hour))
}

// StatementBetween is Statement for other times.
func (o *Organisation) StatementBetween(leafKey []byte, person conclave.PersonID, name string, from, until time.Time) []byte {
	o.t.Helper()
	b, err := pass.SignStatement(o.Enrolment, &pass.Statement{Organisation: o.ID, Person: person, Name: name, Unit: "Test",
		LeafKey: leafKey, Assurance: conclave.AssuranceSoftware, NotBefore: from, NotAfter: until})
	if err != nil {
		o.t.Fatal(err)
	}
	return b
}

// Pass signs a pass for the device that holds leafKey into the meeting, on a sealed line, for five minutes from the given
// time.
func (o *Organisation) Pass(leafKey []byte, m pass.MeetingContext, from time.Time) []byte {
	o.t.Helper()
	b, err := pass.SignPass(o.Admission, &pass.Pass{Organisation: o.ID, Meeting: m.Meeting,
		Device: conclave.DeviceOf(leafKey), Level: m.Level, Grade: conclave.GradeSealed, PolicyHash: m.PolicyHash,
		NotBefore: from, NotAfter: from.Add(pass.MaxPassLife)})
	if err != nil {
		o.t.Fatal(err)
	}
	return b
}

// LeafKey draws a P-256 key.
func LeafKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Point returns the uncompressed point of key, as it stands in an MLS leaf.
func Point(key *ecdsa.PrivateKey) []byte {
	b, err := key.PublicKey.Bytes()
	if err != nil {
		panic("passtest: " + err.Error())
	}
	return b
}

func ed25519Key(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
