package endpoint

import (
	"context"
	"crypto/sha256"
	"errors"
	"runtime"
	"time"

	"conclave"
	"conclave/pass"
	"conclave/signal"
)

// nonceSize is that of a challenge; a shorter one would invite a server to have old nonces signed.
const nonceSize = 32

var errOutOfTurn = errors.New("endpoint: message out of turn")

// hello answers the challenge.
func (s *session) hello(m *signal.Challenge) {
	if s.greeted || len(m.Nonce) != nonceSize {
		s.lost(errOutOfTurn)
		return
	}
	sig, err := s.cfg.Identity.Signer.Sign(signal.HelloContent(m.Nonce, s.cfg.Meeting, s.cfg.Host, s.cfg.Client))
	if err != nil {
		s.finish(StateRefused, &conclave.Problem{Code: "key_unusable", Fix: "enrol_again"})
		return
	}
	s.greeted = true
	s.takeFresh()
	place := s.place
	if s.member != nil && !s.member.entered {
		place = nil // whether it was let into the group was not heard: it comes in anew
	}
	s.send(&signal.Hello{Meeting: s.cfg.Meeting, Statement: s.cfg.Identity.Statement, Signature: sig,
		Client: s.cfg.Client, Facts: s.cfg.Facts, Resume: place})
	s.after(dueAnswer, answerLimit)
}

// line is the server's view of the line, before joining. One who was in already asks again at once: the place was not
// kept.
func (s *session) line(m *signal.Line) {
	if !s.greeted {
		s.lost(errOutOfTurn)
		return
	}
	if s.asked {
		return // it answers what was said before the question
	}
	s.forget(dueAnswer)
	e := &LineEvent{Organisation: string(s.cfg.Organisation), Grade: m.Grade, Facts: m.Facts, Findings: m.Findings, AskPlace: m.AskPlace,
		Enough: m.Enough, Exceptable: m.Exceptable, Assertion: m.Assertion}
	if own, err := pass.ParseStatement(s.cfg.Identity.Statement); err == nil {
		e.Person, e.Unit = own.Name, own.Unit
	}
	s.emit(Event{Line: e})
	s.place = nil
	if s.wanted {
		s.ask()
		return
	}
	s.failed = 0
	s.enter(StateChecked)
}

// join is the person's wish to be let in.
func (s *session) join(facts []conclave.Fact) {
	s.wanted, s.facts = true, facts
	switch s.state {
	case StateChecked, StateRefused:
		s.ask()
	case StateWaiting, StateQuarantined:
		// To be looked at anew; who is let in is admitted, all else stays as it is.
		s.sendJoin()
	default:
		s.fingerprint, s.assertion = nil, nil // of a connection that is gone
	}
}

func (s *session) ask() {
	s.asked = true
	if s.state != StateReconnecting {
		s.enter(StateAsking)
	}
	s.sendJoin()
	s.after(dueAnswer, answerLimit)
}

func (s *session) sendJoin() {
	s.send(&signal.Join{Facts: s.facts, Fingerprint: s.fingerprint, Assertion: s.assertion})
	s.fingerprint, s.assertion = nil, nil
}

// refused ends a request. Where asking again may help, the endpoint stays.
func (s *session) refused(m *signal.Refused) {
	s.forget(dueAnswer)
	s.wanted, s.asked, s.lostAt = false, false, nil
	s.suspend() // one who is refused sends nothing more over a path of before
	if !m.Again {
		why := conclave.Problem{Code: "refused", Fix: "ask_administrator"}
		if len(m.Reasons) > 0 {
			why = m.Reasons[0]
		}
		s.over, s.reason, s.state = true, why, StateRefused
	}
	s.state = StateRefused
	s.emit(Event{State: &StateEvent{State: StateRefused, Reasons: m.Reasons, Again: m.Again}})
}

