package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/server/records"
	"conclave/server/servertest"
	"conclave/signal"
	"conclave/store"
	"conclave/witness"
)

// broken is a store that can be made to fail: appends to the audit stream, or writes of values. As on a disk that is full,
// they may fail at once, or after a time in which nobody knows; and what failed may have been written.
type broken struct {
	store.Store
	appends, writes, hangs, puts, written atomic.Bool
}

var errDisk = errors.New("disk full")

// hang is how long the engine waits for a disk before it gives a write up.
const hang = 5 * time.Second

func (b *broken) Append(ctx context.Context, s store.Stream, r []byte) (store.Sequence, error) {
	if b.written.Load() {
		b.Store.Append(ctx, s, r)
		return 0, errDisk
	}
	if b.hangs.Load() {
		select {
		case <-time.After(hang):
		case <-ctx.Done():
		}
		return 0, errDisk
	}
	if b.appends.Load() {
		return 0, errDisk
	}
	return b.Store.Append(ctx, s, r)
}

func (b *broken) Put(ctx context.Context, k store.Key, v []byte) (store.Revision, error) {
	if b.puts.Load() {
		select {
		case <-time.After(hang):
		case <-ctx.Done():
		}
		return 0, errDisk
	}
	return b.Store.Put(ctx, k, v)
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

func TestWhoReconnectsWhileNothingCanBeRecordedIsBackOnceItCan(t *testing.T) {
	disk := new(broken)
	w := servertest.StartWith(t, servertest.Options{Store: func(s store.Store) store.Store { disk.Store = s; return disk }})
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	var line wire
	ben := comeOver(t, w, b, "ben", m, &line).in()
	alike(t, anna, ben)
	from := ben.count()
	line.cut()
	disk.appends.Store(true)
	line.mend()
	ben.await("trouble", from, func(e endpoint.Event) bool { return e.Failed != nil && e.Failed.Reason.Code == "server_trouble" })
	disk.appends.Store(false)
	ben.await("in", from, state(endpoint.StateIn))
	alike(t, anna, ben)
}

// startBroken starts a server of startClaims on a disk that can be broken.
func startBroken(t *testing.T) (*servertest.World, *broken) {
	t.Helper()
	disk := new(broken)
	w := servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, ""), Store: func(s store.Store) store.Store { disk.Store = s; return disk }})
	return w, disk
}

