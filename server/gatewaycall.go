package server

import (
	"context"
	"errors"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/identity"
	"conclave/line"
	"conclave/pass"
	"conclave/roster"
	"conclave/server/records"
	"conclave/server/reply"
	"conclave/signal"
)

// What becomes of phone calls. A call is ruled on as any leg is; what is particular is how its person is known, and that its
// gateway is told why it is refused, so that it can be said.

var (
	problemCodeWrong = conclave.Problem{Code: "phone_code_wrong", Fix: "ask_chair_for_code"}
	problemBraked    = conclave.Problem{Code: "phone_codes_braked", Fix: "wait_an_hour"}
	problemNoPhone   = conclave.Problem{Code: "phone_not_allowed", Fix: "use_enrolled_device"}
	problemStruckOff = conclave.Problem{Code: "person_removed", Fix: "ask_administrator"}
	problemReplaced  = conclave.Problem{Code: "replaced", Fix: "use_other_device"}
	problemGateway   = conclave.Problem{Code: "phone_no_gateway", Fix: "ask_administrator"}
	problemNoNumber  = conclave.Problem{Code: "phone_no_number", Fix: "ask_administrator"}
	problemRingSoon  = conclave.Problem{Code: "phone_ring_too_soon", Fix: "wait_a_minute"}
	problemNotChair  = conclave.Problem{Code: "not_chair", Fix: "ask_chair"}
	problemRingSpent = conclave.Problem{Code: "phone_rings_spent", Fix: "ring_later"}

	problemRingPerson  = conclave.Problem{Code: "phone_rings_person", Fix: "ring_in_hours"}
	problemRingMeeting = conclave.Problem{Code: "phone_rings_meeting", Fix: "ring_later"}
)

// receive takes a message of a gateway that is known.
func (g *gateway) receive(m signal.Message) {
	ctx := g.conn.ctx
	switch m := m.(type) {
	case *signal.CallCame:
		g.came(ctx, m)
	case *signal.CallCode:
		g.check(m)
	case *signal.CallKey:
		g.key(ctx, m)
	case *signal.CallBack:
		g.callBack(m)
	case *signal.CallOver:
		g.overWith(ctx, m)
	}
}

// came takes a call on, and says whether there is anything that it could be let into.
func (g *gateway) came(ctx context.Context, m *signal.CallCame) {
	c := &phoneCall{id: m.Call, gateway: g.device, line: m.Line, caller: callerTag(m.Trunk, m.Caller), left: codeTries}
	answer := &signal.CallScreened{Call: m.Call}
	ask, err := g.screen(ctx, m.Line)
	switch {
	case err != nil:
		g.cfg.Log.Error("call not screened", "cause", err)
		answer.Reasons = []conclave.Problem{reply.Trouble}
	case !g.phones.mayTry(c.caller, g.now()):
		answer.Reasons = []conclave.Problem{problemBraked}
	case !ask:
		answer.Reasons = []conclave.Problem{problemNoPhone}
	case !g.phones.add(c):
		answer.Reasons = []conclave.Problem{problemTooMany}
	default:
		answer.Ask = true
	}
	if !answer.Ask {
		g.recordCall(ctx, &phoneCall{gateway: g.device}, "refuse", answer.Reasons)
	}
	g.conn.send(answer)
}

// screen says whether any code that is good now could let a call on such a line in, or have its person rung on a better one.
func (g *gateway) screen(ctx context.Context, l signal.PhoneLine) (bool, error) {
	now := g.now()
	if ask, known := g.phones.wasScreened(l, now); known {
		return ask, nil
	}
	codes, err := g.directory.PhoneCodes(ctx, now)
	if err != nil {
		return false, err
	}
	ask := false
	seen := map[conclave.MeetingID]bool{}
	for _, c := range codes {
		if seen[c.Meeting] {
			continue
		}
		seen[c.Meeting] = true
		meeting, err := g.directory.Meeting(ctx, c.Meeting)
		if err != nil {
			continue
		}
		person, err := g.directory.Person(ctx, c.Person)
		if err != nil {
			continue
		}
		if g.wouldAdmit(&meeting, &person, l) || person.Phone != "" && g.wouldAdmit(&meeting, &person, signal.PhoneHop) {
			ask = true
			break
		}
	}
	g.phones.keepScreened(l, ask, now)
	return ask, nil
}

