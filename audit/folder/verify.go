package folder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/merkle"
	"conclave/pass"
)

// Options say what a folder is held against besides itself.
type Options struct {
	// Root is the organisation's root key or its hash (Organisation.RootHash), as known from elsewhere; empty: none is
	// known, and the folder's own is taken.
	Root string
	// Witnesses are the keys whose cosignatures count: each must be there.
	Witnesses []merkle.Key
	// Others are checkpoints of the same log that were seen elsewhere, by a name for them.
	Others map[string][]byte
	// Progress is told now and then how many records were verified; may be nil.
	Progress func(done, all merkle.Size)
}

// Result is what verification found in a folder that holds.
type Result struct {
	Organisation conclave.OrganisationID `json:"organisation"`
	RootHash     string                  `json:"root_hash"`
	Pinned       bool                    `json:"pinned"` // the root key was compared with one known from elsewhere
	Origin       string                  `json:"origin"`
	Log          string                  `json:"log,omitempty"` // as in Organisation
	Records      merkle.Size             `json:"records"`
	Root         merkle.Hash             `json:"tree_root"`
	First        time.Time               `json:"first,omitzero"` // the time of the first record
	Last         time.Time               `json:"last,omitzero"`
	Checkpoints  int                     `json:"checkpoints"`      // earlier ones that this log goes on from
	Parts        uint64                  `json:"personal_parts"`   // verified
	Erased       []Erased                `json:"erased,omitempty"` // by the erasures that the log records
	Cosigned     []Cosigned              `json:"cosigned,omitempty"`
	Notes        []string                `json:"notes,omitempty"` // what is no error but should be known
}

// Erased is one erasure: when, and how many of the personal parts it covers are gone.
type Erased struct {
	At      time.Time `json:"at"`
	Records uint64    `json:"records"`
}

// Cosigned is a witness's signature.
type Cosigned struct {
	Witness string      `json:"witness"`
	At      time.Time   `json:"at"` // by its clock
	Records merkle.Size `json:"records"`
}

// Wrong is what is wrong with a folder: one sentence.
type Wrong struct {
	// Code is stable: "organisation", "root", "checkpoint", "signature", "record_changed", "record_cut", "record_added",
	// "order", "cut", "rewritten", "tile", "two_histories", "personal", "cosignature", "missing".
	Code   string      `json:"code"`
	Record audit.Index `json:"record,omitempty"`
	Text   string      `json:"text"`
}

// Error implements error.
func (w *Wrong) Error() string { return w.Text }

func wrong(code string, record audit.Index, format string, args ...any) error {
	return &Wrong{Code: code, Record: record, Text: fmt.Sprintf(format, args...)}
}

// Verify reads a whole folder and checks that its checkpoints are signed, that the records are those of the newest one, that
// the log goes on from each earlier one, and that the personal parts are those committed to or were erased on record. An
// error is a *Wrong where the folder does not hold.
func Verify(fsys fs.FS, o Options) (*Result, error) {
	r, err := Open(fsys, o.Root)
	if err != nil {
		return nil, err
	}
	v := &verification{Reader: r, options: o, result: &Result{
		Organisation: r.organisation.ID, RootHash: r.organisation.RootHash(), Pinned: o.Root != "",
		Origin: r.checkpoint.Origin, Log: r.organisation.Log, Records: r.checkpoint.Size, Root: r.checkpoint.Root,
	}}
	if err := v.gather(); err != nil {
		return nil, err
	}
	if err := v.tiles(); err != nil {
		return nil, err
	}
	if err := v.records(); err != nil {
		return nil, err
	}
	v.compare()
	if v.err == nil {
		v.erasures()
	}
	return v.result, v.err
}

// verification is one run of Verify.
type verification struct {
	*Reader
	options Options
	result  *Result
	err     error // the first that was found while going on
	badTile error

	claims []claim // other checkpoints of this log, by size
	noted  int     // how many of them have a size that was passed
	edge   merkle.Edge
	// tilesHold says that the tiles of hashes lead to the checkpoint's root, so that a record that does not fit them is
	// the wrong one.
	tilesHold bool
	missing   []audit.Span // personal parts that are not there
	present   []audit.Span
	erased    []erasure
}

