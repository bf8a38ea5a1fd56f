package folder

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"conclave"
	"conclave/audit"
	"conclave/merkle"
)

// An evidence bundle is a zip file that stands by itself: the report of a meeting, the records that it was made of with the
// proofs that they stand in the signed log, and the keys. Whoever has it needs neither the server nor the whole log.
//
//	README.txt     how to check it
//	report.html    the report as a page
//	report.json    and as data
//	organisation   as in a folder: whose log it is, its root key, the grants that name the log's key
//	checkpoint     the signed state of the log that all proofs lead to
//	witnesses      the keys of witnesses whose signature stands under it, one a line; may be empty
//	records.jsonl  the meeting's records, one a line: leaf, personal part, and the path of hashes to the checkpoint's root
//	consistency    the path from the state that the report was made of to the checkpoint
//	contents       SHA-256 of all these, as sha256sum writes it
//
// Where a server runs, a record commits to the report (ReportDigest), and stands among the others.
const (
	readmeFile      = "README.txt"
	reportPage      = "report.html"
	reportData      = "report.json"
	witnessesFile   = "witnesses"
	recordsFile     = "records.jsonl"
	consistencyFile = "consistency"
	contentsFile    = "contents"
)

// reported are the files that a record commits to.
var reported = []string{readmeFile, reportPage, reportData}

// evidenceFiles are those of a bundle, in their order.
var evidenceFiles = []string{readmeFile, reportPage, reportData, organisationFile, checkpointFile, witnessesFile, recordsFile, consistencyFile, contentsFile}

// maxEvidence bounds one file of a bundle.
const maxEvidence = 256 << 20

// Evidence is what a bundle is made of beside the log.
type Evidence struct {
	Readme, Page, Data []byte
	Meeting            conclave.MeetingID
	Records            []audit.Index // of the meeting, in order
	Made               merkle.Size   // of the log when the report was made
	Witnesses          []merkle.Key  // whose signatures stand under the checkpoint
}

// ReportDigest is what a record of the report commits to.
func (e *Evidence) ReportDigest() []byte {
	return reportDigest(map[string][]byte{readmeFile: e.Readme, reportPage: e.Page, reportData: e.Data})
}

func reportDigest(files map[string][]byte) []byte {
	sum := sha256.Sum256([]byte(contents(files, reported)))
	return sum[:]
}

// contents lists files as sha256sum does.
func contents(files map[string][]byte, names []string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	return b.String()
}

// proven is one line of recordsFile.
type proven struct {
	Record   audit.Index   `json:"record"`
	Leaf     string        `json:"leaf"`
	Personal string        `json:"personal,omitempty"`
	Path     []merkle.Hash `json:"path"`
}

// WriteEvidence writes a bundle whose proofs lead to the folder's newest checkpoint, or to the newest cosigned one where that
// covers all records and its witnesses are given.
func (r *Reader) WriteEvidence(w io.Writer, e *Evidence) error {
	signed, c, err := r.evidenceCheckpoint(e)
	if err != nil {
		return err
	}
	files := map[string][]byte{readmeFile: e.Readme, reportPage: e.Page, reportData: e.Data, checkpointFile: signed}
	if files[organisationFile], err = r.organisation.encode(); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	for _, k := range e.Witnesses {
		files[witnessesFile] = append(files[witnessesFile], k.String()+"\n"...)
	}
	at := *r
	at.checkpoint = c
	tree := merkle.TileReader(c, func(level int, n uint64, width int) ([]byte, error) {
		return readWide(r.fsys, func(w int) string { return merkle.Tile{Level: level, N: n, Hashes: make([]merkle.Hash, w)}.Path() }, width)
	})
	if files[recordsFile], err = at.proveAll(e.Records, tree); err != nil {
		return err
	}
	path, err := merkle.ProveConsistency(tree, e.Made, c.Size)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if files[consistencyFile], err = json.Marshal(path); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	files[consistencyFile] = append(files[consistencyFile], '\n')
	files[contentsFile] = []byte(contents(files, evidenceFiles[:len(evidenceFiles)-1]))
	out := zip.NewWriter(w)
	for _, name := range evidenceFiles {
		f, err := out.Create(name)
		if err == nil {
			_, err = f.Write(files[name])
		}
		if err != nil {
			return fmt.Errorf("audit: write evidence: %w", err)
		}
	}
	return out.Close()
}

