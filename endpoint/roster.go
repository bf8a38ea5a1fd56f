package endpoint

import (
	"time"

	"conclave"
	"conclave/mls"
	"conclave/pass"
	"conclave/signal"
)

const (
	// settle is how long roster and tree may differ: the two come in different messages.
	settle = 3 * time.Second
	// lookEvery is how often passes are looked at; lapse is what a pass may be over without an alarm: its renewal may be
	// on the way.
	lookEvery = 15 * time.Second
	lapse     = 20 * time.Second
	// renewAtLeast keeps a server with odd clocks from having us ask without a pause.
	renewAtLeast = 15 * time.Second
)

// showRoster tells the owner of the room: its members are the leaves of the group, whatever the server says.
func (s *session) showRoster() {
	if s.member == nil || !s.member.entered {
		return
	}
	e := &RosterEvent{Members: []Member{}, Waiting: []Guest{}, Away: []Away{}, Exceptions: []Exception{}, Closed: []string{}, Absent: []Absent{}}
	legs := make(map[mls.LeafIndex]*signal.RosterLeg)
	if s.roster != nil {
		for i := range s.roster.Legs {
			legs[mls.LeafIndex(s.roster.Legs[i].Leaf)] = &s.roster.Legs[i]
		}
		s.showDoor(e)
		s.showAside(e)
	}
	for _, p := range s.absent {
		e.Absent = append(e.Absent, Absent{Person: string(p.Person), Name: p.Name, Unit: p.Unit, Ringing: p.Ringing, Against: p.Against})
	}
	for _, at := range s.member.order {
		l := s.member.leaves[at]
		m := Member{Leaf: uint32(at), Self: at == s.member.group.OwnLeaf(), Person: string(l.Statement.Person),
			Name: l.Statement.Name, Unit: l.Statement.Unit, Device: l.Statement.Device(),
			Assurance: l.Statement.Assurance, Grade: l.Pass.Grade, Kind: l.Statement.Kind.String(),
			Gateway: l.Statement.Kind == pass.KindPhone, Line: []conclave.Fact{}}
		if leg := legs[at]; leg != nil {
			m.Leg, m.Role, m.Lost = leg.Leg, leg.Role, leg.Lost
			m.Line = append(m.Line, leg.Line...)
			m.Muted, m.Camera, m.Screen, m.Hand = leg.State.Muted, leg.State.Camera, leg.State.Screen, leg.State.Hand
		}
		e.Members = append(e.Members, m)
	}
	s.emit(Event{Roster: e})
}

// takeRoster takes the server's view of the room.
func (s *session) takeRoster(m *signal.Roster) {
	if s.member == nil {
		return // of before a quarantine
	}
	s.roster = m
	s.obeyPause()
}

// maxAbsent is how many can be invited to a meeting.
const maxAbsent = 1000

// takeAbsent takes the server's word on who is invited and not there. It names nobody who holds keys, or could.
func (s *session) takeAbsent(m *signal.Absent) {
	if s.member == nil {
		return // of before a quarantine
	}
	s.absent = m.People[:min(len(m.People), maxAbsent)]
	s.showRoster()
}

// showDoor lists those who wait, as far as they are who the server says.
func (s *session) showDoor(e *RosterEvent) {
	now := s.cfg.Now()
	for _, g := range s.roster.Waiting {
		st, err := s.trust.Statement(g.Statement, now)
		if err != nil {
			s.alarm(about("alarm_door", "do_not_admit", "name", claimed(g.Statement)))
			continue
		}
		e.Waiting = append(e.Waiting, Guest{Leg: g.Leg, Name: st.Name, Unit: st.Unit, Assurance: st.Assurance,
			Grade: g.Grade, Facts: g.Facts, Since: g.Since, Kind: st.Kind.String(), Known: g.Known, Early: g.Early,
			Reasons: append([]conclave.Problem{}, g.Reasons...), Exceptable: g.Exceptable})
	}
}

// lookSoon has roster and tree held against each other once they have settled, and never much later than they would have
// been: a server that sends one roster after the other cannot put it off.
func (s *session) lookSoon() {
	s.after(dueLook, settle)
	if by := s.looked.Add(lookEvery); by.Before(s.due[dueLook]) {
		s.due[dueLook] = by
	}
}

// look holds what the server says of the room against the group, and the members' passes against the clock.
func (s *session) look() {
	if s.state != StateIn {
		return
	}
	s.after(dueLook, lookEvery)
	s.linkLog()
	now := s.cfg.Now()
	s.looked = now
	if s.roster != nil {
		said := make(map[mls.LeafIndex]bool, len(s.roster.Legs))
		for _, leg := range s.roster.Legs {
			at := mls.LeafIndex(leg.Leaf)
			l := s.member.leaves[at]
			if said[at] || l != nil && l.Statement.Device() != leg.Device && now.Sub(s.member.since) > settle {
				// Somebody is shown where another holds keys: what is said of the one would be shown of the other.
				s.alarm(about("alarm_other_in_place", "leave_and_report", "name", s.nameAt(at)))
			}
			said[at] = true
			if l == nil {
				// The server sends it media, and it has no keys.
				s.alarm(about("alarm_leg_without_keys", "leave_and_report", "place", decimal(uint64(leg.Leaf))))
			}
		}
		for _, at := range s.member.order {
			if !said[at] && now.Sub(s.member.since) > settle {
				s.alarm(about("alarm_hidden_member", "leave_and_report", "name", s.nameAt(at)))
			}
		}
	}
	s.enforce()
}

