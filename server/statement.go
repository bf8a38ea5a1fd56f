package server

import (
	"bytes"
	"context"
	"slices"
	"time"

	"conclave"
	"conclave/pass"
	"conclave/roster"
	"conclave/server/reply"
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
	if a.steady != nil && !s.now().Before(a.statement.NotAfter) {
		a.steady = newSteady() // it was open because its device was not believed: that was no loose contact
	}
	a.encoded, a.statement = encoded, statement
	return nil
}

// restate takes a renewed statement before the door, and says what is known of the line now.
func (v *visitor) restate(ctx context.Context, m *signal.Restate) error {
	if err := v.take(v.asker, m.Statement); err != nil {
		v.conn.send(&signal.Failed{Of: m.Type(), Reason: problemOf(err, reply.Malformed)})
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

// A statement that runs out is ruled on at that moment: the pass ends with it, and whoever comes meanwhile must be able to
// prove every leaf.

// statementAgain is how long a leg is left alone that could not be ruled on when its statement ran out.
const statementAgain = time.Second

// statementEnd returns when the statement by which a leg goes runs out.
func (r *room) statementEnd(leg *roster.Leg) time.Time {
	if a := r.knownOf(leg.ID); a != nil {
		return a.statement.NotAfter
	}
	if statement, err := pass.ParseStatement(leg.Statement); err == nil {
		return statement.NotAfter
	}
	return time.Time{}
}

// knownOf returns what is known of who a leg is, nil for one whose line was lost before the server was.
func (r *room) knownOf(id conclave.LegID) *asker {
	if a := r.askerAt(id); a != nil {
		return a
	}
	return r.away[id]
}

// certificateDue returns when a certificate ends next that a leg's last ruling rested on, and false if there is none.
func (r *room) certificateDue() (next time.Time, any bool) {
	for _, leg := range r.roster.Legs() {
		if a := r.knownOf(leg.ID); a != nil && !a.certified.IsZero() && (!any || a.certified.Before(next)) {
			next, any = a.certified, true
		}
	}
	return next, any
}

// lapseCertificates rules anew on legs for whose device a certificate no longer vouches.
func (r *room) lapseCertificates() {
	now := r.now()
	for _, leg := range r.roster.Legs() {
		if a := r.knownOf(leg.ID); a != nil && !a.certified.IsZero() && !now.Before(a.certified) {
			a.certified = time.Time{} // once: what the ruling finds stands for it
			r.ruleAnew(leg.ID)
		}
	}
}

// statementDue returns when a statement runs out next, and false if no leg has one that matters.
func (r *room) statementDue() (next time.Time, any bool) {
	for _, leg := range r.roster.Legs() {
		if leg.Standing == roster.Leaving || leg.Standing == roster.Quarantined {
			continue
		}
		if t := r.statementEnd(&leg); !any || t.Before(next) {
			next, any = t, true
		}
	}
	if again := r.stated.Add(statementAgain); any && next.Before(again) {
		next = again
	}
	return next, any
}

// lapseStatements rules anew on legs whose statement has run out. One of which nothing is known since a restart is put out:
// it comes back as anybody does.
func (r *room) lapseStatements() {
	now := r.now()
	for _, leg := range r.roster.Legs() {
		if leg.Standing == roster.Leaving || leg.Standing == roster.Quarantined || now.Before(r.statementEnd(&leg)) {
			continue
		}
		r.stated = now
		if r.knownOf(leg.ID) == nil {
			r.act(r.roster.Drop(leg.ID, conclave.Problem{Code: "place_lost", Fix: "join_again"}, now))
			continue
		}
		r.ruleAnew(leg.ID)
	}
}

// unproven says whether a leaf is in the tree that no newcomer could prove any more, until its removal is committed.
func (r *room) unproven() bool {
	if r.roster.Going() == 0 {
		return false
	}
	now := r.now()
	return slices.ContainsFunc(r.roster.Legs(), func(l roster.Leg) bool {
		return l.InTree && l.Standing != roster.Member && (!now.Before(l.PassUntil) || !now.Before(r.statementEnd(&l)))
	})
}

// heldBack says whether nobody comes in for now: what the group is for is being changed, or a leaf stands in it that
// nobody could prove.
func (r *room) heldBack() bool { return r.changing() || r.unproven() }

// letOn lets in who was held back by a leaf that is gone now.
func (r *room) letOn() {
	if !r.held || r.heldBack() {
		return
	}
	r.held = false
	for _, leg := range r.roster.Legs() {
		if leg.Standing == roster.Waiting {
			r.ruleAnew(leg.ID)
		}
	}
}
