package server

import (
	"crypto/sha256"
	"errors"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/mls"
	"conclave/pass"
	"conclave/roster"
	"conclave/server/delivery"
	"conclave/sfu"
	"conclave/signal"
)

// What happens in a room, one message at a time. All of this runs on the room's goroutine.

// join seats a leg that was ruled on, at the door or past it. It says whether the leg is in the room now; if not, it was
// told why.
func (r *room) join(id conclave.LegID, s *seat, j *judgement, wait bool) bool {
	if r.broken {
		s.conn.send(&signal.Failed{Of: "join", Reason: problemTrouble})
		return false
	}
	// A revocation, or the meeting's end, that came since the ruling has looked at this room already, and not found the leg.
	now, err := r.judge(r.ctx, &s.asker, r.meeting.ID, false)
	if err != nil || now.request.Statement != j.request.Statement || now.request.Meeting.Ended {
		s.conn.send(&signal.Failed{Of: "join", Reason: problemTrouble})
		return false
	}
	if r.roster.Len() >= delivery.MaxMembers {
		s.conn.send(&signal.Refused{Reasons: []conclave.Problem{problemFull}, Again: true})
		return false
	}
	leg := roster.Leg{
		ID: id, Device: s.asker.device, Person: s.asker.statement.Person, Statement: s.asker.encoded, Role: conclave.RoleMember,
		Grade: s.grade, Facts: j.request.Facts, Standing: roster.Waiting,
	}
	if j.request.Chair {
		leg.Role = conclave.RoleChair
	}
	if wait {
		r.seats[id] = s
		r.act(r.roster.Join(leg, r.now()))
		s.conn.send(&signal.Waiting{Since: r.now()})
		return true
	}
	leg.Standing = roster.Admitted
	if leg.Pass, leg.PassUntil, err = r.signPass(r.ctx, r.context, id, leg.Device, leg.Grade, passLife); err != nil {
		r.cfg.Log.Error("pass not signed", "meeting", r.meeting.ID, "cause", err)
		s.conn.send(&signal.Failed{Of: "join", Reason: problemTrouble})
		return false
	}
	r.seats[id] = s
	r.act(r.roster.Join(leg, r.now()))
	return r.tellAdmitted(id, nil)
}

// tellAdmitted tells a leg all that joining needs; commits are those that a resuming leg has missed. It says whether the
// leg can be told.
func (r *room) tellAdmitted(id conclave.LegID, resumed func(*signal.Admitted)) bool {
	leg, _ := r.roster.Leg(id)
	credentials, err := r.media.Credentials(id)
	if err != nil {
		r.cfg.Log.Warn("no media for a leg", "meeting", r.meeting.ID, "leg", id, "cause", err)
		r.act(r.roster.Drop(id, problemFull, r.now()))
		return false
	}
	fingerprint := r.cfg.Media.Fingerprint()
	m := &signal.Admitted{
		Leg: id, Pass: leg.Pass, Grants: r.cfg.Organisation.Grants,
		Meeting: signal.Meeting{
			Title: r.meeting.Title, Level: r.meeting.Level, LevelName: r.cfg.Policy.Levels().Name(r.meeting.Level),
			PolicyHash: r.context.PolicyHash[:], Since: r.meeting.Opened, Role: leg.Role,
		},
		Slots:  signal.SlotCounts{Audio: r.cfg.Slots.Audio, Camera: r.cfg.Slots.Camera, Screen: r.cfg.Slots.Screen},
		Server: signal.Server{Ufrag: credentials.Ufrag, Password: credentials.Password, Fingerprint: fingerprint[:]},
	}
	for _, c := range r.cfg.Media.Candidates() {
		m.Server.Candidates = append(m.Server.Candidates, c.String())
	}
	if resumed != nil {
		resumed(m)
	} else {
		m.Group = r.groupState()
	}
	r.send(id, m)
	return true
}

