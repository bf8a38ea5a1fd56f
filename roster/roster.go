// Package roster keeps one room: who is at the door, who was admitted, who is a member, whose line is lost, and who is on
// the way out. It is a state machine. The server tells it what happened and at what time, and carries out the effects that
// it returns, in their order; it does no I/O and knows no clock, so that every turn of a meeting can be tested as a table.
//
// A leg goes through these standings:
//
//	Waiting ──Decide──▸ Admitted ──Enter──▸ Member ──Remove, Leave, place not kept──▸ Leaving ──Committed──▸ (gone)
//
// A leg that is no member yet holds nothing and vanishes with its connection. A member holds keys: from the moment that it
// shall go it hears nothing more (Cut), but it is gone only once a commit has changed the keys without it (Gone); until then
// its removal is proposed again in every epoch, and loudly after RemovalDue. The room forgets its keys (Dropped) when no
// member is left that could commit.
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
	// PlaceKept is how long a member whose line is lost keeps its place: a lift ride, a change of network, a restart of
	// the server. Longer, and others would speak under the eyes of an absent device that still holds keys.
	PlaceKept = 60 * time.Second
	// RemovalDue is how long members have to commit a removal before that is recorded as overdue. They need 0.1 s, and
	// 0.3 s more for each that is silent.
	RemovalDue = 5 * time.Second
	// EnterDue is how long an admitted leg has to enter. Its pass lives longer, but a leg that computes a commit for half
	// a minute has a problem that it should hear of.
	EnterDue = 30 * time.Second
)

// Standing says where a leg stands.
type Standing uint8

// The standings of a leg.
const (
	Waiting  Standing = iota + 1 // at the door
	Admitted                     // has a pass, is no member yet
	Member                       // its leaf is in the tree
	Leaving                      // cut; its leaf is still in the tree
)

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

	Standing Standing         `json:"standing"`
	Since    time.Time        `json:"since"` // waiting since, admitted since, or member since
	Leaf     Leaf             `json:"leaf"`  // of members and leaving
	Shown    Shown            `json:"shown"`
	Lost     time.Time        `json:"lost,omitzero"`    // since when a member's line is lost; zero: it is not
	Why      conclave.Problem `json:"why,omitzero"`     // of Leaving: what the leg was told
	Going    time.Time        `json:"going,omitzero"`   // of Leaving: since when
	Overdue  time.Time        `json:"overdue,omitzero"` // of Leaving: when it is recorded as overdue next
}

// Effect is something that the server shall do. It is one of the types below.
type Effect interface{ effect() }

type (
	// Admit asks for a pass for a leg that the chair has let in: the server rules once more and answers with Pass or
	// Drop.
	Admit struct{ Leg conclave.LegID }
	// Cut stops a leg's media, at once.
	Cut struct {
		Leg conclave.LegID
		Why conclave.Problem
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

func (Admit) effect()   {}
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
)

// Removed is what a leg is told that the chair has removed. The reason is one of signal.RemoveReasons.
func Removed(reason string) conclave.Problem {
	return conclave.Problem{Code: "removed_" + reason, Fix: "call_chair"}
}

// Room is one room. It is not safe for concurrent use: the room's goroutine owns it.
type Room struct {
	legs map[conclave.LegID]*Leg
}

// New returns an empty room.
func New() *Room { return &Room{legs: map[conclave.LegID]*Leg{}} }

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
		if l.member() && l.Leaf == leaf {
			return *l, true
		}
	}
	return Leg{}, false
}

// Len returns the number of legs.
func (r *Room) Len() int { return len(r.legs) }

// member says whether the leg's leaf is in the tree.
func (l *Leg) member() bool { return l.Standing == Member || l.Standing == Leaving }

// can says whether a leg may act in the room.
func (l *Leg) can() bool { return l.Standing == Member }
