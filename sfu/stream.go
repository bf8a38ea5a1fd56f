package sfu

import (
	"sync/atomic"
	"time"

	"conclave/sfu/rtp"
	"conclave/sfu/slot"
	"conclave/sfu/srtp"
)

// Packets are numbered three times. A publisher has an index (rollover counter and sequence number) for each of its streams. A
// lane, the forwarder's half of a slot, has its own, continuous over all who speak in it one after the other (eras). Each
// receiver has a third (rtp.Numbering), so that it can guess what we seal with however it comes and goes.

const loudShift = 8 // fixed point of inbound.loud

// inbound is one stream that a leg sends.
type inbound struct {
	of   *transport
	ssrc uint32
	kind slot.Kind

	// Shared with control.
	grant   atomic.Pointer[grant] // set by control: the seat it speaks in; nil: none
	wantKey atomic.Bool           // set by control, cleared by the forwarder: ask for a key frame
	last    atomic.Int64          // last packet, since SFU.began; 0: none yet
	loud    atomic.Int32          // smoothed loudness, 0 to 127, shifted by loudShift

	// The forwarder's.
	window  srtp.Window
	receipt rtp.Receipt
	gaps    rtp.Gaps
	asked   time.Duration // last PLI
	report  senderReport
}

// hear takes the loudness of one packet: quick to rise (a word is there within 100 ms), slow to fall (a second).
func (in *inbound) hear(level byte) {
	was := in.loud.Load()
	is := int32(level&127) << loudShift
	if is > was {
		was += (is - was) / 4
	} else {
		was -= (was - is) / 64
	}
	in.loud.Store(was)
}

// senderReport is a publisher's last SR (RFC 3550, Section 6.4.1).
type senderReport struct {
	ntp   uint64
	rtp   uint32
	at    time.Duration // when it came
	fresh bool          // not passed on yet
}

// lane is the forwarder's half of a slot.
type lane struct {
	ssrc uint32

	era     *grant // of who speaks
	speaker *inbound
	base    uint64 // lane index = publisher's index + base (modulo 2^64)
	first   uint64 // first publisher's index of the era
	tsBase  uint32 // lane timestamp = publisher's + tsBase
	highest uint64 // greatest lane index so far
	started bool
	ts      uint32        // greatest timestamp so far
	at      time.Duration // when it was sent
	size    int           // of the first payload since the last flush, and which that was: what audio is sorted by
	flush   uint64
	packets uint32 // for sender reports
	octets  uint32
	ring    *ring // video: what can be sent again
}

// enter begins an era with the publisher's packet of this index and timestamp.
func (l *lane) enter(g *grant, in *inbound, index uint64, ts uint32, now time.Duration) {
	l.era, l.speaker, l.first = g, in, index
	next, clock := l.highest+1, uint64(rtp.AudioClock)
	if !l.started {
		next, l.started = rtp.FirstIndex, true
		l.highest = rtp.FirstIndex - 1
	}
	if in.kind.Video() {
		clock = rtp.VideoClock
	}
	// The clock runs on between eras, by at least one packet of audio or a frame of video.
	elapsed := uint64(max(now-l.at, 20*time.Millisecond)) / 1000 * clock / 1_000_000
	l.base = next - index
	l.tsBase = l.ts + uint32(elapsed) - ts
}

// close closes the gap before a packet whose publisher has jumped. Receivers must not see it: one that misses a few
// packets around two great leaps would guess rollovers wrongly from then on, and a publisher can leap as it likes.
func (l *lane) close(index uint64) {
	if gap := int64(index + l.base - l.highest); gap > rtp.MaxLate {
		l.base -= uint64(gap - 1)
		l.first = index
	}
}

const (
	ringSize   = rtp.MaxLate // packets; a second and a half of video at its cap
	ringPacket = 1300        // bytes kept of a packet; longer ones cannot be asked for again
)

// ring keeps a video lane's last plaintexts.
type ring struct {
	entries [ringSize]ringEntry
	bytes   [ringSize][ringPacket]byte
}

type ringEntry struct {
	index  uint64
	ts     uint32
	size   uint16
	marker bool
	pad    bool
	owner  *transport
}

func (r *ring) put(p *packet) {
	i := p.index % ringSize
	e := &r.entries[i]
	if len(p.payload) > ringPacket {
		*e = ringEntry{}
		return
	}
	*e = ringEntry{index: p.index, ts: p.ts, size: uint16(copy(r.bytes[i][:], p.payload)), marker: p.marker, pad: p.pad, owner: p.owner}
}

// get returns the packet of a lane index, its payload still in the ring.
func (r *ring) get(index uint64, p *packet) bool {
	e := &r.entries[index%ringSize]
	if e.index != index || e.owner == nil {
		return false
	}
	*p = packet{index: index, ts: e.ts, marker: e.marker, pad: e.pad, owner: e.owner, payload: r.bytes[index%ringSize][:e.size]}
	return true
}

// packet is one RTP packet on its way from its publisher to the receivers.
type packet struct {
	seat     *seat
	owner    *transport
	index    uint64 // the lane's
	previous uint64 // the lane's greatest before this packet
	ts       uint32
	marker   bool
	pad      bool
	payload  []byte // in a receive buffer: until the next flush
}
