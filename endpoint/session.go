package endpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"conclave"
	"conclave/signal"
)

// session is the state of a running Endpoint. All of it is owned by the goroutine of Run.
type session struct {
	*Endpoint
	ctx    context.Context // of everything that the session starts; ends with Run
	cancel context.CancelFunc
	wait   sync.WaitGroup // all goroutines of the session

	state    State
	leaving  bool
	over     bool
	reason   error              // why it is over; nil by own wish
	reasons  []conclave.Problem // of the quarantine
	early    bool               // of waiting: for the meeting to start
	level    string             // of quarantined: the level that the line is held against
	exposed  bool               // a leaf that lapsed long ago is still in the group: nothing is sent
	resuming bool               // commits that were missed are applied
	held     bool               // the owner of media was told to send nothing
	out      *conclave.Problem  // what dueEnd tells; nil by own wish

	// The connection.
	wire     *wire // nil while there is none
	wires    int
	failed   int // dials and short-lived connections in a row
	heard    time.Time
	pings    uint64
	arrivals chan arrival
	dialled  chan dialled
	greeted  bool // hello sent on this wire
	asked    bool // join sent on this wire
	lostAt   *time.Time

	// What the person wants.
	wanted bool // has asked to join: after a reconnect the endpoint asks again by itself
	facts  []conclave.Fact
	shown  *signal.State
	// fingerprint and assertion are for the next Join; an assertion is good for one.
	fingerprint, assertion []byte

	fresh    []byte         // a statement by which the server does not go yet; nil: none
	place    *signal.Resume // the leg to come back to, nil if none
	admitted *signal.Admitted
	trust    *trust
	member   *membership // nil before the first
	roster   *signal.Roster
	absent   []signal.Invited     // who is invited and not there; only for whom policy lets know
	said     *signal.Slots        // the last, as the server said it; nil before the first
	looked   time.Time            // when roster and tree were last held against each other
	alarms   map[string]time.Time // when each was last raised
	heartbeat
	ledger ledger
	mark   mark

	offered chan offered
	offer   context.CancelFunc // ends the latest path; nil if there is none
	offers  int

	due [deadlines]time.Time
}

// deadline is one of the moments for which a session waits.
type deadline int

const (
	dueDial    deadline = iota // connect again
	duePing                    // say that we live, and look whether the server does
	dueAnswer                  // a hello or enter should have been answered
	dueEnd                     // leave without the server's answer
	dueCommit                  // commit the pending removals: it is our turn
	dueRefresh                 // renew the own leaf's keys
	dueRenew                   // ask for a fresh pass
	dueRetire                  // wipe an old epoch
	dueLook                    // hold roster, tree and passes against each other
	dueListen                  // miss members who are not heard
	dueLapse                   // put out members whose pass has lapsed
	dueLedger                  // hand in a minute of the speech ledger
	deadlines
)

// answerLimit is how long a hello or an enter may go unanswered; a ruling takes milliseconds.
const answerLimit = 10 * time.Second

type dialled struct {
	conn Conn
	err  error
}

type offered struct {
	number int
	ctx    context.Context
	media  signal.Media
	err    error
}

// Run follows the meeting until it is over for this leg. It returns nil after Leave, the conclave.Problem where the leg
// was refused, removed or alarmed, or ctx's error. It may be called once.
func (e *Endpoint) Run(ctx context.Context) error {
	s := &session{
		Endpoint: e,
		arrivals: make(chan arrival, arrivalsQueue),
		dialled:  make(chan dialled, 1),
		offered:  make(chan offered, 1),
		alarms:   make(map[string]time.Time),
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer s.close()
	s.enter(StateConnecting)
	s.dial()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !s.over {
		timer.Reset(s.pause())
		select {
		case <-ctx.Done():
			s.leave()
			if !s.over {
				s.finish(StateEnded, nil)
			}
			s.reason = ctx.Err()
		case command := <-e.commands:
			command(s)
		case a := <-s.arrivals:
			s.arrive(a)
		case d := <-s.dialled:
			s.connected(d)
		case o := <-s.offered:
			s.sendMedia(o)
		case <-timer.C:
		}
		s.tick()
	}
	return s.reason
}

// close ends all that the session started and wipes its keys.
func (s *session) close() {
	if s.wire != nil {
		s.wire.close()
	}
	s.cancel()
	s.cfg.Media.Close()
	if s.member != nil {
		s.member.wipe()
	}
	done := make(chan struct{})
	go func() { s.wait.Wait(); close(done) }()
	for {
		// Goroutines may wait to hand over what nobody wants any more.
		select {
		case d := <-s.dialled:
			if d.conn != nil {
				d.conn.Close()
			}
		case <-s.arrivals:
		case <-s.offered:
		case <-done:
			return
		}
	}
}

// pause returns how long nothing is due.
func (s *session) pause() time.Duration {
	next := s.cfg.Now().Add(time.Hour)
	for _, t := range s.due {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return max(next.Sub(s.cfg.Now()), 0)
}

// after sets a deadline.
func (s *session) after(d deadline, wait time.Duration) { s.due[d] = s.cfg.Now().Add(wait) }

func (s *session) forget(d deadline) { s.due[d] = time.Time{} }

// tick does what is due.
func (s *session) tick() {
	acts := [deadlines]func(){
		dueDial:    s.dial,
		duePing:    s.ping,
		dueAnswer:  func() { s.lost(errSilence) },
		dueEnd:     func() { s.finish(StateEnded, s.out) },
		dueCommit:  s.commitRemovals,
		dueRefresh: s.refresh,
		dueRenew:   s.renew,
		dueRetire:  s.retire,
		dueLook:    s.look,
		dueListen:  s.listen,
		dueLapse:   s.enforce,
		dueLedger:  s.writeLedger,
	}
	now := s.cfg.Now()
	for d, act := range acts {
		if t := s.due[d]; !s.over && !t.IsZero() && !t.After(now) {
			s.forget(deadline(d))
			act()
		}
	}
}

func (s *session) dial() {
	s.wait.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, dialLimit)
		defer cancel()
		conn, err := s.cfg.Dial(ctx)
		s.dialled <- dialled{conn, err}
	})
}

