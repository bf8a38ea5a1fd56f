package prompt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"conclave/phone/dsp"
)

func TestEverySentenceIsSpokenInEveryLanguage(t *testing.T) {
	set, err := BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	total, size := time.Duration(0), 0
	for _, l := range Languages {
		for _, n := range Names {
			text := Text(l, n)
			if text == "" {
				t.Errorf("%s/%s has no text", l, n)
			}
			var f dsp.Frame
			frames, energy, peak := 0, 0.0, int16(0)
			for source := set.Source(l, n); source.Next(&f); frames++ {
				for _, v := range f {
					energy += float64(v) * float64(v)
					peak = max(peak, v)
				}
			}
			length := time.Duration(frames) * 20 * time.Millisecond
			level := 20 * math.Log10(math.Sqrt(energy/float64(max(frames, 1)*dsp.FrameSamples))/32768)
			// Speech is 10 to 20 letters a second.
			if perLetter := length / time.Duration(len(text)+1); perLetter < 45*time.Millisecond || perLetter > 130*time.Millisecond {
				t.Errorf("%s/%s: %v for %d letters", l, n, length, len(text))
			}
			if level < -28 || level > -15 || peak > 31000 {
				t.Errorf("%s/%s: level %.1f dB, peak %d", l, n, level, peak)
			}
			total += length
			for _, p := range set.recordings[l][n].packets {
				size += len(p)
			}
		}
	}
	t.Logf("%d sentences, %v, %d bytes", len(Languages)*len(Names), total, size)
}

func TestTheRecordingsAreOfTheseTexts(t *testing.T) {
	sums, err := os.ReadFile("recordings/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range Languages {
		b, err := texts.ReadFile("texts/" + string(l) + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		if !strings.Contains(string(sums), hex.EncodeToString(sum[:])) {
			t.Errorf("the texts of %s have changed: run phone/prompt/generate", l)
		}
		if n := bytes.Count(b, []byte("\n")); n != len(Names) {
			t.Errorf("%s has %d sentences, want %d", l, n, len(Names))
		}
	}
}

// wav returns a file of a tone.
func wav(rate, channels, bits int, seconds float64, peak float64) []byte {
	le := binary.LittleEndian
	var data []byte
	for i := range int(seconds * float64(rate)) {
		for range channels {
			data = le.AppendUint16(data, uint16(int16(peak*math.Sin(2*math.Pi*700*float64(i)/float64(rate)))))
		}
	}
	b := append([]byte("RIFF"), le.AppendUint32(nil, uint32(36+len(data)))...)
	b = le.AppendUint32(append(b, "WAVEfmt "...), 16)
	for _, v := range []int{1, channels} {
		b = le.AppendUint16(b, uint16(v))
	}
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(rate*channels*bits/8))
	b = le.AppendUint16(b, uint16(channels*bits/8))
	b = le.AppendUint16(b, uint16(bits))
	b = le.AppendUint32(append(b, "data"...), uint32(len(data)))
	return append(b, data...)
}

func TestAnOperatorsRecordingsReplaceALanguage(t *testing.T) {
	good := wav(Rate, 1, 16, 0.5, 9000)
	folder := fstest.MapFS{}
	for _, n := range Names {
		folder["fr/"+string(n)+".wav"] = &fstest.MapFile{Data: good}
	}
	set, err := Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Length(French, Refused); got != 500*time.Millisecond {
		t.Errorf("the replaced sentence takes %v", got)
	}
	if got := set.Length(German, Refused); got < 5*time.Second {
		t.Errorf("the built-in sentence takes %v", got)
	}
	for name, change := range map[string]func(){
		"missing": func() { delete(folder, "fr/over.wav") },
		"rate":    func() { folder["fr/over.wav"] = &fstest.MapFile{Data: wav(8000, 1, 16, 1, 9000)} },
		"stereo":  func() { folder["fr/over.wav"] = &fstest.MapFile{Data: wav(Rate, 2, 16, 1, 9000)} },
		"bits":    func() { folder["fr/over.wav"] = &fstest.MapFile{Data: wav(Rate, 1, 8, 1, 9000)} },
		"short":   func() { folder["fr/over.wav"] = &fstest.MapFile{Data: wav(Rate, 1, 16, 0.1, 9000)} },
		"long":    func() { folder["fr/over.wav"] = &fstest.MapFile{Data: wav(Rate, 1, 16, 61, 9000)} },
		"silent":  func() { folder["fr/over.wav"] = &fstest.MapFile{Data: wav(Rate, 1, 16, 1, 9)} },
		"cut off": func() { folder["fr/over.wav"] = &fstest.MapFile{Data: good[:len(good)-10]} },
		"no WAV":  func() { folder["fr/over.wav"] = &fstest.MapFile{Data: []byte("hello")} },
	} {
		change()
		if _, err := Load(folder); !errors.Is(err, ErrRecording) || !strings.Contains(err.Error(), "fr/over.wav") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := Load(fstest.MapFS{}); !errors.Is(err, ErrRecording) {
		t.Errorf("an empty folder: %v", err)
	}
}

func FuzzParseWAV(f *testing.F) {
	f.Add(wav(Rate, 1, 16, 0.5, 9000))
	f.Add(wav(8000, 2, 16, 0.01, 9000))
	f.Fuzz(func(t *testing.T, b []byte) {
		if samples, err := parseWAV(b); err == nil && check(samples) != nil {
			t.Error("took an unusable recording")
		}
	})
}
