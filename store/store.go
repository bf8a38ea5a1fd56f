// Package store keeps the server's durable state: a key-value map with compare-and-set, and append-only streams. It is for
// identity, audit and server; it knows nothing of what the values mean and holds no cache.
//
// The engine is NATS JetStream, embedded: no port is opened, every write is synced to disk before it is acknowledged, and
// blocks are encrypted with a key that lies in a file of mode 0600. The encryption hides content from who copies the disk;
// it does not detect changes. JetStream was seen to start empty with a wrong key and to lose the tail of a stream after one
// flipped bit, each without an error; the sentinel and the marks of this package (sentinel.go) turn both into a refusal to
// start.
package store

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Key names a value: words of [A-Za-z0-9_=-] parted by dots, at most 200 bytes. "meeting.x" stands under the prefix
// "meeting".
type Key string

// Revision counts the writes of the whole store; a value's revision is that of its last write. 0 is no revision.
type Revision uint64

// Sequence is the place of a record in its stream. The first record has 1.
type Sequence uint64

// Stream names an append-only stream. The engine refuses to delete from it.
type Stream string

// Audit is the stream of records.
const Audit Stream = "audit"

// Devices is the stream of the device log's leaves.
const Devices Stream = "devices"

// streams are all streams that a store has.
var streams = []Stream{Audit, Devices}

// MaxValue is the greatest size of a value or a record in bytes. The largest is the public state of a room of 500 members
// with post-quantum keys: 705 kB of tree, with room to spare.
const MaxValue = 4 << 20

// Entry is a value as it was found. The receiver owns Value.
type Entry struct {
	Key      Key
	Value    []byte
	Revision Revision
	Written  time.Time // by the engine's clock
}

// Record is one record of a stream. The receiver owns Value.
type Record struct {
	Sequence Sequence
	Value    []byte
}

var (
	// ErrNotFound says that there is no value under the key.
	ErrNotFound = errors.New("store: not found")
	// ErrConflict says that the value is not at the revision that the caller saw, or exists already.
	ErrConflict = errors.New("store: the value has changed")
)

// Store is what the rest of the house sees of the engine: one node's or, later, a cluster's. A write has reached the disk
// when it returns nil; when it returns an error other than ErrConflict it may have been written or not. All methods are safe
// for concurrent use and keep no hold of what they are given.
type Store interface {
	// Get returns the value under key, or ErrNotFound.
	Get(ctx context.Context, key Key) (Entry, error)
	// Create writes a value where there is none, or returns ErrConflict.
	Create(ctx context.Context, key Key, value []byte) (Revision, error)
	// Put writes a value, whatever was there.
	Put(ctx context.Context, key Key, value []byte) (Revision, error)
	// CompareAndPut writes a value over the one of revision, or returns ErrConflict.
	CompareAndPut(ctx context.Context, key Key, value []byte, revision Revision) (Revision, error)
	// Delete removes the value under key; it is no error if there is none.
	Delete(ctx context.Context, key Key) error
	// List returns all entries under prefix, one or more whole words, in no order.
	List(ctx context.Context, prefix Key) ([]Entry, error)
	// Append writes a record at the end of a stream.
	Append(ctx context.Context, stream Stream, record []byte) (Sequence, error)
	// Read returns the records of a stream from a sequence on, at most limit of them; none at its end.
	Read(ctx context.Context, stream Stream, from Sequence, limit int) ([]Record, error)
	// Last returns the sequence of the newest record, 0 if there is none.
	Last(ctx context.Context, stream Stream) (Sequence, error)
	// DrawKey returns a new key and its slot, for one thing that may have to be erased from a stream: what is sealed
	// with the key is gone when the key is.
	DrawKey(ctx context.Context) (Slot, ShredKey, error)
	// ReadKey returns the key in a slot, or ErrNotFound if it was erased.
	ReadKey(ctx context.Context, slot Slot) (ShredKey, error)
	// EraseKeys overwrites keys; it is no error if one is erased already.
	EraseKeys(ctx context.Context, slots []Slot) error
}

// check says whether the engine can hold such a key.
func (k Key) check() error {
	if len(k) == 0 || len(k) > 200 {
		return errors.New("store: a key has 1 to 200 bytes")
	}
	for word := range strings.SplitSeq(string(k), ".") {
		if word == "" {
			return errors.New("store: a key has an empty word")
		}
		for i := range len(word) {
			c := word[i]
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '=') {
				return errors.New("store: a key has a byte outside [A-Za-z0-9_=.-]")
			}
		}
	}
	return nil
}
