package watermark

import (
	"math"
	"math/rand/v2"
	"testing"
)

// sound of nothing but chance, of so many frames, and some of it loud beyond what a cell holds.
func chance(rng *rand.Rand, frames int) *field {
	f := newField(frames, Bands)
	for i := range f.v {
		f.v[i] = float32(max(-4, min(4, 1.3*rng.NormFloat64())))
	}
	return f
}

func syncOfChance(t *testing.T, rng *rand.Rand) *Sync {
	t.Helper()
	key := make([]byte, SyncSize)
	for i := range key {
		key[i] = byte(rng.Uint64())
	}
	s, err := NewSync(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPackedCellsAreWhatTheyWereToAStep(t *testing.T) {
	f := chance(rand.New(rand.NewPCG(1, 9)), 40)
	c := pack(f)
	var cells [Bands]float32
	for i := range c.rows {
		c.rows[i].unpack(&cells)
		squares := float32(0)
		for b, x := range cells {
			squares += x * x
			if d := math.Abs(float64(x/cellScale - f.row(i)[b])); d > 1.01/cellScale {
				t.Fatalf("frame %d, band %d: %g is %g", i, b, f.row(i)[b], x/cellScale)
			}
		}
		if squares != float32(c.squares[i]) {
			t.Errorf("frame %d: squares are %g, counted %d", i, squares, c.squares[i])
		}
	}
	// What says nothing stays nothing.
	if c := pack(newField(1, Bands)); c.squares[0] != 0 {
		t.Errorf("silence has squares of %d", c.squares[0])
	}
}

// The score of a guess, by the words, is the one that plain arithmetic gives, in each phase and for every length.
func TestAFoldedPeriodHeldAgainstThePilotsIsTheSumItStandsFor(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 9))
	sync := syncOfChance(t, rng)
	s := newSigns(sync)
	for _, c := range []struct {
		frames       int
		speed, first float64
	}{{250, 1, 3}, {640, 1, 0}, {641, 1.01, 9}, {1875, 0.93, 4}, {7500, 1.002, 7}, {11250, 1.3, 2}, {40000, 1, 0}} {
		f := chance(rng, c.frames)
		for i := range f.v {
			f.v[i] += 0.1 * float32(sync[i/Bands/slotFrames%Period][i%Bands]) // some of it fits
		}
		var got folded
		got.fold(pack(f), c.speed, c.first)
		n := slots(c.frames, c.speed, c.first)
		var sums [Period][Bands]float64
		for i := range n {
			for b, x := range f.row(int(c.first + float64(i)*slotFrames/c.speed + 0.5)) {
				sums[i%Period][b] += float64(x)
			}
		}
		if want := min(n, Period); got.filled != want {
			t.Fatalf("%d frames: %d slots are filled, want %d", c.frames, got.filled, want)
		}
		for phase := range Period {
			dot, squares := 0.0, 0.0
			for j := range got.filled {
				slot := (j + phase) % Period
				for b := firstPilot(slot); b < Bands; b += 3 {
					dot += sums[j][b] * float64(sync[slot][b])
					squares += sums[j][b] * sums[j][b]
				}
			}
			want := dot / math.Sqrt(squares)
			z := float64(got.dot(s, phase)) / math.Sqrt(float64(got.square(s, phase)))
			if math.Abs(z-want) > 0.06 { // standard deviations; rounding makes about 0.013
				t.Errorf("%d frames, phase %d: %g, want %g", c.frames, phase, z, want)
			}
		}
	}
}

func TestTilesReadByTheWordAreThoseReadCellByCell(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	sync := syncOfChance(t, rng)
	f := chance(rng, 1000)
	r := &reading{pack(f), 1}
	for _, a := range []alignment{{reading: r, speed: 1}, {reading: r, speed: 1.013, first: 6, phase: 61}, {reading: r, speed: 0.97, first: 9, phase: 6}} {
		var got tiles
		got.read(newSigns(sync), &a)
		n := slots(f.frames, a.speed, a.first)
		want := make([][groups]float64, len(got.sums))
		squares := 0.0
		for i := range n {
			for b, x := range f.row(int(a.first + float64(i)*slotFrames/a.speed + 0.5)) {
				want[(a.phase%TileSlots+i)/TileSlots][b%groups] += float64(x) * float64(sync[(a.phase+i)%Period][b])
				squares += float64(x) * float64(x)
			}
		}
		if last := (a.phase%TileSlots + n - 1) / TileSlots; last != len(want)-1 || got.first != a.phase/TileSlots {
			t.Errorf("there are %d tiles from %d, want %d", len(got.sums), got.first, last+1)
		}
		scale := 1 / math.Sqrt(squares/float64(len(want)*groups))
		for i := range want {
			for g, x := range want[i] {
				if math.Abs(x*scale-float64(got.sums[i][g])) > 0.02 {
					t.Fatalf("phase %d, tile %d, group %d: %g, want %g", a.phase, i, g, got.sums[i][g], x*scale)
				}
			}
		}
	}
}

func TestACodeTriedAtAllPositionsScoresAsAtEach(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 9))
	for _, n := range []int{1, 7, 16, 17, 47, 64, 65, 188, 366} {
		ts := tiles{first: rng.IntN(PeriodTiles), sums: make([][groups]float32, n)}
		for i := range ts.sums {
			for g := range ts.sums[i] {
				ts.sums[i][g] = float32(4 * rng.NormFloat64())
			}
		}
		for g := range ts.sums[0] {
			ts.sums[0][g] = float32(100 * (1 - g%2*2)) // cut off
		}
		var s scores
		var p places
		s.set(&ts)
		p.set(&s)
		for _, length := range []int{0, 5, 40, 200, 1000} {
			code := make([]byte, length)
			for i := range code {
				code[i] = byte(rng.Uint64())
			}
			first, count := s.positions(length)
			got := p.along(code, first, count)
			if len(got) != count {
				t.Fatalf("%d scores, want %d", len(got), count)
			}
			for i, sum := range got {
				if want := s.at(code, first+i*PeriodTiles); sum != want {
					t.Fatalf("%d tiles, a code of %d, position %d: %d, want %d", n, length, i, sum, want)
				}
			}
		}
	}
}
