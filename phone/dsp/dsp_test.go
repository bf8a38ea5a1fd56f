package dsp

import (
	"math"
	"testing"
)

// sine returns so many frames of a sine.
func sine(hz, peak float64, frames int) []Frame {
	out := make([]Frame, frames)
	for i := range frames * FrameSamples {
		out[i/FrameSamples][i%FrameSamples] = int16(peak * math.Sin(2*math.Pi*hz*float64(i)/Rate))
	}
	return out
}

// level returns the root mean square of samples, in dB under that of a sine of peak.
func level(samples []int16, peak float64) float64 {
	sum := 1e-9
	for _, s := range samples {
		sum += float64(s) * float64(s)
	}
	return 20 * math.Log10(math.Sqrt(sum/float64(len(samples)))/(peak/math.Sqrt2))
}

func TestATelephonesBandPassesBothWaysAndNothingElse(t *testing.T) {
	for _, c := range []struct {
		rate     int
		hz       float64
		min, max float64 // dB, down and up again
	}{
		{8000, 300, -0.3, 0.3}, {8000, 1000, -0.3, 0.3}, {8000, 3000, -1, 0.3}, {8000, 3400, -6, 0.3},
		{8000, 4600, -300, -45}, {8000, 6000, -300, -60}, {8000, 15000, -300, -60},
		{16000, 300, -0.3, 0.3}, {16000, 6000, -1, 0.3}, {16000, 7000, -6, 0.3}, {16000, 9200, -300, -45}, {16000, 15000, -300, -60},
	} {
		down, up := NewDownsampler(c.rate), NewUpsampler(c.rate)
		var out []int16
		for _, f := range sine(c.hz, 10000, 50) {
			low := down.Append(nil, &f)
			if len(low) != c.rate/50 {
				t.Fatalf("%d samples at %d Hz", len(low), c.rate)
			}
			out = up.Append(out, low)
		}
		if len(out) != 50*FrameSamples {
			t.Fatalf("%d samples", len(out))
		}
		got := level(out[4800:], 10000)
		t.Logf("%d Hz through %d Hz: %.1f dB", int(c.hz), c.rate, got)
		if got < c.min || got > c.max {
			t.Errorf("%d Hz through %d Hz: %.1f dB, want %.1f to %.1f", int(c.hz), c.rate, got, c.min, c.max)
		}
	}
}

func TestImagesOfTheBandAreGone(t *testing.T) {
	// 3 kHz at a rate of 8 kHz has its first image at 5 kHz.
	up := NewUpsampler(8000)
	var out []int16
	for i := range 8000 {
		out = up.Append(out, []int16{int16(10000 * math.Sin(2*math.Pi*3000*float64(i)/8000))})
	}
	for _, hz := range []float64{5000, 11000, 13000, 19000, 21000} {
		var re, im float64
		for i, v := range out[4800:43200] {
			re += float64(v) * math.Cos(2*math.Pi*hz*float64(i)/Rate)
			im += float64(v) * math.Sin(2*math.Pi*hz*float64(i)/Rate)
		}
		if db := 20 * math.Log10(2*math.Hypot(re, im)/38400/10000+1e-9); db > -50 {
			t.Errorf("image at %.0f Hz: %.1f dB", hz, db)
		}
	}
}

func TestTheMixerAddsAndNeverOverloads(t *testing.T) {
	var m Mixer
	var out Frame
	a, b := sine(300, 9000, 50), sine(470, 9000, 50)
	for i := range a { // two voices that fit are added, sample by sample
		m.Add(&a[i])
		m.Add(&b[i])
		m.Mix(&out)
		for j := range out {
			if want := a[i][j] + b[i][j]; out[j] != want {
				t.Fatalf("frame %d sample %d is %d, want %d", i, j, out[j], want)
			}
		}
	}
	var loud []Frame
	for _, hz := range []float64{300, 470, 810, 1230, 1700} {
		loud = append(loud, sine(hz, 30000, 1)...)
	}
	for range 50 {
		for i := range loud {
			m.Add(&loud[i])
		}
		m.Mix(&out)
		for _, v := range out {
			if v > ceiling || v < -ceiling {
				t.Fatalf("a sample of %d", v)
			}
		}
	}
	flat := 0
	for _, v := range out {
		if v == ceiling || v == -ceiling {
			flat++
		}
	}
	if flat > 10 {
		t.Errorf("%d samples are cut flat: it was not turned down", flat)
	}
	quiet := sine(300, 5000, 50)
	for i := range quiet { // and it is turned up again within a second
		m.Add(&quiet[i])
		m.Mix(&out)
	}
	if out != quiet[49] {
		t.Error("still turned down a second later")
	}
}

