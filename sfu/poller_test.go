//go:build linux

package sfu_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"conclave/endpoint/media"
)

// poller reads many sockets by looking at each once a millisecond. Nobody waits for a packet, so that no sender on the same
// machine spends its time on waking a receiver: on a network that is another machine's work.
type poller struct {
	mu      sync.Mutex
	sockets []*polled
	stop    chan struct{}
	done    chan struct{}
}

// polled is a blocking-free UDP socket outside the runtime's poller.
type polled struct {
	fd        int
	transport *media.Transport
	once      sync.Once
	closed    bool // guarded by poller.mu
	p         *poller
}

func newPoller(t testing.TB) *poller {
	p := &poller{stop: make(chan struct{}), done: make(chan struct{})}
	go p.run()
	t.Cleanup(func() {
		close(p.stop)
		<-p.done
	})
	return p
}

func (p *poller) socket(t testing.TB) *polled {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20)
	return &polled{fd: fd, p: p}
}

func (p *poller) add(s *polled, t *media.Transport) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.transport = t
	p.sockets = append(p.sockets, s)
}

func (p *poller) run() {
	defer close(p.done)
	b := make([]byte, 1500)
	for {
		select {
		case <-p.stop:
			return
		case <-time.After(time.Millisecond):
		}
		p.mu.Lock()
		for _, s := range p.sockets {
			for !s.closed {
				n, from, err := unix.Recvfrom(s.fd, b, 0)
				if err != nil {
					break
				}
				if a, ok := from.(*unix.SockaddrInet4); ok {
					s.transport.Deliver(b[:n], netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)))
				}
			}
		}
		p.mu.Unlock()
	}
}

func (s *polled) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if to.Addr().Unmap().Is4() {
		unix.Sendto(s.fd, b, 0, &unix.SockaddrInet4{Addr: to.Addr().Unmap().As4(), Port: int(to.Port())})
	}
	return len(b), nil
}

func (s *polled) Close() error {
	s.once.Do(func() {
		s.p.mu.Lock()
		defer s.p.mu.Unlock()
		s.closed = true
		unix.Close(s.fd)
	})
	return nil
}
