package gateway_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/gateway"
	"conclave/phone/prompt"
	"conclave/phone/sip"
)

// runbook are the blocks of docs/phone/kamailio.md that somebody types, in their order.
type runbook struct {
	t      *testing.T
	blocks []string
	names  string // set before each block but the one that sets them
}

func readRunbook(t *testing.T) *runbook {
	t.Helper()
	b, err := os.ReadFile("../docs/phone/kamailio.md")
	if err != nil {
		t.Fatal(err)
	}
	r := &runbook{t: t}
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(b), -1) {
		r.blocks = append(r.blocks, m[1])
	}
	return r
}

// next returns the next block, which must hold a word: the page and this test go in the same order.
func (r *runbook) next(word string) string {
	r.t.Helper()
	if len(r.blocks) == 0 || !strings.Contains(r.blocks[0], word) {
		r.t.Fatalf("kamailio.md has no block with %q at this place: %q", word, r.blocks)
	}
	block := r.blocks[0]
	r.blocks = r.blocks[1:]
	return block
}

// run types the next block, as it stands, after the names.
func (r *runbook) run(word string) string {
	r.t.Helper()
	cmd := exec.Command("bash", "-eu", "-o", "pipefail", "-c", r.names+r.next(word))
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("kamailio.md, the block with %q: %v\n%s", word, err, out)
	}
	return string(out)
}

// name gives the names of the page other values; each must stand there.
func (r *runbook) name(block string, values map[string]string) {
	r.t.Helper()
	r.names = ""
	for line := range strings.Lines(block) {
		name, _, ok := strings.Cut(line, "=")
		value, known := values[name]
		if !ok || !known {
			r.t.Fatalf("kamailio.md names %q, which this test does not know", line)
		}
		r.names += name + "='" + value + "'\n"
	}
}

