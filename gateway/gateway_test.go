package gateway_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/gateway"
	"conclave/phone/prompt"
	"conclave/phone/sip"
	"conclave/signal"
)

// enter takes a telephone through language, code and consent.
func enter(h *house, b *baresip, code string, warning prompt.Name) {
	b.t.Helper()
	b.hears(prompt.German, prompt.Choose)
	b.press("2")
	b.hears(prompt.English, prompt.Code)
	h.once("consent", func() {
		b.press(code)
		b.hears(prompt.English, warning)
		b.press("1") // before the warning is out: no consent
	})
	b.hears(prompt.English, prompt.Consent)
	if h.chair.phone() != nil || h.moved("door") > 0 {
		b.t.Error("a key before the warning's end was taken as consent")
	}
	b.press("1")
}

func TestACallerIsWarnedAskedAnnouncedAndHeard(t *testing.T) {
	t.Parallel()
	h := build(t, options{change: func(g *gateway.Config) { g.Prompts = builtIn() }})
	b := newPhone(t, pcma, callersVoice())
	code := h.code()
	b.dial(h, pcma, "door")
	enter(h, b, code, prompt.Warning)
	h.until("the phone to be in", func() bool { return h.chair.phone() != nil })
	p := h.chair.phone()
	if p.Grade != conclave.GradeOpen || p.Name != "Bert Maier" || !p.Gateway || p.Kind != "phone" {
		t.Errorf("the roster says %+v", p)
	}
	b.hears(prompt.English, prompt.Admitted)
	for what, said := range map[string][]int16{"the announcement": sentence(prompt.English, prompt.Joined), "the caller": callersVoice()} {
		best := 0.0
		for deadline := time.Now().Add(40 * time.Second); best < 0.7 && time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
			best = aligned(downsample(said, 8000), downsample(late(h.chair.all(), 48000), 8000))
		}
		t.Logf("the room heard %s: correlation %.3f", what, best)
		if best < 0.7 {
			t.Errorf("the room did not hear %s", what)
		}
	}
	if never := aligned(downsample(sentence(prompt.English, prompt.Removed), 8000), downsample(late(h.chair.all(), 48000), 8000)); never > 0.6 {
		t.Errorf("the room heard what nobody said: correlation %.3f", never)
	}
	best := 0.0
	for deadline := time.Now().Add(40 * time.Second); best < 0.7 && time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		best = like(downsample(chairsVoice(), 8000), late(b.heard(), 8000))
	}
	t.Logf("the caller heard the chair: correlation %.3f", best)
	if best < 0.7 {
		t.Error("the caller did not hear the room")
	}
	b.hangUp()
	h.until("the phone to be gone", func() bool { return h.chair.phone() == nil && h.gateway.Stats().Legs == 0 })
	h.chair.mu.Lock()
	defer h.chair.mu.Unlock()
	if len(h.chair.alarms) > 0 {
		t.Errorf("alarms: %v", h.chair.alarms)
	}
	if h.records(audit.KindCall, "done") != 1 {
		t.Error("no record of the call's end")
	}
}

// quick takes a telephone in without waiting for the sentences' ends.
func quick(h *house, b *baresip, code string) {
	b.t.Helper()
	b.hears(prompt.German, prompt.Choose)
	h.once("consent", func() { b.press("2*" + code + "#") })
	b.press("1")
}

// leaves are the devices that ever had a leaf in the group, by the records.
func (h *house) leaves() int { return h.records(audit.KindEnter, "") }

// silentRoom fails if a recording holds anything of the room.
func silentRoom(t *testing.T, heard []int16) {
	t.Helper()
	if len(heard) < 16000 {
		t.Fatalf("only %d samples were recorded: nothing is shown", len(heard))
	}
	if c := like(downsample(chairsVoice(), 8000), heard); c > 0.5 {
		t.Errorf("the room was heard: correlation %.3f", c)
	} else {
		t.Logf("the room was not heard: correlation %.3f in %d s", c, len(heard)/8000)
	}
}

