package exposure

import (
	"slices"
	"time"

	"conclave"
	"conclave/audit"
)

// Cause says why a line counts as weaker than it should have been. Its words stand in the page's catalogues.
type Cause string

// The causes of an exposure.
const (
	CauseStranger  Cause = "stranger"  // held keys without a ruling that admitted it
	CauseRefused   Cause = "refused"   // policy no longer admitted the line, and the keys were not yet changed
	CauseLapsed    Cause = "lapsed"    // held keys after its pass had run out
	CauseException Cause = "exception" // let in by two persons although policy refuses
	CauseOpen      Cause = "open"      // an ordinary phone line: anybody on the way can listen
	CauseHop       Cause = "hop"       // encrypted to the phone gateway only
	CauseSuspect   Cause = "suspect"   // turned out bad later
)

// Exposed is a span in which a leg held keys of the room on such a line. Spans of one leg do not overlap.
type Exposed struct {
	Leg      *Leg
	From, To time.Time
	Cut      time.Time // when the server stopped sending to it, where that was within the span; zero: not in it
	// Earliest is when the line was last proven good before: what is known since From may have been so since then. Zero: From.
	Earliest time.Time
	Level    conclave.Level
	Line     *Line // as known in the span; nil: nothing was
	Causes   []Cause
	Codes    []string // what stood in the way, of CauseRefused
	Suspects []int    // which of the suspicions
	Epochs   [2]uint64
	Records  []audit.Index
}

// Suspicion says that something was bad in a time: a device that was stolen, a network that was tapped. Line says of a leg
// with a line whether it is meant.
type Suspicion struct {
	Text     string    // for the report: "network=hotel"
	From, To time.Time // zero: open
	Match    func(*Leg, *Line) bool
}

// Exposures returns all spans of exposure of a timeline that was closed, in the order of their beginning.
func (t *Timeline) Exposures(suspicions []Suspicion) []Exposed {
	var out []Exposed
	for _, l := range t.Legs {
		for i := range l.Stays {
			out = append(out, t.ofStay(l, &l.Stays[i], suspicions)...)
		}
	}
	slices.SortStableFunc(out, func(a, b Exposed) int { return a.From.Compare(b.From) })
	return out
}

// mark is a cause over an interval of a stay.
type mark struct {
	Interval
	cause    Cause
	suspect  int
	codes    []string
	earliest time.Time
	record   audit.Index
}

func (t *Timeline) ofStay(l *Leg, m *Membership, suspicions []Suspicion) []Exposed {
	marks := l.marks(m, suspicions)
	if slices.ContainsFunc(t.Strangers, func(s Membership) bool { return s.Leg == l.ID && s.From.Equal(m.From) }) {
		marks = append(marks, mark{Interval: Interval{m.From, m.Until}, cause: CauseStranger, record: m.Records[0]})
	}
	if len(marks) == 0 {
		return nil
	}
	bounds := []time.Time{m.From, m.Until}
	for _, k := range marks {
		bounds = append(bounds, k.From, k.To)
	}
	for _, lv := range t.Levels {
		bounds = append(bounds, lv.From)
	}
	slices.SortFunc(bounds, time.Time.Compare)
	var out []Exposed
	for i := 1; i < len(bounds); i++ {
		in := Interval{bounds[i-1], bounds[i]}
		if !in.From.Before(in.To) || in.From.Before(m.From) || in.To.After(m.Until) {
			continue
		}
		e := Exposed{Leg: l, From: in.From, To: in.To, Level: t.LevelAt(in.From), Line: l.lineAt(in.From), Epochs: [2]uint64{m.First, m.Last}}
		for _, k := range marks {
			if k.From.After(in.From) || k.To.Before(in.To) {
				continue
			}
			e.add(k)
		}
		if len(e.Causes) == 0 {
			continue
		}
		if !m.Cut.IsZero() && !m.Cut.Before(in.From) && m.Cut.Before(in.To) {
			e.Cut = m.Cut
		}
		if m.Until.Equal(in.To) && m.Records[1] != 0 {
			e.Records = append(e.Records, m.Records[1])
		}
		if n := len(out); n > 0 && out[n-1].same(&e) {
			out[n-1].join(&e)
			continue
		}
		out = append(out, e)
	}
	return out
}

