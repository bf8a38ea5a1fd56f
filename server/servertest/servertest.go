// Package servertest starts real servers for tests: store, organisation, HTTP, signalling and media on free ports of this
// machine. It is for the tests of server and endpoint.
package servertest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/identity"
	"conclave/line"
	"conclave/server"
	"conclave/server/records"
	"conclave/sfu"
	"conclave/sfu/slot"
	"conclave/signal"
	"conclave/store"
)

// Options change what Start starts. The zero value is an ordinary server.
type Options struct {
	Enrolment identity.Rules // how devices are enrolled
	OIDC      server.OIDC
	Limits    server.Limits
	Policy    *admission.Policy             // nil: the default
	Reload    func() (server.Ground, error) // what World.Server.Reload reads; nil: nothing
	Networks  line.Networks
	TLS       bool           // with a certificate that World.Roots knows
	Proxies   []netip.Prefix // whose word on where a connection comes from counts
	Slots     slot.Plan
	Log       io.Writer // JSON lines; nil: t.Log on failure only
	Now       func() time.Time
	Dir       string                        // data; empty: a fresh one
	Store     func(store.Store) store.Store // wraps the store, to make it fail
	MaxLegs   int                           // of one room
	Records   records.Copies                // Folder is set if it is empty
}

// World is a running server with an organisation.
type World struct {
	URL          string // http://127.0.0.1:port, https:// with Options.TLS
	Host         string // 127.0.0.1:port, which hellos are signed for
	Organisation *identity.Organisation
	Server       *server.Server
	Roots        *x509.CertPool // nil without TLS

	t       testing.TB
	options Options
	dir     string
	listen  string
	media   netip.AddrPort
	log     *logBuffer
	stop    func()

	certificate *tls.Certificate // nil before it is needed
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *World { return StartWith(t, Options{}) }

// StartWith is Start with options.
func StartWith(t testing.TB, o Options) *World {
	t.Helper()
	w := &World{t: t, options: o, dir: o.Dir, listen: "127.0.0.1:0", media: netip.MustParseAddrPort("127.0.0.1:0"), log: new(logBuffer)}
	if w.dir == "" {
		w.dir = t.TempDir()
	}
	var err error
	if w.Organisation, err = identity.LoadOrganisation(filepath.Join(w.dir, "organisation"), time.Now()); err != nil {
		if w.Organisation, err = identity.NewOrganisation(filepath.Join(w.dir, "organisation"), "ministry.example", "Ministry", rand.Reader, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	t.Cleanup(func() {
		w.Stop()
		if t.Failed() {
			t.Logf("server's log:\n%s", w.log.String())
		}
	})
	return w
}

// NamedHost is the server's address with a name in it: passkeys are made for names alone.
func (w *World) NamedHost() string {
	_, port, _ := net.SplitHostPort(w.listen)
	return "localhost:" + port
}

func (w *World) start() {
	w.t.Helper()
	w.must(w.TryStart())
}

// TryStart starts the server after Stop. It returns why the server does not run on its data.
func (w *World) TryStart() error {
	w.t.Helper()
	var out io.Writer = w.log
	if w.options.Log != nil {
		out = w.options.Log
	}
	log := slog.New(slog.NewJSONHandler(out, nil))
	engine, err := store.Open(context.Background(), filepath.Join(w.dir, "store"), log)
	if err != nil {
		w.t.Fatal(err)
	}
	st := store.Store(engine)
	if w.options.Store != nil {
		st = w.options.Store(st)
	}
	listener, err := net.Listen("tcp", w.listen)
	if err != nil {
		w.t.Fatal(err)
	}
	media, err := sfu.New(sfu.Config{Listen: w.media}, log)
	if err != nil {
		w.t.Fatal(err)
	}
	// The same ports after a restart: clients come back to them.
	w.listen, w.media = listener.Addr().String(), media.Candidates()[0]
	w.Host, w.URL = w.listen, "http://"+w.listen
	if w.options.TLS {
		w.URL = "https://" + w.listen
	}
	policy := w.options.Policy
	if policy == nil {
		policy = admission.Default()
	}
	records := w.options.Records
	if records.Folder == "" {
		records.Folder = filepath.Join(w.dir, "audit")
	}
	if records.Devices == "" {
		records.Devices = filepath.Join(w.dir, "devices")
	}
	w.Server, err = server.New(context.Background(), server.Config{
		Organisation: w.Organisation, Store: st, Policy: policy, Media: media, Hosts: []string{w.Host, w.NamedHost()},
		Enrolment: w.options.Enrolment, OIDC: w.options.OIDC, Secure: w.options.TLS, Proxies: w.options.Proxies,
		Client:   fstest.MapFS{"index.html": {Data: []byte("<!doctype html>")}, "assets/a.js": {Data: []byte("plain")}, "assets/a.js.br": {Data: []byte("br")}, "assets/a.js.gz": {Data: []byte("gz")}},
		Records:  records,
		MaxLegs:  w.options.MaxLegs,
		Networks: w.options.Networks, Reload: w.options.Reload, Limits: w.options.Limits, Slots: w.options.Slots, Log: log, Now: w.options.Now,
	})
	if err != nil {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		media.Run(ended) // which closes its port
		listener.Close()
		engine.Close()
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	web := &http.Server{Handler: w.Server.Handler(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	serve := func() error { return web.Serve(listener) }
	if w.options.TLS {
		if w.certificate == nil {
			w.certify()
		}
		web.ConnContext, web.TLSConfig = w.Server.ConnContext, w.Server.TLS(&tls.Config{Certificates: []tls.Certificate{*w.certificate}, MinVersion: tls.VersionTLS13})
		serve = func() error { return web.ServeTLS(w.Server.Listener(listener), "", "") }
	}
	var wait sync.WaitGroup
	wait.Go(func() { serve() })
	wait.Go(func() {
		if err := w.Server.Run(ctx); err != nil {
			w.t.Errorf("server: %v", err)
		}
	})
	w.stop = sync.OnceFunc(func() {
		cancel()
		web.Close() // not Shutdown: WebSockets end with Run
		wait.Wait()
		engine.Close()
	})
	return nil
}

// certify makes the server's certificate, of this machine's names.
func (w *World) certify() {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	w.must(err)
	leaf, err := x509.ParseCertificate(der)
	w.must(err)
	w.certificate = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	w.Roots = x509.NewCertPool()
	w.Roots.AddCert(leaf)
}

// Client returns a client that knows the server's certificate, and agrees on keys in these ways; none: in its own.
func (w *World) Client(curves ...tls.CurveID) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.Roots, CurvePreferences: curves}, DisableKeepAlives: true}}
}

// Stop ends the server, as a crash would as far as legs can see. It may be called twice.
func (w *World) Stop() { w.stop() }

// Restart ends the server and starts it again on the same data and ports.
func (w *World) Restart() {
	w.t.Helper()
	w.Stop()
	w.start()
}

// AddPerson enters a person, whose name is its id unless given.
func (w *World) AddPerson(id conclave.PersonID, name string) {
	w.t.Helper()
	if name == "" {
		name = string(id)
	}
	w.must(w.Server.Directory().AddPerson(context.Background(), identity.Person{ID: id, Name: name, Unit: "Test"}, time.Now()))
}

// Link returns a one-time enrolment token for a person, as it stands in links.
func (w *World) Link(person conclave.PersonID) string {
	w.t.Helper()
	return w.linkAt(person, time.Now())
}

func (w *World) linkAt(person conclave.PersonID, at time.Time) string {
	w.t.Helper()
	token, err := w.Server.Directory().IssueToken(context.Background(), person, rand.Reader, at)
	w.must(err)
	return token.Text()
}

// OpenMeeting opens a meeting at level 0 with the door open to the invited; the first person is its chair.
func (w *World) OpenMeeting(people ...conclave.PersonID) conclave.MeetingID {
	return w.OpenMeetingWith(identity.Meeting{Title: "Test meeting", Chair: people[0], People: people, Door: identity.DoorInvited})
}

// OpenMeetingWith opens a meeting.
func (w *World) OpenMeetingWith(m identity.Meeting) conclave.MeetingID {
	w.t.Helper()
	m, err := w.Server.Directory().OpenMeeting(context.Background(), m, rand.Reader, time.Now())
	w.must(err)
	return m.ID
}

// Device is an enrolled device with a key in memory.
type Device struct {
	Key       *ecdsa.PrivateKey
	Point     []byte // the leaf key, an uncompressed P-256 point
	Statement []byte
}

// NewDevice draws a key that nobody has enrolled.
func (w *World) NewDevice() *Device {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	point, err := key.PublicKey.Bytes()
	w.must(err)
	return &Device{Key: key, Point: point}
}

// Sign signs content as leaf keys do: ECDSA with SHA-256, DER.
func (d *Device) Sign(content []byte) []byte {
	sum := sha256.Sum256(content)
	b, err := ecdsa.SignASN1(rand.Reader, d.Key, sum[:])
	if err != nil {
		panic(err)
	}
	return b
}

// Enrol adds a person, if there is none of that id, and enrols a device of theirs.
func (w *World) Enrol(person conclave.PersonID) *Device {
	w.t.Helper()
	return w.EnrolAt(person, time.Now())
}

// EnrolAt is Enrol at another time: the statement holds for seven days from then.
func (w *World) EnrolAt(person conclave.PersonID, at time.Time) *Device {
	w.t.Helper()
	if _, err := w.Server.Directory().Person(context.Background(), person); err != nil {
		w.AddPerson(person, "")
	}
	d := w.NewDevice()
	token, err := identity.ParseToken(w.linkAt(person, at))
	w.must(err)
	d.Statement, _, err = w.Server.Directory().Enrol(context.Background(), identity.Enrolment{
		Token: token, LeafKey: d.Point, Proof: d.Sign(signal.EnrolContent(token.Text())), DeviceName: "Test",
	}, at)
	w.must(err)
	return d
}

// Records returns all records of the audit log.
func (w *World) Records() []audit.Entry {
	w.t.Helper()
	flushing, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	w.must(w.Server.Audit().Flush(flushing))
	entries, err := w.Server.Audit().Read(context.Background(), 1, 1_000_000)
	w.must(err)
	return entries
}

// Log returns what the server has logged so far.
func (w *World) Log() string { return w.log.String() }

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// logBuffer keeps the log until it is known whether anybody wants to read it.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
