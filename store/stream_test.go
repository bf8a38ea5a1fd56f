package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestManyRecordsAreReadInOrderInPartsOfAnySize(t *testing.T) {
	s, ctx := opened(t, t.TempDir()), t.Context()
	const n = 3000
	for i := range n {
		if _, err := s.Append(ctx, Audit, fmt.Append(nil, "record-", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		from  Sequence
		limit int
		want  int
	}{{1, n, n}, {0, 10, 10}, {1, 1024, 1024}, {1000, 1025, 1025}, {2990, 100, 11}, {3001, 5, 0}, {1, 0, 0}} {
		records, err := s.Read(ctx, Audit, c.from, c.limit)
		if err != nil || len(records) != c.want {
			t.Errorf("from %d, %d: %d records, %v", c.from, c.limit, len(records), err)
			continue
		}
		for i, r := range records {
			if want := max(c.from, 1) + Sequence(i); r.Sequence != want || string(r.Value) != fmt.Sprint("record-", want) {
				t.Fatalf("from %d: place %d holds %d %q", c.from, i, r.Sequence, r.Value)
			}
		}
	}
	if last, err := s.Last(ctx, Audit); err != nil || last != n {
		t.Errorf("the last is %d, %v", last, err)
	}
}

func TestALargeRecordIsRead(t *testing.T) {
	s, ctx := opened(t, t.TempDir()), t.Context()
	for range 3 {
		if _, err := s.Append(ctx, Audit, make([]byte, MaxValue)); err != nil {
			t.Fatal(err)
		}
	}
	if records, err := s.Read(ctx, Audit, 1, 10); err != nil || len(records) != 3 || len(records[2].Value) != MaxValue {
		t.Errorf("%d records, %v", len(records), err)
	}
}

func TestAStoreOfAnOlderProgramGainsTheNewStreamsOnce(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	all := streams
	streams = []Stream{Audit}
	s, err := Open(ctx, dir, slog.New(slog.DiscardHandler))
	streams = all
	if err != nil {
		t.Fatal(err)
	}
	s.Append(ctx, Audit, []byte("a"))
	s.Close()
	path := filepath.Join(dir, sentinelFile)
	b, _ := os.ReadFile(path)
	os.WriteFile(path, []byte(strings.Fields(string(b))[0]+"\n"), 0o600) // as the first release wrote it
	s, err = Open(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(ctx, Devices, []byte("p")); err != nil {
		t.Error(err)
	}
	s.Close()
	os.RemoveAll(filepath.Join(dir, "engine", "jetstream", "$G", "streams", string(Devices)))
	reopenFails(t, dir, "stream devices is not in it")
}

func BenchmarkAppend(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	value := make([]byte, 240)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Append(b.Context(), Audit, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const n = 4096
	for range n {
		s.Append(b.Context(), Audit, make([]byte, 240))
	}
	b.ReportAllocs()
	for b.Loop() {
		if records, err := s.Read(b.Context(), Audit, 1, n); err != nil || len(records) != n {
			b.Fatal(len(records), err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
}
