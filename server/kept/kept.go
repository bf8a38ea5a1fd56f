// Package kept is what a server keeps of meetings and people beside the record: the list of all that the store holds, and of
// whom; the sealed ledgers and marks that legs hand in; how long what is kept; and what of it an administrator or an
// investigator is given.
package kept

import (
	"log/slog"
	"net/http"
	"time"

	"conclave/admission"
	"conclave/audit"
	"conclave/identity"
	"conclave/server/reply"
	"conclave/store"
)

// Archive is what a server keeps. No field may be nil that is used: to read Ledgers, Store is enough.
type Archive struct {
	Organisation *identity.Organisation
	Store        store.Store
	Directory    *identity.Directory
	Audit        *audit.Log
	Levels       func() admission.Levels // of the policy that rules now
	Log          *slog.Logger
	Now          func() time.Time
}

// Routes adds the administrator's requests that are about what is kept.
func (a *Archive) Routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /records/erase", a.eraseRecords)
	mux.HandleFunc("GET /meetings/{pointer}/ledgers", a.serveLedgers)
	mux.HandleFunc("GET /meetings/{pointer}/marks", a.serveMarks)
	mux.HandleFunc("GET /marks", a.serveMarks)
	mux.HandleFunc("POST /traces", a.recordTrace)
	mux.HandleFunc("POST /investigations", a.recordInvestigation)
	mux.HandleFunc("POST /names", a.serveNames)
	mux.HandleFunc("GET /retention", a.showRetention)
	mux.HandleFunc("POST /retention", a.changeRetention)
	mux.HandleFunc("POST /retention/now", a.retainNow)
	mux.HandleFunc("POST /exports", a.recordExport)
	mux.HandleFunc("POST /people/{person}/kept", a.serveKept)
}

func (a *Archive) now() time.Time { return a.Now().UTC() }

func (a *Archive) fail(w http.ResponseWriter, what string, err error) {
	reply.Fail(w, a.Log, what, err)
}
