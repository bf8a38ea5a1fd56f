package roster

import (
	"encoding/json"
	"fmt"
	"time"

	"conclave"
)

// Snapshot encodes what must outlive the server: the members. Others vanish with their connections.
func (r *Room) Snapshot() []byte {
	kept := []Leg{}
	for _, l := range r.Legs() {
		if l.member() {
			kept = append(kept, l)
		}
	}
	b, err := json.Marshal(kept)
	if err != nil {
		panic("roster: snapshot: " + err.Error())
	}
	return b
}

// Restore returns the room of a snapshot after a restart at now. leaves are those in the tree; newLeg draws names.
//
// Every member's line is lost from now on: those who were lost before get their time anew, since nobody could come back
// meanwhile. For the same reason a pass that ran out while the server was away is good for as long as the place is kept.
// A leg without its leaf is forgotten. A leaf without a leg (the server stopped between the two writes of a join) is
// put out: its device joins again. Removals are due at once.
func Restore(snapshot []byte, leaves map[Leaf]conclave.DeviceID, newLeg func() conclave.LegID, now time.Time) (*Room, error) {
	var kept []Leg
	if err := json.Unmarshal(snapshot, &kept); err != nil {
		return nil, fmt.Errorf("roster: restore: %w", err)
	}
	r := New()
	for _, l := range kept {
		if device, ok := leaves[l.Leaf]; !l.member() || !ok || device != l.Device {
			continue
		}
		if l.Standing == Member {
			l.Lost = now
			if until := now.Add(PlaceKept); l.PassUntil.Before(until) {
				l.PassUntil = until
			}
		} else {
			l.Overdue = now
		}
		r.legs[l.ID] = &l
	}
	for leaf, device := range leaves {
		if _, ok := r.OfLeaf(leaf); !ok {
			id := newLeg()
			r.legs[id] = &Leg{ID: id, Device: device, Role: conclave.RoleMember, Leaf: leaf, Standing: Leaving,
				Why: problemPlaceLost, Since: now, Going: now, Overdue: now}
		}
	}
	return r, nil
}
