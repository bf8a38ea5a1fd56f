// Package roster keeps one room: who is at the door, who was admitted, who is a member, whose line is lost, and who is on
// the way out. It is a state machine. The server tells it what happened and at what time, and carries out the effects that
// it returns, in their order; it does no I/O and knows no clock, so that every turn of a meeting can be tested as a table.
//
// A leg goes through these standings:
//
//	Waiting ──Admit──▸ Admitted ──Enter──▸ Member ──Remove, Leave, place not kept──▸ Leaving ──Committed──▸ (gone)
//	   ▴                  ▴                   │
//	   └──────Hold────────┴──Admit── Quarantined ◂──Quarantine (the line is no longer good enough)
//
// A leg that is no member yet holds nothing and vanishes with its connection. A member holds keys: from the moment that it
// shall go, or is quarantined, it hears nothing more (Cut), but it is without keys only once a commit has changed them
// without it (Gone, Keyless); until then its removal is proposed again in every epoch, and loudly after RemovalDue. The room
// forgets its keys (Dropped) when no member is left that could commit. A leg in quarantine keeps its connection and, for
// HealDue, its place; once its line is good again it is admitted and enters anew. A member whose line is lost goes the same
// way after KeysKept, and its place is kept for PlaceKept.
//
// Who commits, and who takes over, the members decide among themselves (docs/protocol.md).
package roster

import (
	"cmp"
	"slices"
	"time"

	"conclave"
)

// Leaf is a leaf index of the group's ratchet tree.
type Leaf uint32

// Spans of time of a room.
const (
	// PlaceKept is how long one whose line is lost keeps its place: a lift ride, a change of network, a restart of the server.
	PlaceKept = 60 * time.Second
	// KeysKept is how long a member whose line is lost keeps its keys, while others speak: a change of network, which would else
	// cost the room two changes of keys. Longer, and others would speak under the eyes of an absent device.
	KeysKept = 2 * time.Second
	// ReturnKept is the same from the moment on at which one is back where all lines were lost: a restart of the server, or its
	// network. The others come over some seconds, and a hundred of them would else all join anew.
	ReturnKept = 10 * time.Second
	// RemovalDue is how long members have to commit a removal before that is recorded as overdue. They need 0.1 s, and
	// 0.3 s more for each that is silent.
	RemovalDue = 5 * time.Second
	// EnterDue is how long an admitted leg has to enter. Its pass lives longer, but a leg that computes a commit for half
	// a minute has a problem that it should hear of.
	EnterDue = 30 * time.Second
	// HealDue is how long a leg in quarantine keeps its place: to change to another network, to find a room to be alone in,
	// to fetch another device. Nobody speaks under its eyes meanwhile, for it has no keys.
	HealDue = 10 * time.Minute
)

// Standing says where a leg stands.
type Standing uint8

// The standings of a leg.
const (
	Waiting     Standing = iota + 1 // at the door
	Admitted                        // has a pass, is no member yet
	Member                          // its leaf is in the tree
	Leaving                         // cut; its leaf is still in the tree
	Quarantined                     // cut, on its connection; let in again once its line is good enough
)

var standingWords = [...]string{"invalid", "waiting", "admitted", "member", "leaving", "quarantined"}

// String returns the standing's word.
func (s Standing) String() string {
	if int(s) >= len(standingWords) {
		return standingWords[0]
	}
	return standingWords[s]
}

// Shown is what a leg shows of itself.
type Shown struct {
	Muted, Camera, Screen, Hand bool
}

// Leg is one leg of the room. Slices are shared: nobody writes to them.
type Leg struct {
	ID        conclave.LegID    `json:"id"`
	Device    conclave.DeviceID `json:"device"`
	Person    conclave.PersonID `json:"person"`
	Statement []byte            `json:"statement"` // the device statement, encoded
	Role      conclave.Role     `json:"role"`
	Grade     conclave.Grade    `json:"grade"`
	Facts     []conclave.Fact   `json:"facts"`
	Pass      []byte            `json:"pass,omitempty"` // the last one, encoded
	PassUntil time.Time         `json:"pass_until,omitzero"`
	Ticket    []byte            `json:"ticket,omitempty"` // what the leg brings to come back to its place

	Standing Standing         `json:"standing"`
	Since    time.Time        `json:"since"`             // of the standing
	InTree   bool             `json:"in_tree,omitempty"` // its leaf is in the tree: of members, and of others until a commit
	Leaf     Leaf             `json:"leaf"`              // where InTree
	Shown    Shown            `json:"shown"`
	LetIn    bool             `json:"let_in,omitempty"` // past the door, by the chair's word or the ruling's
	Early    bool             `json:"early,omitempty"`  // of Waiting: for the meeting to start, not for the chair's word
	Seen     bool             `json:"seen,omitempty"`   // was a member once: its quarantine is shown to all
	Lost     time.Time        `json:"lost,omitzero"`    // since when the line is lost; zero: it is not
	Why      conclave.Problem `json:"why,omitzero"`     // of Leaving: what the leg was told
	Going    time.Time        `json:"going,omitzero"`   // of one InTree that is no member: since when
	Overdue  time.Time        `json:"overdue,omitzero"` // of the same: when it is recorded as overdue next
	// Reasons are of Quarantined: what stands in the way.
	Reasons []conclave.Problem `json:"reasons,omitempty"`
}

// Effect is something that the server shall do. It is one of the types below.
type Effect interface{ effect() }

