package folder_test

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/audit/folder"
	"conclave/merkle"
)

var evidenceMeeting = conclave.MeetingID{42, 7}

// evidence makes a bundle of a meeting's records between others; recorded says whether a record commits to its report.
func (w *world) evidence(recorded bool, witnesses ...merkle.Key) []byte {
	w.t.Helper()
	e := &folder.Evidence{Readme: []byte("how to check\n"), Page: []byte("<p>the report</p>\n"), Meeting: evidenceMeeting, Witnesses: witnesses}
	write := func(r audit.Record) {
		w.t.Helper()
		r.Time, r.Meeting = now, evidenceMeeting
		n, err := w.log.Record(w.t.Context(), r)
		if err != nil {
			w.t.Fatal(err)
		}
		e.Records = append(e.Records, n)
		w.n++
	}
	for i := range 40 {
		write(audit.Record{Kind: audit.KindRuling, Person: "anna.weber", Facts: []conclave.Fact{{Name: "network", Value: fmt.Sprint("n", i)}}})
		w.record(20)
	}
	reader := w.reader()
	e.Made = reader.Checkpoint().Size
	root := reader.Checkpoint().Root
	var err error
	e.Data, err = json.Marshal(map[string]any{"meeting": evidenceMeeting.Text(), "log": map[string]any{"size": e.Made, "root": root[:], "used": len(e.Records)}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.record(11)
	if recorded {
		write(audit.Record{Kind: audit.KindInvestigation, Reason: "a leak", Commitment: e.ReportDigest()})
	}
	w.record(3)
	var out bytes.Buffer
	if err := w.reader().WriteEvidence(&out, e); err != nil {
		w.t.Fatal(err)
	}
	return out.Bytes()
}

func (w *world) reader() *folder.Reader {
	w.t.Helper()
	r, err := folder.Open(os.DirFS(w.dir), w.org.RootHash())
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func verifyEvidence(b []byte, o folder.Options) (*folder.Borne, error) {
	return folder.VerifyEvidence(bytes.NewReader(b), int64(len(b)), o)
}

type packed struct {
	name    string
	content []byte
}

func unpack(t *testing.T, b []byte) (out []packed) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, packed{f.Name, content})
	}
	return out
}