// resume brings a member back to its place on a new connection. It returns false if the place is not kept.
func (r *room) resume(m *signal.Resume, s *seat) bool {
	if r.broken {
		return false
	}
	commits, ok := r.group.Since(mls.Epoch(m.Epoch))
	if !ok {
		return false
	}
	leg, ok := r.roster.Leg(m.Leg)
	if !ok || leg.Device != s.asker.device || leg.Standing != roster.Member {
		return false
	}
	if err := r.record(audit.Record{Kind: audit.KindResumed, Leg: leg.ID, Device: leg.Device, Epoch: uint64(r.group.Epoch())}); err != nil {
		r.cfg.Log.Error("leg not resumed", "meeting", r.meeting.ID, "cause", err)
		return false
	}
	effects, ok := r.roster.Resume(leg.ID, s.asker.device, r.now())
	if !ok {
		return false
	}
	if old := r.seats[leg.ID]; old != nil {
		old.conn.kill() // the client knows that it is dead
	}
	r.seats[leg.ID] = s
	r.act(effects)
	if !r.renewPass(leg.ID, s.grade) {
		return true // it was told
	}
	told := r.tellAdmitted(leg.ID, func(a *signal.Admitted) {
		a.Resumed = true
		for _, c := range commits {
			a.Commits = append(a.Commits, signal.Commit{Epoch: uint64(c.Epoch), Message: c.Message, Proposals: c.Proposals})
		}
		for _, p := range r.group.Pending() {
			a.Pending = append(a.Pending, signal.Proposal{Epoch: uint64(r.group.Epoch()), Message: p})
		}
	})
	if !told {
		return true
	}
	if err := r.media.Admit(leg.ID); err != nil {
		r.cfg.Log.Warn("media not opened", "meeting", r.meeting.ID, "leg", leg.ID, "cause", err)
	}
	r.send(leg.ID, &signal.Passes{Passes: r.groupState().Passes})
	r.send(leg.ID, r.slotsMessage())
	r.rosterChanged(true)
	return true
}

// disconnected says that a leg's connection is over. One that was replaced by another connection of the leg means nothing.
func (r *room) disconnected(id conclave.LegID, c *conn) {
	s := r.seats[id]
	if s == nil || s.conn != c {
		return
	}
	delete(r.seats, id)
	leg, ok := r.roster.Leg(id)
	if !ok {
		return
	}
	if leg.Standing == roster.Member {
		r.note(audit.Record{Kind: audit.KindLost, Leg: id, Device: leg.Device})
		r.extendPass(leg)
	}
	r.act(r.roster.Lose(id, r.now()))
}

// receive takes a message of a leg.
func (r *room) receive(id conclave.LegID, c *conn, m signal.Message) {
	if s := r.seats[id]; r.broken || s == nil || s.conn != c {
		return // of a connection that is on its way out
	}
	leg, ok := r.roster.Leg(id)
	if !ok {
		return
	}
	var err error
	switch m := m.(type) {
	case *signal.Enter:
		err = r.enter(leg, m)
	case *signal.Commit:
		err = r.commit(leg, m)
	case *signal.Media:
		err = r.connectMedia(leg, m)
	case *signal.State:
		r.act(r.roster.Show(id, roster.Shown{Muted: m.Muted, Camera: m.Camera, Screen: m.Screen, Hand: m.Hand}))
	case *signal.Renew:
		err = r.renew(leg)
	case *signal.Decide:
		err = r.decide(leg, m)
	case *signal.Remove:
		err = r.remove(leg, m)
	case *signal.Leave:
		r.leave(leg, m)
	default:
		err = problemTurn
	}
	if r.broken {
		return // the connection ends with the room, and the leg comes back: that is its answer
	}
	if err != nil {
		if !errors.As(err, new(conclave.Problem)) {
			r.cfg.Log.Warn("message not followed", "message", m.Type(), "meeting", r.meeting.ID, "leg", id, "cause", err)
		}
		c.send(&signal.Failed{Of: m.Type(), Reason: problemOf(err, problemTrouble)})
	}
}

// enter makes a leg a member, by a new group or an external commit.
func (r *room) enter(leg roster.Leg, m *signal.Enter) error {
	if leg.Standing != roster.Admitted {
		return problemTurn
	}
	var staged *delivery.Staged
	var err error
	if len(m.Tree) > 0 {
		staged, err = r.group.StageFounding(m.GroupInfo, m.Tree, leg.Device, r.now())
	} else {
		staged, err = r.group.StageJoin(m.Epoch, m.Commit, m.GroupInfo, leg.Device, r.now())
	}
	switch {
	case errors.Is(err, delivery.ErrStale), errors.Is(err, delivery.ErrNoGroup):
		r.queue.lost(leg.ID)
		return nil
	case errors.Is(err, delivery.ErrFull):
		return problemFull
	case err != nil:
		return r.refuseCommit(leg, err)
	}
	r.queue.done(leg.ID)
	leaf := uint32(staged.Leaf)
	if err := r.record(audit.Record{Kind: audit.KindEnter, Leg: leg.ID, Device: leg.Device, Grade: &leg.Grade, Leaf: &leaf,
		Epoch: uint64(staged.Epoch), TreeHash: staged.TreeHash}); err != nil {
		return err
	}
	if err := r.apply(staged); err != nil {
		return err
	}
	effects, err := r.roster.Enter(leg.ID, roster.Leaf(leaf), rosterLeaves(staged.Removed), r.now())
	if err != nil {
		panic("server: a leg that was admitted cannot enter: " + err.Error())
	}
	if err := r.keep(); err != nil {
		r.fail("enter", err)
		return err
	}
	if len(m.Commit) > 0 {
		frame := signal.Encode(&signal.Commit{Epoch: m.Epoch, Message: m.Commit})
		for id, s := range r.seats {
			if l, ok := r.roster.Leg(id); ok && l.Standing == roster.Member && id != leg.ID {
				s.conn.sendFrame(frame)
			}
		}
	}
	r.send(leg.ID, &signal.Entered{Epoch: uint64(staged.Epoch), Leaf: leaf})
	r.act(effects)
	if err := r.media.Admit(leg.ID); err != nil {
		r.cfg.Log.Warn("media not opened", "meeting", r.meeting.ID, "leg", leg.ID, "cause", err)
	}
	r.send(leg.ID, r.slotsMessage())
	r.slotsDue = true
	return nil
}

