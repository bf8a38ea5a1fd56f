//go:build linux && (amd64 || arm64)

package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is the UDP socket with batches in both directions: recvmmsg(2), sendmmsg(2), UDP_SEGMENT (udp(7)). Receive belongs
// to one goroutine, a Batch to one; Write and Close to anyone.
//
// It is not a net.UDPConn, for what that costs here: the runtime's poller has every arriving packet wake a thread, even while
// the forwarder only waits for more of them. So Receive blocks in the kernel, which wakes exactly one thread.
type Socket struct {
	fd      int
	v6      bool
	pktinfo bool // bound to all addresses: learn and set the local one
	gso     atomic.Bool

	closing atomic.Bool
	inUse   sync.RWMutex // held for reading by whoever uses fd, so that it is not closed, and its number given away, under them

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
	headers  [MaxReceive]mmsghdr
	iovecs   [MaxReceive]unix.Iovec
	names    [MaxReceive][nameSize]byte
	controls [MaxReceive][controlSize]byte
}

type sender struct {
	headers  [maxMessages]mmsghdr
	iovecs   [maxMessages]unix.Iovec
	names    [maxMessages][nameSize]byte
	controls [maxMessages][controlSize]byte
}

// Listen opens a socket: at an address, at all of a family, or, with ::, at all.
func Listen(at netip.AddrPort) (*Socket, error) {
	family := unix.AF_INET
	if at.Addr().Is6() && !at.Addr().Is4In6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &Socket{fd: fd, v6: family == unix.AF_INET6, pktinfo: at.Addr().IsUnspecified()}
	var address unix.Sockaddr
	if !s.v6 {
		address = &unix.SockaddrInet4{Addr: at.Addr().Unmap().As4(), Port: int(at.Port())}
	} else {
		address = &unix.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port())}
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) // IPv4 comes mapped
	}
	if err := unix.Bind(fd, address); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	// Best effort: without these it works, only worse.
	for _, o := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF, unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, o, socketBuffer)
	}
	switch {
	case s.pktinfo && s.v6:
		s.pktinfo = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1) == nil
	case s.pktinfo:
		s.pktinfo = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1) == nil
	}
	_, err = unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	s.gso.Store(err == nil)
	return s, nil
}

// Port returns the port that the socket has.
func (s *Socket) Port() uint16 {
	switch a, _ := unix.Getsockname(s.fd); a := a.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port)
	case *unix.SockaddrInet6:
		return uint16(a.Port)
	}
	return 0
}

// Close closes the socket. A Receive that waits ends with net.ErrClosed.
func (s *Socket) Close() error {
	if !s.closing.CompareAndSwap(false, true) {
		return nil
	}
	unix.Shutdown(s.fd, unix.SHUT_RDWR) // wakes a blocked receive, whatever it returns
	s.inUse.Lock()
	defer s.inUse.Unlock()
	return os.NewSyscallError("close", unix.Close(s.fd))
}

// Offload reports whether equal packets to one address may be sent as one message.
func (s *Socket) Offload() bool { return s.gso.Load() }

// SetOffload turns it off, or on again where the kernel has it: for networks whose drivers get it wrong, and tests.
func (s *Socket) SetOffload(on bool) { s.gso.Store(on) }

// Receive fills datagrams from buffers, each of which is wholly used for one, and returns how many. With wait it blocks
// until there is at least one.
func (s *Socket) Receive(buffers [][]byte, into []Datagram, wait bool) (int, error) {
	r := &s.in
	want := min(len(buffers), MaxReceive)
	for i := range want {
		r.iovecs[i].Base, r.iovecs[i].Len = &buffers[i][0], uint64(len(buffers[i]))
		h := &r.headers[i].hdr
		h.Name, h.Namelen = &r.names[i][0], nameSize
		h.Iov, h.Iovlen = &r.iovecs[i], 1
		h.Control, h.Controllen, h.Flags = nil, 0, 0
		if s.pktinfo {
			h.Control, h.Controllen = &r.controls[i][0], controlSize
		}
	}
	got, err := s.receiveBatch(want, wait)
	if err != nil {
		return 0, err
	}
	for i := range got {
		h := &r.headers[i]
		d := Datagram{Data: buffers[i][:h.n]}
		if h.hdr.Flags&unix.MSG_TRUNC != 0 || !parseName(r.names[i][:h.hdr.Namelen], &d.From) {
			d.Data = nil // too long to be ours; its buffer's place is kept
		}
		if s.pktinfo {
			d.To = parsePktinfo(r.controls[i][:h.hdr.Controllen])
		}
		into[i] = d
	}
	return got, nil
}

func (s *Socket) receiveBatch(want int, wait bool) (int, error) {
	s.inUse.RLock()
	defer s.inUse.RUnlock()
	for {
		if s.closing.Load() {
			return 0, net.ErrClosed
		}
		var n uintptr
		var errno syscall.Errno
		headers := uintptr(unsafe.Pointer(&s.in.headers[0]))
		if wait {
			n, _, errno = unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), headers, uintptr(want), unix.MSG_WAITFORONE, 0, 0)
		} else {
			// Raw: it does not block, and need not tell the scheduler; that costs more than the call.
			n, _, errno = unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), headers, uintptr(want), unix.MSG_DONTWAIT, 0, 0)
		}
		switch errno {
		case 0:
			if !s.closing.Load() {
				return int(n), nil
			}
		case unix.EINTR, unix.ECONNREFUSED: // the latter some earlier packet's ICMP
		case unix.EAGAIN:
			if !wait {
				return 0, nil
			}
		default:
			return 0, os.NewSyscallError("recvmmsg", errno)
		}
	}
}