// The runbook is followed as it stands, its names filled in: calls of telephones reach the gateway through Kamailio, in the clear and
// over TLS, each as what it is; keys that came in the clear get no further, whatever they are; and strangers get no answer.
func TestCallsThroughKamailio(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/sbin/kamailio"); err != nil {
		t.Skip("needs kamailio and kamailio-tls-modules: scripts/need-test installs them")
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("needs openssl: scripts/need-test installs it")
	}
	dir := t.TempDir()
	port := freePort(t)
	udp, overTLS := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port+1)
	names := map[string]string{"FOLDER": dir, "FILES": "../docs/phone", "KAMAILIO_UDP": udp, "KAMAILIO_TLS": overTLS, "KAMAILIO_ADDRESS": "127.0.0.1",
		"GATEWAY_TLS": "", "GATEWAY_ADDRESS": "127.0.0.1", "GATEWAY_CERTIFICATE": filepath.Join(dir, "gateway.pem"), "CALLERS": "127.0.0.1/32 127.0.0.3/32"}
	r := readRunbook(t)
	r.next("apt-get install") // scripts/need-test did
	block := r.next("KAMAILIO_TLS=")
	r.name(block, names)
	r.run("openssl req")
	sum, err := hex.DecodeString(strings.TrimSpace(r.run("sha256sum")))
	if err != nil || len(sum) != sha256.Size {
		t.Fatalf("the sum that is printed is none: %v", err)
	}
	h := build(t, options{change: func(g *gateway.Config) {
		g.Trunks[0].Certificates = [][sha256.Size]byte{[sha256.Size]byte(sum)}
		write(t, names["GATEWAY_CERTIFICATE"], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.Listeners[2].Certificate.Certificate[0]}))
	}})
	names["GATEWAY_TLS"] = h.sip[sip.TLS]
	r.name(block, names)
	r.run("kamailio-tls.cfg")
	if out := r.run("kamailio -c"); !strings.Contains(out, "config file ok") {
		t.Errorf("the check says %s", out)
	}
	out := new(logBuffer)
	cmd := exec.Command("/usr/sbin/kamailio", "-f", filepath.Join(dir, "kamailio.cfg"), "-DD", "-E", "-m", "32", "-M", "8", "-Y", dir, "-P", filepath.Join(dir, "pid"))
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if t.Failed() {
			t.Logf("kamailio: %s", out)
		}
	})
	h.until("kamailio to listen", func() bool {
		c, err := net.Dial("tcp", overTLS)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if out := r.run("s_client"); !strings.Contains(out, "CN = kamailio") {
		t.Errorf("the certificate that is shown: %s", out)
	}
	if len(r.blocks) > 0 {
		t.Errorf("blocks of the page that nobody runs: %q", r.blocks)
	}
	h.sip = map[sip.Network]string{sip.UDP: udp, sip.TLS: overTLS}

	secured := line{network: sip.TLS, codec: "PCMA/8000/1", rate: 8000, media: "srtp-mand"}
	for _, c := range []struct {
		line
		grade conclave.Grade
	}{{pcma, conclave.GradeOpen}, {secured, conclave.GradeHop}} {
		b := newPhone(t, c.line, callersVoice())
		code := h.code()
		b.dial(h, c.line, "door")
		quick(h, b, code)
		h.until("the phone to be in", func() bool { return h.chair.phone() != nil })
		if p := h.chair.phone(); p.Grade != c.grade {
			t.Errorf("over %s the grade is %v", c.network, p.Grade)
		}
		b.hears(prompt.English, prompt.Admitted)
		if c.grade == conclave.GradeOpen {
			b.hangUp() // by the caller
		} else {
			h.chair.Remove(h.chair.phone().Leg, "other") // by us
			b.hears(prompt.English, prompt.Removed)
			b.until("session closed")
		}
		h.until("the phone to be gone", func() bool { return h.chair.phone() == nil && h.gateway.Stats().Legs == 0 })
		b.close()
	}

	came := h.gateway.Stats().Came
	for _, media := range []string{"srtp-mand", "dtls_srtp"} {
		clear := line{network: sip.UDP, codec: "PCMA/8000/1", rate: 8000, media: media}
		b := newPhone(t, clear, callersVoice())
		b.dial(h, clear, "door")
		b.until("488 Keys Over A Clear Way")
		b.close()
	}
	invite := func(source, body string) net.Conn {
		conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(source)}}).Dial("udp", udp)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "INVITE sip:door@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKk%d\r\nFrom: <sip:x@%s>;tag=1\r\nTo: <sip:door@%s>\r\nCall-ID: %d\r\nCSeq: 1 INVITE\r\nContact: <sip:x@%s>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
			udp, conn.LocalAddr(), len(body), source, udp, len(body), conn.LocalAddr(), len(body), body)
		return conn
	}
	head := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
	for _, body := range []string{
		"m=audio 4000 RTP/AVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw\r\n",
		"m=audio 4000 RTP/AVP 8\r\nA=FINGERPRINT:sha-256 00\r\n",
		"m=audio 4000 UDP/TLS/RTP/SAVPF 8\r\n", "m=audio 4000 RTP/AVP 8\r\nm=audio 4002 RTP/SAVP 8\r\n", "m=image 4000 udptl t38\r\n",
	} {
		conn := invite("127.0.0.3", head+body)
		b := make([]byte, 2000)
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if n, err := conn.Read(b); err != nil || !strings.HasPrefix(string(b[:n]), "SIP/2.0 488 Keys") {
			t.Errorf("%q: %v, %.60q", body, err, b[:n])
		}
	}
	// A stranger asks first, one who may call after it: when that one is answered, that other was not.
	stranger := invite("127.0.0.66", head+"m=audio 4000 RTP/SAVP 8\r\na=x:stranger\r\n")
	known := invite("127.0.0.3", head+"m=audio 4000 RTP/SAVP 8\r\na=x:known one\r\n")
	b := make([]byte, 2000)
	_ = known.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := known.Read(b); err != nil {
		t.Errorf("one who may call: %v", err)
	}
	_ = stranger.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := stranger.Read(b); err == nil {
		t.Errorf("a stranger was answered: %.60q", b[:n])
	}
	if conn, err := (&tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}}, Config: &tls.Config{InsecureSkipVerify: true}}).Dial("tcp", overTLS); err == nil {
		defer conn.Close()
		fmt.Fprintf(conn, "INVITE sip:door@%s SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.66:5061;branch=z9hG4bKtls\r\nFrom: <sip:x@127.0.0.66>;tag=1\r\nTo: <sip:door@%s>\r\nCall-ID: tls\r\nCSeq: 1 INVITE\r\nContact: <sip:x@127.0.0.66>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", udp, udp)
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := conn.Read(b); err == nil {
			t.Errorf("a stranger over TLS was answered: %.60q", b[:n])
		}
	}
	if h.gateway.Stats().Came != came {
		t.Error("keys in the clear, or a stranger, reached the gateway")
	}
}
