package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	sig "os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/audit/folder"
	"conclave/endpoint"
	"conclave/gate"
	"conclave/identity"
	"conclave/mls"
	"conclave/signal"
)

// kills is how often the server is killed; with -kills 1000 it takes an hour.
var kills = flag.Int("kills", 3, "kill -9 of a server in whose meeting people come and go")

// served is the environment variable that makes this test binary the server.
const served = "CONCLAVE_TEST_SERVER"

func TestMain(m *testing.M) {
	if args := os.Getenv(served); args != "" {
		ctx, stop := sig.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := run(ctx, strings.Fields(args), os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process is a server that runs as a process of its own.
type process struct {
	cmd  *exec.Cmd
	log  *lines
	done chan struct{} // closed when it has ended
}

func spawn(t *testing.T, url, args string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), log: new(lines), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), served+"="+args)
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if r, err := http.Get(url + "/v1/health"); err == nil {
			r.Body.Close()
			return p
		}
		select {
		case <-p.done:
			t.Fatalf("the server does not start:\n%s", p.log.buf.String())
		default:
		}
		if time.Now().After(end) {
			t.Fatal("the server does not answer")
		}
	}
}

func (p *process) end(s os.Signal) {
	p.cmd.Process.Signal(s)
	<-p.done
}

// effects is what clients saw the server do.
type effects struct {
	mu     sync.Mutex
	epochs map[uint64]map[[32]byte]bool // keys of epochs, by their hash
	ins    map[conclave.DeviceID]int    // how often a leg was told to be in
}

// visitor comes to the meeting and goes again, with one device.
type visitor struct {
	cfg    endpoint.Config
	device conclave.DeviceID
	seen   *effects
}

// Keys implements endpoint.Media: that keys changed is an effect.
func (v *visitor) Keys(k endpoint.EpochKeys) {
	v.seen.mu.Lock()
	defer v.seen.mu.Unlock()
	if v.seen.epochs[k.Epoch] == nil {
		v.seen.epochs[k.Epoch] = map[[32]byte]bool{}
	}
	v.seen.epochs[k.Epoch][sha256.Sum256(k.BaseKey)] = true
}
func (*visitor) Offer(context.Context, signal.SlotCounts, signal.Server) (signal.Media, error) {
	return signal.Media{}, errors.New("no media")
}
func (*visitor) Ready()             {}
func (*visitor) Retire(uint64)      {}
func (*visitor) Slots(signal.Slots) {}
func (*visitor) Bar(uint32)         {}
func (*visitor) Hold(bool)          {}
func (*visitor) Suspend()           {}
func (*visitor) Close()             {}

// visit comes, stays for a while once it is in, and goes. It ends with ctx.
func (v *visitor) visit(ctx context.Context, stay time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := make(chan struct{}, 1)
	var e *endpoint.Endpoint
	cfg := v.cfg
	cfg.Media = v
	cfg.Emit = func(event endpoint.Event) {
		switch {
		case event.State == nil:
		case event.State.State == endpoint.StateChecked:
			e.Join(nil)
		case event.State.State == endpoint.StateIn:
			v.seen.mu.Lock()
			v.seen.ins[v.device]++
			v.seen.mu.Unlock()
			select {
			case in <- struct{}{}:
			default:
			}
		}
	}
	e, err := endpoint.New(cfg)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	select {
	case <-in:
	case err := <-done:
		return err
	}
	select {
	case <-time.After(stay):
		e.Leave()
	case <-ctx.Done():
	case err := <-done:
		return err
	}
	select {
	case err := <-done:
		return err
	case <-time.After(2 * time.Second): // the server that shall hear of it is gone
		cancel()
		return <-done
	}
}

// world is an organisation with a meeting, and the people who come to it.
type world struct {
	t       *testing.T
	url     string
	dir     string
	args    string
	org     *identity.Organisation
	admin   *http.Client
	meeting conclave.MeetingID
	seen    *effects
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: dataFolder(t), seen: &effects{epochs: map[uint64]map[[32]byte]bool{}, ins: map[conclave.DeviceID]int{}}}
	var err error
	if w.org, err = identity.LoadOrganisation(filepath.Join(w.dir, "organisation"), time.Now()); err != nil {
		t.Fatal(err)
	}
	page, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	media, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + page.Addr().String()
	w.args = fmt.Sprintf("--data %s --listen %s --media %s", w.dir, page.Addr(), media.LocalAddr())
	page.Close()
	media.Close()
	w.admin = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(w.dir, adminSocket))
	}}}
	return w
}

// post asks the administrator's side where path is without a host, and reads the answer into out.
func (w *world) post(client *http.Client, url string, body, out any) {
	w.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := client.Post(url, "application/json", bytes.NewReader(b))
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %d %s, %v", url, r.StatusCode, text, err)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			w.t.Fatal(err)
		}
	}
}

