package exposure

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/line"
)

// Report is what is told of a meeting. It is data: words stand in the page's catalogues, by code. Durations are in
// milliseconds.
type Report struct {
	Meeting string      `json:"meeting"`
	Title   string      `json:"title,omitempty"`
	Made    time.Time   `json:"made"`
	From    time.Time   `json:"from"` // the first leg entered
	To      time.Time   `json:"to"`   // the last one lost its keys, or the records end
	Running bool        `json:"running,omitempty"`
	Levels  []LevelPart `json:"levels"`
	Legs    []LegPart   `json:"legs"`
	Spans   []SpanPart  `json:"exposures"`
	Totals  Totals      `json:"totals"`
	Steps   []Step      `json:"steps"`
	Weighed []Weighed   `json:"weighed"` // what was considered, and what speaks for and against it
	Limits  []Limit     `json:"cannot_tell"`
	Ledger  LedgerPart  `json:"ledger"`
	Log     LogPart     `json:"log"`
	Asked   []string    `json:"asked,omitempty"` // suspicions
}

// LevelPart is the meeting's level from a moment on.
type LevelPart struct {
	From time.Time      `json:"from"`
	Name string         `json:"name"`
	No   conclave.Level `json:"no"`
}

// Who names a person for a report; empty where nobody knows, or where it was erased.
type Who struct {
	Person conclave.PersonID `json:"person,omitempty"`
	Name   string            `json:"name,omitempty"`
	Unit   string            `json:"unit,omitempty"`
	Device string            `json:"device,omitempty"` // where that is all that is known
}

// LegPart is a leg's line over time.
type LegPart struct {
	Who
	Leg       string     `json:"leg"`
	Device    string     `json:"device,omitempty"`
	Stays     []Part     `json:"stays"`
	Lines     []LinePart `json:"lines"`
	Lost      []Part     `json:"lost,omitempty"`
	Screens   []Part     `json:"screens,omitempty"`
	Spoke     []Part     `json:"spoke,omitempty"`
	SpokeMS   *int64     `json:"spoke_ms"` // null: not known
	Ledger    string     `json:"ledger"`   // "whole", "part", "none"
	Unclear   int64      `json:"ledger_missing_ms,omitempty"`
	Why       []string   `json:"why,omitempty"` // of its end
	RemovedBy string     `json:"removed_by,omitempty"`
}

// Part is a span with its records.
type Part struct {
	From    time.Time     `json:"from"`
	To      time.Time     `json:"to"`
	Records []audit.Index `json:"records,omitempty"`
}

// LinePart is a leg's line from a moment on.
type LinePart struct {
	From     time.Time          `json:"from"`
	Grade    conclave.Grade     `json:"grade"`
	Outcome  string             `json:"outcome"`
	Codes    []string           `json:"codes,omitempty"`
	Facts    []conclave.Fact    `json:"facts"`
	Findings []conclave.Problem `json:"findings,omitempty"`
	Record   audit.Index        `json:"record"`
}

// SpanPart is one exposure.
type SpanPart struct {
	Who
	Leg       string          `json:"leg"`
	From      time.Time       `json:"from"`
	To        time.Time       `json:"to"`
	Earliest  *time.Time      `json:"earliest,omitempty"`
	Cut       *time.Time      `json:"cut,omitempty"` // the server stopped sending here
	MS        int64           `json:"ms"`
	Level     conclave.Level  `json:"level"`
	LevelName string          `json:"level_name"`
	Grade     conclave.Grade  `json:"grade"`
	Causes    []Cause         `json:"causes"`
	Codes     []string        `json:"codes,omitempty"`
	Suspects  []string        `json:"suspects,omitempty"`
	Facts     []conclave.Fact `json:"facts,omitempty"`
	Spoke     []Heard         `json:"spoke"` // in it, the most first
	SpokeMS   int64           `json:"spoke_ms"`
	Unknown   []string        `json:"spoke_unknown,omitempty"` // legs of which nobody knows whether they spoke
	Screens   []Heard         `json:"screens,omitempty"`
	Records   []audit.Index   `json:"records"`
	Reason    string          `json:"reason,omitempty"` // of an exception
}

// Heard is a leg and for how long.
type Heard struct {
	Who
	Leg  string `json:"leg"`
	Self bool   `json:"self,omitempty"` // the exposed leg's own words
	MS   int64  `json:"ms"`
}

