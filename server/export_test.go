package server

import (
	"context"
	"net/netip"

	"conclave"
	"conclave/pass"
)

// RuleOnce judges, rules and records as for a request to join, for the benchmark of package server_test.
func (s *Server) RuleOnce(ctx context.Context, statement []byte, meeting conclave.MeetingID) (conclave.Ruling, error) {
	parsed, err := pass.ParseStatement(statement)
	if err != nil {
		return conclave.Ruling{}, err
	}
	a := &asker{address: netip.MustParseAddr("193.40.5.1"), transport: "tls", encoded: statement, statement: parsed, device: parsed.Device()}
	j, err := s.judge(ctx, a, meeting, false)
	if err != nil {
		return conclave.Ruling{}, err
	}
	return s.rule(ctx, &j, meeting, conclave.LegID{1}, a.device)
}
