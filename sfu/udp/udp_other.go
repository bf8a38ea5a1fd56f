//go:build !linux || !(amd64 || arm64)

package udp

import (
	"net"
	"net/netip"
	"time"
)

// Socket is the UDP socket where there are no batches: one call a packet.
type Socket struct {
	conn *net.UDPConn
}

// Listen opens a socket: at an address, at all of a family, or, with ::, at all.
func Listen(at netip.AddrPort) (*Socket, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	// Best effort: without these it works, only worse.
	conn.SetReadBuffer(socketBuffer)
	conn.SetWriteBuffer(socketBuffer)
	return &Socket{conn: conn}, nil
}

// Port returns the port that the socket has.
func (s *Socket) Port() uint16 { return uint16(s.conn.LocalAddr().(*net.UDPAddr).Port) }

// Close closes the socket. A Receive that waits ends with net.ErrClosed.
func (s *Socket) Close() error { return s.conn.Close() }

// Offload reports whether equal packets to one address may be sent as one message.
func (s *Socket) Offload() bool { return false }

// SetOffload does nothing here.
func (s *Socket) SetOffload(bool) {}

// Receive reads one datagram. Without wait there is none: the next call that waits brings it.
func (s *Socket) Receive(buffers [][]byte, into []Datagram, wait bool) (int, error) {
	if !wait {
		return 0, nil
	}
	n, from, err := s.conn.ReadFromUDPAddrPort(buffers[0])
	if err != nil {
		return 0, err
	}
	into[0] = Datagram{Data: buffers[0][:n], From: AddressOf(from)}
	if n == len(buffers[0]) {
		into[0].Data = nil // cut off: too long to be ours
	}
	return 1, nil
}

// send hands messages to the kernel and returns how many packets it refused.
func (s *Socket) send(arena []byte, messages []message) (failed int) {
	for _, m := range messages {
		if s.Write(arena[m.off:m.off+m.size], m.to) != nil {
			failed++
		}
	}
	return failed
}

// Write sends one datagram; any goroutine may.
func (s *Socket) Write(b []byte, p *Path) error {
	_, err := s.conn.WriteToUDPAddrPort(b, p.To.AddrPort())
	return err
}

// Pause waits for a while.
func Pause(d time.Duration) { time.Sleep(d) }
