// Package page draws the reports of package exposure as pages: HTML that stands by itself, without scripts and without
// anything from elsewhere, in German, English or French, made to be read on a screen and to be printed. It decides nothing:
// all that it says stands in the report.
package page

import (
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/exposure"
)

// Font is a font file that a page carries.
type Font struct {
	Family string // "Atkinson Hyperlegible Next"
	Range  string // of characters (CSS unicode-range); empty: all
	WOFF2  []byte
}

// Options say how pages are drawn.
type Options struct {
	Language string         // one of Languages; another is English
	Zone     *time.Location // of all times; nil: UTC
	Fonts    []Font
	// Again is the command that makes the page anew, Verify the one that verifies the log.
	Again, Verify string
}

//go:embed style.css
var style string

//go:embed report.html
var reportSource string

var reportTemplate = template.Must(template.New("report").Parse(frame + reportSource))

// frame is what all pages have around them.
const frame = `{{define "head"}}<!doctype html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">
<title>{{.Title}}</title>
<style>{{.Style}}</style>
</head>
<body>{{if .Level}}<div class="marking level-{{.LevelNo}}" role="region" aria-label="{{.LevelTop}}"><b>{{.Level}}</b></div>{{end}}{{end}}
{{define "foot"}}{{if .Level}}<div class="marking level-{{.LevelNo}}" role="region" aria-label="{{.LevelBottom}}"><b>{{.Level}}</b></div>{{end}}</body></html>
{{end}}`

// view is what the template of a report shows: words, all of them in the page's language.
type view struct {
	top
	Kick      string
	Lead      []string // the first in bold
	Facts     []pair
	ChartHead string
	Chart     template.HTML
	Keys      []key
	Spans     []spanView
	Columns   []string
	SpansHead string
	StepsHead string
	Steps     []stepView
	Weighed   []weighedView
	WeighHead string
	Limits    []string
	LimitHead string
	CheckHead string
	CheckText string
	Verify    string
	AgainText string
	Again     string
	Checks    []check
	Seal      string
}

// top is what the frame needs.
type top struct {
	Lang, Title string
	Style       template.CSS
	Level       string
	LevelNo     int
	// LevelTop and LevelBottom tell the two markings apart for who listens to the page.
	LevelTop, LevelBottom string
}

type pair struct{ Name, Value string }

// key is an entry of the chart's legend; Kind chooses its drawing.
type key struct{ Kind, Word string }

type spanView struct {
	Tone, Name, Unit, When, Long string
	Notes                        []string
	Level, Why                   string
	Reasons, Line                string
	Spoke                        []pair
	SpokeWord                    string
	After                        []string
}

type stepView struct{ No, Tone, Time, Text, Evidence string }

type weighedView struct{ Name, Verdict, Text string }

type check struct {
	Good bool
	Text string
}

// Report draws the report of a meeting.
func Report(out io.Writer, r *exposure.Report, o Options) error {
	w := newWords(o.Language, o.Zone)
	v := &view{top: top{Lang: w.lang, Style: styles(o.Fonts)}}
	v.Level, v.LevelNo = topLevel(r)
	v.LevelTop, v.LevelBottom = w.say("level_top"), w.say("level_bottom")
	v.Style += printed(w, v.Level)
	title := r.Title
	if title == "" {
		title = r.Meeting
	}
	v.Kick = w.say("kick", "title", title, "date", w.date(r.Made))
	v.Title = headline(w, r)
	v.Lead = lead(w, r)
	v.Facts = facts(w, r)
	v.ChartHead = w.say("chart", "from", w.minute(r.From), "to", w.minute(r.To))
	if w.minute(r.From) == w.minute(r.To) {
		v.ChartHead = w.say("chart", "from", w.clock(r.From), "to", w.clock(r.To))
	}
	var marks []numbered
	v.StepsHead = w.say("steps")
	for i := range r.Steps {
		s := &r.Steps[i]
		marks = append(marks, numbered{i + 1, s})
		v.Steps = append(v.Steps, step(w, i+1, s))
	}
	v.Chart = drawChart(w, r, marks)
	v.Keys = legend(w, r)
	v.SpansHead = w.say("exposures")
	for _, c := range []string{"col_line", "col_when", "col_why", "col_spoke"} {
		v.Columns = append(v.Columns, w.say(c))
	}
	for i := range r.Spans {
		v.Spans = append(v.Spans, span(w, r, &r.Spans[i]))
	}
	v.WeighHead, v.LimitHead = w.say("weighed"), w.say("limits")
	for _, x := range r.Weighed {
		v.Weighed = append(v.Weighed, weighedView{w.say("weigh_" + x.Code), w.say("verdict_" + x.Verdict), w.say("weigh_"+x.Code+"_"+x.Verdict, args(w, x.Args)...)})
	}
	for _, l := range r.Limits {
		v.Limits = append(v.Limits, w.say("limit_"+l.Code, args(w, l.Args)...))
	}
	v.CheckHead, v.CheckText, v.AgainText = w.say("check"), w.say("check_text"), w.say("check_again")
	v.Verify, v.Again = o.Verify, o.Again
	v.Checks = checks(w, r)
	v.Seal = seal(w, r.Log.Root)
	return reportTemplate.Execute(out, v)
}

