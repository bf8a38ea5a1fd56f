package admission

import (
	"slices"
	"strings"
	"time"

	"conclave"
)

// Change is one thing that would have to be otherwise.
type Change struct {
	Fact     string   // as in a case: "grade", "let_in", "proven network", "claimed radio"
	From, To string   // "" is: not there
	Fixes    []string // of the rules that the change satisfies, in the order of the file
}

// The bounds of WhatIf. With maxSteps steps, trying all sets of maxSet takes about 2 300 rulings, some 30 ms.
const (
	maxSteps = 24
	maxSet   = 3
	maxWays  = 8
)

// WhatIf answers "what would let me in": the smallest sets of changes with which the request would be admitted, at most
// eight. Sets of up to three changes are all tried; beyond that it returns one from which nothing can be left out. Nil:
// the request is admitted as it is, or nothing helps.
//
// It looks through all questions and so tells of the meeting: it is for those who may know it, never for somebody whom
// Rule refuses on the question "ask".
func (p *Policy) WhatIf(req Request, now time.Time) [][]Change {
	s := search{p: p, req: req, now: now, steps: p.steps(&req, now)}
	if count, ok := s.standing(nil); !ok || count == 0 {
		return nil
	}
	for size := 1; size <= maxSet && len(s.ways) == 0; size++ {
		s.try(nil, 0, size)
	}
	if len(s.ways) == 0 {
		s.climb()
	}
	var out [][]Change
	for _, way := range s.ways {
		out = append(out, s.changes(way))
	}
	return out
}

// step is one change that could be made. Steps of one knob exclude each other.
type step struct {
	fact, from, to string
	ranked         bool // later steps of this knob go further: the first that helps is enough
	apply          func(*Request)
}

// steps lists what a person, or somebody they can ask, could change. Nobody is told to take a phone, to become the chair,
// or to lower the level.
func (p *Policy) steps(req *Request, now time.Time) []step {
	var out []step
	add := func(fact, from, to string, apply func(*Request)) {
		out = append(out, step{fact, from, to, true, apply})
	}
	if req.Statement != StatementValid {
		add("statement", req.Statement.String(), StatementValid.String(), func(r *Request) { r.Statement = StatementValid })
	}
	if word := req.Person.word(); word != personKnown {
		add("person", word, personKnown, func(r *Request) { r.Person.Known, r.Person.Removed = true, false })
	}
	if !req.Invited {
		add("invited", "no", "yes", func(r *Request) { r.Invited = true })
	}
	if state := req.Meeting.state(now); state != stateRunning {
		add("state", state, stateRunning, func(r *Request) {
			r.Meeting.From, r.Meeting.Until, r.Meeting.Ended = time.Time{}, time.Time{}, false
		})
	}
	for g := max(req.Grade+1, conclave.GradeSealed); g <= conclave.GradeGuarded; g++ {
		add("grade", req.Grade.String(), g.String(), func(r *Request) { r.Grade = g })
	}
	for a := req.Assurance + 1; a <= conclave.AssuranceManaged; a++ {
		add("assurance", assuranceNames[req.Assurance], assuranceNames[a], func(r *Request) { r.Assurance = a })
	}
	if !req.LetIn {
		add("let_in", "no", "yes", func(r *Request) { r.LetIn = true })
	}
	for _, f := range req.Facts {
		if !f.Proven {
			out = append(out, step{"claimed " + f.Name, f.Value, "", true, setFact(f.Name, "", false)})
		}
	}
	for _, f := range p.facts {
		from := ""
		if i := slices.IndexFunc(req.Facts, func(g conclave.Fact) bool { return g.Proven && g.Name == f.name }); i >= 0 {
			from = req.Facts[i].Value
		}
		for _, value := range f.tries() {
			if from != value {
				out = append(out, step{"proven " + f.name, from, value, f.ranked(), setFact(f.name, value, true)})
			}
		}
	}
	if waived, _ := p.Excepts(*req, now); len(waived) > 0 {
		add("excepted", "no", "yes", func(r *Request) { r.Excepted = true })
	}
	return p.useful(req, now, out)
}