func TestTheLineOfACallIsWhatItsSignallingAndMediaAre(t *testing.T) {
	t.Parallel() // so that nobody waits for the last of them
	for name, c := range map[string]struct {
		line
		grade   conclave.Grade
		warning prompt.Name
	}{
		"UDP, PCMU, in the clear":          {line{network: sip.UDP, codec: "PCMU/8000/1", rate: 8000}, conclave.GradeOpen, prompt.Warning},
		"TCP, G.722, in the clear":         {line{network: sip.TCP, codec: "G722/16000/1", rate: 16000}, conclave.GradeOpen, prompt.Warning},
		"UDP with keys in the clear":       {line{network: sip.UDP, codec: "PCMA/8000/1", rate: 8000, media: "srtp-mand"}, conclave.GradeOpen, prompt.Warning},
		"TLS, SDES, Opus":                  {line{network: sip.TLS, codec: "opus/48000/1", rate: 48000, media: "srtp-mand"}, conclave.GradeHop, prompt.Hop},
		"TLS, DTLS-SRTP, G.722":            {line{network: sip.TLS, codec: "G722/16000/1", rate: 16000, media: "dtls_srtp"}, conclave.GradeHop, prompt.Hop},
		"TLS with media in the clear":      {line{network: sip.TLS, codec: "PCMA/8000/1", rate: 8000}, conclave.GradeOpen, prompt.Warning},
		"TLS, SDES, but anybody's address": {line{network: sip.TLS, codec: "PCMA/8000/1", rate: 8000, media: "srtp-mand"}, conclave.GradeOpen, prompt.Warning},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := c.line
			l.from = newCertificate(t)
			h := build(t, options{change: func(g *gateway.Config) {
				if l.network == sip.TLS && !strings.Contains(name, "anybody") {
					g.Trunks[0].Certificates = [][sha256.Size]byte{sha256.Sum256(l.from.Certificate[0])}
				}
			}})
			b := newPhone(t, l, callersVoice())
			code := h.code()
			b.dial(h, l, "door")
			b.hears(prompt.German, prompt.Choose)
			h.once("consent", func() {
				b.press("2" + code)
				b.hears(prompt.English, c.warning)
			})
			b.press("1")
			h.until("the phone to be in", func() bool { return h.chair.phone() != nil })
			if p := h.chair.phone(); p.Grade != c.grade {
				t.Errorf("the grade is %v", p.Grade)
			}
			best := 0.0
			for deadline := time.Now().Add(60 * time.Second); best < 0.6 && time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
				best = like(downsample(callersVoice(), 8000), downsample(late(h.chair.all(), 48000), 8000))
			}
			t.Logf("the room heard the caller: correlation %.3f", best)
			if best < 0.6 {
				t.Error("the room did not hear the caller")
			}
		})
	}
}

func TestARefusedCallerHearsWhyAndNothingOfTheRoom(t *testing.T) {
	t.Parallel()
	for i, l := range prompt.Languages {
		t.Run(string(l), func(t *testing.T) {
			t.Parallel()
			// A hop is let into INTERNAL, so the code is asked for; Bert's number is known, so a call-back is offered. His line is open.
			h := build(t, options{level: 1, phone: "+493055555"})
			b := newPhone(t, pcma, callersVoice())
			code := h.code()
			b.dial(h, pcma, "door")
			b.hears(prompt.German, prompt.Choose)
			b.press(fmt.Sprint(i+1) + code)
			b.hears(l, prompt.Refused)
			b.hears(l, prompt.RingBack)
			h.until("the call to end", func() bool { return h.gateway.Stats().Legs == 0 })
			silentRoom(t, b.heard())
			// No key: the group never had a leaf but the chair's.
			if n := h.leaves(); n != 1 || h.gateway.Stats().Entered != 0 {
				t.Errorf("%d leaves, %+v", n, h.gateway.Stats())
			}
			h.until("the chair to be told", func() bool { return h.chair.told("call_refused_room") })
			bert := h.come("bert", nil)
			h.until("Bert to be told", func() bool { return bert.told("call_refused") })
			if h.records(audit.KindCall, "refuse") != 1 {
				t.Error("no record of the refusal")
			}
		})
	}
}

func TestARefusalIsSpokenBeforeTheCallIsAnswered(t *testing.T) {
	t.Parallel()
	for number, l := range map[string]prompt.Language{"4930901": prompt.German, "4930902": prompt.English, "4930903": prompt.French} {
		t.Run(string(l), func(t *testing.T) {
			t.Parallel()
			// RESTRICTED admits no phone at all: whoever calls is told at once.
			h := build(t, options{level: 2, change: func(g *gateway.Config) {
				g.Called = map[string]prompt.Language{"4930901": prompt.German, "4930902": prompt.English, "4930903": prompt.French}
			}})
			_ = h.code()
			b := newPhone(t, pcma, callersVoice())
			b.dial(h, pcma, number)
			b.hears(l, prompt.Unknown)
			b.until("403 Forbidden")
			silentRoom(t, b.heard())
			if out := b.out.String(); strings.Contains(out, "Call established") {
				t.Error("the call was answered")
			}
			if h.leaves() != 1 {
				t.Error("a leaf")
			}
		})
	}
}

