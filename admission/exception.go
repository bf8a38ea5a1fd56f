package admission

import (
	"errors"
	"slices"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"conclave"
)

// An exception is two persons' word, for one leg and for minutes, that what a rule forbids may be. Only rules that say so
// themselves, with @exception("two"), can be waived, and only those of the question "join": who may ask, and who walks in, is
// nobody's to waive.
const (
	annotationException = "exception"
	exceptionTwo        = "two"
	attributeExcepted   = "excepted"
)

var (
	errException = errors.New(`@exception("two") is all that there is: an exception needs two persons`)
	errExcepted  = errors.New("an exception is made with @exception(\"two\"), so that people are told what is waived; context.excepted is for share_screen alone")
	errExceptAsk = errors.New("only a rule of the question join alone can have an exception")
)

// checkException holds that a rule's exception is one, and that no rule makes one in another way.
func (r *rule) checkException(annotation string, annotated bool) error {
	if annotated {
		if annotation != exceptionTwo {
			return errException
		}
		if len(r.about.Questions) != 1 || r.about.Questions[0] != string(join.ID) {
			return errExceptAsk
		}
	}
	if len(r.about.Questions) == 1 && r.about.Questions[0] == string(shareScreen.ID) {
		return nil
	}
	for _, c := range (*ast.Policy)(r.policy.AST()).Conditions {
		found := false
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if a, ok := n.(ast.NodeTypeAccess); ok && a.Value == attributeExcepted {
				found = true
			}
			return !found
		})
		if found {
			return errExcepted
		}
	}
	return nil
}

// Excepts says what an exception would have to waive for this request, and whether it would be enough: possible is true if
// there is something to waive and nothing else refuses. It tells of the meeting no more than the reasons of a refusal do.
func (p *Policy) Excepts(req Request, now time.Time) (waived []conclave.Problem, possible bool) {
	req.Excepted = false
	w, err := p.newWorld(req, now)
	if err != nil {
		return nil, false
	}
	if standing, err := p.standing(w, ask); err != nil || len(standing) > 0 {
		return nil, false
	}
	standing, err := p.standing(w, join)
	if err != nil {
		return nil, false
	}
	possible = true
	for _, i := range standing {
		if p.rules[i].about.Exception {
			waived = addReason(waived, p.rules[i].about.Reason)
		} else {
			possible = false
		}
	}
	if len(waived) == 0 || !possible {
		return waived, false
	}
	// Held against the ruling itself: what is promised here must then be so.
	req.Excepted = true
	return waived, p.Rule(req, now).Outcome != conclave.Refuse
}

// The things that a policy can hold closed for a whole room, as signal.Roster calls them.
const ClosedScreen = "screen"

// Room is what there is to know of a room for Closed.
type Room struct {
	Level    conclave.Level
	Weakest  conclave.Grade // of the lines that are in; the zero value is the worst
	Excepted bool           // somebody is in by an exception
}

// Closed says what the policy holds closed while the room is as it is: nobody may share a screen while somebody's line is too
// weak to show it to. It fails closed.
func (p *Policy) Closed(room Room, now time.Time) []string {
	// The question is asked as if somebody on the weakest line asked to see.
	w, err := p.newWorld(Request{Person: Person{Known: true}, Meeting: Meeting{Level: room.Level}, Invited: true, LetIn: true, Statement: StatementValid,
		Assurance: conclave.AssuranceManaged, Grade: room.Weakest, Excepted: room.Excepted}, now)
	if err != nil {
		return []string{ClosedScreen}
	}
	req := cedar.Request{Principal: w.person.UID, Action: shareScreen, Resource: w.meeting.UID, Context: w.context}
	decision, diagnostic := cedar.Authorize(p.asked[asked{shareScreen, room.Level, false}], w, req)
	if decision != cedar.Allow || len(diagnostic.Errors) > 0 {
		return []string{ClosedScreen}
	}
	return nil
}

// MayRing says whether a member may see which of the invited are not there, and have the phone gateway ring them. It fails
// closed. Whatever the policy says, a guest, a caller and a line that others hear are told no names of people who are not in
// the room: what they learn, the directory's people have not chosen to tell them.
func (p *Policy) MayRing(req Request, now time.Time) bool {
	if req.Statement != StatementValid || req.Assurance == conclave.AssuranceGuest || req.Grade < conclave.GradeSealed || !req.Person.Known || req.Person.Removed {
		return false
	}
	req.Excepted = false
	w, err := p.newWorld(req, now)
	if err != nil {
		return false
	}
	decision, diagnostic := cedar.Authorize(p.asked[asked{ring, req.Meeting.Level, false}], w, cedar.Request{Principal: w.person.UID, Action: ring, Resource: w.meeting.UID, Context: w.context})
	return decision == cedar.Allow && len(diagnostic.Errors) == 0
}

// NeedsAssertion says whether a fresh assertion (the proven fact "assertion") is what stands in the way of joining, alone or
// among other things. To who may not ask about the meeting, nothing is needed.
func (p *Policy) NeedsAssertion(req Request, now time.Time) bool {
	before := p.joinStanding(req, now)
	if len(before) == 0 {
		return false
	}
	setFact("assertion", "fresh", true)(&req)
	return len(p.joinStanding(req, now)) < len(before)
}

// ExceptsAfterTouch is the second of Excepts for one who has yet to show a fresh assertion: a touch stands in nobody's way.
func (p *Policy) ExceptsAfterTouch(req Request, now time.Time) bool {
	setFact("assertion", "fresh", true)(&req)
	_, possible := p.Excepts(req, now)
	return possible
}

// ClaimedPlaces are the answers to "where are you?", the claimed fact "place".
func ClaimedPlaces() []string { return slices.Clone(claimedPlaces) }

var claimedPlaces = []string{"office", "home", "on_the_way", "hotel", "public_place"}

// AsksPlace says whether an answer to "where are you?" could count, for this meeting. To who may not ask about the meeting none
// does: nobody is to be asked what no rule looks at.
func (p *Policy) AsksPlace(req Request, now time.Time) bool {
	said := func(place string) (out [][]int) {
		r := req
		setFact("place", place, false)(&r)
		w, err := p.newWorld(r, now)
		if err != nil {
			return nil
		}
		if standing, err := p.standing(w, ask); err != nil || len(standing) > 0 {
			return nil
		}
		for _, question := range []cedar.EntityUID{join, walkIn} {
			standing, err := p.standing(w, question)
			if err != nil {
				return nil
			}
			out = append(out, slices.Clone(standing))
		}
		return out
	}
	// What no rule can know of stands for an answer that was not given.
	without := said("not said")
	return slices.ContainsFunc(claimedPlaces, func(place string) bool { return !slices.EqualFunc(said(place), without, slices.Equal) })
}

func (p *Policy) joinStanding(req Request, now time.Time) []int {
	w, err := p.newWorld(req, now)
	if err != nil {
		return nil
	}
	if standing, err := p.standing(w, ask); err != nil || len(standing) > 0 {
		return nil
	}
	standing, err := p.standing(w, join)
	if err != nil {
		return nil
	}
	return slices.Clone(standing)
}
