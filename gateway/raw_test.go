package gateway_test

import (
	"crypto/sha256"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"conclave/gateway"
	"conclave/phone/sip"
	"conclave/phone/sip/siptest"
)

// Calls that are written out by hand: what no telephone can be made to do.

// offers of such a call.
const (
	offerHead   = "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
	clearOffer  = offerHead + "m=audio 6000 RTP/AVP 8\na=rtpmap:8 PCMA/8000\n"
	heldOffer   = clearOffer + "a=sendonly\n"
	sealedOffer = offerHead + "m=audio 6000 RTP/SAVP 8\na=rtpmap:8 PCMA/8000\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\n"
	// dtlsOffer is as strong, but another way of keying than the call's.
	dtlsOffer = offerHead + "m=audio 6000 UDP/TLS/RTP/SAVP 8\na=rtpmap:8 PCMA/8000\na=setup:actpass\na=fingerprint:sha-256 " +
		"00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\n"
)

func (h *house) peer(network sip.Network, mine *tls.Certificate) *siptest.Peer {
	h.t.Helper()
	var conn net.Conn
	var err error
	if network == sip.TLS {
		conn, err = tls.Dial("tcp", h.sip[network], &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*mine}})
	} else {
		conn, err = net.Dial(string(network), h.sip[network])
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return siptest.New(h.t, conn)
}

// A call over TLS with SRTP stays what it is: offers within it that would weaken it, or key it otherwise, get 488, and it goes on.
func TestAnOfferThatWouldWeakenACallIsRefused(t *testing.T) {
	t.Parallel()
	mine := newCertificate(t)
	h := build(t, options{change: func(g *gateway.Config) {
		g.Trunks[0].Certificates = [][sha256.Size]byte{sha256.Sum256(mine.Certificate[0])}
	}})
	_ = h.code()
	p := h.peer(sip.TLS, mine)
	tag := p.Begin("weaker", "TLS", "", sealedOffer)
	h.until("the call to be taken", func() bool { return h.moved("language") == 1 })
	if !strings.Contains(h.log.String(), `"line":"hop"`) {
		t.Fatal("the call is no hop")
	}
	seq := 1
	for _, c := range []struct{ method, offer, want string }{
		{"INVITE", clearOffer, "488"}, {"UPDATE", clearOffer, "488"}, {"INVITE", dtlsOffer, "488"}, {"INVITE", sealedOffer, "200"},
		{"UPDATE", sealedOffer + "a=sendonly\n", "200"}, {"UPDATE", strings.Replace(sealedOffer, "_80", "_32", 1), "488"}, {"INVITE", offerHead + "m=audio 0 RTP/SAVP 8\n", "488"},
	} {
		seq++
		p.Send(p.Ask(c.method, seq, "weaker", tag, "TLS", "", c.offer))
		m := p.Read()
		for strings.HasPrefix(m, "SIP/2.0 1") {
			m = p.Read()
		}
		if !strings.HasPrefix(m, "SIP/2.0 "+c.want) {
			t.Errorf("%s with %.60q: %.40q, want %s", c.method, c.offer[len(offerHead):], m, c.want)
		}
		if c.method == "INVITE" {
			ack := p.Ask("ACK", seq, "weaker", tag, "TLS", "", "")
			if c.want != "200" { // of the same transaction
				ack = strings.Replace(ack, "ACK;rport", "INVITE;rport", 1)
			}
			p.Send(ack)
		}
		if n := h.gateway.Stats().Legs; n != 1 {
			t.Fatalf("%d calls live after it", n)
		}
	}
	p.Send(p.Ask("BYE", seq+1, "weaker", tag, "TLS", "", ""))
	h.until("the call to end", func() bool { return h.gateway.Stats().Legs == 0 })
}

func TestWhatEndsACallAtAnyTimeLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	h := build(t, options{change: func(g *gateway.Config) {
		g.Limits = sip.DefaultLimits()
		g.Limits.AckLimit = 3 * time.Second
		// Behind a NAT: its outer addresses stand in descriptions and in Contact.
		g.External = netip.MustParseAddr("203.0.113.9")
		g.Listeners[0].External = "203.0.113.8:5070"
	}})
	_ = h.code()
	p := h.peer(sip.UDP, nil)
	none := func(why string) {
		t.Helper()
		h.until("nothing to be left of a call that "+why, func() bool {
			s := h.gateway.Stats()
			return s.Legs == 0 && s.SIP.Living == 0
		})
	}
	// Taken, held, asked to go elsewhere, and hung up.
	p.Send(p.Ask("INVITE", 1, "whole", "", "UDP", "", clearOffer))
	taken := p.Until("SIP/2.0 200")
	if !strings.Contains(taken, "\r\nc=IN IP4 203.0.113.9\r\n") || !strings.Contains(siptest.Header(taken, "Contact"), "@203.0.113.8:5070") {
		t.Errorf("behind a NAT: %q", taken)
	}
	tag := siptest.Tag(taken)
	p.Send(p.Ask("ACK", 1, "whole", tag, "UDP", "", ""))
	for i, c := range []struct{ method, head, offer, want string }{
		{"UPDATE", "", heldOffer, "200"}, {"UPDATE", "", clearOffer, "200"}, {"REFER", "Refer-To: <sip:elsewhere@192.0.2.1>\n", "", "405"}, {"INFO", "", "", "405"}, {"BYE", "", "", "200"},
	} {
		p.Send(p.Ask(c.method, 2+i, "whole", tag, "UDP", c.head, c.offer))
		if m := p.Until("SIP/2.0 "); !strings.HasPrefix(m, "SIP/2.0 "+c.want) {
			t.Errorf("%s: %.40q", c.method, m)
		}
	}
	none("was hung up")
	// Never acknowledged.
	p.Send(p.Ask("INVITE", 1, "unacked", "", "UDP", "", clearOffer))
	p.Until("SIP/2.0 200")
	bye := p.Until("BYE")
	p.Send(siptest.Reply(bye, "200 OK", "", ""))
	none("was never acknowledged")
	if h.leaves() != 1 {
		t.Error("somebody came in")
	}
}

// A refusal is spoken before the call is answered; who hangs up in the middle of it is done with at once.
func TestACallMayBeTakenBackWhileItsRefusalIsSpoken(t *testing.T) {
	t.Parallel()
	h := build(t, options{level: 2}) // no phone is let in
	p := h.peer(sip.UDP, nil)
	p.Send(p.Ask("INVITE", 1, "cancelled", "", "UDP", "", clearOffer))
	if early := p.Until("SIP/2.0 183"); !strings.Contains(early, "\r\nm=audio ") {
		t.Errorf("early media without a description: %q", early)
	}
	h.until("the refusal to be spoken", func() bool { return h.moved("refused_early") == 1 })
	p.Send(strings.Replace(p.Ask("CANCEL", 1, "cancelled", "", "UDP", "", ""), "CANCEL;rport", "INVITE;rport", 1))
	p.Until("SIP/2.0 200")
	ended := p.Until("SIP/2.0 487")
	p.Send(strings.Replace(p.Ask("ACK", 1, "cancelled", siptest.Tag(ended), "UDP", "", ""), "ACK;rport", "INVITE;rport", 1))
	h.until("nothing to be left of it", func() bool { s := h.gateway.Stats(); return s.Legs == 0 && s.SIP.Living == 0 })
}
