package folder

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"conclave/audit"
	"conclave/merkle"
)

// Writer keeps a folder. It implements audit.Copy: one goroutine at a time. What it has written before Publish is seen by
// nobody, so that a crash at any moment leaves a folder that verifies.
type Writer struct {
	dir  string
	edge merkle.Edge
	// bundle and parts are those of the last leaves, which fill no bundle yet.
	bundle []byte
	parts  map[audit.Index][]byte
	dirty  map[uint64]bool // bundles whose personal parts in memory differ from the file's
	// partial are the files of the newest checkpoint that a later one replaces.
	partial map[string]bool
	newest  []byte    // the checkpoint in the file; nil: none
	kept    time.Time // the hour of which a checkpoint is kept
}

var _ audit.Copy = (*Writer)(nil)

// errDiffers says that the copy is not the log's: it is written anew from the start.
var errDiffers = errors.New("audit: the plain copy was not that of the log: it is written anew")

// OpenWriter goes on with the folder dir, which it makes if it is not there.
func OpenWriter(dir string, o Organisation) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: make the plain copy: %w", err)
	}
	b, err := o.encode()
	if err != nil {
		return nil, fmt.Errorf("audit: encode the organisation: %w", err)
	}
	w := &Writer{dir: dir}
	if old, err := os.ReadFile(w.path(organisationFile)); err != nil || !bytes.Equal(old, b) {
		if err := replace(w.path(organisationFile), b, true); err != nil {
			return nil, err
		}
	}
	w.reset(merkle.Edge{})
	signed, err := w.Checkpoint()
	if err != nil || signed == nil {
		return w, err
	}
	c, err := merkle.Unverified(signed)
	if err != nil {
		return w, nil // the log, whose key it has, says what is wrong with it
	}
	w.newest = signed
	// From the last whole bundle on all is written anew; where its edge is not whole, everything is.
	size := c.Size / merkle.TileWidth * merkle.TileWidth
	edge, err := merkle.RestoreEdge(size, func(level int, n uint64, width int) ([]merkle.Hash, error) {
		b, err := os.ReadFile(w.path(merkle.Tile{Level: level, N: n, Hashes: make([]merkle.Hash, width)}.Path()))
		if err != nil {
			return nil, err
		}
		return merkle.ParseTile(b, width)
	})
	if err == nil {
		w.reset(*edge)
	}
	w.notePartial(c.Size)
	return w, nil
}

func (w *Writer) reset(edge merkle.Edge) {
	w.edge = edge
	w.bundle, w.parts, w.dirty = nil, map[audit.Index][]byte{}, map[uint64]bool{}
	if w.partial == nil {
		w.partial = map[string]bool{}
	}
}

// notePartial lists the partial files of a checkpoint of size.
func (w *Writer) notePartial(size merkle.Size) {
	for level := 0; uint64(size)>>(level*merkle.TileHeight) > 0; level++ {
		n := uint64(size) >> (level * merkle.TileHeight)
		if width := int(n % merkle.TileWidth); width > 0 {
			w.partial[merkle.Tile{Level: level, N: n / merkle.TileWidth, Hashes: make([]merkle.Hash, width)}.Path()] = true
			if level == 0 {
				w.partial[merkle.BundlePath(n/merkle.TileWidth, width)] = true
			}
		}
	}
}

func (w *Writer) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

