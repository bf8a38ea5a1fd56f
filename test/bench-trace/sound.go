package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

// voices are the folders of Debian's packages; the man's is lower in number, so he comes twice.
var voices = []string{"en_US_f_Allison", "fr_CA_f_June", "it_IT_m_Carlo", "it_IT_m_Carlo", "ru_RU_f_IvrvoiceRU"}

// meeting returns so many seconds of people talking, 48 kHz, as a client hears it: coded as Opus at 32 kbit/s. language
// is the beginning of a voice's folder, "" for all.
func meeting(seconds int, seed uint64, language string) ([]float32, error) {
	var files []string
	for _, v := range voices {
		if language == "" || v[:2] == language {
			found, _ := filepath.Glob(filepath.Join("/usr/share/asterisk/sounds", v, "*.g722"))
			files = append(files, found...)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no recorded speech: apt-get install asterisk-core-sounds-{en,fr,it,ru}-g722")
	}
	rng := rand.New(rand.NewPCG(seed, uint64(seconds)))
	var raw []byte
	for len(raw) < seconds*8000 {
		b, err := os.ReadFile(files[rng.IntN(len(files))])
		if err != nil {
			return nil, err
		}
		if len(b) > 8000 && len(b) < 160000 {
			raw = append(raw, b...)
		}
	}
	coded, err := ffmpeg(raw[:seconds*8000], "-f", "g722", "-i", "-", "-af", "dynaudnorm=p=0.35,volume=-6dB", "-ar", "48000", "-c:a", "libopus", "-b:a", "32k", "-vbr", "off", "-application", "voip", "-f", "ogg", "-")
	if err != nil {
		return nil, err
	}
	pcm, err := ffmpeg(coded, "-i", "-", "-f", "f32le", "-ar", "48000", "-ac", "1", "-")
	return floats(pcm), err
}

func ffmpeg(in []byte, args ...string) ([]byte, error) {
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-loglevel", "error"}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ffmpeg %v: %w: %s", args, err, stderr.Bytes())
	}
	return out.Bytes(), nil
}

func floats(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

func octets(v []float32) []byte {
	b := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
	}
	return b
}

// step takes 48-kHz sound to 16 kHz, or, in the middle of a chain, through 48 kHz again.
type step func(sound []float32) ([]float32, error)

// through encodes with ffmpeg's arguments into a format and decodes to 16 kHz.
func through(format string, encode ...string) step { return coded("16000", format, encode) }

// by is through, back to 48 kHz.
func by(format string, encode ...string) step { return coded("48000", format, encode) }

func coded(rate, format string, encode []string) step {
	return func(sound []float32) ([]float32, error) {
		args := append([]string{"-f", "f32le", "-ar", "48000", "-i", "-"}, encode...)
		if format == "m4a" {
			return viaFile(sound, rate, args, "out.m4a")
		}
		if format == "amr" {
			return amr(sound, rate)
		}
		b, err := ffmpeg(octets(sound), append(args, "-f", format, "-")...)
		if err != nil {
			return nil, err
		}
		in := []string{}
		if format == "gsm" || format == "codec2raw" {
			in = append(in, "-f", format)
			if format == "codec2raw" {
				in = append(in, "-mode", "3200")
			}
		}
		pcm, err := ffmpeg(b, append(in, "-i", "-", "-f", "f32le", "-ar", rate, "-ac", "1", "-")...)
		return floats(pcm), err
	}
}

// viaFile is for formats that cannot be written to a pipe.
func viaFile(sound []float32, rate string, args []string, name string) ([]float32, error) {
	dir, err := os.MkdirTemp("", "trace")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	name = filepath.Join(dir, name)
	if _, err := ffmpeg(octets(sound), append(args, name)...); err != nil {
		return nil, err
	}
	pcm, err := ffmpeg(nil, "-i", name, "-f", "f32le", "-ar", rate, "-ac", "1", "-")
	return floats(pcm), err
}

// amr is AMR at 12.2 kbit/s, for which sox has an encoder where ffmpeg has none.
func amr(sound []float32, rate string) ([]float32, error) {
	dir, err := os.MkdirTemp("", "trace")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	wav, err := ffmpeg(octets(sound), "-f", "f32le", "-ar", "48000", "-i", "-", "-ar", "8000", "-f", "wav", "-")
	if err != nil {
		return nil, err
	}
	in, out := filepath.Join(dir, "in.wav"), filepath.Join(dir, "out.amr-nb")
	if err := os.WriteFile(in, wav, 0o600); err != nil {
		return nil, err
	}
	if b, err := exec.Command("sox", in, "-C", "7", out).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("sox: %w: %s", err, b)
	}
	// ffmpeg leaves out the frames in which nothing was sent; sox fills them, as a phone does.
	back := filepath.Join(dir, "back.wav")
	if b, err := exec.Command("sox", out, back).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("sox: %w: %s", err, b)
	}
	pcm, err := ffmpeg(nil, "-i", back, "-f", "f32le", "-ar", rate, "-ac", "1", "-")
	return floats(pcm), err
}

// filtered is ffmpeg's filters, to 16 kHz.
func filtered(filters string) step { return through("wav", "-af", filters, "-c:a", "pcm_s16le") }

// chain runs steps one after the other.
func chain(steps ...step) step {
	return func(sound []float32) ([]float32, error) {
		for _, s := range steps {
			var err error
			if sound, err = s(sound); err != nil {
				return nil, err
			}
		}
		return sound, nil
	}
}

