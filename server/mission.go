package server

import (
	"context"
	"slices"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/pass"
	"conclave/signal"
)

// A mission is a test of a line before it is needed, from the place itself: would this person, on this device, be let into a
// meeting of a level? It names no meeting and tells of none; all that it says is what the person would be told anyhow.

// readinessLife is how long the answer is worth showing. The journey is a day away; what was tested may be otherwise then.
const readinessLife = 48 * time.Hour

// missionRequest makes of a judgement the request for a meeting of a level that runs, to which the person is invited.
func missionRequest(j *judgement, level conclave.Level) admission.Request {
	r := j.request
	r.Meeting = admission.Meeting{Level: level, Door: admission.DoorInvited}
	r.Invited, r.Chair, r.LetIn, r.Excepted = true, false, false, false
	return r
}

// touched returns facts as they would be with a fresh touch of the passkey.
func touched(facts []conclave.Fact) []conclave.Fact {
	return append(slices.DeleteFunc(slices.Clone(facts), func(f conclave.Fact) bool { return f.Name == "assertion" }),
		conclave.Fact{Name: "assertion", Value: "fresh", Proven: true})
}

// mission answers signal.Mission with a signed document.
func (v *visitor) mission(ctx context.Context, m *signal.Mission) error {
	if v.meeting != (conclave.MeetingID{}) {
		v.conn.send(&signal.Failed{Of: m.Type(), Reason: problemTurn})
		return nil
	}
	if !v.joins.take(joinsPerMinute/60.0, joinsPerMinute, v.now()) {
		v.conn.send(&signal.Failed{Of: m.Type(), Reason: problemTooMany})
		return nil
	}
	levels := v.policy().Levels()
	if int(m.Level) >= len(levels) {
		v.conn.send(&signal.Failed{Of: m.Type(), Reason: conclave.Problem{Code: "level_unknown", Fix: "choose_level"}})
		return nil
	}
	if len(m.Facts) > 0 {
		v.asker.claimed = m.Facts
	}
	j, err := v.judge(ctx, v.asProbed(), v.meeting, false)
	if err != nil {
		return err
	}
	answer, err := v.readiness(ctx, &j, m.Level)
	if err != nil {
		return err
	}
	v.conn.send(answer)
	return nil
}

// readiness rules, records and signs. Who may not even ask is told so without a document.
func (v *visitor) readiness(ctx context.Context, j *judgement, level conclave.Level) (*signal.Readiness, error) {
	policy, now := v.policy(), v.now()
	request := missionRequest(j, level)
	if policy.NeedsAssertion(request, now) && j.passkey {
		// The touch is for a meeting, and this device can give it there.
		request.Facts = touched(request.Facts)
	}
	ruling := policy.Rule(request, now)
	// A line without a way for sound is ready for nothing, whatever the policy says of it.
	switch way := v.tried.result.Load(); {
	case ruling.Outcome == conclave.Refuse && request.Statement == admission.StatementInvalid:
	case way == nil:
		ruling = unheard(ruling, problemUntried)
	case way.kind == "":
		ruling = unheard(ruling, *v.mediaBlocked())
	}
	answer := &signal.Readiness{Level: level, LevelName: policy.Levels().Name(level), Ready: ruling.Outcome != conclave.Refuse,
		Reasons: []conclave.Problem{}, Grants: v.cfg.Organisation.Grants}
	if !answer.Ready {
		answer.Reasons = ruling.Reasons
	}
	if request.Statement == admission.StatementInvalid {
		return answer, nil // nobody has proven to be anybody: there is nothing to sign
	}
	hash := policy.Hash()
	if _, err := v.audit.Record(ctx, audit.Record{Kind: audit.KindMission, Time: now, Device: v.asker.device, Outcome: outcomeWord(ruling.Outcome),
		Grade: &ruling.Grade, Level: &level, Codes: audit.Codes(answer.Reasons), Facts: provenOnly(request.Facts), Policy: hash[:]}); err != nil {
		return nil, err
	}
	codes := audit.Codes(answer.Reasons)
	doc := &pass.Readiness{Organisation: v.cfg.Organisation.ID, Person: v.asker.statement.Person, Device: v.asker.device, Level: level, LevelName: answer.LevelName,
		Ready: answer.Ready, Codes: codes[:min(len(codes), 16)], Network: factOf(request.Facts, "network"), Country: factOf(request.Facts, "country"), Media: factOf(request.Facts, "media"),
		Grade: ruling.Grade, PolicyHash: hash, NotBefore: now, NotAfter: now.Add(readinessLife)}
	var err error
	answer.Document, err = v.cfg.Organisation.SignReadiness(doc)
	return answer, err
}

var problemUntried = conclave.Problem{Code: "media_untried", Fix: "update_client"}

// unheard is a ruling on a line by which no sound comes.
func unheard(r conclave.Ruling, why conclave.Problem) conclave.Ruling {
	if r.Outcome != conclave.Refuse {
		r.Outcome, r.Reasons = conclave.Refuse, nil // that the chair would be asked is of no weight any more
	}
	r.Reasons = append(r.Reasons, why)
	return r
}

// factOf returns the value of a proven fact, "" if it is not known.
func factOf(facts []conclave.Fact, name string) string {
	i := slices.IndexFunc(facts, func(f conclave.Fact) bool { return f.Proven && f.Name == name })
	if i < 0 {
		return ""
	}
	return facts[i].Value
}
