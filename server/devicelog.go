package server

import (
	"context"

	"conclave"
	"conclave/signal"
)

// problemConsistency answers who asks for a size that the device log never had.
var problemConsistency = conclave.Problem{Code: "log_size", Fix: "join_again"}

// logProof shows that a statement stands in the device log. Every statement enters it when it is signed; one that was
// signed when the store failed enters it now, before anybody may believe it.
func (s *Server) logProof(ctx context.Context, statement []byte) ([]byte, error) {
	log, err := s.directory.DeviceLog(ctx)
	if err != nil {
		return nil, err
	}
	return log.Proof(ctx, statement)
}

// proveConsistency answers a member who holds the states of the device log that it was shown against each other.
func (r *room) proveConsistency(id conclave.LegID, m *signal.Consistency) error {
	s := r.seats[id]
	if !s.proofs.take(20, 600, r.now()) {
		return problemTooMany
	}
	log, err := r.directory.DeviceLog(r.ctx)
	if err != nil {
		return err
	}
	path, err := log.Consistency(m.From, m.To)
	if err != nil {
		return problemConsistency
	}
	s.conn.send(&signal.ConsistencyProof{From: m.From, To: m.To, Path: path})
	return nil
}