func TestAQuietCallerIsTurnedUpAndALoudOneDownSlowly(t *testing.T) {
	for _, c := range []struct{ peak, min, max float64 }{{1000, 2, 4.1}, {3000, 0.9, 1.5}, {20000, 0.2, 0.35}} {
		var l Leveller
		frames := sine(400, c.peak, 1)
		pause := make([]Frame, 1)
		last, before := 0.0, 0.0
		for i := range 900 {
			f := frames[0]
			if i%30 >= 20 { // speech has pauses
				f = pause[0]
			}
			l.Level(&f)
			if i%30 < 20 {
				last = math.Pow(10, level(f[:], c.peak)/20)
				if i > 0 && before > 0 && (last > before*1.03 || last < before*0.6) {
					t.Fatalf("peak %.0f: from %.2f to %.2f within a frame", c.peak, before, last)
				}
				before = last
			}
		}
		if last < c.min || last > c.max {
			t.Errorf("peak %.0f: multiplied by %.2f, want %.2f to %.2f", c.peak, last, c.min, c.max)
		}
	}
	var l Leveller
	for range 500 { // noise alone is not turned up
		f := sine(400, 30, 1)[0]
		l.Level(&f)
		if v := level(f[:], 30); v > 0.5 {
			t.Fatalf("noise is turned up by %.1f dB", v)
		}
	}
}

func TestComfortNoiseIsSoftAndNeverStops(t *testing.T) {
	var n Noise
	var f Frame
	for range 1000 {
		n.Fill(&f)
		if db := level(f[:], 32768); db > -55 || db < -80 {
			t.Fatalf("comfort noise of %.1f dB", db)
		}
	}
}

func TestTonesSwellFadeAndEnd(t *testing.T) {
	for name, tones := range map[string][]Tone{"reminder": Reminder, "entered": Entered, "refusal": Refusal, "ringing": Ringing, "key": Key} {
		source, want, got := Tones(tones), 0, 0
		for _, tone := range tones {
			want += tone.Frames
		}
		var f Frame
		last := int16(0)
		for source.Next(&f) {
			got++
			for _, v := range f {
				if d := int(v) - int(last); d > 1200 || d < -1200 {
					t.Fatalf("%s clicks by %d", name, d)
				}
				last = v
			}
		}
		if got != want || last > 100 || last < -100 {
			t.Errorf("%s: %d frames, want %d; ends at %d", name, got, want, last)
		}
	}
}

func TestSourcesEnd(t *testing.T) {
	source, n := Sequence(Silence(3), PCM(make([]int16, FrameSamples+1)), Tones(Key)), 0
	for f := new(Frame); source.Next(f); n++ {
	}
	if n != 3+2+3 {
		t.Errorf("%d frames", n)
	}
}

func TestSoundIsMadeWithoutAllocation(t *testing.T) {
	var m Mixer
	var l Leveller
	var noise Noise
	var c Concealer
	f := sine(400, 5000, 1)[0]
	down, up := NewDownsampler(8000), NewUpsampler(8000)
	low, high := make([]int16, 0, 160), make([]int16, 0, FrameSamples)
	if n := testing.AllocsPerRun(100, func() {
		m.Add(&f)
		m.Mix(&f)
		l.Level(&f)
		noise.Fill(&f)
		c.Good(up.Append(high, down.Append(low, &f)))
		c.Conceal()
	}); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}
