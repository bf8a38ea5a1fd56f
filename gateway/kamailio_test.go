package gateway_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/gateway"
	"conclave/phone/prompt"
	"conclave/phone/sip"
)

// The configuration of docs/phone is run as it stands, its names in capitals filled in: a call of a telephone reaches the gateway
// through Kamailio, in the clear and over TLS, and keys in the clear get no further.
func TestCallsThroughKamailio(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/sbin/kamailio"); err != nil {
		t.Skip("needs kamailio and kamailio-tls-modules: scripts/need-test installs them")
	}
	ours := newCertificate(t)
	var gatewayCertificate []byte
	h := build(t, options{change: func(g *gateway.Config) {
		g.Trunks[0].Certificates = append(g.Trunks[0].Certificates, sha256.Sum256(ours.Certificate[0]))
		gatewayCertificate = g.Listeners[2].Certificate.Certificate[0]
	}})
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(ours.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "certificate.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ours.Certificate[0]}))
	write(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	write(t, filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: gatewayCertificate}))
	port := freePort(t)
	udp, tls := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", port+1)
	names := strings.NewReplacer("KAMAILIO_UDP", udp, "KAMAILIO_TLS", tls, "GATEWAY_TLS", h.sip[sip.TLS],
		"TLS_CFG", filepath.Join(dir, "tls.cfg"), "KAMAILIO_CERTIFICATE", filepath.Join(dir, "certificate.pem"), "KAMAILIO_KEY", filepath.Join(dir, "key.pem"),
		"GATEWAY_CA", filepath.Join(dir, "ca.pem"))
	for from, to := range map[string]string{"kamailio.cfg": "kamailio.cfg", "kamailio-tls.cfg": "tls.cfg"} {
		b, err := os.ReadFile(filepath.Join("../docs/phone", from))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, to), []byte(names.Replace(string(b))))
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
		c, err := net.Dial("tcp", tls)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	h.sip = map[sip.Network]string{sip.UDP: udp, sip.TLS: tls}

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

	clear := line{network: sip.UDP, codec: "PCMA/8000/1", rate: 8000, media: "srtp-mand"}
	came := h.gateway.Stats().Came
	b := newPhone(t, clear, callersVoice())
	b.dial(h, clear, "door")
	b.until("488")
	time.Sleep(200 * time.Millisecond)
	if h.gateway.Stats().Came != came {
		t.Error("keys in the clear reached the gateway")
	}
}
