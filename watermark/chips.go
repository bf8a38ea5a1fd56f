package watermark

// chips is what prepared sound says of each cell of the pattern, in whole numbers and four to a word: folding, and holding signs
// against it, are what a search that finds nothing does most, and cost a quarter so. A cell is a whole number of steps from middle; a
// step is a 128th of a standard deviation, far below what a cell says. Sums of whole numbers are the same on every machine.
type chips struct {
	rows    []chipRow
	squares []uint32 // of each row: the sum of all its cells' squares
}

// chipRow is a frame's cells: of the bands from 0, 1 and 2 on each third one, because a slot's pilots are such a third, and so that a
// lane of all words of a third belongs to one group. The last word's two upper lanes are zero.
type chipRow [3]pilotRow

// pilotRow is each third band of a row.
type pilotRow [pilotWords]uint64

const (
	pilotBands = Bands / 3
	lanes      = 4 // in a word
	laneBits   = 16
	pilotWords = (pilotBands + lanes - 1) / lanes

	middle    = 512 // what a cell is that says nothing
	cellMask  = 2*middle - 1
	cellScale = 128 // steps in a standard deviation

	everyLane = 1<<48 | 1<<32 | 1<<16 | 1
	lastLanes = 1<<16 | 1 // those of the last word that are bands
	// mostRows is how many rows may be folded into one, and how many cells added up in a lane.
	mostRows = 1 << laneBits / (cellMask + 1)
)

// pack rounds a field of all bands, which is within four standard deviations.
func pack(f *field) *chips {
	c := &chips{rows: make([]chipRow, f.frames), squares: make([]uint32, f.frames)}
	for t := range c.rows {
		row, squares := &c.rows[t], int32(0)
		for b, x := range f.row(t)[:Bands] {
			v := max(1, min(cellMask, int32(x*cellScale+middle+0.5)))
			row[b%3][b/3/lanes] |= uint64(v) << (b / 3 % lanes * laneBits)
			squares += (v - middle) * (v - middle)
		}
		c.squares[t] = uint32(squares)
	}
	return c
}

// unpack writes a row's cells, in steps.
func (row *chipRow) unpack(dst *[Bands]float32) {
	for third := range row {
		for k, w := range &row[third] {
			b := k*3*lanes + third
			dst[b], dst[b+3] = float32(int(w&cellMask)-middle), float32(int(w>>16&cellMask)-middle)
			if k < pilotWords-1 {
				dst[b+6], dst[b+9] = float32(int(w>>32&cellMask)-middle), float32(int(w>>48&cellMask)-middle)
			}
		}
	}
}

// square is the sum of the squares of a third's cells.
func (row *pilotRow) square() int {
	sum := 0
	for _, w := range row[:pilotWords-1] {
		p, q, r, s := int(w&cellMask)-middle, int(w>>16&cellMask)-middle, int(w>>32&cellMask)-middle, int(w>>48&cellMask)-middle
		sum += p*p + q*q + r*r + s*s
	}
	w := row[pilotWords-1]
	p, q := int(w&cellMask)-middle, int(w>>16&cellMask)-middle
	return sum + p*p + q*q
}

// lanesSum adds up a word's lanes.
func lanesSum(w uint64) uint64 {
	w = w&0x0000ffff0000ffff + w>>16&0x0000ffff0000ffff
	return w&0xffffffff + w>>32
}

// signs is S, made ready for holding against chips. A cell is turned to its negative by exchanging all of its bits, which gives one too
// little; minus says how often.
type signs struct {
	sync *Sync
	turn [Period]chipRow   // all bits of the cells whose sign is -1
	less [Period][3]uint64 // how many such cells each lane has over a third's words

	// Of the pilots alone, each slot twice, so that a phase is a slice.
	pilots [2 * Period]pilotRow
	third  [2 * Period]uint8   // which one the pilots are
	minus  [2*Period + 1]int32 // how many pilots before a slot have the sign -1
}

func newSigns(sync *Sync) *signs {
	s := &signs{sync: sync}
	for slot := range Period {
		for b, sign := range sync[slot] {
			if sign < 0 {
				lane := b / 3 % lanes * laneBits
				s.turn[slot][b%3][b/3/lanes] |= cellMask << lane
				s.less[slot][b%3] += 1 << lane
			}
		}
	}
	for i := range 2 * Period {
		slot := i % Period
		third := firstPilot(slot)
		s.third[i] = uint8(third)
		s.pilots[i] = s.turn[slot][third]
		s.minus[i+1] = s.minus[i] + int32(lanesSum(s.less[slot][third]))
	}
	return s
}

// folded is a reading's rows, added up into one period and brought back to the size of cells.
type folded struct {
	rows    [Period]chipRow
	squares [Period][3]int
	filled  int // slots; short sound leaves the rest of a period empty
	total   int // of all squares
}

// fold adds up a reading's slots for a speed and first slot.
func (f *folded) fold(c *chips, speed, first float64) {
	n := slots(len(c.rows), speed, first)
	f.filled, f.total = min(n, Period), 0
	clear(f.rows[:])
	step := slotFrames / speed
	for i := range n {
		row, sum := &c.rows[int(first+float64(i)*step+0.5)], &f.rows[i%Period]
		for third := range sum {
			p, q := &sum[third], &row[third]
			p[0] += q[0]
			p[1] += q[1]
			p[2] += q[2]
			p[3] += q[3]
			p[4] += q[4]
		}
	}
	// As many rows as the next power of two, of which those that are not there say nothing, make the mean a shift.
	deep, shift := (n+Period-1)/Period, 0
	for 1<<shift < deep {
		shift++
	}
	if deep > mostRows {
		panic("watermark: a window is too long to be folded")
	}
	const mask = cellMask * everyLane
	for j := range f.filled {
		there := n/Period + 1
		if j >= n%Period {
			there--
		}
		add := uint64((1<<shift-there)*middle + 1<<shift/2)
		for third := range f.rows[j] {
			row := &f.rows[j][third]
			for k := range pilotWords - 1 {
				row[k] = (row[k] + add*everyLane) >> shift & mask
			}
			row[pilotWords-1] = (row[pilotWords-1] + add*lastLanes) >> shift & mask
			square := row.square()
			f.squares[j][third] = square
			f.total += square
		}
	}
}

// dot is the sum of the pilots, each times its sign, for a phase.
func (f *folded) dot(s *signs, phase int) int {
	var a, b, c, d, e uint64 // a lane takes mostRows cells, which are as many as slots in a period
	rows := f.rows[:f.filled]
	pilots, thirds := s.pilots[phase:][:len(rows)], s.third[phase:][:len(rows)]
	for j := range rows {
		p, q := &rows[j][thirds[j]], &pilots[j]
		a += p[0] ^ q[0]
		b += p[1] ^ q[1]
		c += p[2] ^ q[2]
		d += p[3] ^ q[3]
		e += p[4] ^ q[4]
	}
	sum := int(lanesSum(a) + lanesSum(b) + lanesSum(c) + lanesSum(d) + lanesSum(e))
	return sum + int(s.minus[phase+f.filled]-s.minus[phase]) - f.filled*pilotBands*middle
}

// square is the sum of the pilots' squares for a phase.
func (f *folded) square(s *signs, phase int) int {
	sum := 0
	thirds := s.third[phase:][:f.filled]
	for j, third := range thirds {
		sum += f.squares[j][third]
	}
	return sum
}
