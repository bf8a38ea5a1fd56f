package admission

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"conclave"
)

// showWays prints ways as "grade open→sealed (fix) + …; …".
func showWays(ways [][]Change) string {
	var out []string
	for _, way := range ways {
		var one []string
		for _, c := range way {
			one = append(one, fmt.Sprintf("%s %s→%s (%s)", c.Fact, c.From, c.To, strings.Join(c.Fixes, ", ")))
		}
		out = append(out, strings.Join(one, " + "))
	}
	return strings.Join(out, "; ")
}

func TestWhatIfNamesTheSmallestWayIn(t *testing.T) {
	p := Default()
	for name, c := range map[string]struct {
		change func(r *Request)
		want   string
	}{
		"admitted as it is":     {func(r *Request) {}, ""},
		"a phone at RESTRICTED": {func(r *Request) { r.Grade = conclave.GradeOpen }, "grade open→sealed (use_enrolled_device, wait_for_chair)"},
		"let in on a phone":     {func(r *Request) { r.Grade, r.LetIn = conclave.GradeOpen, true }, "grade open→sealed (use_enrolled_device)"},
		"a guest at RESTRICTED": {func(r *Request) { r.Assurance = conclave.AssuranceGuest }, "assurance guest→software (enrol_device, wait_for_chair)"},
		"not invited":           {func(r *Request) { r.Invited = false }, "invited no→yes (ask_chair_for_invitation)"},
		"an old statement":      {func(r *Request) { r.Statement = StatementExpired }, "statement expired→valid (renew_enrolment)"},
		"removed":               {func(r *Request) { r.Person.Known, r.Person.Removed = false, true }, "person removed→known (ask_administrator, ask_chair_for_invitation)"},
		"too early":             {func(r *Request) { r.Meeting.From = now.Add(time.Hour) }, "state early→running (come_later)"},
		"the chair's door":      {func(r *Request) { r.Meeting.Door = DoorChair }, "let_in no→yes (wait_for_chair)"},
		"not alone":             {func(r *Request) { r.Facts = append(r.Facts, conclave.Fact{Name: "alone", Value: "no"}) }, "let_in no→yes (wait_for_chair); claimed alone no→ (wait_for_chair)"},
		"a guest at INTERNAL":   {func(r *Request) { r.Meeting.Level, r.Assurance = 1, conclave.AssuranceGuest }, "assurance guest→software (wait_for_chair); let_in no→yes (wait_for_chair)"},
		"CONFIDENTIAL by radio": {func(r *Request) {
			*r = confidential(r)
			r.Facts = append(r.Facts, conclave.Fact{Name: "radio", Value: "yes"})
		}, "claimed radio yes→ (use_wired_headset)"},
		"CONFIDENTIAL, no TLS":    {func(r *Request) { *r = confidential(r); r.Facts[0].Value = "this machine" }, "proven transport this machine→tls (use_https)"},
		"CONFIDENTIAL in a hotel": {func(r *Request) { *r = confidential(r); r.Grade, r.LetIn = conclave.GradeSealed, false }, "grade sealed→guarded (use_approved_network) + let_in no→yes (wait_for_chair); let_in no→yes (wait_for_chair) + excepted no→yes (ask_for_exception)"},
		"nobody there":            {func(r *Request) { *r = confidential(r); r.Facts[1].Value = "none" }, "assurance software→managed (confirm_with_passkey); proven assertion none→fresh (confirm_with_passkey)"},
		"through Tor": {func(r *Request) {
			r.Facts = append(r.Facts, conclave.Fact{Name: "operator", Value: "tor", Proven: true})
		}, "proven operator tor→isp (use_usual_network); excepted no→yes (ask_for_exception)"},
		"an unseen trip": {func(r *Request) {
			r.Facts = append(r.Facts, conclave.Fact{Name: "travel", Value: "unannounced", Proven: true}, conclave.Fact{Name: "risk", Value: "raised", Proven: true})
		}, "let_in no→yes (wait_for_chair) + proven travel unannounced→none (announce_trip); let_in no→yes (wait_for_chair) + proven risk raised→normal (announce_trip); " +
			"let_in no→yes (wait_for_chair) + excepted no→yes (ask_for_exception); proven travel unannounced→none (wait_for_chair) + proven risk raised→normal (wait_for_chair)"},
		"nothing at all at CONFIDENTIAL": {func(r *Request) { *r = Request{Meeting: Meeting{Level: 3, Ended: true}} },
			"statement invalid→valid (statement…"},
		"a request that breaks its limits": {func(r *Request) { r.Grade = 9 }, ""},
	} {
		req := good()
		c.change(&req)
		ways := p.WhatIf(req, now)
		if strings.HasSuffix(c.want, "…") {
			if len(ways) != 1 || len(ways[0]) != 8 {
				t.Errorf("%s: got %s", name, showWays(ways))
			}
			continue
		}
		if got := showWays(ways); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

// confidential is r as it would be admitted at CONFIDENTIAL.
func confidential(r *Request) Request {
	out := *r
	out.Meeting.Level, out.Grade, out.LetIn = 3, conclave.GradeGuarded, true
	out.Facts = []conclave.Fact{{Name: "transport", Value: "tls", Proven: true}, {Name: "assertion", Value: "fresh", Proven: true}}
	return out
}

// Whatever is asked of the default policy, there is a way in, each way admits, and nothing of it can be left out.
func TestEveryWayOfWhatIfIsOne(t *testing.T) {
	p := Default()
	n := 0
	enumerate(len(p.levels), func(*Request) {}, func(r Request) {
		if n++; n%211 != 0 { // a prime: all combinations of neighbours come up
			return
		}
		ways := p.WhatIf(r, now)
		if (len(ways) == 0) != (p.Rule(r, now).Outcome == conclave.Admit) {
			t.Errorf("%+v: %s", r, showWays(ways))
		}
		s := search{p: p, req: r, now: now, steps: p.steps(&r, now)}
		for _, way := range ways {
			var set []int
			for _, c := range way {
				if len(c.Fixes) == 0 || c.Fixes[0] == failed.Fix && c.Fact != "person" {
					t.Errorf("%+v: %s has no fix", r, showWays(ways))
				}
				for i, step := range s.steps {
					if step.fact == c.Fact && step.to == c.To {
						set = append(set, i)
					}
				}
			}
			if len(set) != len(way) || !s.admits(set) {
				t.Errorf("%+v: %s does not let in", r, showWays(ways))
			}
			for i := range set {
				if s.admits(append(append([]int(nil), set[:i]...), set[i+1:]...)) {
					t.Errorf("%+v: %s is more than is needed", r, showWays(ways))
				}
			}
		}
	})
}

// Facts that only this organisation's policy speaks of are found in it; where nothing helps, nothing is said.
func TestWhatIfReadsThePolicysOwnFacts(t *testing.T) {
	const permit = "permit (principal, action, resource);\n@reason(\"a\") @fix(\"go_there\")\nforbid (principal, action == Action::\"join\", resource) "
	for condition, want := range map[string]string{
		`unless { context.proven.hasTag("network") && ["headquarters"].contains(context.proven.getTag("network")) };`:                                          "",
		`unless { context.proven.hasTag("network") && context.proven.getTag("network") == "headquarters" };`:                                                   "proven network unlisted→headquarters (go_there)",
		`when { context.proven.hasTag("network") && context.proven.getTag("network") == "unlisted" };`:                                                         "proven network unlisted→ (go_there)",
		`unless { context.proven.hasTag("phone_line") && (context.proven.getTag("phone_line") == "bonn" || "paris" == context.proven.getTag("phone_line")) };`: "proven phone_line →bonn (go_there); proven phone_line →paris (go_there)",
		`when { principal.unit == "" };`: "",
	} {
		p, err := Load([]byte(permit+condition), DefaultLevels())
		if err != nil {
			t.Fatal(err)
		}
		if got := showWays(p.WhatIf(good(), now)); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", condition, got, want)
		}
	}
}

// The longest search: nothing helps, with as many steps as are looked at.
func TestWhatIfIsBounded(t *testing.T) {
	source := "permit (principal, action, resource);\n@reason(\"a\") @fix(\"b\") forbid (principal, action, resource);\n"
	for i := range 40 {
		source += fmt.Sprintf("@reason(\"a\") @fix(\"b\") forbid (principal, action, resource) unless { context.proven.hasTag(\"network\") && context.proven.getTag(\"network\") == \"%d\" };\n", i)
	}
	p, err := Load([]byte(source), DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	req := Request{Facts: []conclave.Fact{{Name: "radio", Value: "yes"}}}
	if steps := p.steps(&req, now); len(steps) != maxSteps {
		t.Errorf("%d steps", len(steps))
	}
	if ways := p.WhatIf(req, now); len(ways) > 0 {
		t.Errorf("got %s", showWays(ways))
	}
}

func TestExplainTellsOfLaterQuestionsToo(t *testing.T) {
	req := good()
	req.Invited, req.Grade, req.Meeting.Door = false, conclave.GradeOpen, DoorChair
	ruling, matches := Default().Explain(req, now)
	var got []string
	for _, m := range matches {
		got = append(got, m.Question+" "+m.Rule.Reason.Code)
		if m.Rule.Line == 0 || !strings.HasPrefix(m.Rule.Text, "forbid (") || strings.Contains(m.Rule.Text, "@") || !strings.HasSuffix(m.Rule.Text, ";") {
			t.Errorf("line %d: %q", m.Rule.Line, m.Rule.Text)
		}
	}
	if show(ruling) != "refuse; not_invited → ask_chair_for_invitation" ||
		strings.Join(got, ", ") != "ask not_invited, join line_too_weak, join line_too_weak, walk_in chair_decides, walk_in chair_decides" {
		t.Errorf("got %s, %v", show(ruling), got)
	}
}