// Totals sum up.
type Totals struct {
	ExposedMS int64        `json:"exposed_ms"` // at least one leg was exposed
	LegMS     int64        `json:"leg_ms"`     // summed over legs
	Legs      int          `json:"legs"`
	SpokeMS   int64        `json:"spoke_ms"` // speech that at least one exposed leg could hear, summed over speakers
	ScreensMS int64        `json:"screens_ms"`
	ByLevel   []LevelTotal `json:"by_level,omitempty"`
	BySpeaker []Heard      `json:"by_speaker,omitempty"`
	Worst     Cause        `json:"worst,omitempty"`
}

// LevelTotal is the time exposed at a level.
type LevelTotal struct {
	Level conclave.Level `json:"level"`
	Name  string         `json:"name"`
	MS    int64          `json:"ms"`
}

// Weighed is one explanation that was considered: Verdict is "fits", "no_sign", "ruled_out" or "seen".
type Weighed struct {
	Code    string            `json:"code"`
	Verdict string            `json:"verdict"`
	Args    map[string]string `json:"args,omitempty"`
}

// Limit is something that this report cannot tell.
type Limit struct {
	Code string            `json:"code"`
	Args map[string]string `json:"args,omitempty"`
}

// LedgerPart says what became of the sealed ledgers. State is "none" (no investigation key), "sealed", "opened".
type LedgerPart struct {
	State    string        `json:"state"`
	Blocks   int           `json:"blocks"`
	Opened   int           `json:"opened,omitempty"`
	Holders  []string      `json:"holders,omitempty"` // who opened
	OffMS    int64         `json:"off_ms,omitempty"`  // how far spans of speech may be off
	Missing  []audit.Index `json:"missing,omitempty"`
	Deleted  int           `json:"deleted,omitempty"` // for their age, as the log says
	Shut     int           `json:"shut,omitempty"`
	Extra    int           `json:"extra,omitempty"`
	Record   audit.Index   `json:"record,omitempty"` // of the opening; 0: not in the log
	SpokenMS int64         `json:"spoken_ms,omitempty"`
}

// LogPart says what the log is worth that the report was made of.
type LogPart struct {
	Verified bool        `json:"verified"`
	Problem  string      `json:"problem,omitempty"` // why it was not
	Indexed  bool        `json:"indexed,omitempty"` // answered from an index of records that hold: nothing signs the index itself
	Size     uint64      `json:"size"`              // records in the log
	Root     []byte      `json:"root,omitempty"`
	Sealed   time.Time   `json:"sealed,omitzero"` // the checkpoint's time, where it has one
	Witness  []string    `json:"witnesses,omitempty"`
	Used     int         `json:"used"` // records of this meeting
	First    audit.Index `json:"first"`
	Last     audit.Index `json:"last"`
	Erased   int         `json:"erased,omitempty"`
	Command  string      `json:"command,omitempty"`
}

// Options say how a report is made.
type Options struct {
	Title      string
	Now        time.Time
	Level      func(conclave.Level) string // its name
	Who        func(*Leg) Who
	Suspicions []Suspicion
	Speech     map[conclave.LegID]*Spoken // nil: no ledger was opened
	Bad        Unrecorded
	Log        LogPart
	Holders    []string
	Opening    audit.Index // the record of the opening
}

func (o Options) filled() Options {
	if o.Level == nil {
		o.Level = func(l conclave.Level) string { return "level " + strconv.Itoa(int(l)) }
	}
	if o.Who == nil {
		o.Who = func(l *Leg) Who { return Who{Person: l.Person} }
	}
	who := o.Who
	o.Who = func(l *Leg) Who {
		w := who(l)
		if w.Name == "" && w.Person == "" && l.Device != (conclave.DeviceID{}) {
			w.Device = l.Device.Text()
		}
		return w
	}
	return o
}

// Investigate makes the report of a meeting whose timeline was closed.
func Investigate(t *Timeline, o Options) *Report {
	o = o.filled()
	r := &Report{Meeting: t.Meeting.Text(), Title: o.Title, Made: o.Now, Running: t.Ended.IsZero() && t.Held, Log: o.Log}
	r.From, r.To = t.Span()
	r.Log.Used, r.Log.Erased = int(t.Count), t.Erased
	if n := len(t.Records); n > 0 {
		r.Log.First, r.Log.Last = t.Records[0], t.Records[n-1]
	}
	for _, l := range t.Levels {
		r.Levels = append(r.Levels, LevelPart{l.From, o.Level(l.Level), l.Level})
	}
	for _, s := range o.Suspicions {
		r.Asked = append(r.Asked, s.Text)
	}
	for _, l := range t.Legs {
		if len(l.Stays) > 0 || len(l.Lines) > 0 {
			r.Legs = append(r.Legs, o.leg(t, l))
		}
	}
	found := t.Exposures(o.Suspicions)
	for i := range found {
		r.Spans = append(r.Spans, o.span(t, &found[i]))
	}
	r.Totals = o.totals(t, found)
	r.Ledger = o.ledger(t)
	r.Steps = steps(t, found, &o)
	r.Weighed = weigh(t, found)
	r.Limits = limits(t, found, r)
	return r
}

