package sfu

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/pion/stun/v3"

	"conclave"
	"conclave/sfu/rtp"
	"conclave/sfu/slot"
	"conclave/sfu/srtp"
	"conclave/sfu/udp"
)

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
	nack := rtp.NACK{}
	nack.Add(5)
	f.Add(rtp.AppendPLI(nil, 0x0C1B0000))
	f.Add(nack.Append(rtp.AppendREMB(rtp.AppendPLI(nil, 0x0C1A0000), 1, 1e6), 0x0C1B0000))
	f.Add(rtp.AppendSR(nil, 11, 1, 2, 3, 4))
	f.Add([]byte{0x84, rtp.TypePayload, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0x0c, 0x1b, 0, 0, 1, 0, 0, 0})
	s, _, all := workbench(f)
	forward := newForwarder(s)
	f.Fuzz(func(t *testing.T, b []byte) {
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
