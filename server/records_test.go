package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/audit/folder"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/merkle"
	"conclave/server/records"
	"conclave/server/servertest"
	"conclave/store"
	"conclave/witness"
)

// ally is a witness that can be away.
type ally struct {
	*witness.Remote
	away atomic.Bool
}

func newAlly(t *testing.T, o *identity.Organisation) *ally {
	t.Helper()
	owner := folder.Organisation{ID: o.ID}
	log := merkle.LogKey(owner.Origin(), o.LogKey().Public().(ed25519.PublicKey))
	owner.Log = folder.Devices
	devices := merkle.LogKey(owner.Origin(), o.LogKey().Public().(ed25519.PublicKey))
	w, err := witness.Open(t.TempDir(), "ally.example/witness", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)), []merkle.Key{log, devices})
	if err != nil {
		t.Fatal(err)
	}
	a := new(ally)
	inner := w.Handler(time.Now)
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if a.away.Load() {
			out.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		inner.ServeHTTP(out, r)
	}))
	t.Cleanup(func() { s.Close(); w.Close() })
	if a.Remote, err = witness.NewRemote(s.URL, w.Key()); err != nil {
		t.Fatal(err)
	}
	return a
}

// cosignedPolicy is the default policy where the lowest level demands witnesses.
func cosignedPolicy(t *testing.T) *admission.Policy {
	t.Helper()
	levels := admission.DefaultLevels()
	levels[0].Cosigned = true
	p, err := admission.Load(admission.DefaultPolicy(), levels)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestALevelThatDemandsWitnessesOpensOnlyWithThemAndNothingElseWaits(t *testing.T) {
	dir := t.TempDir()
	o, err := identity.NewOrganisation(filepath.Join(dir, "organisation"), "ministry.example", "Ministry", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a := newAlly(t, o)
	a.away.Store(true)
	w := servertest.StartWith(t, servertest.Options{Dir: dir, Policy: cosignedPolicy(t),
		Records: records.Copies{Witnesses: []*witness.Remote{a.Remote}}})
	anna := w.Enrol("anna.weber") // recorded, signed, in force, without any witness
	meeting := w.OpenMeeting("anna.weber")

	g := come(t, w, anna, "Anna", meeting)
	g.await("refusal", 0, func(e endpoint.Event) bool {
		return e.State != nil && e.State.State == endpoint.StateRefused && slices.ContainsFunc(e.State.Reasons, func(p conclave.Problem) bool {
			return p.Code == "record_not_cosigned" && p.Fix == "wait_for_witnesses"
		})
	})
	if !slices.ContainsFunc(w.Records(), func(e audit.Entry) bool {
		return e.Record.Kind == audit.KindRuling && e.Record.Outcome == "refuse" && slices.Contains(e.Record.Codes, "record_not_cosigned")
	}) {
		t.Error("the refusal is not recorded")
	}

	a.away.Store(false)
	began := time.Now()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, ok := w.Server.Audit().Cosigned(time.Now()); ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the witness is back and does not sign")
		}
	}
	t.Logf("the witness had signed %v after it was back", time.Since(began).Round(10*time.Millisecond))
	again := come(t, w, anna, "Anna", meeting)
	again.await("entry", 0, func(e endpoint.Event) bool { return e.State != nil && e.State.State == endpoint.StateIn })

	// The folder of a server that runs verifies, with the witness's signature.
	r, err := folder.Verify(os.DirFS(filepath.Join(dir, "audit")), folder.Options{Root: o.RootHash(), Witnesses: []merkle.Key{a.Key()}})
	if err != nil || len(r.Cosigned) != 1 {
		t.Errorf("verified %+v, %v", r, err)
	}
}

// clocked takes the time of each record.
type clocked struct {
	store.Store
	mu    sync.Mutex
	spent []time.Duration
}

func (c *clocked) Append(ctx context.Context, s store.Stream, b []byte) (store.Sequence, error) {
	began := time.Now()
	n, err := c.Store.Append(ctx, s, b)
	if s == store.Audit {
		c.mu.Lock()
		c.spent = append(c.spent, time.Since(began))
		c.mu.Unlock()
	}
	return n, err
}

func TestRecordingCostsAJoinLittle(t *testing.T) {
	disk := &clocked{}
	w := servertest.StartWith(t, servertest.Options{Store: func(s store.Store) store.Store { disk.Store = s; return disk }})
	people := []conclave.PersonID{"a", "b", "c", "d", "e", "f", "g", "h"}
	var devices []*servertest.Device
	for _, p := range people {
		devices = append(devices, w.Enrol(p))
	}
	meeting := w.OpenMeeting(people...)
	var joins, records []time.Duration
	for i, d := range devices {
		disk.mu.Lock()
		disk.spent = nil
		disk.mu.Unlock()
		g := come(t, w, d, string(people[i]), meeting)
		g.await("entry", 0, func(e endpoint.Event) bool { return e.State != nil && e.State.State == endpoint.StateIn })
		disk.mu.Lock()
		var all time.Duration
		for _, s := range disk.spent {
			all += s
		}
		records = append(records, disk.spent...)
		disk.mu.Unlock()
		joins = append(joins, all)
	}
	slices.Sort(joins)
	slices.Sort(records)
	p50, one := joins[len(joins)/2], records[len(records)/2]
	t.Logf("recording in a join: p50 %v, most %v (%d records each, p50 %v a record, on the disk)", p50, joins[len(joins)-1], len(records)/len(joins), one)
	if p50 > 20*time.Millisecond {
		t.Errorf("half of the joins spend more than %v on recording", p50)
	}
}

