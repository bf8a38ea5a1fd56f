//go:build !js

package media

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"conclave/sfu/slot"
	"conclave/sfu/srtp"
)

// drain is a Socket that leads nowhere and keeps the last datagram.
type drain struct{ last []byte }

func (d *drain) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	d.last = bytes.Clone(b)
	return len(b), nil
}

func (d *drain) Close() error { return nil }

// fixed is keying material of one byte repeated: both ends of a test hold the same.
type fixed byte

func (f fixed) ExportKeyingMaterial(_ string, _ []byte, n int) ([]byte, error) {
	return bytes.Repeat([]byte{byte(f)}, n), nil
}

// connected makes a transport as it is after Connect, and the server's end of its keys.
func connected(t testing.TB, config Config) (*Transport, *drain, *srtp.Sealer, *srtp.Opener) {
	t.Helper()
	d := new(drain)
	config.Socket = d
	m, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	client, server, err := srtp.Keys(srtp.AES128GCM, fixed(3))
	if err != nil {
		t.Fatal(err)
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	opener, err := srtp.NewOpener(server)
	check(err)
	m.sealer, err = srtp.NewSealer(client)
	check(err)
	sealer, err := srtp.NewSealer(server)
	check(err)
	theirs, err := srtp.NewOpener(client)
	check(err)
	m.ice.init(m.local.Ufrag, Remote{Ufrag: "server", Password: "password"})
	m.opener.Store(opener)
	m.reading.Store(true)
	t.Cleanup(func() { m.Close() })
	return m, d, sealer, theirs
}

func TestConnectGivesUpWhenNobodyAnswers(t *testing.T) {
	m, err := New(Config{Microphone: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := m.Connect(ctx, Remote{Ufrag: "abcd", Password: "p", Candidates: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9")}}); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("Connect: %v", err)
	}
	select {
	case <-m.Done():
	case <-time.After(time.Second):
		t.Fatal("not closed after it failed")
	}
	if err := m.Send(slot.Microphone, nil, 0, false); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("Send: %v", err)
	}
	if err := m.Connect(context.Background(), Remote{}); !errors.Is(err, ErrClosed) {
		t.Fatalf("second Connect: %v", err)
	}
}

func TestAServerThatDoesNotAnswerAnyMoreEndsTheTransport(t *testing.T) {
	m, d, _, _ := connected(t, Config{Microphone: true})
	now := time.Now()
	m.ice.answered = now.Add(-consentFor + time.Second)
	if !m.consent(now) || d.last == nil {
		t.Fatal("did not ask")
	}
	if m.consent(now.Add(2*time.Second)) || !errors.Is(m.Err(), ErrConsent) {
		t.Fatalf("goes on without consent: %v", m.Err())
	}
}

func TestStreamsThatWereNotAnnouncedAndLongPayloadsAreRefused(t *testing.T) {
	m, _, _, _ := connected(t, Config{Microphone: true})
	if err := m.Send(slot.Camera, nil, 0, false); !errors.Is(err, ErrStream) {
		t.Errorf("camera: %v", err)
	}
	if err := m.Send(slot.Kind(9), nil, 0, false); !errors.Is(err, ErrStream) {
		t.Errorf("kind 9: %v", err)
	}
	if err := m.Send(slot.Microphone, make([]byte, MaxPayload+1), 0, false); !errors.Is(err, ErrSize) {
		t.Errorf("long payload: %v", err)
	}
}

func TestVideoIsSentAgainAsItWas(t *testing.T) {
	m, d, _, _ := connected(t, Config{Camera: true})
	var sent [][]byte
	first := m.out[slot.Camera-1].index
	for i := range byte(10) {
		if err := m.Send(slot.Camera, []byte{i, 1, 2}, 7, i == 9); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, d.last)
	}
	m.again(m.local.Camera, uint16(first+4))
	if !bytes.Equal(d.last, sent[4]) {
		t.Fatal("another packet was sent again")
	}
	d.last = nil
	m.again(m.local.Camera, uint16(first+10)) // never sent
	m.again(m.local.Camera, uint16(first-1))
	m.again(1, uint16(first))
	if d.last != nil {
		t.Fatal("a packet was sent that there never was")
	}
}

func TestReportsSayWhatWasSentAndLost(t *testing.T) {
	m, d, sealer, theirs := connected(t, Config{Microphone: true, Packet: func(Packet) {}})
	s := slot.Slot{Kind: slot.Microphone, Index: 3}
	for i := range uint64(10) {
		if i == 5 || i == 6 {
			continue
		}
		header := []byte{0x80, 111, 0, byte(i), 0, 0, 0, 0, 0x0c, 0x1a, 0, 3}
		m.Deliver(sealer.SealRTP(nil, header, []byte{1, 2, 3}, s.SSRC(), i), netip.AddrPort{})
	}
	if err := m.Send(slot.Microphone, []byte{1}, 960, false); err != nil {
		t.Fatal(err)
	}
	m.ice.answered = time.Now()
	m.ice.asked = time.Now()
	m.ticking = time.AfterFunc(time.Hour, func() {})
	m.tick()
	plain, err := theirs.OpenRTCP(d.last)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	sr, ok := packets[0].(*rtcp.SenderReport)
	if !ok || sr.SSRC != m.local.Microphone || sr.PacketCount != 1 || sr.OctetCount != 1 || len(sr.Reports) != 1 {
		t.Fatalf("report %v", packets)
	}
	if r := sr.Reports[0]; r.SSRC != s.SSRC() || r.TotalLost != 2 || r.FractionLost != 51 || r.LastSequenceNumber != 9 {
		t.Fatalf("reception %+v", r)
	}
	if st := m.Stats(); st.Received != 8 || st.Lost != 2 || st.Bad != 0 {
		t.Fatalf("stats %+v", st)
	}
}

func FuzzDeliver(f *testing.F) {
	m, _, sealer, _ := connected(f, Config{Microphone: true, Camera: true, Foreign: true, Packet: func(Packet) {}})
	f.Add([]byte{0x80, 111, 0, 1, 0, 0, 0, 0, 0x0c, 0x1a, 0, 3, 1, 2})
	f.Add([]byte{0x01, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0})
	f.Add(append([]byte{0x81, 205, 0, 3}, make([]byte, 12)...))
	seq := uint64(0)
	f.Fuzz(func(t *testing.T, b []byte) {
		m.Deliver(bytes.Clone(b), netip.AddrPort{})
		m.followRTCP(bytes.Clone(b))
		if len(b) >= rtpHeader && b[0]>>6 == 2 { // and as if the server itself had sealed it
			seq++
			header := []byte{0x80 | b[0]&0x20, b[1], byte(seq >> 8), byte(seq), b[4], b[5], b[6], b[7], 1, 2, 3, 4}
			m.takeRTP(sealer.SealRTP(nil, header, b[rtpHeader:], 0x01020304, seq))
		}
	})
}
