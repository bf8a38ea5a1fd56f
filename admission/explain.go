package admission

import (
	"bytes"
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
	Questions []string         // "ask", "join", "walk_in", as far as it speaks of them
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

// factLiteral is a value that a rule compares a proven fact with.
type factLiteral struct{ name, value string }

// factLiterals finds them: context.proven.getTag("network") == "headquarters". The value is empty where a rule asks only
// whether there is such a fact, or compares it in another way.
func factLiterals(list rules) []factLiteral {
	var out []factLiteral
	seen := map[factLiteral]bool{}
	add := func(l factLiteral) {
		if !seen[l] {
			seen[l] = true
			out = append(out, l)
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
						add(factLiteral{name, ""})
					}
				}
				return true
			})
		}
	}
	return out
}

func addLiteral(add func(factLiteral), tag, value ast.IsNode) {
	get, ok := tag.(ast.NodeTypeGetTag)
	if !ok || !isProven(get.Left) {
		return
	}
	name, isName := stringValue(get.Right)
	literal, isLiteral := stringValue(value)
	if isName && isLiteral {
		add(factLiteral{name, literal})
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
