package server

import (
	"slices"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/gate"
	"conclave/mls"
	"conclave/pass"
	"conclave/roster"
	"conclave/server/reply"
	"conclave/signal"
)

// A leg is ruled anew whenever something is different: its line, its papers, the policy, the level, who chairs. What follows
// from a ruling is the same whatever the cause, and stands here.

// healEvery is how often a leg in quarantine is looked at without a cause: rules may speak of the time.
const healEvery = 5 * time.Second

// final lists the reasons that no change of the line takes away: who has one of them is put out. Everybody else keeps a
// place in quarantine.
var final = []string{"statement_invalid", "person_unknown", "person_removed", "not_invited", "meeting_over"}

func isFinal(reasons []conclave.Problem) (conclave.Problem, bool) {
	i := slices.IndexFunc(reasons, func(p conclave.Problem) bool { return slices.Contains(final, p.Code) })
	if i < 0 {
		return conclave.Problem{}, false
	}
	return reasons[i], true
}

// ruleAll rules anew on every leg of every room, those at the door and in quarantine too: the policy, the networks or
// something else that rulings rest on is another. It does not wait for the rooms.
func (s *Server) ruleAll(why string) {
	s.cfg.Log.Info("every leg is ruled anew", "why", why)
	s.wait.Go(func() {
		s.tellRooms(func(r *room) { r.press(r.ruleEverybody, r.anyFailing(conclave.DeviceID{})) })
	})
}

// ruleEverybody rules anew on every leg. Where the policy is another, the room becomes one for it.
func (r *room) ruleEverybody() {
	if now := r.group.Meeting(); now.PolicyHash != r.policy().Hash() && !r.changing() {
		hash := r.policy().Hash()
		r.note(audit.Record{Kind: audit.KindPolicyChanged, Outcome: "wait", Policy: hash[:]})
		r.begin(change{from: now})
		return
	}
	r.ruleLegs()
}

func (r *room) ruleLegs() {
	for _, leg := range r.roster.Legs() {
		r.ruleAnew(leg.ID)
	}
}

// recheck rules anew on the legs of a device of which something has changed.
func (r *room) recheck(device conclave.DeviceID) {
	for _, leg := range r.roster.Legs() {
		if leg.Device == device {
			r.ruleAnew(leg.ID)
		}
	}
}

// ruleAnew rules anew on a leg and does what follows. It returns whether it could.
func (r *room) ruleAnew(id conclave.LegID) bool {
	leg, ok := r.roster.Leg(id)
	if r.broken || !ok || leg.Standing == roster.Leaving {
		return false
	}
	if err := r.tryRuleAnew(leg); err != nil {
		r.cfg.Log.Error("leg not ruled anew", "meeting", r.meeting.ID, "leg", leg.ID, "cause", err)
		return false
	}
	return true
}

func (r *room) tryRuleAnew(leg roster.Leg) error {
	a, known, err := r.askerOf(leg)
	if err != nil {
		return err
	}
	j, ruling, err := r.consider(leg.ID, leg.LetIn, a)
	if err != nil {
		return err
	}
	if _, out := isFinal(ruling.Reasons); !known && !out {
		return nil // what its line is shows when it comes back
	}
	r.follow(leg, &j, ruling)
	return nil
}

// askerOf returns who a leg is and what is known of its line. Of one whose line is lost that is what was known last, and
// after a restart of the server only who it is.
func (r *room) askerOf(leg roster.Leg) (a *asker, known bool, err error) {
	if a := r.knownOf(leg.ID); a != nil {
		return a, true, nil
	}
	statement, err := pass.ParseStatement(leg.Statement)
	if err != nil {
		return nil, false, err
	}
	return &asker{transport: transportPlain, encoded: leg.Statement, statement: statement, device: leg.Device}, false, nil
}

