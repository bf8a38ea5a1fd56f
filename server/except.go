package server

import (
	"conclave/audit"
	"conclave/roster"
)

// mayAsk says whether one whom policy refuses may stand at the door all the same, for two persons to decide on.
func (s *Server) mayAsk(j *judgement) bool { return false }

// mayExcept says whether two persons may waive what stands in the way of a request, and nothing else does.
func (r *room) mayExcept(j *judgement) bool { return false }

// exceptionOver records that an exception has ended, and rules anew on the leg that it was for.
func (r *room) exceptionOver(e roster.ExceptionOver) {
	r.note(audit.Record{Kind: audit.KindException, Leg: e.Exception.Leg, By: e.Exception.By, Outcome: e.Outcome, Codes: audit.Codes(e.Exception.Waives)})
	r.ruleAnew(e.Exception.Leg)
}
