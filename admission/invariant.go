package admission

import (
	"fmt"
	"slices"

	"conclave"
)

// Breach is an invariant that a policy does not keep, with the first request that shows it.
type Breach struct {
	Invariant string
	Example   string
}

// The invariants that Breaches holds a policy against.
const (
	BreachLevel    = "raising the level lets more in"
	BreachGrade    = "a weaker line is let in where a better one is not"
	BreachDevice   = "a weaker device is let in where a better one is not"
	BreachChair    = "the chair outranks the policy"
	BreachLetIn    = "the chair lets in whom the policy refuses"
	BreachStranger = "who has proven nothing, or is not in the directory, learns of the meeting"
	BreachUninvite = "who is not invited learns of the meeting"
	BreachFailed   = "a rule fails"
)

// Breaches tries all combinations of level, grade, assurance, statement, person, role, door and state, without facts and
// with those that the policy compares proven facts with, some 40 000 for four levels, and returns the invariants of sense
// that do not hold. A policy may have reasons of its own to break one; most often it is a slip.
func (p *Policy) Breaches() []Breach {
	b := breaches{p: p}
	for _, facts := range [][]conclave.Fact{nil, p.favourable()} {
		enumerate(len(p.levels), func(r *Request) { r.Facts = facts }, b.hold)
	}
	return b.found
}

// favourable sets each proven fact that the policy compares with something to the first such value.
func (p *Policy) favourable() []conclave.Fact {
	var out []conclave.Fact
	for _, l := range p.facts {
		if l.value != "" && !slices.ContainsFunc(out, func(f conclave.Fact) bool { return f.Name == l.name }) {
			out = append(out, conclave.Fact{Name: l.name, Value: l.value, Proven: true})
		}
	}
	return out
}

// enumerate calls visit with every combination, each with what set adds.
func enumerate(levels int, set func(*Request), visit func(Request)) {
	for statement := StatementInvalid; statement <= StatementValid; statement++ {
		for bits := range 1 << 7 {
			bit := func(i int) bool { return bits>>i&1 == 1 }
			if bit(0) && bit(1) {
				continue // over and early is over
			}
			r := Request{Statement: statement, Invited: bit(2), Chair: bit(3), LetIn: bit(4),
				Person: Person{ID: "x", Known: bit(5), Removed: bit(6)}, Meeting: Meeting{Ended: bit(0)}}
			if bit(1) {
				r.Meeting.From = caseTime.AddDate(1, 0, 0)
			}
			for place := range levels * 4 * 4 * 2 {
				r.Meeting.Level = conclave.Level(place / 32)
				r.Grade = conclave.Grade(place / 8 % 4)
				r.Assurance = conclave.Assurance(place / 2 % 4)
				r.Meeting.Door = []Door{DoorInvited, DoorChair}[place%2]
				one := r
				set(&one)
				visit(one)
			}
		}
	}
}

type breaches struct {
	p     *Policy
	found []Breach
	cache map[point]conclave.Ruling // most requests are somebody's neighbour
}

// point is all that differs between the requests that are tried.
type point struct {
	level                 conclave.Level
	grade                 conclave.Grade
	assurance             conclave.Assurance
	statement             Statement
	door                  Door
	state                 string
	person                Person
	invited, chair, letIn bool
	facts                 bool
}

// hold compares a request's ruling with those of its neighbours.
func (b *breaches) hold(r Request) {
	stranger := r.Statement == StatementInvalid || !r.Person.Known || r.Person.Removed
	if stranger && (r.Grade%conclave.GradeGuarded != 0 || r.Assurance%conclave.AssuranceManaged != 0) {
		return // of five in six who are strangers, the best and the worst line and device are enough
	}
	got := b.rule(r)
	if slices.Contains(codesOf(got.Reasons), failed.Code) {
		b.breach(BreachFailed, r)
	}
	if stranger {
		bare := Request{Person: r.Person, Statement: r.Statement, Facts: r.Facts}
		if !b.same(got, b.rule(bare)) {
			b.breach(BreachStranger, r)
		}
		return
	}
	if !r.Invited && !r.Chair {
		bare := Request{Person: r.Person, Statement: r.Statement, Facts: r.Facts}
		if !b.same(got, b.rule(bare)) {
			b.breach(BreachUninvite, r)
		}
		return
	}
	if r.Meeting.Level > 0 {
		lower := r
		lower.Meeting.Level--
		b.atMost(BreachLevel, r, got, lower)
	}
	if r.Grade < conclave.GradeGuarded {
		better := r
		better.Grade++
		b.atMost(BreachGrade, r, got, better)
	}
	if r.Assurance < conclave.AssuranceManaged {
		better := r
		better.Assurance++
		b.atMost(BreachDevice, r, got, better)
	}
	if r.Chair && got.Outcome != conclave.Refuse {
		guest := r
		guest.Chair, guest.Invited = false, true
		if b.rule(guest).Outcome == conclave.Refuse {
			b.breach(BreachChair, r)
		}
	}
	if r.LetIn && got.Outcome != conclave.Refuse {
		before := r
		before.LetIn = false
		if b.rule(before).Outcome == conclave.Refuse {
			b.breach(BreachLetIn, r)
		}
	}
}

// atMost holds that got is not better than what other gets.
func (b *breaches) atMost(invariant string, r Request, got conclave.Ruling, other Request) {
	if got.Outcome > b.rule(other).Outcome {
		b.breach(invariant, r)
	}
}

func (b *breaches) same(x, y conclave.Ruling) bool {
	return x.Outcome == y.Outcome && slices.Equal(codesOf(x.Reasons), codesOf(y.Reasons))
}

func (b *breaches) rule(r Request) conclave.Ruling {
	key := point{r.Meeting.Level, r.Grade, r.Assurance, r.Statement, r.Meeting.Door, r.Meeting.state(caseTime), r.Person,
		r.Invited, r.Chair, r.LetIn, len(r.Facts) > 0}
	if got, ok := b.cache[key]; ok {
		return got
	}
	if b.cache == nil {
		b.cache = map[point]conclave.Ruling{}
	}
	got := b.p.Rule(r, caseTime)
	b.cache[key] = got
	return got
}

func (b *breaches) breach(invariant string, r Request) {
	if slices.ContainsFunc(b.found, func(x Breach) bool { return x.Invariant == invariant }) {
		return
	}
	example := fmt.Sprintf("level %s, grade %s, assurance %s, statement %s, person %s, invited %t, chair %t, let in %t, door %s, state %s",
		b.p.levels.Name(r.Meeting.Level), r.Grade, assuranceNames[r.Assurance], r.Statement, r.Person.word(), r.Invited, r.Chair,
		r.LetIn, r.Meeting.Door, r.Meeting.state(caseTime))
	for _, f := range r.Facts {
		example += fmt.Sprintf(", proven %s=%s", f.Name, f.Value)
	}
	b.found = append(b.found, Breach{invariant, example})
}
