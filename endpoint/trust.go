package endpoint

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"time"

	"conclave"
	"conclave/gate"
	"conclave/mls"
	"conclave/pass"
)

// trust is the authentication service of the group (RFC 9420, Section 5.3.1): it decides for this endpoint, by what the
// device pinned when it enrolled, who may hold a leaf. It implements mls.Verifier. The server's word counts for nothing
// here.
type trust struct {
	*pass.Trust
	want    pass.MeetingContext // what the group is for; from the own pass, verified, until there is a group
	own     *pass.Pass          // verified
	verify  mls.BatchVerifier
	renewed map[conclave.DeviceID][]byte // the newest pass of each device, as the server says
	forged  error                        // why a renewed pass was found false
	proven  map[[32]byte]struct{}        // signatures that hold: a leaf is looked at in every epoch
	log     *logView
}

// Sizes of what trust remembers; past them it forgets all and verifies anew.
const (
	maxProven  = 4096
	maxRenewed = 2048
)

var (
	errMeeting     = errors.New("endpoint: the pass is for another meeting, level or policy than the server names")
	errNoRemoval   = errors.New("endpoint: no removal key is granted")
	errRenewedPass = errors.New("endpoint: renewed pass is for another meeting, level or policy")
)

// newTrust verifies grants against the pinned root, drops those that the root has withdrawn, and verifies the own pass by
// the rest. counter is that of the list of withdrawn ones, 0 where there is none.
func newTrust(cfg *Config, old *trust, grants [][]byte, withdrawn, own []byte, now time.Time) (t *trust, counter uint64, err error) {
	t, err = trustIn(cfg, old, grants, now)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case len(withdrawn) > 0:
		if t.Trust, counter, err = t.Without(withdrawn, cfg.Withdrawn, now); err != nil {
			return nil, 0, err
		}
	case cfg.Withdrawn > 0:
		return nil, 0, errNoWithdrawal
	}
	return t, counter, t.take(cfg, old, own, now)
}

var errNoWithdrawal = conclave.Problem{Code: "withdrawal_old", Fix: "ask_administrator"}

// trustIn verifies grants against the pinned root.
func trustIn(cfg *Config, old *trust, grants [][]byte, now time.Time) (*trust, error) {
	var base *pass.Trust
	var err error
	if old != nil {
		base, err = old.With(grants, now)
	} else {
		base, err = pass.NewTrust(cfg.Organisation, cfg.Root, grants, now)
	}
	if err != nil {
		return nil, err
	}
	t := &trust{Trust: base, verify: cfg.Verify, renewed: make(map[conclave.DeviceID][]byte),
		proven: make(map[[32]byte]struct{}), log: new(logView)}
	if old != nil {
		t.log = old.log
	}
	return t, nil
}

// take verifies the own pass, and the own statement beside it.
func (t *trust) take(cfg *Config, old *trust, own []byte, now time.Time) error {
	p, err := t.Pass(own, now)
	if err != nil {
		return err
	}
	t.want, t.own = pass.MeetingContext{Meeting: p.Meeting, Level: p.Level, PolicyHash: p.PolicyHash}, p
	if p.Meeting != cfg.Meeting {
		return conclave.Problem{Code: "pass_meeting", Fix: "join_again"}
	}
	if _, err := t.Leaf(cfg.Identity.Statement, own, gate.Want(cfg.Identity.Signer.Public(), t.want), now); err != nil {
		return err
	}
	if old != nil && old.want == t.want {
		t.proven, t.renewed = old.proven, old.renewed
	}
	return nil
}

// leaf proves a leaf: statement and pass, the one in the leaf or a renewed one.
func (t *trust) leaf(l *mls.LeafNode, now time.Time) (*pass.Leaf, error) {
	found, checks, renewed, err := t.checks(l, now)
	if err != nil {
		return nil, err
	}
	state, check, err := gate.LoggedIn(l, found.Statement, t.Trust, now)
	if err != nil {
		return nil, err
	}
	if err := t.prove([]pass.Check{check}); err != nil {
		return nil, err
	}
	t.log.see(state, found.Statement.Name)
	if err := t.prove(checks); err == nil {
		return found, nil
	} else if !renewed {
		return nil, err
	} else {
		// Somebody made up a renewed pass; it must not stand in the way of the one in the leaf.
		t.forged = err
		delete(t.renewed, conclave.DeviceOf(l.SignatureKey))
	}
	return t.leaf(l, now)
}

// adopt takes what a group is for in place of what the server says, if the own pass is good enough for it and nothing less
// was told.
func (t *trust) adopt(c *mls.GroupContext, now time.Time) error {
	of, err := gate.MeetingOf(c, t.Trust, now)
	switch {
	case err != nil:
		return err
	case of.Meeting != t.own.Meeting || of.Level < t.want.Level || of.Level > t.own.Level || !of.Rules(t.own.PolicyHash):
		return errMeeting
	}
	t.want = of
	return nil
}