// enrol adds a person with a device.
func (w *world) enrol(person string) *visitor {
	w.t.Helper()
	w.post(w.admin, "http://admin/people", map[string]string{"id": person, "name": person, "unit": "Test"}, nil)
	var link struct{ Token string }
	w.post(w.admin, "http://admin/links", map[string]string{"person": person}, &link)
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256(signal.EnrolContent(link.Token))
	proof, err := ecdsa.SignASN1(crand.Reader, key, sum[:])
	if err != nil {
		w.t.Fatal(err)
	}
	var answer struct{ Statement []byte }
	w.post(http.DefaultClient, w.url+"/v1/enrol", map[string]any{"token": link.Token, "leaf_key": point, "proof": proof, "device_name": "Test"}, &answer)
	scalar, err := key.Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	signer, err := mls.NewSigner(gate.Suite, scalar)
	if err != nil {
		w.t.Fatal(err)
	}
	dial, host, err := endpoint.Dial(w.url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &visitor{device: conclave.DeviceOf(point), seen: w.seen, cfg: endpoint.Config{Dial: dial, Host: host,
		Identity:     endpoint.Identity{Statement: answer.Statement, Signer: signer},
		Organisation: w.org.ID, Root: w.org.Root, Client: signal.Client{Kind: "headless", Name: "test"}}}
}

// TestAServerThatIsKilledInAMeetingHasARecordOfAllThatItDid kills a real server at random moments while people come and go.
// Whatever a client saw of it, keys of an epoch or that it is in, stands in the log; the log goes on, and its copies verify
// as the kill left them.
func TestAServerThatIsKilledInAMeetingHasARecordOfAllThatItDid(t *testing.T) {
	w := newWorld(t)
	p := spawn(t, w.url, w.args)
	people := []string{"anna", "ben", "cleo"}
	var visitors []*visitor
	for _, name := range people {
		visitors = append(visitors, w.enrol(name))
	}
	var opened struct{ Pointer conclave.MeetingID }
	w.post(w.admin, "http://admin/meetings", map[string]any{"title": "Weekly", "level": "OPEN", "chair": "anna", "people": people, "door": "invited"}, &opened)
	w.meeting = opened.Pointer
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for i, v := range visitors {
		v.cfg.Meeting = w.meeting
		wait.Go(func() {
			for ctx.Err() == nil {
				stay := time.Duration(rand.IntN(300)) * time.Millisecond
				if i == 0 {
					stay = time.Hour // somebody is always there, so that keys change
				}
				v.visit(ctx, stay)
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	began := time.Now()
	for round := range *kills {
		time.Sleep(time.Duration(rand.IntN(1200)) * time.Millisecond)
		select {
		case <-p.done:
			t.Fatalf("round %d: it ended by itself:\n%s", round, p.log.buf.String())
		default:
		}
		p.end(syscall.SIGKILL)
		if round%20 == 19 || round == *kills-1 {
			w.verify(fmt.Sprintf("round %d", round))
		}
		p = spawn(t, w.url, w.args)
	}
	w.allComeBack()
	cancel()
	wait.Wait()
	p.end(syscall.SIGTERM)
	w.verify("the end")
	w.effectsStand()
	keys := 0
	for _, k := range w.seen.epochs {
		keys += len(k)
	}
	t.Logf("killed %d times in %v: clients had keys of %d epochs and were in %v times, each with its record", *kills, time.Since(began).Round(time.Second), keys, w.seen.ins)
}

// allComeBack waits until each device was in since the last start.
func (w *world) allComeBack() {
	w.t.Helper()
	count := func() map[conclave.DeviceID]int {
		w.seen.mu.Lock()
		defer w.seen.mu.Unlock()
		return maps.Clone(w.seen.ins)
	}
	before := count()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		back := 0
		for device, n := range count() {
			if n > before[device] {
				back++
			}
		}
		if back == 3 {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("not all come in after the last start: %v, then %v", before, count())
		}
	}
}

// verify verifies both copies.
func (w *world) verify(when string) {
	w.t.Helper()
	for _, log := range []string{recordsFolder, devicesFolder} {
		if _, err := folder.Verify(os.DirFS(filepath.Join(w.dir, log)), folder.Options{Root: w.org.RootHash()}); err != nil {
			w.t.Fatalf("%s: the copy %s: %v", when, log, err)
		}
	}
}

// effectsStand holds what clients saw against the records.
func (w *world) effectsStand() {
	t := w.t
	t.Helper()
	r, err := folder.Open(os.DirFS(filepath.Join(w.dir, recordsFolder)), w.org.RootHash())
	if err != nil {
		t.Fatal(err)
	}
	changes := map[uint64]int{}
	entries := map[conclave.DeviceID]int{}
	for e, err := range r.Entries(1) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Record.Meeting != w.meeting {
			continue
		}
		switch e.Record.Kind {
		case audit.KindEnter:
			changes[e.Record.Epoch]++
			entries[e.Record.Device]++
		case audit.KindCommit:
			changes[e.Record.Epoch]++
		case audit.KindResumed:
			entries[e.Record.Device]++
		}
	}
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	if len(w.seen.epochs) == 0 {
		t.Error("nobody had keys")
	}
	for epoch, keys := range w.seen.epochs {
		if len(keys) > changes[epoch] {
			t.Errorf("clients had %d keys of epoch %d, and %d records made one", len(keys), epoch, changes[epoch])
		}
	}
	for device, n := range w.seen.ins {
		if n > entries[device] {
			t.Errorf("device %s was in %d times, and %d records say so", device.Text()[:8], n, entries[device])
		}
	}
}
