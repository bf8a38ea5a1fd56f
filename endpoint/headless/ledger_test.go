package headless

import (
	"testing"
	"time"
)

func TestSpansOfSpeechAreFoundInWhatIsSent(t *testing.T) {
	began := time.Unix(1000, 0)
	type span struct{ from, to time.Duration }
	var got []span
	v := voiceLedger{spoke: func(from, to time.Time) error {
		s := span{from.Sub(began), to.Sub(began)}
		if n := len(got); n > 0 && got[n-1].to == s.from {
			got[n-1].to = s.to
		} else {
			got = append(got, s)
		}
		return nil
	}}
	// From 1 s on 3 s of words with pauses of 0.2 s, silence for 2 s, a word.
	for at := time.Duration(0); at < 8*time.Second; at += packetTime {
		speech := at >= time.Second && at < 4*time.Second && at%time.Second < 800*time.Millisecond ||
			at >= 6*time.Second && at < 6400*time.Millisecond
		v.packet(speech, began.Add(at))
	}
	want := []span{{time.Second, 3800 * time.Millisecond}, {6 * time.Second, 6400 * time.Millisecond}}
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got[i], want[i])
		}
	}
}
