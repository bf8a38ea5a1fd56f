package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
	"conclave/mls"
	"conclave/pass"
	"conclave/phone/call"
	"conclave/phone/dsp"
	"conclave/phone/media"
	"conclave/phone/prompt"
	"conclave/phone/sdp"
	"conclave/phone/sip"
	"conclave/signal"
)

// leg is one call on its way through the gateway. run owns it; others tell it events.
type leg struct {
	gateway *Gateway
	id      signal.CallID
	sip     *sip.Call
	media   *media.Session
	ours    *sdp.Ours
	line    signal.PhoneLine
	events  chan call.Event
	inRoom  atomic.Bool
	// turnedAway says that all lines were in use when it came; guarded by the gateway's mutex, and not changed after add.
	turnedAway bool
	started    time.Time // from when on the caller's silence counts: of the media, or of the end of a hold; zero before

	course    *call.Call
	wait      sync.WaitGroup // what run starts
	speaking  context.CancelFunc
	scalar    []byte // of the call's own key
	signer    mls.Signer
	statement []byte
	meeting   conclave.MeetingID
	bridge    *bridge // nil before Enter and after Leave
	agreement media.Agreement
	mu        sync.Mutex // guards agreement and ours, which offers within the call change
}

// eventsQueue bounds what a leg has not looked at yet: keys, and what happens in its room. Beyond it events are dropped, but
// for those that end a call, which are seen on channels of their own.
const eventsQueue = 64

func newLeg(g *Gateway, id signal.CallID, c *sip.Call, session *media.Session) *leg {
	l := &leg{gateway: g, id: id, media: session, events: make(chan call.Event, eventsQueue)}
	l.ours = &sdp.Ours{Address: g.config.External, Port: session.LocalPort(), Key: session.LocalKey, Fingerprint: session.LocalFingerprint(),
		Session: g.draw(), Version: 1, Codecs: g.config.Codecs}
	if c != nil {
		l.bind(c)
	}
	return l
}

func (l *leg) bind(c *sip.Call) {
	l.sip = c
	l.ours.Peer = c.SourceAddress()
}

// tell hands an event to the leg.
func (l *leg) tell(e call.Event) {
	select {
	case l.events <- e:
	default:
		l.gateway.config.Log.Warn("a call has too many events", "call", l.id)
	}
}

