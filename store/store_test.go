package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func opened(t *testing.T, dir string) *JetStream {
	t.Helper()
	s, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func reopenFails(t *testing.T, dir, with string) {
	t.Helper()
	s, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err == nil {
		s.Close()
		t.Fatal("the store opened")
	}
	if !strings.Contains(err.Error(), with) {
		t.Errorf("the error does not say %q: %v", with, err)
	}
}

func TestAValueIsCreatedOnceAndChangedOnlyAtTheRevisionSeen(t *testing.T) {
	s, ctx := opened(t, t.TempDir()), t.Context()
	if _, err := s.Get(ctx, "person.anna"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	r1, err := s.Create(ctx, "person.anna", []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(ctx, "person.anna", []byte("two")); !errors.Is(err, ErrConflict) {
		t.Errorf("second create: %v", err)
	}
	r2, err := s.CompareAndPut(ctx, "person.anna", []byte("two"), r1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CompareAndPut(ctx, "person.anna", []byte("three"), r1); !errors.Is(err, ErrConflict) {
		t.Errorf("write over an old revision: %v", err)
	}
	if e, err := s.Get(ctx, "person.anna"); err != nil || string(e.Value) != "two" || e.Revision != r2 {
		t.Errorf("got %q at %d, %v", e.Value, e.Revision, err)
	}
	if err := s.Delete(ctx, "person.anna"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, "person.anna"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get of the deleted: %v", err)
	}
	if _, err := s.Create(ctx, "person.anna", []byte("again")); err != nil {
		t.Errorf("create after delete: %v", err)
	}
}

func TestOfManyWritersOneWinsEachRevision(t *testing.T) {
	s, ctx := opened(t, t.TempDir()), t.Context()
	if _, err := s.Create(ctx, "counter", []byte("0")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for done := 0; done < 25; {
				e, err := s.Get(ctx, "counter")
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				fmt.Sscan(string(e.Value), &n)
				_, err = s.CompareAndPut(ctx, "counter", fmt.Append(nil, n+1), e.Revision)
				if err == nil {
					done++
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if e, _ := s.Get(ctx, "counter"); string(e.Value) != "200" {
		t.Errorf("counted %s, want 200", e.Value)
	}
}

func TestAListHasWhatStandsUnderThePrefixAndNothingElse(t *testing.T) {
	s, ctx := opened(t, t.TempDir()), t.Context()
	for _, k := range []Key{"person.anna", "person.ben.old", "personal.x", "meeting.y", "person.gone"} {
		if _, err := s.Put(ctx, k, []byte(k)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(ctx, "person.gone"); err != nil {
		t.Fatal(err)
	}
	entries, err := s.List(ctx, "person")
	if err != nil {
		t.Fatal(err)
	}
	got := map[Key]bool{}
	for _, e := range entries {
		got[e.Key] = true
	}
	if len(got) != 2 || !got["person.anna"] || !got["person.ben.old"] {
		t.Errorf("listed %v", got)
	}
	if entries, err := s.List(ctx, "nobody"); err != nil || len(entries) != 0 {
		t.Errorf("listed %v, %v under a prefix without values", entries, err)
	}
}

func TestKeysThatTheEngineWouldMisreadAreRefused(t *testing.T) {
	s := opened(t, t.TempDir())
	for _, k := range []Key{"", ".", "a.", ".a", "a..b", "a.*", "a.>", "a b", "ä", Key(strings.Repeat("x", 201))} {
		if _, err := s.Put(t.Context(), k, nil); err == nil {
			t.Errorf("key %q was taken", k)
		}
		if _, err := s.List(t.Context(), k); err == nil {
			t.Errorf("prefix %q was taken", k)
		}
	}
	if _, err := s.Put(t.Context(), "large", make([]byte, MaxValue+1)); err == nil {
		t.Error("a value over the limit was taken")
	}
	if _, err := s.Put(t.Context(), "large", make([]byte, MaxValue)); err != nil {
		t.Errorf("a value at the limit: %v", err)
	}
}

func TestAllIsThereAfterARestart(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	s, err := Open(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Put(ctx, "meeting.m", []byte("secret-title"))
	for i := range 100 {
		if seq, err := s.Append(ctx, Audit, fmt.Append(nil, "record-", i+1)); err != nil || seq != Sequence(i+1) {
			t.Fatalf("append %d: %d, %v", i+1, seq, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = opened(t, dir)
	if e, err := s.Get(ctx, "meeting.m"); err != nil || string(e.Value) != "secret-title" {
		t.Errorf("got %q, %v", e.Value, err)
	}
	records, err := s.Read(ctx, Audit, 99, 10)
	if err != nil || len(records) != 2 || string(records[1].Value) != "record-100" {
		t.Errorf("read %v, %v", records, err)
	}
	if records, err := s.Read(ctx, Audit, 101, 10); err != nil || len(records) != 0 {
		t.Errorf("read %v, %v behind the end", records, err)
	}
}

func TestNothingIsReadableOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Put(t.Context(), "person.findmekey", []byte("findmevalue"))
	s.Append(t.Context(), Audit, []byte("findmerecord"))
	s.Close()
	files := 0
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, _ := os.ReadFile(path)
		if bytes.Contains(b, []byte("findme")) {
			t.Errorf("%s holds plain text", path)
		}
		return nil
	})
	if files < 6 {
		t.Errorf("only %d files looked at", files)
	}
}

func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Put(t.Context(), "a", []byte("b"))
	for range 200 {
		s.Append(t.Context(), Audit, bytes.Repeat([]byte("r"), 100))
	}
	s.Close()
	return dir
}

func TestAWrongKeyIsRefusedAndHarmsNothing(t *testing.T) {
	dir := filled(t)
	path := filepath.Join(dir, keyFile)
	right, _ := os.ReadFile(path)
	os.WriteFile(path, []byte(strings.Repeat("00", 32)), 0o600)
	reopenFails(t, dir, "does not open with its key")
	os.WriteFile(path, right, 0o600)
	s := opened(t, dir)
	if _, err := s.Get(t.Context(), "a"); err != nil {
		t.Errorf("with the right key again: %v", err)
	}
}

func TestAFolderThatIsNotWholeIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(dir string) error
		says string
	}{
		"no key":         {func(dir string) error { return os.Remove(filepath.Join(dir, keyFile)) }, "is missing"},
		"an open key":    {func(dir string) error { return os.Chmod(filepath.Join(dir, keyFile), 0o644) }, "chmod 600"},
		"a damaged key":  {func(dir string) error { return os.WriteFile(filepath.Join(dir, keyFile), []byte("12"), 0o600) }, "is damaged"},
		"an empty store": {func(dir string) error { return os.RemoveAll(filepath.Join(dir, "engine")) }, "does not open with its key"},
		"no marks":       {func(dir string) error { return os.Remove(filepath.Join(dir, marksFile)) }, marksFile},
		"an older store": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, marksFile), []byte(`{"audit":9999}`), 0o600)
		}, "records were lost"},
		"a cut stream": {func(dir string) error {
			blocks, _ := filepath.Glob(filepath.Join(dir, "engine", "jetstream", "*", "streams", string(Audit), "msgs", "*.blk"))
			if len(blocks) == 0 {
				return errors.New("no blocks found")
			}
			info, err := os.Stat(blocks[0])
			if err != nil {
				return err
			}
			// The index would hide the cut until the block is read.
			os.Remove(filepath.Join(filepath.Dir(blocks[0]), "index.db"))
			return os.Truncate(blocks[0], info.Size()/2)
		}, "records were lost"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			if err := c.harm(dir); err != nil {
				t.Fatal(err)
			}
			reopenFails(t, dir, c.says)
		})
	}
}

func TestTwoProcessesDoNotShareAFolder(t *testing.T) {
	dir := t.TempDir()
	opened(t, dir)
	reopenFails(t, dir, "another process")
}

func BenchmarkPut(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	value := make([]byte, 240)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Put(b.Context(), "k", value); err != nil {
			b.Fatal(err)
		}
	}
}
