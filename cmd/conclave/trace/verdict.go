package trace

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/watermark"
)

// Outcome is what a search comes to.
type Outcome string

// The outcomes, and what they mean to a program.
const (
	Named        Outcome = "named"        // one or more legs, each with a bound below the threshold
	Inconclusive Outcome = "inconclusive" // there is a mark of ours, but too little of it, or of a leg whose key is not here
	NoMark       Outcome = "no_mark"      // no mark of this organisation was found
)

// Verdict is a search's result, as --json prints it and the page shows it.
type Verdict struct {
	Outcome    Outcome   `json:"outcome"`
	Sentence   string    `json:"sentence"`
	File       File      `json:"file"`
	Searched   time.Time `json:"searched"`
	Named      []Leg     `json:"named"`
	Others     []Leg     `json:"others"` // the likeliest of the rest
	Threshold  float64   `json:"threshold"`
	Sync       float64   `json:"sync_log10_probability"` // that a recording without a mark would fit the sync key so well
	Tried      Tried     `json:"tried"`
	Dropped    int       `json:"marks_dropped"` // sealed keys that did not open, or whose commitment is not in the log
	Reason     string    `json:"reason"`
	Recorded   []Opening `json:"recorded"` // where the opening of the keys stands in the log
	Unrecorded bool      `json:"unrecorded,omitempty"`
}

// File says which recording it was.
type File struct {
	Name    string  `json:"name"`
	SHA256  string  `json:"sha256"`
	Seconds float64 `json:"seconds"` // that could be read
	ReadBy  string  `json:"read_by"`
	Channel string  `json:"channel,omitempty"` // which of several that differ
	Damaged bool    `json:"damaged,omitempty"` // there is more in the file, which cannot be read
}

// Opening is the record of an investigation.
type Opening struct {
	Meeting conclave.MeetingID `json:"meeting"`
	Record  audit.Index        `json:"record"`
}

// Leg is a leg that was found, or looked likest.
type Leg struct {
	Meeting conclave.MeetingID `json:"meeting"`
	Title   string             `json:"title"`
	Leg     conclave.LegID     `json:"leg"`
	Person  conclave.PersonID  `json:"person,omitempty"`
	Name    string             `json:"name,omitempty"`
	Device  conclave.DeviceID  `json:"device,omitzero"`
	Grade   string             `json:"grade,omitempty"`
	Line    []conclave.Fact    `json:"line,omitempty"`
	Record  audit.Index        `json:"mark_record"`
	Bound   float64            `json:"log10_probability"` // of naming an innocent leg as surely, over all that was tried
	Pieces  []Piece            `json:"pieces"`
}

// Piece is a part of the recording that a leg's mark was read in.
type Piece struct {
	From    float64   `json:"from_s"` // in the recording
	To      float64   `json:"to_s"`
	Heard   time.Time `json:"heard"` // when the leg played it, about
	Speed   float64   `json:"speed"`
	Pitch   float64   `json:"pitch"`
	Trend   []float64 `json:"score_per_5_s"`
	Minutes [2]int    `json:"leg_minutes"` // since the leg began to mark
}

// Tried counts what was tried: all of it is in the bound.
type Tried struct {
	Legs       int  `json:"legs"`
	Meetings   int  `json:"meetings"`
	Windows    int  `json:"windows"`
	Alignments int  `json:"alignments"`
	Followed   int  `json:"alignments_followed"`
	Positions  int  `json:"positions_of_a_leg"`
	Scores     int  `json:"scores"`
	Wide       bool `json:"speeds_up_to_6_percent"`
	Far        bool `json:"pitches_and_tempos_up_to_30_percent"`
}

