package watermark_test

import (
	"math"
	"testing"

	"conclave/watermark"
)

var rates = []int{8000, 16000, 24000, 44100, 48000}

func TestSilenceStaysSilent(t *testing.T) {
	for _, rate := range rates {
		for i, x := range marked(t, make([]float32, rate), rate, 1) {
			if x != 0 {
				t.Fatalf("at %d Hz sample %d of silence is %g", rate, i, x)
			}
		}
	}
}

func TestTheDelayIsTenMilliseconds(t *testing.T) {
	for _, rate := range rates {
		e, err := watermark.NewEmbedder(rate, 1, 0, syncOf(t, 1), key(t, 1).Code())
		if err != nil {
			t.Fatal(err)
		}
		click := make([]float32, rate)
		click[rate/2] = 0.5
		e.Process(click)
		at := 0
		for i, x := range click {
			if math.Abs(float64(x)) > math.Abs(float64(click[at])) {
				at = i
			}
		}
		if at-rate/2 != e.Delay() {
			t.Errorf("at %d Hz a click comes %d samples late, said was %d", rate, at-rate/2, e.Delay())
		}
		if ms := 1000 * float64(e.Delay()) / float64(rate); ms > 12 {
			t.Errorf("at %d Hz the delay is %.1f ms", rate, ms)
		}
	}
}

func TestTheSizeOfCallsIsOfNoAccount(t *testing.T) {
	sound := speech(t, "en", 2, 48000)
	whole := marked(t, sound, 48000, 1)
	e, err := watermark.NewEmbedder(48000, 1, 0, syncOf(t, 1), key(t, 1).Code())
	if err != nil {
		t.Fatal(err)
	}
	parts := append([]float32(nil), sound...)
	for n, rest := 1, parts; len(rest) > 0; n = n*7%953 + 1 {
		n = min(n, len(rest))
		e.Process(rest[:n])
		rest = rest[n:]
	}
	for i := range whole {
		if whole[i] != parts[i] {
			t.Fatalf("sample %d is %g and in parts %g", i, whole[i], parts[i])
		}
	}
}

func TestALateBeginningIsTheSameMark(t *testing.T) {
	sound := speech(t, "en", 3, 16000)
	whole := marked(t, sound, 16000, 1)
	const from = 64 * 300
	e, err := watermark.NewEmbedder(16000, 1, from, syncOf(t, 1), key(t, 1).Code())
	if err != nil {
		t.Fatal(err)
	}
	late := append([]float32(nil), sound[from:]...)
	e.Process(late)
	for i := 2000; i < len(late); i++ {
		if math.Abs(float64(late[i]-whole[from+i])) > 1e-6 {
			t.Fatalf("sample %d is %g, was %g", i, late[i], whole[from+i])
		}
	}
}

func TestChannelsAreMarkedAlike(t *testing.T) {
	sound := speech(t, "fr", 2, 44100)
	one := marked(t, sound, 44100, 1)
	e, err := watermark.NewEmbedder(44100, 2, 0, syncOf(t, 1), key(t, 1).Code())
	if err != nil {
		t.Fatal(err)
	}
	both := make([]float32, 2*len(sound))
	for i, x := range sound {
		both[2*i], both[2*i+1] = x, -x/2
	}
	e.ProcessAll(both)
	for i, x := range one {
		if both[2*i] != x || math.Abs(float64(both[2*i+1]+x/2)) > 0.05 {
			t.Fatalf("sample %d is %g and %g, alone %g", i, both[2*i], both[2*i+1], x)
		}
	}
}

func TestWhatLiesOutsideTheBandsPasses(t *testing.T) {
	for _, hertz := range []float64{60, 100, 9000, 15000} {
		tone := make([]float32, 48000)
		for i := range tone {
			tone[i] = float32(0.3 * math.Sin(2*math.Pi*hertz*float64(i)/48000))
		}
		e, err := watermark.NewEmbedder(48000, 1, 0, syncOf(t, 1), key(t, 1).Code())
		if err != nil {
			t.Fatal(err)
		}
		out := append([]float32(nil), tone...)
		e.Process(out)
		for i := 4800; i < len(out); i++ {
			if math.Abs(float64(out[i]-tone[i-e.Delay()])) > 0.003 {
				t.Fatalf("a tone of %.0f Hz changes at sample %d from %g to %g", hertz, i, tone[i-e.Delay()], out[i])
			}
		}
	}
}

func TestLoudSoundStaysWithinFullScale(t *testing.T) {
	sound := speech(t, "it", 3, 48000)
	for i := range sound {
		sound[i] = max(-1, min(1, sound[i]*20))
	}
	for i, x := range marked(t, sound, 48000, 1) {
		if x > 1 || x < -1 || x != x {
			t.Fatalf("sample %d is %g", i, x)
		}
	}
}

func TestMarkingDoesNotAllocate(t *testing.T) {
	e, err := watermark.NewEmbedder(48000, 1, 0, syncOf(t, 1), key(t, 1).Code())
	if err != nil {
		t.Fatal(err)
	}
	frame := speech(t, "en", 1, 48000)[:960]
	if n := testing.AllocsPerRun(500, func() { e.Process(frame) }); n != 0 {
		t.Errorf("marking 20 ms allocates %.1f times", n)
	}
}

func TestOddRatesAreRefused(t *testing.T) {
	for _, rate := range []int{0, -1, 7999, 44101, 400000} {
		if _, err := watermark.NewEmbedder(rate, 1, 0, syncOf(t, 1), key(t, 1).Code()); err == nil {
			t.Errorf("a rate of %d Hz is taken", rate)
		}
	}
}

func BenchmarkMark48000(b *testing.B) {
	e, err := watermark.NewEmbedder(48000, 1, 0, syncOf(b, 1), key(b, 1).Code())
	if err != nil {
		b.Fatal(err)
	}
	frame := speech(b, "en", 1, 48000)[:960]
	work := make([]float32, len(frame))
	b.ReportAllocs()
	for b.Loop() {
		copy(work, frame)
		e.Process(work)
	}
	b.ReportMetric(0.02/(b.Elapsed().Seconds()/float64(b.N)), "x-real-time")
}
