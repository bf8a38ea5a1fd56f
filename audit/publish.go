package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"conclave/merkle"
	"conclave/store"
)

const (
	// checkpointKey holds the newest signed checkpoint in the store. Compare-and-set on it keeps two processes from
	// signing two histories.
	checkpointKey store.Key = "audit.checkpoint"
	// batch is how many records are read at once.
	batch = 4096
)

// Open holds the log against its last signed checkpoint, in the store and in the plain copy, whichever is newer, and returns
// it ready to record and to sign. Where they differ it refuses: the error says what is wrong and what to do.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	l := NewLog(cfg.Store)
	l.origin, l.key, l.copy = cfg.Origin, cfg.Key, cfg.Copy
	l.steady.read = cfg.Clocks
	l.keys = append([]merkle.Key{merkle.LogKey(cfg.Origin, cfg.Key.Public().(ed25519.PublicKey))}, cfg.Former...)
	if l.rand = cfg.Rand; l.rand == nil {
		l.rand = rand.Reader
	}
	known, err := l.known(ctx)
	if err != nil {
		return nil, err
	}
	last, err := l.store.Last(ctx, store.Audit)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	for _, k := range known {
		if merkle.Size(last) < k.Size {
			return nil, fmt.Errorf("audit: the log ends at record %d, but %d were signed in %s: records were lost. %s", last, k.Size, k.where, wayOut)
		}
	}
	if err := l.rehash(ctx, merkle.Size(last), known, cfg.Progress); err != nil {
		return nil, err
	}
	if err := l.finishErasure(ctx); err != nil {
		return nil, err
	}
	l.wake() // there may be records that no checkpoint covers
	return l, nil
}

const wayOut = "The server does not run on a log that is not whole. Run conclave audit restore, which brings back what the plain copy in the folder " +
	"audit holds; or put back the data folder from its backup and run it then. Nothing was changed"

// checkpoint is one that was signed earlier.
type checkpoint struct {
	*merkle.Checkpoint
	where string
}

