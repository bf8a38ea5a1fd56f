package watermark

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTheTransformIsTheSumItStandsFor(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, 4, 8, 32, 128, 256} {
		x, re, im := make([]complex128, n), make([]float64, n), make([]float64, n)
		for i := range x {
			re[i], im[i] = rng.NormFloat64(), rng.NormFloat64()
			x[i] = complex(re[i], im[i])
		}
		newFFT(n).forward(re, im)
		for k := range n {
			want := complex(0, 0)
			for j, v := range x {
				want += v * cmplx.Rect(1, -2*math.Pi*float64(j*k%n)/float64(n))
			}
			if cmplx.Abs(want-complex(re[k], im[k])) > 1e-9 {
				t.Fatalf("size %d, value %d: %g%+gi, want %g", n, k, re[k], im[k], want)
			}
		}
	}
}

// whole is whiten by the whole transform of a field, as it is defined.
func whole(f *field, bands int) []float64 {
	rows, cols := 1, 1
	for rows < f.frames {
		rows *= 2
	}
	for cols < bands {
		cols *= 2
	}
	re, im := make([]float64, rows*cols), make([]float64, rows*cols)
	for b := range bands {
		mean := 0.0
		for t := range f.frames {
			mean += float64(f.row(t)[b]) / float64(f.frames)
		}
		for t := range f.frames {
			re[t*cols+b] = float64(f.row(t)[b]) - mean
		}
	}
	transform := func(re, im []float64) {
		column, columnIm := make([]float64, rows), make([]float64, rows)
		for t := range rows {
			newFFT(cols).forward(re[t*cols:][:cols], im[t*cols:][:cols])
		}
		for b := range cols {
			for t := range rows {
				column[t], columnIm[t] = re[t*cols+b], im[t*cols+b]
			}
			newFFT(rows).forward(column, columnIm)
			for t := range rows {
				re[t*cols+b], im[t*cols+b] = column[t], columnIm[t]
			}
		}
	}
	transform(re, im)
	power := make([]float64, rows*cols)
	for i := range power {
		power[i] = re[i]*re[i] + im[i]*im[i]
	}
	smooth(power, rows, cols, 3, 1)
	smooth(power, rows, cols, 3, 1)
	mean := 0.0
	for _, x := range power {
		mean += x / float64(len(power))
	}
	for i, x := range power {
		re[i], im[i] = re[i]/(x+1e-6*mean), im[i]/(x+1e-6*mean)
	}
	transform(im, re)
	for i := range re {
		re[i] *= mean / float64(rows*cols)
	}
	return re
}

func TestHalfOfTheTransformWhitensLikeTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, c := range []struct{ frames, bands int }{{301, Bands}, {256, Bands}, {600, NarrowBands}, {7, NarrowBands}, {20, Bands}} {
		f := newField(c.frames, Bands)
		for i := range f.v {
			f.v[i] = float32(rng.NormFloat64() + 5*math.Sin(float64(i)/900))
		}
		got, want := whiten(f, c.bands), whole(f, c.bands)
		cols := len(want)
		for rows := 1; ; rows *= 2 {
			if rows >= c.frames {
				cols /= rows
				break
			}
		}
		for i := range c.frames {
			for b, x := range got.row(i) {
				if w := want[i*cols+b]; math.Abs(float64(x)-w) > 1e-5*(1+math.Abs(w)) {
					t.Fatalf("%d frames, %d bands: cell %d, %d is %g, want %g", c.frames, c.bands, i, b, x, w)
				}
			}
		}
	}
}

func TestTheRankedValueIsTheOneThatSortingWouldPutThere(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for n := 1; n < 200; n++ {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.IntN(1 + n/2)) // with many alike
		}
		sorted := slices.Sorted(slices.Values(v))
		for _, k := range []int{0, n / 10, n / 2, n - 1} {
			if got := ranked(slices.Clone(v), k); got != sorted[k] {
				t.Fatalf("place %d of %d: %g, want %g", k, n, got, sorted[k])
			}
		}
	}
}
