package watermark

import (
	"math"
	"math/bits"
	"slices"
)

// scaled is the size of one standard deviation of a tile's bit in whole numbers: with these, sums and their probabilities
// are exact.
const (
	scaled  = 16
	largest = 8 * scaled // beyond it a bit is cut off: a click must not decide
)

// scores is an alignment's bits, made ready for trying codes: for each tile what each byte would score.
type scores struct {
	first  int // the first tile's number within a period
	values [][codeGroups]int16
	bits   []int16
	table  [][256]int16
	// squares is the sum of each tile's squared bits: the variance of an innocent leg's score there.
	squares []float64
}

func (s *scores) set(ts *tiles) {
	s.round(ts)
	if cap(s.table) < len(s.values) {
		s.table = make([][256]int16, len(s.values))
	}
	s.table = s.table[:len(s.values)]
	for i := range s.values {
		r, row := &s.values[i], &s.table[i]
		row[0] = 0
		for _, x := range r {
			row[0] += x
		}
		// The highest set bit of b turns one more sign than the byte without it.
		for b := 1; b < 256; b++ {
			k := bits.Len8(uint8(b)) - 1
			row[b] = row[b&^(1<<k)] - 2*r[k]
		}
	}
}

// round takes the tiles' bits as whole numbers.
func (s *scores) round(ts *tiles) {
	s.first = ts.first
	s.values, s.bits, s.squares = s.values[:0], s.bits[:0], s.squares[:0]
	for i := range ts.sums {
		var r [codeGroups]int16
		for g, k := range codeBit[(ts.first+i)%PeriodTiles] {
			if k >= 0 {
				x := math.Round(float64(ts.sums[i][g]) * scaled)
				r[k] = int16(max(-largest, min(largest, x)))
			}
		}
		s.values = append(s.values, r)
		s.squares = append(s.squares, 0)
		for _, x := range r {
			s.squares[i] += float64(x) * float64(x)
			if x < 0 {
				x = -x
			}
			if x > 0 {
				s.bits = append(s.bits, x)
			}
		}
	}
}

// at is the score of a code whose byte for the first tile is code[from]; from may lie before the code's beginning.
func (s *scores) at(code []byte, from int) int {
	table := s.table
	if from < 0 {
		table = table[min(-from, len(table)):]
		from = 0
	}
	code = code[min(from, len(code)):]
	n := min(len(table), len(code))
	table, code = table[:n], code[:n]
	// Two sums at once, so that the processor need not wait for one.
	var a, b int
	i := 0
	for ; i+1 < n; i += 2 {
		a += int(table[i][code[i]])
		b += int(table[i+1][code[i+1]])
	}
	if i < n {
		a += int(table[i][code[i]])
	}
	return a + b
}

// positions returns the first position of the first tile in a code of so many tiles, the number of positions, which lie a
// period apart; at each of them at least half of the sound's tiles lie within the code.
func (s *scores) positions(tiles int) (first, count int) {
	n := len(s.values)
	first = s.first
	for first-PeriodTiles >= -n/2 {
		first -= PeriodTiles
	}
	for p := first; p+n-n/2 <= tiles; p += PeriodTiles {
		count++
	}
	return first, max(count, 1)
}

// places is scores for trying a code at all of its positions. These lie a period apart, so a period of the code meets each period of
// the sound, at one position or another; what it scores in four of them stands in one word.
type places struct {
	periods int // of the sound
	tables  [][PeriodTiles]placeRow
	sums    []int
}

// placeRow is, for each byte of a tile and for none, the score in four periods of the sound, each that much above the least there is.
type placeRow [256 + 1]uint64

const (
	leastTile = codeGroups * largest
	noByte    = 256
)

func (p *places) set(s *scores) {
	p.periods = (len(s.values) + PeriodTiles - 1) / PeriodTiles
	words := (p.periods + lanes - 1) / lanes
	if cap(p.tables) < words {
		p.tables = make([][PeriodTiles]placeRow, words)
	}
	p.tables = p.tables[:words]
	for w := range p.tables {
		for i := range PeriodTiles {
			// Words are added as whole numbers: a lane may go below zero on the way, and does not in the end.
			var values [codeGroups]uint64
			for lane := range lanes {
				if tile := (w*lanes+lane)*PeriodTiles + i; tile < len(s.values) {
					for k, x := range s.values[tile] {
						values[k] += uint64(int64(x)) << (lane * laneBits)
					}
				}
			}
			row := &p.tables[w][i]
			row[noByte] = leastTile * everyLane
			row[0] = row[noByte]
			for _, x := range values {
				row[0] += x
			}
			for k, x := range values {
				for b := range 1 << k {
					row[b|1<<k] = row[b] - 2*x
				}
			}
		}
	}
}

