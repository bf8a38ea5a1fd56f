package trace

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"math"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/escrow"
	"conclave/server/kept"
	"conclave/watermark"
)

// murmur is so many seconds of noise in the shape of syllables, 48 kHz.
func murmur(seconds int) []float32 {
	rng := mathrand.New(mathrand.NewPCG(1, 1))
	out := make([]float32, seconds*48000)
	var low, level, want float64
	for i := range out {
		if i%7000 == 0 {
			want = 0.05 + 0.3*rng.Float64()
		}
		level += (want - level) * 0.001
		low += (rng.NormFloat64() - low) * 0.3
		out[i] = float32(0.4 * level * low)
	}
	return out
}

// wav writes 48-kHz sound as a WAV file.
func wav(t *testing.T, sound []float32) string {
	t.Helper()
	var b bytes.Buffer
	le := binary.LittleEndian
	head := []byte("RIFF....WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00............data....")
	le.PutUint32(head[4:], uint32(36+2*len(sound)))
	le.PutUint32(head[24:], 48000)
	le.PutUint32(head[28:], 96000)
	le.PutUint16(head[32:], 2)
	le.PutUint16(head[34:], 16)
	le.PutUint32(head[40:], uint32(2*len(sound)))
	b.Write(head)
	for _, x := range sound {
		_ = binary.Write(&b, le, int16(x*32767))
	}
	name := filepath.Join(t.TempDir(), "sound.wav")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// house is an organisation with an investigation key and legs that marked.
type house struct {
	key   *escrow.Key
	sync  *watermark.Sync
	marks Marks
	keys  []*watermark.Key
}

func newHouse(t *testing.T, legs int, began time.Time) *house {
	t.Helper()
	h := new(house)
	var err error
	if h.key, err = escrow.Generate(rand.Reader); err != nil {
		t.Fatal(err)
	}
	if h.sync, err = watermark.NewSync(make([]byte, watermark.SyncSize)); err != nil {
		t.Fatal(err)
	}
	for i := range legs {
		b := make([]byte, watermark.KeySize)
		b[0] = byte(i)
		k, err := watermark.NewKey(b)
		if err != nil {
			t.Fatal(err)
		}
		m := kept.TracedMark{Mark: kept.Mark{Meeting: conclave.MeetingID{1}, Leg: conclave.LegID{byte(i)}, Time: began}, Title: "Liaison", Name: "Person " + string(rune('A'+i)), Recorded: true, Until: began.Add(10 * time.Minute)}
		c := k.Commitment(m.Meeting, m.Leg)
		m.Commitment = c[:]
		if m.Sealed, err = endpoint.SealMark(h.key.Public(), m.Meeting, m.Leg, k); err != nil {
			t.Fatal(err)
		}
		h.marks, h.keys = append(h.marks, m), append(h.keys, k)
	}
	return h
}

func TestTheLegIsNamedFromFilesOfAllKinds(t *testing.T) {
	began := time.Date(2026, 4, 17, 9, 0, 0, 0, time.UTC)
	h := newHouse(t, 12, began)
	e, err := watermark.NewEmbedder(48000, 1, 0, h.sync, h.keys[3].Code())
	if err != nil {
		t.Fatal(err)
	}
	sound := murmur(40)
	e.Process(sound)
	name := wav(t, sound[20*48000:])
	files := map[string]string{"WAV": name}
	if _, err := exec.LookPath("ffmpeg"); err == nil {
		for kind, out := range map[string]string{"MP3": "sound.mp3", "FLAC": "sound.flac", "Ogg/Opus": "sound.opus", "ffmpeg": "sound.m4a"} {
			files[kind] = filepath.Join(t.TempDir(), out)
			if b, err := exec.Command("ffmpeg", "-loglevel", "error", "-i", name, "-b:a", "48k", files[kind]).CombinedOutput(); err != nil {
				t.Fatalf("ffmpeg: %v: %s", err, b)
			}
		}
	}
	for kind, name := range files {
		sound, err := Load(context.Background(), name)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if sound.ReadBy != kind || sound.Damaged || math.Abs(sound.Length().Seconds()-20) > 0.2 {
			t.Errorf("%s is read by %s, %v, damaged: %v", kind, sound.ReadBy, sound.Length(), sound.Damaged)
		}
		legs, dropped, err := h.marks.Open(h.key, began.Add(time.Hour))
		if err != nil || dropped != 0 {
			t.Fatal(err, dropped)
		}
		r, _, err := Find(context.Background(), watermark.Search{Sync: h.sync, Suspects: Suspects(legs), Workers: 2}, sound)
		if err != nil {
			t.Fatal(err)
		}
		v := Judge(r, legs, File{Name: name, Seconds: 20}, began.Add(time.Hour))
		if v.Outcome != Named || len(v.Named) != 1 || v.Named[0].Leg != h.marks[3].Leg {
			t.Errorf("%s: %s", kind, v.Sentence)
			continue
		}
		if d := v.Named[0].Pieces[0].Heard.Sub(began) - 20*time.Second; d.Abs() > 300*time.Millisecond {
			t.Errorf("%s: heard %v off", kind, d)
		}
		var page bytes.Buffer
		if err := v.Page(&page, 77); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Person D", "This was played to", "<rect", "What was tried", "record 77", "minute 0 to 0 of that leg"} {
			if !strings.Contains(page.String(), want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		if strings.Contains(page.String(), "<script") || strings.Contains(page.String(), "http://") {
			t.Error("the page fetches or runs something")
		}
	}
}

func TestAMarkThatTheRecordDoesNotKnowCountsForNothing(t *testing.T) {
	h := newHouse(t, 3, time.Now())
	h.marks[0].Recorded = false
	h.marks[1].Commitment = make([]byte, 32)
	legs, dropped, err := h.marks.Open(h.key, time.Now())
	if err != nil || dropped != 2 || len(legs) != 1 || legs[0].Leg != h.marks[2].Leg {
		t.Errorf("opened %d, dropped %d: %v", len(legs), dropped, err)
	}
	other, err := escrow.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.marks.Open(other, time.Now()); !errors.Is(err, errNothing) {
		t.Errorf("another organisation's holders: %v", err)
	}
}

func TestALegIsSearchedForAsLongAsItMarked(t *testing.T) {
	now := time.Now()
	h := newHouse(t, 3, now.Add(-100*time.Hour))
	h.marks[0].Until = h.marks[0].Time.Add(20 * time.Hour)
	h.marks[1].Until = time.Time{} // still in
	h.marks[2].Time = now.Add(-time.Hour)
	h.marks[2].Until = time.Time{}
	legs, _, err := h.marks.Open(h.key, now)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []time.Duration{20 * time.Hour, 24 * time.Hour, time.Hour} {
		if got := time.Duration(legs[i].suspect.Tiles) * watermark.TileDuration; got < want || got > want+3*time.Minute {
			t.Errorf("leg %d is searched for %v, want %v", i, got, want)
		}
	}
}

func TestMarksAreReadBackAsTheyWereWritten(t *testing.T) {
	h := newHouse(t, 2, time.Now().UTC())
	var b bytes.Buffer
	if err := h.marks.Write(&b); err != nil {
		t.Fatal(err)
	}
	back, err := ReadMarks(&b)
	if err != nil || len(back) != 2 || back[1].Leg != h.marks[1].Leg || !bytes.Equal(back[1].Sealed, h.marks[1].Sealed) {
		t.Errorf("read back are %d: %v", len(back), err)
	}
}

func TestWhatIsNoSoundIsRefused(t *testing.T) {
	for name, content := range map[string]string{"a.wav": "RIFF    WAVEfmt ", "a.mp3": "ID3\x04rubbish", "a.flac": "fLaC\x00\x00", "a.opus": "OggS\x00rubbish", "a.txt": "hello", "empty": ""} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if sound, err := Load(context.Background(), path); err == nil {
			t.Errorf("%s: %v", name, sound.Length())
		}
	}
}

func FuzzReadMarks(f *testing.F) {
	f.Add([]byte(`{"meeting":"AAAAAAAAAAAAAAAAAAAAAA","leg":"0000000000000000","commitment":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ReadMarks(bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := list.Write(&out); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzLoad gives the decoders strangers' files, without ffmpeg.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x64"))
	f.Add([]byte("fLaC\x80\x00\x00\x22\x10\x00\x10\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range decoders {
			if d.fits(b) {
				_, _ = d.read(bytes.NewReader(b))
			}
		}
	})
}
