package gateway_test

import (
	"context"
	"fmt"
	"math/rand"
	randv2 "math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/gateway"
	"conclave/phone/media/mediatest"
	"conclave/phone/prompt"
	"conclave/phone/sip"
	"conclave/phone/sip/siptest"
)

// Who attacks, each from an address of a trunk of its own; the telephones are at 127.0.0.1.
var (
	flooder  = netip.MustParseAddr("127.0.0.3")
	guesser  = netip.MustParseAddr("127.0.0.4")
	babblers = []netip.Addr{netip.MustParseAddr("127.0.1.1"), netip.MustParseAddr("127.0.1.2"), netip.MustParseAddr("127.0.1.3"), netip.MustParseAddr("127.0.1.4")}
	stranger = "127.0.0.66" // of no trunk
)

const (
	// mutatedMessages and mutatedPackets are sent in all; flood and intrusions are what an INVITE flood counts, and packets of an intruder.
	mutatedMessages = 20_000
	mutatedPackets  = 20_000
	flood           = 500
	intrusions      = 400
)

// short is the loudest two seconds of a voice: said again and again it is found again and again.
func short(voice []int16) []int16 {
	const two = 2 * 48000
	at := loudest(voice, two)
	return voice[at : at+two]
}

// often says how much of what is said again and again was heard each time: of each stretch of what was heard that must hold it all, the worst,
// by pieces of 200 ms (see aligned), since a buffer that grows or shrinks leaves out or doubles 20 ms now and then. All is at 8 kHz.
func often(said, heard []int16) (worst float64, times int) {
	worst = 1
	for n := len(said); len(heard) >= 2*n; heard = heard[n:] {
		worst = min(worst, aligned(said, heard[:2*n]))
		times++
	}
	return worst, times
}

// besieged is a meeting with two telephones in it, whose lines are plain and SRTP, and what each heard since it was last asked.
type besieged struct {
	*house
	plain, sealed *baresip
	leaf          map[conclave.PersonID]uint32 // of Bert, who speaks on the plain line, and of Carla, who is silent
	read          map[*baresip]int
}

// undisturbed fails unless all heard each other undisturbed since it was called last: the room Bert, whatever was sent to his port; nothing of Carla,
// who says nothing; both telephones the chair.
func (b *besieged) undisturbed(when string) {
	b.t.Helper()
	b.chair.mu.Lock()
	of := func(p conclave.PersonID) []int16 { return downsample(b.chair.heard[b.leaf[p]], 8000) }
	bert, carla := of("bert"), of("carla")
	clear(b.chair.heard)
	b.chair.mu.Unlock()
	since := func(p *baresip) []int16 {
		all := p.heard()
		defer func() { b.read[p] = len(all) }()
		return all[b.read[p]:]
	}
	plain, sealed := since(b.plain), since(b.sealed)
	chair := downsample(short(chairsVoice()), 8000)
	room, n := often(downsample(short(callersVoice()), 8000), bert)
	one, _ := often(chair, plain)
	other, _ := often(chair, sealed)
	b.t.Logf("%s: the room heard the caller %.2f, at the worst of %d times; who is silent at %d; the telephones heard the chair %.2f and %.2f", when, room, n, peak(carla), one, other)
	if never, _ := often(chair, bert); n < 2 || never > 0.65 {
		b.t.Fatalf("%s: %d times, and what was never said %.2f: nothing is shown", when, n, never)
	}
	// Measured in attacks: 0.93, 0.86, 0.73; the other hears Bert beside the chair.
	if room < 0.75 || one < 0.7 || other < 0.6 {
		b.t.Errorf("%s: somebody was disturbed", when)
	}
	if top := peak(carla); top > 2000 {
		b.t.Errorf("%s: something was heard from who is silent: %d", when, top)
	}
}