// wouldAdmit says whether a call of a person on such a line would be let in or heard at the door.
func (s *Server) wouldAdmit(m *identity.Meeting, p *identity.Person, l signal.PhoneLine) bool {
	c := phoneCall{line: l}
	a := line.Assess(line.Input{Kind: c.kind(), Enrolled: true, Proven: c.facts()}, s.networks())
	ruling := s.policy().Rule(admission.Request{
		Person:  admission.Person{ID: p.ID, Known: p.Removed == nil, Removed: p.Removed != nil, Unit: p.Unit},
		Meeting: admission.Meeting{ID: m.ID, Level: m.Level, Door: admission.Door(m.Door), Ended: m.Ended != nil},
		Invited: m.Invited(p.ID), Chair: m.Chair == p.ID, Statement: admission.StatementValid, Grade: a.Grade, Facts: a.Facts,
	}, s.now())
	return ruling.Outcome != conclave.Refuse
}

// check looks at a code in a goroutine of its own: it takes a tenth of a second, and others shall not wait for it.
func (g *gateway) check(m *signal.CallCode) {
	busy := false
	known := g.phones.change(m.Call, g.device, func(c *phoneCall) {
		busy = c.busy || c.out || c.device != conclave.DeviceID{}
		c.busy = true
	})
	if !known || busy {
		g.conn.send(&signal.CallAnswer{Call: m.Call, Reasons: []conclave.Problem{problemTurn}})
		return
	}
	select {
	case g.checks <- struct{}{}:
	default:
		g.phones.change(m.Call, g.device, func(c *phoneCall) { c.busy = false })
		g.conn.send(&signal.CallAnswer{Call: m.Call, Reasons: []conclave.Problem{problemTooMany}})
		return
	}
	g.wait.Go(func() {
		defer func() { <-g.checks }()
		answer := g.code(g.conn.ctx, m)
		g.phones.change(m.Call, g.device, func(c *phoneCall) { c.busy = false })
		g.conn.send(answer)
	})
}

// code finds out whose code it is, and rules on the call.
func (g *gateway) code(ctx context.Context, m *signal.CallCode) *signal.CallAnswer {
	answer := &signal.CallAnswer{Call: m.Call}
	what, why := g.try(ctx, m, answer)
	if why != nil {
		answer.Reasons = []conclave.Problem{*why}
		return answer
	}
	answer.Right = true
	g.phones.change(m.Call, g.device, func(c *phoneCall) { c.person, c.meeting = what.Person, what.Meeting })
	g.admitCall(ctx, m.Call, m.LeafKey, m.Proof, answer)
	return answer
}

// try looks at a code, one at a time, as codes are hashed anyhow: of many that come at once none is looked at beyond the brakes.
func (g *gateway) try(ctx context.Context, m *signal.CallCode, answer *signal.CallAnswer) (what identity.PhoneCode, why *conclave.Problem) {
	g.phones.trying.Lock()
	defer g.phones.trying.Unlock()
	c, ok := g.phones.take(m.Call, g.device)
	switch {
	case !ok:
		return what, &problemTurn
	case c.left <= 0:
		return what, &problemCodeWrong
	case !g.phones.mayTry(c.caller, g.now()):
		return what, &problemBraked
	}
	what, err := g.directory.PhoneCode(ctx, m.Code, g.now())
	if errors.Is(err, identity.ErrCode) {
		g.phones.change(m.Call, g.device, func(c *phoneCall) { c.left--; answer.Left = c.left })
		if g.phones.wasWrong(c.caller, g.now()) {
			// Somebody is guessing. The log is what an operator watches; the record is what an investigation reads.
			g.cfg.Log.Error("phone codes are being guessed: calls are braked", "gateway", g.device)
			g.recordCall(ctx, &c, "refuse", []conclave.Problem{problemBraked})
		}
		return what, &problemCodeWrong
	}
	if err != nil {
		g.cfg.Log.Error("phone code not looked at", "cause", err)
		return what, &reply.Trouble
	}
	return what, nil
}

// key takes the key of a call that the server asked for: who took it has consented.
func (g *gateway) key(ctx context.Context, m *signal.CallKey) {
	answer := &signal.CallAnswer{Call: m.Call, Right: true}
	c, ok := g.phones.take(m.Call, g.device)
	switch {
	case !ok || !c.out || c.device != conclave.DeviceID{}:
		answer.Right, answer.Reasons = false, []conclave.Problem{problemTurn}
	case c.secure && m.Line != signal.PhoneHop:
		answer.Reasons = []conclave.Problem{problemNoPhone}
	default:
		g.phones.change(m.Call, g.device, func(c *phoneCall) { c.line = m.Line })
		g.admitCall(ctx, m.Call, m.LeafKey, m.Proof, answer)
	}
	g.conn.send(answer)
}

