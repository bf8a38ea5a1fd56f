package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
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
	"conclave/server"
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
	w, err := witness.Open(t.TempDir(), "ally.example/witness", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)), []merkle.Key{log})
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
		Records: server.RecordsConfig{Witnesses: []*witness.Remote{a.Remote}}})
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
