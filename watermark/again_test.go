package watermark_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"conclave/watermark"
)

// A member's microphone hears the loudspeaker of leg 1 beside it, and sends that sound on; leg 2 plays it, with its own mark on top,
// and that is what is recorded. Leg 2 is found, and it is the surest; that leg 1's mark is there as well is true, and nobody else's is.
func TestWhatAMicrophonePicksUpOfAnotherLegsSoundIsTracedToTheLegThatPlayedItLast(t *testing.T) {
	for _, far := range []float64{0.3, 1} { // reverberation in relation to the direct sound
		sound := marked(t, speech(t, "fr", 40, watermark.Rate), watermark.Rate, 1)
		sound = reverberant(sound, far)
		// The path through the room and the network takes a third of a second, in which leg 2's time goes on.
		recorded := marked(t, append(make([]float32, watermark.Rate/3), sound...), watermark.Rate, 2)
		r, err := watermark.Search{Sync: syncOf(t, 1), Suspects: legs(t, 50, 600), Workers: 2}.Run(context.Background(), recorded[watermark.Rate:][:30*watermark.Rate])
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Named {
			t.Logf("reverberation %g: leg %d with 10^%.0f", far, f.Suspect, f.LogP/math.Ln10)
			if f.Suspect != 1 && f.Suspect != 2 {
				t.Errorf("leg %d is named", f.Suspect)
			}
		}
		if len(r.Named) == 0 || r.Named[0].Suspect != 2 {
			t.Errorf("reverberation %g: the leg that was recorded is not the surest", far)
		}
	}
}

// reverberant is 16-kHz sound in a room with a reverberation time of 0.4 s, as strong as share of the direct sound.
func reverberant(sound []float32, share float64) []float32 {
	rng := rand.New(rand.NewPCG(8, 8))
	taps := make([]float64, 2*watermark.Rate/5)
	energy := 0.0
	for i := range taps {
		if i > watermark.Rate/200 && i%8 == 0 { // sparse: as good, and quick
			taps[i] = rng.NormFloat64() * math.Pow(10, -3*float64(i)/float64(len(taps)))
			energy += taps[i] * taps[i]
		}
	}
	out := make([]float32, len(sound))
	for i := range out {
		sum := float64(sound[i])
		for k := 8 * ((watermark.Rate/200)/8 + 1); k < len(taps) && k <= i; k += 8 {
			sum += taps[k] * math.Sqrt(share/energy) * float64(sound[i-k])
		}
		out[i] = float32(0.5 * sum)
	}
	return out
}
