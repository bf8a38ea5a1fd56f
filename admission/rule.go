package admission

import (
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"conclave"
)

// maxFacts bounds the facts of a request; a line has a dozen.
const maxFacts = 64

// failed is said when a request could not be held against the policy. It tells nothing of the meeting.
var failed = conclave.Problem{Code: "policy_failed", Fix: "ask_administrator"}

// Rule decides on a request. The reasons are all those that stand in the way of the first question that is answered with
// no, in the order of the policy's file; with Admit there are none.
func (p *Policy) Rule(req Request, now time.Time) conclave.Ruling {
	out := conclave.Ruling{Outcome: conclave.Refuse, Grade: req.Grade}
	w, err := p.newWorld(req, now)
	if err != nil {
		out.Reasons = []conclave.Problem{failed}
		return out
	}
	for _, question := range questions {
		reasons, err := p.answer(w, question)
		if err != nil {
			out.Reasons = []conclave.Problem{failed}
			return out
		}
		if len(reasons) > 0 {
			if question == walkIn {
				out.Outcome = conclave.Wait
			}
			out.Reasons = reasons
			return out
		}
	}
	out.Outcome = conclave.Admit
	return out
}

// answer returns why not, nothing if there is nothing against it.
func (p *Policy) answer(w *world, question cedar.EntityUID) ([]conclave.Problem, error) {
	standing, err := p.standing(w, question)
	if err != nil {
		return nil, err
	}
	var reasons []conclave.Problem
	for _, i := range standing {
		reasons = addReason(reasons, p.rules[i].about.Reason)
	}
	return reasons, nil
}

// standing returns the places of the forbids that stand in the way of a yes.
func (p *Policy) standing(w *world, question cedar.EntityUID) ([]int, error) {
	req := cedar.Request{Principal: w.person.UID, Action: question, Resource: w.meeting.UID, Context: w.context}
	decision, diagnostic := cedar.Authorize(p.asked[asked{question, w.level, false}], w, req)
	if len(diagnostic.Errors) > 0 {
		// Cedar has skipped these rules: what they would have forbidden, nobody knows.
		return nil, errEvaluation
	}
	if w.excepted && decision != cedar.Allow {
		// Only now: a rule that fails refuses, also one that could be waived.
		decision, diagnostic = cedar.Authorize(p.asked[asked{question, w.level, true}], w, req)
	}
	if decision == cedar.Allow {
		return nil, nil
	}
	if len(diagnostic.Reasons) == 0 {
		return nil, errSilent
	}
	standing := make([]int, 0, len(diagnostic.Reasons))
	for _, d := range diagnostic.Reasons {
		standing = append(standing, p.rules.find(d.PolicyID))
	}
	return standing, nil
}

func (r rules) find(id cedar.PolicyID) int {
	for i := range r {
		if r[i].id == id {
			return i
		}
	}
	panic("admission: Cedar names a rule that is not in the policy")
}

// addReason adds a problem that two rules name only once.
func addReason(reasons []conclave.Problem, p conclave.Problem) []conclave.Problem {
	for _, r := range reasons {
		if r.Code == p.Code && r.Fix == p.Fix {
			return reasons
		}
	}
	return append(reasons, p)
}

// world is what rules can look at during one ruling.
type world struct {
	named           cedar.EntityMap // the policy's
	person, meeting cedar.Entity
	proven, claimed cedar.Entity
	context         cedar.Record
	level           conclave.Level
	excepted        bool // rules with an exception are waived
}

// Get implements cedar.EntityGetter.
func (w *world) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	for _, e := range [...]*cedar.Entity{&w.person, &w.meeting, &w.proven, &w.claimed} {
		if e.UID == uid {
			return *e, true
		}
	}
	e, ok := w.named[uid]
	return e, ok
}

// newWorld puts a request into Cedar's terms and holds it against the schema.
func (p *Policy) newWorld(req Request, now time.Time) (*world, error) {
	if len(req.Facts) > maxFacts || int(req.Meeting.Level) >= len(p.levels) ||
		req.Grade > conclave.GradeGuarded || req.Assurance > conclave.AssuranceManaged {
		return nil, errRequest
	}
	w := &world{named: p.named, level: req.Meeting.Level, excepted: req.Excepted}
	w.person = cedar.Entity{
		UID: cedar.NewEntityUID(typePerson, types.String(req.Person.ID)),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"known":   cedar.Boolean(req.Person.Known),
			"removed": cedar.Boolean(req.Person.Removed),
			"unit":    types.String(req.Person.Unit),
		}),
	}
	door := req.Meeting.Door
	if door == "" {
		door = DoorChair
	}
	if door != DoorChair && door != DoorInvited {
		return nil, errRequest
	}
	w.meeting = cedar.Entity{
		UID:     cedar.NewEntityUID(typeMeeting, "asked for"),
		Parents: cedar.NewEntityUIDSet(cedar.NewEntityUID(typeLevel, types.String(p.levels[req.Meeting.Level].Name))),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"door":  cedar.NewEntityUID(typeDoor, types.String(door)),
			"state": cedar.NewEntityUID(typeState, types.String(req.Meeting.state(now))),
		}),
	}
	var err error
	if w.proven, err = facts("proven", req.Facts, true); err != nil {
		return nil, err
	}
	if w.claimed, err = facts("claimed", req.Facts, false); err != nil {
		return nil, err
	}
	w.context = cedar.NewRecord(cedar.RecordMap{
		"invited":   cedar.Boolean(req.Invited),
		"chair":     cedar.Boolean(req.Chair),
		"let_in":    cedar.Boolean(req.LetIn),
		"excepted":  cedar.Boolean(req.Excepted),
		"statement": cedar.NewEntityUID(typeStatement, types.String(req.Statement.String())),
		"assurance": cedar.NewEntityUID(typeAssurance, types.String(assuranceNames[req.Assurance])),
		"grade":     cedar.NewEntityUID(typeGrade, types.String(req.Grade.String())),
		"proven":    w.proven.UID,
		"claimed":   w.claimed.UID,
		"now":       cedar.NewDatetime(now),
	})
	for _, e := range [...]*cedar.Entity{&w.person, &w.meeting, &w.proven, &w.claimed} {
		if err := p.validate.Entity(*e); err != nil {
			return nil, err
		}
	}
	// To the schema all questions are alike.
	err = p.validate.Request(cedar.Request{Principal: w.person.UID, Action: ask, Resource: w.meeting.UID, Context: w.context})
	return w, err
}

// facts makes the entity whose tags are the facts of one kind. Two facts of one name would make a rule see one of them
// by chance.
func facts(name string, list []conclave.Fact, proven bool) (cedar.Entity, error) {
	tags := cedar.RecordMap{}
	for _, f := range list {
		if f.Proven != proven {
			continue
		}
		if _, twice := tags[types.String(f.Name)]; twice {
			return cedar.Entity{}, errRequest
		}
		tags[types.String(f.Name)] = types.String(strings.ToValidUTF8(f.Value, "\uFFFD"))
	}
	return cedar.Entity{UID: cedar.NewEntityUID(typeFacts, types.String(name)), Tags: cedar.NewRecord(tags)}, nil
}

// String returns the statement's word in the schema.
func (s Statement) String() string {
	switch s {
	case StatementValid:
		return "valid"
	case StatementExpired:
		return "expired"
	}
	return "invalid"
}
