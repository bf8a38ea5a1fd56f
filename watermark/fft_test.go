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

func TestTwoFieldsWhitenedAtOnceComeOutAsEachAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	f, g := newField(301, Bands), newField(301, Bands)
	for i := range f.v {
		f.v[i], g.v[i] = float32(10*rng.NormFloat64()), float32(rng.NormFloat64()+math.Sin(float64(i)/900))
	}
	bothF, bothG := whiten(f, g, Bands)
	aloneF, _ := whiten(f, nil, Bands)
	aloneG, _ := whiten(g, nil, Bands)
	for i := range f.v {
		if math.Abs(float64(bothF.v[i]-aloneF.v[i])) > 1e-4 || math.Abs(float64(bothG.v[i]-aloneG.v[i])) > 1e-4 {
			t.Fatalf("cell %d: %g and %g at once, %g and %g alone", i, bothF.v[i], bothG.v[i], aloneF.v[i], aloneG.v[i])
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