// noise adds noise at so many decibels below the speech, white or pink.
func noise(db float64, pink bool) step {
	return func(sound []float32) ([]float32, error) {
		rng := rand.New(rand.NewPCG(4, 4))
		added := make([]float64, len(sound))
		var b0, b1, b2 float64
		for i := range added {
			w := rng.NormFloat64()
			if pink {
				// Paul Kellet's filter.
				b0, b1, b2 = 0.99765*b0+w*0.0990460, 0.96300*b1+w*0.2965164, 0.57000*b2+w*1.0526913
				w = b0 + b1 + b2 + w*0.1848
			}
			added[i] = w
		}
		return mix(sound, added, db, !pink), nil
	}
}

// mix adds sound of so many decibels below the first. inBand counts only the part below 8 kHz of what is white up to 24.
func mix(sound []float32, added []float64, db float64, inBand bool) []float32 {
	var s, n float64
	for i := range sound {
		s += float64(sound[i]) * float64(sound[i])
		n += added[i] * added[i]
	}
	if inBand {
		n /= 3
	}
	gain := math.Sqrt(s/(n+1e-20)) * math.Pow(10, -db/20)
	out := make([]float32, len(sound))
	for i := range out {
		out[i] = sound[i] + float32(gain*added[i])
	}
	return out
}

// dropouts leaves 100 ms out of each second, at a place of its own.
func dropouts(sound []float32) ([]float32, error) {
	rng := rand.New(rand.NewPCG(5, 5))
	out := append([]float32(nil), sound...)
	for at := 0; at+48000 <= len(out); at += 48000 {
		clear(out[at+rng.IntN(43200):][:4800])
	}
	return out, nil
}

// room is a loudspeaker in a room with a reverberation time, in seconds, and noise 25 dB below: exponentially fading noise, the
// direct sound as strong as the rest.
func room(rt60 float64) step {
	return func(sound []float32) ([]float32, error) {
		rng := rand.New(rand.NewPCG(8, 8))
		const rate = 48000
		taps := make([]float32, int(rt60*rate))
		energy := 0.0
		for i := range taps {
			x := rng.NormFloat64() * math.Pow(10, -3*float64(i)/rate/rt60)
			if i < rate/200 {
				x = 0
			}
			taps[i] = float32(x)
			energy += x * x
		}
		scale := float32(1 / math.Sqrt(energy))
		for i := range taps {
			taps[i] *= scale
		}
		taps[0] = 1
		// A small loudspeaker has no low tones.
		b, err := ffmpeg(octets(sound), "-f", "f32le", "-ar", "48000", "-i", "-", "-af", "highpass=f=250,volume=0.5", "-f", "f32le", "-ar", "48000", "-")
		if err != nil {
			return nil, err
		}
		return noise(25, true)(convolve(floats(b), taps))
	}
}

// convolve filters sound with taps, block by block. The answer is as long as the sound.
func convolve(sound, taps []float32) []float32 {
	size := 2
	for size < 2*len(taps) {
		size *= 2
	}
	filter, block := make([]complex128, size), make([]complex128, size)
	for i, x := range taps {
		filter[i] = complex(float64(x), 0)
	}
	fourier(filter)
	out := make([]float32, len(sound))
	for at := 0; at < len(sound); at += size - len(taps) + 1 {
		clear(block)
		for i, x := range sound[at:min(at+size-len(taps)+1, len(sound))] {
			block[i] = complex(float64(x), 0)
		}
		fourier(block)
		for i, f := range filter {
			block[i] = cmplx.Conj(block[i] * f) // the transform of the conjugate is the inverse
		}
		fourier(block)
		for i := range min(size, len(sound)-at) {
			out[at+i] += float32(real(block[i]) / float64(size))
		}
	}
	return out
}

// fourier transforms a power-of-two number of values in place.
func fourier(x []complex128) {
	n := len(x)
	for i, j := 1, 0; i < n; i++ {
		bit := n >> 1
		for ; j&bit != 0; bit >>= 1 {
			j ^= bit
		}
		if j ^= bit; i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	for size := 2; size <= n; size *= 2 {
		for k := range size / 2 {
			w := cmplx.Rect(1, -2*math.Pi*float64(k)/float64(size))
			for i := k; i < n; i += size {
				a, b := x[i], w*x[i+size/2]
				x[i], x[i+size/2] = a+b, a-b
			}
		}
	}
}

// music puts chords of a few changing tones with overtones beneath, and a beat.
func music(db float64) step {
	return func(sound []float32) ([]float32, error) {
		rng := rand.New(rand.NewPCG(6, 6))
		added := make([]float64, len(sound))
		const beat = 24000
		for at := 0; at < len(added); at += beat {
			for range 4 {
				f := 110 * math.Pow(2, float64(rng.IntN(30))/12)
				for i := 0; i < 2*beat && at+i < len(added); i++ {
					t := float64(i) / 48000
					env := math.Exp(-3*t) * (1 - math.Exp(-200*t))
					for h := 1.0; h < 7; h++ {
						added[at+i] += env / h * math.Sin(2*math.Pi*f*h*t)
					}
				}
			}
			for i := 0; i < 4800 && at+i < len(added); i++ {
				added[at+i] += 0.7 * rng.NormFloat64() * math.Exp(-float64(i)/700)
			}
		}
		return mix(sound, added, db, false), nil
	}
}