// firstTries is how often an endpoint that never reached the server tries before it says so.
const firstTries = 6

func (s *session) connected(d dialled) {
	if d.err != nil {
		s.failed++
		s.cfg.Log.Debug("dial failed", "tries", s.failed)
		if s.state == StateConnecting && s.failed >= firstTries {
			s.finish(StateRefused, &conclave.Problem{Code: "server_unreachable", Fix: "check_connection"})
			return
		}
		s.after(dueDial, pause(s.failed-1, s.jitter()))
		return
	}
	s.wires++
	s.wire = startWire(s.ctx, s.wires, d.conn, s.arrivals, &s.wait)
	s.heard = s.cfg.Now()
	s.greeted, s.asked = false, false
	s.after(duePing, pingEvery)
	s.after(dueAnswer, answerLimit)
}

// lost goes back to connecting. The group and its keys are kept: the server keeps the place for a minute.
func (s *session) lost(err error) {
	if s.wire != nil {
		s.wire.close()
		s.wire = nil
	}
	if s.trust != nil {
		s.trust.log.asked = nil // and asks again over the next one
	}
	if s.over {
		return
	}
	if s.leaving {
		s.finish(StateEnded, nil)
		return
	}
	s.cfg.Log.Info("line lost", "cause", err, "state", string(s.state))
	s.forget(duePing)
	s.forget(dueAnswer)
	s.forget(dueCommit)
	if s.wanted {
		now := s.cfg.Now()
		if s.lostAt == nil {
			s.lostAt = &now
		}
		s.enter(StateReconnecting)
	} else {
		s.enter(StateConnecting)
	}
	s.after(dueDial, pause(s.failed, s.jitter()))
	s.failed++
}

func (s *session) ping() {
	if s.wire == nil {
		return
	}
	if s.cfg.Now().Sub(s.heard) >= silence {
		s.lost(errSilence)
		return
	}
	s.pings++
	s.send(&signal.Ping{N: s.pings})
	s.after(duePing, pingEvery)
}

// send queues m. A message that finds no connection is dropped: whatever matters is said again after a reconnect.
func (s *session) send(m signal.Message) {
	if s.wire == nil {
		return
	}
	if err := s.wire.send(m); err != nil {
		s.lost(err)
	}
}

func (s *session) arrive(a arrival) {
	if s.wire == nil || a.wire != s.wire.number {
		return // of a connection that was given up
	}
	if a.err != nil {
		s.lost(a.err)
		return
	}
	s.heard = s.cfg.Now()
	switch m := a.message.(type) {
	case *signal.Challenge:
		s.hello(m)
	case *signal.Line:
		s.line(m)
	case *signal.Facts:
		s.emit(Event{Ruled: &RuledEvent{Facts: m.Facts}})
	case *signal.Refused:
		s.refused(m)
	case *signal.Waiting:
		s.waiting(m)
	case *signal.Quarantined:
		s.quarantined(m)
	case *signal.Changed:
		s.changed(m)
	case *signal.Readiness:
		s.ready(m)
	case *signal.Probing:
		s.emit(Event{Probing: &ProbingEvent{Server: m.Server}})
	case *signal.Probed:
		s.emit(Event{Probed: &ProbedEvent{Reached: m.Reached, Facts: m.Facts, Reason: m.Reason}})
	case *signal.Notice:
		s.emit(Event{Notice: &NoticeEvent{ID: m.ID, Notice: m.Notice, Link: m.Link}})
	case *signal.Admitted:
		s.admit(m)
	case *signal.Entered:
		s.entered(m)
	case *signal.Stale:
		s.stale(m)
	case *signal.Commit:
		s.commit(m)
	case *signal.Proposal:
		s.proposal(m)
	case *signal.MediaReady:
		s.cfg.Media.Ready()
	case *signal.Roster:
		s.takeRoster(m)
		s.showRoster()
		s.lookSoon()
	case *signal.Absent:
		s.takeAbsent(m)
	case *signal.Slots:
		s.slots(m)
	case *signal.Passes:
		s.passes(m)
	case *signal.Restated:
		s.restated(m)
	case *signal.ConsistencyProof:
		s.consistency(m)
	case *signal.Ended:
		if s.leaving {
			s.finish(StateEnded, nil)
			return
		}
		s.finish(StateEnded, &m.Reason)
	case *signal.Failed:
		s.unable(m)
	case *signal.Ping:
		s.send(&signal.Pong{N: m.N})
	case *signal.Pong:
	}
}

