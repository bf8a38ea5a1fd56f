package sfu

import "net/netip"

const (
	// A datagram longer than this is none of ours: video is sent in packets of at most 1200 bytes.
	maxDatagram = 1500
	// How many datagrams one call to the kernel brings at most.
	receiveBatch = 64
	// Both socket buffers' size that is asked for: 10 ms of 100 000 packets a second with the kernel's own overhead.
	socketBuffer = 4 << 20
	// Packets in one message with segmentation offload: what every kernel with UDP_SEGMENT takes.
	maxSegments = 64
	// Bytes in one message: below the longest UDP payload.
	maxMessage = 60_000
)

// addrKey is a UDP address as the forwarder compares it: IPv4 mapped into IPv6, the port in host order.
type addrKey struct {
	ip   [16]byte
	port uint16
}

func (k addrKey) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(k.ip).Unmap(), k.port)
}

func keyOf(a netip.AddrPort) addrKey { return addrKey{ip: a.Addr().As16(), port: a.Port()} }

// replyTo is the local address a datagram came to: a host with several must answer from the one that was asked.
type replyTo struct {
	local [16]byte // IPv4 mapped; zero: let the kernel choose
}

// datagram is one received datagram. data belongs to whoever owns the buffer it was received into.
type datagram struct {
	data  []byte
	from  addrKey
	reply replyTo
}

// message is size bytes of a batch's arena at off for one path: packets of segment bytes each, the last maybe shorter.
type message struct {
	to      *path
	off     int
	size    int
	segment int
}

// batch gathers sealed packets for one hand-over to the kernel. Owned by one goroutine.
type batch struct {
	sock     *socket
	arena    []byte // len is what is used; never grows beyond its capacity
	messages []message
	stats    *counters
	room     bool // the last message may take another packet
}

const (
	arenaSize    = 1 << 20
	maxMessages  = 256
	arenaReserve = maxDatagram + 64
)

func newBatch(sock *socket, stats *counters) *batch {
	return &batch{sock: sock, stats: stats, arena: make([]byte, 0, arenaSize), messages: make([]message, 0, maxMessages)}
}

// reserve makes place for one more packet, sending what is there if need be.
func (b *batch) reserve() {
	if cap(b.arena)-len(b.arena) < arenaReserve || len(b.messages) == cap(b.messages) {
		b.send()
	}
}

// added notes that a packet for p was appended to the arena from off on. Packets of one size to one path become one
// message.
func (b *batch) added(p *path, off int) {
	size := len(b.arena) - off
	if n := len(b.messages); n > 0 && b.room {
		if m := &b.messages[n-1]; m.to == p && size <= m.segment && m.size+size <= maxMessage && m.size < m.segment*maxSegments {
			m.size += size
			b.room = size == m.segment // a shorter one ends it
			return
		}
	}
	b.messages = append(b.messages, message{to: p, off: off, size: size, segment: size})
	b.room = b.sock.offload() && !p.plain.Load()
}

// send hands everything to the kernel.
func (b *batch) send() {
	if len(b.messages) == 0 {
		return
	}
	failed := b.sock.send(b.arena, b.messages)
	b.stats.sends.Add(uint64(len(b.messages)))
	if failed > 0 {
		b.stats.sendFailed.Add(uint64(failed))
	}
	b.arena, b.messages, b.room = b.arena[:0], b.messages[:0], false
}
