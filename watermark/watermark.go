// Package watermark marks sound so that a recording of it tells which leg it was played on, and finds that mark again.
//
// Media are sealed end to end, so no server can mark them; every receiver marks what it plays, with a key of its own. The
// embedder (Embedder) turns 54 bands of 125 Hz up or down by a little, every 80 ms, in a pattern that looks like chance
// to whoever lacks the keys. The detector (Analyse, Sound.Search) finds the pattern's time by the organisation's key and then
// says which of many legs' keys fits, with an upper bound on the probability that an innocent leg fits as well. The
// browser has the embedder again in TypeScript (web/src/mark); testdata/golden.json holds both to the same samples.
//
// It does no input or output and knows no clock: samples go in and come out. Nobody is stopped by it: who changes
// their client can leave the mark out.
//
// Sources: Kirovski and Malvar, "Spread-spectrum watermarking of audio signals", IEEE TSP 51(4), 2003; Tachibana,
// Shimizu, Kobayashi and Nakamura, "An audio watermarking method using a two-dimensional pseudo-random array", 2002. The
// bound is Chernoff's on a sum of fair coins.
package watermark

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"conclave"
)

// The pattern: a chip for each slot and band, a byte of the leg's code for each tile.
const (
	// Bands is the number of frequency bands, each BandWidth wide, from FirstEdge up.
	Bands = 54
	// NarrowBands are the lowest ones, which a telephone transmits.
	NarrowBands = 25
	// BandWidth and FirstEdge are in hertz.
	BandWidth = 125
	FirstEdge = 250

	// SlotsPerSecond makes slots of 80 ms: about a syllable's half, so that a codec's frames and a room's echo do not smear them.
	SlotsPerSecond = 12.5
	// Period is the number of slots after which the signs of S come again: 5.12 s.
	Period = 64
	// TileSlots is the number of slots that carry the same byte.
	TileSlots = 4
	// PeriodTiles is the number of tiles in a period.
	PeriodTiles = Period / TileSlots

	groups     = 12 // of bands, interleaved; in each tile 4 are pilots and 8 carry a bit each
	codeGroups = 8

	// NarrowStrength is how far a chip turns one of the NarrowBands up or down, WideStrength one of the others, in decibels. A
	// telephone leaves less to read, so there is more to be read in its bands.
	NarrowStrength = 2.5
	WideStrength   = 2.0
)

// TileDuration is the time that one byte of a leg's code takes.
const TileDuration = 320 * time.Millisecond

// KeySize is the size of a leg's key, SyncSize that of an organisation's sync key, in bytes.
const (
	KeySize  = 16
	SyncSize = 32
)

// ErrKey is returned for a key of the wrong size.
var ErrKey = errors.New("watermark: key of the wrong size")

// Key is a leg's key. Whoever has it can tell that leg's sound from others, and could make sound that points at that leg, so
// a leg seals it for the investigators and keeps it to itself.
type Key struct {
	_ [0]func() // not comparable
	b [KeySize]byte
}

// NewKey returns the key made of KeySize bytes, which are copied.
func NewKey(b []byte) (*Key, error) {
	if len(b) != KeySize {
		return nil, ErrKey
	}
	k := new(Key)
	copy(k.b[:], b)
	return k, nil
}

// Bytes returns a copy of the key, for sealing.
func (k *Key) Bytes() []byte { return append([]byte(nil), k.b[:]...) }

// Wipe overwrites the key.
func (k *Key) Wipe() { clear(k.b[:]) }

// Format implements fmt.Formatter: a key never prints.
func (k *Key) Format(f fmt.State, _ rune) { io.WriteString(f, "mark key") }

// Commitment is what stands in the meeting's record for a key, so that neither the server nor an investigator can put
// another in its place later: SHA-256 of a prefix, the meeting, the leg and the key.
func (k *Key) Commitment(meeting conclave.MeetingID, leg conclave.LegID) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte("Conclave mark 1\x00"))
	h.Write(meeting[:])
	h.Write(leg[:])
	h.Write(k.b[:])
	return [sha256.Size]byte(h.Sum(nil))
}

// Sync is the signs of S, by which a detector finds the pattern's time: +1 or -1 for each slot of a period and band. It
// follows from the organisation's sync key and is the same on all legs.
type Sync [Period][Bands]int8

// NewSync derives the signs from a key of SyncSize bytes.
func NewSync(key []byte) (*Sync, error) {
	if len(key) != SyncSize {
		return nil, ErrKey
	}
	var bits [Period * Bands / 8]byte
	stream(derive(key, "sync"), bits[:], 0)
	s := new(Sync)
	for i := range Period * Bands {
		s[i/Bands][i%Bands] = 1 - 2*int8(bits[i/8]>>(i%8)&1)
	}
	return s, nil
}

// Signs returns the signs as bytes, slot by slot: 0 is +1, 1 is -1. The browser's worklet takes them so.
func (s *Sync) Signs() []byte {
	out := make([]byte, 0, Period*Bands)
	for slot := range s {
		for _, sign := range s[slot] {
			out = append(out, byte(1-sign)/2)
		}
	}
	return out
}

// Code is a leg's code: a byte for each tile since the leg began to mark.
type Code struct{ block cipher.Block }

// Code derives the leg's code from its key.
func (k *Key) Code() *Code { return &Code{derive(k.b[:], "leg")} }

// Fill writes the bytes of the tiles from first on.
func (c *Code) Fill(dst []byte, first int) { stream(c.block, dst, first) }

// derive returns the block cipher for a purpose: AES-128 under the first half of HMAC-SHA-256.
func derive(key []byte, purpose string) cipher.Block {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("Conclave mark 1 " + purpose))
	block, err := aes.NewCipher(mac.Sum(nil)[:16])
	if err != nil {
		panic("watermark: AES-128 takes 16 bytes: " + err.Error())
	}
	return block
}

// stream writes bytes first… of the cipher's counter mode, whose counter begins with zero, without allocating.
func stream(block cipher.Block, dst []byte, first int) {
	var buf [2 * aes.BlockSize]byte // counter and its block: one array, which escapes once a call at most
	for len(dst) > 0 {
		binary.BigEndian.PutUint64(buf[8:16], uint64(first/aes.BlockSize))
		block.Encrypt(buf[16:], buf[:16])
		n := copy(dst, buf[16+first%aes.BlockSize:])
		dst, first = dst[n:], first+n
	}
}

// pilot says whether a group of bands carries no bit in a tile, so that sound can be aligned before any leg is tried.
func pilot(tile, group int) bool { return (group+tile%PeriodTiles)%3 == 0 }

// codeBit returns which bit of its tile's byte a group carries, for each tile of a period and group; -1 for a pilot.
var codeBit = func() (bits [PeriodTiles][groups]int8) {
	for tile := range bits {
		k := int8(0)
		for g := range groups {
			bits[tile][g] = -1
			if !pilot(tile, g) {
				bits[tile][g] = k
				k++
			}
		}
	}
	return bits
}()

// chip returns the sign of a band in a slot, whose tile has the code byte b.
func (s *Sync) chip(slot, band int, b byte) int8 {
	sign := s[slot%Period][band]
	if k := codeBit[slot/TileSlots%PeriodTiles][band%groups]; k >= 0 && b>>k&1 == 1 {
		return -sign
	}
	return sign
}
