package roster

import (
	"cmp"
	"slices"
	"time"

	"conclave"
)

// aside is what a room agrees on beside who is in it: whether it is paused, and what is excepted.
type aside struct {
	paused     *Paused
	exceptions []Exception
	lastID     uint32
	open       bool // PauseOpen, as told last
}

// Paused says that nobody sends.
type Paused struct {
	Since time.Time      `json:"since"`
	By    conclave.LegID `json:"by,omitzero"` // zero: without a name
	// Person is who paused under a name: over another leg it is theirs still.
	Person conclave.PersonID `json:"person,omitempty"`
}

// Exception is one that is asked for, or in force. It is for a person's leg, as it is; a leg that is gone takes it along.
type Exception struct {
	ID     uint32               `json:"id"`
	Leg    conclave.LegID       `json:"leg"`
	Waives []conclave.Problem   `json:"waives"`
	Reason string               `json:"reason"`
	By     conclave.LegID       `json:"by"`
	Second conclave.LegID       `json:"second,omitzero"` // zero: nobody has confirmed it
	Until  time.Time            `json:"until"`           // asked for: when the question lapses
	Life   time.Duration        `json:"life"`            // from the confirmation on
	People [2]conclave.PersonID `json:"people"`          // who asked and who confirmed
}

// Confirmed says whether the exception is in force.
func (e *Exception) Confirmed() bool { return e.Second != conclave.LegID{} }

const (
	// PauseDue is how long a pause lasts at least that nobody who is in may end by right: long enough to bring back who
	// paused, or the chair, and no longer than people wait without a word.
	PauseDue = 2 * time.Minute
	// confirmDue is how long a second person has to confirm an exception: the room is together, and has just heard of it.
	confirmDue = 5 * time.Minute
	// maxExceptions bounds those of a room: with more, another level is what the meeting needs.
	maxExceptions = 8
)

// ExceptionOver says that an exception has ended, was declined, or was not confirmed in time: the leg is ruled anew.
type ExceptionOver struct {
	Exception Exception
	Outcome   string         // "done", "refuse"
	By        conclave.LegID // who declined it; zero: nobody
}

func (ExceptionOver) effect() {}

var (
	problemPaused     = conclave.Problem{Code: "paused_already", Fix: "wait_a_minute"}
	problemNotPaused  = conclave.Problem{Code: "not_paused", Fix: "look_again"}
	problemNotPauser  = conclave.Problem{Code: "not_yours_to_continue", Fix: "ask_chair"}
	problemSecond     = conclave.Problem{Code: "exception_second", Fix: "ask_another_member"}
	problemNoneSuch   = conclave.Problem{Code: "exception_unknown", Fix: "look_again"}
	problemExceptions = conclave.Problem{Code: "exceptions_many", Fix: "wait_a_minute"}
	problemExcepted   = conclave.Problem{Code: "exception_twice", Fix: "look_again"}
)

// Paused returns the pause, nil if the room is not paused.
func (r *Room) Paused() *Paused { return r.paused }

// PauseOpen says whether any member may let the room go on: neither a chair nor who paused under a name is in, and a while
// has passed.
func (r *Room) PauseOpen(now time.Time) bool {
	return r.orphaned() && now.Sub(r.paused.Since) >= PauseDue
}

// orphaned says whether the room is paused and nobody is in who may end that by right.
func (r *Room) orphaned() bool {
	if r.paused == nil {
		return false
	}
	for _, l := range r.legs {
		if l.can() && r.mayContinue(l) {
			return false
		}
	}
	return true
}

func (r *Room) mayContinue(l *Leg) bool {
	return l.Role == conclave.RoleChair || r.paused.By == l.ID || r.paused.Person != "" && r.paused.Person == l.Person
}

// MayPause says whether a leg may pause the room, or let it go on.
func (r *Room) MayPause(by conclave.LegID, on bool, now time.Time) error {
	l := r.legs[by]
	switch {
	case l == nil || !l.can():
		return problemNoLeg
	case on && r.paused != nil:
		return problemPaused
	case on:
		return nil
	case r.paused == nil:
		return problemNotPaused
	case !r.mayContinue(l) && !r.PauseOpen(now):
		return problemNotPauser
	}
	return nil
}

// Pause stops all sending, or lets it go on; MayPause says whether by may. by is forgotten where anonymous.
func (r *Room) Pause(by conclave.LegID, on, anonymous bool, now time.Time) []Effect {
	switch {
	case !on:
		r.paused = nil
	case anonymous:
		r.paused = &Paused{Since: now}
	default:
		r.paused = &Paused{Since: now, By: by}
		if l := r.legs[by]; l != nil {
			r.paused.Person = l.Person
		}
	}
	return []Effect{Changed{}}
}

