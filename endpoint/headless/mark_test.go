package headless

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"conclave/endpoint"
	"conclave/opus"
	"conclave/sfu/slot"
	"conclave/watermark"
)

// vowels is hum whose bands rise and fall, encoded as a member's client does.
func vowels(t *testing.T, seconds int) [][]byte {
	t.Helper()
	e, err := opus.NewEncoder(opus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	var list [][]byte
	var low, level, want float64
	for f := range seconds * 50 {
		if f%8 == 0 {
			want = 0.05 + 0.3*rng.Float64()
		}
		var frame [opus.FrameSamples]int16
		for i := range frame {
			level += (want - level) * 0.001
			low += (rng.NormFloat64() - low) * 0.3
			frame[i] = int16(12000 * level * low)
		}
		packet, err := e.Encode(nil, frame[:])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, packet)
	}
	return list
}

func TestWhatIsHeardIsMarked(t *testing.T) {
	var key *watermark.Key
	newKey := func(b byte) *watermark.Key {
		k, err := watermark.NewKey(bytes.Repeat([]byte{b}, watermark.KeySize))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	key = newKey(1)
	sync, err := watermark.NewSync(make([]byte, watermark.SyncSize))
	if err != nil {
		t.Fatal(err)
	}
	packets := vowels(t, 16) // before the leg begins: it takes a while
	p := newPath(&Client{})
	p.Mark(&endpoint.Marking{Sync: sync, Code: key.Code(), Began: time.Now().Add(-time.Minute)})
	d, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	var sound []float32
	for i, packet := range packets {
		out := p.handed(voice{3, slot.Microphone}, packet, uint32(i)*opus.FrameSamples)
		if len(out) != opus.FrameBytes {
			t.Fatalf("packet %d comes out with %d bytes", i, len(out))
		}
		pcm, err := d.Decode(out)
		if err != nil {
			t.Fatal(err)
		}
		for k := 0; k+2 < len(pcm); k += 3 {
			sound = append(sound, (float32(pcm[k])+float32(pcm[k+1])+float32(pcm[k+2]))/3/32768)
		}
	}
	search := watermark.Search{Sync: sync, Workers: 2}
	for b := range byte(20) {
		search.Suspects = append(search.Suspects, watermark.Suspect{Code: newKey(b).Code(), Tiles: 400})
	}
	r, err := search.Run(context.Background(), sound)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Named) != 1 || r.Named[0].Suspect != 1 {
		t.Fatalf("named is %+v, want leg 1; others: %+v", r.Named, r.Others)
	}
	if at := r.Named[0].Pieces[0].Began; at < 59*time.Second || at > 62*time.Second {
		t.Errorf("the sound began at %v of the leg, want a minute", at)
	}
	picture := []byte{1, 2, 3}
	if out := p.handed(voice{3, slot.Camera}, picture, 0); !bytes.Equal(out, picture) {
		t.Error("pictures are changed")
	}
	p.Mark(nil)
	packet := []byte{4, 5, 6}
	if out := p.handed(voice{3, slot.Microphone}, packet, 0); !bytes.Equal(out, packet) {
		t.Error("without a key something is changed")
	}
}

func TestLostPacketsLeaveTheMarkInTime(t *testing.T) {
	key, err := watermark.NewKey(bytes.Repeat([]byte{1}, watermark.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	sync, err := watermark.NewSync(make([]byte, watermark.SyncSize))
	if err != nil {
		t.Fatal(err)
	}
	begin := func() *path {
		p := newPath(&Client{})
		// Of a mark of long ago, so that a new embedder would not begin at the same sample.
		p.Mark(&endpoint.Marking{Sync: sync, Code: key.Code(), Began: time.Now().Add(-time.Hour)})
		return p
	}
	p := begin()
	var first *watermark.Embedder
	for i, packet := range vowels(t, 4) {
		if i%10 == 4 || i >= 100 && i < 130 {
			continue
		}
		if p.handed(voice{3, slot.Microphone}, packet, uint32(i)*opus.FrameSamples) == nil {
			t.Fatalf("packet %d is not handed out", i)
		}
		m := p.markers[3]
		if first == nil {
			first = m.embedder
		}
		if m.embedder != first {
			t.Fatalf("the mark begins anew at packet %d", i)
		}
		if got, want := m.embedder.Samples(), (i+1)*opus.FrameSamples; got != want {
			t.Fatalf("at packet %d the mark is %d samples on, want %d", i, got, want)
		}
		if late := p.handed(voice{3, slot.Microphone}, packet, uint32(i)*opus.FrameSamples); late != nil {
			t.Fatalf("packet %d is handed out twice", i)
		}
	}
}

func TestWhatCannotBeMarkedIsNotHandedOut(t *testing.T) {
	key, _ := watermark.NewKey(make([]byte, watermark.KeySize))
	sync, _ := watermark.NewSync(make([]byte, watermark.SyncSize))
	p := newPath(&Client{})
	p.Mark(&endpoint.Marking{Sync: sync, Code: key.Code(), Began: time.Now()})
	if out := p.handed(voice{3, slot.Microphone}, []byte{0xff}, 0); out != nil {
		t.Errorf("an undecodable packet is handed out: %x", out)
	}
}
