package gate

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"time"

	"conclave"
	"conclave/merkle"
	"conclave/mls"
	"conclave/pass"
)

// The problems of a leaf's place in the device log.
var (
	problemNoProof   = conclave.Problem{Code: "log_proof_missing", Fix: "leave_and_report"}
	problemProof     = conclave.Problem{Code: "log_proof_malformed", Fix: "leave_and_report"}
	problemSignature = conclave.Problem{Code: "log_proof_signature", Fix: "leave_and_report"}
	problemOther     = conclave.Problem{Code: "log_proof_other", Fix: "leave_and_report"}
)

// DeviceLogOrigin is the name of an organisation's device log in its checkpoints.
func DeviceLogOrigin(organisation conclave.OrganisationID) string {
	return merkle.Origin(string(organisation), "devices")
}

// LogState is a state of the device log that its key has signed.
type LogState struct {
	Size merkle.Size
	Root merkle.Hash
}

// LoggedIn shows that a leaf's statement stands in the organisation's device log, in the state that is returned. The one
// signature that this rests on is returned to be verified: nothing may be believed before. That the log shown to one leaf
// is the log shown to another is for the caller to hold against each other. Errors hold a conclave.Problem (errors.As).
func LoggedIn(l *mls.LeafNode, statement *pass.Statement, trust *pass.Trust, now time.Time) (LogState, pass.Check, error) {
	encoded, ok := l.Extensions.Find(pass.ExtensionLogProof)
	if !ok {
		return LogState{}, pass.Check{}, problemNoProof
	}
	proof, err := merkle.ParseProof(encoded)
	if err != nil {
		return LogState{}, pass.Check{}, problemProof
	}
	c, err := merkle.Unverified(proof.Checkpoint)
	if err != nil {
		return LogState{}, pass.Check{}, problemProof
	}
	org := trust.Organisation()
	if c.Origin != DeviceLogOrigin(org) {
		return LogState{}, pass.Check{}, problemOther
	}
	leaf := pass.LogLeaf(pass.LogStatement, org, statement.Person, statement.Device(), l.Credential.Identity)
	if err := merkle.CheckInclusion(proof.Path, proof.Index, merkle.LeafHash(leaf), c.Size, c.Root); err != nil {
		return LogState{}, pass.Check{}, problemOther
	}
	for _, key := range trust.LogKeys(now) {
		if signature, ok := signatureOf(proof.Checkpoint, c.Origin, key); ok {
			return LogState{c.Size, c.Root}, pass.Check{Key: key, Message: []byte(c.Text()), Signature: signature, Failed: problemSignature}, nil
		}
	}
	return LogState{}, pass.Check{}, problemSignature
}

// signatureOf finds the signature line of a key in a note (C2SP signed-note), not verified.
func signatureOf(note []byte, origin string, key ed25519.PublicKey) ([]byte, bool) {
	_, lines, _ := bytes.Cut(note, []byte("\n\n"))
	var id [4]byte
	binary.BigEndian.PutUint32(id[:], merkle.LogKey(origin, key).KeyHash())
	prefix := []byte("— " + origin + " ")
	for line := range bytes.Lines(lines) {
		text, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), prefix)
		if !ok {
			continue
		}
		raw, err := merkle.ParseBase64(string(text))
		if err == nil && len(raw) == len(id)+ed25519.SignatureSize && bytes.Equal(raw[:len(id)], id[:]) {
			return raw[len(id):], true
		}
	}
	return nil, false
}
