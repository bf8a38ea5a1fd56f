package sframe

import (
	"crypto/hkdf"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Grace is how long frames of an epoch are opened after a newer one came: those that were on their way.
const Grace = 10 * time.Second

// maxContexts bounds the streams that one leaf may start in one epoch. A member who opens a camera every ten seconds for
// an hour, the longest life of an epoch, starts 360; only a member can start any.
const maxContexts = 512

// windowSize is how far behind the newest counter of a KID a frame may come, in frames: 20 s of speech.
const windowSize = 1024

// Keyring opens what a room's members have sealed. Nobody opens by trial: each KID has one key. One goroutine at a time
// may use it.
type Keyring struct {
	_      [0]func() // secret: not comparable
	epochs map[uint8]*epochKeys
	newest uint64
	any    bool
	meta   [1 + maxPrefix]byte
}

// epochKeys is what one epoch opens.
type epochKeys struct {
	number  uint64
	secret  []byte // sframe_secret of Section 4.4.2
	until   time.Time
	ending  bool // until is set
	members map[Leaf]int
	streams map[uint32]*stream
	// candidate is the key last derived for a KID from which nothing has authenticated yet: a flood of frames under one
	// forged KID derives once, and stores nothing.
	candidate *stream
}

// stream is one KID.
type stream struct {
	kid    uint32
	key    *Key
	window window
}

// From says who sealed a frame.
type From struct {
	Leaf    Leaf
	Context Context
	Epoch   uint64
	Counter uint32 // of the frame: with the rest it names it
}

// NewKeyring returns an empty Keyring.
func NewKeyring() *Keyring { return &Keyring{epochs: map[uint8]*epochKeys{}} }

// Add takes the base key of an epoch, which it does not keep, and the leaves of the epoch's tree. Older epochs end Grace
// after now, at once where KIDs could be mistaken for the new one's (RFC 9605, Section 5.2). It fails with ErrEpoch if
// the epoch is not newer than all before.
func (k *Keyring) Add(epoch uint64, baseKey []byte, members []Leaf, now time.Time) error {
	if k.any && epoch <= k.newest {
		return ErrEpoch
	}
	if len(baseKey) != BaseKeySize {
		return errArgument
	}
	e := &epochKeys{number: epoch, members: map[Leaf]int{}, streams: map[uint32]*stream{}}
	for _, leaf := range members {
		if leaf > MaxLeaf {
			return errArgument
		}
		e.members[leaf] = 0
	}
	// Last, so that no error leaves it behind.
	var err error
	if e.secret, err = hkdf.Extract(sha512.New, baseKey, nil); err != nil {
		return fmt.Errorf("sframe: derive key: %v", err)
	}
	k.Expire(now)
	for _, old := range k.epochs {
		if !old.ending {
			old.until, old.ending = now.Add(Grace), true
		}
	}
	if old := k.epochs[uint8(epoch)]; old != nil {
		old.wipe()
	}
	k.epochs[uint8(epoch)] = e
	k.newest, k.any = epoch, true
	return nil
}

// Retire ends an epoch now.
func (k *Keyring) Retire(epoch uint64) {
	if e := k.epochs[uint8(epoch)]; e != nil && e.number == epoch {
		e.wipe()
		delete(k.epochs, uint8(epoch))
	}
}

// Bar has no frame of a leaf opened any more in any epoch that the Keyring has, the newest included.
func (k *Keyring) Bar(leaf Leaf) {
	for _, e := range k.epochs {
		delete(e.members, leaf)
	}
}

// Expire wipes the epochs whose grace is over at now. Open refuses them even if Expire is never called.
func (k *Keyring) Expire(now time.Time) {
	for low, e := range k.epochs {
		if e.over(now) {
			e.wipe()
			delete(k.epochs, low)
		}
	}
}

// Wipe ends all epochs.
func (k *Keyring) Wipe() {
	for _, e := range k.epochs {
		e.wipe()
	}
	clear(k.epochs)
}

// Open appends the plaintext of sealed, an SFrame ciphertext, to dst, and says who sealed it. kind is that of the slot in
// which it came, prefix what stood before it in clear. With ErrUnknownEpoch it may be tried again once the epoch is
// there; all other errors are final. dst and sealed must not overlap. Whether From is who the slot was given to is for
// the caller to compare.
func (k *Keyring) Open(dst []byte, kind Kind, prefix, sealed []byte, now time.Time) ([]byte, From, error) {
	if len(sealed) < Overhead || sealed[0] != headerByte || len(prefix) > maxPrefix {
		return dst, From{}, ErrHeader
	}
	kid, ctr := binary.BigEndian.Uint32(sealed[1:]), binary.BigEndian.Uint32(sealed[5:])
	context, leaf, low := splitKID(kid)
	if context < FirstContext || ctr < firstCounter {
		return dst, From{}, ErrHeader
	}
	e := k.epochs[low]
	if e == nil || e.over(now) {
		return dst, From{}, ErrUnknownEpoch
	}
	from := From{Leaf: leaf, Context: context, Epoch: e.number, Counter: ctr}
	if _, ok := e.members[leaf]; !ok {
		return dst, from, ErrNotMember
	}
	s, err := e.stream(kid)
	if err != nil {
		return dst, from, err
	}
	if !s.window.fresh(ctr) {
		return dst, from, ErrReplay
	}
	k.meta[0] = byte(kind)
	n := 1 + copy(k.meta[1:], prefix)
	out, err := s.key.Open(dst, k.meta[:n], sealed, Header{KID: uint64(kid), CTR: uint64(ctr)}, HeaderSize)
	if err != nil {
		return dst, from, err
	}
	if err := e.keep(s, leaf); err != nil {
		clear(out[len(dst):])
		return dst, from, err
	}
	s.window.mark(ctr)
	return out, from, nil
}

// stream returns the stream of kid. One from which nothing has authenticated is only a candidate.
func (e *epochKeys) stream(kid uint32) (*stream, error) {
	if s := e.streams[kid]; s != nil {
		return s, nil
	}
	if e.candidate != nil && e.candidate.kid == kid {
		return e.candidate, nil
	}
	key, err := deriveKey(RoomSuite, e.secret, uint64(kid))
	if err != nil {
		return nil, err
	}
	if e.candidate != nil {
		e.candidate.key.wipe()
	}
	e.candidate = &stream{kid: kid, key: key}
	return e.candidate, nil
}

// keep makes a candidate from which a frame has authenticated one of the leaf's streams.
func (e *epochKeys) keep(s *stream, leaf Leaf) error {
	if s != e.candidate {
		return nil
	}
	if e.members[leaf] >= maxContexts {
		return ErrCrowded
	}
	e.members[leaf]++
	e.streams[s.kid] = s
	e.candidate = nil
	return nil
}

func (e *epochKeys) over(now time.Time) bool { return e.ending && !now.Before(e.until) }

func (e *epochKeys) wipe() {
	clear(e.secret)
	for _, s := range e.streams {
		s.key.wipe()
	}
	if e.candidate != nil {
		e.candidate.key.wipe()
	}
	e.streams, e.candidate, e.members = nil, nil, nil
}

// Format implements fmt.Formatter: a keyring has nothing to show.
func (k *Keyring) Format(f fmt.State, _ rune) { io.WriteString(f, "sframe.Keyring") }

// LogValue implements slog.LogValuer.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue("sframe.Keyring") }

// window remembers which of the last windowSize counters were opened. It is asked before and marked after a frame
// authenticated, so that forged counters cannot move it. The zero value has seen nothing.
type window struct {
	newest uint32 // 0: nothing yet; counters of a room are never 0
	seen   [windowSize / 64]uint64
}

func (w *window) fresh(ctr uint32) bool {
	if ctr > w.newest {
		return true
	}
	if w.newest-ctr >= windowSize {
		return false
	}
	return w.seen[ctr%windowSize/64]&(1<<(ctr%64)) == 0
}

func (w *window) mark(ctr uint32) {
	if ctr > w.newest {
		if ctr-w.newest >= windowSize {
			clear(w.seen[:])
		} else {
			for c := w.newest + 1; c != ctr; c++ {
				w.seen[c%windowSize/64] &^= 1 << (c % 64)
			}
		}
		w.newest = ctr
	}
	w.seen[ctr%windowSize/64] |= 1 << (ctr % 64)
}
