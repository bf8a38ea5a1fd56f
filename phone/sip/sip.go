// Package sip takes and makes phone calls over SIP trunks. It knows whom it speaks with (trunks, by address, certificate and
// digest), carries calls through their life, and bounds what strangers can cost. It knows no media, no meetings and no policy:
// what becomes of a call is its owner's affair (package gateway).
//
// Transport, parsing and transactions are sipgo's; nothing that a peer sends may stop the process, so every handler runs
// behind a recover. Dialogs, digest, timers and limits are our own.
//
// Sources: RFC 3261 (SIP), RFC 3264 (offer and answer), RFC 3311 (UPDATE), RFC 3515 (REFER, refused), RFC 3581 (rport),
// RFC 4028 (session timers), RFC 8760 (digest).
package sip

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// Network is a transport.
type Network string

// The transports.
const (
	UDP Network = "udp"
	TCP Network = "tcp"
	TLS Network = "tls"
)

// Listener is where SIP is taken.
type Listener struct {
	Network Network
	Address netip.AddrPort
	// External is what stands in Contact instead of Address: the outer address of a NAT, or a name. "" for none.
	External string
	// Certificate is shown on TLS.
	Certificate *tls.Certificate
}

// Config is what a Stack needs.
type Config struct {
	Listeners []Listener
	Trunks    []Trunk
	Limits    Limits // zero: DefaultLimits
	// Incoming is told of each call, on a goroutine of its own; the call is over when it returns.
	Incoming func(context.Context, *Call)
	Log      *slog.Logger
	Now      func() time.Time
	Rand     io.Reader // nil: crypto/rand
	// Roots are the authorities for the certificates of trunks that we dial; nil: the system's.
	Roots Roots
}

// Limits bound what peers can cost.
type Limits struct {
	Calls    int           // at once, in both directions
	Unacked  int           // answered calls that wait for their ACK
	Rate     float64       // INVITEs a second from one address
	Burst    float64       // and at once
	AckLimit time.Duration // an answered call without ACK ends after so long
}

// DefaultLimits suit a gateway of 50 legs.
func DefaultLimits() Limits {
	return Limits{Calls: 60, Unacked: 16, Rate: 20, Burst: 40, AckLimit: 8 * time.Second}
}

// Stack is a running SIP end. New, then Run.
type Stack struct {
	config  Config
	agent   *sipgo.UserAgent
	server  *sipgo.Server
	client  *sipgo.Client
	peers   peers // TLS certificates by address
	auth    authenticator
	limits  limiter
	ready   chan struct{}
	serving []chan struct{} // of UDP listeners: see filtered
	bound   []net.Addr      // in the order of Listeners; set before ready is closed
	stats   stats
	drained atomic.Bool

	mu      sync.Mutex
	calls   map[string]*Call // by dialog; guarded by mu, as are the next two
	closing bool             // no call is added
	over    bool             // nothing is added to wait
	wait    sync.WaitGroup
}

// Stats are counts for an operator.
type Stats struct {
	Requests, Refused, Strange, Panics, Calls uint64
	Living                                    int
}

type stats struct{ requests, refused, panics, calls atomic.Uint64 }

// UserAgent is what we call ourselves.
const UserAgent = "conclave"

var errConfig = errors.New("sip: incomplete configuration")

// A datagram may be as large as UDP carries it. sipgo refuses to write more than 1300 octets, so that an answer on a route with many
// hops, which grows by a header for each, was never sent; RFC 3261, Section 18.1.1, asks that of requests alone, and our
// trunk is what we were told that it is: where it speaks TCP or TLS, the call goes over that.
//
// And sipgo logs whole messages: numbers and addresses among them. None of it is written anywhere.
//
// Both are variables of that package, so that they are set before anything runs.
func init() {
	sip.UDPMTUSize = 1<<16 + 200
	sip.SetDefaultLogger(quiet)
}

// quiet is sipgo's logger.
var quiet = slog.New(slog.DiscardHandler)

