package sfu

import (
	"time"

	"conclave/sfu/slot"
)

const (
	// A stream that sends nothing for this long gives its video slot back. Shared screens may rest between pictures.
	videoIdle = 5 * time.Second
	// Who has a slot in a crowded room keeps it this long at least, so that the picture does not flicker.
	holdAudio = 2 * time.Second
	holdVideo = 4 * time.Second
	// Loudness is 0 to 127 (127 + dBov), smoothed. A challenger must speak, and be this much louder than the owner.
	loudEnough = 60
	louderBy   = 10
	// turnEvery is how often, in a crowded room, one who has no audio slot gets that of somebody who does not speak: all are
	// heard by and by, by which members know that all have the room's keys (decision 0010).
	turnEvery = holdAudio
)

// seat is a slot as control sees it (guarded by the room's mutex), with the forwarder's half beside it.
type seat struct {
	name   slot.Slot
	number int // place in Room.slots and in every receiver's streams
	owner  *leg
	since  time.Duration // of this owner
	given  *grant        // what the owner's stream holds; nil while its transport is away
	out    lane          // the forwarder's
}

// grant lets a stream speak in a seat. A new one each time: the forwarder tells eras apart by its address.
type grant struct {
	seat *seat
}

func newSeat(name slot.Slot, number int) *seat {
	return &seat{name: name, number: number, out: lane{ssrc: name.SSRC()}}
}

// stream returns the owner's stream that would speak here, or nil.
func (l *leg) stream(k slot.Kind) *inbound {
	if l == nil || l.transport == nil {
		return nil
	}
	if in := &l.transport.in[k-1]; in.ssrc != 0 {
		return in
	}
	return nil
}

func (s *seat) vacate() {
	if in := s.owner.stream(s.name.Kind); in != nil && in.grant.Load() == s.given {
		in.grant.Store(nil)
	}
	s.owner, s.given = nil, nil
}

// occupy gives the seat to l; the former owner's stream is silenced first, so that no two ever hold one seat.
func (s *seat) occupy(l *leg, now time.Duration) {
	if s.owner != nil {
		s.owner.heard = now
	}
	s.vacate()
	s.owner, s.since = l, now
	s.connect()
}

// connect hands the owner's current stream the seat, if it has not got it already.
func (s *seat) connect() {
	in := s.owner.stream(s.name.Kind)
	if in == nil || !in.of.open.Load() {
		s.given = nil
		return
	}
	if s.given != nil && in.grant.Load() == s.given {
		return
	}
	s.given = &grant{seat: s}
	in.grant.Store(s.given)
	s.wantKey()
}

// wantKey has the forwarder ask the owner for a key frame.
func (s *seat) wantKey() {
	if in := s.owner.stream(s.name.Kind); in != nil && s.name.Kind.Video() {
		in.wantKey.Store(true)
	}
}

// arrange decides who is in which slot. The room's mutex is held.
func (r *Room) arrange(now time.Duration) {
	changed := false
	for kind := slot.Microphone; kind <= slot.Screen; kind++ {
		changed = r.arrangeKind(kind, now) || changed
	}
	if changed {
		r.event(Event{Kind: EventSlots})
	}
}

func (r *Room) seats(kind slot.Kind) []*seat {
	switch kind {
	case slot.Microphone:
		return r.slots[:r.plan.Audio]
	case slot.Camera:
		return r.slots[r.plan.Audio : r.plan.Audio+r.plan.Camera]
	default:
		return r.slots[r.plan.Audio+r.plan.Camera:]
	}
}

// claims reports whether the leg has something to put into a slot of this kind: an open leg's microphone always (it
// sends at a constant rate), video while packets come.
func (l *leg) claims(kind slot.Kind, now time.Duration) bool {
	in := l.stream(kind)
	if in == nil || !l.admitted {
		return false
	}
	if !kind.Video() {
		return true // even while its transport is away: the slot is kept for it
	}
	last := in.last.Load()
	return in.of.open.Load() && last != 0 && now-time.Duration(last) < videoIdle
}