func (o *Options) leg(t *Timeline, l *Leg) LegPart {
	p := LegPart{Who: o.Who(l), Leg: l.ID.Text(), Stays: []Part{}, Lines: []LinePart{}, Ledger: "none"}
	if l.Device != (conclave.DeviceID{}) {
		p.Device = l.Device.Text()
	}
	for _, m := range l.Stays {
		s := Part{From: m.From, To: m.Until, Records: []audit.Index{m.Records[0]}}
		if m.Records[1] != 0 {
			s.Records = append(s.Records, m.Records[1])
		}
		p.Stays = append(p.Stays, s)
		p.Why = m.Why
		if by := t.Leg(m.By); by != nil {
			p.RemovedBy = display(o.Who(by), by)
		}
	}
	for i := range l.Lines {
		n := &l.Lines[i]
		p.Lines = append(p.Lines, LinePart{From: n.At, Grade: n.Grade, Outcome: n.Outcome, Codes: n.Codes, Facts: n.Facts, Findings: findings(n), Record: n.Record})
	}
	for _, i := range l.Lost {
		p.Lost = append(p.Lost, Part{From: i.From, To: i.To})
	}
	for _, i := range l.Screens {
		p.Screens = append(p.Screens, Part{From: i.From, To: i.To})
	}
	if s := o.Speech[l.ID]; s != nil {
		var spoke, missing time.Duration
		for _, m := range l.Stays {
			in := Interval{m.From, m.Until}
			spoke += within(s.Spans, in)
			missing += in.To.Sub(in.From) - within(s.Covered, in)
		}
		for _, i := range s.Spans {
			p.Spoke = append(p.Spoke, Part{From: i.From, To: i.To})
		}
		ms := spoke.Milliseconds()
		p.SpokeMS, p.Ledger = &ms, "whole"
		if missing > 2*time.Second+2*s.Off {
			p.Ledger, p.Unclear = "part", missing.Milliseconds()
		}
	}
	return p
}

// findings are what package line finds in the facts that the records kept; claims are not kept.
func findings(n *Line) []conclave.Problem {
	kinds := map[string]line.Kind{"phone": line.KindPhone, "hop": line.KindHop, "endpoint": line.KindEndpoint}
	in := line.Input{Enrolled: true}
	for _, f := range n.Facts {
		switch f.Name {
		case line.FactKind:
			in.Kind = kinds[f.Value]
		case line.FactEnrolled:
			in.Enrolled = f.Value != "no"
		}
	}
	if in.Kind == line.KindUnknown {
		return nil
	}
	return line.Assess(in, nil).Findings
}

func (o *Options) span(t *Timeline, e *Exposed) SpanPart {
	p := SpanPart{Who: o.Who(e.Leg), Leg: e.Leg.ID.Text(), From: e.From, To: e.To, MS: e.To.Sub(e.From).Milliseconds(), Level: e.Level,
		LevelName: o.Level(e.Level), Causes: e.Causes, Codes: e.Codes, Spoke: []Heard{}, Records: e.Records}
	if !e.Earliest.IsZero() && e.Earliest.Before(e.From) {
		p.Earliest = &e.Earliest
	}
	if !e.Cut.IsZero() {
		p.Cut = &e.Cut
	}
	if e.Line != nil {
		p.Grade, p.Facts = e.Line.Grade, e.Line.Facts
	}
	for _, s := range e.Suspects {
		p.Suspects = append(p.Suspects, o.Suspicions[s].Text)
	}
	if slices.Contains(e.Causes, CauseException) {
		for _, x := range e.Leg.Excepts {
			if !x.From.After(e.From) {
				p.Reason = x.Reason
			}
		}
	}
	in := Interval{e.From, e.To}
	for _, l := range t.Legs {
		present := presence(l, in)
		if present <= 0 {
			continue
		}
		if ms := within(l.Screens, in).Milliseconds(); ms > 0 {
			p.Screens = append(p.Screens, o.heard(l, e.Leg, ms))
		}
		s := o.Speech[l.ID]
		if s == nil || present-covered(l, s, in) > time.Second {
			p.Unknown = append(p.Unknown, l.ID.Text())
		}
		if s == nil {
			continue
		}
		if ms := within(s.Spans, in).Milliseconds(); ms > 0 {
			p.Spoke = append(p.Spoke, o.heard(l, e.Leg, ms))
			p.SpokeMS += ms
		}
	}
	byMost(p.Spoke)
	byMost(p.Screens)
	return p
}

