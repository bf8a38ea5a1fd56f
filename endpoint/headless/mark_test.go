package headless

import (
	"bytes"
	"testing"
	"time"

	"conclave/endpoint"
	"conclave/opus"
	"conclave/sfu/slot"
	"conclave/watermark"
	"conclave/watermark/marktest"
)

// vowels is hum whose bands rise and fall, encoded as a member's client does.
func vowels(t *testing.T, seconds int) [][]byte {
	t.Helper()
	e, err := opus.NewEncoder(opus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	hum := marktest.Vowels()
	var list [][]byte
	for range seconds * 50 {
		var frame [opus.FrameSamples]int16
		hum(frame[:])
		packet, err := e.Encode(nil, frame[:])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, packet)
	}
	return list
}

func TestWhatIsHeardIsMarked(t *testing.T) {
	sync := marktest.Sync(t)
	packets := vowels(t, 16) // before the leg begins: it takes a while
	p := newPath(&Client{})
	p.Mark(&endpoint.Marking{Sync: sync, Code: marktest.Key(t, 1).Code(), Began: time.Now().Add(-time.Minute)})
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
		sound = marktest.Third(sound, pcm)
	}
	marktest.Names(t, sync, sound, 1, time.Minute)
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
	key, sync := marktest.Key(t, 1), marktest.Sync(t)
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
	key, sync := marktest.Key(t, 1), marktest.Sync(t)
	p := newPath(&Client{})
	p.Mark(&endpoint.Marking{Sync: sync, Code: key.Code(), Began: time.Now()})
	if out := p.handed(voice{3, slot.Microphone}, []byte{0xff}, 0); out != nil {
		t.Errorf("an undecodable packet is handed out: %x", out)
	}
}
