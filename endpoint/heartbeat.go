package endpoint

import (
	"strings"
	"time"

	"conclave"
	"conclave/mls"
)

// The heartbeat of a room is its sound. Every leg sends 50 sealed frames a second, muted or not. Their key comes from the
// epoch's exporter secret, and that from the group context with its epoch number and confirmed transcript hash (RFC 9420,
// Section 8): whose frames open agrees with us on everything that happened so far, and nobody else's can. So no message of
// its own is needed, nor could a server forge or hold back one without holding back the sound.
//
// A leaf that is neither lost nor heard is then one of three things: its line broke and the server has not noticed, the
// server holds its sound back, or it is in another epoch: a fork. The person is told, and has the security code to tell
// them apart.

const (
	// listenEvery is how often the room is listened to.
	listenEvery = 2 * time.Second
	// unheardFor is the silence after which a member is missed: the server takes six seconds to find a line lost, and an
	// epoch that others entered and we did not opens no more after grace.
	unheardFor = 12 * time.Second
	// unheardAll is the silence of all after which the own line is in doubt too.
	unheardAll = 20 * time.Second
	// turnFor is what each member of a crowded room may take of the slots that go round, before others are missed there: twice
	// what the server gives a turn.
	turnFor = 4 * time.Second
	// awayFor is how long the server may call a line lost before it is doubted: it has us remove a member after 60 s.
	awayFor = 90 * time.Second
	// removalLimit is how long a removal may wait for its commit: thirty members' turns.
	removalLimit = 10 * time.Second
	// maxHeard bounds the slots that an owner may report.
	maxHeard = 256
	// maxNamed is how many names a sentence holds.
	maxNamed = 5
)

// heartbeat is what is heard of the members. It is owned by the session.
type heartbeat struct {
	slots   map[int]mls.LeafIndex               // who is heard in which audio slot
	missing map[mls.LeafIndex]time.Time         // since when a member is not heard
	devices map[mls.LeafIndex]conclave.DeviceID // to whom missing refers: leaves are used again
	away    map[conclave.DeviceID]time.Time     // since when the server calls a member's line lost, by our clock
	crowded bool
	roomy   time.Time // since when it is not crowded, where it was
}

// opened notes who is heard in a slot; leaf -1 is nobody.
func (h *heartbeat) opened(slot, leaf int) {
	if slot < 0 || slot >= maxHeard {
		return
	}
	if leaf < 0 {
		delete(h.slots, slot)
		return
	}
	if h.slots == nil {
		h.slots = make(map[int]mls.LeafIndex)
	}
	h.slots[slot] = mls.LeafIndex(leaf)
	delete(h.missing, mls.LeafIndex(leaf)) // heard between two looks is heard
}

// crowd notes whether not everybody can be heard at once.
func (h *heartbeat) crowd(crowded bool, now time.Time) {
	if h.crowded && !crowded {
		h.roomy = now
	}
	h.crowded = crowded
}

// overdue says whether a member not heard since then is missed, among others that are there. Where slots go round, each has
// to wait for a turn; a room said to be crowded now and again is looked at like one that always is.
func (h *heartbeat) overdue(since, now time.Time, others int) bool {
	if now.Sub(since) >= unheardFor+time.Duration(others)*turnFor {
		return true
	}
	if since.Before(h.roomy) {
		since = h.roomy
	}
	return !h.crowded && now.Sub(since) >= unheardFor
}

// reset forgets silences: the media path is new, or the leg is back.
func (h *heartbeat) reset() {
	clear(h.slots)
	clear(h.missing)
	clear(h.away)
}

func (h *heartbeat) hears(leaf mls.LeafIndex) bool {
	for _, l := range h.slots {
		if l == leaf {
			return true
		}
	}
	return false
}

// listen misses those members who are there by the server's word and are not heard. In a room with more microphones than
// slots the server gives everybody a turn in one: whoever gets none is missed later than elsewhere.
func (s *session) listen() {
	if s.state != StateIn || s.member == nil || s.roster == nil {
		return
	}
	s.after(dueListen, listenEvery)
	h, now := &s.heartbeat, s.cfg.Now()
	s.missRemovals(now)
	if _, deaf := s.cfg.Media.(noMedia); deaf || s.pausedNow() {
		clear(h.missing)
		return
	}
	if h.missing == nil {
		h.missing, h.devices = make(map[mls.LeafIndex]time.Time), make(map[mls.LeafIndex]conclave.DeviceID)
	}
	here := s.here(now)
	for at := range h.missing {
		if d, ok := here[at]; !ok || h.devices[at] != d || h.hears(at) {
			delete(h.missing, at)
		}
	}
	for at, d := range here {
		if _, ok := h.missing[at]; !ok && !h.hears(at) {
			h.missing[at], h.devices[at] = now, d
		}
	}
	s.miss(len(here), now)
}

// missRemovals tells of one who was to go and still has keys: members have committed it by now, and the server has ordered
// nothing.
func (s *session) missRemovals(now time.Time) {
	for _, r := range s.member.known {
		if l := s.member.leaves[r.leaf]; r.change == nil && l != nil && now.Sub(r.at) > removalLimit {
			s.alarm(about("alarm_removal_overdue", "leave_and_report", "name", l.Statement.Name))
		}
	}
}

// here returns the other members whose line the server does not call lost, or has called lost for longer than it can be.
// They are known by what their leaves prove: the server numbers legs as it likes.
func (s *session) here(now time.Time) map[mls.LeafIndex]conclave.DeviceID {
	here, away := make(map[mls.LeafIndex]conclave.DeviceID), make(map[conclave.DeviceID]time.Time)
	for _, leg := range s.roster.Legs {
		at := mls.LeafIndex(leg.Leaf)
		l := s.member.leaves[at]
		if l == nil || at == s.member.group.OwnLeaf() {
			continue
		}
		d := l.Statement.Device()
		if leg.Lost != nil {
			since, ok := s.away[d]
			if !ok {
				since = now
			}
			away[d] = since
			if now.Sub(since) < awayFor {
				continue
			}
		}
		here[at] = d
	}
	s.away = away
	return here
}

// miss tells of members not heard for too long. Where that is all of them, the own line is as likely the cause.
func (s *session) miss(here int, now time.Time) {
	h := &s.heartbeat
	if here > 1 && len(h.missing) == here {
		for _, since := range h.missing {
			if now.Sub(since) < unheardAll {
				return
			}
		}
		s.alarm(about("alarm_nobody_heard", "compare_code", "names", s.missed()))
		return
	}
	for at, since := range h.missing {
		if h.overdue(since, now, here) {
			s.alarm(about("alarm_not_heard", "compare_code", "name", s.nameAt(at)))
		}
	}
}

// missed names those who are not heard, in the order of their places, and at most maxNamed of them.
func (s *session) missed() string {
	var names []string
	for _, at := range s.member.order {
		if _, ok := s.heartbeat.missing[at]; !ok {
			continue
		}
		if len(names) == maxNamed {
			names = append(names, "…")
			break
		}
		names = append(names, s.nameAt(at))
	}
	return strings.Join(names, ", ")
}
