package server

import (
	"errors"

	"conclave"
	"conclave/audit"
	"conclave/mls"
	"conclave/roster"
	"conclave/server/delivery"
	"conclave/sfu"
	"conclave/signal"
)

// What the roster decides is carried out here, on the room's goroutine.

// act carries out effects in their order.
func (r *room) act(effects []roster.Effect) {
	keep := false
	// Nobody's media wait for what the others need the disk for.
	for _, e := range effects {
		if e, ok := e.(roster.Cut); ok {
			keep = true
			r.cut(e)
		}
	}
	for _, e := range effects {
		switch e := e.(type) {
		case roster.LetIn:
			r.letIn(e.Leg)
		case roster.Told:
			r.tellQuarantined(e.Leg, e.Reasons, e.Since)
		case roster.Ended:
			if s := r.seats[e.Leg]; s != nil {
				s.conn.end(e.Why)
				delete(r.seats, e.Leg)
			}
		case roster.Propose:
			r.propose(e)
		case roster.Overdue:
			r.cfg.Log.Error("no member commits a removal", "meeting", r.meeting.ID, "leg", e.Leg, "since", e.Since)
			r.note(audit.Record{Kind: audit.KindRemovalOverdue, Leg: e.Leg, Epoch: uint64(r.group.Epoch())})
		case roster.Keyless:
			keep = true
			r.note(audit.Record{Kind: audit.KindRemoved, Leg: e.Leg, Device: e.Device, Epoch: uint64(r.group.Epoch())})
		case roster.Gone:
			keep = true
			r.gone(e)
		case roster.ChairBack:
			r.chairBack(e)
		case roster.ExceptionOver:
			r.exceptionOver(e)
		case roster.Changed:
			r.rosterChanged(false)
		case roster.Dropped:
			keep = true
			r.note(audit.Record{Kind: audit.KindGroupDropped, Epoch: uint64(r.group.Epoch())})
			if err := r.await(func() error { return r.group.Drop(r.ctx) }); err != nil {
				r.fail("drop the group", err)
			}
		}
	}
	if keep && !r.broken {
		if err := r.keep(); err != nil {
			r.fail("keep the roster", err)
		}
	}
}

// hang ends a leg's media path: whatever comes over it from now on is of no use, and nothing goes over it.
func (r *room) hang(id conclave.LegID) {
	if err := r.media.Hang(id); err != nil && !errors.Is(err, sfu.ErrNoLeg) {
		r.cfg.Log.Error("media not cut", "meeting", r.meeting.ID, "leg", id, "cause", err)
	}
	r.slotsDue = true
}

// cut stops a leg's media. The record comes first; it costs less than a packet's time, and is not waited for where it does not.
func (r *room) cut(e roster.Cut) {
	leg, ok := r.roster.Leg(e.Leg)
	rec := audit.Record{Kind: audit.KindRemoval, Leg: e.Leg, Device: e.Device, By: r.remover, Codes: []string{e.Why.Code}, Epoch: uint64(r.group.Epoch())}
	switch {
	case ok && leg.Standing == roster.Quarantined:
		rec.Kind, rec.Codes, rec.Grade = audit.KindQuarantine, audit.Codes(leg.Reasons), &leg.Grade
		r.disinherit(e.Leg)
	case e.Why.Code == "left":
		rec.Kind = audit.KindLeave
	}
	if e.Leaf != nil { // as it was: the leg itself may be gone
		leaf := uint32(*e.Leaf)
		rec.Leaf = &leaf
	}
	r.note(rec)
	r.hang(e.Leg)
}

// propose hands the members the removal of a leaf.
func (r *room) propose(e roster.Propose) {
	var message []byte
	err := r.await(func() (err error) {
		message, err = r.group.Remove(r.ctx, mls.LeafIndex(e.Leaf), r.now())
		return err
	})
	switch {
	case errors.Is(err, delivery.ErrStore):
		r.fail("propose a removal", err)
	case err != nil:
		r.cfg.Log.Error("removal not proposed", "meeting", r.meeting.ID, "leg", e.Leg, "cause", err)
	default:
		r.tellMembers(&signal.Proposal{Epoch: uint64(r.group.Epoch()), Message: message})
	}
}

func (r *room) gone(e roster.Gone) {
	kind := audit.KindRemoved
	if e.Was != roster.Member && e.Was != roster.Leaving {
		kind = audit.KindLeave
	}
	r.note(audit.Record{Kind: kind, Leg: e.Leg, Device: e.Device, Codes: []string{e.Why.Code}, Epoch: uint64(r.group.Epoch())})
	r.media.Remove(e.Leg)
	r.queue.done(e.Leg)
	delete(r.seats, e.Leg)
	delete(r.away, e.Leg)
	delete(r.exceptable, e.Leg)
	delete(r.bound, e.Leg)
	delete(r.spending, e.Leg)
	r.slotsDue = true
}
