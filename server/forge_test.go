package server_test

import (
	"crypto/ed25519"
	"time"

	"conclave"
	"conclave/pass"
)

// forgedStatement is one that another enrolment key has signed.
func forgedStatement(org conclave.OrganisationID, person conclave.PersonID, leafKey []byte) []byte {
	if person == "" {
		person = "nobody"
	}
	b, err := pass.SignStatement(ed25519.NewKeyFromSeed(make([]byte, 32)), &pass.Statement{
		Organisation: org, Person: person, Name: "Somebody", LeafKey: leafKey, Assurance: conclave.AssuranceManaged,
		NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
	})
	if err != nil {
		panic(err)
	}
	return b
}
