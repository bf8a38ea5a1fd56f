package server

import (
	"slices"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/roster"
	"conclave/signal"
)

// Nobody outranks policy. Where a rule itself allows an exception, two persons make one together, with a reason and an end;
// it stands in every roster for as long as it lasts.

// mayExcept says whether one whom policy refuses may stand aside until the line is good, or two persons let pass what it lacks. Whether
// the chair is in, or anybody, has no part in it: who has no pass would learn it from the answer.
func (s *Server) mayExcept(policy *admission.Policy, now time.Time, j *judgement) bool {
	_, possible := policy.Excepts(j.request, now)
	return possible
}

// noteExceptable keeps for the roster whether a leg in quarantine may be excepted: nobody is asked for a reason to no end.
func (r *room) noteExceptable(id conclave.LegID, j *judgement) {
	possible := r.mayExcept(r.policy(), r.now(), j)
	if r.exceptable[id] == possible {
		return
	}
	if possible {
		r.exceptable[id] = true
	} else {
		delete(r.exceptable, id)
	}
	r.rosterChanged(false)
}

// excepted says whether an exception is in force that waives all of what would have to be waived for a leg now. Two persons
// have let pass what they were shown: of a line that has got worse since, in another way, they have not said so.
func (r *room) excepted(id conclave.LegID, j *judgement) bool {
	i := slices.IndexFunc(r.roster.Exceptions(), func(e roster.Exception) bool { return e.Leg == id && e.Confirmed() })
	if i < 0 || !r.roster.Excepted(id, r.now()) {
		return false
	}
	agreed := r.roster.Exceptions()[i].Waives
	waives, _ := r.policy().Excepts(j.request, r.now())
	return !slices.ContainsFunc(waives, func(p conclave.Problem) bool {
		return !slices.ContainsFunc(agreed, func(a conclave.Problem) bool { return a.Code == p.Code })
	})
}

// problemSecond tells who may not be one of the two.
var problemNoLeg = conclave.Problem{Code: "leg_unknown", Fix: "look_again"}

var problemSecond = conclave.Problem{Code: "exception_second", Fix: "ask_another_member"}

// mayVouch says whether a leg may be one of the two who make an exception: a person of the directory on a device of theirs,
// who is in by the rules. A guest, a caller, and whoever is in by an exception vouch for nobody.
func (r *room) mayVouch(by *roster.Leg) bool { return known(by) && !r.roster.Excepted(by.ID, r.now()) }

// except is the chair's wish for an exception.
func (r *room) except(by roster.Leg, m *signal.Except) error {
	if by.Role != conclave.RoleChair || by.Standing != roster.Member {
		return problemNotChair
	}
	if !r.mayVouch(&by) {
		return problemSecond
	}
	leg, ok := r.roster.Leg(m.Leg)
	if !ok || leg.Standing != roster.Quarantined {
		return problemNoLeg
	}
	a, known, err := r.askerOf(leg)
	if err != nil || !known {
		return problemNoLeg
	}
	j, err := r.judge(r.ctx, a, r.meeting.ID, true)
	if err != nil {
		return err
	}
	waives, possible := r.policy().Excepts(j.request, r.now())
	if !possible {
		return conclave.Problem{Code: "exception_not_possible", Fix: "fix_line"}
	}
	life := time.Duration(m.Minutes) * time.Minute
	if err := r.record(audit.Record{Kind: audit.KindException, Leg: leg.ID, Device: leg.Device, By: by.ID, Outcome: "wait",
		Codes: audit.Codes(waives), Reason: m.Reason, Until: r.now().Add(life)}); err != nil {
		return err
	}
	if _, err := r.roster.Except(by.ID, leg.ID, waives, m.Reason, life, r.now()); err != nil {
		return err
	}
	r.rosterChanged(true)
	return r.keepAside()
}

// confirm is a second person's word on an exception.
func (r *room) confirm(by roster.Leg, m *signal.Confirm) error {
	e, err := r.roster.MayConfirm(by.ID, m.Exception)
	if err != nil {
		return err
	}
	if m.Yes && !r.mayVouch(&by) {
		return problemSecond
	}
	if m.Yes {
		if err := r.record(audit.Record{Kind: audit.KindException, Leg: e.Leg, By: by.ID, Outcome: "admit", Codes: audit.Codes(e.Waives),
			Until: r.now().Add(e.Life)}); err != nil {
			return err
		}
	}
	r.act(r.roster.Confirm(by.ID, m.Exception, m.Yes, r.now()))
	r.rosterChanged(true)
	return r.keepAside()
}

// keepAside makes pauses and exceptions durable.
func (r *room) keepAside() error {
	if err := r.keep(); err != nil {
		r.fail("keep an exception", err)
		return err
	}
	return nil
}

// exceptionOver records that an exception has ended, and rules anew on the leg that it was for.
func (r *room) exceptionOver(e roster.ExceptionOver) {
	by := e.Exception.By
	if e.By != (conclave.LegID{}) {
		by = e.By // who declined it, not who asked
	}
	r.note(audit.Record{Kind: audit.KindException, Leg: e.Exception.Leg, By: by, Outcome: e.Outcome, Codes: audit.Codes(e.Exception.Waives)})
	if e.Exception.Confirmed() {
		r.ruleAnew(e.Exception.Leg)
	}
}