func TestALegWhoseLineTurnsBadIsCutThoughNothingCanBeRecorded(t *testing.T) {
	w, disk := startBroken(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := openRestricted(w, "anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	from := ben.count()
	disk.appends.Store(true)
	ben.Facts(notAlone)
	ben.await("quarantine", from, reason("not_alone"))
	disk.appends.Store(false)
	settled(t, anna) // with keys that ben has not
	if got := kindsOf(w, m, audit.KindQuarantine); len(got) != 1 {
		t.Errorf("recorded %d quarantines", len(got))
	}
}

func TestCuttingOffDoesNotWaitForADiskThatHangs(t *testing.T) {
	for name, hangs := range map[string]func(*broken){
		"records": func(b *broken) { b.hangs.Store(true) },
		"all":     func(b *broken) { b.hangs.Store(true); b.puts.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait
			cutOnADiskThatHangs(t, hangs)
		})
	}
}

func cutOnADiskThatHangs(t *testing.T, hangs func(*broken)) {
	w, disk := startBroken(t)
	a, b, c, d := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo"), w.Enrol("dora")
	m := openRestricted(w, "anna", "ben", "cleo", "dora")
	anna, ben, cleo := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in(), come(t, w, c, "cleo", m).in()
	alike(t, anna, ben, cleo)
	second := connect(t, w)
	second.hello(d, m)
	expect[*signal.Line](second)
	legs := map[string]conclave.LegID{"ben": anna.leg("ben"), "cleo": anna.leg("cleo")}
	closed := func(name string, act func()) time.Duration {
		if !w.Server.MediaOpen(m, legs[name]) {
			t.Fatalf("%s's media are closed already", name)
		}
		began := time.Now()
		act()
		wait(t, "the cut of "+name, 20*time.Second, func() bool { return !w.Server.MediaOpen(m, legs[name]) })
		return time.Since(began)
	}
	hangs(disk)
	quarantined := closed("ben", func() { ben.Facts(notAlone) })
	// The room waits for the disk now: it wants to record how anna's client changes the keys.
	time.Sleep(100 * time.Millisecond)
	removed := closed("cleo", func() { anna.Remove(legs["cleo"], "other") })
	t.Logf("media were closed %v after a line turned bad, and %v after a chair's word, on a disk that hangs for %v", quarantined, removed, hang)
	// A busy machine is no disk: what has to be seen is that nobody waited for it.
	if limit := audit.Patience / 2; quarantined > limit || removed > limit {
		t.Error("cutting off waited for the disk")
	}
	// Nobody is let in meanwhile, and nobody waits for that for long.
	second.send(&signal.Join{})
	if f := expect[*signal.Failed](second); f.Reason.Code != "server_trouble" {
		t.Errorf("joining: %+v", f)
	}
	if disk.puts.Load() {
		return // a room that cannot keep what it is closes, and is opened anew by whoever comes
	}
	disk.hangs.Store(false)
	settled(t, anna)
	if q, out := kindsOf(w, m, audit.KindQuarantine), kindsOf(w, m, audit.KindRemoval); len(q) != 1 || len(out) != 1 {
		t.Errorf("recorded %d quarantines and %d removals", len(q), len(out))
	}
}

// settled is alike for who has to wait until a removal is proposed once more.
func settled(t *testing.T, guests ...*guest) {
	t.Helper()
	wait(t, "the room to have only those who are left", 30*time.Second, func() bool { return len(guests[0].members()) == len(guests) })
	alike(t, guests...)
}

func TestWhatCouldNotBeRecordedIsRecordedLaterInItsOrderAndWithItsTime(t *testing.T) {
	for name, fault := range map[string]func(*broken) *atomic.Bool{
		"the write fails":                func(b *broken) *atomic.Bool { return &b.appends },
		"the write fails but is written": func(b *broken) *atomic.Bool { return &b.written },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, disk := startBroken(t)
			a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
			m := openRestricted(w, "anna", "ben", "cleo")
			anna, ben, cleo := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in(), come(t, w, c, "cleo", m).in()
			alike(t, anna, ben, cleo)
			leg, chair := anna.leg("ben"), anna.leg("anna")
			fault(disk).Store(true)
			before := time.Now()
			cleo.Leave()
			wait(t, "cleo's leaving to be noted", 20*time.Second, func() bool { n, _ := w.Server.Audit().Waiting(); return n > 0 })
			anna.Remove(leg, "other")
			ben.await("end", 0, reason("removed_other"))
			after := time.Now()
			time.Sleep(300 * time.Millisecond) // the time that a record would have if it were made when it is written
			fault(disk).Store(false)
			settled(t, anna)
			removals := kindsOf(w, m, audit.KindRemoval)
			leaves := kindsOf(w, m, audit.KindLeave)
			if len(removals) != 1 || len(leaves) != 1 || removals[0].Record.By != chair || removals[0].Record.Leg != leg {
				t.Fatalf("recorded %+v, %+v", leaves, removals)
			}
			if leaves[0].Index > removals[0].Index {
				t.Error("the order is another")
			}
			for _, e := range append(leaves, removals...) {
				if at := e.Record.Time; at.Before(before.Add(-time.Millisecond)) || at.After(after) {
					t.Errorf("the %s was at %v, between %v and %v it happened", e.Record.Kind, at, before, after)
				}
			}
			for _, e := range kindsOf(w, m, audit.KindCommit) {
				if e.Record.Time.After(after) && e.Index < removals[0].Index {
					t.Errorf("a commit was recorded before the removal that it is of")
				}
			}
		})
	}
}

