package sip

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxSockets bounds TCP and TLS connections in all, maxPerSource those of one address. Trunks keep a few open.
	maxSockets   = 256
	maxPerSource = 32
	// handshakeLimit is how long TLS may take; maxHandshakes run at once.
	handshakeLimit = 5 * time.Second
	maxHandshakes  = 16
	// Datagrams a second from one address that are looked at, and at once; a trunk of 50 calls sends a few.
	packetRate  = 400
	packetBurst = 800
)

// listen binds a listener. Strangers are turned away before anything of theirs is parsed: over UDP without a word, over TCP
// by a closed connection.
func (s *Stack) listen(ctx context.Context, l Listener) (io.Closer, net.Addr, func() error, error) {
	if l.Network == UDP {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(l.Address))
		if err != nil {
			return nil, nil, nil, fmt.Errorf("sip: %w", err)
		}
		f := &filtered{PacketConn: conn, stack: s, heard: make(chan struct{})}
		s.serving = append(s.serving, f.heard)
		return conn, conn.LocalAddr(), func() error { return s.server.ServeUDP(f) }, nil
	}
	// "tcp" also for TLS: sipgo's own "tcp6" would speak WebSocket.
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(l.Address))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("sip: %w", err)
	}
	switch l.Network {
	case TCP:
		a := &accepting{Listener: tcp, stack: s, perSource: map[netip.Addr]int{}}
		return tcp, tcp.Addr(), func() error { return s.server.ServeTCP(a) }, nil
	case TLS:
		if l.Certificate == nil {
			tcp.Close()
			return nil, nil, nil, fmt.Errorf("sip: TLS needs a certificate")
		}
		a := &accepting{Listener: tcp, stack: s, perSource: map[netip.Addr]int{}, tls: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*l.Certificate},
			// Trunks are known by the certificate itself, not by who signed it.
			ClientAuth: tls.RequestClientCert,
		}}
		a.shaken = make(chan net.Conn)
		return tcp, tcp.Addr(), func() error { go a.shake(ctx); return s.server.ServeTLS(a) }, nil
	}
	tcp.Close()
	return nil, nil, nil, fmt.Errorf("sip: listen on %q: udp, tcp or tls", l.Network)
}

// filtered is a UDP socket that only trunks are heard on.
type filtered struct {
	net.PacketConn
	stack *Stack
	heard chan struct{} // closed when it is read from first: sipgo sends over it from then on
	once  sync.Once
}

func (f *filtered) ReadFrom(b []byte) (int, net.Addr, error) {
	f.once.Do(func() { close(f.heard) })
	for {
		n, from, err := f.PacketConn.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		u, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		address := u.AddrPort().Addr().Unmap()
		if !f.stack.known(address) {
			f.stack.limits.strange.Add(1)
			continue
		}
		if f.stack.limits.packet(address, f.stack.config.Now()) {
			return n, from, nil
		}
	}
}

// accepting is a TCP listener that only takes trunks, a bounded number of connections, and TLS handshakes beside each other.
type accepting struct {
	net.Listener
	stack  *Stack
	tls    *tls.Config   // nil: plain TCP
	shaken chan net.Conn // of TLS

	mu        sync.Mutex
	open      int                // guarded by mu
	perSource map[netip.Addr]int // guarded by mu
}

// Accept implements net.Listener.
func (a *accepting) Accept() (net.Conn, error) {
	if a.tls == nil {
		return a.take()
	}
	c, ok := <-a.shaken
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// take returns the next connection of a trunk.
func (a *accepting) take() (net.Conn, error) {
	for {
		c, err := a.Listener.Accept()
		if err != nil {
			return nil, err
		}
		remote, ok := c.RemoteAddr().(*net.TCPAddr)
		if !ok {
			c.Close()
			continue
		}
		source := remote.AddrPort().Addr().Unmap()
		if !a.stack.known(source) {
			a.stack.limits.strange.Add(1)
			c.Close()
			continue
		}
		a.mu.Lock()
		room := a.open < maxSockets && a.perSource[source] < maxPerSource
		if room {
			a.open++
			a.perSource[source]++
		}
		a.mu.Unlock()
		if !room {
			c.Close()
			continue
		}
		return &counted{Conn: c, release: sync.OnceFunc(func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.open--
			if a.perSource[source]--; a.perSource[source] == 0 {
				delete(a.perSource, source)
			}
		})}, nil
	}
}