// claim is a checkpoint that says what the log was at a size.
type claim struct {
	*merkle.Checkpoint
	where string
	fits  bool // the records up to its size have its root
}

type erasure struct {
	at    time.Time
	spans []audit.Span
}

// gather reads all other checkpoints and verifies their signatures.
func (v *verification) gather() error {
	names, err := fs.ReadDir(v.fsys, keptFolder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("audit: %w", err)
	}
	for _, n := range names {
		if strings.HasSuffix(n.Name(), ".new") { // a server was writing it
			continue
		}
		name := keptFolder + "/" + n.Name()
		b, err := fs.ReadFile(v.fsys, name)
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		c, err := v.claim(b, name)
		if err != nil {
			return err
		}
		if n.Name() != strconv.FormatUint(uint64(c.Size), 10) {
			return wrong("checkpoint", 0, "The file %s holds the checkpoint of %d records.", name, c.Size)
		}
		v.result.Checkpoints++
	}
	b, err := fs.ReadFile(v.fsys, cosignedFile)
	switch {
	case err == nil:
		if err := v.cosigned(b); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("audit: %w", err)
	case len(v.options.Witnesses) > 0: // whoever made the copy may have left it out
		return wrong("cosignature", 0, "There is no file %s: nothing bears the signature of the witness %s.", cosignedFile, v.options.Witnesses[0].Name())
	}
	for name, b := range v.options.Others {
		if _, err := v.claim(b, name); err != nil {
			return err
		}
	}
	slices.SortStableFunc(v.claims, func(a, b claim) int { return int(a.Size) - int(b.Size) })
	return nil
}

func (v *verification) claim(signed []byte, where string) (*merkle.Checkpoint, error) {
	c, err := merkle.Open(signed, v.keys...)
	if err != nil {
		return nil, wrong("signature", 0, "The checkpoint %s is not signed by the log key of %s: it was changed or forged.", where, v.organisation.ID)
	}
	if c.Size > v.checkpoint.Size {
		return nil, wrong("cut", 0, "The log was cut: %s was signed with %d records, this folder ends at record %d.", where, c.Size, v.checkpoint.Size)
	}
	v.claims = append(v.claims, claim{Checkpoint: c, where: where})
	return c, nil
}

func (v *verification) cosigned(signed []byte) error {
	c, err := v.claim(signed, cosignedFile)
	if err != nil {
		return err
	}
	for _, k := range v.options.Witnesses {
		at, ok := merkle.Cosignature(signed, k)
		if !ok {
			return wrong("cosignature", 0, "The checkpoint of %d records bears no good signature of the witness %s.", c.Size, k.Name())
		}
		v.result.Cosigned = append(v.result.Cosigned, Cosigned{k.Name(), at, c.Size})
	}
	return nil
}

// tiles finds out whether the tiles of hashes are those of the checkpoint.
func (v *verification) tiles() error {
	var edge merkle.Edge
	for edge.Size() < v.checkpoint.Size {
		n, width := v.bundleAt(edge.Size())
		b, err := readWide(v.fsys, func(w int) string { return merkle.Tile{N: n, Hashes: make([]merkle.Hash, w)}.Path() }, width)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the records say more
		}
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		hashes, err := merkle.ParseTile(b, width)
		if err != nil {
			return nil
		}
		for _, h := range hashes {
			edge.Append(h)
		}
	}
	v.tilesHold = edge.Root() == v.checkpoint.Root
	return nil
}

// records hashes all records and holds them against tiles, checkpoints and personal parts.
func (v *verification) records() error {
	for v.edge.Size() < v.checkpoint.Size {
		if err := v.bundle(); err != nil {
			return err
		}
		if v.options.Progress != nil {
			v.options.Progress(v.edge.Size(), v.checkpoint.Size)
		}
	}
	if v.edge.Root() != v.checkpoint.Root && v.err == nil {
		known := v.lastGood()
		v.err = wrong("rewritten", 0, "The records are not those that the checkpoint was signed over: the history was rewritten, or another one signed%s.", known)
	}
	for _, t := range v.edge.Partial() {
		v.tile(t)
	}
	if v.err == nil {
		v.err = v.badTile
	}
	return nil
}

