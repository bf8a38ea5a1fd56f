package network

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave/line"
)

// countries is a free database of all the world (CC0), which `make test` fetches with the other test needs.
const countries = "../test/node_modules/@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb"

func openCountries(tb testing.TB) *Database {
	tb.Helper()
	d, err := OpenDatabase(countries)
	if errors.Is(err, fs.ErrNotExist) {
		tb.Skip("the database of countries is fetched by make test")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestAnAddressHasACountry(t *testing.T) {
	g := Ground{Databases: []*Database{openCountries(t)}}
	for address, want := range map[string]Country{
		"193.40.5.1": "EE", "::ffff:193.40.5.1": "EE", "8.8.8.8": "US", "2001:7fe::53": "SE", "10.1.2.3": "", "::1": "", "127.0.0.1": "",
	} {
		if got := g.Place(netip.MustParseAddr(address)); got.Country != want {
			t.Errorf("%s: %q, want %q", address, got.Country, want)
		}
	}
	if got := g.Place(netip.Addr{}); got != (Place{Kind: KindUnknown}) {
		t.Errorf("no address: %+v", got)
	}
}

func TestDatabasesOfOperatorsAndAnonymisersAreRead(t *testing.T) {
	d, err := newDatabase(writeDatabase(t, map[string]map[string]any{
		"192.0.2.0/24":      {"autonomous_system_number": uint32(64500)},
		"198.51.100.0/25":   {"is_anonymous": true, "is_tor_exit_node": true, "country_code": "de"},
		"198.51.100.128/25": {"is_hosting_provider": true, "asn": "AS64501"},
		"203.0.113.0/24":    {"connection_type": "Cellular", "country": map[string]any{"iso_code": "SG"}},
		"2001:db8::/32":     {"is_satellite_provider": true, "country": "FR"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseList([]byte("AS64500 mobile\n192.0.2.128/25 vpn"))
	if err != nil {
		t.Fatal(err)
	}
	g := Ground{Databases: []*Database{d}, Listed: list}
	for address, want := range map[string]Place{
		"192.0.2.1":      {Kind: KindMobile, AS: 64500},
		"192.0.2.200":    {Kind: KindVPN, AS: 64500}, // the list knows it more closely
		"198.51.100.1":   {Kind: KindTor, Country: "DE"},
		"198.51.100.200": {Kind: KindHosting, AS: 64501},
		"203.0.113.9":    {Kind: KindMobile, Country: "SG"},
		"2001:db8::1":    {Kind: KindSatellite, Country: "FR"},
		"100.64.0.1":     {Kind: KindUnknown},
	} {
		if got := g.Place(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %+v, want %+v", address, got, want)
		}
	}
}

func TestABrokenDatabaseIsNotTaken(t *testing.T) {
	good := writeDatabase(t, map[string]map[string]any{"192.0.2.0/24": {"country_code": "DE"}})
	for name, b := range map[string][]byte{"empty": {}, "text": []byte("country"), "cut": good[:len(good)-40], "without its data": append(good[:64:64], good[len(good)-200:]...)} {
		if _, err := newDatabase(b); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	path := filepath.Join(t.TempDir(), "x.mmdb")
	if err := os.WriteFile(path, []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDatabase(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v does not name the file", err)
	}
}

func TestTheSmallestListedNetworkDecides(t *testing.T) {
	l, err := ParseList([]byte("# ours\n10.0.0.0/8 isp\n10.1.0.0/16   approved  head quarters\n\n10.1.2.0/24 tor\n2001:db8::/32 approved annex\n"))
	if err != nil {
		t.Fatal(err)
	}
	g := Ground{Listed: l}
	networks := g.Approved(line.Networks{{Name: "here", Prefix: netip.MustParsePrefix("127.0.0.0/8")}})
	for address, want := range map[string]struct {
		kind Kind
		name string
	}{
		"10.200.0.1": {KindISP, ""}, "10.1.9.9": {KindUnknown, "head quarters"}, "10.1.2.3": {KindTor, "head quarters"},
		"2001:db8::1": {KindUnknown, "annex"}, "127.0.0.1": {KindUnknown, "here"}, "192.0.2.1": {KindUnknown, ""},
	} {
		a := netip.MustParseAddr(address)
		found, _ := networks.Find(a)
		if got := g.Place(a).Kind; got != want.kind || found.Name != want.name {
			t.Errorf("%s: %s in %q, want %s in %q", address, got, found.Name, want.kind, want.name)
		}
	}
}

func TestAMistakeInAListIsNamedWithItsLine(t *testing.T) {
	for source, want := range map[string]string{
		"10.0.0.0/8 isp\n10.0.0.0/8 tor":    "line 2: 10.0.0.0/8 stands twice",
		"# x\n\n10.0.0.1/8 isp":             "line 3: 10.0.0.1/8 has bits beyond its length; it would be 10.0.0.0/8",
		"10.0.0.0/8 home":                   `line 1: "home" is no kind of network`,
		"10.0.0.0/8 approved":               "line 1: an approved network needs a name",
		"AS0 tor":                           "line 1: AS0 is no number",
		"AS1 tor\nAS1 vpn":                  "line 2: AS1 stands twice",
		"AS64500 approved them":             "line 1: AS64500: an operator has many customers",
		"::ffff:10.0.0.0/104 isp":           "line 1: ::ffff:10.0.0.0/104: write an IPv4 network as one",
		"everybody tor":                     `line 1: "everybody" is neither`,
		"10.0.0.0/8 approved " + longName(): "line 1: an approved network needs a name of at most 64 bytes",
	} {
		if _, err := ParseList([]byte(source)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", source, err, want)
		}
	}
}

func longName() string { return strings.Repeat("x", 65) }

func TestARiskIsRaisedFromTheFirstClockToTheLast(t *testing.T) {
	c, err := ParseCalendar([]byte("# country | from | until | what\nSG | 2026-02-03 | 2026-02-08 | Singapore Airshow\nxx | | | warning\nAA | 2026-05-01 | | from May on"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, one := range []struct {
		country Country
		when    string
		want    string
	}{
		{"SG", "2026-02-02T09:59:59Z", ""}, {"SG", "2026-02-02T10:00:00Z", "Singapore Airshow"}, {"SG", "2026-02-09T11:59:59Z", "Singapore Airshow"},
		{"SG", "2026-02-09T12:00:00Z", ""}, {"XX", "2030-01-01T00:00:00Z", "warning"}, {"AA", "2026-04-01T00:00:00Z", ""}, {"AA", "2031-04-01T00:00:00Z", "from May on"},
		{"DE", "2026-02-05T00:00:00Z", ""}, {"", "2026-02-05T00:00:00Z", ""},
	} {
		if got, raised := c.Raised(one.country, at(one.when)); got != one.want || raised != (one.want != "") {
			t.Errorf("%s at %s: %q", one.country, one.when, got)
		}
	}
	var none *Calendar
	if _, raised := none.Raised("SG", time.Now()); raised || none.Len() != 0 {
		t.Error("no calendar raises a risk")
	}
}

func TestAMistakeInACalendarIsNamedWithItsLine(t *testing.T) {
	for source, want := range map[string]string{
		"SG|2026-02-03|2026-02-08":      "line 1: 3 cells",
		"\nSingapore|||x":               `line 2: "Singapore" is no country`,
		"SG|3 February||x":              `line 1: "3 February" is no day`,
		"SG||2026-02-30|x":              `line 1: "2026-02-30" is no day`,
		"SG|2026-02-08|2026-02-03|x":    "line 1: it ends on 2026-02-03, before it begins",
		"SG|2026-02-03|2026-02-08|    ": "line 1: an event needs words",
	} {
		if _, err := ParseCalendar([]byte(source)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", source, err, want)
		}
	}
}

// The hellos of real programs, as they came to a server on this kind of machine: Chromium 156 (page and WebSocket), Firefox
// 153, curl 7.88 and node 20 (OpenSSL).
var hellos = map[string]*tls.ClientHelloInfo{
	"chromium page":   hello("fafa 44cd 001b ca34 000a 0033 000b 002d 000d ff01 0010 0012 fe0d 0000 0017 002b 0023 0005 eaea", "caca 1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035", "h2", "http/1.1"),
	"chromium socket": hello("aaaa ff01 001b 002d 000b 0033 ca34 0017 0010 000a 0012 000d 002b 0005 fe0d 0000 0023 5a5a 0029", "6a6a 1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035", "http/1.1"),
	"firefox":         hello("0000 0017 ff01 000a 000b 0023 0010 0005 0022 0012 0033 002b 000d 002d 001c 001b fe0d", "1301 1303 1302 c02b c02f cca9 cca8 c02c c030 c00a c013 c014 009c 009d 002f 0035", "h2", "http/1.1"),
	"curl":            hello("0000 000b 000a 0010 0016 0017 0031 000d 002b 002d 0033 0015", "1302 1303 1301 c02c c030 009f cca9 cca8 ccaa c02b c02f 009e", "h2", "http/1.1"),
	"node":            hello("0000 000b 000a 0023 0010 0016 0017 000d 002b 002d 0033", "1302 1303 1301 c02f c02b c030 c02c 009e", "http/1.1"),
}

func hello(extensions, ciphers string, protos ...string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{Extensions: numbers(extensions), CipherSuites: numbers(ciphers), SupportedProtos: protos, ServerName: "conf.example",
		SupportedVersions: []uint16{0x9a9a, tls.VersionTLS13, tls.VersionTLS12}, SignatureSchemes: []tls.SignatureScheme{0x0403, 0x0804}}
}

func numbers(text string) []uint16 {
	var out []uint16
	for _, word := range strings.Fields(text) {
		n, ok := new(big.Int).SetString(word, 16)
		if !ok {
			panic(word)
		}
		out = append(out, uint16(n.Uint64()))
	}
	return out
}

const (
	agentChromium = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
	agentFirefox  = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"
	agentSafari   = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15"
	agentGo       = "Go-http-client/1.1"
)

func TestABrowserBehindSomebodyElsesTLSDiffers(t *testing.T) {
	for _, c := range []struct {
		hello, kind, agent string
		want               Match
	}{
		{"chromium page", Browser, agentChromium, Matches},
		{"chromium socket", Browser, agentChromium, Matches},
		{"chromium page", Browser, agentSafari, Matches}, // one TLS library; told apart by nothing that lasts
		{"chromium page", Browser, agentFirefox, Differs},
		{"firefox", Browser, agentFirefox, Matches},
		{"firefox", Browser, agentChromium, Differs},
		{"curl", Browser, agentChromium, Differs},
		{"curl", Browser, "", Differs},
		{"curl", Browser, "Odd/1.0", Differs},
		{"chromium page", Browser, "", Differs},
		{"node", Browser, agentFirefox, Differs},
		{"curl", Headless, "", Differs},
		{"node", Phone, "", Differs},
		{"chromium page", Headless, agentChromium, Differs},
		{"chromium page", Browser, agentGo, Differs},
		{"curl", "another", "curl/7.88.1", Unknown},
	} {
		if got := NewHello(hellos[c.hello]).Claimed(c.kind, c.agent); got != c.want {
			t.Errorf("%s as %q %q: %s, want %s", c.hello, c.kind, c.agent, got, c.want)
		}
	}
	if got := (Hello{}).Claimed(Browser, agentChromium); got != Unknown {
		t.Errorf("without a hello: %s", got)
	}
}

func TestTheFingerprintIsJA4(t *testing.T) {
	got := NewHello(hellos["chromium page"]).JA4
	// Version, name, 15 ciphers, 17 extensions, h2, and the hash of the ciphers are known of Chromium from elsewhere.
	if !strings.HasPrefix(got, "t13d1517h2_8daaf6152771_") || len(got) != len("t13d1517h2_8daaf6152771_02713d6af862") {
		t.Errorf("JA4 %s", got)
	}
	shuffled := *hellos["chromium page"]
	shuffled.Extensions = append(shuffled.Extensions[5:], shuffled.Extensions[:5]...)
	if again := NewHello(&shuffled).JA4; again != got {
		t.Errorf("another order gives %s", again)
	}
	if got := NewHello(&tls.ClientHelloInfo{}).JA4; got != "t00i000000_000000000000_000000000000" {
		t.Errorf("an empty hello: %s", got)
	}
}

// TestThisProgramsOwnHelloIsKnown: crypto/tls changes with each version of Go, and headless endpoints with it.
func TestThisProgramsOwnHelloIsKnown(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	var got Hello
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) { got = NewHello(h); return nil, nil }}).Handshake()
		server.Close()
	}()
	_ = tls.Client(client, &tls.Config{ServerName: "conf.example"}).Handshake()
	client.Close()
	<-done
	if match := got.Claimed(Headless, ""); match != Matches {
		t.Errorf("%s as Go: %s", got.JA4, match)
	}
	if match := got.Claimed(Browser, agentChromium); match != Differs {
		t.Errorf("%s as Chromium: %s", got.JA4, match)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte("10.0.0.0/8 approved x\nAS1 tor\n# y"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseList(b)
		if err != nil {
			return
		}
		g := Ground{Listed: l}
		for p, e := range l.entries {
			if got := g.Place(p.Addr()); e.kind == KindApproved && got.Kind == KindApproved {
				t.Errorf("%s is of kind approved: that is for line to say", p)
			}
		}
	})
}

func FuzzParseCalendar(f *testing.F) {
	f.Add([]byte("SG|2026-02-03|2026-02-08|x\nXX|||y"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCalendar(b)
		if err != nil {
			return
		}
		for country, events := range c.byCountry {
			for _, e := range events {
				if at := e.from; !at.IsZero() && (e.until.IsZero() || at.Before(e.until)) {
					if _, raised := c.Raised(country, at); !raised {
						t.Errorf("%s: not raised when an event begins", country)
					}
				}
			}
		}
	})
}

func FuzzDatabase(f *testing.F) {
	f.Add([]byte("\xab\xcd\xefMaxMind.com"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if d, err := newDatabase(b); err == nil {
			d.place(netip.MustParseAddr("192.0.2.1"))
			d.place(netip.MustParseAddr("2001:db8::1"))
		}
	})
}

func BenchmarkPlace(b *testing.B) {
	g := Ground{Databases: []*Database{openCountries(b)}, Listed: &List{entries: map[netip.Prefix]entry{}, operators: map[AS]Kind{}}}
	a := netip.MustParseAddr("193.40.5.1")
	b.ReportAllocs()
	for b.Loop() {
		g.Place(a)
	}
}
