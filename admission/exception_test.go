package admission

import (
	"slices"
	"strings"
	"testing"

	"conclave"
)

func TestAnExceptionWaivesOnlyWhatSaysSo(t *testing.T) {
	p := Default()
	tor := conclave.Fact{Name: "operator", Value: "tor", Proven: true}
	for name, c := range map[string]struct {
		change   func(*Request)
		waived   string
		possible bool
	}{
		"nothing to waive":        {func(*Request) {}, "", false},
		"through Tor":             {func(r *Request) { r.Facts = append(r.Facts, tor) }, "origin_hidden", true},
		"a phone through Tor":     {func(r *Request) { r.Facts, r.Grade = append(r.Facts, tor), conclave.GradeOpen }, "origin_hidden", false},
		"a phone":                 {func(r *Request) { r.Grade = conclave.GradeOpen }, "", false},
		"a guest":                 {func(r *Request) { r.Assurance = conclave.AssuranceGuest }, "", false},
		"not invited":             {func(r *Request) { r.Facts, r.Invited = append(r.Facts, tor), false }, "", false},
		"an old statement":        {func(r *Request) { r.Facts, r.Statement = append(r.Facts, tor), StatementExpired }, "", false},
		"CONFIDENTIAL in a hotel": {func(r *Request) { *r = confidential(r); r.Grade = conclave.GradeSealed }, "network_not_approved", true},
		"CONFIDENTIAL in a hotel, alone": {func(r *Request) { *r = confidential(r); r.Grade, r.Facts = conclave.GradeSealed, r.Facts[:1] },
			"network_not_approved", false}, // without a touch
		"a bad request": {func(r *Request) { r.Grade = 9 }, "", false},
	} {
		req := good()
		c.change(&req)
		waived, possible := p.Excepts(req, now)
		if got := strings.Join(codesOf(waived), ", "); got != c.waived || possible != c.possible {
			t.Errorf("%s: %q, %t", name, got, possible)
		}
		req.Excepted = true
		if got := p.Rule(req, now).Outcome; possible && got == conclave.Refuse {
			t.Errorf("%s: refused in spite of the exception", name)
		}
	}
}

// No open line, no gateway and no guest is ever in at RESTRICTED or above: with no exception, no chair, no fact. All
// combinations, each with each value of each fact.
func TestNoOpenLineIsEverAtOrAboveRestricted(t *testing.T) {
	p := Default()
	restricted, _ := p.Levels().Find("RESTRICTED")
	n := 0
	for i, facts := range p.factSets() {
		enumerate(len(p.levels), func(r *Request) { r.Facts, r.Excepted = facts, true }, func(r Request) {
			if r.Meeting.Level < restricted || r.Statement != StatementValid || !r.Person.Known || r.Person.Removed ||
				r.Grade >= conclave.GradeSealed && r.Assurance > conclave.AssuranceGuest {
				return
			}
			if n++; n%5 != 0 && i > 1 { // of the many with one fact otherwise, each fifth: they differ in what no rule reads
				return
			}
			for _, excepted := range []bool{false, true} {
				if r.Excepted = excepted; p.Rule(r, caseTime).Outcome != conclave.Refuse {
					t.Errorf("let in: %+v", r)
				}
			}
		})
	}
	t.Logf("%d combinations", n)
}

