package watermark_test

import (
	"context"
	"math"
	"testing"

	"conclave/watermark"
)

// TestInnocentLegsScoreAsTheBoundSays looks for 10⁵ legs that were not there, in speech without a mark and in speech with
// another's. The bound is for a whole search: of the searches, at most the share x may come out below x. With so many that is
// shown for x down to a tenth; that nobody at all comes near 10⁻⁶ is what 10⁵ legs can show of the rest.
func TestInnocentLegsScoreAsTheBoundSays(t *testing.T) {
	clips, each := 50, 1000
	if testing.Short() {
		clips = 10
	}
	plain := speech(t, "fr", 150, watermark.Rate)
	other := marked(t, plain, watermark.Rate, 1<<30)
	suspects := legs(t, each, 600)
	for name, sound := range map[string][]float32{"no mark": plain, "another's mark": other} {
		var below [3]int // 0.5, 0.1, 0.001
		for i := range clips {
			clip := sound[i*2*watermark.Rate:][:5*watermark.Rate]
			r, err := watermark.Search{Sync: syncOf(t, 1), Suspects: suspects, Workers: 2}.Run(context.Background(), clip)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Named) > 0 {
				t.Errorf("%s: an innocent leg is named: %+v", name, r.Named[0])
			}
			least := 0.0
			for _, f := range append(r.Named, r.Others...) {
				least = min(least, f.LogP)
			}
			for k, x := range [...]float64{0.5, 0.1, 0.001} {
				if least < math.Log(x) {
					below[k]++
				}
			}
		}
		t.Logf("%s: %d searches of %d legs; bound below 0.5: %d, 0.1: %d, 0.001: %d", name, clips, each, below[0], below[1], below[2])
		// Four standard deviations above what the bound allows.
		for k, x := range [...]float64{0.5, 0.1, 0.001} {
			if n := float64(clips); float64(below[k]) > n*x+4*math.Sqrt(n*x*(1-x)) {
				t.Errorf("%s: %d of %d searches come out below %g", name, below[k], clips, x)
			}
		}
	}
}