// consider judges and rules on a leg as everything is now, and records the ruling. One that takes keys and media from a leg
// does not wait for a disk, and is followed whether or not it can be recorded now.
func (r *room) consider(id conclave.LegID, letIn bool, a *asker) (judgement, conclave.Ruling, error) {
	j, err := r.judge(r.ctx, a, r.meeting.ID, letIn)
	if err != nil {
		return j, conclave.Ruling{}, err
	}
	if r.roster.SentAway(j.request.Person.ID) {
		j.request.Meeting.Door = admission.DoorChair
	}
	j.request.Excepted = r.excepted(id, &j)
	ruling, rec := r.ruling(r.policy(), r.now(), &j, r.meeting.ID, id, a.device)
	if leg, ok := r.roster.Leg(id); ok && takes(leg, ruling) {
		r.note(rec)
	} else if err := r.record(rec); err != nil {
		return j, ruling, err
	}
	r.ruled(r.ctx, &j, &ruling, a.device)
	if rings := r.mayRing(&j, a); rings != a.rings {
		a.rings = rings
		r.rosterChanged(false)
	}
	return j, ruling, nil
}

// past says whether a leg is past the door.
func past(leg roster.Leg) bool {
	return leg.Standing == roster.Member || leg.Standing == roster.Admitted
}

// takes says whether a ruling takes something from a leg, or leaves it without.
func takes(leg roster.Leg, ruling conclave.Ruling) bool {
	return ruling.Outcome == conclave.Refuse || ruling.Outcome == conclave.Wait && past(leg)
}

// follow does what follows from a ruling on a leg of the room.
func (r *room) follow(leg roster.Leg, j *judgement, ruling conclave.Ruling) {
	if why, out := isFinal(ruling.Reasons); out {
		r.act(r.roster.Drop(leg.ID, why, r.now()))
		return
	}
	r.noteFacts(leg, j)
	past := past(leg)
	switch {
	case takes(leg, ruling):
		r.noteExceptable(leg.ID, j)
		r.act(r.roster.Quarantine(leg.ID, ruling.Reasons, r.now()))
	case ruling.Outcome == conclave.Wait, !past && r.early(j):
		r.hold(leg, ruling.Outcome == conclave.Admit)
	case !past && r.heldBack():
		r.held = true
		r.hold(leg, false)
	case past:
		if s := r.seats[leg.ID]; s != nil {
			s.grade = ruling.Grade
		}
		r.renewPass(leg.ID, ruling.Grade)
	case leg.Standing == roster.Quarantined && !j.settles.IsZero():
		r.looked = j.settles.Add(-healEvery) // a loose contact brings nobody back; heal looks once the line has stayed so
	default:
		r.letBack(leg, ruling.Grade)
	}
}

// hold has a leg wait at the door, and says so where it did not wait already.
func (r *room) hold(leg roster.Leg, early bool) {
	if effects := r.roster.Hold(leg.ID, early, r.now()); effects != nil {
		r.act(effects)
		r.tellWaiting(leg.ID)
	}
}

func (r *room) tellWaiting(id conclave.LegID) {
	if leg, ok := r.roster.Leg(id); ok && leg.Standing == roster.Waiting {
		r.send(id, &signal.Waiting{Since: leg.Since, Early: leg.Early})
	}
}

// tellQuarantined says why a leg is in quarantine, and what a fresh assertion needs where one would help.
func (r *room) tellQuarantined(id conclave.LegID, reasons []conclave.Problem, since time.Time) {
	s := r.seats[id]
	if s == nil {
		return
	}
	m := &signal.Quarantined{Reasons: reasons, Since: since}
	leg, _ := r.roster.Leg(id)
	if leg.Seen {
		m.Level = r.policy().Levels().Name(r.meeting.Level)
	}
	j, err := r.judge(r.ctx, &s.asker, r.meeting.ID, leg.LetIn)
	if err == nil {
		m.Assertion, err = r.assertionWanted(r.ctx, &s.asker, &j)
	}
	if err != nil {
		r.cfg.Log.Error("leg in quarantine is not told what to assert", "meeting", r.meeting.ID, "leg", id, "cause", err)
	}
	s.conn.send(m)
}