// New checks the configuration.
func New(c Config) (*Stack, error) {
	if len(c.Listeners) == 0 || len(c.Trunks) == 0 || c.Incoming == nil || c.Log == nil || c.Now == nil {
		return nil, errConfig
	}
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits()
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	names := map[string]bool{}
	for i := range c.Trunks {
		if err := c.Trunks[i].check(); err != nil {
			return nil, err
		}
		if names[c.Trunks[i].Name] {
			return nil, fmt.Errorf("sip: trunk %q stands twice", c.Trunks[i].Name)
		}
		names[c.Trunks[i].Name] = true
	}
	s := &Stack{config: c, ready: make(chan struct{}), calls: map[string]*Call{}}
	s.limits.limits = c.Limits
	if _, err := io.ReadFull(c.Rand, s.auth.key[:]); err != nil {
		return nil, fmt.Errorf("sip: draw a key: %w", err)
	}
	dial := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots.Pool}
	for _, l := range c.Listeners {
		if l.Network == TLS && l.Certificate != nil {
			dial.Certificates = []tls.Certificate{*l.Certificate} // trunks may know us by it
		}
	}
	var err error
	if s.agent, err = sipgo.NewUA(sipgo.WithUserAgent(UserAgent), sipgo.WithUserAgenTLSConfig(dial),
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(quiet), sip.WithTransactionLayerTerminateOnConnClose())); err != nil {
		return nil, fmt.Errorf("sip: %w", err)
	}
	if s.server, err = sipgo.NewServer(s.agent, sipgo.WithServerLogger(quiet)); err != nil {
		return nil, fmt.Errorf("sip: %w", err)
	}
	if s.client, err = sipgo.NewClient(s.agent, sipgo.WithClientLogger(quiet), sipgo.WithClientNAT()); err != nil {
		return nil, fmt.Errorf("sip: %w", err)
	}
	s.route()
	return s, nil
}

// route names the handlers.
func (s *Stack) route() {
	s.server.OnInvite(s.guard(s.invite))
	s.server.OnAck(s.guard(s.ack))
	s.server.OnBye(s.guard(s.bye))
	s.server.OnUpdate(s.guard(s.update))
	s.server.OnOptions(s.guard(s.options))
	s.server.OnCancel(s.guard(func(t *Trunk, r *sip.Request, tx sip.ServerTransaction) {
		respond(tx, sip.NewResponseFromRequest(r, 481, "Call/Transaction Does Not Exist", nil)) // one that matches never comes here
	}))
	s.server.OnNoRoute(s.guard(func(t *Trunk, r *sip.Request, tx sip.ServerTransaction) {
		res := sip.NewResponseFromRequest(r, 405, "Method Not Allowed", nil)
		res.AppendHeader(sip.NewHeader("Allow", allowed))
		respond(tx, res)
	}))
}

// allowed are the methods that we follow. REFER is none of them: nobody moves a call elsewhere.
const allowed = "INVITE, ACK, CANCEL, BYE, UPDATE, OPTIONS"

// guard lets a handler see only requests that have all they need, from trunks that we know, and catches what it panics.
func (s *Stack) guard(f func(*Trunk, *sip.Request, sip.ServerTransaction)) sipgo.RequestHandler {
	return func(r *sip.Request, tx sip.ServerTransaction) {
		defer func() {
			if p := recover(); p != nil {
				s.stats.panics.Add(1)
				s.config.Log.Error("a SIP request was not survived by its handler", "method", r.Method.String())
				if !r.IsAck() {
					respond(tx, sip.NewResponseFromRequest(r, 500, "Server Internal Error", nil))
				}
			}
		}()
		s.stats.requests.Add(1)
		// sipgo hands on requests that lack these: a missing To made a handler panic 325 times in 20 000.
		if r.From() == nil || r.To() == nil || r.CallID() == nil || r.CSeq() == nil || r.Via() == nil {
			if !r.IsAck() {
				respond(tx, sip.NewResponseFromRequest(r, 400, "Bad Request", nil))
			}
			return
		}
		trunk := s.trunkOf(r)
		if c := s.dialled(r); c != nil {
			trunk = c.trunk
		}
		if trunk == nil {
			return // it came past the listeners, from nobody that we know: silence
		}
		f(trunk, r, tx)
	}
}

func respond(tx sip.ServerTransaction, r *sip.Response) { _ = tx.Respond(r) } // a peer that is gone needs no answer

