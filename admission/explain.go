package admission

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"conclave"
)

// Rule is one rule of a policy, to be shown to people.
type Rule struct {
	Line      int              // on which it begins, from 1
	Permit    bool             // or else a forbid
	Questions []string         // "ask", "join", "walk_in", "share_screen", as far as it speaks of them
	Exception bool             // two persons may waive it for a leg, for minutes
	Reason    conclave.Problem // of a forbid
	Note      string           // the comment right above it
	Text      string           // as it stands in the file, without annotations
}

// Match is a forbid that stands in the way.
type Match struct {
	Question string
	Rule     Rule
}

// Rules returns the policy's rules, in the order of the file.
func (p *Policy) Rules() []Rule {
	out := make([]Rule, len(p.rules))
	for i := range p.rules {
		out[i] = p.rules[i].about
	}
	return out
}

// Explain rules, and returns all forbids that match, in whichever question: also those that Rule keeps silent about because
// an earlier question was answered with no. It is for those who may know the policy and the meeting, not for who asks.
func (p *Policy) Explain(req Request, now time.Time) (conclave.Ruling, []Match) {
	var matches []Match
	w, err := p.newWorld(req, now)
	if err != nil {
		return p.Rule(req, now), nil
	}
	for _, q := range questions {
		standing, err := p.standing(w, q)
		if err != nil {
			continue // Rule says that it failed
		}
		for _, i := range standing {
			matches = append(matches, Match{string(q.ID), p.rules[i].about})
		}
	}
	return p.Rule(req, now), matches
}

// text is a rule's source, and the comment above it.
type text struct{ note, rule string }

// newText takes a rule that begins at offset from its source; the next one, if there is one, begins at end.
func newText(source []byte, offset, end int) text {
	var t text
	above := bytes.Split(source[:offset], []byte("\n"))
	for i := len(above) - 2; i >= 0; i-- { // the last is the start of the rule's own line
		comment, ok := strings.CutPrefix(strings.TrimSpace(string(above[i])), "//")
		if !ok {
			break
		}
		t.note = strings.TrimSpace(comment) + "\n" + t.note
	}
	t.note = strings.TrimSpace(t.note)
	var lines []string
	for line := range strings.Lines(string(source[offset:end])) {
		line = strings.TrimRight(line, " \t\r\n")
		if !strings.HasPrefix(strings.TrimSpace(line), "@") {
			lines = append(lines, line)
		}
	}
	for len(lines) > 0 && (lines[len(lines)-1] == "" || strings.HasPrefix(strings.TrimSpace(lines[len(lines)-1]), "//")) {
		lines = lines[:len(lines)-1]
	}
	t.rule = strings.Join(lines, "\n")
	return t
}

// policyFact is a proven fact that the rules speak of, with the values that they compare it with.
type policyFact struct {
	name   string
	values []string // in the order of the file
	asked  bool     // a rule asks whether there is such a fact at all
}

// ranked tells that the fact has an order of values, the most favourable first.
func (f policyFact) ranked() bool {
	known, _ := provenFact(f.name)
	return known.Values != nil
}

// tries lists the values with which a request may fare better; "" is that there is no such fact.
func (f policyFact) tries() []string {
	if known, _ := provenFact(f.name); known.Values != nil {
		return known.Values
	}
	if f.asked {
		return append([]string{""}, f.values...)
	}
	return f.values
}

// policyFacts finds them: context.proven.getTag("network") == "headquarters".
func policyFacts(list rules) []policyFact {
	var out []policyFact
	at := func(name string) *policyFact {
		i := slices.IndexFunc(out, func(f policyFact) bool { return f.name == name })
		if i < 0 {
			i = len(out)
			out = append(out, policyFact{name: name})
		}
		return &out[i]
	}
	add := func(name, value string) {
		if f := at(name); !slices.Contains(f.values, value) {
			f.values = append(f.values, value)
		}
	}
	for _, r := range list {
		for _, c := range (*ast.Policy)(r.policy.AST()).Conditions {
			ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
				switch n := n.(type) {
				case ast.NodeTypeEquals:
					addLiteral(add, n.Left, n.Right)
					addLiteral(add, n.Right, n.Left)
				case ast.NodeTypeNotEquals:
					addLiteral(add, n.Left, n.Right)
					addLiteral(add, n.Right, n.Left)
				case ast.NodeTypeHasTag:
					if name, ok := stringValue(n.Right); ok && isProven(n.Left) {
						at(name).asked = true
					}
				}
				return true
			})
		}
	}
	return out
}

func addLiteral(add func(name, value string), tag, value ast.IsNode) {
	get, ok := tag.(ast.NodeTypeGetTag)
	if !ok || !isProven(get.Left) {
		return
	}
	name, isName := stringValue(get.Right)
	literal, isLiteral := stringValue(value)
	if isName && isLiteral {
		add(name, literal)
	}
}

func isProven(n ast.IsNode) bool {
	a, ok := n.(ast.NodeTypeAccess)
	return ok && a.Value == "proven"
}

func stringValue(n ast.IsNode) (string, bool) {
	v, ok := n.(ast.NodeValue)
	if !ok {
		return "", false
	}
	s, ok := v.Value.(types.String)
	return string(s), ok
}

// Without returns a policy's text without the forbids of these reasons: for an organisation that has no use for a rule, and
// for tests that show what a rule is for. A reason that no rule gives is an error.
func Without(source []byte, levels Levels, reasons ...string) ([]byte, error) {
	p, err := Load(source, levels)
	if err != nil {
		return nil, err
	}
	for _, reason := range reasons {
		if !slices.ContainsFunc(p.rules, func(r rule) bool { return r.about.Reason.Code == reason }) {
			return nil, fmt.Errorf("admission: no rule gives the reason %s", reason)
		}
	}
	var out []byte
	rest := 0
	for i, r := range p.rules {
		if !slices.Contains(reasons, r.about.Reason.Code) || r.about.Permit {
			continue
		}
		// From its annotations to its semicolon; comments stay.
		start, end := r.policy.Position().Offset, len(source)
		if i+1 < len(p.rules) {
			end = p.rules[i+1].policy.Position().Offset
		}
		end = start + ruleEnd(source[start:end])
		out = append(out, source[rest:start]...)
		rest = end
	}
	return append(out, source[rest:]...), nil
}

// ruleEnd returns the length of the rule that text begins with: to the line that ends with its semicolon.
func ruleEnd(text []byte) (n int) {
	for line := range bytes.Lines(text) {
		n += len(line)
		line = bytes.TrimSpace(line)
		if bytes.HasSuffix(line, []byte(";")) && !bytes.HasPrefix(line, []byte("//")) {
			break
		}
	}
	return n
}
