package server

import (
	"bytes"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/identity"
	"conclave/pass"
	"conclave/roster"
	"conclave/signal"
)

// Who is invited and not there. The list names people who have not come, so it goes to those alone whom policy lets have them
// rung, and never to a guest or a caller (admission.Policy.MayRing). All of this runs on the room's goroutine.

// invitedFor is how long what the directory says of the invited is not asked anew: numbers and names change seldom, the room
// often.
const invitedFor = 30 * time.Second

// expected is what was found of the invited.
type expected struct {
	people  []identity.Person
	against []*conclave.Problem // what stands against ringing each
	at      time.Time
	level   conclave.Level
	policy  *admission.Policy
}

// tellAbsent tells those who may know who is not there, where it is not what they were told last.
func (r *room) tellAbsent() {
	var frame []byte
	for id, s := range r.seats {
		leg, ok := r.roster.Leg(id)
		if !ok || leg.Standing != roster.Member {
			s.absent = nil // it forgets the room, and is told anew
			continue
		}
		if !s.asker.rings {
			if s.absent != nil { // no longer: what they saw goes
				s.absent = nil
				s.conn.send(&signal.Absent{People: []signal.Invited{}})
			}
			continue
		}
		if frame == nil {
			frame = signal.Encode(r.absentMessage())
		}
		if !bytes.Equal(s.absent, frame) {
			s.absent = frame
			s.conn.sendFrame(frame)
		}
	}
}

// absentMessage lists the invited of whom no leg is here, in the order of the invitation.
func (r *room) absentMessage() *signal.Absent {
	here := map[conclave.PersonID]bool{}
	for _, leg := range r.roster.Legs() {
		here[leg.Person] = true
	}
	gateway := r.phones.any() != nil
	m := &signal.Absent{People: []signal.Invited{}}
	invited := r.invited()
	for i := range invited.people {
		p := &invited.people[i]
		if here[p.ID] {
			continue
		}
		one := signal.Invited{Person: p.ID, Name: p.Name, Unit: p.Unit, Ringing: r.phones.ringing(r.meeting.ID, p.ID), Against: invited.against[i]}
		if one.Against == nil && !gateway {
			one.Against = &problemGateway
		}
		m.People = append(m.People, one)
	}
	return m
}

// invited returns what the directory says of the invited, without those who were struck off.
func (r *room) invited() *expected {
	now, policy := r.now(), r.policy()
	e := &r.expected
	if e.policy == policy && e.level == r.meeting.Level && now.Sub(e.at) < invitedFor {
		return e
	}
	fresh := expected{at: now, level: r.meeting.Level, policy: policy}
	for _, id := range r.meeting.People {
		p, err := r.directory.Person(r.ctx, id)
		known, err := identity.Found(err)
		if err != nil {
			r.cfg.Log.Error("who is invited not looked up", "meeting", r.meeting.ID, "cause", err)
			return e // what was known before
		}
		if known && p.Removed == nil {
			_, why := r.reachable(&r.meeting, &p)
			fresh.people, fresh.against = append(fresh.people, p), append(fresh.against, why)
		}
	}
	*e = fresh
	return e
}

// reachable says whether a person can be rung into a meeting, and whether only over an encrypted line.
func (s *Server) reachable(m *identity.Meeting, p *identity.Person) (secure bool, why *conclave.Problem) {
	if p.Phone == "" {
		return false, &problemNoNumber
	}
	if s.wouldAdmit(m, p, signal.PhoneOpen) {
		return false, nil
	}
	if s.wouldAdmit(m, p, signal.PhoneHop) {
		return true, nil
	}
	return false, &problemNoPhone
}

// mayRing says whether policy lets who asks see who is not there, and have them rung.
func (r *room) mayRing(j *judgement, a *asker) bool {
	return a.statement.Kind == pass.KindDevice && r.policy().MayRing(j.request, r.now())
}

// absentChanged has those who may know be told soon: a call-back has begun or ended. It must not be called from a room's
// goroutine.
func (s *Server) absentChanged(id conclave.MeetingID) {
	if r := s.find(id); r != nil {
		r.post(func() { r.rosterChanged(false) })
	}
}

// gatewaysChanged is absentChanged for all rooms: a gateway has come or gone.
func (s *Server) gatewaysChanged() {
	for _, r := range s.running() {
		r.post(func() { r.rosterChanged(false) })
	}
}
