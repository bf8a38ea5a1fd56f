package server

import (
	"errors"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/pass"
	"conclave/roster"
	"conclave/server/delivery"
	"conclave/server/reply"
	"conclave/signal"
)

// What a meeting is for stands in its group's context: the level and the policy. It is changed by a proposal of ours that a
// member commits, and only once nobody holds keys who does not pass under it:
//
//   - a level is raised: every leg is ruled at the new one. Who does not pass is quarantined; the others get passes for it,
//     which are good at the old level too. When the removals are committed, the change is proposed; when that is committed,
//     the new level is in force, and all are told.
//   - the policy is another: as above, in two changes. The first has passes of both policies count, so that all can be
//     renewed; the second ends the former one's.
//
// Meanwhile nobody comes in: whoever asks waits, and is let in by itself.

// change is one that is under way.
type change struct {
	by    conclave.LegID      // who raised the level; zero: the administrator's policy
	from  pass.MeetingContext // in force when it began
	since time.Time
	asked time.Time // when the members were last asked to commit
}

// changing says whether the level is being raised, or the policy changed: nobody comes in meanwhile.
func (r *room) changing() bool { return r.change != nil }

// target is what the group shall be for.
func (r *room) target() pass.MeetingContext {
	return pass.MeetingContext{Meeting: r.meeting.ID, Level: r.meeting.Level, PolicyHash: r.policy().Hash()}
}

// passes is what passes are signed for: the meeting's level, and the policy that the members go by.
func (r *room) passes() pass.MeetingContext {
	return pass.MeetingContext{Meeting: r.meeting.ID, Level: r.meeting.Level, PolicyHash: r.group.Meeting().PolicyHash}
}

// raise is the chair's wish to raise the level.
func (r *room) raise(by roster.Leg, m *signal.Raise) error {
	switch {
	case by.Role != conclave.RoleChair || by.Standing != roster.Member:
		return problemNotChair
	case r.changing():
		return conclave.Problem{Code: "level_changing", Fix: "wait_a_minute"}
	case m.Level <= r.meeting.Level || int(m.Level) >= len(r.policy().Levels()):
		return conclave.Problem{Code: "level_not_higher", Fix: "open_new_meeting"}
	}
	if err := r.mayCarry(by, m.Level); err != nil {
		return err
	}
	// What a level demands of the record is no less demanded of a meeting that comes to it later.
	if err := r.witnessed(&identity.Meeting{Level: m.Level, Opened: r.meeting.Opened}); err != nil {
		return err
	}
	if err := r.record(audit.Record{Kind: audit.KindLevelRaised, By: by.ID, Device: by.Device, Level: &m.Level, Outcome: "wait"}); err != nil {
		return err
	}
	// Two persons excepted what they did for what was said until now, not for this.
	r.act(r.roster.EndExceptions())
	if err := r.keepAside(); err != nil {
		return err
	}
	// From here on everybody who comes is ruled at the new level.
	if err := r.directory.RaiseMeeting(r.ctx, r.meeting.ID, m.Level); err != nil {
		return err
	}
	from := r.group.Meeting()
	r.meeting.Level = m.Level
	r.begin(change{by: by.ID, from: from})
	return nil
}

// mayCarry rules a chair's own line at a level that they wish for, before anything is done that cannot be undone: one press
// would else put out the person who pressed, and perhaps everybody. What a touch of their passkey would put right does not
// hinder them: they are asked for it as all others are.
func (r *room) mayCarry(by roster.Leg, level conclave.Level) error {
	a, known, err := r.askerOf(by)
	if err != nil || !known {
		return reply.Trouble
	}
	j, err := r.judge(r.ctx, a, r.meeting.ID, true)
	if err != nil {
		return err
	}
	policy, now := r.policy(), r.now()
	request := j.request
	request.Meeting.Level = level
	if j.passkey && policy.NeedsAssertion(request, now) {
		request.Facts = touched(request.Facts)
	}
	ruling := policy.Rule(request, now)
	if ruling.Outcome != conclave.Refuse {
		return nil
	}
	first := ruling.Reasons[0]
	return conclave.Problem{Code: "level_own_line", Args: map[string]string{"level": policy.Levels().Name(level), "why": first.Code}, Fix: first.Fix}
}

// begin has the room become one for another level or policy.
func (r *room) begin(c change) {
	c.since = r.now()
	r.change = &c
	for _, leg := range r.roster.Legs() {
		if leg.Standing == roster.Admitted {
			r.hold(leg, false)
		}
	}
	r.ruleLegs()
	r.dropUnknown()
	r.advance()
}

