package opus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// makeWAV writes seconds of a tone in the given format, into every channel.
func makeWAV(f wavFormat, hz, seconds float64) []byte {
	le := binary.LittleEndian
	var data []byte
	for i := range int(seconds * float64(f.rate)) {
		v := 0.5 * math.Sin(2*math.Pi*hz*float64(i)/float64(f.rate))
		for range f.channels {
			switch {
			case f.float && f.bits == 32:
				data = le.AppendUint32(data, math.Float32bits(float32(v)))
			case f.float:
				data = le.AppendUint64(data, math.Float64bits(v))
			case f.bits == 8:
				data = append(data, byte(128+math.Round(v*127)))
			default:
				n := int32(v * math.MaxInt32)
				for shift := 32 - f.bits; shift < 32; shift += 8 {
					data = append(data, byte(n>>shift))
				}
			}
		}
	}
	tag := uint16(1)
	if f.float {
		tag = 3
	}
	b := append([]byte("RIFF"), le.AppendUint32(nil, uint32(36+len(data)))...)
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, tag)
	b = le.AppendUint16(b, uint16(f.channels))
	b = le.AppendUint32(b, uint32(f.rate))
	b = le.AppendUint32(b, uint32(f.rate*f.channels*f.bits/8))
	b = le.AppendUint16(b, uint16(f.channels*f.bits/8))
	b = le.AppendUint16(b, uint16(f.bits))
	b = append(b, "LIST\x03\x00\x00\x00abc\x00data"...) // a chunk to be skipped, padded to an even length
	return append(le.AppendUint32(b, uint32(len(data))), data...)
}

func TestAWAVFileOfAnyFormatBecomes48kHzMono(t *testing.T) {
	for _, f := range []wavFormat{
		{bits: 8, channels: 1, rate: 8000},
		{bits: 16, channels: 1, rate: 48000},
		{bits: 16, channels: 2, rate: 44100},
		{bits: 24, channels: 1, rate: 96000},
		{bits: 32, channels: 8, rate: 16000},
		{float: true, bits: 32, channels: 2, rate: 22050},
		{float: true, bits: 64, channels: 1, rate: 192000},
	} {
		pcm, err := ReadWAV(bytes.NewReader(makeWAV(f, 1000, 0.5)))
		if err != nil {
			t.Errorf("%+v: %v", f, err)
			continue
		}
		if d := len(pcm) - SampleRate/2; d < -2 || d > 2 {
			t.Errorf("%+v: %d samples for half a second", f, len(pcm))
		}
		middle := pcm[SampleRate/10 : 4*SampleRate/10]
		if s := strength(middle, 1000); s < 0.995 {
			t.Errorf("%+v: share of the tone %.4f", f, s)
		}
		peak := 0
		for _, s := range middle {
			peak = max(peak, int(s))
		}
		if peak < 15900 || peak > 16900 {
			t.Errorf("%+v: peak %d, want about 16384", f, peak)
		}
	}
}

func TestResamplingFoldsNothingBack(t *testing.T) {
	// 30 kHz at 96 kHz would come back as 18 kHz.
	pcm, err := ReadWAV(bytes.NewReader(makeWAV(wavFormat{bits: 24, channels: 1, rate: 96000}, 30000, 0.5)))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range pcm[2000 : len(pcm)-2000] {
		if s > 8 || s < -8 {
			t.Fatalf("sample %d is %d: 30 kHz folded back", i, s)
		}
	}
}

func TestAMalformedWAVFileIsRefused(t *testing.T) {
	good := makeWAV(wavFormat{bits: 16, channels: 1, rate: 48000}, 440, 0.1)
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	for name, file := range map[string][]byte{
		"empty":             {},
		"no header":         good[12:],
		"other tag":         change(20, 0x55),
		"no channel":        change(22, 0),
		"many channels":     change(22, 9),
		"rate 0":            change(24, 0, 0, 0, 0),
		"rate 2^32-1":       change(24, 255, 255, 255, 255),
		"odd bits":          change(34, 12),
		"chunk beyond file": change(16, 255, 255, 255, 255),
		"no sound":          good[:36],
		"sound first":       append(bytes.Clone(good[:12]), good[48:]...),
	} {
		if pcm, err := ReadWAV(bytes.NewReader(file)); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %d samples, error %v", name, len(pcm), err)
		}
	}
	if pcm, err := ReadWAV(bytes.NewReader(good[:len(good)-1000])); err != nil || len(pcm) != 4800-500 {
		t.Errorf("a cut-off recording: %d samples, %v", len(pcm), err)
	}
}

