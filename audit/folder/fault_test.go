package folder_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/audit/folder"
	"conclave/store"
)

var errDisk = errors.New("input/output error")

// faulty is a store whose writes fail as fault says.
type faulty struct {
	store.Store
	fault func(what string, write func() error) error
}

func (f *faulty) Append(ctx context.Context, s store.Stream, b []byte) (n store.Sequence, err error) {
	err = f.fault("append", func() (err error) { n, err = f.Store.Append(ctx, s, b); return err })
	return n, err
}

func (f *faulty) CompareAndPut(ctx context.Context, k store.Key, b []byte, r store.Revision) (n store.Revision, err error) {
	err = f.fault("checkpoint", func() (err error) { n, err = f.Store.CompareAndPut(ctx, k, b, r); return err })
	return n, err
}

func (f *faulty) Put(ctx context.Context, k store.Key, b []byte) (n store.Revision, err error) {
	err = f.fault("intent", func() (err error) { n, err = f.Store.Put(ctx, k, b); return err })
	return n, err
}

func (f *faulty) EraseKeys(ctx context.Context, s []store.Slot) error {
	return f.fault("erase", func() error { return f.Store.EraseKeys(ctx, s) })
}

func (f *faulty) Delete(ctx context.Context, k store.Key) error {
	return f.fault("done", func() error { return f.Store.Delete(ctx, k) })
}

// errCrash ends the process in the middle of a step, as far as the log is concerned.
var errCrash = errors.New("crash")

// TestTheFaultTable goes through each write of recording, signing and erasing, and each way in which it can go wrong. Whoever
// was told that a record stands finds it there; whoever was told otherwise had no effect; nothing is signed that is not
// durable; after a restart the log is whole and an erasure that was begun is done.
func TestTheFaultTable(t *testing.T) {
	ways := map[string]func(write func() error) error{
		"fails":                func(func() error) error { return errDisk },
		"fails but is written": func(write func() error) error { write(); return errDisk },
		"crash before":         func(func() error) error { return errCrash },
		"crash after":          func(write func() error) error { write(); return errCrash },
	}
	for _, step := range []string{"append", "checkpoint", "intent", "erase", "done"} {
		for way, do := range ways {
			for at := range 3 { // the first such write, or a later one
				t.Run(fmt.Sprintf("%s %s %d", step, way, at), func(t *testing.T) { oneFault(t, step, at, do) })
			}
		}
	}
}

// erasures are made one after the other, each of some people.
var erasures = [][]conclave.PersonID{{"p1", "p7"}, {"p4"}, {"p10"}}

// outcome is what the process knew when it ended.
type outcome struct {
	crashed bool
	effects map[audit.Index]conclave.PersonID
	told    map[conclave.PersonID]bool // of an erasure of whom it was said that it is done
	begun   map[conclave.PersonID]bool // whose erasure's intent stands: it must be done at the latest after a restart
	wanted  map[conclave.PersonID]bool
}

func oneFault(t *testing.T, step string, at int, do func(func() error) error) {
	w := newWorld(t)
	w.record(5) // a log that was signed before
	out := &outcome{effects: map[audit.Index]conclave.PersonID{}, told: map[conclave.PersonID]bool{}, begun: map[conclave.PersonID]bool{}, wanted: map[conclave.PersonID]bool{}}
	var erasing []conclave.PersonID
	f := &faulty{Store: w.st}
	f.fault = func(what string, write func() error) error {
		if out.crashed {
			return errCrash // a process that ended writes nothing
		}
		if what == "intent" {
			put := write
			write = func() error {
				err := put()
				for _, p := range erasing {
					out.begun[p] = err == nil
				}
				return err
			}
		}
		if what != step {
			return write()
		}
		if at--; at != -1 {
			return write()
		}
		err := do(write)
		out.crashed = errors.Is(err, errCrash)
		return err
	}
	c, err := folder.OpenWriter(w.dir, w.organisation())
	if err != nil {
		t.Fatal(err)
	}
	o := w.organisation()
	log, err := audit.Open(t.Context(), audit.Config{Store: f, Origin: o.Origin(), Key: w.org.LogKey(), Copy: c})
	if err != nil {
		t.Fatal(err)
	}
	// What a server does: records, each before its effect; checkpoints beside that; erasures.
	failures := 0
	for i := range 12 {
		person := conclave.PersonID(fmt.Sprint("p", i))
		if n, err := log.Record(t.Context(), audit.Record{Kind: audit.KindPass, Time: now, Person: person}); err == nil {
			out.effects[n] = person
		} else {
			failures++
		}
		if i%3 == 2 {
			if log.Publish(t.Context(), now) != nil {
				failures++
			}
		}
	}
	for _, erasing = range erasures {
		_, err := log.Erase(t.Context(), now, func(e audit.Entry) bool { return slices.Contains(erasing, e.Record.Person) })
		if err != nil {
			failures++
		}
		for _, p := range erasing {
			out.wanted[p], out.told[p] = true, err == nil
		}
	}
	if at >= 0 {
		t.Fatal("the fault never came")
	}
	if !out.crashed && step != "checkpoint" && failures == 0 {
		t.Error("nobody was told of the fault")
	}
	w.afterFault(log, out)
}

