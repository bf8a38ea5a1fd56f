package admission

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"conclave"
)

// MaxPolicy bounds a policy's text, in bytes.
const MaxPolicy = 256 << 10

// The entity types of the schema.
const (
	typeLevel     cedar.EntityType = "Level"
	typeGrade     cedar.EntityType = "Grade"
	typeAssurance cedar.EntityType = "Assurance"
	typePerson    cedar.EntityType = "Person"
	typeMeeting   cedar.EntityType = "Meeting"
	typeDoor      cedar.EntityType = "Door"
	typeState     cedar.EntityType = "State"
	typeStatement cedar.EntityType = "Statement"
	typeFacts     cedar.EntityType = "Facts"
	typeAction    cedar.EntityType = "Action"
)

// questions are asked in this order; see the schema. The others are no part of a ruling: shareScreen is asked of a room, ring
// of who is in it.
var (
	ask         = cedar.NewEntityUID(typeAction, "ask")
	join        = cedar.NewEntityUID(typeAction, "join")
	walkIn      = cedar.NewEntityUID(typeAction, "walk_in")
	questions   = [...]cedar.EntityUID{ask, join, walkIn}
	shareScreen = cedar.NewEntityUID(typeAction, "share_screen")
	ring        = cedar.NewEntityUID(typeAction, "ring")
	all         = [...]cedar.EntityUID{ask, join, walkIn, shareScreen, ring}
)

var (
	errRequest    = errors.New("admission: a request breaks its limits")
	errEvaluation = errors.New("admission: a rule could not be evaluated")
	errSilent     = errors.New("admission: no rule permits, and none says why not")
)

var assuranceNames = []string{"guest", "software", "hardware", "managed"}

// Policy is a policy that was read and checked. It is immutable and may be used by several goroutines.
type Policy struct {
	levels   Levels
	rules    rules
	asked    map[asked]rules // the rules whose heads fit, so that others are not even looked at
	named    cedar.EntityMap // all levels, grades and so on, with their order
	validate *validate.Validator
	facts    []policyFact // the proven facts that the rules speak of, in the order of the file
	hash     [32]byte
}

// rule is one permit or forbid.
type rule struct {
	id     cedar.PolicyID
	policy *cedar.Policy
	about  Rule
}

type rules []rule

// All implements cedar.PolicyIterator, in the order of the file, so that reasons come in that order too.
func (r rules) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for i := range r {
			if !yield(r[i].id, r[i].policy) {
				return
			}
		}
	}
}

// Load reads a policy that speaks of levels. The error names the line of the first mistake: syntax, a name or type that
// the schema does not know, a level, grade or assurance that does not exist, a claim that could let somebody in, a forbid
// without @reason and @fix.
func Load(source []byte, levels Levels) (*Policy, error) {
	if err := levels.Check(); err != nil {
		return nil, err
	}
	if len(source) > MaxPolicy {
		return nil, fmt.Errorf("admission: parse policy: over %d bytes", MaxPolicy)
	}
	v, err := newValidator()
	if err != nil {
		return nil, err
	}
	p := &Policy{levels: slices.Clone(levels), validate: v, named: cedar.EntityMap{}}
	p.addOrder(typeLevel, levelNames(levels))
	p.addOrder(typeGrade, gradeNames())
	p.addOrder(typeAssurance, assuranceNames)
	p.addEnum(typeDoor, string(DoorInvited), string(DoorChair))
	p.addEnum(typeState, stateEarly, stateRunning, stateOver)
	p.addEnum(typeStatement, StatementInvalid.String(), StatementExpired.String(), StatementValid.String())
	list, err := cedar.NewPolicyListFromBytes("", source)
	if err != nil {
		return nil, fmt.Errorf("admission: parse policy %s", place(err))
	}
	for i, one := range list {
		end := len(source)
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		r, err := p.newRule(i, one, newText(source, one.Position().Offset, end))
		if err != nil {
			return nil, fmt.Errorf("admission: parse policy line %d: %w", one.Position().Line, err)
		}
		p.rules = append(p.rules, r)
	}
	for _, q := range questions {
		if !slices.ContainsFunc(p.rules, func(r rule) bool { return r.policy.Effect() == cedar.Permit && r.speaksOf(q) }) {
			return nil, fmt.Errorf("admission: parse policy: no permit for %s: nobody would ever be let in", q.ID)
		}
	}
	p.facts = policyFacts(p.rules)
	p.sort()
	p.hash = hash(source, levels)
	return p, nil
}

