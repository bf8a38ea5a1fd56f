package gateway

import (
	"bytes"
	"encoding/binary"
	"sync"

	"conclave"
	"conclave/endpoint/headless"
	"conclave/opus"
	"conclave/phone/dsp"
)

// hall is what the legs of this gateway in one meeting have in common: what a member says is decoded once for all of them, since decoding
// for each of many was most of what they cost. Keys are not shared: each leg opens every frame with those of its own leaf, and
// hears of a frame what it decodes to only by bringing what it opened.
type hall struct {
	meeting conclave.MeetingID
	legs    int // that are in; guarded by the gateway's mutex

	mu       sync.Mutex
	speakers map[uint32]*speaker // by leaf; guarded by mu
}

// speaker is one member who is heard.
type speaker struct {
	mu      sync.Mutex // guards all below
	decoder *opus.Decoder
	newest  frameID
	known   int // frames that were decoded, at most 1<<30
	late    [lateFrames]lateFrame
}

// lateFrame is a frame that was decoded, for the legs that are behind.
type lateFrame struct {
	id     frameID
	packet []byte
	sound  dsp.Frame
}

const (
	// lateFrames is how many frames one leg may be behind another, 640 ms: more than any jitter buffer waits.
	lateFrames = 32
	// maxSpeakers bounds the memory of a hall, 80 kB each: more than are heard at once.
	maxSpeakers = 2 * maxVoices
)

// frameID names an authentic frame among all of its leaf's (RFC 9605: no two have the same key and counter).
type frameID struct {
	epoch            uint64
	context, counter uint32
}

func (f frameID) after(g frameID) bool {
	return f.epoch > g.epoch || f.epoch == g.epoch && (f.context != g.context || f.counter > g.counter)
}

// idSize is the size of a frame's identity before its packet, in the jitter buffer.
const idSize = 16

func appendFrame(dst []byte, f *headless.Frame) []byte {
	dst = binary.BigEndian.AppendUint64(dst, f.Epoch)
	dst = binary.BigEndian.AppendUint32(dst, f.Context)
	dst = binary.BigEndian.AppendUint32(dst, f.Counter)
	return append(dst, f.Data...)
}

func cutFrame(b []byte) (frameID, []byte) {
	return frameID{binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])}, b[idSize:]
}

func newHall(id conclave.MeetingID) *hall { return &hall{meeting: id, speakers: map[uint32]*speaker{}} }

// enter returns the hall of a meeting; leave must be called with it once.
func (g *Gateway) enter(id conclave.MeetingID) *hall {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.halls[id]
	if h == nil {
		h = newHall(id)
		g.halls[id] = h
	}
	h.legs++
	return h
}

func (g *Gateway) leave(h *hall) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.legs--; h.legs == 0 {
		delete(g.halls, h.meeting) // and all that was heard with it
	}
}

// decode puts what an opened frame of a leaf sounds like into out. framed is as appendFrame makes it. It is false where there is nothing to be
// heard: it is no Opus, or it comes after its turn.
func (h *hall) decode(leaf uint32, framed []byte, out *dsp.Frame) bool {
	h.mu.Lock()
	s := h.speakers[leaf]
	if s == nil {
		if len(h.speakers) >= maxSpeakers {
			clear(h.speakers) // leaves that are gone; who still speaks is here again at once
		}
		s = new(speaker)
		h.speakers[leaf] = s
	}
	h.mu.Unlock()
	id, packet := cutFrame(framed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range min(s.known, lateFrames) {
		// The newest first: most legs are no frame behind.
		if f := &s.late[(s.known-1-i)%lateFrames]; f.id == id {
			if !bytes.Equal(f.packet, packet) {
				return false
			}
			*out = f.sound
			return true
		}
	}
	if s.known > 0 && !id.after(s.newest) {
		return false
	}
	if s.decoder == nil {
		d, err := opus.NewDecoder()
		if err != nil {
			return false
		}
		s.decoder = d
	}
	pcm, err := s.decoder.Decode(packet)
	if err != nil || len(pcm) < dsp.FrameSamples {
		return false
	}
	f := &s.late[s.known%lateFrames]
	f.id, f.packet = id, append(f.packet[:0], packet...)
	copy(f.sound[:], pcm)
	s.newest = id
	if s.known++; s.known == 1<<30 {
		s.known = lateFrames
	}
	*out = f.sound
	return true
}
