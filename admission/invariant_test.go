package admission

import (
	"slices"
	"strings"
	"testing"

	"conclave"
)

// Every combination of the default policy is held against what must never be, whoever asks.
func TestTheDefaultPolicyKeepsItsInvariants(t *testing.T) {
	p := Default()
	for _, b := range p.Breaches() {
		t.Errorf("%s: %s", b.Invariant, b.Example)
	}
	restricted, _ := p.Levels().Find("RESTRICTED")
	confidential, _ := p.Levels().Find("CONFIDENTIAL")
	for _, transport := range []string{"tls", "this machine"} {
		n := 0
		facts := []conclave.Fact{{Name: "transport", Value: transport, Proven: true}}
		enumerate(len(p.levels), func(r *Request) { r.Facts = facts }, func(r Request) {
			n++
			got := p.Rule(r, caseTime)
			fail := func(what string) { t.Errorf("%s: %+v: %s", what, r, show(got)) }
			if (got.Outcome == conclave.Admit) != (len(got.Reasons) == 0) {
				fail("reasons and outcome do not fit")
			}
			for _, reason := range got.Reasons {
				if reason.Fix == "" || reason.Code == failed.Code {
					fail("no way out")
				}
			}
			if got.Outcome == conclave.Refuse {
				return
			}
			seen := r.Chair || r.LetIn
			switch level := r.Meeting.Level; {
			case level >= restricted && r.Grade < conclave.GradeSealed:
				fail("RESTRICTED on less than a sealed line")
			case level >= 1 && r.Grade == conclave.GradeOpen:
				fail("INTERNAL on an open line")
			case level >= confidential && (r.Grade < conclave.GradeGuarded || transport != "tls"):
				fail("CONFIDENTIAL beyond approved networks, or without TLS")
			case level >= restricted && r.Assurance == conclave.AssuranceGuest:
				fail("a guest at RESTRICTED")
			case !r.Person.Known || r.Person.Removed:
				fail("a stranger")
			case !r.Invited && !r.Chair:
				fail("not invited")
			case r.Statement != StatementValid:
				fail("without a statement")
			case r.Meeting.state(caseTime) != stateRunning:
				fail("into a meeting that does not run")
			case got.Outcome == conclave.Admit && !seen && (r.Meeting.Door == DoorChair || level >= confidential):
				fail("past the chair")
			case got.Outcome == conclave.Admit && !r.LetIn && (r.Assurance == conclave.AssuranceGuest || r.Grade < conclave.GradeSealed):
				fail("a guest or a phone that nobody let in")
			}
		})
		t.Logf("%d combinations", n)
	}
}

// Who has proven nothing is told the words for strangers, and all strangers of one kind are told the same.
func TestNobodyUnknownIsToldMoreThanNotInvited(t *testing.T) {
	p := Default()
	words := []string{"statement_invalid", "statement_expired", "person_removed", "person_unknown", "not_invited"}
	told := map[string]string{}
	enumerate(len(p.levels), func(*Request) {}, func(r Request) {
		if r.Statement != StatementInvalid && r.Person.Known && !r.Person.Removed {
			return
		}
		got := p.Rule(r, caseTime)
		if got.Outcome != conclave.Refuse || !slices.Contains(codesOf(got.Reasons), "not_invited") {
			t.Errorf("%+v: %s", r, show(got))
		}
		for _, code := range codesOf(got.Reasons) {
			if !slices.Contains(words, code) {
				t.Errorf("%+v is told %s", r, code)
			}
		}
		kind := r.Statement.String() + r.Person.word()
		if r.Person.Known {
			kind += " still known"
		}
		if first, ok := told[kind]; ok && first != show(got) {
			t.Errorf("%s: one is told %s, another %s", kind, first, show(got))
		}
		told[kind] = show(got)
	})
	if len(told) == 0 {
		t.Error("there were no strangers")
	}
}

// With any claims a ruling is at most as good as with none.
func TestAClaimLetsNobodyIn(t *testing.T) {
	p := Default()
	var claims [][]conclave.Fact
	for _, alone := range []string{"", "yes", "no", "perhaps"} {
		for _, radio := range []string{"", "yes", "no"} {
			var list []conclave.Fact
			for name, value := range map[string]string{"alone": alone, "radio": radio} {
				if value != "" {
					list = append(list, conclave.Fact{Name: name, Value: value})
				}
			}
			claims = append(claims, list, append(list, conclave.Fact{Name: "transport", Value: "tls"}, conclave.Fact{Name: "grade", Value: "guarded"}))
		}
	}
	stricter := 0
	for _, proven := range [][]conclave.Fact{nil, {{Name: "transport", Value: "tls", Proven: true}}} {
		enumerate(len(p.levels), func(r *Request) { r.Facts = proven }, func(r Request) {
			if r.Statement != StatementValid || !r.Person.Known || r.Person.Removed || r.Meeting.state(caseTime) != stateRunning || !r.Invited {
				return // refused before a claim counts: the test above
			}
			bare := p.Rule(r, caseTime)
			for _, list := range claims {
				r.Facts = slices.Concat(proven, list)
				got := p.Rule(r, caseTime)
				if got.Outcome > bare.Outcome {
					t.Errorf("%+v: %s, without claims %s", r, show(got), show(bare))
				}
				if got.Outcome < bare.Outcome {
					stricter++
				}
			}
		})
	}
	if stricter == 0 {
		t.Error("no claim made a difference")
	}
}

