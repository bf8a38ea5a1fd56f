package pass

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"time"

	"conclave"
)

// Trust is what one verifier believes: an organisation, its root key, and the keys that the root has granted. It is
// immutable and may be used by several goroutines.
type Trust struct {
	organisation conclave.OrganisationID
	root         ed25519.PublicKey
	grants       []verifiedGrant
}

type verifiedGrant struct {
	encoded []byte
	id      KeyID
	*Grant
}

// MaxGrants bounds the grants of one organisation: four roles, each with a key before, now and after a rotation, twice.
const MaxGrants = 24

// NewTrust verifies grants against the root key that the caller has pinned. Each must be the organisation's and bear the
// root's signature; enrolment, admission and removal must each be granted to some key at now. Errors hold a conclave.Problem (errors.As).
func NewTrust(org conclave.OrganisationID, root ed25519.PublicKey, grants [][]byte, now time.Time) (*Trust, error) {
	if len(root) != ed25519.PublicKeySize {
		return nil, problem("root_malformed")
	}
	t := &Trust{organisation: org, root: slices.Clone(root)}
	return t.With(grants, now)
}

// With returns a Trust in the same root that knows grants in place of the former ones. Those whose encoding t knows
// already are not verified again: a server sends the same few to a client at each join.
func (t *Trust) With(grants [][]byte, now time.Time) (*Trust, error) {
	if len(grants) > MaxGrants {
		return nil, problem("grant_malformed")
	}
	out := &Trust{organisation: t.organisation, root: t.root}
	for _, b := range grants {
		v, err := t.grant(b)
		if err != nil {
			return nil, err
		}
		out.grants = append(out.grants, v)
	}
	for _, role := range []Role{RoleEnrolment, RoleAdmission, RoleRemoval} {
		if !slices.ContainsFunc(out.grants, func(v verifiedGrant) bool {
			return v.Role == role && inForce(v.NotBefore, v.NotAfter, now)
		}) {
			return nil, withArg(problem("grant_missing"), "role", role.String())
		}
	}
	return out, nil
}

func (t *Trust) grant(b []byte) (verifiedGrant, error) {
	for _, v := range t.grants {
		if bytes.Equal(v.encoded, b) {
			return v, nil
		}
	}
	g, err := ParseGrant(b)
	if err != nil {
		return verifiedGrant{}, err
	}
	if g.Organisation != t.organisation {
		return verifiedGrant{}, problem("organisation_unknown")
	}
	if !ed25519.Verify(t.root, labelled(grantLabel, signed(b)), g.Signature) {
		return verifiedGrant{}, problem("grant_signature")
	}
	return verifiedGrant{encoded: slices.Clone(b), id: KeyIDOf(g.Key), Grant: g}, nil
}

// Organisation returns the organisation that t is about.
func (t *Trust) Organisation() conclave.OrganisationID { return t.organisation }

// Grants returns the encodings of the grants that t knows. The caller must not change them.
func (t *Trust) Grants() [][]byte {
	out := make([][]byte, len(t.grants))
	for i := range t.grants {
		out[i] = t.grants[i].encoded
	}
	return out
}

// RemovalKeys returns the removal keys that are granted at now, as uncompressed P-256 points: a group's external sender
// must be one of them. The caller must not change them.
func (t *Trust) RemovalKeys(now time.Time) [][]byte {
	var out [][]byte
	for _, v := range t.grants {
		if v.Role == RoleRemoval && inForce(v.NotBefore, v.NotAfter, now) {
			out = append(out, v.Key)
		}
	}
	return out
}

// Check is one Ed25519 signature to be verified. Failed is what to report if it does not.
type Check struct {
	Key       ed25519.PublicKey
	Message   []byte
	Signature []byte
	Failed    conclave.Problem
}

// Verify verifies the signature here and now; it returns Failed if it is wrong.
func (c Check) Verify() error {
	if !ed25519.Verify(c.Key, c.Message, c.Signature) {
		return c.Failed
	}
	return nil
}

// Statement decodes and verifies a device statement of the organisation that is in force at now. Errors hold a conclave.Problem (errors.As).
func (t *Trust) Statement(b []byte, now time.Time) (*Statement, error) {
	s, check, err := t.statement(b, now)
	if err != nil {
		return nil, err
	}
	if err := check.Verify(); err != nil {
		return nil, err
	}
	return s, nil
}