// presence is how much of an interval a leg was in the room.
func presence(l *Leg, in Interval) (sum time.Duration) {
	for _, m := range l.Stays {
		if d := overlap(Interval{m.From, m.Until}, in); d > 0 {
			sum += d
		}
	}
	return sum
}

func covered(l *Leg, s *Spoken, in Interval) (sum time.Duration) {
	for _, m := range l.Stays {
		part := Interval{m.From, m.Until}
		if in.From.After(part.From) {
			part.From = in.From
		}
		if in.To.Before(part.To) {
			part.To = in.To
		}
		if part.From.Before(part.To) {
			sum += within(s.Covered, part)
		}
	}
	return sum
}

func (o *Options) heard(l, exposed *Leg, ms int64) Heard {
	return Heard{Who: o.Who(l), Leg: l.ID.Text(), Self: l == exposed, MS: ms}
}

func byMost(list []Heard) {
	slices.SortStableFunc(list, func(a, b Heard) int { return cmp.Compare(b.MS, a.MS) })
}

// display is a leg's name, or what stands for it.
func display(w Who, l *Leg) string {
	switch {
	case w.Name != "":
		return w.Name
	case w.Person != "":
		return string(w.Person)
	}
	return l.ID.Text()
}

// totals sums up; what several legs were exposed to at once counts once, but in LegMS.
func (o *Options) totals(t *Timeline, found []Exposed) Totals {
	var out Totals
	var all []Interval
	byLevel := map[conclave.Level][]Interval{}
	legs := map[*Leg]bool{}
	for i := range found {
		e := &found[i]
		in := Interval{e.From, e.To}
		all = append(all, in)
		byLevel[e.Level] = append(byLevel[e.Level], in)
		legs[e.Leg] = true
		out.LegMS += e.To.Sub(e.From).Milliseconds()
		if worst := e.Causes[0]; out.Worst == "" || slices.Index(causes, worst) < slices.Index(causes, out.Worst) {
			out.Worst = worst
		}
	}
	union := merge(all)
	out.Legs, out.ExposedMS = len(legs), length(union).Milliseconds()
	for level, list := range byLevel {
		out.ByLevel = append(out.ByLevel, LevelTotal{level, o.Level(level), length(merge(list)).Milliseconds()})
	}
	slices.SortFunc(out.ByLevel, func(a, b LevelTotal) int { return cmp.Compare(b.Level, a.Level) })
	var screens []Interval
	for _, l := range t.Legs {
		screens = append(screens, l.Screens...)
		var ms int64
		for _, in := range union {
			if s := o.Speech[l.ID]; s != nil {
				ms += within(s.Spans, in).Milliseconds()
			}
		}
		if ms > 0 {
			out.BySpeaker = append(out.BySpeaker, Heard{Who: o.Who(l), Leg: l.ID.Text(), MS: ms})
			out.SpokeMS += ms
		}
	}
	byMost(out.BySpeaker)
	screens = merge(screens)
	for _, in := range union {
		out.ScreensMS += within(screens, in).Milliseconds()
	}
	return out
}

func merge(list []Interval) []Interval {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Interval) int { return a.From.Compare(b.From) })
	var out []Interval
	for _, i := range list {
		if n := len(out); n > 0 && !i.From.After(out[n-1].To) {
			if i.To.After(out[n-1].To) {
				out[n-1].To = i.To
			}
			continue
		}
		out = append(out, i)
	}
	return out
}

func length(list []Interval) (sum time.Duration) {
	for _, i := range list {
		sum += i.To.Sub(i.From)
	}
	return sum
}

func (o *Options) ledger(t *Timeline) LedgerPart {
	p := LedgerPart{State: "none", Blocks: t.Ledgers(), Holders: o.Holders, Missing: o.Bad.Strange, Deleted: o.Bad.Deleted, Shut: o.Bad.Shut, Extra: o.Bad.Extra, Record: o.Opening}
	if p.Blocks > 0 {
		p.State = "sealed"
	}
	if o.Speech == nil {
		p.Missing = nil
		return p
	}
	p.State = "opened"
	for _, s := range o.Speech {
		p.Opened += s.Blocks
		p.OffMS = max(p.OffMS, s.Off.Milliseconds())
		p.SpokenMS += length(s.Spans).Milliseconds()
	}
	return p
}
