package page

import (
	"fmt"
	"html"
	"html/template"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/exposure"
)

// The chart's measures, in units of its view box, which is 1060 wide.
const (
	chartLeft, chartRight = 190.0, 1056.0
	chartTop, rowHeight   = 64.0, 50.0
	maxRows               = 16
	inkGood, inkWeak      = "#1C6B50", "#855300"
	inkLost, inkOpen      = "#A1262B", "#59498C"
	inkMain, inkQuiet     = "#16201C", "#5E6A65"
	inkRule, weakWash     = "#D3DAD6", "#FFF4DC"
	openWash, lostWash    = "#F0EDF9", "#FBECEB"
)

// chart draws everybody's line over time.
type chart struct {
	strings.Builder
	w        *words
	r        *exposure.Report
	from, to time.Time
	rows     []exposure.LegPart
	bottom   float64
}

// numbered is a step that the chart points at.
type numbered struct {
	no   int
	step *exposure.Step
}

func drawChart(w *words, r *exposure.Report, marks []numbered) template.HTML {
	c := &chart{w: w, r: r, from: r.From, to: r.To}
	if pad := r.To.Sub(r.From) / 100; pad > 0 {
		c.from, c.to = r.From.Add(-pad), r.To.Add(pad)
	}
	if !c.from.Before(c.to) {
		return ""
	}
	var more int
	c.rows, more = pickRows(r)
	height := chartTop + rowHeight*float64(len(c.rows))
	if more > 0 {
		height += 24
	}
	c.bottom = chartTop + rowHeight*float64(len(c.rows)) - 14
	fmt.Fprintf(c, `<svg role="img" aria-label="%s" viewBox="0 0 1060 %.0f">`, html.EscapeString(w.say("chart_label", "n", fmt.Sprint(len(r.Legs)), "text", plainLead(w, r))), height)
	c.ticks()
	for i := range c.rows {
		c.washes(i)
	}
	c.codes()
	for i := range c.rows {
		c.row(i)
	}
	c.markers(marks)
	if more > 0 {
		fmt.Fprintf(c, `<text x="0" y="%.0f" class="q">%s</text>`, height-6, html.EscapeString(w.count("more_lines", more)))
	}
	c.WriteString("</svg>")
	return template.HTML(c.String()) //nolint: all that came from outside was escaped above
}

// pickRows chooses the legs that are drawn, in the order of their coming: exposed ones first where there are too many.
func pickRows(r *exposure.Report) (rows []exposure.LegPart, more int) {
	exposed := map[string]bool{}
	for _, s := range r.Spans {
		exposed[s.Leg] = true
	}
	in := slices.DeleteFunc(slices.Clone(r.Legs), func(l exposure.LegPart) bool { return len(l.Stays) == 0 })
	if len(in) <= maxRows {
		return in, 0
	}
	room := maxRows
	for _, want := range []bool{true, false} {
		for _, l := range in {
			if exposed[l.Leg] == want && room > 0 {
				rows = append(rows, l)
				room--
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b exposure.LegPart) int { return a.Stays[0].From.Compare(b.Stays[0].From) })
	return rows, len(in) - len(rows)
}

func (c *chart) x(t time.Time) float64 {
	share := float64(t.Sub(c.from)) / float64(c.to.Sub(c.from))
	return chartLeft + min(max(share, 0), 1)*(chartRight-chartLeft)
}

func (c *chart) y(row int) float64 { return chartTop + rowHeight*float64(row) }

// tickSteps are the distances of ticks that people read easily.
var tickSteps = []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
	10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 12 * time.Hour, 24 * time.Hour}

func (c *chart) ticks() {
	step := tickSteps[len(tickSteps)-1]
	for _, s := range tickSteps {
		if c.to.Sub(c.from)/s <= 6 {
			step = s
			break
		}
	}
	for t := c.from.Truncate(step).Add(step); t.Before(c.to); t = t.Add(step) {
		x := c.x(t)
		anchor := "middle"
		if x > chartRight-20 {
			anchor = "end"
		}
		text := c.w.minute(t)
		if step < time.Minute {
			text = c.w.clock(t)
		}
		fmt.Fprintf(c, `<path d="M%.1f 30V%.1f" stroke="%s"/><text x="%.1f" y="20" class="q" text-anchor="%s">%s</text>`, x, c.bottom, inkRule, x, anchor, text)
	}
}

