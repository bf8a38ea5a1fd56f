package admission

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"conclave"
)

var fence = regexp.MustCompile("(?s)```(cedar|cases)\n(.*?)```")

// docs/policy.md is what officers copy from: its rules load beside the default, its tables hold, it leaves out no reason.
func TestTheDocumentIsTrue(t *testing.T) {
	document, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, tables := 0, 0
	for _, m := range fence.FindAllStringSubmatch(string(document), -1) {
		if m[1] == "cases" {
			tables++
			cases, err := ParseCases([]byte(m[2]), DefaultLevels())
			if err != nil {
				t.Error(err)
			}
			for i := range cases {
				if got, ok := Default().Try(&cases[i]); !ok {
					t.Errorf("%s: got %s", cases[i].Name, RulingText(got))
				}
			}
			continue
		}
		rules++
		p, err := Load(append(DefaultPolicy(), m[2]...), DefaultLevels())
		if err != nil {
			t.Errorf("%v in\n%s", err, m[2])
			continue
		}
		if b := p.Breaches(); len(b) > 0 {
			t.Errorf("%v with\n%s", b, m[2])
		}
	}
	if rules < 3 || tables < 1 {
		t.Errorf("%d rules and %d tables were found", rules, tables)
	}
	for _, r := range Default().Rules() {
		if !r.Permit && !strings.Contains(string(document), "`"+r.Reason.Code+"`") {
			t.Errorf("%s is not explained", r.Reason.Code)
		}
	}
	for _, l := range DefaultLevels() {
		if !strings.Contains(string(document), l.Words["de"]+" · "+l.Words["fr"]) {
			t.Errorf("%s is not in the table", l.Name)
		}
	}
	for _, column := range Columns {
		if !strings.Contains(string(document), "`"+column+"`") {
			t.Errorf("the column %s is not explained", column)
		}
	}
}

// The rule that asks for hardware keeps out software keys at CONFIDENTIAL alone.
func TestHardwareCanBeAskedFor(t *testing.T) {
	document, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(fence.FindAllStringSubmatch(string(document), -1), func(m []string) bool { return strings.Contains(m[2], `"hardware"`) })
	if i < 0 {
		t.Fatal("the document has no such rule")
	}
	p, err := Load(append(DefaultPolicy(), fence.FindAllStringSubmatch(string(document), -1)[i][2]...), DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	for assurance, want := range map[conclave.Assurance]conclave.Outcome{conclave.AssuranceSoftware: conclave.Refuse, conclave.AssuranceHardware: conclave.Admit} {
		req := good()
		req = confidential(&req)
		if req.Assurance = assurance; p.Rule(req, now).Outcome != want {
			t.Errorf("%d: got %s", assurance, show(p.Rule(req, now)))
		}
		if req.Meeting.Level = 2; p.Rule(req, now).Outcome != conclave.Admit {
			t.Errorf("RESTRICTED, %d: got %s", assurance, show(p.Rule(req, now)))
		}
	}
}