// loudness is how loud the leg speaks: what slots follow in a crowded room.
func (l *leg) loudness() int32 {
	if in := l.stream(slot.Microphone); in != nil {
		return in.loud.Load() >> loudShift
	}
	return 0
}

func (r *Room) arrangeKind(kind slot.Kind, now time.Duration) (changed bool) {
	seats := r.seats(kind)
	if len(seats) == 0 {
		return false
	}
	seated, claimants := 0, 0
	if r.shut[kind] {
		for _, s := range seats {
			changed = changed || s.owner != nil
			s.vacate()
		}
		return changed
	}
	for _, s := range seats {
		if s.owner == nil {
			continue
		}
		if r.legs[s.owner.id] != s.owner || !s.owner.claims(kind, now) {
			s.vacate()
			changed = true
			continue
		}
		s.connect()
		seated++
	}
	for _, l := range r.legs {
		if l.claims(kind, now) {
			claimants++
		}
	}
	if kind == slot.Microphone {
		if crowded := claimants > len(seats); crowded != r.crowded {
			r.crowded, r.turned, changed = crowded, now, true
		}
	}
	if claimants == seated {
		return changed
	}
	// Some claim that have no seat: first come, first served; then loudness, except for the screen; then all in turn, for sound.
	for _, l := range r.inOrder() {
		if !l.claims(kind, now) || r.seatOf(l, kind) != nil {
			continue
		}
		if s := r.freeSeat(l, kind); s != nil {
			s.occupy(l, now)
			changed = true
			continue
		}
		if kind == slot.Screen {
			break
		}
		if s := quietest(seats, now); s != nil && l.loudness() >= loudEnough && l.loudness() >= s.owner.loudness()+louderBy {
			s.occupy(l, now)
			changed = true
		}
	}
	return kind == slot.Microphone && r.takeTurn(now) || changed
}

// takeTurn gives the seat of the one who is least loud, if that is no speaker, to the one who was heard longest ago.
func (r *Room) takeTurn(now time.Duration) bool {
	if !r.crowded || now-r.turned < turnEvery {
		return false
	}
	var next *leg
	for _, l := range r.inOrder() {
		if l.claims(slot.Microphone, now) && r.seatOf(l, slot.Microphone) == nil && (next == nil || l.heard < next.heard) {
			next = l
		}
	}
	var s *seat
	for _, q := range r.seats(slot.Microphone) {
		if q.owner != nil && (s == nil || q.owner.loudness() < s.owner.loudness()) {
			s = q
		}
	}
	// The turn waits for a seat that has only just changed hands: another in its place might be a speaker's.
	if next == nil || s == nil || s.owner.loudness() >= loudEnough || now-s.since < holdAudio {
		return false
	}
	s.occupy(next, now)
	r.turned = now
	return true
}

func (r *Room) seatOf(l *leg, kind slot.Kind) *seat {
	for _, s := range r.seats(kind) {
		if s.owner == l {
			return s
		}
	}
	return nil
}

// freeSeat returns an empty seat, for a camera that of its microphone's number if it can be: they belong together.
func (r *Room) freeSeat(l *leg, kind slot.Kind) *seat {
	seats := r.seats(kind)
	if kind == slot.Camera {
		if mic := r.seatOf(l, slot.Microphone); mic != nil && mic.name.Index < len(seats) && seats[mic.name.Index].owner == nil {
			return seats[mic.name.Index]
		}
	}
	for _, s := range seats {
		if s.owner == nil {
			return s
		}
	}
	return nil
}

// quietest returns the seat whose owner is the least loud of those that have held theirs long enough.
func quietest(seats []*seat, now time.Duration) *seat {
	var q *seat
	for _, s := range seats {
		hold := holdAudio
		if s.name.Kind.Video() {
			hold = holdVideo
		}
		if s.owner != nil && now-s.since >= hold && (q == nil || s.owner.loudness() < q.owner.loudness()) {
			q = s
		}
	}
	return q
}
