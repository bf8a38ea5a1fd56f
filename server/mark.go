package server

import (
	"conclave"
	"conclave/audit"
	"conclave/roster"
	"conclave/server/kept"
	"conclave/signal"
)

// What is proven of a leg's mark: its key's commitment stands in the record, or it asks for media without one.
const (
	keyCommitted = "committed"
	keyMissing   = "missing"
)

// mark keeps the key that a leg hands in, and notes that it is committed to.
func (r *room) mark(leg roster.Leg, m *signal.Mark) error {
	if leg.Standing == roster.Waiting {
		return problemTurn
	}
	key := kept.Mark{Meeting: r.meeting.ID, Leg: leg.ID, Time: r.now(), Commitment: m.Commitment, Sealed: m.Sealed}
	err := r.kept.KeepMark(r.ctx, key, func() (index audit.Index, err error) {
		err = r.await(func() (err error) {
			index, err = r.audit.Record(r.ctx, audit.Record{Kind: audit.KindMark, Time: key.Time, Meeting: key.Meeting, Leg: leg.ID, Device: leg.Device, Grade: &leg.Grade,
				Commitment: m.Commitment, Size: uint64(len(m.Sealed))})
			return err
		})
		return index, err
	})
	if err == nil {
		r.committed(leg.ID)
	}
	return err
}

// committed notes that a leg's key is committed to. A leg that was ruled on as one without is ruled anew.
func (r *room) committed(id conclave.LegID) {
	s := r.seats[id]
	if s == nil || s.asker.mark == keyCommitted {
		return
	}
	before := s.asker.mark
	s.asker.mark = keyCommitted
	if before == keyMissing {
		r.ruleAnew(id)
	}
}

// uncommitted rules anew on a leg that asks for media before it has handed in its mark's key, where the organisation wants
// marks: it hears nothing before policy has looked at that.
func (r *room) uncommitted(id conclave.LegID) {
	s := r.seats[id]
	if s == nil || s.asker.mark != "" || r.cfg.Organisation.Investigation() == nil {
		return
	}
	s.asker.mark = keyMissing
	r.ruleAnew(id)
}
