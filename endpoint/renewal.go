package endpoint

import (
	"bytes"
	"errors"

	"conclave/gate"
	"conclave/mls"
	"conclave/pass"
	"conclave/signal"
)

var errRenewal = errors.New("endpoint: this is no statement of this device")

// Renewed says that the device has a fresh statement. The server is told, and once it goes by it, it stands in the own leaf
// with the proof that belongs to it: a member commits that at once. The caller has verified it.
func (e *Endpoint) Renewed(statement []byte) error {
	fresh, err := pass.ParseStatement(statement)
	if err != nil {
		return errRenewal
	}
	statement = bytes.Clone(statement)
	return e.do(func(s *session) {
		if !bytes.Equal(fresh.LeafKey, s.cfg.Identity.Signer.Public()) || bytes.Equal(statement, s.cfg.Identity.Statement) {
			return
		}
		s.fresh = statement
		if s.greeted {
			s.send(&signal.Restate{Statement: statement})
		}
	})
}

// takeFresh has the next hello say the fresh statement, if there is one: the answer goes by it.
func (s *session) takeFresh() {
	if s.fresh != nil {
		s.cfg.Identity.Statement, s.fresh = s.fresh, nil
	}
}

// restated takes the server's word that it goes by the fresh statement. Statement and proof change together, for they stand
// in one leaf.
func (s *session) restated(m *signal.Restated) {
	if s.fresh == nil || !bytes.Equal(m.Statement, s.fresh) {
		return // of one that another has replaced since
	}
	switch {
	case len(m.LogProof) > 0 && s.trust != nil:
		if err := s.checkLogged(m); err != nil {
			s.abandon(problemOf(err, "log_proof_malformed", "leave_and_report"), err)
			return
		}
		s.admitted.LogProof = m.LogProof
	case s.state == StateEntering || s.state == StateIn:
		return // without a proof it is of no use here; the next hello says it
	}
	s.takeFresh()
	s.freshLeaf()
}

// checkLogged verifies that the fresh statement stands in the device log: nobody would follow a leaf that does not show it.
func (s *session) checkLogged(m *signal.Restated) error {
	now := s.cfg.Now()
	statement, err := s.trust.Statement(m.Statement, now)
	if err != nil {
		return err
	}
	state, check, err := gate.LoggedIn(&mls.LeafNode{
		Credential: mls.BasicCredential(m.Statement),
		Extensions: mls.Extensions{{Type: pass.ExtensionLogProof, Data: m.LogProof}},
	}, statement, s.trust.Trust, now)
	if err != nil {
		return err
	}
	if err := s.trust.prove([]pass.Check{check}); err != nil {
		return err
	}
	s.trust.log.see(state, statement.Name)
	return nil
}

// freshLeaf has a member whose leaf still says the former statement commit the one by which it goes. A commit that loses the
// race is made again in the epoch after.
func (s *session) freshLeaf() {
	if s.state != StateIn || s.member == nil || !s.member.entered {
		return
	}
	own := s.member.group.Tree().Leaf(s.member.group.OwnLeaf())
	if own != nil && !bytes.Equal(own.Credential.Identity, s.cfg.Identity.Statement) {
		s.refresh()
	}
}