func TestThreeWrongCodesEndTheCallAndGuessersAreBraked(t *testing.T) {
	t.Parallel()
	h := build(t, options{})
	right := h.code()
	wrong := []byte(right)
	wrong[11] = '0' + (wrong[11]-'0'+1)%10
	b := newPhone(t, pcma, callersVoice())
	for range 3 { // nine wrong codes: what one caller may in an hour
		h.once("language", func() { b.dial(h, pcma, "door") })
		h.once("code", func() { b.press("2") })
		for try := range 3 {
			count := h.gateway.Stats().WrongCodes
			state := "code"
			if try == 2 {
				state = "refused"
			}
			h.once(state, func() { b.press("*" + string(wrong) + "#") })
			if n := h.gateway.Stats().WrongCodes; n != count+1 {
				t.Fatalf("%d wrong codes were counted, want %d", n, count+1)
			}
		}
		b.hears(prompt.English, prompt.Locked)
		h.until("the call to end", func() bool { return h.gateway.Stats().Legs == 0 })
	}
	// Now not even the right one is looked at.
	refused := h.gateway.Stats().Refused
	b.dial(h, pcma, "door")
	h.until("the call to be refused", func() bool { return h.gateway.Stats().Refused > refused })
	if !strings.Contains(h.Log(), "phone codes are being guessed") {
		t.Error("nobody was alerted")
	}
	if n := h.gateway.Stats().WrongCodes; n != 9 {
		t.Errorf("%d wrong codes were counted", n)
	}
	if h.leaves() != 1 {
		t.Error("a leaf")
	}
	for _, log := range []string{h.Log(), h.log.String()} {
		if strings.Contains(log, right) || strings.Contains(log, string(wrong)) || strings.Contains(log, "493011122") {
			t.Error("a code or a number stands in a log")
		}
	}
}

func TestTheChairDecidesAndNothingPassesBefore(t *testing.T) {
	t.Parallel()
	h := build(t, options{})
	h.chair.mu.Lock()
	h.chair.letIn = false
	h.chair.mu.Unlock()
	b := newPhone(t, pcma, callersVoice())
	code := h.code()
	b.dial(h, pcma, "door")
	quick(h, b, code)
	b.hears(prompt.English, prompt.Waiting)
	time.Sleep(2 * time.Second)
	if n := len(h.chair.all()); n != 0 {
		t.Errorf("the room heard %d samples of who waits", n)
	}
	silentRoom(t, b.heard())
	if h.leaves() != 1 {
		t.Error("who waits has a leaf")
	}
	h.chair.mu.Lock()
	waiting := h.chair.roster.Waiting
	h.chair.mu.Unlock()
	if len(waiting) != 1 || waiting[0].Kind != "phone" || waiting[0].Grade != conclave.GradeOpen {
		t.Fatalf("at the door: %+v", waiting)
	}
	h.chair.Decide(waiting[0].Leg, false)
	b.hears(prompt.English, prompt.Declined)
	h.until("the call to end", func() bool { return h.gateway.Stats().Legs == 0 })
	silentRoom(t, b.heard())
}

func TestWhoDoesNotConsentIsNotIn(t *testing.T) {
	t.Parallel()
	h := build(t, options{})
	b := newPhone(t, pcma, callersVoice())
	code := h.code()
	b.dial(h, pcma, "door")
	b.hears(prompt.German, prompt.Choose)
	b.press("2" + code)
	b.hears(prompt.English, prompt.Warning)
	b.press("2079")
	b.hangUp()
	h.until("the call to end", func() bool { return h.gateway.Stats().Legs == 0 })
	if h.leaves() != 1 || len(h.chair.all()) != 0 {
		t.Error("somebody came in")
	}
	silentRoom(t, b.heard())
	if !strings.Contains(h.log.String(), `"outcome":"no_consent"`) {
		t.Error("the log does not say so")
	}
}

