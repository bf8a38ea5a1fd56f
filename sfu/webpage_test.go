package sfu_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/sfu"
	"conclave/sfu/slot"
)

// pageSource is what a browser runs: devices that make test pictures and sounds, the fixed set of transceivers, the answer by
// template, and after a while what getStats says of the slots.
const pageSource = `<!doctype html><body><script>
const leg = +location.hash.slice(1);
const note = async (what) => fetch('/note', {method: 'POST', body: JSON.stringify({leg, ...what})});
(async () => {
  try {
    const media = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: 320, height: 240}});
    const pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
    pc.addTransceiver(media.getAudioTracks()[0], {direction: 'sendonly'});
    const camera = pc.addTransceiver(media.getVideoTracks()[0], {direction: 'sendonly'});
    camera.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(c => c.mimeType === 'video/VP8'));
    const plan = await (await fetch('/plan')).json();
    for (let i = 0; i < plan.Audio; i++) pc.addTransceiver('audio', {direction: 'recvonly'});
    for (let i = 0; i < plan.Camera; i++) pc.addTransceiver('video', {direction: 'recvonly'});
    pc.ontrack = (e) => {
      const player = document.body.appendChild(document.createElement(e.track.kind));
      player.srcObject = new MediaStream([e.track]);
      player.play();
    };
    await pc.setLocalDescription(await pc.createOffer());
    const began = performance.now();
    const answer = await (await fetch('/offer/' + leg, {method: 'POST', body: pc.localDescription.sdp})).text();
    await pc.setRemoteDescription({type: 'answer', sdp: answer});
    pc.onconnectionstatechange = () => note({state: pc.connectionState, after: performance.now() - began});
    for (;;) {
      await new Promise(r => setTimeout(r, 500));
      const slots = {};
      let sent, profile;
      for (const s of (await pc.getStats()).values()) {
        if (s.type === 'inbound-rtp') slots[s.ssrc] = {packets: s.packetsReceived, lost: s.packetsLost, frames: s.framesDecoded || 0, heard: s.totalAudioEnergy || 0, discarded: s.packetsDiscarded || 0};
        if (s.type === 'transport') profile = s.srtpCipher;
        if (s.type === 'remote-inbound-rtp' && s.kind === 'video') sent = {rtt: s.roundTripTime, lost: s.fractionLost};
      }
      await note({slots, profile, sent});
    }
  } catch (e) { await note({error: String(e)}); }
})();
</script>`

type pageNote struct {
	Leg     int
	State   string
	After   float64
	Error   string
	Profile string
	Slots   map[uint32]struct {
		Packets, Lost, Frames, Discarded int
		Heard                            float64
	}
}

// browser starts a page in a browser of this machine.
type browser struct {
	command string
	args    func(t *testing.T) []string
}

var (
	chromium = browser{"chromium", func(t *testing.T) []string {
		return []string{"--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + t.TempDir(), "--use-fake-device-for-media-stream",
			"--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required"}
	}}
	firefox = browser{"firefox-esr", func(t *testing.T) []string {
		profile := t.TempDir()
		prefs := `user_pref("media.navigator.streams.fake", true);
user_pref("media.navigator.permission.disabled", true);
user_pref("media.autoplay.default", 0);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
`
		if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"--headless", "--no-remote", "--profile", profile}
	}}
)