// args puts the decimal sign of the language into numbers.
func args(w *words, m map[string]string) (out []string) {
	for k, v := range m {
		if _, err := strconv.ParseFloat(v, 64); err == nil {
			v = strings.Replace(v, ".", w.decimal, 1)
		}
		out = append(out, k, v)
	}
	return out
}

func styles(fonts []Font) template.CSS {
	var b strings.Builder
	for _, f := range fonts {
		fmt.Fprintf(&b, "@font-face{font-family:%q;font-weight:200 800;", f.Family)
		if f.Range != "" {
			fmt.Fprintf(&b, "unicode-range:%s;", f.Range)
		}
		fmt.Fprintf(&b, "src:url(data:font/woff2;base64,%s) format(\"woff2\")}\n", base64.StdEncoding.EncodeToString(f.WOFF2))
	}
	return template.CSS(b.String() + style)
}

// printed marks every sheet of paper with the level, above and below, and numbers it: sheets come apart.
func printed(w *words, level string) template.CSS {
	number := strings.NewReplacer("{n}", `" counter(page) "`, "{of}", `" counter(pages) "`).Replace(w.say("page_of"))
	const mark = "font:700 10pt var(--sans);letter-spacing:.14em"
	above, below := "", `@bottom-right{content:"`+number+`";font:9pt var(--sans)}`
	if level != "" {
		above = "@top-center{content:" + cssText(level) + ";" + mark + "}"
		below += "@bottom-center{content:" + cssText(level) + ";" + mark + "}"
	}
	return template.CSS("@page{" + above + below + "}\n")
}

// cssText is a text as a string of a style sheet, in which nothing of it can mean anything else.
func cssText(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		fmt.Fprintf(&b, "\\%06x", r)
	}
	b.WriteByte('"')
	return b.String()
}

// topLevel is the highest level of the meeting: the page itself is to be handled by it.
func topLevel(r *exposure.Report) (name string, no int) {
	no = -1
	for _, l := range r.Levels {
		if int(l.No) > no {
			name, no = l.Name, int(l.No)
		}
	}
	return name, max(no, 0)
}

