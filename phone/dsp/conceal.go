package dsp

const (
	// The pitch of a voice, as periods at 8 kHz: 66 to 400 Hz (ITU-T G.711 Appendix I).
	shortestPitch = 20
	longestPitch  = 120
	decimation    = 6
	memory        = 3 * longestPitch * decimation // samples that are remembered: 45 ms
	blend         = 240                           // samples over which real and made-up sound flow into each other: 5 ms
)

// Concealer makes up what did not arrive, by repeating the voice's last pitch period and fading it out in 60 ms, in the
// manner of ITU-T G.711 Appendix I. It is told all good sound, and conceals in between. The zero value is ready.
type Concealer struct {
	past    [memory]int16 // the last good sound
	pitch   int           // period of what is repeated, in samples
	at      int           // how far into the repetition
	missing int           // frames made up in a row
	tail    [blend]int16  // how the made-up sound would have gone on
	out     Frame
}

// fades is the loudness at the beginning of the n-th frame made up in a row, in 1/256; the last goes to nothing.
var fades = [...]int32{256, 224, 128, 48, 0}

// Good takes sound that did arrive, at 48 kHz, at least 5 ms, and smooths its beginning where it follows made-up sound.
func (c *Concealer) Good(pcm []int16) {
	if c.missing > 0 && len(pcm) >= blend {
		for i := range blend {
			pcm[i] = int16((int32(pcm[i])*int32(i) + int32(c.tail[i])*int32(blend-i)) / blend)
		}
	}
	c.missing = 0
	if len(pcm) >= memory {
		copy(c.past[:], pcm[len(pcm)-memory:])
		return
	}
	copy(c.past[:], c.past[len(pcm):])
	copy(c.past[memory-len(pcm):], pcm)
}

// Conceal returns 20 ms that stand for what is missing. They hold until the next call.
func (c *Concealer) Conceal() *Frame {
	if c.missing == 0 {
		c.pitch, c.at = c.findPitch(), 0
	}
	from, to := fade(c.missing), fade(c.missing+1)
	c.missing++
	for i := range c.out {
		level := from + (to-from)*int32(i)/FrameSamples
		c.out[i] = int16(int32(c.repeat()) * level / 256)
	}
	at := c.at
	for i := range c.tail {
		c.tail[i] = int16(int32(c.repeat()) * to / 256)
	}
	c.at = at
	return &c.out
}

func fade(n int) int32 { return fades[min(n, len(fades)-1)] }

// repeat returns the next sample of the repeated period. Where the period closes, its end flows into what came before its
// beginning, so that there is no edge.
func (c *Concealer) repeat() int16 {
	start := memory - c.pitch
	i := c.at % c.pitch
	c.at++
	overlap := c.pitch / 4
	s := int32(c.past[start+i])
	if left := c.pitch - i; left <= overlap && start >= overlap {
		w := int32(left)
		s = (s*w + int32(c.past[start-left])*(int32(overlap)-w)) / int32(overlap)
	}
	return int16(s)
}

// findPitch returns the period, in samples, at which the last good sound resembles itself most.
func (c *Concealer) findPitch() int {
	var low [memory / decimation]int32
	for i := range low {
		for _, s := range c.past[i*decimation:][:decimation] {
			low[i] += int32(s)
		}
		low[i] /= decimation
	}
	best, period := int64(-1), longestPitch
	const compared = 160
	end := len(low)
	for lag := shortestPitch; lag <= longestPitch; lag++ {
		var cross, energy int64
		for i := end - compared; i < end; i++ {
			cross += int64(low[i]) * int64(low[i-lag])
			energy += int64(low[i-lag]) * int64(low[i-lag])
		}
		if cross <= 0 {
			continue
		}
		if score := int64(float64(cross) / float64(energy+1) * float64(cross)); score > best {
			best, period = score, lag
		}
	}
	return period * decimation
}
