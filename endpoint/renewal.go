package endpoint

import (
	"bytes"
	"errors"

	"conclave/pass"
)

var errRenewal = errors.New("endpoint: this is no statement of this device")

// Renewed says that the device has a fresh statement: it is put into the own leaf with the next refresh, which a member
// does at once, and into the next hello. The caller has verified it.
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
		s.cfg.Identity.Statement = statement
		if s.state == StateIn && s.member != nil {
			s.refresh()
		}
	})
}
