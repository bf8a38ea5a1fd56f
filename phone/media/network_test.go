package media

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"conclave/phone/codec"
	"conclave/phone/media/mediatest"
)

// TestABadNetworkIsStillUnderstood carries speech, in simulated time, over networks with jitter, loss, reordering and a
// clock that runs otherwise, and holds what the room hears, piece by piece, against what was said.
func TestABadNetworkIsStillUnderstood(t *testing.T) {
	if testing.Short() {
		t.Skip("arithmetic, in one goroutine")
	}
	said := speech(20)
	for _, n := range []struct {
		name   string
		jitter time.Duration // the most
		loss   int           // per cent
		ppm    float64
		median float64 // of the correlations of pieces of 200 ms
		good   float64 // share of the pieces above 0.9
	}{
		{"perfect", 0, 0, 0, 0.99, 0.99},
		{"jitter of 30 ms", 30 * time.Millisecond, 0, 0, 0.99, 0.95},
		{"jitter of 60 ms", 60 * time.Millisecond, 0, 0, 0.99, 0.90},
		{"3 % loss", 5 * time.Millisecond, 3, 0, 0.99, 0.75},
		{"a clock 400 ppm fast", 5 * time.Millisecond, 0, 400, 0.99, 0.93},
		{"a clock 400 ppm slow", 5 * time.Millisecond, 0, -400, 0.99, 0.93},
		{"all at once", 30 * time.Millisecond, 3, 200, 0.98, 0.65},
	} {
		a, b := open(t), open(t)
		_, forB := agreements(t, a, b, codec.PCMA, Clear, "")
		if err := b.agree(forB); err != nil {
			t.Fatal(err)
		}
		encoder, err := codec.NewEncoder(codec.PCMA)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(1, uint64(n.loss)))
		start := time.Unix(1000, 0)
		type arrival struct {
			at time.Time
			b  []byte
		}
		var arrivals []arrival
		var f Frame
		for i := 0; (i+1)*960 <= len(said); i++ {
			copy(f[:], said[i*960:])
			payload, err := encoder.Encode(nil, &f)
			if err != nil {
				t.Fatal(err)
			}
			if random.IntN(100) < n.loss {
				continue
			}
			made := start.Add(time.Duration(float64(i) * 20e6 / (1 + n.ppm/1e6)))
			arrivals = append(arrivals, arrival{made.Add(time.Duration(random.Int64N(int64(n.jitter) + 1))), mediatest.Packet(t, 8, uint16(i), uint32(160*i), 7, payload)})
		}
		slices.SortStableFunc(arrivals, func(a, b arrival) int { return a.at.Compare(b.at) })
		var heard []int16
		for now := start; now.Before(start.Add(21 * time.Second)); now = now.Add(tick) {
			for len(arrivals) > 0 && !arrivals[0].at.After(now) {
				b.handle(arrivals[0].at, address(a), arrivals[0].b)
				arrivals = arrivals[1:]
			}
			b.mu.Lock()
			b.hear(now, &f)
			b.mu.Unlock()
			heard = append(heard, f[:]...)
		}
		var pieces []float64
		for i := 48000; i+9600 <= len(said); i += 9600 {
			c, _ := correlation(said[i:i+9600], heard[i-2400:min(len(heard), i+9600+9600)])
			pieces = append(pieces, c)
		}
		slices.Sort(pieces)
		good := 0
		for _, c := range pieces {
			if c > 0.9 {
				good++
			}
		}
		share, median := float64(good)/float64(len(pieces)), pieces[len(pieces)/2]
		st := b.Stats()
		t.Logf("%s: median %.3f, %.0f %% of the pieces above 0.9, worst %.2f; lost %d, made up %d, left out %d, doubled %d, delay %v",
			n.name, median, 100*share, pieces[0], st.Lost, st.Concealed, st.Skipped, st.Inserted, st.Delay)
		if median < n.median || share < n.good {
			t.Errorf("%s: median %.3f, %.0f %% good", n.name, median, 100*share)
		}
	}
}
