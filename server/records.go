package server

import (
	"context"
	"errors"

	"conclave"
	"conclave/audit"
	"conclave/identity"
)

// problemNotCosigned is why a meeting whose level demands witnesses does not open.
var problemNotCosigned = conclave.Problem{Code: "record_not_cosigned", Fix: "wait_for_witnesses"}

// recordStart records that the server started.
func (s *Server) recordStart(ctx context.Context) error {
	codes, err := s.logs.LastEnd(ctx, s.audit)
	if err == nil {
		_, err = s.audit.Record(ctx, audit.Record{Kind: audit.KindStarted, Time: s.now(), Codes: codes})
	}
	return err
}

// witnessed says whether a meeting may open: where its level demands it, witnesses must have signed the log with the record
// of its opening, and not have been away since.
func (s *Server) witnessed(m *identity.Meeting) error {
	if !s.policy().Levels().Cosigned(m.Level) {
		return nil
	}
	if _, ok := s.audit.Cosigned(s.now()); !ok || !s.audit.Covered(m.Opened) {
		return problemNotCosigned
	}
	return nil
}

// unopened refuses who asks for a meeting that may not open; other errors are handed on.
func (v *visitor) unopened(ctx context.Context, j *judgement, leg conclave.LegID, err error) error {
	var p conclave.Problem
	if !errors.As(err, &p) {
		return err
	}
	if _, err := v.audit.Record(ctx, audit.Record{Kind: audit.KindRuling, Time: v.now(), Meeting: v.meeting, Leg: leg, Device: v.asker.device,
		Outcome: outcomeWord(conclave.Refuse), Level: &j.request.Meeting.Level, Codes: []string{p.Code}}); err != nil {
		return err
	}
	v.refuse([]conclave.Problem{p})
	return nil
}
