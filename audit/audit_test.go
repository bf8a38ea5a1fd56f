package audit

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"conclave"
	"conclave/store"
)

func open(t *testing.T, dir string) *store.JetStream {
	t.Helper()
	st, err := store.Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestARecordIsReadAsItWasWrittenAfterARestart(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	st := open(t, dir)
	grade, level, leaf := conclave.GradeSealed, conclave.Level(2), uint32(0)
	want := Record{
		Kind: KindEnter, Time: time.Unix(1_800_000_000, 5).UTC(), Meeting: conclave.MeetingID{1}, Leg: conclave.LegID{2},
		By: conclave.LegID{3}, Device: conclave.DeviceID{4}, Outcome: "done", Grade: &grade, Level: &level,
		Codes: []string{"a"}, Facts: []conclave.Fact{{Name: "network", Value: "x", Proven: true}}, Policy: []byte{5},
		Epoch: 6, TreeHash: []byte{7}, Leaf: &leaf,
	}
	if n, err := NewLog(st).Record(ctx, want); err != nil || n != 1 {
		t.Fatalf("record %d, %v", n, err)
	}
	st.Close()
	st = open(t, dir)
	defer st.Close()
	entries, err := NewLog(st).Read(ctx, 1, 10)
	if err != nil || len(entries) != 1 || !reflect.DeepEqual(entries[0].Record, want) {
		t.Errorf("read %+v, %v", entries, err)
	}
}

func TestWhatDoesNotApplyIsAbsent(t *testing.T) {
	b, _ := json.Marshal(Record{Kind: KindStarted, Time: time.Unix(0, 0).UTC()})
	if string(b) != `{"kind":"started","time":"1970-01-01T00:00:00Z"}` {
		t.Errorf("encoded %s", b)
	}
}

func TestNoRecordNoSuccess(t *testing.T) {
	st := open(t, t.TempDir())
	st.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := NewLog(st).Record(ctx, Record{Kind: KindStarted}); err == nil || errors.Is(err, store.ErrConflict) {
		t.Errorf("recording in a closed store: %v", err)
	}
}
