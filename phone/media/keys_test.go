package media

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"conclave/phone/codec"
	"conclave/phone/dsp"
	"conclave/phone/media/mediatest"
)

func TestACryptoLineIsReadOrRefused(t *testing.T) {
	for line, want := range map[string]string{
		"1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20":             "",
		"2 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4":         "identifier",
		"2 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|1:4":              "identifier",
		"3 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz":                  "profile",
		"4 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz UNENCRYPTED_SRTP": "session parameter",
		"5 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz WSH=128":          "",
		"6 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ=":                                                  "key",
		"7 AES_CM_128_HMAC_SHA1_80 uri:https://example.org":                                          "key method",
		"x AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz":                  "tag",
		"1 AES_CM_128_HMAC_SHA1_80":     "fields",
		"1 " + strings.Repeat("A", 600): "too long",
	} {
		_, _, err := ParseCrypto(line)
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrCrypto) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.80s: error %v, want %q", line, err, want)
		}
	}
}

func TestAKeyGoesThroughTheSDPAndPrintsNothing(t *testing.T) {
	for _, p := range Profiles {
		k, err := newKey(p, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tag, back, err := ParseCrypto(k.Crypto(3))
		if err != nil || tag != 3 || !k.equal(back) {
			t.Errorf("%s: %v", p, err)
		}
		secret := strings.Fields(k.Crypto(1))[2]
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("a", "key", k, "digit", Digit('7'))
		printed := log.String()
		for _, verb := range "vsqxXdT" {
			printed += fmt.Sprintf("%"+string(verb)+" %+"+string(verb)+" %#"+string(verb), k, &k, []any{k})
			if d := fmt.Sprintf("%"+string(verb), Digit('7')); verb != 'T' && d != "digit" {
				t.Errorf("%%%c prints a digit: %s", verb, d)
			}
		}
		if strings.Contains(printed, secret[7:20]) || strings.Contains(printed, fmt.Sprint(k.secret[0])+" "+fmt.Sprint(k.secret[1])) {
			t.Errorf("%s: the key is printed", p)
		}
	}
}

func FuzzParseCrypto(f *testing.F) {
	f.Add("1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20")
	f.Add("1 AEAD_AES_128_GCM inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubA==")
	f.Fuzz(func(t *testing.T, line string) {
		tag, k, err := ParseCrypto(line)
		if err != nil {
			return
		}
		if _, err := k.context(); err != nil {
			t.Errorf("a key that is good for nothing: %v", err)
		}
		if _, again, err := ParseCrypto(k.Crypto(tag)); err != nil || !again.equal(k) {
			t.Errorf("not read back: %v", err)
		}
	})
}

func FuzzParseFingerprint(f *testing.F) {
	f.Add("sha-256 " + strings.Repeat("AB:", 31) + "0f")
	f.Add("SHA-512 " + strings.Repeat("00:", 63) + "00")
	f.Fuzz(func(t *testing.T, line string) {
		p, err := ParseFingerprint(line)
		if err != nil {
			return
		}
		if again, err := ParseFingerprint(p.String()); err != nil || again.String() != p.String() {
			t.Errorf("%s: %v", p, err)
		}
	})
}

func TestAFingerprintWeakerThanSHA256IsRefused(t *testing.T) {
	for _, line := range []string{
		"sha-1 " + strings.Repeat("AB:", 19) + "0f", "md5 " + strings.Repeat("AB:", 15) + "0f", "sha-256 " + strings.Repeat("AB:", 30) + "0f",
		"sha-256 " + strings.Repeat("AB-", 31) + "0f", "sha-256 " + strings.Repeat("XY:", 31) + "0f", "", "sha-256",
	} {
		if _, err := ParseFingerprint(line); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

func TestACallIsNotMadeWeaker(t *testing.T) {
	t.Parallel()
	a, b := open(t), open(t)
	strong, _ := agreements(t, a, b, codec.PCMA, SDES, AES256GCM)
	weak, _ := agreements(t, a, b, codec.PCMA, SDES, AES128CM)
	clear, _ := agreements(t, a, b, codec.PCMA, Clear, "")
	dtls, _ := agreements(t, a, b, codec.PCMA, DTLS, "")
	start(t, a, strong)
	for name, c := range map[string]struct {
		to   Agreement
		want error
	}{"clear": {clear, ErrWeaker}, "a weaker profile": {weak, ErrWeaker}, "another keying": {dtls, ErrAgreement}} {
		if err := a.Change(c.to); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := a.Secured(); got.Profile != string(AES256GCM) {
		t.Errorf("after refusals: %+v", got)
	}
	mirrored := strong
	mirrored.Security.Receiving = strong.Security.Sending
	if err := a.Change(mirrored); !errors.Is(err, ErrAgreement) {
		t.Errorf("our own key sent back: %v", err)
	}
}

func TestHoldAndResumeKeepTheKeys(t *testing.T) {
	t.Parallel()
	a, b := call(t, codec.PCMA, SDES, AES128CM)
	b.Bridge(true)
	hear(t, b, 15)
	held := a.agreement
	held.NoSend, held.NoListen = true, true
	if err := a.Change(held); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	before := a.Stats().Sent
	time.Sleep(200 * time.Millisecond)
	if n := a.Stats().Sent - before; n > 0 {
		t.Errorf("%d packets sent on hold", n)
	}
	held.NoSend, held.NoListen = false, false
	if err := a.Change(held); err != nil {
		t.Fatal(err)
	}
	said := speech(1)
	b.Drain()
	time.Sleep(settle)
	go func() { _ = a.Play(context.Background(), dsp.PCM(said)) }()
	if c, _ := understood(said, hear(t, b, 75)); c < 0.97 {
		t.Errorf("after hold: correlation %.3f", c)
	}
	if st := b.Stats(); st.Forged > 0 {
		t.Errorf("%d packets not opened", st.Forged)
	}
}

func TestASoundEndsWithItsContextAndGivesWayToAnother(t *testing.T) {
	t.Parallel()
	a, _ := call(t, codec.PCMU, Clear, "")
	// plays starts a long sound and returns when that very one is on its way.
	plays := func(ctx context.Context) <-chan error {
		source, out := dsp.Silence(1<<20), make(chan error, 1)
		go func() { out <- a.Play(ctx, source) }()
		eventually(t, "the sound begins", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.playing != nil && a.playing.source == source
		})
		return out
	}
	ctx, cancel := context.WithCancel(context.Background())
	first := plays(ctx)
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("a sound that was broken off: %v", err)
	}
	first = plays(context.Background())
	// One that was called off before its turn replaces nothing.
	if err := a.Play(ctx, dsp.Silence(3)); !errors.Is(err, context.Canceled) {
		t.Errorf("a sound that was called off: %v", err)
	}
	select {
	case err := <-first:
		t.Errorf("the first one ended by it: %v", err)
	default:
	}
	if err := a.Play(context.Background(), dsp.Silence(3)); err != nil {
		t.Error(err)
	}
	if err := <-first; !errors.Is(err, ErrReplaced) {
		t.Errorf("a sound that was replaced: %v", err)
	}
	first = plays(context.Background())
	a.Close()
	if err := <-first; !errors.Is(err, ErrClosed) {
		t.Errorf("a sound of a closed session: %v", err)
	}
}

// The range lies below the ports that the system gives to whoever asks for none in particular.
func TestAPortRangeIsKeptAndRunsFull(t *testing.T) {
	c := Config{Local: loopback, Ports: Ports{24201, 24206}, Rand: rand.Reader, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	var sessions []*Session
	for {
		s, err := New(c)
		if errors.Is(err, ErrPorts) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
		if p := s.LocalPort(); p%2 != 0 || p < 24202 || p > 24204 {
			t.Errorf("port %d", p)
		}
		if len(sessions) > 3 {
			t.Fatal("more sessions than ports")
		}
	}
	if len(sessions) != 2 {
		t.Errorf("%d sessions", len(sessions))
	}
	for _, s := range sessions {
		s.Close()
		s.Close()
	}
	s, err := New(c)
	if err != nil {
		t.Fatalf("after Close the ports are not free: %v", err)
	}
	s.Close()
	if _, err := New(Config{Local: netip.Addr{}}); err == nil {
		t.Error("an incomplete configuration is taken")
	}
}

func TestCloseWaitsForEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, keying := range []Keying{Clear, SDES, DTLS} {
		a, b := call(t, codec.Opus, keying, AES128GCM)
		b.Bridge(true)
		hear(t, b, 5)
		a.Close()
		b.Close()
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := open(t)
	if err := s.Start(ctx, plain(netip.AddrPort{})); err != nil {
		t.Fatal(err)
	}
	cancel() // without Close
	<-s.Ended()
	s.running.Wait()
	eventually(t, "all goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
	if n := runtime.NumGoroutine(); n > before {
		b := make([]byte, 1<<16)
		t.Errorf("%d goroutines, before %d:\n%s", n, before, b[:runtime.Stack(b, true)])
	}
}

func TestReportsTellLossAndRoundTrip(t *testing.T) {
	a, b := open(t), open(t)
	forA, forB := agreements(t, a, b, codec.PCMA, Clear, "")
	for s, agreement := range map[*Session]Agreement{a: forA, b: forB} {
		if err := s.agree(agreement); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Unix(1000, 0)
	for i := range 50 { // a hears b, one in ten lost
		if i%10 != 5 {
			a.handle(now, address(b), mediatest.Packet(t, 8, uint16(i), uint32(160*i), b.ssrc, make([]byte, 160)))
		}
	}
	first := b.compound(now)
	a.handle(now.Add(30*time.Millisecond), address(b), first)
	report := a.compound(now.Add(130 * time.Millisecond))
	b.handle(now.Add(160*time.Millisecond), address(a), report)
	if lost := report[33:36]; lost[2] != 5 {
		t.Errorf("%d reported lost, want 5", lost[2])
	}
	if trip := b.Stats().RoundTrip; trip < 58*time.Millisecond || trip > 62*time.Millisecond {
		t.Errorf("round trip %v, want 60ms", trip)
	}
	if st := a.Stats(); st.Malformed > 0 || b.Stats().Malformed > 0 {
		t.Errorf("%+v", st)
	}
}

// BenchmarkLeg is all that a leg costs in each 20 ms: opening, playing out, mixing, encoding and sealing.
func BenchmarkLeg(b *testing.B) {
	for _, c := range codec.Preferred {
		for _, keying := range []Keying{Clear, SDES} {
			b.Run(c.Name()+"/"+keying.String(), func(b *testing.B) {
				x, y := open(b), open(b)
				forX, forY := agreements(b, x, y, c, keying, AES128GCM)
				for s, agreement := range map[*Session]Agreement{x: forX, y: forY} {
					agreement.Remote = netip.AddrPort{} // the benchmark carries the packets itself
					if err := s.agree(agreement); err != nil {
						b.Fatal(err)
					}
				}
				// y speaks to itself through a kept packet is not possible with SRTP: so x seals one packet for each turn.
				from := netip.MustParseAddrPort("127.0.0.1:4000")
				y.path = path{signalled: from, remote: address(x)}
				y.Bridge(true)
				sound := speech(1)
				var packets [][]byte
				var f Frame
				for i := range 3000 {
					copy(f[:], sound[i%50*960:])
					p := mediatest.Packet(b, c.PayloadType(), uint16(i), uint32(i*c.ClockRate()/50), 7, nil)
					p, err := x.sending.encoder.Encode(p, &f)
					if err == nil && keying != Clear {
						p, err = x.sending.keys.EncryptRTP(nil, p, nil)
					}
					if err != nil {
						b.Fatal(err)
					}
					packets = append(packets, p)
				}
				now := time.Now().Add(time.Second)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if i++; i < len(packets) {
						y.handle(now, from, packets[i])
					}
					room := new(Frame)
					copy(room[:], sound[i%50*960:])
					y.Out(room)
					y.turn(now)
					<-y.In()
					now = now.Add(tick)
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/200, "%core")
			})
		}
	}
}