// afterFault looks at the log while it goes on, if it does, and after a restart.
func (w *world) afterFault(log *audit.Log, out *outcome) {
	t := w.t
	t.Helper()
	if !out.crashed {
		// The disk is well again: the log goes on by itself.
		if err := log.Publish(t.Context(), now); err != nil {
			t.Errorf("publish: %v", err)
		}
		w.holds()
	} else if _, err := w.verify(folder.Options{}); err != nil {
		t.Errorf("the copy that the crash left: %v", err)
	}
	w.reopen()
	w.publish()
	r := w.holds()
	if len(r.Notes) > 0 {
		t.Errorf("after the restart: %v", r.Notes)
	}
	for n, person := range out.effects {
		e, err := w.log.Read(t.Context(), n, 1)
		if err != nil || len(e) != 1 || e[0].Record.Kind != audit.KindPass {
			t.Fatalf("an effect without its record %d: %+v, %v", n, e, err)
		}
		if e[0].Erased && !out.wanted[person] || !e[0].Erased && e[0].Record.Person != person {
			t.Errorf("record %d: %+v", n, e[0])
		}
		if !e[0].Erased && (out.told[person] || out.begun[person]) {
			t.Errorf("record %d was to be erased and is there: told %v, begun %v", n, out.told[person], out.begun[person])
		}
	}
}

