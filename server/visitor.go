package server

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/pass"
	"conclave/server/reply"
	"conclave/signal"
)

const (
	// helloDue is how long a connection may be silent on what it wants.
	helloDue = 10 * time.Second
	// joinsPerMinute bounds how often one connection may ask: each request is ruled and recorded.
	joinsPerMinute = 20
)

// visitor is what a connection goes through before it is a leg in a room: hello, line, join. It belongs to the goroutine
// that serves the connection.
type visitor struct {
	*Server
	conn    *conn
	host    string // as the client wrote it
	nonce   [32]byte
	meeting conclave.MeetingID
	asker   *asker // nil before a good hello
	proven  bool   // it has a person's own device, whose statement is good: notices are told and read
	joins   bucket
	room    *room // nil before the door
	leg     conclave.LegID
	tried   tried // the way of sound, before there is a leg
}

func newVisitor(s *Server, c *conn, host string) *visitor {
	return &visitor{Server: s, conn: c, host: host}
}

// serve reads messages until the connection ends.
func (v *visitor) serve() {
	defer v.depart()
	if _, err := io.ReadFull(v.cfg.Rand, v.nonce[:]); err != nil {
		return
	}
	hello := time.AfterFunc(helloDue, v.conn.kill)
	defer hello.Stop()
	v.conn.send(&signal.Challenge{Nonce: v.nonce[:], Time: v.now()})
	for {
		m, err := v.conn.read()
		if errors.Is(err, signal.ErrFrame) {
			// A client that speaks another language is not worth guessing at.
			v.conn.log.Info("malformed signalling frame", "cause", err)
			v.conn.end(reply.Malformed)
			return
		}
		if errors.Is(err, errTooMany) {
			v.conn.log.Warn("signalling connection ended: it sends more than a leg does")
			v.conn.end(problemTooMany)
			return
		}
		if err != nil {
			return
		}
		if _, ok := m.(*signal.Hello); ok {
			hello.Stop()
		}
		lives, err := v.heed(v.conn.ctx, m)
		if !lives {
			return
		}
		v.conn.allowLarge(v.room != nil)
		if err != nil {
			v.cfg.Log.Error("signalling failed", "message", m.Type(), "cause", err)
			v.conn.send(&signal.Failed{Of: m.Type(), Reason: reply.Trouble})
		}
	}
}

// heed does what a message says. It returns false when the room has ended.
func (v *visitor) heed(ctx context.Context, m signal.Message) (lives bool, err error) {
	if read, ok := m.(*signal.Read); ok && v.proven {
		v.read(ctx, v.asker.statement.Person, v.asker.device, read.ID)
		return true, nil
	}
	if v.room == nil {
		return true, v.before(ctx, m)
	}
	switch m := m.(type) {
	case *signal.Hello:
		return true, v.hello(ctx, m)
	case *signal.Join:
		if len(m.Assertion) > 0 {
			return true, v.askAnew(ctx, m)
		}
	}
	room, leg := v.room, v.leg
	return room.press(func() { room.receive(leg, v.conn, m) }, room.ahead(leg, v.conn, m)), nil
}

// before takes what is said before the door.
func (v *visitor) before(ctx context.Context, m signal.Message) error {
	switch m := m.(type) {
	case *signal.Hello:
		return v.hello(ctx, m)
	case *signal.Join:
		return v.join(ctx, m)
	}
	if v.asker != nil {
		switch m := m.(type) {
		case *signal.Facts:
			v.asker.claimed = m.Facts
			return v.tellLine(ctx, m)
		case *signal.Restate:
			return v.restate(ctx, m)
		case *signal.Mission:
			return v.mission(ctx, m)
		case *signal.Probe:
			return v.probe(ctx, m)
		}
	}
	v.conn.send(&signal.Failed{Of: m.Type(), Reason: problemTurn})
	return nil
}