// run carries a call to its end.
func (l *leg) run(ctx context.Context, c call.Config) {
	ctx, cancel := context.WithCancel(ctx)
	defer l.wait.Wait()
	defer cancel()
	defer l.forget()
	now := l.gateway.config.Now
	l.course = call.New(c, now())
	log := l.gateway.config.Log.With("call", l.id, "trunk", l.sip.Trunk())
	log.Info("call", "line", string(l.line), "outgoing", c.Outgoing)
	l.sip.Changed(l.changed)
	switch {
	case c.Outgoing:
	case l.turnedAway:
		l.tell(call.Screened{Why: prompt.Full})
	default:
		l.wait.Go(func() { l.tell(l.gateway.link.screen(ctx, l)) })
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for l.course.State() != call.Ended {
		if next := l.course.Next(); next.IsZero() {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(max(next.Sub(now()), 0))
		}
		var e call.Event
		select {
		case e = <-l.events:
		case d := <-l.media.Digits():
			e = call.Key{Digit: byte(d)}
		case <-l.sip.Done():
			e = call.Hungup{}
		case <-l.media.Ended():
			e = call.Lost{}
		case <-timer.C:
			e = call.Tick{}
		case <-look.C:
			if !l.silent() {
				continue
			}
			e = call.Lost{}
		}
		before := l.course.State()
		for _, effect := range l.do(e) {
			l.act(ctx, effect)
		}
		if after := l.course.State(); after != before {
			log.Debug("call moved", "state", after.String())
		}
	}
	l.sip.Hang()
}

// do takes an event into the course of the call.
func (l *leg) do(e call.Event) []call.Effect {
	now := l.gateway.config.Now()
	if h, ok := e.(call.Hold); ok && !h.On {
		l.started = now // their silence counts anew
	}
	return l.course.Do(now, e)
}

// silent says whether the caller's media have stopped. A caller who holds us may be silent, and one who was never heard may
// still be on the way.
func (l *leg) silent() bool {
	if l.started.IsZero() || l.course.OnHold() || l.course.State() == call.RefusedEarly {
		return false
	}
	last := l.media.Stats().LastPacket
	if last.Before(l.started) {
		last = l.started
	}
	return l.gateway.config.Now().Sub(last) > silentTime
}

// forget wipes what is left of the call's key, and has the endpoint gone whatever happened.
func (l *leg) forget() {
	l.leave()
	clear(l.scalar)
	l.scalar, l.signer, l.statement = nil, nil, nil
}

// act does one effect.
func (l *leg) act(ctx context.Context, e call.Effect) {
	switch e := e.(type) {
	case call.Early:
		if answer, ok := l.begin(ctx); ok {
			_ = l.sip.Progress(answer)
		}
	case call.Answer:
		if answer, ok := l.begin(ctx); ok {
			l.wait.Go(func() {
				if err := l.sip.Answer(answer); err == nil {
					l.tell(call.Answered{})
				}
			})
		} else {
			_ = l.sip.Refuse(488, "Not Acceptable Here")
		}
	case call.Refuse:
		l.gateway.counts.refused.Add(1)
		_ = l.sip.Refuse(e.Code, e.Phrase)
	case call.Say:
		l.say(ctx, e)
	case call.Beep:
		l.beep(ctx)
	case call.Ask:
		l.check(ctx, e.Code)
	case call.AskKey:
		l.key(ctx)
	case call.Enter:
		l.enter(ctx)
	case call.Leave:
		l.leave()
	case call.Bridge:
		l.inRoom.Store(e.Open)
		l.media.Bridge(e.Open)
		if l.bridge != nil {
			l.bridge.open(e.Open)
		}
	case call.Mute:
		if l.bridge != nil {
			l.bridge.mute(e.On)
		}
	case call.Announce:
		if l.bridge != nil {
			l.bridge.announce(l.announcement(e.What))
		}
	case call.RingBack:
		l.gateway.link.tell(&signal.CallBack{Call: l.id})
	case call.Hang:
		l.sip.Hang()
	case call.Over:
		if e.Outcome == "refused" {
			l.gateway.counts.refused.Add(1)
		}
		l.gateway.link.tell(&signal.CallOver{Call: l.id, Outcome: e.Outcome})
		l.gateway.config.Log.Info("call over", "call", l.id, "outcome", e.Outcome, "sip", l.sip.Ended().String())
	}
}

// begin agrees on the media and starts them, once.
func (l *leg) begin(ctx context.Context) (answer []byte, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer, agreement, err := l.ours.Answer(l.sip.Offer())
	if err != nil {
		return nil, false
	}
	if !l.started.IsZero() {
		return answer, true
	}
	if err := l.media.Start(ctx, agreement); err != nil {
		l.gateway.config.Log.Warn("media not started", "call", l.id, "cause", err)
		return nil, false
	}
	l.agreement, l.started = agreement, l.gateway.config.Now()
	return answer, true
}

// changed answers an offer within the call. One that would protect it less is refused (488), and the call goes on as it was.
func (l *leg) changed(offer *sdp.Description) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ours := *l.ours
	ours.Version++
	answer, agreement, err := ours.Answer(offer)
	if err != nil {
		return nil, err
	}
	if lineOf(l.sip.Secure(), agreement.Security.Keying) != l.line && l.line == signal.PhoneHop {
		return nil, sip.ErrWeaker
	}
	if err := l.media.Change(agreement); err != nil {
		return nil, err
	}
	l.ours.Version++
	held := l.agreement.NoSend || l.agreement.NoListen
	l.agreement = agreement
	if hold := agreement.NoSend || agreement.NoListen; hold != held {
		l.tell(call.Hold{On: hold})
	}
	return answer, nil
}

// say speaks to the caller, in place of what is being said.
func (l *leg) say(ctx context.Context, what call.Say) {
	sources := make([]dsp.Source, 0, 2*len(what.Sentences))
	for _, s := range what.Sentences {
		if s.Name == call.RefusalTone {
			sources = append(sources, dsp.Tones(dsp.Refusal), dsp.Silence(10))
		} else {
			sources = append(sources, l.gateway.config.Prompts.Source(s.Language, s.Name), dsp.Silence(8))
		}
	}
	if l.speaking != nil {
		l.speaking()
	}
	speaking, cancel := context.WithCancel(ctx)
	l.speaking = cancel
	l.wait.Go(func() {
		defer cancel()
		select {
		case <-l.media.Ready():
		case <-speaking.Done():
			return
		case <-l.media.Ended():
			return
		}
		if l.media.Play(speaking, dsp.Sequence(sources...)) == nil {
			l.tell(call.Spoken{Turn: what.Turn})
		}
	})
}

// beep answers a key, and ends what is being said.
func (l *leg) beep(ctx context.Context) {
	if l.speaking != nil {
		l.speaking()
	}
	beeping, cancel := context.WithCancel(ctx)
	l.speaking = cancel // a sentence that follows at once must not be replaced by it
	l.wait.Go(func() {
		defer cancel()
		_ = l.media.Play(beeping, dsp.Tones(dsp.Key))
	})
}