// leave says goodbye. Run ends with the server's answer, or without it after a second.
func (s *session) leave() {
	if s.leaving {
		return
	}
	s.leaving = true
	if s.wire == nil || !s.greeted {
		s.finish(StateEnded, nil)
		return
	}
	m := new(signal.Leave)
	if s.member != nil && s.member.entered {
		s.closeLedger()
		m.Proposal = s.proposeLeaving()
	}
	s.send(m)
	s.after(dueEnd, time.Second)
}

// finish is the end: the last state is told, and Run returns.
func (s *session) finish(state State, why *conclave.Problem) {
	if s.over {
		return
	}
	s.over = true
	var reasons []conclave.Problem
	if why != nil {
		reasons = []conclave.Problem{*why}
		s.reason = *why
	}
	s.state = state
	s.emit(Event{State: &StateEvent{State: state, Reasons: reasons}})
}

// enter changes the state and says so; one that stands already is not said again.
func (s *session) enter(state State) { s.enterSince(state, nil) }

func (s *session) enterSince(state State, since *time.Time) {
	if s.state == state || s.over {
		return
	}
	s.state = state
	if state == StateReconnecting {
		since = s.lostAt
	}
	s.emit(Event{State: &StateEvent{State: state, Since: since}})
}

// emit names the event by its field and hands it to the owner.
func (s *session) emit(e Event) {
	e.At = s.cfg.Now()
	switch {
	case e.State != nil:
		e.Kind = "state"
	case e.Line != nil:
		e.Kind = "line"
	case e.Meeting != nil:
		e.Kind = "meeting"
	case e.Roster != nil:
		e.Kind = "roster"
	case e.Code != nil:
		e.Kind = "code"
	case e.Slots != nil:
		e.Kind = "slots"
	case e.Alarm != nil:
		e.Kind = "alarm"
	case e.Failed != nil:
		e.Kind = "failed"
	case e.Keys != nil:
		e.Kind = "keys"
	case e.Notice != nil:
		e.Kind = "notice"
	case e.Ready != nil:
		e.Kind = "ready"
	case e.Probing != nil:
		e.Kind = "probing"
	case e.Probed != nil:
		e.Kind = "probed"
	case e.Ruled != nil:
		e.Kind = "ruled"
	}
	s.cfg.Emit(e)
}

// alarmAgain is how long an alarm that goes on stays silent.
const alarmAgain = time.Minute

// alarm tells of a contradiction that an honest server does not produce.
func (s *session) alarm(p conclave.Problem) {
	key := p.Code
	for _, k := range sortedKeys(p.Args) {
		key += "\x00" + k + "\x00" + p.Args[k]
	}
	now := s.cfg.Now()
	if last, ok := s.alarms[key]; ok && now.Sub(last) < alarmAgain {
		return
	}
	if len(s.alarms) >= 256 {
		clear(s.alarms) // a server that lies in ever new words gets no memory for it
	}
	s.alarms[key] = now
	s.cfg.Log.Warn("alarm", "code", p.Code)
	s.emit(Event{Alarm: &AlarmEvent{Problem: p}})
}

// abandon is what happens when the server or a member breaks the rules of the room: the endpoint does not follow. It
// keeps its epoch, says why, and leaves.
func (s *session) abandon(p conclave.Problem, cause error) {
	s.cfg.Log.Warn("abandoned", "code", p.Code, "cause", cause)
	s.alarm(p)
	s.send(&signal.Leave{})
	s.finish(StateEnded, &p)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// jitter returns a number in [0, 1).
func (s *session) jitter() float64 {
	var b [8]byte
	if _, err := s.cfg.Rand.Read(b[:]); err != nil {
		return 0.5
	}
	return float64(binary.BigEndian.Uint64(b[:])>>11) / (1 << 53)
}

// problemOf finds the problem in err, or makes one of code.
func problemOf(err error, code, fix string) conclave.Problem {
	return problemOr(err, conclave.Problem{Code: code, Fix: fix})
}

// about is a problem with its arguments: names and values by turns.
func about(code, fix string, args ...string) conclave.Problem {
	p := conclave.Problem{Code: code, Args: make(map[string]string, len(args)/2), Fix: fix}
	for i := 0; i+1 < len(args); i += 2 {
		p.Args[args[i]] = args[i+1]
	}
	return p
}

// decimal writes a number for an argument.
func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// problemOr returns the problem in err, or p where there is none.
func problemOr(err error, p conclave.Problem) conclave.Problem {
	_ = errors.As(err, &p)
	return p
}
