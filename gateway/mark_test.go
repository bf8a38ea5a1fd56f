package gateway

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"conclave/endpoint"
	"conclave/endpoint/headless"
	"conclave/opus"
	"conclave/phone/dsp"
	"conclave/sfu/slot"
	"conclave/watermark"
)

// What a caller hears is traced to their leg, though packets of the room are lost before it.
func TestWhatACallerHearsIsMarked(t *testing.T) {
	key := func(b byte) *watermark.Key {
		k, err := watermark.NewKey(bytes.Repeat([]byte{b}, watermark.KeySize))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	sync, err := watermark.NewSync(make([]byte, watermark.SyncSize))
	if err != nil {
		t.Fatal(err)
	}
	var sound []float32
	synctest.Test(t, func(t *testing.T) {
		b := &bridge{leg: &leg{gateway: &Gateway{config: Config{Now: time.Now}}}, voices: map[uint32]*voice{}}
		b.marked(&endpoint.Marking{Sync: sync, Code: key(1).Code(), Began: time.Now().Add(-time.Minute)})
		b.open(true)
		encoder, err := opus.NewEncoder(opus.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer encoder.Close()
		rng := rand.New(rand.NewPCG(1, 1))
		var low, level, want float64
		for i := range 20 * 50 {
			if i%8 == 0 {
				want = 0.05 + 0.3*rng.Float64()
			}
			var frame [opus.FrameSamples]int16
			for k := range frame {
				level += (want - level) * 0.001
				low += (rng.NormFloat64() - low) * 0.3
				frame[k] = int16(12000 * level * low)
			}
			packet, err := encoder.Encode(nil, frame[:])
			if err != nil {
				t.Fatal(err)
			}
			if rng.IntN(20) > 0 {
				b.heard(headless.Frame{Leaf: 3, Kind: slot.Microphone, Timestamp: uint32(i) * opus.FrameSamples, Data: packet})
			}
			time.Sleep(20 * time.Millisecond)
			b.mu.Lock()
			f := b.mix(time.Now())
			b.mu.Unlock()
			for k := 0; k+2 < dsp.FrameSamples; k += 3 {
				sound = append(sound, (float32(f[k])+float32(f[k+1])+float32(f[k+2]))/3/32768)
			}
		}
	})
	search := watermark.Search{Sync: sync, Workers: 2}
	for b := range byte(20) {
		search.Suspects = append(search.Suspects, watermark.Suspect{Code: key(b).Code(), Tiles: 400})
	}
	r, err := search.Run(context.Background(), sound)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Named) != 1 || r.Named[0].Suspect != 1 {
		t.Fatalf("named is %+v, want leg 1; others: %+v", r.Named, r.Others)
	}
	if at := r.Named[0].Pieces[0].Began; at < 59*time.Second || at > 62*time.Second {
		t.Errorf("the sound began at %v of the leg, want a minute", at)
	}
}
