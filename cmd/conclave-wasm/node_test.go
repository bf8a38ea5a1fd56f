//go:build !js

package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave/endpoint"
	"conclave/mls"
	"conclave/server/servertest"
	"conclave/signal"
)

// A browser's core in Node and a native endpoint, in one meeting of a real server: the same keys, the same code.
func TestTheCoreInNodeSharesTheRoomWithANativeEndpoint(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	core := build(t)
	w := servertest.Start(t)
	annas, ben := w.Enrol("anna"), w.Enrol("ben")
	meeting := w.OpenMeeting("anna", "ben")
	anna := native(t, w, annas, func(c *endpoint.Config) { c.Meeting = meeting })
	anna.until(t, "in", func() bool { return anna.state == endpoint.StateIn })

	scalar, err := ben.Key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	opening, err := json.Marshal(map[string]any{
		"meeting": meeting, "url": "ws" + strings.TrimPrefix(w.URL, "http") + "/v1/signal", "host": w.Host,
		"statement": ben.Statement, "leaf_key": ben.Point, "organisation": w.Organisation.ID, "root": []byte(w.Organisation.Root),
		"client": signal.Client{Kind: "browser", Name: "node", Version: "0"}, "facts": []any{},
		"jwk": map[string]any{"kty": "EC", "crv": "P-256", "d": b64(scalar), "x": b64(ben.Point[1:33]), "y": b64(ben.Point[33:])},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "opening.json")
	if err := os.WriteFile(file, opening, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	run := exec.CommandContext(ctx, node, "--experimental-websocket", "--no-warnings", "testdata/host.cjs", core, wasmExec(t), file)
	stdin, err := run.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	run.Stderr = os.Stderr
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	got := read(t, stdout, func(seen *heardFromNode) {
		// In, and with the key of anna's epoch: now it leaves.
		if seen.in && seen.epoch == 1 && !seen.left {
			seen.left = true
			stdin.Write([]byte("leave\n"))
		}
	})
	if err := run.Wait(); err != nil {
		t.Fatalf("node: %v", err)
	}
	anna.until(t, "ben's leave", func() bool { return anna.why == "went" })
	anna.mu.Lock()
	defer anna.mu.Unlock()
	if got.key == "" || got.key != anna.keys[1] {
		t.Errorf("epoch %d: the core has another key than the native endpoint", got.epoch)
	}
	if got.code == "" || got.code != anna.codes[1] {
		t.Errorf("the core shows the code %q, the native endpoint %q", got.code, anna.codes[1])
	}
	if got.context < endpoint.FirstContext {
		t.Errorf("context id %#x", got.context)
	}
	if !got.closed || got.alarm != "" {
		t.Errorf("closed: %v, alarm: %q", got.closed, got.alarm)
	}
	t.Logf("ready after %.0f ms, in %.0f ms after asking", got.ready, got.join)
}

type heardFromNode struct {
	in, left, closed bool
	epoch            uint64
	key, code, alarm string
	context          int
	ready, join      float64
}

func read(t *testing.T, out interface{ Read([]byte) (int, error) }, after func(*heardFromNode)) *heardFromNode {
	t.Helper()
	seen := new(heardFromNode)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m struct {
			Event   string          `json:"event"`
			State   json.RawMessage `json:"state"`
			Code    *endpoint.CodeEvent
			Alarm   *endpoint.AlarmEvent
			Epoch   uint64  `json:"epoch"`
			Key     string  `json:"key"`
			Context int     `json:"context"`
			Ready   float64 `json:"ready"`
			Join    float64 `json:"join"`
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		switch m.Event {
		case "state":
			seen.in = seen.in || strings.Contains(string(m.State), `"in"`)
		case "epoch":
			seen.epoch, seen.key, seen.context = m.Epoch, m.Key, m.Context
		case "code":
			seen.code = strings.Join(m.Code.Groups[:], " ")
		case "alarm":
			seen.alarm = m.Alarm.Problem.Code
		case "closed":
			seen.closed = true
		case "took":
			seen.ready, seen.join = seen.ready+m.Ready, seen.join+m.Join
		}
		after(seen)
	}
	return seen
}

// guest is a native endpoint that keeps what the core should have too.
type guest struct {
	*endpoint.Endpoint
	mu    sync.Mutex // guards all below
	state endpoint.State
	why   string
	keys  map[uint64]string
	codes map[uint64]string
}

func native(t *testing.T, w *servertest.World, d *servertest.Device, change func(*endpoint.Config)) *guest {
	t.Helper()
	dial, host, err := endpoint.Dial(w.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := d.Key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := mls.NewSigner(mls.MLKEM768P256, scalar)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{keys: make(map[uint64]string), codes: make(map[uint64]string)}
	cfg := endpoint.Config{Dial: dial, Host: host, Identity: endpoint.Identity{Statement: d.Statement, Signer: signer},
		Organisation: w.Organisation.ID, Root: w.Organisation.Root, Client: signal.Client{Kind: "headless", Name: "test", Version: "0"},
		Media: g, Emit: g.emit}
	change(&cfg)
	if g.Endpoint, err = endpoint.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return g
}

func (g *guest) emit(e endpoint.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case e.State != nil:
		if g.state = e.State.State; g.state == endpoint.StateChecked {
			g.Join(nil)
		}
	case e.Code != nil:
		g.why = e.Code.Why
		g.codes[e.Code.Epoch] = strings.Join(e.Code.Groups[:], " ")
	}
}

func (g *guest) Offer(context.Context, signal.SlotCounts, signal.Server) (signal.Media, error) {
	return signal.Media{}, os.ErrInvalid
}
func (g *guest) Ready() {}
func (g *guest) Keys(k endpoint.EpochKeys) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys[k.Epoch] = hex.EncodeToString(k.BaseKey)
}
func (g *guest) Retire(uint64)      {}
func (g *guest) Slots(signal.Slots) {}
func (g *guest) Hold(bool)          {}
func (g *guest) Bar(uint32)         {}
func (g *guest) Suspend()           {}
func (g *guest) Close()             {}

func (g *guest) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 2000 {
		g.mu.Lock()
		ok := holds()
		g.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never %s", what)
}

// build compiles the core as scripts/build does.
func build(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "conclave.wasm")
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, ".")
	c.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build the core: %v\n%s", err, b)
	}
	return out
}

func wasmExec(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "lib/wasm/wasm_exec.js")
}
