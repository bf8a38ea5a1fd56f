package gateway_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"conclave/gateway"
	"conclave/phone/codec"
	"conclave/phone/media"
	"conclave/phone/prompt"
)

// chirp is a voice that is like nothing else: three seconds from 300 to 3000 Hz, at 48 kHz.
func chirp() []int16 {
	out := make([]int16, 3*48000)
	for i := range out {
		x := float64(i) / 48000
		out[i] = int16(9000 * math.Sin(2*math.Pi*(300*x+450*x*x)))
	}
	return out
}

// All that the gateway sends to a refused caller is taken from the network, not from what the telephone made of it: it holds the
// sentences, and nothing of the room.
func TestNothingOfTheRoomIsOnTheWireToARefusedCaller(t *testing.T) {
	t.Parallel()
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		tcpdump = "/usr/sbin/tcpdump"
	}
	if _, err := os.Stat(tcpdump); err != nil || os.Geteuid() != 0 {
		t.Skip("needs tcpdump, and root for it")
	}
	first := freePort(t)
	h := build(t, options{level: 1, phone: "+493055555", voice: chirp(), change: func(g *gateway.Config) {
		g.Ports = media.Ports{First: uint16(first), Last: uint16(first + 9)}
	}})
	file := filepath.Join(t.TempDir(), "capture")
	out := new(logBuffer)
	dump := exec.Command(tcpdump, "-i", "lo", "-U", "-w", file, "-Z", "root", fmt.Sprintf("udp and src portrange %d-%d", first, first+9))
	dump.Stdout, dump.Stderr = out, out
	if err := dump.Start(); err != nil {
		t.Fatal(err)
	}
	h.until("tcpdump to listen", func() bool { return strings.Contains(out.String(), "listening on") })
	b := newPhone(t, pcma, callersVoice())
	code := h.code()
	b.dial(h, pcma, "door")
	b.hears(prompt.German, prompt.Choose)
	b.press("2" + code)
	b.hears(prompt.English, prompt.Refused)
	h.until("the call to end", func() bool { return h.gateway.Stats().Legs == 0 })
	dump.Process.Signal(os.Interrupt)
	dump.Wait()
	sent := captured(t, file)
	why, room := like(downsample(sentence(prompt.English, prompt.Refused), 8000), sent), like(downsample(chirp(), 8000), sent)
	t.Logf("%d s were sent: the sentence %.3f, the room %.3f", len(sent)/8000, why, room)
	if why < 0.9 || room > 0.15 {
		t.Error("what is on the wire is not the sentence alone")
	}
}

// captured decodes the A-law of all RTP in a capture file, in order.
func captured(t *testing.T, file string) (pcm []int16) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil || len(b) < 24 {
		t.Fatalf("no capture: %v", err)
	}
	decoder, err := codec.NewDecoder(codec.PCMA)
	if err != nil {
		t.Fatal(err)
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if bytes.Equal(b[:4], []byte{0xa1, 0xb2, 0xc3, 0xd4}) {
		order = binary.BigEndian
	}
	for b = b[24:]; len(b) >= 16; {
		n := int(order.Uint32(b[8:]))
		if len(b) < 16+n {
			break
		}
		frame := b[16 : 16+n]
		b = b[16+n:]
		if len(frame) < 14+20+8+12 {
			continue
		}
		payload := frame[14+int(frame[14]&15)*4+8:] // Ethernet, IPv4, UDP
		if len(payload) <= 12 || payload[0]>>6 != 2 || payload[1]&0x7f != 8 {
			continue
		}
		wide, err := decoder.Decode(payload[12:])
		if err != nil {
			t.Fatal(err)
		}
		pcm = append(pcm, downsample(wide, 8000)...)
	}
	return pcm
}
