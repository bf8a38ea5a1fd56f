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

// Restore returns the room of a snapshot after a restart at now. Every member's line is lost from now on: those who were
// lost before get their time anew, since nobody could come back meanwhile. For the same reason a pass that ran out while the
// server was away is good for as long as the place is kept; who resumes is ruled anew. has says which leaves are in the
// tree: a leg without its leaf is not restored.
func Restore(snapshot []byte, has func(Leaf, conclave.DeviceID) bool, now time.Time) (*Room, error) {
	var kept []Leg
	if err := json.Unmarshal(snapshot, &kept); err != nil {
		return nil, fmt.Errorf("roster: restore: %w", err)
	}
	r := New()
	for _, l := range kept {
		if !l.member() || !has(l.Leaf, l.Device) {
			continue
		}
		if l.Standing == Member {
			l.Lost = now
			if until := now.Add(PlaceKept); l.PassUntil.Before(until) {
				l.PassUntil = until
			}
		} else {
			l.Overdue = now.Add(RemovalDue)
		}
		r.legs[l.ID] = &l
	}
	return r, nil
}