// letBack lets a leg in from the door or from quarantine: with a pass, on the connection that it has. One whose line is lost
// is let in when it comes back.
func (r *room) letBack(leg roster.Leg, grade conclave.Grade) {
	s := r.seats[leg.ID]
	if s == nil {
		return
	}
	healed := leg.Standing == roster.Quarantined && leg.Seen
	if healed {
		if err := r.record(audit.Record{Kind: audit.KindHealed, Leg: leg.ID, Device: leg.Device, Grade: &grade}); err != nil {
			r.cfg.Log.Error("leg not let back", "meeting", r.meeting.ID, "leg", leg.ID, "cause", err)
			return
		}
	}
	b, until, err := r.signPass(r.ctx, r.passes(), &leg, grade, passLife)
	if err != nil {
		r.cfg.Log.Error("leg not let in", "meeting", r.meeting.ID, "cause", err)
		r.act(r.roster.Quarantine(leg.ID, []conclave.Problem{reply.Trouble}, r.now()))
		return
	}
	s.grade = grade
	r.act(r.roster.Admit(leg.ID, b, until, grade, r.now()))
	r.tellAdmitted(leg.ID, nil)
}

// letIn carries out roster.LetIn: the chair, or two persons, have let a leg in. It is ruled on once more, since all decide
// inside policy.
func (r *room) letIn(id conclave.LegID) { r.ruleAnew(id) }

// healDue is when legs in quarantine are looked at next; zero: there are none.
func (r *room) healDue() time.Time {
	if !slices.ContainsFunc(r.roster.Legs(), func(l roster.Leg) bool { return l.Standing == roster.Quarantined && l.Lost.IsZero() }) {
		return time.Time{}
	}
	return r.looked.Add(healEvery)
}

// heal looks whether a leg in quarantine would be let in now. Only what changes something is recorded.
func (r *room) heal() {
	r.looked = r.now()
	for _, leg := range r.roster.Legs() {
		if leg.Standing != roster.Quarantined || r.seats[leg.ID] == nil {
			continue
		}
		j, err := r.judge(r.ctx, &r.seats[leg.ID].asker, r.meeting.ID, leg.LetIn)
		j.request.Excepted = r.excepted(leg.ID, &j)
		if err == nil && r.policy().Rule(j.request, r.now()).Outcome != conclave.Refuse {
			r.ruleAnew(leg.ID)
		}
	}
}

// noteFacts keeps what is known of a leg's line, and records what is other than before.
func (r *room) noteFacts(leg roster.Leg, j *judgement) {
	effects := r.roster.Facts(leg.ID, j.request.Facts, j.request.Grade)
	if effects == nil {
		return
	}
	if before := provenOnly(leg.Facts); leg.Seen && (leg.Grade != j.request.Grade || !slices.Equal(before, provenOnly(j.request.Facts))) {
		r.note(audit.Record{Kind: audit.KindFacts, Leg: leg.ID, Device: leg.Device, Grade: &j.request.Grade, Facts: provenOnly(j.request.Facts)})
	}
	r.act(effects)
}

// facts takes what an endpoint claims of its line now, and rules anew.
func (r *room) facts(leg roster.Leg, m *signal.Facts) error {
	s := r.seats[leg.ID]
	if !s.facts.take(factsPerSecond, factsBurst, r.now()) {
		return problemTooMany
	}
	s.asker.claimed = m.Facts
	r.forgetPath(leg)
	if r.ruleAnew(leg.ID) {
		r.tellRuled(leg.ID)
	}
	return nil
}

// forgetPath has a leg without a media path be looked at without the one that was cut: where the next one goes shows once it
// is there. It takes a word of the leg's that something is different, or the room's keys would change for nothing again and
// again.
func (r *room) forgetPath(leg roster.Leg) {
	if leg.Standing == roster.Quarantined {
		r.seats[leg.ID].asker.media = mediaWay{}
	}
}

// A headset that is plugged in and out again brings two changes; who sends many has a loose contact.
const (
	factsPerSecond = 1
	factsBurst     = 20
)

