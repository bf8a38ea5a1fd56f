package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave/identity"
)

// lines keeps what the server logs.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// find returns the logged line with that message, nil if there is none yet.
func (l *lines) find(message string) map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.buf.Bytes()) {
		var m map[string]any
		if json.Unmarshal(line, &m) == nil && m["msg"] == message {
			return m
		}
	}
	return nil
}

// dataFolder makes a folder with an organisation, short enough for a socket's path.
func dataFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if _, err := identity.NewOrganisation(filepath.Join(dir, "organisation"), "ministry.example", "Ministry", rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// started is a server that runs in a test.
type started struct {
	url   string
	log   *lines
	admin *http.Client
	stop  func() error
}

func start(t *testing.T, args ...string) *started {
	t.Helper()
	dir := args[1]
	s := &started{log: new(lines)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, args, s.log) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { s.stop() })
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if m := s.log.find("serving"); m != nil {
			s.url = "http://" + m["listen"].(string)
			break
		}
		select {
		case err := <-done:
			t.Fatalf("ended: %v", err)
		default:
		}
		if time.Now().After(end) {
			t.Fatal("does not serve")
		}
	}
	s.admin = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, adminSocket))
	}}}
	return s
}

func (s *started) post(t *testing.T, path, body string) string {
	t.Helper()
	var resp *http.Response
	var err error
	for range 100 { // the socket opens a moment after the port
		if resp, err = s.admin.Post("http://admin"+path, "application/json", strings.NewReader(body)); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", path, resp.StatusCode, b)
	}
	return string(b)
}

func TestTheServerRunsServesItsAdministratorAndEnds(t *testing.T) {
	dir := dataFolder(t)
	s := start(t, "--data", dir, "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0")
	s.post(t, "/people", `{"id":"anna","name":"Anna Weber","unit":"Border"}`)
	if link := s.post(t, "/links", `{"person":"anna"}`); !strings.Contains(link, `"root_hash"`) {
		t.Errorf("link %s", link)
	}
	meeting := s.post(t, "/meetings", `{"title":"Liaison","level":"RESTRICTED","chair":"anna","people":["anna"],"door":"invited"}`)
	var m struct{ Pointer string }
	if err := json.Unmarshal([]byte(meeting), &m); err != nil || len(m.Pointer) != 22 {
		t.Fatalf("meeting %s", meeting)
	}
	resp, err := http.Get(s.url + "/v1/organisation")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if !strings.Contains(string(b), "ministry.example") {
		t.Errorf("organisation %s", b)
	}
	for path, want := range map[string]os.FileMode{adminSocket: 0o600, ".": 0o700, "store/store.key": 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if s.log.find("the root key lies beside the server: move it to a medium that is kept under lock") == nil {
		t.Error("nobody was told to move the root key away")
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	// A second start finds everything again.
	s = start(t, "--data", dir, "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0")
	resp, err = s.admin.Get("http://admin/meetings/" + m.Pointer)
	if err != nil {
		t.Fatal(err)
	}
	b, _ = io.ReadAll(resp.Body)
	resp.Body.Close()
	if !strings.Contains(string(b), "Liaison") {
		t.Errorf("meeting %s", b)
	}
}

func TestMistakesAreToldInOneSentence(t *testing.T) {
	dir := dataFolder(t)
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no organisation":        {[]string{"--data", t.TempDir()}, "conclaved init"},
		"an argument too many":   {[]string{"--data", dir, "now"}, "unknown argument"},
		"an unknown setting":     {[]string{"--data", dir, "--config", write("rank = 1")}, "no setting rank"},
		"no TOML":                {[]string{"--data", dir, "--config", write("][")}, "read "},
		"a missing file":         {[]string{"--data", dir, "--config", dir + "/none"}, "none"},
		"plain HTTP to all":      {[]string{"--data", dir, "--listen", "0.0.0.0:0"}, "plain HTTP stays on this machine"},
		"no name":                {[]string{"--data", dir, "--listen", "0.0.0.0:0", "--insecure-http"}, "--public-host"},
		"half of TLS":            {[]string{"--data", dir, "--config", write("[tls]\ncertificate='x'")}, "belong together"},
		"a certificate nowhere":  {[]string{"--data", dir, "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0", "--config", write("[tls]\ncertificate='x'\nkey='y'")}, "no such file"},
		"a media address":        {[]string{"--data", dir, "--listen", "127.0.0.1:0", "--media", "7000"}, "no address with a port"},
		"an announced address":   {[]string{"--data", dir, "--listen", "127.0.0.1:0", "--config", write("media_addresses=['me']")}, "media_addresses"},
		"a network":              {[]string{"--data", dir, "--listen", "127.0.0.1:0", "--config", write("[[network]]\nname='a'\nprefix='b'")}, "network"},
		"a proxy":                {[]string{"--data", dir, "--listen", "127.0.0.1:0", "--config", write("trusted_proxies=['x']")}, "trusted_proxies"},
		"a policy nowhere":       {[]string{"--data", dir, "--listen", "127.0.0.1:0", "--config", write("policy='/none'")}, "policy"},
		"a length of meetings":   {[]string{"--data", dir, "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0", "--config", write("[meetings]\nusual='48h'\nlongest='24h'")}, "usual length"},
		"slots beyond the limit": {[]string{"--data", dir, "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0", "--config", write("[slots]\naudio=1000")}, "slot"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := run(ctx, c.args, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one sentence with %q", err, c.says)
			}
		})
	}
}
