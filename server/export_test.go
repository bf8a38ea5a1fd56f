package server

import (
	"context"
	"net/netip"

	"conclave"
	"conclave/admission"
	"conclave/pass"
	"conclave/store"
)

// MediaOpen says whether a leg's media are let through, without waiting for its room.
func (s *Server) MediaOpen(meeting conclave.MeetingID, leg conclave.LegID) bool {
	r := s.find(meeting)
	return r != nil && r.media.Admitted(leg)
}

// Recheck has every room rule anew on the legs of a device.
func (s *Server) Recheck(device conclave.DeviceID) { s.recheck(device) }

// Store returns what the server keeps its state in.
func (s *Server) Store() store.Store { return s.cfg.Store }

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

// SetPolicy has another policy rule from now on, without a word to anybody, for tests of what a reload may come between.
func (s *Server) SetPolicy(p *admission.Policy) {
	next := *s.ground.Load()
	next.Policy = p
	s.ground.Store(&next)
}

// FailRoom gives a meeting's room up, as a store that fails does.
func (s *Server) FailRoom(meeting conclave.MeetingID) {
	r := s.find(meeting)
	r.post(func() { r.fail("be tested", errClosing) })
}

// Rooms is how many rooms are open.
func (s *Server) Rooms() int { return len(s.running()) }
