//go:build linux && (amd64 || arm64)

package sfu

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/sfu/rtp"
	"conclave/sfu/slot"
	"conclave/sfu/srtp"
	"conclave/sfu/udp"
)

// mouth seals packets as a publisher does.
type mouth struct {
	sealer *srtp.Sealer
	ssrc   uint32
	pt     uint8
	index  uint64
}

func newMouth(t testing.TB, in *inbound) *mouth {
	t.Helper()
	client, _, err := srtp.Keys(srtp.AES128GCM, fixed(1))
	if err != nil {
		t.Fatal(err)
	}
	s, err := srtp.NewSealer(client)
	if err != nil {
		t.Fatal(err)
	}
	return &mouth{sealer: s, ssrc: in.ssrc, pt: in.of.payloadType[in.kind-1], index: 100}
}

func (m *mouth) seal(dst, payload []byte, ts uint32) []byte {
	var h [rtp.HeaderSize]byte
	h[0], h[1] = 0x80, m.pt
	binary.BigEndian.PutUint16(h[2:], uint16(m.index))
	binary.BigEndian.PutUint32(h[4:], ts)
	binary.BigEndian.PutUint32(h[8:], m.ssrc)
	dst = m.sealer.SealRTP(dst, h[:], payload, m.ssrc, m.index)
	m.index++
	return dst
}

func TestNothingIsAllocatedPerPacket(t *testing.T) {
	s, room, all := workbench(t)
	for i := byte(3); i <= 20; i++ {
		all = append(all, addLeg(t, room, i))
	}
	sink, err := udp.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	to := &udp.Path{To: udp.AddressOf(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), sink.Port()))}
	for _, tr := range all {
		tr.path.Store(to)
	}
	f := newForwarder(s)
	f.now = time.Hour
	voice, picture := newMouth(t, &all[0].in[slot.Microphone-1]), newMouth(t, &all[1].in[slot.Camera-1])
	all[1].in[slot.Camera-1].last.Store(int64(s.now()) + 1)
	room.tick(s.now())
	const runs = 300
	var audio, video [runs + 2][]byte
	key := append([]byte{0x10, 0, 0, 0, 0x9d, 1, 0x2a, 16, 0, 16, 0}, make([]byte, 1000)...)
	for i := range audio {
		audio[i] = voice.seal(nil, make([]byte, 106), uint32(i)*960)
		video[i] = picture.seal(nil, key, uint32(i)*3000)
	}
	i := 0
	step := func() {
		f.now += time.Millisecond
		f.takeRTP(audio[i], all[0])
		f.takeRTP(video[i], all[1])
		f.flush()
		i++
	}
	step() // makes the ring
	before := s.Stats()
	if n := testing.AllocsPerRun(runs, step); n != 0 {
		t.Fatalf("%v allocations for two packets in and 38 out", n)
	}
	after := s.Stats()
	if got := after.Forwarded - before.Forwarded; got != (runs+1)*2*19 {
		t.Fatalf("%d packets forwarded; stats %+v", got, after)
	}
}