// Default returns the policy that Conclave comes with, over DefaultLevels.
func Default() *Policy {
	p, err := Load(defaultPolicy, DefaultLevels())
	if err != nil {
		panic(err)
	}
	return p
}

// Hash names the policy: its text, its levels and the schema it was read under.
func (p *Policy) Hash() [32]byte { return p.hash }

// Levels returns the levels that the policy speaks of. The caller must not change them.
func (p *Policy) Levels() Levels { return p.levels }

func hash(source []byte, levels Levels) [32]byte {
	h := sha256.New()
	h.Write([]byte("Conclave policy 1\x00"))
	add := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	add(schemaSource)
	for _, l := range levels {
		add([]byte(l.Name))
		if l.Start == StartChair {
			add([]byte("starts with the chair"))
		}
		if l.Cosigned {
			add([]byte("cosigned"))
		}
	}
	add(source)
	return [32]byte(h.Sum(nil))
}

func newValidator() (*validate.Validator, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar(schemaSource); err != nil {
		return nil, fmt.Errorf("admission: parse schema: %v", err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("admission: resolve schema: %v", err)
	}
	return validate.New(resolved), nil
}

// addOrder makes each name a child of all before: to look it up takes one step, however many there are.
func (p *Policy) addOrder(t cedar.EntityType, names []string) {
	var lower []cedar.EntityUID
	for _, name := range names {
		uid := cedar.NewEntityUID(t, types.String(name))
		p.named[uid] = cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(lower...)}
		lower = append(lower, uid)
	}
}

// asked names a question about a meeting of a level, with or without an exception.
type asked struct {
	question cedar.EntityUID
	level    conclave.Level
	excepted bool
}

// sort lists the rules for each question and level. Cedar would find the same by looking at the head of each.
func (p *Policy) sort() {
	p.asked = map[asked]rules{}
	for _, q := range all {
		for level := range p.levels {
			for _, excepted := range []bool{false, true} {
				var fit rules
				for _, r := range p.rules {
					if r.speaksOf(q) && p.fits(r, conclave.Level(level)) && !(excepted && r.about.Exception) {
						fit = append(fit, r)
					}
				}
				p.asked[asked{q, conclave.Level(level), excepted}] = fit
			}
		}
	}
}

// fits is false where the rule's head names a level that is above.
func (p *Policy) fits(r rule, level conclave.Level) bool {
	in, ok := (*ast.Policy)(r.policy.AST()).Resource.(ast.ScopeTypeIn)
	if !ok || in.Entity.Type != typeLevel {
		return true
	}
	named, found := p.levels.Find(string(in.Entity.ID))
	return !found || level >= named
}

// addEnum makes names without an order. cedar-go does not hold the values of enumerations against the schema.
func (p *Policy) addEnum(t cedar.EntityType, names ...string) {
	for _, name := range names {
		uid := cedar.NewEntityUID(t, types.String(name))
		p.named[uid] = cedar.Entity{UID: uid}
	}
}

// codeForm is that of problem codes and fixes.
var codeForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

