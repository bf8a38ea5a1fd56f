package roster

import (
	"bytes"
	"slices"
	"time"

	"conclave"
)

// Join brings a leg to the door or, where the ruling admits it, past it. Its ID must be new; Standing must be Waiting,
// Quarantined (one that policy refuses and might except) or Admitted, and an admitted leg has its pass already. A leg of the
// same device that is no member makes way; one that is a member stays until the new one enters.
func (r *Room) Join(leg Leg, now time.Time) []Effect {
	if r.legs[leg.ID] != nil || leg.Standing != Waiting && leg.Standing != Admitted && leg.Standing != Quarantined {
		panic("roster: join of a leg that is there, or in no standing to join")
	}
	var effects []Effect
	for _, l := range r.Legs() {
		if l.Device == leg.Device && l.Standing != Member {
			effects = append(effects, r.drop(r.legs[l.ID], problemReplaced, now)...)
		}
	}
	leg.Since = now
	r.legs[leg.ID] = &leg
	return append(effects, Changed{})
}

// Decide is the chair's word on a leg at the door. One that policy refuses stands there too: the chair may decline it, and
// let it in as soon as policy does.
func (r *Room) Decide(by, leg conclave.LegID, admit bool, now time.Time) ([]Effect, error) {
	if err := r.chair(by); err != nil {
		return nil, err
	}
	l := r.legs[leg]
	if l == nil || l.LetIn || l.Standing != Waiting && l.Standing != Quarantined {
		return nil, problemNoLeg
	}
	if !admit {
		return append(r.drop(l, problemDeclined, now), Changed{}), nil
	}
	l.LetIn = true
	delete(r.sentAway, l.Person)
	return []Effect{LetIn{leg}, Changed{}}, nil
}

// Admit gives a leg at the door or in quarantine its pass: it may enter. The answer is nil where it stands elsewhere.
func (r *Room) Admit(leg conclave.LegID, pass []byte, until time.Time, grade conclave.Grade, now time.Time) []Effect {
	l := r.legs[leg]
	if l == nil || l.Standing != Waiting && l.Standing != Quarantined {
		return nil
	}
	l.Standing, l.Since, l.LetIn, l.Early, l.Reasons = Admitted, now, true, false, nil
	l.Pass, l.PassUntil, l.Grade = pass, until, grade
	return []Effect{Changed{}}
}

// Hold takes a leg that has not entered yet back to the door: to wait until the meeting starts (early), or until its level
// is raised.
func (r *Room) Hold(leg conclave.LegID, early bool, now time.Time) []Effect {
	l := r.legs[leg]
	if l == nil || l.Standing != Admitted && l.Standing != Waiting && l.Standing != Quarantined {
		return nil
	}
	if l.Standing == Waiting && l.Early == early {
		return nil
	}
	if l.Standing != Waiting {
		l.Since = now
	}
	l.Standing, l.Early, l.Reasons = Waiting, early, nil
	return []Effect{Changed{}}
}

// Facts notes what is known of a leg's line.
func (r *Room) Facts(leg conclave.LegID, facts []conclave.Fact, grade conclave.Grade) []Effect {
	l := r.legs[leg]
	if l == nil || l.Grade == grade && slices.Equal(l.Facts, facts) {
		return nil
	}
	l.Facts = facts
	if l.Standing != Member { // a member's grade is that of its pass
		l.Grade = grade
	}
	return []Effect{Changed{}}
}

// Pass notes the pass that a leg was given anew.
func (r *Room) Pass(leg conclave.LegID, pass []byte, until time.Time, grade conclave.Grade) []Effect {
	l := r.legs[leg]
	if l == nil || l.Standing == Waiting || l.Standing == Quarantined {
		return nil
	}
	changed := l.Grade != grade
	l.Pass, l.PassUntil, l.Grade = pass, until, grade
	if changed {
		return []Effect{Changed{}}
	}
	return nil
}

