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
	BreachExcepted = "an exception lets in a line that is not sealed, or a guest, whom nothing else would"
	BreachWorse    = "an exception keeps somebody out"
	BreachClosed   = "a better line, or a lower level, closes more of the room"
	BreachFailed   = "a rule fails"
)

// Breaches tries all combinations of level, grade, assurance, statement, person, role, door and state, without facts and with
// the proven facts at their best, then, for those who have proven who they are, with each single fact at each other value
// and with an exception: some 120 000 for four levels. It returns the invariants of sense that do not hold. A policy
// may have reasons of its own to break one; most often it is a slip.
func (p *Policy) Breaches() []Breach {
	b := breaches{p: p, cache: map[point]conclave.Ruling{}}
	sets := p.factSets()
	b.best = sets[1]
	for i, facts := range sets {
		b.set = i
		visit := b.hold
		if i > 1 {
			visit = func(r Request) {
				if r.Statement == StatementValid && r.Person.Known && !r.Person.Removed && r.Meeting.state(caseTime) == stateRunning {
					b.hold(r)
					r.Excepted = true
					b.holdExcepted(r)
				}
			}
		}
		enumerate(len(p.levels), func(r *Request) { r.Facts = facts }, visit)
	}
	b.holdClosed()
	return b.found
}

// factSets returns no facts, the facts at their best, and those with one at each other value.
func (p *Policy) factSets() [][]conclave.Fact {
	best := p.favourable()
	sets := [][]conclave.Fact{nil, best, best}
	for _, f := range p.facts {
		values := append([]string{"", "another"}, f.values...)
		if known, _ := provenFact(f.name); known.Values != nil {
			values = append([]string{""}, known.Values...)
		}
		for _, v := range values {
			one := Request{Facts: best}
			setFact(f.name, v, true)(&one)
			sets = append(sets, one.Facts)
		}
	}
	return sets
}

// favourable gives each proven fact that the policy speaks of the value with which most rules are satisfied, one after the
// other.
func (p *Policy) favourable() []conclave.Fact {
	r := Request{Statement: StatementValid, Person: Person{ID: "x", Known: true}, Invited: true, LetIn: true,
		Grade: conclave.GradeGuarded, Assurance: conclave.AssuranceManaged}
	standing := func() (count int) {
		for l := range p.levels {
			r.Meeting.Level = conclave.Level(l)
			found, _ := (&search{p: p, req: r, now: caseTime}).standing(nil)
			count += found
		}
		return count
	}
	for _, f := range p.facts {
		least, best := standing(), ""
		for _, v := range f.tries() {
			setFact(f.name, v, true)(&r)
			if count := standing(); count < least || best == "" && count == least {
				least, best = count, v
			}
		}
		setFact(f.name, best, true)(&r)
	}
	return r.Facts
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
	best  []conclave.Fact
	set   int                       // which of factSets is tried
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
	excepted              bool
	set                   int
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

// holdExcepted compares the ruling on a request with an exception with that on the same without one.
func (b *breaches) holdExcepted(r Request) {
	got := b.rule(r)
	plain := r
	plain.Excepted = false
	if got.Outcome < b.rule(plain).Outcome {
		b.breach(BreachWorse, r)
	}
	if got.Outcome == conclave.Refuse || r.Grade >= conclave.GradeSealed && r.Assurance > conclave.AssuranceGuest {
		return
	}
	set := b.set
	defer func() { b.set = set }()
	plain.Facts, b.set = b.best, 1
	if b.rule(plain).Outcome == conclave.Refuse {
		b.set = set
		b.breach(BreachExcepted, r)
	}
}

// holdClosed compares what is closed in a room with the same on a better line, and at the level below.
func (b *breaches) holdClosed() {
	for level := range b.p.levels {
		for grade := conclave.GradeOpen; grade <= conclave.GradeGuarded; grade++ {
			for _, excepted := range []bool{false, true} {
				room := Room{Level: conclave.Level(level), Weakest: grade, Excepted: excepted}
				closed := len(b.p.Closed(room, caseTime))
				better, lower := room, room
				better.Weakest = min(grade+1, conclave.GradeGuarded)
				lower.Level -= conclave.Level(min(level, 1))
				if len(b.p.Closed(better, caseTime)) > closed || len(b.p.Closed(lower, caseTime)) > closed {
					b.breach(BreachClosed, Request{Meeting: Meeting{Level: room.Level}, Grade: grade, Excepted: excepted})
				}
			}
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
		r.Invited, r.Chair, r.LetIn, r.Excepted, b.set}
	if got, ok := b.cache[key]; ok {
		return got
	}
	got := b.p.Rule(r, caseTime)
	b.cache[key] = got
	return got
}

func (b *breaches) breach(invariant string, r Request) {
	if slices.ContainsFunc(b.found, func(x Breach) bool { return x.Invariant == invariant }) {
		return
	}
	example := fmt.Sprintf("level %s, grade %s, assurance %s, statement %s, person %s, invited %t, chair %t, let in %t, excepted %t, door %s, state %s",
		b.p.levels.Name(r.Meeting.Level), r.Grade, assuranceNames[r.Assurance], r.Statement, r.Person.word(), r.Invited, r.Chair,
		r.LetIn, r.Excepted, r.Meeting.Door, r.Meeting.state(caseTime))
	for _, f := range r.Facts {
		example += fmt.Sprintf(", proven %s=%s", f.Name, f.Value)
	}
	b.found = append(b.found, Breach{invariant, example})
}