// While two telephones and the chair talk, all that can be done from outside is done at once: calls that are none, a flood of calls, code
// guessing, packets that are none, a clear leg's port taken over, and clear packets in an SRTP leg. The meeting goes on undisturbed, nobody
// else ever has a leaf, nothing panics, and nothing is left of it.
func TestAMeetingIsUndisturbedByAllAttacksAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	for _, program := range []string{"baresip", "sipp"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: scripts/need-test installs it", program)
		}
	}
	sealed := line{network: sip.TLS, codec: "PCMA/8000/1", rate: 8000, media: "srtp-mand", from: newCertificate(t)}
	h := build(t, options{voice: short(chairsVoice()), people: []conclave.PersonID{"carla"}, change: func(g *gateway.Config) {
		clear := g.Trunks[0]
		withCertificate(sealed)(g)
		g.Trunks[0].Name = "pbx-tls"
		g.Trunks = append(g.Trunks, clear, sip.Trunk{Name: "flooder", Networks: []netip.Prefix{netip.PrefixFrom(flooder, 32)}},
			sip.Trunk{Name: "guesser", Networks: []netip.Prefix{netip.PrefixFrom(guesser, 32)}},
			sip.Trunk{Name: "babblers", Networks: []netip.Prefix{netip.PrefixFrom(babblers[0], 24)}})
		g.Reminder = time.Hour
		g.EarlyMedia = false // whoever is told that all lines are in use is answered first, and a flood hangs up sooner
	}})
	b := &besieged{house: h, plain: newPhone(t, pcma, short(callersVoice())), sealed: newPhone(t, sealed, nil), leaf: map[conclave.PersonID]uint32{}, read: map[*baresip]int{}}
	berts, carlas := h.codeFor("bert"), h.codeFor("carla")
	b.plain.dial(h, pcma, "door")
	b.sealed.dial(h, sealed, "door")
	quick(h, b.plain, berts)
	h.until("Bert to be in", func() bool { return h.gateway.Stats().In == 1 })
	quick(h, b.sealed, carlas)
	h.until("Carla to be in", func() bool { return h.gateway.Stats().In == 2 && h.phones() == 2 })
	h.chair.mu.Lock()
	for _, m := range h.chair.roster.Members {
		b.leaf[conclave.PersonID(m.Person)] = m.Leaf
	}
	h.chair.mu.Unlock()
	b.plain.hears(prompt.English, prompt.Admitted)
	time.Sleep(prompts().Length(prompt.English, prompt.JoinedHop) + prompts().Length(prompt.English, prompt.Whose) + time.Second) // until the announcements are over
	b.quiet()
	time.Sleep(6 * time.Second)
	b.undisturbed("before")
	goroutines := runtime.NumGoroutine()

	before := h.gateway.Stats()
	t.Run("attacks", b.attack) // whoever attacked is gone after it
	b.undisturbed("during")

	s := h.gateway.Stats()
	t.Logf("%d SIP requests reached a handler, %d of strangers did not; %d calls came, %d were refused; %d packets of strangers, %d without a key", s.SIP.Requests-before.SIP.Requests,
		s.SIP.Strange-before.SIP.Strange, s.SIP.Calls-before.SIP.Calls, s.SIP.Refused-before.SIP.Refused, s.Strays, s.Forged)
	if s.SIP.Panics != 0 {
		t.Errorf("%d handlers panicked", s.SIP.Panics)
	}
	if n := s.SIP.Calls + s.SIP.Refused - before.SIP.Calls - before.SIP.Refused; n < flood {
		t.Errorf("only %d calls came: there was no flood", n)
	}
	if s.SIP.Requests-before.SIP.Requests < mutatedMessages/20 || s.Strays < intrusions || s.Forged < intrusions {
		t.Errorf("too little came through: nothing is shown: %+v", s)
	}
	if !strings.Contains(h.Log(), "phone codes are being guessed") || s.WrongCodes < 9 {
		t.Errorf("nobody was alerted of %d wrong codes", s.WrongCodes)
	}
	time.Sleep(6 * time.Second)
	b.undisturbed("after")
	h.until("nothing to be left but the two legs", func() bool {
		s := h.gateway.Stats()
		return s.Legs == 2 && s.In == 2 && s.SIP.Living == 2
	})
	if h.phones() != 2 || h.leaves() != 3 || s.Entered != 2 {
		t.Errorf("%d telephones are in, %d leaves there ever were, want 2 and 3", h.phones(), h.leaves())
	}
	h.until("the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	t.Logf("%d goroutines before, %d after", goroutines, runtime.NumGoroutine())
	h.chair.mu.Lock()
	defer h.chair.mu.Unlock()
	if len(h.chair.alarms) > 0 {
		t.Errorf("alarms: %v", h.chair.alarms)
	}
}

