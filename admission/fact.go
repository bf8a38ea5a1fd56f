package admission

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// ProvenFact is a fact that the server checks itself, and that a policy may therefore rest on.
type ProvenFact struct {
	Name   string
	Values []string // all there are, the most favourable first; nil: any text
}

// ProvenFacts returns all proven facts. A rule about another one would never match, and a policy that has one is not loaded.
func ProvenFacts() []ProvenFact { return slices.Clone(provenFacts) }

var provenFacts = []ProvenFact{
	{"kind", []string{"endpoint", "hop", "phone", "unknown"}},
	{"enrolled", []string{"yes", "no"}},
	{"network", nil},
	{"network_seen", []string{"known", "new"}},
	{"country", nil},
	{"operator", []string{"isp", "mobile", "satellite", "unknown", "hosting", "vpn", "tor"}},
	{"travel", []string{"none", "announced", "unannounced"}},
	{"risk", []string{"normal", "raised"}},
	{"transport", []string{"tls", "this machine", "plain"}},
	{"tls", []string{"1.3", "1.2"}},
	{"tls_pq", []string{"yes", "no"}},
	{"tls_client", []string{"matches", "unknown", "differs"}},
	{"media", []string{"udp", "tcp", "relay"}},
	{"media_network", []string{"same", "other"}},
	{"mark_key", []string{"committed", "missing"}},
	{"device_age", []string{"known", "new"}},
	{"posture", []string{"managed", "lapsed"}},
	{"assertion", []string{"fresh", "none"}},
	{"invited_by", []string{"administrator", "chair", "person"}},
	{"phone_line", nil},
}

func provenFact(name string) (ProvenFact, bool) {
	i := slices.IndexFunc(provenFacts, func(f ProvenFact) bool { return f.Name == name })
	if i < 0 {
		return ProvenFact{}, false
	}
	return provenFacts[i], true
}

// checkFacts finds facts that nobody collects, and values that they never have: to Cedar any name is as good as another.
func checkFacts(policy *ast.Policy) (bad error) {
	name := func(n ast.IsNode) {
		if text, ok := stringValue(n); ok && bad == nil {
			if _, known := provenFact(text); !known {
				bad = fmt.Errorf("there is no proven fact %q", text)
			}
		}
	}
	compare := func(tag, value ast.IsNode) {
		get, ok := tag.(ast.NodeTypeGetTag)
		if !ok || !isProven(get.Left) || bad != nil {
			return
		}
		text, isText := stringValue(get.Right)
		literal, isLiteral := stringValue(value)
		if f, known := provenFact(text); isText && isLiteral && known && f.Values != nil && !slices.Contains(f.Values, literal) {
			bad = fmt.Errorf("the fact %q is never %q; it is %s", text, literal, strings.Join(f.Values, ", "))
		}
	}
	for _, c := range policy.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeHasTag:
				if isProven(n.Left) {
					name(n.Right)
				}
			case ast.NodeTypeGetTag:
				if isProven(n.Left) {
					name(n.Right)
				}
			case ast.NodeTypeEquals:
				compare(n.Left, n.Right)
				compare(n.Right, n.Left)
			case ast.NodeTypeNotEquals:
				compare(n.Left, n.Right)
				compare(n.Right, n.Left)
			}
			return true
		})
	}
	return bad
}
