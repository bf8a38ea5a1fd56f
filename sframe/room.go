package sframe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// RoomSuite is the only suite that rooms use.
const RoomSuite = AES256GCMSHA512Tag128

// Sizes of what a room sends.
const (
	BaseKeySize = 32        // exported from MLS for each epoch; the label is BaseKeyLabel
	HeaderSize  = 1 + 4 + 4 // always: KID and CTR are kept where they take four bytes
	Overhead    = HeaderSize + 16
)

// BaseKeyLabel is the exporter label of RFC 9605, Section 5.2; the context is empty.
const BaseKeyLabel = "SFrame 1.0 Base Key"

// firstCounter and lastCounter are where a counter takes four bytes.
const (
	firstCounter = 1 << 24
	lastCounter  = 1<<32 - 1
)

// headerByte opens each frame of a room: KID and CTR of four bytes.
const headerByte = 0x80 | 3<<4 | 0x08 | 3

// Leaf is the index of a member's leaf in the group's tree.
type Leaf uint32

// MaxLeaf is the highest leaf that a KID can name.
const MaxLeaf Leaf = 1<<12 - 1

// Context tells the streams of one leaf apart: every start of a sending stream, worker or layer has one of its own, which
// was never used under the keys of any epoch that it will seal in (package endpoint hands them out).
type Context uint16

// The contexts. The highest bit is always set, so that KIDs are of one size.
const (
	FirstContext Context = 0x800
	LastContext  Context = 0xFFF
)

// Kind is what a stream carries. It is authenticated with each frame.
type Kind uint8

// The kinds of streams.
const (
	Microphone Kind = 1
	Camera     Kind = 2
	Screen     Kind = 3
)

// Errors of the room's layer.
var (
	ErrExhausted    = errors.New("sframe: counter is used up")
	ErrEpoch        = errors.New("sframe: epoch is not newer")
	ErrUnknownEpoch = errors.New("sframe: no key for the frame's epoch")
	ErrNotMember    = errors.New("sframe: frame names a leaf that is not in its epoch's tree")
	ErrReplay       = errors.New("sframe: frame was opened before, or is too old to tell")
	ErrCrowded      = errors.New("sframe: leaf has started too many streams in this epoch")
	errArgument     = errors.New("sframe: leaf, context or base key is out of range")
)

// kidOf is the layout of RFC 9605, Section 5.2, with fixed sizes: context (12 bits), leaf (12), epoch mod 256 (8).
func kidOf(c Context, leaf Leaf, epoch uint64) uint32 {
	return uint32(c)<<20 | uint32(leaf)<<8 | uint32(epoch&0xff)
}

func splitKID(kid uint32) (Context, Leaf, uint8) {
	return Context(kid >> 20), Leaf(kid >> 8 & 0xfff), uint8(kid)
}

// Sender seals the frames of one stream. It owns the stream's counter, which nobody can read, set or copy into another
// Sender. One goroutine at a time may use it.
type Sender struct {
	_       [0]func() // secret: not comparable
	key     *Key
	kind    Kind
	context Context
	leaf    Leaf
	epoch   uint64
	next    uint64
	meta    [1 + maxPrefix]byte
}

// NewSender makes a sender of a stream that starts now, with a context that was never used in this group. It copies what
// it needs of baseKey, the epoch's.
func NewSender(baseKey []byte, epoch uint64, leaf Leaf, context Context, kind Kind) (*Sender, error) {
	if context < FirstContext || context > LastContext || leaf > MaxLeaf || kind < Microphone || kind > Screen {
		return nil, errArgument
	}
	s := &Sender{kind: kind, context: context, leaf: leaf}
	s.meta[0] = byte(kind)
	return s, s.enter(baseKey, epoch)
}

// Enter goes on under a newer epoch's base key. It fails with ErrEpoch, and changes nothing, if epoch is not newer: to
// start the counter again under the same key would give the plaintexts away.
func (s *Sender) Enter(baseKey []byte, epoch uint64) error {
	if epoch <= s.epoch {
		return ErrEpoch
	}
	return s.enter(baseKey, epoch)
}

func (s *Sender) enter(baseKey []byte, epoch uint64) error {
	if len(baseKey) != BaseKeySize {
		return errArgument
	}
	key, err := NewKey(RoomSuite, baseKey, uint64(kidOf(s.context, s.leaf, epoch)))
	if err != nil {
		return err
	}
	s.Wipe()
	s.key, s.epoch, s.next = key, epoch, firstCounter
	return nil
}

// Seal appends prefix and sealed frame to dst. prefix goes in clear and is authenticated; nil for a microphone. What is
// appended is len(prefix) + Overhead + len(frame) bytes. It fails with ErrExhausted once the counter is used up, or after
// Wipe; dst is returned unchanged then.
func (s *Sender) Seal(dst, prefix, frame []byte) ([]byte, error) {
	if s.key == nil || s.next > lastCounter || len(prefix) > maxPrefix {
		return dst, ErrExhausted
	}
	ctr := s.next
	s.next++ // first, so that no panic below can make it come again
	n := 1 + copy(s.meta[1:], prefix)
	return s.key.Seal(append(dst, prefix...), s.meta[:n], frame, ctr), nil
}

// Wipe ends the sender.
func (s *Sender) Wipe() {
	if s.key != nil {
		s.key.wipe()
		s.key = nil
	}
}

// Format implements fmt.Formatter: a sender has nothing to show.
func (s *Sender) Format(f fmt.State, _ rune) { io.WriteString(f, "sframe.Sender") }

// LogValue implements slog.LogValuer.
func (s *Sender) LogValue() slog.Value { return slog.StringValue("sframe.Sender") }

// maxPrefix is the longest prefix, in bytes.
const maxPrefix = 10

// What depacketisers, jitter buffers and SFUs look at in a VP8 frame, without anything of the frame: RFC 6386, Section
// 9.1. A delta frame is one octet with the lowest bit set; a key frame has its start code and a size of 16 x 16.
var (
	deltaPrefix = []byte{0x01}
	keyPrefix   = []byte{0x00, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0x10, 0x00, 0x10, 0x00}
)

// VideoPrefix returns what stands in clear before a sealed VP8 frame. The caller must not change it.
func VideoPrefix(keyFrame bool) []byte {
	if keyFrame {
		return keyPrefix
	}
	return deltaPrefix
}

// CutVideoPrefix parts the payload of a video stream. ok is false if it begins with neither prefix.
func CutVideoPrefix(payload []byte) (prefix, sealed []byte, keyFrame, ok bool) {
	if bytes.HasPrefix(payload, keyPrefix) {
		return payload[:len(keyPrefix)], payload[len(keyPrefix):], true, true
	}
	if bytes.HasPrefix(payload, deltaPrefix) {
		return payload[:len(deltaPrefix)], payload[len(deltaPrefix):], false, true
	}
	return nil, nil, false, false
}