// admitCall gives a call whose person is known a statement, or says why not.
func (g *gateway) admitCall(ctx context.Context, id signal.CallID, leafKey, proof []byte, answer *signal.CallAnswer) {
	no := func(why ...conclave.Problem) { answer.Reasons = why }
	if !verifyLeaf(leafKey, signal.CallContent(g.nonce[:], id), proof) {
		no(reply.Malformed)
		return
	}
	c, ok := g.phones.take(id, g.device)
	if !ok {
		no(problemTurn)
		return
	}
	statement, err := g.directory.SignCall(ctx, c.person, leafKey, g.device, g.now())
	if err != nil {
		no(problemOf(err, reply.Trouble))
		return
	}
	parsed, err := pass.ParseStatement(statement)
	if err != nil {
		panic("server: own statement cannot be read: " + err.Error())
	}
	device := parsed.Device()
	if !g.phones.seat(id, g.device, device) {
		no(problemTurn)
		return
	}
	j, err := g.judge(ctx, &asker{address: g.conn.address, transport: transportPlain, encoded: statement, statement: parsed, device: device}, c.meeting, false)
	var ruling conclave.Ruling
	if err == nil {
		ruling, err = g.rule(ctx, &j, c.meeting, conclave.LegID{}, device)
	}
	if err != nil {
		g.cfg.Log.Error("call not ruled on", "cause", err)
		g.phones.unseat(device)
		no(reply.Trouble)
		return
	}
	if ruling.Outcome == conclave.Refuse {
		g.phones.unseat(device)
		no(ruling.Reasons...)
		g.refused(ctx, &c, ruling.Reasons, answer)
		return
	}
	// Only a call that may come in takes the place of the one before: a worse line ends no better one.
	if older := g.phones.replaced(device); older != nil {
		g.endCall(older, problemReplaced)
		g.dropCalls([]*phoneCall{older})
	}
	g.recordCall(ctx, &c, outcomeWord(ruling.Outcome), nil)
	answer.Statement, answer.Meeting = statement, c.meeting
}

// refused tells those concerned of a call with a right code that was refused: the person's own devices, with the way in, and
// the chair of the room. It finds out whether a call-back could do better.
func (g *gateway) refused(ctx context.Context, c *phoneCall, reasons []conclave.Problem, answer *signal.CallAnswer) {
	g.recordCall(ctx, c, "refuse", reasons)
	link := "/m/" + c.meeting.Text()
	g.notify(ctx, c.person, &signal.Notice{Notice: conclave.Problem{Code: "call_refused", Fix: "open_link"}, Link: link})
	person, err := g.directory.Person(ctx, c.person)
	if err != nil {
		return
	}
	g.tellChairs(c.meeting, &signal.Notice{Notice: conclave.Problem{Code: "call_refused_room",
		Args: map[string]string{"name": person.Name, "person": string(c.person), "line": string(c.line)}, Fix: "ring_back"}})
	meeting, err := g.directory.Meeting(ctx, c.meeting)
	if err != nil || c.out || person.Phone == "" || c.line == signal.PhoneHop || !g.wouldAdmit(&meeting, &person, signal.PhoneHop) {
		return
	}
	answer.CallBack = true
	g.phones.change(c.id, g.device, func(c *phoneCall) { c.asked = true })
}

// ringAfter is how long a telephone that asked to be rung is given to be free: its call is over when its gateway says so, but
// the other end may still be told.
const ringAfter = 2 * time.Second

// callBack rings the person of a refused call, once that is over.
func (g *gateway) callBack(m *signal.CallBack) {
	c, ok := g.phones.take(m.Call, g.device)
	if !ok || !c.asked {
		g.conn.send(&signal.Failed{Of: m.Type(), Reason: problemTurn})
		return
	}
	g.phones.change(m.Call, g.device, func(c *phoneCall) { c.asked = false })
	if !g.begin() {
		return
	}
	go func() {
		defer g.Server.wait.Done()
		if !records.Pause(g.Server.ctx, ringAfter) {
			return
		}
		if err := g.ringPerson(g.Server.ctx, c.meeting, c.person, conclave.LegID{}); err != nil {
			g.cfg.Log.Warn("call-back not made", "cause", err)
			g.tellChairs(c.meeting, &signal.Notice{Notice: conclave.Problem{Code: "ring_unanswered", Fix: "ring_back"}})
			return
		}
		g.absentChanged(c.meeting)
	}()
}

// ring is a member's wish to have a person rung; it runs on the room's goroutine. Whom policy does not let is told the same of
// everybody, invited or not.
func (r *room) ring(leg roster.Leg, m *signal.Ring) error {
	if s := r.seats[leg.ID]; leg.Standing != roster.Member || !s.asker.rings {
		return problemNotChair
	}
	if r.roster.Shut() != nil {
		return problemRingShut
	}
	if err := r.ringPerson(r.ctx, r.meeting.ID, m.Person, leg.ID); err != nil {
		return err
	}
	r.rosterChanged(false)
	return nil
}

