package endpoint

import (
	"context"

	"conclave/signal"
)

// Media is the owner's end of the media path: an SRTP transport natively, a PeerConnection and its transform worker in
// the browser. The endpoint calls it; Offer runs on a goroutine of its own, all others on the endpoint's owner goroutine,
// one at a time, and must return at once.
type Media interface {
	// Offer makes a new media path to server, in place of an earlier one, and returns this end of it: Ufrag, Password,
	// Fingerprint, SSRC, Opus and VP8. The endpoint fills in the rest. ctx ends when the path is no longer wanted.
	Offer(ctx context.Context, slots signal.SlotCounts, server signal.Server) (signal.Media, error)
	// Ready says that the server knows this end of the path, so that connecting to it can succeed.
	Ready()
	// Keys brings a new epoch. Whatever is sealed from now on is sealed under it. BaseKey belongs to the callee, who
	// wipes it.
	Keys(keys EpochKeys)
	// Retire says that frames of an old epoch must not be opened any longer: its keys are wiped.
	Retire(epoch uint64)
	// Bar says that frames of a leaf must not be opened any longer, in no epoch: its pass has run out. It is no member of
	// later epochs until its pass is good.
	Bar(leaf uint32)
	// Slots says who is in which receiving slot.
	Slots(slots signal.Slots)
	// Hold says that the room is paused, and later that it goes on: meanwhile nothing is sent.
	Hold(on bool)
	// Suspend says that this leg holds no keys any more: those of all epochs are wiped, and the path has ended. An Offer may
	// follow, and then Keys, the first of which has First set.
	Suspend()
	// Close ends the path for good. Keys of all epochs are wiped.
	Close()
}

// EpochKeys is what sealing and opening frames in one epoch takes (RFC 9605, Section 5.2).
type EpochKeys struct {
	_       [0]func() // secrets are not compared
	Epoch   uint64
	Leaf    uint32   // the own leaf
	BaseKey []byte   // 32 bytes
	Members []uint32 // all leaves of the epoch, the own included, in rising order
	// First says that the group is another than before: its epochs are numbered anew, and streams that go on start over,
	// with context identifiers of their own.
	First bool
}

// Stream is a kind of stream, as it stands in the metadata of a sealed frame.
type Stream uint8

// The kinds of streams.
const (
	Microphone Stream = 1
	Camera     Stream = 2
	Screen     Stream = 3
)

// String returns the stream's word in events.
func (s Stream) String() string {
	switch s {
	case Microphone:
		return "microphone"
	case Camera:
		return "camera"
	case Screen:
		return "screen"
	}
	return "invalid"
}
