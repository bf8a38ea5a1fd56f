// Package dsp is what is done to the sound of a phone call between its codec and the room: resampling between 8, 16 and
// 48 kHz, mixing with a limiter, a slow automatic gain for the caller, comfort noise towards the phone, and tones. All of it
// is arithmetic on frames of 20 ms; nothing here knows packets or time.
package dsp

// Rate is the number of samples in a second of a Frame.
const Rate = 48000

// FrameSamples is the number of samples in 20 ms.
const FrameSamples = Rate / 50

// Frame is 20 ms of sound: 48 kHz, mono, linear.
type Frame [FrameSamples]int16

// Source is a sound that ends. It is used by one goroutine at a time.
type Source interface {
	// Next fills f with the next 20 ms, padded with silence at the end, and returns true; or false, with f untouched, when
	// there is no more.
	Next(f *Frame) bool
}

// PCM returns a Source that plays samples, 48 kHz mono, which must not change meanwhile.
func PCM(samples []int16) Source { return &pcm{samples} }

type pcm struct{ rest []int16 }

func (p *pcm) Next(f *Frame) bool {
	if len(p.rest) == 0 {
		return false
	}
	n := copy(f[:], p.rest)
	clear(f[n:])
	p.rest = p.rest[n:]
	return true
}

// Sequence returns a Source that plays sources one after the other.
func Sequence(sources ...Source) Source { return &sequence{sources} }

type sequence struct{ rest []Source }

func (s *sequence) Next(f *Frame) bool {
	for len(s.rest) > 0 {
		if s.rest[0].Next(f) {
			return true
		}
		s.rest = s.rest[1:]
	}
	return false
}

// Silence returns a Source of so many frames of silence.
func Silence(frames int) Source { return &silence{frames} }

type silence struct{ rest int }

func (s *silence) Next(f *Frame) bool {
	if s.rest <= 0 {
		return false
	}
	s.rest--
	clear(f[:])
	return true
}
