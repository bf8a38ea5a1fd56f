package kept

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/identity"
	"conclave/store"
)

// world is an archive over a store, a directory and a log of its own, without a server; clock is what its clock says.
type world struct {
	*Archive
	clock time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	engine, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "store"), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	w := &world{clock: time.Now()}
	org, err := identity.NewOrganisation(filepath.Join(t.TempDir(), "organisation"), "ministry.example", "Ministry", rand.Reader, w.clock)
	if err != nil {
		t.Fatal(err)
	}
	st := Listed{engine}
	record := audit.NewLog(st)
	w.Archive = &Archive{Organisation: org, Store: st, Directory: identity.NewDirectory(st, org, record), Audit: record,
		Levels: admission.DefaultLevels, Log: log, Now: func() time.Time { return w.clock }}
	return w
}

func (w *world) addPerson(t *testing.T, id conclave.PersonID) {
	t.Helper()
	if err := w.Directory.AddPerson(t.Context(), identity.Person{ID: id, Name: "Name of " + string(id), Unit: "Border"}, w.now()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) openMeeting(t *testing.T, chair conclave.PersonID) *identity.Meeting {
	t.Helper()
	m, err := w.Directory.OpenMeeting(t.Context(), identity.Meeting{Title: "Liaison", Chair: chair, Door: identity.DoorInvited}, rand.Reader, w.now())
	if err != nil {
		t.Fatal(err)
	}
	return &m
}

func (w *world) record(t *testing.T, r audit.Record) audit.Index {
	t.Helper()
	r.Time = w.now()
	index, err := w.Audit.Record(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func (w *world) records(t *testing.T) []audit.Entry {
	t.Helper()
	entries, err := w.Audit.Read(t.Context(), 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// post asks as the administrator does.
func (w *world) post(t *testing.T, path, body string) (int, string) {
	t.Helper()
	mux := http.NewServeMux()
	w.Routes(mux)
	q := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, q)
	return answer.Code, answer.Body.String()
}
