package audit

import (
	"context"
	"fmt"
	"iter"

	"conclave/merkle"
	"conclave/store"
)

// CopyLeaf is a record as a plain copy has it.
type CopyLeaf struct {
	Leaf []byte
	Part []byte // the personal part; nil: none, or erased
}

// Restore brings back what the stream in st has lost at its end from a plain copy that was verified: leaves yields all its
// leaves from the first on. Nothing is written where the stream has a record that is not the copy's. It returns how many
// records were brought back; what the stream has beyond the copy stays.
func Restore(ctx context.Context, st store.Store, leaves iter.Seq2[CopyLeaf, error]) (added uint64, err error) {
	l := NewLog(st)
	last, err := st.Last(ctx, store.Audit)
	if err != nil {
		return 0, fmt.Errorf("audit: %w", err)
	}
	var have []store.Record
	at := store.Sequence(0)
	for c, err := range leaves {
		if err != nil {
			return added, err
		}
		at++
		if at > last {
			if err := l.bringBack(ctx, c, at); err != nil {
				return added, err
			}
			added++
			continue
		}
		if len(have) == 0 {
			if have, err = st.Read(ctx, store.Audit, at, batch); err != nil {
				return 0, fmt.Errorf("audit: %w", err)
			}
		}
		m, err := parseMessage(have[0].Value)
		if err != nil || merkle.LeafHash(m.leaf) != merkle.LeafHash(c.Leaf) {
			return 0, fmt.Errorf("audit: record %d in the store is not the copy's: put back the data folder from its backup first; nothing was changed", at)
		}
		have = have[1:]
	}
	return added, nil
}

// bringBack appends a record, which must come to stand at a place.
func (l *Log) bringBack(ctx context.Context, c CopyLeaf, at store.Sequence) error {
	b, err := l.seal(ctx, append([]byte(nil), c.Leaf...), c.Part)
	if err != nil {
		return fmt.Errorf("audit: restore: %w", err)
	}
	seq, err := l.store.Append(ctx, store.Audit, b)
	if err != nil {
		return fmt.Errorf("audit: restore: %w", err)
	}
	if seq != at {
		return fmt.Errorf("audit: restore: record %d came to stand in the place of %d: somebody else writes", at, seq)
	}
	return nil
}
