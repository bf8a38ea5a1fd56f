package sip

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"

	"conclave/phone/sip/siptest"
)

const patience = siptest.Patience

// dialUDP is a peer on a UDP socket.
func (w *world) dialUDP(t *testing.T) *siptest.Peer {
	t.Helper()
	conn, err := net.Dial("udp", w.udp)
	if err != nil {
		t.Fatal(err)
	}
	return siptest.New(t, conn)
}

func newCertificate(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// withTLS adds a TLS listener, the third address of a world.
func withTLS(t *testing.T, c *Config) {
	c.Listeners = append(c.Listeners, Listener{Network: TLS, Address: netip.MustParseAddrPort("127.0.0.1:0"), Certificate: newCertificate(t)})
}

// dialTLS connects to the third listener, with a certificate or without one.
func (w *world) dialTLS(t *testing.T, mine *tls.Certificate) *siptest.Peer {
	t.Helper()
	c := &tls.Config{InsecureSkipVerify: true} // whose it is does not matter here
	if mine != nil {
		c.Certificates = []tls.Certificate{*mine}
	}
	conn, err := tls.Dial("tcp", w.Addresses()[2].String(), c)
	if err != nil {
		t.Fatal(err)
	}
	return siptest.New(t, conn)
}

func ended(t *testing.T, c *Call) End {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("the call still lives")
	}
	return c.Ended()
}

