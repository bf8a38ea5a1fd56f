package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"time"

	"conclave/merkle"
	"conclave/store"
)

// Config is what a Log that signs needs.
type Config struct {
	Store  store.Store
	Origin string             // merkle.Origin(organisation, "audit")
	Key    ed25519.PrivateKey // signs checkpoints
	Former []merkle.Key       // whose earlier checkpoints count too, after a change of keys
	Copy   Copy               // the plain copy; nil: none
	Rand   io.Reader          // nil: crypto/rand
	// Clocks are held against each other, so that records tell of a clock that was set. nil: they do not.
	Clocks Clocks
	// Progress is told now and then how much of the log was verified at the start; may be nil.
	Progress func(done, all merkle.Size)
}

// Copy is a plain copy of the log, which follows it. Only one goroutine calls it at a time.
type Copy interface {
	// Checkpoint returns the last signed checkpoint that the copy has, nil if it has none.
	Checkpoint() ([]byte, error)
	// Size returns how many leaves the copy has; Add goes on from there.
	Size() merkle.Size
	// Add takes the next leaf and its personal part, nil if there is none.
	Add(leaf, part []byte) error
	// Publish makes all that was added visible under a checkpoint of that size.
	Publish(signed []byte, now time.Time) error
	// Cosigned keeps the newest checkpoint that witnesses have signed.
	Cosigned(signed []byte) error
	// Erase removes the personal parts of records for good.
	Erase(spans []Span) error
	// Tile returns the content of a tile of hashes, at least width of them.
	Tile(level int, n uint64, width int) ([]byte, error)
}

// Log is the audit log over the store's stream. It is safe for concurrent use.
type Log struct {
	store  store.Store
	rand   io.Reader
	origin string
	key    ed25519.PrivateKey // nil: records only
	keys   []merkle.Key       // whose checkpoints are this log's
	copy   Copy
	// changed has a value when there are records that no checkpoint covers.
	changed chan struct{}

	scribe  scribe
	steady  steady
	erasing sync.Mutex // one erasure at a time

	publishing sync.Mutex     // guards what follows up to mu, and the copy
	edge       merkle.Edge    // of all leaves that were hashed
	revision   store.Revision // of the checkpoint in the store

	mu        sync.Mutex
	signed    []byte      // the newest checkpoint; guarded by mu, never changed in place
	size      merkle.Size // of signed; guarded by mu
	signedAt  time.Time   // when it was begun to be signed; guarded by mu
	cosigning cosigning   // guarded by mu
}

// NewLog returns a log in st that records and reads but signs nothing: for tests of what records, and for tools.
func NewLog(st store.Store) *Log {
	return &Log{store: st, rand: rand.Reader, changed: make(chan struct{}, 1), scribe: scribe{asked: make(chan struct{}, 1)}}
}

// append writes a record at the end of the stream.
func (l *Log) append(ctx context.Context, r Record) (Index, error) {
	b, err := l.encode(ctx, r)
	if err != nil {
		return 0, err
	}
	seq, err := l.store.Append(ctx, store.Audit, b)
	// Even if it failed the record may stand there.
	l.wake()
	if err != nil {
		return 0, fmt.Errorf("audit: record %s: %w", r.Kind, err)
	}
	return Index(seq), nil
}

// encode returns a record as it goes into the stream.
func (l *Log) encode(ctx context.Context, r Record) ([]byte, error) {
	leafBytes, partBytes, err := split(r, l.rand)
	if err != nil {
		return nil, fmt.Errorf("audit: encode %s: %w", r.Kind, err)
	}
	b, err := l.seal(ctx, leafBytes, partBytes)
	if err != nil {
		return nil, fmt.Errorf("audit: record %s: %w", r.Kind, err)
	}
	return b, nil
}

func (l *Log) wake() {
	select {
	case l.changed <- struct{}{}:
	default: // it has a value already
	}
}

// Changed has a value when Publish has something to do.
func (l *Log) Changed() <-chan struct{} { return l.changed }

// Read returns at most limit records from a number on.
func (l *Log) Read(ctx context.Context, from Index, limit int) ([]Entry, error) {
	records, err := l.store.Read(ctx, store.Audit, store.Sequence(from), limit)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	entries := make([]Entry, len(records))
	for i, r := range records {
		e, _, err := l.entry(ctx, r)
		if err != nil {
			return nil, err
		}
		entries[i] = e
	}
	return entries, nil
}

// entry reads one record of the stream.
func (l *Log) entry(ctx context.Context, r store.Record) (Entry, message, error) {
	fail := func(err error) (Entry, message, error) {
		return Entry{}, message{}, fmt.Errorf("audit: record %d: %w", r.Sequence, err)
	}
	m, err := parseMessage(r.Value)
	if err != nil {
		return fail(err)
	}
	p, err := l.unseal(ctx, m)
	if err != nil {
		return fail(err)
	}
	record, missing, err := Join(m.leaf, p)
	if err != nil {
		return fail(err)
	}
	return Entry{Index: Index(r.Sequence), Record: record, Erased: missing}, m, nil
}
