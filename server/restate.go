package server

import (
	"bytes"
	"context"

	"conclave"
	"conclave/roster"
	"conclave/signal"
)

// A device's statement is renewed while its leg stands somewhere: on the line check, at the door, in the room, in
// quarantine. From its word on the server goes by the new one, in the proof that goes into the leaf and in all rulings.

// take has the asker go by another statement of the same device, if the organisation has signed it.
func (s *Server) take(a *asker, encoded []byte) error {
	statement, err := s.cfg.Organisation.Trust.Statement(encoded, s.now())
	if err != nil {
		return err
	}
	if !bytes.Equal(statement.LeafKey, a.statement.LeafKey) || statement.Person != a.statement.Person || statement.Kind != a.statement.Kind {
		return conclave.Problem{Code: "statement_key", Fix: "enrol_again"}
	}
	a.encoded, a.statement = encoded, statement
	return nil
}

// restate takes a renewed statement before the door, and says what is known of the line now.
func (v *visitor) restate(ctx context.Context, m *signal.Restate) error {
	if err := v.take(v.asker, m.Statement); err != nil {
		v.conn.send(&signal.Failed{Of: m.Type(), Reason: problemOf(err, problemRequest)})
		return nil
	}
	v.conn.send(&signal.Restated{Statement: m.Statement})
	return v.tellLine(ctx, m)
}

// restate takes a renewed statement of a leg, wherever it stands, and rules anew.
func (r *room) restate(leg roster.Leg, m *signal.Restate) error {
	s := r.seats[leg.ID]
	if !s.facts.take(factsPerSecond, factsBurst, r.now()) {
		return problemTooMany
	}
	if err := r.take(&s.asker, m.Statement); err != nil {
		return err
	}
	proof, err := r.logProof(r.ctx, m.Statement)
	if err != nil {
		return err
	}
	r.act(r.roster.Restate(leg.ID, m.Statement))
	if err := r.keep(); err != nil {
		// After a restart the leg says it anew, in its hello.
		r.cfg.Log.Error("roster not kept", "meeting", r.meeting.ID, "cause", err)
	}
	r.send(leg.ID, &signal.Restated{Statement: m.Statement, LogProof: proof})
	r.ruleAnew(leg.ID)
	return nil
}
