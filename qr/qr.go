// Package qr draws QR codes (ISO/IEC 18004) of links on a terminal: a phone's camera takes a link over that nobody would type,
// and that must not travel by mail. The page draws them by itself (web/src/qr). It knows what links need and no more: bytes, error correction
// level M (15 % may be lost), versions 1 to 20, that is up to 666 bytes. It reads none.
package qr

import (
	"errors"
	"strings"
)

// MaxText bounds what a code may hold, in bytes. A link has about a hundred.
const MaxText = 666

var errLong = errors.New("qr: the text is too long for a code")

// The blocks of level M, by version (ISO/IEC 18004, table 9): check words in each, and how many there are.
var (
	checkWords = [...]int{0, 10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26}
	blocks     = [...]int{0, 1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16}
)

const lastVersion = 20

// Code is a square of modules. It is immutable.
type Code struct {
	size int
	dark []bool // by row
	kept []bool // fixed patterns: no data stands there
}

// Encode returns the smallest code that holds text.
func Encode(text string) (*Code, error) {
	for version := 1; version <= lastVersion; version++ {
		if 4+lengthBits(version)+8*len(text) > 8*dataWords(version) {
			continue
		}
		words := interleave(version, data(version, text))
		var best *Code
		least := -1
		for mask := range 8 {
			c := draw(version, words, mask)
			if p := c.penalty(); least < 0 || p < least {
				best, least = c, p
			}
		}
		return best, nil
	}
	return nil, errLong
}

// Size is how many modules a side has.
func (c *Code) Size() int { return c.size }

// Dark says whether a module is dark; outside of the code none is.
func (c *Code) Dark(x, y int) bool {
	return x >= 0 && y >= 0 && x < c.size && y < c.size && c.dark[y*c.size+x]
}

// quiet is the margin that a reader needs, in modules.
const quiet = 4