// follow goes along with a commit that has changed what the group is for; that it may was found when it was proposed.
func (t *trust) follow(c *mls.GroupContext, now time.Time) error {
	of, err := gate.MeetingOf(c, t.Trust, now)
	if err != nil || of == t.want {
		return err
	}
	if !t.want.Follows(of) {
		return errMeeting
	}
	t.want = of
	return nil
}

// checks applies all rules on a leaf but the signatures, which are returned. renewed tells that they are those of a
// renewed pass.
func (t *trust) checks(l *mls.LeafNode, now time.Time) (found *pass.Leaf, checks []pass.Check, renewed bool, err error) {
	statement, inLeaf, err := gate.Papers(l)
	if err != nil {
		return nil, nil, false, err
	}
	want := gate.Want(l.SignatureKey, t.want)
	if newer, ok := t.renewed[conclave.DeviceOf(l.SignatureKey)]; ok {
		if found, checks, err := t.Checks(statement, newer, want, now); err == nil {
			return found, checks, true, nil
		}
	}
	found, checks, err = t.Checks(statement, inLeaf, want, now)
	return found, checks, false, err
}

// newest tells one renewed pass of a leaf's device from another; nil where there is none.
func (t *trust) newest(l *mls.LeafNode) *byte {
	if p := t.renewed[conclave.DeviceOf(l.SignatureKey)]; len(p) > 0 {
		return &p[0]
	}
	return nil
}

// prove verifies those of checks that are not proven yet, in one batch.
func (t *trust) prove(checks []pass.Check) error {
	var batch []mls.SignatureCheck
	var open []pass.Check
	var names [][32]byte
	for _, c := range checks {
		name := checkName(c)
		if _, ok := t.proven[name]; ok {
			continue
		}
		open, names = append(open, c), append(names, name)
		// Any suite that signs with Ed25519 says what the batch verifier must do.
		batch = append(batch, mls.SignatureCheck{Suite: mls.X25519AES128SHA256Ed25519,
			PublicKey: mls.SignatureKey(c.Key), Message: c.Message, Signature: c.Signature})
	}
	if len(batch) == 0 {
		return nil
	}
	if err := t.verify(batch); err != nil {
		// Which one it was is worth knowing: the person is told.
		for _, c := range open {
			if err := c.Verify(); err != nil {
				return err
			}
		}
		return err
	}
	if len(t.proven)+len(names) > maxProven {
		clear(t.proven)
	}
	for _, n := range names {
		t.proven[n] = struct{}{}
	}
	return nil
}

func checkName(c pass.Check) [32]byte {
	h := sha256.New()
	h.Write(c.Key) // 32 bytes, as is a
	h.Write(c.Signature)
	h.Write(c.Message)
	return [32]byte(h.Sum(nil))
}

// proveTree verifies the signatures of all leaves of a tree at once, before they are looked at one by one. What does not
// hold is left for that.
func (t *trust) proveTree(tree *mls.RatchetTree, now time.Time) {
	var all []pass.Check
	for _, l := range tree.Members() {
		found, checks, _, err := t.checks(l, now)
		if err != nil {
			return
		}
		all = append(all, checks...)
		if _, check, err := gate.LoggedIn(l, found.Statement, t.Trust, now); err == nil {
			all = append(all, check)
		}
	}
	_ = t.prove(all) // VerifyLeaf finds the same again and says so
}

// renew takes a renewed pass of a member's device, as the server says. Its signature is verified when it is used, with
// those of other leaves; here it fails for what an honest server does not send.
func (t *trust) renew(encoded []byte) error {
	p, err := pass.ParsePass(encoded)
	if err != nil {
		return err
	}
	if p.Meeting != t.want.Meeting || p.Level < t.want.Level || !t.want.Rules(p.PolicyHash) {
		return errRenewedPass
	}
	if old, ok := t.renewed[p.Device]; ok {
		if q, err := pass.ParsePass(old); err == nil && q.NotAfter.After(p.NotAfter) {
			return nil
		}
	} else if len(t.renewed) >= maxRenewed {
		clear(t.renewed)
	}
	t.renewed[p.Device] = bytes.Clone(encoded)
	return nil
}

// VerifyLeaf implements mls.Verifier.
func (t *trust) VerifyLeaf(c mls.LeafCheck) error {
	if err := gate.CheckLeaf(c, t.Trust, t.want); err != nil {
		return err
	}
	_, err := t.leaf(c.Leaf, c.Now)
	return err
}

// VerifyExternalSender implements mls.Verifier.
func (t *trust) VerifyExternalSender(s *mls.ExternalSender, _ *mls.GroupContext, now time.Time) error {
	return gate.CheckExternalSender(s, t.Trust, now)
}

// Client implements mls.Verifier.
func (t *trust) Client(l *mls.LeafNode) string { return gate.Client(l) }