// TestBrowsersSeeAndHearEachOther needs CONCLAVE_BROWSERS=1: three browsers at once are slow on a small machine, and the
// tests of the whole (folder test) start them anyway. It is for work on the transport, where it says more than those.
func TestBrowsersSeeAndHearEachOther(t *testing.T) {
	if os.Getenv("CONCLAVE_BROWSERS") == "" {
		t.Skip("CONCLAVE_BROWSERS is not set")
	}
	browsers := []browser{chromium, chromium, firefox}
	for _, b := range browsers {
		if _, err := exec.LookPath(b.command); err != nil {
			t.Skipf("no %s on this machine", b.command)
		}
	}
	plan := slot.Plan{Audio: 4, Camera: 3}
	// Firefox does not connect to loopback addresses.
	h := build(t, sfu.Config{Listen: netip.MustParseAddrPort("0.0.0.0:0")}, plan)
	if h.sfu.Candidates()[0].Addr().IsLoopback() {
		t.Skip("no address but loopback on this machine")
	}
	g := h.enter(7, mic, true)
	notes := make(chan pageNote, 1000)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(pageSource)) })
	mux.HandleFunc("GET /plan", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(plan) })
	mux.HandleFunc("POST /note", func(_ http.ResponseWriter, r *http.Request) {
		var n pageNote
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Error(err)
		}
		select {
		case notes <- n:
		default:
		}
	})
	mux.HandleFunc("POST /offer/{leg}", func(w http.ResponseWriter, r *http.Request) {
		leg := conclave.LegID{r.PathValue("leg")[0] - '0'}
		var b strings.Builder
		buf := make([]byte, 1<<16)
		for {
			n, err := r.Body.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				break
			}
		}
		text, err := h.takeOffer(leg, b.String(), plan)
		if err != nil {
			t.Error(err)
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write([]byte(text))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for i, b := range browsers {
		cmd := exec.CommandContext(ctx, b.command, append(b.args(t), fmt.Sprintf("%s/#%d", server.URL, i+1))...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
	}
	done, last := map[int]bool{}, map[int]pageNote{}
	for i := uint32(0); len(done) < len(browsers); i++ {
		select {
		case <-ctx.Done():
			t.Fatalf("not in time; SFU %+v; pages %+v", h.sfu.Stats(), last)
		case n := <-notes:
			if n.Error != "" {
				t.Fatalf("page %d: %s", n.Leg, n.Error)
			}
			if n.State != "" {
				t.Logf("page %d is %s after %.0f ms", n.Leg, n.State, n.After)
			}
			if n.Slots != nil {
				last[n.Leg] = n
				seen, heard, native := 0, 0, false
				for ssrc, s := range n.Slots {
					name, _ := slot.Of(ssrc)
					switch {
					case name.Kind == slot.Camera && s.Frames > 30:
						seen++
					case name == slot.Slot{Kind: slot.Microphone}:
						native = s.Packets > 50
					case name.Kind == slot.Microphone && s.Packets > 100 && s.Heard > 0:
						heard++
					}
				}
				if seen == len(browsers)-1 && heard == len(browsers)-1 && native && !done[n.Leg] {
					done[n.Leg] = true
					t.Logf("page %d, %s: %+v", n.Leg, n.Profile, n.Slots)
				}
			}
		case <-time.After(20 * time.Millisecond):
			g.Send(slot.Microphone, frame(i, 0), i*960, false)
		}
	}
	if len(g.packets(slot.Slot{Kind: slot.Microphone, Index: 1})) == 0 {
		t.Error("the native client hears no page")
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var known []time.Duration
		for i := range browsers {
			if s, err := h.room.Stats(conclave.LegID{byte(i + 1)}); err == nil && s.RTT > 0 {
				known = append(known, s.RTT)
			}
		}
		if len(known) >= 2 { // Firefox reports every five seconds or so, often without a reference
			t.Logf("round trips: %v", known)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %d round trips are known", len(known))
		}
	}
	if s := h.sfu.Stats(); s.Forged+s.Malformed != 0 {
		t.Errorf("SFU %+v", s)
	}
}

// takeOffer does what signalling and the page's template do: parameters to the SFU, an answer back.
func (h *house) takeOffer(leg conclave.LegID, sdp string, plan slot.Plan) (string, error) {
	credentials, err := h.room.Credentials(leg)
	if err != nil {
		return "", err
	}
	o := sfu.Offer{Ufrag: attribute(sdp, "ice-ufrag:")}
	print := strings.ReplaceAll(strings.TrimPrefix(attribute(sdp, "fingerprint:"), "sha-256 "), ":", "")
	if _, err := hex.Decode(o.Fingerprint[:], []byte(print)); err != nil {
		return "", err
	}
	for i, section := range strings.Split(sdp, "\r\nm=")[1:] {
		ssrc := atoi(attribute(section, "ssrc:"))
		switch {
		case i == 0:
			o.Microphone, o.Opus = ssrc, payloadType(section, "opus/48000")
		case i == 1:
			o.Camera, o.VP8 = ssrc, payloadType(section, "VP8/90000")
		}
	}
	if err := h.room.Connect(leg, o); err != nil {
		return "", err
	}
	if err := h.room.Admit(leg); err != nil {
		return "", err
	}
	var slots []slot.Slot
	for i := range plan.Audio {
		slots = append(slots, slot.Slot{Kind: slot.Microphone, Index: i})
	}
	for i := range plan.Camera {
		slots = append(slots, slot.Slot{Kind: slot.Camera, Index: i})
	}
	return answer(h, credentials, sdp, slots, o.Opus, o.VP8), nil
}

func atoi(s string) (n uint32) {
	for _, c := range s {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint32(c-'0')
	}
	return n
}

func payloadType(section, codec string) uint8 {
	for line := range strings.SplitSeq(section, "\r\n") {
		if rest, ok := strings.CutPrefix(line, "a=rtpmap:"); ok {
			if pt, name, _ := strings.Cut(rest, " "); strings.HasPrefix(name, codec) {
				return uint8(atoi(pt))
			}
		}
	}
	return 0
}
