package folder_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/audit/folder"
	"conclave/identity"
	"conclave/merkle"
	"conclave/store"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is an organisation with a log and its plain copy.
type world struct {
	t    testing.TB
	org  *identity.Organisation
	st   *store.JetStream
	log  *audit.Log
	data string // of the store
	dir  string // of the plain copy
	n    int
	says io.Writer // the engine's warnings; nil: nowhere
}

func newWorld(t testing.TB) *world {
	t.Helper()
	org, err := identity.NewOrganisation(t.TempDir(), "ministry.example", "Ministry", rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, org: org, data: t.TempDir(), dir: filepath.Join(t.TempDir(), "audit")}
	w.open()
	t.Cleanup(func() { w.st.Close() })
	return w
}

func (w *world) organisation() folder.Organisation {
	return folder.Organisation{ID: w.org.ID, Root: w.org.Root, Grants: w.org.Grants}
}

func (w *world) open() {
	w.t.Helper()
	if err := w.tryOpen(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tryOpen() (err error) {
	handler := slog.Handler(slog.DiscardHandler)
	if w.says != nil {
		handler = slog.NewTextHandler(w.says, nil)
	}
	if w.st, err = store.Open(context.Background(), w.data, slog.New(handler)); err != nil {
		return err
	}
	c, err := folder.OpenWriter(w.dir, w.organisation())
	if err == nil {
		o := w.organisation()
		w.log, err = audit.Open(context.Background(), audit.Config{Store: w.st, Origin: o.Origin(), Key: w.org.LogKey(), Copy: c})
	}
	if err != nil {
		w.st.Close()
	}
	return err
}

func (w *world) reopen() {
	w.t.Helper()
	w.st.Close()
	w.open()
}

// record writes n records, every other one with a personal part, and publishes them.
func (w *world) record(n int) {
	w.t.Helper()
	for range n {
		w.n++
		r := audit.Record{Kind: audit.KindCommit, Time: now.Add(time.Duration(w.n) * time.Second), Meeting: conclave.MeetingID{byte(w.n)}, Epoch: uint64(w.n)}
		if w.n%2 == 0 {
			r.Kind, r.Person = audit.KindRuling, conclave.PersonID(fmt.Sprintf("person%d", w.n%10))
			r.Facts = []conclave.Fact{{Name: "network", Value: "hotel <wifi> & café", Proven: true}}
		}
		if _, err := w.log.Record(w.t.Context(), r); err != nil {
			w.t.Fatal(err)
		}
	}
	w.publish()
}

func (w *world) publish() {
	w.t.Helper()
	if err := w.log.Publish(w.t.Context(), now.Add(time.Duration(w.n)*time.Minute)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) verify(o folder.Options) (*folder.Result, error) {
	if o.Root == "" {
		o.Root = w.org.RootHash()
	}
	return folder.Verify(os.DirFS(w.dir), o)
}

func (w *world) holds() *folder.Result {
	w.t.Helper()
	r, err := w.verify(folder.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func wrongCode(err error) string {
	var w *folder.Wrong
	if errors.As(err, &w) {
		return w.Code
	}
	return fmt.Sprint(err)
}

func TestACopyHoldsAtEverySizeAndAfterEachRestart(t *testing.T) {
	w := newWorld(t)
	for i, n := range []int{1, 2, 3, 249, 1, 1, 255, 300, 7} {
		w.record(n)
		if r := w.holds(); int(r.Records) != w.n || int(r.Parts) != w.n/2 || !r.Pinned {
			t.Fatalf("%d records: verified %+v", w.n, r)
		}
		if i%3 == 2 {
			w.reopen()
			w.publish()
			w.holds()
		}
	}
	var stray []string
	filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if strings.Contains(path, ".p/") || strings.HasSuffix(path, ".new") {
			stray = append(stray, path)
		}
		return err
	})
	if len(stray) != 3 { // of hashes, of hashes of hashes, of records
		t.Errorf("partial files: %v", stray)
	}
}

func TestWhatIsReadFromTheCopyIsWhatWasRecorded(t *testing.T) {
	w := newWorld(t)
	w.record(300)
	r, err := folder.Open(os.DirFS(w.dir), w.org.RootHash())
	if err != nil {
		t.Fatal(err)
	}
	want, err := w.log.Read(t.Context(), 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	at := 249
	for e, err := range r.Entries(250) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Index != want[at].Index || e.Record.Person != want[at].Record.Person || e.Record.Epoch != want[at].Record.Epoch || len(e.Record.Facts) != len(want[at].Record.Facts) {
			t.Fatalf("record %d is %+v, want %+v", e.Index, e, want[at])
		}
		at++
	}
	if at != 300 {
		t.Errorf("read up to %d", at)
	}
}

// change replaces a file's content.
func (w *world) change(name string, f func([]byte) []byte) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, f(b), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestOneOctetChangedAnywhereIsFound(t *testing.T) {
	w := newWorld(t)
	w.record(10)
	w.reopen()
	w.record(260)
	witness := ed25519.NewKeyFromSeed(make([]byte, 32))
	key := merkle.WitnessKey("witness.example", witness.Public().(ed25519.PublicKey))
	w.cosign(witness)
	options := folder.Options{Root: w.org.RootHash(), Witnesses: []merkle.Key{key}}
	if r, err := w.verify(options); err != nil || len(r.Cosigned) != 1 || r.Checkpoints != 1 {
		t.Fatalf("before: %+v, %v", r, err)
	}
	codes := map[string]int{}
	files := 0
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		step := max(len(b)/23, 1)
		for i := 0; i < len(b); i += step {
			bad := append([]byte(nil), b...)
			bad[i] ^= byte(1 << (i % 8))
			os.WriteFile(path, bad, 0o600)
			_, err := w.verify(options)
			var wrong *folder.Wrong
			if !errors.As(err, &wrong) {
				t.Errorf("octet %d of %s changed: %v", i, path, err)
				continue
			}
			codes[wrong.Code]++
			if strings.Count(wrong.Text, "\n") > 0 || !strings.HasSuffix(wrong.Text, ".") {
				t.Errorf("not one sentence: %q", wrong.Text)
			}
		}
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.verify(options); err != nil || files < 10 {
		t.Errorf("afterwards %d files: %v", files, err)
	}
	t.Logf("%d files, findings %v", files, codes)
}

func TestALogWithoutTheCosignatureThatIsAskedForDoesNotHold(t *testing.T) {
	w := newWorld(t)
	w.record(10)
	witness := ed25519.NewKeyFromSeed(make([]byte, 32))
	w.cosign(witness)
	options := folder.Options{Witnesses: []merkle.Key{merkle.WitnessKey("witness.example", witness.Public().(ed25519.PublicKey))}}
	if r, err := w.verify(options); err != nil || len(r.Cosigned) != 1 {
		t.Fatalf("before: %+v, %v", r, err)
	}
	// A copy without the file has nothing wrong in it, but for who asks for a witness.
	if err := os.Remove(filepath.Join(w.dir, "cosigned")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.verify(options); wrongCode(err) != "cosignature" || !strings.Contains(err.Error(), "witness.example") {
		t.Errorf("found %v", err)
	}
	if _, err := w.verify(folder.Options{}); err != nil {
		t.Errorf("without a witness: %v", err)
	}
}

func (w *world) cosign(witness ed25519.PrivateKey) {
	w.t.Helper()
	state := w.log.State()
	c, err := merkle.Unverified(state.Signed)
	if err != nil {
		w.t.Fatal(err)
	}
	line, err := merkle.Cosign(c, "witness.example", witness, now)
	if err != nil {
		w.t.Fatal(err)
	}
	both, err := merkle.AddCosignature(state.Signed, line, merkle.WitnessKey("witness.example", witness.Public().(ed25519.PublicKey)))
	if err != nil {
		w.t.Fatal(err)
	}
	state.Signed = both
	if err := w.log.SetCosigned(state, now, now); err != nil {
		w.t.Fatal(err)
	}
}

// bundles changes the records of the first bundle.
func bundles(t *testing.T, width int, f func(leaves [][]byte) [][]byte) func([]byte) []byte {
	return func(b []byte) (out []byte) {
		leaves, err := merkle.ParseBundle(b, width)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range f(leaves) {
			out = append(out, merkle.AppendLeaf(nil, l)...)
		}
		return out
	}
}

func TestForgedCutAndReorderedRecordsAreEachFoundAndNamed(t *testing.T) {
	const full, partial = "tile/entries/000", "tile/entries/001.p/44"
	for name, c := range map[string]struct {
		file   string
		width  int
		change func(l [][]byte) [][]byte
		code   string
		says   string
	}{
		"a record changed": {full, 256, func(l [][]byte) [][]byte {
			l[16] = []byte(strings.Replace(string(l[16]), "commit", "ruling", 1))
			return l
		}, "record_changed", "Record 17 "},
		"a record of another length": {full, 256, func(l [][]byte) [][]byte { l[16] = []byte(`{"kind":"x"}`); return l }, "record_changed", "Record 17 "},
		"a record cut":               {full, 256, func(l [][]byte) [][]byte { return append(l[:16:16], l[17:]...) }, "record_cut", "Record 17 was cut"},
		"the last record cut":        {partial, 44, func(l [][]byte) [][]byte { return l[:43] }, "record_cut", "Record 300 was cut"},
		"the last of a bundle cut":   {full, 256, func(l [][]byte) [][]byte { return l[:255] }, "record_cut", "Record 256 was cut"},
		"two records exchanged": {full, 256, func(l [][]byte) [][]byte {
			l[16], l[17] = l[17], l[16]
			return l
		}, "order", "records 17 and 18"},
		"two distant records exchanged": {full, 256, func(l [][]byte) [][]byte {
			l[16], l[99] = l[99], l[16]
			return l
		}, "order", "in the place of record 17 stands record 100"},
		"a record put in": {partial, 44, func(l [][]byte) [][]byte {
			return append(append(append([][]byte{}, l[:3]...), []byte(`{"kind":"x"}`)), l[3:43]...)
		}, "record_added", "Before record 260"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.record(300)
			w.change(c.file, bundles(t, c.width, c.change))
			_, err := w.verify(folder.Options{})
			if wrongCode(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("found %q, want %s: %s", err, c.code, c.says)
			}
		})
	}
}

// copyDir copies a folder.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error { // os.CopyFS opens them to all
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o600)
		}
		return err
	})
	return to
}

