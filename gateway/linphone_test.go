package gateway_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"conclave/phone/prompt"
	"conclave/phone/sip"
)

// A second make of telephone, Linphone: another SIP stack, another RTP, other digits.
func TestACallOfLinphone(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("linphonec"); err != nil {
		t.Skip("needs linphonec: scripts/need-test installs linphone-cli")
	}
	h := build(t, options{})
	code := h.code()
	dir := t.TempDir()
	var voice []int16
	for len(voice) < 60*48000 {
		voice = append(voice, callersVoice()...)
	}
	write(t, filepath.Join(dir, "in.wav"), wav(downsample(voice, 8000), 8000, false))
	if err := os.MkdirAll(filepath.Join(dir, ".local/share/linphone"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, ".asoundrc"), []byte("pcm.!default { type null }\nctl.!default { type null }\n"))
	port := freePort(t)
	write(t, filepath.Join(dir, "rc"), fmt.Appendf(nil, "[sip]\ndefault_proxy=-1\nsip_port=%d\nuse_ipv6=0\nbind_address=127.0.0.1\nuse_info=0\nuse_rfc2833=1\n[net]\nmtu=1300\nfirewall_policy=0\n[rtp]\naudio_rtp_port=%d\n"+
		"[sound]\nplayback_dev_id=\ncapture_dev_id=\necholimiter=0\nechocancellation=0\n[audio_codec_0]\nmime=PCMA\nrate=8000\nenabled=1\n[misc]\n", port, port+4))
	cmd := exec.Command("linphonec", "-c", filepath.Join(dir, "rc"))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
	out := new(logBuffer)
	cmd.Stdout, cmd.Stderr = out, out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		io.WriteString(in, "terminate\nquit\n")
		in.Close()
		done := make(chan struct{})
		go func() { cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(3 * time.Second):
			cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			t.Logf("linphonec: %.3000s", out)
		}
	})
	say := func(line string) { io.WriteString(in, line+"\n"); time.Sleep(300 * time.Millisecond) }
	time.Sleep(2 * time.Second)
	say("soundcard use files")
	say("record " + filepath.Join(dir, "out.wav"))
	say("play " + filepath.Join(dir, "in.wav"))
	say("call sip:door@" + h.sip[sip.UDP])
	h.until("the call to come", func() bool { return h.gateway.Stats().Legs == 1 })
	time.Sleep(3 * time.Second)
	for _, key := range "2" + code {
		say(string(key))
	}
	time.Sleep(4 * time.Second)
	say("1")
	h.until("the phone to be in", func() bool { return h.chair.phone() != nil })
	time.Sleep(6 * time.Second)
	heard := recording(filepath.Join(dir, "out.wav"))
	// Linphone's own playing out stretches sound, so that little of a second stays as it was.
	question, chair := like(downsample(sentence(prompt.German, prompt.Choose), 8000), heard), like(downsample(chairsVoice(), 8000), heard)
	t.Logf("heard %d s; the question: %.3f, the chair: %.3f", len(heard)/8000, question, chair)
	say("terminate")
	h.until("the phone to be gone", func() bool { return h.chair.phone() == nil && h.gateway.Stats().Legs == 0 })
}
