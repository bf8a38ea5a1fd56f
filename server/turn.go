package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"

	"conclave"
	"conclave/audit"
	"conclave/mls"
	"conclave/roster"
	"conclave/server/delivery"
	"conclave/server/reply"
	"conclave/sfu"
	"conclave/signal"
)

// What happens in a room, one message at a time. All of this runs on the room's goroutine.

// join seats a leg that was ruled on, at the door or past it. It says whether the leg is in the room now; if not, it was
// told why.
func (r *room) join(id conclave.LegID, s *seat) bool {
	if r.broken {
		s.conn.send(&signal.Failed{Of: "join", Reason: reply.Trouble})
		return false
	}
	// A revocation, a raised level, or the meeting's end, that came since the ruling has looked at this room already, and not
	// found the leg.
	now, ruling, err := r.consider(id, false, &s.asker)
	if err != nil {
		s.conn.send(&signal.Failed{Of: "join", Reason: reply.Trouble})
		return false
	}
	role := conclave.RoleMember
	if now.request.Chair {
		role = conclave.RoleChair
	}
	shut := r.roster.MayEnter(role)
	excepting := ruling.Outcome == conclave.Refuse && r.mayExcept(r.policy(), r.now(), &now)
	if ruling.Outcome == conclave.Refuse && !excepting {
		again := mayAskAgain(ruling.Reasons)
		if s.conn.send(&signal.Refused{Reasons: ruling.Reasons, Again: again}); !again {
			s.conn.finish()
		}
		return false
	}
	if shut != nil {
		r.turnAway(id, s, &now, ruling.Grade, problemOf(shut, reply.Trouble))
		return false
	}
	if r.roster.Len() >= r.cfg.MaxLegs {
		r.turnAway(id, s, &now, ruling.Grade, problemFull)
		return false
	}
	s.grade = ruling.Grade
	r.touched(id, &s.asker)
	leg := roster.Leg{
		ID: id, Device: s.asker.device, Person: s.asker.statement.Person, Statement: s.asker.encoded, Role: role,
		Grade: s.grade, Facts: now.request.Facts, Standing: roster.Waiting, LetIn: ruling.Outcome == conclave.Admit,
	}
	leg.Ticket = make([]byte, signal.TicketSize)
	if _, err := io.ReadFull(r.cfg.Rand, leg.Ticket); err != nil {
		panic("server: no randomness: " + err.Error())
	}
	if excepting {
		leg.Standing, leg.Reasons = roster.Quarantined, ruling.Reasons
		r.noteExceptable(id, &now)
		r.seats[id] = s
		r.act(r.roster.Join(leg, r.now()))
		r.tellQuarantined(id, ruling.Reasons, r.now())
		return true
	}
	held := r.heldBack()
	if early := r.early(&now); ruling.Outcome == conclave.Wait || early || held {
		r.held = r.held || held
		leg.Early = early && ruling.Outcome == conclave.Admit
		r.seats[id] = s
		r.act(r.roster.Join(leg, r.now()))
		r.tellWaiting(id)
		return true
	}
	leg.Standing = roster.Admitted
	if leg.Pass, leg.PassUntil, err = r.signPass(r.ctx, r.passes(), &leg, leg.Grade, passLife); err != nil {
		r.cfg.Log.Error("pass not signed", "meeting", r.meeting.ID, "cause", err)
		s.conn.send(&signal.Failed{Of: "join", Reason: reply.Trouble})
		return false
	}
	r.seats[id] = s
	r.act(r.roster.Join(leg, r.now()))
	return r.tellAdmitted(id, nil)
}

// turnAway refuses who would be let in, or stand at the door, had the room a place for them; nobody else is told.
func (r *room) turnAway(id conclave.LegID, s *seat, j *judgement, grade conclave.Grade, why conclave.Problem) {
	r.note(audit.Record{Kind: audit.KindRuling, Leg: id, Device: s.asker.device, Outcome: outcomeWord(conclave.Refuse), Codes: []string{why.Code},
		Grade: &grade, Level: &r.meeting.Level, Facts: provenOnly(j.request.Facts)})
	s.conn.send(&signal.Refused{Reasons: []conclave.Problem{why}, Again: true})
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
	proof, err := r.logProof(r.ctx, leg.Statement)
	if err != nil {
		r.cfg.Log.Error("statement not proven to be logged", "meeting", r.meeting.ID, "leg", id, "cause", err)
		r.act(r.roster.Drop(id, reply.Trouble, r.now()))
		return false
	}
	m := &signal.Admitted{
		LogProof: proof, Withdrawn: r.cfg.Organisation.Withdrawn(),
		Leg: id, Ticket: leg.Ticket, Pass: leg.Pass, Grants: r.cfg.Organisation.Grants,
		Meeting: r.meetingMessage(leg.Role),
		Slots:   signal.SlotCounts{Audio: r.cfg.Slots.Audio, Camera: r.cfg.Slots.Camera, Screen: r.cfg.Slots.Screen},
		Server:  r.mediaServer(credentials),
	}
	if i := r.cfg.Organisation.Investigation(); i != nil {
		m.Investigation = &signal.Investigation{Key: i.Key, Sync: i.Sync}
	}
	if resumed != nil {
		resumed(m)
	} else {
		m.Group = r.groupState()
	}
	r.send(id, m)
	r.tellRuled(id)
	return true
}

