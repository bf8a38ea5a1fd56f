package trace

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"

	"conclave/audit"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"clock": clock, "odds": odds, "percent": func(x float64) string { return fmt.Sprintf("%+.2f %%", (x-1)*100) },
	"inc": func(n int) int { return n + 1 }, "thousands": thousands,
}).Parse(pageText))

// clock words seconds of a recording.
func clock(s float64) string {
	n := int(math.Round(s))
	if n >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", n/3600, n/60%60, n%60)
	}
	return fmt.Sprintf("%d:%02d", n/60, n%60)
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// view is what the page shows.
type view struct {
	*Verdict
	Digest string
	Seal   audit.Index // the record of this result; 0 where there is none
	Charts []chart
}

// Title is the page's first line.
func (v *view) Title() string {
	switch v.Outcome {
	case Named:
		if len(v.Named) == 1 {
			return "This was played to " + v.Named[0].Who()
		}
		return fmt.Sprintf("This was played to %d legs", len(v.Named))
	case Inconclusive:
		return "There is a mark, but nobody can be named"
	}
	return "No mark of ours"
}

// chart is a leg's score over the time of the recording.
type chart struct {
	Leg   *Leg
	Named bool
	Bars  []bar
	Ticks []tick
	Alarm float64 // the height of what chance hardly reaches
}

type bar struct{ X, Y, W, H float64 }

type tick struct {
	X    float64
	Text string
}

const (
	chartWidth  = 1000.0
	chartHeight = 120.0
)

// draw lays out a leg's score: one bar for each 5 seconds, as tall as it is sure. By chance a bar is hardly taller than 3.
func draw(l *Leg, named bool, seconds float64) chart {
	c := chart{Leg: l, Named: named}
	tallest := 8.0
	for _, p := range l.Pieces {
		for _, z := range p.Trend {
			tallest = max(tallest, z)
		}
	}
	scale := chartHeight / tallest
	c.Alarm = chartHeight - 3*scale
	for _, p := range l.Pieces {
		step := (p.To - p.From) / float64(max(len(p.Trend), 1))
		for i, z := range p.Trend {
			h := max(z, 0) * scale
			c.Bars = append(c.Bars, bar{X: (p.From + float64(i)*step) / seconds * chartWidth, Y: chartHeight - h, W: max(step/seconds*chartWidth*0.9, 0.6), H: h})
		}
	}
	for i := range 9 {
		c.Ticks = append(c.Ticks, tick{X: float64(i) / 8 * chartWidth, Text: clock(seconds * float64(i) / 8)})
	}
	return c
}

// Page writes the report's page: one file, without anything fetched from elsewhere, fit for paper. seal is the record of the
// result, 0 for none.
func (v *Verdict) Page(w io.Writer, seal audit.Index) error {
	_, digest, err := v.Digest()
	if err != nil {
		return err
	}
	p := &view{Verdict: v, Digest: fmt.Sprintf("%x", digest), Seal: seal}
	for i := range v.Named {
		p.Charts = append(p.Charts, draw(&v.Named[i], true, v.File.Seconds))
	}
	for i := range v.Others {
		if i < 2 && v.Outcome != NoMark {
			p.Charts = append(p.Charts, draw(&v.Others[i], false, v.File.Seconds))
		}
	}
	return page.Execute(w, p)
}
