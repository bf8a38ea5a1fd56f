package watermark

import (
	"cmp"
	"math"
	"slices"
)

// stretch is one way in which a recording's time and frequencies may have been changed: frequencies are pitch times, and
// the tempo speed times what was played.
type stretch struct{ pitch, speed float64 }

// reading is a piece of sound, prepared in one of several ways, of which now one and now another reads best: all bands
// alike (a room, music beneath); with less weight where noise covers them; and this with the telephone's bands, whitened on
// their own, once more (telephones, narrow codecs, loud noise).
type reading struct {
	chips *chips
	pitch float64
}

// readings prepares a piece for a pitch.
func (p *power) readings(pitch float64) []*reading {
	energies := p.energies(pitch)
	cover, levels := newCover(energies), levels(energies)
	even := judged(whiten(levels, Bands))
	weighted := cover.weighted(judged(whiten(cover.floored(energies), Bands)))
	narrow := judged(whiten(levels, NarrowBands))
	return []*reading{{pack(even), pitch}, {pack(weighted), pitch}, {pack(added(weighted, narrow)), pitch}}
}

// judged is what a whitened field says of each cell.
func judged(whitened *field) *field { return clipped(evened(match(whitened))) }

// weighted is the second of the readings alone.
func (p *power) weighted(pitch float64) *reading {
	energies := p.energies(pitch)
	cover := newCover(energies)
	return &reading{pack(cover.weighted(judged(whiten(cover.floored(energies), Bands)))), pitch}
}

// alignment is a guess where the pattern lies: frame number first + i·10/speed is the middle of slot phase + i, modulo Period.
type alignment struct {
	reading *reading // nil where it was let go
	pitch   float64
	tiles   *tiles // what it reads; of those that are kept
	speed   float64
	first   float64 // in frames, 0 up to a slot
	phase   int     // 0 up to Period
	score   float64
}

// slotAt returns the slot, of a period, in a frame.
func (a *alignment) slotAt(frame int) float64 {
	return float64(a.phase) + (float64(frame)-a.first)*a.speed/slotFrames
}

// near says whether two alignments lie within a quarter of a slot of each other, throughout so many frames.
func (a *alignment) near(b *alignment, frames int) bool {
	for _, frame := range [...]int{0, frames} {
		d := math.Mod(a.slotAt(frame)-b.slotAt(frame), Period)
		if d < 0 {
			d += Period
		}
		if d > 0.25 && d < Period-0.25 {
			return false
		}
	}
	return true
}

// slots is how many whole slots of a field a speed and first slot give.
func slots(frames int, speed, first float64) int {
	return max(0, int((float64(frames-1)-first)*speed/slotFrames)+1)
}

// synchrony is how well the pilots fit the best guess: by chance, over all guesses that were tried, it is as good with a
// probability of at most exp(logP).
type synchrony struct {
	best  float64 // (Σ ±x)² / 2Σx²: the exponent of Hoeffding's bound
	tried int
}

// LogP is the natural logarithm of the bound: the signs of S are fair coins to whatever sound lacks the mark.
func (s synchrony) logP() float64 {
	if s.tried == 0 {
		return 0
	}
	return min(0, math.Log(float64(s.tried))-s.best)
}

// aligner finds the alignments of one piece of sound.
type aligner struct {
	signs  *signs
	tried  int
	best   float64
	found  []alignment
	floor  float64
	folded folded
}

// kept is how many guesses by pilots alone are looked at more closely.
const kept = 400

// try folds the reading into one period for a speed and first slot, and tries all phases.
func (al *aligner) try(r *reading, speed, first float64) {
	f := &al.folded
	f.fold(r.chips, speed, first)
	al.tried += Period
	for phase := range Period {
		// A third of all cells are pilots; which third depends on the phase. What is far below the others is not worth
		// being taken exactly.
		d := float64(f.dot(al.signs, phase))
		if d <= 0 || d*d < 0.8*al.floor*(float64(f.total)/3*2) {
			continue
		}
		z := d * d / (2 * float64(f.square(al.signs, phase)))
		al.best = max(al.best, z)
		al.found = append(al.found, alignment{reading: r, pitch: r.pitch, speed: speed, first: first, phase: phase, score: z})
	}
	if len(al.found) > 8*kept {
		al.prune()
		al.floor = al.found[len(al.found)-1].score
	}
}

