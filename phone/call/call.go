// Package call is the course of one phone call, from the first ring to the end, as a pure state machine: events and time go
// in, effects come out. It knows what may follow what; it does no SIP, plays no sound, and asks nobody anything.
//
// Its rules: nobody consents to what they have not heard: a key counts as consent once the warning is out. Nothing passes
// between caller and room before that and before the room has let the leg in, nor after either has changed. Every end has a
// spoken reason where somebody still listens. Whatever does not fit a state changes nothing.
package call

import (
	"slices"
	"time"

	"conclave/phone/prompt"
)

// State is where a call stands.
type State uint8

// The states of a call.
const (
	Invited         State = iota // it came, and the server is asked what may become of it
	RefusedEarly                 // refused before it was answered: a sentence as early media
	Language                     // answered; which language?
	Code                         // the code is being typed
	Checking                     // and looked at
	RefusedAnswered              // a sentence says why, then it ends
	Identify                     // of a call that we made: is it the person whom we mean? 1 says so
	Warned                       // the warning is being said: no key counts
	Consent                      // it is out; 1 goes on
	Keyed                        // of a call that we made: consented, the server is asked for a statement
	Door                         // its leg asks to be let in
	In                           // caller and room hear each other
	Held                         // the caller holds us: nothing passes
	Ended
)

var stateNames = [...]string{"invited", "refused_early", "language", "code", "checking", "refused", "identify", "warned", "consent", "keyed", "door", "in", "held", "ended"}

// String returns the state's word.
func (s State) String() string { return stateNames[s] }

// Event is something that happened to a call.
type Event interface{ event() }

// The events.
type (
	// Screened is the server's first word: whether the code may be asked for. Why names the sentence if not.
	Screened struct {
		Ask bool
		Why prompt.Name
	}
	// Answered says that the call is answered and acknowledged.
	Answered struct{}
	// Taken says that a call that we made was answered.
	Taken struct{}
	// Key is a key that was pressed: 0 to 9, *, #.
	Key struct{ Digit byte }
	// Verdict is the server's answer to a code, or to a call that we made.
	Verdict struct {
		Right    bool
		Left     int  // tries
		Refused  bool // the code was right, the line is not
		CallBack bool // the person may ask to be rung
		Failed   bool // no answer could be had
	}
	// Spoken says that what was said is out: that of which Say had this turn, and nothing before or after it.
	Spoken struct{ Turn uint }
	// Room is what the leg's endpoint tells.
	Room struct{ What RoomEvent }
	// Hold says that the caller holds us, or no longer.
	Hold struct{ On bool }
	// Hungup says that the caller is gone.
	Hungup struct{}
	// Lost says that the caller's media have stopped.
	Lost struct{}
	// Drain says that the gateway ends.
	Drain struct{}
	// Tick says that time has passed.
	Tick struct{}
)

func (Screened) event() {}
func (Answered) event() {}
func (Taken) event()    {}
func (Key) event()      {}
func (Verdict) event()  {}
func (Spoken) event()   {}
func (Room) event()     {}
func (Hold) event()     {}
func (Hungup) event()   {}
func (Lost) event()     {}
func (Drain) event()    {}
func (Tick) event()     {}

// RoomEvent is what becomes of the leg.
type RoomEvent uint8

// What becomes of a leg.
const (
	RoomWaiting  RoomEvent = iota // at the door
	RoomIn                        // a member, with keys
	RoomAway                      // its connection is lost for the moment
	RoomRaised                    // its line is no longer good enough: quarantined
	RoomRemoved                   // by the chair
	RoomDeclined                  // at the door
	RoomRefused                   // by policy
	RoomOver                      // the meeting is over
	RoomFailed
	RoomPaused
	RoomResumed
	RoomMuted // all are muted, by the chair
)

// Effect is something to be done.
type Effect interface{ effect() }

// The effects, in the order in which they are to be done.
type (
	// Early begins early media.
	Early struct{}
	// Answer answers the call.
	Answer struct{}
	// Refuse ends a call that was not answered.
	Refuse struct {
		Code   int
		Phrase string
	}
	// Say speaks to the caller, in place of what is being said; Spoken follows with the same turn, if nothing takes its place.
	Say struct {
		Turn      uint
		Sentences []Sentence
	}
	// Beep says that a key was heard.
	Beep struct{}
	// Ask has a code looked at. It must not reach a log.
	Ask struct{ Code string }
	// AskKey asks for the statement of a call that we made.
	AskKey struct{}
	// Enter has the leg's endpoint join; it holds no key before.
	Enter struct{}
	// Leave has the endpoint go and forget its keys. It is done before anything that follows.
	Leave struct{}
	// Bridge opens or shuts the way between caller and room.
	Bridge struct{ Open bool }
	// Mute has the room not hear the caller, or hear them again; the caller hears the room.
	Mute struct{ On bool }
	// Announce speaks or sounds in the room, in the leg's own voice.
	Announce struct{ What Announcement }
	// RingBack asks that the person be rung; the call is over then.
	RingBack struct{}
	// Hang hangs up.
	Hang struct{}
	// Over is the last effect: how the call ended, one of signal.CallOutcomes.
	Over struct{ Outcome string }
)

