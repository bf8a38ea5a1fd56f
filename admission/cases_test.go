package admission

import (
	"slices"
	"strings"
	"testing"
)

// The table is what an officer for security reads to see what the default policy does.
func TestTheDefaultPolicyRulesAsItsCasesSay(t *testing.T) {
	p := Default()
	cases, err := ParseCases(DefaultCases(), DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for i := range cases {
		got, ok := p.Try(&cases[i])
		if !ok {
			t.Errorf("line %d, %s: got %s, want %s", cases[i].Line, cases[i].Name, RulingText(got), cases[i].Want())
		}
		for _, code := range codesOf(got.Reasons) {
			told[code] = true
		}
	}
	for _, r := range p.Rules() {
		if !r.Permit && !told[r.Reason.Code] && !slices.Equal(r.Questions, []string{"share_screen"}) {
			t.Errorf("no case shows %s", r.Reason.Code)
		}
	}
}

const caseHead = "case | level | grade | proven | claimed | ruling\n"

func TestACaseThatIsNotMetIsFound(t *testing.T) {
	p := Default()
	for _, ruling := range []string{"admit", "wait: not_invited", "refuse: not_invited", "refuse: statement_invalid, person_unknown, not_invited, line_too_weak"} {
		cases, err := ParseCases([]byte(caseHead+"a | OPEN | | | | "+ruling), DefaultLevels())
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.Try(&cases[0]); ok {
			t.Errorf("%s is taken for %s", RulingText(got), ruling)
		}
	}
	// An empty cell is the worst there is, and the order of codes counts for nothing.
	cases, err := ParseCases([]byte(caseHead+"a | | | | | refuse: not_invited, person_unknown, statement_invalid"), DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := p.Try(&cases[0]); !ok {
		t.Errorf("got %s", RulingText(got))
	}
}

func TestTheLineOfAMistakeInATableIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"a column":            {"case | colour | ruling\n", "line 1: there is no column \"colour\""},
		"a column twice":      {"case | grade | grade | ruling\n", "line 1: the column \"grade\" stands twice"},
		"no ruling":           {"# x\n\ncase | grade\n", "line 3: the first row names the columns"},
		"too few cells":       {caseHead + "a | OPEN", "line 2: 2 cells, but 6 columns"},
		"a level":             {caseHead + "a | SECRET | | | | admit", "line 2: level: \"SECRET\" is none of OPEN, INTERNAL"},
		"a grade":             {caseHead + "# x\na | | best | | | admit", "line 3: grade: \"best\" is none of open"},
		"facts":               {caseHead + "a | | | tls | | admit", "line 2: proven: \"tls\" is not of the form"},
		"a fact twice":        {caseHead + "a | | | | x=1, x=2 | admit", "line 2: claimed: x stands twice"},
		"an outcome":          {caseHead + "a | | | | | maybe", "line 2: ruling: \"maybe\""},
		"admit with a reason": {caseHead + "a | | | | | admit: because", "line 2: ruling: refuse and wait"},
		"refuse without":      {caseHead + "a | | | | | refuse", "line 2: ruling: refuse and wait"},
		"a code":              {caseHead + "a | | | | | refuse: No way", "line 2: ruling: \"No way\" is no code"},
		"no name":             {caseHead + " | | | | | admit", "line 2: a case needs a name"},
		"a name twice":        {caseHead + "a | | | | | admit\na | | | | | admit", "line 3: the case \"a\" stands twice"},
		"otherwise ruled":     {caseHead + "otherwise | | | | | admit", "line 2: the row \"otherwise\""},
		"a time":              {"case | now | ruling\na | noon | admit", "line 2: now:"},
		"nothing":             {caseHead, "there are none"},
		"too much":            {strings.Repeat("#\n", MaxCases), "over"},
		"too many":            {caseHead + strings.Repeat("a | | | | | admit\n", 2), "stands twice"},
	} {
		_, err := ParseCases([]byte(c.source), DefaultLevels())
		if err == nil || !strings.HasPrefix(err.Error(), "admission: parse cases") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParseCases(f *testing.F) {
	f.Add(DefaultCases())
	f.Add([]byte(caseHead + "otherwise | OPEN | hop | transport=tls | alone=no, radio=yes |\na | | | | | wait: chair_decides, x"))
	p := Default()
	f.Fuzz(func(t *testing.T, source []byte) {
		cases, err := ParseCases(source, DefaultLevels())
		if err != nil {
			return
		}
		for i := range cases[:min(len(cases), 10)] {
			if got, _ := p.Try(&cases[i]); (got.Outcome == 2) != (len(got.Reasons) == 0) {
				t.Errorf("%+v: %s", cases[i], RulingText(got))
			}
		}
	})
}