// admit verifies what the ruling brought, then makes the media path and the way into the group at once.
func (s *session) admit(m *signal.Admitted) {
	// Who names its place has asked: one whose keys were taken meanwhile is let in anew without another word.
	if !s.greeted || s.state == StateIn || s.state == StateEntering || !s.asked && !m.Resumed && (!s.wanted || s.place == nil) {
		s.lost(errOutOfTurn)
		return
	}
	s.forget(dueAnswer)
	if !m.Resumed && s.member != nil {
		s.suspend()
	}
	now := s.cfg.Now()
	t, withdrawn, err := newTrust(&s.cfg, s.trust, m.Grants, m.Withdrawn, m.Pass, now)
	if err != nil {
		s.abandon(problemOf(err, "grant_malformed", "ask_administrator"), err)
		return
	}
	if withdrawn > s.cfg.Withdrawn {
		s.cfg.Withdrawn = withdrawn
		s.emit(Event{Keys: &KeysEvent{Withdrawn: withdrawn}})
	}
	if m.Meeting.Level > t.own.Level || s.trust != nil && m.Meeting.Level < s.trust.want.Level {
		// The pass is not good enough for what is told; or less is told than this endpoint knows: a level is never lowered.
		s.abandon(conclave.Problem{Code: "pass_level", Fix: "join_again"}, errMeeting)
		return
	}
	if m.Resumed && s.trust != nil {
		// The group goes on asking the one that it was made with. What it is for may have changed meanwhile; the commits
		// that were missed say so.
		t.want = s.trust.want
		*s.trust = *t
	} else {
		t.want.Level = m.Meeting.Level
		s.trust = t
	}
	s.admitted = m
	s.openLedger(m)
	if !s.openMark(m) {
		return
	}
	s.passTimes(m.Pass, now)
	s.emit(Event{Meeting: s.meetingEvent(&m.Meeting)})
	s.offerMedia()
	if m.Resumed {
		s.resume(m)
		return
	}
	if s.state != StateReconnecting {
		s.enter(StateEntering)
	}
	s.place = &signal.Resume{Leg: m.Leg, Ticket: m.Ticket}
	s.enterGroup(m.Group, 0)
}

// passTimes plans the renewal of the own pass for the middle of what it has left.
func (s *session) passTimes(encoded []byte, now time.Time) {
	if p, err := pass.ParsePass(encoded); err == nil {
		s.after(dueRenew, max(p.NotAfter.Sub(now)/2, renewAtLeast))
	}
}

// offerMedia begins a new media path in place of an earlier one.
func (s *session) offerMedia() {
	if s.offer != nil {
		s.offer()
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.offer = cancel
	s.offers++
	number, slots, server := s.offers, s.admitted.Slots, s.admitted.Server
	s.wait.Go(func() {
		media, err := s.cfg.Media.Offer(ctx, slots, server)
		s.offered <- offered{number: number, ctx: ctx, media: media, err: err}
	})
	// In a browser all goroutines share one thread: the page shall make its end while we do the mathematics of joining.
	runtime.Gosched()
}

// sendMedia signs and sends this end of the media path.
func (s *session) sendMedia(o offered) {
	if o.number != s.offers || o.ctx.Err() != nil || s.admitted == nil {
		return
	}
	if errors.Is(o.err, errNoMedia) {
		return
	}
	if o.err != nil {
		s.cfg.Log.Warn("media path failed", "cause", o.err)
		s.emit(Event{Failed: &FailedEvent{Of: "media", Reason: problemOf(o.err, "media_unavailable", "check_devices")}})
		return
	}
	m := o.media
	m.ServerFingerprint = s.admitted.Server.Fingerprint
	sig, err := s.cfg.Identity.Signer.Sign(signal.MediaContent(s.cfg.Meeting, s.admitted.Leg, &m))
	if err != nil {
		s.cfg.Log.Warn("media path not signed", "cause", err)
		return
	}
	m.Signature = sig
	s.send(&m)
}

func (s *session) restartMedia() {
	if s.state == StateIn {
		// The server makes its end anew for each connection.
		s.failed = 0
		s.lost(errors.New("endpoint: media path failed"))
	}
}

// setState says what this leg shows of itself.
func (s *session) setState(state signal.State) {
	s.shown = &state
	if s.state == StateIn {
		s.send(&state)
	}
}

var errTrouble = errors.New("endpoint: the server had trouble")

// unable is a message that the server could not follow.
func (s *session) unable(m *signal.Failed) {
	s.emit(Event{Failed: &FailedEvent{Of: m.Of, Reason: m.Reason}})
	trouble := m.Reason.Code == "server_trouble"
	switch m.Of {
	case "enter", "hello", "join":
		switch {
		case m.Of == "join" && s.state != StateAsking && s.state != StateReconnecting:
			// One that asked to be looked at anew stays where it is.
		case trouble && s.wanted && s.failed < firstTries:
			s.lost(errTrouble) // it is asked again over another connection, some times; a place is kept meanwhile
		default:
			s.finish(StateRefused, &m.Reason)
		}
	case "commit":
		switch {
		case s.member == nil:
		case trouble && s.member.staged != nil:
			// It could not be recorded or kept. Those who are to go have their keys until it is.
			s.member.again = true
			s.after(dueCommit, commitAgain)
		default:
			s.member.doubtStaged()
		}
	case "renew":
		s.after(dueRenew, renewAtLeast)
	}
}

// digest names a message among the last that were applied.
func digest(b []byte) [32]byte { return sha256.Sum256(b) }
