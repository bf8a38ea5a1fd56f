package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"conclave/merkle"
)

// sizeType is the media type of a conflict's answer.
const sizeType = "text/x.tlog.size"

// Handler serves add-checkpoint. now is the witness's clock.
func (w *Witness) Handler(now func() time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(out, r.Body, MaxRequest))
		if err != nil {
			http.Error(out, ErrMalformed.Error(), http.StatusBadRequest)
			return
		}
		line, err := w.Add(body, now())
		var conflict *ConflictError
		switch {
		case err == nil:
			out.Header().Set("Content-Type", "text/plain; charset=utf-8")
			out.Write(line)
		case errors.As(err, &conflict):
			out.Header().Set("Content-Type", sizeType)
			out.WriteHeader(http.StatusConflict)
			fmt.Fprintf(out, "%d\n", conflict.Size)
		default:
			http.Error(out, err.Error(), status(err))
		}
	})
	return mux
}

func status(err error) int {
	switch {
	case errors.Is(err, ErrMalformed):
		return http.StatusBadRequest
	case errors.Is(err, ErrUnknownLog):
		return http.StatusNotFound
	case errors.Is(err, ErrSignature):
		return http.StatusForbidden
	case errors.Is(err, ErrInconsistent):
		return http.StatusUnprocessableEntity
	}
	return http.StatusInternalServerError
}

// Remote is a witness that is asked over HTTP. It is safe for concurrent use.
type Remote struct {
	url    string
	key    merkle.Key
	client *http.Client
}

// askTimeout is how long a witness has for one answer.
const askTimeout = 10 * time.Second

// NewRemote returns the witness with a submission prefix (its URL without /add-checkpoint) and a verifier key.
func NewRemote(prefix string, key merkle.Key) (*Remote, error) {
	u, err := url.Parse(prefix)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("witness: %q is no URL such as https://witness.example", prefix)
	}
	if !key.Witness() {
		return nil, fmt.Errorf("witness: %s is a log's key, not a witness's", key.Name())
	}
	return &Remote{url: strings.TrimSuffix(prefix, "/") + "/add-checkpoint", key: key, client: &http.Client{
		Timeout:       askTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Key returns the witness's verifier key.
func (r *Remote) Key() merkle.Key { return r.key }

// Ask sends a signed checkpoint with the proof that it goes on from old, and returns the witness's line. A *ConflictError
// says from which size the proof must be.
func (r *Remote) Ask(ctx context.Context, old merkle.Size, proof []merkle.Hash, signed []byte) ([]byte, error) {
	body := (&request{old, proof, signed}).encode()
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("witness: ask %s: %w", r.key.Name(), err)
	}
	q.Header.Set("Content-Type", "text/plain; charset=utf-8")
	answer, err := r.client.Do(q)
	if err != nil {
		return nil, fmt.Errorf("witness: ask %s: %w", r.key.Name(), err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, merkle.MaxCheckpoint))
	if err != nil {
		return nil, fmt.Errorf("witness: ask %s: %w", r.key.Name(), err)
	}
	switch answer.StatusCode {
	case http.StatusOK:
		return r.pick(text)
	case http.StatusConflict:
		size, err := strconv.ParseUint(strings.TrimSuffix(string(text), "\n"), 10, 64)
		if err != nil || merkle.Size(size) > merkle.MaxSize {
			return nil, fmt.Errorf("witness: %s answers a conflict without a size", r.key.Name())
		}
		return nil, &ConflictError{merkle.Size(size)}
	case http.StatusUnprocessableEntity:
		return nil, fmt.Errorf("%w: so says %s", ErrInconsistent, r.key.Name())
	}
	return nil, fmt.Errorf("witness: %s answers with status %d", r.key.Name(), answer.StatusCode)
}

// pick finds the witness's line in its answer, which may have others.
func (r *Remote) pick(text []byte) ([]byte, error) {
	for l := range bytes.Lines(text) {
		if bytes.HasPrefix(l, []byte("— "+r.key.Name()+" ")) && bytes.HasSuffix(l, []byte("\n")) {
			return l, nil
		}
	}
	return nil, fmt.Errorf("witness: %s answers without a signature of its own", r.key.Name())
}
