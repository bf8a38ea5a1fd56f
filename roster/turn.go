package roster

import (
	"slices"
	"time"

	"conclave"
)

// Join brings a leg to the door or, where the ruling admits it, past it. Its ID must be new; Standing must be Waiting or
// Admitted, and an admitted leg has its pass already. A leg of the same device that is no member yet makes way; one that is
// a member stays until the new one enters.
func (r *Room) Join(leg Leg, now time.Time) []Effect {
	if r.legs[leg.ID] != nil || leg.Standing != Waiting && leg.Standing != Admitted {
		panic("roster: join of a leg that is there, or in no standing to join")
	}
	var effects []Effect
	for _, l := range r.legs {
		if l.Device == leg.Device && !l.member() {
			effects = append(effects, r.drop(l, problemReplaced)...)
		}
	}
	leg.Since = now
	r.legs[leg.ID] = &leg
	return append(effects, Changed{})
}

// Decide is the chair's word on a leg at the door.
func (r *Room) Decide(by, leg conclave.LegID, admit bool, now time.Time) ([]Effect, error) {
	if err := r.chair(by); err != nil {
		return nil, err
	}
	l := r.legs[leg]
	if l == nil || l.Standing != Waiting {
		return nil, problemNoLeg
	}
	if !admit {
		return append(r.drop(l, problemDeclined), Changed{}), nil
	}
	l.Standing, l.Since = Admitted, now
	return []Effect{Admit{leg}, Changed{}}, nil
}

