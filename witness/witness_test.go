package witness

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/transparency-dev/tessera/client"

	formatsnote "github.com/transparency-dev/formats/note"

	"conclave/merkle"
)

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

const origin = "ministry.example/audit"

// history is a log in memory with the key that signs it.
type history struct {
	merkle.Tree
	t   testing.TB
	key ed25519.PrivateKey
}

func (h *history) grow(n int, what string) {
	for range n {
		h.Append(fmt.Appendf(nil, "%s %d", what, h.Size()))
	}
}

func (h *history) signed(size merkle.Size) []byte {
	h.t.Helper()
	root, err := h.RootAt(size)
	if err != nil {
		h.t.Fatal(err)
	}
	b, err := (&merkle.Checkpoint{Origin: origin, Size: size, Root: root}).Sign(h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func (h *history) request(old, size merkle.Size) []byte {
	h.t.Helper()
	p, err := h.Consistency(old, size)
	if err != nil {
		h.t.Fatal(err)
	}
	return (&request{old, p, h.signed(size)}).encode()
}

func open(t testing.TB, dir string) *Witness {
	t.Helper()
	w, err := Open(dir, "ally.example/witness", key(9), []merkle.Key{merkle.LogKey(origin, public(key(1)))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

var now = time.Unix(1_800_000_000, 0)

func TestAWitnessSignsWhatGoesOnAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	h := &history{t: t, key: key(1)}
	h.grow(20, "record")
	fork := &history{t: t, key: key(1)}
	fork.grow(5, "record")
	fork.grow(20, "other")

	line, err := w.Add(h.request(0, 7), now)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := merkle.AddCosignature(h.signed(7), line, w.Key())
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := merkle.Cosignature(signed, w.Key()); !ok || !at.Equal(now) {
		t.Errorf("cosigned at %v, %v", at, ok)
	}
	if _, err := w.Add(h.request(7, 7), now); err != nil {
		t.Errorf("the same state again: %v", err)
	}
	var conflict *ConflictError
	if _, err := w.Add(h.request(3, 9), now); !errors.As(err, &conflict) || conflict.Size != 7 {
		t.Errorf("from an older state: %v", err)
	}
	if _, err := w.Add(fork.request(7, 9), now); !errors.Is(err, ErrInconsistent) {
		t.Errorf("another history: %v", err)
	}
	if _, err := w.Add(fork.request(7, 7), now); !errors.As(err, &conflict) {
		t.Errorf("another history of the same size: %v", err)
	}
	other := *h
	other.key = key(2)
	if _, err := w.Add(other.request(7, 9), now); !errors.Is(err, ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	stranger, _ := (&merkle.Checkpoint{Origin: "x", Size: 0, Root: merkle.EmptyRoot}).Sign(key(1))
	if _, err := w.Add((&request{0, nil, stranger}).encode(), now); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("another log: %v", err)
	}
	if _, err := w.Add((&request{9, nil, h.signed(7)}).encode(), now); !errors.Is(err, ErrMalformed) {
		t.Errorf("backwards: %v", err)
	}
	w.Close()
	w = open(t, dir)
	if _, err := w.Add(h.request(0, 9), now); !errors.As(err, &conflict) || conflict.Size != 7 {
		t.Errorf("after a restart it knows another state: %v", err)
	}
	if _, err := w.Add(h.request(7, 20), now); err != nil {
		t.Error(err)
	}
}

func TestAWitnessThatCannotRememberDoesNotSign(t *testing.T) {
	w := open(t, t.TempDir())
	h := &history{t: t, key: key(1)}
	h.grow(9, "record")
	durable := w.write
	w.write = func(string, []byte) error { return errors.New("disk full") }
	if _, err := w.Add(h.request(0, 5), now); err == nil {
		t.Fatal("it signed")
	}
	w.write = durable
	if _, err := w.Add(h.request(0, 6), now); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestTwoWitnessesDoNotShareAFolder(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, err := Open(dir, "b", key(1), nil); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened: %v", err)
	}
	other := t.TempDir()
	os.WriteFile(filepath.Join(other, stateFile), []byte("{"), 0o600)
	if _, err := Open(other, "b", key(1), nil); err == nil {
		t.Error("a damaged state was taken for none")
	}
	if _, err := Open(t.TempDir(), "b", key(1), []merkle.Key{merkle.WitnessKey("w", public(key(1)))}); err == nil {
		t.Error("a witness's key was taken for a log's")
	}
}

func TestARemoteFindsOutWhatTheWitnessKnows(t *testing.T) {
	w := open(t, t.TempDir())
	h := &history{t: t, key: key(1)}
	h.grow(30, "record")
	server := httptest.NewServer(w.Handler(func() time.Time { return now }))
	defer server.Close()
	r, err := NewRemote(server.URL+"/", w.Key())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(old, size merkle.Size) ([]byte, error) {
		p, _ := h.Consistency(old, size)
		return r.Ask(context.Background(), old, p, h.signed(size))
	}
	if _, err := ask(0, 10); err != nil {
		t.Fatal(err)
	}
	var conflict *ConflictError
	if _, err := ask(0, 12); !errors.As(err, &conflict) || conflict.Size != 10 {
		t.Fatalf("not told: %v", err)
	}
	line, err := ask(10, 30)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := merkle.AddCosignature(h.signed(30), line, r.Key()); err != nil {
		t.Error(err)
	}
	if _, err := r.Ask(context.Background(), 30, nil, []byte("x")); err == nil {
		t.Error("nonsense was signed")
	}
	server.Close()
	if _, err := ask(30, 30); err == nil {
		t.Error("a witness that is away has signed")
	}
}

func TestAnswersThatAreNotTheWitnesssAreRefused(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"nothing":          func(w http.ResponseWriter, r *http.Request) {},
		"another's line":   func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("— other AAAA\n")) },
		"a redirect":       func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"conflict no size": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusConflict) },
		"trouble":          func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"much":             func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.Repeat([]byte("x"), 1<<20)) },
	} {
		server := httptest.NewServer(answer)
		r, err := NewRemote(server.URL, merkle.WitnessKey("w", public(key(9))))
		if err != nil {
			t.Fatal(err)
		}
		if line, err := r.Ask(t.Context(), 0, nil, []byte("x")); err == nil {
			t.Errorf("%s: taken: %q", name, line)
		}
		server.Close()
	}
	for _, u := range []string{"", "witness.example", "ftp://x", "https://x?y", "https://"} {
		if _, err := NewRemote(u, merkle.WitnessKey("w", public(key(9)))); err == nil {
			t.Errorf("%q is a witness's URL", u)
		}
	}
}