// useful leaves of the steps with facts those that satisfy a rule, and at most maxSteps in all.
func (p *Policy) useful(req *Request, now time.Time, steps []step) []step {
	s := search{p: p, req: *req, now: now, steps: steps}
	base, _ := s.rules(nil)
	var out []step
	for i := range steps {
		if strings.HasPrefix(steps[i].fact, "proven ") {
			after, ok := s.rules([]int{i})
			if ok && !slices.ContainsFunc(base, func(r int) bool { return !slices.Contains(after, r) }) {
				continue
			}
		}
		out = append(out, steps[i])
	}
	return out[:min(len(out), maxSteps)]
}

// fixException is the fix of an exception, whichever rule it waives.
const fixException = "ask_for_exception"

// setFact replaces a fact; an empty value takes it away.
func setFact(name, value string, proven bool) func(*Request) {
	return func(r *Request) {
		r.Facts = slices.DeleteFunc(slices.Clone(r.Facts), func(f conclave.Fact) bool { return f.Name == name && f.Proven == proven })
		if value != "" {
			r.Facts = append(r.Facts, conclave.Fact{Name: name, Value: value, Proven: proven})
		}
	}
}

// search holds what is tried; ways are sets of places in steps, ascending.
type search struct {
	p     *Policy
	req   Request
	now   time.Time
	steps []step
	ways  [][]int
}

// rules returns the forbids that stand in the way once these steps are made; not ok if a rule fails.
func (s *search) rules(set []int) (standing []int, ok bool) {
	req := s.req
	for _, i := range set {
		s.steps[i].apply(&req)
	}
	w, err := s.p.newWorld(req, s.now)
	if err != nil {
		return nil, false
	}
	for _, q := range questions {
		more, err := s.p.standing(w, q)
		if err != nil {
			return nil, false
		}
		standing = append(standing, more...)
	}
	return standing, true
}

func (s *search) standing(set []int) (int, bool) {
	standing, ok := s.rules(set)
	return len(standing), ok
}

func (s *search) admits(set []int) bool {
	count, ok := s.standing(set)
	return ok && count == 0
}

// try adds all sets of size more steps, from start on, that admit.
func (s *search) try(set []int, start, size int) {
	if size == 0 {
		if len(s.ways) < maxWays && !s.further(set) && s.admits(set) {
			s.ways = append(s.ways, slices.Clone(set))
		}
		return
	}
	for i := start; i < len(s.steps); i++ {
		if !s.clashes(set, i) {
			s.try(append(slices.Clip(set), i), i+1, size-1)
		}
	}
}

func (s *search) clashes(set []int, i int) bool {
	return slices.ContainsFunc(set, func(j int) bool { return s.steps[j].fact == s.steps[i].fact })
}

// further tells whether a way that was found asks less of the same.
func (s *search) further(set []int) bool {
	return slices.ContainsFunc(s.ways, func(way []int) bool {
		return slices.EqualFunc(way, set, func(a, b int) bool {
			return a == b || s.steps[a].ranked && s.steps[a].fact == s.steps[b].fact
		})
	})
}

// climb makes the step that satisfies most rules until none is left, then leaves out what was not needed.
func (s *search) climb() {
	var set []int
	best, _ := s.standing(nil)
	for best > 0 {
		next := -1
		for i := range s.steps {
			if s.clashes(set, i) {
				continue
			}
			if count, ok := s.standing(append(slices.Clip(set), i)); ok && count < best {
				best, next = count, i
			}
		}
		if next < 0 {
			return
		}
		set = append(set, next)
	}
	for i := 0; i < len(set); {
		if less := slices.Delete(slices.Clone(set), i, i+1); s.admits(less) {
			set = less
		} else {
			i++
		}
	}
	slices.Sort(set)
	s.ways = append(s.ways, set)
}

// changes names the steps of a way. Each is there for the rules that would still stand without it.
func (s *search) changes(way []int) []Change {
	var out []Change
	for at, i := range way {
		c := Change{Fact: s.steps[i].fact, From: s.steps[i].from, To: s.steps[i].to}
		standing, _ := s.rules(slices.Delete(slices.Clone(way), at, at+1))
		for _, r := range standing {
			fix := s.p.rules[r].about.Reason.Fix
			if c.Fact == "excepted" {
				fix = fixException
			}
			if !slices.Contains(c.Fixes, fix) {
				c.Fixes = append(c.Fixes, fix)
			}
		}
		if len(c.Fixes) == 0 {
			c.Fixes = []string{failed.Fix} // without the change a rule cannot even be evaluated
		}
		out = append(out, c)
	}
	return out
}
