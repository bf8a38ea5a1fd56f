package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"conclave/audit"
	"conclave/merkle"
)

// Reader reads a folder. Open verifies the newest checkpoint's signature; that the records are those signed is Verify's
// matter.
type Reader struct {
	fsys         fs.FS
	organisation *Organisation
	keys         []merkle.Key
	checkpoint   *merkle.Checkpoint
}

// Open reads whose log a folder is and its newest checkpoint. root is as in Options.
func Open(fsys fs.FS, root string) (*Reader, error) {
	b, err := fs.ReadFile(fsys, organisationFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wrong("missing", 0, "There is no file %s: this is not a copy of an audit log.", organisationFile)
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	o, err := parseOrganisation(b)
	if err != nil {
		return nil, wrong("organisation", 0, "The file %s was changed: it cannot be read.", organisationFile)
	}
	if root != "" && !o.rootIs(root) {
		return nil, wrong("root", 0, "This log is of another root key: the folder names %s, you gave %s.", o.RootHash(), root)
	}
	r := &Reader{fsys: fsys, organisation: o}
	if r.keys, err = o.LogKeys(); err != nil {
		return nil, wrong("organisation", 0, "The file %s does not hold: %v.", organisationFile, err)
	}
	signed, err := fs.ReadFile(fsys, checkpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wrong("missing", 0, "There is no file %s.", checkpointFile)
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if r.checkpoint, err = merkle.Open(signed, r.keys...); err != nil {
		return nil, wrong("signature", 0, "The checkpoint is not signed by the log key of %s: it was changed or forged.", o.ID)
	}
	// In a copy that was made while the server wrote, the cosigned one may be newer.
	if signed, err := fs.ReadFile(fsys, cosignedFile); err == nil {
		if c, err := merkle.Open(signed, r.keys...); err == nil && c.Size > r.checkpoint.Size {
			r.checkpoint = c
		}
	}
	return r, nil
}

// Checkpoint returns the newest one.
func (r *Reader) Checkpoint() *merkle.Checkpoint { return r.checkpoint }

// Organisation says whose log it is.
func (r *Reader) Organisation() *Organisation { return r.organisation }

// bundleAt returns the bundle in which leaf number size stands, and how many leaves it has.
func (r *Reader) bundleAt(size merkle.Size) (n uint64, width int) {
	n = uint64(size) / merkle.TileWidth
	return n, int(min(uint64(r.checkpoint.Size)-n*merkle.TileWidth, merkle.TileWidth))
}

// readWide reads a file that has a width in its name: the one wanted, or a wider one, which a server that goes on has put in
// its place.
func readWide(fsys fs.FS, name func(width int) string, width int) ([]byte, error) {
	b, err := fs.ReadFile(fsys, name(width))
	if !errors.Is(err, fs.ErrNotExist) || width == merkle.TileWidth {
		return b, err
	}
	if b, err := fs.ReadFile(fsys, name(merkle.TileWidth)); err == nil {
		return b, nil
	}
	path := name(width)
	folder := path[:strings.LastIndexByte(path, '/')]
	entries, readErr := fs.ReadDir(fsys, folder)
	if readErr != nil {
		return nil, err
	}
	for _, e := range entries {
		var w int
		if _, scanErr := fmt.Sscan(e.Name(), &w); scanErr == nil && w > width && w < merkle.TileWidth {
			if b, err := fs.ReadFile(fsys, name(w)); err == nil {
				return b, nil
			}
		}
	}
	return nil, err
}

// leaves reads a bundle of records.
func (r *Reader) leaves(n uint64, width int) ([][]byte, error) {
	b, err := readWide(r.fsys, func(w int) string { return merkle.BundlePath(n, w) }, width)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wrong("missing", firstOf(n), "The file %s with the records from %d on is missing.", merkle.BundlePath(n, width), firstOf(n))
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	leaves, err := merkle.ParseBundle(b, width)
	if err == nil {
		return leaves, nil
	}
	// Which record it is the hashes may tell.
	want, _ := r.hashes(n, width)
	for i, leaf := range leaves {
		if i < len(want) && merkle.LeafHash(leaf) != want[i] {
			if i+1 < len(want) && merkle.LeafHash(leaf) == want[i+1] {
				return nil, wrong("record_cut", firstOf(n)+audit.Index(i), "Record %d was cut out.", firstOf(n)+audit.Index(i))
			}
			return nil, wrong("record_changed", firstOf(n)+audit.Index(i), "Record %d is not the one that was signed: it was changed.", firstOf(n)+audit.Index(i))
		}
	}
	i := firstOf(n) + audit.Index(min(len(leaves), width-1))
	return nil, wrong("record_cut", i, "Record %d was cut or changed: the file %s does not end with its last record.", i, merkle.BundlePath(n, width))
}

// hashes reads a tile of the records' hashes.
func (r *Reader) hashes(n uint64, width int) ([]merkle.Hash, error) {
	b, err := readWide(r.fsys, func(w int) string { return merkle.Tile{N: n, Hashes: make([]merkle.Hash, w)}.Path() }, width)
	if err != nil {
		return nil, err
	}
	return merkle.ParseTile(b, width)
}

// parts reads a file of personal parts.
func (r *Reader) parts(n uint64) (map[audit.Index][]byte, error) {
	b, err := fs.ReadFile(r.fsys, personalPath(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	parts, err := parseParts(b, firstOf(n))
	if err != nil {
		return nil, wrong("personal", 0, "The file %s of personal parts was changed: %v.", personalPath(n), err)
	}
	return parts, nil
}

// Entries yields the records from a number on. The last pair may hold an error.
func (r *Reader) Entries(from audit.Index) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for size := merkle.Size(max(from, 1) - 1); size < r.checkpoint.Size; {
			n, width := r.bundleAt(size)
			leaves, err := r.leaves(n, width)
			if err != nil {
				yield(audit.Entry{}, err)
				return
			}
			parts, err := r.parts(n)
			if err != nil {
				yield(audit.Entry{}, err)
				return
			}
			for i := int(size % merkle.TileWidth); i < len(leaves); i++ {
				e := audit.Entry{Index: firstOf(n) + audit.Index(i)}
				if e.Record, e.Erased, err = audit.Join(leaves[i], parts[e.Index]); err != nil {
					yield(e, fmt.Errorf("record %d: %w", e.Index, err))
					return
				}
				if !yield(e, nil) {
					return
				}
			}
			size = merkle.Size(n+1) * merkle.TileWidth
		}
	}
}

// Keys returns the keys that sign for the log: for a witness.
func (r *Reader) Keys() []merkle.Key { return r.keys }