// A PBX that is known by its certificate hangs up where it took the call: on the connection that we made.
func TestAByeComesBackOnTheConnectionThatWasDialled(t *testing.T) {
	theirs := newCertificate(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*theirs}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	roots := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(theirs.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(parsed)
	w := start(t, func(c *Config) {
		withTLS(t, c)
		c.Roots.Pool = roots
		c.Trunks[0].Certificates = [][sha256.Size]byte{sha256.Sum256(theirs.Certificate[0])}
		c.Trunks[0].Target, c.Trunks[0].TargetNetwork, c.Trunks[0].Prefixes = listener.Addr().String(), TLS, []string{"+4930"}
	}, answering)
	taken := make(chan *siptest.Peer, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		p := siptest.New(t, conn)
		invite := p.Until("INVITE")
		p.Send(siptest.Reply(invite, "200 OK", "Contact: <sip:pbx@127.0.0.1;transport=tls>\n", strings.ReplaceAll(answer, "\r\n", "\n")))
		taken <- p
	}()
	trunk, err := w.TrunkFor("+493012345", true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	call, err := w.Ring(ctx, trunk, "+493012345", []byte(answer))
	if err != nil {
		t.Fatal(err)
	}
	p := <-taken
	ack := p.Until("ACK")
	bye := func(callID, tag string) string {
		return fmt.Sprintf("BYE sip:conclave@127.0.0.1 SIP/2.0\nVia: SIP/2.0/TLS %s;branch=z9hG4bKbye%s\nFrom: <sip:+493012345@127.0.0.1>;tag=%s\nTo: %s\nCall-ID: %s\nCSeq: 1 BYE\nMax-Forwards: 70\nContent-Length: 0\n\n",
			p.At(), tag, tag, siptest.Header(ack, "From"), callID)
	}
	// Somebody else of that address, without the certificate, is not heard, whatever they know.
	other := w.dialTLS(t, nil)
	other.Send(bye(siptest.Header(ack, "Call-ID"), "theirs"))
	// Nor does the connection carry other calls than those that were made over it: of these it is nobody's.
	p.Send(bye(siptest.Header(ack, "Call-ID"), "wrong"))
	p.Send(p.Ask("OPTIONS", 1, "options", "", "TLS", "", ""))
	if e := call.Ended(); e != 0 {
		t.Fatalf("ended by %v", e)
	}
	p.Send(bye(siptest.Header(ack, "Call-ID"), "theirs"))
	if m := p.Read(); !strings.HasPrefix(m, "SIP/2.0 200") || siptest.Header(m, "CSeq") != "1 BYE" {
		t.Errorf("the answer is %q", m)
	}
	if e := ended(t, call); e != EndBye {
		t.Errorf("ended by %v", e)
	}
}

// Within a call nobody is asked for a password: what stands in one over TLS is heard over TLS alone.
func TestACallOverTLSIsOnlyChangedOverTLS(t *testing.T) {
	w := start(t, func(c *Config) { withTLS(t, c) }, answering)
	p := w.dialTLS(t, nil)
	tag := p.Begin("tls", "TLS", "", offerBody)
	thief := w.dialUDP(t)
	for i, method := range []string{"INVITE", "UPDATE", "BYE"} {
		thief.Send(thief.Ask(method, 2+i, "tls", tag, "UDP", "", offerBody))
		if m := thief.Until("SIP/2.0 4"); !strings.HasPrefix(m, "SIP/2.0 481") {
			t.Errorf("%s over UDP: %.40q", method, m)
		}
		if method == "INVITE" {
			thief.Send(strings.Replace(thief.Ask("ACK", 2, "tls", tag, "UDP", "", ""), "2ACK;", "2INVITE;", 1))
		}
	}
	p.Send(p.Ask("UPDATE", 9, "tls", tag, "TLS", "", offerBody))
	p.Until("SIP/2.0 200")
	p.Send(p.Ask("BYE", 10, "tls", tag, "TLS", "", ""))
	if e := w.end(); e != EndBye {
		t.Errorf("ended by %v", e)
	}
}

// A call over many proxies: the answer repeats their routes and is larger than what an Ethernet frame holds.
func TestAnAnswerOfManyHopsIsSentOverUDP(t *testing.T) {
	w := start(t, nil, answering)
	p := w.dialUDP(t)
	var routes strings.Builder
	for i := range 9 {
		fmt.Fprintf(&routes, "Record-Route: <sip:proxy%d.%s.example;lr>\n", i, strings.Repeat("long", 40))
	}
	tag := p.Begin("hops", "UDP", routes.String(), offerBody)
	p.Send(p.Ask("BYE", 2, "hops", tag, "UDP", "", ""))
	if e := w.end(); e != EndBye {
		t.Errorf("ended by %v", e)
	}
}

func TestACallWhoseAnswerCannotBeSentEnds(t *testing.T) {
	failed := make(chan error, 1)
	w := start(t, nil, func(_ context.Context, c *Call) {
		failed <- c.Answer(make([]byte, 70_000)) // more than UDP carries
		select {
		case <-c.Done():
		case <-time.After(patience):
			t.Error("the call still lives")
		}
	})
	p := w.dialUDP(t)
	p.Send(p.Ask("INVITE", 1, "unsent", "", "UDP", "", offerBody))
	if err := <-failed; err == nil {
		t.Error("an answer of 70 000 octets was sent")
	}
	if e := w.end(); e != EndUnsent {
		t.Errorf("ended by %v", e)
	}
}

// registrar answers what registers at it, one request after the other, and tells which there were.
func registrar(t *testing.T, answers ...func(request string) string) (address string, came <-chan string) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	out := make(chan string, 20)
	go func() {
		b := make([]byte, 1<<16)
		seen, answered := map[string]string{}, 0
		for {
			n, from, err := conn.ReadFromUDP(b)
			if err != nil {
				return
			}
			request := string(b[:n])
			again, ok := seen[siptest.Header(request, "Via")]
			if !ok && answered < len(answers) {
				again = answers[answered](request)
				answered++
				seen[siptest.Header(request, "Via")] = again
				out <- request
			}
			if again != "" {
				conn.WriteToUDP([]byte(strings.ReplaceAll(again, "\n", "\r\n")), from)
			}
		}
	}()
	return conn.LocalAddr().String(), out
}

// A carrier decides for how long a registration holds, and for how long at least.
func TestARegistrationIsRenewedBeforeWhatWasGrantedEnds(t *testing.T) {
	challenge := func(r string) string {
		return siptest.Reply(r, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"abc\", algorithm=MD5, qop=\"auth\"\n", "")
	}
	at, came := registrar(t,
		challenge,
		func(r string) string { return siptest.Reply(r, "423 Interval Too Brief", "Min-Expires: 900\n", "") },
		challenge,
		func(r string) string {
			other := "Contact: <sip:conclave@192.0.2.9:5060>;expires=3000\n"
			return siptest.Reply(r, "200 OK", other+"Contact: "+siptest.Header(r, "Contact")+";expires=4\nExpires: 900\n", "")
		},
		challenge,
		func(r string) string { return siptest.Reply(r, "200 OK", "", "") },
	)
	start(t, func(c *Config) {
		tr := &c.Trunks[0]
		tr.User, tr.Password, tr.Register = "us", "secret", true
		tr.Target, tr.TargetNetwork = at, UDP
	}, answering)
	for i, want := range []string{"600", "600", "900", "900", "900", "900"} {
		select {
		case r := <-came:
			if got := siptest.Header(r, "Expires"); !strings.HasPrefix(r, "REGISTER sip:127.0.0.1 ") || got != want {
				t.Errorf("request %d is for %s s, want %s: %.60q", i+1, got, want, r)
			}
			if i%2 == 1 && !strings.Contains(siptest.Header(r, "Authorization"), `username="us"`) {
				t.Errorf("request %d knows no password", i+1)
			}
		case <-time.After(patience): // the last within 5 s: of 4 s that were granted, not of 900
			t.Fatalf("request %d never came", i+1)
		}
	}
	for granted, want := range map[time.Duration]time.Duration{time.Minute: 45 * time.Second, time.Second: registerLeast, time.Hour: 45 * time.Minute} {
		if got := renewAfter(granted); got != want {
			t.Errorf("%v: renewed after %v", granted, got)
		}
	}
}

func TestARefreshWithoutATimerEndsTheOneThereWas(t *testing.T) {
	calls := make(chan *Call, 1)
	w := start(t, nil, func(ctx context.Context, c *Call) { calls <- c; answering(ctx, c) })
	p := w.dialUDP(t)
	tag := p.Begin("timer", "UDP", "Session-Expires: 120\nSupported: timer\n", offerBody)
	c := <-calls
	armed := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.session != nil
	}
	if !armed() {
		t.Error("no timer although one was asked for")
	}
	p.Send(p.Ask("UPDATE", 2, "timer", tag, "UDP", "", ""))
	if m := p.Until("SIP/2.0 200"); siptest.Header(m, "Session-Expires") != "" {
		t.Error("the answer names a timer that nobody asked for")
	}
	if armed() {
		t.Error("the call will be cut for want of a refresh")
	}
	p.Send(p.Ask("UPDATE", 3, "timer", tag, "UDP", "Session-Expires: 180\nSupported: timer\n", ""))
	if m := p.Until("SIP/2.0 200"); siptest.Header(m, "Session-Expires") != "180;refresher=uac" || !armed() {
		t.Errorf("a timer that was asked for anew: %q", siptest.Header(m, "Session-Expires"))
	}
}

