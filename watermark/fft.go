package watermark

import (
	"math"
	"math/bits"
)

// fft is a complex Fourier transform of one size, a power of two. It may be used by several goroutines.
type fft struct {
	n        int
	cos, sin []float64 // exp(-2πi k/n), k < n/2
	swap     []int32
}

func newFFT(n int) *fft {
	f := &fft{n: n, cos: make([]float64, n/2), sin: make([]float64, n/2), swap: make([]int32, n)}
	for k := range f.cos {
		f.sin[k], f.cos[k] = math.Sincos(-2 * math.Pi * float64(k) / float64(n))
	}
	shift := 64 - bits.TrailingZeros(uint(n))
	for i := range f.swap {
		if n > 1 {
			f.swap[i] = int32(bits.Reverse64(uint64(i)) >> shift)
		}
	}
	return f
}

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
	for size := 2; size <= n; size *= 2 {
		half, step := size/2, n/size
		for start := 0; start < n; start += size {
			ar, ai := re[start:start+half], im[start:start+half]
			br, bi := re[start+half:start+size], im[start+half:start+size]
			for k := range ar {
				c, s := f.cos[k*step], f.sin[k*step]
				xr, xi := br[k]*c-bi[k]*s, br[k]*s+bi[k]*c
				br[k], bi[k] = ar[k]-xr, ai[k]-xi
				ar[k], ai[k] = ar[k]+xr, ai[k]+xi
			}
		}
	}
}

// backward is the inverse of forward without the division by n: exchanging real and imaginary part turns one into the other.
func (f *fft) backward(re, im []float64) { f.forward(im, re) }
