package opus

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tone is n samples of a sine at 48 kHz.
func tone(hz, amplitude float64, n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(amplitude * 32767 * math.Sin(2*math.Pi*hz*float64(i)/SampleRate))
	}
	return pcm
}

// strength is the share of pcm's power that lies at hz (Goertzel's algorithm): 1 for that sine alone.
func strength(pcm []int16, hz float64) float64 {
	c := 2 * math.Cos(2*math.Pi*hz/SampleRate)
	var a, b, power float64
	for _, s := range pcm {
		x := float64(s)
		a, b = x+c*a-b, a
		power += x * x
	}
	if power == 0 {
		return 0
	}
	return (a*a + b*b - c*a*b) * 2 / (power * float64(len(pcm)))
}

func encodeAll(t testing.TB, pcm []int16) [][]byte {
	t.Helper()
	return encodeWith(t, Config{}, pcm)
}

func encodeWith(t testing.TB, c Config, pcm []int16) [][]byte {
	t.Helper()
	e, err := NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var frames [][]byte
	for ; len(pcm) >= FrameSamples; pcm = pcm[FrameSamples:] {
		frame, err := e.Encode(nil, pcm[:FrameSamples])
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, frame)
	}
	return frames
}

func TestEveryFrameHasTheSameSizeWhateverIsSaid(t *testing.T) {
	noise := make([]int16, 50*FrameSamples)
	for i := range noise {
		noise[i] = int16(rand.IntN(1 << 16))
	}
	pcm := append(tone(440, 0.5, 50*FrameSamples), make([]int16, 50*FrameSamples)...)
	pcm = append(pcm, noise...)
	pcm = append(pcm, tone(3000, 0.01, 50*FrameSamples)...)
	for _, c := range []Config{{}, {Transform: true}} {
		for i, frame := range encodeWith(t, c, pcm) {
			if len(frame) != FrameBytes {
				t.Fatalf("%+v: frame %d has %d bytes, want %d", c, i, len(frame), FrameBytes)
			}
			if c.Transform && frame[0]>>3 < 16 { // RFC 6716, Table 2: from 16 on it is CELT alone
				t.Fatalf("frame %d is of configuration %d: speech's own model took part", i, frame[0]>>3)
			}
		}
	}
}

func TestAToneSurvivesTheRoundTrip(t *testing.T) {
	for _, c := range []Config{{}, {Transform: true}} {
		for _, hz := range []float64{300, 440, 1000, 2200} {
			decoder, err := NewDecoder()
			if err != nil {
				t.Fatal(err)
			}
			var heard []int16
			for _, frame := range encodeWith(t, c, tone(hz, 0.3, SampleRate)) {
				pcm, err := decoder.Decode(frame)
				if err != nil {
					t.Fatal(err)
				}
				heard = append(heard, pcm...)
			}
			heard = heard[SampleRate/10:]
			if s := strength(heard, hz); s < 0.9 {
				t.Errorf("%+v, %v Hz: share %.3f of what was heard, want over 0.9", c, hz, s)
			}
			if s := strength(heard, hz*1.5); s > 0.01 {
				t.Errorf("%+v, %v Hz: share %.3f at a frequency that was not played", c, hz, s)
			}
		}
	}
}

func TestEncodersDoNotShareState(t *testing.T) {
	pcm := tone(700, 0.4, 20*FrameSamples)
	want := encodeAll(t, pcm)
	a, _ := NewEncoder(Config{})
	b, _ := NewEncoder(Config{})
	defer a.Close()
	defer b.Close()
	for i, frame := range want {
		if _, err := b.Encode(nil, tone(float64(200+i), 0.9, FrameSamples)); err != nil {
			t.Fatal(err)
		}
		got, err := a.Encode(nil, pcm[i*FrameSamples:][:FrameSamples])
		if err != nil || !bytes.Equal(got, frame) {
			t.Fatalf("frame %d differs when another encoder runs beside (%v)", i, err)
		}
	}
}