// authorize answers a challenge for a request to door@127.0.0.1.
func authorize(t *testing.T, challenged, method, uri, password string) string {
	t.Helper()
	c, err := digest.ParseChallenge(siptest.Header(challenged, "WWW-Authenticate"))
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := digest.Digest(c, digest.Options{Method: method, URI: uri, Username: "pbx", Password: password, Count: 1, Cnonce: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: " + credentials.String() + "\n"
}

// A password that is proven makes a trunk over TLS one that is known, and none over UDP; what proved it proves nothing else.
func TestWhatProvedAPasswordIsTakenOnceAndForOneRequest(t *testing.T) {
	secure := make(chan bool, 8)
	w := start(t, func(c *Config) {
		withTLS(t, c)
		c.Trunks[0].User, c.Trunks[0].Password = "pbx", "right"
	}, func(ctx context.Context, c *Call) {
		secure <- c.Secure()
		answering(ctx, c)
	})
	for _, p := range []struct {
		*siptest.Peer
		transport string
		proven    bool
	}{{w.dialUDP(t), "UDP", false}, {w.dialTLS(t, nil), "TLS", true}} {
		// invite makes a call and returns the line that answers it; a call that is taken is hung up.
		invite := func(call, head string) string {
			t.Helper()
			p.Send(p.Ask("INVITE", 1, call, "", p.transport, head, offerBody))
			m := p.Read()
			for strings.HasPrefix(m, "SIP/2.0 1") {
				m = p.Read()
			}
			ack := p.Ask("ACK", 1, call, siptest.Tag(m), p.transport, "", "")
			if !strings.HasPrefix(m, "SIP/2.0 200") {
				p.Send(strings.Replace(ack, "1ACK;", "1INVITE;", 1))
				return m
			}
			p.Send(ack)
			p.Send(p.Ask("BYE", 2, call, siptest.Tag(m), p.transport, "", ""))
			p.Until("SIP/2.0 200")
			return m
		}
		const uri = "sip:door@127.0.0.1"
		challenged := invite("first"+p.transport, "")
		if !strings.HasPrefix(challenged, "SIP/2.0 401") {
			t.Fatalf("%s: %.40q", p.transport, challenged)
		}
		head := authorize(t, challenged, "INVITE", uri, "right")
		for i, c := range []struct{ what, head, want string }{
			{"a wrong password", authorize(t, challenged, "INVITE", uri, "wrong"), "401"},
			{"another address", authorize(t, challenged, "INVITE", "sip:other@127.0.0.1", "right"), "401"},
			{"another host", authorize(t, challenged, "INVITE", "sip:door@192.0.2.1", "right"), "401"},
			{"another method", authorize(t, challenged, "BYE", uri, "right"), "401"},
			{"the right one", head, "200"},
			{"the same again", head, "401"},
		} {
			if m := invite(fmt.Sprint("call", i, p.transport), c.head); !strings.HasPrefix(m, "SIP/2.0 "+c.want) {
				t.Errorf("%s over %s: %.40q, want %s", c.what, p.transport, m, c.want)
			}
		}
		if got := <-secure; got != p.proven {
			t.Errorf("over %s: secure is %v", p.transport, got)
		}
	}
}

// pbx is a UDP socket that a trunk of ours rings; f answers each request that is new.
func pbx(t *testing.T, f func(request string) []string) func(*Config) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 1<<16)
		seen := map[string]bool{}
		for {
			n, from, err := conn.ReadFromUDP(b)
			if err != nil {
				return
			}
			request := string(b[:n])
			if key := siptest.Header(request, "Via") + siptest.Header(request, "CSeq"); seen[key] {
				continue
			} else {
				seen[key] = true
			}
			for _, m := range f(request) {
				conn.WriteToUDP([]byte(strings.ReplaceAll(m, "\n", "\r\n")), from)
			}
		}
	}()
	return func(c *Config) {
		c.Trunks[0].Target, c.Trunks[0].TargetNetwork, c.Trunks[0].Prefixes = conn.LocalAddr().String(), UDP, []string{"+4930"}
		c.Trunks[0].User, c.Trunks[0].Password = "us", "secret"
	}
}

