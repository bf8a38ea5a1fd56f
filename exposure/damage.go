package exposure

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"conclave"
	"conclave/audit"
)

// Damage is what something that turned out bad was exposed to, over all meetings: the worst first.
type Damage struct {
	Made     time.Time    `json:"made"`
	What     []string     `json:"what"`
	From     *time.Time   `json:"from,omitempty"`
	Until    *time.Time   `json:"until,omitempty"`
	Searched Searched     `json:"searched"`
	Meetings []Damaged    `json:"meetings"`
	MS       int64        `json:"ms"` // exposed, summed over meetings
	ByLevel  []LevelTotal `json:"by_level"`
	People   []Heard      `json:"people"`                 // who was in the room meanwhile
	Speakers []Heard      `json:"speakers"`               // who spoke meanwhile, the most first; null: the ledgers were not opened
	SpokeMS  int64        `json:"spoke_ms"`               // speech while a meeting was exposed, summed over speakers
	Ledger   LedgerPart   `json:"ledger"`                 // of the meetings that were exposed
	Unknown  int          `json:"legs_unknown,omitempty"` // whose personal parts were erased: they may have been meant
	Log      LogPart      `json:"log"`
	TookMS   int64        `json:"took_ms"`
}

// Searched says over what was searched.
type Searched struct {
	Meetings int    `json:"meetings"`
	Legs     int    `json:"legs"`
	Records  uint64 `json:"records"`
}

// Damaged is one meeting.
type Damaged struct {
	Meeting conclave.MeetingID `json:"meeting"`
	Title   string             `json:"title,omitempty"`
	From    time.Time          `json:"from"` // of the first exposure
	To      time.Time          `json:"to"`
	Level   conclave.Level     `json:"level"` // the highest that was exposed
	Name    string             `json:"level_name"`
	MS      int64              `json:"ms"`
	Minutes []time.Time        `json:"minutes"` // each minute of the clock in which it was exposed
	Spans   []DamagedSpan      `json:"spans"`
	Present []Heard            `json:"present"`
	Spoke   []Heard            `json:"spoke"` // while it was exposed, the most first; null: the ledgers were not opened
	SpokeMS int64              `json:"spoke_ms,omitempty"`
	Unknown []string           `json:"spoke_unknown,omitempty"` // legs of which nobody knows whether they spoke
	Opening audit.Index        `json:"opening,omitempty"`       // the record that the ledgers were opened; 0: in no log
	ByLevel []LevelTotal       `json:"by_level"`

	timeline *Timeline
	exposed  map[*Leg]bool
	union    []Interval // when at least one leg was exposed
}

// DamagedSpan is one leg's exposure.
type DamagedSpan struct {
	Who
	Leg    string          `json:"leg"`
	Device string          `json:"device,omitempty"`
	From   time.Time       `json:"from"`
	To     time.Time       `json:"to"`
	Level  conclave.Level  `json:"level"`
	Name   string          `json:"level_name"`
	Grade  conclave.Grade  `json:"grade"`
	Facts  []conclave.Fact `json:"facts,omitempty"`
}

// maxMinutes bounds the list of minutes of one meeting: a leg that never left.
const maxMinutes = 24 * 60

// Assess searches all meetings for legs that the suspicions mean, while they held keys. It closes the index's timelines: the
// index is not to be added to afterwards. progress is told how many of all meetings were searched.
func (x *Index) Assess(suspicions []Suspicion, o Options, progress func(done, all int)) *Damage {
	o = o.filled()
	d := &Damage{Made: o.Now, Log: o.Log, What: []string{}, Meetings: []Damaged{}, ByLevel: []LevelTotal{}, People: []Heard{}, Ledger: LedgerPart{State: "sealed"}}
	for _, s := range suspicions {
		d.What = append(d.What, s.Text)
	}
	if len(suspicions) > 0 {
		if s := suspicions[0]; !s.From.IsZero() {
			d.From = &s.From
		}
		if s := suspicions[0]; !s.To.IsZero() {
			d.Until = &s.To
		}
	}
	meetings := x.sorted()
	for i, t := range meetings {
		if progress != nil && i%512 == 0 {
			progress(i, len(meetings))
		}
		t.Close(o.Now)
		d.Searched.Meetings++
		d.Searched.Legs += len(t.Legs)
		d.Searched.Records += t.Count
		for _, l := range t.Legs {
			if len(l.Stays) > 0 && l.Device == (conclave.DeviceID{}) && l.Person == "" {
				d.Unknown++
			}
		}
		if m, ok := o.damaged(t, suspicions); ok {
			d.Meetings = append(d.Meetings, m)
		}
	}
	d.rank(&o)
	return d
}

