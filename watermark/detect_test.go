package watermark_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"

	"conclave/watermark"
)

// search looks for the first so many legs in sound of watermark.Rate.
func search(t testing.TB, sound []float32, n, seconds int) *watermark.Result {
	t.Helper()
	r, err := watermark.Search{Sync: syncOf(t, 1), Suspects: legs(t, n, seconds), Wide: true, Workers: 2}.Run(context.Background(), sound)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// names returns the legs that are named, in order.
func names(r *watermark.Result) []int {
	var list []int
	for _, f := range r.Named {
		list = append(list, f.Suspect)
	}
	slices.Sort(list)
	return list
}

func named(t *testing.T, r *watermark.Result, want ...int) {
	t.Helper()
	if got := names(r); !slices.Equal(got, want) {
		t.Errorf("named are %v, want %v; the others: %+v", got, want, r.Others)
	}
}

func TestTheLegIsNamedFromAFewSeconds(t *testing.T) {
	for language := range languages {
		sound := marked(t, speech(t, language, 120, watermark.Rate), watermark.Rate, 17)
		r := search(t, sound[61*watermark.Rate:71*watermark.Rate], 500, 120)
		named(t, r, 17)
		if len(r.Named) == 1 {
			p := r.Named[0].Pieces[0]
			if d := p.Began.Seconds() - 61; math.Abs(d) > 0.1 {
				t.Errorf("%s: the piece began at %v of the leg, want 61 s", language, p.Began)
			}
		}
	}
}

func TestSoundWithoutAMarkNamesNobody(t *testing.T) {
	r := search(t, speech(t, "fr", 30, watermark.Rate), 300, 600)
	named(t, r)
	if r.Marked() {
		t.Errorf("speech without a mark seems to have one: bound %g", r.SyncLogP)
	}
}

func TestAnotherOrganisationsMarkIsNotOurs(t *testing.T) {
	sound := marked(t, speech(t, "it", 30, watermark.Rate), watermark.Rate, 3)
	r, err := watermark.Search{Sync: syncOf(t, 2), Suspects: legs(t, 10, 30), Wide: true, Workers: 2}.Run(context.Background(), sound)
	if err != nil {
		t.Fatal(err)
	}
	named(t, r)
	if r.Marked() {
		t.Error("a mark of another organisation is taken for ours")
	}
}

func TestALegThatIsNotAmongTheSuspectsIsNotReplacedByAnother(t *testing.T) {
	sound := marked(t, speech(t, "en", 60, watermark.Rate), watermark.Rate, 1000)
	r := search(t, sound, 500, 60)
	named(t, r)
	if !r.Marked() {
		t.Error("the mark is not seen")
	}
}

func TestTwoLegsMixedAreBothNamed(t *testing.T) {
	sound := speech(t, "en", 75, watermark.Rate)
	one, two := marked(t, sound, watermark.Rate, 5), marked(t, sound, watermark.Rate, 9)
	mix := make([]float32, 60*watermark.Rate)
	for i := range mix {
		mix[i] = (one[i+9*watermark.Rate] + two[i+9*watermark.Rate]) / 2
	}
	named(t, search(t, mix, 200, 75), 5, 9)
}

func TestARecordingCutTogetherIsTraced(t *testing.T) {
	sound := marked(t, speech(t, "fr", 200, watermark.Rate), watermark.Rate, 7)
	var cut []float32
	for _, at := range []int{150, 20, 93, 61, 120, 8} {
		cut = append(cut, sound[at*watermark.Rate:(at+12)*watermark.Rate]...)
	}
	named(t, search(t, cut, 200, 200), 7)
}

func TestPiecesOfTwoSecondsAreTraced(t *testing.T) {
	sound := marked(t, speech(t, "it", 200, watermark.Rate), watermark.Rate, 7)
	rng := rand.New(rand.NewPCG(9, 9))
	var cut []float32
	for range 25 {
		at := rng.IntN(198 * watermark.Rate)
		cut = append(cut, sound[at:at+2*watermark.Rate]...)
	}
	r, err := watermark.Search{Sync: syncOf(t, 1), Suspects: legs(t, 200, 200), Workers: 2}.Run(context.Background(), cut)
	if err != nil {
		t.Fatal(err)
	}
	named(t, r, 7)
}

func TestASpeedFarOffIsFound(t *testing.T) {
	sound := marked(t, speech(t, "fr", 40, watermark.Rate), watermark.Rate, 7)
	r, err := watermark.Search{Sync: syncOf(t, 1), Suspects: legs(t, 200, 40), Far: true, Workers: 2}.Run(context.Background(), resample(sound[5*watermark.Rate:30*watermark.Rate], 1.12))
	if err != nil {
		t.Fatal(err)
	}
	named(t, r, 7)
	if len(r.Named) == 1 {
		if p := r.Named[0].Pieces[0]; math.Abs(p.Speed-1.12) > 0.002 || math.Abs(p.Pitch-1.12) > 0.01 {
			t.Errorf("the speed is %.4f and the pitch %.4f, want 1.12", p.Speed, p.Pitch)
		}
	}
}

func TestAChangedSpeedIsFound(t *testing.T) {
	sound := marked(t, speech(t, "en", 40, watermark.Rate), watermark.Rate, 7)
	fast := resample(sound[:31*watermark.Rate], 1.013)
	r := search(t, fast, 200, 40)
	named(t, r, 7)
	if len(r.Named) == 1 {
		if p := r.Named[0].Pieces[0]; math.Abs(p.Speed-1.013) > 0.002 || math.Abs(p.Pitch-1.013) > 0.005 {
			t.Errorf("the speed is %.4f and the pitch %.4f, want 1.013", p.Speed, p.Pitch)
		}
	}
}

// resample plays sound at another speed.
func resample(sound []float32, speed float64) []float32 {
	out := make([]float32, int(float64(len(sound)-2)/speed))
	for i := range out {
		x := float64(i) * speed
		k := int(x)
		f := float32(x - float64(k))
		out[i] = sound[k]*(1-f) + sound[k+1]*f
	}
	return out
}

func TestWhatCannotBeSearchedIsRefused(t *testing.T) {
	_, err := watermark.Search{Sync: syncOf(t, 1)}.Run(context.Background(), make([]float32, watermark.Rate))
	if !errors.Is(err, watermark.ErrShort) {
		t.Errorf("a second of sound: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := (watermark.Search{Sync: syncOf(t, 1)}).Run(ctx, make([]float32, 5*watermark.Rate)); !errors.Is(err, context.Canceled) {
		t.Errorf("a search that was called off: %v", err)
	}
	// Silence, and nobody to look for, are no reason to fail.
	r, err := watermark.Search{Sync: syncOf(t, 1), Wide: true}.Run(context.Background(), make([]float32, 5*watermark.Rate))
	if err != nil || r.Marked() {
		t.Errorf("silence: %v, %v", r, err)
	}
}

// TestNoiseCoversLessThanThePlainReadingsLose measures, over all voices, what knowing the noise gains: a twentieth of the
// score or more is a tenth of the length.
func TestNoiseCoversLessThanThePlainReadingsLose(t *testing.T) {
	for _, c := range []struct {
		name string
		db   float64
		gain float64
	}{{"none", 60, 0.99}, {"10 dB", 10, 1.03}, {"5 dB", 5, 1.05}} {
		var searched, plain float64
		for language := range languages {
			const began = 3 * watermark.Rate
			sound := marked(t, speech(t, language, 18, watermark.Rate), watermark.Rate, 17)
			energy, rng := 0.0, rand.New(rand.NewPCG(4, 4))
			for _, x := range sound {
				energy += float64(x) * float64(x)
			}
			size := math.Sqrt(energy/float64(len(sound))) * math.Pow(10, -c.db/20)
			for i := range sound {
				sound[i] += float32(size * rng.NormFloat64())
			}
			s, p := watermark.Fits(syncOf(t, 1), key(t, 17).Code(), sound[began:], began)
			searched, plain = searched+s, plain+p
		}
		t.Logf("noise %s: %.2f searched, %.2f plain", c.name, searched/4, plain/4)
		if searched < c.gain*plain {
			t.Errorf("noise %s: the readings that are searched score %.2f, the plain ones %.2f", c.name, searched/4, plain/4)
		}
	}
}

// A codec for telephones does more damage to one band than to another; the pilots tell.
func TestBandsThatACodecSpoiledWeighLess(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg on this machine, which has GSM")
	}
	var searched, plain float64
	for language := range languages {
		sound := marked(t, speech(t, language, 14, watermark.Rate), watermark.Rate, 3)
		var raw []byte
		for _, x := range sound {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		gsm := ffmpeg(t, raw, "-f", "f32le", "-ar", itoa(watermark.Rate), "-i", "-", "-ar", "8000", "-c:a", "libgsm", "-f", "gsm", "-")
		heard := floats(ffmpeg(t, gsm, "-f", "gsm", "-i", "-", "-f", "f32le", "-ac", "1", "-ar", itoa(watermark.Rate), "-"))
		a, b := watermark.Fits(syncOf(t, 1), key(t, 3).Code(), heard[2*watermark.Rate:][:12*watermark.Rate], 2*watermark.Rate)
		t.Logf("%s: %.2f searched, %.2f plain", language, a, b)
		searched, plain = searched+a/4, plain+b/4
	}
	if searched < 1.05*plain {
		t.Errorf("after GSM the score is %.2f, that of plain readings %.2f", searched, plain)
	}
}