func (Early) effect()    {}
func (Answer) effect()   {}
func (Refuse) effect()   {}
func (Say) effect()      {}
func (Beep) effect()     {}
func (Ask) effect()      {}
func (AskKey) effect()   {}
func (Enter) effect()    {}
func (Leave) effect()    {}
func (Bridge) effect()   {}
func (Mute) effect()     {}
func (Announce) effect() {}
func (RingBack) effect() {}
func (Hang) effect()     {}
func (Over) effect()     {}

// Sentence is a prompt in a language. The name Tone is the tone of a refusal.
type Sentence struct {
	Language prompt.Language
	Name     prompt.Name
}

// RefusalTone stands in Say for the tone before a refusal.
const RefusalTone prompt.Name = ""

// Announcement is what the room hears of a leg.
type Announcement uint8

// What the room hears.
const (
	Joined Announcement = iota
	Reminder
)

// Config is what the operator decides.
type Config struct {
	Default prompt.Language // where nobody has chosen
	// Chosen is the language that the number called stands for; "" asks the caller.
	Chosen     prompt.Language
	Hop        bool          // the line is encrypted to us; false: open
	Outgoing   bool          // we made the call
	EarlyMedia bool          // a refusal is spoken before the call is answered
	Limit      time.Duration // how long a leg may be in
	Reminder   time.Duration // between two tones in the room
}

// The times of a call.
const (
	languageTime = 6 * time.Second // after the question
	codeTime     = 30 * time.Second
	consentTime  = 15 * time.Second
	warnTime     = 2 * time.Minute // longer than any recording may be
	checkTime    = 20 * time.Second
	doorTime     = 10 * time.Minute
	enterTime    = 30 * time.Second
	heldTime     = 5 * time.Minute
	warnBefore   = time.Minute
	screenTime   = 5 * time.Second
	codeDigits   = 12
	maxKeys      = 24
)

// Call is the course of one call. It is not safe for use by two goroutines at once.
type Call struct {
	config   Config
	state    State
	language prompt.Language
	typed    string
	turn     uint // of what was said last
	offered  bool // a call-back may be asked for
	ringBack bool // and was: the telephone must be free before it is rung
	outcome  string
	busy     bool // refused because all lines are in use: another gateway may be tried
	entered  bool // Enter was done and Leave was not
	told     bool // the room was told that the leg is in
	paused   bool
	muted    bool      // by the chair, until the caller presses 1
	held     bool      // the caller holds us: they hear nothing, and press nothing
	due      time.Time // of the state; zero: none
	until    time.Time // of the leg's time, from when it was let in; it runs on while the server is away
	warned   bool
	tone     time.Time
}

// New returns a call that has just come, or that somebody has just taken.
func New(c Config, now time.Time) *Call {
	k := &Call{config: c, language: c.Chosen}
	if k.language == "" {
		k.language = c.Default
	}
	if c.Outgoing {
		k.due = now.Add(time.Minute)
	} else {
		k.due = now.Add(screenTime)
	}
	return k
}

// State returns where the call stands.
func (c *Call) State() State { return c.state }

// Hop says whether the line is encrypted as far as us. That never changes: an offer within the call that would weaken it is
// refused, and none makes an open line better.
func (c *Call) Hop() bool { return c.config.Hop }

// Language is the caller's.
func (c *Call) Language() prompt.Language { return c.language }

// Next returns when Tick is due; zero: never.
func (c *Call) Next() time.Time {
	next := c.due
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	// What tick does nothing about must not stand here: the timer would run out again and again.
	if c.seated() {
		sooner(c.tone)
	}
	sooner(c.until)
	if !c.until.IsZero() && !c.warned {
		sooner(c.until.Add(-warnBefore))
	}
	return next
}

// seated says whether the leg is a member now; who was, and lost the server, stands at the door meanwhile.
func (c *Call) seated() bool { return c.state == In || c.state == Held }