func pack(t *testing.T, files []packed) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		w, err := z.Create(f.name)
		if err == nil {
			_, err = w.Write(f.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sha(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

func unpackNamed(files []packed, name string) []byte {
	return files[slices.IndexFunc(files, func(f packed) bool { return f.name == name })].content
}

// oneSentence says whether an error tells in one sentence what is wrong.
func oneSentence(err error) bool {
	var w *folder.Wrong
	return errors.As(err, &w) && strings.HasSuffix(w.Text, ".") && !strings.Contains(w.Text, "\n") && !strings.Contains(w.Text, ". ")
}

func TestEvidenceHoldsByItself(t *testing.T) {
	w := newWorld(t)
	for _, recorded := range []bool{true, false} {
		b := w.evidence(recorded)
		got, err := verifyEvidence(b, folder.Options{Root: w.org.RootHash()})
		if err != nil {
			t.Fatal(err)
		}
		if got.Records != 40 || got.Meeting != evidenceMeeting.Text() || !got.Pinned || (got.Report != 0) != recorded || got.Organisation != "ministry.example" {
			t.Errorf("%+v", got)
		}
	}
	if _, err := verifyEvidence(w.evidence(true), folder.Options{Root: "AAAAAAAAAAAAAAAAAAAAAA"}); wrongCode(err) != "root" {
		t.Errorf("under another root key: %v", err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	witness := merkle.WitnessKey("audit.example/w", key.Public().(ed25519.PublicKey))
	if _, err := verifyEvidence(w.evidence(true), folder.Options{Witnesses: []merkle.Key{witness}}); wrongCode(err) != "cosignature" {
		t.Errorf("without the witness who is asked for: %v", err)
	}
}

// Whichever file is changed by one octet, wherever: that is found, and said in one sentence.
func TestEvidenceOfWhichOneOctetWasChangedIsFound(t *testing.T) {
	for _, recorded := range []bool{true, false} {
		w := newWorld(t)
		files := unpack(t, w.evidence(recorded))
		if len(files) != 9 {
			t.Fatalf("%d files", len(files))
		}
		said := map[string]map[string]bool{}
		for i, f := range files {
			said[f.name] = map[string]bool{}
			for at := 0; at < len(f.content); at += 1 + len(f.content)/200 {
				changed := slices.Clone(files)
				changed[i].content = slices.Clone(f.content)
				changed[i].content[at] ^= 1
				_, err := verifyEvidence(pack(t, changed), folder.Options{})
				if !oneSentence(err) {
					t.Fatalf("octet %d of %s: %v", at, f.name, err)
				}
				said[f.name][err.Error()] = true
			}
			for _, other := range [][]byte{append(slices.Clone(f.content), 'x'), append([]byte("x"), f.content...)} {
				changed := slices.Clone(files)
				changed[i].content = other
				if _, err := verifyEvidence(pack(t, changed), folder.Options{}); !oneSentence(err) {
					t.Errorf("%s with an octet more: %v", f.name, err)
				}
			}
			cut := slices.Concat(files[:i], files[i+1:])
			if _, err := verifyEvidence(pack(t, cut), folder.Options{}); err == nil || !strings.Contains(err.Error(), f.name) {
				t.Errorf("without %s: %v", f.name, err)
			}
		}
		for _, name := range []string{"report.html", "report.json", "README.txt"} {
			for text := range said[name] {
				if recorded && !strings.Contains(text, name) && !strings.Contains(text, "report") {
					t.Errorf("%s was changed, and that is said: %s", name, text)
				}
			}
		}
		if recorded && !said["report.html"][fmt.Sprintf("The file report.html is not the one that record %d commits to: it was changed.", w.n-3)] {
			t.Errorf("of report.html was said: %v", said["report.html"])
		}
	}
}

// Who changes the report and puts the list right is found by the record that commits to it.
func TestAReportThatWasExchangedWithItsListIsFound(t *testing.T) {
	w := newWorld(t)
	files := unpack(t, w.evidence(true))
	other := unpack(t, w.evidence(true))
	for i := range files {
		if files[i].name == "report.html" {
			files[i].content = []byte("<p>another report</p>\n")
		}
	}
	sums := ""
	for _, f := range files[:len(files)-1] {
		sums += fmt.Sprintf("%x  %s\n", sha(f.content), f.name)
	}
	files[len(files)-1].content = []byte(sums)
	if _, err := verifyEvidence(pack(t, files), folder.Options{}); wrongCode(err) != "report" {
		t.Errorf("another report: %v", err)
	}
	// Records of the one under the other's checkpoint.
	for i := range other {
		if other[i].name == "records.jsonl" {
			other[i].content = unpackNamed(files, "records.jsonl")
		}
	}
	if _, err := verifyEvidence(pack(t, other), folder.Options{}); wrongCode(err) != "record_changed" {
		t.Errorf("records of another bundle: %v", err)
	}
	twice := append(slices.Clone(other), packed{"README.txt", []byte("x")})
	if _, err := verifyEvidence(pack(t, twice), folder.Options{}); wrongCode(err) != "bundle" {
		t.Errorf("a file twice: %v", err)
	}
}

// Of the container some octets say nothing (times, versions). Whatever is changed of it: the content is as it was, or that is found.
func TestABundleThatWasDamagedSaysNothingElse(t *testing.T) {
	w := newWorld(t)
	b := w.evidence(true)
	want, err := verifyEvidence(b, folder.Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := unpack(t, b)
	passed, tried := 0, 0
	for at := 0; at < len(b); at += 1 + len(b)/2000 {
		changed := slices.Clone(b)
		changed[at] ^= 1
		tried++
		got, err := verifyEvidence(changed, folder.Options{})
		if err != nil {
			if !oneSentence(err) {
				t.Fatalf("octet %d: %v", at, err)
			}
			continue
		}
		passed++
		if fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(unpack(t, changed)) != fmt.Sprint(before) {
			t.Fatalf("octet %d: %+v", at, got)
		}
	}
	if passed*10 > tried {
		t.Errorf("%d of %d changes were not found", passed, tried)
	}
	for _, n := range []int{0, 1, len(b) / 2, len(b) - 1} {
		if _, err := verifyEvidence(b[:n], folder.Options{}); !oneSentence(err) {
			t.Errorf("cut to %d octets: %v", n, err)
		}
	}
}

func TestEvidenceBearsItsWitnesses(t *testing.T) {
	w := newWorld(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	witness := merkle.WitnessKey("audit.example/w", key.Public().(ed25519.PublicKey))
	e := &folder.Evidence{Readme: []byte("x"), Page: []byte("x"), Meeting: evidenceMeeting, Witnesses: []merkle.Key{witness}}
	w.record(30)
	n, err := w.log.Record(t.Context(), audit.Record{Kind: audit.KindMeetingOpened, Time: now, Meeting: evidenceMeeting})
	if err != nil {
		t.Fatal(err)
	}
	w.publish()
	state := w.log.State()
	e.Records, e.Made = []audit.Index{n}, state.Size
	root := w.reader().Checkpoint().Root
	if e.Data, err = json.Marshal(map[string]any{"meeting": evidenceMeeting.Text(), "log": map[string]any{"size": e.Made, "root": root[:], "used": 1}}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := w.reader().WriteEvidence(&out, e); !errors.Is(err, folder.ErrNotCosigned) {
		t.Fatalf("before the witness has signed: %v", err)
	}
	line, err := merkle.Cosign(w.reader().Checkpoint(), witness.Name(), key, now)
	if err != nil {
		t.Fatal(err)
	}
	if state.Signed, err = merkle.AddCosignature(state.Signed, line, witness); err != nil {
		t.Fatal(err)
	}
	if err := w.log.SetCosigned(state, now, now); err != nil {
		t.Fatal(err)
	}
	w.record(5) // the log goes on; the witness has not seen that
	if err := w.reader().WriteEvidence(&out, e); err != nil {
		t.Fatal(err)
	}
	got, err := verifyEvidence(out.Bytes(), folder.Options{Root: w.org.RootHash(), Witnesses: []merkle.Key{witness}})
	if err != nil || len(got.Cosigned) != 1 || got.Cosigned[0].Witness != witness.Name() || !got.Cosigned[0].At.Equal(now.Truncate(time.Second)) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzVerifyEvidence(f *testing.F) {
	w := newWorld(f)
	f.Add(w.evidence(true))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := verifyEvidence(b, folder.Options{}); err != nil && !oneSentence(err) {
			t.Fatal(err)
		}
	})
}