func TestEveryReceiverOpensTheSameWhateverTheBatching(t *testing.T) {
	for _, offload := range []bool{true, false} {
		s, room, all := workbench(t)
		offload = offload && s.socket.Offload()
		s.socket.SetOffload(offload)
		sinks := make([]*udp.Socket, 3)
		all = append(all, addLeg(t, room, 3))
		for i := range sinks {
			var err error
			if sinks[i], err = udp.Listen(netip.MustParseAddrPort("127.0.0.1:0")); err != nil {
				t.Fatal(err)
			}
			defer sinks[i].Close()
			all[i].path.Store(&udp.Path{To: udp.AddressOf(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), sinks[i].Port()))})
		}
		f := newForwarder(s)
		f.now = time.Second
		// Two speakers, sizes that differ now and then, more than one message's worth.
		var sent [2][][]byte
		mouths := [2]*mouth{newMouth(t, &all[0].in[slot.Microphone-1]), newMouth(t, &all[1].in[slot.Microphone-1])}
		for i := range 100 {
			for j, m := range mouths {
				payload := make([]byte, 106)
				if i%10 == j {
					payload = make([]byte, 90+i)
				}
				rand.Read(payload)
				sent[j] = append(sent[j], payload)
				f.takeRTP(m.seal(nil, payload, uint32(i)*960), all[j])
			}
		}
		f.flush()
		_, server, err := srtp.Keys(srtp.AES128GCM, fixed(1))
		if err != nil {
			t.Fatal(err)
		}
		for i, sink := range sinks {
			opener, err := srtp.NewOpener(server)
			if err != nil {
				t.Fatal(err)
			}
			var got [2][][]byte
			var windows [2]srtp.Window
			buffers := make([][]byte, udp.MaxReceive)
			for j := range buffers {
				buffers[j] = make([]byte, udp.MaxDatagram)
			}
			into := make([]udp.Datagram, udp.MaxReceive)
			for {
				n, err := sink.Receive(buffers, into, false)
				if err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					break
				}
				for _, d := range into[:n] {
					if d.Data[1] >= 192 && d.Data[1] <= 223 {
						continue // a report
					}
					h, ok := rtp.ParseHeader(d.Data)
					name, slotOK := slot.Of(h.SSRC)
					if !ok || !slotOK || name.Index > 1 {
						t.Fatalf("receiver %d got % x", i, d.Data)
					}
					payload, _, err := opener.OpenRTP(d.Data, h.Size, h.SSRC, h.Sequence, &windows[name.Index])
					if err != nil {
						t.Fatalf("receiver %d slot %d: %v", i, name.Index, err)
					}
					got[name.Index] = append(got[name.Index], bytes.Clone(payload))
				}
			}
			for j := range got {
				want := 100
				if i == j {
					want = 0
				}
				if len(got[j]) != want {
					t.Fatalf("offload %v: receiver %d got %d packets of slot %d, want %d", offload, i, len(got[j]), j, want)
				}
				for n := range got[j] {
					if !bytes.Equal(got[j][n], sent[j][n]) {
						t.Fatalf("offload %v: receiver %d, slot %d: packet %d is another", offload, i, j, n)
					}
				}
			}
		}
	}
}

func TestSilenceAndLossOfALegAreTold(t *testing.T) {
	s, room, all := workbench(t)
	var kinds []EventKind
	room.notify = func(e Event) {
		if e.Leg == (conclave.LegID{1}) {
			kinds = append(kinds, e.Kind)
		}
	}
	go s.events.run()
	at := func(heard, now time.Duration) {
		all[0].heard.Store(int64(heard))
		all[1].heard.Store(int64(now))
		room.tick(now)
	}
	at(0, time.Second)
	at(0, 3*time.Second)
	at(3*time.Second, 4*time.Second)
	at(3*time.Second, 6*time.Second)
	at(3*time.Second, 19*time.Second)
	if all[0].open.Load() || len(room.table.Load().receivers) != 1 {
		t.Fatal("an address that has been silent for 16 s is sent media")
	}
	at(19*time.Second, 20*time.Second)
	if !all[0].open.Load() || len(room.table.Load().receivers) != 2 {
		t.Fatal("a leg that is back is sent nothing")
	}
	if all[0].in[slot.Microphone-1].grant.Load() == nil {
		t.Fatal("a leg that is back is not heard")
	}
	done := make(chan struct{})
	s.events.add(func() { close(done) })
	<-done
	s.events.close()
	want := []EventKind{EventSilent, EventBack, EventSilent, EventLost, EventBack}
	if len(kinds) != len(want) {
		t.Fatalf("events %v, want %v", kinds, want)
	}
	for i := range want {
		if kinds[i] != want[i] {
			t.Fatalf("events %v, want %v", kinds, want)
		}
	}
}