// Do takes an event and returns what is to be done.
func (c *Call) Do(now time.Time, e Event) []Effect {
	if c.state == Ended {
		return nil
	}
	switch e := e.(type) {
	case Hungup:
		return c.gone("left")
	case Lost:
		return c.hang("lost")
	case Drain:
		if c.state == Invited {
			return c.refuse(503, "Service Unavailable", "failed")
		}
		return c.goodbye(now, prompt.Failed, "failed")
	case Tick:
		return c.tick(now)
	case Hold:
		return c.hold(now, e.On)
	case Spoken:
		if e.Turn != c.turn {
			return nil // of something that was said before
		}
		return c.spoken(now)
	}
	switch c.state {
	case Invited:
		return c.invited(now, e)
	case Language:
		return c.choose(now, e)
	case Code:
		return c.typing(now, e)
	case Checking, Keyed:
		if v, ok := e.(Verdict); ok {
			return c.verdict(now, v)
		}
	case Identify, Consent:
		return c.one(now, e)
	case RefusedAnswered:
		if k, ok := e.(Key); ok && k.Digit == '2' && c.offered {
			c.offered, c.ringBack = false, true
			c.due = now.Add(time.Minute)
			return []Effect{c.say(prompt.Ringing)}
		}
	case Door, In, Held:
		if r, ok := e.(Room); ok {
			return c.follow(now, r.What)
		}
		if k, ok := e.(Key); ok && k.Digit == '1' && c.state == In && c.muted && !c.paused {
			c.muted = false
			return []Effect{Beep{}, Mute{false}, c.say(prompt.Unmuted)}
		}
	}
	return nil
}

// hold notes that the caller holds us, in whatever state, or no longer. A warning that went into a held line was not heard, so
// it is said anew.
func (c *Call) hold(now time.Time, on bool) []Effect {
	if c.held == on {
		return nil
	}
	c.held = on
	switch {
	case on && c.state == In:
		c.enter(Held, now, heldTime)
		return []Effect{Bridge{false}}
	case !on && c.state == Held:
		c.enter(In, now, 0)
		return []Effect{Bridge{!c.paused}}
	case !on && (c.state == Warned || c.state == Consent):
		return []Effect{c.warn(now)}
	}
	return nil
}

// OnHold says whether the caller holds us: then they may be silent.
func (c *Call) OnHold() bool { return c.held }

// say speaks, in the caller's language.
func (c *Call) say(names ...prompt.Name) Effect {
	sentences := make([]Sentence, 0, len(names))
	for _, n := range names {
		sentences = append(sentences, Sentence{c.language, n})
	}
	return c.speak(sentences)
}

func (c *Call) speak(sentences []Sentence) Effect {
	c.turn++
	return Say{c.turn, sentences}
}

func (c *Call) enter(s State, now time.Time, d time.Duration) {
	c.state, c.due = s, time.Time{}
	if d > 0 {
		c.due = now.Add(d)
	}
}

func (c *Call) invited(now time.Time, e Event) []Effect {
	switch e := e.(type) {
	case Screened:
		if c.config.Outgoing {
			return nil
		}
		if e.Ask {
			c.due = time.Time{}
			return []Effect{Answer{}}
		}
		c.outcome, c.busy = "refused", e.Why == prompt.Full
		var sentences []Sentence
		for _, l := range c.languages() {
			sentences = append(sentences, Sentence{l, RefusalTone}, Sentence{l, e.Why})
		}
		say := c.speak(sentences)
		if c.config.EarlyMedia {
			c.enter(RefusedEarly, now, time.Minute)
			return []Effect{Early{}, say}
		}
		c.enter(RefusedAnswered, now, time.Minute)
		return []Effect{Answer{}, say}
	case Answered:
		if c.config.Chosen != "" {
			c.enter(Code, now, codeTime)
			return []Effect{c.say(prompt.Code)}
		}
		c.enter(Language, now, 0)
		var sentences []Sentence
		for _, l := range prompt.Languages {
			sentences = append(sentences, Sentence{l, prompt.Choose})
		}
		return []Effect{c.speak(sentences)}
	case Taken:
		if !c.config.Outgoing {
			return nil
		}
		c.enter(Identify, now, 0)
		return []Effect{c.say(prompt.CallBack)}
	}
	return nil
}

