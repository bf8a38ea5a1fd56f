package endpoint

import (
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"conclave"
	"conclave/mls"
	"conclave/pass"
	"conclave/signal"
)

var errReadiness = errors.New("endpoint: the document says something else than the answer")

// Quarantine is what happens when the own line is no longer good enough: the server cuts the media, and the others change
// their keys. This endpoint wipes its own at once, whatever the others do, says why, and stays on its connection; once it is
// admitted again it joins the group anew, as if it came for the first time.

// quarantined takes the server's word. It can only take keys away.
func (s *session) quarantined(m *signal.Quarantined) {
	if !s.greeted || !s.wanted || len(m.Reasons) == 0 {
		s.lost(errOutOfTurn)
		return
	}
	s.forget(dueAnswer)
	s.asked = true // Admitted may come by itself
	s.failed, s.lostAt = 0, nil
	s.suspend()
	since := m.Since
	again := s.state == StateQuarantined && s.level == m.Level && slices.EqualFunc(s.reasons, m.Reasons,
		func(a, b conclave.Problem) bool { return a.Code == b.Code && a.Fix == b.Fix })
	s.state, s.reasons, s.level = StateQuarantined, m.Reasons, m.Level
	if !again && !s.over {
		s.emit(Event{State: &StateEvent{State: StateQuarantined, Reasons: m.Reasons, Since: &since, Level: m.Level, Assertion: m.Assertion}})
	}
}

// suspend wipes all keys and ends the media path, until the endpoint is admitted anew.
func (s *session) suspend() {
	if s.place != nil {
		s.place.Epoch = 0
	}
	s.replaceMember(nil)
	s.roster, s.said, s.absent = nil, nil, nil
	s.forget(dueRenew)
	s.forget(dueRefresh)
	s.forget(dueRetire)
	s.forget(dueLook)
	s.forget(dueListen)
	s.forget(dueLapse)
	s.exposed = false
	s.heartbeat.reset()
	if s.offer != nil {
		s.offer()
		s.offer = nil
	}
	s.cfg.Media.Suspend()
}

// waiting says that somebody else decides, or that the room is not ready. One that was on its way in stops: it is told anew
// when it may.
func (s *session) waiting(m *signal.Waiting) {
	if !s.greeted || !s.wanted || s.state == StateIn {
		s.lost(errOutOfTurn)
		return
	}
	s.forget(dueAnswer)
	s.asked, s.lostAt = true, nil
	if s.member != nil || s.state == StateQuarantined {
		s.suspend()
	}
	if s.state == StateWaiting && s.early == m.Early || s.over {
		return
	}
	since := m.Since
	s.state, s.early = StateWaiting, m.Early
	s.emit(Event{State: &StateEvent{State: StateWaiting, Since: &since, Early: m.Early}})
}

// claim tells the server of facts that have changed.
func (s *session) claim(facts []conclave.Fact) {
	s.facts, s.cfg.Facts = facts, facts
	switch s.state {
	case StateChecked, StateRefused, StateWaiting, StateEntering, StateIn, StateQuarantined:
		s.send(&signal.Facts{Facts: facts})
	}
}

// changed tells the person that the level was raised, or the policy changed, once the group has it: the server's word alone
// changes nothing.
func (s *session) changed(m *signal.Changed) {
	if s.member == nil || !s.member.entered || s.admitted == nil {
		return
	}
	want := s.trust.want
	if m.Meeting.Level != want.Level {
		s.alarm(disagree("alarm_level", levelName(&m.Meeting, m.Meeting.Level), levelName(&s.admitted.Meeting, want.Level), "leave_and_report"))
		return
	}
	if string(m.Meeting.PolicyHash) != string(want.PolicyHash[:]) {
		s.alarm(disagree("alarm_policy", short(m.Meeting.PolicyHash), short(want.PolicyHash[:]), "leave_and_report"))
		return
	}
	e := s.meetingEvent(&m.Meeting)
	if m.By != (conclave.LegID{}) {
		e.Raised = s.nameOf(m.By)
	}
	s.admitted.Meeting = m.Meeting
	s.emit(Event{Meeting: e})
}

// levelName names a level as a meeting's announcement does, with its place in the order of levels; without a name where the
// announcement is of another level.
func levelName(m *signal.Meeting, level conclave.Level) string {
	if m.Level != level {
		return decimal(uint64(level))
	}
	return m.LevelName + " (" + decimal(uint64(level)) + ")"
}

// short is the beginning of a policy's fingerprint.
func short(policy []byte) string { return hex.EncodeToString(policy[:min(4, len(policy))]) }

func (s *session) meetingEvent(m *signal.Meeting) *MeetingEvent {
	return &MeetingEvent{Title: m.Title, Level: m.Level, LevelName: m.LevelName, Since: m.Since, Until: m.Until, Role: m.Role}
}

