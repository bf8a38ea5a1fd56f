package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// At most so much is asked of the engine at once: what it sends lies in memory until it is read.
const (
	batchRecords = 1024
	batchOctets  = 4 << 20
)

// Append implements Store.
func (s *JetStream) Append(ctx context.Context, stream Stream, record []byte) (Sequence, error) {
	if len(record) > MaxValue {
		return 0, fmt.Errorf("store: a record of %d bytes, at most %d", len(record), MaxValue)
	}
	ack, err := s.js.Publish(ctx, string(stream), record)
	if err != nil {
		return 0, fmt.Errorf("store: append to %s: %w", stream, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.marks.reached(s.dir, stream, Sequence(ack.Sequence)); err != nil {
		return 0, err
	}
	return Sequence(ack.Sequence), nil
}

// Last implements Store.
func (s *JetStream) Last(ctx context.Context, stream Stream) (Sequence, error) {
	st, err := s.js.Stream(ctx, string(stream))
	if err != nil {
		return 0, fmt.Errorf("store: read %s: %w", stream, err)
	}
	return Sequence(st.CachedInfo().State.LastSeq), nil
}

// Read implements Store.
func (s *JetStream) Read(ctx context.Context, stream Stream, from Sequence, limit int) ([]Record, error) {
	last, err := s.Last(ctx, stream)
	if err != nil {
		return nil, err
	}
	var records []Record
	next := max(from, 1)
	for next <= last && len(records) < limit {
		batch, err := s.readBatch(ctx, stream, next, min(limit-len(records), batchRecords))
		if err != nil {
			return nil, err
		}
		for _, r := range batch {
			if r.Sequence > last {
				return records, nil
			}
			if r.Sequence != next {
				break // a hole: a stream that denies deletion has none
			}
			records, next = append(records, r), r.Sequence+1
		}
		if len(batch) == 0 || batch[len(batch)-1].Sequence >= next {
			return nil, fmt.Errorf("store: record %d of %s cannot be read: it is damaged or missing. "+
				"Put back %s from its backup; nothing was changed", next, stream, s.dir)
		}
	}
	return records, nil
}

// readBatch reads the records that there are from a sequence on.
func (s *JetStream) readBatch(ctx context.Context, stream Stream, from Sequence, limit int) ([]Record, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	request, err := json.Marshal(struct {
		Seq      uint64 `json:"seq"`
		Batch    int    `json:"batch"`
		MaxBytes int    `json:"max_bytes"`
	}{uint64(from), limit, batchOctets})
	if err != nil {
		return nil, fmt.Errorf("store: read %s: %w", stream, err)
	}
	inbox := nats.NewInbox()
	sub, err := s.conn.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("store: read %s: %w", stream, err)
	}
	defer sub.Unsubscribe()
	// A slow reader must not lose what comes: all of one batch fits.
	if err := sub.SetPendingLimits(batchRecords+8, batchOctets+2*MaxValue); err != nil {
		return nil, fmt.Errorf("store: read %s: %w", stream, err)
	}
	if err := s.conn.PublishRequest("$JS.API.DIRECT.GET."+string(stream), inbox, request); err != nil {
		return nil, fmt.Errorf("store: read %s: %w", stream, err)
	}
	var records []Record
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("store: read %s: %w", stream, err)
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204", "404": // the batch's end; or nothing there
			return records, nil
		default:
			return nil, fmt.Errorf("store: read %s: the engine says %s", stream, status)
		}
		seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("store: read %s: a record without its place", stream)
		}
		records = append(records, Record{Sequence: Sequence(seq), Value: m.Data})
	}
}
