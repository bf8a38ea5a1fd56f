package dsp

import "math"

// The prototypes of the resamplers: windowed sincs at 48 kHz. A telephone's band ends at 3.4 kHz, G.722's at 7 kHz.
var (
	narrow = prototype(6, 24, 3650)
	wide   = prototype(3, 24, 7400)
)

// prototype returns a Kaiser-windowed low-pass of factor × taps coefficients for cutoff Hz (−6 dB) at 48 kHz.
func prototype(factor, taps int, cutoff float64) []float32 {
	const beta = 7.0 // −70 dB beyond the band
	n := factor * taps
	h := make([]float32, n)
	sum := 0.0
	for i := range h {
		x := float64(i) - float64(n-1)/2
		w := bessel(beta*math.Sqrt(1-math.Pow(2*x/float64(n-1), 2))) / bessel(beta)
		v := 2 * cutoff / Rate
		if x != 0 {
			v = math.Sin(2*math.Pi*cutoff/Rate*x) / (math.Pi * x)
		}
		h[i] = float32(v * w)
		sum += v * w
	}
	for i := range h {
		h[i] /= float32(sum)
	}
	return h
}

// bessel is the modified Bessel function of the first kind, order zero.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; k < 40; k++ {
		term *= x / (2 * k) * x / (2 * k)
		sum += term
	}
	return sum
}

// maxHistory is the length of the longest filter.
const maxHistory = 6 * 24

// Upsampler takes one stream from 8 or 16 kHz to 48 kHz. It delays by 12 samples of its input.
type Upsampler struct {
	factor  int
	phases  [][]float32 // phases[p][k] weighs the k-th newest input sample
	history [24]float32
}

// NewUpsampler returns an upsampler from rate, 8000 or 16000.
func NewUpsampler(rate int) *Upsampler {
	h, factor := narrow, 6
	if rate == 16000 {
		h, factor = wide, 3
	}
	u := &Upsampler{factor: factor, phases: make([][]float32, factor)}
	for i, v := range h {
		u.phases[i%factor] = append(u.phases[i%factor], v*float32(factor))
	}
	return u
}

// Append appends the 48 kHz samples for in to dst and returns the result.
func (u *Upsampler) Append(dst, in []int16) []int16 {
	for _, s := range in {
		copy(u.history[1:], u.history[:])
		u.history[0] = float32(s)
		for _, phase := range u.phases {
			sum := float32(0)
			for k, c := range phase {
				sum += c * u.history[k]
			}
			dst = append(dst, clamp(sum))
		}
	}
	return dst
}

// Downsampler takes one stream from 48 kHz to 8 or 16 kHz. It delays by 12 samples of its output.
type Downsampler struct {
	factor  int
	taps    []float32
	history [maxHistory]float32
	input   [maxHistory + FrameSamples]float32
}

// NewDownsampler returns a downsampler to rate, 8000 or 16000.
func NewDownsampler(rate int) *Downsampler {
	if rate == 16000 {
		return &Downsampler{factor: 3, taps: wide}
	}
	return &Downsampler{factor: 6, taps: narrow}
}

// Append appends the samples of one frame, 160 or 320, to dst and returns the result.
func (d *Downsampler) Append(dst []int16, f *Frame) []int16 {
	n := len(d.taps)
	copy(d.input[:n], d.history[:n])
	for i, s := range f {
		d.input[n+i] = float32(s)
	}
	for at := d.factor; at <= FrameSamples; at += d.factor {
		window := d.input[at : at+n]
		var a, b float32 // two sums: the additions need not wait for each other
		for k := 0; k+1 < n; k += 2 {
			a += d.taps[k] * window[k]
			b += d.taps[k+1] * window[k+1]
		}
		dst = append(dst, clamp(a+b))
	}
	copy(d.history[:n], d.input[FrameSamples:FrameSamples+n])
	return dst
}

func clamp(v float32) int16 {
	switch {
	case v >= math.MaxInt16:
		return math.MaxInt16
	case v <= math.MinInt16:
		return math.MinInt16
	case v < 0:
		return int16(v - 0.5)
	}
	return int16(v + 0.5)
}
