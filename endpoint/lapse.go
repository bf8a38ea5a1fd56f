package endpoint

import (
	"time"

	"conclave"
	"conclave/gate"
	"conclave/mls"
	"conclave/pass"
	"conclave/signal"
)

// A pass lives for minutes, so that a ruling cannot outlive its reasons by more. The server removes whose pass it does not
// renew; where it does not, the members do it themselves, each by its own clock: they open nothing more of that leaf, propose
// its removal and commit it. A server that orders no such commit gets nothing more to forward either: rather than speak under
// the eyes of somebody who may not be there, an endpoint stops sending.

// papersEnd is when a leaf's pass runs out, or its statement, which is first.
func papersEnd(l *pass.Leaf) time.Time {
	if l.Statement.NotAfter.Before(l.Pass.NotAfter) {
		return l.Statement.NotAfter
	}
	return l.Pass.NotAfter
}

// lapsed says whether a leaf's pass is not good for what the group is for, or it or the statement ran out so long ago that
// its renewal cannot be on the way.
func (s *session) lapsed(at mls.LeafIndex) bool {
	l := s.member.leaves[at]
	if l == nil {
		return false
	}
	want := &s.trust.want
	return s.cfg.Now().Sub(papersEnd(l)) > lapse || l.Pass.Level < want.Level || !want.Rules(l.Pass.PolicyHash)
}

// enforce puts out leaves whose pass has lapsed, and comes back when the next one would.
func (s *session) enforce() {
	if s.member == nil || !s.member.entered || s.resuming {
		return
	}
	m, now := s.member, s.cfg.Now()
	s.forget(dueLapse)
	exposed := false
	barred := make(map[conclave.DeviceID]time.Time)
	for _, at := range m.order {
		l := m.leaves[at]
		if at == m.group.OwnLeaf() {
			continue // nobody puts itself out
		}
		if !s.lapsed(at) {
			s.enforceAt(papersEnd(l).Add(lapse + time.Second))
			continue
		}
		device := l.Statement.Device()
		since, known := m.barred[device]
		if !known {
			since = now
			s.cfg.Media.Bar(uint32(at))
			s.alarm(about("alarm_pass_lapsed", "remove_member", "name", l.Statement.Name))
		}
		barred[device] = since
		s.proposeLapsed(at, since)
		if now.Sub(since) >= removalLimit {
			exposed = true
			s.alarm(about("alarm_lapsed_heard", "leave_and_report", "name", l.Statement.Name))
		}
		s.enforceAt(now.Add(time.Second))
	}
	back := false
	for device := range m.barred {
		if _, still := barred[device]; !still && m.has(device) {
			back = true // its pass came after all: it is heard again in the next epoch
		}
	}
	m.barred, s.exposed = barred, exposed
	s.obeyPause()
	if back {
		s.handIn()
	}
}

func (s *session) enforceAt(t time.Time) {
	if due := s.due[dueLapse]; due.IsZero() || t.Before(due) {
		s.due[dueLapse] = t
	}
}

// proposeLapsed proposes the removal of a lapsed leaf when it is this member's turn to, unless somebody has.
func (s *session) proposeLapsed(at mls.LeafIndex, since time.Time) {
	m, now := s.member, s.cfg.Now()
	for _, r := range m.known {
		if r.change == nil && r.leaf == at {
			return
		}
	}
	turn := rank(m.group.OwnLeaf(), []mls.LeafIndex{at}, []mls.LeafIndex{at}, m.order)
	if now.Before(since.Add(time.Duration(turn)*rankStep)) || m.asked == at && m.askedIn == m.group.Epoch() && now.Sub(m.askedAt) < removalLimit {
		return
	}
	message, err := m.group.Propose(&mls.Remove{Removed: at}, now)
	if err != nil {
		s.cfg.Log.Warn("removal not proposed", "cause", err)
		return
	}
	// It counts once the server has handed it to all: a commit that refers to what others have not seen is refused.
	public, err := gate.ReadPublic(message, mls.ContentProposal)
	if err != nil {
		panic("endpoint: own proposal: " + err.Error())
	}
	m.group.ClearPending(public.Authenticated().ProposalRef(gate.Suite))
	m.asked, m.askedIn, m.askedAt = at, m.group.Epoch(), now
	s.send(&signal.Proposal{Epoch: uint64(m.group.Epoch()), Message: message})
}

// has says whether the device holds a leaf.
func (m *membership) has(device conclave.DeviceID) bool {
	for _, l := range m.leaves {
		if l.Statement.Device() == device {
			return true
		}
	}
	return false
}