// Tried says that an admitted leg has tried to enter, lost to another, and tries again: its time to enter starts anew.
func (r *Room) Tried(leg conclave.LegID, now time.Time) {
	if l := r.legs[leg]; l != nil && l.Standing == Admitted {
		l.Since = now
	}
}

// Enter makes an admitted leg a member by a commit that gave it leaf and took away removed. The leg's former presence on the
// same device, if that is among removed, is replaced by it.
func (r *Room) Enter(leg conclave.LegID, leaf Leaf, removed []Leaf, now time.Time) ([]Effect, error) {
	l := r.legs[leg]
	if l == nil || l.Standing != Admitted {
		return nil, problemNoLeg
	}
	r.returns(now)
	effects := r.gone(removed, problemReplaced)
	l.Standing, l.Since, l.InTree, l.Leaf, l.Seen, l.Lost = Member, now, true, leaf, true, time.Time{}
	if p := r.paused; p != nil && p.Person != "" && p.Person == l.Person && r.legs[p.By] == nil {
		r.paused = &Paused{Since: p.Since, By: leg, Person: p.Person} // they are back
	}
	return append(append(effects, r.proposeAgain()...), Changed{}), nil
}

// Committed says that a member's commit took leaves away.
func (r *Room) Committed(removed []Leaf) []Effect {
	effects := r.gone(removed, problemLeft)
	if len(effects) > 0 {
		effects = append(effects, Changed{})
	}
	effects = append(effects, r.proposeAgain()...)
	return append(effects, r.dropIfNobody()...)
}

// Show notes what a leg shows of itself.
func (r *Room) Show(leg conclave.LegID, shown Shown) []Effect {
	l := r.legs[leg]
	if l == nil || !l.can() || l.Shown == shown {
		return nil
	}
	l.Shown = shown
	return []Effect{Changed{}}
}

// Lose says that a leg's connection is gone without a word. A member keeps its place for PlaceKept, its keys for KeysKept (Tick
// takes them), and one that was a member and is in quarantine its place for HealDue.
func (r *Room) Lose(leg conclave.LegID, now time.Time) []Effect {
	l := r.legs[leg]
	switch {
	case l == nil || l.Standing == Leaving || !l.Lost.IsZero():
		return nil
	case l.Standing == Member:
		l.Lost = now
		return []Effect{Changed{}}
	case l.Seen:
		if l.Standing != Quarantined { // on its way back: it is ruled on when it comes
			l.Standing, l.Since, l.Early = Quarantined, now, false
			l.Reasons = []conclave.Problem{problemPlaceLost}
		}
		l.Lost = now
		return []Effect{Changed{}}
	}
	delete(r.legs, leg)
	return []Effect{Gone{leg, l.Device, l.Standing, problemLeft}, Changed{}}
}

// Resume brings a member, or one in quarantine, back to its place, on the same device only. It fails where the place is not
// kept; the leg then joins anew. One whose line is not known to be lost may resume too: it noticed first.
func (r *Room) Resume(leg conclave.LegID, device conclave.DeviceID, now time.Time) ([]Effect, bool) {
	l := r.legs[leg]
	if l == nil || l.Standing != Member && l.Standing != Quarantined || l.Device != device {
		return nil, false
	}
	if l.Standing == Member && !l.Lost.IsZero() && now.Sub(l.Lost) >= PlaceKept {
		return nil, false
	}
	r.returns(now)
	l.Lost = time.Time{}
	return []Effect{Changed{}}, true
}

// Restate notes the statement by which a leg goes from now on: its device's was renewed.
func (r *Room) Restate(leg conclave.LegID, statement []byte) []Effect {
	l := r.legs[leg]
	if l == nil || bytes.Equal(l.Statement, statement) {
		return nil
	}
	l.Statement = statement
	return []Effect{Changed{}}
}