// dropUnknown puts out members whose line is lost and of whom nothing is known since a restart: they cannot be ruled on. They
// come back as anybody does.
func (r *room) dropUnknown() {
	for _, leg := range r.roster.Legs() {
		if leg.Standing == roster.Member && r.seats[leg.ID] == nil && r.away[leg.ID] == nil {
			r.act(r.roster.Drop(leg.ID, conclave.Problem{Code: "place_lost", Fix: "join_again"}, r.now()))
		}
	}
}

// advance goes on with a change as far as it can now: it waits for removals, and for members to commit.
func (r *room) advance() {
	if r.change == nil || r.broken {
		return
	}
	to := r.target()
	if !r.group.Exists() {
		_, _, _ = r.group.Change(r.ctx, to, r.now()) // nobody is in it whom it could hurt
		r.changed()
		return
	}
	now := r.group.Meeting()
	switch {
	case now == to:
		r.changed()
	case r.roster.Going() > 0:
	default:
		if now.PolicyHash != to.PolicyHash {
			to.FormerPolicy = now.PolicyHash
		}
		r.proposeChange(to)
	}
}

// changeAgain is how long members have to commit a change before it is logged that they have not.
const changeAgain = 5 * time.Second

func (r *room) proposeChange(to pass.MeetingContext) {
	var message []byte
	var fresh bool
	err := r.await(func() (err error) {
		message, fresh, err = r.group.Change(r.ctx, to, r.now())
		return err
	})
	switch {
	case errors.Is(err, delivery.ErrStore):
		r.fail("propose a change", err)
	case err != nil:
		r.cfg.Log.Error("change not proposed", "meeting", r.meeting.ID, "cause", err)
	case fresh:
		r.change.asked = r.now()
		r.tellMembers(&signal.Proposal{Epoch: uint64(r.group.Epoch()), Message: message})
	case r.now().Sub(r.change.asked) >= changeAgain:
		r.cfg.Log.Error("no member commits a change", "meeting", r.meeting.ID, "since", r.change.since)
		r.change.asked = r.now()
	}
}

// contextChanged is called when a commit has made the group one for something else.
func (r *room) contextChanged() {
	if r.change == nil {
		return
	}
	if r.group.Meeting() != r.target() {
		// The former policy's passes still count: now all get new ones.
		r.ruleLegs()
		r.dropUnknown()
	}
	r.advance()
}

// changed is the end of a change: it is in force, and told.
func (r *room) changed() {
	c := r.change
	r.change = nil
	to := r.group.Meeting()
	if to.Level != c.from.Level {
		r.note(audit.Record{Kind: audit.KindLevelRaised, By: c.by, Level: &to.Level, Outcome: "done", Epoch: uint64(r.group.Epoch())})
	}
	if to.PolicyHash != c.from.PolicyHash {
		r.note(audit.Record{Kind: audit.KindPolicyChanged, Policy: to.PolicyHash[:], Outcome: "done", Epoch: uint64(r.group.Epoch())})
	}
	r.cfg.Log.Info("meeting is for another level or policy", "meeting", r.meeting.ID, "level", r.policy().Levels().Name(to.Level), "took_ms", r.now().Sub(c.since).Milliseconds())
	for _, leg := range r.roster.Legs() {
		switch leg.Standing {
		case roster.Member:
			r.send(leg.ID, &signal.Changed{Meeting: r.meetingMessage(leg.Role), By: c.by})
		case roster.Waiting:
			r.ruleAnew(leg.ID) // who was held back comes in
		}
	}
	r.rosterChanged(true)
}

// meetingMessage is what an admitted leg is told of the meeting: what is in force.
func (r *room) meetingMessage(role conclave.Role) signal.Meeting {
	m := r.group.Meeting()
	return signal.Meeting{
		Title: r.meeting.Title, Level: m.Level, LevelName: r.policy().Levels().Name(m.Level), PolicyHash: m.PolicyHash[:],
		Since: r.meeting.Opened, Until: r.meeting.Until, Role: role,
	}
}

// early says whether who asks has to wait for the meeting to start.
func (r *room) early(j *judgement) bool {
	return !j.request.Chair && r.policy().Levels().StartsWithChair(r.meeting.Level) && !r.roster.Started()
}

// started lets in who waited for the meeting to start.
func (r *room) started() {
	for _, leg := range r.roster.Legs() {
		if leg.Standing == roster.Waiting && leg.Early {
			r.ruleAnew(leg.ID)
		}
	}
}
