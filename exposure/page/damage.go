package page

import (
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave/exposure"
)

//go:embed damage.html
var damageSource string

var damageTemplate = template.Must(template.Must(reportTemplate.Clone()).New("damage").Parse(damageSource))

// What a page shows of a damage; the JSON has all.
const (
	maxMeetings = 200
	maxPresent  = 8
	maxPeople   = 24
)

type damageView struct {
	top
	Kick                       string
	Lead                       []string
	Facts                      []pair
	MeetingsHead, MeetingsMore string
	Columns                    []string
	Meetings                   []damagedView
	PeopleHead, LevelsHead     string
	SpeakersHead               string
	Speakers, People, Levels   []barView
	LimitHead                  string
	Limits                     []string
	CheckHead, CheckText       string
	Verify, AgainText, Again   string
	Checks                     []check
	Seal                       string
}

type damagedView struct {
	Title, When, Level, Long string
	Minutes                  []string
	Legs, Present            []pair
	More, Quiet              string
}

type barView struct {
	Name, Value string
	Width       int // of 100
}

// Damage draws what something was exposed to over all meetings.
func Damage(out io.Writer, d *exposure.Damage, o Options) error {
	w := newWords(o.Language, o.Zone)
	v := &damageView{top: top{Lang: w.lang, Style: styles(o.Fonts)}}
	var meant []string
	for _, text := range d.What {
		name, value, _ := strings.Cut(text, "=")
		if len(value) == 32 {
			value = value[:8] + "…"
		}
		if w.has("name_" + name) {
			text = w.say("name_"+name) + " " + w.value(value)
		}
		meant = append(meant, text)
	}
	what := w.list(meant)
	v.Kick = w.say("damage_kick", "date", w.date(d.Made))
	v.Title = w.say("damage_title_none", "what", what)
	v.Lead = []string{w.say("damage_lead_none")}
	if len(d.Meetings) > 0 {
		v.Title = w.say("damage_title", "what", what)
		v.Level, v.LevelNo = d.Meetings[0].Name, int(d.Meetings[0].Level)
		v.Lead = []string{w.count("damage_lead", len(d.Meetings), "long", w.ms(d.MS), "level", v.Level)}
		if len(d.People) > 0 {
			v.Lead = append(v.Lead, w.count("damage_people", len(d.People)))
		}
		v.Lead = append(v.Lead, spokenLead(w, d))
	}
	v.Lead = append(v.Lead, w.say("damage_searched", "meetings", w.number(int64(d.Searched.Meetings)), "records", w.number(int64(d.Log.Size))))
	when := func(t *time.Time) string {
		if t == nil {
			return w.say("damage_open")
		}
		return w.date(*t) + ", " + w.minute(*t)
	}
	v.Facts = []pair{{w.say("damage_from"), when(d.From)}, {w.say("damage_until"), when(d.Until)}, {w.say("fact_exposed"), w.ms(d.MS)}}
	v.MeetingsHead = w.say("damage_meetings")
	last := "damage_col_present"
	if d.Ledger.State == "opened" {
		last = "damage_col_spoke"
	}
	for _, c := range []string{"damage_col_meeting", "damage_col_exposed", "damage_col_legs", last} {
		v.Columns = append(v.Columns, w.say(c))
	}
	for i := range d.Meetings[:min(len(d.Meetings), maxMeetings)] {
		v.Meetings = append(v.Meetings, damaged(w, &d.Meetings[i]))
	}
	if n := len(d.Meetings) - maxMeetings; n > 0 {
		v.MeetingsMore = w.say("damage_more", "n", w.number(int64(n)))
	}
	v.LevelTop, v.LevelBottom = w.say("level_top"), w.say("level_bottom")
	v.Style += printed(w, v.Level)
	v.PeopleHead, v.LevelsHead, v.LimitHead = w.say("damage_who"), w.say("damage_levels"), w.say("limits")
	v.SpeakersHead, v.Speakers, v.People = w.say("damage_speakers"), bars(w, d.Speakers), bars(w, d.People)
	for _, l := range d.ByLevel {
		most := slices.MaxFunc(d.ByLevel, func(a, b exposure.LevelTotal) int { return int(a.MS - b.MS) })
		v.Levels = append(v.Levels, barView{l.Name, w.ms(l.MS), int(100 * l.MS / max(most.MS, 1))})
	}
	v.Limits = append([]string{w.say("damage_limit_content"), w.say("damage_limit_room")}, speechLimits(w, d)...)
	if d.Unknown > 0 {
		v.Limits = append(v.Limits, w.say("damage_limit_erased", "n", strconv.Itoa(d.Unknown)))
	}
	if d.Log.Indexed {
		v.Limits = append(v.Limits, w.say("damage_limit_index"))
	}
	v.CheckHead, v.CheckText, v.AgainText, v.Verify, v.Again = w.say("check"), w.say("damage_check_text"), w.say("damage_check"), o.Verify, o.Again
	v.Checks = checks(w, &exposure.Report{Log: d.Log, Ledger: d.Ledger})[1:]
	v.Seal = seal(w, d.Log.Root)
	return damageTemplate.ExecuteTemplate(out, "damage", v)
}

