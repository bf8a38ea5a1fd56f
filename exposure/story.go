package exposure

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave"
	"conclave/audit"
)

// Step is one step of what happened, told by its code and arguments.
type Step struct {
	At   time.Time `json:"at"`
	Code string    `json:"code"`
	Tone string    `json:"tone"` // "plain", "weak", "lost", "open"
	Who
	Leg     string            `json:"leg,omitempty"`
	By      string            `json:"by,omitempty"` // a name
	Args    map[string]string `json:"args,omitempty"`
	Codes   []string          `json:"codes,omitempty"` // problems
	Facts   []conclave.Fact   `json:"facts,omitempty"` // that are new
	Records []audit.Index     `json:"records"`
	weight  int               // what is left out first where there are too many: the least
}

// maxSteps is what a page can show and a person read.
const maxSteps = 24

// The weights of steps.
const (
	weightDetail = iota
	weightCame
	weightActed
	weightLine
)

// acts says how kinds of records are told.
var acts = map[audit.Kind]struct {
	code, tone string
	weight     int
}{
	audit.KindEnter:          {"entered", "plain", weightCame},
	audit.KindLeave:          {"left", "plain", weightCame},
	audit.KindRemoval:        {"put_out", "plain", weightActed},
	audit.KindRemovalOverdue: {"removal_overdue", "lost", weightLine},
	audit.KindLost:           {"lost", "lost", weightDetail},
	audit.KindResumed:        {"resumed", "plain", weightDetail},
	audit.KindQuarantine:     {"quarantined", "lost", weightLine},
	audit.KindHealed:         {"healed", "plain", weightLine},
	audit.KindCommitRefused:  {"commit_refused", "lost", weightActed},
	audit.KindLevelRaised:    {"level_raised", "plain", weightActed},
	audit.KindPolicyChanged:  {"policy_changed", "plain", weightActed},
	audit.KindPaused:         {"paused", "plain", weightActed},
	audit.KindContinued:      {"continued", "plain", weightActed},
	audit.KindAllMuted:       {"all_muted", "plain", weightActed},
	audit.KindDoor:           {"door_closed", "plain", weightActed},
	audit.KindChair:          {"chair_given", "plain", weightActed},
	audit.KindShown:          {"shown", "plain", weightDetail},
	audit.KindCall:           {"called", "open", weightActed},
}

// steps tells what happened, in order.
func steps(t *Timeline, found []Exposed, o *Options) []Step {
	var out []Step
	names := map[conclave.LegID]Who{}
	for _, l := range t.Legs {
		names[l.ID] = o.Who(l)
	}
	exposedLeg := map[conclave.LegID]bool{}
	for i := range found {
		e := &found[i]
		exposedLeg[e.Leg.ID] = true
		out = append(out, o.exposedStep(e, names[e.Leg.ID]))
	}
	for _, a := range t.Acts {
		about, ok := acts[a.Kind]
		if !ok || a.Outcome == "wait" || a.Kind == audit.KindChair && a.Outcome == "refuse" {
			continue
		}
		s := Step{At: a.At, Code: about.code, Tone: about.tone, Codes: a.Codes, Records: []audit.Index{a.Record}, weight: about.weight}
		if l := t.Leg(a.Leg); l != nil {
			s.Who, s.Leg = names[a.Leg], a.Leg.Text()
			if len(l.Stays) == 0 && a.Kind != audit.KindCall {
				continue // never came in
			}
		}
		if l := t.Leg(a.By); l != nil {
			s.By = display(names[a.By], l)
		}
		switch a.Kind {
		case audit.KindLevelRaised, audit.KindPolicyChanged:
			if a.Outcome != "done" && a.Kind == audit.KindLevelRaised {
				continue
			}
			if a.Level != nil {
				s.Args = map[string]string{"level": o.Level(*a.Level)}
			}
		case audit.KindDoor:
			if a.Outcome != "closed" {
				s.Code = "door_opened"
			}
		case audit.KindChair:
			if a.Outcome != "done" {
				s.Code = "chair_back"
			}
		case audit.KindShown:
			if a.Outcome != "screen" {
				s.Code = "shown_off"
			}
		case audit.KindLeave, audit.KindRemoval, audit.KindQuarantine:
			s.Codes = nil
			after, record := keyless(t, a)
			if record != 0 {
				s.Args = map[string]string{"after": after}
				s.Records = append(s.Records, record)
			}
			if exposedLeg[a.Leg] {
				s.weight = weightLine
			}
		case audit.KindEnter:
			if exposedLeg[a.Leg] {
				s.weight = weightActed
			}
			if slices.ContainsFunc(found, func(e Exposed) bool { return e.Leg.ID == a.Leg && e.From.Equal(a.At) }) {
				continue // told with its exposure
			}
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b Step) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Records[0], b.Records[0]))
	})
	return fewer(out)
}

// keyless says how long after a leg's media were cut its keys were void, in seconds, and in which record that stands; 0 if it
// never came to that.
func keyless(t *Timeline, a Act) (string, audit.Index) {
	for _, m := range t.Leg(a.Leg).Stays {
		if m.Cut.Equal(a.At) && m.Records[1] != 0 {
			return strconv.FormatFloat(m.Until.Sub(m.Cut).Seconds(), 'f', 2, 64), m.Records[1]
		}
	}
	return "", 0
}

