// Package gateway lets phones into meetings, told the truth: each call that may come in is an endpoint of its own, with its
// own key, leaf, pass and grade, and holds the keys of its meeting only while it is in. The gateway itself is never a member.
// It asks the server what may become of a call, speaks with the caller, and carries sound between the two once the caller has
// consented and the room has let the leg in.
//
// While a phone leg is in, this process hears the room: that is what its statement and everybody's roster say. It does no
// policy (the server's), no SIP (package phone/sip) and no RTP (package phone/media).
package gateway

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
	"conclave/phone/call"
	"conclave/phone/codec"
	"conclave/phone/media"
	"conclave/phone/prompt"
	"conclave/phone/sip"
	"conclave/signal"
)

// Config is what a Gateway needs.
type Config struct {
	Server  string      // https://host of the conference server
	TLS     *tls.Config // for it; nil: the system's roots
	Key     *Key        // the gateway's own, enrolled
	KeyFile string      // where a renewed statement is kept; "": nowhere

	Listeners []sip.Listener
	Trunks    []sip.Trunk
	Limits    sip.Limits
	// TrunkRoots are the authorities for the certificates of trunks that are dialled; nil: the system's.
	TrunkRoots *x509.CertPool
	// Calls is how many there may be at once; 0: as many as Limits says. Who calls beyond them is told so, which is better than to be heard
	// badly and to have all others heard badly too.
	Calls int
	// Rings is how many calls are made in a day on the server's wish, whatever it wishes: what fraud can cost where the server is another's. 0: 200.
	Rings int

	Media    netip.Addr // to bind calls' media to
	External netip.Addr // what stands in descriptions instead: the outer address of a NAT; zero: Media
	Ports    media.Ports
	Codecs   []codec.Codec // nil: all

	Prompts    *prompt.Set
	Names      *prompt.People             // nil: none are recorded
	Language   prompt.Language            // where a caller has not chosen, and in the room
	Called     map[string]prompt.Language // numbers that stand for a language
	EarlyMedia bool
	TimeLimit  time.Duration // of a leg in a meeting; 0: two hours
	Reminder   time.Duration // between tones in the room; 0: a minute

	Log  *slog.Logger
	Now  func() time.Time // nil: time.Now
	Rand io.Reader        // nil: crypto/rand
}

// The times of a leg where nothing else is said.
const (
	defaultLimit    = 2 * time.Hour
	defaultReminder = time.Minute
	ringTime        = 45 * time.Second
	// silentTime is how long a caller's media may be silent before the line counts as lost.
	silentTime = 30 * time.Second
	// turnedAway is how many callers are told at once that all lines are in use; the next ones get the answer without a word.
	turnedAway = 8
	// defaultRings is what the server too allows in a day; ringsAtOnce is how many ring before somebody takes them.
	defaultRings = 200
	ringsAtOnce  = 16
)

// Gateway is a running phone gateway. New, then Run.
type Gateway struct {
	config      Config
	stack       *sip.Stack
	link        *link
	certificate *tls.Certificate
	draining    atomic.Bool
	counts      counts

	mu    sync.Mutex
	legs  map[signal.CallID]*leg       // guarded by mu
	halls map[conclave.MeetingID]*hall // guarded by mu
	rung  rung                         // guarded by mu
	wait  sync.WaitGroup               // rings
	life  context.Context              // of rings: set by Run, before anything can ring
}

type counts struct{ came, refused, in, rings, wrong atomic.Uint64 }

// Stats are counts for an operator.
type Stats struct {
	SIP                             sip.Stats
	Connected                       bool // to the server
	Draining                        bool // no new calls are taken
	Legs, In                        int
	Came, Refused, Entered, Rings   uint64
	WrongCodes                      uint64
	Lost, Concealed, Forged, Strays uint64 // of the media of living legs
}