// commit orders a member's commit.
func (r *room) commit(leg roster.Leg, m *signal.Commit) error {
	if leg.Standing != roster.Member {
		return problemTurn
	}
	staged, err := r.group.StageCommit(m.Epoch, m.Message, m.GroupInfo, mls.LeafIndex(leg.Leaf), r.now())
	switch {
	case errors.Is(err, delivery.ErrStale):
		r.send(leg.ID, &signal.Stale{Epoch: uint64(r.group.Epoch())})
		return nil
	case err != nil:
		return r.refuseCommit(leg, err)
	}
	leaf := uint32(leg.Leaf)
	if err := r.record(audit.Record{Kind: audit.KindCommit, Leg: leg.ID, Device: leg.Device, Leaf: &leaf,
		Epoch: uint64(staged.Epoch), TreeHash: staged.TreeHash}); err != nil {
		return err
	}
	if err := r.apply(staged); err != nil {
		return err
	}
	effects := r.roster.Committed(rosterLeaves(staged.Removed))
	if err := r.keep(); err != nil {
		r.fail("commit", err)
		return err
	}
	r.tellMembers(&signal.Commit{Epoch: m.Epoch, Message: m.Message})
	if len(staged.Removed) > 0 {
		// Members hold roster and tree against each other: the roster follows the commit without delay.
		r.rosterChanged(true)
	}
	r.act(effects)
	return nil
}

// apply orders a change. If the store fails, nobody knows whether it was ordered: the room is opened anew.
func (r *room) apply(staged *delivery.Staged) error {
	err := r.group.Apply(r.ctx, staged)
	if errors.Is(err, delivery.ErrStore) {
		r.fail("order a commit", err)
	}
	return err
}

func (r *room) refuseCommit(leg roster.Leg, cause error) error {
	problem := problemOf(cause, problemCommit)
	r.cfg.Log.Warn("commit refused", "meeting", r.meeting.ID, "leg", leg.ID, "cause", cause)
	r.note(audit.Record{Kind: audit.KindCommitRefused, Leg: leg.ID, Device: leg.Device, Codes: []string{problem.Code}, Epoch: uint64(r.group.Epoch())})
	return problem
}

func rosterLeaves(leaves []mls.LeafIndex) []roster.Leaf {
	out := make([]roster.Leaf, len(leaves))
	for i, l := range leaves {
		out[i] = roster.Leaf(l)
	}
	return out
}

// connectMedia makes the server's end of a leg's media path.
func (r *room) connectMedia(leg roster.Leg, m *signal.Media) error {
	if leg.Standing != roster.Admitted && leg.Standing != roster.Member {
		return problemTurn
	}
	fingerprint := r.cfg.Media.Fingerprint()
	seat := r.seats[leg.ID]
	if string(m.ServerFingerprint) != string(fingerprint[:]) ||
		!verifyLeaf(seat.asker.statement.LeafKey, signal.MediaContent(r.meeting.ID, leg.ID, m), m.Signature) {
		return problemMedia
	}
	err := r.media.Connect(leg.ID, sfu.Offer{
		Ufrag: m.Ufrag, Fingerprint: [sha256.Size]byte(m.Fingerprint), Microphone: m.SSRC.Microphone, Camera: m.SSRC.Camera,
		Screen: m.SSRC.Screen, Opus: m.Opus, VP8: m.VP8,
	})
	if err != nil {
		r.cfg.Log.Warn("media not connected", "meeting", r.meeting.ID, "leg", leg.ID, "cause", err)
		return problemMedia
	}
	r.send(leg.ID, &signal.MediaReady{})
	return nil
}