func TestALegIsPutOutWithASentence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(*house)
		want prompt.Name
	}{
		"removed by the chair": {func(h *house) { h.chair.Remove(h.chair.phone().Leg, "not_cleared") }, prompt.Removed},
		"the level is raised":  {func(h *house) { h.chair.Raise(2) }, prompt.Raised},
		"struck off":           {func(h *house) { h.admin("/people/bert/remove") }, prompt.Failed},
		"the meeting is over": {func(h *house) {
			h.admin("/meetings/" + h.meeting.Text() + "/end")
		}, prompt.Over},
		"the gateway stops": {func(h *house) { go h.stop() }, prompt.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, options{})
			b := newPhone(t, pcma, callersVoice())
			code := h.code()
			b.dial(h, pcma, "door")
			quick(h, b, code)
			h.until("the phone to be in", func() bool { return h.chair.phone() != nil })
			b.hears(prompt.English, prompt.Admitted)
			began := time.Now()
			c.act(h)
			if c.want != prompt.Over && c.want != prompt.Failed {
				h.until("the leaf to be gone", func() bool { return h.chair.phone() == nil })
				t.Logf("gone after %v", time.Since(began).Round(time.Millisecond))
			}
			b.hears(prompt.English, c.want)
			h.until("the call to end", func() bool { return h.gateway.Stats().Legs == 0 })
			if c.want == prompt.Raised {
				h.before(audit.KindRemoved, audit.KindLevelRaised, "done")
			}
		})
	}
}

// before fails unless the last record of one kind stands before one of another.
func (h *house) before(first, second audit.Kind, outcome string) {
	h.t.Helper()
	at := func(kind audit.Kind, outcome string) (n int) {
		for i, e := range h.Records() {
			if e.Record.Kind == kind && (outcome == "" || e.Record.Outcome == outcome) {
				n = i + 1
			}
		}
		return n
	}
	h.until("the level to be in force", func() bool { return at(second, outcome) > 0 })
	if a, b := at(first, ""), at(second, outcome); a == 0 || a > b {
		h.t.Errorf("%s is record %d, %s is record %d", first, a, second, b)
	}
}

func TestHoldStopsBothWaysAndLetsThemGoOn(t *testing.T) {
	t.Parallel()
	h := build(t, options{})
	b := newPhone(t, pcma, callersVoice())
	code := h.code()
	b.dial(h, pcma, "door")
	quick(h, b, code)
	h.until("the phone to be in", func() bool { return h.gateway.Stats().In == 1 })
	b.hears(prompt.English, prompt.Admitted)
	h.listens(h.chair, "the caller", callersVoice(), 0.6)
	fmt.Fprint(b.in, "/hold\n")
	h.until("the call to be held", func() bool { return h.gateway.Stats().In == 0 })
	if h.chair.phone() == nil {
		t.Error("a leg that is held lost its place")
	}
	time.Sleep(time.Second) // what was on its way is heard
	h.chair.forget()
	before := len(b.heard())
	time.Sleep(3 * time.Second)
	if c := like(downsample(callersVoice(), 8000), downsample(h.chair.all(), 8000)); c > 0.45 {
		t.Errorf("the room hears who holds it: correlation %.3f", c)
	}
	if held := b.heard()[before:]; len(held) >= 8000 {
		if c := like(downsample(chairsVoice(), 8000), held); c > 0.45 {
			t.Errorf("who holds the room hears it: correlation %.3f", c)
		}
	}
	fmt.Fprint(b.in, "/resume\n")
	h.until("the call to go on", func() bool { return h.gateway.Stats().In == 1 })
	h.chair.forget()
	h.listens(h.chair, "the caller after the hold", callersVoice(), 0.6)
	// (baresip's recorder writes nothing more after a hold: what the caller hears then is package media's test.)
}

func TestAPersonIsRungAtTheNumberInTheDirectoryAlone(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	l := pcma
	l.port = port
	h := build(t, options{phone: fmt.Sprintf("sip:493011122@127.0.0.1:%d", port), change: func(g *gateway.Config) {
		g.Trunks[0].Target, g.Trunks[0].TargetNetwork = fmt.Sprintf("127.0.0.1:%d", port), sip.UDP
		g.Trunks[0].Prefixes = []string{"@127.0.0.1"}
	}})
	b := newPhone(t, l, callersVoice())
	h.chair.Ring("bert")
	b.hears(prompt.English, prompt.CallBack)
	if h.leaves() != 1 {
		t.Error("who has not consented has a leaf")
	}
	h.once("consent", func() {
		b.press("1")
		b.hears(prompt.English, prompt.Warning)
	})
	b.press("1")
	h.until("Bert to be in", func() bool { return h.chair.phone() != nil })
	b.hears(prompt.English, prompt.Admitted)
	// Once a minute is enough.
	h.chair.Ring("bert")
	time.Sleep(time.Second)
	if n := h.gateway.Stats().Rings; n != 1 {
		t.Errorf("%d rings", n)
	}
	h.chair.Remove(h.chair.phone().Leg, "other")
	b.hears(prompt.English, prompt.Removed)
	h.until("the call to end", func() bool { return h.gateway.Stats().Legs == 0 })
	if h.records(audit.KindRing, "") != 1 {
		t.Error("no record of the ring")
	}
}