// New checks the configuration.
func New(c Config) (*Gateway, error) {
	if c.Server == "" || c.Key == nil || c.Prompts == nil || c.Log == nil || !c.Media.IsValid() {
		return nil, errors.New("gateway: incomplete configuration")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.TimeLimit == 0 {
		c.TimeLimit = defaultLimit
	}
	if c.Reminder == 0 {
		c.Reminder = defaultReminder
	}
	if c.Language == "" {
		c.Language = prompt.English
	}
	if c.Limits == (sip.Limits{}) {
		c.Limits = sip.DefaultLimits()
	}
	if c.Calls == 0 {
		c.Calls = c.Limits.Calls
	}
	if c.Rings == 0 {
		c.Rings = defaultRings
	}
	c.Limits.Calls = c.Calls + turnedAway
	if !c.External.IsValid() {
		c.External = c.Media
	}
	g := &Gateway{config: c, legs: map[signal.CallID]*leg{}, halls: map[conclave.MeetingID]*hall{}}
	var err error
	if g.certificate, err = media.NewCertificate(c.Now()); err != nil {
		return nil, err
	}
	if g.link, err = newLink(g); err != nil {
		return nil, err
	}
	g.stack, err = sip.New(sip.Config{Listeners: c.Listeners, Trunks: c.Trunks, Limits: c.Limits, Roots: sip.Roots{Pool: c.TrunkRoots}, Incoming: g.incoming, Log: c.Log, Now: c.Now, Rand: c.Rand})
	return g, err
}

// Run takes calls until ctx ends; all are told and ended then.
func (g *Gateway) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	g.life = inner
	var linked sync.WaitGroup
	linked.Go(func() { g.link.run(inner) })
	// The stack outlives ctx by what the callers are told at the end.
	calls, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	done := make(chan error, 1)
	go func() { done <- g.stack.Run(calls) }()
	var err error
	select {
	case <-ctx.Done():
		g.Drain()
		g.tellAll(call.Drain{})
		for deadline := time.Now().Add(drainLimit); g.Stats().Legs > 0 && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
		}
		stop()
		err = <-done
	case err = <-done:
	}
	cancel()
	g.wait.Wait()
	linked.Wait()
	return err
}

// drainLimit is what the last sentence may take.
const drainLimit = 12 * time.Second

// Drain takes no new calls; those that live go on.
func (g *Gateway) Drain() {
	g.draining.Store(true)
	g.stack.Drain()
}

// Draining says that no new calls are taken.
func (g *Gateway) Draining() bool { return g.draining.Load() }

// Ready is closed when SIP is listened for.
func (g *Gateway) Ready() <-chan struct{} { return g.stack.Ready() }

// Connected says whether the server knows us now.
func (g *Gateway) Connected() bool { return g.link.connected() }

// Stack returns the SIP end, for its addresses.
func (g *Gateway) Stack() *sip.Stack { return g.stack }

// Stats returns the counts so far.
func (g *Gateway) Stats() Stats {
	s := Stats{SIP: g.stack.Stats(), Connected: g.Connected(), Draining: g.Draining(), Came: g.counts.came.Load(), Refused: g.counts.refused.Load(),
		Entered: g.counts.in.Load(), Rings: g.counts.rings.Load(), WrongCodes: g.counts.wrong.Load()}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Legs = len(g.legs)
	for _, l := range g.legs {
		m := l.media.Stats()
		s.Lost += m.Lost
		s.Concealed += m.Concealed
		s.Forged += m.Forged
		s.Strays += m.Foreign
		if l.inRoom.Load() {
			s.In++
		}
	}
	return s
}

func (g *Gateway) tellAll(e call.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.legs {
		l.tell(e)
	}
}

func (g *Gateway) living() []signal.CallID {
	g.mu.Lock()
	defer g.mu.Unlock()
	ids := make([]signal.CallID, 0, len(g.legs))
	for id := range g.legs {
		ids = append(ids, id)
	}
	return ids
}

func (g *Gateway) find(id signal.CallID) *leg {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.legs[id]
}

// add takes a leg in. Where as many calls live as there may, one that came is there to be told so alone.
func (g *Gateway) add(l *leg, incoming bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, other := range g.legs {
		if !other.turnedAway {
			n++
		}
	}
	l.turnedAway = incoming && n >= g.config.Calls
	g.legs[l.id] = l
}

// rung is what was rung of late.
type rung struct {
	now   int     // that nobody has taken yet
	spent float64 // of a day's
	at    time.Time
}

// mayRing counts a ring in, and returns what counts it out when it was taken or is over; nil: there are too many. The server keeps a budget of
// its own. This one holds where the server is another's: what it wishes for costs no more than the operator has said.
func (g *Gateway) mayRing() (over func()) {
	now := g.config.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if passed := now.Sub(g.rung.at); passed > 0 {
		g.rung.spent = max(0, g.rung.spent-passed.Hours()/24*float64(g.config.Rings))
		g.rung.at = now
	}
	if len(g.legs)+g.rung.now >= g.config.Calls || g.rung.now >= ringsAtOnce || g.rung.spent+1 > float64(g.config.Rings) {
		return nil
	}
	g.rung.spent++
	g.rung.now++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.rung.now--
	})
}

