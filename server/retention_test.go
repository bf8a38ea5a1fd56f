package server_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"conclave/audit"
	"conclave/server"
	"conclave/server/servertest"
	"conclave/store"
)

func TestWhatWasKeptLongEnoughIsDeletedAndTheLogSaysSo(t *testing.T) {
	var ahead atomic.Int64
	w := servertest.StartWith(t, servertest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	w.Enrol("anna")
	ctx := context.Background()
	personal := func() (n int) {
		for _, e := range w.Records() {
			if e.Record.Person != "" || len(e.Record.Facts) > 0 || e.Record.Device.Text() != "00000000000000000000000000000000" {
				n++
			}
		}
		return n
	}
	before := personal()
	if before == 0 {
		t.Fatal("nothing personal was recorded")
	}
	if done, err := w.Server.Retain(ctx); err != nil || done != (server.Retained{}) {
		t.Fatalf("without a setting %+v was deleted, %v", done, err)
	}
	if err := w.Server.SetRetention(ctx, server.Retention{Personal: 30, Ledgers: 10, Marks: 10}); err != nil {
		t.Fatal(err)
	}
	if done, err := w.Server.Retain(ctx); err != nil || done.Records != 0 {
		t.Fatalf("at once %+v was deleted, %v", done, err)
	}
	ahead.Store(int64(31 * 24 * time.Hour))
	done, err := w.Server.Retain(ctx)
	if err != nil || int(done.Records) != before {
		t.Fatalf("%+v of %d was deleted, %v", done, before, err)
	}
	if personal() != 0 {
		t.Error("personal parts are left")
	}
	if left, err := w.Server.Store().List(ctx, "token"); err != nil || done.Links != 1 || len(left) != 0 {
		t.Errorf("%d links were deleted, %d are left, %v", done.Links, len(left), err)
	}
	var erasures int
	for _, e := range w.Records() {
		if e.Record.Kind == audit.KindErasure {
			erasures++
		}
	}
	if erasures != 1 {
		t.Errorf("%d erasures on record", erasures)
	}
	if again, err := w.Server.Retain(ctx); err != nil || again.Records != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	if err := w.Server.SetRetention(ctx, server.Retention{Personal: 1 << 30}); err == nil {
		t.Error("a million years were taken")
	}
}

func TestWhatLegsHandedInIsDeletedForItsAgeThoughTheMeetingNeverEnded(t *testing.T) {
	var ahead atomic.Int64
	w := servertest.StartWith(t, servertest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	anna := w.Enrol("anna")
	m := w.OpenMeeting("anna")
	r := connect(t, w)
	admitted := r.admitted(anna, m)
	r.send(sealedMark(1))
	wait(t, "the mark", 20*time.Second, func() bool { return len(kindsOf(w, m, audit.KindMark)) == 1 })
	keep := func(minute int) {
		t.Helper()
		value := []byte(fmt.Sprint("sealed minute ", minute))
		key := store.Key(fmt.Sprintf("ledger.%s.%s.%05d", m.Text(), admitted.Leg.Text(), minute))
		if _, err := w.Server.Store().Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	keep(0)
	keep(1)
	if err := w.Server.SetRetention(t.Context(), server.Retention{Ledgers: 10, Marks: 20}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		days           int
		ledgers, marks int
	}{{0, 0, 0}, {9, 0, 0}, {11, 2, 0}, {11, 0, 0}, {21, 0, 1}, {30, 0, 0}} {
		ahead.Store(int64(time.Duration(c.days) * 24 * time.Hour))
		done, err := w.Server.Retain(t.Context())
		if err != nil || done.Ledgers != c.ledgers || done.Marks != c.marks {
			t.Errorf("after %d days: %+v, %v", c.days, done, err)
		}
	}
	got := kindsOf(w, m, audit.KindDeleted)
	if len(got) != 2 || got[0].Record.Codes[0] != audit.DeletedLedgers || got[0].Record.Size != 2 || got[1].Record.Codes[0] != audit.DeletedMarks || got[1].Record.Size != 1 {
		t.Errorf("recorded %+v", got)
	}
}