func TestACallBackOverTLSIsAHop(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	l := line{network: sip.TLS, codec: "PCMA/8000/1", rate: 8000, media: "srtp-mand", port: port, user: "+493011122", from: newCertificate(t)}
	h := build(t, options{level: 1, phone: "+493011122", change: overTLS(t, l)})
	b := newPhone(t, l, callersVoice())
	h.once("identify", func() { h.chair.Ring("bert") })
	h.once("consent", func() {
		b.press("1")
		b.hears(prompt.English, prompt.Hop)
	})
	b.press("1")
	h.until("Bert to be in", func() bool { return h.chair.phone() != nil })
	if p := h.chair.phone(); p.Grade != conclave.GradeHop {
		t.Errorf("the grade is %v", p.Grade)
	}
}

// A caller whose line is too weak presses 2: the call ends first, then the same telephone is rung, over TLS and with SRTP, and is let
// in as a hop.
func TestARefusedCallerIsRungBackOnABetterLine(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	l := line{network: sip.UDP, codec: "PCMA/8000/1", rate: 8000, media: "srtp", port: port, user: "+493011122", from: newCertificate(t)}
	h := build(t, options{level: 1, phone: "+493011122", change: overTLS(t, l)})
	b := newPhone(t, l, callersVoice())
	code := h.code()
	b.dial(h, l, "door")
	b.hears(prompt.German, prompt.Choose)
	h.once("refused", func() { b.press("2" + code) })
	b.press("2") // before the sentence is out
	b.hears(prompt.English, prompt.Ringing)
	h.until("the refused call to end", func() bool { return strings.Contains(h.log.String(), `"outcome":"refused"`) })
	h.until("the call-back to be taken", func() bool { return h.moved("identify") == 1 })
	if !strings.Contains(h.log.String(), `"line":"hop","outgoing":true`) {
		t.Error("the call-back is no hop")
	}
	h.once("warned", func() { b.press("1") })
	h.until("the question", func() bool { return h.moved("consent") == 1 })
	b.press("1")
	h.until("Bert to be in", func() bool { return h.chair.phone() != nil })
	if p := h.chair.phone(); p.Grade != conclave.GradeHop {
		t.Errorf("the grade is %v", p.Grade)
	}
	if n := h.records(audit.KindRing, ""); n != 1 {
		t.Errorf("%d records of a ring", n)
	}
}

// Where the meeting admits no open line, a telephone that speaks no SRTP, and a trunk that speaks no TLS, are not rung in the clear.
func TestWhoCannotBeRungWithSRTPIsNotRungInTheClear(t *testing.T) {
	t.Parallel()
	for name, network := range map[string]sip.Network{"a telephone without SRTP": sip.TLS, "a trunk without TLS": sip.UDP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := line{network: network, codec: "PCMA/8000/1", rate: 8000, port: freePort(t), user: "+493011122", from: newCertificate(t)}
			h := build(t, options{level: 1, phone: "+493011122", change: func(g *gateway.Config) {
				overTLS(t, l)(g)
				if network == sip.UDP {
					g.Trunks[0].Target, g.Trunks[0].TargetNetwork = fmt.Sprintf("127.0.0.1:%d", l.port), sip.UDP
				}
			}})
			b := newPhone(t, l, callersVoice())
			h.chair.Ring("bert")
			why := "ring_unanswered" // it rang, and was not taken as it had to be
			if network == sip.UDP {
				why = "ring_impossible"
			}
			h.until("the chair to be told", func() bool { return h.chair.told(why) })
			if s := h.gateway.Stats(); s.Rings != 1 || s.Legs != 0 || h.moved("identify") != 0 {
				t.Errorf("%+v", s)
			}
			if strings.Contains(b.out.String(), "Call established") {
				t.Error("the telephone was rung in the clear")
			}
		})
	}
}

// withCertificate has a gateway's trunk be known by a telephone's certificate.
func withCertificate(l line) func(*gateway.Config) {
	return func(g *gateway.Config) {
		g.Trunks[0].Certificates = [][sha256.Size]byte{sha256.Sum256(l.from.Certificate[0])}
	}
}

