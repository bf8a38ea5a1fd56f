package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"conclave/phone/dsp"
)

// voice returns so many frames of a voice-like sound below 3 kHz.
func voice(frames int) []dsp.Frame {
	out := make([]dsp.Frame, frames)
	phase, n := 0.0, 0.0
	for i := range out {
		for j := range out[i] {
			t := n / dsp.Rate
			n++
			phase += 2 * math.Pi * (140 + 40*math.Sin(5.1*t) + 20*math.Sin(13.7*t)) / dsp.Rate
			v := 0.0
			for h := 1.0; h < 14; h++ {
				v += math.Sin(h*phase) / h * (1 + math.Sin(h*t*3.1))
			}
			out[i][j] = int16(3000 * v * (0.55 + 0.45*math.Sin(9.3*t)))
		}
	}
	return out
}

func encode(t testing.TB, c Codec, frames []dsp.Frame) [][]byte {
	t.Helper()
	e, err := NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var out [][]byte
	for i := range frames {
		p, err := e.Encode(nil, &frames[i])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func samples(frames []dsp.Frame) []int16 {
	var out []int16
	for i := range frames {
		out = append(out, frames[i][:]...)
	}
	return out
}

// similar returns the greatest correlation of a with b, shifted by up to 20 ms.
func similar(a, b []int16) (best float64, shift int) {
	for s := range dsp.FrameSamples {
		var ab, aa, bb float64
		for i := 4800; i+s < min(len(a), len(b)); i++ {
			x, y := float64(a[i]), float64(b[i+s])
			ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		}
		if c := ab / math.Sqrt(aa*bb+1); c > best {
			best, shift = c, s
		}
	}
	return best, shift
}

func TestWhatIsEncodedIsHeard(t *testing.T) {
	frames := voice(50)
	for _, c := range Preferred {
		d, err := NewDecoder(c)
		if err != nil {
			t.Fatal(err)
		}
		var heard []int16
		size := 0
		for _, p := range encode(t, c, frames) {
			pcm, err := d.Decode(p)
			if err != nil {
				t.Fatal(err)
			}
			if len(pcm) != dsp.FrameSamples {
				t.Fatalf("%s: %d samples", c.Name(), len(pcm))
			}
			heard = append(heard, pcm...)
			size = len(p)
		}
		got, shift := similar(samples(frames), heard)
		t.Logf("%s: correlation %.4f, %d bytes a frame, delay %.2f ms", c.Name(), got, size, float64(shift)/48)
		want := 0.995
		if c == Opus {
			want = 0.75 // does not keep the waveform of a buzz
		}
		if got < want {
			t.Errorf("%s: correlation %.4f", c.Name(), got)
		}
	}
}

// ffmpeg runs ffmpeg on a file of the given bytes and returns what it makes of them.
func ffmpeg(t *testing.T, input []byte, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is missing: scripts/need-test installs it")
	}
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, input, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, a := range args {
		if a == "IN" {
			args[i] = in
		}
	}
	var out, problems bytes.Buffer
	cmd := exec.Command(path, append([]string{"-nostdin", "-v", "error"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, problems.String())
	}
	return out.Bytes()
}

func toPCM(b []byte) []int16 {
	out := make([]int16, len(b)/2)
	for i := range out {
		out[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return out
}

func TestG711IsAsFFmpegHasIt(t *testing.T) {
	var octets, linears []byte
	for i := range 256 {
		octets = append(octets, byte(i))
	}
	for v := -32768; v <= 32767; v++ {
		linears = binary.LittleEndian.AppendUint16(linears, uint16(int16(v)))
	}
	for _, c := range []struct {
		codec  Codec
		name   string
		encode func(int16) uint8
	}{{PCMU, "mulaw", toMuLaw}, {PCMA, "alaw", toALaw}} {
		decoded := toPCM(ffmpeg(t, octets, "-f", c.name, "-ar", "8000", "-ac", "1", "-i", "IN", "-f", "s16le", "-"))
		if len(decoded) != 256 {
			t.Fatalf("%s: %d samples", c.name, len(decoded))
		}
		for i, want := range decoded {
			if got := linear[c.codec-PCMU][i]; got != want {
				t.Errorf("%s: octet %d is %d, ffmpeg says %d", c.name, i, got, want)
			}
		}
		// ffmpeg rounds to the nearest by a table of its own, we by the standard's decision values, which lie a little beside
		// the middle: near one of them the octets may differ, and then both are about as far from the sample.
		encoded := ffmpeg(t, linears, "-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "IN", "-f", c.name, "-")
		different := 0
		for i, theirs := range encoded {
			v := int16(i - 32768)
			ours := c.encode(v)
			table := &linear[c.codec-PCMU]
			ourError := abs(int(table[ours]) - int(v))
			theirError := abs(int(table[theirs]) - int(v))
			if ours != theirs {
				different++
			}
			if ourError > theirError+16+abs(int(v))/64 {
				t.Fatalf("%s: %d becomes %d, with ffmpeg %d", c.name, v, table[ours], table[theirs])
			}
		}
		t.Logf("%s: %d of 65536 samples are rounded otherwise than by ffmpeg", c.name, different)
		// Each octet's meaning becomes that octet again; µ-law has two zeros.
		for i := range 256 {
			if got := c.encode(linear[c.codec-PCMU][i]); linear[c.codec-PCMU][got] != linear[c.codec-PCMU][i] {
				t.Errorf("%s: octet %d comes back as %d", c.name, i, got)
			}
		}
	}
}

func abs(v int) int { return max(v, -v) }

func TestG722IsAsFFmpegHasIt(t *testing.T) {
	frames := voice(50)
	var payload []byte
	for _, p := range encode(t, G722, frames) {
		payload = append(payload, p...)
	}
	theirs := toPCM(ffmpeg(t, payload, "-f", "g722", "-i", "IN", "-f", "s16le", "-"))
	d := newG722Decoder()
	ours := make([]int16, 2*len(payload))
	ours = ours[:d.decoder.Decode(ours, payload)]
	differ := 0
	for i := range min(len(ours), len(theirs)) {
		if ours[i] != theirs[i] {
			differ++
		}
	}
	if len(ours) != len(theirs) || differ > 0 {
		t.Errorf("%d and %d samples, %d differ", len(ours), len(theirs), differ)
	}

	// And the other way: ffmpeg's bits, our ears.
	down := dsp.NewDownsampler(16000)
	var wide []byte
	for i := range frames {
		for _, s := range down.Append(nil, &frames[i]) {
			wide = binary.LittleEndian.AppendUint16(wide, uint16(s))
		}
	}
	bits := ffmpeg(t, wide, "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "IN", "-c:a", "g722", "-f", "g722", "-")
	var heard []int16
	d = newG722Decoder()
	for len(bits) >= 160 {
		pcm, err := d.Decode(bits[:160])
		if err != nil {
			t.Fatal(err)
		}
		heard = append(heard, pcm...)
		bits = bits[160:]
	}
	if c, _ := similar(samples(frames), heard); c < 0.995 {
		t.Errorf("ffmpeg's G.722: correlation %.4f", c)
	}
}

func TestAnyPayloadIsDecodedOrRefused(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 9))
	frames := voice(20)
	for _, c := range Preferred {
		good := encode(t, c, frames)
		d, err := NewDecoder(c)
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		const packets = 15000 // 60 000 with all four codecs
		for i := range packets {
			p := bytes.Clone(good[i%len(good)])
			switch i % 4 {
			case 0:
				for range 1 + random.IntN(8) {
					p[random.IntN(len(p))] ^= byte(1 + random.IntN(255))
				}
			case 1:
				p = p[:random.IntN(len(p)+1)]
			case 2:
				p = append(p, make([]byte, random.IntN(1600))...)
			case 3:
				for i := range p {
					p[i] = byte(random.Uint32())
				}
			}
			pcm, err := d.Decode(p)
			if err != nil {
				refused++
				if !errors.Is(err, ErrPayload) {
					t.Fatalf("%s: error %v", c.Name(), err)
				}
			}
			if len(pcm) > MaxSamples {
				t.Fatalf("%s: %d samples", c.Name(), len(pcm))
			}
			if i%10 == 0 {
				d.Conceal()
			}
		}
		if refused == 0 || refused > packets/2 {
			t.Errorf("%s: %d of %d mutated packets refused", c.Name(), refused, packets)
		}
		t.Logf("%s: %d mutated packets, %d refused", c.Name(), packets, refused)
	}
}

func TestALossIsConcealed(t *testing.T) {
	frames := voice(100)
	for _, c := range Preferred {
		// A loss of one packet in ten: how near is what is heard to what was decoded without loss?
		good := encode(t, c, frames)
		whole, _ := NewDecoder(c)
		lossy, _ := NewDecoder(c)
		var full, concealed, silent []int16
		for i, p := range good {
			pcm, err := whole.Decode(p)
			if err != nil {
				t.Fatal(err)
			}
			full = append(full, pcm...)
			if i%10 == 9 {
				concealed = append(concealed, lossy.Conceal()[:]...)
				silent = append(silent, make([]int16, dsp.FrameSamples)...)
				continue
			}
			if pcm, err = lossy.Decode(p); err != nil {
				t.Fatal(err)
			}
			concealed = append(concealed, pcm...)
			silent = append(silent, pcm...)
		}
		made, none := errorOf(full, concealed), errorOf(full, silent)
		t.Logf("%s: error %.1f dB below the sound, with silence %.1f dB", c.Name(), made, none)
		least := 1.0
		if c == Opus { // its decoder itself does not know of the loss, and takes a frame to find back
			least = 0.5
		}
		if made < none+least {
			t.Errorf("%s: concealed %.1f dB, silence %.1f dB", c.Name(), made, none)
		}
	}
}

// errorOf returns how far, in dB, the difference of two sounds lies below the first.
func errorOf(a, b []int16) float64 {
	var signal, noise float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		signal, noise = signal+float64(a[i])*float64(a[i]), noise+d*d
	}
	return 10 * math.Log10(signal/(noise+1))
}

func TestManyLostInARowFadeIntoSilence(t *testing.T) {
	frames := voice(20)
	d, _ := NewDecoder(PCMA)
	for _, p := range encode(t, PCMA, frames) {
		if _, err := d.Decode(p); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		f := d.Conceal()
		peak := int16(0)
		for _, v := range f {
			peak = max(peak, v)
		}
		if i == 0 && peak < 1000 || i > 4 && peak != 0 {
			t.Errorf("frame %d after the loss has peak %d", i, peak)
		}
	}
}

func TestCodecsAllocateNothing(t *testing.T) {
	f := voice(10)
	for _, c := range Preferred {
		e, err := NewEncoder(c)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		d, err := NewDecoder(c)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 0, 1500)
		n := testing.AllocsPerRun(50, func() {
			p, err := e.Encode(b, &f[3])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Decode(p); err != nil {
				t.Fatal(err)
			}
			d.Conceal()
		})
		// pion/opus allocates within itself.
		if c != Opus && n > 0 {
			t.Errorf("%s: %.0f allocations a frame", c.Name(), n)
		}
		t.Logf("%s: %.0f allocations a frame", c.Name(), n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range Preferred {
		for _, p := range encode(f, c, voice(3)) {
			f.Add(uint8(c), p)
		}
	}
	f.Fuzz(func(t *testing.T, c uint8, p []byte) {
		d, err := NewDecoder(Codec(c))
		if err != nil {
			return
		}
		for range 2 {
			pcm, err := d.Decode(p)
			if err != nil && !errors.Is(err, ErrPayload) || len(pcm) > MaxSamples {
				t.Fatal(err, len(pcm))
			}
			d.Conceal()
		}
	})
}

func BenchmarkLeg(b *testing.B) {
	frames := voice(50)
	for _, c := range Preferred {
		b.Run(c.Name(), func(b *testing.B) {
			e, err := NewEncoder(c)
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			d, err := NewDecoder(c)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			p := make([]byte, 0, 1500)
			for i := 0; b.Loop(); i++ {
				if p, err = e.Encode(p[:0], &frames[i%50]); err != nil {
					b.Fatal(err)
				}
				if _, err := d.Decode(p); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/200, "%core/leg")
		})
	}
}
