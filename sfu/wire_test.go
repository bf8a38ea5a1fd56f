package sfu

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	pion "github.com/pion/rtcp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/stun/v3"

	"conclave"
	"conclave/sfu/slot"
	"conclave/sfu/srtp"
	"conclave/sfu/udp"
)

func TestRTCPWeWriteIsWhatPionReads(t *testing.T) {
	l := &lane{ssrc: 0x0C1B0001, tsBase: 1000, packets: 7, octets: 700}
	b := appendPLI(nil, 42)
	b = appendREMB(b, 43, 1_500_000)
	b = appendSR(b, l, &senderReport{ntp: 0x1234567890abcdef, rtp: 5000})
	var w nackWriter
	for _, seq := range []uint16{65534, 65535, 3, 100} {
		w.add(seq)
	}
	b = w.append(b, 44)
	b, at := beginRTCP(b, typeRR, slot.ServerSSRC)
	block := reportBlock{ssrc: 45, share: 3, lost: 0x010203, highest: 70000, jitter: 9, lastSR: 10, delay: 11}
	b = endRTCP(block.append(b), at, 1)

	packets, err := pion.Unmarshal(b)
	if err != nil || len(packets) != 5 {
		t.Fatalf("%d packets, %v", len(packets), err)
	}
	if p := packets[0].(*pion.PictureLossIndication); p.MediaSSRC != 42 || p.SenderSSRC != slot.ServerSSRC {
		t.Fatalf("PLI %+v", p)
	}
	if p := packets[1].(*pion.ReceiverEstimatedMaximumBitrate); p.SSRCs[0] != 43 || p.Bitrate < 1_490_000 || p.Bitrate > 1_500_000 {
		t.Fatalf("REMB %+v", p)
	}
	if p := packets[2].(*pion.SenderReport); p.SSRC != l.ssrc || p.RTPTime != 6000 || p.NTPTime != 0x1234567890abcdef || p.PacketCount != 7 {
		t.Fatalf("SR %+v", p)
	}
	var seqs []uint16
	for _, n := range packets[3].(*pion.TransportLayerNack).Nacks {
		seqs = append(seqs, n.PacketList()...)
	}
	if len(seqs) != 4 || seqs[0] != 65534 || seqs[1] != 65535 || seqs[2] != 3 || seqs[3] != 100 {
		t.Fatalf("NACK %v", seqs)
	}
	p := packets[4].(*pion.ReceiverReport)
	if r := p.Reports[0]; r.SSRC != 45 || r.FractionLost != 3 || r.TotalLost != 0x010203 || r.LastSequenceNumber != 70000 || r.Jitter != 9 || r.LastSenderReport != 10 || r.Delay != 11 {
		t.Fatalf("RR %+v", p)
	}
	if got := parseReportBlock(block.append(nil)); got != block {
		t.Fatalf("block comes back as %+v", got)
	}
}

