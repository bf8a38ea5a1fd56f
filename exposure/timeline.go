// Package exposure says, from records alone, who could hear what on which line: of one meeting, every span in which a leg
// held keys while its line was weaker than was asked, or than it later turned out to be, who spoke in it and what was
// shared (Investigate); and over all meetings, what a device, person, network or the like that turned out bad was exposed
// to (Damage). It is for investigations, which read a verified log, and knows nothing of content: records hold none.
//
// It does not read logs, open ledgers or draw pages, and trusts what it is given: whoever calls it has verified the log.
package exposure

import (
	"net/url"
	"slices"
	"time"

	"conclave"
	"conclave/audit"
)

// Timeline is what the records say of one meeting. Times are those of the server's clock as it was when the server started:
// where it was set while the server ran, records tell what it would have said. Where it stepped back between two runs of the
// server, all that follows is put later by as much, so that nothing takes less time than it took.
type Timeline struct {
	Meeting conclave.MeetingID
	Opened  time.Time     // zero: no record of it
	Ended   time.Time     // zero: not yet
	Records []audit.Index // empty in an index
	Count   uint64        // how many there are
	Levels  []LevelSpan
	Legs    []*Leg // in the order in which they came
	Pauses  []Interval
	Acts    []Act // what the room went through, in order

	ClockSet    bool         // the server's clock was set, or stepped back
	Overdue     int          // removals that no member committed in time
	BadCommits  int          // commits that broke the rules and were refused
	Strangers   []Membership // legs that became members without a ruling that admitted them
	Erased      int          // records whose personal part was erased
	Held        bool         // somebody held keys when the records ended
	lean        bool         // of an index: no acts, no records' numbers, no commitments
	last        time.Time
	later       time.Duration // by how much times are put later
	byID        map[conclave.LegID]*Leg
	deleted     time.Time // blocks that were handed in before this were deleted for their age, on record
	commitments map[[32]byte]handed
}

// Interval is a span of time. A zero To is not over.
type Interval struct{ From, To time.Time }

// LevelSpan is the meeting's level from a moment on.
type LevelSpan struct {
	From   time.Time
	Level  conclave.Level
	Record audit.Index
}

// Leg is one leg of a meeting.
type Leg struct {
	ID      conclave.LegID
	Device  conclave.DeviceID // zero where it was erased
	Person  conclave.PersonID // "" where the records do not say
	Unit    string            // the person's organisation or part of it, as last ruled on; "" where none is known
	Lines   []Line            // what was known of its line, and since when
	Stays   []Membership
	Screens []Interval
	Lost    []Interval
	Excepts []Exception
}

// Line is what was known of a leg's line from a moment on.
type Line struct {
	At      time.Time
	Grade   conclave.Grade
	Facts   []conclave.Fact // proven ones; nil where they were erased
	Outcome string          // of the ruling: "admit", "wait", "refuse"
	Codes   []string        // of what stood in the way
	Level   conclave.Level  // that was asked for
	Good    time.Time       // when it was last proven so, at or after At
	Record  audit.Index
}

// Membership is a span in which a leg held keys of the room.
type Membership struct {
	Leg         conclave.LegID
	From        time.Time
	Cut         time.Time // when the server stopped sending to it; zero: it did not
	Until       time.Time // when the keys were changed without it; zero: it holds them still
	First, Last uint64    // epochs; Last is 0 while it holds keys
	Passes      []Interval
	Records     [2]audit.Index // entering, and losing the keys
	Why         []string       // codes, of the end
	By          conclave.LegID // who removed it
}

// Exception is one that two persons allowed.
type Exception struct {
	From, To time.Time // To zero: to the end
	Until    time.Time // as allowed
	Reason   string
	Record   audit.Index
}

// Act is one thing that happened, for telling the story.
type Act struct {
	At      time.Time
	Kind    audit.Kind
	Leg, By conclave.LegID
	Outcome string
	Codes   []string
	Level   *conclave.Level
	Grade   *conclave.Grade
	Epoch   uint64
	Record  audit.Index
}