// Run listens until ctx ends; then calls are ended and it returns.
func (s *Stack) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(s.config.Listeners))
	var serve sync.WaitGroup
	// All are bound before the first is served: who is answered is told of all addresses.
	type listening struct {
		Listener
		closer io.Closer
		run    func() error
	}
	var all []listening
	for _, l := range s.config.Listeners {
		closer, address, run, err := s.listen(inner, l)
		if err != nil {
			for _, l := range all {
				l.closer.Close()
			}
			s.agent.Close()
			return err
		}
		s.bound = append(s.bound, address)
		all = append(all, listening{l, closer, run})
	}
	for _, l := range all {
		closer, run := l.closer, l.run
		serve.Go(func() {
			<-inner.Done()
			closer.Close()
		})
		serve.Go(func() {
			if err := again(inner, run); err != nil && inner.Err() == nil {
				failed <- fmt.Errorf("sip: %s: %w", l.Network, err)
			}
		})
	}
	// A request of ours that is sent before would open a second socket on the same port, and fail: the first registration did.
	var err error
	for _, heard := range s.serving {
		select {
		case <-heard:
		case <-ctx.Done():
		case err = <-failed:
			cancel()
			s.agent.Close()
			serve.Wait()
			return err
		}
	}
	close(s.ready)
	for i := range s.config.Trunks {
		if t := &s.config.Trunks[i]; t.Register {
			serve.Go(func() { s.keepRegistered(inner, t) })
		}
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.endAll()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.wait.Wait()
	cancel()
	s.agent.Close()
	serve.Wait()
	return err
}

// again runs a listener's loop anew where a message broke it: the parser runs on it, and a panic there must not end all calls.
func again(ctx context.Context, run func() error) (err error) {
	for range 1000 {
		panicked := true
		func() {
			defer func() { _ = recover() }()
			err = run()
			panicked = false
		}()
		if !panicked || ctx.Err() != nil {
			return err
		}
	}
	return errors.New("listener fails again and again")
}

// Ready is closed when all listeners listen.
func (s *Stack) Ready() <-chan struct{} { return s.ready }

// Addresses are those that are listened on, in the order of Config.Listeners. They hold after Ready.
func (s *Stack) Addresses() []net.Addr { return s.bound }

// Drain refuses new calls from now on; those that live go on.
func (s *Stack) Drain() { s.drained.Store(true) }

// Stats returns the counts so far.
func (s *Stack) Stats() Stats {
	s.mu.Lock()
	living := len(s.calls)
	s.mu.Unlock()
	return Stats{Requests: s.stats.requests.Load(), Refused: s.stats.refused.Load(), Strange: s.limits.strange.Load(),
		Panics: s.stats.panics.Load(), Calls: s.stats.calls.Load(), Living: living}
}

// spawn runs f, which Run waits for; it does not where Run no longer waits: a BYE that comes after the end is not sent.
func (s *Stack) spawn(f func()) {
	s.mu.Lock()
	over := s.over
	if !over {
		s.wait.Add(1)
	}
	s.mu.Unlock()
	if over {
		return
	}
	go func() {
		defer s.wait.Done()
		f()
	}()
}

// endAll ends all calls, and takes no more.
func (s *Stack) endAll() {
	s.mu.Lock()
	s.closing = true
	calls := make([]*Call, 0, len(s.calls))
	for _, c := range s.calls {
		calls = append(calls, c)
	}
	s.mu.Unlock()
	for _, c := range calls {
		c.end(EndDrained)
	}
}

// contact is what we are reached at on a network.
func (s *Stack) contact(network Network) *sip.ContactHeader {
	for i, l := range s.config.Listeners {
		if l.Network != network {
			continue
		}
		host, port := splitAddress(s.bound[i])
		if l.External != "" {
			h, p, err := net.SplitHostPort(l.External)
			if err != nil {
				h = l.External
			} else if n, err := net.LookupPort("tcp", p); err == nil {
				port = n
			}
			host = h
		}
		u := sip.Uri{Scheme: "sip", User: UserAgent, Host: host, Port: port, UriParams: sip.NewParams(), Headers: sip.NewParams()}
		if network != UDP {
			u.UriParams.Add("transport", string(network))
		}
		return &sip.ContactHeader{Address: u, Params: sip.NewParams()}
	}
	return nil
}

func splitAddress(a net.Addr) (string, int) {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return "127.0.0.1", 5060
	}
	host := p.Addr().Unmap().String()
	if p.Addr().Is6() && !p.Addr().Is4In6() {
		host = "[" + host + "]"
	}
	return host, int(p.Port())
}

// fingerprint is how a trunk's certificate is known.
func fingerprint(certificate []byte) [sha256.Size]byte { return sha256.Sum256(certificate) }

func networkOf(transport string) Network { return Network(strings.ToLower(transport)) }
