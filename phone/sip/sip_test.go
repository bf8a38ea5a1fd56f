package sip

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math/rand"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"conclave/phone/sdp"
	"conclave/phone/sip/siptest"
)

const answer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"

// world is a stack on free ports of this machine.
type world struct {
	*Stack
	t        testing.TB
	ends     chan End
	log      *bytes.Buffer
	logMu    sync.Mutex
	living   atomic.Int32
	udp, tcp string
}

func (w *world) Write(b []byte) (int, error) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	return w.log.Write(b)
}

func start(t testing.TB, change func(*Config), incoming func(context.Context, *Call)) *world {
	t.Helper()
	w := &world{t: t, ends: make(chan End, 1000), log: new(bytes.Buffer)}
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	c := Config{
		Listeners: []Listener{{Network: UDP, Address: loopback}, {Network: TCP, Address: loopback}},
		Trunks:    []Trunk{{Name: "pbx", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}},
		Log:       slog.New(slog.NewJSONHandler(w, nil)), Now: time.Now,
		Incoming: func(ctx context.Context, call *Call) {
			w.living.Add(1)
			defer w.living.Add(-1)
			incoming(ctx, call)
			w.ends <- call.Ended()
		},
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	w.Stack = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the stack does not end")
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	w.udp, w.tcp = s.Addresses()[0].String(), ""
	if len(s.Addresses()) > 1 {
		w.tcp = s.Addresses()[1].String()
	}
	return w
}

// answering takes a call and waits until it is over.
func answering(_ context.Context, c *Call) {
	c.Changed(func(*sdp.Description) ([]byte, error) { return []byte(answer), nil })
	if c.Answer([]byte(answer)) == nil {
		<-c.Done()
	}
}

func (w *world) end() End {
	w.t.Helper()
	select {
	case e := <-w.ends:
		return e
	case <-time.After(20 * time.Second):
		w.t.Fatal("no call has ended")
		return 0
	}
}

// sipp runs a scenario of sipp (Debian package sip-tester) against the stack.
func (w *world) sipp(scenario string, args ...string) (string, error) {
	w.t.Helper()
	if _, err := exec.LookPath("sipp"); err != nil {
		w.t.Skip("needs sipp: scripts/need-test installs it")
	}
	dir := w.t.TempDir()
	file := filepath.Join(dir, "scenario.xml")
	if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	all := append([]string{"-sf", file, "-i", "127.0.0.1", "-m", "1", "-nostdin", "-timeout", "40s", "-timeout_error", "-trace_err", "-error_file", filepath.Join(dir, "errors")}, args...)
	cmd := exec.CommandContext(ctx, "sipp", append(all, w.udp)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TERM=dumb")
	out, err := cmd.CombinedOutput()
	errs, _ := os.ReadFile(filepath.Join(dir, "errors"))
	return string(out) + string(errs), err
}

// Pieces of scenarios.
const (
	offerBody = siptest.Offer
	sippHead  = `<?xml version="1.0" encoding="ISO-8859-1" ?><scenario name="x">`
	sippTail  = `</scenario>`
)

func sippRequest(method, to, seq, headers, body string) string {
	length := "[len]"
	if body == "" {
		length = "0"
	}
	branch := "[branch]"
	return fmt.Sprintf(`<send retrans="500"><![CDATA[
%s sip:door@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=%s
From: caller <sip:4930111@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: door <sip:door@[remote_ip]:[remote_port]>%s
Call-ID: [call_id]
CSeq: %s %s
Contact: sip:caller@[local_ip]:[local_port]
Max-Forwards: 70
%sContent-Type: application/sdp
Content-Length: %s

%s]]></send>`, method, branch, to, seq, method, headers, length, body)
}

func sippAck(seq string) string {
	return fmt.Sprintf(`<send><![CDATA[
ACK sip:door@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: caller <sip:4930111@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: door <sip:door@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: %s ACK
Max-Forwards: 70
Content-Length: 0

]]></send>`, seq)
}

func recv(code string) string {
	return `<recv response="100" optional="true"></recv><recv response="180" optional="true"></recv><recv response="` + code + `"></recv>`
}

func TestACallOfAStrangeMakeIsTakenAndHungUp(t *testing.T) {
	w := start(t, nil, answering)
	out, err := w.sipp(sippHead + sippRequest("INVITE", "", "1", "", offerBody) + recv("200") + sippAck("1") +
		`<pause milliseconds="200"/>` + sippRequest("BYE", "[peer_tag_param]", "2", "", "") + `<recv response="200"></recv>` + sippTail)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if e := w.end(); e != EndBye {
		t.Fatalf("ended by %v", e)
	}
}

func TestWhatStandsInACallIsAnswered(t *testing.T) {
	w := start(t, nil, answering)
	hold := strings.Replace(offerBody, "a=rtpmap", "a=sendonly\na=rtpmap", 1)
	out, err := w.sipp(sippHead + sippRequest("INVITE", "", "1", "Session-Expires: 120\nSupported: timer\n", offerBody) + recv("200") + sippAck("1") +
		sippRequest("INVITE", "[peer_tag_param]", "2", "", hold) + recv("200") + sippAck("2") +
		sippRequest("UPDATE", "[peer_tag_param]", "3", "", offerBody) + `<recv response="200"></recv>` +
		sippRequest("UPDATE", "[peer_tag_param]", "4", "Session-Expires: 120;refresher=uac\n", "") + `<recv response="200"></recv>` +
		sippRequest("REFER", "[peer_tag_param]", "5", "Refer-To: sip:elsewhere@192.0.2.1\n", "") + `<recv response="405"></recv>` +
		sippRequest("INVITE", "[peer_tag_param]", "7", "", "v=0\nm=nonsense\n") + recv("488") + sippAck("7") +
		sippRequest("BYE", "[peer_tag_param]", "8", "", "") + `<recv response="200"></recv>` + sippTail)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if e := w.end(); e != EndBye {
		t.Fatalf("ended by %v", e)
	}
}

func TestACancelledCallEndsWith487(t *testing.T) {
	w := start(t, nil, func(_ context.Context, c *Call) {
		if err := c.Ringing(); err != nil {
			t.Error(err)
		}
		<-c.Done()
	})
	cancel := strings.Replace(sippRequest("CANCEL", "", "1", "", ""), "branch=[branch]", "branch=[branch-4]", 1)
	out, err := w.sipp(sippHead + sippRequest("INVITE", "", "1", "", offerBody) + `<recv response="100" optional="true"></recv><recv response="180"></recv><pause milliseconds="300"/>` +
		cancel + `<recv response="200"></recv><recv response="487"></recv>` + sippAck("1") + sippTail)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if e := w.end(); e != EndCancelled {
		t.Fatalf("ended by %v", e)
	}
}

func TestACallWithoutAnACKIsGivenUp(t *testing.T) {
	w := start(t, func(c *Config) { c.Limits = DefaultLimits(); c.Limits.AckLimit = 2 * time.Second }, answering)
	began := time.Now()
	out, err := w.sipp(sippHead + sippRequest("INVITE", "", "1", "", offerBody) + recv("200") +
		`<recv request="BYE"></recv>` + sippTail)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if e := w.end(); e != EndNoAck {
		t.Fatalf("ended by %v", e)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("after %v", d)
	}
}

func TestWhatCannotBeFollowedIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ headers, body, code string }{
		"a reliable provisional": {"Require: 100rel\n", offerBody, "420"},
		"a short session":        {"Session-Expires: 30\nSupported: timer\n", offerBody, "422"},
		"no offer":               {"", "", "488"},
		"no sense":               {"", "v=0\nx\n", "488"},
	} {
		w := start(t, nil, answering)
		if out, err := w.sipp(sippHead + sippRequest("INVITE", "", "1", c.headers, c.body) + recv(c.code) + sippAck("1") + sippTail); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestATrunkProvesItsPassword(t *testing.T) {
	trunk := func(c *Config) { c.Trunks[0].User, c.Trunks[0].Password = "pbx", "right" }
	for password, code := range map[string]string{"right": "200", "wrong": "401"} {
		w := start(t, trunk, answering)
		again := sippRequest("INVITE", "", "2", "[authentication username=pbx password="+password+"]\n", offerBody) + recv(code) + sippAck("2")
		if code == "200" {
			again += sippRequest("BYE", "[peer_tag_param]", "3", "", "") + `<recv response="200"></recv>`
		}
		out, err := w.sipp(sippHead+sippRequest("INVITE", "", "1", "", offerBody)+`<recv response="100" optional="true"></recv><recv response="401" auth="true"></recv>`+strings.Replace(sippAck("1"), "branch=[branch]", "branch=[branch-3]", 1)+again+sippTail, "-au", "pbx", "-ap", password)
		if err != nil {
			t.Errorf("%s: %v\n%s", password, err, out)
		}
	}
}

func TestStrangersGetNoAnswer(t *testing.T) {
	w := start(t, nil, answering)
	stranger, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 66)})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	to := w.Addresses()[0].(*net.UDPAddr)
	for _, method := range []string{"INVITE", "OPTIONS", "REGISTER"} {
		fmt.Fprint(writerTo{stranger, to}, siptest.Message(method, "127.0.0.66:5060"))
	}
	stranger.SetReadDeadline(time.Now().Add(700 * time.Millisecond))
	if n, _, err := stranger.ReadFrom(make([]byte, 1500)); err == nil {
		t.Errorf("a stranger was answered with %d bytes", n)
	}
	if s := w.Stats(); s.Strange != 3 || s.Requests != 0 {
		t.Errorf("%+v", s)
	}
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}}).Dial("tcp", w.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, siptest.Message("OPTIONS", "127.0.0.66:5060"))
	conn.SetReadDeadline(time.Now().Add(time.Second))
	if b, err := io.ReadAll(conn); len(b) > 0 {
		t.Errorf("a stranger was answered: %q, %v", b, err)
	}
}