func ringIt(t *testing.T, w *world) *Call {
	t.Helper()
	trunk, err := w.TrunkFor("+493012345", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := w.Ring(ctx, trunk, "+493012345", []byte(answer))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A carrier asks for our password, rings for long, and answers.
func TestWeProveOurPasswordAndWaitForHoweverManyRings(t *testing.T) {
	byed := make(chan bool, 1)
	w := start(t, pbx(t, func(r string) []string {
		switch {
		case strings.HasPrefix(r, "INVITE") && siptest.Header(r, "Authorization") == "":
			return []string{siptest.Reply(r, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"abc\", algorithm=MD5, qop=\"auth\"\n", "")}
		case strings.HasPrefix(r, "INVITE"):
			c, err := digest.ParseCredentials(siptest.Header(r, "Authorization"))
			if err != nil {
				return []string{siptest.Reply(r, "403 Forbidden", "", "")}
			}
			want, err := digest.Digest(&digest.Challenge{Realm: "carrier", Nonce: "abc", Algorithm: "MD5", QOP: []string{"auth"}},
				digest.Options{Method: "INVITE", URI: c.URI, Username: "us", Password: "secret", Count: c.Nc, Cnonce: c.Cnonce})
			if err != nil || want.Response != c.Response {
				return []string{siptest.Reply(r, "403 Forbidden", "", "")}
			}
			var out []string
			for i := range 25 {
				out = append(out, siptest.Reply(r, fmt.Sprintf("%d Ringing", 180+i%4), "", ""))
			}
			return append(out, siptest.Reply(r, "200 OK", "Contact: <sip:pbx@127.0.0.1>\n", strings.ReplaceAll(answer, "\r\n", "\n")))
		case strings.HasPrefix(r, "BYE"):
			byed <- true
			return []string{siptest.Reply(r, "200 OK", "", "")}
		}
		return nil
	}), answering)
	c := ringIt(t, w)
	c.Hang()
	select {
	case <-byed:
	case <-time.After(patience):
		t.Error("the other end was never told that we hung up")
	}
}

// Sessions end that are not refreshed in time, with a BYE.
func TestASessionThatIsNotRefreshedEnds(t *testing.T) {
	calls := make(chan *Call, 1)
	w := start(t, nil, func(ctx context.Context, c *Call) { calls <- c; answering(ctx, c) })
	p := w.dialUDP(t)
	p.Begin("expires", "UDP", "Session-Expires: 90\nSupported: timer\n", offerBody)
	c := <-calls
	c.mu.Lock()
	expires := c.expires
	c.mu.Unlock()
	if expires != 90*time.Second {
		t.Errorf("the session lives %v", expires)
	}
	c.arm(50*time.Millisecond, false) // as if the ninety seconds had passed
	if m := p.Until("BYE"); m == "" {
		t.Error("no BYE")
	}
	if e := w.end(); e != EndTimer {
		t.Errorf("ended by %v", e)
	}
}