// lastGood says up to where an earlier checkpoint vouches for the records.
func (v *verification) lastGood() string {
	var best merkle.Size
	for _, c := range v.claims {
		if c.fits {
			best = max(best, c.Size)
		}
	}
	if best == 0 {
		return ""
	}
	return fmt.Sprintf("; the first %d are as they were signed earlier", best)
}

// bundle reads and checks one bundle.
func (v *verification) bundle() error {
	n, width := v.bundleAt(v.edge.Size())
	first := firstOf(n)
	leaves, err := v.leaves(n, width)
	if err != nil {
		return err
	}
	parts, err := v.parts(n)
	if err != nil {
		return err
	}
	want, _ := v.hashes(n, width)
	for i, leaf := range leaves {
		h := merkle.LeafHash(leaf)
		if v.err == nil && v.tilesHold && h != want[i] {
			v.err = v.blame(first+audit.Index(i), leaf, leaves, want, i)
		}
		for _, t := range v.edge.Append(h) {
			v.tile(t)
		}
		v.note()
		if err := v.record(first+audit.Index(i), leaf, parts); err != nil && v.err == nil {
			v.err = err
		}
		delete(parts, first+audit.Index(i))
	}
	for i := range parts {
		if merkle.Size(i) <= v.checkpoint.Size && v.err == nil {
			v.err = wrong("personal", i, "There is a personal part for record %d, which has none.", i)
		}
	}
	return nil
}

// blame says what happened to a record that is not the one signed.
func (v *verification) blame(i audit.Index, leaf []byte, leaves [][]byte, want []merkle.Hash, at int) error {
	hash := merkle.LeafHash(leaf)
	if at+1 < len(want) && hash == want[at+1] {
		if at+1 < len(leaves) && merkle.LeafHash(leaves[at+1]) == want[at] {
			return wrong("order", i, "The order was changed: records %d and %d stand in each other's place.", i, i+1)
		}
		return wrong("record_cut", i, "Record %d was cut out.", i)
	}
	if k := slices.Index(want, hash); k >= 0 {
		return wrong("order", i, "The order was changed: in the place of record %d stands record %d.", i, i+audit.Index(k)-audit.Index(at))
	}
	if at+1 < len(leaves) && merkle.LeafHash(leaves[at+1]) == want[at] {
		return wrong("record_added", i, "Before record %d another was put in.", i)
	}
	return wrong("record_changed", i, "Record %d is not the one that was signed: it was changed.", i)
}

// tile holds a tile that the records make against the one in the folder. Which of the two is wrong shows at the end.
func (v *verification) tile(t merkle.Tile) {
	if v.badTile != nil {
		return
	}
	b, err := readWide(v.fsys, func(w int) string { return merkle.Tile{Level: t.Level, N: t.N, Hashes: make([]merkle.Hash, w)}.Path() }, len(t.Hashes))
	switch {
	case err != nil:
		v.badTile = wrong("tile", 0, "The file %s of hashes is missing; the records are those that were signed.", t.Path())
	case !bytes.HasPrefix(b, t.Bytes()):
		v.badTile = wrong("tile", 0, "The file %s of hashes was changed; the records are those that were signed.", t.Path())
	}
}

// note compares the root with the checkpoints of that size. claims are in order of their sizes.
func (v *verification) note() {
	for ; v.noted < len(v.claims) && v.claims[v.noted].Size <= v.edge.Size(); v.noted++ {
		if c := &v.claims[v.noted]; c.Size == v.edge.Size() {
			c.fits = c.Root == v.edge.Root()
		}
	}
}