// Remove is the chair's removal of a leg, for a reason in the words of Removed. Its person comes back only by the chair's word.
func (r *Room) Remove(by, leg conclave.LegID, reason string, now time.Time) ([]Effect, error) {
	if err := r.chair(by); err != nil {
		return nil, err
	}
	if by == leg {
		return nil, problemSelf
	}
	l := r.legs[leg]
	if l == nil {
		return nil, problemNoLeg
	}
	effects := r.sendAway(l, Removed(reason), now)
	return append(effects, r.Drop(leg, Removed(reason), now)...), nil
}

// sendAway has the person of a leg that is removed come back by the chair's word alone, with their other legs too: what is on
// its way in is put out, what stands at the door or in quarantine was let in by nobody. A member of theirs stays: the chair sees it.
func (r *Room) sendAway(removed *Leg, why conclave.Problem, now time.Time) (effects []Effect) {
	if removed.Person == "" {
		return nil
	}
	r.sentAway[removed.Person] = true
	for _, other := range r.Legs() {
		l := r.legs[other.ID]
		switch {
		case l == nil || l == removed || l.Person != removed.Person:
		case l.Standing == Admitted:
			effects = append(effects, r.drop(l, why, now)...)
		case l.Standing == Waiting || l.Standing == Quarantined:
			l.LetIn = false
		}
	}
	return effects
}

// SentAway says that the chair has removed this person and has not let them in again since: whatever the door of the meeting
// is, theirs is the chair's.
func (r *Room) SentAway(person conclave.PersonID) bool { return r.sentAway[person] }

// Leave is a leg's own wish. proposed says that the leg has handed in its own Remove proposal, which the server relays: then
// none is asked for in this epoch.
func (r *Room) Leave(leg conclave.LegID, proposed bool, now time.Time) []Effect {
	effects := r.Drop(leg, problemLeft, now)
	if proposed {
		effects = slices.DeleteFunc(effects, func(e Effect) bool { p, ok := e.(Propose); return ok && p.Leg == leg })
	}
	return effects
}

// Drop puts a leg out, whatever it is: a ruling that will not admit it again, the end of the meeting.
func (r *Room) Drop(leg conclave.LegID, why conclave.Problem, now time.Time) []Effect {
	l := r.legs[leg]
	if l == nil || l.Standing == Leaving {
		return nil
	}
	return append(append(r.drop(l, why, now), Changed{}), r.dropIfNobody()...)
}

// Quarantine takes keys and media from a leg whose line is no longer good enough, wherever it stands, and keeps its place.
// One in quarantine already is told when the reasons are others.
func (r *Room) Quarantine(leg conclave.LegID, reasons []conclave.Problem, now time.Time) []Effect {
	l := r.legs[leg]
	switch {
	case l == nil || l.Standing == Leaving:
		return nil
	case l.Standing == Quarantined:
		if slices.EqualFunc(l.Reasons, reasons, func(a, b conclave.Problem) bool { return a.Code == b.Code && a.Fix == b.Fix }) {
			return nil
		}
		l.Reasons = reasons
		return []Effect{Told{l.ID, reasons, l.Since}, Changed{}}
	}
	effects := []Effect{l.cut(reasons[0])}
	if l.Standing == Member {
		l.Going, l.Overdue = now, now.Add(RemovalDue)
	}
	l.Standing, l.Since, l.Reasons, l.Early, l.Shown = Quarantined, now, reasons, false, Shown{}
	if l.InTree {
		effects = append(effects, Propose{l.ID, l.Leaf})
	}
	effects = append(effects, Told{l.ID, reasons, now}, Changed{})
	return append(effects, r.dropIfNobody()...)
}

