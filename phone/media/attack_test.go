package media

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"conclave/phone/codec"
	"conclave/phone/dsp"
	"conclave/phone/jitter"
	"conclave/phone/media/mediatest"
)

// socket returns a UDP socket of somebody else on a loopback address, and what sends a datagram from it to s.
func socket(t testing.TB, ip string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func addressOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// send sends b to s from c.
func send(t testing.TB, c *net.UDPConn, s *Session, b []byte) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(b, address(s)); err != nil {
		t.Fatal(err)
	}
}

// patience is how long a test waits for what must come: the machine may be busy with others.
const patience = 20 * time.Second

// eventually waits until something holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("never: %s", what)
			return
		}
	}
}

// atLeast reads until so many packets have come to c.
func atLeast(t testing.TB, c *net.UDPConn, packets int, whose string) {
	t.Helper()
	b := make([]byte, 2000)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for i := range packets {
		if _, _, err := c.ReadFromUDPAddrPort(b); err != nil {
			t.Errorf("%s got %d packets", whose, i)
			return
		}
	}
}

// still is a session in simulated time: it has agreed and was not started, so that nothing runs but what a test calls.
func still(t testing.TB, clock *time.Time, remote netip.AddrPort) *Session {
	t.Helper()
	s, err := New(Config{Local: loopback, Rand: crand.Reader, Now: func() time.Time { return *clock }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.agree(plain(remote)); err != nil {
		t.Fatal(err)
	}
	return s
}

// received reads what comes to c within d and says how many packets.
func received(c *net.UDPConn, d time.Duration) (packets int) {
	b := make([]byte, 2000)
	_ = c.SetReadDeadline(time.Now().Add(d))
	for {
		if _, _, err := c.ReadFromUDPAddrPort(b); err != nil {
			return packets
		}
		packets++
	}
}

func plain(remote netip.AddrPort) Agreement {
	return Agreement{Remote: remote, Codec: codec.PCMA, PayloadType: 8, DigitTypes: []uint8{101, 96}, Mux: true}
}

func TestNobodyTakesAClearLegOverOnceItsAddressHasSpoken(t *testing.T) {
	t.Parallel()
	caller, thief, stranger := socket(t, "127.0.0.1"), socket(t, "127.0.0.1"), socket(t, "127.0.0.66")
	s := open(t)
	start(t, s, plain(addressOf(caller)))
	silence := bytes.Repeat([]byte{0xd5}, 160)
	for i := range 3 {
		send(t, caller, s, mediatest.Packet(t, 8, uint16(i), uint32(160*i), 7, silence))
	}
	eventually(t, "the caller is taken", func() bool { return s.Stats().Received == 3 })
	for i := range 200 {
		send(t, thief, s, mediatest.Packet(t, 8, uint16(100+i), uint32(160*i), 8, silence))
		send(t, stranger, s, mediatest.Packet(t, 8, uint16(100+i), uint32(160*i), 9, silence))
		if i%20 == 0 {
			time.Sleep(5 * time.Millisecond) // or the kernel drops some of them itself
		}
	}
	eventually(t, "400 foreign packets are dropped", func() bool { return s.Stats().Foreign == 400 })
	if st := s.Stats(); st.Received != 3 {
		t.Errorf("%d packets taken", st.Received)
	}
	if n := received(thief, 200*time.Millisecond) + received(stranger, 50*time.Millisecond); n > 0 {
		t.Errorf("%d packets of the call went to others", n)
	}
	atLeast(t, caller, 8, "the caller")
}

func TestTheSignalledAddressTakesItsPlaceFromWhoeverWasFirst(t *testing.T) {
	t.Parallel()
	caller, first, second, stranger := socket(t, "127.0.0.1"), socket(t, "127.0.0.1"), socket(t, "127.0.0.1"), socket(t, "127.0.0.66")
	s := open(t)
	start(t, s, plain(addressOf(caller)))
	silence := bytes.Repeat([]byte{0xd5}, 160)
	send(t, stranger, s, mediatest.Packet(t, 8, 1, 0, 1, silence))
	eventually(t, "another IP address is dropped", func() bool { return s.Stats().Foreign == 1 })
	send(t, first, s, mediatest.Packet(t, 8, 1, 0, 2, silence))
	eventually(t, "the first port of the same IP stands in", func() bool { return s.Stats().Received == 1 })
	send(t, second, s, mediatest.Packet(t, 8, 1, 0, 3, silence))
	eventually(t, "a second is dropped", func() bool { return s.Stats().Foreign == 2 })
	atLeast(t, first, 3, "the one behind a NAT")
	send(t, caller, s, mediatest.Packet(t, 8, 1, 0, 4, silence))
	eventually(t, "the signalled address speaks", func() bool { return s.Stats().Received == 2 })
	send(t, first, s, mediatest.Packet(t, 8, 2, 160, 2, silence))
	eventually(t, "the first is out", func() bool { return s.Stats().Foreign == 3 })
}

func TestAClearPacketInAnSRTPLegIsDropped(t *testing.T) {
	t.Parallel()
	for _, keying := range []Keying{SDES, DTLS} {
		t.Run(keying.String(), func(t *testing.T) {
			t.Parallel()
			a, b := call(t, codec.PCMA, keying, AES128GCM)
			b.Bridge(true)
			said := speech(2)
			time.Sleep(settle)
			go func() { _ = a.Play(context.Background(), dsp.PCM(said)) }()
			thief := socket(t, "127.0.0.1")
			stolen := make(chan struct{})
			go func() {
				defer close(stolen)
				for i := range 400 {
					_, _ = thief.WriteToUDPAddrPort(mediatest.Loud(t, i, uint32(i%3)), address(b))
					time.Sleep(4 * time.Millisecond)
				}
			}()
			heard := hear(t, b, 115)
			if c, _ := understood(said, heard); c < 0.97 {
				t.Errorf("the caller is disturbed: correlation %.3f", c)
			}
			<-stolen
			eventually(t, "400 forged packets are dropped", func() bool { return b.Stats().Forged == 400 })
			if n := received(thief, 100*time.Millisecond); n > 0 {
				t.Errorf("%d packets of the call went to the thief", n)
			}
		})
	}
}

func TestAReplayedPacketIsDropped(t *testing.T) {
	t.Parallel()
	for _, p := range Profiles {
		a, b := open(t), open(t)
		forA, forB := agreements(t, a, b, codec.PCMA, SDES, p)
		recorder := socket(t, "127.0.0.1")
		forA.Remote = addressOf(recorder)
		forB.NoSend = true // what is authentic would be followed, past the recorder
		start(t, b, forB)
		start(t, a, forA)
		buffer := make([]byte, 2000)
		_ = recorder.SetReadDeadline(time.Now().Add(5 * time.Second))
		var kept [][]byte
		for range 5 {
			n, err := recorder.Read(buffer)
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, bytes.Clone(buffer[:n]))
		}
		for range 2 {
			for _, b2 := range kept {
				send(t, recorder, b, b2)
			}
		}
		eventually(t, "each packet is taken once", func() bool { st := b.Stats(); return st.Received == 5 && st.Forged == 5 })
	}
}

func TestAReplayedPacketIsDroppedUnderDTLSKeysToo(t *testing.T) {
	t.Parallel()
	a, b := call(t, codec.PCMA, DTLS, "")
	a.mu.Lock()
	sealed, err := a.sending.keys.EncryptRTP(nil, mediatest.Packet(t, 8, 1, 160, 99, bytes.Repeat([]byte{0xd5}, 160)), nil)
	a.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for want := range uint64(3) { // taken, then refused, and refused
		b.handle(time.Now(), address(a), bytes.Clone(sealed))
		if n := b.Stats().Forged; n != want {
			t.Errorf("after %d times %d are refused", want+1, n)
		}
	}
}

// Without the extended master secret (RFC 7627) who sits between two associations can give them the same keys.
func TestDTLSWithoutTheExtendedMasterSecretGivesNoKeys(t *testing.T) {
	t.Parallel()
	certificate, err := NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(certificate.Certificate[0])
	for _, extended := range []bool{true, false} { // with it the same client gets keys
		theirs, s := socket(t, "127.0.0.1"), open(t)
		a := Agreement{Remote: addressOf(theirs), Codec: codec.PCMA, PayloadType: 8, Mux: true}
		a.Security = Security{Keying: DTLS, Fingerprints: []Fingerprint{{Hash: "sha-256", Sum: sum[:]}}}
		start(t, s, a)
		mode := dtls.DisableExtendedMasterSecret
		if extended {
			mode = dtls.RequireExtendedMasterSecret
		}
		client, err := dtls.ClientWithOptions(theirs, net.UDPAddrFromAddrPort(address(s)), dtls.WithCertificates(*certificate), dtls.WithInsecureSkipVerify(true),
			dtls.WithSRTPProtectionProfiles(profiles...), dtls.WithExtendedMasterSecret(mode))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := client.HandshakeContext(ctx); (err == nil) != extended {
			t.Errorf("extended master secret %v: the handshake says %v", extended, err)
		}
		keys := false
		select {
		case <-s.Ended():
		case <-s.Ready():
			keys = true
		case <-time.After(patience):
			t.Error("nothing ends")
		}
		if keys != extended {
			t.Errorf("extended master secret %v: keys %v", extended, keys)
		}
	}
}

func TestWithoutTheRightFingerprintThereAreNoKeys(t *testing.T) {
	t.Parallel()
	for _, wrong := range []string{"of the server", "of the client"} {
		a, b := open(t), open(t)
		forA, forB := agreements(t, a, b, codec.PCMA, DTLS, "")
		if wrong == "of the server" {
			forA.Security.Fingerprints = []Fingerprint{a.LocalFingerprint()}
		} else {
			forB.Security.Fingerprints = []Fingerprint{b.LocalFingerprint()}
		}
		start(t, a, forA)
		start(t, b, forB)
		deceived := a
		if wrong == "of the client" {
			deceived = b
		}
		select {
		case <-deceived.Ended():
		case <-deceived.Ready():
			t.Errorf("the fingerprint %s is wrong, and there are keys", wrong)
		case <-time.After(12 * time.Second):
			t.Errorf("the fingerprint %s is wrong, and nothing ends", wrong)
		}
		if deceived.Secured().Ready || deceived.Stats().Sent > 0 {
			t.Errorf("the fingerprint %s is wrong: %+v", wrong, deceived.Stats())
		}
	}
}

func TestNothingIsSentBeforeTheKeys(t *testing.T) {
	t.Parallel()
	other := socket(t, "127.0.0.1")
	s := open(t)
	a := Agreement{Remote: addressOf(other), Codec: codec.PCMA, PayloadType: 8, Mux: true}
	a.Security = Security{Keying: DTLS, Active: true, Fingerprints: []Fingerprint{s.LocalFingerprint()}}
	start(t, s, a)
	b := make([]byte, 2000)
	_ = other.SetReadDeadline(time.Now().Add(time.Second))
	for {
		n, err := other.Read(b)
		if err != nil {
			break
		}
		if b[0] < 20 || b[0] > 63 {
			t.Fatalf("%d bytes that are not DTLS", n)
		}
	}
	send(t, other, s, mediatest.Packet(t, 8, 1, 0, 1, make([]byte, 160)))
	eventually(t, "a clear packet is dropped", func() bool { return s.Stats().Forged == 1 })
}

func TestWhatWasSaidBeforeTheBridgeNeverReachesTheRoom(t *testing.T) {
	t.Parallel()
	now, caller := time.Unix(1000, 0), netip.MustParseAddrPort("127.0.0.1:4000")
	s := still(t, &now, caller)
	encoder, err := codec.NewEncoder(codec.PCMA)
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	var tone Frame
	for i := range tone {
		tone[i] = int16(8000 * (i / 24 % 2))
	}
	payload, err := encoder.Encode(nil, &tone)
	if err != nil {
		t.Fatal(err)
	}
	// next is one packet of a tone that never ends, and the frame that the room hears after it, nil if it hears none.
	sequence := uint16(0)
	next := func() *Frame {
		s.handle(now, caller, mediatest.Packet(t, 8, sequence, uint32(sequence)*160, 7, payload))
		sequence++
		s.turn(now)
		now = now.Add(tick)
		select {
		case f := <-s.In():
			return f
		default:
			return nil
		}
	}
	loud := func(f *Frame) bool {
		return slices.ContainsFunc(f[:], func(v int16) bool { return v > 500 || v < -500 })
	}
	for range 25 {
		if next() != nil {
			t.Fatal("a frame came before the bridge")
		}
	}
	// The key was pressed; packets of before it are still on their way for a tenth of a second.
	s.Bridge(true)
	for bridged := now; now.Before(bridged.Add(settle)); {
		if f := next(); f == nil || loud(f) {
			t.Fatalf("what was said before is heard %v after the bridge", now.Sub(bridged))
		}
	}
	// What is said after that is heard.
	heard := false
	for range 15 {
		heard = loud(next()) || heard
	}
	if !heard {
		t.Error("what is said after consent is not heard either")
	}
}

func TestNothingOfTheRoomReachesACallerWithoutTheBridge(t *testing.T) {
	t.Parallel()
	a, b := call(t, codec.PCMA, Clear, "")
	tone := make([]int16, dsp.FrameSamples)
	for i := range tone {
		tone[i] = int16(8000 * (i / 24 % 2))
	}
	loud := func() *Frame {
		f := new(Frame)
		copy(f[:], tone)
		return f
	}
	b.Bridge(false)
	a.Bridge(true)
	for range 20 {
		b.Out(loud())
	}
	for _, v := range hear(t, a, 25) {
		if v > 500 || v < -500 {
			t.Fatalf("a sample of %d: the room is heard without a bridge", v)
		}
	}
	b.Bridge(true)
	for again := true; again; {
		sent := b.Stats().Sent
		for range 20 {
			b.Out(loud())
		}
		b.Drain()
		// A frame that was due in between has rightly gone out: it is heard to its end, and drained anew.
		if again = b.Stats().Sent != sent; again {
			hear(t, a, 25)
		}
	}
	for _, v := range hear(t, a, 25) {
		if v > 500 || v < -500 {
			t.Fatalf("a sample of %d: what was drained is heard", v)
		}
	}
}

func TestTheQueuesDropTheOldest(t *testing.T) {
	t.Parallel()
	a, b := call(t, codec.PCMA, Clear, "")
	b.Bridge(true)
	eventually(t, "the queue to the room is full", func() bool { return len(b.in) == queueFrames })
	sent := b.Stats().Sent
	eventually(t, "five frames more are due", func() bool { return b.Stats().Sent >= sent+5 })
	b.mu.Lock() // not while the newest takes the place of the oldest
	n := len(b.in)
	b.mu.Unlock()
	if n != queueFrames {
		t.Errorf("%d frames wait for the room, want %d", n, queueFrames)
	}
	_ = a
	q := make(chan *Frame, 2)
	for i := range 5 {
		f := new(Frame)
		f[0] = int16(i)
		push(q, f)
	}
	if first := <-q; first[0] != 3 {
		t.Errorf("the oldest that is left is number %d", first[0])
	}
}

// event returns the payload of a telephone-event.
func event(code byte, flags byte, duration uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{code, flags | 10}, duration)
}

