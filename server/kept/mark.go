package kept

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/store"
)

// Marks: each leg draws the key with which it marks what it plays, and hands it in sealed. The server commits to it in the
// log and keeps it; it can neither read it nor put another in its place.

const (
	// markPrefix is where the keys lie: mark.<meeting>.<leg>.
	markPrefix = "mark"
	// markSealed is the size of a sealed key: 16 bytes and what sealing adds (package escrow).
	markSealed = 16 + 1088 + 65 + 16
)

var markRefused = conclave.Problem{Code: "mark_refused", Fix: "update_client"}

// Mark is a leg's sealed key as it is kept. It names no person: whose a device is, the directory says.
type Mark struct {
	Meeting    conclave.MeetingID `json:"meeting"`
	Leg        conclave.LegID     `json:"leg"`
	Time       time.Time          `json:"time"`   // when it was handed in
	Record     audit.Index        `json:"record"` // where its commitment stands
	Commitment []byte             `json:"commitment"`
	Sealed     []byte             `json:"sealed"`
}

func markKey(meeting conclave.MeetingID, leg conclave.LegID) store.Key {
	return store.Key(fmt.Sprintf("%s.%s.%s", markPrefix, meeting.Text(), leg.Text()))
}

// KeepMark keeps the key that a leg hands in, once for each leg, and after record has written its commitment and said where.
// The same again is taken for delivered, another is refused.
func (a *Archive) KeepMark(ctx context.Context, m Mark, record func() (audit.Index, error)) error {
	if len(m.Sealed) != markSealed {
		return markRefused
	}
	key := markKey(m.Meeting, m.Leg)
	switch old, err := a.Store.Get(ctx, key); {
	case err == nil:
		var kept Mark
		if json.Unmarshal(old.Value, &kept) == nil && string(kept.Sealed) == string(m.Sealed) && string(kept.Commitment) == string(m.Commitment) {
			return nil
		}
		return markRefused
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	var err error
	if m.Record, err = record(); err != nil {
		return err
	}
	value, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := a.Store.Create(ctx, key, value); err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("kept: keep a mark: %w", err)
	}
	return nil
}

// marks returns the sealed keys of a meeting, or with the zero meeting of all, by time.
func (a *Archive) marks(ctx context.Context, meeting conclave.MeetingID) ([]Mark, error) {
	prefix := store.Key(markPrefix)
	if meeting != (conclave.MeetingID{}) {
		prefix += store.Key("." + meeting.Text())
	}
	entries, err := a.Store.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("kept: read marks: %w", err)
	}
	out := make([]Mark, 0, len(entries))
	for _, e := range entries {
		var m Mark
		if json.Unmarshal(e.Value, &m) != nil || !strings.HasSuffix(string(e.Key), "."+m.Leg.Text()) {
			return nil, errors.New("kept: a mark cannot be read")
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Mark) int { return cmp.Or(a.Time.Compare(b.Time), slices.Compare(a.Leg[:], b.Leg[:])) })
	return out, nil
}

// dropMarks deletes the sealed keys of a meeting that were handed in before a moment, once record has written how many there are.
func (a *Archive) dropMarks(ctx context.Context, meeting conclave.MeetingID, before time.Time, record func(n int) error) (int, error) {
	marks, err := a.marks(ctx, meeting)
	if err != nil {
		return 0, err
	}
	marks = slices.DeleteFunc(marks, func(m Mark) bool { return !m.Time.Before(before) })
	if len(marks) == 0 {
		return 0, nil
	}
	if err := record(len(marks)); err != nil {
		return 0, err
	}
	for _, m := range marks {
		if err := a.Store.Delete(ctx, markKey(meeting, m.Leg)); err != nil {
			return 0, fmt.Errorf("kept: delete marks: %w", err)
		}
	}
	return len(marks), nil
}
