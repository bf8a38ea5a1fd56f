// Package slot names the receiving slots of a room: the part of the media protocol that the server and every client know
// beforehand, so that nothing is ever negotiated again. A slot has one SSRC, the same in all rooms and for all receivers.
package slot

import "errors"

// Kind is what a stream carries. The numbers are the stream kinds that a frame's metadata names.
type Kind uint8

// The kinds of streams.
const (
	Microphone Kind = 1 + iota
	Camera
	Screen
)

// Kinds is the number of kinds.
const Kinds = 3

// String returns the kind's word in events and messages.
func (k Kind) String() string {
	switch k {
	case Microphone:
		return "microphone"
	case Camera:
		return "camera"
	case Screen:
		return "screen"
	}
	return "invalid"
}

// Video reports whether streams of this kind carry video.
func (k Kind) Video() bool { return k == Camera || k == Screen }

// Slot is one receiving slot.
type Slot struct {
	Kind  Kind
	Index int // from 0
}

// The first SSRC of each kind. Low 16 bits: the index.
const (
	microphoneSSRC = 0x0C1A0000
	cameraSSRC     = 0x0C1B0000
	screenSSRC     = 0x0C1C0000
)

// ServerSSRC is whom the server's own RTCP comes from.
const ServerSSRC = 0x0C1F0000

// MaxIndex bounds a slot's index: a room has no more slots of a kind than this.
const MaxIndex = 255

// SSRC returns the slot's SSRC, or 0 for a slot that cannot be.
func (s Slot) SSRC() uint32 {
	if s.Index < 0 || s.Index > MaxIndex {
		return 0
	}
	switch s.Kind {
	case Microphone:
		return microphoneSSRC + uint32(s.Index)
	case Camera:
		return cameraSSRC + uint32(s.Index)
	case Screen:
		return screenSSRC + uint32(s.Index)
	}
	return 0
}

// Of returns the slot whose SSRC this is.
func Of(ssrc uint32) (Slot, bool) {
	s := Slot{Index: int(ssrc & 0xffff)}
	switch ssrc &^ 0xffff {
	case microphoneSSRC:
		s.Kind = Microphone
	case cameraSSRC:
		s.Kind = Camera
	case screenSSRC:
		s.Kind = Screen
	default:
		return Slot{}, false
	}
	return s, s.Index <= MaxIndex
}

// Plan says how many slots of each kind a room has.
type Plan struct {
	Audio, Camera, Screen int
}

// Default is the plan of an ordinary meeting.
var Default = Plan{Audio: 16, Camera: 9, Screen: 1}

var errPlan = errors.New("slot: a room has 1 to 64 audio, 0 to 32 camera and 0 to 4 screen slots")

// Check reports whether the plan is within bounds: each receiver keeps state for every slot.
func (p Plan) Check() error {
	if p.Audio < 1 || p.Audio > 64 || p.Camera < 0 || p.Camera > 32 || p.Screen < 0 || p.Screen > 4 {
		return errPlan
	}
	return nil
}
