package merkle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// TileHeight and TileWidth are those of C2SP tlog-tiles.
	TileHeight = 8
	TileWidth  = 1 << TileHeight
	// MaxLeaf bounds a leaf, whose length takes two octets in a bundle.
	MaxLeaf = 1<<16 - 1
	// entriesLevel is the level of bundles of leaves, in paths.
	entriesLevel = -1
)

// Tile is a run of up to TileWidth hashes of one level, which is that of the tree divided by TileHeight.
type Tile struct {
	Level  int
	N      uint64 // the tile's place in its level
	Hashes []Hash
}

// Path returns where the tile stands in a log's folder, with slashes.
func (t Tile) Path() string { return tilePath(t.Level, t.N, len(t.Hashes)) }

// BundlePath returns where the bundle of leaves n*TileWidth on stands, which holds width of them.
func BundlePath(n uint64, width int) string { return tilePath(entriesLevel, n, width) }

func tilePath(level int, n uint64, width int) string {
	place := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		place = fmt.Sprintf("x%03d/%s", n%1000, place)
	}
	if width < TileWidth {
		place += fmt.Sprintf(".p/%d", width)
	}
	if level == entriesLevel {
		return "tile/entries/" + place
	}
	return fmt.Sprintf("tile/%d/%s", level, place)
}

// Bytes returns the tile's content.
func (t Tile) Bytes() []byte {
	b := make([]byte, 0, len(t.Hashes)*tlog.HashSize)
	for i := range t.Hashes {
		b = append(b, t.Hashes[i][:]...)
	}
	return b
}

// AppendLeaf adds a leaf to a bundle. The leaf has at most MaxLeaf octets.
func AppendLeaf(bundle, leaf []byte) []byte {
	if len(leaf) > MaxLeaf {
		panic("merkle: a leaf too large for a bundle")
	}
	return append(binary.BigEndian.AppendUint16(bundle, uint16(len(leaf))), leaf...)
}

// ParseBundle reads a bundle, which must hold at least width leaves, 0 or more, and returns that many. They share b's memory.
func ParseBundle(b []byte, width int) ([][]byte, error) {
	leaves := make([][]byte, 0, min(width, TileWidth))
	for len(leaves) < width {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return leaves, errors.New("merkle: the bundle ends too early")
		}
		n := int(binary.BigEndian.Uint16(b))
		leaves = append(leaves, b[2:2+n:2+n])
		b = b[2+n:]
	}
	if len(b) > 0 && width == TileWidth {
		return leaves, errors.New("merkle: the bundle goes on behind its end")
	}
	return leaves, nil
}

// Edge is the right edge of a log's tree: enough to go on and to know the root. The zero value is the empty log. It is not
// safe for concurrent use.
type Edge struct {
	levels [][]Hash // by tile level: the hashes of the tile that is not full yet
	size   Size
}

// Size returns how many leaves there are.
func (e *Edge) Size() Size { return e.size }

// Append adds a leaf's hash and returns the tiles that it filled, the lowest first. Their hashes are the caller's.
func (e *Edge) Append(leaf Hash) []Tile {
	var full []Tile
	h := leaf
	for level := 0; ; level++ {
		if level == len(e.levels) {
			e.levels = append(e.levels, make([]Hash, 0, TileWidth))
		}
		e.levels[level] = append(e.levels[level], h)
		if len(e.levels[level]) < TileWidth {
			break
		}
		n := uint64(e.size) >> ((level + 1) * TileHeight)
		full = append(full, Tile{Level: level, N: n, Hashes: e.levels[level]})
		h = fold(e.levels[level])
		e.levels[level] = make([]Hash, 0, TileWidth)
	}
	e.size++
	return full
}

// fold returns the root over a number of hashes that is a power of two.
func fold(hashes []Hash) Hash {
	row := append([]Hash(nil), hashes...)
	for len(row) > 1 {
		for i := range len(row) / 2 {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
		row = row[:len(row)/2]
	}
	return row[0]
}

// Partial returns the tiles that are not full, the lowest first. Their hashes must not be changed, and change with Append.
func (e *Edge) Partial() []Tile {
	var out []Tile
	for level, hashes := range e.levels {
		if len(hashes) > 0 {
			out = append(out, Tile{Level: level, N: uint64(e.size) >> ((level + 1) * TileHeight), Hashes: hashes})
		}
	}
	return out
}

// Root returns the root over all leaves.
func (e *Edge) Root() Hash {
	if e.size == 0 {
		return EmptyRoot
	}
	var root Hash
	first := true
	for _, hashes := range e.levels { // from the right, that is from below
		rest := hashes
		for len(rest) > 0 {
			// The lowest bit that is set is the rightmost whole subtree.
			width := 1 << bits.TrailingZeros(uint(len(rest)))
			h := fold(rest[len(rest)-width:])
			rest = rest[:len(rest)-width]
			if first {
				root, first = h, false
			} else {
				root = tlog.NodeHash(h, root)
			}
		}
	}
	return root
}

// RestoreEdge returns the edge of a log of size from its partial tiles, which read finds: level, place in the level, and how
// many hashes. The caller compares the root.
func RestoreEdge(size Size, read func(level int, n uint64, width int) ([]Hash, error)) (*Edge, error) {
	if size > MaxSize {
		return nil, errors.New("merkle: no log is so large")
	}
	e := &Edge{size: size}
	for level := 0; uint64(size)>>(level*TileHeight) > 0; level++ {
		row := make([]Hash, 0, TileWidth)
		if width := int(uint64(size) >> (level * TileHeight) % TileWidth); width > 0 {
			hashes, err := read(level, uint64(size)>>((level+1)*TileHeight), width)
			if err != nil {
				return nil, err
			}
			if len(hashes) != width {
				return nil, fmt.Errorf("merkle: a tile of %d hashes, not %d", len(hashes), width)
			}
			row = append(row, hashes...)
		}
		e.levels = append(e.levels, row)
	}
	return e, nil
}

// ParseTile reads the content of a tile, which must hold at least width hashes, and returns that many.
func ParseTile(b []byte, width int) ([]Hash, error) {
	if width < 0 || width > TileWidth || len(b)%tlog.HashSize != 0 || len(b) < width*tlog.HashSize || len(b) > TileWidth*tlog.HashSize {
		return nil, errors.New("merkle: a tile of another size")
	}
	hashes := make([]Hash, width)
	for i := range hashes {
		copy(hashes[i][:], b[i*tlog.HashSize:])
	}
	return hashes, nil
}

// TileReader returns a Reader of the tree that c tells of. read returns a tile's content, at least width hashes of it; what
// it returns is verified against c before it is used.
func TileReader(c *Checkpoint, read func(level int, n uint64, width int) ([]byte, error)) Reader {
	return tlog.TileHashReader(tlog.Tree{N: int64(c.Size), Hash: c.Root}, tiles{read})
}

// tiles implements tlog.TileReader.
type tiles struct {
	read func(level int, n uint64, width int) ([]byte, error)
}

func (t tiles) Height() int { return TileHeight }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(wanted))
	for i, w := range wanted {
		b, err := t.read(w.L, uint64(w.N), w.W)
		if err != nil {
			return nil, err
		}
		if len(b) < w.W*tlog.HashSize {
			return nil, errors.New("merkle: a tile is too short")
		}
		out[i] = b[:w.W*tlog.HashSize]
	}
	return out, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