func parseName(b []byte, k *Address) bool {
	if len(b) < 8 {
		return false
	}
	k.Port = binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		k.IP = netip.AddrFrom4([4]byte(b[4:8])).As16()
		return true
	case unix.AF_INET6:
		if len(b) < 24 {
			return false
		}
		k.IP = [16]byte(b[8:24])
		return true
	}
	return false
}

// putName writes the socket address of k and returns its length.
func (s *Socket) putName(b *[nameSize]byte, k *Address) uint32 {
	clear(b[:])
	binary.BigEndian.PutUint16(b[2:], k.Port)
	if s.v6 {
		binary.NativeEndian.PutUint16(b[:], unix.AF_INET6)
		copy(b[8:24], k.IP[:])
		return unix.SizeofSockaddrInet6
	}
	binary.NativeEndian.PutUint16(b[:], unix.AF_INET)
	copy(b[4:8], k.IP[12:])
	return unix.SizeofSockaddrInet4
}

const cmsgHeader = unix.SizeofCmsghdr // 16 on 64-bit

func parsePktinfo(b []byte) (r Local) {
	for len(b) >= cmsgHeader {
		n := binary.NativeEndian.Uint64(b)
		level, kind := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
		if n < cmsgHeader || n > uint64(len(b)) {
			return r
		}
		switch data := b[cmsgHeader:n]; {
		case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= 12:
			r = netip.AddrFrom4([4]byte(data[4:8])).As16() // in_pktinfo.ipi_spec_dst
		case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= 20:
			r = [16]byte(data[:16])
		}
		b = b[min((n+7)&^7, uint64(len(b))):]
	}
	return r
}

// putControl writes the control messages of one message and returns their length.
func (s *Socket) putControl(b *[controlSize]byte, from Local, segment int) int {
	n := 0
	header := func(size int, level, kind uint32) []byte {
		at := b[n:]
		binary.NativeEndian.PutUint64(at, uint64(cmsgHeader+size))
		binary.NativeEndian.PutUint32(at[8:], level)
		binary.NativeEndian.PutUint32(at[12:], kind)
		n += cmsgHeader + (size+7)&^7
		return at[cmsgHeader : cmsgHeader+(size+7)&^7]
	}
	if s.pktinfo && from != (Local{}) {
		if s.v6 {
			data := header(20, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO)
			clear(data)
			copy(data, from[:])
		} else {
			data := header(12, unix.IPPROTO_IP, unix.IP_PKTINFO)
			clear(data)
			copy(data[4:], from[12:])
		}
	}
	if segment > 0 {
		binary.NativeEndian.PutUint16(header(2, unix.IPPROTO_UDP, unix.UDP_SEGMENT), uint16(segment))
	}
	return n
}

// send hands messages to the kernel and returns how many packets it refused. Waits while the socket's buffer is full.
func (s *Socket) send(arena []byte, messages []message) (failed int) {
	s.inUse.RLock()
	defer s.inUse.RUnlock()
	for i := range messages {
		s.put(i, arena, &messages[i])
	}
	for sent := 0; sent < len(messages); {
		if s.closing.Load() {
			return failed + len(messages) - sent
		}
		headers := uintptr(unsafe.Pointer(&s.out.headers[sent]))
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), headers, uintptr(len(messages)-sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}, 10)
		default:
			failed += s.retry(arena, &messages[sent], errno)
			sent++
		}
	}
	return failed
}

func (s *Socket) put(i int, arena []byte, m *message) {
	o := &s.out
	o.iovecs[i].Base, o.iovecs[i].Len = &arena[m.off], uint64(m.size)
	h := &o.headers[i].hdr
	h.Name = &o.names[i][0]
	h.Namelen = s.putName(&o.names[i], &m.to.To)
	h.Iov, h.Iovlen = &o.iovecs[i], 1
	segment := m.segment
	if m.size <= m.segment {
		segment = 0
	}
	h.Control, h.Controllen = nil, 0
	if n := s.putControl(&o.controls[i], m.to.From, segment); n > 0 {
		h.Control, h.Controllen = &o.controls[i][0], uint64(n)
	}
}

// retry sends a refused message packet by packet, if offload may be what was refused: EIO when the interface cannot
// checksum (no offload any more), EINVAL when a packet is longer than this path's MTU (none to it).
func (s *Socket) retry(arena []byte, m *message, errno syscall.Errno) (failed int) {
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
		if s.write(arena[off:min(off+m.segment, m.off+m.size)], m.to) != nil {
			failed++
		}
	}
	return failed
}

// Write sends one datagram; any goroutine may.
func (s *Socket) Write(b []byte, p *Path) error {
	s.inUse.RLock()
	defer s.inUse.RUnlock()
	return s.write(b, p)
}

// write sends one datagram; inUse is held. A full buffer is loss.
func (s *Socket) write(b []byte, p *Path) error {
	if s.closing.Load() {
		return net.ErrClosed
	}
	var control [controlSize]byte
	n := s.putControl(&control, p.From, 0)
	var to unix.Sockaddr
	if s.v6 {
		to = &unix.SockaddrInet6{Addr: p.To.IP, Port: int(p.To.Port)}
	} else {
		to = &unix.SockaddrInet4{Addr: [4]byte(p.To.IP[12:]), Port: int(p.To.Port)}
	}
	_, err := unix.SendmsgN(s.fd, b, control[:n], to, unix.MSG_DONTWAIT)
	return err
}

// Pause waits for a while outside of the runtime's timers: see Socket.
func Pause(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	unix.Nanosleep(&t, nil)
}