// renew rules anew on a leg and gives it a fresh pass, or puts it out.
func (r *room) renew(leg roster.Leg) error {
	s := r.seats[leg.ID]
	if leg.Standing != roster.Admitted && leg.Standing != roster.Member {
		return problemTurn
	}
	if !s.renew.take(1.0/30, 4, r.now()) {
		return problemTooMany
	}
	return r.ruleAnew(leg, s)
}

// recheck rules anew on the legs of a device of which something has changed.
func (r *room) recheck(device conclave.DeviceID) {
	for _, leg := range r.roster.Legs() {
		if leg.Device != device {
			continue
		}
		var err error
		if s := r.seats[leg.ID]; s != nil {
			err = r.ruleAnew(leg, s)
		} else {
			err = r.ruleAbsent(leg)
		}
		if err != nil {
			r.cfg.Log.Error("leg not ruled anew", "meeting", r.meeting.ID, "leg", leg.ID, "cause", err)
		}
	}
}

// ruleAbsent rules anew on a leg whose line is lost, and puts it out if it may not come back: it has its keys, and its
// media path may stand while its signalling does not.
func (r *room) ruleAbsent(leg roster.Leg) error {
	statement, err := pass.ParseStatement(leg.Statement)
	if err != nil {
		return err
	}
	j, err := r.judge(r.ctx, &asker{transport: transportPlain, encoded: leg.Statement, statement: statement, device: leg.Device}, r.meeting.ID, true)
	if err != nil {
		return err
	}
	ruling, err := r.rule(r.ctx, &j, r.meeting.ID, leg.ID, leg.Device)
	if err != nil {
		return err
	}
	if ruling.Outcome != conclave.Admit {
		r.act(r.roster.Drop(leg.ID, ruling.Reasons[0], r.now()))
	}
	return nil
}

// notBack puts a leg out that came back, and that the ruling no longer admits. One that has another connection stays: that
// one was ruled on by itself.
func (r *room) notBack(id conclave.LegID, device conclave.DeviceID, why conclave.Problem) {
	if leg, ok := r.roster.Leg(id); ok && leg.Device == device && r.seats[id] == nil {
		r.act(r.roster.Drop(id, why, r.now()))
	}
}

// ruleAnew gives a leg a fresh pass, or puts it out.
func (r *room) ruleAnew(leg roster.Leg, s *seat) error {
	j, err := r.judge(r.ctx, &s.asker, r.meeting.ID, true)
	if err != nil {
		return err
	}
	ruling, err := r.rule(r.ctx, &j, r.meeting.ID, leg.ID, leg.Device)
	if err != nil {
		return err
	}
	if ruling.Outcome != conclave.Admit {
		r.act(r.roster.Drop(leg.ID, ruling.Reasons[0], r.now()))
		return nil
	}
	if leg.Standing == roster.Waiting {
		return nil
	}
	s.grade = ruling.Grade
	r.renewPass(leg.ID, ruling.Grade)
	return nil
}