// languages are those in which a caller is spoken to who has not chosen.
func (c *Call) languages() []prompt.Language {
	if c.config.Chosen != "" {
		return []prompt.Language{c.config.Chosen}
	}
	out := []prompt.Language{c.config.Default}
	for _, l := range prompt.Languages {
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// warn says what the line means. The question follows when that is out.
func (c *Call) warn(now time.Time) Effect {
	c.enter(Warned, now, warnTime)
	if c.config.Hop {
		return c.say(prompt.Hop)
	}
	return c.say(prompt.Warning)
}

func (c *Call) choose(now time.Time, e Event) []Effect {
	k, ok := e.(Key)
	if !ok {
		return nil
	}
	if i := int(k.Digit) - '1'; i >= 0 && i < len(prompt.Languages) {
		c.language = prompt.Languages[i]
		c.enter(Code, now, codeTime)
		return []Effect{c.say(prompt.Code)}
	}
	return nil
}

// type_ takes the keys of a code. A code is asked for anew after each wrong one, for as often as the server says.
func (c *Call) typing(now time.Time, e Event) []Effect {
	k, ok := e.(Key)
	if !ok || (k.Digit < '0' || k.Digit > '9') && k.Digit != '*' && k.Digit != '#' {
		return nil // A to D stand in no code: the server would take the gateway for broken that sends them
	}
	c.due = now.Add(codeTime)
	switch {
	case k.Digit == '*':
		c.typed = ""
		return []Effect{Beep{}}
	case k.Digit == '#' && c.typed == "":
		return nil
	case k.Digit != '#':
		if len(c.typed) < maxKeys {
			c.typed += string(rune(k.Digit))
		}
		if len(c.typed) < codeDigits {
			return []Effect{Beep{}}
		}
	}
	code := c.typed
	c.typed = ""
	c.enter(Checking, now, checkTime)
	return []Effect{Beep{}, Ask{code}}
}

func (c *Call) verdict(now time.Time, v Verdict) []Effect {
	switch {
	case v.Failed:
		return c.goodbye(now, prompt.Failed, "failed")
	case !v.Right && v.Left > 0:
		c.enter(Code, now, codeTime)
		return []Effect{c.say(prompt.Wrong)}
	case !v.Right:
		return c.goodbye(now, prompt.Locked, "no_code")
	case v.Refused:
		c.outcome, c.offered = "refused", v.CallBack
		c.enter(RefusedAnswered, now, 2*time.Minute)
		names := []Sentence{{c.language, RefusalTone}, {c.language, prompt.Refused}}
		if v.CallBack {
			names = append(names, Sentence{c.language, prompt.RingBack})
		}
		return []Effect{c.speak(names)}
	case c.state == Keyed:
		c.enter(Door, now, enterTime)
		c.entered = true
		return []Effect{Enter{}}
	}
	return []Effect{c.warn(now)}
}

// one takes the key that says yes: first that it is the person whom we mean, where we made the call, then the consent.
func (c *Call) one(now time.Time, e Event) []Effect {
	k, ok := e.(Key)
	if !ok || k.Digit != '1' || c.held {
		return nil
	}
	if c.state == Identify {
		return []Effect{c.warn(now)}
	}
	if c.config.Outgoing {
		c.enter(Keyed, now, checkTime)
		return []Effect{Beep{}, AskKey{}}
	}
	c.enter(Door, now, enterTime)
	c.entered = true
	return []Effect{Beep{}, Enter{}}
}

// follow takes what happens to the leg once its endpoint asks to be let in.
func (c *Call) follow(now time.Time, what RoomEvent) []Effect {
	switch what {
	case RoomWaiting:
		if c.state == Door {
			c.due = now.Add(doorTime)
			return []Effect{c.say(prompt.Waiting)}
		}
	case RoomIn:
		if c.state == Door {
			c.enter(In, now, 0)
			effects := []Effect{}
			if !c.told {
				c.told = true
				if c.config.Reminder > 0 {
					c.tone = now.Add(c.config.Reminder)
				}
				if c.config.Limit > 0 {
					c.until = now.Add(c.config.Limit)
				}
				effects = append(effects, Announce{Joined}, c.say(prompt.Admitted))
			}
			if c.held {
				c.enter(Held, now, heldTime)
				return effects
			}
			return append(effects, Bridge{!c.paused})
		}
	case RoomAway:
		if c.seated() {
			c.enter(Door, now, doorTime)
			return []Effect{Bridge{false}}
		}
	case RoomPaused, RoomResumed:
		c.paused = what == RoomPaused
		if c.state != In {
			return nil
		}
		if c.paused {
			return []Effect{Bridge{false}, c.say(prompt.Paused)}
		}
		if c.muted {
			return []Effect{c.say(prompt.Muted), Bridge{true}}
		}
		return []Effect{c.say(prompt.Resumed), Bridge{true}}
	case RoomMuted:
		c.muted = true
		effects := []Effect{Mute{true}}
		if c.state == In && !c.paused {
			effects = append(effects, c.say(prompt.Muted))
		}
		return effects
	case RoomRaised:
		return c.goodbye(now, prompt.Raised, "removed")
	case RoomRemoved:
		return c.goodbye(now, prompt.Removed, "removed")
	case RoomDeclined:
		return c.goodbye(now, prompt.Declined, "removed")
	case RoomRefused:
		return c.goodbye(now, prompt.Refused, "refused")
	case RoomOver:
		return c.goodbye(now, prompt.Over, "removed")
	case RoomFailed:
		return c.goodbye(now, prompt.Failed, "failed")
	}
	return nil
}

// spoken is what follows a sentence.
func (c *Call) spoken(now time.Time) []Effect {
	switch c.state {
	case RefusedEarly:
		return c.refused()
	case RefusedAnswered:
		if c.offered {
			c.due = now.Add(languageTime)
			return nil
		}
		return c.hang(c.outcome)
	case Language:
		c.due = now.Add(languageTime)
	case Warned:
		c.enter(Consent, now, 0)
		return []Effect{c.say(prompt.Consent)}
	case Identify, Consent:
		c.due = now.Add(consentTime)
	case Code:
		c.due = now.Add(codeTime)
	}
	return nil
}

// refused ends a call to which the reason was spoken before it was answered.
func (c *Call) refused() []Effect {
	if c.busy {
		return c.refuse(503, "Service Unavailable", c.outcome)
	}
	return c.refuse(403, "Forbidden", c.outcome)
}

func (c *Call) tick(now time.Time) []Effect {
	if !c.due.IsZero() && !now.Before(c.due) {
		c.due = time.Time{}
		switch c.state {
		case Invited:
			if c.config.Outgoing {
				return c.hang("unanswered")
			}
			return c.refuse(503, "Service Unavailable", "failed") // the server did not say
		case RefusedEarly:
			return c.refused()
		case Language: // nobody chose
			c.enter(Code, now, codeTime)
			return []Effect{c.say(prompt.Code)}
		case Code:
			return c.goodbye(now, prompt.Locked, "no_code")
		case Identify, Consent:
			return c.hang("no_consent")
		case Checking, Warned, Keyed, Door:
			return c.goodbye(now, prompt.Failed, "failed")
		case RefusedAnswered, Held:
			return c.hang(c.outcomeOr("left"))
		}
	}
	var effects []Effect
	if c.seated() && !c.tone.IsZero() && !now.Before(c.tone) {
		c.tone = now.Add(c.config.Reminder)
		effects = append(effects, Announce{Reminder})
	}
	if !c.until.IsZero() && !now.Before(c.until) {
		return append(effects, c.goodbye(now, prompt.Time, "time")...)
	}
	if !c.until.IsZero() && !c.warned && !now.Before(c.until.Add(-warnBefore)) {
		c.warned = true
		effects = append(effects, c.say(prompt.Soon))
	}
	return effects
}

func (c *Call) outcomeOr(other string) string {
	if c.outcome != "" {
		return c.outcome
	}
	return other
}

// out shuts the way to the room and has the leg gone, before anything else is said or done.
func (c *Call) out() []Effect {
	if !c.entered {
		return nil
	}
	c.entered = false
	c.until, c.tone = time.Time{}, time.Time{}
	return []Effect{Bridge{false}, Leave{}}
}

// goodbye is a spoken end.
func (c *Call) goodbye(now time.Time, why prompt.Name, outcome string) []Effect {
	if c.state == RefusedAnswered || c.state == RefusedEarly {
		return nil // it ends already
	}
	effects := c.out()
	c.outcome, c.offered = outcome, false
	c.enter(RefusedAnswered, now, time.Minute)
	return append(effects, c.say(why))
}

// hang ends an answered call.
func (c *Call) hang(outcome string) []Effect {
	effects := append(c.out(), Hang{})
	return append(effects, c.over(outcome)...)
}

// gone is the end by the caller.
func (c *Call) gone(outcome string) []Effect {
	switch c.state {
	case Invited, RefusedEarly:
		outcome = "cancelled"
	case Code, Checking, Language:
		outcome = "no_code"
	case Identify, Warned, Consent:
		outcome = "no_consent"
	}
	return append(c.out(), c.over(c.outcomeOr(outcome))...)
}

func (c *Call) refuse(code int, phrase, outcome string) []Effect {
	return append([]Effect{Refuse{code, phrase}}, c.over(outcome)...)
}

func (c *Call) over(outcome string) []Effect {
	c.state, c.due, c.until, c.tone = Ended, time.Time{}, time.Time{}, time.Time{}
	c.typed = ""
	if c.ringBack {
		return []Effect{RingBack{}, Over{outcome}}
	}
	return []Effect{Over{outcome}}
}
