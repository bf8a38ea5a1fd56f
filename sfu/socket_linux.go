//go:build linux && (amd64 || arm64)

package sfu

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is the UDP socket with batches in both directions: recvmmsg(2), sendmmsg(2), UDP_SEGMENT (udp(7)). It blocks
// in the runtime's poller, not in the kernel. receive belongs to one goroutine, send to one; sendOne to anyone.
type socket struct {
	conn    *net.UDPConn
	raw     syscall.RawConn
	v6      bool
	pktinfo bool // bound to all addresses: learn and set the local one
	gso     atomic.Bool

	in  receiver
	out sender
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

const (
	nameSize    = unix.SizeofSockaddrInet6 // the greater of the two
	controlSize = 128
)

// receiver is the state of receive: headers for one call, pointing at the caller's buffers.
type receiver struct {
	headers  [receiveBatch]mmsghdr
	iovecs   [receiveBatch]unix.Iovec
	names    [receiveBatch][nameSize]byte
	controls [receiveBatch][controlSize]byte
	want     int
	got      int
	wait     bool
	errno    syscall.Errno
	call     func(fd uintptr) bool
}

type sender struct {
	headers  [maxMessages]mmsghdr
	iovecs   [maxMessages]unix.Iovec
	names    [maxMessages][nameSize]byte
	controls [maxMessages][controlSize]byte
	want     int
	sent     int
	errno    syscall.Errno
	call     func(fd uintptr) bool
}

func listen(at netip.AddrPort) (*socket, error) {
	network := "udp4"
	if at.Addr().Is6() && !at.Addr().Is4In6() {
		network = "udp6"
		if at.Addr().IsUnspecified() {
			network = "udp" // both
		}
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, v6: network != "udp4", pktinfo: at.Addr().IsUnspecified()}
	if s.raw, err = conn.SyscallConn(); err != nil {
		conn.Close()
		return nil, err
	}
	// Best effort: without these it works, only worse.
	conn.SetReadBuffer(socketBuffer)
	conn.SetWriteBuffer(socketBuffer)
	err = s.raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer)
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer)
		if s.pktinfo {
			if s.v6 {
				s.pktinfo = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1) == nil
			} else {
				s.pktinfo = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1) == nil
			}
		}
		_, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		s.gso.Store(err == nil)
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	s.in.call, s.out.call = s.receiveCall, s.sendCall
	return s, nil
}

func (s *socket) port() uint16 { return uint16(s.conn.LocalAddr().(*net.UDPAddr).Port) }

func (s *socket) close() error { return s.conn.Close() }

// offload reports whether equal packets to one address may be sent as one message.
func (s *socket) offload() bool { return s.gso.Load() }

// receive fills datagrams from buffers, each of which is wholly used for one, and returns how many. With wait it blocks
// until there is at least one.
func (s *socket) receive(buffers [][]byte, into []datagram, wait bool) (int, error) {
	r := &s.in
	r.want, r.got, r.wait, r.errno = min(len(buffers), receiveBatch), 0, wait, 0
	for i := range r.want {
		r.iovecs[i].Base, r.iovecs[i].Len = &buffers[i][0], uint64(len(buffers[i]))
		h := &r.headers[i].hdr
		h.Name, h.Namelen = &r.names[i][0], nameSize
		h.Iov, h.Iovlen = &r.iovecs[i], 1
		h.Control, h.Controllen, h.Flags = nil, 0, 0
		if s.pktinfo {
			h.Control, h.Controllen = &r.controls[i][0], controlSize
		}
	}
	if err := s.raw.Read(r.call); err != nil {
		return 0, err
	}
	if r.errno != 0 && r.errno != unix.EAGAIN {
		return 0, r.errno
	}
	n := 0
	for i := range r.got {
		h := &r.headers[i]
		d := datagram{data: buffers[i][:h.n]}
		if h.hdr.Flags&unix.MSG_TRUNC != 0 || !parseName(r.names[i][:h.hdr.Namelen], &d.from) {
			d.data = nil // too long to be ours; its buffer's place is kept
		}
		if s.pktinfo {
			d.reply = parsePktinfo(r.controls[i][:h.hdr.Controllen])
		}
		into[n] = d
		n++
	}
	return n, nil
}

func (s *socket) receiveCall(fd uintptr) bool {
	r := &s.in
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.headers[0])), uintptr(r.want), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			r.got, r.errno = int(n), 0
			return true
		case unix.EINTR:
			continue
		case unix.ECONNREFUSED:
			continue // some earlier packet's ICMP: none of our business
		}
		r.got, r.errno = 0, errno
		return errno != unix.EAGAIN || !r.wait
	}
}

func parseName(b []byte, k *addrKey) bool {
	if len(b) < 8 {
		return false
	}
	k.port = binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		k.ip = netip.AddrFrom4([4]byte(b[4:8])).As16()
		return true
	case unix.AF_INET6:
		if len(b) < 24 {
			return false
		}
		k.ip = [16]byte(b[8:24])
		return true
	}
	return false
}