// End puts everybody out and drops the group.
func (r *Room) End(why conclave.Problem, now time.Time) []Effect {
	var effects []Effect
	for _, l := range r.Legs() {
		if l.Standing != Leaving {
			effects = append(effects, r.legs[l.ID].cut(why), Ended{l.ID, why})
		}
		effects = append(effects, Gone{l.ID, l.Device, l.Standing, why})
	}
	clear(r.legs)
	r.aside, r.presiding = aside{}, presiding{}
	return append(effects, Dropped{})
}

// Tick does what is due: places that are kept no longer, removals that nobody has committed, passes that ran out, legs that
// never entered, exceptions that are over.
func (r *Room) Tick(now time.Time) []Effect {
	effects := append(r.tickExceptions(now), r.tickPause(now)...)
	for _, was := range r.Legs() {
		l := r.legs[was.ID]
		if l == nil {
			continue
		}
		if l.going() && !now.Before(l.Overdue) {
			l.Overdue = now.Add(RemovalDue)
			effects = append(effects, Overdue{l.ID, l.Going}, Propose{l.ID, l.Leaf})
		}
		ends, any := l.ends()
		switch {
		case any && now.Before(ends) && r.silent(l, now):
			effects = append(effects, r.Quarantine(l.ID, []conclave.Problem{problemLine}, now)...)
		case !any || now.Before(ends):
		case l.Standing == Admitted:
			effects = append(append(effects, r.drop(l, problemLate, now)...), Changed{})
		case l.Standing == Quarantined && l.gone():
			effects = append(append(effects, r.drop(l, problemPlaceLost, now)...), Changed{})
		case l.Standing == Quarantined:
			effects = append(append(effects, r.drop(l, problemUnhealed, now)...), Changed{})
		case l.Lost.IsZero():
			effects = append(effects, r.Quarantine(l.ID, []conclave.Problem{problemLapsed}, now)...)
		case now.Sub(l.Lost) >= PlaceKept:
			effects = append(append(effects, r.drop(l, problemPlaceLost, now)...), Changed{})
		default:
			effects = append(append(effects, r.drop(l, problemLapsed, now)...), Changed{})
		}
	}
	return append(effects, r.dropIfNobody()...)
}

// Next returns when Tick will have something to do, and false if only an event can bring that.
func (r *Room) Next() (time.Time, bool) {
	next, any := r.nextException()
	sooner := func(t time.Time) {
		if !any || t.Before(next) {
			next, any = t, true
		}
	}
	if r.offered != nil {
		sooner(r.offered.Since.Add(OfferDue))
	}
	if !r.open && r.orphaned() {
		sooner(r.paused.Since.Add(PauseDue))
	}
	for _, l := range r.legs {
		if l.going() {
			sooner(l.Overdue)
		}
		if t, ok := l.ends(); ok {
			sooner(t)
		}
		if l.Standing == Member && !l.Lost.IsZero() && r.heard() {
			sooner(r.keysEnd(l))
		}
	}
	return next, any
}

// keysEnd is when a member whose line is lost shall hold no keys any more.
func (r *Room) keysEnd(l *Leg) time.Time {
	end := l.Lost.Add(KeysKept)
	// Only for who was lost when the other came back: nobody spoke before that.
	if t := r.returned.Add(ReturnKept); !l.Lost.After(r.returned) && end.Before(t) {
		return t
	}
	return end
}

// heard says whether any member's line is there: where nobody's is, nobody speaks, and nobody could change the keys.
func (r *Room) heard() bool {
	for _, l := range r.legs {
		if l.Standing == Member && l.Lost.IsZero() {
			return true
		}
	}
	return false
}

// returns notes that one comes back, or in, where nobody's line was there.
func (r *Room) returns(now time.Time) {
	if !r.heard() {
		r.returned = now
	}
}

// silent says whether a leg is a member whose line has been lost for so long that it shall hold no keys.
func (r *Room) silent(l *Leg, now time.Time) bool {
	return l.Standing == Member && !l.Lost.IsZero() && !now.Before(r.keysEnd(l)) && r.heard()
}