// Pass decodes and verifies a pass of the organisation that is in force at now; for which meeting and device is for the
// caller to compare. Errors hold a conclave.Problem (errors.As).
func (t *Trust) Pass(b []byte, now time.Time) (*Pass, error) {
	p, check, err := t.pass(b, now)
	if err != nil {
		return nil, err
	}
	if err := check.Verify(); err != nil {
		return nil, err
	}
	return p, nil
}

func (t *Trust) statement(b []byte, now time.Time) (*Statement, Check, error) {
	s, err := ParseStatement(b)
	if err != nil {
		return nil, Check{}, err
	}
	if s.Organisation != t.organisation {
		return nil, Check{}, problem("organisation_unknown")
	}
	if err := checkForce("statement", s.NotBefore, s.NotAfter, now); err != nil {
		return nil, Check{}, err
	}
	check, err := t.check(RoleEnrolment, s.Signer, now, statementLabel, b, s.Signature, problem("statement_signature"))
	return s, check, err
}

func (t *Trust) pass(b []byte, now time.Time) (*Pass, Check, error) {
	p, err := ParsePass(b)
	if err != nil {
		return nil, Check{}, err
	}
	if p.Organisation != t.organisation {
		return nil, Check{}, problem("organisation_unknown")
	}
	if err := checkForce("pass", p.NotBefore, p.NotAfter, now); err != nil {
		return nil, Check{}, err
	}
	check, err := t.check(RoleAdmission, p.Signer, now, passLabel, b, p.Signature, problem("pass_signature"))
	return p, check, err
}

// check finds the granted key that signer hints at, and says what it must have signed.
func (t *Trust) check(role Role, signer KeyID, now time.Time, label string, b, signature []byte, failed conclave.Problem) (Check, error) {
	var lapsed error
	for _, v := range t.grants {
		if v.Role != role || v.id != signer {
			continue
		}
		if err := checkForce("grant", v.NotBefore, v.NotAfter, now); err != nil {
			lapsed = err
			continue
		}
		return Check{Key: v.Key, Message: labelled(label, signed(b)), Signature: signature, Failed: failed}, nil
	}
	if lapsed != nil {
		return Check{}, lapsed
	}
	return Check{}, failed
}

// Want is what a verifier knows of a leaf and its group apart from statement and pass.
type Want struct {
	LeafKey []byte         // the leaf's signature key
	Meeting MeetingContext // what the group is for
}

// Leaf is what statement and pass of a leaf have proven.
type Leaf struct {
	Statement *Statement
	Pass      *Pass
}

// Checks applies every rule on a leaf but the signatures, and returns those to be verified: nothing in the Leaf may be
// believed until all of checks have succeeded. Many leaves' checks can so be verified in parallel. pass is the one in
// the leaf, or a renewed one. Errors hold a conclave.Problem (errors.As).
func (t *Trust) Checks(statement, pass []byte, want Want, now time.Time) (*Leaf, []Check, error) {
	s, first, err := t.statement(statement, now)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(s.LeafKey, want.LeafKey) || s.Kind == KindGateway { // a gateway's own key is good for no leaf
		return nil, nil, problem("statement_key")
	}
	p, second, err := t.pass(pass, now)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case p.Meeting != want.Meeting.Meeting:
		return nil, nil, problem("pass_meeting")
	case p.Device != s.Device():
		return nil, nil, problem("pass_device")
	case p.Level < want.Meeting.Level:
		// A higher one is a stricter ruling: that is how a level is raised, passes first.
		return nil, nil, problem("pass_level")
	case !want.Meeting.Rules(p.PolicyHash):
		return nil, nil, problem("pass_policy")
	}
	return &Leaf{Statement: s, Pass: p}, []Check{first, second}, nil
}

// Leaf is Checks with the signatures verified.
func (t *Trust) Leaf(statement, pass []byte, want Want, now time.Time) (*Leaf, error) {
	leaf, checks, err := t.Checks(statement, pass, want, now)
	if err != nil {
		return nil, err
	}
	for _, c := range checks {
		if err := c.Verify(); err != nil {
			return nil, err
		}
	}
	return leaf, nil
}

// signed returns what the signature at the end of an encoding covers; parsing has checked the size.
func signed(b []byte) []byte { return b[:len(b)-ed25519.SignatureSize] }

func inForce(from, to, now time.Time) bool {
	return !now.Add(MaxSkew).Before(from) && now.Before(to)
}

func checkForce(what string, from, to, now time.Time) error {
	switch {
	case now.Add(MaxSkew).Before(from):
		return problem(what + "_early")
	case !now.Before(to):
		return problem(what + "_expired")
	}
	return nil
}