// shake takes connections through their handshakes until the listener is closed.
func (a *accepting) shake(ctx context.Context) {
	var wait sync.WaitGroup
	places := make(chan struct{}, maxHandshakes)
	defer func() {
		wait.Wait()
		close(a.shaken)
	}()
	for {
		c, err := a.take()
		if err != nil {
			return
		}
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			t := tls.Server(c, a.tls)
			limited, cancel := context.WithTimeout(ctx, handshakeLimit)
			defer cancel()
			if t.HandshakeContext(limited) != nil {
				t.Close()
				return
			}
			known := &certified{Conn: t, peers: &a.stack.peers, at: c.RemoteAddr().String()}
			var shown [sha256.Size]byte // stays zero where none was: no certificate has that sum
			if certificates := t.ConnectionState().PeerCertificates; len(certificates) > 0 {
				shown = fingerprint(certificates[0].Raw)
			}
			a.stack.peers.put(known.at, shown)
			select {
			case a.shaken <- known:
			case <-ctx.Done():
				known.Close()
			}
		})
	}
}

type counted struct {
	net.Conn
	release func()
}

func (c *counted) Close() error {
	c.release()
	return c.Conn.Close()
}

// certified is a TLS connection whose certificate is remembered by its address until it closes.
type certified struct {
	net.Conn
	peers *peers
	at    string
	once  sync.Once
}

func (c *certified) Close() error {
	c.once.Do(func() { c.peers.delete(c.at) })
	return c.Conn.Close()
}

// peers are the TLS connections that were accepted, by the other end's address, each with the sum of the certificate that was
// shown, zero where none was: sipgo does not tell.
type peers struct {
	mu    sync.Mutex
	shown map[string][sha256.Size]byte // guarded by mu
}

func (p *peers) put(at string, sum [sha256.Size]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown == nil {
		p.shown = map[string][sha256.Size]byte{}
	}
	p.shown[at] = sum
}

func (p *peers) delete(at string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.shown, at)
}

func (p *peers) certificate(at string) ([sha256.Size]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum, ok := p.shown[at]
	return sum, ok
}

// limiter bounds what addresses may ask for.
type limiter struct {
	limits  Limits
	strange atomic.Uint64

	mu      sync.Mutex
	packets map[netip.Addr]*bucket // guarded by mu, as is the rest
	invites map[netip.Addr]*bucket
	waiting int // answered calls without ACK
}

// maxSources bounds the memory of the limiter; trunks have few addresses.
const maxSources = 1 << 12

type bucket struct {
	level float64
	at    time.Time
}

func (b *bucket) take(rate, burst float64, now time.Time) bool {
	if dt := now.Sub(b.at).Seconds(); dt > 0 {
		b.level = max(0, b.level-dt*rate)
		b.at = now
	}
	if b.level+1 > burst {
		return false
	}
	b.level++
	return true
}

func (l *limiter) packet(a netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return at(&l.packets, a).take(packetRate, packetBurst, now)
}

func (l *limiter) invite(a netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return at(&l.invites, a).take(l.limits.Rate, l.limits.Burst, now)
}

func at(m *map[netip.Addr]*bucket, a netip.Addr) *bucket {
	if *m == nil || len(*m) >= maxSources {
		*m = map[netip.Addr]*bucket{}
	}
	b := (*m)[a]
	if b == nil {
		b = new(bucket)
		(*m)[a] = b
	}
	return b
}
