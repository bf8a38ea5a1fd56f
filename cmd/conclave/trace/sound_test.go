package trace

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"conclave/watermark"
)

// riff puts a WAV file together: format, bits, channels at 48 kHz, and the sound's bytes.
func riff(tag, bits, channels int, sound []byte) []byte {
	le := binary.LittleEndian
	b := []byte("RIFF....WAVEJUNK\x03\x00\x00\x00abc\x00fmt \x10\x00\x00\x00")
	b = le.AppendUint16(b, uint16(tag))
	b = le.AppendUint16(b, uint16(channels))
	b = le.AppendUint32(b, 48000)
	b = le.AppendUint32(b, uint32(48000*channels*bits/8))
	b = le.AppendUint16(b, uint16(channels*bits/8))
	b = le.AppendUint16(b, uint16(bits))
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(len(sound)))
	return append(b, sound...)
}

func put(t *testing.T, name string, content []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func load(t *testing.T, name string) *Recording {
	t.Helper()
	r, err := Load(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// alone has no ffmpeg to be found.
func alone(t *testing.T) { t.Setenv("PATH", t.TempDir()) }

// coded has ffmpeg write sound in another way, and skips the test where there is none.
func coded(t *testing.T, from, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg on this machine, which makes the files of this test")
	}
	name = filepath.Join(t.TempDir(), name)
	args = append(append([]string{"-loglevel", "error", "-i", from}, args...), name)
	if b, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, b)
	}
	return name
}

// likeness is how well two sounds agree, at the best of some offsets: 1 is equal but for loudness.
func likeness(a, b []float32) float64 {
	best := 0.0
	for lag := -1500; lag <= 1500; lag++ {
		var ab, aa, bb float64
		for i := 2000; i < min(len(a), len(b), 20000)-2000; i++ {
			x, y := float64(a[i]), float64(b[i+lag])
			ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		}
		best = max(best, ab/math.Sqrt(aa*bb+1e-20))
	}
	return best
}

func TestG711IsDecodedAsTheRecommendationSays(t *testing.T) {
	for octet, want := range map[byte]float32{0xd5: 8, 0x55: -8, 0xaa: 32256, 0x2a: -32256} {
		if got := aLaw[octet] * 32768; got != want {
			t.Errorf("A-law %#02x is %g, want %g", octet, got, want)
		}
	}
	for octet, want := range map[byte]float32{0xff: 0, 0x7f: 0, 0x80: 32124, 0x00: -32124, 0xfe: 8, 0x7e: -8} {
		if got := muLaw[octet] * 32768; got != want {
			t.Errorf("µ-law %#02x is %g, want %g", octet, got, want)
		}
	}
}

func TestWAVOfAllKindsIsReadWithoutFFmpeg(t *testing.T) {
	alone(t)
	sound := murmur(3)
	le := binary.LittleEndian
	var s16, s24, f32, law, mu []byte
	nearest := func(table *[256]float32, x float32) byte {
		best := 0
		for i, v := range table {
			if math.Abs(float64(v-x)) < math.Abs(float64(table[best]-x)) {
				best = i
			}
		}
		return byte(best)
	}
	for _, x := range sound {
		v := int32(x * (1 << 23))
		s16 = le.AppendUint16(s16, uint16(int16(x*32767)))
		s24 = append(s24, byte(v), byte(v>>8), byte(v>>16))
		f32 = le.AppendUint32(f32, math.Float32bits(x))
		law, mu = append(law, nearest(&aLaw, x)), append(mu, nearest(&muLaw, x))
	}
	want := load(t, put(t, "a.wav", riff(wavPCM, 16, 1, s16)))
	endless := riff(wavPCM, 16, 1, s16)
	le.PutUint32(endless[len(endless)-len(s16)-4:], math.MaxUint32)
	copy(endless, "RF64")
	for name, b := range map[string][]byte{"24 bits": riff(wavPCM, 24, 1, s24), "float": riff(wavFloat, 32, 1, f32), "A-law": riff(wavALaw, 8, 1, law), "µ-law": riff(wavMuLaw, 8, 1, mu), "RF64": endless} {
		got := load(t, put(t, "b.wav", b))
		if got.ReadBy != "WAV" || got.Length() != want.Length() || likeness(got.mean, want.mean) < 0.999 {
			t.Errorf("%s: %v instead of %v, likeness %.4f", name, got.Length(), want.Length(), likeness(got.mean, want.mean))
		}
	}
}

func TestResamplingKeepsATone(t *testing.T) {
	for _, rate := range []int{8000, 16000, 44100, 48000, 11025, 96000} {
		c := new(channels)
		if err := c.start(rate, 1); err != nil {
			t.Fatal(err)
		}
		for at := 0; at < 2*rate; at += 1000 {
			block := make([]float32, 1000)
			for i := range block {
				block[i] = float32(math.Sin(2 * math.Pi * 1000 * float64(at+i) / float64(rate)))
			}
			if err := c.add(block); err != nil {
				t.Fatal(err)
			}
		}
		got := c.recording().mean
		for i := 1000; i < 2*watermark.Rate-2000; i++ {
			if want := math.Sin(2 * math.Pi * 1000 * float64(i) / watermark.Rate); math.Abs(float64(got[i])-want) > 0.01 {
				t.Fatalf("%d Hz: sample %d is %g, want %g", rate, i, got[i], want)
			}
		}
	}
}