type handed struct {
	leg    conclave.LegID
	at     time.Time
	record audit.Index
}

// NewTimeline returns the empty timeline of a meeting.
func NewTimeline(meeting conclave.MeetingID) *Timeline {
	return &Timeline{Meeting: meeting, byID: map[conclave.LegID]*Leg{}, commitments: map[[32]byte]handed{}}
}

// passLife is what a pass is good for where its record does not say (pass.MaxPassLife).
const passLife = 5 * time.Minute

// Add takes the meeting's next record. Records of other meetings are not looked at.
func (t *Timeline) Add(e audit.Entry) {
	r := &e.Record
	if r.Meeting != t.Meeting {
		return
	}
	at := t.time(r)
	t.Count++
	if e.Erased {
		t.Erased++
	}
	if !t.lean {
		t.Records = append(t.Records, e.Index)
	}
	switch r.Kind {
	case audit.KindMeetingOpened:
		t.Opened = at
		t.level(at, r.Level, e.Index)
	case audit.KindMeetingEnded:
		t.Ended = at
	case audit.KindLevelRaised:
		if r.Outcome == "done" {
			t.level(at, r.Level, e.Index)
		}
	case audit.KindDeleted:
		if slices.Contains(r.Codes, audit.DeletedLedgers) && r.Until.After(t.deleted) {
			t.deleted = r.Until
		}
	case audit.KindPaused:
		t.Pauses = append(t.Pauses, Interval{From: at})
	case audit.KindContinued:
		closeLast(t.Pauses, at)
	case audit.KindCommitRefused:
		t.BadCommits++
	case audit.KindRemovalOverdue:
		t.Overdue++
	}
	if r.Leg != (conclave.LegID{}) {
		t.ofLeg(t.leg(r), r, at, e.Index)
	}
	if !t.lean && tells(r.Kind) {
		t.Acts = append(t.Acts, Act{At: at, Kind: r.Kind, Leg: r.Leg, By: r.By, Outcome: r.Outcome, Codes: r.Codes, Level: r.Level,
			Grade: r.Grade, Epoch: r.Epoch, Record: e.Index})
	}
}

// stepped is how far back the time of a record must lie behind the one before for the clock to have stepped: goroutines may
// write in another order than that of their times, and what protects is noted late.
const stepped = time.Second

// time returns when a record was made, never before the one before it.
func (t *Timeline) time(r *audit.Record) time.Time {
	at := r.Time
	if !r.Steady.IsZero() {
		at, t.ClockSet = r.Steady, true
	}
	at = at.Add(t.later)
	if back := t.last.Sub(at); back > stepped {
		t.ClockSet = true
		t.later += back
	}
	if at.Before(t.last) {
		at = t.last
	}
	t.last = at
	return at
}

// tells says whether a kind of record is part of the story; rulings, passes and ledgers come each few minutes.
func tells(k audit.Kind) bool {
	switch k {
	case audit.KindPass, audit.KindLedger, audit.KindMark, audit.KindRuling, audit.KindCommit:
		return false
	}
	return true
}

func (t *Timeline) level(at time.Time, level *conclave.Level, record audit.Index) {
	if level == nil {
		return
	}
	if n := len(t.Levels); n > 0 && t.Levels[n-1].Level == *level {
		return
	}
	t.Levels = append(t.Levels, LevelSpan{at, *level, record})
}

func (t *Timeline) leg(r *audit.Record) *Leg {
	l := t.byID[r.Leg]
	if l == nil {
		l = &Leg{ID: r.Leg}
		t.byID[r.Leg] = l
		t.Legs = append(t.Legs, l)
	}
	if r.Kind != audit.KindDecision && r.Device != (conclave.DeviceID{}) {
		l.Device = r.Device
	}
	if r.Person != "" && r.Kind != audit.KindDecision && r.Kind != audit.KindException {
		l.Person = r.Person
	}
	return l
}

