package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"conclave"
	"conclave/admission"
)

// The verbs of a policy work on files alone: no server is asked, and none changes.

// levelsFlag adds --levels and returns where it goes.
func levelsFlag(f *flag.FlagSet) *string {
	var names []string
	for _, l := range admission.DefaultLevels() {
		names = append(names, l.Name)
	}
	return f.String("levels", strings.Join(names, ","), "the organisation's `levels`, the lowest first, with commas between")
}

func parseLevels(text string) admission.Levels {
	var out admission.Levels
	for name := range strings.SplitSeq(text, ",") {
		out = append(out, admission.LevelWords{Name: strings.TrimSpace(name)})
	}
	return out
}

// readPart reads a file, or so much of it that its reader sees that it is too long.
func readPart(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

func loadPolicy(path, levels string) (*admission.Policy, error) {
	source, err := readPart(path, admission.MaxPolicy)
	if err != nil {
		return nil, err
	}
	p, err := admission.Load(source, parseLevels(levels))
	if err != nil {
		return nil, errPolicy{fmt.Sprintf("%s: %s", path, mistake(err, "policy"))}
	}
	return p, nil
}

// errPolicy says what is wrong in a policy that could be read.
type errPolicy struct{ text string }

func (e errPolicy) Error() string { return e.text }

// mistake leaves of an error what the author of the file needs: "line 4: …".
func mistake(err error, of string) string {
	return strings.TrimLeft(strings.TrimPrefix(err.Error(), "admission: parse "+of), " :")
}

type checkOptions struct {
	levels *string
	strict bool
}

var policyCheck = command{
	name: "policy check", usage: "FILE [--levels A,B,…] [--strict]",
	about: "reads a policy as the server would, and warns of slips",
	flags: func(f *flag.FlagSet) any {
		o := &checkOptions{levels: levelsFlag(f)}
		f.BoolVar(&o.strict, "strict", false, "fail on warnings too")
		return o
	},
	run: func(_ context.Context, k *call) error {
		o := k.options.(*checkOptions)
		p, err := loadPolicy(k.args[0], *o.levels)
		var mistaken errPolicy
		if errors.As(err, &mistaken) { // what this verb looks for
			return codedError{exitFound, err}
		}
		if err != nil {
			return err
		}
		warnings := warnings(p)
		for _, w := range warnings {
			fmt.Fprintf(k.stdout, "%s: warning: %s\n", k.args[0], w)
		}
		fmt.Fprintf(k.stdout, "%s: %d rules over %s; hash %x\n", k.args[0], len(p.Rules()), strings.Join(levelNames(p), ", "), p.Hash())
		if o.strict && len(warnings) > 0 {
			return codedError{exitFound, fmt.Errorf("%s: %d warnings", k.args[0], len(warnings))}
		}
		return nil
	},
}

func levelNames(p *admission.Policy) (names []string) {
	for _, l := range p.Levels() {
		names = append(names, l.Name)
	}
	return names
}

// warnings says what is allowed, and most often a slip.
func warnings(p *admission.Policy) (out []string) {
	for _, r := range p.Rules() {
		if r.Permit {
			continue
		}
		if _, ok := wordings()[r.Reason.Code]; !ok {
			out = append(out, fmt.Sprintf("line %d: nobody has words for the reason %s", r.Line, r.Reason.Code))
		}
		if _, ok := wordings()["fix:"+r.Reason.Fix]; !ok {
			out = append(out, fmt.Sprintf("line %d: nobody has words for the fix %s", r.Line, r.Reason.Fix))
		}
	}
	for _, b := range p.Breaches() {
		out = append(out, fmt.Sprintf("%s, for instance: %s", b.Invariant, b.Example))
	}
	return out
}

var policyTest = command{
	name: "policy test", usage: "FILE CASES [--levels A,B,…]",
	about: "holds a policy against a table of cases",
	flags: func(f *flag.FlagSet) any { return levelsFlag(f) },
	run: func(_ context.Context, k *call) error {
		p, err := loadPolicy(k.args[0], *k.options.(*string))
		if err != nil {
			return err
		}
		table, err := readPart(k.args[1], admission.MaxCases)
		if err != nil {
			return err
		}
		cases, err := admission.ParseCases(table, p.Levels())
		if err != nil {
			return fmt.Errorf("%s: %s", k.args[1], mistake(err, "cases"))
		}
		failed := 0
		for i := range cases {
			if got, ok := p.Try(&cases[i]); !ok {
				failed++
				fmt.Fprintf(k.stdout, "%s: line %d: %s\n    expected %s\n    ruled    %s\n", k.args[1], cases[i].Line, cases[i].Name,
					cases[i].Want(), admission.RulingText(got))
			}
		}
		fmt.Fprintf(k.stdout, "%d cases, %d as expected\n", len(cases), len(cases)-failed)
		if failed > 0 {
			return codedError{exitFound, errors.New("the policy does not rule as the cases say")}
		}
		return nil
	},
}

// questionWords are in the order in which they are asked.
var questionWords = []struct{ name, words string }{
	{"ask", "May this person, with this device, ask about the meeting at all? If not, nothing is told of it."},
	{"join", "Are device and line good enough for what is being said? If not: refused, with all reasons."},
	{"walk_in", "May the person walk in? If not, they wait at the door until the chair decides."},
	{"share_screen", "May screens be shared while a line as weak as the weakest is in? If not, they are closed for all."},
	{"ring", "May a member see which of the invited are not there, and have them rung at the directory's number?"},
}

var policyExplain = command{
	name: "policy explain", usage: "FILE [--levels A,B,…]",
	about: "says in words what each rule of a policy does",
	flags: func(f *flag.FlagSet) any { return levelsFlag(f) },
	run: func(_ context.Context, k *call) error {
		p, err := loadPolicy(k.args[0], *k.options.(*string))
		if err != nil {
			return err
		}
		for i, q := range questionWords {
			fmt.Fprintf(k.stdout, "%d. %s: %s\n", i+1, q.name, q.words)
			for _, r := range p.Rules() {
				if slices.Contains(r.Questions, q.name) {
					explainRule(k.stdout, &r)
				}
			}
			fmt.Fprintln(k.stdout)
		}
		return nil
	},
}

func explainRule(w io.Writer, r *admission.Rule) {
	if r.Permit {
		fmt.Fprintf(w, "\n  line %d permits", r.Line)
	} else {
		fmt.Fprintf(w, "\n  line %d forbids: %s\n    told: %s %s", r.Line, r.Reason.Code, reasonWords(r.Reason.Code), fixWords(r.Reason.Fix))
		if r.Exception {
			fmt.Fprint(w, "\n    two persons may waive it for a leg, for minutes")
		}
	}
	fmt.Fprintln(w)
	for _, line := range append(strings.Split(r.Note, "\n"), strings.Split(r.Text, "\n")...) {
		if line != "" {
			fmt.Fprintf(w, "    | %s\n", line)
		}
	}
}

// reasonWords words the code of a reason.
func reasonWords(code string) string {
	if w, ok := wordings()[code]; ok {
		return w.sentence
	}
	return "(" + code + ")"
}

// fixWords words the code of a fix.
func fixWords(fix string) string {
	if w, ok := wordings()["fix:"+fix]; ok {
		return w.remedy
	}
	return "(" + fix + ")"
}

type whyOptions struct {
	policy string
	levels *string
	cells  map[string]*string
}

// whyDefaults are those of a request that RESTRICTED admits; a question then names what is different.
var whyDefaults = map[string]string{
	"grade": "sealed", "assurance": "software", "statement": "valid", "person": "known", "role": "invited", "let_in": "no", "excepted": "no",
	"door": "invited", "state": "running", "proven": "transport=tls",
}

var policyWhy = command{
	name: "policy why", usage: "[--policy FILE] [--level LEVEL] [--grade GRADE] [--role ROLE] …",
	about: "says how a policy rules on a request, why, and what would help",
	flags: func(f *flag.FlagSet) any {
		o := &whyOptions{levels: levelsFlag(f), cells: map[string]*string{}}
		f.StringVar(&o.policy, "policy", "", "the policy's `file`; without it, the one that Conclave comes with")
		for _, c := range admission.Columns {
			o.cells[c] = f.String(strings.ReplaceAll(c, "_", "-"), whyDefaults[c], whyUsage[c])
		}
		return o
	},
	run: func(_ context.Context, k *call) error {
		return why(k.stdout, k.options.(*whyOptions))
	},
}

// whyUsage words the columns of a case as flags.
var whyUsage = map[string]string{
	"level":     "the meeting's `level`; without it, the highest",
	"grade":     "the line's `grade`: open, hop, sealed or guarded",
	"assurance": "what vouches for the device: `guest`, software, hardware or managed",
	"statement": "the device's `statement`: invalid, expired or valid",
	"person":    "in the `directory`: unknown, known or removed",
	"role":      "`none`, invited or chair",
	"let_in":    "`yes` if the chair has let this one in",
	"excepted":  "`yes` if two persons have made an exception",
	"door":      "the meeting's `door`: chair or invited",
	"state":     "the meeting is `over`, early or running",
	"unit":      "the person's `unit`",
	"proven":    "`facts` that the server has checked: name=value, with commas between",
	"claimed":   "`facts` that the endpoint says: name=value, with commas between",
	"now":       "`time` of the request, as 2026-03-02T09:30:00Z",
}

func why(w io.Writer, o *whyOptions) error {
	var p *admission.Policy
	var err error
	if o.policy == "" {
		p, err = admission.Load(admission.DefaultPolicy(), parseLevels(*o.levels))
	} else {
		p, err = loadPolicy(o.policy, *o.levels)
	}
	if err != nil {
		return err
	}
	cells := map[string]string{}
	for column, cell := range o.cells {
		cells[column] = *cell
	}
	request, now, err := admission.ParseRequest(cells, p.Levels())
	if err != nil {
		return usageError{err.Error()}
	}
	ruling, matches := p.Explain(request, now)
	fmt.Fprintln(w, admission.RulingText(ruling))
	if len(matches) == 0 && ruling.Outcome != conclave.Admit {
		fmt.Fprintf(w, "  %s\n", join("", ruling.Reasons))
		return nil
	}
	for _, m := range matches {
		fmt.Fprintf(w, "  %-7s line %d: %s: %s\n", m.Question, m.Rule.Line, m.Rule.Reason.Code, reasonWords(m.Rule.Reason.Code))
	}
	if ruling.Outcome == conclave.Admit {
		return nil
	}
	ways := p.WhatIf(request, now)
	if len(ways) == 0 {
		fmt.Fprintln(w, "nothing that a person could change would let this request in")
		return nil
	}
	fmt.Fprintln(w, "what would let this request in:")
	for _, way := range ways {
		for i, c := range way {
			fmt.Fprintf(w, "  %s %s: %s → %s%s\n", []string{"-", "  and"}[min(i, 1)], c.Fact, orNone(c.From), orNone(c.To), fixesText(c.Fixes))
		}
	}
	return nil
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

func fixesText(fixes []string) (text string) {
	for _, fix := range fixes {
		text += "; " + fix + ": " + fixWords(fix)
	}
	return text
}

type defaultOptions struct {
	cases   bool
	without string
}

var policyDefault = command{
	name: "policy default", usage: "[--cases] [--without REASON,…]",
	about: "prints the policy that Conclave comes with, or its cases",
	flags: func(f *flag.FlagSet) any {
		o := new(defaultOptions)
		f.BoolVar(&o.cases, "cases", false, "the table of cases instead")
		f.StringVar(&o.without, "without", "", "leave out the rules of these `reasons`, with commas between")
		return o
	},
	run: func(_ context.Context, k *call) error {
		o := k.options.(*defaultOptions)
		text := admission.DefaultPolicy()
		switch {
		case o.cases && o.without != "":
			return usageError{"the cases are those of the whole policy"}
		case o.cases:
			text = admission.DefaultCases()
		case o.without != "":
			var err error
			if text, err = admission.Without(text, admission.DefaultLevels(), strings.Split(o.without, ",")...); err != nil {
				return usageError{strings.TrimPrefix(err.Error(), "admission: ")}
			}
		}
		_, err := k.stdout.Write(text)
		return err
	},
}
