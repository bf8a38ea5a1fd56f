// Package jitter puts the packets of one stream of a phone call back into their order and evens out their arrival, waiting
// as short as the network allows: 40 to 120 ms. It knows sequence numbers, timestamps and arrival times, not sockets,
// codecs or the clock: time is an argument. What it says is missing, the codec conceals.
//
// Digits (RFC 4733) share the sequence numbers of the sound, so they are put in too: they are then not taken for losses.
//
// Sources: RFC 3550, Section 6.4.1 and Appendix A.1, A.8.
package jitter

import (
	"slices"
	"time"
)

const (
	// MinDelay is waited even on a perfect network: the pacing of a phone's own loop is no better.
	MinDelay = 40 * time.Millisecond
	// MaxDelay is the most that is waited. A network with more jitter loses packets; a conversation with more delay is none.
	MaxDelay = 120 * time.Millisecond
	// MaxPayload is the largest payload that is kept, in bytes: an Opus packet of RFC 6716, or 120 ms of G.711, with room.
	MaxPayload = 1280

	// slots is how many sequence numbers are looked at at once: 640 ms of packets of 10 ms. A power of two.
	slots = 64
	// step is what one Pop is worth.
	step = 20 * time.Millisecond
	// window is how many pops a judgement on the delay takes: 1 s.
	window = 50
	// sample is how many packets a judgement on the jitter takes: 4 s.
	sample = 200
	// patience is how many frames an empty buffer makes up before it stops and fills again.
	patience = 5
	// jump is how far, in sequence numbers, a stream may leap before it counts as a new one (RFC 3550, MAX_DROPOUT is 3000;
	// ours cannot keep so much).
	jump = 500
)

// Verdict says what Pop or Put found.
type Verdict uint8

// What Pop finds.
const (
	Packet  Verdict = iota // the payload of the next packet
	Missing                // the next packet is lost or late: conceal it
	Wait                   // nothing to play: silence
)

// Advice says how to follow the sender's clock.
type Advice uint8

// The advice.
const (
	Keep   Advice = iota
	Skip          // leave a frame out as soon as it does not hurt: sound waits longer than it must
	Insert        // play a quiet frame twice: the buffer runs dry
)

type slot struct {
	full, event bool
	sequence    uint16
	timestamp   uint32
	arrived     time.Time
	size        int
	payload     [MaxPayload]byte
}

// Counts is what a buffer has seen.
type Counts struct {
	Lost, Late, Reordered, Duplicate uint64
	Delay, Jitter                    time.Duration
}

// Buffer is the jitter buffer of one stream. It is not safe for use by two goroutines at once.
type Buffer struct {
	clock   time.Duration // of one timestamp unit, in nanoseconds times 48 to stay whole
	slots   [slots]slot
	sounds  int // full slots that are no events
	full    int
	playing bool
	begun   bool
	next    uint16 // to be played
	highest uint16
	newest  uint32 // timestamp of highest
	typing  bool   // highest is an event
	packet  time.Duration
	empty   int // pops in a row that found nothing

	transit  [sample]time.Duration // arrival minus timestamp, of the last packets
	transits int
	origin   time.Time // what transit is counted from, with base
	base     uint32
	target   time.Duration

	lowest time.Duration // level after a pop, in the running window
	pops   int
	advice Advice
	excess int // frames that Skip is still to take

	jitter   float64 // in ns
	lastTime time.Duration
	counts   Counts
}

// New returns an empty buffer for a stream whose timestamps count clockRate units a second.
func New(clockRate int) *Buffer {
	return &Buffer{clock: 48 * time.Second / time.Duration(clockRate), target: MinDelay, packet: step, lowest: MaxDelay}
}

// span is the time of so many timestamp units.
func (b *Buffer) span(units int32) time.Duration { return time.Duration(units) * b.clock / 48 }

// Put takes a packet that arrived at now. It copies payload, which is empty for an event. It says false when the packet
// came too late, twice, or is too large.
func (b *Buffer) Put(now time.Time, sequence uint16, timestamp uint32, event bool, payload []byte) bool {
	if len(payload) > MaxPayload {
		return false
	}
	if !b.begun {
		b.begin(now, sequence, timestamp)
	}
	ahead := int16(sequence - b.next)
	if forward := int16(sequence - b.highest); forward > jump || forward < -jump {
		b.Reset()
		b.begin(now, sequence, timestamp)
		ahead = 0
	}
	if ahead < 0 {
		if !b.playing && ahead > -slots/2 && int16(b.highest-sequence) < slots {
			b.next = sequence // still filling: an earlier one is welcome
		} else {
			b.counts.Late++
			return false
		}
	}
	for int16(sequence-b.next) >= slots { // too much waits: give up the oldest
		b.forget()
	}
	s := &b.slots[sequence%slots]
	if s.full {
		b.counts.Duplicate++
		return false
	}
	if int16(sequence-b.highest) > 0 {
		if sequence == b.highest+1 && !event {
			if d := b.span(int32(timestamp - b.newest)); d >= 2500*time.Microsecond && d <= MaxDelay {
				b.packet = d
			}
		}
		b.highest, b.newest, b.typing = sequence, timestamp, event
	} else if sequence != b.highest {
		b.counts.Reordered++
	}
	s.full, s.event, s.sequence, s.timestamp, s.arrived = true, event, sequence, timestamp, now
	s.size = copy(s.payload[:], payload)
	b.full++
	if !event {
		b.sounds++
		b.measure(now, timestamp)
	}
	return true
}

