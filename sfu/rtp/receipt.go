package rtp

import "time"

// Receipt measures how a stream arrives (RFC 3550, Appendices A.3 and A.8).
type Receipt struct {
	received uint64
	first    uint64 // index
	highest  uint64
	reported uint64 // received at the last report
	expected uint64 // expected at the last report
	transit  int64  // arrival minus timestamp, in clock ticks
	jitter   uint32 // times 16
}

// Note takes an opened packet; clock is the stream's ticks a second.
func (r *Receipt) Note(index uint64, ts uint32, clock int64, now time.Duration) {
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

// Interval closes a report interval and returns the loss in it (256ths) and all packets lost so far.
func (r *Receipt) Interval() (share uint8, lost uint32) {
	expected := r.highest - r.first + 1
	expectedNow, receivedNow := expected-r.expected, r.received-r.reported
	r.expected, r.reported = expected, r.received
	if expectedNow > receivedNow {
		share = uint8(min(255, (expectedNow-receivedNow)<<8/expectedNow))
	}
	if expected > r.received {
		lost = uint32(min(expected-r.received, 0x7fffff))
	}
	return share, lost
}

// Fresh reports whether packets came since the last report.
func (r *Receipt) Fresh() bool { return r.received != r.reported }

// Received returns how many packets came.
func (r *Receipt) Received() uint64 { return r.received }

// Block returns the reception report of what was noted, of the interval that share and lost are of.
func (r *Receipt) Block(ssrc uint32, share uint8, lost uint32) ReportBlock {
	return ReportBlock{SSRC: ssrc, Share: share, Lost: lost, Highest: uint32(r.highest), Jitter: r.jitter >> 4}
}

const (
	maxGaps     = 64
	gapWait     = 10 * time.Millisecond // a packet may simply come second
	gapRepeat   = 60 * time.Millisecond
	gapTries    = 4
	gapTooLarge = 128 // packets missing at once: a pause, not a loss
)

// Gaps is a video stream's missing packets, that we ask the publisher for.
type Gaps struct {
	missing [maxGaps]gap
	n       int
}

// Any reports whether anything is missing.
func (g *Gaps) Any() bool { return g.n > 0 }

type gap struct {
	index uint64
	due   time.Duration
	tries int
}

// Note takes an arrived packet; before is the stream's greatest index before it.
func (g *Gaps) Note(index, before uint64, now time.Duration) {
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

// Due calls ask with each sequence number that it is time to ask for.
func (g *Gaps) Due(now time.Duration, ask func(seq uint16)) {
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