func (t *Timeline) ofLeg(l *Leg, r *audit.Record, at time.Time, index audit.Index) {
	switch r.Kind {
	case audit.KindRuling:
		t.ruled(l, r, at, index)
	case audit.KindPass:
		until := r.Until
		if until.IsZero() {
			until = at.Add(passLife)
		}
		if m := l.member(); m != nil {
			m.passed(Interval{at, until})
		} else {
			l.Stays = append(l.Stays, Membership{Leg: l.ID, Passes: []Interval{{at, until}}}) // From: not entered yet
		}
	case audit.KindEnter:
		t.entered(l, r, at, index)
	case audit.KindQuarantine, audit.KindRemoval, audit.KindLeave:
		if m := l.member(); m != nil && m.Cut.IsZero() {
			m.Cut, m.Why, m.By = at, r.Codes, r.By
		}
		closeLast(l.Screens, at)
	case audit.KindRemoved:
		if m := l.member(); m != nil {
			m.Until, m.Last, m.Records[1] = at, r.Epoch, index
			if m.Cut.IsZero() {
				m.Cut = at
			}
			if len(m.Why) == 0 {
				m.Why = r.Codes
			}
		}
		closeLast(l.Screens, at)
		closeLast(l.Lost, at)
	case audit.KindUndone:
		t.undone(l, r)
	case audit.KindLost:
		l.Lost = append(l.Lost, Interval{From: at})
	case audit.KindResumed:
		closeLast(l.Lost, at)
	case audit.KindShown:
		closeLast(l.Screens, at)
		if r.Outcome == "screen" {
			l.Screens = append(l.Screens, Interval{From: at})
		}
	case audit.KindException:
		t.excepted(l, r, at, index)
	case audit.KindLedger:
		if !t.lean && len(r.Commitment) == 32 {
			t.commitments[[32]byte(r.Commitment)] = handed{l.ID, at, index}
		}
	}
}

// ofLine leaves of a ruling's facts those of the line. What else it rested on is no matter of the line, save for the person's
// unit (admission.Request.Fact).
func ofLine(facts []conclave.Fact) (line []conclave.Fact, unit string) {
	i := slices.IndexFunc(facts, func(f conclave.Fact) bool { return f.Name == "request" })
	if i < 0 {
		return facts, ""
	}
	if v, err := url.ParseQuery(facts[i].Value); err == nil {
		unit = v.Get("unit")
	}
	return slices.Delete(slices.Clone(facts), i, i+1), unit
}

// passed adds the time of a pass. Passes overlap: only where there was none it matters.
func (m *Membership) passed(p Interval) {
	if n := len(m.Passes); n > 0 && !p.From.After(m.Passes[n-1].To) {
		if p.To.After(m.Passes[n-1].To) {
			m.Passes[n-1].To = p.To
		}
		return
	}
	m.Passes = append(m.Passes, p)
}

// ruled takes a ruling. One that says what the last one said only shows that the line was still so.
func (t *Timeline) ruled(l *Leg, r *audit.Record, at time.Time, index audit.Index) {
	of, unit := ofLine(r.Facts)
	if unit != "" {
		l.Unit = unit
	}
	line := Line{At: at, Facts: of, Outcome: r.Outcome, Codes: r.Codes, Good: at, Record: index}
	if r.Grade != nil {
		line.Grade = *r.Grade
	}
	if r.Level != nil {
		line.Level = *r.Level
		if len(t.Levels) == 0 {
			t.level(at, r.Level, index)
		}
	}
	if n := len(l.Lines); n > 0 {
		last := &l.Lines[n-1]
		if last.Grade == line.Grade && last.Outcome == line.Outcome && last.Level == line.Level &&
			slices.Equal(last.Codes, line.Codes) && slices.Equal(last.Facts, line.Facts) {
			last.Good = at
			return
		}
	}
	l.Lines = append(l.Lines, line)
}