func TestALegThatIsLoudTakesASlotInACrowdedRoomAndKeepsItAWhile(t *testing.T) {
	s, err := New(Config{Listen: netip.MustParseAddrPort("127.0.0.1:0")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	room, err := s.OpenRoom(conclave.MeetingID{1}, slot.Plan{Audio: 2, Camera: 2, Screen: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := addLeg(t, room, 1), addLeg(t, room, 2)
	if room.Owners().Crowded {
		t.Fatal("two legs crowd two slots")
	}
	c := addLeg(t, room, 3)
	if !room.Owners().Crowded {
		t.Fatal("three legs do not crowd two slots")
	}
	speak := func(tr *transport, level byte, packets int) {
		for range packets {
			tr.in[slot.Microphone-1].hear(level)
		}
	}
	audio := func() (legs [2]byte) {
		o := room.Owners()
		return [2]byte{o.Audio[0][0], o.Audio[1][0]}
	}
	now := s.now()
	room.turned = now + time.Hour // nobody has a turn yet: loudness alone counts
	speak(a, 100, 50)
	speak(c, 30, 50) // noise
	room.tick(now + 3*time.Second)
	if got := audio(); got != [2]byte{1, 2} {
		t.Fatalf("noise took a slot: %v", got)
	}
	speak(c, 100, 10) // a fifth of a second of speech
	room.tick(now + 3050*time.Millisecond)
	if got := audio(); got != [2]byte{1, 3} {
		t.Fatalf("owners %v, want the silent one replaced", got)
	}
	speak(b, 127, 50) // much louder than either, but c only just came, and a speaks
	speak(a, 127, 50)
	room.tick(now + 4*time.Second)
	if got := audio(); got != [2]byte{1, 3} {
		t.Fatalf("owners %v: a slot changed hands before its time", got)
	}
	speak(c, 0, 400)
	room.tick(now + 6*time.Second)
	if got := audio(); got != [2]byte{1, 2} {
		t.Fatalf("owners %v, want the one who fell silent replaced", got)
	}
	if err := room.Cut(conclave.LegID{1}); err != nil {
		t.Fatal(err)
	}
	if got := audio(); got != [2]byte{3, 2} || room.Owners().Crowded {
		t.Fatalf("owners %v after a cut", got)
	}
}

func TestInACrowdedRoomEverybodyHasATurnAndSpeakersKeepTheirSlots(t *testing.T) {
	s, err := New(Config{Listen: netip.MustParseAddrPort("127.0.0.1:0")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const slots, legs = 3, 12
	room, err := s.OpenRoom(conclave.MeetingID{1}, slot.Plan{Audio: slots}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []*transport
	for i := range byte(legs) {
		all = append(all, addLeg(t, room, i+1))
	}
	now := s.now()
	last := map[byte]time.Duration{}
	// One speaks all the time, another begins in the middle.
	const round = legs * turnEvery
	for at := time.Duration(0); at < 4*round; at += 50 * time.Millisecond {
		all[0].in[slot.Microphone-1].hear(110)
		if at > 2*round {
			all[7].in[slot.Microphone-1].hear(110)
		}
		room.tick(now + at)
		seated := map[byte]bool{}
		for _, id := range room.Owners().Audio {
			seated[id[0]] = true
			last[id[0]] = at
		}
		if len(seated) != slots || !seated[1] || at > 2*round+holdAudio && !seated[8] {
			t.Fatalf("after %v: %v", at, seated)
		}
		for id := range byte(legs) {
			if silence := at - last[id+1]; silence > round {
				t.Fatalf("after %v leg %d has had no slot for %v", at, id+1, silence)
			}
		}
	}
	// Where all who have a slot speak, nobody is interrupted for a turn.
	for range 100 {
		for _, id := range room.Owners().Audio {
			all[id[0]-1].in[slot.Microphone-1].hear(110)
		}
	}
	before := room.Owners().Audio
	for at := time.Duration(0); at < round; at += time.Second {
		room.tick(now + 4*round + at)
	}
	if after := room.Owners().Audio; !slices.Equal(after, before) {
		t.Errorf("speakers %v became %v", before, after)
	}
}