// renewPass signs a fresh pass and tells it to all members. If it cannot, it says so to the leg.
func (r *room) renewPass(id conclave.LegID, grade conclave.Grade) bool {
	leg, _ := r.roster.Leg(id)
	b, until, err := r.signPass(r.ctx, r.context, id, leg.Device, grade, passLife)
	if err != nil {
		r.cfg.Log.Error("pass not renewed", "meeting", r.meeting.ID, "cause", err)
		r.send(id, &signal.Failed{Of: "renew", Reason: problemTrouble})
		return false
	}
	r.act(r.roster.Pass(id, b, until, grade))
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

// decide is the chair's word on a leg at the door. Who is let in is ruled on once more: the chair decides inside policy.
func (r *room) decide(by roster.Leg, m *signal.Decide) error {
	outcome := "refuse"
	if m.Admit {
		outcome = "admit"
	}
	if by.Role != conclave.RoleChair || by.Standing != roster.Member {
		return conclave.Problem{Code: "not_chair", Fix: "ask_chair"} // not worth a record
	}
	if err := r.record(audit.Record{Kind: audit.KindDecision, Leg: m.Leg, By: by.ID, Outcome: outcome}); err != nil {
		return err
	}
	effects, err := r.roster.Decide(by.ID, m.Leg, m.Admit, r.now())
	if err != nil {
		return err
	}
	r.act(effects)
	return nil
}

// letIn carries out roster.Admit.
func (r *room) letIn(id conclave.LegID) {
	s := r.seats[id]
	j, err := r.judge(r.ctx, &s.asker, r.meeting.ID, true)
	var ruling conclave.Ruling
	leg, _ := r.roster.Leg(id)
	if err == nil {
		ruling, err = r.rule(r.ctx, &j, r.meeting.ID, id, leg.Device)
	}
	if err == nil && ruling.Outcome == conclave.Admit {
		var b []byte
		var until time.Time
		if b, until, err = r.signPass(r.ctx, r.context, id, leg.Device, ruling.Grade, passLife); err == nil {
			r.act(r.roster.Pass(id, b, until, ruling.Grade))
			r.tellAdmitted(id, nil)
			return
		}
	}
	why := problemTrouble
	switch {
	case err != nil:
		r.cfg.Log.Error("leg not let in", "meeting", r.meeting.ID, "cause", err)
	case len(ruling.Reasons) > 0:
		why = ruling.Reasons[0]
	}
	r.act(r.roster.Drop(id, why, r.now()))
}

func (r *room) remove(by roster.Leg, m *signal.Remove) error {
	effects, err := r.roster.Remove(by.ID, m.Leg, m.Reason, r.now())
	if err != nil {
		return err
	}
	r.remover = by.ID
	r.act(effects)
	r.remover = conclave.LegID{}
	return nil
}

// leave ends a leg by its own wish. A member's own proposal is relayed where it is good; else we propose.
func (r *room) leave(leg roster.Leg, m *signal.Leave) {
	proposed := false
	if leg.Standing == roster.Member && len(m.Proposal) > 0 {
		fresh, err := r.group.Propose(r.ctx, m.Proposal, mls.LeafIndex(leg.Leaf), r.now())
		switch {
		case errors.Is(err, delivery.ErrStore):
			r.fail("leave", err)
			return
		case err != nil:
			// It may just have been overtaken by a commit.
			r.cfg.Log.Info("own removal not relayed", "meeting", r.meeting.ID, "leg", leg.ID, "cause", err)
		default:
			proposed = true
		}
		if fresh && proposed {
			defer func() {
				r.tellMembers(&signal.Proposal{Epoch: uint64(r.group.Epoch()), Message: m.Proposal})
			}()
		}
	}
	r.act(r.roster.Leave(leg.ID, proposed, r.now()))
}

// end puts everybody out: the meeting is over.
func (r *room) end() { r.act(r.roster.End(problemOver, r.now())) }

// act carries out effects in their order.
func (r *room) act(effects []roster.Effect) {
	keep := false
	for _, e := range effects {
		switch e := e.(type) {
		case roster.Admit:
			r.letIn(e.Leg)
		case roster.Cut:
			keep = true
			r.cut(e)
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
		case roster.Gone:
			r.gone(e)
		case roster.Changed:
			r.rosterChanged(false)
		case roster.Dropped:
			keep = true
			r.note(audit.Record{Kind: audit.KindGroupDropped, Epoch: uint64(r.group.Epoch())})
			if err := r.group.Drop(r.ctx); err != nil {
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

// cut stops a leg's media. The record comes first; it costs less than a packet's time.
func (r *room) cut(e roster.Cut) {
	leg, ok := r.roster.Leg(e.Leg)
	kind := audit.KindRemoval
	if e.Why.Code == "left" {
		kind = audit.KindLeave
	}
	rec := audit.Record{Kind: kind, Leg: e.Leg, By: r.remover, Codes: []string{e.Why.Code}, Epoch: uint64(r.group.Epoch())}
	if ok {
		leaf := uint32(leg.Leaf)
		rec.Device, rec.Leaf = leg.Device, &leaf
	}
	r.note(rec)
	if err := r.media.Cut(e.Leg); err != nil && !errors.Is(err, sfu.ErrNoLeg) {
		r.cfg.Log.Error("media not cut", "meeting", r.meeting.ID, "leg", e.Leg, "cause", err)
	}
	r.slotsDue = true
}

// propose hands the members the removal of a leaf.
func (r *room) propose(e roster.Propose) {
	message, err := r.group.Remove(r.ctx, mls.LeafIndex(e.Leaf), r.now())
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
	if e.Was == roster.Waiting || e.Was == roster.Admitted {
		kind = audit.KindLeave
	}
	r.note(audit.Record{Kind: kind, Leg: e.Leg, Device: e.Device, Codes: []string{e.Why.Code}, Epoch: uint64(r.group.Epoch())})
	r.media.Remove(e.Leg)
	r.queue.done(e.Leg)
	delete(r.seats, e.Leg)
	r.slotsDue = true
}
