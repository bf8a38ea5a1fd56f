package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"conclave/signal"
)

// certificate writes a certificate for 127.0.0.1 and returns the configuration that names it, and who trusts it.
func certificate(t *testing.T, dir string) (string, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, keyFile, config := filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "c.toml")
	text := fmt.Sprintf("public_hosts = [\"conf.example\"]\n[tls]\ncertificate = %q\nkey = %q\n[[network]]\nname = \"here\"\nprefix = \"127.0.0.0/8\"\n", cert, keyFile)
	for path, content := range map[string][]byte{
		cert:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		config:  []byte(text),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return config, pool
}

func TestOverTLSPagesAndSignallingComeByTheLatestVersionAlone(t *testing.T) {
	dir := dataFolder(t)
	config, pool := certificate(t, dir)
	s := start(t, "--data", dir, "--config", config, "--listen", "127.0.0.1:0", "--media", "127.0.0.1:0")
	address := strings.TrimPrefix(s.url, "http://")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	resp, err := client.Get("https://" + address + "/v1/health")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Header.Get("Strict-Transport-Security") == "" || resp.TLS.Version != tls.VersionTLS13 || resp.TLS.CurveID != tls.X25519MLKEM768 {
		t.Errorf("HSTS %q, TLS %x, key exchange %v", resp.Header.Get("Strict-Transport-Security"), resp.TLS.Version, resp.TLS.CurveID)
	}
	old := &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS12}
	if c, err := tls.Dial("tcp", address, old); err == nil {
		c.Close()
		t.Error("TLS 1.2 was taken")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "wss://"+address+"/v1/signal", &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{signal.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	_, frame, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := signal.Decode(frame, signal.FromServer); err != nil || m.Type() != "challenge" {
		t.Errorf("the first message is %v, %v", m, err)
	}
	// Another page's script does not get that far.
	_, resp, err = websocket.Dial(ctx, "wss://"+address+"/v1/signal", &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{signal.Subprotocol},
		HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
	if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("another page's connection: %v", err)
	}
}
