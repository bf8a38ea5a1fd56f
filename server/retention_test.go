package server_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"conclave/audit"
	"conclave/server"
	"conclave/server/servertest"
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