// passes takes renewed passes. One that is not good is an alarm, and changes nothing.
func (s *session) passes(m *signal.Passes) {
	if s.trust == nil || s.member == nil {
		return
	}
	now := s.cfg.Now()
	own := conclave.DeviceOf(s.cfg.Identity.Signer.Public())
	for _, p := range m.Passes {
		if err := s.trust.renew(p.Pass); err != nil {
			s.alarm(problemOf(err, "pass_policy", "join_again"))
			continue
		}
		if q, err := pass.ParsePass(p.Pass); err != nil || q.Device != own {
			continue
		}
		// It will stand in the own leaf, so it must be good.
		good, err := s.trust.Pass(p.Pass, now)
		if err != nil {
			s.alarm(problemOf(err, "pass_signature", "join_again"))
			continue
		}
		s.trust.own = good
		s.admitted.Pass = p.Pass
		s.passTimes(p.Pass, now)
	}
	if !s.member.entered {
		return
	}
	s.member.readLeaves(now)
	s.enforce()
	if s.trust.forged != nil {
		s.alarm(problemOf(s.trust.forged, "pass_signature", "join_again"))
		s.trust.forged = nil
	}
	s.showRoster()
}

func (s *session) renew() {
	if s.state != StateIn && s.state != StateEntering {
		return
	}
	s.send(&signal.Renew{})
	s.after(dueRenew, renewAtLeast) // unless the pass comes
}

func (s *session) slots(m *signal.Slots) {
	if s.admitted == nil {
		return
	}
	c := s.admitted.Slots
	m.Audio, m.Camera, m.Screen = fit(m.Audio, c.Audio), fit(m.Camera, c.Camera), fit(m.Screen, c.Screen)
	s.said = m
	s.showSlots()
}

// showSlots tells the owner of the slots that the server said last. That the room is crowded is believed only where it can
// be: a server could else have everybody's loudness told in a room of two, and nobody missed in it.
func (s *session) showSlots() {
	m := *s.said
	m.Crowded = m.Crowded && s.member != nil && len(s.member.order) > s.admitted.Slots.Audio
	s.emit(Event{Slots: &SlotsEvent{Audio: m.Audio, Camera: m.Camera, Screen: m.Screen, Crowded: m.Crowded}})
	s.heartbeat.crowd(m.Crowded, s.cfg.Now())
	s.cfg.Media.Slots(m)
}

// fit returns exactly n slots: the owner has no more, and an absent one is empty.
func fit(list []int, n int) []int {
	out := make([]int, max(0, min(n, 256)))
	for i := range out {
		out[i] = -1
		if i < len(list) && list[i] >= 0 {
			out[i] = list[i]
		}
	}
	return out
}

// stranger is a frame that an honest server never forwards.
func (s *session) stranger(stream Stream, leaf int) {
	if leaf < 0 {
		s.alarm(about("alarm_stranger", "leave_and_report", "stream", stream.String(), "place", "–"))
		return
	}
	code, of := "alarm_stranger", "place"
	if s.member != nil && s.member.leaves[mls.LeafIndex(leaf)] != nil {
		code, of = "alarm_wrong_stream", "name"
	}
	s.alarm(about(code, "leave_and_report", "stream", stream.String(), of, s.nameAt(mls.LeafIndex(leaf))))
}

// nameAt names who is at a place, by what the leaf proves; the place itself where that is nobody.
func (s *session) nameAt(at mls.LeafIndex) string {
	if s.member != nil && s.member.leaves[at] != nil {
		return s.member.leaves[at].Statement.Name
	}
	return decimal(uint64(at))
}

// claimed is the name in a statement that is not proven.
func claimed(statement []byte) string {
	if st, err := pass.ParseStatement(statement); err == nil {
		return st.Name
	}
	return "–"
}

// askedOf names whom a proposal asks to remove; nobody where it is of another kind or cannot be read.
func (s *session) askedOf(public *mls.PublicMessage) string {
	if public != nil {
		if r, ok := public.Content.Proposal.(*mls.Remove); ok {
			return s.nameAt(r.Removed)
		}
	}
	return "–"
}

// sentBy names who sent a handshake message: the member that it says, who a joiner claims to be, or the host that
// delivered what no member sent.
func (s *session) sentBy(encoded []byte) string {
	var m mls.Message
	if mls.Unmarshal(encoded, &m) != nil || m.Public == nil {
		return s.cfg.Host
	}
	content := &m.Public.Content
	switch {
	case content.Sender.Type == mls.SenderMember:
		return s.nameAt(content.Sender.Leaf)
	case content.Commit != nil && content.Commit.Path != nil:
		return claimed(content.Commit.Path.LeafNode.Credential.Identity)
	}
	return s.cfg.Host
}