// kindsOf returns the records of a meeting that are of a kind.
func kindsOf(w *servertest.World, m conclave.MeetingID, kind audit.Kind) (out []audit.Entry) {
	for _, e := range w.Records() {
		if e.Record.Kind == kind && e.Record.Meeting == m {
			out = append(out, e)
		}
	}
	return out
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
	// The ruling is made; before anything follows from it the device is revoked. (Its record would wait for the one that is being
	// written: the entry is written as the directory does.) The room that rules learns of it right after.
	device := conclave.DeviceOf(b.Point)
	revoke := func() {
		key := store.Key("device." + device.Text())
		e, err := disk.Get(context.Background(), key)
		var known map[string]any
		if err == nil {
			err = json.Unmarshal(e.Value, &known)
		}
		if err != nil {
			t.Error(err)
			return
		}
		known["revoked"] = time.Now()
		value, _ := json.Marshal(known)
		if _, err := disk.Put(context.Background(), key, value); err != nil {
			t.Error(err)
		}
		go func() {
			defer close(done)
			w.Server.Recheck(device)
		}()
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

func TestARecordThatFailedAndStandsAllTheSameIsSaidToHaveHadNoEffect(t *testing.T) {
	w, disk := startBroken(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := openRestricted(w, "anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	// Ben has his pass already; that he enters is written, and fails.
	r := connect(t, w)
	admitted := r.admitted(b, m)
	disk.written.Store(true)
	ben := come(t, w, b, "ben", m) // with another leg, whose ruling fails
	ben.await("trouble", 0, func(e endpoint.Event) bool {
		return e.Failed != nil || e.State != nil && e.State.State == endpoint.StateRefused
	})
	disk.written.Store(false)
	var undone []audit.Entry
	wait(t, "the word that it had no effect", 20*time.Second, func() bool {
		undone = kindsOf(w, m, audit.KindUndone)
		return len(undone) > 0
	})
	for _, e := range undone {
		if e.Record.Leg == admitted.Leg || len(e.Record.Codes) != 1 || e.Record.Codes[0] != string(audit.KindRuling) {
			t.Errorf("recorded %+v", e.Record)
		}
	}
	alike(t, anna)
}

func TestTheLastLegsLeavingNamesItsDevice(t *testing.T) {
	w := servertest.Start(t)
	a := w.Enrol("anna")
	m := w.OpenMeeting("anna")
	anna := come(t, w, a, "anna", m).in()
	anna.Leave()
	wait(t, "the leaving", 20*time.Second, func() bool { return len(kindsOf(w, m, audit.KindLeave)) > 0 })
	for _, e := range kindsOf(w, m, audit.KindLeave) {
		if e.Record.Device != conclave.DeviceOf(a.Point) || e.Record.Leaf == nil {
			t.Errorf("record %d: %+v", e.Index, e.Record)
		}
	}
}

func TestARoomThatMayNotOpenDoesNotKeepTheServerFromStarting(t *testing.T) {
	dir := t.TempDir()
	o, err := identity.NewOrganisation(filepath.Join(dir, "organisation"), "ministry.example", "Ministry", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ally := newAlly(t, o)
	disk := new(broken)
	w := servertest.StartWith(t, servertest.Options{Dir: dir, Policy: cosignedPolicy(t), Records: records.Copies{Witnesses: []*witness.Remote{ally.Remote}},
		Store: func(s store.Store) store.Store { disk.Store = s; return disk }})
	w.Enrol("anna")
	m := w.OpenMeeting("anna")
	// What a crash leaves between the end of a group and that of its roster.
	if _, err := disk.Put(t.Context(), store.Key("room."+m.Text()), []byte("[]")); err != nil {
		t.Fatal(err)
	}
	ally.away.Store(true)
	w.Restart()
}