// nameOf returns the name of a leg's leaf, verified; "" for one without.
func (s *session) nameOf(leg conclave.LegID) string {
	if s.roster == nil || s.member == nil {
		return ""
	}
	for _, l := range s.roster.Legs {
		if l.Leg == leg {
			if found := s.member.leaves[mls.LeafIndex(l.Leaf)]; found != nil {
				return found.Statement.Name
			}
		}
	}
	return ""
}

// showAside lists what the room agrees on beside who is in it.
func (s *session) showAside(e *RosterEvent) {
	now := s.cfg.Now()
	own := s.ownPerson()
	for _, a := range s.roster.Away {
		st, err := s.trust.Statement(a.Statement, now)
		if err != nil {
			continue // its statement ran out: it is away all the same, and nobody's name is taken from the server
		}
		e.Away = append(e.Away, Away{Leg: a.Leg, Name: st.Name, Unit: st.Unit, Reasons: a.Reasons, Since: a.Since, Exceptable: a.Exceptable})
	}
	if p := s.roster.Paused; p != nil {
		e.Paused = &Paused{Since: p.Since, Can: s.chairs() || p.Open}
		if p.By != nil {
			e.Paused.By = s.nameOf(*p.By)
			e.Paused.Can = e.Paused.Can || *p.By == s.admitted.Leg
		}
	}
	for _, x := range s.roster.Exceptions {
		st, err := s.trust.Statement(x.Statement, now)
		if err != nil {
			continue
		}
		one := Exception{ID: x.ID, Leg: x.Leg, Name: st.Name, Waives: x.Waives, Reason: x.Reason, By: s.nameOf(x.By), Until: x.Until}
		if x.Second != nil {
			one.Second = s.nameOf(*x.Second)
		} else {
			one.Can = x.Leg != s.admitted.Leg && x.By != s.admitted.Leg && string(st.Person) != own
		}
		e.Exceptions = append(e.Exceptions, one)
	}
	e.Closed = append(e.Closed, s.roster.Closed...)
	e.Hushed, e.Shut, e.Offered = s.chairAct(s.roster.Hushed), s.chairAct(s.roster.Shut), s.chairAct(s.roster.Offered)
}

func (s *session) chairAct(a *signal.Act) *ChairAct {
	if a == nil {
		return nil
	}
	return &ChairAct{Since: a.Since, By: s.nameOf(a.By), To: s.nameOf(a.To), Mine: a.By == s.admitted.Leg, Can: a.To == s.admitted.Leg}
}

// chairs says whether this leg is the chair's now: the chair may be handed over.
func (s *session) chairs() bool {
	for i := range s.roster.Legs {
		if l := &s.roster.Legs[i]; l.Leg == s.admitted.Leg {
			return l.Role == conclave.RoleChair
		}
	}
	return false
}

// ownPerson is who holds this device.
func (s *session) ownPerson() string {
	if s.member != nil {
		if l := s.member.leaves[s.member.group.OwnLeaf()]; l != nil {
			return string(l.Statement.Person)
		}
	}
	return ""
}

// pausedNow says whether nobody is to send.
func (s *session) pausedNow() bool { return s.roster != nil && s.roster.Paused != nil }

// obeyPause has the owner of media stop or go on sending, as the room does.
func (s *session) obeyPause() {
	if on := s.pausedNow() || s.exposed; on != s.held {
		s.held = on
		s.cfg.Media.Hold(on)
		if !on {
			s.heartbeat.reset()
		}
	}
}

// ready takes the answer to Mission, whose document must hold under the pinned root.
func (s *session) ready(m *signal.Readiness) {
	e := &ReadyEvent{Level: m.Level, LevelName: m.LevelName, Ready: m.Ready, Reasons: m.Reasons, Document: m.Document, Grants: m.Grants}
	until, err := s.checkReadiness(m)
	if err != nil {
		s.cfg.Log.Warn("readiness not believed", "cause", err)
		s.emit(Event{Failed: &FailedEvent{Of: "mission", Reason: problemOf(err, "readiness_malformed", "test_again")}})
		return
	}
	e.Until = until
	s.emit(Event{Ready: e})
}

func (s *session) checkReadiness(m *signal.Readiness) (time.Time, error) {
	now := s.cfg.Now()
	t, err := pass.NewTrust(s.cfg.Organisation, s.cfg.Root, m.Grants, now)
	if err != nil {
		return time.Time{}, err
	}
	r, err := t.Readiness(m.Document, now)
	if err != nil {
		return time.Time{}, err
	}
	if r.Device != conclave.DeviceOf(s.cfg.Identity.Signer.Public()) || r.Level != m.Level || r.Ready != m.Ready {
		return time.Time{}, errReadiness
	}
	return r.NotAfter, nil
}