func TestAnEncoderRefusesWhatItCannotDo(t *testing.T) {
	for _, c := range []Config{{Bitrate: 5999}, {Bitrate: 128400}, {Bitrate: 32001}, {Complexity: 11}, {Complexity: -1}} {
		if _, err := NewEncoder(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	e, err := NewEncoder(Config{Bitrate: 48000, Complexity: 1})
	if err != nil {
		t.Fatal(err)
	}
	if frame, err := e.Encode([]byte{7}, make([]int16, FrameSamples)); err != nil || len(frame) != 121 || frame[0] != 7 {
		t.Errorf("48 kbit/s: %d bytes, %v; want 120 appended to 1", len(frame), err)
	}
	if _, err := e.Encode(nil, make([]int16, FrameSamples-1)); err == nil {
		t.Error("a short frame was encoded")
	}
	e.Close()
	if _, err := e.Encode(nil, make([]int16, FrameSamples)); err == nil {
		t.Error("a closed encoder encodes")
	}
}

func TestADecoderGoesOnAfterGarbage(t *testing.T) {
	frames := encodeAll(t, tone(500, 0.3, 10*FrameSamples))
	d, _ := NewDecoder()
	for _, bad := range [][]byte{nil, {}, make([]byte, MaxPacket+1), {0xff}, {0x03, 0xff, 0xff}} {
		if _, err := d.Decode(bad); err != nil && !errors.Is(err, ErrPacket) {
			t.Errorf("error %v does not wrap ErrPacket", err)
		}
	}
	for _, frame := range frames {
		if pcm, err := d.Decode(frame); err != nil || len(pcm) != FrameSamples {
			t.Fatalf("%d samples, %v", len(pcm), err)
		}
	}
}

func TestTheLibraryIsTheOneThatItsNoticeDescribes(t *testing.T) {
	notice, err := os.ReadFile(filepath.Join("libopus", "NOTICE"))
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(library)); !strings.Contains(string(notice), sum) {
		t.Errorf("libopus/opus.wasm has SHA-256 %s, which libopus/NOTICE does not name", sum)
	}
}

func TestTheDemonstrationsSpeechIsOfOneSizeAndLength(t *testing.T) {
	lengths := map[int]bool{}
	for _, name := range []string{"marta", "jan"} {
		f, err := os.Open(filepath.Join("..", "cmd", "conclave", "demo", name+".ogg"))
		if err != nil {
			t.Fatal(err)
		}
		packets, err := ReadOgg(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		lengths[len(packets)] = true
		d, _ := NewDecoder()
		loud := 0
		for i, p := range packets {
			if len(p) != FrameBytes {
				t.Fatalf("%s: packet %d has %d bytes", name, i, len(p))
			}
			pcm, err := d.Decode(p)
			if err != nil || len(pcm) != FrameSamples {
				t.Fatalf("%s: packet %d: %d samples, %v", name, i, len(pcm), err)
			}
			for _, s := range pcm {
				if s > 1000 {
					loud++
					break
				}
			}
		}
		if share := float64(loud) / float64(len(packets)); share < 0.2 || share > 0.8 {
			t.Errorf("%s speaks in %.0f %% of the time", name, 100*share)
		}
	}
	if len(lengths) != 1 {
		t.Errorf("the speakers' files differ in length: %v packets", lengths)
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, c := range map[string]Config{"speech": {}, "transform": {Transform: true}} {
		b.Run(name, func(b *testing.B) {
			e, err := NewEncoder(c)
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			pcm := tone(440, 0.3, FrameSamples)
			dst := make([]byte, 0, FrameBytes)
			b.ReportAllocs()
			for b.Loop() {
				e.Encode(dst, pcm)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	frames := encodeAll(b, tone(440, 0.3, SampleRate))
	d, _ := NewDecoder()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Decode(frames[i%len(frames)])
	}
}

func FuzzDecode(f *testing.F) {
	for _, frame := range encodeAll(f, tone(440, 0.3, 4*FrameSamples)) {
		f.Add(frame, frame)
	}
	f.Add([]byte{0x03, 0x83, 0xff, 0x01}, []byte{0xfc})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d, err := NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range [][]byte{first, second} {
			if pcm, err := d.Decode(p); err != nil && !errors.Is(err, ErrPacket) || len(pcm) > MaxSamples {
				t.Errorf("%d samples, %v", len(pcm), err)
			}
		}
	})
}