func TestDamagedAndUnusualOggIsReadWithoutFFmpeg(t *testing.T) {
	name := wav(t, murmur(6))
	stereo := coded(t, name, "a.ogg", "-ac", "2", "-c:a", "libopus", "-b:a", "96k", "-page_duration", "200000")
	decoded := coded(t, stereo, "a.wav")
	file, err := os.ReadFile(stereo)
	if err != nil {
		t.Fatal(err)
	}
	alone(t)
	want, whole := load(t, decoded), load(t, stereo)
	if whole.ReadBy != "Ogg/Opus" || whole.Damaged || likeness(whole.mean, want.mean) < 0.99 {
		t.Errorf("stereo: damaged %v, likeness %.3f", whole.Damaged, likeness(whole.mean, want.mean))
	}
	cut := load(t, put(t, "cut.ogg", file[:len(file)*2/3]))
	if d := cut.Length().Seconds(); !cut.Damaged || d < 3 || d > 5 {
		t.Errorf("cut off: %g s, damaged %v", d, cut.Damaged)
	}
	hurt := bytes.Clone(file)
	hurt[len(hurt)/2] ^= 0xff
	holed := load(t, put(t, "hole.ogg", hurt))
	if d := holed.Length().Seconds(); !holed.Damaged || d < 5.3 || d > 6.1 {
		t.Errorf("with a page lost: %g s, damaged %v", d, holed.Damaged)
	}
}

func TestMP3IsKnownByItsFrames(t *testing.T) {
	name := wav(t, murmur(4))
	plain := coded(t, name, "a.mp3", "-b:a", "64k", "-id3v2_version", "0", "-write_xing", "0")
	slow := coded(t, name, "b.mp3", "-ar", "8000", "-b:a", "16k")
	whole, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(whole)
	rng := mathrand.New(mathrand.NewPCG(2, 2))
	for i := len(broken) * 3 / 4; i < len(broken); i++ {
		if i%8 > 3 {
			broken[i] = byte(rng.Uint32())
		}
	}
	named := put(t, "recording", whole)
	if r := load(t, named); r.ReadBy != "MP3" || math.Abs(r.Length().Seconds()-4) > 0.2 {
		t.Errorf("without tag and name: %s, %v", r.ReadBy, r.Length())
	}
	if r := load(t, slow); r.ReadBy != "ffmpeg" {
		t.Errorf("8 kHz: read by %s", r.ReadBy)
	}
	damaged := put(t, "broken.mp3", broken)
	alone(t)
	if r := load(t, damaged); !r.Damaged || r.Length() < 2*time.Second || r.Length() > 3500*time.Millisecond {
		t.Errorf("damaged behind 3 s: %v, damaged: %v", r.Length(), r.Damaged)
	}
	if _, err := Load(context.Background(), slow); err == nil || !bytes.Contains([]byte(err.Error()), []byte("MPEG 2.5")) {
		t.Errorf("8 kHz without ffmpeg: %v", err)
	}
}

// TestTheChannelThatHasTheMarkIsRead puts the mark where the mean of both channels has none of it, or little.
func TestTheChannelThatHasTheMarkIsRead(t *testing.T) {
	h := newHouse(t, 5, time.Now())
	e, err := watermark.NewEmbedder(48000, 1, 0, h.sync, h.keys[2].Code())
	if err != nil {
		t.Fatal(err)
	}
	sound := murmur(24)
	e.Process(sound)
	sound = sound[4*48000:]
	legs, _, err := h.marks.Open(h.key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	rng := mathrand.New(mathrand.NewPCG(5, 5))
	for _, c := range []struct {
		name, way string
		other     func(x float32) float32
	}{
		{"the same", "", func(x float32) float32 { return x }},
		{"turned over", "the left channel", func(x float32) float32 { return -0.98 * x }},
		{"noise", "the left channel", func(float32) float32 { return 0.5 * float32(rng.NormFloat64()) }},
	} {
		var raw []byte
		for _, x := range sound {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(c.other(x)))
		}
		r := load(t, put(t, "stereo.wav", riff(wavFloat, 32, 2, raw)))
		found, way, err := Find(context.Background(), watermark.Search{Sync: h.sync, Suspects: Suspects(legs), Workers: 2}, r)
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Named) != 1 || found.Named[0].Suspect != 2 || way != c.way {
			t.Errorf("%s: read is %q, named are %v", c.name, way, fmt.Sprint(found.Named))
		}
	}
}

func TestTheWaysToReadARecordingShareTheBound(t *testing.T) {
	r := &Recording{mean: make([]float32, 10), side: make([]int16, 10)}
	share := 0.0
	for n := range r.Ways() {
		_, _, searches := r.Way(n)
		share += 1 / float64(searches)
	}
	if share > 1 {
		t.Errorf("the ways count for %g searches in all", share)
	}
}
