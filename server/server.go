// Package server joins the floors: it takes HTTP and signalling, asks identity, line and admission about whoever comes,
// runs one goroutine for each room (roster, MLS delivery, media), and carries out what they decide. Nothing is decided
// here; what is decided is recorded before it has effect.
//
// It never holds a key that opens media: it links neither mls/member nor sframe nor endpoint, and a test at the root of
// the module holds that.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/identity"
	"conclave/line"
	"conclave/network"
	"conclave/server/delivery"
	"conclave/server/kept"
	"conclave/server/records"
	"conclave/sfu"
	"conclave/sfu/slot"
	"conclave/store"
)

// Config is what a Server needs. The zero value of a field without a comment on it is not allowed.
type Config struct {
	Organisation *identity.Organisation
	Store        store.Store
	Policy       *admission.Policy
	Media        *sfu.SFU // the Server runs and closes it
	// Hosts are the host:port under which clients know this server, as in their URLs; ports 80 and 443 may be left
	// out. A hello that was signed for another is refused: somebody stands between.
	Hosts     []string
	OIDC      OIDC                   // the organisation's sign-in; zero: none
	Enrolment identity.Rules         // how devices are enrolled; may be zero
	Meetings  identity.Lengths       // how long meetings may last; may be zero
	Networks  line.Networks          // approved networks; may be empty
	Proxies   []netip.Prefix         // whose X-Forwarded-For is believed; may be empty
	Places    *network.Ground        // what is known of addresses; nil: nothing
	Reload    func() (Ground, error) // reads policy and networks anew; nil: they cannot change
	Secure    bool                   // clients come over TLS, ours or a trusted proxy's
	Slots     slot.Plan              // zero: slot.Default
	Client    fs.FS                  // the web client's files; nil: none
	Limits    Limits                 // zero: DefaultLimits
	Records   records.Copies
	MaxLegs   int // of one room; 0: delivery.MaxMembers, which is the most

	Log *slog.Logger
	Now func() time.Time // nil: time.Now
	// Clocks reads Now's clock beside one that nobody sets; nil: the machine's where Now is, else none.
	Clocks audit.Clocks
	Rand   io.Reader // nil: crypto/rand
}

// Server is a conference server. New, then Run; its handlers may be served as soon as New has returned.
type Server struct {
	cfg       Config
	directory *identity.Directory
	audit     *audit.Log
	devices   *identity.DeviceLog
	logs      records.Config
	keeper    *records.Keeper
	kept      *kept.Archive
	limits    *limiter
	hosts     map[string]bool
	signIn    *signIn // nil: none
	nonces    nonces
	phones    phones
	refusals  refusals
	probes    probes

	ground        atomic.Pointer[Ground]
	reloading     sync.Mutex // one at a time
	trips         trips
	historySecret [32]byte // of the tags of networks (remember)

	// ctx is the life of all connections and rooms: it ends when Run shall.
	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup // connections and rooms

	mu       sync.Mutex
	rooms    map[conclave.MeetingID]*room    // guarded by mu
	openings map[conclave.MeetingID]*opening // guarded by mu: of rooms that are not open yet
	closed   bool                            // guarded by mu: nothing new is started
}