func TestEachPressOfAKeyIsOneDigit(t *testing.T) {
	type step struct {
		after     time.Duration
		sequence  int
		timestamp uint32
		marker    bool
		payload   []byte
	}
	pressed := func(at uint32, code byte) (steps []step) {
		for i := range 6 {
			steps = append(steps, step{20 * time.Millisecond, 0, at, i == 0, event(code, 0, uint16(160*(i+1)))})
		}
		for range 3 {
			steps = append(steps, step{20 * time.Millisecond, 0, at, false, event(code, 0x80, 1120)})
		}
		return steps
	}
	all := func(s ...[]step) (out []step) {
		for _, x := range s {
			out = append(out, x...)
		}
		return out
	}
	later := func(a, b []step) []step {
		b[0].after = 200 * time.Millisecond
		return all(a, b)
	}
	reserved := pressed(0, 5)
	for i := range reserved {
		reserved[i].payload[1] |= 0x40 // as sipp sends it
	}
	running := pressed(0, 7)
	for i := range running {
		running[i].timestamp += uint32(160 * i)
	}
	for name, c := range map[string]struct {
		steps []step
		want  string
	}{
		"one":                                {pressed(0, 5), "5"},
		"star and hash":                      {all(pressed(0, 10), pressed(2000, 11)), "*#"},
		"the same twice":                     {all(pressed(0, 5), pressed(2000, 5)), "55"},
		"the reserved bit":                   {reserved, "5"},
		"a running timestamp":                {running, "7"},
		"the beginning lost":                 {pressed(0, 5)[4:], "5"},
		"the end alone":                      {later(pressed(0, 5)[8:], pressed(2000, 5)[8:]), "55"},
		"the end lost, the same again":       {all(pressed(0, 5)[:6], pressed(2000, 5)), "55"},
		"the end lost, another":              {all(pressed(0, 5)[:6], pressed(2000, 6)), "56"},
		"overtaken":                          {all(pressed(2000, 6), pressed(0, 5)[7:]), "6"},
		"an unknown event":                   {pressed(0, 16), ""},
		"short":                              {[]step{{0, 0, 0, true, []byte{5, 0, 0}}}, ""},
		"the timestamp begins anew at 2^32":  {all(pressed(0xffffff00, 5), pressed(0x700, 6)), "56"},
		"A to D":                             {all(pressed(0, 12), pressed(2000, 15)), "AD"},
		"flood of one press over half a sec": {all(pressed(0, 1)[:6], pressed(0, 1)[:6], pressed(0, 1)), "1"},
	} {
		var state press
		now := time.Unix(1000, 0)
		got := ""
		for _, s := range c.steps {
			now = now.Add(s.after)
			if d, ok := state.event(now, &rtp.Header{Timestamp: s.timestamp, Marker: s.marker}, s.payload); ok {
				got += string(rune(d))
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestDigitsOfAnyAgreedTypeAreHeardAndAreNoLoss(t *testing.T) {
	t.Parallel()
	for _, payloadType := range []uint8{101, 96} {
		now, caller := time.Unix(1000, 0), netip.MustParseAddrPort("127.0.0.1:4000")
		s := still(t, &now, caller)
		sequence, timestamp := uint16(65530), uint32(4294967000)
		for i := range 60 {
			if i >= 20 && i < 30 { // a press in the middle of the sound
				flags := byte(0x40)
				if i >= 27 {
					flags |= 0x80
				}
				s.handle(now, caller, mediatest.Packet(t, payloadType, sequence, timestamp, 7, event(9, flags, uint16(160*(i-19)))))
			} else {
				s.handle(now, caller, mediatest.Packet(t, 8, sequence, timestamp, 7, bytes.Repeat([]byte{0xd5}, 160)))
			}
			s.turn(now)
			now = now.Add(tick)
			sequence++
			if i < 20 || i >= 29 {
				timestamp += 160
			}
			if i == 29 {
				timestamp += 9 * 160
			}
		}
		select {
		case d := <-s.Digits():
			if d != '9' {
				t.Errorf("type %d: digit %c", payloadType, rune(d))
			}
		default:
			t.Errorf("type %d: no digit", payloadType)
		}
		if len(s.digits) > 0 {
			t.Errorf("type %d: %d digits more", payloadType, len(s.digits))
		}
		if st := s.Stats(); st.Lost > 0 {
			t.Errorf("type %d: %d lost of %d", payloadType, st.Lost, st.Received)
		}
	}
}

// TestMutatedPackets sends what nobody should into legs of every kind.
func TestMutatedPacketsDoNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		codec  codec.Codec
		keying Keying
		sealed bool // by who has the keys, so that what is inside is looked at
	}{{codec.PCMA, Clear, false}, {codec.G722, Clear, false}, {codec.Opus, Clear, false}, {codec.Opus, SDES, false}, {codec.PCMU, SDES, false}, {codec.G722, DTLS, false},
		{codec.Opus, SDES, true}, {codec.G722, SDES, true}} {
		a, b := open(t), open(t)
		forA, forB := agreements(t, a, b, c.codec, c.keying, AES128CM)
		if err := b.agree(forB); err != nil { // not started: nothing runs but what is called here
			t.Fatal(err)
		}
		from, now := address(a), time.Unix(1000, 0)
		encoder, err := codec.NewEncoder(c.codec)
		if err != nil {
			t.Fatal(err)
		}
		sound := speech(0.5)
		var good [20][]byte
		for i := range good {
			var f Frame
			copy(f[:], sound[i*960:])
			if good[i], err = encoder.Encode(nil, &f); err != nil {
				t.Fatal(err)
			}
		}
		encoder.Close()
		var seal *srtp.Context
		if c.sealed {
			if seal, err = forA.Security.Sending.context(); err != nil {
				t.Fatal(err)
			}
		}
		packets := 10000 // of each of eight legs
		if testing.Short() {
			packets = 500
		}
		for i := range packets {
			payload := good[i%20]
			p := mediatest.Packet(t, []uint8{c.codec.PayloadType(), 101, 13}[i%20/9%3], uint16(i), uint32(i*160), 7, payload)
			p = mediatest.Mutate(random, i, p)
			if c.sealed {
				sealed, err := seal.EncryptRTP(nil, p, nil)
				if err != nil {
					continue // no RTP any more
				}
				p = sealed
			}
			b.handle(now, from, p)
			if i%3 == 0 && !c.sealed {
				b.handleSeparateRTCP(now, from, p)
			}
			if now = now.Add(7 * time.Millisecond); i%8 == 0 {
				b.turn(now)
			}
		}
		st := b.Stats()
		taken := c.keying == Clear || c.sealed
		switch {
		case !taken && (st.Received > 0 || st.Forged == 0):
			t.Errorf("%s %s: %d packets taken without a key", c.codec.Name(), c.keying, st.Received)
		case taken && st.Received < uint64(packets)/10:
			t.Errorf("%s %s: only %d of %d packets were looked into: nothing is shown", c.codec.Name(), c.keying, st.Received, packets)
		}
		t.Logf("%s %s: %+v", c.codec.Name(), c.keying, st)
	}
}

func FuzzHandle(f *testing.F) {
	f.Add(uint8(0), mediatest.Packet(f, 8, 1, 160, 7, make([]byte, 160)), mediatest.Packet(f, 101, 2, 160, 7, event(5, 0x80, 800)))
	f.Add(uint8(1), []byte{0x81, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{0x80, 201, 0, 1, 0, 0, 0, 1})
	f.Add(uint8(2), mediatest.Packet(f, 111, 1, 160, 7, []byte{0xfc, 1, 2, 3}), []byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, kind uint8, first, second []byte) {
		c := []codec.Codec{codec.PCMA, codec.G722, codec.Opus}[kind%3]
		decoder, err := codec.NewDecoder(c)
		if err != nil {
			t.Fatal(err)
		}
		s := &Session{digits: make(chan Digit, 32), in: make(chan *Frame, queueFrames)}
		s.receiving.decoder = decoder
		s.receiving.buffer = newBuffer(c)
		from := netip.MustParseAddrPort("127.0.0.1:4000")
		s.path = path{signalled: from, remote: from}
		s.agreement = Agreement{Remote: from, Codec: c, PayloadType: c.PayloadType(), DigitTypes: []uint8{101}}
		now := time.Unix(1000, 0)
		var heard Frame
		for i := range 30 {
			if i%2 == 0 {
				s.handle(now, from, first)
			} else {
				s.handle(now, from, second)
				s.handleSeparateRTCP(now, from, second)
			}
			s.hear(now, &heard)
			now = now.Add(20 * time.Millisecond)
		}
	})
}

func newBuffer(c codec.Codec) *jitter.Buffer { return jitter.New(c.ClockRate()) }
