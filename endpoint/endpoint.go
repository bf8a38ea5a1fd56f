package endpoint

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"time"

	"conclave"
	"conclave/mls"
	"conclave/signal"
)

// Identity is an enrolled device.
type Identity struct {
	Statement []byte     // the device statement, encoded (package pass)
	Signer    mls.Signer // of the leaf key
}

// Config is what an Endpoint needs of its owner.
type Config struct {
	// Dial opens a connection to the server's signalling. It is called again whenever the connection is lost.
	Dial func(ctx context.Context) (Conn, error)
	// Host is host:port of the URL that Dial goes to; the hello is signed for it.
	Host     string
	Identity Identity
	// Organisation and Root are what the device pinned when it enrolled. Nothing the server says changes them.
	Organisation conclave.OrganisationID
	Root         ed25519.PublicKey
	Meeting      conclave.MeetingID
	Client       signal.Client
	Facts        []conclave.Fact // claimed, in the hello
	// Withdrawn is the counter of the newest list of withdrawn keys that this device was ever shown (KeysEvent): a server
	// that shows an older one, or none, is not followed.
	Withdrawn uint64
	Media     Media // nil: none, keys only

	// Verify verifies signatures of the group; nil verifies one after the other in Go.
	Verify mls.BatchVerifier
	Now    func() time.Time // nil: time.Now
	Rand   io.Reader        // nil: crypto/rand
	Log    Log              // nil: nothing is logged
	// Emit is told all that happens, on the owner goroutine; it must return at once. It may call the Endpoint's methods.
	Emit func(Event)
}

// Endpoint is one leg's client. Its methods may be called from any goroutine and return at once; what comes of them is
// told through Config.Emit.
type Endpoint struct {
	cfg      Config
	commands chan func(*session) // full: the command is dropped with errBusy
	contexts contexts
}

// commandsQueue bounds what the owner asks for and the endpoint has not yet begun.
const commandsQueue = 64

var (
	errBusy   = errors.New("endpoint: too many commands at once")
	errConfig = errors.New("endpoint: incomplete configuration")
)

// New checks cfg and returns an Endpoint, which does nothing until Run.
func New(cfg Config) (*Endpoint, error) {
	if cfg.Dial == nil || cfg.Emit == nil || cfg.Identity.Signer == nil || len(cfg.Identity.Statement) == 0 ||
		len(cfg.Root) != ed25519.PublicKeySize || cfg.Organisation == "" || cfg.Host == "" {
		return nil, errConfig
	}
	if cfg.Verify == nil {
		cfg.Verify = mls.VerifyEach
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = silent{}
	}
	if cfg.Media == nil {
		cfg.Media = noMedia{}
	}
	e := &Endpoint{cfg: cfg, commands: make(chan func(*session), commandsQueue)}
	e.contexts.live = make(map[Stream]int)
	e.contexts.full = func() { e.do((*session).refresh) }
	return e, nil
}

func (e *Endpoint) do(command func(*session)) error {
	select {
	case e.commands <- command:
		return nil
	default:
		return errBusy
	}
}

// Join asks to be let in with facts, claimed of the line as it is now. It counts once the line is known (StateChecked),
// or after a refusal that may be asked again; at the door and in quarantine it has the leg looked at anew.
func (e *Endpoint) Join(facts []conclave.Fact) error {
	return e.do(func(s *session) { s.join(facts) })
}

// JoinWith is Join with a fresh assertion, made over fingerprint: the SHA-256 of the DTLS certificate that this leg's media
// will have (signal.AssertionContent).
func (e *Endpoint) JoinWith(facts []conclave.Fact, fingerprint, assertion []byte) error {
	return e.do(func(s *session) {
		s.fingerprint, s.assertion = fingerprint, assertion
		s.join(facts)
	})
}

// Facts says that what is claimed of the line is other than before. It may be said at any time; the leg is ruled anew.
func (e *Endpoint) Facts(facts []conclave.Fact) error {
	return e.do(func(s *session) { s.claim(facts) })
}

// Mission asks whether this person, device and line would do for a level. The endpoint's meeting is the zero one then.
func (e *Endpoint) Mission(level conclave.Level, facts []conclave.Fact) error {
	return e.do(func(s *session) { s.send(&signal.Mission{Level: level, Facts: facts}) })
}

// Probe has the way of sound tried before there is a meeting; ufrag and fingerprint are of the end that will connect to where
// ProbingEvent says.
func (e *Endpoint) Probe(ufrag string, fingerprint []byte) error {
	return e.do(func(s *session) { s.send(&signal.Probe{Ufrag: ufrag, Fingerprint: fingerprint}) })
}

// SetState says what this leg shows of itself. It is said again after a reconnect.
func (e *Endpoint) SetState(state signal.State) error {
	return e.do(func(s *session) { s.setState(state) })
}

