package server_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/server/servertest"
	"conclave/signal"
	"conclave/store"
)

// broken is a store that can be made to fail: appends to the audit stream, or writes of values.
type broken struct {
	store.Store
	appends, writes atomic.Bool
}

var errDisk = errors.New("disk full")

func (b *broken) Append(ctx context.Context, s store.Stream, r []byte) (store.Sequence, error) {
	if b.appends.Load() {
		return 0, errDisk
	}
	return b.Store.Append(ctx, s, r)
}

func (b *broken) CompareAndPut(ctx context.Context, k store.Key, v []byte, r store.Revision) (store.Revision, error) {
	if b.writes.Load() {
		return 0, errDisk
	}
	return b.Store.CompareAndPut(ctx, k, v, r)
}

func TestNothingThatLetsSomebodyInHappensWithoutARecord(t *testing.T) {
	disk := new(broken)
	w := servertest.StartWith(t, servertest.Options{Store: func(s store.Store) store.Store { disk.Store = s; return disk }})
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := w.OpenMeeting("anna", "ben", "cleo")
	anna, cleo := come(t, w, a, "anna", m).in(), come(t, w, c, "cleo", m).in()
	alike(t, anna, cleo)
	epoch, _ := anna.keys.now()

	// Ben has his pass already; entering needs a record too.
	r := connect(t, w)
	r.admitted(b, m)
	disk.appends.Store(true)
	second := connect(t, w)
	second.hello(b, m)
	expect[*signal.Line](second)
	second.send(&signal.Join{})
	if f := expect[*signal.Failed](second); f.Of != "join" || f.Reason.Code != "server_trouble" {
		t.Errorf("joining: %+v", f)
	}
	ben := come(t, w, b, "ben", m)
	ben.await("trouble", 0, func(e endpoint.Event) bool {
		return e.Failed != nil && e.Failed.Reason.Code == "server_trouble" || e.State != nil && e.State.State == endpoint.StateRefused
	})
	if now, _ := anna.keys.now(); now != epoch {
		t.Error("a commit was ordered without a record")
	}
	// Cutting somebody off does not wait for the disk. The commit does: it is recorded first.
	anna.Remove(anna.leg("cleo"), "other")
	cleo.await("end", 0, reason("removed_other"))
	disk.appends.Store(false)
	wait(t, "the removal", 10*time.Second, func() bool { now, _ := anna.keys.now(); return now == epoch+1 })
	alike(t, anna)
}

func TestARoomWhoseStoreFailsIsOpenedAnewAndAllComeBack(t *testing.T) {
	disk := new(broken)
	w := servertest.StartWith(t, servertest.Options{Store: func(s store.Store) store.Store { disk.Store = s; return disk }})
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := w.OpenMeeting("anna", "ben", "cleo")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	na, nb := anna.count(), ben.count()
	disk.writes.Store(true)
	cleo := come(t, w, c, "cleo", m)
	anna.await("reconnecting", na, state(endpoint.StateReconnecting))
	disk.writes.Store(false)
	anna.await("in", na, state(endpoint.StateIn))
	ben.await("in", nb, state(endpoint.StateIn))
	cleo.in()
	alike(t, anna, ben, cleo)
	anna.noAlarm()
}

// between is a store in which something happens right after a ruling was recorded.
type between struct {
	store.Store
	then atomic.Pointer[func()] // once
}

func (b *between) Append(ctx context.Context, s store.Stream, r []byte) (store.Sequence, error) {
	n, err := b.Store.Append(ctx, s, r)
	if bytes.Contains(r, []byte(`"kind":"ruling"`)) {
		if then := b.then.Swap(nil); then != nil {
			(*then)()
		}
	}
	return n, err
}

func TestNobodyComesInBetweenARulingAndARevocation(t *testing.T) {
	disk := new(between)
	w := servertest.StartWith(t, servertest.Options{Store: func(s store.Store) store.Store { disk.Store = s; return disk }})
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	r := connect(t, w)
	r.hello(b, m)
	expect[*signal.Line](r)
	done := make(chan struct{})
	// The ruling is made; before anything follows from it the device is revoked. The room that rules learns of it right after.
	revoke := func() {
		go func() {
			defer close(done)
			adminPost(t, w, "/devices/"+conclave.DeviceOf(b.Point).Text()+"/revoke", "{}")
		}()
		for {
			if _, err := w.Server.Directory().Device(context.Background(), conclave.DeviceOf(b.Point)); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	disk.then.Store(&revoke)
	r.send(&signal.Join{})
	if e := expect[*signal.Ended](r); e.Reason.Code != "statement_invalid" {
		t.Errorf("ben was told %+v", e)
	}
	<-done
	alike(t, anna)
}

func TestWhatHappensIsRecordedInItsOrder(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	chair := anna.leg("anna")
	anna.Remove(anna.leg("ben"), "disturbs")
	alike(t, anna)
	var kinds []audit.Kind
	for _, e := range w.Records() {
		if e.Record.Meeting == m {
			kinds = append(kinds, e.Record.Kind)
		}
		if e.Record.Kind == audit.KindRemoval && e.Record.By != chair {
			t.Errorf("record %d does not say who removed", e.Index)
		}
		if e.Record.Time.IsZero() {
			t.Errorf("record %d has no time", e.Index)
		}
	}
	want := []audit.Kind{audit.KindMeetingOpened, audit.KindRuling, audit.KindPass, audit.KindEnter, audit.KindRuling, audit.KindPass,
		audit.KindEnter, audit.KindRemoval, audit.KindCommit, audit.KindRemoved}
	if len(kinds) < len(want) {
		t.Fatalf("recorded %v", kinds)
	}
	for i := range want {
		if kinds[i] != want[i] {
			t.Fatalf("recorded %v\nwant     %v", kinds, want)
		}
	}
}
