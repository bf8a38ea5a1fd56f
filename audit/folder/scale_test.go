package folder_test

import (
	"context"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/audit/folder"
	"conclave/store"
)

// records is how many the scale test makes; with -records 10000000 it takes some 6 GB below the temporary folder.
var records = flag.Int("records", 20_000, "records of the scale test")

// sample returns the nth record of something like a log: of three, one has a personal part.
func sample(n int) audit.Record {
	grade, level := conclave.GradeSealed, conclave.Level(2)
	at := now.Add(time.Duration(n) * 100 * time.Millisecond)
	m, l := conclave.MeetingID{byte(n >> 16), byte(n >> 8), 7}, conclave.LegID{byte(n), byte(n >> 8), byte(n >> 16)}
	switch n % 3 {
	case 0:
		return audit.Record{Kind: audit.KindRuling, Time: at, Meeting: m, Leg: l, Device: conclave.DeviceID{byte(n), byte(n >> 8)}, Outcome: "admit",
			Grade: &grade, Level: &level, Policy: make([]byte, 32),
			Facts: []conclave.Fact{{Name: "network", Value: "ministry", Proven: true}, {Name: "country", Value: "DE", Proven: true}, {Name: "transport", Value: "tls", Proven: true}}}
	case 1:
		return audit.Record{Kind: audit.KindCommit, Time: at, Meeting: m, Leg: l, Epoch: uint64(n), TreeHash: make([]byte, 48)}
	}
	return audit.Record{Kind: audit.KindLedger, Time: at, Meeting: m, Leg: l, Commitment: make([]byte, 32)}
}

// folderSize returns the octets and files below dir.
func folderSize(dir string) (octets int64, files int) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if info, e := d.Info(); err == nil && e == nil && info.Mode().IsRegular() {
			octets, files = octets+info.Size(), files+1
		}
		return nil
	})
	return octets, files
}

// made is a stream of samples that are made as they are read: the disk takes 1 500 synced records a second, and ten million
// shall be looked at. All else is in the store.
type made struct {
	store.Store
	all      store.Sequence
	encoder  *audit.Log // over an encoding
	encoding *encoding
}

func (m *made) Last(context.Context, store.Stream) (store.Sequence, error) { return m.all, nil }
func (m *made) ReadKey(context.Context, store.Slot) (store.ShredKey, error) {
	return store.ShredKey{Key: [32]byte{1}}, nil
}

func (m *made) Read(ctx context.Context, _ store.Stream, from store.Sequence, limit int) (out []store.Record, err error) {
	for seq := from; seq <= m.all && len(out) < limit; seq++ {
		if _, err := m.encoder.Record(ctx, sample(int(seq))); err != nil {
			return nil, err
		}
		out = append(out, store.Record{Sequence: seq, Value: m.encoding.taken})
	}
	return out, nil
}

// encoding takes what a log would append.
type encoding struct {
	store.Store
	taken []byte
}

func (e *encoding) Get(context.Context, store.Key) (store.Entry, error) {
	return store.Entry{}, store.ErrNotFound
}
func (e *encoding) Last(context.Context, store.Stream) (store.Sequence, error) { return 0, nil }
func (e *encoding) DrawKey(context.Context) (store.Slot, store.ShredKey, error) {
	return 1, store.ShredKey{Key: [32]byte{1}}, nil
}

func (e *encoding) Append(_ context.Context, _ store.Stream, record []byte) (store.Sequence, error) {
	e.taken = record
	return 1, nil
}

// zeros is no randomness: the same record has the same salt again.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// synced is how many records the scale test puts through the store itself.
const synced = 5_000

// TestTheLogAtScale prints what a log of many records costs: to write, on the disk, to start with, to verify.
func TestTheLogAtScale(t *testing.T) {
	w := newWorld(t)
	began := time.Now()
	var next atomic.Int64
	var wait sync.WaitGroup
	for range 64 {
		wait.Go(func() {
			for i := int(next.Add(1)); i <= synced; i = int(next.Add(1)) {
				if _, err := w.log.Record(t.Context(), sample(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	appended := time.Since(began)
	inStore, _ := folderSize(w.data)
	began = time.Now()
	for from := audit.Index(1); from <= synced; from += 1000 {
		if e, err := w.log.Read(t.Context(), from, 1000); err != nil || len(e) != 1000 {
			t.Fatal(len(e), err)
		}
	}
	t.Logf("store: %.0f synced records a second by 64 writers, %d octets each; %.0f read a second", synced/appended.Seconds(), inStore/synced, synced/time.Since(began).Seconds())

	n := *records
	o := w.organisation()
	e := &encoding{}
	encoder, err := audit.Open(t.Context(), audit.Config{Store: e, Origin: o.Origin(), Key: w.org.LogKey(), Rand: zeros{}})
	if err != nil {
		t.Fatal(err)
	}
	stream := &made{Store: w.st, all: store.Sequence(n), encoder: encoder, encoding: e}
	dir := filepath.Join(t.TempDir(), "audit")
	open := func() *audit.Log {
		c, err := folder.OpenWriter(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		l, err := audit.Open(t.Context(), audit.Config{Store: stream, Origin: o.Origin(), Key: w.org.LogKey(), Copy: c})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	began = time.Now()
	if err := l.Publish(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	copied := time.Since(began)
	octets, files := folderSize(dir)
	began = time.Now()
	open()
	started := time.Since(began)
	began = time.Now()
	r, err := folder.Verify(os.DirFS(dir), folder.Options{Root: w.org.RootHash()})
	if err != nil {
		t.Fatal(err)
	}
	verified := time.Since(began)
	if int(r.Records) != n {
		t.Errorf("%d records", r.Records)
	}
	per := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
	t.Logf("copy: %d records signed and copied in %v (%.0f a second), %d MB in %d files, %d octets a record; hashed anew at the start in %v (%.0f a second, with the making of the records); verified in %v (%.0f a second)",
		n, copied.Round(time.Millisecond), per(copied), octets>>20, files, octets/int64(n), started.Round(time.Millisecond), per(started), verified.Round(time.Millisecond), per(verified))
}