// putName writes the socket address of k and returns its length.
func (s *socket) putName(b *[nameSize]byte, k *addrKey) uint32 {
	clear(b[:])
	binary.BigEndian.PutUint16(b[2:], k.port)
	if s.v6 {
		binary.NativeEndian.PutUint16(b[:], unix.AF_INET6)
		copy(b[8:24], k.ip[:])
		return unix.SizeofSockaddrInet6
	}
	binary.NativeEndian.PutUint16(b[:], unix.AF_INET)
	copy(b[4:8], k.ip[12:])
	return unix.SizeofSockaddrInet4
}

const cmsgHeader = unix.SizeofCmsghdr // 16 on 64-bit

func parsePktinfo(b []byte) (r replyTo) {
	for len(b) >= cmsgHeader {
		n := binary.NativeEndian.Uint64(b)
		level, kind := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
		if n < cmsgHeader || n > uint64(len(b)) {
			return r
		}
		switch data := b[cmsgHeader:n]; {
		case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= 12:
			r.local = netip.AddrFrom4([4]byte(data[4:8])).As16() // in_pktinfo.ipi_spec_dst
		case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= 20:
			r.local = [16]byte(data[:16])
		}
		b = b[min((n+7)&^7, uint64(len(b))):]
	}
	return r
}

// putControl writes the control messages of one message and returns their length.
func (s *socket) putControl(b *[controlSize]byte, reply *replyTo, segment int) int {
	n := 0
	header := func(size int, level, kind uint32) []byte {
		at := b[n:]
		binary.NativeEndian.PutUint64(at, uint64(cmsgHeader+size))
		binary.NativeEndian.PutUint32(at[8:], level)
		binary.NativeEndian.PutUint32(at[12:], kind)
		n += cmsgHeader + (size+7)&^7
		return at[cmsgHeader : cmsgHeader+(size+7)&^7]
	}
	if s.pktinfo && reply.local != ([16]byte{}) {
		if s.v6 {
			data := header(20, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO)
			clear(data)
			copy(data, reply.local[:])
		} else {
			data := header(12, unix.IPPROTO_IP, unix.IP_PKTINFO)
			clear(data)
			copy(data[4:], reply.local[12:])
		}
	}
	if segment > 0 {
		binary.NativeEndian.PutUint16(header(2, unix.IPPROTO_UDP, unix.UDP_SEGMENT), uint16(segment))
	}
	return n
}

// send hands messages to the kernel and returns how many packets it refused. Waits while the socket's buffer is full.
func (s *socket) send(arena []byte, messages []message) (failed int) {
	o := &s.out
	for i := range messages {
		s.put(i, arena, &messages[i])
	}
	o.want, o.sent = len(messages), 0
	for o.sent < o.want {
		o.errno = 0
		if err := s.raw.Write(o.call); err != nil {
			return o.want - o.sent
		}
		if o.errno == 0 {
			continue
		}
		// The first message not sent is the one that was refused.
		failed += s.retry(arena, &messages[o.sent], o.errno)
		o.sent++
	}
	return failed
}

func (s *socket) put(i int, arena []byte, m *message) {
	o := &s.out
	o.iovecs[i].Base, o.iovecs[i].Len = &arena[m.off], uint64(m.size)
	h := &o.headers[i].hdr
	h.Name = &o.names[i][0]
	h.Namelen = s.putName(&o.names[i], &m.to.key)
	h.Iov, h.Iovlen = &o.iovecs[i], 1
	segment := m.segment
	if m.size <= m.segment {
		segment = 0
	}
	h.Control, h.Controllen = nil, 0
	if n := s.putControl(&o.controls[i], &m.to.reply, segment); n > 0 {
		h.Control, h.Controllen = &o.controls[i][0], uint64(n)
	}
}

func (s *socket) sendCall(fd uintptr) bool {
	o := &s.out
	for o.sent < o.want {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&o.headers[o.sent])), uintptr(o.want-o.sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			o.sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			o.errno = errno
			return true
		}
	}
	return true
}

// retry sends a refused message packet by packet, if offload may be what was refused: EIO when the interface cannot
// checksum (no offload any more), EINVAL when a packet is longer than this path's MTU (none to it).
func (s *socket) retry(arena []byte, m *message, errno syscall.Errno) (failed int) {
	if m.size <= m.segment {
		return 1
	}
	switch errno {
	case unix.EIO:
		s.gso.Store(false)
	case unix.EINVAL, unix.EMSGSIZE:
		m.to.plain.Store(true)
	default:
		return (m.size + m.segment - 1) / m.segment
	}
	for off := m.off; off < m.off+m.size; off += m.segment {
		if s.sendOne(arena[off:min(off+m.segment, m.off+m.size)], m.to) != nil {
			failed++
		}
	}
	return failed
}

// sendOne sends one datagram; any goroutine may.
func (s *socket) sendOne(b []byte, p *path) error {
	var control [controlSize]byte
	n := s.putControl(&control, &p.reply, 0)
	_, _, err := s.conn.WriteMsgUDPAddrPort(b, control[:n], p.key.addrPort())
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
