package srtp

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"testing"

	pion "github.com/pion/srtp/v3"
)

// material is an Exporter of fixed bytes.
type material []byte

func (m material) ExportKeyingMaterial(_ string, _ []byte, n int) ([]byte, error) {
	return bytes.Clone(m[:n]), nil
}

func pair(t testing.TB, p Profile) (*Sealer, *Opener, *pion.Context, *pion.Context) {
	t.Helper()
	m := make(material, 128)
	rand.Read(m)
	client, server, err := Keys(p, m)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := NewSealer(client)
	if err != nil {
		t.Fatal(err)
	}
	opener, err := NewOpener(server)
	if err != nil {
		t.Fatal(err)
	}
	// pion takes the same material: its client writes with the server key here, so that each side has both roles.
	toUs, err := pion.CreateContext(server.key, server.salt, pion.ProtectionProfile(p))
	if err != nil {
		t.Fatal(err)
	}
	fromUs, err := pion.CreateContext(client.key, client.salt, pion.ProtectionProfile(p), pion.SRTPReplayProtection(256), pion.SRTCPReplayProtection(64))
	if err != nil {
		t.Fatal(err)
	}
	return sealer, opener, toUs, fromUs
}

func header(ssrc uint32, seq uint16) []byte {
	h := make([]byte, 12)
	h[0], h[1] = 0x80, 111
	binary.BigEndian.PutUint16(h[2:], seq)
	binary.BigEndian.PutUint32(h[8:], ssrc)
	return h
}

func TestSealedPacketsOpenInPionAndTheOtherWayRound(t *testing.T) {
	for _, p := range []Profile{AES128GCM, AES256GCM} {
		sealer, opener, toUs, fromUs := pair(t, p)
		var w Window
		const ssrc = 0x0C1A0007
		for index := uint64(65000); index < 3*65536; index += 1 + index%7*1000 {
			payload := make([]byte, int(index%1200))
			rand.Read(payload)
			sealed := sealer.SealRTP(nil, header(ssrc, uint16(index)), payload, ssrc, index)
			plain, err := fromUs.DecryptRTP(nil, sealed, nil)
			if err != nil {
				t.Fatalf("profile %d index %d: pion does not open ours: %v", p, index, err)
			}
			if !bytes.Equal(plain[12:], payload) {
				t.Fatalf("profile %d index %d: payload differs", p, index)
			}
			theirs, err := toUs.EncryptRTP(nil, append(header(ssrc, uint16(index)), payload...), nil)
			if err != nil {
				t.Fatal(err)
			}
			got, at, err := opener.OpenRTP(theirs, 12, ssrc, uint16(index), &w)
			if err != nil || !bytes.Equal(got, payload) || at != index {
				t.Fatalf("profile %d index %d: opened as %d, %v", p, index, at, err)
			}
		}
	}
}

func TestRTCPOpensInPionAndTheOtherWayRound(t *testing.T) {
	for _, p := range []Profile{AES128GCM, AES256GCM} {
		sealer, opener, toUs, fromUs := pair(t, p)
		pli := []byte{0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2}
		for range 100 {
			plain, err := fromUs.DecryptRTCP(nil, sealer.SealRTCP(nil, pli), nil)
			if err != nil || !bytes.Equal(plain, pli) {
				t.Fatalf("pion does not open ours: %v", err)
			}
			theirs, err := toUs.EncryptRTCP(nil, pli, nil)
			if err != nil {
				t.Fatal(err)
			}
			again := bytes.Clone(theirs)
			got, err := opener.OpenRTCP(theirs)
			if err != nil || !bytes.Equal(got, pli) {
				t.Fatalf("pion's does not open: %v", err)
			}
			if _, err := opener.OpenRTCP(again); err != ErrReplay {
				t.Fatalf("replayed packet: %v", err)
			}
		}
	}
}

