package headless

import (
	"bytes"
	"os"
	"testing"

	"github.com/pion/rtp/codecs"

	"conclave/endpoint/media"
)

// cut makes the packets of frames as a sender does, numbered from 100.
func cut(frames ...[]byte) (out []media.Packet) {
	payloader := codecs.VP8Payloader{EnablePictureID: true}
	for _, f := range frames {
		list := payloader.Payload(300, f)
		for i, b := range list {
			out = append(out, media.Packet{Index: uint64(100 + len(out)), Payload: b, Marker: i == len(list)-1})
		}
	}
	return out
}

func TestPicturesArePutTogetherAndIncompleteOnesLeftOut(t *testing.T) {
	frames := [][]byte{bytes.Repeat([]byte{1}, 1000), bytes.Repeat([]byte{2}, 50), bytes.Repeat([]byte{3}, 700)}
	packets := cut(frames...)
	take := func(packets []media.Packet) (got [][]byte, asked int) {
		p := new(picture)
		for _, k := range packets {
			f, again := p.take(k)
			if f != nil {
				got = append(got, bytes.Clone(f))
			}
			if again {
				asked++
			}
		}
		return got, asked
	}
	got, asked := take(packets)
	if len(got) != 3 || asked != 0 {
		t.Fatalf("%d pictures, %d times asked", len(got), asked)
	}
	for i := range frames {
		if !bytes.Equal(got[i], frames[i]) {
			t.Errorf("picture %d is another", i)
		}
	}
	// Each packet lost once: the picture that it was of is missing, the others are whole.
	for lost := 1; lost < len(packets); lost++ {
		rest := append(append([]media.Packet(nil), packets[:lost]...), packets[lost+1:]...)
		got, asked := take(rest)
		if len(got) != 2 || (asked != 1 && lost != len(packets)-1) {
			t.Errorf("packet %d lost: %d pictures, %d times asked", lost, len(got), asked)
		}
		for _, g := range got {
			if !bytes.Equal(g, frames[0]) && !bytes.Equal(g, frames[1]) && !bytes.Equal(g, frames[2]) {
				t.Errorf("packet %d lost: a picture that nobody sent", lost)
			}
		}
	}
	// One that comes late is no reason to begin anew.
	late := append(append([]media.Packet(nil), packets...), packets[0])
	if got, _ := take(late); len(got) != 3 {
		t.Errorf("a packet came twice: %d pictures", len(got))
	}
}

func FuzzPicture(f *testing.F) {
	for _, k := range cut(bytes.Repeat([]byte{1}, 500)) {
		f.Add(k.Payload, uint16(k.Index), k.Marker)
	}
	p := new(picture)
	f.Fuzz(func(t *testing.T, payload []byte, index uint16, marker bool) {
		if frame, _ := p.take(media.Packet{Payload: payload, Index: uint64(index), Marker: marker}); len(frame) > maxPicture {
			t.Errorf("a picture of %d bytes", len(frame))
		}
	})
}

func FuzzReadVideo(f *testing.F) {
	b, err := demo()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, content []byte) {
		v, err := ReadVideo(content, true)
		if err != nil {
			return
		}
		for range 3 {
			if frame, _, shown := v.Next(); frame == nil || shown <= 0 {
				t.Errorf("a picture of %d bytes for %v", len(frame), shown)
			}
		}
	})
}

func demo() ([]byte, error) { return os.ReadFile("../../cmd/conclave/demo/marta.ivf") }