// tellRuled says to a leg past the door what it claims, as far as it was ruled on: what it hears may depend on it.
func (r *room) tellRuled(id conclave.LegID) {
	leg, _ := r.roster.Leg(id)
	if s := r.seats[id]; s != nil && past(leg) {
		r.send(id, &signal.Facts{Facts: s.asker.claimed})
	}
}

// resume brings a leg back to its place on a new connection, if it is kept: a member with the keys that it has, one in
// quarantine to be ruled anew. It returns false if there is no such place, or the leg may not have it any more.
func (r *room) resume(m *signal.Resume, s *seat) bool {
	if r.broken {
		return false
	}
	leg, ok := r.roster.Leg(m.Leg)
	if !ok || leg.Device != s.asker.device || len(m.Ticket) == 0 || subtle.ConstantTimeCompare(leg.Ticket, m.Ticket) != 1 || leg.Standing != roster.Member && leg.Standing != roster.Quarantined {
		return false
	}
	commits, ok := r.group.Since(mls.Epoch(m.Epoch))
	if !ok && leg.Standing == roster.Member {
		return false
	}
	r.inherit(leg, &s.asker)
	j, ruling, err := r.consider(leg.ID, leg.LetIn, &s.asker)
	if err != nil {
		return false
	}
	if why, out := isFinal(ruling.Reasons); out {
		// One that has another connection stays: that one is ruled on by itself.
		if r.seats[leg.ID] == nil {
			r.act(r.roster.Drop(leg.ID, why, r.now()))
		}
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
		r.hang(leg.ID)  // its media path too: it makes another one
	}
	r.seats[leg.ID] = s
	delete(r.away, leg.ID)
	r.act(r.roster.Restate(leg.ID, s.asker.encoded))
	r.act(effects)
	r.follow(leg, &j, ruling)
	switch now, _ := r.roster.Leg(leg.ID); now.Standing {
	case roster.Member:
		r.bringBack(now, commits)
	case roster.Quarantined:
		r.tellQuarantined(leg.ID, now.Reasons, now.Since)
	case roster.Waiting:
		r.tellWaiting(leg.ID)
	}
	return true
}

// bringBack tells a member that is back what it has missed.
func (r *room) bringBack(leg roster.Leg, commits []delivery.Commit) {
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
		return
	}
	r.openMedia(leg.ID)
	r.send(leg.ID, &signal.Passes{Passes: r.groupState().Passes})
	r.send(leg.ID, r.slotsMessage())
	r.rosterChanged(true)
}

// openMedia lets a member's media through, unless the room is paused.
func (r *room) openMedia(id conclave.LegID) {
	if r.roster.Paused() != nil || r.shut[id] > 0 {
		return
	}
	if err := r.media.Admit(id); err != nil {
		r.cfg.Log.Warn("media not opened", "meeting", r.meeting.ID, "leg", id, "cause", err)
	}
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
	// Where its sound comes from is not looked at while nobody can be told what follows: there is none without signalling.
	r.hang(id)
	s.asker.media = mediaWay{}
	r.away[id] = &s.asker
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
		err = r.setState(leg, m)
	case *signal.Ledger:
		err = r.ledger(leg, m)
	case *signal.Mark:
		err = r.mark(leg, m)
	case *signal.Renew:
		err = r.renew(leg)
	case *signal.Restate:
		err = r.restate(leg, m)
	case *signal.Decide:
		err = r.decide(leg, m)
	case *signal.Pause:
		err = r.setPause(leg, m)
	case *signal.Preside:
		err = r.preside(leg, m)
	case *signal.Except:
		err = r.except(leg, m)
	case *signal.Confirm:
		err = r.confirm(leg, m)
	case *signal.Raise:
		err = r.raise(leg, m)
	case *signal.Proposal:
		err = r.named(leg, m)
	case *signal.Facts:
		err = r.facts(leg, m)
	case *signal.Join:
		err = r.again(leg, m)
	case *signal.Remove:
		err = r.remove(leg, m)
	case *signal.Ring:
		err = r.ring(leg, m)
	case *signal.Leave:
		r.leave(leg, m)
	case *signal.Consistency:
		err = r.proveConsistency(id, m)
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
		c.send(&signal.Failed{Of: m.Type(), Reason: problemOf(err, reply.Trouble)})
	}
}

