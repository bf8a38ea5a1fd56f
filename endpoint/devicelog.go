package endpoint

import (
	"errors"
	"time"

	"conclave"
	"conclave/gate"
	"conclave/merkle"
	"conclave/signal"
)

// The device log is append-only for this endpoint, not by the server's word. Each leaf carries a proof against some signed
// state of the log; two states are of one log only if the greater is shown to go on from the smaller (RFC 6962, Section
// 2.1.2). A server that keeps a second log, with a device in it that nobody else shall find, must keep those who were shown
// the one apart from those who were shown the other for ever: whoever meets both in one room finds out.

// logView is what this endpoint has been shown of the device log.
type logView struct {
	head   gate.LogState               // the greatest state that all others are known to lead to
	fresh  map[merkle.Size]merkle.Hash // shown, and not linked to head yet
	linked map[merkle.Size]merkle.Hash // shown before, and linked: every epoch shows all leaves again
	split  bool                        // two states of one size have different roots
	asked  *[2]gate.LogState
	owed   time.Time // since when the server owes links without having given one; zero: it owes none
}

const (
	// maxStates bounds the states that are remembered, linked and not yet linked: a room has fewer members.
	maxStates = 4096
	// linkLimit is how long the server may owe a link. It needs microseconds.
	linkLimit = 10 * time.Second
	// maxLinkPath is the longest proof of consistency in a tree of 2^62 leaves.
	maxLinkPath = 2 * 62
)

var errLink = errors.New("endpoint: malformed proof of consistency")

// see takes a state whose signature holds.
func (v *logView) see(s gate.LogState) {
	root, known := v.linked[s.Size]
	if !known {
		root, known = v.fresh[s.Size]
	}
	switch {
	case s.Size == v.head.Size:
		v.split = v.split || s.Root != v.head.Root
	case v.head.Size == 0:
		v.head = s
	case known:
		v.split = v.split || root != s.Root
	case len(v.fresh) < maxStates:
		if v.fresh == nil {
			v.fresh = make(map[merkle.Size]merkle.Hash)
		}
		v.fresh[s.Size] = s.Root
	default:
		v.split = true // more states than a room has members
	}
}

// link takes that two states are of one log.
func (v *logView) link(from, to gate.LogState) {
	if v.linked == nil || len(v.linked) >= maxStates {
		v.linked = make(map[merkle.Size]merkle.Hash) // what is still shown is asked for once more
	}
	for _, s := range []gate.LogState{from, to} {
		v.linked[s.Size] = s.Root
		delete(v.fresh, s.Size)
	}
	v.head, v.owed = to, time.Time{}
}

// next returns two states that are to be linked, the smaller first; false if there is nothing to do.
func (v *logView) next() (from, to gate.LogState, ok bool) {
	for size, root := range v.fresh {
		s := gate.LogState{Size: size, Root: root}
		if size < v.head.Size {
			return s, v.head, true
		}
		return v.head, s, true
	}
	return from, to, false
}

// linkLog asks for the next link, and raises the alarm where the log was split, or where the server owes a link.
func (s *session) linkLog() {
	if s.trust == nil || s.member == nil || !s.member.entered {
		return
	}
	v, now := s.trust.log, s.cfg.Now()
	if v.split {
		s.alarm(conclave.Problem{Code: "alarm_device_log", Fix: "leave_and_report"})
		return
	}
	from, to, ok := v.next()
	if !ok {
		v.owed = time.Time{}
		return
	}
	if v.owed.IsZero() {
		v.owed = now
	}
	if now.Sub(v.owed) >= linkLimit {
		s.alarm(conclave.Problem{Code: "alarm_device_log_silent", Fix: "leave_and_report"})
	}
	if v.asked != nil || s.wire == nil {
		return
	}
	v.asked = &[2]gate.LogState{from, to}
	s.send(&signal.Consistency{From: uint64(from.Size), To: uint64(to.Size)})
}

// consistency takes the answer. A wrong one is as good as another log.
func (s *session) consistency(m *signal.ConsistencyProof) {
	if s.trust == nil {
		return
	}
	v := s.trust.log
	if v.asked == nil || uint64(v.asked[0].Size) != m.From || uint64(v.asked[1].Size) != m.To {
		return // of a connection before
	}
	from, to := v.asked[0], v.asked[1]
	v.asked = nil
	path, err := readPath(m.Path)
	if err == nil {
		err = merkle.CheckConsistency(path, from.Size, from.Root, to.Size, to.Root)
	}
	if err != nil {
		v.split = true
	} else {
		v.link(from, to)
	}
	s.linkLog()
}

func readPath(encoded [][]byte) ([]merkle.Hash, error) {
	if len(encoded) > maxLinkPath {
		return nil, errLink
	}
	path := make([]merkle.Hash, len(encoded))
	for i, h := range encoded {
		if len(h) != len(path[i]) {
			return nil, errLink
		}
		copy(path[i][:], h)
	}
	return path, nil
}