// codes draws where the security code changed, as far as there is room to say so.
func (c *chart) codes() {
	var at []float64
	last := chartLeft
	for _, s := range c.r.Steps {
		if s.Code != "entered" && s.Code != "quarantined" && s.Code != "left" && s.Code != "put_out" {
			continue
		}
		if x := c.x(s.At); x-last > 84 && x < chartRight-70 && len(at) < 5 {
			at = append(at, x)
			last = x
		}
	}
	for _, x := range at {
		fmt.Fprintf(c, `<path d="M%.1f 30V%.1f" stroke="%s" stroke-width="1.2" stroke-dasharray="2 4"/><text x="%.1f" y="41" class="s">%s</text>`,
			x, c.bottom, inkQuiet, x+6, html.EscapeString(c.w.say("new_code")))
	}
}

func (c *chart) washes(row int) {
	for _, s := range c.r.Spans {
		if s.Leg != c.rows[row].Leg {
			continue
		}
		wash := weakWash
		switch tone(s.Causes) {
		case "open":
			wash = openWash
		case "lost":
			wash = lostWash
		}
		x, width := c.x(s.From), max(c.x(s.To)-c.x(s.From), 5)
		fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.1f" height="42" rx="%.1f" fill="%s"/>`, x, c.y(row)-21, width, min(6, width/2), wash)
	}
}

// tone is how causes are drawn: what is open past a gateway has a look of its own.
func tone(causes []exposure.Cause) string {
	switch {
	case len(causes) == 0:
		return "plain"
	case causes[0] == exposure.CauseOpen, causes[0] == exposure.CauseHop:
		return "open"
	case causes[0] == exposure.CauseStranger:
		return "lost"
	}
	return "weak"
}

func (c *chart) row(row int) {
	l := &c.rows[row]
	y := c.y(row)
	exposed := slices.ContainsFunc(c.r.Spans, func(s exposure.SpanPart) bool { return s.Leg == l.Leg })
	class := "t"
	if exposed {
		class = "t h"
	}
	fmt.Fprintf(c, `<text x="0" y="%.1f" class="%s">%s</text><text x="0" y="%.1f" class="q">%s</text>`, y-2, class,
		html.EscapeString(clip(legName(c.w, l), 24)), y+15, html.EscapeString(clip(legNote(c.w, l), 26)))
	for i, stay := range l.Stays {
		c.stay(l, stay, y)
		if i == len(l.Stays)-1 && stay.To.Before(c.r.To) {
			fmt.Fprintf(c, `<circle cx="%.1f" cy="%.1f" r="4.2" fill="#fff" stroke="%s" stroke-width="2"/>`, c.x(stay.To), y, c.inkAt(l, stay.To.Add(-1)))
			if l.RemovedBy != "" && c.x(stay.To) < chartRight-170 {
				fmt.Fprintf(c, `<text x="%.1f" y="%.1f" class="q">%s</text>`, c.x(stay.To)+12, y+4.5, html.EscapeString(c.w.say("end_removed", "by", l.RemovedBy)))
			}
		}
		if stay.From.After(c.r.From) {
			fmt.Fprintf(c, `<circle cx="%.1f" cy="%.1f" r="4.4" fill="%s"/>`, c.x(stay.From), y, c.inkAt(l, stay.From))
		}
	}
	for _, s := range l.Spoke {
		fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.2f" height="4" rx="1" fill="%s"/>`, c.x(s.From), y+8, max(c.x(s.To)-c.x(s.From), 0.8), inkMain)
	}
	for _, s := range l.Screens {
		fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.1f" height="7" rx="2" fill="none" stroke="%s" stroke-width="1.4"/>`, c.x(s.From), y-16, max(c.x(s.To)-c.x(s.From), 3), inkQuiet)
	}
}

