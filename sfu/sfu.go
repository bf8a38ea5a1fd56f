// Package sfu forwards media between the legs of a room. It is the server's only contact with media: it takes SRTP off,
// chooses receivers by an immutable table, and puts SRTP on again for each. What it forwards is sealed end to end (package
// sframe, which it does not link): it reads RTP headers, one loudness byte behind a sealed audio frame, and the synthetic
// prefix of a sealed video frame.
//
// There is no SDP and no negotiation here. Signalling carries a handful of parameters each way (Credentials, Offer); slots
// (package slot) have SSRCs that everybody knows. Transport is ICE-lite over one UDP port (RFC 8445, RFC 8489), DTLS 1.2
// with mutual fingerprints (RFC 5763), SRTP with AEAD_AES_128_GCM or AEAD_AES_256_GCM (RFC 7714).
//
// Two worlds meet here. Control (SFU, Room: any goroutine, mutexes) knows legs, who is admitted, who owns a slot. The
// forwarder (one goroutine, no lock, no allocation per packet) owns sockets' buffers, streams and RTCP. Control speaks to
// the forwarder through atomic pointers and flags alone.
//
// It does not do yet: bandwidth estimation towards receivers, simulcast layers, TCP, relays between servers.
package sfu

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
	"conclave/sfu/slot"
	"conclave/sfu/udp"
)

// Config is how an SFU is set up. The zero value of a field means its default.
type Config struct {
	Listen     netip.AddrPort // UDP address to listen at; port 0 takes a free one (tests)
	Addresses  []netip.Addr   // announced to clients instead of the interfaces' own
	MaxGather  time.Duration  // longest time packets are gathered under load; default 5 ms, negative: never
	MaxLegs    int            // per room; default 300
	Handshakes int            // DTLS handshakes in flight; default 64, more wait for a retransmission
	STUNRate   int            // STUN requests taken per source address and second; default 1000 (many legs share a NAT)
	CameraRate int            // bits per second allowed to a camera; default 1.5 million
	ScreenRate int            // bits per second allowed to a screen; default 2.5 million
}

const maxGather = 20 * time.Millisecond

func (c *Config) fill() error {
	if !c.Listen.IsValid() {
		return errors.New("sfu: no listen address")
	}
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.MaxLegs, 300)
	def(&c.Handshakes, 64)
	def(&c.STUNRate, 1000)
	def(&c.CameraRate, 1_500_000)
	def(&c.ScreenRate, 2_500_000)
	switch {
	case c.MaxGather == 0:
		c.MaxGather = 5 * time.Millisecond
	case c.MaxGather < 0:
		c.MaxGather = 0
	case c.MaxGather > maxGather:
		return fmt.Errorf("sfu: gathering longer than %v is heard", maxGather)
	}
	return nil
}

// SFU is a server's media.
type SFU struct {
	config      Config
	log         *slog.Logger
	socket      *udp.Socket
	certificate tls.Certificate
	fingerprint [sha256.Size]byte
	candidates  []netip.AddrPort
	began       time.Time
	stats       counters

	addresses  atomic.Pointer[map[udp.Address]*transport] // replaced under mu, read by the forwarder
	handshakes atomic.Int32
	requests   chan udp.Datagram // STUN requests for the ICE goroutine; dropped when full
	events     eventQueue
	handshaker sync.WaitGroup

	mu     sync.Mutex
	users  map[string]*transport // by STUN user name
	rooms  map[*Room]struct{}
	closed bool
}

// New opens the UDP port. Run serves it; Close gives it back if Run is never called.
func New(config Config, log *slog.Logger) (*SFU, error) {
	if err := config.fill(); err != nil {
		return nil, err
	}
	s := &SFU{
		config:   config,
		log:      log,
		began:    time.Now(),
		requests: make(chan udp.Datagram, 256),
		users:    make(map[string]*transport),
		rooms:    make(map[*Room]struct{}),
	}
	s.events.init()
	s.addresses.Store(&map[udp.Address]*transport{})
	var err error
	if s.certificate, err = makeCertificate(); err != nil {
		return nil, fmt.Errorf("sfu: make certificate: %v", err)
	}
	s.fingerprint = sha256.Sum256(s.certificate.Certificate[0])
	if s.socket, err = udp.Listen(config.Listen); err != nil {
		return nil, fmt.Errorf("sfu: listen: %w", err)
	}
	if s.candidates, err = candidates(config, s.socket.Port()); err != nil {
		s.socket.Close()
		return nil, err
	}
	return s, nil
}