// gone says whether a leg is in quarantine for its lost line alone.
func (l *Leg) gone() bool {
	return l.Standing == Quarantined && !l.Lost.IsZero() && len(l.Reasons) == 1 && l.Reasons[0].Code == problemLine.Code
}

// ends returns when the leg's standing ends by itself, and false if it does not.
func (l *Leg) ends() (time.Time, bool) {
	switch l.Standing {
	case Admitted:
		return l.Since.Add(EnterDue), true
	case Quarantined:
		if l.gone() {
			return l.Lost.Add(PlaceKept), true
		}
		return l.Since.Add(HealDue), true
	case Member:
		if kept := l.Lost.Add(PlaceKept); !l.Lost.IsZero() && kept.Before(l.PassUntil) {
			return kept, true
		}
		return l.PassUntil, true
	}
	return time.Time{}, false
}

// drop puts a leg out. One without a leaf is forgotten; the removal of another begins, if it has not.
func (r *Room) drop(l *Leg, why conclave.Problem, now time.Time) []Effect {
	if !l.InTree {
		delete(r.legs, l.ID)
		return []Effect{Ended{l.ID, why}, Gone{l.ID, l.Device, l.Standing, why}}
	}
	if l.Standing == Leaving {
		return nil
	}
	if l.Standing == Member {
		l.Going, l.Overdue = now, now.Add(RemovalDue)
	}
	l.Standing, l.Why = Leaving, why
	return []Effect{l.cut(why), Ended{l.ID, why}, Propose{l.ID, l.Leaf}}
}

// gone takes note that a commit took leaves away. Those who were not to go are told otherwise.
func (r *Room) gone(removed []Leaf, otherwise conclave.Problem) []Effect {
	var effects []Effect
	for _, leaf := range removed {
		was, ok := r.OfLeaf(leaf)
		if !ok {
			continue
		}
		l := r.legs[was.ID]
		switch l.Standing {
		case Member:
			delete(r.legs, l.ID)
			effects = append(effects, l.cut(otherwise), Ended{l.ID, otherwise}, Gone{l.ID, l.Device, Member, otherwise})
		case Leaving:
			delete(r.legs, l.ID)
			effects = append(effects, Gone{l.ID, l.Device, Leaving, l.Why})
		default:
			effects = append(effects, l.keyless())
		}
	}
	return effects
}

// keyless notes that a leg that stays has no leaf any more.
func (l *Leg) keyless() Effect {
	since := l.Going
	l.InTree, l.Leaf, l.Going, l.Overdue = false, 0, time.Time{}, time.Time{}
	return Keyless{l.ID, l.Device, since}
}

// proposeAgain renews the removals that the last commit left out: a proposal ends with its epoch (RFC 9420, Section 12.4).
func (r *Room) proposeAgain() []Effect {
	var effects []Effect
	for _, l := range r.Legs() {
		if l.going() {
			effects = append(effects, Propose{l.ID, l.Leaf})
		}
	}
	return effects
}

// dropIfNobody forgets the group once no member is left that could commit. A member whose line is lost may yet come back
// and commit.
func (r *Room) dropIfNobody() []Effect {
	var going []Leg
	for _, l := range r.Legs() {
		switch {
		case l.Standing == Member:
			return nil
		case l.InTree:
			going = append(going, l)
		}
	}
	if len(going) == 0 {
		return nil
	}
	var effects []Effect
	for _, l := range going {
		if l.Standing != Leaving {
			effects = append(effects, r.legs[l.ID].keyless())
			continue
		}
		delete(r.legs, l.ID)
		effects = append(effects, Gone{l.ID, l.Device, Leaving, l.Why})
	}
	return append(effects, Dropped{}, Changed{})
}

func (r *Room) chair(leg conclave.LegID) error {
	if l := r.legs[leg]; l == nil || !l.can() || l.Role != conclave.RoleChair {
		return problemNotChair
	}
	return nil
}