// stay draws one membership, piece by piece as the line was.
func (c *chart) stay(l *exposure.LegPart, stay exposure.Part, y float64) {
	bounds := []time.Time{stay.From, stay.To}
	for _, s := range c.r.Spans {
		if s.Leg == l.Leg {
			bounds = append(bounds, s.From, s.To)
		}
	}
	for _, s := range l.Lost {
		bounds = append(bounds, s.From, s.To)
	}
	slices.SortFunc(bounds, time.Time.Compare)
	for i := 1; i < len(bounds); i++ {
		from, to := bounds[i-1], bounds[i]
		if !from.Before(to) || from.Before(stay.From) || to.After(stay.To) {
			continue
		}
		x1, x2 := c.x(from), c.x(to)
		switch ink := c.inkAt(l, from); {
		case during(l.Lost, from):
			fmt.Fprintf(c, `<path d="M%.1f %.1fV%.1fM%.1f %.1fV%.1f" stroke="%s" stroke-width="2.4"/>`, x1, y-8, y+8, x2, y-8, y+8, inkLost)
		case ink == inkGood:
			fmt.Fprintf(c, `<path d="M%.1f %.1fH%.1f" stroke="%s" stroke-width="2.6"/>`, x1, y, x2, ink)
		case ink == inkOpen:
			fmt.Fprintf(c, `<path d="M%.1f %.1fH%.1f" stroke="%s" stroke-width="2.8" stroke-dasharray="0.1 6" stroke-linecap="round"/>`, x1, y, x2, ink)
		default:
			fmt.Fprintf(c, `<path d="M%.1f %.1fH%.1f" stroke="%s" stroke-width="2.6" stroke-dasharray="9 5"/>`, x1, y, x2, ink)
		}
	}
}

func during(list []exposure.Part, at time.Time) bool {
	return slices.ContainsFunc(list, func(p exposure.Part) bool { return !p.From.After(at) && at.Before(p.To) })
}

// inkAt is the colour of a leg's line at a moment.
func (c *chart) inkAt(l *exposure.LegPart, at time.Time) string {
	for _, s := range c.r.Spans {
		if s.Leg == l.Leg && !s.From.After(at) && at.Before(s.To) {
			switch tone(s.Causes) {
			case "open":
				return inkOpen
			case "lost":
				return inkLost
			}
			return inkWeak
		}
	}
	return inkGood
}

// markers draws the numbers of the steps on their rows, moved apart where they would lie on each other.
func (c *chart) markers(marks []numbered) {
	rows := make(map[int][]numbered)
	for _, m := range marks {
		if row := slices.IndexFunc(c.rows, func(l exposure.LegPart) bool { return l.Leg == m.step.Leg }); row >= 0 {
			rows[row] = append(rows[row], m)
		}
	}
	for row := range c.rows {
		at := make([]float64, len(rows[row]))
		for i, m := range rows[row] {
			at[i] = c.x(m.step.At)
		}
		spread(at)
		for i, m := range rows[row] {
			c.marker(m, at[i], row)
		}
	}
}

// spread moves places that ascend apart, so that all can be read and none leaves the chart: to the right first, and back from
// the chart's end where there is no room. Only where more stand in a row than it has room for do they come closer.
func spread(at []float64) {
	if len(at) == 0 {
		return
	}
	gap := min(24, (chartRight-chartLeft)/float64(len(at)))
	for i := 1; i < len(at); i++ {
		at[i] = max(at[i], at[i-1]+gap)
	}
	end := chartRight + 6
	for i := len(at) - 1; i >= 0; i-- {
		at[i] = min(at[i], end)
		end = at[i] - gap
	}
}

// marker draws one number.
func (c *chart) marker(m numbered, x float64, row int) {
	ink := map[string]string{"weak": inkWeak, "lost": inkLost, "open": inkOpen}[m.step.Tone]
	if ink == "" {
		ink = inkMain
	}
	fmt.Fprintf(c, `<circle cx="%.1f" cy="%.1f" r="10.5" fill="%s"/><text x="%.1f" y="%.1f" class="n" text-anchor="middle">%d</text>`,
		x, c.y(row)-21, ink, x, c.y(row)-16.4, m.no)
}

// legName is what stands for a leg.
func legName(w *words, l *exposure.LegPart) string { return whoName(w, l.Who, l.Leg) }

func whoName(w *words, who exposure.Who, leg string) string {
	switch {
	case who.Name != "":
		return who.Name
	case who.Person != "":
		return string(who.Person)
	case len(who.Device) >= 8:
		return w.say("name_device") + " " + who.Device[:8]
	case len(leg) >= 6:
		return w.say("nobody_known") + " (" + leg[:6] + ")"
	}
	return w.say("nobody_known")
}

func legNote(w *words, l *exposure.LegPart) string {
	if l.Unit != "" {
		return l.Unit
	}
	if n := len(l.Lines); n > 0 && l.Lines[n-1].Grade <= conclave.GradeHop {
		return w.say("phone_caller")
	}
	return ""
}

// clip shortens text that would run into the chart.
func clip(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return strings.TrimSpace(string(runes[:limit-1])) + "…"
}