type writerTo struct {
	conn *net.UDPConn
	to   *net.UDPAddr
}

func (w writerTo) Write(b []byte) (int, error) { return w.conn.WriteToUDP(b, w.to) }

func TestMutatedMessagesDoNoHarm(t *testing.T) {
	messages := 20_000
	if testing.Short() {
		messages = 2_000
	}
	w := start(t, func(c *Config) {
		c.Limits = DefaultLimits()
		c.Limits.Rate, c.Limits.Burst, c.Limits.AckLimit = 1e6, 1e6, 100*time.Millisecond
	}, answering)
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go io.Copy(io.Discard, conn)
	to, r := w.Addresses()[0].(*net.UDPAddr), rand.New(rand.NewSource(1))
	for i := range messages {
		conn.WriteToUDP(siptest.Mutated(r, conn.LocalAddr().String()), to)
		if i%100 == 99 { // as fast as they are heard
			time.Sleep(2 * time.Millisecond)
			w.Stack.limits.mu.Lock()
			w.Stack.limits.packets = nil
			w.Stack.limits.mu.Unlock()
		}
	}
	time.Sleep(300 * time.Millisecond)
	s := w.Stats()
	t.Logf("%d messages: %d requests reached a handler, %d calls, %d refused, %d panics", messages, s.Requests, s.Calls, s.Refused, s.Panics)
	if s.Panics != 0 {
		t.Errorf("%d handlers panicked", s.Panics)
	}
	if s.Requests < uint64(messages/20) {
		t.Errorf("only %d requests came through: nothing was tested", s.Requests)
	}
	// And it still takes calls.
	for deadline := time.Now().Add(30 * time.Second); w.Stats().Living > 0 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	out, err := w.sipp(sippHead + sippRequest("INVITE", "", "1", "", offerBody) + recv("200") + sippAck("1") +
		sippRequest("BYE", "[peer_tag_param]", "2", "", "") + `<recv response="200"></recv>` + sippTail)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestAFloodOfCallsIsCapped(t *testing.T) {
	counted := make(chan struct{}) // until then no call ends and makes room for another, however long the machine takes
	w := start(t, func(c *Config) {
		c.Limits = DefaultLimits()
		c.Limits.Calls, c.Limits.Rate, c.Limits.Burst = 30, 1000, 1000
	}, func(_ context.Context, c *Call) {
		_ = c.Ringing()
		select {
		case <-c.Done():
		case <-counted:
		}
	})
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var busy, rung atomic.Int32
	go func() {
		seen := map[string]bool{}
		b := make([]byte, 2000)
		for {
			n, _, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			text := string(b[:n])
			_, id, _ := strings.Cut(text, "Call-ID: ")
			id, _, _ = strings.Cut(id, "\r\n")
			line, _, _ := strings.Cut(text, "\r\n")
			if seen[id+line] {
				continue
			}
			seen[id+line] = true
			switch {
			case strings.HasPrefix(line, "SIP/2.0 503"):
				busy.Add(1)
			case strings.HasPrefix(line, "SIP/2.0 180"):
				rung.Add(1)
			}
		}
	}()
	to := w.Addresses()[0].(*net.UDPAddr)
	for range 500 {
		fmt.Fprint(writerTo{conn, to}, siptest.Message("INVITE", conn.LocalAddr().String()))
		time.Sleep(10 * time.Millisecond)
	}
	defer close(counted)
	for deadline := time.Now().Add(patience); rung.Load()+busy.Load() < 500 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("500 INVITEs at 100/s: %d rung, %d refused with 503", rung.Load(), busy.Load())
	if rung.Load() != 30 || busy.Load() != 470 {
		t.Errorf("%d rung, %d refused", rung.Load(), busy.Load())
	}
}

func TestNoNumberReachesTheLog(t *testing.T) {
	w := start(t, func(c *Config) { c.Trunks[0].Register = false }, answering)
	out, err := w.sipp(sippHead + sippRequest("INVITE", "", "1", "P-Asserted-Identity: <sip:+4930987654@pbx.example>\n", offerBody) + recv("200") + sippAck("1") +
		sippRequest("BYE", "[peer_tag_param]", "2", "", "") + `<recv response="200"></recv>` + sippTail)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.logMu.Lock()
	defer w.logMu.Unlock()
	if strings.Contains(w.log.String(), "4930") {
		t.Errorf("the log knows who called: %s", w.log)
	}
}

func TestWhatACallersNameHoldsIsPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"+4930123": "+4930123", "a\x00b\r\n\x1b[2J": "ab[2J", strings.Repeat("\xff", 300): "", "é1": "1",
		strings.Repeat("1", 300): strings.Repeat("1", 64),
	} {
		if got := clip(in); got != want {
			t.Errorf("clip(%q) = %q, want %q", in, got, want)
		}
	}
}