// ringPerson has a gateway ring an invited person at the number that the directory has, and nowhere else.
func (s *Server) ringPerson(ctx context.Context, id conclave.MeetingID, who conclave.PersonID, by conclave.LegID) error {
	meeting, err := s.directory.Meeting(ctx, id)
	if err != nil {
		return err
	}
	if !meeting.Invited(who) {
		return conclave.Problem{Code: "not_invited", Fix: "ask_chair"}
	}
	person, err := s.directory.Person(ctx, who)
	if err != nil {
		return err
	}
	secure, why := s.reachable(&meeting, &person)
	if why != nil {
		return *why
	}
	g := s.phones.any()
	if g == nil {
		return problemGateway
	}
	if why := s.phones.mayRing(id, who, s.now()); why != nil {
		return *why
	}
	c := &phoneCall{id: signal.NewCallID(), gateway: g.device, line: signal.PhoneOpen, person: who, meeting: id, out: true, secure: secure}
	if _, err := s.audit.Record(ctx, audit.Record{Kind: audit.KindRing, Time: s.now(), Meeting: id, By: by, Person: who}); err != nil {
		return err
	}
	if !s.phones.add(c) {
		return problemGateway
	}
	g.conn.send(&signal.RingOut{Call: c.id, Address: person.Phone, Secure: c.secure})
	return nil
}

// overWith takes the word that a call has ended.
func (g *gateway) overWith(ctx context.Context, m *signal.CallOver) {
	c := g.phones.over(m.Call, g.device)
	if c == nil {
		return
	}
	g.recordCall(ctx, c, "done", []conclave.Problem{{Code: "call_" + m.Outcome}})
	if c.out && c.device == (conclave.DeviceID{}) {
		g.tellRung(ctx, c, m.Outcome)
	}
	g.dropCalls([]*phoneCall{c})
}

// tellRung tells the chair what became of a ring that brought nobody in.
func (g *gateway) tellRung(ctx context.Context, c *phoneCall, outcome string) {
	person, err := g.directory.Person(ctx, c.person)
	if err != nil {
		return
	}
	why := conclave.Problem{Code: "ring_unanswered", Fix: "ring_back"}
	switch outcome {
	case "no_consent", "refused":
		why = conclave.Problem{Code: "ring_declined", Fix: "ring_back"}
	case "forbidden":
		why = conclave.Problem{Code: "ring_impossible", Fix: "ask_administrator"}
	case "failed":
		why = conclave.Problem{Code: "ring_failed", Fix: "ring_back"}
	}
	why.Args = map[string]string{"name": person.Name, "person": string(c.person)}
	g.tellChairs(c.meeting, &signal.Notice{Notice: why})
}

// recordCall notes what became of a call. It is no permission: what lets somebody in is recorded by the ruling.
func (s *Server) recordCall(ctx context.Context, c *phoneCall, outcome string, why []conclave.Problem) {
	rec := audit.Record{Kind: audit.KindCall, Time: s.now(), Meeting: c.meeting, Device: c.gateway, Outcome: outcome, Codes: audit.Codes(why)}
	if c.line != "" {
		rec.Facts = c.facts()
	}
	if _, err := s.audit.Record(context.WithoutCancel(ctx), rec); err != nil {
		s.cfg.Log.Error("no record of a call", "cause", err)
	}
}

// endCall tells a call's gateway to end it.
func (s *Server) endCall(c *phoneCall, why conclave.Problem) {
	if conn := s.phones.conn(c.gateway); conn != nil {
		conn.send(&signal.CallEnd{Call: c.id, Reason: why})
	}
}

// endCalls ends calls that are no more, and puts out their legs.
func (s *Server) endCalls(gone []*phoneCall, why conclave.Problem) {
	for _, c := range gone {
		s.endCall(c, why)
	}
	s.dropCalls(gone)
}

// dropCalls puts out the legs of calls that are no more. Their statements count for nothing from now on.
func (s *Server) dropCalls(gone []*phoneCall) {
	for _, c := range gone {
		if (c.device != conclave.DeviceID{}) {
			s.recheck(c.device)
		}
		if c.out {
			s.absentChanged(c.meeting)
		}
	}
}

// tellChairs tells those in a room that is open who may know of calls: the chair on an enrolled device, and whoever may have
// people rung. What is told names people who are not there.
func (s *Server) tellChairs(id conclave.MeetingID, m *signal.Notice) {
	r := s.find(id)
	if r == nil {
		return
	}
	frame := signal.Encode(m)
	r.post(func() {
		for leg, seat := range r.seats {
			if l, ok := r.roster.Leg(leg); ok && l.Standing == roster.Member &&
				(seat.asker.rings || l.Role == conclave.RoleChair && seat.asker.statement.Kind == pass.KindDevice) {
				seat.conn.sendFrame(frame)
			}
		}
	})
}
