//go:build linux

package sfu_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/pion/webrtc/v4"

	"conclave/endpoint/media"
)

// plainServer is the fan-out that everybody writes first with pion: a PeerConnection a leg, a TrackLocalStaticRTP a
// publisher, pion's default interceptors. What BenchmarkForward compares with.
type plainServer struct {
	mu     sync.Mutex
	tracks []*webrtc.TrackLocalStaticRTP
}

func (s *plainServer) counts() (uint64, uint64) { return 0, 0 }

func (s *plainServer) connect(leg int, l media.Local, publishers int) (remote media.Remote, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.tracks) < publishers {
		t, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, fmt.Sprintf("t%d", len(s.tracks)), "s")
		if err != nil {
			return remote, err
		}
		s.tracks = append(s.tracks, t)
	}
	var settings webrtc.SettingEngine
	settings.SetLite(true)
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if err := settings.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
		return remote, err
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return remote, err
	}
	sends := leg < publishers
	for i, track := range s.tracks {
		if i == leg {
			continue
		}
		tx, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			return remote, err
		}
		go func() { // as pion's examples do, for the interceptors
			buf := make([]byte, 1500)
			for {
				if _, _, err := tx.Sender().Read(buf); err != nil {
					return
				}
			}
		}()
	}
	if sends {
		local := s.tracks[leg]
		pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			buf := make([]byte, 1500)
			for {
				n, _, err := track.Read(buf)
				if err != nil {
					return
				}
				if _, err := local.Write(buf[:n]); err != nil {
					return
				}
			}
		})
	}
	receives := publishers
	if sends {
		receives--
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: plainOffer(l, sends, receives)}); err != nil {
		return remote, err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return remote, err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return remote, err
	}
	<-gathered
	return parsePlain(pc.LocalDescription().SDP)
}

func plainOffer(l media.Local, sends bool, receives int) string {
	var colons []string
	for _, b := range l.Fingerprint {
		colons = append(colons, fmt.Sprintf("%02X", b))
	}
	var b, mids strings.Builder
	section := func(mid int, more string) {
		fmt.Fprintf(&mids, " %d", mid)
		fmt.Fprintf(&b, "m=audio 9 UDP/TLS/RTP/SAVPF %d\r\nc=IN IP4 0.0.0.0\r\na=mid:%d\r\na=rtcp-mux\r\na=rtpmap:%d opus/48000/2\r\n"+
			"a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:sha-256 %s\r\na=setup:actpass\r\n%s",
			l.Opus, mid, l.Opus, l.Ufrag, l.Password, strings.Join(colons, ":"), more)
	}
	mid := 0
	if sends {
		section(mid, fmt.Sprintf("a=sendonly\r\na=msid:me mic\r\na=ssrc:%d cname:me\r\n", l.Microphone))
		mid++
	}
	for range receives {
		section(mid, "a=recvonly\r\n")
		mid++
	}
	return "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE" + mids.String() + "\r\n" + b.String()
}

func parsePlain(sdp string) (r media.Remote, err error) {
	r.Ufrag, r.Password = attribute(sdp, "ice-ufrag:"), attribute(sdp, "ice-pwd:")
	print := strings.ReplaceAll(strings.TrimPrefix(attribute(sdp, "fingerprint:"), "sha-256 "), ":", "")
	if _, err := hex.Decode(r.Fingerprint[:], []byte(print)); err != nil {
		return r, err
	}
	for line := range strings.SplitSeq(sdp, "\r\n") {
		if !strings.HasPrefix(line, "a=candidate:") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "1" {
			continue
		}
		a, err := netip.ParseAddrPort(f[4] + ":" + f[5])
		if err != nil {
			return r, err
		}
		r.Candidates = append(r.Candidates, a)
	}
	if len(r.Candidates) == 0 {
		return r, errors.New("answer without a candidate")
	}
	return r, nil
}
