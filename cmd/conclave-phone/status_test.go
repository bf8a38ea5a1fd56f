package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"conclave/gateway"
	"conclave/phone/prompt"
	"conclave/phone/sip"
	"conclave/server/servertest"
)

// enrolled is a server and the key file of a gateway that it knows.
func enrolled(t *testing.T) (w *servertest.World, key string) {
	t.Helper()
	w = servertest.Start(t)
	token, err := w.Server.Directory().IssueGatewayToken(context.Background(), "Gateway", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k, err := gateway.Enrol(context.Background(), fmt.Sprintf("%s/gateway#e=%s&r=%s", w.URL, token.Text(), w.Organisation.RootHash()), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key = filepath.Join(t.TempDir(), "gateway.json")
	if err := k.Save(key); err != nil {
		t.Fatal(err)
	}
	return w, key
}

// The example of docs/operating.md is a configuration that works, with the files that it names.
func TestTheExampleOfTheManualIsAConfiguration(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	var example string
	for _, m := range regexp.MustCompile("(?ms)^```toml\n(.*?)^```$").FindAllStringSubmatch(string(manual), -1) {
		if strings.Contains(m[1], "[[trunk]]") {
			example = m[1]
		}
	}
	_, key := enrolled(t)
	dir := t.TempDir()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"certificate.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.NewReplacer("/var/lib/conclave-phone/gateway.json", key, "/etc/conclave-phone", dir, `["…"]`, `["`+strings.Repeat("ab", 32)+`"]`).Replace(example)
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	g, err := c.gateway()
	if err != nil {
		t.Fatal(err)
	}
	if g.Language != prompt.German || g.TimeLimit != 2*time.Hour || g.Reminder != time.Minute || g.Ports.First != 20000 || g.Called["493012346"] != prompt.English {
		t.Errorf("%+v", g)
	}
	if l := g.Listeners; len(l) != 1 || l[0].Network != sip.TLS || l[0].Address != netip.MustParseAddrPort("192.0.2.10:5061") || l[0].Certificate == nil {
		t.Errorf("listeners: %+v", l)
	}
	if tr := g.Trunks; len(tr) != 1 || len(tr[0].Certificates) != 1 || !tr[0].MayRing("+49301") || !tr[0].MayRing("sip:anna@pbx.ministry.example") || tr[0].MayRing("+1") ||
		tr[0].TargetNetwork != sip.TLS || tr[0].Networks[0] != netip.MustParsePrefix("192.0.2.20/32") {
		t.Errorf("trunks: %+v", tr)
	}
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestHealthAndMetricsSayHowTheGatewayIs(t *testing.T) {
	w, file := enrolled(t)
	key, err := gateway.LoadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	prompts, err := prompt.BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	log := new(logged)
	loopback := netip.MustParseAddr("127.0.0.1")
	g, err := gateway.New(gateway.Config{Server: w.URL, Key: key, Media: loopback, Prompts: prompts,
		Listeners: []sip.Listener{{Network: sip.UDP, Address: netip.AddrPortFrom(loopback, 0)}},
		Trunks:    []sip.Trunk{{Name: "pbx", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}},
		Log:       slog.New(slog.NewJSONHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	status := httptest.NewServer(statusHandler(g))
	defer status.Close()
	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.Get(status.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	eventually := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never: %s; the log says %s", what, log)
			}
		}
	}
	if code, _ := get("/health"); code != http.StatusServiceUnavailable {
		t.Errorf("healthy before the server knows it: %d", code)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, g, "", slog.New(slog.NewJSONHandler(log, nil))) }()
	eventually("healthy", func() bool { code, body := get("/health"); return code == http.StatusOK && body == "ok\n" })
	code, body := get("/metrics")
	for _, line := range []string{"conclave_phone_connected 1", "conclave_phone_draining 0", "conclave_phone_calls 0", "conclave_phone_sip_panics_total 0"} {
		if code != http.StatusOK || !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no %q in the metrics: %s", line, body)
		}
	}
	for line := range strings.Lines(body) { // the text format of Prometheus, version 0.0.4
		if !regexp.MustCompile(`^(# (HELP|TYPE) conclave_phone_[a-z_]+ .+|conclave_phone_[a-z_]+ \d+)\n$`).MatchString(line) {
			t.Errorf("not a line of metrics: %q", line)
		}
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	eventually("draining", func() bool {
		code, body := get("/health")
		return code == 503 && strings.Contains(body, "draining: 0 calls")
	})
	if _, body := get("/metrics"); !strings.Contains(body, "\nconclave_phone_draining 1\n") {
		t.Error("the metrics do not say that it drains")
	}
	select {
	case err := <-done:
		t.Errorf("draining ended it: %v", err)
	default:
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