func TestKeyFramesAreKnownByTheirFirstPacket(t *testing.T) {
	key := []byte{0, 0, 0, 0x9d, 1, 0x2a, 16, 0, 16, 0, 1, 2, 3}
	for name, c := range map[string]struct {
		payload []byte
		want    bool
	}{
		"short descriptor":          {append([]byte{0x10}, key...), true},
		"delta frame":               {[]byte{0x10, 1, 2, 3}, false},
		"not the first packet":      {append([]byte{0x00}, key...), false},
		"another partition":         {append([]byte{0x11}, key...), false},
		"7-bit picture id":          {append([]byte{0x90, 0x80, 0x11}, key...), true},
		"15-bit picture id":         {append([]byte{0x90, 0x80, 0x81, 0x01}, key...), true},
		"all fields":                {append([]byte{0x90, 0xf0, 0x81, 0x01, 7, 0x20}, key...), true},
		"all fields, delta":         {[]byte{0x90, 0xf0, 0x81, 0x01, 7, 0x20, 1}, false},
		"cut off after descriptor":  {[]byte{0x90, 0xf0, 0x81, 0x01, 7, 0x20}, false},
		"cut off within descriptor": {[]byte{0x90, 0x80}, false},
		"empty":                     {nil, false},
	} {
		if got := keyFrameStart(c.payload); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzKeyFrameStart(f *testing.F) {
	f.Add([]byte{0x90, 0xf0, 0x81, 0x01, 7, 0x20, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		got := keyFrameStart(b)
		var p codecs.VP8Packet
		frame, err := p.Unmarshal(b)
		want := err == nil && p.S == 1 && p.PID == 0 && len(frame) > 0 && frame[0]&1 == 0
		if got != want {
			t.Fatalf("% x: %v, pion: %v", b, got, want)
		}
	})
}

func FuzzRTP(f *testing.F) {
	f.Add(append([]byte{0x80, 111, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, make([]byte, 20)...))
	f.Add(append([]byte{0x90, 111, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0, 0, 0, 0}, make([]byte, 20)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := parseRTP(b); ok && (h.size < rtpHeader || h.size > len(b)) {
			t.Fatalf("header of %d bytes in %d", h.size, len(b))
		}
	})
}

// workbench is an SFU that is not running, with a room of two open legs, for tests of its parts.
func workbench(t testing.TB) (*SFU, *Room, []*transport) {
	t.Helper()
	s, err := New(Config{Listen: netip.MustParseAddrPort("127.0.0.1:0")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	room, err := s.OpenRoom(conclave.MeetingID{1}, slot.Default, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []*transport
	for i := range byte(2) {
		all = append(all, addLeg(t, room, i+1))
	}
	return s, room, all
}

func addLeg(t testing.TB, room *Room, id byte) *transport {
	t.Helper()
	leg := conclave.LegID{id}
	if _, err := room.Credentials(leg); err != nil {
		t.Fatal(err)
	}
	base := uint32(id) * 10
	if err := room.Connect(leg, Offer{Ufrag: "abcd", Microphone: base + 1, Camera: base + 2, Screen: base + 3, Opus: 111, VP8: 96}); err != nil {
		t.Fatal(err)
	}
	tr := room.legs[leg].transport
	tr.keys.Store(testKeys(t))
	if err := room.Admit(leg); err != nil {
		t.Fatal(err)
	}
	return tr
}

func FuzzRTCP(f *testing.F) {
	nack := nackWriter{}
	nack.add(5)
	f.Add(appendPLI(nil, 0x0C1B0000))
	f.Add(nack.append(appendREMB(appendPLI(nil, 0x0C1A0000), 1, 1e6), 0x0C1B0000))
	f.Add(appendSR(nil, &lane{ssrc: 11}, &senderReport{}))
	f.Add([]byte{0x84, typePSF, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0x0c, 0x1b, 0, 0, 1, 0, 0, 0})
	s, _, all := workbench(f)
	forward := newForwarder(s)
	f.Fuzz(func(t *testing.T, b []byte) {
		rest := b
		for range maxCompound {
			p, next, ok := nextRTCP(rest)
			if !ok {
				break
			}
			if len(p.body)+4 > len(rest) || len(next) >= len(rest) {
				t.Fatalf("packet of %d bytes in %d, %d left", len(p.body), len(rest), len(next))
			}
			rest = next
		}
		forward.followRTCP(b, all[0], all[0].keys.Load())
	})
}

func FuzzSTUN(f *testing.F) {
	s, room, all := workbench(f)
	good, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(all[0].user), stun.MessageIntegrity(all[0].password), stun.Fingerprint)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Raw)
	f.Add(good.Raw[:len(good.Raw)-8])
	from := udp.AddressOf(netip.MustParseAddrPort("192.0.2.1:5"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m stun.Message
		reply := s.answer(&m, udp.Datagram{Data: bytes.Clone(b), From: from})
		if reply != nil && !bytes.Contains(b, []byte(room.legs[conclave.LegID{1}].credentials.Ufrag)) {
			t.Fatal("answered a request that does not name a leg")
		}
	})
}

func FuzzDatagram(f *testing.F) {
	s, _, all := workbench(f)
	key := udp.AddressOf(netip.MustParseAddrPort("192.0.2.1:5"))
	s.setAddress(key, all[0])
	forward := newForwarder(s)
	f.Add([]byte{0x80, 111, 0, 1, 0, 0, 0, 2, 0, 0, 0, 11, 1, 2, 3})
	f.Add([]byte{0x81, 201, 0, 1, 0, 0, 0, 2, 0, 0, 0, 11, 1, 2, 3})
	f.Add([]byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > udp.MaxDatagram || len(b) > 0 && b[0] >= 20 && b[0] < 64 {
			return // DTLS is pion's, and starts a goroutine
		}
		before := s.Stats()
		forward.take(&udp.Datagram{Data: bytes.Clone(b), From: key}, *s.addresses.Load())
		forward.flush()
		if after := s.Stats(); after.Forwarded != before.Forwarded {
			t.Fatal("forwarded what nobody sealed")
		}
		select {
		case <-s.requests:
		default:
		}
	})
}

func TestTheServerLinksNothingThatCouldDecrypt(t *testing.T) {
	out, err := exec.CommandContext(context.Background(), "go", "list", "-deps", "conclave/sfu").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(out)) {
		for _, forbidden := range []string{"conclave/sframe", "conclave/mls", "conclave/endpoint", "github.com/pion/webrtc"} {
			if path == forbidden || strings.HasPrefix(path, forbidden+"/") {
				t.Errorf("sfu links %s", path)
			}
		}
	}
}

// fixed is keying material of one byte repeated: both ends of a test hold the same.
type fixed byte

func (f fixed) ExportKeyingMaterial(_ string, _ []byte, n int) ([]byte, error) {
	return bytes.Repeat([]byte{byte(f)}, n), nil
}

func testKeys(t testing.TB) *keys {
	t.Helper()
	client, server, err := srtp.Keys(srtp.AES128GCM, fixed(1))
	if err != nil {
		t.Fatal(err)
	}
	k := new(keys)
	if k.opener, err = srtp.NewOpener(client); err != nil {
		t.Fatal(err)
	}
	if k.sealer, err = srtp.NewSealer(server); err != nil {
		t.Fatal(err)
	}
	return k
}