func (o *Options) damaged(t *Timeline, suspicions []Suspicion) (Damaged, bool) {
	exposed := map[*Leg]bool{}
	m := Damaged{Meeting: t.Meeting, timeline: t, exposed: exposed, Spans: []DamagedSpan{}, Present: []Heard{}, Minutes: []time.Time{}}
	var all []Interval
	byLevel := map[conclave.Level][]Interval{}
	for _, l := range t.Legs {
		for i := range l.Stays {
			stay := &l.Stays[i]
			for _, k := range l.marks(stay, suspicions) {
				if k.cause != CauseSuspect {
					continue
				}
				for _, part := range t.byLevel(k.Interval) {
					all = append(all, part.Interval)
					byLevel[part.level] = append(byLevel[part.level], part.Interval)
					s := DamagedSpan{Leg: l.ID.Text(), From: part.From, To: part.To, Level: part.level}
					if line := l.lineAt(part.From); line != nil {
						s.Grade, s.Facts = line.Grade, line.Facts
					}
					if l.Device != (conclave.DeviceID{}) {
						s.Device = l.Device.Text()
					}
					m.Spans = append(m.Spans, s)
					m.Level = max(m.Level, part.level)
				}
				exposed[l] = true
			}
		}
	}
	if len(all) == 0 {
		return m, false
	}
	union := merge(all)
	m.union = union
	m.From, m.To, m.MS = union[0].From, union[len(union)-1].To, length(union).Milliseconds()
	for level, list := range byLevel {
		m.ByLevel = append(m.ByLevel, LevelTotal{level, "", length(merge(list)).Milliseconds()})
	}
	slices.SortFunc(m.ByLevel, func(a, b LevelTotal) int { return cmp.Compare(b.Level, a.Level) })
	for _, in := range union {
		for minute := in.From.Truncate(time.Minute); minute.Before(in.To) && len(m.Minutes) < maxMinutes; minute = minute.Add(time.Minute) {
			if n := len(m.Minutes); n == 0 || m.Minutes[n-1].Before(minute) {
				m.Minutes = append(m.Minutes, minute)
			}
		}
	}
	for _, l := range t.Legs {
		var ms int64
		for _, in := range union {
			ms += presence(l, in).Milliseconds()
		}
		if ms > 0 && !exposed[l] {
			m.Present = append(m.Present, Heard{Leg: l.ID.Text(), MS: ms})
		}
	}
	return m, true
}

// leveled is an interval at one level.
type leveled struct {
	Interval
	level conclave.Level
}

// byLevel parts an interval where the meeting's level changed.
func (t *Timeline) byLevel(in Interval) (out []leveled) {
	from := in.From
	for _, l := range t.Levels {
		if l.From.After(from) && l.From.Before(in.To) {
			out = append(out, leveled{Interval{from, l.From}, t.LevelAt(from)})
			from = l.From
		}
	}
	return append(out, leveled{Interval{from, in.To}, t.LevelAt(from)})
}

// rank names what was found, sums up, and puts the worst first: by level, then by how long.
func (d *Damage) rank(o *Options) {
	byLevel := map[conclave.Level]int64{}
	people := map[Who]int64{}
	for i := range d.Meetings {
		m := &d.Meetings[i]
		m.Name = o.Level(m.Level)
		d.MS += m.MS
		for k := range m.ByLevel {
			m.ByLevel[k].Name = o.Level(m.ByLevel[k].Level)
			byLevel[m.ByLevel[k].Level] += m.ByLevel[k].MS
		}
		legs := map[string]*Leg{}
		for _, l := range m.timeline.Legs {
			legs[l.ID.Text()] = l
		}
		for k := range m.Spans {
			m.Spans[k].Who, m.Spans[k].Name = o.Who(legs[m.Spans[k].Leg]), o.Level(m.Spans[k].Level)
		}
		for k := range m.Present {
			m.Present[k].Who = o.Who(legs[m.Present[k].Leg])
			if w := m.Present[k].Who; w != (Who{}) {
				people[w] += m.Present[k].MS
			}
		}
		byMost(m.Present)
	}
	slices.SortStableFunc(d.Meetings, func(a, b Damaged) int {
		return cmp.Or(cmp.Compare(b.Level, a.Level), cmp.Compare(b.MS, a.MS))
	})
	for level, ms := range byLevel {
		d.ByLevel = append(d.ByLevel, LevelTotal{level, o.Level(level), ms})
	}
	slices.SortFunc(d.ByLevel, func(a, b LevelTotal) int { return cmp.Compare(b.Level, a.Level) })
	d.People = ranked(people)
}

// ranked lists people, the most first.
func ranked(people map[Who]int64) []Heard {
	out := make([]Heard, 0, len(people))
	for who, ms := range people {
		out = append(out, Heard{Who: who, MS: ms})
	}
	slices.SortFunc(out, func(a, b Heard) int {
		return cmp.Or(cmp.Compare(b.MS, a.MS), cmp.Compare(a.Person, b.Person), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Device, b.Device))
	})
	return out
}

// Legs returns the legs of the meetings that were hit: those that need names.
func (x *Index) Legs(suspicions []Suspicion) (out []*Leg) {
	for _, t := range x.Meetings {
		hit := slices.ContainsFunc(t.Legs, func(l *Leg) bool {
			return slices.ContainsFunc(suspicions, func(s Suspicion) bool {
				return len(l.Lines) == 0 && s.Match(l, nil) || slices.ContainsFunc(l.Lines, func(n Line) bool { return s.Match(l, &n) })
			})
		})
		if hit {
			out = append(out, t.Legs...)
		}
	}
	return out
}

// Values returns what the records know under the name of what can be suspected, in order: organisations, or values of a
// fact of lines.
func (x *Index) Values(name string) []string {
	values := map[string]bool{}
	for _, t := range x.Meetings {
		for _, l := range t.Legs {
			if name == "organisation" && l.Unit != "" {
				values[l.Unit] = true
			}
			for i := range l.Lines {
				for _, f := range l.Lines[i].Facts {
					if f.Name == name {
						values[f.Value] = true
					}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(values))
}

// Last returns the time of the last record of a meeting.
func (x *Index) Last() (last time.Time) {
	for _, t := range x.Meetings {
		if t.last.After(last) {
			last = t.last
		}
	}
	return last
}

// AllLegs returns every leg of every meeting.
func (x *Index) AllLegs() (out []*Leg) {
	for _, t := range x.Meetings {
		out = append(out, t.Legs...)
	}
	return out
}
