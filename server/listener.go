package server

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"conclave/network"
)

// maxSocketsPerAddress bounds the open TCP connections of one address, idle ones among them: a quarter of what the server
// takes in all, so that one host cannot keep everybody else out by holding connections open. It is twice the signalling
// connections that an address may have (Limits.PerAddress), for a browser needs a second one while it loads the page.
const maxSocketsPerAddress = 2048

// Listener takes connections from l and closes those that are too many from one address, before anything is read. A trusted
// proxy's are the connections of many, and are bounded by the proxy.
func (s *Server) Listener(l net.Listener) net.Listener {
	return &listener{Listener: l, exempt: s.trustsProxy, limit: maxSocketsPerAddress, open: make(map[netip.Prefix]int)}
}

type listener struct {
	net.Listener
	exempt func(netip.Addr) bool
	limit  int

	mu   sync.Mutex
	open map[netip.Prefix]int // guarded by mu; an address with no connection has no entry
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, ok := conn.RemoteAddr().(*net.TCPAddr)
		if !ok {
			return conn, nil // no network address: a socket of this machine
		}
		address := peer.AddrPort().Addr().Unmap()
		if l.exempt(address) {
			return &counted{Conn: conn, release: func() {}}, nil
		}
		key := addressKey(address)
		if l.take(key) {
			return &counted{Conn: conn, release: sync.OnceFunc(func() { l.give(key) })}, nil
		}
		conn.Close()
	}
}

func (l *listener) take(key netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[key] >= l.limit {
		return false
	}
	l.open[key]++
	return true
}

func (l *listener) give(key netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[key]--; l.open[key] <= 0 {
		delete(l.open, key)
	}
}

// counted is a connection that gives its place back when it is closed, and knows the TLS hello that came over it.
type counted struct {
	net.Conn
	release func()
	hello   atomic.Pointer[network.Hello] // nil: no TLS, or not yet
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.release()
	return c.Conn.Close()
}