// quiet forgets what was heard so far.
func (b *besieged) quiet() {
	b.chair.forget()
	for _, p := range []*baresip{b.plain, b.sealed} {
		b.read[p] = len(p.heard())
	}
}

// attack does all at once, and returns when the last is done.
func (b *besieged) attack(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	pbx := exchange(t, guesser, b.sip[sip.UDP])
	callers := make([]*caller, 4) // three who guess, and one whose own packets are none
	for i := range callers {
		callers[i] = ring(t, pbx, nil)
	}
	ports := b.gateway.Ports()
	var all sync.WaitGroup
	for _, from := range babblers {
		all.Go(func() { b.babble(from, mutatedMessages/len(babblers)) })
	}
	all.Go(func() { // 503 is no answer that it expects
		out, _ := exec.CommandContext(ctx, "sipp", "-sn", "uac", "-s", "door", "-r", "100", "-m", fmt.Sprint(flood), "-i", flooder.String(), "-nostdin", "-timeout", "30s", b.sip[sip.UDP]).CombinedOutput()
		if !strings.Contains(string(out), "Call rate") && !strings.Contains(string(out), "Call-rate") {
			t.Errorf("sipp: %.2000s", out)
		}
	})
	wrong := []byte(b.codeFor("bert"))
	wrong[11] = '0' + (wrong[11]-'0'+1)%10
	for _, c := range callers[:3] {
		all.Go(func() {
			c.press("2")
			for range 3 {
				c.press("*" + string(wrong) + "#")
				time.Sleep(time.Second)
			}
		})
	}
	for _, port := range []uint16{ports["bert"], ports["carla"]} {
		for _, from := range []string{"127.0.0.1", stranger} {
			conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, port))
			all.Go(func() { b.intrude(conn, to) })
		}
	}
	all.Go(func() { b.scatter(callers[3].conn, callers[3].to, mutatedPackets-4*mutatedPackets/8) })
	all.Wait()
}

// babble sends mutated messages as fast as a trunk's are looked at.
func (b *besieged) babble(from netip.Addr, messages int) {
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: from.AsSlice()}, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(b.sip[sip.UDP])))
	if err != nil {
		b.t.Error(err)
		return
	}
	defer conn.Close()
	r := rand.New(rand.NewSource(int64(from.As4()[3])))
	for i := range messages {
		conn.Write(siptest.Mutated(r, conn.LocalAddr().String()))
		if i%40 == 39 {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// intrude sends a loud voice into a leg that is another's, then packets that are none, and fails where anything of the call comes back.
func (b *besieged) intrude(conn *net.UDPConn, to *net.UDPAddr) {
	for i := range intrusions {
		conn.WriteToUDP(mediatest.Loud(b.t, i, uint32(i%3)), to)
		time.Sleep(4 * time.Millisecond)
	}
	b.scatter(conn, to, mutatedPackets/8)
	conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, _, err := conn.ReadFrom(make([]byte, 2000)); err == nil {
		b.t.Errorf("%d octets of a call came to an intruder", n)
	}
}

// scatter sends mutated packets of sound and digits.
func (b *besieged) scatter(conn *net.UDPConn, to *net.UDPAddr, packets int) {
	random := randv2.New(randv2.NewPCG(1, uint64(packets)))
	payload := slices.Repeat([]byte{0x11, 0x93, 0xd5, 0x55}, 40)
	for i := range packets {
		conn.WriteToUDP(mediatest.Mutate(random, i, mediatest.Packet(b.t, []uint8{0, 8, 101, 13}[i%4], uint16(i), uint32(160*i), 7, payload)), to)
		if i%10 == 9 {
			time.Sleep(10 * time.Millisecond)
		}
	}
}