func (t *Timeline) entered(l *Leg, r *audit.Record, at time.Time, index audit.Index) {
	m := l.member()
	if m != nil && !m.From.IsZero() {
		m.Until, m.Last, m.Records[1] = at, r.Epoch, index // the new leaf took the old one's place
		m = nil
	}
	if m == nil {
		l.Stays = append(l.Stays, Membership{Leg: l.ID})
		m = &l.Stays[len(l.Stays)-1]
	}
	m.From, m.First, m.Records[0] = at, r.Epoch, index
	if n := len(l.Lines); n == 0 || l.Lines[n-1].Outcome == "refuse" {
		t.Strangers = append(t.Strangers, *m)
	}
}

// undone takes back what an earlier record said that had no effect: writing it had failed.
func (t *Timeline) undone(l *Leg, r *audit.Record) {
	n := len(l.Stays)
	if slices.Contains(r.Codes, string(audit.KindEnter)) && n > 0 && l.Stays[n-1].Until.IsZero() && l.Stays[n-1].First == r.Epoch && !l.Stays[n-1].From.IsZero() {
		last := &l.Stays[n-1]
		t.Strangers = slices.DeleteFunc(t.Strangers, func(m Membership) bool { return m.Leg == l.ID && m.Records[0] == last.Records[0] })
		if n > 1 && l.Stays[n-2].Records[1] == last.Records[0] { // it was taken to be over by this
			before := &l.Stays[n-2]
			before.Until, before.Last, before.Records[1] = time.Time{}, 0, 0
			l.Stays = l.Stays[:n-1]
			return
		}
		last.From, last.First, last.Records[0] = time.Time{}, 0, 0 // let in, and not entered
	}
	if k := len(l.Excepts); slices.Contains(r.Codes, string(audit.KindException)) && k > 0 && l.Excepts[k-1].From.Equal(r.Time) {
		l.Excepts = l.Excepts[:k-1]
	}
}

func (t *Timeline) excepted(l *Leg, r *audit.Record, at time.Time, index audit.Index) {
	switch r.Outcome {
	case "admit":
		l.Excepts = append(l.Excepts, Exception{From: at, Until: r.Until, Reason: r.Reason, Record: index})
	case "done":
		if n := len(l.Excepts); n > 0 && l.Excepts[n-1].To.IsZero() {
			l.Excepts[n-1].To = at
		}
	}
}

// member returns the leg's stay that is not over, or that was only let in; nil if there is none.
func (l *Leg) member() *Membership {
	if n := len(l.Stays); n > 0 && l.Stays[n-1].Until.IsZero() {
		return &l.Stays[n-1]
	}
	return nil
}

func closeLast(list []Interval, at time.Time) {
	if n := len(list); n > 0 && list[n-1].To.IsZero() {
		list[n-1].To = at
	}
}

// Close ends what is open at the end of the records or of the meeting, for which end is taken, and drops legs that never
// came to be members' stays. It is called once, after the last record.
func (t *Timeline) Close(end time.Time) {
	if end.Before(t.last) {
		end = t.last
	}
	for _, l := range t.Legs {
		l.Stays = slices.DeleteFunc(l.Stays, func(m Membership) bool { return m.From.IsZero() })
		for i := range l.Stays {
			if l.Stays[i].Until.IsZero() {
				t.Held = true
				l.Stays[i].Until = end
			}
		}
		for _, list := range [][]Interval{l.Screens, l.Lost} {
			closeLast(list, end)
		}
	}
	closeLast(t.Pauses, end)
}

// LevelAt returns the meeting's level at a moment; the first known one before that.
func (t *Timeline) LevelAt(at time.Time) (level conclave.Level) {
	for i, l := range t.Levels {
		if i == 0 || !l.From.After(at) {
			level = l.Level
		}
	}
	return level
}

// Leg returns a leg by its name.
func (t *Timeline) Leg(id conclave.LegID) *Leg { return t.byID[id] }

// Span returns when the first leg entered, and when the last one lost its keys; zero if none ever entered.
func (t *Timeline) Span() (start, end time.Time) {
	for _, l := range t.Legs {
		for _, m := range l.Stays {
			if start.IsZero() || m.From.Before(start) {
				start = m.From
			}
			if m.Until.After(end) {
				end = m.Until
			}
		}
	}
	return start, end
}