// The invariants are worth something only if slips are found.
func TestSlipsInAPolicyAreFound(t *testing.T) {
	change := func(old, new string) string {
		source := strings.Replace(string(DefaultPolicy()), old, new, 1)
		if source == string(DefaultPolicy()) {
			t.Fatalf("the default policy does not have %q", old)
		}
		return source
	}
	const forbid = "\n@reason(\"a\") @fix(\"b\")\nforbid (principal, action == Action::\"join\", resource) "
	for want, source := range map[string]string{
		BreachLevel:    string(DefaultPolicy()) + forbid + `when { !(resource in Level::"INTERNAL") };`,
		BreachGrade:    string(DefaultPolicy()) + forbid + `when { context.grade == Grade::"sealed" };`,
		BreachDevice:   string(DefaultPolicy()) + forbid + `when { context.assurance == Assurance::"hardware" };`,
		BreachChair:    change(`unless { context.grade in Grade::"sealed" };`, `unless { context.grade in Grade::"sealed" || context.chair };`),
		BreachLetIn:    change(`unless { context.grade in Grade::"sealed" };`, `unless { context.grade in Grade::"sealed" || context.let_in };`),
		BreachStranger: string(DefaultPolicy()) + strings.ReplaceAll(forbid, "join", "ask") + `when { resource in Level::"CONFIDENTIAL" };`,
		BreachUninvite: string(DefaultPolicy()) + strings.ReplaceAll(forbid, "join", "ask") + `when { principal.known && resource.state == State::"over" };`,
		BreachFailed:   string(DefaultPolicy()) + forbid + `when { 9223372036854775807 + (if context.chair then 1 else 0) == 0 };`,
	} {
		p, err := Load([]byte(source), DefaultLevels())
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if !slices.ContainsFunc(p.Breaches(), func(b Breach) bool { return b.Invariant == want }) {
			t.Errorf("%s was not found, only %v", want, p.Breaches())
		}
	}
}

func TestARuleInWhichAClaimCouldHelpIsNotLoaded(t *testing.T) {
	has := `context.claimed.hasTag("alone")`
	is := has + ` && context.claimed.getTag("alone") == "yes"`
	for condition, ok := range map[string]bool{
		"when { " + is + " }":                                                                                true,
		"when { " + has + " } unless { context.let_in }":                                                     true,
		"when { context.chair || " + is + " }":                                                               true,
		"when { " + has + ` && !(context.claimed.getTag("alone") == "yes") }`:                                true,
		"when { " + has + ` && (if context.claimed.getTag("alone") == "yes" then context.chair else true) }`: true,
		"unless { " + is + " }":                                                                              false,
		"when { !(" + is + ") }":                                                                             false,
		"unless { !(" + is + ") }":                                                                           true,
		"when { if " + has + " then context.chair else true }":                                               false,
		"when { (" + has + ") == false }":                                                                    false,
		"when { " + has + " != context.chair }":                                                              false,
		"when { context.claimed == context.proven }":                                                         false,
		"when { !(context has claimed) }":                                                                    false,
		`when { context["claimed"].hasTag("alone") }`:                                                        true,
		`unless { context["claimed"].hasTag("alone") }`:                                                      false,
		`when { [context.claimed].contains(context.proven) }`:                                                false,
		`unless { (if context.chair then context.claimed else context.proven).hasTag("network") }`:           false,
		`unless { context.proven.hasTag(if ` + has + ` then "network" else "kind") }`:                        false,
	} {
		_, err := Load([]byte("permit (principal, action, resource);\n@reason(\"a\") @fix(\"b\")\nforbid (principal, action, resource) "+condition+";"), DefaultLevels())
		if (err == nil) != ok {
			t.Errorf("%s: got %v", condition, err)
		}
	}
}

func BenchmarkBreaches(b *testing.B) {
	p := Default()
	for b.Loop() {
		if len(p.Breaches()) > 0 {
			b.Fatal("breached")
		}
	}
}