// Pass notes the pass that a leg was given, at first or renewed.
func (r *Room) Pass(leg conclave.LegID, pass []byte, until time.Time, grade conclave.Grade) []Effect {
	l := r.legs[leg]
	if l == nil || l.Standing == Waiting {
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
	effects := r.gone(removed, problemReplaced)
	l.Standing, l.Since, l.Leaf = Member, now, leaf
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

// Lose says that a leg's connection is gone without a word. A member keeps its place for PlaceKept.
func (r *Room) Lose(leg conclave.LegID, now time.Time) []Effect {
	l := r.legs[leg]
	switch {
	case l == nil || l.Standing == Leaving || !l.Lost.IsZero():
		return nil
	case l.Standing == Member:
		l.Lost = now
		return []Effect{Changed{}}
	}
	delete(r.legs, leg)
	return []Effect{Gone{leg, l.Device, l.Standing, problemLeft}, Changed{}}
}

// Resume brings a member back to its place, on the same device only. It fails where the place is not kept; the leg then
// joins anew. A member whose line is not known to be lost may resume too: it noticed first.
func (r *Room) Resume(leg conclave.LegID, device conclave.DeviceID, now time.Time) ([]Effect, bool) {
	l := r.legs[leg]
	if l == nil || l.Standing != Member || l.Device != device {
		return nil, false
	}
	if !l.Lost.IsZero() && now.Sub(l.Lost) >= PlaceKept {
		return nil, false
	}
	l.Lost = time.Time{}
	return []Effect{Changed{}}, true
}

// Remove is the chair's removal of a leg, for a reason in the words of Removed.
func (r *Room) Remove(by, leg conclave.LegID, reason string, now time.Time) ([]Effect, error) {
	if err := r.chair(by); err != nil {
		return nil, err
	}
	if by == leg {
		return nil, problemSelf
	}
	if r.legs[leg] == nil {
		return nil, problemNoLeg
	}
	return r.Drop(leg, Removed(reason), now), nil
}

// Leave is a leg's own wish. proposed says that the leg has handed in its own Remove proposal, which the server relays: then
// none is asked for in this epoch.
func (r *Room) Leave(leg conclave.LegID, proposed bool, now time.Time) []Effect {
	effects := r.Drop(leg, problemLeft, now)
	if proposed {
		effects = slices.DeleteFunc(effects, func(e Effect) bool { p, ok := e.(Propose); return ok && p.Leg == leg })
	}
	return effects
}

// Drop puts a leg out, whatever it is: a ruling that no longer admits it, the end of the meeting.
func (r *Room) Drop(leg conclave.LegID, why conclave.Problem, now time.Time) []Effect {
	l := r.legs[leg]
	switch {
	case l == nil || l.Standing == Leaving:
		return nil
	case l.Standing != Member:
		return append(r.drop(l, why), Changed{})
	}
	return append(r.putOut(l, why, now), r.dropIfNobody()...)
}

// End puts everybody out and drops the group.
func (r *Room) End(why conclave.Problem, now time.Time) []Effect {
	var effects []Effect
	for _, l := range r.Legs() {
		if l.Standing != Leaving {
			effects = append(effects, Cut{l.ID, why}, Ended{l.ID, why})
		}
		effects = append(effects, Gone{l.ID, l.Device, l.Standing, why})
	}
	clear(r.legs)
	return append(effects, Dropped{})
}

// Tick does what is due: places that are kept no longer, removals that nobody has committed, passes that ran out, legs that
// never entered.
func (r *Room) Tick(now time.Time) []Effect {
	var effects []Effect
	for _, was := range r.Legs() {
		l := r.legs[was.ID]
		switch {
		case l == nil || now.Before(l.due()):
		case l.Standing == Admitted:
			effects = append(append(effects, r.drop(l, problemLate)...), Changed{})
		case l.Standing == Leaving:
			l.Overdue = now.Add(RemovalDue)
			effects = append(effects, Overdue{l.ID, l.Going}, Propose{l.ID, l.Leaf})
		case !l.Lost.IsZero() && now.Sub(l.Lost) >= PlaceKept:
			effects = append(effects, r.putOut(l, problemPlaceLost, now)...)
		default:
			effects = append(effects, r.putOut(l, problemLapsed, now)...)
		}
	}
	return append(effects, r.dropIfNobody()...)
}

// Next returns when Tick will have something to do, and false if only an event can bring that.
func (r *Room) Next() (time.Time, bool) {
	var next time.Time
	for _, l := range r.legs {
		if d := l.due(); l.Standing != Waiting && (next.IsZero() || d.Before(next)) {
			next = d
		}
	}
	return next, !next.IsZero()
}

// due returns when the leg's standing ends by itself; far away for one at the door.
func (l *Leg) due() time.Time {
	switch l.Standing {
	case Admitted:
		return l.Since.Add(EnterDue)
	case Leaving:
		return l.Overdue
	case Member:
		if kept := l.Lost.Add(PlaceKept); !l.Lost.IsZero() && kept.Before(l.PassUntil) {
			return kept
		}
		return l.PassUntil
	}
	return l.Since.Add(1000 * time.Hour)
}

// drop forgets a leg that is no member.
func (r *Room) drop(l *Leg, why conclave.Problem) []Effect {
	delete(r.legs, l.ID)
	return []Effect{Ended{l.ID, why}, Gone{l.ID, l.Device, l.Standing, why}}
}

// putOut begins the removal of a member.
func (r *Room) putOut(l *Leg, why conclave.Problem, now time.Time) []Effect {
	l.Standing, l.Why, l.Going, l.Overdue = Leaving, why, now, now.Add(RemovalDue)
	return []Effect{Cut{l.ID, why}, Ended{l.ID, why}, Propose{l.ID, l.Leaf}, Changed{}}
}

// gone forgets the members whose leaves a commit took away. Those who were not on their way out are told otherwise.
func (r *Room) gone(removed []Leaf, otherwise conclave.Problem) []Effect {
	var effects []Effect
	for _, leaf := range removed {
		l, ok := r.OfLeaf(leaf)
		if !ok {
			continue
		}
		delete(r.legs, l.ID)
		if l.Standing == Member {
			l.Why = otherwise
			effects = append(effects, Cut{l.ID, otherwise}, Ended{l.ID, otherwise})
		}
		effects = append(effects, Gone{l.ID, l.Device, l.Standing, l.Why})
	}
	return effects
}

// proposeAgain renews the removals that the last commit left out: a proposal ends with its epoch (RFC 9420, Section 12.4).
func (r *Room) proposeAgain() []Effect {
	var effects []Effect
	for _, l := range r.Legs() {
		if l.Standing == Leaving {
			effects = append(effects, Propose{l.ID, l.Leaf})
		}
	}
	return effects
}

// dropIfNobody forgets the group once no member is left that could commit. A member whose line is lost may yet come back
// and commit.
func (r *Room) dropIfNobody() []Effect {
	var leaving []Leg
	for _, l := range r.Legs() {
		switch l.Standing {
		case Member:
			return nil
		case Leaving:
			leaving = append(leaving, l)
		}
	}
	if len(leaving) == 0 {
		return nil
	}
	var effects []Effect
	for _, l := range leaving {
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
