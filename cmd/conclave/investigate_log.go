package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/audit/folder"
	"conclave/exposure"
	"conclave/exposure/page"
	"conclave/merkle"
	browser "conclave/web"
)

// What investigate, damage, replay and export have in common: the log as a plain folder, names, and pages.

const (
	// auditDir is the plain copy of the log in the data folder.
	auditDir = "audit"
	// indexFile lies beside the log's copy, not in it: it is ours, and can be made anew.
	indexFile = "exposure.index"
)

// evidence is a log that an investigation reads.
type evidence struct {
	dir    string
	fsys   fs.FS
	reader *folder.Reader
	part   exposure.LogPart // what was found of it
}

// openEvidence opens the plain copy of a log. Its newest checkpoint's signature is verified; the records are by verify or by
// an index.
func openEvidence(dir, root string) (*evidence, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("there is no log in %s: give the server's data folder with --data, or a copy of its folder %s with --log", dir, auditDir)
	}
	e := &evidence{dir: dir, fsys: os.DirFS(dir)}
	var err error
	if e.reader, err = folder.Open(e.fsys, root); err != nil {
		return nil, err
	}
	c := e.reader.Checkpoint()
	e.part = exposure.LogPart{Size: uint64(c.Size), Root: c.Root[:]}
	return e, nil
}

// verify holds the whole log against its checkpoint. What is wrong with it stands in the report: a log that does not hold is
// evidence too.
func (e *evidence) verify(root string, witnesses []merkle.Key, progress func(done, all merkle.Size)) error {
	result, err := folder.Verify(e.fsys, folder.Options{Root: root, Witnesses: witnesses, Progress: progress})
	if err != nil {
		e.part.Problem = err.Error()
		var w *folder.Wrong
		if errors.As(err, &w) {
			return nil
		}
		return err
	}
	e.part.Verified, e.part.Sealed = true, result.Last
	for _, c := range result.Cosigned {
		e.part.Witness = append(e.part.Witness, c.Witness)
	}
	return nil
}

// whole holds the whole log against its checkpoint, and refuses what does not hold.
func (e *evidence) whole(k *call, root string) error {
	b := newBar(k.stderr, "verifying the log")
	defer b.done()
	if err := e.verify(root, nil, func(done, all merkle.Size) { b.at(uint64(done), uint64(all)) }); err != nil {
		return err
	}
	if !e.part.Verified {
		return codedError{exitFound, fmt.Errorf("the log does not hold: %s", e.part.Problem)}
	}
	return nil
}

// index brings the index beside the log up to date, or makes it, and holds what it was made of against the checkpoint.
func (e *evidence) index(path string, progress func(done, all uint64)) (*exposure.Index, error) {
	x, kept := exposure.NewIndex(), false
	if b, err := os.ReadFile(path); err == nil && path != "" {
		if old, err := exposure.DecodeIndex(b); err == nil && uint64(old.Edge.Size()) <= e.part.Size {
			x, kept = old, true
		}
	}
	for {
		if err := e.follow(x, progress); err != nil {
			return nil, err
		}
		c := e.reader.Checkpoint()
		whole := x.Edge.Root() == c.Root
		if kept && (x.Void || !whole) {
			x, kept = exposure.NewIndex(), false // something was erased, or it is another log's: anew
			continue
		}
		e.part.Sealed, e.part.Indexed = x.Last(), kept
		if e.part.Problem != "" { // verify has found more
			return x, nil
		}
		if e.part.Verified = whole; !whole {
			e.part.Problem = "the records are not those that the checkpoint signs; conclave audit verify says which"
			return x, nil
		}
		break
	}
	if path != "" {
		if err := replaceFile(path, x.Encode()); err != nil {
			// Without it the next question takes as long as this one; the answer is the same.
			return x, nil
		}
	}
	return x, nil
}

func (e *evidence) follow(x *exposure.Index, progress func(done, all uint64)) error {
	some := make([]folder.Leaf, 0, atOnce)
	for leaf, err := range e.reader.Leaves(audit.Index(x.Edge.Size()) + 1) {
		if err != nil {
			return err
		}
		if some = append(some, leaf); len(some) < atOnce {
			continue
		}
		if err := addAll(x, some); err != nil {
			return err
		}
		if progress != nil {
			progress(uint64(leaf.Index), e.part.Size)
		}
		some = some[:0]
	}
	return addAll(x, some)
}

