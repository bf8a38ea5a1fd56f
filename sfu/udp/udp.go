// Package udp is a UDP socket for a server that forwards: datagrams come and go in batches, equal datagrams to one address
// leave as one message (segmentation offload), answers leave from the address that was asked, and nothing is allocated on
// the way. On Linux it stands on recvmmsg(2), sendmmsg(2) and UDP_SEGMENT (udp(7)); elsewhere on one call a datagram.
package udp

import (
	"net/netip"
	"sync/atomic"
)

const (
	// MaxDatagram is the longest datagram that is sent, and that need be received: media comes in packets of at most 1200 bytes.
	MaxDatagram = 1500
	// MaxReceive is how many datagrams one call of Receive brings at most.
	MaxReceive = 64

	// Both socket buffers' size that is asked for: 10 ms of 100 000 packets a second with the kernel's own overhead.
	socketBuffer = 4 << 20
	// Packets in one message with segmentation offload: what every kernel with UDP_SEGMENT takes.
	maxSegments = 64
	// Bytes in one message: below the longest UDP payload.
	maxMessage = 60_000
)

// Address is a UDP address that can be compared: IPv4 mapped into IPv6.
type Address struct {
	IP   [16]byte
	Port uint16
}

// AddrPort returns the address as package netip has it, IPv4 unmapped.
func (a Address) AddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.IP).Unmap(), a.Port)
}

// AddressOf is AddrPort's reverse.
func AddressOf(a netip.AddrPort) Address { return Address{IP: a.Addr().As16(), Port: a.Port()} }

// Local is the local address a datagram came to: a host with several must answer from the one that was asked. IPv4 is mapped;
// zero lets the kernel choose.
type Local [16]byte

// Datagram is one received datagram. Data is nil if it was longer than its buffer; otherwise it lies in that buffer.
type Datagram struct {
	Data []byte
	From Address
	To   Local
}

// Path is a way to one peer: where to, and from which of our addresses. What it holds does not change.
type Path struct {
	To    Address
	From  Local
	plain atomic.Bool // segmentation offload failed here once
}

// message is size bytes of a batch's arena at off for one path: packets of segment bytes each, the last maybe shorter.
type message struct {
	to      *Path
	off     int
	size    int
	segment int
}

// Batch gathers datagrams for one hand-over to the kernel. It belongs to one goroutine.
type Batch struct {
	socket   *Socket
	arena    []byte // len is what is used; never grows beyond its capacity
	messages []message
	open     bool // the last message may take another packet
	sends    int
	failed   int
}

const (
	arenaSize    = 1 << 20
	maxMessages  = 256
	arenaReserve = MaxDatagram + 64
)

// NewBatch makes a batch that is sent over s.
func NewBatch(s *Socket) *Batch {
	return &Batch{socket: s, arena: make([]byte, 0, arenaSize), messages: make([]message, 0, maxMessages)}
}

// Reserve returns the batch's memory, to which the caller appends one datagram of at most MaxDatagram bytes and hands it
// to Add. If there is no place, what is there is sent first.
func (b *Batch) Reserve() []byte {
	if cap(b.arena)-len(b.arena) < arenaReserve || len(b.messages) == cap(b.messages) {
		b.Send()
	}
	return b.arena
}

// Add takes what was appended to Reserve's slice as a datagram for p. Datagrams of one size that are added for one path one
// after the other become one message.
func (b *Batch) Add(p *Path, grown []byte) {
	off, size := len(b.arena), len(grown)-len(b.arena)
	b.arena = grown
	if n := len(b.messages); n > 0 && b.open {
		if m := &b.messages[n-1]; m.to == p && size <= m.segment && m.size+size <= maxMessage && m.size < m.segment*maxSegments {
			m.size += size
			b.open = size == m.segment // a shorter one ends it
			return
		}
	}
	b.messages = append(b.messages, message{to: p, off: off, size: size, segment: size})
	b.open = b.socket.Offload() && !p.plain.Load()
}

// Send hands everything to the kernel.
func (b *Batch) Send() {
	if len(b.messages) == 0 {
		return
	}
	b.sends += len(b.messages)
	b.failed += b.socket.send(b.arena, b.messages)
	b.arena, b.messages, b.open = b.arena[:0], b.messages[:0], false
}

// Counts returns how many messages were sent, and how many datagrams the kernel refused, since the last call.
func (b *Batch) Counts() (sends, failed int) {
	sends, failed = b.sends, b.failed
	b.sends, b.failed = 0, 0
	return sends, failed
}