// Hash returns a file's SHA-256, in hex.
func Hash(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("trace: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("trace: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Judge words what a search found among legs.
func Judge(r *watermark.Result, legs []Opened, file File, now time.Time) *Verdict {
	v := &Verdict{File: file, Searched: now.UTC(), Threshold: 1e-6, Sync: r.SyncLogP / math.Ln10, Named: []Leg{}, Others: []Leg{}}
	meetings := make(map[conclave.MeetingID]bool)
	for _, l := range legs {
		meetings[l.Meeting] = true
	}
	t := r.Tried
	v.Tried = Tried{Legs: t.Suspects, Meetings: len(meetings), Windows: t.Windows, Alignments: t.Alignments, Followed: t.Followed, Positions: t.Positions, Scores: t.Scores, Wide: t.Wide, Far: t.Far}
	for _, f := range r.Named {
		v.Named = append(v.Named, legOf(&f, &legs[f.Suspect]))
	}
	for _, f := range r.Others {
		v.Others = append(v.Others, legOf(&f, &legs[f.Suspect]))
	}
	switch {
	case len(v.Named) > 0:
		v.Outcome = Named
	case r.Marked():
		v.Outcome = Inconclusive
	default:
		v.Outcome = NoMark
	}
	v.Sentence = v.sentence()
	return v
}

func legOf(f *watermark.Finding, l *Opened) Leg {
	leg := Leg{Meeting: l.Meeting, Title: l.Title, Leg: l.Leg, Person: l.Person, Name: l.Name, Device: l.Device, Line: l.Facts, Record: l.Mark.Record, Bound: f.LogP / math.Ln10}
	if l.Grade != nil {
		leg.Grade = l.Grade.String()
	}
	for _, p := range f.Pieces {
		last := p.Began + time.Duration(float64(p.To-p.From)*p.Speed)
		leg.Pieces = append(leg.Pieces, Piece{From: p.From.Seconds(), To: p.To.Seconds(), Heard: l.Time.Add(p.Began).UTC(), Speed: p.Speed, Pitch: p.Pitch, Trend: p.Trend,
			Minutes: [2]int{int(p.Began / time.Minute), int(last / time.Minute)}})
	}
	slices.SortFunc(leg.Pieces, func(a, b Piece) int { return cmp.Compare(a.From, b.From) })
	return leg
}

// Who names the leg for people.
func (l *Leg) Who() string {
	switch {
	case l.Name != "":
		return l.Name
	case l.Person != "":
		return string(l.Person)
	case l.Device != (conclave.DeviceID{}):
		return "an unknown person on device " + l.Device.Text()[:8]
	}
	return "leg " + l.Leg.Text() + ", whose person was erased from the record"
}

// Odds words the bound.
func (l *Leg) Odds() string { return odds(l.Bound) }

// odds words a probability given as its decimal logarithm.
func odds(log float64) string {
	switch {
	case log > -1:
		return "no small one"
	case log > math.Log10(watermark.Shown):
		return fmt.Sprintf("at most 1 in %.0f", math.Pow(10, -log))
	}
	// No more than was shown by trying is claimed; the rest is arithmetic, and rests on the code's bits being coins.
	return fmt.Sprintf("below 1 in %.0f, as far as trials have shown (by arithmetic 10^%.0f)", math.Floor(1/watermark.Shown), math.Ceil(max(log, -300)))
}

// Span words when in the meeting a leg played what was recorded.
func (l *Leg) Span() string {
	if len(l.Pieces) == 0 {
		return ""
	}
	first, last, from, to := l.Pieces[0].Heard, l.Pieces[0].Heard, l.Pieces[0].Minutes[0], l.Pieces[0].Minutes[1]
	for _, p := range l.Pieces {
		end := p.Heard.Add(time.Duration((p.To - p.From) * p.Speed * float64(time.Second)))
		if p.Heard.Before(first) {
			first = p.Heard
		}
		if end.After(last) {
			last = end
		}
		from, to = min(from, p.Minutes[0]), max(to, p.Minutes[1])
	}
	minutes := fmt.Sprintf("from minute %d to %d of that leg", from, to)
	if first.Format(time.DateOnly) == last.Format(time.DateOnly) {
		return fmt.Sprintf("on %s from %s to %s UTC, %s", first.Format("2 January 2006"), first.Format("15:04:05"), last.Format("15:04:05"), minutes)
	}
	return fmt.Sprintf("from %s to %s UTC, %s", first.Format("2 January 2006 15:04:05"), last.Format("2 January 2006 15:04:05"), minutes)
}

// Device8 is the beginning of the device's number, by which it is told apart.
func (l *Leg) Device8() string {
	if l.Device == (conclave.DeviceID{}) {
		return "unknown"
	}
	return l.Device.Text()[:8]
}

// Where words the line that the leg was on.
func (l *Leg) Where() string {
	var parts []string
	if l.Grade != "" {
		parts = append(parts, "grade "+l.Grade)
	}
	for _, f := range l.Line {
		if slices.Contains([]string{"network", "country", "operator"}, f.Name) && f.Value != "" {
			parts = append(parts, f.Name+" "+f.Value)
		}
	}
	if len(parts) == 0 {
		return "not recorded"
	}
	return strings.Join(parts, ", ")
}

func (v *Verdict) sentence() string {
	switch v.Outcome {
	case Named:
		var parts []string
		for i := range v.Named {
			l := &v.Named[i]
			parts = append(parts, fmt.Sprintf("%s (device %s, line: %s) in %q, %s", l.Who(), l.Device8(), l.Where(), l.Title, l.Span()))
		}
		worst := v.Named[len(v.Named)-1].Odds()
		if len(parts) == 1 {
			return fmt.Sprintf("This was recorded from what was played to %s; the probability of naming an innocent leg so is %s.", parts[0], worst)
		}
		return fmt.Sprintf("The marks of %d legs are in this recording: %s; it was put together from what was played to each, or what one's loudspeaker played was heard by a microphone and recorded by another; the probability of naming an innocent leg so is %s for each.",
			len(parts), strings.Join(parts, "; and "), worst)
	case Inconclusive:
		return "Inconclusive: the recording has a mark of this organisation, but none of the legs that were searched can be named with certainty; nobody may be accused on this."
	}
	return fmt.Sprintf("No mark of ours: nothing in the recording fits the organisation's key (%d legs were searched); it was not played to a leg that marks, or too little of it is left.", v.Tried.Legs)
}

// Digest is SHA-256 over the verdict as it is written, by which the record holds it.
func (v *Verdict) Digest() ([]byte, [sha256.Size]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, [sha256.Size]byte{}, err
	}
	b = append(b, '\n')
	return b, sha256.Sum256(b), nil
}
