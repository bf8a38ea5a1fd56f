package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestAKeyIsGivenOutOnceAndReadUntilItIsErased(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	s := opened(t, dir)
	keys := map[[32]byte]Slot{}
	var slots []Slot
	for range slotsAhead + 10 {
		slot, key, err := s.DrawKey(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if keys[key.Key] != 0 || key.Key == [32]byte{} {
			t.Fatal("a key was given out twice")
		}
		keys[key.Key] = slot
		slots = append(slots, slot)
	}
	secret, _ := s.ReadKey(ctx, slots[3])
	if err := s.EraseKeys(ctx, []Slot{slots[3], slots[200], slots[3]}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	b, err := os.ReadFile(filepath.Join(dir, shredFile))
	if err != nil || bytes.Contains(b, secret.Key[:]) {
		t.Errorf("the erased key stands in the file, %v", err)
	}
	s = opened(t, dir)
	for key, slot := range keys {
		got, err := s.ReadKey(ctx, slot)
		if erased := slot == slots[3] || slot == slots[200]; erased != errors.Is(err, ErrNotFound) || !erased && got.Key != key {
			t.Errorf("slot %d: %v", slot, err)
		}
	}
	slot, key, err := s.DrawKey(ctx)
	if err != nil || slot <= slots[len(slots)-1] || keys[key.Key] != 0 {
		t.Errorf("after a restart slot %d is given out, %v", slot, err)
	}
	if err := s.EraseKeys(ctx, []Slot{slot + 1}); err == nil {
		t.Error("a key that was not given out was erased")
	}
	if _, err := s.ReadKey(ctx, 1<<40); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a slot behind the end: %v", err)
	}
}

func TestManyDrawKeysAtOnce(t *testing.T) {
	s := opened(t, t.TempDir())
	var mu sync.Mutex
	seen := map[Slot]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				slot, _, err := s.DrawKey(t.Context())
				mu.Lock()
				if err != nil || seen[slot] {
					t.Errorf("slot %d twice, %v", slot, err)
				}
				seen[slot] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestAStoreWithoutItsKeysOfPersonalPartsIsRefused(t *testing.T) {
	dir := filled(t)
	path := filepath.Join(dir, shredFile)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	reopenFails(t, dir, "chmod 600")
	os.Remove(path)
	reopenFails(t, dir, "store.shred is missing")
}
