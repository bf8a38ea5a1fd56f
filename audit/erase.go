package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"conclave/store"
)

// Erasure is what an erasure did.
type Erasure struct {
	Records uint64 // whose personal parts are gone now
	Spans   []Span
}

// erasingKey holds the spans of an erasure that is under way, so that a crash does not leave it half done.
const erasingKey store.Key = "audit.erasing"

// maxSpans bounds one record of erasure: a leaf has 64 kB, a span takes at most 56.
const maxSpans = 1000

// maxIntent bounds what is erased in one go: the intent is one value of the store.
const maxIntent = 50_000

// Erase erases the personal parts of the records that match. That it does is a record first; then the keys of the parts are
// overwritten, and the plain copy. Records whose part is gone already are not shown to match. What is recorded meanwhile may
// be missed.
func (l *Log) Erase(ctx context.Context, now time.Time, match func(Entry) bool) (Erasure, error) {
	l.erasing.Lock()
	defer l.erasing.Unlock()
	// One that failed halfway is on record: it is done before the next takes the place of its intent.
	if err := l.finishErasure(ctx); err != nil {
		return Erasure{}, err
	}
	var out Erasure
	for from := store.Sequence(1); ; {
		records, err := l.store.Read(ctx, store.Audit, from, batch)
		if err != nil {
			return Erasure{}, fmt.Errorf("audit: %w", err)
		}
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			e, m, err := l.entry(ctx, r)
			if err != nil {
				return Erasure{}, err
			}
			if m.sealed != nil && !e.Erased && match(e) {
				out.add(e.Index)
			}
		}
		from += store.Sequence(len(records))
	}
	for rest := out.Spans; len(rest) > 0; {
		n := min(len(rest), maxIntent)
		if err := l.erase(ctx, rest[:n], now); err != nil {
			return out, err
		}
		rest = rest[n:]
	}
	return out, nil
}

func (e *Erasure) add(i Index) {
	e.Records++
	if n := len(e.Spans); n > 0 && e.Spans[n-1].To+1 == i {
		e.Spans[n-1].To = i
		return
	}
	e.Spans = append(e.Spans, Span{i, i})
}

// erase carries an erasure out. Each step may be done again.
func (l *Log) erase(ctx context.Context, spans []Span, now time.Time) error {
	intent, err := json.Marshal(erasing{now, spans})
	if err != nil {
		return fmt.Errorf("audit: erase: %w", err)
	}
	if _, err := l.store.Put(ctx, erasingKey, intent); err != nil {
		return fmt.Errorf("audit: erase: %w", err)
	}
	for rest := spans; len(rest) > 0; {
		n := min(len(rest), maxSpans)
		if _, err := l.Record(ctx, Record{Kind: KindErasure, Time: now.UTC(), Erased: rest[:n], Size: count(rest[:n])}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	var slots []store.Slot
	for _, s := range spans {
		for from := s.From; from <= s.To; {
			records, err := l.store.Read(ctx, store.Audit, store.Sequence(from), min(batch, int(s.To-from)+1))
			if err != nil {
				return fmt.Errorf("audit: erase: %w", err)
			}
			if len(records) == 0 {
				return errors.New("audit: erase: there are no such records")
			}
			for _, r := range records {
				m, err := parseMessage(r.Value)
				if err != nil {
					return fmt.Errorf("audit: record %d: %w", r.Sequence, err)
				}
				if m.sealed != nil {
					slots = append(slots, m.slot)
				}
			}
			from += Index(len(records))
		}
	}
	if err := l.store.EraseKeys(ctx, slots); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if l.copy != nil {
		// First the record of it: a copy that lacks parts without one does not verify.
		if err := l.Publish(ctx, now); err != nil {
			return err
		}
		l.publishing.Lock()
		err := l.copy.Erase(spans)
		l.publishing.Unlock()
		if err != nil {
			return err
		}
	}
	if err := l.store.Delete(ctx, erasingKey); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

type erasing struct {
	Time  time.Time `json:"time"`
	Spans []Span    `json:"spans"`
}

// finishErasure does what a crash left undone.
func (l *Log) finishErasure(ctx context.Context) error {
	e, err := l.store.Get(ctx, erasingKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	var todo erasing
	if err == nil {
		err = json.Unmarshal(e.Value, &todo)
	}
	if err != nil {
		return fmt.Errorf("audit: finish an erasure: %w", err)
	}
	return l.erase(ctx, todo.Spans, todo.Time)
}

func count(spans []Span) (n uint64) {
	for _, s := range spans {
		n += uint64(s.To - s.From + 1)
	}
	return n
}
