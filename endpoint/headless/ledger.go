package headless

import (
	"time"

	"conclave/opus"
)

// loud is a Sound that knows whether its last packet was louder than a quiet room. Of one that does not, every packet
// counts as speech; that there is none, as silence.
type loud interface{ Loud() bool }

const (
	// speechPause is the longest silence within a span of speech: pauses between words are shorter. As in the browser.
	speechPause = 700 * time.Millisecond
	// speechReport is how often a span that goes on is reported to the ledger.
	speechReport = time.Second
	// loudLevel is the root mean square, of 32768 full scale, above which somebody speaks: -38 dB. As in the browser.
	loudLevel = 393
)

// voiceLedger finds the spans in which a client speaks. It belongs to the goroutine that sends sound.
type voiceLedger struct {
	from, last time.Time // of the span that goes on; zero: none
	spoke      func(from, to time.Time) error
}

// packet notes one packet of sound, sent at a moment.
func (v *voiceLedger) packet(speech bool, at time.Time) {
	if speech {
		if v.from.IsZero() {
			v.from = at
		}
		v.last = at.Add(packetTime)
	}
	if v.from.IsZero() {
		return
	}
	switch over := at.Sub(v.last) >= speechPause; {
	case over:
		v.report()
		v.from = time.Time{}
	case v.last.Sub(v.from) >= speechReport:
		v.report()
		v.from = v.last
	}
}

func (v *voiceLedger) report() {
	if v.last.After(v.from) {
		_ = v.spoke(v.from, v.last) // busy: what is lost is a second of a span
	}
}

// isLoud says whether a frame of samples is speech.
func isLoud(frame *[opus.FrameSamples]int16) bool {
	sum := 0.0
	for _, s := range frame {
		sum += float64(s) * float64(s)
	}
	return sum > loudLevel*loudLevel*float64(len(frame))
}
