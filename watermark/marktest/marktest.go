// Package marktest is what tests of those who mark have in common: keys, sound, and a search for the leg that it was played to.
package marktest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"conclave/watermark"
)

// Key returns the key of a numbered leg.
func Key(t testing.TB, leg byte) *watermark.Key {
	t.Helper()
	k, err := watermark.NewKey(bytes.Repeat([]byte{leg}, watermark.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Sync returns the signs that all legs have in common.
func Sync(t testing.TB) *watermark.Sync {
	t.Helper()
	s, err := watermark.NewSync(make([]byte, watermark.SyncSize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Vowels returns a source of 48-kHz hum whose bands rise and fall eight frames of 20 ms at a time.
func Vowels() func(frame []int16) {
	rng := rand.New(rand.NewPCG(1, 1))
	var low, level, want float64
	n := 0
	return func(frame []int16) {
		if n%8 == 0 {
			want = 0.05 + 0.3*rng.Float64()
		}
		n++
		for i := range frame {
			level += (want - level) * 0.001
			low += (rng.NormFloat64() - low) * 0.3
			frame[i] = int16(12000 * level * low)
		}
	}
}

// Third appends 48-kHz sound at 16 kHz.
func Third(dst []float32, pcm []int16) []float32 {
	for k := 0; k+2 < len(pcm); k += 3 {
		dst = append(dst, (float32(pcm[k])+float32(pcm[k+1])+float32(pcm[k+2]))/3/32768)
	}
	return dst
}

// Names fails unless a search of 16-kHz sound names one leg of twenty, which began to mark so long before the sound.
func Names(t testing.TB, sync *watermark.Sync, sound []float32, leg int, began time.Duration) {
	t.Helper()
	search := watermark.Search{Sync: sync, Workers: 2}
	for b := range byte(20) {
		search.Suspects = append(search.Suspects, watermark.Suspect{Code: Key(t, b).Code(), Tiles: 400})
	}
	r, err := search.Run(context.Background(), sound)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Named) != 1 || r.Named[0].Suspect != leg {
		t.Fatalf("named is %+v, want leg %d; others: %+v", r.Named, leg, r.Others)
	}
	if at := r.Named[0].Pieces[0].Began; at < began-time.Second || at > began+2*time.Second {
		t.Errorf("the sound began at %v of the leg, want %v", at, began)
	}
}
