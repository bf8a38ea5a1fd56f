package watermark

import (
	"errors"
	"fmt"
	"math"
)

// ErrRate is returned for a sample rate that the embedder does not do.
var ErrRate = errors.New("watermark: sample rate is not 8000 to 192000 Hz in steps of 25 Hz")

// halfFilter is half the length of the filters that shape the bands: the embedder's delay, in seconds.
const halfFilter = 0.008

// shape is what the embedder computes once for a sample rate.
type shape struct {
	rate, block, slot int // samples in a second, a block, and a slot
	half              int // samples that the output is late within a block's window
	fft               *fft
	bands             int         // those below the Nyquist frequency
	first             []int       // the first bin of each band's curve
	curve             [][]float64 // how much each bin follows the band's gain
}

// newShape lays out the bands for a rate. A band's curve is the spectrum of an ideal band-pass, cut to 16 ms by a Hann
// window: smooth, so that no tone rings, and zero-phase, so that all else passes unchanged.
func newShape(rate int) (*shape, error) {
	if rate < 8000 || rate > 192000 || rate%25 != 0 {
		return nil, fmt.Errorf("%w: %d", ErrRate, rate)
	}
	s := &shape{rate: rate, slot: rate * 2 / 25, half: int(math.Round(halfFilter * float64(rate)))}
	switch {
	case rate >= 32000:
		s.block = 128 // a render quantum of the browser
	case rate >= 16000:
		s.block = 64
	default:
		s.block = 32
	}
	n := 256
	for n < 2*s.half+s.block {
		n *= 2
	}
	s.fft = newFFT(n)
	for b := range Bands {
		low := float64(FirstEdge + b*BandWidth)
		high := low + BandWidth
		if high > float64(rate)/2-150 {
			break
		}
		s.bands++
		// The filter lies around zero, its negative half at the end.
		re, im := make([]float64, n), make([]float64, n)
		for k := -s.half; k <= s.half; k++ {
			v := (high - low) * 2 / float64(rate)
			if k != 0 {
				x := math.Pi * float64(k)
				v = (math.Sin(2*x*high/float64(rate)) - math.Sin(2*x*low/float64(rate))) / x
			}
			re[(k+n)%n] = v * (0.5 + 0.5*math.Cos(math.Pi*float64(k)/float64(s.half+1)))
		}
		s.fft.forward(re, im)
		// Beyond 400 Hz from the band the curve is below -60 dB.
		bin := float64(rate) / float64(n)
		from, to := max(0, int((low-400)/bin)), min(n/2, int((high+400)/bin)+1)
		s.first = append(s.first, from)
		s.curve = append(s.curve, append([]float64(nil), re[from:to]...))
	}
	return s, nil
}

// Embedder marks a stream of sound. It is not safe for use by several goroutines.
type Embedder struct {
	*shape
	sync  *Sync
	code  *Code
	gain  [Bands][2]float64 // what a chip of -1 and +1 adds to a band's gain of 1
	begin int               // the time of the first sample, in samples since the mark's beginning
	at    int               // blocks done

	channels []channel
	re, im   []float64
	old, now []float64 // the gain of each bin at the block's beginning and end
	steady   bool      // old and now are the same
	tile     int       // whose byte is known
	byte     [1]byte
	before   [1]byte // the byte of the tile before
}

// channel is the state of one channel.
type channel struct {
	window []float64 // the last samples, oldest first
	in     []float32 // collected for the next block
	out    []float32 // of the last block
	filled int
}

// NewEmbedder returns an embedder for sound of a rate in hertz. begin is how many samples of that rate have passed since the
// leg began to mark: zero for a new key. All channels get the same gains.
func NewEmbedder(rate, channels, begin int, sync *Sync, code *Code) (*Embedder, error) {
	s, err := newShape(rate)
	if err != nil {
		return nil, err
	}
	if channels < 1 || channels > 8 || begin < 0 {
		return nil, fmt.Errorf("watermark: %d channels from sample %d", channels, begin)
	}
	n := s.fft.n
	e := &Embedder{shape: s, sync: sync, code: code, begin: begin, tile: -1, channels: make([]channel, channels),
		re: make([]float64, n), im: make([]float64, n), old: make([]float64, n/2+1), now: make([]float64, n/2+1)}
	for b := range e.gain {
		strength := WideStrength
		if b < NarrowBands {
			strength = NarrowStrength
		}
		e.gain[b] = [2]float64{math.Pow(10, -strength/20) - 1, math.Pow(10, strength/20) - 1}
	}
	for i := range e.channels {
		e.channels[i] = channel{window: make([]float64, n), in: make([]float32, s.block), out: make([]float32, s.block)}
	}
	e.gainsAt(e.start())
	copy(e.old, e.now)
	return e, nil
}

// Delay is how many samples the sound is late: 8 ms for the filter and a block for collecting.
func (e *Embedder) Delay() int { return e.half + e.block }

// Samples is how many samples of each channel were taken so far.
func (e *Embedder) Samples() int { return e.at*e.block + e.channels[0].filled }