// again takes the wish of a leg at the door or in quarantine to be looked at.
func (r *room) again(leg roster.Leg, m *signal.Join) error {
	if leg.Standing != roster.Quarantined && leg.Standing != roster.Waiting {
		return problemTurn
	}
	if len(m.Facts) > 0 {
		return r.facts(leg, &signal.Facts{Facts: m.Facts})
	}
	if !r.seats[leg.ID].facts.take(factsPerSecond, factsBurst, r.now()) {
		return problemTooMany
	}
	r.forgetPath(leg)
	r.ruleAnew(leg.ID)
	return nil
}

// named takes a member's word that another's pass has run out. It is looked at here: what is true of it follows by itself.
func (r *room) named(by roster.Leg, m *signal.Proposal) error {
	if by.Standing != roster.Member {
		return problemTurn
	}
	public, err := gate.ReadPublic(m.Message, mls.ContentProposal)
	if err != nil {
		return problemCommit
	}
	remove, ok := public.Content.Proposal.(*mls.Remove)
	if !ok {
		return problemCommit
	}
	if leg, ok := r.roster.OfLeaf(roster.Leaf(remove.Removed)); ok && !r.now().Before(leg.PassUntil) {
		r.tick()
	}
	return nil
}

// renew gives a leg a fresh pass, if it is ruled good enough.
func (r *room) renew(leg roster.Leg) error {
	if leg.Standing != roster.Admitted && leg.Standing != roster.Member {
		return nil // it was asked for before the quarantine
	}
	if !r.seats[leg.ID].renew.take(1.0/30, 4, r.now()) {
		return problemTooMany
	}
	return r.tryRuleAnew(leg)
}

// renewPass signs a fresh pass and tells it to all members. If it cannot, it says so to the leg.
func (r *room) renewPass(id conclave.LegID, grade conclave.Grade) bool {
	leg, _ := r.roster.Leg(id)
	b, until, err := r.signPass(r.ctx, r.passes(), &leg, grade, passLife)
	if err != nil {
		r.cfg.Log.Error("pass not renewed", "meeting", r.meeting.ID, "cause", err)
		r.send(id, &signal.Failed{Of: "renew", Reason: reply.Trouble})
		return false
	}
	r.act(r.roster.Pass(id, b, until, grade))
	r.closing() // a weaker line may close something
	if leg.Standing != roster.Member {
		r.send(id, &signal.Passes{Passes: []signal.LeafPass{{Pass: b}}})
		return true
	}
	if err := r.keep(); err != nil {
		// The pass itself is good; after a restart the leg would need another one.
		r.cfg.Log.Error("roster not kept", "meeting", r.meeting.ID, "cause", err)
	}
	r.tellMembers(&signal.Passes{Passes: []signal.LeafPass{{Leaf: uint32(leg.Leaf), Pass: b}}})
	return true
}

// decide is the chair's word on legs at the door, each ruled on by itself: the chair decides inside policy.
func (r *room) decide(by roster.Leg, m *signal.Decide) error {
	if by.Role != conclave.RoleChair || by.Standing != roster.Member {
		return problemNotChair // not worth a record
	}
	legs := append([]conclave.LegID{}, m.Legs...)
	if m.Leg != (conclave.LegID{}) && !slices.Contains(legs, m.Leg) {
		legs = append(legs, m.Leg)
	}
	var first error
	for _, id := range legs {
		// Of a group some may be gone, or decided on by another chair: the others come in.
		if err := r.decideOne(by, id, m.Admit); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (r *room) decideOne(by roster.Leg, id conclave.LegID, admit bool) error {
	if _, ok := r.roster.Leg(id); !ok {
		return problemNoLeg // not worth a record
	}
	outcome := "refuse"
	if admit {
		outcome = "admit"
	}
	if err := r.record(audit.Record{Kind: audit.KindDecision, Leg: id, By: by.ID, Outcome: outcome}); err != nil {
		return err
	}
	effects, err := r.roster.Decide(by.ID, id, admit, r.now())
	if err != nil {
		return err
	}
	r.act(effects)
	if leg, ok := r.roster.Leg(id); ok && admit && leg.Standing == roster.Quarantined && len(leg.Reasons) > 0 {
		return leg.Reasons[0] // nobody outranks policy: the chair learns what stands in the way
	}
	return nil
}