// New checks cfg and brings back the rooms that had members when the server last stopped.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Organisation == nil || cfg.Store == nil || cfg.Policy == nil || cfg.Media == nil || cfg.Log == nil || len(cfg.Hosts) == 0 {
		return nil, errors.New("server: incomplete configuration")
	}
	if cfg.Slots == (slot.Plan{}) {
		cfg.Slots = slot.Default
	}
	if err := cfg.Slots.Check(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if cfg.Limits == (Limits{}) {
		cfg.Limits = DefaultLimits()
	}
	if cfg.MaxLegs <= 0 || cfg.MaxLegs > delivery.MaxMembers {
		cfg.MaxLegs = delivery.MaxMembers
	}
	if cfg.Places == nil {
		cfg.Places = new(network.Ground)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
		if began := time.Now(); cfg.Clocks == nil {
			cfg.Clocks = func() (time.Time, time.Duration) {
				now := time.Now()
				return now.Round(0).UTC(), now.Sub(began) // without its steady reading, and by it
			}
		}
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	cfg.Store = kept.Listed{Store: cfg.Store}
	s := &Server{
		cfg:      cfg,
		limits:   newLimiter(cfg.Limits),
		hosts:    map[string]bool{},
		rooms:    map[conclave.MeetingID]*room{},
		openings: map[conclave.MeetingID]*opening{},
	}
	for _, h := range cfg.Hosts {
		s.hosts[canonicalHost(h)] = true
	}
	var err error
	s.logs = records.Config{Copies: cfg.Records, Organisation: cfg.Organisation, Store: cfg.Store, Log: cfg.Log, Now: cfg.Now, Clocks: cfg.Clocks, Rand: cfg.Rand}
	if s.audit, err = s.logs.OpenAudit(ctx); err != nil {
		return nil, err
	}
	s.directory = identity.NewDirectory(cfg.Store, cfg.Organisation, s.audit)
	if err := cfg.Meetings.Check(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s.directory.SetRules(cfg.Enrolment)
	s.directory.SetLengths(cfg.Meetings)
	if s.devices, err = s.logs.OpenDevices(ctx, s.directory); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if _, err := io.ReadFull(cfg.Rand, s.nonces.key[:]); err != nil {
		return nil, fmt.Errorf("server: draw a key: %w", err)
	}
	s.ground.Store(&Ground{Policy: cfg.Policy, Networks: cfg.Networks, Places: cfg.Places})
	if err := errors.Join(s.openHistory(ctx), s.openTrips(ctx), s.openProbes()); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := errors.Join(s.recordStart(ctx), s.recordGround(ctx, s.ground.Load())); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if err := s.noteKeys(ctx); err != nil {
		return nil, err
	}
	if s.keeper, err = s.logs.Start(ctx, s.audit, s.devices); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s.startArchive()
	if err := s.restore(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// startArchive has what is kept beside the record deleted in time, until the server ends.
func (s *Server) startArchive() {
	s.kept = &kept.Archive{Organisation: s.cfg.Organisation, Store: s.cfg.Store, Directory: s.directory, Audit: s.audit,
		Levels: func() admission.Levels { return s.policy().Levels() }, Log: s.cfg.Log, Now: s.cfg.Now}
	s.wait.Go(func() { s.kept.Run(s.ctx) })
}

// Run serves media and waits. When ctx is done it ends all connections, keeping the places of their legs for the next
// start, and returns once all goroutines have ended. Whoever serves the handlers stops that first.
func (s *Server) Run(ctx context.Context) error {
	var media error
	done := make(chan struct{})
	mediaCtx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		media = s.cfg.Media.Run(mediaCtx)
	}()
	select {
	case <-ctx.Done():
	case <-done: // the port broke: there is no server without media
	}
	s.stop()
	cancel()
	<-done
	if media != nil {
		return fmt.Errorf("server: %w", media)
	}
	return nil
}

// stop ends connections and rooms and waits for them.
func (s *Server) stop() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wait.Wait()
	s.keeper.End() // after all that records
}

// begin counts a connection in, or says that the server ends.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wait.Add(1)
	return true
}

func (s *Server) now() time.Time { return s.cfg.Now().UTC() }

// Directory returns the organisation's directory.
func (s *Server) Directory() *identity.Directory { return s.directory }

// Audit returns the log of records.
func (s *Server) Audit() *audit.Log { return s.audit }

// restore opens every room that has members in the store, so that their places end in time even if nobody comes back.
func (s *Server) restore(ctx context.Context) error {
	entries, err := s.cfg.Store.List(ctx, roomPrefix)
	if err != nil {
		return fmt.Errorf("server: restore: %w", err)
	}
	for _, e := range entries {
		id, err := conclave.ParseMeetingID(strings.TrimPrefix(string(e.Key), roomPrefix+"."))
		if err != nil {
			return fmt.Errorf("server: restore: a room has no meeting's name")
		}
		r, err := s.attach(ctx, id)
		var p conclave.Problem
		if errors.As(err, &p) {
			// A meeting that may not open now, or is no more: nobody is in it whose place could be kept.
			s.cfg.Log.Warn("a room is not opened at the start", "meeting", id, "cause", p.Code)
			continue
		}
		if err != nil {
			return fmt.Errorf("server: restore: %w", err)
		}
		s.detach(r)
	}
	return nil
}

var errClosing = errors.New("server: closing")

// canonicalHost writes a host with its port, in small letters; a host without one is that of a default port, and has none.
func canonicalHost(h string) string {
	h = strings.ToLower(h)
	h = strings.TrimSuffix(h, ":443")
	return strings.TrimSuffix(h, ":80")
}

// Handler returns the public side: signalling, enrolment, the web client.
func (s *Server) Handler() http.Handler { return s.publicRoutes() }

// AdminHandler returns the administrator's side. Serve it on a socket that only the administrator can reach.
func (s *Server) AdminHandler() http.Handler { return s.adminRoutes() }