// Checkpoint implements audit.Copy.
func (w *Writer) Checkpoint() ([]byte, error) {
	b, err := os.ReadFile(w.path(checkpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("audit: read the plain copy: %w", err)
	}
	return b, nil
}

// Size implements audit.Copy.
func (w *Writer) Size() merkle.Size { return w.edge.Size() }

// Add implements audit.Copy.
func (w *Writer) Add(leaf, part []byte) error {
	full := w.edge.Append(merkle.LeafHash(leaf))
	w.bundle = merkle.AppendLeaf(w.bundle, leaf)
	n := uint64(w.edge.Size()-1) / merkle.TileWidth
	w.dirty[n] = true
	if part != nil {
		w.parts[audit.Index(w.edge.Size())] = bytes.Clone(part)
	}
	if len(full) == 0 {
		return nil
	}
	err := w.fill(n, full)
	if err != nil {
		w.reset(merkle.Edge{}) // what is in memory goes further than the disk: it is written anew
	}
	return err
}

// fill writes a bundle that is full and the tiles that came with it.
func (w *Writer) fill(n uint64, full []merkle.Tile) error {
	for _, t := range full {
		if err := replace(w.path(t.Path()), t.Bytes(), true); err != nil {
			return err
		}
	}
	if err := replace(w.path(merkle.BundlePath(n, merkle.TileWidth)), w.bundle, true); err != nil {
		return err
	}
	if err := w.writeParts(n, true); err != nil {
		return err
	}
	w.bundle, w.parts = nil, map[audit.Index][]byte{}
	return nil
}

// writeParts writes the personal parts of the bundle that is being filled.
func (w *Writer) writeParts(n uint64, sync bool) error {
	var b []byte
	for i := firstOf(n); i < firstOf(n+1); i++ {
		if p, ok := w.parts[i]; ok {
			l, err := line{i, p}.encode()
			if err != nil {
				return fmt.Errorf("audit: encode a personal part: %w", err)
			}
			b = append(b, l...)
		}
	}
	delete(w.dirty, n)
	if len(b) == 0 {
		if _, err := os.Stat(w.path(personalPath(n))); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return replace(w.path(personalPath(n)), b, sync)
}

func firstOf(bundle uint64) audit.Index { return audit.Index(bundle*merkle.TileWidth) + 1 }

// Publish implements audit.Copy.
func (w *Writer) Publish(signed []byte, now time.Time) error {
	c, err := merkle.Unverified(signed) // our own log's
	if err != nil {
		return err
	}
	if c.Size != w.edge.Size() || c.Root != w.edge.Root() {
		w.reset(merkle.Edge{})
		return errDiffers
	}
	partial := map[string]bool{}
	for _, t := range w.edge.Partial() {
		partial[t.Path()] = true
		if err := replace(w.path(t.Path()), t.Bytes(), false); err != nil {
			return err
		}
	}
	n := uint64(c.Size) / merkle.TileWidth
	if width := int(c.Size % merkle.TileWidth); width > 0 {
		name := merkle.BundlePath(n, width)
		partial[name] = true
		if err := replace(w.path(name), w.bundle, false); err != nil {
			return err
		}
		if w.dirty[n] {
			if err := w.writeParts(n, false); err != nil {
				return err
			}
		}
	}
	if err := w.keep(now); err != nil {
		return err
	}
	if err := replace(w.path(checkpointFile), signed, true); err != nil {
		return err
	}
	w.newest = signed
	for name := range w.partial {
		if !partial[name] {
			os.Remove(w.path(name)) // what stays is never looked at
			os.Remove(filepath.Dir(w.path(name)))
		}
	}
	w.partial = partial
	return nil
}

// keep keeps one checkpoint of each hour: the one that the next replaces, so that none that is kept is newer than the newest,
// not even in a copy that somebody makes of the folder meanwhile.
func (w *Writer) keep(now time.Time) error {
	hour := now.UTC().Truncate(time.Hour)
	if hour.Equal(w.kept) || w.newest == nil {
		return nil
	}
	c, err := merkle.Unverified(w.newest)
	if err != nil {
		return err
	}
	if err := replace(w.path(keptFolder+"/"+strconv.FormatUint(uint64(c.Size), 10)), w.newest, true); err != nil {
		return err
	}
	w.kept = hour
	return nil
}

// Cosigned implements audit.Copy.
func (w *Writer) Cosigned(signed []byte) error { return replace(w.path(cosignedFile), signed, true) }

// Erase implements audit.Copy.
func (w *Writer) Erase(spans []audit.Span) error {
	done := -1
	for i, span := range spans {
		for n := int(span.From-1) / merkle.TileWidth; n <= int(span.To-1)/merkle.TileWidth; n++ {
			if n <= done {
				continue
			}
			if err := w.eraseIn(uint64(n), spans[i:]); err != nil {
				return err
			}
			done = n
		}
	}
	return nil
}

// erasedSuffix marks a file of personal parts that is to be overwritten: its successor stands already.
const erasedSuffix = ".erased"

// eraseIn erases what spans, which are in order, have in one bundle. It may be done again after a crash at any of its steps.
func (w *Writer) eraseIn(n uint64, spans []audit.Span) error {
	path := w.path(personalPath(n))
	if err := w.finishShred(path); err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("audit: erase from the plain copy: %w", err)
	}
	parts, err := parseParts(b, firstOf(n))
	if err != nil {
		// A damaged file: nothing of it stays, and the copy is written anew from the log, which has erased its parts.
		w.reset(merkle.Edge{})
		return shred(path)
	}
	var left []byte
	for i := firstOf(n); i < firstOf(n+1); i++ {
		for len(spans) > 0 && spans[0].To < i {
			spans = spans[1:]
		}
		if len(spans) > 0 && spans[0].From <= i {
			delete(w.parts, i)
			continue
		}
		if p, ok := parts[i]; ok {
			l, err := line{i, p}.encode()
			if err != nil {
				return fmt.Errorf("audit: erase from the plain copy: %w", err)
			}
			left = append(left, l...)
		}
	}
	if len(left) == len(b) {
		return nil
	}
	if err := os.Link(path, path+erasedSuffix); err != nil {
		return fmt.Errorf("audit: erase from the plain copy: %w", err)
	}
	if err := replace(path, left, true); err != nil {
		return err
	}
	return shred(path + erasedSuffix)
}

// finishShred does what a crash left undone: the old file is overwritten, unless its successor is not there yet.
func (w *Writer) finishShred(path string) error {
	old, err := os.Stat(path + erasedSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		var current fs.FileInfo
		if current, err = os.Stat(path); err == nil && os.SameFile(old, current) {
			err = os.Remove(path + erasedSuffix)
		} else if err == nil {
			return shred(path + erasedSuffix)
		}
	}
	if err != nil {
		return fmt.Errorf("audit: erase from the plain copy: %w", err)
	}
	return nil
}

// shred puts zeros over a file's content where it lies and removes it. It is no error if there is none.
func shred(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("audit: erase from the plain copy: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("audit: erase from the plain copy: %w", err)
	}
	return nil
}

// Tile implements audit.Copy.
func (w *Writer) Tile(level int, n uint64, width int) ([]byte, error) {
	b, err := readWide(os.DirFS(w.dir), func(width int) string {
		return merkle.Tile{Level: level, N: n, Hashes: make([]merkle.Hash, width)}.Path()
	}, width)
	if err != nil {
		return nil, fmt.Errorf("audit: read the plain copy: %w", err)
	}
	return b, nil
}

// replace writes a file as a whole: whoever reads sees the old content or the new. With sync it is durable.
func replace(path string, content []byte, sync bool) error {
	fail := func(err error) error { return fmt.Errorf("audit: write the plain copy: %w", err) }
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fail(err)
		}
		f, err = os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	}
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(content)
	if err == nil && sync {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
		return fail(err)
	}
	if !sync {
		return nil
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fail(err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil { // the rename itself
		return fail(err)
	}
	return nil
}