func (g *Gateway) remove(l *leg) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.legs, l.id)
}

// session opens the media of a call.
func (g *Gateway) session() (*media.Session, error) {
	return media.New(media.Config{Local: g.config.Media, Ports: g.config.Ports, Certificate: g.certificate, Rand: g.config.Rand, Now: g.config.Now, Log: g.config.Log})
}

// draw returns a random number for o= lines.
func (g *Gateway) draw() uint64 {
	n, err := rand.Int(g.config.Rand, big.NewInt(1<<62))
	if err != nil {
		panic("gateway: no randomness: " + err.Error())
	}
	return n.Uint64()
}

// lineOf says what is known of a call's line: encrypted as far as us only where both its signalling, with a trunk that has
// proven who it is, and its media are. Keys that came over a clear way protect nothing.
func lineOf(secureSignalling bool, k media.Keying) signal.PhoneLine {
	if secureSignalling && k != media.Clear {
		return signal.PhoneHop
	}
	return signal.PhoneOpen
}

// incoming takes a call of a trunk.
func (g *Gateway) incoming(ctx context.Context, c *sip.Call) {
	g.counts.came.Add(1)
	session, err := g.session()
	if err != nil {
		g.config.Log.Error("no media for a call", "cause", err)
		_ = c.Refuse(503, "Service Unavailable")
		return
	}
	defer session.Close()
	l := newLeg(g, signal.NewCallID(), c, session)
	keying, ok := l.ours.Keying(c.Offer())
	if !ok {
		_ = c.Refuse(488, "Not Acceptable Here")
		return
	}
	l.line = lineOf(c.Secure(), keying)
	g.add(l, true)
	defer g.remove(l)
	l.run(ctx, call.Config{Default: g.config.Language, Chosen: g.config.Called[c.Called()], Hop: l.line == signal.PhoneHop,
		EarlyMedia: g.config.EarlyMedia, Limit: g.config.TimeLimit, Reminder: g.config.Reminder})
}

// ring makes a call that the server asked for. Where the trunk is TLS the media's encryption is demanded; a call in the clear
// is tried after that only where the meeting admits one.
func (g *Gateway) ring(ctx context.Context, m *signal.RingOut) {
	g.counts.rings.Add(1)
	outcome := "failed"
	defer func() {
		if outcome != "" {
			g.link.tell(&signal.CallOver{Call: m.Call, Outcome: outcome})
		}
	}()
	trunk, err := g.stack.TrunkFor(m.Address, m.Secure)
	if err != nil || g.draining.Load() {
		outcome = "forbidden"
		return
	}
	over := g.mayRing()
	if over == nil {
		g.config.Log.Warn("the server wishes for more calls than there may be")
		return
	}
	defer over()
	session, err := g.session()
	if err != nil {
		g.config.Log.Error("no media for a call", "cause", err)
		return
	}
	defer session.Close()
	secure := trunk.TargetNetwork == sip.TLS
	l := newLeg(g, m.Call, nil, session)
	var taken *sip.Call
	for {
		offer, err := l.ours.Offer(secure)
		if err != nil {
			return
		}
		limited, cancel := context.WithTimeout(ctx, ringTime)
		taken, err = g.stack.Ring(limited, trunk, m.Address, offer)
		cancel()
		if err == nil {
			break
		}
		var refusal sip.Refusal
		if errors.As(err, &refusal) && refusal.Code == 488 && secure && !m.Secure {
			secure = false
			continue
		}
		outcome = "unanswered"
		g.config.Log.Info("nobody took a call of ours", "cause", fmt.Sprint(refusal.Code))
		return
	}
	defer taken.Hang()
	agreement, err := l.ours.Take(taken.Offer(), secure)
	if err != nil {
		return
	}
	l.bind(taken)
	l.line = lineOf(taken.Secure(), agreement.Security.Keying)
	if err := session.Start(ctx, agreement); err != nil {
		return
	}
	l.started = g.config.Now()
	outcome = ""
	over()
	g.add(l, false)
	defer g.remove(l)
	l.tell(call.Taken{})
	l.run(ctx, call.Config{Default: g.config.Language, Hop: l.line == signal.PhoneHop, Outgoing: true, Limit: g.config.TimeLimit, Reminder: g.config.Reminder})
}