// firstPilot is the lowest band that is a pilot in a slot: every third one from there is (see pilot).
func firstPilot(slot int) int { return int(firstPilots[slot%Period]) }

var firstPilots = func() (first [Period]uint8) {
	for slot := range first {
		for !pilot(slot/TileSlots, int(first[slot])) {
			first[slot]++
		}
	}
	return first
}()

func (al *aligner) prune() {
	slices.SortFunc(al.found, func(a, b alignment) int {
		if a.score != b.score {
			return cmp.Compare(b.score, a.score)
		}
		// In whatever order they were found.
		return cmp.Or(cmp.Compare(a.pitch, b.pitch), cmp.Compare(a.speed, b.speed), cmp.Compare(a.first, b.first), cmp.Compare(a.phase, b.phase))
	})
	al.found = al.found[:min(kept, len(al.found))]
}

// strengths are the sizes of the mark in a tile's bit, in standard deviations, among which the best is taken.
var strengths = [...]float64{0.2, 0.4, 0.8, 1.5}

// ranked returns the best alignments of all that were tried, best first, none near a better one.
func (al *aligner) ranked(keep, frames int) []alignment {
	al.prune()
	var scratch tiles
	for i := range al.found {
		a := &al.found[i]
		if a.tiles != nil {
			a.score = a.tiles.likelihood()
			continue
		}
		scratch.read(al.signs, a)
		a.score = scratch.likelihood()
	}
	al.prune()
	var out []alignment
	for _, a := range al.found {
		// Beside a clear one, what is far less likely is chance.
		if len(out) == keep || len(out) > 0 && out[0].score > 200 && a.score < out[0].score/8 {
			break
		}
		if !slices.ContainsFunc(out, func(b alignment) bool { return b.near(&a, frames) }) {
			if a.tiles == nil {
				a.tiles = new(tiles)
				a.tiles.weigh(al.signs.sync, &a)
			}
			out = append(out, a)
		}
	}
	return out
}

// tiles is what an alignment reads: the sum of signed chips for each tile and group, in standard deviations.
type tiles struct {
	first int // the first one's number within a period
	sums  [][groups]float32
}

// sized makes room for an alignment's tiles, and returns how many slots lie in the first one before the sound.
func (ts *tiles) sized(a *alignment, slots int) (within int) {
	ts.first, within = a.phase/TileSlots, a.phase%TileSlots
	count := (within + slots + TileSlots - 1) / TileSlots
	if cap(ts.sums) < count {
		ts.sums = make([][groups]float32, count)
	}
	ts.sums = ts.sums[:count]
	return within
}

// scale divides the sums by one standard deviation; squares is what all cells' squares add up to.
func (ts *tiles) scale(squares float64) {
	by := float32(1 / math.Sqrt(squares/float64(max(len(ts.sums)*groups, 1))+1e-12))
	for i := range ts.sums {
		for g := range ts.sums[i] {
			ts.sums[i][g] *= by
		}
	}
}

// read sums up what an alignment says, all bands alike.
func (ts *tiles) read(s *signs, a *alignment) {
	c := a.reading.chips
	n := slots(len(c.rows), a.speed, a.first)
	within := ts.sized(a, n)
	step := slotFrames / a.speed
	squares := 0.0
	i := 0
	for tile := range ts.sums {
		end := min(n, (tile+1)*TileSlots-within)
		empty := float32((end - i) * middle)
		var sums [3]uint64 // a lane is a group
		for ; i < end; i++ {
			at := int(a.first + float64(i)*step + 0.5)
			squares += float64(c.squares[at])
			row, slot := &c.rows[at], (a.phase+i)%Period
			turn, less := &s.turn[slot], &s.less[slot]
			for third := range sums {
				p, q := &row[third], &turn[third]
				sums[third] += (p[0] ^ q[0]) + (p[1] ^ q[1]) + (p[2] ^ q[2]) + (p[3] ^ q[3]) + (p[4] ^ q[4]) + less[third]
			}
		}
		for g := range groups {
			bands := float32((Bands - g + groups - 1) / groups)
			ts.sums[tile][g] = float32(sums[g%3]>>(g/3*laneBits)&0xffff) - empty*bands
		}
	}
	ts.scale(squares)
}