// Exceptions returns those asked for and in force, in the order of their numbers.
func (r *Room) Exceptions() []Exception { return slices.Clone(r.exceptions) }

// Excepted says whether an exception for the leg is in force.
func (r *Room) Excepted(leg conclave.LegID, now time.Time) bool {
	return slices.ContainsFunc(r.exceptions, func(e Exception) bool { return e.Leg == leg && e.Confirmed() && now.Before(e.Until) })
}

// Except is the chair's wish for an exception for a leg in quarantine, which for one that was never in is at the door.
// waives is what policy would waive.
func (r *Room) Except(by, leg conclave.LegID, waives []conclave.Problem, reason string, life time.Duration, now time.Time) (Exception, error) {
	if err := r.chair(by); err != nil {
		return Exception{}, err
	}
	l := r.legs[leg]
	switch {
	case l == nil || l.Standing != Quarantined:
		return Exception{}, problemNoLeg
	case len(r.exceptions) >= maxExceptions:
		return Exception{}, problemExceptions
	case slices.ContainsFunc(r.exceptions, func(e Exception) bool { return e.Leg == leg }):
		return Exception{}, problemExcepted
	}
	r.lastID++
	e := Exception{ID: r.lastID, Leg: leg, Waives: waives, Reason: reason, By: by, Until: now.Add(confirmDue), Life: life}
	e.People[0] = r.legs[by].Person
	r.exceptions = append(r.exceptions, e)
	return e, nil
}

// MayConfirm returns the exception that a leg may confirm or decline: another person's than who asked for it, and than the
// one for whom it is.
func (r *Room) MayConfirm(by conclave.LegID, id uint32) (Exception, error) {
	i := r.findException(id)
	l := r.legs[by]
	switch {
	case l == nil || !l.can():
		return Exception{}, problemNoLeg
	case i < 0 || r.exceptions[i].Confirmed():
		return Exception{}, problemNoneSuch
	}
	e := r.exceptions[i]
	if l.Person == e.People[0] || by == e.Leg || r.legs[e.Leg] != nil && r.legs[e.Leg].Person == l.Person {
		return Exception{}, problemSecond
	}
	return e, nil
}

// Confirm is a second person's word; MayConfirm says whether by may. The leg is let in by it: LetIn follows, or
// ExceptionOver.
func (r *Room) Confirm(by conclave.LegID, id uint32, yes bool, now time.Time) []Effect {
	i := r.findException(id)
	if i < 0 {
		return nil
	}
	e := &r.exceptions[i]
	if !yes {
		over := *e
		r.exceptions = slices.Delete(r.exceptions, i, i+1)
		return []Effect{ExceptionOver{over, "refuse", by}, Changed{}}
	}
	e.Second, e.People[1], e.Until = by, r.legs[by].Person, now.Add(e.Life)
	if l := r.legs[e.Leg]; l != nil {
		l.LetIn = true
	}
	return []Effect{LetIn{e.Leg}, Changed{}}
}

// tickPause says so when it becomes everybody's to let the room go on, or no longer is.
func (r *Room) tickPause(now time.Time) []Effect {
	if open := r.PauseOpen(now); open != r.open {
		r.open = open
		return []Effect{Changed{}}
	}
	return nil
}

func (r *Room) findException(id uint32) int {
	return slices.IndexFunc(r.exceptions, func(e Exception) bool { return e.ID == id })
}

// tickExceptions ends those whose time is over, and those whose leg is gone.
func (r *Room) tickExceptions(now time.Time) []Effect {
	var effects []Effect
	r.exceptions = slices.DeleteFunc(r.exceptions, func(e Exception) bool {
		if r.legs[e.Leg] != nil && now.Before(e.Until) {
			return false
		}
		outcome := "refuse"
		if e.Confirmed() {
			outcome = "done"
		}
		effects = append(effects, ExceptionOver{Exception: e, Outcome: outcome}, Changed{})
		return true
	})
	return effects
}

// EndExceptions ends all exceptions, and lets lapse those that were asked for.
func (r *Room) EndExceptions() []Effect {
	var effects []Effect
	for _, e := range r.exceptions {
		outcome := "refuse"
		if e.Confirmed() {
			outcome = "done"
		}
		effects = append(effects, ExceptionOver{Exception: e, Outcome: outcome}, Changed{})
	}
	r.exceptions = nil
	return effects
}

func (r *Room) nextException() (time.Time, bool) {
	if len(r.exceptions) == 0 {
		return time.Time{}, false
	}
	return slices.MinFunc(r.exceptions, func(a, b Exception) int { return cmp.Compare(a.Until.UnixNano(), b.Until.UnixNano()) }).Until, true
}
