package server

import (
	"slices"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/roster"
	"conclave/sfu/slot"
	"conclave/signal"
)

// setPause stops all sending, or lets it go on. Stopping protects: it does not wait for the record.
func (r *room) setPause(by roster.Leg, m *signal.Pause) error {
	if err := r.roster.MayPause(by.ID, m.On, r.now()); err != nil {
		return err
	}
	rec := audit.Record{Kind: audit.KindContinued, By: by.ID, Device: by.Device}
	if m.On {
		rec.Kind = audit.KindPaused
		if m.Anonymous {
			rec.By, rec.Device = conclave.LegID{}, conclave.DeviceID{}
		}
		r.note(rec)
	} else if err := r.record(rec); err != nil {
		return err
	}
	effects := r.roster.Pause(by.ID, m.On, m.Anonymous, r.now())
	for _, leg := range r.roster.Legs() {
		switch {
		case leg.Standing != roster.Member:
		case !m.On:
			r.openMedia(leg.ID)
		default:
			if err := r.media.Cut(leg.ID); err != nil {
				r.cfg.Log.Warn("media not paused", "meeting", r.meeting.ID, "leg", leg.ID, "cause", err)
			}
		}
	}
	r.slotsDue = true
	r.act(effects)
	r.rosterChanged(true)
	if err := r.keep(); err != nil {
		r.fail("pause", err)
	}
	return nil
}

// setState takes what a leg shows of itself. A screen may be closed to all for now.
func (r *room) setState(leg roster.Leg, m *signal.State) error {
	if leg.Standing == roster.Member && m.Screen && !leg.Shown.Screen && slices.Contains(r.closed, admission.ClosedScreen) {
		return problemClosed
	}
	if m.Screen && !leg.Shown.Screen && !r.spent(leg.ID).screens.take(screensRate, screensBurst, r.now()) {
		return problemTooMany // what stops is always taken
	}
	r.show(leg, m)
	return nil
}

var problemClosed = conclave.Problem{Code: "screen_closed", Fix: "wait_for_better_line"}

// closing has what the policy closes for the lines that are in follow who is in. It is looked at whenever the roster is told.
func (r *room) closing() {
	room := admission.Room{Level: r.meeting.Level, Weakest: conclave.GradeGuarded}
	for _, leg := range r.roster.Legs() {
		if leg.Standing == roster.Member {
			room.Weakest = min(room.Weakest, leg.Grade)
			room.Excepted = room.Excepted || r.roster.Excepted(leg.ID, r.now())
		}
	}
	now := r.policy().Closed(room, r.now())
	if slices.Equal(now, r.closed) {
		return
	}
	r.closed = now
	closed := slices.Contains(now, admission.ClosedScreen)
	r.media.Shut(slot.Screen, closed)
	r.slotsDue = true
	if !closed {
		return
	}
	for _, leg := range r.roster.Legs() {
		if leg.Shown.Screen {
			s := leg.Shown
			r.show(leg, &signal.State{Muted: s.Muted, Camera: s.Camera, Hand: s.Hand})
			r.send(leg.ID, &signal.Failed{Of: "state", Reason: problemClosed})
		}
	}
}
