// Package witness cosigns checkpoints of others' logs: an ally or an auditor runs one, so that a log cannot show two
// histories without being found out. A witness signs a state of a log only after it was shown that the log goes on from the
// state that it signed last, and has that state on its disk before it answers.
//
// It follows C2SP tlog-witness (add-checkpoint) and tlog-cosignature (cosignature/v1, Ed25519). Remote is the other side:
// what a server asks witnesses with. The package decides nothing about who must cosign.
package witness

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"conclave/merkle"
)

// MaxRequest bounds what is read of a request, in bytes.
const MaxRequest = merkle.MaxProof

// maxPath is the longest consistency proof that is accepted.
const maxPath = 63

// Errors of Add, each with the status that C2SP tlog-witness gives it.
var (
	ErrMalformed    = errors.New("witness: malformed request")                                   // 400
	ErrUnknownLog   = errors.New("witness: unknown log")                                         // 404
	ErrSignature    = errors.New("witness: the checkpoint is not signed by the log's key")       // 403
	ErrInconsistent = errors.New("witness: the log does not go on from what it was shown to be") // 422
)

// ConflictError says that the old size is not the one that the witness signed last (409).
type ConflictError struct{ Size merkle.Size }

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("witness: the log was last seen with %d records", e.Size)
}

// Witness is a witness with its key and its state. It is safe for concurrent use.
type Witness struct {
	name string
	key  ed25519.PrivateKey
	logs map[string][]merkle.Key // by origin
	path string
	lock *os.File

	mu    sync.Mutex
	seen  map[string]state // by origin; guarded by mu
	write func(path string, content []byte) error
}

// state is what was last signed of a log.
type state struct {
	Size merkle.Size `json:"size"`
	Root merkle.Hash `json:"root"`
}

const (
	stateFile = "witness.json"
	lockFile  = "witness.lock"
)

// Open opens the witness whose state is in the folder dir, which it makes if there is none. logs are the verifier keys of
// the logs that it knows. It refuses where another process uses the folder. The caller closes it.
func Open(dir, name string, key ed25519.PrivateKey, logs []merkle.Key) (*Witness, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("witness: another process uses %s: stop it first", dir)
	}
	w := &Witness{name: name, key: key, logs: map[string][]merkle.Key{}, path: filepath.Join(dir, stateFile), lock: lock, seen: map[string]state{}, write: writeDurably}
	for _, k := range logs {
		if k.Witness() {
			lock.Close()
			return nil, fmt.Errorf("witness: %s is a witness's key, not a log's", k.Name())
		}
		w.logs[k.Name()] = append(w.logs[k.Name()], k)
	}
	b, err := os.ReadFile(w.path)
	if err == nil {
		err = json.Unmarshal(b, &w.seen)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		lock.Close()
		return nil, fmt.Errorf("witness: the state in %s cannot be read: %w: put it back from its backup", w.path, err)
	}
	return w, nil
}

// Close lets go of the folder.
func (w *Witness) Close() error { return w.lock.Close() }

// Key returns what the witness's cosignatures are verified with.
func (w *Witness) Key() merkle.Key {
	return merkle.WitnessKey(w.name, w.key.Public().(ed25519.PublicKey))
}

// Add takes the body of an add-checkpoint request and returns the cosignature line. now is the witness's clock.
func (w *Witness) Add(body []byte, now time.Time) ([]byte, error) {
	r, err := parseRequest(body)
	if err != nil {
		return nil, err
	}
	claimed, err := merkle.Unverified(r.checkpoint)
	if err != nil {
		return nil, ErrMalformed
	}
	keys := w.logs[claimed.Origin]
	if len(keys) == 0 {
		return nil, ErrUnknownLog
	}
	c, err := merkle.Open(r.checkpoint, keys...)
	if err != nil {
		return nil, ErrSignature
	}
	if r.old > c.Size {
		return nil, ErrMalformed
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last, ok := w.seen[c.Origin]
	if !ok {
		last.Root = merkle.EmptyRoot
	}
	if r.old != last.Size || r.old == c.Size && last.Root != c.Root {
		return nil, &ConflictError{last.Size}
	}
	if merkle.CheckConsistency(r.proof, last.Size, last.Root, c.Size, c.Root) != nil {
		return nil, ErrInconsistent
	}
	line, err := merkle.Cosign(c, w.name, w.key, now)
	if err != nil {
		return nil, err
	}
	if err := w.remember(c); err != nil {
		return nil, err
	}
	return line, nil
}

// remember makes the new state durable. w.mu is held.
func (w *Witness) remember(c *merkle.Checkpoint) error {
	next := map[string]state{}
	for origin, s := range w.seen {
		next[origin] = s
	}
	next[c.Origin] = state{c.Size, c.Root}
	b, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	if err := w.write(w.path, append(b, '\n')); err != nil {
		return err
	}
	w.seen = next
	return nil
}

// request is an add-checkpoint request.
type request struct {
	old        merkle.Size
	proof      []merkle.Hash
	checkpoint []byte
}

func (r *request) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", r.old)
	for _, h := range r.proof {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n")
	b.Write(r.checkpoint)
	return b.Bytes()
}

func parseRequest(b []byte) (*request, error) {
	if len(b) > MaxRequest {
		return nil, ErrMalformed
	}
	head, checkpoint, ok := strings.Cut(string(b), "\n\n")
	lines := strings.Split(head, "\n")
	number, old := strings.CutPrefix(lines[0], "old ")
	size, err := strconv.ParseUint(number, 10, 64)
	if !ok || !old || err != nil || merkle.Size(size) > merkle.MaxSize || strconv.FormatUint(size, 10) != number || len(lines) > 1+maxPath {
		return nil, ErrMalformed
	}
	r := &request{old: merkle.Size(size), checkpoint: []byte(checkpoint)}
	for _, l := range lines[1:] {
		raw, err := merkle.ParseBase64(l)
		if err != nil || len(raw) != len(merkle.Hash{}) {
			return nil, ErrMalformed
		}
		r.proof = append(r.proof, merkle.Hash(raw))
	}
	return r, nil
}

// writeDurably replaces a file: after a crash it has the old content or the new.
func writeDurably(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	return nil
}
