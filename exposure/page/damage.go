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
	People, Levels             []barView
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
	More                     string
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
	for _, c := range []string{"damage_col_meeting", "damage_col_exposed", "damage_col_legs", "damage_col_present"} {
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
	for _, h := range d.People[:min(len(d.People), maxPeople)] {
		name := whoName(w, h.Who, "")
		if h.Unit != "" {
			name += ", " + h.Unit
		}
		v.People = append(v.People, barView{name, w.ms(h.MS), int(100 * h.MS / max(d.People[0].MS, 1))})
	}
	for _, l := range d.ByLevel {
		most := slices.MaxFunc(d.ByLevel, func(a, b exposure.LevelTotal) int { return int(a.MS - b.MS) })
		v.Levels = append(v.Levels, barView{l.Name, w.ms(l.MS), int(100 * l.MS / max(most.MS, 1))})
	}
	v.Limits = []string{w.say("damage_limit_content"), w.say("damage_limit_room")}
	if !slices.ContainsFunc(d.Meetings, func(m exposure.Damaged) bool { return m.Spoke != nil }) {
		v.Limits = append(v.Limits, w.say("damage_limit_speech"))
	}
	if d.Unknown > 0 {
		v.Limits = append(v.Limits, w.say("damage_limit_erased", "n", strconv.Itoa(d.Unknown)))
	}
	if d.Log.Indexed {
		v.Limits = append(v.Limits, w.say("damage_limit_index"))
	}
	v.CheckHead, v.CheckText, v.AgainText, v.Verify, v.Again = w.say("check"), w.say("damage_check_text"), w.say("damage_check"), o.Verify, o.Again
	v.Checks = checks(w, &exposure.Report{Log: d.Log})[1:]
	v.Seal = seal(w, d.Log.Root)
	return damageTemplate.ExecuteTemplate(out, "damage", v)
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
		v.Present = append(v.Present, pair{whoName(w, h.Who, h.Leg), w.ms(h.MS)})
	}
	if n := len(list) - maxPresent; n > 0 {
		v.More = w.count("others", n)
	}
	return v
}