func TestOfManyWhoAskAtOnceNoTwoHistoriesAreSigned(t *testing.T) {
	w := open(t, t.TempDir())
	var wait sync.WaitGroup
	var mu sync.Mutex
	signed := 0
	for i := range 8 {
		wait.Go(func() {
			h := &history{t: t, key: key(1)}
			h.grow(5, fmt.Sprint("history ", i))
			if _, err := w.Add(h.request(0, 5), now); err == nil {
				mu.Lock()
				signed++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if signed != 1 {
		t.Errorf("%d histories were signed", signed)
	}
}

// Tessera's client is another implementation of reading logs: it takes our checkpoint, its cosignature and our tiles.
func TestTesserasClientVerifiesWhatWePublish(t *testing.T) {
	w := open(t, t.TempDir())
	h := &history{t: t, key: key(1)}
	files := map[string][]byte{}
	var edge merkle.Edge
	for i := range 700 {
		leaf := fmt.Appendf(nil, "record %d", i)
		h.Append(leaf)
		for _, tile := range edge.Append(merkle.LeafHash(leaf)) {
			files[tile.Path()] = tile.Bytes()
		}
	}
	for _, tile := range edge.Partial() {
		files[tile.Path()] = tile.Bytes()
	}
	line, err := w.Add(h.request(0, 700), now)
	if err != nil {
		t.Fatal(err)
	}
	both, err := merkle.AddCosignature(h.signed(700), line, w.Key())
	if err != nil {
		t.Fatal(err)
	}
	v, err := formatsnote.NewVerifierForCosignatureV1(w.Key().String())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := note.Open(both, note.VerifierList(v)); err != nil || len(n.Sigs) != 1 {
		t.Errorf("the cosignature: %v", err)
	}
	fetch := func(_ context.Context, level, index uint64, width uint8) ([]byte, error) {
		n := int(width)
		if n == 0 {
			n = merkle.TileWidth
		}
		b, ok := files[merkle.Tile{Level: int(level), N: index, Hashes: make([]merkle.Hash, n)}.Path()]
		if !ok {
			return nil, os.ErrNotExist
		}
		return b, nil
	}
	builder, err := client.NewProofBuilder(t.Context(), 700, fetch)
	if err != nil {
		t.Fatal(err)
	}
	root := h.Root()
	for _, i := range []uint64{0, 255, 256, 511, 699} {
		p, err := builder.InclusionProof(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		if merkle.CheckInclusion(hashes(p), merkle.Index(i), merkle.LeafHash(fmt.Appendf(nil, "record %d", i)), 700, root) != nil {
			t.Errorf("its proof of leaf %d does not hold", i)
		}
	}
	p, err := builder.ConsistencyProof(t.Context(), 300, 700)
	if err != nil {
		t.Fatal(err)
	}
	from, _ := h.RootAt(300)
	if merkle.CheckConsistency(hashes(p), 300, from, 700, root) != nil {
		t.Error("its proof of consistency does not hold")
	}
}

func hashes(p [][]byte) []merkle.Hash {
	out := make([]merkle.Hash, len(p))
	for i := range p {
		out[i] = merkle.Hash(p[i])
	}
	return out
}

func FuzzAdd(f *testing.F) {
	h := &history{t: f, key: key(1)}
	h.grow(9, "record")
	f.Add(h.request(0, 4))
	f.Add(h.request(4, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if err != nil {
			return
		}
		if !bytes.Equal(r.encode(), b) {
			t.Errorf("%q is written as %q", b, r.encode())
		}
		w := &Witness{name: "w", key: key(9), logs: map[string][]merkle.Key{origin: {merkle.LogKey(origin, public(key(1)))}}, seen: map[string]state{},
			write: func(string, []byte) error { return nil }}
		if line, err := w.Add(b, now); err == nil {
			if _, err := merkle.AddCosignature(r.checkpoint, line, w.Key()); err != nil {
				t.Errorf("a bad line: %v", err)
			}
		}
	})
}
