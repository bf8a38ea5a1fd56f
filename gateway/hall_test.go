package gateway

import (
	"slices"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint/headless"
	"conclave/opus"
	"conclave/phone/dsp"
)

// said are frames of a leaf, each its own.
func said(t *testing.T, n int) []headless.Frame {
	t.Helper()
	e, err := opus.NewEncoder(opus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	tone := dsp.Tones([]dsp.Tone{{Frequencies: [2]float64{440, 700}, Frames: n, Peak: 9000}})
	frames := make([]headless.Frame, n)
	for i := range frames {
		var f dsp.Frame
		tone.Next(&f)
		b, err := e.Encode(nil, f[:])
		if err != nil {
			t.Fatal(err)
		}
		frames[i] = headless.Frame{Leaf: 3, Data: b, Epoch: 7, Context: 5, Counter: uint32(i)}
	}
	return frames
}

func TestLegsOfAMeetingHearTheSameAsIfEachHadDecodedIt(t *testing.T) {
	frames := said(t, 100)
	d, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	h := newHall(conclave.MeetingID{})
	var framed []byte
	behind := 0 // the second leg follows up to 20 frames later
	for i := range frames {
		pcm, err := d.Decode(frames[i].Data)
		if err != nil {
			t.Fatal(err)
		}
		var first, second dsp.Frame
		framed = appendFrame(framed[:0], &frames[i])
		if !h.decode(3, framed, &first) || first != dsp.Frame(pcm[:dsp.FrameSamples]) {
			t.Fatalf("frame %d sounds otherwise", i)
		}
		for ; behind < i-i%20; behind++ {
			framed = appendFrame(framed[:0], &frames[behind])
			if !h.decode(3, framed, &second) {
				t.Fatalf("a leg that is %d frames behind hears nothing", i-behind)
			}
		}
	}
}

func TestNothingIsHeardByWhoHasNotOpenedIt(t *testing.T) {
	frames := said(t, 2*lateFrames)
	h := newHall(conclave.MeetingID{})
	decode := func(leaf uint32, f headless.Frame) bool {
		var out dsp.Frame
		return h.decode(leaf, appendFrame(nil, &f), &out)
	}
	for _, f := range frames {
		if !decode(3, f) {
			t.Fatal("nothing is heard")
		}
	}
	forged := frames[len(frames)-1]
	forged.Data = frames[0].Data
	if decode(3, forged) {
		t.Error("another packet under the same name is heard")
	}
	if decode(3, frames[0]) {
		t.Error("what comes long after its turn is heard, and would be heard by nobody else as it was")
	}
	next := frames[1]
	next.Epoch++ // counters begin anew in each epoch
	if !decode(3, next) {
		t.Error("the next epoch is not heard")
	}
	bad := headless.Frame{Leaf: 4, Data: make([]byte, opus.MaxPacket+1), Epoch: 7, Context: 5, Counter: 1}
	if decode(4, bad) {
		t.Error("what is no Opus is heard")
	}
	for leaf := range uint32(3 * maxSpeakers) {
		decode(leaf, frames[0])
	}
	if n := len(h.speakers); n > maxSpeakers {
		t.Errorf("%d speakers are remembered", n)
	}
}

func TestAHallEndsWithItsLastLeg(t *testing.T) {
	g := &Gateway{halls: map[conclave.MeetingID]*hall{}}
	one, two := conclave.MeetingID{1}, conclave.MeetingID{2}
	a, b, c := g.enter(one), g.enter(one), g.enter(two)
	if a != b || a == c {
		t.Error("legs share what they hear with those of their own meeting alone")
	}
	if g.leave(a); g.halls[one] != b {
		t.Error("a hall ended before its last leg")
	}
	g.leave(b)
	g.leave(c)
	if len(g.halls) > 0 {
		t.Errorf("%d halls are left", len(g.halls))
	}
}

func TestManyLegsHearBesideEachOther(t *testing.T) {
	frames := said(t, 50)
	h := newHall(conclave.MeetingID{})
	const legs = 8
	var wait sync.WaitGroup
	var heard [legs][]dsp.Frame
	for i := range heard {
		wait.Go(func() {
			for k := range frames {
				var out dsp.Frame
				if h.decode(3, appendFrame(nil, &frames[k]), &out) {
					heard[i] = append(heard[i], out)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	wait.Wait()
	for i := range heard {
		if len(heard[i]) < len(frames)-lateFrames/2 || !slices.Equal(heard[i], heard[0][:len(heard[i])]) && len(heard[i]) == len(heard[0]) {
			t.Errorf("leg %d heard %d of %d frames, or others than the first", i, len(heard[i]), len(frames))
		}
	}
}