// Terminal draws the code with half blocks, two rows a line, dark on light whatever the terminal's colours: a code that is
// drawn inverted is not read by every camera.
func (c *Code) Terminal() string {
	const light, end = "\x1b[30;107m", "\x1b[0m\n"
	var b strings.Builder
	for y := -quiet; y < c.size+quiet; y += 2 {
		b.WriteString(light)
		for x := -quiet; x < c.size+quiet; x++ {
			switch upper, lower := c.Dark(x, y), c.Dark(x, y+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteString(end)
	}
	return b.String()
}

// modules is how many modules of a version hold data and check words.
func modules(version int) int {
	n := (16*version+128)*version + 64
	if version >= 2 {
		align := version/7 + 2
		n -= (25*align-10)*align - 55
		if version >= 7 {
			n -= 36
		}
	}
	return n
}

func dataWords(version int) int { return modules(version)/8 - checkWords[version]*blocks[version] }

func lengthBits(version int) int {
	if version < 10 {
		return 8
	}
	return 16
}

// data writes text in byte mode, and fills up.
func data(version int, text string) []byte {
	var bits []bool
	put := func(value, n int) {
		for i := n - 1; i >= 0; i-- {
			bits = append(bits, value>>i&1 == 1)
		}
	}
	put(4, 4) // byte mode
	put(len(text), lengthBits(version))
	for i := range len(text) {
		put(int(text[i]), 8)
	}
	capacity := 8 * dataWords(version)
	put(0, min(4, capacity-len(bits)))
	put(0, -len(bits)&7)
	for pad := 0xec; len(bits) < capacity; pad ^= 0xec ^ 0x11 {
		put(pad, 8)
	}
	out := make([]byte, len(bits)/8)
	for i, b := range bits {
		if b {
			out[i/8] |= 0x80 >> (i % 8)
		}
	}
	return out
}

// interleave adds the check words and mixes the blocks, so that a blot hits a little of each.
func interleave(version int, data []byte) []byte {
	n, check := blocks[version], checkWords[version]
	short := len(data) / n      // data words of the first blocks; the last ones have one more
	longer := n - len(data)%n   // the first of those
	divisor := generator(check) // of the Reed-Solomon code
	var parts, sums [][]byte
	for i, at := 0, 0; i < n; i++ {
		size := short
		if i >= longer {
			size++
		}
		part := data[at : at+size]
		at += size
		parts, sums = append(parts, part), append(sums, remainder(part, divisor))
	}
	var out []byte
	for i := range short + 1 {
		for _, p := range parts {
			if i < len(p) {
				out = append(out, p[i])
			}
		}
	}
	for i := range check {
		for _, s := range sums {
			out = append(out, s[i])
		}
	}
	return out
}

// multiply is that of the field with 256 elements, modulo x^8+x^4+x^3+x^2+1.
func multiply(a, b byte) byte {
	z := 0
	for i := 7; i >= 0; i-- {
		z = z<<1 ^ z>>7*0x11d
		z ^= int(b>>i&1) * int(a)
	}
	return byte(z)
}

// generator returns the coefficients of the product of (x - 2^i) for i below degree, without the leading one.
func generator(degree int) []byte {
	out := make([]byte, degree)
	out[degree-1] = 1
	root := byte(1)
	for range degree {
		for j := range out {
			out[j] = multiply(out[j], root)
			if j+1 < degree {
				out[j] ^= out[j+1]
			}
		}
		root = multiply(root, 2)
	}
	return out
}

func remainder(data, divisor []byte) []byte {
	out := make([]byte, len(divisor))
	for _, b := range data {
		factor := b ^ out[0]
		copy(out, out[1:])
		out[len(out)-1] = 0
		for i, d := range divisor {
			out[i] ^= multiply(d, factor)
		}
	}
	return out
}

// draw makes the code with a mask.
func draw(version int, words []byte, mask int) *Code {
	size := 17 + 4*version
	c := &Code{size: size, dark: make([]bool, size*size), kept: make([]bool, size*size)}
	c.patterns(version)
	c.format(mask)
	c.place(words, mask)
	return c
}

func (c *Code) fix(x, y int, dark bool) {
	if x >= 0 && y >= 0 && x < c.size && y < c.size {
		c.dark[y*c.size+x], c.kept[y*c.size+x] = dark, true
	}
}

// patterns draws what every code of a version has.
func (c *Code) patterns(version int) {
	for i := range c.size {
		c.fix(6, i, i%2 == 0)
		c.fix(i, 6, i%2 == 0)
	}
	for _, at := range [][2]int{{3, 3}, {c.size - 4, 3}, {3, c.size - 4}} {
		for dy := -4; dy <= 4; dy++ {
			for dx := -4; dx <= 4; dx++ {
				ring := max(dx, -dx, dy, -dy)
				c.fix(at[0]+dx, at[1]+dy, ring != 2 && ring != 4)
			}
		}
	}
	for i, x := range alignments(version) {
		for j, y := range alignments(version) {
			last := len(alignments(version)) - 1
			if i == 0 && j == 0 || i == 0 && j == last || i == last && j == 0 {
				continue // the corners' own patterns stand there
			}
			for dy := -2; dy <= 2; dy++ {
				for dx := -2; dx <= 2; dx++ {
					c.fix(x+dx, y+dy, max(dx, -dx, dy, -dy) != 1)
				}
			}
		}
	}
	if version >= 7 {
		check := version
		for range 12 {
			check = check<<1 ^ check>>11*0x1f25
		}
		bits := version<<12 | check
		for i := range 18 {
			a, b := c.size-11+i%3, i/3
			c.fix(a, b, bits>>i&1 == 1)
			c.fix(b, a, bits>>i&1 == 1)
		}
	}
}

// alignments are the places of the small squares, the same on both axes.
func alignments(version int) []int {
	if version == 1 {
		return nil
	}
	n := version/7 + 2
	step := (version*8 + n*3 + 5) / (n*4 - 4) * 2
	out := make([]int, n)
	out[0] = 6
	for i, at := n-1, version*4+10; i > 0; i, at = i-1, at-step {
		out[i] = at
	}
	return out
}

// format writes level and mask, twice.
func (c *Code) format(mask int) {
	check := mask // level M is 0
	for range 10 {
		check = check<<1 ^ check>>9*0x537
	}
	bits := (mask<<10 | check) ^ 0x5412
	bit := func(i int) bool { return bits>>i&1 == 1 }
	for i := range 6 {
		c.fix(8, i, bit(i))
	}
	c.fix(8, 7, bit(6))
	c.fix(8, 8, bit(7))
	c.fix(7, 8, bit(8))
	for i := 9; i < 15; i++ {
		c.fix(14-i, 8, bit(i))
	}
	for i := range 8 {
		c.fix(c.size-1-i, 8, bit(i))
	}
	for i := 8; i < 15; i++ {
		c.fix(8, c.size-15+i, bit(i))
	}
	c.fix(8, c.size-8, true)
}

// place writes the words in columns of two, from the right, up and down, and masks them.
func (c *Code) place(words []byte, mask int) {
	i := 0
	for right := c.size - 1; right >= 1; right -= 2 {
		if right == 6 {
			right = 5 // the column of the timing pattern
		}
		for vertical := range c.size {
			for j := range 2 {
				x, y := right-j, vertical
				if (right+1)&2 == 0 {
					y = c.size - 1 - vertical
				}
				if c.kept[y*c.size+x] {
					continue
				}
				dark := false
				if i < 8*len(words) {
					dark = words[i/8]>>(7-i%8)&1 == 1
					i++
				}
				c.dark[y*c.size+x] = dark != masked(mask, x, y)
			}
		}
	}
}

func masked(mask, x, y int) bool {
	switch mask {
	case 0:
		return (x+y)%2 == 0
	case 1:
		return y%2 == 0
	case 2:
		return x%3 == 0
	case 3:
		return (x+y)%3 == 0
	case 4:
		return (x/3+y/2)%2 == 0
	case 5:
		return x*y%2+x*y%3 == 0
	case 6:
		return (x*y%2+x*y%3)%2 == 0
	}
	return ((x+y)%2+x*y%3)%2 == 0
}

// penalty says how hard a code is to read (ISO/IEC 18004, Section 7.8.3): the mask with the least is taken.
func (c *Code) penalty() int {
	sum := 0
	finder := []bool{true, false, true, true, true, false, true}
	for _, at := range []func(i, j int) bool{func(i, j int) bool { return c.Dark(i, j) }, func(i, j int) bool { return c.Dark(j, i) }} {
		for j := range c.size {
			run := 0
			for i := range c.size {
				if i > 0 && at(i, j) == at(i-1, j) {
					run++
				} else {
					run = 1
				}
				if run == 5 {
					sum += 3
				} else if run > 5 {
					sum++
				}
			}
			for i := -4; i+7 <= c.size+4; i++ {
				same := true
				for k, want := range finder {
					same = same && at(i+k, j) == want
				}
				if !same {
					continue
				}
				before, after := true, true
				for k := 1; k <= 4; k++ {
					before, after = before && !at(i-k, j), after && !at(i+6+k, j)
				}
				if before || after {
					sum += 40
				}
			}
		}
	}
	dark := 0
	for y := range c.size {
		for x := range c.size {
			if c.Dark(x, y) {
				dark++
			}
			if x+1 < c.size && y+1 < c.size && c.Dark(x, y) == c.Dark(x+1, y) && c.Dark(x, y) == c.Dark(x, y+1) && c.Dark(x, y) == c.Dark(x+1, y+1) {
				sum += 3
			}
		}
	}
	share := 20 * dark / (c.size * c.size) // in steps of 5 %
	return sum + 10*min(max(share-10, 10-share), max(share+1-10, 10-share-1))
}
