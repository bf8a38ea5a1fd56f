//go:build !linux || !(amd64 || arm64)

package sfu

import (
	"net"
	"net/netip"
	"time"
)

// socket is the UDP socket where there are no batches: one call a packet.
type socket struct {
	conn *net.UDPConn
}

func listen(at netip.AddrPort) (*socket, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	// Best effort: without these it works, only worse.
	conn.SetReadBuffer(socketBuffer)
	conn.SetWriteBuffer(socketBuffer)
	return &socket{conn: conn}, nil
}

func (s *socket) port() uint16 { return uint16(s.conn.LocalAddr().(*net.UDPAddr).Port) }

func (s *socket) close() error { return s.conn.Close() }

// offload reports whether equal packets to one address may be sent as one message.
func (s *socket) offload() bool { return false }

// receive reads one datagram. Without wait there is none: the next call that waits brings it.
func (s *socket) receive(buffers [][]byte, into []datagram, wait bool) (int, error) {
	if !wait {
		return 0, nil
	}
	n, from, err := s.conn.ReadFromUDPAddrPort(buffers[0])
	if err != nil {
		return 0, err
	}
	into[0] = datagram{data: buffers[0][:n], from: keyOf(from)}
	if n == len(buffers[0]) {
		into[0].data = nil // cut off: too long to be ours
	}
	return 1, nil
}

// send hands messages to the kernel and returns how many packets it refused.
func (s *socket) send(arena []byte, messages []message) (failed int) {
	for _, m := range messages {
		if s.sendOne(arena[m.off:m.off+m.size], m.to) != nil {
			failed++
		}
	}
	return failed
}

// sendOne sends one datagram; any goroutine may.
func (s *socket) sendOne(b []byte, p *path) error {
	_, err := s.conn.WriteToUDPAddrPort(b, p.key.addrPort())
	return err
}

// pause waits for a while.
func pause(d time.Duration) { time.Sleep(d) }
