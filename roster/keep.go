package roster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"conclave"
)

// snapshot is what outlives the server.
type snapshot struct {
	Legs       []Leg                      `json:"legs"`
	Paused     *Paused                    `json:"paused,omitempty"`
	Exceptions []Exception                `json:"exceptions,omitempty"`
	LastID     uint32                     `json:"last_id,omitempty"`
	SentAway   map[conclave.PersonID]bool `json:"sent_away,omitempty"`
	Hushed     *Act                       `json:"hushed,omitempty"`
	Shut       *Act                       `json:"shut,omitempty"`
	Given      conclave.PersonID          `json:"given,omitempty"`
	Own        conclave.PersonID          `json:"own,omitempty"`
}

// Snapshot encodes what must outlive the server: the members, whoever was one and is in quarantine, whether the room is
// paused, what is excepted, and what the chair has decided. Others vanish with their connections.
func (r *Room) Snapshot() []byte {
	s := snapshot{Legs: []Leg{}, Paused: r.paused, Exceptions: r.exceptions, LastID: r.lastID, SentAway: r.sentAway,
		Hushed: r.hushed, Shut: r.shut, Given: r.given, Own: r.own}
	for _, l := range r.Legs() {
		if l.InTree || l.Standing == Quarantined && l.Seen {
			s.Legs = append(s.Legs, l)
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic("roster: snapshot: " + err.Error())
	}
	return b
}

// Memory encodes what outlives the room's being empty, until the meeting is over: whom the chair has sent away, and that the
// door is closed. It is nil where there is nothing.
func (r *Room) Memory() []byte {
	if len(r.sentAway) == 0 && r.shut == nil {
		return nil
	}
	return (&Room{sentAway: r.sentAway, presiding: presiding{shut: r.shut}}).Snapshot()
}

// Restore returns the room of a snapshot after a restart at now. leaves are those in the tree; newLeg draws names.
//
// Every leg's line is lost from now on: those who were lost before get their time anew, since nobody could come back
// meanwhile. For the same reason a pass that ran out while the server was away is good for as long as the place is kept.
// A member without its leaf is forgotten. A leaf without a leg (the server stopped between the two writes of a join) is
// put out: its device joins again. Removals are due at once.
func Restore(encoded []byte, leaves map[Leaf]conclave.DeviceID, newLeg func() conclave.LegID, now time.Time) (*Room, error) {
	var s snapshot
	var err error
	if encoded = bytes.TrimSpace(encoded); len(encoded) > 0 && encoded[0] == '[' {
		// As it was kept before there was anything but members.
		if err = json.Unmarshal(encoded, &s.Legs); err == nil {
			for i := range s.Legs {
				s.Legs[i].InTree, s.Legs[i].LetIn, s.Legs[i].Seen = true, true, true
			}
		}
	} else {
		err = json.Unmarshal(encoded, &s)
	}
	if err != nil {
		return nil, fmt.Errorf("roster: restore: %w", err)
	}
	r := New()
	maps.Copy(r.sentAway, s.SentAway)
	r.presiding = presiding{hushed: s.Hushed, shut: s.Shut, given: s.Given, own: s.Own}
	for _, l := range s.Legs {
		if device, ok := leaves[l.Leaf]; !ok || device != l.Device {
			l.InTree = false
		}
		switch {
		case l.Standing == Member && l.InTree:
			l.Lost = now
			if until := now.Add(PlaceKept); l.PassUntil.Before(until) {
				l.PassUntil = until
			}
		case l.Standing == Leaving && l.InTree:
			l.Overdue = now
		case l.Standing != Member && l.Standing != Leaving && l.Seen:
			l.restoreAway(now)
		default:
			continue
		}
		r.legs[l.ID] = &l
	}
	if len(r.legs) > 0 {
		r.aside = aside{paused: s.Paused, exceptions: s.Exceptions, lastID: s.LastID}
	}
	for leaf, device := range leaves {
		if _, ok := r.OfLeaf(leaf); !ok {
			id := newLeg()
			r.legs[id] = &Leg{ID: id, Device: device, Role: conclave.RoleMember, InTree: true, Leaf: leaf, Standing: Leaving,
				Why: problemPlaceLost, Since: now, Going: now, Overdue: now}
		}
	}
	return r, nil
}

// restoreAway brings one in quarantine back, or on its way out of it.
func (l *Leg) restoreAway(now time.Time) {
	l.Lost, l.Early = now, false
	if l.Standing != Quarantined {
		l.Standing, l.Since = Quarantined, now
	}
	if len(l.Reasons) == 0 {
		l.Reasons = []conclave.Problem{problemPlaceLost}
	}
	if l.InTree {
		l.Overdue = now
	} else {
		l.Leaf, l.Going, l.Overdue = 0, time.Time{}, time.Time{}
	}
}