// along returns the scores of a code at so many positions, from the one whose first tile is code[first]. The slice is valid until the
// next call.
func (p *places) along(code []byte, first, count int) []int {
	margin := len(p.tables) * lanes
	if n := count + 2*margin; cap(p.sums) < n {
		p.sums = make([]int, n)
	}
	p.sums = p.sums[:count+2*margin]
	clear(p.sums)
	for w := range p.tables {
		table := &p.tables[w]
		for period := range count + p.periods - 1 {
			sum := uint64(0)
			if at := first + period*PeriodTiles; at >= 0 && at+PeriodTiles <= len(code) {
				c := (*[PeriodTiles]byte)(code[at:])
				sum = table[0][c[0]] + table[1][c[1]] + table[2][c[2]] + table[3][c[3]] +
					table[4][c[4]] + table[5][c[5]] + table[6][c[6]] + table[7][c[7]] +
					table[8][c[8]] + table[9][c[9]] + table[10][c[10]] + table[11][c[11]] +
					table[12][c[12]] + table[13][c[13]] + table[14][c[14]] + table[15][c[15]]
			} else {
				for i := range table {
					b := noByte
					if at+i >= 0 && at+i < len(code) {
						b = int(code[at+i])
					}
					sum += table[i][b]
				}
			}
			to := p.sums[margin+period-w*lanes-(lanes-1):][:lanes]
			const none = leastTile * PeriodTiles
			to[3] += int(sum&0xffff) - none
			to[2] += int(sum>>16&0xffff) - none
			to[1] += int(sum>>32&0xffff) - none
			to[0] += int(sum>>48) - none
		}
	}
	return p.sums[margin : margin+count]
}

// logTail bounds, as a natural logarithm, the probability that fair coins score at least sum: each of the bits is added
// or taken away by chance. It is Chernoff's bound, true for any bits.
func logTail(bits []int16, sum int) float64 {
	if sum <= 0 {
		return 0
	}
	// Bits of the same size are counted together: there are few sizes.
	var count [largest + 1]float64
	total := 0
	for _, b := range bits {
		count[b]++
		total += int(b)
	}
	if sum > total {
		return math.Inf(-1) // cannot be
	}
	if sum == total {
		return -float64(len(bits)) * math.Ln2
	}
	// Any t gives a true bound; Newton's steps go to the best. The first guess is what would be right if the bits were small.
	squares := 0.0
	for b, n := range count {
		squares += n * float64(b*b)
	}
	t, low, high := float64(sum)/squares, 0.0, math.Inf(1)
	for range 12 {
		slope, bend := -float64(sum), 0.0
		for b, n := range count {
			if n > 0 {
				x := math.Tanh(t * float64(b))
				slope += n * float64(b) * x
				bend += n * float64(b*b) * (1 - x*x)
			}
		}
		if slope > 0 {
			high = t
		} else {
			low = t
		}
		next := t - slope/(bend+1e-12)
		if !(next > low && next < high) {
			if math.IsInf(high, 1) {
				next = 2*low + 1e-6
			} else {
				next = (low + high) / 2
			}
		}
		if math.Abs(next-t) < 1e-4*t {
			break
		}
		t = next
	}
	value := -t * float64(sum)
	for b, n := range count {
		if n > 0 {
			x := t * float64(b)
			value += n * (x + math.Log1p(math.Exp(-2*x)) - math.Ln2)
		}
	}
	return min(0, value)
}

// part bounds, as logTail does, the probability that fair coins score as well in any part of the sound as the code does in its best one;
// from is the code's byte for the first tile. Parts begin and end at each fourth tile.
func (s *scores) part(code []byte, from int) float64 {
	const unit = PeriodTiles / 4
	n := (len(s.values) + unit - 1) / unit
	sums, squares := make([]int, n+1), make([]float64, n+1) // of what lies before
	for i := range s.values {
		k := i/unit + 1
		if i%unit == 0 {
			sums[k], squares[k] = sums[k-1], squares[k-1]
		}
		if at := from + i; at >= 0 && at < len(code) {
			sums[k] += int(s.table[i][code[at]])
		}
		squares[k] += s.squares[i]
	}
	best, low, high := 0.0, 0, n
	for i := range n {
		for j := i + 1; j <= n; j++ {
			if z := float64(sums[j]-sums[i]) / math.Sqrt(squares[j]-squares[i]+1e-9); z > best {
				best, low, high = z, i, j
			}
		}
	}
	var bits []int16
	for _, r := range s.values[low*unit : min(high*unit, len(s.values))] {
		for _, x := range r {
			if x != 0 {
				bits = append(bits, max(x, -x))
			}
		}
	}
	// Whichever is the best, the bound holds for all of them at once.
	return min(0, logTailExact(bits, sums[high]-sums[low])+math.Log(float64(n*(n+1)/2)))
}

// maxExact is how many bits are counted out exactly; for more, Chernoff's bound is near enough.
const maxExact = 2500

// logTailExact is logTail counted out, not bounded: the distribution of the sum, bit by bit. Rounding is made up for by a
// millionth at the end.
func logTailExact(bits []int16, sum int) float64 {
	if len(bits) > maxExact || sum <= 0 {
		return logTail(bits, sum)
	}
	total := 0
	for _, b := range bits {
		total += int(b)
	}
	if sum > total {
		return math.Inf(-1)
	}
	// p[k] is the probability that what the bits so far take away from their greatest sum is 2k. Only sums that can still
	// reach the goal are kept.
	room := (total - sum) / 2
	p := make([]float64, room+1)
	p[0] = 1
	logScale := 0.0
	top := 0
	sorted := slices.Clone(bits)
	slices.Sort(sorted)
	for i, b := range sorted {
		// Without the factor of a half, which is taken at the end; scaled down before it overflows.
		top = min(room, top+int(b))
		for k := top; k >= int(b); k-- {
			p[k] += p[k-int(b)]
		}
		if i%256 == 255 {
			largest := slices.Max(p[:top+1])
			for k := range p[:top+1] {
				p[k] /= largest
			}
			logScale += math.Log(largest)
		}
	}
	tail := 0.0
	for _, x := range p {
		tail += x
	}
	exact := math.Log(tail) + logScale - float64(len(bits))*math.Ln2 + 1e-6
	return min(0, exact, logTail(bits, sum))
}
