package folder

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strconv"

	"conclave/audit"
	"conclave/merkle"
)

// Leaf is a record as it lies in the folder, for those who read millions and want few: audit.Join makes a record of it.
type Leaf struct {
	Index audit.Index
	Leaf  []byte
	Part  []byte // the personal part, not verified yet; nil: none, or erased
}

// Record makes the record, whose personal part is verified against the leaf's commitment.
func (l *Leaf) Record() (audit.Entry, error) {
	e := audit.Entry{Index: l.Index}
	var err error
	if e.Record, e.Erased, err = audit.Join(l.Leaf, l.Part); err != nil {
		return e, fmt.Errorf("record %d: %w", l.Index, err)
	}
	return e, nil
}

// Leaves yields the records from a number on, up to the checkpoint. The last pair may hold an error. A Leaf's bytes are the
// receiver's.
func (r *Reader) Leaves(from audit.Index) iter.Seq2[Leaf, error] {
	return func(yield func(Leaf, error) bool) {
		for size := merkle.Size(max(from, 1) - 1); size < r.checkpoint.Size; {
			n, width := r.bundleAt(size)
			leaves, err := r.leaves(n, width)
			var parts map[audit.Index][]byte
			if err == nil {
				parts, err = r.rawParts(n)
			}
			if err != nil {
				yield(Leaf{}, err)
				return
			}
			for i := int(size % merkle.TileWidth); i < len(leaves); i++ {
				index := firstOf(n) + audit.Index(i)
				if !yield(Leaf{index, leaves[i], parts[index]}, nil) {
					return
				}
			}
			size = merkle.Size(n+1) * merkle.TileWidth
		}
	}
}

var (
	lineHead = []byte(`{"record":`)
	lineMid  = []byte(`,"part":`)
)

// rawParts is parts without decoding what nobody may want: a part that was changed is found when its record is made.
func (r *Reader) rawParts(n uint64) (map[audit.Index][]byte, error) {
	b, err := fs.ReadFile(r.fsys, personalPath(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	parts := map[audit.Index][]byte{}
	for text := range bytes.Lines(b) {
		rest, ok := bytes.CutPrefix(bytes.TrimSuffix(text, []byte("\n")), lineHead)
		number, part, mid := bytes.Cut(rest, lineMid)
		index, err := strconv.ParseUint(string(number), 10, 64)
		if !ok || !mid || err != nil || !bytes.HasSuffix(part, []byte("}")) {
			if len(bytes.TrimSpace(text)) == 0 {
				continue
			}
			return nil, wrong("personal", 0, "The file %s of personal parts was changed: a line cannot be read.", personalPath(n))
		}
		parts[audit.Index(index)] = part[:len(part)-1]
	}
	return parts, nil
}