// check has a code looked at, with a fresh key for the leg that it may become.
func (l *leg) check(ctx context.Context, code string) {
	point, proof, err := l.newKey()
	if err != nil {
		l.tell(call.Verdict{Failed: true})
		return
	}
	l.wait.Go(func() {
		m, err := l.gateway.link.ask(ctx, l.id, &signal.CallCode{Call: l.id, Code: code, LeafKey: point, Proof: proof})
		l.verdict(m, err)
	})
}

// key asks for the statement of a call that we made.
func (l *leg) key(ctx context.Context) {
	point, proof, err := l.newKey()
	if err != nil {
		l.tell(call.Verdict{Failed: true})
		return
	}
	l.wait.Go(func() {
		m, err := l.gateway.link.ask(ctx, l.id, &signal.CallKey{Call: l.id, Line: l.line, LeafKey: point, Proof: proof})
		l.verdict(m, err)
	})
}

func (l *leg) newKey() (point, proof []byte, err error) {
	clear(l.scalar)
	if l.scalar, err = mls.MLKEM768P256.GenerateSignatureKey(l.gateway.config.Rand); err != nil {
		return nil, nil, err
	}
	if l.signer, err = mls.NewSigner(mls.MLKEM768P256, l.scalar); err != nil {
		return nil, nil, err
	}
	proof, err = l.gateway.link.proof(l.id, l.signer.Sign)
	return l.signer.Public(), proof, err
}

func (l *leg) verdict(m signal.Message, err error) {
	a, ok := m.(*signal.CallAnswer)
	switch {
	case err != nil || !ok:
		l.tell(call.Verdict{Failed: true})
	case !a.Right:
		if len(a.Reasons) > 0 && a.Reasons[0].Code == "phone_code_wrong" {
			l.gateway.counts.wrong.Add(1)
		} else if len(a.Reasons) > 0 && a.Reasons[0].Code != "phone_codes_braked" {
			l.tell(call.Verdict{Failed: true})
			return
		}
		l.tell(call.Verdict{Left: a.Left})
	case len(a.Reasons) > 0 || len(a.Statement) == 0:
		trouble := len(a.Reasons) == 0 || a.Reasons[0].Code == "server_trouble"
		l.tell(call.Verdict{Right: true, Refused: !trouble, Failed: trouble, CallBack: a.CallBack})
	default:
		l.mu.Lock()
		l.statement, l.meeting = a.Statement, a.Meeting
		l.mu.Unlock()
		l.tell(call.Verdict{Right: true})
	}
}

// enter starts the leg's endpoint. It is the first moment at which keys of the meeting can come here.
func (l *leg) enter(ctx context.Context) {
	l.mu.Lock()
	statement, meeting := l.statement, l.meeting
	l.mu.Unlock()
	if l.bridge != nil || len(statement) == 0 {
		l.tell(call.Room{What: call.RoomFailed})
		return
	}
	b, err := newBridge(l, statement, meeting)
	if err != nil {
		l.gateway.config.Log.Error("leg cannot enter", "call", l.id, "cause", err)
		l.tell(call.Room{What: call.RoomFailed})
		return
	}
	l.bridge = b
	l.gateway.counts.in.Add(1)
	b.run(ctx)
}

// leave has the endpoint go, and returns when it holds no key any more.
func (l *leg) leave() {
	if l.bridge == nil {
		return
	}
	l.media.Bridge(false)
	l.inRoom.Store(false)
	l.bridge.leave()
	l.bridge = nil
}

// announcement is what the room hears of this leg.
func (l *leg) announcement(what call.Announcement) dsp.Source {
	g := &l.gateway.config
	if what == call.Joined {
		line := g.Prompts.Source(g.Language, prompt.Joined)
		if l.course.Hop() {
			line = g.Prompts.Source(g.Language, prompt.JoinedHop)
		}
		if name := l.name(); name != nil {
			return dsp.Sequence(dsp.Tones(dsp.Entered), dsp.Silence(5), name, dsp.Silence(10), line)
		}
		return dsp.Sequence(dsp.Tones(dsp.Entered), dsp.Silence(5), line, dsp.Silence(10), g.Prompts.Source(g.Language, prompt.Whose))
	}
	return dsp.Tones(dsp.Reminder)
}

// name is the recorded name of whose leg this is, by the statement with which it joined; nil where there is none.
func (l *leg) name() dsp.Source {
	l.mu.Lock()
	statement, err := pass.ParseStatement(l.statement)
	l.mu.Unlock()
	if err != nil {
		return nil
	}
	name, err := l.gateway.config.Names.Source(string(statement.Person))
	if err != nil {
		l.gateway.config.Log.Warn("a recorded name cannot be used", "call", l.id, "cause", errors.Unwrap(err))
		return nil
	}
	return name
}