// exposedNames names the exposed legs' people, each once, in the order of their first exposure.
func exposedNames(w *words, r *exposure.Report) (names []string) {
	for _, s := range r.Spans {
		if n := whoName(w, s.Who, s.Leg); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

func headline(w *words, r *exposure.Report) string {
	names := exposedNames(w, r)
	switch {
	case r.Totals.Worst == exposure.CauseStranger:
		return w.say("title_stranger")
	case len(names) == 0:
		return w.say("title_none")
	case len(names) == 1:
		return w.say("title_one", "name", names[0])
	}
	return w.say("title_many", "n", strconv.Itoa(len(names)))
}

// lead is the answer: what a person must know who reads nothing else.
func lead(w *words, r *exposure.Report) []string {
	if len(r.Spans) == 0 {
		out := []string{w.say("lead_none")}
		if len(r.Asked) > 0 {
			out = append(out, w.say("lead_none_asked", "asked", w.list(r.Asked)))
		}
		legs, held := 0, time.Duration(0)
		for _, l := range r.Legs {
			for _, s := range l.Stays {
				held += s.To.Sub(s.From)
			}
			legs += min(len(l.Stays), 1)
		}
		return append(out, w.say("lead_none_more", "n", strconv.Itoa(legs), "long", w.long(held)))
	}
	names := exposedNames(w, r)
	worst := r.Spans[slices.IndexFunc(r.Spans, func(s exposure.SpanPart) bool { return s.Causes[0] == r.Totals.Worst })]
	var out []string
	if len(names) == 1 {
		out = append(out, w.say("lead_one", "name", names[0], "long", w.ms(r.Totals.ExposedMS), "cause", w.say("cause_"+string(worst.Causes[0]))))
	} else {
		if len(names) > 4 {
			names = append(names[:3:3], w.count("others", len(names)-3))
		}
		out = append(out, w.say("lead_many", "n", strconv.Itoa(r.Totals.Legs), "names", w.list(names), "long", w.ms(r.Totals.ExposedMS)))
	}
	var levels []string
	for _, l := range r.Totals.ByLevel {
		levels = append(levels, l.Name)
	}
	out = append(out, w.say("lead_level", "level", w.list(levels)))
	switch {
	case r.Ledger.State == "none":
		out = append(out, w.say("lead_unknown"))
	case r.Ledger.State == "sealed":
		out = append(out, w.say("lead_sealed"))
	case len(r.Totals.BySpeaker) == 0:
		out = append(out, w.say("lead_spoke_none"))
	default:
		var spoke []string
		for _, h := range r.Totals.BySpeaker[:min(3, len(r.Totals.BySpeaker))] {
			spoke = append(spoke, w.say("spoke_item", "name", whoName(w, h.Who, h.Leg), "long", w.ms(h.MS)))
		}
		if n := len(r.Totals.BySpeaker) - 3; n > 0 {
			spoke = append(spoke, w.count("others", n))
		}
		out = append(out, w.say("lead_spoke", "spoke", w.list(spoke)))
	}
	if r.Totals.ScreensMS > 0 {
		out = append(out, w.say("lead_screen", "long", w.ms(r.Totals.ScreensMS)))
	}
	if len(r.Spans) == 1 && worst.Cut != nil && worst.Causes[0] == exposure.CauseRefused {
		out = append(out, w.say("lead_cut", "cut", w.long(worst.Cut.Sub(worst.From)), "keys", w.ms(worst.MS)))
	}
	return out
}

func plainLead(w *words, r *exposure.Report) string { return strings.Join(lead(w, r), " ") }

func facts(w *words, r *exposure.Report) []pair {
	when := w.say("when", "date", w.date(r.From), "from", w.clock(r.From), "to", w.clock(r.To), "zone", w.zoneName(r.From))
	if w.date(r.From) != w.date(r.To) {
		when = w.say("when_days", "date", w.date(r.From), "from", w.clock(r.From), "date2", w.date(r.To), "to", w.clock(r.To), "zone", w.zoneName(r.From))
	}
	exposed := w.say("exposed_none")
	if len(r.Spans) > 0 {
		exposed = w.say("exposed", "long", w.ms(r.Totals.ExposedMS), "lines", w.count("lines", r.Totals.Legs))
	}
	out := []pair{{w.say("fact_when"), when}, {w.say("fact_exposed"), exposed}}
	if len(r.Spans) > 0 {
		heard := w.say("heard_none")
		switch {
		case r.Ledger.State == "none":
			heard = w.say("heard_unknown")
		case r.Ledger.State == "sealed":
			heard = w.say("heard_sealed")
		case len(r.Totals.BySpeaker) > 0:
			heard = w.count("heard", len(r.Totals.BySpeaker), "long", w.ms(r.Totals.SpokeMS))
		}
		out = append(out, pair{w.say("fact_heard"), heard})
	}
	return append(out, pair{w.say("fact_confidence"), w.say(confidence(r))})
}

// confidence says how far the report can be relied on.
func confidence(r *exposure.Report) string {
	has := func(code string) bool {
		return slices.ContainsFunc(r.Limits, func(l exposure.Limit) bool { return l.Code == code })
	}
	switch {
	case !r.Log.Verified:
		return "low_log"
	case has("clock"):
		return "low_clock"
	case len(r.Spans) == 0:
		return "high_none"
	case r.Ledger.State == "none":
		return "medium_none"
	case r.Ledger.State == "sealed":
		return "medium_sealed"
	case has("ledger_gaps") || has("ledger_damaged"):
		return "medium_gaps"
	}
	return "high"
}

func legend(w *words, r *exposure.Report) []key {
	keys := []key{{"good", w.say("key_good")}}
	seen := map[string]bool{}
	for _, s := range r.Spans {
		seen[tone(s.Causes)] = true
	}
	for _, l := range r.Legs {
		seen["broken"] = seen["broken"] || len(l.Lost) > 0
		seen["spoke"] = seen["spoke"] || len(l.Spoke) > 0
		seen["screen"] = seen["screen"] || len(l.Screens) > 0
	}
	for _, k := range []key{{"weak", w.say("key_weak")}, {"broken", w.say("key_lost")}, {"open", w.say("key_open")}, {"spoke", w.say("key_spoke")}, {"screen", w.say("key_screen")}} {
		if seen[k.Kind] {
			keys = append(keys, k)
		}
	}
	return keys
}

func span(w *words, r *exposure.Report, s *exposure.SpanPart) spanView {
	v := spanView{Tone: tone(s.Causes), Name: whoName(w, s.Who, s.Leg), Unit: s.Unit, Long: w.ms(s.MS), Level: s.LevelName,
		When: w.say("span", "from", moment(w, s, s.From), "to", moment(w, s, s.To))}
	if s.Earliest != nil {
		v.Notes = append(v.Notes, w.say("earliest", "time", w.clock(*s.Earliest)))
	}
	if s.Cut != nil && (s.Causes[0] == exposure.CauseRefused || s.To.Sub(*s.Cut) > time.Second) {
		v.Notes = append(v.Notes, w.say("cut_at", "time", moment(w, s, *s.Cut)))
	}
	var why []string
	for _, c := range s.Causes {
		why = append(why, w.say("short_"+string(c), "suspect", w.list(s.Suspects)))
	}
	v.Why = strings.Join(why, "; ")
	v.Reasons = upper(w.list(reasons(w, s.Codes)))
	if s.Reason != "" {
		v.Reasons = w.say("exception_why", "reason", s.Reason)
	}
	if text := factsText(w, s.Facts); text != "" {
		v.Line = w.say("facts", "facts", text)
	}
	switch {
	case r.Ledger.State == "none":
		v.SpokeWord = w.say("spoke_unknown")
	case r.Ledger.State == "sealed":
		v.SpokeWord = w.say("spoke_sealed")
	case len(s.Spoke) == 0 && len(s.Unknown) == 0:
		v.SpokeWord = w.say("spoke_nobody")
	}
	for _, h := range s.Spoke {
		name := whoName(w, h.Who, h.Leg)
		if h.Self {
			name += " (" + w.say("own_words") + ")"
		}
		v.Spoke = append(v.Spoke, pair{name, w.ms(h.MS)})
	}
	if len(s.Unknown) > 0 && r.Ledger.State == "opened" {
		v.After = append(v.After, w.count("spoke_gaps", len(s.Unknown)))
	}
	for _, h := range s.Screens {
		v.After = append(v.After, w.say("shared_screen", "name", whoName(w, h.Who, h.Leg), "long", w.ms(h.MS)))
	}
	return v
}

// moment is a time of day, finer where a span is short.
func moment(w *words, s *exposure.SpanPart, t time.Time) string {
	if s.MS < 60_000 {
		return w.precise(t)
	}
	return w.clock(t)
}

func reasons(w *words, codes []string) (out []string) {
	for _, c := range codes {
		if w.has("reason_" + c) {
			out = append(out, w.say("reason_"+c))
		} else {
			out = append(out, c)
		}
	}
	return out
}

// factsText puts the facts that a reader can use into words.
func factsText(w *words, list []conclave.Fact) string {
	var out []string
	for _, f := range list {
		if w.has("name_"+f.Name) && f.Name != "kind" {
			out = append(out, w.say("name_"+f.Name)+" "+w.value(f.Value))
		}
	}
	return strings.Join(out, ", ")
}

func step(w *words, no int, s *exposure.Step) stepView {
	v := stepView{No: strconv.Itoa(no), Tone: s.Tone, Time: w.clock(s.At)}
	key := "step_" + s.Code
	if s.By != "" && w.has(key+"_by") {
		key += "_by"
	}
	a := append(args(w, s.Args), "name", whoName(w, s.Who, s.Leg), "by", s.By)
	if ms, err := strconv.ParseInt(s.Args["ms"], 10, 64); err == nil {
		a = append(a, "long", w.ms(ms))
	}
	v.Text = w.say(key, a...)
	var evidence []string
	if text := recordsText(w, s.Records); text != "" {
		evidence = append(evidence, text)
	}
	if after := s.Args["after"]; after != "" {
		evidence = append(evidence, w.say("keyless", a...))
	}
	if r := reasons(w, s.Codes); len(r) > 0 {
		evidence = append(evidence, w.say("because", "reasons", w.list(r)))
	}
	if text := factsText(w, s.Facts); text != "" {
		evidence = append(evidence, w.say("now", "facts", text))
	}
	v.Evidence = strings.Join(evidence, " ")
	return v
}

func recordsText(w *words, list []audit.Index) string {
	var out []string
	for _, i := range list {
		if i != 0 {
			out = append(out, w.number(int64(i)))
		}
	}
	slices.Sort(out)
	switch out = slices.Compact(out); len(out) {
	case 0:
		return ""
	case 1:
		return w.say("record", "n", out[0]) + "."
	}
	return w.say("records", "list", w.list(out)) + "."
}

func checks(w *words, r *exposure.Report) []check {
	l := &r.Log
	out := []check{{true, w.count("check_records", l.Used)}}
	switch {
	case !l.Verified:
		out = append(out, check{false, w.say("check_log_not", "problem", l.Problem)})
	case !l.Sealed.IsZero():
		out = append(out, check{true, w.say("check_log_sealed", "n", w.number(int64(l.Size)), "time", w.date(l.Sealed)+", "+w.clock(l.Sealed))})
	default:
		out = append(out, check{true, w.say("check_log", "n", w.number(int64(l.Size)))})
	}
	if l.Verified {
		if len(l.Witness) > 0 {
			out = append(out, check{true, w.say("check_witnesses", "names", w.list(l.Witness))})
		} else {
			out = append(out, check{false, w.say("check_witnesses_none")})
		}
	}
	if r.Ledger.State == "opened" {
		out = append(out, check{r.Ledger.Opened == r.Ledger.Blocks, w.say("check_ledger", "n", w.number(int64(r.Ledger.Opened)), "of", w.number(int64(r.Ledger.Blocks)), "holders", w.list(r.Ledger.Holders))})
		if r.Ledger.Record != 0 {
			opening := "check_opening"
			if r.Meeting == "" { // over many meetings, each opened by itself
				opening = "check_openings"
			}
			out = append(out, check{true, w.say(opening, "n", w.number(int64(r.Ledger.Record)))})
		} else {
			out = append(out, check{false, w.say("check_opening_not")})
		}
		out = append(out, check{true, w.say("check_off", "long", w.ms(max(r.Ledger.OffMS, 1)))})
	}
	return out
}

// seal is the root hash's beginning, in groups that can be read out.
func seal(w *words, root []byte) string {
	if len(root) < 8 {
		return ""
	}
	h := hex.EncodeToString(root[:8])
	return w.say("seal") + "\u2002" + h[:4] + " " + h[4:8] + " " + h[8:12] + " " + h[12:]
}

func upper(text string) string {
	if text == "" {
		return ""
	}
	r := []rune(text)
	return strings.ToUpper(string(r[:1])) + string(r[1:])
}

// EvidenceReadme says how an evidence bundle is checked. root is the hash of the organisation's root key.
func EvidenceReadme(language, file, meeting, root string) string {
	return newWords(language, nil).say("evidence_readme", "file", file, "meeting", meeting, "root", root)
}
