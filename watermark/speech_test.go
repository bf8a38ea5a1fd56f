package watermark_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"conclave/watermark"
)

// sounds is where Debian's packages asterisk-core-sounds-*-g722 put people's voices.
const sounds = "/usr/share/asterisk/sounds"

// languages are the folders of one voice each: three women and a man.
var languages = map[string]string{"en": "en_US_f_Allison", "fr": "fr_CA_f_June", "it": "it_IT_m_Carlo", "ru": "ru_RU_f_IvrvoiceRU"}

// speech returns so many seconds of people talking, of a rate; without the packages or ffmpeg, of something like it.
func speech(t testing.TB, language string, seconds, rate int) []float32 {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(sounds, languages[language], "*.g722"))
	if _, err := exec.LookPath("ffmpeg"); err != nil || len(files) == 0 {
		t.Logf("no recorded speech on this machine (asterisk-core-sounds-%s-g722 and ffmpeg): it is made up", language)
		return babble(seconds, rate)
	}
	rng := rand.New(rand.NewPCG(1, uint64(seconds)))
	var raw []byte
	for len(raw) < seconds*8000 {
		b, err := os.ReadFile(files[rng.IntN(len(files))])
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 8000 && len(b) < 160000 {
			raw = append(raw, b...)
		}
	}
	pcm := ffmpeg(t, raw[:seconds*8000], "-f", "g722", "-i", "-", "-f", "f32le", "-ac", "1", "-ar", itoa(rate), "-")
	return floats(pcm)
}

// babble is noise in the shape of syllables: levels that rise and fall in bands, over a hum of changing pitch.
func babble(seconds, rate int) []float32 {
	rng := rand.New(rand.NewPCG(3, 3))
	out := make([]float32, seconds*rate)
	var phase, low, pitch, level, want float64
	pitch, want = 140, 0.2
	for i := range out {
		if i%(rate/6) == 0 {
			want, pitch = rng.Float64()*rng.Float64(), 100+120*rng.Float64()
		}
		level += (want - level) * 30 / float64(rate)
		phase += pitch / float64(rate)
		if phase >= 1 {
			phase--
			low += 1
		}
		low += (rng.NormFloat64()*0.15 - low) * 0.35 * 48000 / float64(rate) * 0.3
		out[i] = float32(0.4 * level * low)
	}
	return out
}

func itoa(n int) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

func ffmpeg(t testing.TB, in []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-loglevel", "error"}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg %v: %v: %s", args, err, stderr.Bytes())
	}
	return out.Bytes()
}

func floats(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

// key returns the key of a numbered leg.
func key(t testing.TB, n int) *watermark.Key {
	t.Helper()
	b := make([]byte, watermark.KeySize)
	binary.BigEndian.PutUint64(b, uint64(n))
	k, err := watermark.NewKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func syncOf(t testing.TB, b byte) *watermark.Sync {
	t.Helper()
	s, err := watermark.NewSync(bytes.Repeat([]byte{b}, watermark.SyncSize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// marked returns sound as a leg plays it.
func marked(t testing.TB, sound []float32, rate, leg int) []float32 {
	t.Helper()
	e, err := watermark.NewEmbedder(rate, 1, 0, syncOf(t, 1), key(t, leg).Code())
	if err != nil {
		t.Fatal(err)
	}
	out := append([]float32(nil), sound...)
	e.Process(out)
	return out
}

// legs returns the suspects 0 to n, who were in for so many seconds.
func legs(t testing.TB, n, seconds int) []watermark.Suspect {
	t.Helper()
	list := make([]watermark.Suspect, n)
	for i := range list {
		list[i] = watermark.Suspect{Code: key(t, i).Code(), Tiles: seconds*25/8 + 8}
	}
	return list
}
