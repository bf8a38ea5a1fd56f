package sfu

import (
	"sync/atomic"
	"time"

	"conclave/sfu/slot"
	"conclave/sfu/srtp"
)

// Sequence numbers, three times. A publisher has an index (RFC 3711: rollover counter and sequence number) for each of its
// streams. A lane, the forwarder's half of a slot, has its own, continuous over all who speak in it one after the other
// (eras). A receiver has a third for each lane: it differs from the lane's by an offset which changes only after
// an absence, such that the index never goes back and never leaves a gap that the receiver would take for loss. So the
// index we seal with is by construction the one the receiver guesses: both count from the same first packet, with
// rollover counter 0; and no index is ever given two plaintexts.

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
	receipt receipt
	gaps    gaps
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

const (
	audioClock = 48000
	videoClock = 90000
	// A lane begins here: below 2^15, as RFC 3711 asks of the first sequence number.
	firstIndex = 1 << 10
)

// enter begins an era with the publisher's packet of this index and timestamp.
func (l *lane) enter(g *grant, in *inbound, index uint64, ts uint32, now time.Duration) {
	l.era, l.speaker, l.first = g, in, index
	next, clock := l.highest+1, uint64(audioClock)
	if !l.started {
		next, l.started = firstIndex, true
		l.highest = firstIndex - 1
	}
	if in.kind.Video() {
		clock = videoClock
	}
	// The clock runs on between eras, by at least one packet of audio or a frame of video.
	elapsed := uint64(max(now-l.at, 20*time.Millisecond)) / 1000 * clock / 1_000_000
	l.base = next - index
	l.tsBase = l.ts + uint32(elapsed) - ts
}

// close closes the gap before a packet whose publisher has jumped. Receivers must not see it: one that misses a few
// packets around two great leaps would guess rollovers wrongly from then on, and a publisher can leap as it likes.
func (l *lane) close(index uint64) {
	if gap := int64(index + l.base - l.highest); gap > ringSize {
		l.base -= uint64(gap - 1)
		l.first = index
	}
}

// stream is what one receiver was sent of one lane.
type stream struct {
	offset uint64 // its index = lane index + offset (modulo 2^64)
	since  uint64 // lane index from which offset holds
	last   uint64 // greatest lane index sent
	used   bool
}

// next returns the receiver's index for a lane's packet; previous is the lane's greatest index before that packet. It
// reports false for a packet that the receiver's index has no place for: from before it came, or too old.
func (s *stream) next(index, previous uint64) (uint64, bool) {
	switch {
	case !s.used:
		s.used = true
		s.since, s.last = index, index
		s.offset = firstIndex - index
	case index > s.last:
		if s.last != previous && index > previous {
			// It was away, and did not get what came last: go on where it stopped.
			s.offset += s.last + 1 - index
			s.since = index
		}
		s.last = index
	case index < s.since || s.last-index >= ringSize:
		return 0, false
	}
	return index + s.offset, true
}

// back returns the lane index of a receiver's sequence number, as it names it in a NACK.
func (s *stream) back(seq uint16) (uint64, bool) {
	if !s.used {
		return 0, false
	}
	highest := s.last + s.offset
	index := srtp.Guess(highest, true, seq) - s.offset
	if index > s.last || index < s.since {
		return 0, false
	}
	return index, true
}

const (
	ringSize   = 512  // packets; a second and a half of video at its cap
	ringPacket = 1300 // bytes kept of a packet; longer ones cannot be asked for again
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

// receipt measures how a stream arrives (RFC 3550, Appendices A.3 and A.8).
type receipt struct {
	received  uint64
	first     uint64 // index
	highest   uint64
	reported  uint64 // received at the last report
	expected  uint64 // expected at the last report
	transit   int64  // arrival minus timestamp, in clock ticks
	jitter    uint32 // times 16
	lossShare uint8  // of the last interval, in 256ths
}

func (r *receipt) note(index uint64, ts uint32, clock int64, now time.Duration) {
	if r.received == 0 {
		r.first, r.highest = index, index
	}
	r.received++
	r.highest = max(r.highest, index)
	transit := int64(now/time.Microsecond)*clock/1_000_000 - int64(ts)
	if r.received > 1 {
		d := transit - r.transit
		// Differences beyond a second are wraps and jumps of the timestamp, not jitter.
		if d < 0 {
			d = -d
		}
		if d < clock {
			r.jitter += uint32(d) - (r.jitter+8)>>4
		}
	}
	r.transit = transit
}

// interval closes a report interval and returns the loss in it (256ths) and all packets lost so far.
func (r *receipt) interval() (share uint8, lost uint32) {
	expected := r.highest - r.first + 1
	expectedNow, receivedNow := expected-r.expected, r.received-r.reported
	r.expected, r.reported = expected, r.received
	r.lossShare = 0
	if expectedNow > receivedNow {
		r.lossShare = uint8(min(255, (expectedNow-receivedNow)<<8/expectedNow))
	}
	if expected > r.received {
		lost = uint32(min(expected-r.received, 0x7fffff))
	}
	return r.lossShare, lost
}

const (
	maxGaps     = 64
	gapWait     = 10 * time.Millisecond // a packet may simply come second
	gapRepeat   = 60 * time.Millisecond
	gapTries    = 4
	gapTooLarge = 128 // packets missing at once: a pause, not a loss
)

// gaps is a video stream's missing packets, that we ask the publisher for.
type gaps struct {
	missing [maxGaps]gap
	n       int
}

type gap struct {
	index uint64
	due   time.Duration
	tries int
}

// note takes an arrived packet; before is the stream's greatest index before it.
func (g *gaps) note(index, before uint64, now time.Duration) {
	if index <= before {
		for i := range g.n {
			if g.missing[i].index == index {
				g.n--
				g.missing[i] = g.missing[g.n]
				return
			}
		}
		return
	}
	if index-before > gapTooLarge {
		g.n = 0
		return
	}
	for i := before + 1; i < index && g.n < maxGaps; i++ {
		g.missing[g.n] = gap{index: i, due: now + gapWait}
		g.n++
	}
}

// due calls ask with each sequence number that it is time to ask for.
func (g *gaps) due(now time.Duration, ask func(seq uint16)) {
	for i := 0; i < g.n; {
		m := &g.missing[i]
		if now < m.due {
			i++
			continue
		}
		if m.tries == gapTries {
			g.n--
			*m = g.missing[g.n]
			continue
		}
		m.tries++
		m.due = now + gapRepeat
		ask(uint16(m.index))
		i++
	}
}