// known returns the checkpoints that were signed last.
func (l *Log) known(ctx context.Context) ([]checkpoint, error) {
	var out []checkpoint
	add := func(signed []byte, where string) error {
		c, err := merkle.Open(signed, l.keys...)
		if err != nil {
			return fmt.Errorf("audit: the checkpoint in %s is not one of this log under its key: %v. "+
				"Put back the data folder from its backup; nothing was changed", where, err)
		}
		out = append(out, checkpoint{c, where})
		if c.Size >= l.size {
			l.signed, l.size = signed, c.Size
		}
		return nil
	}
	e, err := l.store.Get(ctx, checkpointKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if err == nil {
		l.revision = e.Revision
		if err := add(e.Value, "the store"); err != nil {
			return nil, err
		}
	}
	if l.copy == nil {
		return out, nil
	}
	signed, err := l.copy.Checkpoint()
	if err != nil {
		return nil, err
	}
	if signed != nil {
		if err := add(signed, "the plain copy"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rehash computes the tree anew from the stream, up to last, and compares its roots with the checkpoints.
func (l *Log) rehash(ctx context.Context, last merkle.Size, known []checkpoint, progress func(done, all merkle.Size)) error {
	compare := func() error {
		for _, k := range known {
			if k.Size == l.edge.Size() && k.Root != l.edge.Root() {
				return fmt.Errorf("audit: %s is not what was signed in %s. %s", l.differs(ctx, k.Size), k.where, wayOut)
			}
		}
		return nil
	}
	err := compare()
	for err == nil && l.edge.Size() < last {
		var records []store.Record
		if records, err = l.store.Read(ctx, store.Audit, store.Sequence(l.edge.Size()+1), batch); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		if len(records) == 0 {
			return fmt.Errorf("audit: the log ends at record %d, not at %d: records were lost. %s", l.edge.Size(), last, wayOut)
		}
		for _, r := range records {
			m, err := parseMessage(r.Value)
			if err != nil {
				return fmt.Errorf("audit: record %d: %w", r.Sequence, err)
			}
			l.edge.Append(merkle.LeafHash(m.leaf))
			if err := compare(); err != nil {
				return err
			}
		}
		if progress != nil {
			progress(l.edge.Size(), last)
		}
	}
	return err
}

// differs says which record is not the signed one, as far as the plain copy tells.
func (l *Log) differs(ctx context.Context, size merkle.Size) string {
	whole := fmt.Sprintf("one of the records 1 to %d", size)
	if l.copy == nil {
		return whole
	}
	for from := merkle.Index(0); merkle.Size(from) < size; from += merkle.TileWidth {
		width := int(min(size-merkle.Size(from), merkle.TileWidth))
		b, err := l.copy.Tile(0, uint64(from)/merkle.TileWidth, width)
		if err != nil {
			return whole
		}
		hashes, err := merkle.ParseTile(b, width)
		if err != nil {
			return whole
		}
		records, err := l.store.Read(ctx, store.Audit, store.Sequence(from+1), merkle.TileWidth)
		if err != nil {
			return whole
		}
		for i, r := range records {
			if m, err := parseMessage(r.Value); i < len(hashes) && (err != nil || merkle.LeafHash(m.leaf) != hashes[i]) {
				return fmt.Sprintf("record %d", r.Sequence)
			}
		}
	}
	return whole
}

// Publish signs a checkpoint over all records that are durable now and brings the plain copy up to it. It does nothing where
// nothing has changed. Records go on meanwhile.
func (l *Log) Publish(ctx context.Context, now time.Time) error {
	if l.key == nil {
		return errors.New("audit: this log has no key to sign with")
	}
	l.publishing.Lock()
	defer l.publishing.Unlock()
	if err := l.hashNew(ctx); err != nil {
		return err
	}
	signed, size := l.Checkpoint()
	if l.edge.Size() != size || l.revision == 0 {
		c := &merkle.Checkpoint{Origin: l.origin, Size: l.edge.Size(), Root: l.edge.Root()}
		var err error
		if signed, err = c.Sign(l.key); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		if err := l.keep(ctx, signed); err != nil {
			return err
		}
		l.mu.Lock()
		l.signed, l.size, l.signedAt = signed, c.Size, now
		l.cosigning.wanted(now)
		l.mu.Unlock()
	}
	return l.follow(ctx, signed, now)
}

// keep makes a checkpoint durable in the store.
func (l *Log) keep(ctx context.Context, signed []byte) (err error) {
	if l.revision == 0 {
		l.revision, err = l.store.Create(ctx, checkpointKey, signed)
	} else {
		var revision store.Revision
		if revision, err = l.store.CompareAndPut(ctx, checkpointKey, signed, l.revision); err == nil {
			l.revision = revision
		}
	}
	if errors.Is(err, store.ErrConflict) {
		// A write that failed but was written, or somebody else's.
		e, gone := l.store.Get(ctx, checkpointKey)
		if gone != nil {
			return fmt.Errorf("audit: keep checkpoint: %w", gone)
		}
		c, bad := merkle.Open(e.Value, l.keys...)
		if bad != nil || c.Size > l.edge.Size() {
			return errors.New("audit: somebody else signs checkpoints of this log")
		}
		l.revision = e.Revision
		l.revision, err = l.store.CompareAndPut(ctx, checkpointKey, signed, e.Revision)
	}
	if err != nil {
		return fmt.Errorf("audit: keep checkpoint: %w", err)
	}
	return nil
}

func (l *Log) hashNew(ctx context.Context) error {
	for {
		records, err := l.store.Read(ctx, store.Audit, store.Sequence(l.edge.Size()+1), batch)
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		for _, r := range records {
			m, err := parseMessage(r.Value)
			if err != nil {
				return fmt.Errorf("audit: record %d: %w", r.Sequence, err)
			}
			l.edge.Append(merkle.LeafHash(m.leaf))
		}
		if len(records) < batch {
			return nil
		}
	}
}

// follow brings the plain copy up to the newest checkpoint.
func (l *Log) follow(ctx context.Context, signed []byte, now time.Time) error {
	if l.copy == nil {
		return nil
	}
	for l.copy.Size() < l.edge.Size() {
		records, err := l.store.Read(ctx, store.Audit, store.Sequence(l.copy.Size()+1), min(batch, int(l.edge.Size()-l.copy.Size())))
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		for _, r := range records {
			m, err := parseMessage(r.Value)
			if err != nil {
				return fmt.Errorf("audit: record %d: %w", r.Sequence, err)
			}
			p, err := l.unseal(ctx, m)
			if err != nil {
				return fmt.Errorf("audit: record %d: %w", r.Sequence, err)
			}
			if err := l.copy.Add(m.leaf, p); err != nil {
				return err
			}
		}
	}
	return l.copy.Publish(signed, now)
}

// Checkpoint returns the newest signed checkpoint, nil if none was signed yet, and its size. It must not be changed.
func (l *Log) Checkpoint() ([]byte, merkle.Size) {
	s := l.State()
	return s.Signed, s.Size
}

// State is a signed state of the log.
type State struct {
	Signed []byte // the checkpoint, which must not be changed
	Size   merkle.Size
	// At is when it was begun to be signed, by our clock: what was recorded earlier stands in it. Zero: before the start.
	At time.Time
}

// State returns the newest signed state; the zero State if there is none yet.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return State{l.signed, l.size, l.signedAt}
}

// Consistency proves that the log as it was signed goes on from the log at size from. It reads the tiles of the plain copy,
// which must be there.
func (l *Log) Consistency(from merkle.Size, signed []byte) ([]merkle.Hash, error) {
	if l.copy == nil {
		return nil, errors.New("audit: proofs are made from the plain copy, and there is none")
	}
	c, err := merkle.Unverified(signed) // our own
	if err != nil {
		return nil, err
	}
	l.publishing.Lock() // the copy's partial tiles come and go with each checkpoint
	defer l.publishing.Unlock()
	return merkle.ProveConsistency(merkle.TileReader(c, l.copy.Tile), from, c.Size)
}
