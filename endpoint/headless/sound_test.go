package headless

import (
	"math"
	"os"
	"testing"
	"time"

	"conclave/opus"
)

// writeTone writes two seconds of a tone as WAV.
func writeTone(t testing.TB, name string, hertz float64) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := opus.NewWAVWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	pcm := make([]int16, 2*opus.SampleRate)
	for i := range pcm {
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*hertz*float64(i)/opus.SampleRate))
	}
	if err := w.Write(pcm); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// pitch counts how often the decoded sound of the last second passes zero upwards.
func pitch(t testing.TB, packets [][]byte) float64 {
	t.Helper()
	d, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	var pcm []int16
	for _, p := range packets {
		samples, err := d.Decode(p)
		if err != nil {
			t.Fatal(err)
		}
		pcm = append(pcm, samples...)
	}
	if len(pcm) < opus.SampleRate/2 {
		t.Fatalf("only %v of sound", time.Duration(len(pcm))*time.Second/opus.SampleRate)
	}
	pcm = pcm[len(pcm)/3:]
	n := 0
	for i := 1; i < len(pcm); i++ {
		if pcm[i-1] < 0 && pcm[i] >= 0 {
			n++
		}
	}
	return float64(n) * opus.SampleRate / float64(len(pcm))
}

func TestEveryPacketOfSoundHasOneSize(t *testing.T) {
	if len(silence) != opus.FrameBytes {
		t.Errorf("silence has %d bytes", len(silence))
	}
	s := tone(t, 440)
	for range 150 {
		if p := s.Next(); len(p) != opus.FrameBytes {
			t.Fatalf("a packet of %d bytes", len(p))
		}
	}
}