// evidenceCheckpoint chooses the signed state that proofs lead to.
func (r *Reader) evidenceCheckpoint(e *Evidence) ([]byte, *merkle.Checkpoint, error) {
	covers := func(c *merkle.Checkpoint) bool {
		return c.Size >= e.Made && (len(e.Records) == 0 || c.Size >= merkle.Size(e.Records[len(e.Records)-1]))
	}
	names := []string{cosignedFile, checkpointFile}
	if len(e.Witnesses) == 0 {
		names = names[1:]
	}
	for _, name := range names {
		signed, err := fs.ReadFile(r.fsys, name)
		if err != nil {
			continue
		}
		c, err := merkle.Open(signed, r.keys...)
		if err != nil || !covers(c) {
			continue
		}
		if slices.ContainsFunc(e.Witnesses, func(k merkle.Key) bool { _, ok := merkle.Cosignature(signed, k); return !ok }) {
			continue
		}
		return signed, c, nil
	}
	if len(e.Witnesses) > 0 {
		return nil, nil, ErrNotCosigned
	}
	return nil, nil, errors.New("audit: no checkpoint covers all records yet")
}

// ErrNotCosigned says that the witnesses have not signed a state that covers the records.
var ErrNotCosigned = errors.New("audit: no checkpoint that covers all records bears the witnesses' signatures")

// proveAll writes records with their proofs.
func (r *Reader) proveAll(records []audit.Index, tree merkle.Reader) ([]byte, error) {
	var out bytes.Buffer
	var leaves [][]byte
	var parts map[audit.Index][]byte
	bundle := ^uint64(0)
	for _, i := range records {
		n, width := r.bundleAt(merkle.Size(i - 1))
		var err error
		if n != bundle {
			if leaves, err = r.leaves(n, width); err == nil {
				parts, err = r.parts(n)
			}
			if err != nil {
				return nil, err
			}
			bundle = n
		}
		p := proven{Record: i, Leaf: string(leaves[i-firstOf(n)]), Personal: string(parts[i])}
		if p.Path, err = merkle.ProveInclusion(tree, merkle.Index(i-1), r.checkpoint.Size); err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		line, err := json.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		out.Write(append(line, '\n'))
	}
	return out.Bytes(), nil
}

// Borne is what a bundle that holds shows.
type Borne struct {
	Organisation conclave.OrganisationID `json:"organisation"`
	RootHash     string                  `json:"root_hash"`
	Pinned       bool                    `json:"pinned"`
	Meeting      string                  `json:"meeting"`
	Records      int                     `json:"records"` // of the meeting
	Size         merkle.Size             `json:"size"`    // of the log, by the checkpoint
	Root         merkle.Hash             `json:"tree_root"`
	Report       audit.Index             `json:"report,omitempty"` // the record that commits to the report; 0: none does
	Erased       int                     `json:"erased,omitempty"` // records whose personal part was erased
	Cosigned     []Cosigned              `json:"cosigned,omitempty"`
}

// VerifyEvidence checks a bundle by itself. An error is a *Wrong where it does not hold.
func VerifyEvidence(in io.ReaderAt, size int64, o Options) (*Borne, error) {
	files, err := unpack(in, size)
	if err != nil {
		return nil, err
	}
	b := &borne{files: files, Borne: new(Borne)}
	for _, step := range []func(Options) error{b.signed, b.records, b.report, b.listed} {
		if err := step(o); err != nil {
			return nil, err
		}
	}
	return b.Borne, nil
}

type borne struct {
	*Borne
	files      map[string][]byte
	keys       []merkle.Key
	checkpoint *merkle.Checkpoint
	all        []audit.Entry
}

