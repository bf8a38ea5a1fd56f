package roster

import (
	"time"

	"conclave"
)

// presiding is what the chair has decided for the room: all are muted, the door is closed, another has the chair.
type presiding struct {
	hushed  *Act
	shut    *Act
	offered *Act
	// given is who has the chair, where it was handed over, and own whose it is else: the meeting's.
	given, own conclave.PersonID
}

// Act is something that a chair has done: when, over which leg, and for which leg.
type Act struct {
	Since time.Time      `json:"since"`
	By    conclave.LegID `json:"by"`
	To    conclave.LegID `json:"to,omitzero"`
}

// OfferDue is how long a chair that is offered may be accepted: the two speak with each other.
const OfferDue = 2 * time.Minute

// ChairBack says that the chair is the meeting's own again: who it was given to is gone.
type ChairBack struct{ From, To conclave.PersonID }

func (ChairBack) effect() {}

var (
	problemShut    = conclave.Problem{Code: "door_closed", Fix: "ask_chair_to_open"}
	problemNoOffer = conclave.Problem{Code: "chair_not_offered", Fix: "look_again"}
	problemNotThem = conclave.Problem{Code: "chair_not_possible", Fix: "choose_another_member"}
)

// Hushed says who has muted all, and when; nil: nobody has.
func (r *Room) Hushed() *Act { return r.hushed }

// Shut says who has closed the door, and when; nil: it is open.
func (r *Room) Shut() *Act { return r.shut }

// Offered says to whom the chair is offered; nil: to nobody.
func (r *Room) Offered() *Act { return r.offered }

// Given returns who has the chair, where it was handed over; "": it is the meeting's own.
func (r *Room) Given() conclave.PersonID { return r.given }

// MayPreside says whether a leg may act as the chair.
func (r *Room) MayPreside(by conclave.LegID) error { return r.chair(by) }

// Hush is the chair's wish that all be muted. Their own clients do it: there is nothing here that could.
func (r *Room) Hush(by conclave.LegID, now time.Time) []Effect {
	r.hushed = &Act{Since: now, By: by}
	return []Effect{Changed{}}
}

// Close closes the door, or opens it; MayPreside says whether by may. Who stands at it, or is on the way in for the first time,
// is told to go: nobody waits at a door that is closed. Whoever was in keeps their place.
func (r *Room) Close(by conclave.LegID, closed bool, now time.Time) []Effect {
	if !closed {
		r.shut = nil
		return []Effect{Changed{}}
	}
	r.shut = &Act{Since: now, By: by}
	var effects []Effect
	for _, was := range r.Legs() {
		if l := r.legs[was.ID]; l.Standing != Member && l.Standing != Leaving && !l.Seen {
			effects = append(effects, r.drop(l, problemShut, now)...)
		}
	}
	return append(effects, Changed{})
}

// MayEnter says whether somebody new may stand at the door, or come in: nobody may while it is closed, but the chair, who
// alone could open it again.
func (r *Room) MayEnter(role conclave.Role) error {
	if r.shut != nil && role != conclave.RoleChair {
		return problemShut
	}
	return nil
}

// MayOffer says whether a leg may offer the chair to another. Whether its person may have it at all the server knows.
func (r *Room) MayOffer(by, to conclave.LegID) error {
	if err := r.chair(by); err != nil {
		return err
	}
	l := r.legs[to]
	switch {
	case l == nil || !l.can():
		return problemNoLeg
	case l.Role == conclave.RoleChair || l.Person == "":
		return problemNotThem
	}
	return nil
}

// Offer offers the chair to another; MayOffer says whether by may. A further offer takes the place of the one before.
func (r *Room) Offer(by, to conclave.LegID, now time.Time) []Effect {
	r.offered = &Act{Since: now, By: by, To: to}
	return []Effect{Changed{}}
}

// Withdraw takes an offer back, or declines it: who offered it may, and who was offered it.
func (r *Room) Withdraw(by conclave.LegID) ([]Effect, error) {
	if o := r.offered; o == nil || by != o.By && by != o.To {
		return nil, problemNoOffer
	}
	r.offered = nil
	return []Effect{Changed{}}, nil
}

// MayTake says whether a leg may take the chair that it was offered.
func (r *Room) MayTake(by conclave.LegID, now time.Time) error {
	r.lapse(now)
	if r.offered == nil || r.offered.To != by {
		return problemNoOffer
	}
	return nil
}

// Take hands the chair over to who was offered it; MayTake says whether by may. Who had it is an ordinary member from now on,
// and so are all others: the chair is one person.
func (r *Room) Take(by conclave.LegID) []Effect {
	if r.given == "" {
		r.own = r.legs[r.offered.By].Person
	}
	r.given, r.offered = r.legs[by].Person, nil
	if r.given == r.own {
		r.given, r.own = "", ""
	}
	r.seat(r.legs[by].Person)
	return []Effect{Changed{}}
}

// seat makes a person's legs the chair's, and all others those of ordinary members.
func (r *Room) seat(person conclave.PersonID) {
	for _, l := range r.legs {
		l.Role = conclave.RoleMember
		if l.Person == person {
			l.Role = conclave.RoleChair
		}
	}
}

// Settle ends what has no ground any more: an offer whose time is over, or one of whose two is not in; and a chair that was
// handed over to one who is gone. Whose line is lost keeps it as long as their place. It is to be called after every event.
func (r *Room) Settle(now time.Time) []Effect {
	var effects []Effect
	if r.lapse(now) {
		effects = append(effects, Changed{})
	}
	if r.given == "" || r.seated(r.given) {
		return effects
	}
	back := ChairBack{r.given, r.own}
	r.seat(r.own)
	r.given, r.own = "", ""
	return append(effects, back, Changed{})
}

// seated says whether a person has a place in the room: is a member, or was until their line was lost.
func (r *Room) seated(person conclave.PersonID) bool {
	for _, l := range r.legs {
		if l.Person == person && (l.Standing == Member || l.gone() || l.Seen && l.Standing == Admitted) {
			return true
		}
	}
	return false
}

// lapse forgets an offer that nobody can take any more, and says whether there was one.
func (r *Room) lapse(now time.Time) bool {
	o := r.offered
	if o == nil || now.Before(o.Since.Add(OfferDue)) && r.chair(o.By) == nil && r.legs[o.To] != nil && r.legs[o.To].can() {
		return false
	}
	r.offered = nil
	return true
}
