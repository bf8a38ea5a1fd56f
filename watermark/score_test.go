package watermark

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
)

func TestTheBoundIsNeverBelowTheTruth(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		n := 4 + rng.IntN(12)
		list := make([]int16, n)
		for i := range list {
			list[i] = int16(1 + rng.IntN(largest))
		}
		sums := make([]int, 1<<n)
		for x := range sums {
			for i, b := range list {
				sums[x] += int(b) * (1 - 2*(x>>i&1))
			}
		}
		for range 20 {
			goal := sums[rng.IntN(len(sums))]
			count := 0
			for _, s := range sums {
				if s >= goal {
					count++
				}
			}
			truth := math.Log(float64(count) / float64(len(sums)))
			exact, bound := logTailExact(list, goal), logTail(list, goal)
			if bound < truth-1e-9 || exact < truth-1e-9 {
				t.Fatalf("bits %v, sum %d: bound %g, counted %g, truth %g", list, goal, bound, exact, truth)
			}
			if goal > 0 && exact > truth+1e-5 && exact < bound {
				t.Fatalf("bits %v, sum %d: counted %g, truth %g", list, goal, exact, truth)
			}
		}
	}
}

func TestManyBitsAreCountedAsWell(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	list := make([]int16, 2000)
	squares := 0.0
	for i := range list {
		list[i] = int16(1 + rng.IntN(40))
		squares += float64(list[i]) * float64(list[i])
	}
	for _, z := range []float64{1, 3, 6, 10} {
		sum := int(z * math.Sqrt(squares))
		exact, bound := logTailExact(list, sum), logTail(list, sum)
		normal := math.Log(math.Erfc(z/math.Sqrt2) / 2)
		if exact > bound || math.Abs(exact-normal) > 0.2*(1+math.Abs(normal)/10) {
			t.Errorf("z %g: counted %g, bound %g, normal %g", z, exact, bound, normal)
		}
	}
}

func TestTheTableScoresEveryByte(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	ts := tiles{first: 3, sums: make([][groups]float32, 5)}
	for i := range ts.sums {
		for g := range ts.sums[i] {
			ts.sums[i][g] = float32(rng.NormFloat64())
		}
	}
	var sc scores
	sc.set(&ts)
	for i := range ts.sums {
		for b := range 256 {
			want := 0
			for g, k := range codeBit[3+i] {
				if k >= 0 {
					x := int(math.Round(float64(ts.sums[i][g]) * scaled))
					want += x * (1 - 2*(b>>k&1))
				}
			}
			if got := int(sc.table[i][b]); got != want {
				t.Fatalf("tile %d, byte %08b scores %d, want %d", i, b, got, want)
			}
		}
	}
}

func TestAThirdOfAllGroupsArePilots(t *testing.T) {
	for tile := range PeriodTiles {
		seen := 0
		for _, k := range codeBit[tile] {
			if k >= 0 {
				seen |= 1 << k
			}
		}
		if bits.OnesCount(uint(seen)) != codeGroups {
			t.Errorf("tile %d carries the bits %b", tile, seen)
		}
		for b := firstPilot(tile * TileSlots); b < Bands; b += 3 {
			if !pilot(tile, b%groups) {
				t.Errorf("tile %d, band %d is no pilot", tile, b)
			}
		}
	}
}

func TestTheFastLogarithmIsNear(t *testing.T) {
	for x := float32(1e-12); x < 1e9; x *= 1.0371 {
		if d := math.Abs(float64(log10(x)) - math.Log10(float64(x))); d > 0.001 {
			t.Fatalf("log10(%g) is off by %g", x, d)
		}
	}
}

func TestATileOnTheBorderOfTwoWindowsIsCountedOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	f := newField(16*slotFrames, Bands)
	for i := range f.v {
		f.v[i] = float32(rng.NormFloat64())
	}
	sync, err := NewSync(make([]byte, SyncSize))
	if err != nil {
		t.Fatal(err)
	}
	a := &alignment{reading: &reading{pack(f), 1}, speed: 1, tiles: new(tiles)}
	a.tiles.read(newSigns(sync), a)
	r := &run{searcher: &searcher{Search: Search{Sync: sync}, codes: [][]byte{make([]byte, 40)}}, used: make(map[int]bool)}
	first := r.read(a, 10) // tiles 10 to 13
	for _, c := range []struct{ from, fresh int }{{13, 3}, {8, 2}, {10, 0}} {
		p := r.read(a, c.from)
		if len(p.bits) < c.fresh*codeGroups*9/10 || len(p.bits) > c.fresh*codeGroups {
			t.Errorf("from tile %d: %d bits are counted, want those of %d tiles", c.from, len(p.bits), c.fresh)
		}
		total := 0
		for _, b := range p.bits {
			total += int(b)
		}
		if max(p.sum, -p.sum) > total {
			t.Errorf("from tile %d: the score %d is more than its bits %d", c.from, p.sum, total)
		}
	}
	if len(first.bits) <= 3*codeGroups {
		t.Errorf("the first window has %d bits", len(first.bits))
	}
}

// The bound of the best part is one for all parts at once: of innocent codes, at most the share x comes out below x. A code that fits a
// third of the sound is surer by that third than by all.
func TestTheBestPartOfTheSoundPaysForAllParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 9))
	const n, trials = 47, 4000
	ts := tiles{sums: make([][groups]float32, n)}
	for i := range ts.sums {
		for g := range ts.sums[i] {
			ts.sums[i][g] = float32(rng.NormFloat64())
		}
	}
	var s scores
	s.set(&ts)
	code := make([]byte, n)
	draw := func() {
		for i := range code {
			code[i] = byte(rng.Uint64())
		}
	}
	var below [3]int
	for range trials {
		draw()
		p := s.part(code, 0)
		for k, x := range [...]float64{0.5, 0.1, 0.01} {
			if p < math.Log(x) {
				below[k]++
			}
		}
	}
	t.Logf("of %d codes, below 0.5, 0.1, 0.01: %v", trials, below)
	for k, x := range [...]float64{0.5, 0.1, 0.01} {
		if float64(below[k]) > trials*x+4*math.Sqrt(trials*x) {
			t.Errorf("%d of %d innocent codes come out below %g", below[k], trials, x)
		}
	}
	draw()
	for i := 20; i < 36; i++ {
		for b := range 256 {
			if s.table[i][b] > s.table[i][code[i]] {
				code[i] = byte(b)
			}
		}
	}
	if part, all := s.part(code, 0), logTailExact(s.bits, s.at(code, 0)); part > all-5 {
		t.Errorf("by its part the bound is e^%.1f, by all e^%.1f", part, all)
	}
}