func TestTheClockMayJump(t *testing.T) {
	w := newWorld(t)
	for _, at := range []time.Time{now, now.Add(-48 * time.Hour), now.Add(365 * 24 * time.Hour), now} {
		if _, err := w.log.Record(t.Context(), audit.Record{Kind: audit.KindStarted, Time: at}); err != nil {
			t.Fatal(err)
		}
		if err := w.log.Publish(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	w.holds()
	// A wait for witnesses that began in the future ends in time nevertheless.
	w.log.Cosigned(now)
	if _, ok := w.log.Cosigned(now); ok {
		t.Error("cosigned by nobody")
	}
	state := w.log.State()
	if err := w.log.SetCosigned(state, now, now); err != nil {
		t.Fatal(err)
	}
	if _, err := w.log.Record(t.Context(), audit.Record{Kind: audit.KindStarted, Time: now}); err != nil {
		t.Fatal(err)
	}
	if err := w.log.Publish(t.Context(), now.Add(24*time.Hour)); err != nil { // set a day ahead, then back
		t.Fatal(err)
	}
	if _, ok := w.log.Cosigned(now); !ok {
		t.Error("a record of this moment makes the log late already")
	}
	if _, ok := w.log.Cosigned(now.Add(audit.MaxLag + time.Second)); ok {
		t.Error("the witness is away for more than a minute and the log counts as cosigned")
	}
}

func TestAStoreThatLostSomethingIsRefusedWithAWayOut(t *testing.T) {
	for name, harm := range map[string]func(w *world){
		"an older store": func(w *world) {
			old := copyDir(t, w.data)
			w.open()
			w.record(10)
			w.st.Close()
			os.RemoveAll(w.data)
			os.Rename(old, w.data)
		},
		"an empty store": func(w *world) { os.RemoveAll(w.data) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.record(20)
			w.st.Close()
			harm(w)
			err := w.tryOpen()
			if err == nil || !strings.Contains(err.Error(), "records were lost") || !strings.Contains(err.Error(), "conclave audit restore") {
				t.Fatalf("opened: %v", err)
			}
			// The way out that it names.
			r, err := folder.Open(os.DirFS(w.dir), w.org.RootHash())
			if err != nil {
				t.Fatal(err)
			}
			st, err := store.OpenShort(t.Context(), w.data, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := audit.Restore(t.Context(), st, func(yield func(audit.CopyLeaf, error) bool) {
				for l, err := range r.Leaves(1) {
					if !yield(audit.CopyLeaf{Leaf: l.Leaf, Part: l.Part}, err) {
						return
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
			st.Close()
			w.open()
			w.publish()
			if r := w.holds(); int(r.Records) != w.n {
				t.Errorf("%d records, want %d", r.Records, w.n)
			}
			if e, err := w.log.Read(t.Context(), 20, 1); err != nil || e[0].Record.Person == "" {
				t.Errorf("the personal part is not back: %+v, %v", e, err)
			}
		})
	}
}

func TestARecordThatIsNotTheSignedOneIsRefusedAndNamed(t *testing.T) {
	w := newWorld(t)
	w.record(300)
	changed := &faulty{Store: w.st, fault: func(_ string, write func() error) error { return write() }}
	c, err := folder.OpenWriter(w.dir, w.organisation())
	if err != nil {
		t.Fatal(err)
	}
	o := w.organisation()
	_, err = audit.Open(t.Context(), audit.Config{Store: &lying{changed, 270}, Origin: o.Origin(), Key: w.org.LogKey(), Copy: c})
	if err == nil || !strings.Contains(err.Error(), "record 270 is not what was signed") {
		t.Errorf("opened: %v", err)
	}
}

// lying is a store that shows another record in the place of one.
type lying struct {
	store.Store
	at store.Sequence
}

func (l *lying) Read(ctx context.Context, s store.Stream, from store.Sequence, limit int) ([]store.Record, error) {
	records, err := l.Store.Read(ctx, s, from, limit)
	for i := range records {
		if records[i].Sequence == l.at {
			records[i].Value = []byte(`{"kind":"started","time":"2026-03-01T12:00:00Z"}`)
		}
	}
	return records, err
}

// onSmallDisk is the environment variable that makes this test run in a file system that it fills.
const onSmallDisk = "CONCLAVE_TEST_SMALL_DISK"

// TestOnAFullDiskNothingIsRecordedAndNothingLost runs itself again in a mount namespace of its own with a small tmpfs.
func TestOnAFullDiskNothingIsRecordedAndNothingLost(t *testing.T) {
	if os.Getenv(onSmallDisk) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOnAFullDiskNothingIsRecordedAndNothingLost$", "-test.v")
		cmd.Env = append(os.Environ(), onSmallDisk+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "SKIP") {
			t.Skip("no mount namespace is to be had here")
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for l := range strings.Lines(string(out)) {
			if strings.Contains(l, "effects") {
				t.Log(strings.TrimSpace(l))
			}
		}
		return
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	w := newWorld(t)
	w.st.Close()
	w.data, w.dir = filepath.Join(disk, "store"), filepath.Join(disk, "audit")
	w.open()
	effects, refused := map[audit.Index]bool{}, 0
	filler := filepath.Join(disk, "filler")
	for i := range 4000 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		n, err := w.log.Record(ctx, audit.Record{Kind: audit.KindPass, Time: now, Epoch: uint64(i), Person: conclave.PersonID(strings.Repeat("x", 100))})
		cancel()
		if err == nil {
			effects[n] = true
		} else if refused++; refused == 3 {
			break
		}
		if i == 500 { // all the rest but a little
			os.WriteFile(filler, make([]byte, 2<<20), 0o600)
		}
		if i%50 == 0 {
			w.log.Publish(t.Context(), now) // the copy may fail first
		}
	}
	if refused == 0 {
		t.Fatal("the disk never was full")
	}
	os.Remove(filler)
	w.st.Close()
	w.open()
	w.publish()
	w.n = 0
	r := w.holds()
	for n := range effects {
		if n > audit.Index(r.Records) {
			t.Errorf("an effect without its record %d of %d", n, r.Records)
		}
	}
	t.Logf("%d effects, %d refused, %d records", len(effects), refused, r.Records)
}