// unpack reads the files of a bundle: those that belong in one, and no others.
func unpack(in io.ReaderAt, size int64) (map[string][]byte, error) {
	z, err := zip.NewReader(in, size)
	if err != nil {
		return nil, wrong("bundle", 0, "This is no evidence bundle, or its end was cut or changed: it cannot be unpacked.")
	}
	files := map[string][]byte{}
	for _, f := range z.File {
		if _, twice := files[f.Name]; twice || !slices.Contains(evidenceFiles, f.Name) {
			return nil, wrong("bundle", 0, "There is a file %q in the bundle that does not belong there.", f.Name)
		}
		r, err := f.Open()
		var b []byte
		if err == nil {
			b, err = io.ReadAll(io.LimitReader(r, maxEvidence+1))
			r.Close()
		}
		if err != nil || len(b) > maxEvidence {
			return nil, wrong("bundle", 0, "The file %s was changed: it cannot be unpacked, or is not what its checksum says.", f.Name)
		}
		files[f.Name] = b
	}
	for _, name := range evidenceFiles {
		if _, ok := files[name]; !ok {
			return nil, wrong("missing", 0, "The file %s is missing from the bundle.", name)
		}
	}
	return files, nil
}

// signed checks whose bundle it is, the checkpoint and its witnesses.
func (b *borne) signed(o Options) error {
	organisation, err := parseOrganisation(b.files[organisationFile])
	if err != nil {
		return wrong("organisation", 0, "The file %s was changed: it cannot be read.", organisationFile)
	}
	b.Organisation, b.RootHash, b.Pinned = organisation.ID, organisation.RootHash(), o.Root != ""
	if b.Pinned && !organisation.rootIs(o.Root) {
		return wrong("root", 0, "This evidence is of another root key: it names %s, you gave %s.", organisation.RootHash(), o.Root)
	}
	if b.keys, err = organisation.LogKeys(); err != nil {
		return wrong("organisation", 0, "The file %s does not hold: %v.", organisationFile, err)
	}
	signed := b.files[checkpointFile]
	if b.checkpoint, err = merkle.Open(signed, b.keys...); err != nil {
		return wrong("signature", 0, "The checkpoint is not signed by the log key of %s: it was changed or forged.", organisation.ID)
	}
	b.Size, b.Root = b.checkpoint.Size, b.checkpoint.Root
	witnesses := slices.Clone(o.Witnesses)
	for text := range strings.Lines(string(b.files[witnessesFile])) {
		key, err := merkle.ParseKey(strings.TrimSuffix(text, "\n"))
		if err != nil || !key.Witness() || key.String()+"\n" != text {
			return wrong("cosignature", 0, "The file %s was changed: it holds what is no witness's key.", witnessesFile)
		}
		witnesses = append(witnesses, key)
	}
	for _, k := range witnesses {
		at, ok := merkle.Cosignature(signed, k)
		if !ok {
			return wrong("cosignature", 0, "The checkpoint of %d records bears no good signature of the witness %s.", b.Size, k.Name())
		}
		if !slices.ContainsFunc(b.Cosigned, func(c Cosigned) bool { return c.Witness == k.Name() }) {
			b.Cosigned = append(b.Cosigned, Cosigned{k.Name(), at, b.Size})
		}
	}
	return nil
}

// records checks that each record stands in the log.
func (b *borne) records(Options) error {
	last := audit.Index(0)
	for text := range bytes.Lines(b.files[recordsFile]) {
		var p proven
		changed := func(err error) error {
			if err != nil {
				return wrong("record_changed", last, "The file %s was changed: the line behind record %d cannot be read.", recordsFile, last)
			}
			return nil
		}
		if err := changed(json.Unmarshal(text, &p)); err != nil {
			return err
		}
		again, err := json.Marshal(p)
		if err == nil && !bytes.Equal(append(again, '\n'), text) {
			err = errors.New("it is not as it was written")
		}
		if err := changed(err); err != nil {
			return err
		}
		if p.Record <= last {
			return wrong("order", p.Record, "Record %d stands behind record %d: the order was changed.", p.Record, last)
		}
		if merkle.CheckInclusion(p.Path, merkle.Index(p.Record-1), merkle.LeafHash([]byte(p.Leaf)), b.Size, b.Root) != nil {
			return wrong("record_changed", p.Record, "Record %d, or its proof, is not what the checkpoint was signed over: it was changed.", p.Record)
		}
		var part []byte
		if p.Personal != "" {
			part = []byte(p.Personal)
		}
		e := audit.Entry{Index: p.Record}
		if e.Record, e.Erased, err = audit.Join([]byte(p.Leaf), part); err != nil {
			return wrong("personal", p.Record, "The personal part of record %d is not the one that the record commits to: it was changed.", p.Record)
		}
		if e.Erased {
			b.Erased++
		}
		b.all, last = append(b.all, e), p.Record
	}
	return nil
}