// overTLS has a gateway ring a telephone over TLS, and trust its certificate.
func overTLS(t *testing.T, l line) func(*gateway.Config) {
	t.Helper()
	certificate, err := x509.ParseCertificate(l.from.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return func(g *gateway.Config) {
		g.TrunkRoots = roots
		g.Trunks[0].Target, g.Trunks[0].TargetNetwork = fmt.Sprintf("127.0.0.1:%d", l.port+1), sip.TLS // baresip's TLS port
		g.Trunks[0].Prefixes, g.Trunks[0].Domain = []string{"+4930"}, "127.0.0.1"
	}
}

func TestNobodyIsRungWhereNoTrunkMay(t *testing.T) {
	t.Parallel()
	h := build(t, options{phone: "+18765551234", change: func(g *gateway.Config) {
		g.Trunks[0].Target, g.Trunks[0].TargetNetwork, g.Trunks[0].Prefixes = "127.0.0.1:9", sip.UDP, []string{"+4930"}
	}})
	h.chair.Ring("bert")
	h.until("the chair to be told", func() bool { return h.chair.told("ring_impossible") })
	if s := h.gateway.Stats(); s.Rings != 1 || s.SIP.Calls != 0 {
		t.Errorf("%+v", s)
	}
}

func TestACallEndsWithItsGateway(t *testing.T) {
	t.Parallel()
	h := build(t, options{})
	b := newPhone(t, pcma, callersVoice())
	code := h.code()
	b.dial(h, pcma, "door")
	quick(h, b, code)
	h.until("the phone to be in", func() bool { return h.chair.phone() != nil })
	// The organisation takes the gateway out of use: nothing of its word counts any more.
	var id conclave.DeviceID
	for _, e := range h.Records() {
		if e.Record.Kind == audit.KindGateway {
			id = e.Record.Device
		}
	}
	h.admin("/phone/gateways/" + id.Text() + "/revoke")
	h.until("the leaf to be gone", func() bool { return h.chair.phone() == nil })
	h.until("the call to end", func() bool { return h.gateway.Stats().Legs == 0 })
}

// freePort returns the first of ten ports that nobody else takes while the test runs, for programs that bind them later. They lie below
// those that the system gives to whoever asks for none in particular, are given once in this process, and are locked against other
// processes of these tests by a file.
func freePort(t *testing.T) int {
	t.Helper()
	for range 500 {
		port := 20000 + 10*int(portBlock.Add(1)-1)%4000
		lock, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("conclave-test-port-%d", port)), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !bindable(port) || !bindable(port+1) {
			lock.Close()
			continue
		}
		t.Cleanup(func() { lock.Close() })
		return port
	}
	t.Fatal("no free ports")
	return 0
}

var portBlock atomic.Int64

// bindable says whether both kinds of port are free now.
func bindable(port int) bool {
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, uint16(port))))
	if err != nil {
		return false
	}
	defer u.Close()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// A statement of a call is good for nothing once its gateway does not vouch for the call, nor is a gateway's own.
func TestAGatewaysStatementIsGoodForNoMeeting(t *testing.T) {
	t.Parallel()
	h := build(t, options{})
	ctx := context.Background()
	d := h.NewDevice()
	token, err := h.Server.Directory().IssueGatewayToken(ctx, "Second", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	statement, known, err := h.Server.Directory().EnrolGateway(ctx, token, d.Point, d.Sign(signal.GatewayEnrolContent(token.Text())), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	call := h.NewDevice()
	forged, err := h.Server.Directory().SignCall(ctx, "bert", call.Point, known.ID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, one := range map[string]struct {
		sign      func([]byte) []byte
		statement []byte
	}{"the gateway's": {d.Sign, statement}, "a call's that nobody vouches for": {call.Sign, forged}} {
		reasons := h.ask(one.statement, one.sign)
		if !slices.ContainsFunc(reasons, func(p conclave.Problem) bool {
			return strings.HasPrefix(p.Code, "statement") || p.Code == "not_invited" || p.Code == "device_not_enrolled"
		}) {
			t.Errorf("%s: %+v", name, reasons)
		}
	}
	if _, _, err := h.Server.Directory().EnrolGateway(ctx, token, d.Point, d.Sign(signal.GatewayEnrolContent(token.Text())), time.Now()); err == nil {
		t.Error("a link served twice")
	}
}