func TestARoomIsClosedWhileAWeakLineIsIn(t *testing.T) {
	p := Default()
	for _, c := range []struct {
		room Room
		want bool
	}{
		{Room{Level: 0, Weakest: conclave.GradeOpen}, false},
		{Room{Level: 1, Weakest: conclave.GradeOpen}, true},
		{Room{Level: 1, Weakest: conclave.GradeHop}, true},
		{Room{Level: 1, Weakest: conclave.GradeSealed}, false},
		{Room{Level: 1, Weakest: conclave.GradeSealed, Excepted: true}, false},
		{Room{Level: 2, Weakest: conclave.GradeSealed}, false},
		{Room{Level: 2, Weakest: conclave.GradeGuarded, Excepted: true}, true},
		{Room{Level: 3, Weakest: conclave.GradeGuarded}, false},
		{Room{Level: 9, Weakest: conclave.GradeGuarded}, true}, // no such level
		{Room{Level: 1, Weakest: 9}, true},
	} {
		if got := slices.Contains(p.Closed(c.room, now), ClosedScreen); got != c.want {
			t.Errorf("%+v: closed %t", c.room, got)
		}
	}
	silent, err := Load([]byte(`permit (principal, action in [Action::"ask", Action::"join", Action::"walk_in"], resource);`), DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(silent.Closed(Room{Weakest: conclave.GradeGuarded}, now), ClosedScreen) {
		t.Error("a policy that does not speak of screens opens them")
	}
}

func TestOnlyWhomPolicyLetsSeesWhoIsNotThere(t *testing.T) {
	all, err := Load([]byte(`permit (principal, action, resource);`), DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	silent, err := Load([]byte(`permit (principal, action in [Action::"ask", Action::"join", Action::"walk_in", Action::"share_screen"], resource);`), DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		policy *Policy
		change func(*Request)
		want   bool
	}{
		"the chair":                        {Default(), func(r *Request) { r.Chair = true }, true},
		"a member":                         {Default(), func(*Request) {}, false},
		"the chair, by phone":              {Default(), func(r *Request) { r.Chair, r.Grade = true, conclave.GradeHop }, false},
		"the chair, as a guest":            {Default(), func(r *Request) { r.Chair, r.Assurance = true, conclave.AssuranceGuest }, false},
		"the chair, statement invalid":     {Default(), func(r *Request) { r.Chair, r.Statement = true, StatementInvalid }, false},
		"the chair, struck off":            {Default(), func(r *Request) { r.Chair, r.Person.Removed = true, true }, false},
		"no such level":                    {Default(), func(r *Request) { r.Chair, r.Meeting.Level = true, 9 }, false},
		"a member, where all is let":       {all, func(*Request) {}, true},
		"a guest, where all is let":        {all, func(r *Request) { r.Assurance = conclave.AssuranceGuest }, false},
		"a phone, where all is let":        {all, func(r *Request) { r.Grade = conclave.GradeOpen }, false},
		"the chair, where nothing is said": {silent, func(r *Request) { r.Chair = true }, false},
	} {
		req := good()
		c.change(&req)
		if got := c.policy.MayRing(req, now); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestAnAssertionIsAskedForWhereItHelps(t *testing.T) {
	p := Default()
	for name, c := range map[string]struct {
		change func(*Request)
		want   bool
	}{
		"RESTRICTED":                    {func(*Request) {}, false},
		"CONFIDENTIAL with one":         {func(r *Request) { *r = confidential(r) }, false},
		"CONFIDENTIAL without":          {func(r *Request) { *r = confidential(r); r.Facts = r.Facts[:1] }, true},
		"CONFIDENTIAL without, and TLS": {func(r *Request) { *r = confidential(r); r.Facts = nil }, true},
		"CONFIDENTIAL, a card":          {func(r *Request) { *r = confidential(r); r.Facts, r.Assurance = r.Facts[:1], conclave.AssuranceManaged }, false},
		"CONFIDENTIAL, not invited":     {func(r *Request) { *r = confidential(r); r.Facts, r.Invited = r.Facts[:1], false }, false},
	} {
		req := good()
		c.change(&req)
		if got := p.NeedsAssertion(req, now); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestAMistakeAboutFactsOrExceptionsIsNamedWithItsLine(t *testing.T) {
	const head = "permit (principal, action, resource);\n@reason(\"a\") @fix(\"b\") "
	for rule, want := range map[string]string{
		`forbid (principal, action, resource) when { context.proven.hasTag("contry") };`:                                                                      `line 2: there is no proven fact "contry"`,
		`forbid (principal, action, resource) when { context.proven.hasTag("operator") && context.proven.getTag("operator") == "torr" };`:                     `line 2: the fact "operator" is never "torr"; it is isp, mobile`,
		`forbid (principal, action, resource) when { context.proven.hasTag("risk") && "high" != context.proven.getTag("risk") };`:                             `line 2: the fact "risk" is never "high"`,
		`@exception("one") forbid (principal, action == Action::"join", resource);`:                                                                           `line 2: @exception("two") is all that there is`,
		`@exception("two") forbid (principal, action == Action::"ask", resource);`:                                                                            "line 2: only a rule of the question join alone",
		`@exception("two") forbid (principal, action, resource);`:                                                                                             "line 2: only a rule of the question join alone",
		`forbid (principal, action == Action::"join", resource) unless { context.excepted };`:                                                                 "line 2: an exception is made with @exception",
		`forbid (principal, action == Action::"join", resource) when { context.proven.hasTag("country") && context.proven.getTag("country") == "anything" };`: "",
		`forbid (principal, action == Action::"share_screen", resource) when { context.excepted };`:                                                           "",
	} {
		_, err := Load([]byte(head+rule), DefaultLevels())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func TestAnExceptionThatLetsInAPhoneIsABreach(t *testing.T) {
	source := strings.Replace(string(DefaultPolicy()), "@fix(\"use_enrolled_device\")\nforbid (principal, action == Action::\"join\", resource in Level::\"RESTRICTED\")",
		"@fix(\"use_enrolled_device\")\n@exception(\"two\")\nforbid (principal, action == Action::\"join\", resource in Level::\"RESTRICTED\")", 1)
	p, err := Load([]byte(source), DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Breaches(), func(b Breach) bool { return b.Invariant == BreachExcepted }) {
		t.Errorf("found only %v", p.Breaches())
	}
}

func TestARuleCanBeTakenOut(t *testing.T) {
	source, err := Without(DefaultPolicy(), DefaultLevels(), "assertion_missing", "chair_decides")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Load(source, DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	before, after := Default().Rules(), p.Rules()
	if left := len(before) - len(after); left != 7 {
		t.Errorf("%d rules were taken out", left)
	}
	for _, r := range after {
		if r.Reason.Code == "assertion_missing" || r.Reason.Code == "chair_decides" {
			t.Errorf("line %d is still there", r.Line)
		}
	}
	if _, err := Without(DefaultPolicy(), DefaultLevels(), "nothing"); err == nil {
		t.Error("a reason that no rule gives was taken out")
	}
}

func TestWhereSomebodyIsIsAskedOnlyWhereARuleLooksAtIt(t *testing.T) {
	if Default().AsksPlace(good(), now) {
		t.Error("the default policy looks at no place")
	}
	p, err := Load(append(DefaultPolicy(), `
@reason("not_alone") @fix("be_alone")
forbid (principal, action == Action::"join", resource in Level::"RESTRICTED")
when { context.claimed.hasTag("place") && context.claimed.getTag("place") == "public_place" };
@reason("chair_decides") @fix("wait_for_chair")
forbid (principal, action == Action::"walk_in", resource in Level::"INTERNAL")
when { context.claimed.hasTag("place") && context.claimed.getTag("place") == "hotel" };
`...), DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	at := func(level conclave.Level) Request {
		r := good()
		r.Meeting.Level = level
		return r
	}
	for level, want := range []bool{false, true, true, true} {
		if got := p.AsksPlace(at(conclave.Level(level)), now); got != want {
			t.Errorf("at level %d: asked %v", level, got)
		}
	}
	// An answer that was given does not end the question; and nobody is asked who may not ask.
	answered := at(2)
	answered.Facts = append(answered.Facts, conclave.Fact{Name: "place", Value: "public_place"})
	if !p.AsksPlace(answered, now) {
		t.Error("whoever answered is asked no more")
	}
	stranger := at(2)
	stranger.Invited, stranger.Chair = false, false
	if p.AsksPlace(stranger, now) {
		t.Error("who is not invited learns of the rule")
	}
	if slices.Contains(ClaimedPlaces(), "not said") {
		t.Error("an answer is taken for none")
	}
}
