package server

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"regexp"

	"conclave"
	"conclave/signal"
)

// devicesURL is where the device log's plain copy is served, as C2SP tlog-tiles has it: to members of any organisation, and to
// whoever keeps a copy. It names nobody to whom a person's id is unknown.
const devicesURL = "/v1/devicelog/"

// servedFile are the files of the copy that are served.
var servedFile = regexp.MustCompile(`^(checkpoint|cosigned|organisation|tile/([0-9]|entries)(/x[0-9]{3})*/[0-9]{3}(\.p/[0-9]{1,3})?)$`)

func (s *Server) serveDeviceLog(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	if s.cfg.Records.Devices == "" || !servedFile.MatchString(name) {
		s.notFound(w, r)
		return
	}
	b, err := fs.ReadFile(os.DirFS(s.cfg.Records.Devices), name)
	if errors.Is(err, fs.ErrNotExist) {
		s.notFound(w, r)
		return
	}
	if err != nil {
		s.fail(w, "serve the device log", err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-cache") // tiles that are not full come and go
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	w.Write(b)
}

// problemConsistency answers who asks for a size that the device log never had.
var problemConsistency = conclave.Problem{Code: "log_size", Fix: "join_again"}

// logProof shows that a statement stands in the device log. Every statement enters it when it is signed; one that was
// signed when the store failed enters it now, before anybody may believe it.
func (s *Server) logProof(ctx context.Context, statement []byte) ([]byte, error) {
	return s.devices.Proof(ctx, statement)
}

// proveConsistency answers a member who holds the states of the device log that it was shown against each other.
func (r *room) proveConsistency(id conclave.LegID, m *signal.Consistency) error {
	s := r.seats[id]
	if !s.proofs.take(20, 600, r.now()) {
		return problemTooMany
	}
	path, err := r.devices.Consistency(m.From, m.To)
	if err != nil {
		return problemConsistency
	}
	s.conn.send(&signal.ConsistencyProof{From: m.From, To: m.To, Path: path})
	return nil
}