func (b *Buffer) begin(now time.Time, sequence uint16, timestamp uint32) {
	b.begun, b.next, b.highest, b.newest = true, sequence, sequence, timestamp
	b.origin, b.base, b.transits, b.lastTime = now, timestamp, 0, 0
}

// forget gives up the oldest sequence number.
func (b *Buffer) forget() {
	if s := &b.slots[b.next%slots]; s.full {
		b.take(s)
	}
	b.counts.Lost++
	b.next++
}

func (b *Buffer) take(s *slot) {
	s.full = false
	b.full--
	if !s.event {
		b.sounds--
	}
}

// measure follows the jitter and, each half second, sets the delay to what 97 % of the packets needed and a packet more.
func (b *Buffer) measure(now time.Time, timestamp uint32) {
	transit := now.Sub(b.origin) - b.span(int32(timestamp-b.base))
	if d := (transit - b.lastTime).Abs(); b.transits > 0 && d < time.Second {
		b.jitter += (float64(d) - b.jitter) / 16
	}
	b.lastTime = transit
	b.transit[b.transits%sample] = transit
	b.transits++
	if b.transits%25 != 0 {
		return
	}
	var sorted [sample]time.Duration
	known := sorted[:copy(sorted[:], b.transit[:min(b.transits, sample)])]
	slices.Sort(known)
	b.target = min(max(known[len(known)*97/100]-known[0]+b.packet, MinDelay), MaxDelay)
}

// level is how much sound waits, what is lost in between too: its time is played all the same.
func (b *Buffer) level() time.Duration {
	if b.sounds == 0 {
		return 0
	}
	events := b.full - b.sounds
	return time.Duration(int(int16(b.highest-b.next))+1-events) * b.packet
}

// oldest returns the first full slot, or nil.
func (b *Buffer) oldest() *slot {
	if b.full == 0 {
		return nil
	}
	for i := range uint16(slots) {
		if s := &b.slots[(b.next+i)%slots]; s.full {
			return s
		}
	}
	return nil
}

// Pop returns what is to be played next, at now; the caller asks whenever it has less than 20 ms of sound left. The
// payload holds until the next Put.
func (b *Buffer) Pop(now time.Time) ([]byte, Verdict) {
	if !b.playing && !b.fill(now) {
		return nil, Wait
	}
	for {
		s := &b.slots[b.next%slots]
		switch {
		case s.full:
			b.take(s)
			b.next++
			if s.event {
				continue
			}
			b.empty = 0
			b.judge()
			return s.payload[:s.size], Packet
		case b.sounds > 0:
			b.next++
			b.counts.Lost++
			return nil, Missing
		case b.full > 0: // digits only: there is no sound to be missed
			b.next++
			continue
		}
		if b.empty++; b.empty > patience || b.typing { // while a key is down there is no sound to be missed
			b.playing, b.empty = false, 0
			return nil, Wait
		}
		b.lowest = 0
		return nil, Missing
	}
}

// fill says whether enough waits to begin.
func (b *Buffer) fill(now time.Time) bool {
	first := b.oldest()
	for first != nil && first.event {
		b.take(first)
		b.next = first.sequence + 1
		first = b.oldest()
	}
	if first == nil {
		return false
	}
	if b.level() < b.target && now.Sub(first.arrived) < b.target-b.packet {
		return false
	}
	if gap := int16(first.sequence - b.next); gap > 0 {
		b.counts.Lost += uint64(gap)
	}
	b.next, b.playing, b.empty, b.pops, b.lowest, b.advice, b.excess = first.sequence, true, 0, 0, MaxDelay, Keep, 0
	return true
}

// judge looks, once a second, how near to dry the buffer came. The lowest level is what could be waited less.
func (b *Buffer) judge() {
	b.lowest = min(b.lowest, b.level())
	if b.pops++; b.pops < window {
		return
	}
	switch {
	case b.lowest >= max(40*time.Millisecond, 2*b.packet):
		b.advice, b.excess = Skip, int((b.lowest-step)/step)
	case b.lowest == 0 && b.packet <= step:
		b.advice, b.excess = Insert, 1
	default:
		b.advice = Keep
	}
	b.pops, b.lowest = 0, MaxDelay*slots
}

// Advice says how to follow the sender's clock now.
func (b *Buffer) Advice() Advice { return b.advice }

// Followed says that the advice was followed, by one frame.
func (b *Buffer) Followed() {
	if b.excess--; b.excess <= 0 {
		b.advice = Keep
	}
}

// Reset throws away all that waits and begins anew with the next packet. The counts stay.
func (b *Buffer) Reset() {
	for i := range b.slots {
		b.slots[i].full = false
	}
	b.full, b.sounds, b.playing, b.begun, b.empty, b.pops, b.advice, b.excess = 0, 0, false, false, 0, 0, Keep, 0
	b.lowest, b.target = MaxDelay, MinDelay
}

// Counts returns what was seen so far.
func (b *Buffer) Counts() Counts {
	c := b.counts
	c.Delay, c.Jitter = b.level(), time.Duration(b.jitter)
	return c
}
