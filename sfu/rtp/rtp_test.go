package rtp

import (
	"testing"

	pion "github.com/pion/rtcp"
	"github.com/pion/rtp/codecs"

	"conclave/sfu/slot"
)

func TestRTCPWeWriteIsWhatPionReads(t *testing.T) {
	b := AppendPLI(nil, 42)
	b = AppendREMB(b, 43, 1_500_000)
	b = AppendSR(b, 0x0C1B0001, 0x1234567890abcdef, 6000, 7, 700)
	var w NACK
	for _, seq := range []uint16{65534, 65535, 3, 100} {
		w.Add(seq)
	}
	b = w.Append(b, 44)
	b, at := BeginRTCP(b, TypeRR, slot.ServerSSRC)
	block := ReportBlock{SSRC: 45, Share: 3, Lost: 0x010203, Highest: 70000, Jitter: 9, LastSR: 10, Delay: 11}
	b = EndRTCP(block.Append(b), at, 1)

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
	if p := packets[2].(*pion.SenderReport); p.SSRC != 0x0C1B0001 || p.RTPTime != 6000 || p.NTPTime != 0x1234567890abcdef || p.PacketCount != 7 {
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
	if got := ParseReportBlock(block.Append(nil)); got != block {
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
		if got := KeyFrameStart(c.payload); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzKeyFrameStart(f *testing.F) {
	f.Add([]byte{0x90, 0xf0, 0x81, 0x01, 7, 0x20, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		got := KeyFrameStart(b)
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
		if h, ok := ParseHeader(b); ok && (h.Size < HeaderSize || h.Size > len(b)) {
			t.Fatalf("header of %d bytes in %d", h.Size, len(b))
		}
	})
}

func FuzzRTCP(f *testing.F) {
	f.Add(AppendREMB(AppendPLI(nil, 0x0C1A0000), 1, 1e6))
	f.Add(AppendSR(nil, 1, 2, 3, 4, 5))
	f.Add([]byte{0xa1, TypePayload, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest := b; ; {
			p, next, ok := NextRTCP(rest)
			if !ok {
				return
			}
			if len(p.Body)+4 > len(rest) || len(next) >= len(rest) {
				t.Fatalf("packet of %d bytes in %d, %d left", len(p.Body), len(rest), len(next))
			}
			rest = next
		}
	})
}
