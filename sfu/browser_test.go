package sfu_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	wmedia "github.com/pion/webrtc/v4/pkg/media"

	"conclave"
	"conclave/endpoint/media"
	"conclave/sfu"
	"conclave/sfu/slot"
)

// page is a PeerConnection as a browser makes it: its own payload type numbers, one transceiver for each slot, an answer
// made from the offer by a template.
type page struct {
	id  conclave.LegID
	pc  *webrtc.PeerConnection
	mic *webrtc.TrackLocalStaticSample
	cam *webrtc.TrackLocalStaticSample

	mu      sync.Mutex
	heard   map[slot.Slot]int
	types   map[slot.Slot]webrtc.PayloadType
	wanted  int     // key frames asked for
	allowed float32 // last REMB
	reports int     // reception reports of the camera's or microphone's stream
}

func newPage(t *testing.T, h *house, id byte, plan slot.Plan, opus, vp8 webrtc.PayloadType) *page {
	t.Helper()
	engine := new(webrtc.MediaEngine)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	audio := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}
	video := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000, RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "goog-remb"}}}
	check(engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: audio, PayloadType: opus}, webrtc.RTPCodecTypeAudio))
	check(engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: video, PayloadType: vp8}, webrtc.RTPCodecTypeVideo))
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	check(err)
	t.Cleanup(func() { pc.Close() })
	p := &page{id: conclave.LegID{id}, pc: pc, heard: map[slot.Slot]int{}, types: map[slot.Slot]webrtc.PayloadType{}}
	p.mic, err = webrtc.NewTrackLocalStaticSample(audio, "mic", "me")
	check(err)
	p.cam, err = webrtc.NewTrackLocalStaticSample(video, "cam", "me")
	check(err)
	sendonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
	micTx, err := pc.AddTransceiverFromTrack(p.mic, sendonly)
	check(err)
	camTx, err := pc.AddTransceiverFromTrack(p.cam, sendonly)
	check(err)
	var slots []slot.Slot
	for i := range plan.Audio {
		slots = append(slots, slot.Slot{Kind: slot.Microphone, Index: i})
	}
	for i := range plan.Camera {
		slots = append(slots, slot.Slot{Kind: slot.Camera, Index: i})
	}
	for _, s := range slots {
		kind := webrtc.RTPCodecTypeAudio
		if s.Kind.Video() {
			kind = webrtc.RTPCodecTypeVideo
		}
		_, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		check(err)
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		s, _ := slot.Of(uint32(track.SSRC()))
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.heard[s]++
			p.types[s] = webrtc.PayloadType(packet.PayloadType)
			p.mu.Unlock()
		}
	})
	go func() {
		for {
			packets, _, err := camTx.Sender().ReadRTCP()
			if err != nil {
				return
			}
			for _, r := range packets {
				p.mu.Lock()
				switch r := r.(type) {
				case *rtcp.PictureLossIndication:
					p.wanted++
				case *rtcp.ReceiverEstimatedMaximumBitrate:
					p.allowed = r.Bitrate
				case *rtcp.ReceiverReport:
					p.reports += len(r.Reports)
				}
				p.mu.Unlock()
			}
		}
	}()
	o, err := pc.CreateOffer(nil)
	check(err)
	gathered := webrtc.GatheringCompletePromise(pc)
	check(pc.SetLocalDescription(o))
	<-gathered
	sdp := pc.LocalDescription().SDP

	credentials, err := h.room.Credentials(p.id)
	check(err)
	offer := sfu.Offer{
		Ufrag: attribute(sdp, "ice-ufrag:"), Opus: uint8(opus), VP8: uint8(vp8),
		Microphone: uint32(micTx.Sender().GetParameters().Encodings[0].SSRC),
		Camera:     uint32(camTx.Sender().GetParameters().Encodings[0].SSRC),
	}
	print := strings.ReplaceAll(strings.TrimPrefix(attribute(sdp, "fingerprint:"), "sha-256 "), ":", "")
	if n, err := hex.Decode(offer.Fingerprint[:], []byte(print)); err != nil || n != 32 {
		t.Fatalf("fingerprint of the offer: %v", err)
	}
	check(h.room.Connect(p.id, offer))
	check(pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer(h, credentials, sdp, slots, opus, vp8)}))
	return p
}