func (e *Exposed) add(k mark) {
	if !slices.Contains(e.Causes, k.cause) {
		e.Causes = append(e.Causes, k.cause)
		slices.SortFunc(e.Causes, func(a, b Cause) int { return slices.Index(causes, a) - slices.Index(causes, b) })
	}
	if k.cause == CauseSuspect && !slices.Contains(e.Suspects, k.suspect) {
		e.Suspects = append(e.Suspects, k.suspect)
	}
	for _, c := range k.codes {
		if !slices.Contains(e.Codes, c) {
			e.Codes = append(e.Codes, c)
		}
	}
	if !k.earliest.IsZero() && k.From.Equal(e.From) && (e.Earliest.IsZero() || k.earliest.Before(e.Earliest)) {
		e.Earliest = k.earliest
	}
	if k.record != 0 && !slices.Contains(e.Records, k.record) {
		e.Records = append(e.Records, k.record)
	}
}

// causes are in the order of their weight.
var causes = []Cause{CauseStranger, CauseRefused, CauseLapsed, CauseOpen, CauseSuspect, CauseException, CauseHop}

func (e *Exposed) same(next *Exposed) bool {
	return e.To.Equal(next.From) && e.Level == next.Level && slices.Equal(e.Causes, next.Causes) && slices.Equal(e.Codes, next.Codes) &&
		slices.Equal(e.Suspects, next.Suspects)
}

func (e *Exposed) join(next *Exposed) {
	e.To = next.To
	if e.Cut.IsZero() {
		e.Cut = next.Cut
	}
	for _, r := range next.Records {
		if !slices.Contains(e.Records, r) {
			e.Records = append(e.Records, r)
		}
	}
}

// marks finds each cause in a stay by itself.
func (l *Leg) marks(m *Membership, suspicions []Suspicion) []mark {
	var out []mark
	put := func(from, to time.Time, k mark) {
		if from.Before(m.From) {
			from, k.earliest = m.From, time.Time{}
		}
		if to.IsZero() || to.After(m.Until) {
			to = m.Until
		}
		if from.Before(to) {
			k.Interval = Interval{from, to}
			out = append(out, k)
		}
	}
	for i := range l.Lines {
		line := &l.Lines[i]
		var until time.Time
		if i+1 < len(l.Lines) {
			until = l.Lines[i+1].At
		}
		if line.Outcome == "refuse" {
			k := mark{cause: CauseRefused, codes: line.Codes, record: line.Record}
			if i > 0 && l.Lines[i-1].Outcome != "refuse" && line.Level == l.Lines[i-1].Level {
				k.earliest = l.Lines[i-1].Good
			}
			put(line.At, until, k)
		}
		switch line.Grade {
		case conclave.GradeOpen:
			put(line.At, until, mark{cause: CauseOpen, record: line.Record})
		case conclave.GradeHop:
			put(line.At, until, mark{cause: CauseHop, record: line.Record})
		}
		for s := range suspicions {
			if from, to, ok := clip(line.At, until, &suspicions[s]); ok && suspicions[s].Match(l, line) {
				put(from, to, mark{cause: CauseSuspect, suspect: s, record: line.Record})
			}
		}
	}
	if len(l.Lines) == 0 { // nothing is known of the line any more; of the leg there may be
		for s := range suspicions {
			if from, to, ok := clip(m.From, m.Until, &suspicions[s]); ok && suspicions[s].Match(l, nil) {
				put(from, to, mark{cause: CauseSuspect, suspect: s})
			}
		}
	}
	for _, x := range l.Excepts {
		put(x.From, x.To, mark{cause: CauseException, record: x.Record})
	}
	for i, p := range m.Passes {
		end := p.To
		if i+1 < len(m.Passes) {
			put(end, m.Passes[i+1].From, mark{cause: CauseLapsed})
		} else {
			put(end, m.Until, mark{cause: CauseLapsed})
		}
	}
	return out
}

// clip returns the part of a line's time that a suspicion is about.
func clip(from, to time.Time, s *Suspicion) (time.Time, time.Time, bool) {
	if s.From.After(from) {
		from = s.From
	}
	if !s.To.IsZero() && (to.IsZero() || s.To.Before(to)) {
		to = s.To
	}
	return from, to, to.IsZero() || from.Before(to)
}

// lineAt returns what was known of the line at a moment; the first that was known, before that; nil if nothing was.
func (l *Leg) lineAt(at time.Time) *Line {
	for i := len(l.Lines) - 1; i >= 0; i-- {
		if i == 0 || !l.Lines[i].At.After(at) {
			return &l.Lines[i]
		}
	}
	return nil
}
