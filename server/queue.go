package server

import (
	"slices"
	"time"

	"conclave"
	"conclave/roster"
	"conclave/signal"
)

// turnLength is how long the leg whose turn it is has the state for itself: a join takes a browser 20 to 200 ms, most of it
// verifying the members.
const turnLength = 500 * time.Millisecond

// queue brings legs into the group one after the other when many come at once. An external commit starts from the newest
// epoch, so of all who try at the same time one wins; if the others all tried again at once, the last of a hundred would
// try a hundred times. So who lost is told the new state only when it is its turn. It is advice: a commit that starts from
// the right epoch is taken from everybody.
type queue struct {
	legs  []conclave.LegID // who lost, the longest waiting first
	turn  conclave.LegID   // who was told the newest state; zero: nobody
	until time.Time        // of the turn
	kept  conclave.LegID   // who kept its turn last, having lost it
}

// lost has a leg wait for its turn. Whoever had the turn and lost to somebody who came by keeps it, once: one that always
// starts from an old epoch would keep all others out.
func (q *queue) lost(leg conclave.LegID) {
	if q.turn == leg {
		q.turn = conclave.LegID{}
		if q.kept != leg {
			q.kept = leg
			q.legs = slices.Insert(q.legs, 0, leg)
			return
		}
	}
	if !slices.Contains(q.legs, leg) {
		q.legs = append(q.legs, leg)
	}
}

// done takes a leg that is in, or gone, off the queue.
func (q *queue) done(leg conclave.LegID) {
	if q.turn == leg {
		q.turn = conclave.LegID{}
	}
	q.legs = slices.DeleteFunc(q.legs, func(l conclave.LegID) bool { return l == leg })
}

// next returns whose turn it is now, and false while somebody has it or nobody waits.
func (q *queue) next(now time.Time) (conclave.LegID, bool) {
	if len(q.legs) == 0 || q.turn != (conclave.LegID{}) && now.Before(q.until) {
		return conclave.LegID{}, false
	}
	leg := q.legs[0]
	q.legs = q.legs[1:]
	q.turn, q.until = leg, now.Add(turnLength)
	return leg, true
}

// due returns when next may say something else, and false if only an event can bring that.
func (q *queue) due() (time.Time, bool) { return q.until, len(q.legs) > 0 }

// admitNext tells the newest state to the leg whose turn it is.
func (r *room) admitNext() {
	for !r.unproven() {
		leg, ok := r.queue.next(r.now())
		if !ok {
			return
		}
		if l, in := r.roster.Leg(leg); in && l.Standing == roster.Admitted {
			r.roster.Tried(leg, r.now())
			r.send(leg, &signal.Stale{Epoch: uint64(r.group.Epoch()), Group: r.groupState()})
			return
		}
		r.queue.done(leg) // gone meanwhile
	}
}