func TestACutLogIsFoundByWhoeverKeptACheckpoint(t *testing.T) {
	w := newWorld(t)
	w.record(40)
	early := copyDir(t, w.dir)
	w.record(300)
	late, err := os.ReadFile(filepath.Join(w.dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	// The early copy holds in itself; against the later checkpoint it is cut.
	if _, err := folder.Verify(os.DirFS(early), folder.Options{Root: w.org.RootHash()}); err != nil {
		t.Fatal(err)
	}
	_, err = folder.Verify(os.DirFS(early), folder.Options{Root: w.org.RootHash(), Others: map[string][]byte{"the auditor's": late}})
	if wrongCode(err) != "cut" || !strings.Contains(err.Error(), "340") {
		t.Errorf("found %v", err)
	}
}

func TestTwoHistoriesAreFound(t *testing.T) {
	w := newWorld(t)
	w.record(40)
	// The same organisation and key sign another history from record 41 on.
	other := &world{t: t, org: w.org, data: copyDir(t, w.data), dir: copyDir(t, w.dir), n: 1000}
	w.record(10)
	other.open()
	defer other.st.Close()
	other.record(20)
	other.holds()
	seen, err := os.ReadFile(filepath.Join(w.dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.verify(folder.Options{Others: map[string][]byte{"what an ally saw": seen}})
	if wrongCode(err) != "two_histories" || !strings.Contains(err.Error(), "what an ally saw") {
		t.Errorf("found %v", err)
	}
	// And so is a history rewritten under a checkpoint that the folder itself kept.
	os.WriteFile(filepath.Join(other.dir, "checkpoints", "50"), seen, 0o600)
	if _, err = other.verify(folder.Options{}); wrongCode(err) != "two_histories" {
		t.Errorf("found %v", err)
	}
	// Records of the one under the checkpoint of the other.
	os.Remove(filepath.Join(other.dir, "checkpoints", "50"))
	os.Remove(filepath.Join(other.dir, "checkpoints", "60"))
	os.WriteFile(filepath.Join(other.dir, "checkpoint"), seen, 0o600)
	if _, err = other.verify(folder.Options{}); wrongCode(err) != "rewritten" || !strings.Contains(err.Error(), "the first 40 are") {
		t.Errorf("found %v", err)
	}
}

func TestAFolderOfAnotherRootIsRefused(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	w.record(3)
	other.record(3)
	if _, err := w.verify(folder.Options{Root: other.org.RootHash()}); wrongCode(err) != "root" {
		t.Errorf("under another root: %v", err)
	}
	// Signed by a key that the root did not grant.
	b, _ := os.ReadFile(filepath.Join(other.dir, "checkpoint"))
	os.WriteFile(filepath.Join(w.dir, "checkpoint"), b, 0o600)
	if _, err := w.verify(folder.Options{}); wrongCode(err) != "signature" {
		t.Errorf("another key's checkpoint: %v", err)
	}
	if r, err := folder.Verify(os.DirFS(other.dir), folder.Options{}); err != nil || r.Pinned {
		t.Errorf("without a root: %+v, %v", r, err)
	}
	if _, err := folder.Verify(os.DirFS(t.TempDir()), folder.Options{}); wrongCode(err) != "missing" {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestErasedPartsAreGoneAndTheLogVerifiesOn(t *testing.T) {
	w := newWorld(t)
	w.record(600)
	before := copyDir(t, w.dir)
	done, err := w.log.Erase(t.Context(), now.Add(24*time.Hour), func(e audit.Entry) bool { return e.Record.Person == "person4" })
	if err != nil || done.Records != 60 {
		t.Fatalf("erased %+v, %v", done, err)
	}
	w.publish()
	r := w.holds()
	if len(r.Erased) != 1 || r.Erased[0].Records != 60 || r.Erased[0].At.Format(time.DateOnly) != "2026-03-02" || r.Parts != 240 {
		t.Errorf("verified %+v", r)
	}
	gone := 0
	entries, err := w.log.Read(t.Context(), 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Record.Person == "person4" {
			t.Fatalf("record %d still names the person", e.Index)
		}
		if e.Erased {
			gone++
		}
	}
	if gone != 60 {
		t.Errorf("%d records say that they were erased", gone)
	}
	filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if b, _ := os.ReadFile(path); strings.Contains(string(b), "person4") {
			t.Errorf("%s names the person", path)
		}
		return err
	})
	// Twice is once; after a restart it stays so.
	if again, err := w.log.Erase(t.Context(), now, func(e audit.Entry) bool { return e.Record.Person == "person4" }); err != nil || again.Records != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	w.reopen()
	w.record(300)
	w.holds()
	// A part that is missing without a record of its erasure is found.
	w.change("personal/000", func(b []byte) []byte { _, rest, _ := strings.Cut(string(b), "\n"); return []byte(rest) })
	if _, err := w.verify(folder.Options{}); wrongCode(err) != "personal" || !strings.Contains(err.Error(), "record 2 is missing") {
		t.Errorf("found %v", err)
	}
	// An older copy of the parts under the newer log still verifies, but is told of.
	os.RemoveAll(filepath.Join(w.dir, "personal"))
	os.CopyFS(filepath.Join(w.dir, "personal"), os.DirFS(filepath.Join(before, "personal")))
	if r, err := w.verify(folder.Options{}); err == nil || r != nil && len(r.Notes) != 1 {
		if wrongCode(err) != "personal" {
			t.Errorf("an old copy: %+v, %v", r, err)
		}
	}
}

func TestAnErasureThatWasInterruptedIsFinishedAtTheNextStart(t *testing.T) {
	w := newWorld(t)
	w.record(20)
	// As if the process had ended before the keys were overwritten.
	intent := `{"time":"2026-03-02T00:00:00Z","spans":[{"from":2,"to":6}]}`
	if _, err := w.st.Put(t.Context(), "audit.erasing", []byte(intent)); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	w.publish()
	if r := w.holds(); len(r.Erased) != 1 || r.Erased[0].Records != 3 {
		t.Errorf("verified %+v", r)
	}
	if _, err := w.st.Get(t.Context(), "audit.erasing"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the intent is still there: %v", err)
	}
}

func TestADamagedCopyIsWrittenAnew(t *testing.T) {
	for _, name := range []string{"tile/1/000.p/1", "tile/0/000"} {
		w := newWorld(t)
		w.record(400)
		os.Remove(filepath.Join(w.dir, name))
		w.reopen()
		for range 3 {
			if err := w.log.Publish(t.Context(), now); err != nil {
				t.Logf("publish: %v", err)
			}
		}
		if name == "tile/1/000.p/1" {
			w.holds()
		} else if _, err := w.verify(folder.Options{}); wrongCode(err) != "tile" {
			t.Errorf("a tile that is missing: %v", err)
		}
	}
}