// Decide is the chair's decision on one who waits at the door.
func (e *Endpoint) Decide(leg conclave.LegID, admit bool) error {
	return e.do(func(s *session) { s.send(&signal.Decide{Leg: leg, Admit: admit}) })
}

// DecideAll is the chair's decision on several who wait at the door, each of whom is ruled on by itself.
func (e *Endpoint) DecideAll(legs []conclave.LegID, admit bool) error {
	return e.do(func(s *session) { s.send(&signal.Decide{Legs: legs, Admit: admit}) })
}

// Raise is the chair's wish to raise the meeting's level.
func (e *Endpoint) Raise(level conclave.Level) error {
	return e.do(func(s *session) { s.send(&signal.Raise{Level: level}) })
}

// Pause stops all sending in the room, or lets it go on.
func (e *Endpoint) Pause(on, anonymous bool) error {
	return e.do(func(s *session) { s.send(&signal.Pause{On: on, Anonymous: anonymous}) })
}

// Preside is what the chair does for the room as a whole, or what the one answers who is offered it: signal.PresideActs. leg is
// of "offer".
func (e *Endpoint) Preside(act string, leg conclave.LegID) error {
	return e.do(func(s *session) { s.send(&signal.Preside{Act: act, Leg: leg}) })
}

// Except is the chair's wish for an exception: for a leg at the door or in quarantine, with words for all, for 1 to 60 minutes.
func (e *Endpoint) Except(leg conclave.LegID, reason string, minutes uint16) error {
	return e.do(func(s *session) { s.send(&signal.Except{Leg: leg, Reason: reason, Minutes: minutes}) })
}

// Read says that the person has read a notice.
func (e *Endpoint) Read(notice string) error {
	return e.do(func(s *session) { s.send(&signal.Read{ID: notice}) })
}

// Confirm is a second person's word on an exception.
func (e *Endpoint) Confirm(exception uint32, yes bool) error {
	return e.do(func(s *session) { s.send(&signal.Confirm{Exception: exception, Yes: yes}) })
}

// Ring is the chair's wish that the phone gateway ring a person.
func (e *Endpoint) Ring(person conclave.PersonID) error {
	return e.do(func(s *session) { s.send(&signal.Ring{Person: person}) })
}

// Remove is the chair's removal of a leg; reason is one of signal.RemoveReasons.
func (e *Endpoint) Remove(leg conclave.LegID, reason string) error {
	return e.do(func(s *session) { s.send(&signal.Remove{Leg: leg, Reason: reason}) })
}

// Leave ends the leg by its own wish. Run returns soon after.
func (e *Endpoint) Leave() error {
	return e.do((*session).leave)
}

// Restart asks for a new media path, after the present one has failed.
func (e *Endpoint) Restart() error {
	return e.do((*session).restartMedia)
}

// Context hands out the context identifier with which a start of stream seals its frames, 0x800…0xFFF, each only once
// under the keys of an epoch. ok is false while there is none: before the first epoch, or, for the moment that a new
// epoch takes, when all were used.
func (e *Endpoint) Context(stream Stream) (id uint16, ok bool) {
	return e.contexts.take(stream)
}

// Stranger tells of frames that did not open, or that were sealed by another than the leaf in whose slot they came:
// those that an honest server never forwards. leaf is the one that the frame names, -1 if it names none.
func (e *Endpoint) Stranger(stream Stream, leaf int) error {
	return e.do(func(s *session) { s.stranger(stream, leaf) })
}

// Opened tells whose frames open in a receiving slot from now on: the owner of media says so whenever it changes. leaf -1
// is nobody, after two seconds without a frame that opened.
func (e *Endpoint) Opened(stream Stream, slot, leaf int) error {
	if stream != Microphone {
		return nil
	}
	return e.do(func(s *session) { s.heartbeat.opened(slot, leaf) })
}

// Log takes what an operator may want to know. *slog.Logger is one; the browser has none, and does not link it.
type Log interface {
	Debug(msg string, args ...any)
	Info(msg string, args ...any)
	Warn(msg string, args ...any)
}

type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}

// noMedia is the Media of an endpoint that only follows the keys.
type noMedia struct{}

var errNoMedia = errors.New("endpoint: no media")

func (noMedia) Offer(context.Context, signal.SlotCounts, signal.Server) (signal.Media, error) {
	return signal.Media{}, errNoMedia
}
func (noMedia) Ready()              {}
func (noMedia) Keys(keys EpochKeys) { clear(keys.BaseKey) }
func (noMedia) Retire(uint64)       {}
func (noMedia) Slots(signal.Slots)  {}
func (noMedia) Hold(bool)           {}
func (noMedia) Bar(uint32)          {}
func (noMedia) Suspend()            {}
func (noMedia) Close()              {}
