// Package reply is how the HTTP side of the server reads requests and answers them.
package reply

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"

	"conclave"
)

// What every part of the HTTP side may answer.
var (
	Malformed = conclave.Problem{Code: "request_malformed", Fix: "update_client"}
	Trouble   = conclave.Problem{Code: "server_trouble", Fix: "try_again"}
)

// maxBody bounds the body of every request but signalling.
const maxBody = 32 << 10 // the attestation of a TPM, in base64, has about 10 kB

// JSON answers with v; a conclave.Problem goes into {"problem":…}.
func JSON(w http.ResponseWriter, code int, v any) {
	if p, ok := v.(conclave.Problem); ok {
		v = struct {
			Problem conclave.Problem `json:"problem"`
		}{p}
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("reply: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	w.Write(append(b, '\n'))
}

// Lines answers with JSON values, one a line, until who asked has gone.
func Lines[V any](w http.ResponseWriter, list []V) {
	w.Header().Set("Content-Type", "application/jsonl")
	out := json.NewEncoder(w)
	for i := range list {
		if out.Encode(&list[i]) != nil {
			return
		}
	}
}

// Fail answers an error: the problem that it holds, else that we have trouble, whose cause goes to the log alone.
func Fail(w http.ResponseWriter, log *slog.Logger, what string, err error) {
	var p conclave.Problem
	if errors.As(err, &p) {
		JSON(w, http.StatusForbidden, p)
		return
	}
	log.Error("request failed", "request", what, "cause", err)
	JSON(w, http.StatusInternalServerError, Trouble)
}

// Read reads a request's body into v: one value, no unknown fields, at most 32 kB. Its error is Malformed.
func Read(w http.ResponseWriter, r *http.Request, v any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return Malformed
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return Malformed
	}
	if _, err := dec.Token(); err != io.EOF {
		return Malformed
	}
	return nil
}