func (p *Policy) newRule(i int, one *cedar.Policy, t text) (rule, error) {
	r := rule{id: cedar.PolicyID(fmt.Sprintf("rule%d", i)), policy: one}
	r.about = Rule{Line: one.Position().Line, Permit: one.Effect() == cedar.Permit, Note: t.note, Text: t.rule}
	for _, q := range all {
		if r.speaksOf(q) {
			r.about.Questions = append(r.about.Questions, string(q.ID))
		}
	}
	if err := p.validate.Policy(string(r.id), (*ast.Policy)(one.AST())); err != nil {
		return r, errors.New(oneLine(err))
	}
	if err := p.checkNames((*ast.Policy)(one.AST())); err != nil {
		return r, err
	}
	if err := checkClaims((*ast.Policy)(one.AST())); err != nil {
		return r, err
	}
	if err := checkFacts((*ast.Policy)(one.AST())); err != nil {
		return r, err
	}
	notes := one.Annotations()
	for key := range notes {
		if key != "reason" && key != "fix" && key != annotationException {
			return r, fmt.Errorf("@%s means nothing here; @reason, @fix and @exception do", key)
		}
	}
	exception, excepted := notes[annotationException]
	if err := r.checkException(string(exception), excepted); err != nil {
		return r, err
	}
	r.about.Exception = excepted
	if one.Effect() == cedar.Permit {
		if len(notes) > 0 {
			return r, errors.New("a permit has neither @reason nor @fix: say why not, in a forbid")
		}
		return r, nil
	}
	r.about.Reason = conclave.Problem{Code: string(notes["reason"]), Fix: string(notes["fix"])}
	if !codeForm.MatchString(r.about.Reason.Code) || !codeForm.MatchString(r.about.Reason.Fix) {
		return r, errors.New("a forbid needs @reason(\"code\") and @fix(\"code\"), each of a-z, 0-9 and _")
	}
	return r, nil
}

// checkNames finds levels, grades, doors and so on that do not exist. To Cedar, any name is as good as another: a rule
// about a misspelt one would silently never match.
func (p *Policy) checkNames(policy *ast.Policy) error {
	var bad error
	check := func(uid types.EntityUID) {
		switch uid.Type {
		case typeLevel, typeGrade, typeAssurance, typeDoor, typeState, typeStatement:
			if _, ok := p.named[uid]; !ok && bad == nil {
				bad = fmt.Errorf("there is no %s", uid)
			}
		case typePerson, typeMeeting, typeFacts:
			if bad == nil {
				bad = fmt.Errorf("%s: a policy names no single person, meeting or line", uid.Type)
			}
		}
	}
	for _, scope := range []ast.IsScopeNode{policy.Principal, policy.Action, policy.Resource} {
		switch s := scope.(type) {
		case ast.ScopeTypeEq:
			check(s.Entity)
		case ast.ScopeTypeIn:
			check(s.Entity)
		case ast.ScopeTypeInSet:
			for _, e := range s.Entities {
				check(e)
			}
		case ast.ScopeTypeIsIn:
			check(s.Entity)
		}
	}
	for _, c := range policy.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if v, ok := n.(ast.NodeValue); ok {
				if uid, ok := v.Value.(types.EntityUID); ok {
					check(uid)
				}
			}
			return true
		})
	}
	return bad
}

// speaksOf tells whether the rule's head names action.
func (r rule) speaksOf(action cedar.EntityUID) bool {
	switch s := (*ast.Policy)(r.policy.AST()).Action.(type) {
	case ast.ScopeTypeEq:
		return s.Entity == action
	case ast.ScopeTypeInSet:
		return slices.Contains(s.Entities, action)
	}
	return true
}

func levelNames(levels Levels) []string {
	names := make([]string, len(levels))
	for i := range levels {
		names[i] = levels[i].Name
	}
	return names
}

func gradeNames() []string {
	var names []string
	for g := conclave.GradeOpen; g <= conclave.GradeGuarded; g++ {
		names = append(names, g.String())
	}
	return names
}

var parserPosition = regexp.MustCompile(`parse error at <input>:(\d+):\d+ (.*)$`)

// place turns the parser's error into "line 4: …".
func place(err error) string {
	text := oneLine(err)
	if m := parserPosition.FindStringSubmatch(text); m != nil {
		return "line " + m[1] + ": at " + m[2]
	}
	return ": " + text
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