// makeCertificate makes a certificate for this process's life. Peers know it by its fingerprint alone, so it says nothing.
func makeCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "conclave"},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// candidates returns what clients are told to send to.
func candidates(c Config, port uint16) ([]netip.AddrPort, error) {
	addresses := c.Addresses
	if len(addresses) == 0 && !c.Listen.Addr().IsUnspecified() {
		addresses = []netip.Addr{c.Listen.Addr()}
	}
	if len(addresses) == 0 {
		all, err := net.InterfaceAddrs()
		if err != nil {
			return nil, fmt.Errorf("sfu: list addresses: %v", err)
		}
		var loopback []netip.Addr
		for _, a := range all {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			switch addr := prefix.Addr().Unmap(); {
			case c.Listen.Addr().Is4() && !addr.Is4(), addr.IsLinkLocalUnicast(), addr.IsMulticast():
			case addr.IsLoopback():
				loopback = append(loopback, addr)
			default:
				addresses = append(addresses, addr)
			}
		}
		if len(addresses) == 0 {
			addresses = loopback
		}
	}
	if len(addresses) == 0 {
		return nil, errors.New("sfu: no address to announce")
	}
	var out []netip.AddrPort
	for _, a := range addresses {
		out = append(out, netip.AddrPortFrom(a.Unmap(), port))
	}
	return out, nil
}

// Run serves until ctx is done, then closes everything and returns once all of its goroutines have ended.
func (s *SFU) Run(ctx context.Context) error {
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()

	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() { s.serveICE(done) })
	wg.Go(func() { s.tickRooms(done) })
	wg.Go(s.events.run)
	err := newForwarder(s).run()
	s.Close()
	close(done)
	s.handshaker.Wait()
	s.events.close()
	wg.Wait()
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("sfu: forward: %w", err)
}

// Close closes the port and every transport. Run returns soon after.
func (s *SFU) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	rooms := make([]*Room, 0, len(s.rooms))
	for r := range s.rooms {
		rooms = append(rooms, r)
	}
	s.mu.Unlock()
	for _, r := range rooms {
		r.Close()
	}
	return s.socket.Close()
}

// Candidates returns the addresses that clients may send to. The slice is the caller's.
func (s *SFU) Candidates() []netip.AddrPort { return append([]netip.AddrPort(nil), s.candidates...) }

// Fingerprint returns SHA-256 of the server's DTLS certificate.
func (s *SFU) Fingerprint() [sha256.Size]byte { return s.fingerprint }

// Stats returns what the server has counted since it started.
func (s *SFU) Stats() Stats { return s.stats.read() }

// OpenRoom makes a room. notify is called in order, by one goroutine for the whole server, with no lock held: it may call
// any method, and must not block for long.
func (s *SFU) OpenRoom(id conclave.MeetingID, plan slot.Plan, notify func(Event)) (*Room, error) {
	if err := plan.Check(); err != nil {
		return nil, err
	}
	r := newRoom(s, id, plan, notify)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.rooms[r] = struct{}{}
	return r, nil
}

// now is the time since the server began: what all its atomics hold.
func (s *SFU) now() time.Duration { return time.Since(s.began) }

const tick = 50 * time.Millisecond

// tickRooms keeps slots and silences of all rooms current.
func (s *SFU) tickRooms(done <-chan struct{}) {
	t := time.NewTicker(tick)
	defer t.Stop()
	var rooms []*Room
	for {
		select {
		case <-done:
			return
		case <-t.C:
		}
		rooms = rooms[:0]
		s.mu.Lock()
		for r := range s.rooms {
			rooms = append(rooms, r)
		}
		s.mu.Unlock()
		now := s.now()
		for _, r := range rooms {
			r.tick(now)
		}
		clear(rooms)
	}
}

// setAddress makes packets from key belong to t.
func (s *SFU) setAddress(key udp.Address, t *transport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.addresses.Load()
	m := make(map[udp.Address]*transport, len(old)+1)
	for k, v := range old {
		m[k] = v
	}
	m[key] = t
	s.addresses.Store(&m)
}

// forget removes t from demultiplexing, or only those of its addresses that are named.
func (s *SFU) forget(t *transport, keys []udp.Address, user bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if user && s.users[t.user] == t {
		delete(s.users, t.user)
	}
	old := *s.addresses.Load()
	m := make(map[udp.Address]*transport, len(old))
	for k, v := range old {
		m[k] = v
	}
	for _, k := range keys {
		if m[k] == t {
			delete(m, k)
		}
	}
	s.addresses.Store(&m)
}