func TestADeviceLogThatIsNotTheSignedOneIsRefusedAtTheStart(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, data, older string){
		"an older store": func(t *testing.T, data, older string) {
			if err := os.RemoveAll(filepath.Join(data, "store")); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(data, "store"), os.DirFS(older)); err != nil {
				t.Fatal(err)
			}
			os.Chmod(filepath.Join(data, "store", "store.key"), 0o600)
			os.Chmod(filepath.Join(data, "store", "store.shred"), 0o600)
			os.RemoveAll(filepath.Join(data, "audit")) // so that this log alone says so
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			w := servertest.StartWith(t, servertest.Options{Dir: data})
			w.Enrol("anna")
			w.Stop()
			older := filepath.Join(t.TempDir(), "store")
			if err := os.CopyFS(older, os.DirFS(filepath.Join(data, "store"))); err != nil {
				t.Fatal(err)
			}
			w.Restart()
			w.Enrol("ben")
			w.Stop()
			lose(t, data, older)
			err := w.TryStart()
			if err == nil {
				w.Stop()
				t.Fatal("the server runs")
			}
			if !strings.Contains(err.Error(), "the device log is not the one that was last signed") || !strings.Contains(err.Error(), "conclave audit restore") {
				t.Error(err)
			}
			// The copy brings back what was lost.
			brought := restoreDevices(t, data, w.Organisation)
			if brought != 1 {
				t.Errorf("brought back %d entries", brought)
			}
			w.Restart()
		})
	}
}

// restoreDevices brings back the device log from its copy.
func restoreDevices(t *testing.T, data string, o *identity.Organisation) uint64 {
	t.Helper()
	r, err := folder.Open(os.DirFS(filepath.Join(data, "devices")), o.RootHash())
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.OpenShort(t.Context(), filepath.Join(data, "store"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	n, err := identity.RestoreDeviceLog(t.Context(), st, func(yield func([]byte, error) bool) {
		for l, err := range r.Leaves(1) {
			if !yield(l.Leaf, err) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheDeviceLogIsServedAndCosignedForWhoeverWatchesIt(t *testing.T) {
	dir := t.TempDir()
	o, err := identity.NewOrganisation(filepath.Join(dir, "organisation"), "ministry.example", "Ministry", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a := newAlly(t, o)
	w := servertest.StartWith(t, servertest.Options{Dir: dir, Records: records.Copies{Witnesses: []*witness.Remote{a.Remote}}})
	w.Enrol("anna")
	var result *folder.Result
	wait(t, "a copy that the witness has signed", 30*time.Second, func() bool {
		result, err = folder.Verify(os.DirFS(filepath.Join(dir, "devices")), folder.Options{Root: o.RootHash(), Witnesses: []merkle.Key{a.Key()}})
		return err == nil && len(result.Cosigned) == 1 && result.Cosigned[0].Records == result.Records && result.Records > 1
	})
	get := func(name string) (int, []byte) {
		r, err := http.Get(w.URL + "/v1/devicelog/" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, b
	}
	for _, name := range []string{"checkpoint", "cosigned", "organisation", merkle.BundlePath(0, int(result.Records))} {
		want, err := os.ReadFile(filepath.Join(dir, "devices", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if code, got := get(name); code != http.StatusOK || !bytes.Equal(got, want) {
			t.Errorf("%s: %d, %d octets", name, code, len(got))
		}
	}
	for _, name := range []string{"", "checkpoints", "personal/000", "../audit/checkpoint", "%2e%2e/audit/checkpoint", "tile/0/../../../audit/checkpoint", "tile/0/000.new"} {
		if code, _ := get(name); code == http.StatusOK {
			t.Errorf("%s is served", name)
		}
	}
	// One entry changed is found and named.
	path := filepath.Join(dir, "devices", filepath.FromSlash(merkle.BundlePath(0, int(result.Records))))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	changed := t.TempDir()
	if err := os.CopyFS(changed, os.DirFS(filepath.Join(dir, "devices"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(changed, filepath.FromSlash(merkle.BundlePath(0, int(result.Records)))), b, 0o600); err != nil {
		t.Fatal(err)
	}
	var wrong *folder.Wrong
	if _, err := folder.Verify(os.DirFS(changed), folder.Options{}); !errors.As(err, &wrong) || wrong.Code != "record_changed" || merkle.Size(wrong.Record) != result.Records {
		t.Errorf("a changed entry: %v", err)
	}
}
