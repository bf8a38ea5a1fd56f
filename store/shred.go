package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Erasing from a stream is done by forgetting a key. (The engine's own secure deletion was seen to leave a record of an
// encrypted block on the disk as it was, behind a note that it is gone.) The keys stand in a file of fixed slots, drawn and
// synced in advance, so that a record costs one durable write and not two; erasing one overwrites its slot in place.

// Slot is the place of a key; the first has 1.
type Slot uint64

// ShredKey seals one thing, once. It is secret.
type ShredKey struct {
	_   [0]func() // not comparable
	Key [32]byte
}

const (
	slotSize = 32
	// slotsAhead are drawn and synced at once: one sync in so many records. Those that are left over when the process
	// ends are never used.
	slotsAhead = 256
	// shredKeysWord stands in the sentinel of a store that has the file.
	shredKeysWord Stream = "+shred"
)

type shredKeys struct {
	mu   sync.Mutex
	file *os.File
	next Slot // guarded by mu: the next to give out
	last Slot // guarded by mu: the last that is on the disk
}

// open opens the file, which must be there if the store was made with it.
func (k *shredKeys) open(dir string, exists bool) error {
	path := filepath.Join(dir, shredFile)
	flags := os.O_RDWR
	if !exists {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: %s is missing: put it back from its backup, the personal parts of records cannot be read without it", path)
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s can be read by others: chmod 600 it", path)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("store: %w", err)
	}
	k.file = f
	k.last = Slot((info.Size() + slotSize - 1) / slotSize) // a torn write was never given out
	k.next = k.last + 1
	return nil
}

func (k *shredKeys) close() {
	if k.file != nil {
		k.file.Close()
	}
}

// draw gives out the next slot, and draws more where there is none.
func (k *shredKeys) draw() (Slot, ShredKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var key ShredKey
	if k.next > k.last {
		var block [slotsAhead * slotSize]byte
		rand.Read(block[:])
		if _, err := k.file.WriteAt(block[:], int64(k.last)*slotSize); err != nil {
			return 0, key, fmt.Errorf("store: keep new keys: %w", err)
		}
		if err := k.file.Sync(); err != nil {
			return 0, key, fmt.Errorf("store: keep new keys: %w", err)
		}
		k.last += slotsAhead
	}
	if err := k.read(k.next, &key); err != nil {
		return 0, key, err
	}
	k.next++
	return k.next - 1, key, nil
}

// read reads a slot's key; a slot of zeros is erased. k.mu is held.
func (k *shredKeys) read(slot Slot, key *ShredKey) error {
	if slot == 0 || slot > k.last {
		return fmt.Errorf("store: there is no key %d in %s: put it back from its backup", slot, shredFile)
	}
	if _, err := k.file.ReadAt(key.Key[:], int64(slot-1)*slotSize); err != nil {
		return fmt.Errorf("store: read %s: %w", shredFile, err)
	}
	if key.Key == [slotSize]byte{} {
		return ErrNotFound
	}
	return nil
}

// DrawKey implements Store.
func (s *JetStream) DrawKey(context.Context) (Slot, ShredKey, error) { return s.keys.draw() }

// ReadKey implements Store.
func (s *JetStream) ReadKey(_ context.Context, slot Slot) (ShredKey, error) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	var key ShredKey
	return key, s.keys.read(slot, &key)
}

// EraseKeys implements Store.
func (s *JetStream) EraseKeys(ctx context.Context, slots []Slot) error {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	for _, slot := range slots {
		if slot == 0 || slot >= s.keys.next {
			return fmt.Errorf("store: there is no key %d to erase", slot)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := s.keys.file.WriteAt(make([]byte, slotSize), int64(slot-1)*slotSize); err != nil {
			return fmt.Errorf("store: erase keys: %w", err)
		}
	}
	if err := s.keys.file.Sync(); err != nil {
		return fmt.Errorf("store: erase keys: %w", err)
	}
	return nil
}
