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
	fresh  map[merkle.Size]shownRoot   // shown, and not linked to head yet
	linked map[merkle.Size]merkle.Hash // shown before, and linked: every epoch shows all leaves again
	split  bool                        // two states are not of one log, as odd says
	odd    logGap
	asked  *logGap
	owed   time.Time // since when the server owes links without having given one; zero: it owes none
}

// shownRoot is what a leaf showed, by the name in its statement.
type shownRoot struct {
	root merkle.Hash
	by   string
}

// logGap is two states that nothing links, the smaller first, and by whose leaf the newer of them was shown.
type logGap struct {
	from, to gate.LogState
	by       string
}

// problem names the difference to a person.
func (g *logGap) problem(code string) conclave.Problem {
	return about(code, "leave_and_report", "name", g.by, "from", decimal(uint64(g.from.Size)), "to", decimal(uint64(g.to.Size)))
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

// see takes a state whose signature holds, shown by the leaf of whom by names.
func (v *logView) see(s gate.LogState, by string) {
	root, known := v.linked[s.Size]
	if !known {
		var f shownRoot
		f, known = v.fresh[s.Size]
		root = f.root
	}
	switch {
	case s.Size == v.head.Size:
		if s.Root != v.head.Root {
			v.part(logGap{v.head, s, by})
		}
	case v.head.Size == 0:
		v.head = s
	case known:
		if root != s.Root {
			v.part(logGap{gate.LogState{Size: s.Size, Root: root}, s, by})
		}
	case len(v.fresh) < maxStates:
		if v.fresh == nil {
			v.fresh = make(map[merkle.Size]shownRoot)
		}
		v.fresh[s.Size] = shownRoot{s.Root, by}
	default:
		v.part(logGap{v.head, s, by}) // more states than a room has members
	}
}

// part notes that two states are not of one log. The first gap is the one that is told.
func (v *logView) part(g logGap) {
	if !v.split {
		v.split, v.odd = true, g
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

// next returns two states that are to be linked; false if there is nothing to do.
func (v *logView) next() (logGap, bool) {
	for size, shown := range v.fresh {
		s := gate.LogState{Size: size, Root: shown.root}
		if size < v.head.Size {
			return logGap{s, v.head, shown.by}, true
		}
		return logGap{v.head, s, shown.by}, true
	}
	return logGap{}, false
}

// linkLog asks for the next link, and raises the alarm where the log was split, or where the server owes a link.
func (s *session) linkLog() {
	if s.trust == nil || s.member == nil || !s.member.entered {
		return
	}
	v, now := s.trust.log, s.cfg.Now()
	if v.split {
		s.alarm(v.odd.problem("alarm_device_log"))
		return
	}
	gap, ok := v.next()
	if !ok {
		v.owed = time.Time{}
		return
	}
	if v.owed.IsZero() {
		v.owed = now
	}
	if now.Sub(v.owed) >= linkLimit {
		s.alarm(gap.problem("alarm_device_log_silent"))
	}
	if v.asked != nil || s.wire == nil {
		return
	}
	v.asked = &gap
	s.send(&signal.Consistency{From: uint64(gap.from.Size), To: uint64(gap.to.Size)})
}

// consistency takes the answer. A wrong one is as good as another log.
func (s *session) consistency(m *signal.ConsistencyProof) {
	if s.trust == nil {
		return
	}
	v := s.trust.log
	if v.asked == nil || uint64(v.asked.from.Size) != m.From || uint64(v.asked.to.Size) != m.To {
		return // of a connection before
	}
	gap := *v.asked
	v.asked = nil
	path, err := readPath(m.Path)
	if err == nil {
		err = merkle.CheckConsistency(path, gap.from.Size, gap.from.Root, gap.to.Size, gap.to.Root)
	}
	if err != nil {
		v.part(gap)
	} else {
		v.link(gap.from, gap.to)
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
