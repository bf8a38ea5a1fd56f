package watermark

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// fft is a complex Fourier transform of one size, a power of two. It may be used by several goroutines.
type fft struct {
	n      int
	swap   []int32
	stages []stage
}

// stage does two steps of doubling at once: parts of a quarter become one whole. The factors of each butterfly lie side by side.
type stage struct {
	quarter int
	w       []twiddle
}

// twiddle is exp(-2πi k/m) for k, 2k and 3k.
type twiddle struct{ c1, s1, c2, s2, c3, s3 float64 }

func newFFT(n int) *fft {
	f := &fft{n: n, swap: make([]int32, n)}
	shift := 64 - bits.TrailingZeros(uint(n))
	for i := range f.swap {
		if n > 1 {
			f.swap[i] = int32(bits.Reverse64(uint64(i)) >> shift)
		}
	}
	quarter := 1
	if bits.TrailingZeros(uint(n))%2 == 1 {
		quarter = 2 // the first step is one of two
	}
	for ; 4*quarter <= n; quarter *= 4 {
		s := stage{quarter: quarter, w: make([]twiddle, quarter)}
		for k := range s.w {
			a, w := -2*math.Pi*float64(k)/float64(4*quarter), &s.w[k]
			w.s1, w.c1 = math.Sincos(a)
			w.s2, w.c2 = math.Sincos(2 * a)
			w.s3, w.c3 = math.Sincos(3 * a)
		}
		f.stages = append(f.stages, s)
	}
	return f
}

// sharedFFT is newFFT, made once for a size.
func sharedFFT(n int) *fft {
	at := &ffts[bits.TrailingZeros(uint(n))]
	if f := at.Load(); f != nil {
		return f
	}
	f := newFFT(n)
	at.Store(f) // whoever else makes one at the same moment makes the same
	return f
}

var ffts [32]atomic.Pointer[fft] // by the size's power of two

// forward transforms in place: X[k] = Σ x[j] exp(-2πi jk/n).
func (f *fft) forward(re, im []float64) {
	n := f.n
	re, im = re[:n], im[:n]
	for i, j := range f.swap {
		if int(j) > i {
			re[i], re[j] = re[j], re[i]
			im[i], im[j] = im[j], im[i]
		}
	}
	if bits.TrailingZeros(uint(n))%2 == 1 {
		for i := 0; i+1 < n; i += 2 {
			re[i], re[i+1] = re[i]+re[i+1], re[i]-re[i+1]
			im[i], im[i+1] = im[i]+im[i+1], im[i]-im[i+1]
		}
	}
	for i := range f.stages {
		f.stages[i].run(re, im)
	}
}

// run takes four parts, which lie in the order of reversed bits (0, 2, 1, 3), to one.
func (s *stage) run(re, im []float64) {
	q := s.quarter
	if q == 1 {
		firstStage(re, im)
		return
	}
	for start := 0; start+4*q <= len(re); start += 4 * q {
		ar, br, cr, dr := re[start:][:q], re[start+q:][:q], re[start+2*q:][:q], re[start+3*q:][:q]
		ai, bi, ci, di := im[start:][:q], im[start+q:][:q], im[start+2*q:][:q], im[start+3*q:][:q]
		for k := range s.w[:q] {
			w := &s.w[k]
			b1, b2 := br[k]*w.c2-bi[k]*w.s2, br[k]*w.s2+bi[k]*w.c2
			c1, c2 := cr[k]*w.c1-ci[k]*w.s1, cr[k]*w.s1+ci[k]*w.c1
			d1, d2 := dr[k]*w.c3-di[k]*w.s3, dr[k]*w.s3+di[k]*w.c3
			// The even half is a ± b; the odd one c + d, and c - d turned by -90°.
			er, ei, fr, fi := ar[k]+b1, ai[k]+b2, ar[k]-b1, ai[k]-b2
			gr, gi, hr, hi := c1+d1, c2+d2, c1-d1, c2-d2
			ar[k], ai[k], cr[k], ci[k] = er+gr, ei+gi, er-gr, ei-gi
			br[k], bi[k], dr[k], di[k] = fr+hi, fi-hr, fr-hi, fi+hr
		}
	}
}

// firstStage is run where a quarter is one value, whose factors are all 1.
func firstStage(re, im []float64) {
	im = im[:len(re)]
	for i := 0; i+3 < len(re); i += 4 {
		r, m := re[i:i+4:i+4], im[i:i+4:i+4]
		er, ei, fr, fi := r[0]+r[1], m[0]+m[1], r[0]-r[1], m[0]-m[1]
		gr, gi, hr, hi := r[2]+r[3], m[2]+m[3], r[2]-r[3], m[2]-m[3]
		r[0], m[0], r[2], m[2] = er+gr, ei+gi, er-gr, ei-gi
		r[1], m[1], r[3], m[3] = fr+hi, fi-hr, fr-hi, fi+hr
	}
}

// backward is the inverse of forward without the division by n: exchanging real and imaginary part turns one into the other.
func (f *fft) backward(re, im []float64) { f.forward(im, re) }