// bars draws a ranking.
func bars(w *words, list []exposure.Heard) (out []barView) {
	for _, h := range list[:min(len(list), maxPeople)] {
		name := whoName(w, h.Who, "")
		if h.Unit != "" {
			name += ", " + h.Unit
		}
		out = append(out, barView{name, w.ms(h.MS), int(100 * h.MS / max(list[0].MS, 1))})
	}
	return out
}

// spokenLead says how much was said while meetings were exposed, or why nobody knows.
func spokenLead(w *words, d *exposure.Damage) string {
	switch {
	case d.Ledger.State == "opened" && len(d.Speakers) == 0:
		return w.say("lead_spoke_none")
	case d.Ledger.State == "opened":
		return w.count("damage_spoke", len(d.Speakers), "long", w.ms(d.SpokeMS))
	case d.Ledger.State == "none":
		return w.say("lead_unknown")
	}
	return w.say("lead_sealed")
}

// speechLimits are what the ledgers cannot tell.
func speechLimits(w *words, d *exposure.Damage) (out []string) {
	l := &d.Ledger
	switch l.State {
	case "none":
		return []string{w.say("limit_ledger_none")}
	case "sealed":
		return []string{w.say("damage_limit_speech")}
	}
	out = append(out, w.say("limit_ledger_own_word"))
	gaps := 0
	for i := range d.Meetings {
		gaps += len(d.Meetings[i].Unknown)
	}
	if gaps > 0 {
		out = append(out, w.count("damage_limit_gaps", gaps))
	}
	if l.Deleted > 0 {
		out = append(out, w.say("limit_ledger_deleted", "blocks", w.number(int64(l.Deleted))))
	}
	if len(l.Missing)+l.Shut+l.Extra > 0 {
		out = append(out, w.say("limit_ledger_damaged", "missing", w.number(int64(len(l.Missing))), "shut", w.number(int64(l.Shut)), "extra", w.number(int64(l.Extra))))
	}
	return out
}

func damaged(w *words, m *exposure.Damaged) damagedView {
	title := m.Title
	if title == "" {
		title = m.Meeting.Text()
	}
	v := damagedView{Title: title, When: w.date(m.From), Level: m.Name, Long: w.ms(m.MS)}
	for _, s := range m.Spans {
		text := w.say("span", "from", w.clock(s.From), "to", w.clock(s.To))
		if len(v.Minutes) == 6 {
			v.Minutes = append(v.Minutes, "…")
			break
		}
		if !slices.Contains(v.Minutes, text) {
			v.Minutes = append(v.Minutes, text)
		}
	}
	seen := map[string]bool{}
	for _, s := range m.Spans {
		if !seen[s.Leg] && len(seen) < maxPresent {
			seen[s.Leg] = true
			v.Legs = append(v.Legs, pair{whoName(w, s.Who, s.Leg), strings.TrimSpace(factsText(w, s.Facts))})
		}
	}
	list := m.Present
	if m.Spoke != nil {
		list = m.Spoke
	}
	for _, h := range list[:min(len(list), maxPresent)] {
		name := whoName(w, h.Who, h.Leg)
		if h.Self {
			name += " (" + w.say("own_words") + ")"
		}
		v.Present = append(v.Present, pair{name, w.ms(h.MS)})
	}
	switch {
	case m.Spoke != nil && len(m.Unknown) > 0:
		v.Quiet = w.count("spoke_gaps", len(m.Unknown))
	case m.Spoke != nil && len(m.Spoke) == 0:
		v.Quiet = w.say("spoke_nobody")
	}
	if n := len(list) - maxPresent; n > 0 {
		v.More = w.count("others", n)
	}
	return v
}