// sipgo hands on requests that lack these headers; that made a handler panic 325 times in 20 000 messages, each of which would have ended the
// process.
func TestARequestWithoutItsHeadersIsRefusedAndReachesNoHandler(t *testing.T) {
	w := start(t, nil, func(context.Context, *Call) { t.Error("it became a call") })
	conn, err := net.Dial("udp", w.udp)
	if err != nil {
		t.Fatal(err)
	}
	p := siptest.New(t, conn)
	for _, without := range []string{"To: ", "From: ", "Call-ID: "} {
		var kept []string
		for line := range strings.SplitSeq(siptest.Message("INVITE", p.At()), "\r\n") {
			if !strings.HasPrefix(line, without) {
				kept = append(kept, line)
			}
		}
		fmt.Fprint(conn, strings.Join(kept, "\r\n"))
	}
	fmt.Fprint(conn, siptest.Message("OPTIONS", p.At())) // and it goes on
	p.Until("SIP/2.0 200")
	if s := w.Stats(); s.Panics != 0 || s.Calls != 0 {
		t.Errorf("%+v", s)
	}
}

// sipgo's "tcp6" with TLS is SIP over WebSocket: over IPv6 too a listener speaks SIP.
func TestTLSOverIPv6SpeaksSIP(t *testing.T) {
	loopback := netip.MustParseAddrPort("[::1]:0")
	if l, err := net.Listen("tcp6", loopback.String()); err != nil {
		t.Skip("needs IPv6")
	} else {
		l.Close()
	}
	w := start(t, func(c *Config) {
		c.Listeners = []Listener{{Network: TLS, Address: loopback, Certificate: newCertificate(t)}}
		c.Trunks[0].Networks = []netip.Prefix{netip.MustParsePrefix("::1/128")}
	}, answering)
	conn, err := tls.Dial("tcp", w.udp, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	p := siptest.New(t, conn)
	fmt.Fprint(conn, strings.ReplaceAll(siptest.Message("OPTIONS", p.At()), "SIP/2.0/UDP", "SIP/2.0/TLS"))
	p.Until("SIP/2.0 200")
}

// One trunk, broken or in other hands, does not keep the others out.
func TestATrunkTakesNoMorePlacesThanItsOwn(t *testing.T) {
	w := start(t, func(c *Config) {
		c.Trunks[0].Calls = 2
		c.Trunks = append(c.Trunks, Trunk{Name: "other", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.3/32")}})
	}, func(_ context.Context, c *Call) {
		_ = c.Ringing()
		<-c.Done()
	})
	from := func(ip string) *siptest.Peer {
		conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)}, w.Addresses()[0].(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		return siptest.New(t, conn)
	}
	call := func(p *siptest.Peer, want string) {
		t.Helper()
		p.Send(strings.ReplaceAll(siptest.Message("INVITE", p.At()), "\r\n", "\n"))
		m := p.Until("SIP/2.0 ")
		for strings.HasPrefix(m, "SIP/2.0 100") {
			m = p.Read()
		}
		if !strings.HasPrefix(m, want) {
			t.Errorf("%.40q, want %s", m, want)
		}
	}
	call(from("127.0.0.1"), "SIP/2.0 180")
	call(from("127.0.0.1"), "SIP/2.0 180")
	call(from("127.0.0.1"), "SIP/2.0 503")
	call(from("127.0.0.3"), "SIP/2.0 180")
}
