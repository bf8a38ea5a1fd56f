package dsp

// Mixer adds frames of several speakers up for one listener, and keeps the sum below overload: it turns itself down at once
// and up again over half a second. The zero value is ready. It is not safe for use by two goroutines at once.
type Mixer struct {
	sum  [FrameSamples]int32
	gain int32 // in 1/65536; 0 is not yet known
}

const (
	unity   = 1 << 16
	ceiling = 30000 // −0.8 dBFS: what follows (filters, codecs) overshoots a little
	turning = 96    // samples, 2 ms, over which the gain goes down
	rising  = unity / 25
)

// Add adds f to the frame.
func (m *Mixer) Add(f *Frame) {
	for i, v := range f {
		m.sum[i] += int32(v)
	}
}

// Mix puts the sum into f and begins a new frame.
func (m *Mixer) Mix(f *Frame) {
	peak := int32(0)
	for _, v := range m.sum {
		peak = max(peak, v, -v)
	}
	if m.gain == 0 {
		m.gain = unity
	}
	gain := min(m.gain+rising, unity)
	if peak > ceiling {
		gain = min(gain, int32(int64(ceiling)*unity/int64(peak)))
	}
	from, over := m.gain, int32(turning)
	if gain > from {
		over = FrameSamples
	}
	for i, v := range m.sum {
		g := gain
		if int32(i) < over {
			g = from + (gain-from)*int32(i)/over
		}
		f[i] = int16(min(max(int64(v)*int64(g)>>16, -ceiling), ceiling))
	}
	m.gain = gain
	clear(m.sum[:])
}

// Leveller brings a caller's voice slowly to an even loudness, by at most 12 dB either way. It listens to speech alone: pauses
// and noise are not turned up. The zero value is ready.
type Leveller struct {
	gain  float32 // 0 is not yet known
	level float32 // mean magnitude of speech
	floor float32 // mean magnitude of pauses
}

const (
	spoken   = 1900 // mean magnitude that is aimed at: about −22 dBFS of speech
	maxGain  = 4    // 12 dB
	steepest = 1.01 // a frame, 4 dB a second
)

// Level changes f.
func (l *Leveller) Level(f *Frame) {
	if l.gain == 0 {
		l.gain, l.level, l.floor = 1, spoken, 100
	}
	sum, peak := int32(0), int32(0)
	for _, v := range f {
		a := max(int32(v), -int32(v))
		sum += a
		peak = max(peak, a)
	}
	mean := float32(sum) / FrameSamples
	l.floor = min(mean+1, l.floor*1.005+0.1)
	before := l.gain
	if mean > 4*l.floor && mean > 60 { // speech
		l.level += (mean - l.level) / 50
		want := min(max(spoken/l.level, 1.0/maxGain), maxGain)
		l.gain = min(max(want, l.gain/steepest), l.gain*steepest)
	}
	if float32(peak)*l.gain > ceiling {
		l.gain = max(ceiling/float32(peak), 1.0/maxGain)
	}
	for i, v := range f {
		g := before + (l.gain-before)*float32(min(i, turning))/turning
		f[i] = clamp(float32(v) * g)
	}
}