// madeOf is what the report says that it was made of.
type madeOf struct {
	Meeting string `json:"meeting"`
	Log     struct {
		Size merkle.Size `json:"size"`
		Root []byte      `json:"root"`
		Used int         `json:"used"`
	} `json:"log"`
}

// report holds the report against the records: of which meeting it is, of which state of the log, and which record commits to it.
func (b *borne) report(Options) error {
	var m madeOf
	if err := json.Unmarshal(b.files[reportData], &m); err != nil || len(m.Log.Root) != len(merkle.Hash{}) {
		return wrong("report", 0, "The file %s was changed: it cannot be read.", reportData)
	}
	b.Meeting = m.Meeting
	used := 0
	for i := range b.all {
		e := &b.all[i]
		if e.Record.Meeting.Text() != m.Meeting {
			return wrong("report", e.Index, "Record %d is not of the meeting that the report is of: one of both was exchanged.", e.Index)
		}
		if merkle.Size(e.Index) <= m.Log.Size {
			used++
		}
	}
	if used != m.Log.Used {
		return wrong("record_cut", 0, "The report was made of %d records of the meeting, %d of them are here.", m.Log.Used, used)
	}
	b.Records = used
	var path []merkle.Hash
	again := func() []byte { text, _ := json.Marshal(path); return append(text, '\n') }
	if json.Unmarshal(b.files[consistencyFile], &path) != nil || !bytes.Equal(again(), b.files[consistencyFile]) ||
		merkle.CheckConsistency(path, m.Log.Size, merkle.Hash(m.Log.Root), b.Size, b.Root) != nil {
		return wrong("two_histories", 0, "The log that the report was made of, of %d records, is not the one that the checkpoint signs, or the file %s was changed.", m.Log.Size, consistencyFile)
	}
	digest := reportDigest(b.files)
	named := audit.Index(0)
	for i := range b.all {
		e := &b.all[i]
		if e.Record.Kind != audit.KindInvestigation || len(e.Record.Commitment) == 0 {
			continue
		}
		named = e.Index
		if bytes.Equal(e.Record.Commitment, digest) {
			b.Report = e.Index
		}
	}
	if b.Report == 0 && named > audit.Index(m.Log.Size) { // recorded behind what the report was made of: for this very report
		return b.unborne(named)
	}
	return nil
}

// unborne says which file is not the one that a record commits to, as far as the list tells.
func (b *borne) unborne(record audit.Index) error {
	for _, name := range reported {
		if !strings.Contains(string(b.files[contentsFile]), contents(b.files, []string{name})) {
			return wrong("report", record, "The file %s is not the one that record %d commits to: it was changed.", name, record)
		}
	}
	return wrong("report", record, "The report is not the one that record %d commits to: it was changed.", record)
}

// listed holds all files against the list of them. What is signed was found to hold before: then it is the list that was changed.
func (b *borne) listed(Options) error {
	names := evidenceFiles[:len(evidenceFiles)-1]
	if contents(b.files, names) == string(b.files[contentsFile]) {
		return nil
	}
	lines := strings.SplitAfter(string(b.files[contentsFile]), "\n")
	for i, name := range names {
		if i < len(lines) && lines[i] == contents(b.files, []string{name}) {
			continue
		}
		proven := name == organisationFile || name == recordsFile || name == consistencyFile || b.Report != 0 && slices.Contains(reported, name)
		if proven {
			return wrong("contents", 0, "The list %s was changed: what it says of %s is not so, and that file is the one that was signed.", contentsFile, name)
		}
		return wrong("contents", 0, "The file %s is not the one that the list %s names: one of both was changed.", name, contentsFile)
	}
	return wrong("contents", 0, "The list %s was changed: it names more files than there are.", contentsFile)
}