func attribute(sdp, name string) string {
	_, rest, _ := strings.Cut(sdp, "a="+name)
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

// answer is the template that the browser client fills in, too.
func answer[T ~uint8](h *house, c sfu.Credentials, offer string, slots []slot.Slot, opus, vp8 T) string {
	fingerprint := h.sfu.Fingerprint()
	var colons []string
	for _, b := range fingerprint {
		colons = append(colons, fmt.Sprintf("%02X", b))
	}
	var b strings.Builder
	sections := strings.Split(offer, "\r\nm=")[1:]
	var mids []string
	for _, s := range sections {
		mids = append(mids, attribute("\r\n"+s, "mid:"))
	}
	fmt.Fprintf(&b, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE %s\r\na=ice-lite\r\na=msid-semantic: WMS *\r\n", strings.Join(mids, " "))
	for i, s := range sections {
		kind, _, _ := strings.Cut(s, " ")
		pt, codec := opus, "opus/48000/2"
		if kind == "video" {
			pt, codec = vp8, "VP8/90000"
		}
		fmt.Fprintf(&b, "m=%s 9 UDP/TLS/RTP/SAVPF %d\r\nc=IN IP4 0.0.0.0\r\na=mid:%s\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:%d %s\r\n", kind, pt, mids[i], pt, codec)
		fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:sha-256 %s\r\na=setup:passive\r\n", c.Ufrag, c.Password, strings.Join(colons, ":"))
		if kind == "video" {
			fmt.Fprintf(&b, "a=rtcp-fb:%d nack\r\na=rtcp-fb:%d nack pli\r\na=rtcp-fb:%d goog-remb\r\n", pt, pt, pt)
		} else {
			fmt.Fprintf(&b, "a=fmtp:%d minptime=20;useinbandfec=0;cbr=1;usedtx=0;maxaveragebitrate=32000;stereo=0\r\n", pt)
		}
		if i < 2 {
			b.WriteString("a=recvonly\r\n")
		} else {
			s := slots[i-2]
			fmt.Fprintf(&b, "a=sendonly\r\na=msid:%s%d %s%d\r\na=ssrc:%d cname:conclave\r\n", s.Kind, s.Index, s.Kind, s.Index, s.SSRC())
		}
		if i == 0 {
			for n, candidate := range h.sfu.Candidates() {
				fmt.Fprintf(&b, "a=candidate:%d 1 udp %d %s %d typ host\r\n", n+1, 2130706431-n, candidate.Addr(), candidate.Port())
			}
			b.WriteString("a=end-of-candidates\r\n")
		}
	}
	return b.String()
}

func (p *page) got(s slot.Slot) (int, webrtc.PayloadType) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard[s], p.types[s]
}

// vp8 is a frame as the transform seals it: the synthetic prefix, then bytes that nobody reads.
func vp8(key bool, size int) []byte {
	b := make([]byte, size)
	copy(b, []byte{1})
	if key {
		copy(b, []byte{0, 0, 0, 0x9d, 1, 0x2a, 16, 0, 16, 0})
	}
	return b
}

func TestPeerConnectionsWithOtherPayloadTypesTakeTheTemplate(t *testing.T) {
	plan := slot.Plan{Audio: 3, Camera: 2, Screen: 1}
	h := build(t, sfu.Config{}, plan)
	a := newPage(t, h, 1, plan, 111, 96)
	b := newPage(t, h, 2, plan, 109, 120)
	g := h.enter(3, media.Config{Microphone: true}, false)
	for _, id := range []conclave.LegID{a.id, b.id, g.id} {
		if err := h.room.Admit(id); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*page{a, b} {
		h.eventually("the page is connected", func() bool {
			s, err := h.room.Stats(p.id)
			return err == nil && s.Open
		})
	}
	slotA, slotB, slotG := slot.Slot{Kind: slot.Microphone, Index: 0}, slot.Slot{Kind: slot.Microphone, Index: 1}, slot.Slot{Kind: slot.Microphone, Index: 2}
	camA := slot.Slot{Kind: slot.Camera, Index: 0}
	if o := h.room.Owners(); o.Audio[0] != a.id || o.Audio[1] != b.id || o.Audio[2] != g.id {
		t.Fatalf("owners: %v", o)
	}
	for i := range 100 {
		a.mic.WriteSample(wmedia.Sample{Data: frame(uint32(i), 0), Duration: 20 * time.Millisecond})
		b.mic.WriteSample(wmedia.Sample{Data: frame(uint32(i), 0), Duration: 20 * time.Millisecond})
		g.talk(t, i, 1, 0)
		// Key frames only when asked for.
		a.mu.Lock()
		key := a.wanted > 0
		a.wanted = 0
		a.mu.Unlock()
		a.cam.WriteSample(wmedia.Sample{Data: vp8(key, 3000), Duration: 33 * time.Millisecond})
		time.Sleep(8 * time.Millisecond)
	}
	h.eventually("b hears a and g, a hears b, g hears both", func() bool {
		ba, pt := b.got(slotA)
		bg, _ := b.got(slotG)
		ab, pt2 := a.got(slotB)
		return ba >= 95 && pt == 109 && bg >= 95 && ab >= 95 && pt2 == 111 && len(g.packets(slotA)) >= 95 && len(g.packets(slotB)) >= 95
	})
	h.eventually("b and g see a, with their own payload types, from a key frame on", func() bool {
		n, pt := b.got(camA)
		return n > 30 && pt == 120 && len(g.packets(camA)) > 30
	})
	if first := g.packets(camA)[0].Payload; first[0]&0x10 == 0 || first[1]&1 != 0 && first[0]&0x80 == 0 {
		t.Fatalf("the first packet of a's camera is no key frame's: % x", first[:12])
	}
	a.mu.Lock()
	if a.allowed < 1_490_000 || a.allowed > 1_500_000 || a.reports == 0 {
		t.Errorf("a was told a rate of %.0f and %d reports", a.allowed, a.reports)
	}
	a.mu.Unlock()
	if n, _ := a.got(slotA); n != 0 {
		t.Fatal("a hears itself")
	}
	if s := h.sfu.Stats(); s.Forged+s.Malformed != 0 {
		t.Fatalf("stats: %+v", s)
	}
}