func TestAForgedOrReplayedPacketDoesNotOpenAndMovesNothing(t *testing.T) {
	_, opener, toUs, _ := pair(t, AES128GCM)
	var w Window
	const ssrc = 5
	sealed, err := toUs.EncryptRTP(nil, append(header(ssrc, 9), 1, 2, 3), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		forged := bytes.Clone(sealed)
		forged[i] ^= 1
		if _, _, err := opener.OpenRTP(forged, 12, binary.BigEndian.Uint32(forged[8:]), binary.BigEndian.Uint16(forged[2:]), &w); err == nil {
			t.Fatalf("byte %d changed, and it opened", i)
		}
	}
	if _, started := w.Highest(); started {
		t.Fatal("a forged packet moved the window")
	}
	again := bytes.Clone(sealed)
	if _, _, err := opener.OpenRTP(sealed, 12, ssrc, 9, &w); err != nil {
		t.Fatal(err)
	}
	if _, _, err := opener.OpenRTP(again, 12, ssrc, 9, &w); err != ErrReplay {
		t.Fatalf("replayed packet: %v", err)
	}
}

func TestTheWindowTakesEachIndexOnce(t *testing.T) {
	var w Window
	taken := map[uint64]bool{}
	index := uint64(40000)
	for i := range 200_000 {
		// Forward by 0 to 3, now and then back by up to 2000 or forward by 5000.
		try := index
		switch r := uint64(i) * 2654435761 % 1000; {
		case r < 5:
			try = index + 5000
		case r < 300 && index > 2000:
			try = index - r*7
		default:
			try = index + r%4
		}
		tooOld := w.started && w.highest >= windowSize && try <= w.highest-windowSize
		if got, want := w.Seen(try), taken[try] || tooOld; got != want {
			t.Fatalf("index %d (highest %d): seen %v, want %v", try, w.highest, got, want)
		}
		if !w.Seen(try) {
			w.Accept(try)
			taken[try] = true
			index = max(index, try)
		}
	}
	n := 0
	for _, word := range w.seen {
		n += bits.OnesCount64(word)
	}
	if n > windowSize {
		t.Fatalf("%d bits set", n)
	}
}

func TestNothingIsAllocatedPerPacket(t *testing.T) {
	sealer, opener, toUs, _ := pair(t, AES128GCM)
	var w Window
	h, payload, dst := header(1, 0), make([]byte, 106), make([]byte, 0, 2000)
	theirs := make([][]byte, 300)
	for i := range theirs {
		var err error
		if theirs[i], err = toUs.EncryptRTP(nil, append(header(1, uint16(i)), payload...), nil); err != nil {
			t.Fatal(err)
		}
	}
	i := 0
	if n := testing.AllocsPerRun(200, func() {
		binary.BigEndian.PutUint16(h[2:], uint16(i))
		dst = sealer.SealRTP(dst[:0], h, payload, 1, uint64(i))
		if _, _, err := opener.OpenRTP(theirs[i], 12, 1, uint16(i), &w); err != nil {
			t.Fatal(err)
		}
		i++
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkSeal(b *testing.B) {
	sealer, _, _, _ := pair(b, AES128GCM)
	h, payload, dst := header(1, 0), make([]byte, 106), make([]byte, 0, 2000)
	b.ReportAllocs()
	index := uint64(0)
	for b.Loop() {
		index++
		binary.BigEndian.PutUint16(h[2:], uint16(index))
		dst = sealer.SealRTP(dst[:0], h, payload, 1, index)
	}
}

func FuzzOpen(f *testing.F) {
	sealer, opener, _, _ := pair(f, AES128GCM)
	f.Add(sealer.SealRTP(nil, header(1, 1), []byte{1}, 1, 1))
	f.Add(sealer.SealRTCP(nil, []byte{0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var w Window
		if _, err := opener.OpenRTCP(bytes.Clone(b)); err == nil {
			t.Fatal("opened what nobody sealed")
		}
		if _, _, err := opener.OpenRTP(b, 12, 1, 1, &w); err == nil {
			t.Fatal("opened what nobody sealed")
		}
	})
}
