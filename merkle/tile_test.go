package merkle

import (
	"bytes"
	"fmt"
	"testing"
)

// past two full tiles of the second level would be 131 072; past one of them shows every shape.
const tileLeaves = 66_000

func TestTheEdgeHasTheTreesRootAndItsTilesProve(t *testing.T) {
	tree, edge := &Tree{}, &Edge{}
	files := map[string][]byte{}
	for i := range tileLeaves {
		tree.Append(leaf(i))
		for _, tile := range edge.Append(LeafHash(leaf(i))) {
			if len(tile.Hashes) != TileWidth {
				t.Fatalf("a full tile of %d", len(tile.Hashes))
			}
			files[tile.Path()] = tile.Bytes()
		}
		if i < 600 || i%997 == 0 || i > tileLeaves-500 {
			if edge.Root() != tree.Root() || edge.Size() != tree.Size() {
				t.Fatalf("another root at %d", edge.Size())
			}
		}
	}
	for _, tile := range edge.Partial() {
		files[tile.Path()] = tile.Bytes()
	}
	read := func(level int, n uint64, width int) ([]byte, error) {
		for w := width; w <= TileWidth; w++ {
			if b, ok := files[tilePath(level, n, w)]; ok {
				return b, nil
			}
		}
		return nil, fmt.Errorf("no tile %s", tilePath(level, n, width))
	}
	c := &Checkpoint{Origin: "o", Size: edge.Size(), Root: edge.Root()}
	r := TileReader(c, read)
	for _, i := range []Index{0, 255, 256, 40_000, 65_535, 65_536, tileLeaves - 1} {
		p, err := ProveInclusion(r, i, c.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckInclusion(p, i, LeafHash(leaf(int(i))), c.Size, c.Root); err != nil {
			t.Errorf("leaf %d: %v", i, err)
		}
	}
	for _, from := range []Size{1, 256, 257, 65_000, 65_536, tileLeaves} {
		p, err := ProveConsistency(r, from, c.Size)
		if err != nil {
			t.Fatal(err)
		}
		root, _ := tree.RootAt(from)
		if err := CheckConsistency(p, from, root, c.Size, c.Root); err != nil {
			t.Errorf("from %d: %v", from, err)
		}
	}
	again, err := RestoreEdge(c.Size, func(level int, n uint64, width int) ([]Hash, error) {
		b, err := read(level, n, width)
		if err != nil {
			return nil, err
		}
		return ParseTile(b, width)
	})
	if err != nil || again.Root() != c.Root {
		t.Fatalf("restored edge: %v", err)
	}
	for i := range 300 {
		again.Append(LeafHash(leaf(i)))
		tree.Append(leaf(i))
	}
	if again.Root() != tree.Root() {
		t.Error("the restored edge goes on differently")
	}
	for _, b := range files {
		b[0] ^= 1
	}
	if _, err := ProveInclusion(r, 3, c.Size); err == nil {
		t.Error("changed tiles were believed")
	}
}

func TestPathsAreThoseOfTheFormat(t *testing.T) {
	for want, got := range map[string]string{
		"tile/0/000":                 tilePath(0, 0, 256),
		"tile/1/x001/234.p/5":        tilePath(1, 1234, 5),
		"tile/0/x001/x234/067":       tilePath(0, 1234067, 256),
		"tile/entries/x001/x000/000": BundlePath(1_000_000, 256),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestABundleIsReadAsItWasWritten(t *testing.T) {
	var b []byte
	want := [][]byte{{}, []byte("a"), bytes.Repeat([]byte("x"), MaxLeaf)}
	for _, l := range want {
		b = AppendLeaf(b, l)
	}
	got, err := ParseBundle(b, 3)
	if err != nil || !bytes.Equal(got[2], want[2]) || len(got[0]) != 0 {
		t.Errorf("read %d leaves, %v", len(got), err)
	}
	if _, err := ParseBundle(b, 4); err == nil {
		t.Error("a leaf that is not there was read")
	}
	if _, err := ParseBundle(b[:len(b)-1], 3); err == nil {
		t.Error("a cut bundle was read")
	}
}

func FuzzParseBundle(f *testing.F) {
	f.Add(AppendLeaf(AppendLeaf(nil, []byte("a")), []byte("bc")), 2)
	f.Fuzz(func(t *testing.T, b []byte, width int) {
		leaves, err := ParseBundle(b, max(width, 0))
		if err != nil {
			return
		}
		var again []byte
		for _, l := range leaves {
			again = AppendLeaf(again, l)
		}
		if !bytes.HasPrefix(b, again) {
			t.Error("another bundle")
		}
	})
}

func BenchmarkEdge(b *testing.B) {
	e, h := &Edge{}, LeafHash([]byte("x"))
	for b.Loop() {
		e.Append(h)
	}
}