// enter makes a leg a member, by a new group or an external commit.
func (r *room) enter(leg roster.Leg, m *signal.Enter) error {
	switch leg.Standing {
	case roster.Admitted:
	case roster.Waiting, roster.Quarantined:
		return nil // it was on its way when it was held back, and knows by now
	default:
		return problemTurn
	}
	if !r.mayCommit(leg.ID) {
		return problemTooMany
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
	r.closing() // what is closed for this line is closed before anything is forwarded to it
	r.openMedia(leg.ID)
	r.send(leg.ID, r.slotsMessage())
	r.slotsDue = true
	r.started()
	return nil
}

// commit orders a member's commit.
func (r *room) commit(leg roster.Leg, m *signal.Commit) error {
	switch leg.Standing {
	case roster.Member:
	case roster.Quarantined:
		return nil // made before it knew
	default:
		return problemTurn
	}
	if !r.mayCommit(leg.ID) {
		return problemTooMany
	}
	staged, err := r.group.StageCommit(m.Epoch, m.Message, m.GroupInfo, mls.LeafIndex(leg.Leaf), r.now())
	switch {
	case errors.Is(err, delivery.ErrStale):
		r.send(leg.ID, &signal.Stale{Epoch: uint64(r.group.Epoch())})
		return nil
	case err != nil:
		return r.refuseCommit(leg, err)
	case !staged.Asked && !r.spent(leg.ID).renewed.take(renewedRate, renewedBurst, r.now()):
		return problemTooMany
	}
	leaf := uint32(leg.Leaf)
	if err := r.record(audit.Record{Kind: audit.KindCommit, Leg: leg.ID, Device: leg.Device, Leaf: &leaf,
		Epoch: uint64(staged.Epoch), TreeHash: staged.TreeHash}); err != nil {
		return err
	}
	before := r.group.Meeting()
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
	if r.group.Meeting() != before {
		r.contextChanged()
	}
	return nil
}

// apply orders a change. If the store fails, nobody knows whether it was ordered: the room is opened anew.
func (r *room) apply(staged *delivery.Staged) error {
	err := r.await(func() error { return r.group.Apply(r.ctx, staged) })
	if errors.Is(err, delivery.ErrStore) {
		r.fail("order a commit", err)
	}
	return err
}

// mayCommit says whether a leg's commit is looked at: of one that had many refused none is, for a while. Each costs the room
// work, and a record.
func (r *room) mayCommit(leg conclave.LegID) bool {
	return r.spent(leg).refused.has(refusedRate, refusedBurst, r.now())
}

func (r *room) refuseCommit(leg roster.Leg, cause error) error {
	problem := problemOf(cause, problemCommit)
	r.spent(leg.ID).refused.take(refusedRate, refusedBurst, r.now())
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
	switch leg.Standing {
	case roster.Admitted, roster.Member:
	case roster.Waiting, roster.Quarantined:
		return nil // made before it was held back
	default:
		return problemTurn
	}
	r.uncommitted(leg.ID)
	if leg, _ = r.roster.Leg(leg.ID); !past(leg) {
		return nil // held back for that
	}
	fingerprint := r.cfg.Media.Fingerprint()
	seat := r.seats[leg.ID]
	if string(m.ServerFingerprint) != string(fingerprint[:]) || !seat.asker.mayHave(m.Fingerprint) ||
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
		var fresh bool
		err := r.await(func() (err error) {
			fresh, err = r.group.Propose(r.ctx, m.Proposal, mls.LeafIndex(leg.Leaf), r.now())
			return err
		})
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
func (r *room) end() {
	r.ended = true
	r.act(r.roster.End(problemOver, r.now()))
	if err := r.keep(); err != nil {
		r.cfg.Log.Error("roster not kept", "meeting", r.meeting.ID, "cause", err)
	}
}