// depart is what the end of the connection means for the leg.
func (v *visitor) depart() {
	v.tried.end()
	if v.room == nil {
		return
	}
	room, leg := v.room, v.leg
	room.post(func() { room.disconnected(leg, v.conn) })
	v.detach(room)
}

// refuse ends a request.
func (v *visitor) refuse(reasons []conclave.Problem) {
	again := mayAskAgain(reasons)
	v.conn.send(&signal.Refused{Reasons: reasons, Again: again})
	if !again {
		v.conn.finish()
	}
}

func (v *visitor) hello(ctx context.Context, m *signal.Hello) error {
	if v.asker != nil {
		v.conn.send(&signal.Failed{Of: m.Type(), Reason: problemTurn})
		return nil
	}
	statement, problem := v.checkHello(m, v.nonce[:], v.host)
	if problem != nil {
		v.refuse([]conclave.Problem{*problem})
		return nil
	}
	v.meeting = m.Meeting
	v.asker = &asker{address: v.conn.address, transport: v.conn.transport, encoded: m.Statement, statement: statement, device: statement.Device(), claimed: m.Facts,
		client: m.Client, way: v.conn.way, steady: newSteady(), nonce: v.nonce}
	j, err := v.judge(ctx, v.asker, v.meeting, m.Resume != nil)
	if err != nil {
		return err
	}
	v.proven = j.request.Statement == admission.StatementValid && statement.Kind == pass.KindDevice
	if m.Resume != nil {
		back, err := v.resume(ctx, &j, m.Resume)
		if back && err == nil {
			v.tellAll(ctx)
		}
		if back || err != nil {
			return err
		}
	}
	if err := v.sayLine(ctx, &j); err != nil {
		return err
	}
	v.tellAll(ctx)
	return nil
}

// tellAll tells a person what waits for them, if they have proven a device of theirs.
func (v *visitor) tellAll(ctx context.Context) {
	if v.proven {
		v.tellWaiting(ctx, v.asker.device, v.conn)
		v.tellNotices(ctx, v.asker.statement.Person, v.conn)
	}
}

// tellLine judges anew and says what is known of the line since what.
func (v *visitor) tellLine(ctx context.Context, what signal.Message) error {
	if !v.joins.take(joinsPerMinute/60.0, joinsPerMinute, v.now()) {
		v.conn.send(&signal.Failed{Of: what.Type(), Reason: problemTooMany})
		return nil
	}
	j, err := v.judge(ctx, v.asProbed(), v.meeting, false)
	if err != nil {
		return err
	}
	return v.sayLine(ctx, &j)
}

// sayLine tells what was found of the line, and whether it would do.
func (v *visitor) sayLine(ctx context.Context, j *judgement) error {
	// What would be ruled now, without LetIn. This is advice: it is recorded once it is a request.
	j.request.LetIn = false
	request := j.request
	if v.meeting == (conclave.MeetingID{}) {
		request = missionRequest(j, 0) // no meeting is meant: this is the line alone
	}
	ruling := v.policy().Rule(request, v.now())
	line := &signal.Line{Grade: j.assessment.Grade, Facts: j.assessment.Facts, Findings: j.assessment.Findings, Enough: ruling.Outcome != conclave.Refuse}
	if !line.Enough {
		told := func(f conclave.Problem) bool {
			return slices.ContainsFunc(ruling.Reasons, func(r conclave.Problem) bool { return r.Code == f.Code })
		}
		line.Findings = append(ruling.Reasons, slices.DeleteFunc(line.Findings, told)...)
	}
	if v.meeting == (conclave.MeetingID{}) {
		// A mission may be for any level: the highest looks at most.
		request = missionRequest(j, conclave.Level(len(v.policy().Levels())-1))
	}
	line.AskPlace = request.Statement == admission.StatementValid && v.policy().AsksPlace(request, v.now())
	var err error
	if line.Assertion, err = v.assertionWanted(ctx, v.asker, j); err != nil {
		return err
	}
	// A touch at the join is no shortcoming of the line.
	if line.Assertion != nil {
		touch := func(f conclave.Problem) bool { return f.Code == "assertion_missing" }
		line.Enough = line.Enough || !slices.ContainsFunc(ruling.Reasons, func(f conclave.Problem) bool { return !touch(f) })
		line.Findings = slices.DeleteFunc(line.Findings, touch)
	}
	line.Exceptable = !line.Enough && v.meeting != (conclave.MeetingID{}) && (v.mayExcept(v.policy(), v.now(), j) ||
		line.Assertion != nil && v.policy().ExceptsAfterTouch(j.request, v.now()))
	if j.revoked {
		line.Findings = []conclave.Problem{problemRevoked} // all else follows from it
	}
	v.quiet(j)
	v.conn.send(line)
	return nil
}

