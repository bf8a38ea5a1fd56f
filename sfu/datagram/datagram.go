// Package datagram shows a DTLS association its datagrams, which share a socket with STUN and SRTP (RFC 7983), as a
// net.PacketConn: for the server and for the native client. It is used for a handshake, not for media.
package datagram

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/transport/v4/deadline"
)

// Conn is a net.PacketConn over a queue of received datagrams and a way to send. Its addresses mean nothing: who owns the
// path knows where the other end is.
type Conn struct {
	in   <-chan []byte
	done <-chan struct{}
	send func([]byte) error
	read *deadline.Deadline
	mute atomic.Bool
	shut chan struct{}
	once sync.Once
}

// New returns a Conn that reads from in until done is closed, and writes with send, which must not keep the slice.
func New(in <-chan []byte, done <-chan struct{}, send func([]byte) error) *Conn {
	return &Conn{in: in, done: done, send: send, read: deadline.New(), shut: make(chan struct{})}
}

// Mute drops all that is written from now on.
func (c *Conn) Mute() { c.mute.Store(true) }

// Closed is closed with the Conn.
func (c *Conn) Closed() <-chan struct{} { return c.shut }

// ReadFrom implements net.PacketConn.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.in:
		return copy(b, d), c.LocalAddr(), nil
	case <-c.read.Done():
		return 0, nil, context.DeadlineExceeded
	case <-c.shut:
	case <-c.done:
	}
	return 0, nil, net.ErrClosed
}

// WriteTo implements net.PacketConn; whoever it is addressed to, it goes to the other end of the path.
func (c *Conn) WriteTo(b []byte, _ net.Addr) (int, error) {
	if !c.mute.Load() {
		if err := c.send(b); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// Close implements net.PacketConn.
func (c *Conn) Close() error {
	c.once.Do(func() { close(c.shut) })
	return nil
}

// LocalAddr implements net.PacketConn.
func (c *Conn) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4zero} }

// SetDeadline implements net.PacketConn.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.read.Set(t)
	return nil
}

// SetWriteDeadline implements net.PacketConn; writing does not block.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
