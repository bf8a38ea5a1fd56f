package server

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"testing"
)

func TestOnlyWhatCameOverTLSIsCalledSo(t *testing.T) {
	behind := &Server{cfg: Config{Secure: true, Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}}
	alone := &Server{}
	for _, c := range []struct {
		server *Server
		from   string
		tls    *tls.ConnectionState
		want   string
	}{
		{behind, "10.0.0.1:4000", nil, "tls"},
		{behind, "[::ffff:10.0.0.1]:4000", nil, "tls"},
		{behind, "192.0.2.7:4000", nil, "plain"}, // past the proxy
		{behind, "127.0.0.1:4000", nil, "this machine"},
		{alone, "192.0.2.7:4000", new(tls.ConnectionState), "tls"},
		{alone, "127.0.0.1:4000", nil, "this machine"},
		{alone, "192.0.2.7:4000", nil, "plain"},
		{alone, "somewhere", nil, "plain"},
	} {
		r := &http.Request{RemoteAddr: c.from, TLS: c.tls, Header: http.Header{"X-Forwarded-Proto": {"https"}}}
		if got := c.server.transport(r); got != c.want {
			t.Errorf("from %s: %s, want %s", c.from, got, c.want)
		}
	}
}

// What arrives from a proxy over TLS is the proxy's own TLS: it says nothing of the browser behind it.
func TestTheTLSOfAProxyIsNobodysBehindIt(t *testing.T) {
	s := &Server{cfg: Config{Secure: true, Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}}
	state := &tls.ConnectionState{Version: tls.VersionTLS13, CurveID: tls.X25519}
	if w := s.wayOf(&http.Request{RemoteAddr: "10.0.0.1:4000", TLS: state}); w.tls != "" || w.pq {
		t.Errorf("behind a proxy: %+v", w)
	}
	if w := s.wayOf(&http.Request{RemoteAddr: "192.0.2.7:4000", TLS: state}); w.tls != "1.3" {
		t.Errorf("past it: %+v", w)
	}
}