type (
	// LetIn says that the chair has let a leg in: the server rules once more and answers with Room.Admit or Quarantine.
	LetIn struct{ Leg conclave.LegID }
	// Cut stops a leg's media, at once.
	Cut struct {
		Leg    conclave.LegID
		Device conclave.DeviceID
		Leaf   *Leaf // nil: it had none
		Why    conclave.Problem
	}
	// Ended tells a leg why it is out and closes its connection.
	Ended struct {
		Leg conclave.LegID
		Why conclave.Problem
	}
	// Propose hands the members the removal of a leaf, in the epoch that is.
	Propose struct {
		Leg  conclave.LegID
		Leaf Leaf
	}
	// Overdue says that no member has committed a removal in time. It is followed by Propose.
	Overdue struct {
		Leg   conclave.LegID
		Since time.Time
	}
	// Told tells a leg in quarantine what stands in its way.
	Told struct {
		Leg     conclave.LegID
		Reasons []conclave.Problem
		Since   time.Time
	}
	// Keyless says that a leg that keeps its place, in quarantine or on its way back, holds no keys of the room any more.
	Keyless struct {
		Leg    conclave.LegID
		Device conclave.DeviceID
		Since  time.Time // since when it was to be without
	}
	// Gone says that a leg is out of the room and, if it was a member, holds no keys of it.
	Gone struct {
		Leg    conclave.LegID
		Device conclave.DeviceID
		Was    Standing
		Why    conclave.Problem
	}
	// Changed says that the roster is to be shown anew.
	Changed struct{}
	// Dropped says that nobody is left to commit: the group is forgotten, the next leg makes a new one.
	Dropped struct{}
)

func (LetIn) effect()   {}
func (Told) effect()    {}
func (Keyless) effect() {}
func (Cut) effect()     {}
func (Ended) effect()   {}
func (Propose) effect() {}
func (Overdue) effect() {}
func (Gone) effect()    {}
func (Changed) effect() {}
func (Dropped) effect() {}

// The problems that a room tells of.
var (
	problemReplaced  = conclave.Problem{Code: "leg_replaced", Fix: "go_on_there"}
	problemDeclined  = conclave.Problem{Code: "door_declined", Fix: "call_chair"}
	problemLate      = conclave.Problem{Code: "enter_late", Fix: "join_again"}
	problemPlaceLost = conclave.Problem{Code: "place_lost", Fix: "join_again"}
	problemLapsed    = conclave.Problem{Code: "pass_lapsed", Fix: "join_again"}
	problemLeft      = conclave.Problem{Code: "left", Fix: "join_again"}
	problemNotChair  = conclave.Problem{Code: "not_chair", Fix: "ask_chair"}
	problemNoLeg     = conclave.Problem{Code: "leg_unknown", Fix: "look_again"}
	problemSelf      = conclave.Problem{Code: "remove_self", Fix: "leave_instead"}
	problemLine      = conclave.Problem{Code: "line_lost", Fix: "check_connection"}
	problemUnhealed  = conclave.Problem{Code: "quarantine_over", Fix: "join_again"}
)

// Removed is what a leg is told that the chair has removed. The reason is one of signal.RemoveReasons.
func Removed(reason string) conclave.Problem {
	return conclave.Problem{Code: "removed_" + reason, Fix: "call_chair"}
}

// Room is one room. It is not safe for concurrent use: the room's goroutine owns it.
type Room struct {
	legs map[conclave.LegID]*Leg
	// sentAway are whom the chair has removed and not let in again since: they walk in at no door. One name for each person
	// that was let in, so it is bounded by who may come.
	sentAway map[conclave.PersonID]bool
	returned time.Time // when one came back, or in, where all lines had been lost; zero: never
	aside
	presiding
}

// New returns an empty room.
func New() *Room {
	return &Room{legs: map[conclave.LegID]*Leg{}, sentAway: map[conclave.PersonID]bool{}}
}

// Leg returns a leg as it stands now.
func (r *Room) Leg(id conclave.LegID) (Leg, bool) {
	l, ok := r.legs[id]
	if !ok {
		return Leg{}, false
	}
	return *l, true
}

// Legs returns all legs, those who came first at the front.
func (r *Room) Legs() []Leg {
	all := make([]Leg, 0, len(r.legs))
	for _, l := range r.legs {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b Leg) int {
		return cmp.Or(a.Since.Compare(b.Since), slices.Compare(a.ID[:], b.ID[:]))
	})
	return all
}

// OfLeaf returns the leg whose leaf this is.
func (r *Room) OfLeaf(leaf Leaf) (Leg, bool) {
	for _, l := range r.legs {
		if l.InTree && l.Leaf == leaf {
			return *l, true
		}
	}
	return Leg{}, false
}

// Len returns the number of legs.
func (r *Room) Len() int { return len(r.legs) }

// Going returns how many leaves are in the tree whose legs shall hold no keys any more.
func (r *Room) Going() int {
	n := 0
	for _, l := range r.legs {
		if l.going() {
			n++
		}
	}
	return n
}

// Started says whether anybody is a member.
func (r *Room) Started() bool {
	for _, l := range r.legs {
		if l.Standing == Member {
			return true
		}
	}
	return false
}

// Chaired says whether somebody who may decide is a member.
func (r *Room) Chaired() bool {
	for _, l := range r.legs {
		if l.Standing == Member && l.Role == conclave.RoleChair {
			return true
		}
	}
	return false
}

// going says whether the leg's leaf is in the tree and shall not be.
func (l *Leg) going() bool { return l.InTree && l.Standing != Member }

// cut is the effect that stops the leg's media.
func (l *Leg) cut(why conclave.Problem) Cut {
	c := Cut{Leg: l.ID, Device: l.Device, Why: why}
	if l.InTree {
		leaf := l.Leaf
		c.Leaf = &leaf
	}
	return c
}

// can says whether a leg may act in the room.
func (l *Leg) can() bool { return l.Standing == Member }