// compare reports checkpoints that the log does not go on from.
func (v *verification) compare() {
	for _, c := range v.claims {
		if !c.fits && c.Size > 0 && v.err == nil {
			v.err = wrong("two_histories", 0, "There are two histories: the log key of %s signed another log of %d records in %s.", v.organisation.ID, c.Size, c.where)
		}
	}
}

// head is what verification reads of a record.
type head struct {
	Kind     audit.Kind   `json:"kind"`
	Time     time.Time    `json:"time"`
	Personal []byte       `json:"personal"`
	Erased   []audit.Span `json:"erased"`
}

// record checks a record's personal part and notes erasures.
func (v *verification) record(i audit.Index, leaf []byte, parts map[audit.Index][]byte) error {
	if v.organisation.Log == Devices {
		if _, err := pass.ParseLogLeaf(leaf); err != nil {
			return wrong("record_changed", i, "Entry %d cannot be read: it was changed.", i)
		}
		if _, ok := parts[i]; ok {
			return wrong("personal", i, "There is a personal part for entry %d, which has none.", i)
		}
		return nil
	}
	var h head
	if err := json.Unmarshal(leaf, &h); err != nil {
		return wrong("record_changed", i, "Record %d cannot be read: it was changed.", i)
	}
	if i == 1 {
		v.result.First = h.Time
	}
	v.result.Last = h.Time
	if h.Kind == audit.KindErasure {
		v.erased = append(v.erased, erasure{h.Time, h.Erased})
	}
	part, ok := parts[i]
	switch {
	case len(h.Personal) == 0 && ok:
		return wrong("personal", i, "There is a personal part for record %d, which has none.", i)
	case len(h.Personal) == 0:
		return nil
	case !ok:
		v.missing = span(v.missing, i)
		return nil
	}
	if _, _, err := audit.Join(leaf, part); err != nil {
		return wrong("personal", i, "The personal part of record %d is not the one that the record commits to: it was changed.", i)
	}
	v.present = span(v.present, i)
	v.result.Parts++
	return nil
}

// span adds i, which is greater than all in it, to spans.
func span(spans []audit.Span, i audit.Index) []audit.Span {
	if n := len(spans); n > 0 && spans[n-1].To+1 == i {
		spans[n-1].To = i
		return spans
	}
	return append(spans, audit.Span{From: i, To: i})
}

// erasures holds the personal parts that are missing against the erasures on record.
func (v *verification) erasures() {
	left := v.missing
	for _, e := range v.erased {
		rest := subtract(left, e.spans)
		if gone := count(left) - count(rest); gone > 0 {
			v.result.Erased = append(v.result.Erased, Erased{e.at, gone})
		}
		left = rest
		if still := count(v.present) - count(subtract(v.present, e.spans)); still > 0 {
			v.result.Notes = append(v.result.Notes, fmt.Sprintf("This copy still holds %d personal parts that were erased on %s: delete it, or erase them here too.",
				still, e.at.Format(time.DateOnly)))
		}
	}
	if len(left) > 0 {
		v.err = wrong("personal", left[0].From, "The personal part of record %d is missing (of %d records in all), and no erasure of it is on record.", left[0].From, count(left))
	}
}

func count(spans []audit.Span) (n uint64) {
	for _, s := range spans {
		n += uint64(s.To - s.From + 1)
	}
	return n
}

// subtract returns what is in a and not in b, both in order.
func subtract(a, b []audit.Span) []audit.Span {
	b = slices.Clone(b)
	slices.SortFunc(b, func(x, y audit.Span) int { return int(x.From) - int(y.From) })
	var out []audit.Span
	for _, s := range a {
		for len(b) > 0 && b[0].To < s.From {
			b = b[1:]
		}
		for k := 0; k < len(b) && b[k].From <= s.To && s.From <= s.To; k++ {
			if b[k].To < b[k].From {
				continue
			}
			if b[k].From > s.From {
				out = append(out, audit.Span{From: s.From, To: b[k].From - 1})
			}
			s.From = max(s.From, b[k].To+1)
		}
		if s.From <= s.To {
			out = append(out, s)
		}
	}
	return out
}
