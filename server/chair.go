package server

import (
	"context"

	"conclave"
	"conclave/audit"
	"conclave/roster"
	"conclave/signal"
)

// What the chair does for the room as a whole: muting all, closing the door, handing the chair over. All of this runs on the
// room's goroutine. What protects does not wait for the record, what opens or gives does.

// A chair that closes and opens the door, or mutes all, again and again leaves a record each time.
const (
	presideRate  = 1.0 / 5
	presideBurst = 20
)

var (
	problemNotOffered = conclave.Problem{Code: "chair_not_possible", Fix: "choose_another_member"}
	problemRingShut   = conclave.Problem{Code: "ring_door_closed", Fix: "open_the_door"}
)

// preside takes what the chair wishes for the room, or what the one answers who is offered the chair.
func (r *room) preside(by roster.Leg, m *signal.Preside) error {
	if !r.spent(by.ID).presided.take(presideRate, presideBurst, r.now()) {
		return problemTooMany
	}
	var err error
	switch m.Act {
	case "mute_all":
		err = r.muteAll(by)
	case "close_door", "open_door":
		err = r.setDoor(by, m.Act == "close_door")
	case "offer":
		err = r.offerChair(by, m.Leg)
	case "withdraw":
		err = r.withdrawChair(by)
	case "take":
		err = r.takeChair(by)
	}
	if err != nil {
		return err
	}
	r.rosterChanged(true)
	if err := r.keep(); err != nil {
		r.fail("keep what the chair decided", err)
	}
	return nil
}

// muteAll has every member's client mute itself. What a client sends is sealed: nobody here can tell a muted one from another.
func (r *room) muteAll(by roster.Leg) error {
	if err := r.roster.MayPreside(by.ID); err != nil {
		return err
	}
	r.note(audit.Record{Kind: audit.KindAllMuted, By: by.ID, Device: by.Device})
	r.act(r.roster.Hush(by.ID, r.now()))
	return nil
}

// setDoor closes the door, or opens it. That it is so already is no error: two may press at once.
func (r *room) setDoor(by roster.Leg, closed bool) error {
	if err := r.roster.MayPreside(by.ID); err != nil {
		return err
	}
	if closed == (r.roster.Shut() != nil) {
		return nil
	}
	rec := audit.Record{Kind: audit.KindDoor, By: by.ID, Device: by.Device, Outcome: "opened"}
	if closed {
		rec.Outcome = "closed"
		r.note(rec)
	} else if err := r.record(rec); err != nil {
		return err
	}
	r.act(r.roster.Close(by.ID, closed, r.now()))
	return nil
}

// offerChair offers the chair to a member. It goes to persons of the directory alone, who are in by the rules: those by whom
// others could be let in.
func (r *room) offerChair(by roster.Leg, to conclave.LegID) error {
	if err := r.roster.MayOffer(by.ID, to); err != nil {
		return err
	}
	leg, _ := r.roster.Leg(to)
	if !r.mayVouch(&leg) {
		return problemNotOffered
	}
	if err := r.record(audit.Record{Kind: audit.KindChair, Leg: to, By: by.ID, Device: leg.Device, Outcome: "wait"}); err != nil {
		return err
	}
	r.act(r.roster.Offer(by.ID, to, r.now()))
	return nil
}

func (r *room) withdrawChair(by roster.Leg) error {
	offer := r.roster.Offered()
	effects, err := r.roster.Withdraw(by.ID)
	if err != nil {
		return err
	}
	r.note(audit.Record{Kind: audit.KindChair, Leg: offer.To, By: by.ID, Outcome: "refuse"})
	r.act(effects)
	return nil
}

// takeChair makes who was offered the chair the chair, if they may still have it.
func (r *room) takeChair(by roster.Leg) error {
	if err := r.roster.MayTake(by.ID, r.now()); err != nil {
		return err
	}
	if !r.mayVouch(&by) {
		return problemNotOffered
	}
	offer := r.roster.Offered()
	if err := r.record(audit.Record{Kind: audit.KindChair, Leg: by.ID, By: offer.By, Device: by.Device, Outcome: "done"}); err != nil {
		return err
	}
	r.act(r.roster.Take(by.ID))
	r.rechair()
	return nil
}

// chairBack carries out roster.ChairBack: who the chair was given to is gone.
func (r *room) chairBack(e roster.ChairBack) {
	r.note(audit.Record{Kind: audit.KindChair, Outcome: "back", Person: e.To, People: []conclave.PersonID{e.From}})
	r.rechair()
	if err := r.keep(); err != nil {
		r.fail("keep who has the chair", err)
	}
}

// rechair rules anew on those to whom it matters that another has the chair: who had it, and may have seen who is not there, and
// who has it, who may have waited for the meeting to start.
func (r *room) rechair() {
	for _, leg := range r.roster.Legs() {
		if s := r.seats[leg.ID]; leg.Role == conclave.RoleChair || s != nil && s.asker.rings {
			r.ruleAnew(leg.ID)
		}
	}
	r.rosterChanged(true)
}

// judge is Server.judge, with the chair where it was handed over.
func (r *room) judge(ctx context.Context, a *asker, id conclave.MeetingID, letIn bool) (judgement, error) {
	j, err := r.Server.judge(ctx, a, id, letIn)
	if given := r.roster.Given(); given != "" {
		j.request.Chair = j.request.Person.ID == given
	}
	return j, err
}
