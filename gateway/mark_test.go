package gateway

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/endpoint/headless"
	"conclave/opus"
	"conclave/phone/codec"
	"conclave/phone/dsp"
	"conclave/sfu/slot"
	"conclave/watermark"
	"conclave/watermark/marktest"
)

// called returns what a caller, leg 1 for a minute, is sent of so many frames that a member says, of which each lost-th does not
// arrive.
func called(t *testing.T, sync *watermark.Sync, frames, lost int, says func(frame []int16)) (sent []dsp.Frame) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{leg: &leg{gateway: &Gateway{config: Config{Now: time.Now}}}, voices: map[uint32]*voice{}, hall: newHall(conclave.MeetingID{})}
		b.marked(&endpoint.Marking{Sync: sync, Code: marktest.Key(t, 1).Code(), Began: time.Now().Add(-time.Minute)})
		b.open(true)
		encoder, err := opus.NewEncoder(opus.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer encoder.Close()
		rng := rand.New(rand.NewPCG(2, 1))
		for i := range frames {
			var frame [opus.FrameSamples]int16
			says(frame[:])
			packet, err := encoder.Encode(nil, frame[:])
			if err != nil {
				t.Fatal(err)
			}
			if rng.IntN(lost) > 0 {
				b.heard(headless.Frame{Leaf: 3, Kind: slot.Microphone, Timestamp: uint32(i) * opus.FrameSamples, Data: packet, Counter: uint32(i)})
			}
			time.Sleep(20 * time.Millisecond)
			b.mu.Lock()
			f := b.mix(time.Now())
			b.mu.Unlock()
			sent = append(sent, *f)
		}
	})
	return sent
}

// What a caller hears is traced to their leg, though packets of the room are lost before it.
func TestWhatACallerHearsIsMarked(t *testing.T) {
	if testing.Short() {
		t.Skip("-short is for the race detector, and nothing here runs beside anything")
	}
	sync := marktest.Sync(t)
	var sound []float32
	for _, f := range called(t, sync, 20*50, 20, marktest.Vowels()) {
		sound = marktest.Third(sound, f[:])
	}
	marktest.Names(t, sync, sound, 1, time.Minute)
}

// speech says what people said whose voices Debian's package asterisk-core-sounds-fr-g722 has; without it, hum.
func speech(t *testing.T) func(frame []int16) {
	t.Helper()
	files, _ := filepath.Glob("/usr/share/asterisk/sounds/fr_CA_f_June/*.g722")
	if _, err := exec.LookPath("ffmpeg"); err != nil || len(files) == 0 {
		t.Log("no recorded speech on this machine (asterisk-core-sounds-fr-g722 and ffmpeg): it is made up")
		return marktest.Vowels()
	}
	var raw []byte
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && len(b) > 16000 && len(raw) < 60*8000 {
			raw = append(raw, b...)
		}
	}
	pcm := ffmpeg(t, raw, "-f", "g722", "-i", "-", "-af", "volume=2", "-f", "s16le", "-ac", "1", "-ar", "48000", "-")
	return func(frame []int16) {
		for i := range frame {
			if len(pcm) > 1 {
				frame[i] = int16(binary.LittleEndian.Uint16(pcm))
				pcm = pcm[2:]
			}
		}
	}
}

func ffmpeg(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-loglevel", "error"}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg %v: %v: %s", args, err, stderr.Bytes())
	}
	return out.Bytes()
}

// What goes to a telephone goes on: as A-law over a trunk, and from there perhaps through GSM to a mobile. Half a minute of it
// names the caller's leg.
func TestWhatACallerHearsIsTracedThroughTheTelephoneNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("-short is for the race detector, and nothing here runs beside anything")
	}
	sync := marktest.Sync(t)
	sent := called(t, sync, 30*50, 1<<30, speech(t))
	encoder, err := codec.NewEncoder(codec.PCMA)
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	decoder, err := codec.NewDecoder(codec.PCMA)
	if err != nil {
		t.Fatal(err)
	}
	var alaw []byte
	var sound []float32
	for i := range sent {
		payload, err := encoder.Encode(nil, &sent[i])
		if err != nil {
			t.Fatal(err)
		}
		alaw = append(alaw, payload...)
		pcm, err := decoder.Decode(slices.Clone(payload))
		if err != nil {
			t.Fatal(err)
		}
		sound = marktest.Third(sound, pcm)
	}
	marktest.Names(t, sync, sound, 1, time.Minute)

	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg on this machine, which has GSM")
	}
	gsm := ffmpeg(t, alaw, "-f", "alaw", "-ar", "8000", "-i", "-", "-c:a", "libgsm", "-f", "gsm", "-")
	heard := ffmpeg(t, gsm, "-f", "gsm", "-i", "-", "-f", "f32le", "-ac", "1", "-ar", "16000", "-")
	sound = sound[:0]
	for ; len(heard) >= 4; heard = heard[4:] {
		sound = append(sound, math.Float32frombits(binary.LittleEndian.Uint32(heard)))
	}
	marktest.Names(t, sync, sound, 1, time.Minute)
}