func (o *Options) exposedStep(e *Exposed, who Who) Step {
	s := Step{At: e.From, Code: "exposed_" + string(e.Causes[0]), Tone: "weak", Who: who, Leg: e.Leg.ID.Text(), Codes: e.Codes,
		Args:    map[string]string{"ms": strconv.FormatInt(e.To.Sub(e.From).Milliseconds(), 10), "grade": e.Line.grade(), "level": o.Level(e.Level)},
		Records: slices.Clone(e.Records), weight: weightLine}
	if len(s.Records) == 0 {
		s.Records = []audit.Index{0}
	}
	switch e.Causes[0] {
	case CauseOpen, CauseHop:
		s.Tone = "open"
	}
	if len(e.Suspects) > 0 {
		s.Args["suspect"] = o.Suspicions[e.Suspects[0]].Text
	}
	s.Facts = e.Leg.changed(e.Line)
	return s
}

func (n *Line) grade() string {
	if n == nil {
		return conclave.GradeOpen.String()
	}
	return n.Grade.String()
}

// changed returns the facts in which a line differs from the one before it.
func (l *Leg) changed(n *Line) []conclave.Fact {
	for i := 1; i < len(l.Lines) && n != nil; i++ {
		if &l.Lines[i] == n {
			return slices.DeleteFunc(slices.Clone(n.Facts), func(f conclave.Fact) bool { return slices.Contains(l.Lines[i-1].Facts, f) })
		}
	}
	return nil
}

// fewer leaves out what weighs least until the steps fit.
func fewer(list []Step) []Step {
	for weight := weightDetail; weight < weightLine && len(list) > maxSteps; weight++ {
		list = slices.DeleteFunc(list, func(s Step) bool { return s.weight == weight })
	}
	if len(list) > 3*maxSteps {
		list = list[:3*maxSteps]
	}
	return list
}

// weigh holds the explanations against the records.
func weigh(t *Timeline, found []Exposed) []Weighed {
	verdict := func(seen bool, otherwise string) string {
		if seen {
			return "seen"
		}
		return otherwise
	}
	stays, slowest := 0, time.Duration(0)
	for _, l := range t.Legs {
		stays += len(l.Stays)
		for _, m := range l.Stays {
			if !m.Cut.IsZero() && m.Last != 0 {
				slowest = max(slowest, m.Until.Sub(m.Cut))
			}
		}
	}
	lineFits := "no_sign"
	for i := range found {
		if !slices.Contains(found[i].Causes, CauseStranger) {
			lineFits = "fits"
		}
	}
	n := strconv.Itoa
	return []Weighed{
		{"line", lineFits, map[string]string{"spans": n(len(found))}},
		{"stranger", verdict(len(t.Strangers) > 0, "ruled_out"), map[string]string{"stays": n(stays), "strangers": n(len(t.Strangers))}},
		{"late_keys", verdict(t.Overdue > 0, "no_sign"), map[string]string{"overdue": n(t.Overdue), "slowest": strconv.FormatFloat(slowest.Seconds(), 'f', 2, 64)}},
		{"forged", verdict(t.BadCommits > 0, "no_sign"), map[string]string{"commits": n(t.BadCommits)}},
		{"clock", verdict(t.ClockSet, "no_sign"), nil},
	}
}

// limits lists what nobody can tell from these records.
func limits(t *Timeline, found []Exposed, r *Report) []Limit {
	out := []Limit{{Code: "content"}, {Code: "room"}}
	phone, earliest := false, false
	for i := range found {
		phone = phone || slices.Contains(found[i].Causes, CauseOpen) || slices.Contains(found[i].Causes, CauseHop)
		earliest = earliest || !found[i].Earliest.IsZero() && found[i].Earliest.Before(found[i].From)
	}
	if phone {
		out = append(out, Limit{Code: "handset"})
	}
	if earliest {
		out = append(out, Limit{Code: "earliest"})
	}
	switch r.Ledger.State {
	case "none":
		out = append(out, Limit{Code: "ledger_none"})
	case "sealed":
		out = append(out, Limit{Code: "ledger_sealed"})
	case "opened":
		out = append(out, Limit{Code: "ledger_own_word"})
		var gaps []string
		for _, l := range r.Legs {
			if len(l.Stays) > 0 && l.Ledger != "whole" {
				gaps = append(gaps, cmp.Or(l.Name, string(l.Person), l.Leg))
			}
		}
		if len(gaps) > 0 {
			out = append(out, Limit{Code: "ledger_gaps", Args: map[string]string{"names": strings.Join(gaps, ", ")}})
		}
		if r.Ledger.Deleted > 0 {
			out = append(out, Limit{Code: "ledger_deleted", Args: map[string]string{"blocks": strconv.Itoa(r.Ledger.Deleted)}})
		}
		if len(r.Ledger.Missing) > 0 || r.Ledger.Shut > 0 || r.Ledger.Extra > 0 {
			out = append(out, Limit{Code: "ledger_damaged", Args: map[string]string{"missing": strconv.Itoa(len(r.Ledger.Missing)),
				"shut": strconv.Itoa(r.Ledger.Shut), "extra": strconv.Itoa(r.Ledger.Extra)}})
		}
	}
	out = append(out, Limit{Code: "claims"})
	if r.Log.Erased > 0 {
		out = append(out, Limit{Code: "erased", Args: map[string]string{"records": strconv.Itoa(r.Log.Erased)}})
	}
	if !r.Log.Verified {
		out = append(out, Limit{Code: "unverified"})
	}
	if r.Running {
		out = append(out, Limit{Code: "running"})
	}
	if t.ClockSet {
		out = append(out, Limit{Code: "clock"})
	}
	return out
}