// meetingHead stands before a leaf's meeting in its JSON.
var meetingHead = []byte(`"meeting":"`)

// timelines reads what the log says of meetings, by their pointers. Most leaves of a log are of others: they are passed over by
// their bytes. All are hashed again: what is read here is what the checkpoint signs, or the log does not hold.
func (e *evidence) timelines(wanted map[string]*exposure.Timeline, progress func(done, all uint64)) error {
	var edge merkle.Edge
	for leaf, err := range e.reader.Leaves(1) {
		if err != nil {
			if e.part.Verified {
				return err
			}
			return nil // as far as it can be read: the report says that the log does not hold
		}
		edge.Append(merkle.LeafHash(leaf.Leaf))
		if leaf.Index%atOnce == 0 {
			progress(uint64(leaf.Index), e.part.Size)
		}
		_, rest, _ := bytes.Cut(leaf.Leaf, meetingHead)
		pointer, _, _ := bytes.Cut(rest, []byte(`"`))
		t := wanted[string(pointer)]
		if t == nil {
			continue
		}
		entry, err := leaf.Record()
		if err != nil {
			if e.part.Verified {
				return err
			}
			continue
		}
		t.Add(entry)
	}
	if e.part.Verified && edge.Root() != e.reader.Checkpoint().Root {
		e.part.Verified, e.part.Problem = false, "the records are not those that the checkpoint signs; conclave audit verify says which"
	}
	return nil
}