// resume brings the leg back to its place, if it is kept: there it is ruled on.
func (v *visitor) resume(ctx context.Context, j *judgement, m *signal.Resume) (bool, error) {
	// Who has proven nothing gets neither a record nor an answer that takes longer where there is such a room.
	if j.request.Statement != admission.StatementValid || !j.request.Invited && !j.request.Chair {
		return false, nil
	}
	if !v.runs(v.meeting) {
		return false, nil
	}
	room, err := v.attach(ctx, v.meeting)
	if err != nil {
		return false, err
	}
	var back bool
	asked := *v.asker
	if !room.ask(func() { back = room.resume(m, &seat{conn: v.conn, asker: asked}) }) || !back {
		v.detach(room)
		return false, nil
	}
	v.room, v.leg = room, m.Leg
	return true, nil
}

func (v *visitor) join(ctx context.Context, m *signal.Join) error {
	if v.asker == nil || v.room != nil {
		v.conn.send(&signal.Failed{Of: m.Type(), Reason: problemTurn})
		return nil
	}
	if !v.joins.take(joinsPerMinute/60.0, joinsPerMinute, v.now()) {
		v.conn.send(&signal.Failed{Of: m.Type(), Reason: problemTooMany})
		return nil
	}
	if len(m.Facts) > 0 {
		v.asker.claimed = m.Facts
	}
	problem, err := v.assertion(ctx, m)
	if err != nil {
		return err
	}
	if problem != nil {
		if err := v.notAsserted(ctx, *problem); err != nil {
			return err
		}
		v.conn.send(&signal.Refused{Reasons: []conclave.Problem{*problem}, Again: true})
		return nil
	}
	j, err := v.judge(ctx, v.asker, v.meeting, false)
	if err != nil {
		return err
	}
	leg, err := conclave.NewLegID(v.cfg.Rand)
	if err != nil {
		return err
	}
	// Who is refused whatever anybody says opens no room.
	policy, now := v.policy(), v.now() // taken once: what is recorded and told is what was decided
	if ruling, rec := v.ruling(policy, now, &j, v.meeting, leg, v.asker.device); ruling.Outcome == conclave.Refuse && !v.mayExcept(policy, now, &j) {
		if j.request.Statement == admission.StatementInvalid && !j.revoked {
			v.noteRefused(ctx, rec) // anybody can make a statement: the records of strangers are bounded
		} else if err := v.recordRuling(ctx, &j, &ruling, rec); err != nil {
			return err
		}
		if j.revoked {
			ruling.Reasons = []conclave.Problem{problemRevoked}
		}
		v.quiet(&j)
		v.refuse(ruling.Reasons)
		return nil
	}
	room, err := v.attach(ctx, v.meeting)
	if err != nil {
		return v.unopened(ctx, &j, leg, err)
	}
	s := &seat{conn: v.conn, asker: *v.asker}
	var joined bool
	if !room.ask(func() { joined = room.join(leg, s) }) {
		err = errClosing
	}
	if !joined {
		v.detach(room)
		return err
	}
	v.room, v.leg = room, leg
	return nil
}