func TestWhatIsWrittenAsWAVIsReadBack(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "a.wav"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWAVWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	pcm := tone(440, 0.5, 3*FrameSamples)
	for i := 0; i < len(pcm); i += FrameSamples {
		if err := w.Write(pcm[i:][:FrameSamples]); err != nil {
			t.Fatal(err)
		}
	}
	read := func() []int16 {
		t.Helper()
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got, err := ReadWAV(f)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	unfinished := read()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	finished := read()
	for _, got := range [][]int16{unfinished, finished} {
		if len(got) != len(pcm) {
			t.Fatalf("%d samples, want %d", len(got), len(pcm))
		}
		for i := range got {
			if d := int(got[i]) - int(pcm[i]); d < -1 || d > 1 {
				t.Fatalf("sample %d is %d, want %d", i, got[i], pcm[i])
			}
		}
	}
}

// makeOgg puts packets into pages of at most 50.
func makeOgg(packets [][]byte) []byte {
	var file []byte
	le := binary.LittleEndian
	sequence := uint32(0)
	page := func(packets [][]byte) {
		start := len(file)
		file = append(file, "OggS\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04"...)
		file = le.AppendUint32(file, sequence)
		file = append(file, 0, 0, 0, 0)
		var laces, body []byte
		for _, p := range packets {
			body = append(body, p...)
			for n := len(p); ; n -= 255 {
				laces = append(laces, byte(min(n, 255)))
				if n < 255 {
					break
				}
			}
		}
		file = append(append(append(file, byte(len(laces))), laces...), body...)
		le.PutUint32(file[start+22:], OggChecksum(file[start:]))
		sequence++
	}
	page(packets[:1])
	page(packets[1:2])
	for packets = packets[2:]; len(packets) > 0; {
		n := min(50, len(packets))
		page(packets[:n])
		packets = packets[n:]
	}
	return file
}

func oggHeaders() [][]byte {
	return [][]byte{[]byte("OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00"), []byte("OpusTags\x00\x00\x00\x00\x00\x00\x00\x00")}
}

func TestAnOggFileGivesItsPackets(t *testing.T) {
	want := oggHeaders()
	for i := range 120 {
		want = append(want, bytes.Repeat([]byte{byte(i)}, 1+i*10))
	}
	got, err := ReadOgg(bytes.NewReader(makeOgg(want)))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 120 {
		t.Fatalf("%d packets, want 120", len(got))
	}
	for i, p := range got {
		if !bytes.Equal(p, want[i+2]) {
			t.Errorf("packet %d: %d bytes, want %d", i, len(p), len(want[i+2]))
		}
	}
}

func TestAMalformedOggFileIsRefused(t *testing.T) {
	packets := append(oggHeaders(), []byte("one"), []byte("two"))
	good := makeOgg(packets)
	stereo := append(oggHeaders(), []byte("one"))
	stereo[0][9] = 2
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	pages := len(makeOgg(oggHeaders()))
	for name, file := range map[string][]byte{
		"empty":          {},
		"flipped bit":    flipped,
		"cut":            good[:len(good)-1],
		"missing page":   append(bytes.Clone(good[:47]), good[pages:]...),
		"two streams":    append(bytes.Clone(good), good...),
		"stereo":         makeOgg(stereo),
		"no Opus header": makeOgg([][]byte{[]byte("x"), []byte("OpusTags"), []byte("y")}),
		"empty packet":   makeOgg(append(oggHeaders(), nil)),
		"large packet":   makeOgg(append(oggHeaders(), make([]byte, MaxPacket+1))),
	} {
		if got, err := ReadOgg(bytes.NewReader(file)); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %d packets, error %v", name, len(got), err)
		}
	}
}

func FuzzReadOgg(f *testing.F) {
	f.Add(makeOgg(append(oggHeaders(), []byte("one"), make([]byte, 700))))
	f.Fuzz(func(t *testing.T, file []byte) {
		packets, err := ReadOgg(bytes.NewReader(file))
		if err != nil {
			return
		}
		for _, p := range packets {
			if len(p) == 0 || len(p) > MaxPacket {
				t.Errorf("packet of %d bytes", len(p))
			}
		}
	})
}

func FuzzReadWAV(f *testing.F) {
	f.Add(makeWAV(wavFormat{bits: 16, channels: 2, rate: 44100}, 440, 0.002))
	f.Add(makeWAV(wavFormat{float: true, bits: 32, channels: 1, rate: 8000}, 440, 0.002))
	f.Fuzz(func(t *testing.T, file []byte) {
		pcm, err := ReadWAV(bytes.NewReader(file))
		if err != nil && !errors.Is(err, ErrFile) {
			t.Errorf("error %v does not wrap ErrFile", err)
		}
		if limit := len(file) * (SampleRate/minWAVRate + 1); len(pcm) > limit {
			t.Errorf("%d samples out of %d bytes", len(pcm), len(file))
		}
	})
}