// start is the time of the next block's first output sample.
func (e *Embedder) start() int { return e.begin + e.at*e.block }

// Process marks samples of one-channel sound in place, of full scale ±1. It does not allocate.
func (e *Embedder) Process(samples []float32) {
	if len(e.channels) != 1 {
		panic("watermark: Process is for one channel")
	}
	c := &e.channels[0]
	for i, x := range samples {
		samples[i] = c.out[c.filled]
		c.in[c.filled] = x
		if c.filled++; c.filled == e.block {
			c.filled = 0
			e.advance()
			e.filter(c)
		}
	}
}

// ProcessAll marks all channels of interleaved samples in place.
func (e *Embedder) ProcessAll(samples []float32) {
	n := len(e.channels)
	for i := 0; i+n <= len(samples); i += n {
		full := false
		for k := range e.channels {
			c := &e.channels[k]
			x := samples[i+k]
			samples[i+k] = c.out[c.filled]
			c.in[c.filled] = x
			c.filled++
			full = c.filled == e.block
		}
		if full {
			e.advance()
			for k := range e.channels {
				e.channels[k].filled = 0
				e.filter(&e.channels[k])
			}
		}
	}
}

// advance moves the gains to the end of the next block.
func (e *Embedder) advance() {
	e.old, e.now = e.now, e.old
	e.at++
	e.gainsAt(e.start())
	e.steady = true
	for i := range e.now {
		if e.now[i] != e.old[i] {
			e.steady = false
			break
		}
	}
}

// gainsAt fills now with the gain of each bin at a time in samples since the mark's beginning. Around a slot's edge the gains
// cross over 40 ms, as half a cosine.
func (e *Embedder) gainsAt(t int) {
	slot, within := t/e.slot, t%e.slot
	from, to, x := slot, slot, 0.0
	ramp := float64(e.slot) / 4 // on either side of the edge
	switch d := float64(within); {
	case d < ramp && slot > 0:
		from, x = slot-1, 0.5+0.5*d/ramp
	case d > 3*ramp:
		to, x = slot+1, 0.5*(d-3*ramp)/ramp
	}
	x = 0.5 - 0.5*math.Cos(math.Pi*x)
	for i := range e.now {
		e.now[i] = 1
	}
	for b := range e.bands {
		g := e.gain[b][(e.chip(from, b)+1)/2]
		if to != from {
			g += x * (e.gain[b][(e.chip(to, b)+1)/2] - g)
		}
		for i, m := range e.curve[b] {
			e.now[e.first[b]+i] += g * m
		}
	}
}

// chip is Sync.chip with the code's bytes of the tile at hand and the one before kept.
func (e *Embedder) chip(slot, band int) int8 {
	tile := slot / TileSlots
	if tile != e.tile && tile != e.tile-1 {
		if tile == e.tile+1 && e.tile >= 0 {
			e.before = e.byte
		} else if tile > 0 {
			e.code.Fill(e.before[:], tile-1)
		}
		e.code.Fill(e.byte[:], tile)
		e.tile = tile
	}
	b := e.byte[0]
	if tile != e.tile {
		b = e.before[0]
	}
	return e.sync.chip(slot, band, b)
}

// filter runs one block of a channel through the gains. The window's spectrum is multiplied by the gains of the block's beginning
// and end; one inverse transform gives both outputs, as real and imaginary part, between which the block fades.
func (e *Embedder) filter(c *channel) {
	n := e.fft.n
	copy(c.window, c.window[e.block:])
	silent := true
	for i, x := range c.in {
		c.window[n-e.block+i] = float64(x)
	}
	for _, x := range c.window {
		if x != 0 {
			silent = false
			break
		}
	}
	if silent {
		clear(c.out)
		return
	}
	copy(e.re, c.window)
	clear(e.im)
	e.fft.forward(e.re, e.im)
	scale := 1 / float64(n)
	for k := 0; k <= n/2; k++ {
		a, b := e.old[k]*scale, e.now[k]*scale
		// Y = X·(a + ib), where X and the gains are those of real signals.
		xr, xi := e.re[k], e.im[k]
		e.re[k], e.im[k] = xr*a-xi*b, xi*a+xr*b
		if k > 0 && k < n/2 {
			e.re[n-k], e.im[n-k] = xr*a+xi*b, xr*b-xi*a
		}
	}
	e.fft.backward(e.re, e.im)
	first := n - e.half - e.block
	for i := range c.out {
		y := e.re[first+i]
		if !e.steady {
			y += (e.im[first+i] - y) * (float64(i) / float64(e.block))
		}
		c.out[i] = float32(limit(y))
	}
}

// limit bends what comes near full scale, because a band turned up may carry a peak beyond it.
func limit(y float64) float64 {
	const knee = 0.9
	switch {
	case y > knee:
		return knee + (1-knee)*math.Tanh((y-knee)/(1-knee))
	case y < -knee:
		return -knee - (1-knee)*math.Tanh((-y-knee)/(1-knee))
	}
	return y
}