// weigh sums it up once more, each band by how well its pilots show the mark: a codec or a telephone does more damage to one band than
// to another. The weights come from the pilots alone, which no leg's code has a part in, so an innocent leg's bits stay fair coins.
func (ts *tiles) weigh(sync *Sync, a *alignment) {
	weights := a.weights(sync)
	c := a.reading.chips
	n := slots(len(c.rows), a.speed, a.first)
	within := ts.sized(a, n)
	clear(ts.sums)
	step := slotFrames / a.speed
	squares := 0.0
	var cells [Bands]float32
	for i := range n {
		c.rows[int(a.first+float64(i)*step+0.5)].unpack(&cells)
		signs := &sync[(a.phase+i)%Period]
		sum := &ts.sums[(within+i)/TileSlots]
		square := float32(0)
		for b, x := range &cells {
			x *= weights[b]
			sum[b%groups] += x * float32(signs[b])
			square += x * x
		}
		squares += float64(square)
	}
	ts.scale(squares)
}

// weights says how much each band shows of the mark, in relation to all else in it, by its pilots and its neighbours' pilots; the mean
// is 1. It makes the score a twelfth better after GSM, a thirtieth after G.711, and no worse after any codec.
func (a *alignment) weights(sync *Sync) (w [Bands]float32) {
	const (
		reach = 8   // neighbours: fewer make a short clip's weights chance
		prior = 0.1 // of the mean, that each band's weight has of its own accord
	)
	c := a.reading.chips
	n := slots(len(c.rows), a.speed, a.first)
	step := slotFrames / a.speed
	var dots, squares, count [Bands]float64
	var cells [Bands]float32
	for i := range n {
		c.rows[int(a.first+float64(i)*step+0.5)].unpack(&cells)
		slot := (a.phase + i) % Period
		for b := firstPilot(slot); b < Bands; b += 3 {
			x := float64(cells[b])
			dots[b] += x * float64(sync[slot][b])
			squares[b] += x * x
			count[b]++
		}
	}
	mean := 0.0
	var smoothed [Bands]float64
	for b := range w {
		dot, square, n := 0.0, 0.0, 0.0
		for d := -reach; d <= reach; d++ {
			if k := b + d; k >= 0 && k < Bands {
				share := float64(reach + 1 - max(d, -d))
				dot, square, n = dot+share*dots[k], square+share*squares[k], n+share*count[k]
			}
		}
		if square > 1e-9 {
			smoothed[b] = max(0, dot/square)
		}
		mean += smoothed[b] / Bands
	}
	for b := range w {
		w[b] = 1
		if mean > 0 {
			w[b] = float32((smoothed[b]/mean + prior) / (1 + prior))
		}
	}
	return w
}

// likelihood is the logarithm of how much likelier the sums are with a mark, whose bits are not known, than without.
func (ts *tiles) likelihood() float64 {
	best := math.Inf(-1)
	for _, a := range strengths {
		sum := 0.0
		for i := range ts.sums {
			bits := &codeBit[(ts.first+i)%PeriodTiles]
			for g, r := range ts.sums[i] {
				x := a * float64(r)
				if bits[g] < 0 {
					sum += x
				} else {
					x = math.Abs(x)
					sum += x + logOnePlus(x)
				}
				sum -= a * a / 2
			}
		}
		best = max(best, sum)
	}
	return best
}

// logOnePlus is log((1 + exp(-2x))/2) for x ≥ 0: what ln cosh x lacks to x.
func logOnePlus(x float64) float64 {
	const steps = 64
	if x >= 4 {
		return -math.Ln2
	}
	return logTable[int(x*steps)]
}

var logTable = func() (t [4*64 + 1]float64) {
	for i := range t {
		t[i] = math.Log1p(math.Exp(-2*(float64(i)+0.5)/64)) - math.Ln2
	}
	return t
}()
