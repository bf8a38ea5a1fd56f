package server

import (
	"context"
	"errors"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/pass"
	"conclave/roster"
	"conclave/sfu"
	"conclave/signal"
)

// A room's goroutine waits for the disk wherever something is recorded or kept before it happens. On a disk that hangs that
// takes seconds, and what comes meanwhile waits for its turn. Who has to be cut off does not: messages that may cut somebody
// off are pressing, and are looked at even while the room waits. All that is done ahead of their turn is to close media.

// pressingSize bounds the pressing messages that are looked at ahead. One that finds no place just waits for its turn.
const pressingSize = 64

// pressing is a message that may cut somebody off ahead of its turn. All of it is owned by run.
type pressing struct {
	ahead   func() []conclave.LegID // whom it cuts off
	cut     []conclave.LegID        // whom it has
	handled bool                    // its turn has come
}

// press is post for a message that may have to cut off whom ahead returns. Both run on the room's goroutine, ahead perhaps in
// the middle of something else: it must not change anything.
func (r *room) press(f func(), ahead func() []conclave.LegID) bool {
	if ahead == nil {
		return r.post(f)
	}
	p := &pressing{ahead: ahead}
	select {
	case r.pressing <- p:
	default:
	}
	return r.post(func() {
		p.handled = true
		f()
		r.letGo(p)
	})
}

// await waits for f, which waits for a disk and touches nothing that press's ahead reads. Meanwhile it cuts off whom it must.
func (r *room) await(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	for {
		select {
		case err := <-done:
			return err
		case p := <-r.pressing:
			r.cutAhead(p)
		}
	}
}

func (r *room) cutAhead(p *pressing) {
	if p.handled || r.broken {
		return
	}
	for _, id := range p.ahead() {
		if err := r.media.Cut(id); err != nil && !errors.Is(err, sfu.ErrNoLeg) {
			r.cfg.Log.Error("media not cut", "meeting", r.meeting.ID, "leg", id, "cause", err)
			continue
		}
		p.cut = append(p.cut, id)
		r.shut[id]++
	}
}

// letGo ends what a pressing message has cut off ahead: now its turn is over, and the leg is what it has become.
func (r *room) letGo(p *pressing) {
	for _, id := range p.cut {
		if r.shut[id]--; r.shut[id] > 0 {
			continue
		}
		delete(r.shut, id)
		if leg, ok := r.roster.Leg(id); ok && leg.Standing == roster.Member && !r.broken {
			r.openMedia(id)
			r.slotsDue = true
		}
	}
}

// ahead returns what a leg's message does ahead of its turn, nil for nothing.
func (r *room) ahead(id conclave.LegID, c *conn, m signal.Message) func() []conclave.LegID {
	whom := func(by roster.Leg, s *seat) []conclave.LegID { return nil }
	switch m := m.(type) {
	case *signal.Remove:
		whom = func(by roster.Leg, _ *seat) []conclave.LegID {
			if by.Role != conclave.RoleChair || by.Standing != roster.Member || m.Leg == id {
				return nil
			}
			return []conclave.LegID{m.Leg}
		}
	case *signal.Pause:
		if !m.On {
			return nil
		}
		whom = func(roster.Leg, *seat) []conclave.LegID {
			if r.roster.MayPause(id, true, r.now()) != nil {
				return nil
			}
			return r.members()
		}
	case *signal.Facts:
		whom = func(by roster.Leg, s *seat) []conclave.LegID {
			a := s.asker
			a.claimed = m.Facts
			return r.whoFails([]roster.Leg{by}, &a)
		}
	default:
		return nil
	}
	return func() []conclave.LegID {
		s := r.seats[id]
		by, ok := r.roster.Leg(id)
		if s == nil || s.conn != c || !ok {
			return nil
		}
		return whom(by, s)
	}
}

func (r *room) members() []conclave.LegID {
	var out []conclave.LegID
	for _, leg := range r.roster.Legs() {
		if leg.Standing == roster.Member {
			out = append(out, leg.ID)
		}
	}
	return out
}

// whoFails returns the members among legs from whom a ruling would take keys and media now. a is who they are, nil for what is
// known of each.
func (r *room) whoFails(legs []roster.Leg, a *asker) []conclave.LegID {
	var out []conclave.LegID
	for _, leg := range legs {
		if leg.Standing != roster.Member {
			continue
		}
		now, known := a, true
		if a == nil {
			var err error
			if now, known, err = r.askerOf(leg); err != nil || !known {
				continue
			}
		}
		one := *now
		one.steady = nil // a look ahead is no sample
		j, err := r.judge(r.ctx, &one, r.meeting.ID, leg.LetIn)
		if err != nil {
			continue
		}
		j.request.Excepted = r.excepted(leg.ID, &j)
		if takes(leg, r.policy().Rule(j.request, r.now())) {
			out = append(out, leg.ID)
		}
	}
	return out
}

// anyFailing is whoFails for all legs, or those of a device.
func (r *room) anyFailing(device conclave.DeviceID) func() []conclave.LegID {
	return func() []conclave.LegID {
		var legs []roster.Leg
		for _, leg := range r.roster.Legs() {
			if device == (conclave.DeviceID{}) || leg.Device == device {
				legs = append(legs, leg)
			}
		}
		return r.whoFails(legs, nil)
	}
}

// record writes a record of this room. What lets somebody in, or changes keys, must not happen if it fails.
func (r *room) record(rec audit.Record) error {
	rec.Time, rec.Meeting = r.now(), r.meeting.ID
	return r.await(func() error {
		_, err := r.audit.Record(r.ctx, rec)
		return err
	})
}

// signPass is Server.signPass, while which somebody may be cut off.
func (r *room) signPass(ctx context.Context, m pass.MeetingContext, leg *roster.Leg, grade conclave.Grade, life time.Duration) (signed []byte, until time.Time, err error) {
	err = r.await(func() (err error) {
		signed, until, err = r.Server.signPass(ctx, m, leg, grade, life)
		return err
	})
	return signed, until, err
}

// note is record for what must happen whatever comes: cutting somebody off does not wait for a disk. What cannot be written
// now is written later, with the time that it has now, and lets nobody in until then.
func (r *room) note(rec audit.Record) {
	rec.Time, rec.Meeting = r.now(), r.meeting.ID
	if err := r.audit.Note(r.ctx, rec); err != nil {
		r.cfg.Log.Error("no record of what protects the room", "kind", rec.Kind, "meeting", r.meeting.ID, "cause", err)
	}
}
