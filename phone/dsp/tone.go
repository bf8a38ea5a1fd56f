package dsp

import "math"

// Tone is a soft sound of one or two sines that swells and fades.
type Tone struct {
	Frequencies [2]float64 // Hz; 0: only one
	Frames      int        // its length, in frames of 20 ms
	Peak        int16
}

// The tones of a call.
var (
	// Reminder is heard by the room at intervals while a phone leg is in. Recognised, and soft enough to speak over.
	Reminder = []Tone{{[2]float64{440, 0}, 8, 1800}, {[2]float64{349.23, 0}, 12, 1800}}
	// Entered is heard by the room with the sentence that a phone leg came.
	Entered = []Tone{{[2]float64{523.25, 0}, 8, 3000}, {[2]float64{659.25, 0}, 12, 3000}}
	// Refusal is heard by a caller before the sentence that says why (the frequencies of a special information tone's first two).
	Refusal = []Tone{{[2]float64{950, 0}, 12, 3000}, {[2]float64{1400, 0}, 12, 3000}}
	// Ringing is heard by a caller who waits: ITU-T E.180, 425 Hz.
	Ringing = []Tone{{[2]float64{425, 0}, 50, 2500}}
	// Key answers a digit of a code: it says that one was heard, not which.
	Key = []Tone{{[2]float64{1000, 0}, 3, 1500}}
)

// Tones returns a Source that plays tones one after the other.
func Tones(tones []Tone) Source { return &tonePlayer{rest: tones} }

type tonePlayer struct {
	rest []Tone
	at   int // samples into rest[0]
}

func (p *tonePlayer) Next(f *Frame) bool {
	for len(p.rest) > 0 && p.at >= p.rest[0].Frames*FrameSamples {
		p.rest, p.at = p.rest[1:], 0
	}
	if len(p.rest) == 0 {
		return false
	}
	t := &p.rest[0]
	length := t.Frames * FrameSamples
	const edge = Rate / 100 // 10 ms: no click
	for i := range f {
		v, n := 0.0, 0.0
		for _, hz := range t.Frequencies {
			if hz > 0 {
				v += math.Sin(2 * math.Pi * hz * float64(p.at) / Rate)
				n++
			}
		}
		shape := min(1, float64(p.at)/edge, float64(length-1-p.at)/edge)
		if n == 0 {
			n = 1
		}
		f[i] = int16(v / n * shape * float64(t.Peak))
		p.at++
	}
	return true
}
