package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/line"
	"conclave/network"
)

func TestATripIsAnnouncedOrNotAndItsRiskIsSeen(t *testing.T) {
	calendar, err := network.ParseCalendar([]byte("SG | 2026-02-03 | 2026-02-08 | Singapore Airshow"))
	if err != nil {
		t.Fatal(err)
	}
	g := &Ground{Places: &network.Ground{Home: []network.Country{"DE", "AT"}, Calendar: calendar}}
	s := &Server{trips: trips{all: map[conclave.PersonID][]trip{
		"anna": {{Country: "SG", From: "2026-02-01", Until: "2026-02-10"}},
		"ben":  {{Country: "FR", From: "2026-02-01", Until: "2026-02-10"}},
		"cleo": {{Country: "SG", From: "2025-02-01", Until: "2025-02-10"}},
	}}}
	during, after := time.Date(2026, 2, 5, 12, 0, 0, 0, time.UTC), time.Date(2026, 2, 20, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		who     conclave.PersonID
		country network.Country
		listed  bool
		now     time.Time
		want    string
	}{
		{"anna", "SG", false, during, "announced raised"},
		{"anna", "", false, during, "announced raised"},       // nobody knows where: on the trip that was announced
		{"anna", "", true, during, "announced raised"},        // through our tunnel, and still at the air show
		{"anna", "DE", true, during, "announced raised"},      // the tunnel ends at home
		{"anna", "DE", false, during, "none normal"},          // at home, whatever was announced
		{"anna", "FR", false, during, "unannounced raised"},   // on a trip, but elsewhere
		{"anna", "SG", false, after, "unannounced normal"},    // and still there
		{"ben", "FR", false, during, "announced normal"},      //
		{"ben", "SG", false, during, "unannounced raised"},    //
		{"cleo", "SG", false, during, "unannounced raised"},   // last year's
		{"cleo", "AT", false, during, "none normal"},          //
		{"cleo", "", false, during, "normal"},                 // of travel nothing is known
		{"cleo", "SG", true, during, "none normal"},           // an office of ours abroad
		{"nobody", "SG", false, during, "unannounced raised"}, //
	} {
		var got []string
		for _, f := range s.travel(g, c.who, c.country, c.listed, c.now) {
			if f.Name == "" {
				t.Error("a fact without a name")
			}
			got = append(got, f.Value)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	bare := &Ground{Places: &network.Ground{}}
	if got := s.travel(bare, "cleo", "SG", false, during); len(got) != 0 {
		t.Errorf("without home and calendar: %v", got)
	}
}

func TestSoundFromElsewhereIsSeen(t *testing.T) {
	g := &Ground{Places: &network.Ground{}, Networks: line.Networks{
		{Name: "house", Prefix: netip.MustParsePrefix("10.1.0.0/16")}, {Name: "annex", Prefix: netip.MustParsePrefix("10.2.0.0/16")}}}
	for _, c := range []struct{ from, media, want string }{
		{"192.0.2.1", "192.0.2.1", "same"},
		{"192.0.2.1", "192.0.2.2", "other"},
		{"2001:db8::1", "2001:db8::2", "same"}, // one household
		{"2001:db8::1", "2001:db9::1", "other"},
		{"192.0.2.1", "2001:db8::1", ""}, // one machine may have both
		{"10.1.0.1", "10.1.200.1", "same"},
		{"10.1.0.1", "10.2.0.1", "other"},
		{"10.1.0.1", "192.0.2.1", "other"},
		{"::ffff:10.1.0.1", "10.1.0.1", "same"},
	} {
		a := &asker{address: netip.MustParseAddr(c.from), media: mediaWay{"udp", netip.MustParseAddr(c.media)}}
		if got := g.mediaNetwork(a); got != c.want {
			t.Errorf("%s and %s: %q, want %q", c.from, c.media, got, c.want)
		}
	}
	if got := g.mediaNetwork(&asker{address: netip.MustParseAddr("192.0.2.1")}); got != "" {
		t.Errorf("without media: %q", got)
	}
}

func TestANetworkIsRememberedByWhatAPersonMovesWithin(t *testing.T) {
	name := func(a string, approved string, p network.Place) string {
		return networkName(netip.MustParseAddr(a), line.Network{Name: approved}, approved != "", p)
	}
	for what, same := range map[string]bool{
		"an operator's addresses":    name("192.0.2.1", "", network.Place{AS: 1, Country: "DE"}) == name("203.0.113.1", "", network.Place{AS: 1, Country: "DE"}),
		"an operator abroad":         name("192.0.2.1", "", network.Place{AS: 1, Country: "DE"}) != name("192.0.2.1", "", network.Place{AS: 1, Country: "SG"}),
		"a house's addresses":        name("10.1.0.1", "house", network.Place{}) == name("10.1.9.9", "house", network.Place{}),
		"neighbours":                 name("192.0.2.1", "", network.Place{}) == name("192.0.99.1", "", network.Place{}),
		"others":                     name("192.0.2.1", "", network.Place{}) != name("192.1.2.1", "", network.Place{}),
		"a house and what is called": name("10.1.0.1", "house", network.Place{}) != name("10.1.0.1", "annex", network.Place{}),
	} {
		if !same {
			t.Errorf("%s are not told apart as they should be", what)
		}
	}
	if got := networkName(netip.Addr{}, line.Network{}, false, network.Place{}); got != "" {
		t.Errorf("no address: %q", got)
	}
}

// What a connection gave away of its TLS reaches the request, on our own listener.
func TestTheWayOfAConnectionIsKnownToItsRequests(t *testing.T) {
	s := &Server{}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ways := make(chan way, 1)
	web := &http.Server{ConnContext: s.ConnContext, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ways <- s.wayOf(r) }),
		TLSConfig: s.TLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13})}
	go web.ServeTLS(s.Listener(plain), "", "")
	defer web.Close()
	ask := func(curves ...tls.CurveID) way {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, CurvePreferences: curves}}}
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+plain.Addr().String()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return <-ways
	}
	own := ask()
	if own.tls != "1.3" || !own.pq || own.hello.Claimed(network.Headless, "") != network.Matches {
		t.Errorf("this program: %+v", own)
	}
	if old := ask(tls.X25519); old.pq {
		t.Error("a classical key exchange counts as quantum-safe")
	}
	if got := own.hello.Claimed(network.Browser, "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"); got != network.Differs {
		t.Errorf("this program as Chromium: %s", got)
	}
}

func TestTripsAreChecked(t *testing.T) {
	for what, c := range map[string]struct {
		trip trip
		ok   bool
	}{
		"a week":            {trip{"sg", "2026-02-03", "2026-02-08"}, true},
		"a day":             {trip{"SG", "2026-02-03", "2026-02-03"}, true},
		"no country":        {trip{"Singapore", "2026-02-03", "2026-02-08"}, false},
		"backwards":         {trip{"SG", "2026-02-08", "2026-02-03"}, false},
		"without an end":    {trip{"SG", "2026-02-03", ""}, false},
		"without beginning": {trip{"SG", "", "2026-02-03"}, false},
		"a year":            {trip{"SG", "2026-02-03", "2027-02-03"}, false},
		"no day":            {trip{"SG", "soon", "2026-02-03"}, false},
	} {
		if err := c.trip.check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", what, err)
		}
	}
}
