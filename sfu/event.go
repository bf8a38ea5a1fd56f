package sfu

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
)

// EventKind says what happened.
type EventKind uint8

// The kinds of events.
const (
	EventReady  EventKind = iota + 1 // the leg's transport is up: DTLS done, fingerprint right
	EventFailed                      // DTLS failed, timed out, or showed another certificate; a new Connect is needed
	EventMoved                       // packets come from another address since
	EventSilent                      // no packet for 2 s from an open leg with a microphone
	EventBack                        // packets again after EventSilent or EventLost
	EventLost                        // no packet for 15 s, or not ready 15 s after Connect
	EventSlots                       // owners of slots, or Crowded, changed; ask Owners. Leg is zero
)

// String returns the kind's word for logs.
func (k EventKind) String() string {
	names := [...]string{"invalid", "ready", "failed", "moved", "silent", "back", "lost", "slots"}
	if int(k) >= len(names) {
		return names[0]
	}
	return names[k]
}

// Event is one thing that happened in a room.
type Event struct {
	Kind    EventKind
	Leg     conclave.LegID
	Address netip.AddrPort // where the leg's packets come from: ready and moved. Personal: never log it
}

// eventQueue delivers events in order, from one goroutine. It is not bounded by itself: each leg has few events a
// second, all of them changes of its own state.
type eventQueue struct {
	mu     sync.Mutex
	cond   *sync.Cond
	queue  []func()
	closed bool
}

func (q *eventQueue) init() { q.cond = sync.NewCond(&q.mu) }

func (q *eventQueue) add(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.queue = append(q.queue, f)
		q.cond.Signal()
	}
}

func (q *eventQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.cond.Signal()
}

// run delivers until the queue is closed and empty.
func (q *eventQueue) run() {
	for {
		q.mu.Lock()
		for len(q.queue) == 0 && !q.closed {
			q.cond.Wait()
		}
		batch := q.queue
		q.queue = nil
		q.mu.Unlock()
		if batch == nil {
			return
		}
		for _, f := range batch {
			f()
		}
	}
}

// Stats are counts since the server started.
type Stats struct {
	Received      uint64 // datagrams
	Forwarded     uint64 // RTP packets sealed and handed to the kernel
	Sends         uint64 // messages to the kernel; a message holds up to 64 packets
	Retransmitted uint64 // video packets sent again
	Stranger      uint64 // datagrams from an address nobody proved, or of an SSRC or payload type nobody announced
	Malformed     uint64 // datagrams that do not parse
	Forged        uint64 // packets that do not open
	Replayed      uint64
	STUNRefused   uint64 // STUN without right credentials
	STUNDropped   uint64 // STUN over the rate, or with the queue full
	DTLSDropped   uint64 // DTLS with too many handshakes in flight, or a full queue
	SendFailed    uint64 // messages the kernel refused
}

type counters struct {
	received, forwarded, sends, retransmitted, stranger, malformed, forged, replayed,
	stunRefused, stunDropped, dtlsDropped, sendFailed atomic.Uint64
}

func (c *counters) read() Stats {
	return Stats{
		Received: c.received.Load(), Forwarded: c.forwarded.Load(), Sends: c.sends.Load(),
		Retransmitted: c.retransmitted.Load(), Stranger: c.stranger.Load(), Malformed: c.malformed.Load(),
		Forged: c.forged.Load(), Replayed: c.replayed.Load(), STUNRefused: c.stunRefused.Load(),
		STUNDropped: c.stunDropped.Load(), DTLSDropped: c.dtlsDropped.Load(), SendFailed: c.sendFailed.Load(),
	}
}

// LegStats is what the server has measured of one leg's line.
type LegStats struct {
	Ready    bool          // transport up
	Open     bool          // forwards and receives
	Heard    time.Duration // since the last authenticated packet
	LossUp   float64       // share of the leg's packets that did not arrive, over the last report interval; 0 to 1
	LossDown float64       // the same as the leg reports it of what it was sent; of the stream that loses least, as others may lose theirs before
	RTT      time.Duration // last round trip from sender reports; 0: unknown
	Received uint64        // RTP packets opened
}
