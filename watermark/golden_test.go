package watermark

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"math"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/golden.json anew")

// golden is a piece of sound and what the embedder makes of it, to which the browser's is held as well.
type golden struct {
	Rate   int    `json:"rate"`
	Begin  int    `json:"begin"`
	Sync   []byte `json:"sync"`  // a byte for each sign: 0 is +1, 1 is -1
	Code   []byte `json:"code"`  // a byte for each tile
	Input  []byte `json:"input"` // int16, little-endian
	Output []byte `json:"output"`
}

func TestTheEmbedderMakesWhatItAlwaysMade(t *testing.T) {
	const name = "testdata/golden.json"
	key, err := NewKey(bytes.Repeat([]byte{3}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	sync, err := NewSync(bytes.Repeat([]byte{4}, SyncSize))
	if err != nil {
		t.Fatal(err)
	}
	var made []golden
	for _, c := range []struct{ rate, begin int }{{48000, 0}, {48000, 123456}, {44100, 44100}, {16000, 77}, {8000, 0}} {
		g := golden{Rate: c.rate, Begin: c.begin, Sync: sync.Signs(), Code: make([]byte, 40)}
		key.Code().Fill(g.Code, 0)
		e, err := NewEmbedder(c.rate, 1, c.begin, sync, key.Code())
		if err != nil {
			t.Fatal(err)
		}
		n := c.rate / 4 / e.block * e.block
		samples := make([]float32, n)
		state := uint32(1)
		for i := range samples {
			state = state*1664525 + 1013904223
			x := int16(9000*math.Sin(float64(i)*0.05)) + int16(state>>16)/8
			if i > n*3/4 {
				x *= 2 // near full scale
			}
			g.Input = binary.LittleEndian.AppendUint16(g.Input, uint16(x))
			samples[i] = float32(x) / 32768
		}
		e.Process(samples)
		for _, x := range samples {
			g.Output = binary.LittleEndian.AppendUint32(g.Output, math.Float32bits(x))
		}
		made = append(made, g)
	}
	if *update {
		b, err := json.Marshal(made)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want []golden
	if err := json.Unmarshal(b, &want); err != nil || len(want) != len(made) {
		t.Fatalf("%d vectors: %v", len(want), err)
	}
	for i, g := range made {
		w := want[i]
		if !bytes.Equal(g.Input, w.Input) || !bytes.Equal(g.Sync, w.Sync) || !bytes.Equal(g.Code, w.Code) {
			t.Errorf("%d Hz: keys or input differ: %s", g.Rate, base64.StdEncoding.EncodeToString(g.Code[:8]))
			continue
		}
		for k := 0; k < len(g.Output); k += 4 {
			a := math.Float32frombits(binary.LittleEndian.Uint32(g.Output[k:]))
			b := math.Float32frombits(binary.LittleEndian.Uint32(w.Output[k:]))
			if math.Abs(float64(a-b)) > 1e-6 {
				t.Fatalf("%d Hz: sample %d is %g, was %g", g.Rate, k/4, a, b)
			}
		}
	}
}
