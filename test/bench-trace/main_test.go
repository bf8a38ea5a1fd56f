package main

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"conclave/watermark"
)

func TestConvolvingByBlocksIsConvolving(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	sound, taps := make([]float32, 5000), make([]float32, 700)
	for i := range sound {
		sound[i] = float32(rng.NormFloat64())
	}
	for i := range taps {
		taps[i] = float32(rng.NormFloat64())
	}
	got := convolve(sound, taps)
	for i := range sound {
		want := 0.0
		for k := range min(len(taps), i+1) {
			want += float64(taps[k]) * float64(sound[i-k])
		}
		if math.Abs(float64(got[i])-want) > 1e-3 {
			t.Fatalf("sample %d is %g, want %g", i, got[i], want)
		}
	}
}

func TestARowThatFailsSaysSoAndTheOthersFollow(t *testing.T) {
	var out bytes.Buffer
	b := bench{clips: 1, legs: 2, minutes: 1, narrow: true, lengths: []int{3}, out: &out}
	broken := errors.New("no such coder")
	silence := make([]float32, 5*48000)
	err := b.rows(context.Background(), []attack{
		{name: "first", step: func([]float32) ([]float32, error) { return nil, broken }},
		{name: "second", step: func([]float32) ([]float32, error) { return make([]float32, 5*watermark.Rate), nil }},
	}, silence, silence)
	if !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	if text := out.String(); !strings.Contains(text, "no such coder") || !strings.Contains(text, "second                                     0 (0) [0]") {
		t.Errorf("printed: %s", text)
	}
}

// TestTheMarkIsBelowWhatSpeechMasks holds the mark to figures, over four voices in four languages. Below 0 dB nothing is heard.
func TestTheMarkIsBelowWhatSpeechMasks(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg on this machine, with which the voices are read")
	}
	for _, language := range []string{"en", "fr", "it", "ru"} {
		sound, err := meeting(12, 4, language)
		if err != nil {
			t.Skip(err)
		}
		snr, segmental, nmr := heard(sound)
		t.Logf("%s: SNR %.1f dB, segmental %.1f dB, noise to mask %.1f dB", language, snr, segmental, nmr)
		if nmr > -12 || segmental < 14 {
			t.Errorf("%s: noise to mask %.1f dB, at most -12; segmental SNR %.1f dB, at least 14", language, nmr, segmental)
		}
		silence := make([]float32, 48000)
		if marked(silence, 0)[47999] != 0 {
			t.Errorf("silence does not stay silent")
		}
	}
}
