package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"conclave/audit"
	"conclave/store"
)

const keysSeen store.Key = "keys.seen"

// noteKeys records that the organisation's keys are others than when the server last started: they are granted and withdrawn
// with the root key, while it does not run.
func (s *Server) noteKeys(ctx context.Context) error {
	h := sha256.New()
	for _, g := range slices.Concat(s.cfg.Organisation.Grants, [][]byte{s.cfg.Organisation.Withdrawn()}) {
		sum := sha256.Sum256(g)
		h.Write(sum[:])
	}
	now := h.Sum(nil)
	seen, err := s.cfg.Store.Get(ctx, keysSeen)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("server: %w", err)
	}
	if err == nil && bytes.Equal(seen.Value, now) {
		return nil
	}
	if _, err := s.audit.Record(ctx, audit.Record{Kind: audit.KindKeys, Time: s.now(), Commitment: now}); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if _, err := s.cfg.Store.Put(ctx, keysSeen, now); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}