// quoted is an argument as a shell takes it.
func quoted(arg string) string {
	if arg != "" && !strings.ContainsFunc(arg, func(r rune) bool {
		return !(r == '-' || r == '_' || r == '=' || r == '.' || r == '/' || r == ':' || r == '+' || r == ',' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9')
	}) {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// atOnce is how many leaves are decoded side by side: enough for many cores, few enough for memory.
const atOnce = 8192

// addAll decodes the leaves that the index wants, on all cores, and adds them in their order.
func addAll(x *exposure.Index, leaves []folder.Leaf) error {
	entries := make([]audit.Entry, len(leaves))
	errs := make([]error, len(leaves))
	var wait sync.WaitGroup
	cores := runtime.GOMAXPROCS(0)
	for core := range cores {
		wait.Go(func() {
			for i := core; i < len(leaves); i += cores {
				if exposure.Wanted(leaves[i].Leaf) {
					entries[i], errs[i] = leaves[i].Record()
				}
			}
		})
	}
	wait.Wait()
	for i := range leaves {
		switch {
		case errs[i] != nil:
			return errs[i]
		case entries[i].Index == 0:
			x.Skip(leaves[i].Leaf)
		default:
			x.Add(entries[i], leaves[i].Leaf)
		}
	}
	return nil
}

// replaceFile writes a file that only its owner can read, as a whole or not at all.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// cast is what a running server's directory says of those whom records name.
type cast struct {
	Devices map[string]exposure.Who `json:"devices"`
	People  map[string]exposure.Who `json:"people"`
	Levels  []struct {
		Name  string            `json:"name"`
		Words map[string]string `json:"words"`
	} `json:"levels"`
}

// namesAtOnce is how many one request asks for: each takes about 40 bytes of its body.
const namesAtOnce = 400

// names asks for the names of legs. Where no server answers, reports go without.
func (a *admin) names(ctx context.Context, legs []*exposure.Leg) (*cast, error) {
	all := &cast{Devices: map[string]exposure.Who{}, People: map[string]exposure.Who{}}
	seen := map[string]bool{}
	var devices, people []string
	for _, l := range legs {
		if d := l.Device.Text(); l.Device != (conclave.DeviceID{}) && !seen["d"+d] {
			seen["d"+d] = true
			devices = append(devices, d)
		}
		if p := string(l.Person); p != "" && !seen["p"+p] {
			seen["p"+p] = true
			people = append(people, p)
		}
	}
	for first := true; first || len(devices) > 0 || len(people) > 0; first = false {
		n, m := min(len(devices), namesAtOnce), min(len(people), namesAtOnce/2)
		some := new(cast)
		if err := a.ask(ctx, "/names", map[string]any{"devices": orEmpty(devices[:n]), "people": orEmpty(people[:m])}, some); err != nil {
			return nil, err
		}
		for k, v := range some.Devices {
			all.Devices[k] = v
		}
		for k, v := range some.People {
			all.People[k] = v
		}
		all.Levels, devices, people = some.Levels, devices[n:], people[m:]
	}
	return all, nil
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// who names a leg.
func (n *cast) who(l *exposure.Leg) exposure.Who {
	w := exposure.Who{Person: l.Person}
	if n == nil {
		return w
	}
	if known, ok := n.Devices[l.Device.Text()]; ok {
		return known
	}
	if known, ok := n.People[string(l.Person)]; ok && l.Person != "" {
		return known
	}
	return w
}

// level names a level in a language.
func (n *cast) level(lang string) func(conclave.Level) string {
	return func(l conclave.Level) string {
		if n != nil && int(l) < len(n.Levels) {
			if word := n.Levels[l].Words[lang]; word != "" {
				return word
			}
			return n.Levels[l].Name
		}
		if levels := admission.DefaultLevels(); n == nil && int(l) < len(levels) {
			return levels[l].Words[lang]
		}
		return fmt.Sprintf("level %d", l)
	}
}

// pageFonts are those of the web client, where it was built; a page without them takes the reader's own.
func pageFonts() (out []page.Font) {
	client, ok := browser.Client()
	if !ok {
		return nil
	}
	for _, f := range []struct{ name, family, characters string }{
		{"atkinson-hyperlegible-next-latin-wght", "Atkinson Hyperlegible Next", ""},
		{"atkinson-hyperlegible-next-latin-ext-wght", "Atkinson Hyperlegible Next", "U+0100-02FF,U+1E00-1EFF"},
		{"atkinson-hyperlegible-mono-latin-wght", "Atkinson Hyperlegible Mono", ""},
	} {
		found, _ := fs.Glob(client, "assets/"+f.name+"*.woff2")
		if len(found) == 0 {
			continue
		}
		if b, err := fs.ReadFile(client, found[0]); err == nil {
			out = append(out, page.Font{Family: f.family, Range: f.characters, WOFF2: b})
		}
	}
	return out
}

// bar shows how far a long search is, once it has taken a second, on a terminal that can show it.
type bar struct {
	out   io.Writer
	what  string
	began time.Time
	shown time.Time
}

func newBar(out io.Writer, what string) *bar {
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
			out = io.Discard // a file or a pipe: nobody looks
		}
	}
	return &bar{out: out, what: what, began: time.Now()}
}

func (b *bar) at(done, all uint64) {
	now := time.Now()
	if all == 0 || now.Sub(b.began) < time.Second || now.Sub(b.shown) < 200*time.Millisecond {
		return
	}
	b.shown = now
	const width = 30
	full := int(done * width / all)
	left := time.Duration(float64(now.Sub(b.began)) * float64(all-done) / float64(max(done, 1))).Round(time.Second)
	fmt.Fprintf(b.out, "\r%s [%s%s] %3d %%, %v left   ", b.what, strings.Repeat("#", full), strings.Repeat(".", width-full), done*100/all, left)
}

func (b *bar) done() {
	if !b.shown.IsZero() {
		fmt.Fprintf(b.out, "\r%s\r", strings.Repeat(" ", 79))
	}
}

// parseMoment reads a time as people write it: 2026-04-17, 2026-04-17 11:05, or RFC 3339; without a zone it is this machine's.
func parseMoment(text string, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, usageError{fmt.Sprintf("%q is no time: write 2026-04-17, or 2026-04-17T11:05, or 2026-04-17T11:05:00+02:00", text)}
}

// parseUntil is parseMoment for the end of a span: a day ends when it is over.
func parseUntil(text string, zone *time.Location) (time.Time, error) {
	t, err := parseMoment(text, zone)
	if _, day := time.ParseInLocation(time.DateOnly, text, zone); err == nil && day == nil {
		t = t.In(zone).AddDate(0, 0, 1).UTC()
	}
	return t, err
}

// language checks --lang.
func language(lang string) error {
	for _, l := range page.Languages {
		if l == lang {
			return nil
		}
	}
	return usageError{"--lang is one of " + strings.Join(page.Languages, ", ")}
}
