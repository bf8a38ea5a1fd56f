package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go/jetstream"
)

// The files beside the engine's folder.
const (
	keyFile      = "store.key"      // 64 hexadecimal digits, mode 0600
	sentinelFile = "store.sentinel" // not secret: what must be found inside
	marksFile    = "store.marks"    // not secret: how far the streams had come
	lockFile     = "store.lock"
	shredFile    = "store.shred" // keys of what may have to be erased, mode 0600 (shred.go)
)

// sentinelKey holds the same random value inside the store as sentinelFile does outside. The file is written last: where it
// exists the store was complete.
const sentinelKey = "sentinel"

// markEvery bounds how many records at a stream's end could be lost unseen by this package after a crash. (The audit log's
// signed checkpoint will see all.)
const markEvery = 64

// sentinel is the content of sentinelFile: the value, and the names of what the store was made with.
type sentinel struct {
	value   string
	streams []Stream
}

func (s *sentinel) has(name Stream) bool { return slices.Contains(s.streams, name) }

func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: lock the folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("store: another process uses %s: stop it first", dir)
	}
	return f, nil
}

func readSentinel(dir string) (*sentinel, error) {
	b, err := os.ReadFile(filepath.Join(dir, sentinelFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	words := strings.Fields(string(b))
	if len(words) == 0 {
		return nil, fmt.Errorf("store: %s is damaged: put it back from its backup", sentinelFile)
	}
	s := &sentinel{value: words[0]}
	for _, w := range words[1:] {
		s.streams = append(s.streams, Stream(w))
	}
	if len(s.streams) == 0 { // of the first release
		s.streams = []Stream{Audit}
	}
	return s, nil
}

// readKey reads the key file, or makes one for a store that does not exist yet.
func readKey(dir string, exists bool) (string, error) {
	path := filepath.Join(dir, keyFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !exists {
		var key [32]byte
		rand.Read(key[:])
		text := hex.EncodeToString(key[:])
		return text, writeDurably(path, []byte(text+"\n"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("store: the key file %s is missing: put it back from its backup, the data cannot be read without it", path)
	}
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("store: the key file %s can be read by others: chmod 600 it", path)
	}
	text := strings.TrimSpace(string(b))
	if raw, err := hex.DecodeString(text); err != nil || len(raw) != 32 {
		return "", fmt.Errorf("store: the key file %s is damaged: put it back from its backup", path)
	}
	return text, nil
}

func (s *JetStream) lost(what string) error {
	return fmt.Errorf("store: %s does not open with its key: %s. Either %s is not the key that it was made with, or data was lost. "+
		"Put back the key, or the folder from its backup; nothing was changed", s.dir, what, keyFile)
}

func (s *JetStream) checkSentinel(ctx context.Context, want *sentinel) error {
	got, err := s.Get(ctx, sentinelKey)
	if err != nil || string(got.Value) != want.value {
		return s.lost("the sentinel is not in it")
	}
	if s.marks, err = readMarks(s.dir); err != nil {
		return err
	}
	anew := false
	for _, name := range streams {
		if !want.has(name) && s.marks[name] == 0 { // a newer program's: the sentinel will list it from now on
			if _, err := s.js.Stream(ctx, string(name)); errors.Is(err, jetstream.ErrStreamNotFound) {
				if err := s.makeStream(ctx, name); err != nil {
					return err
				}
			}
			anew = true
		}
		last, err := s.Last(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return s.lost("stream " + string(name) + " is not in it")
		}
		if err != nil {
			return err
		}
		if last < s.marks[name] && !s.short {
			return fmt.Errorf("store: stream %s ends at record %d but had reached %d: records were lost. "+
				"Run conclave audit restore, or put back %s from its backup; nothing was changed", name, last, s.marks[name], s.dir)
		}
	}
	if anew || !want.has(shredKeysWord) {
		return writeSentinelFile(s.dir, want.value)
	}
	return nil
}

func (s *JetStream) writeSentinel(ctx context.Context) error {
	var raw [16]byte
	rand.Read(raw[:])
	value := hex.EncodeToString(raw[:])
	if _, err := s.Put(ctx, sentinelKey, []byte(value)); err != nil {
		return err
	}
	s.marks = marks{}
	if err := s.marks.write(s.dir); err != nil {
		return err
	}
	return writeSentinelFile(s.dir, value)
}

func writeSentinelFile(dir, value string) error {
	for _, name := range streams {
		value += " " + string(name)
	}
	value += " " + string(shredKeysWord)
	return writeDurably(filepath.Join(dir, sentinelFile), []byte(value+"\n"))
}

// marks says which sequence each stream had reached at least.
type marks map[Stream]Sequence

func readMarks(dir string) (marks, error) {
	m := marks{}
	b, err := os.ReadFile(filepath.Join(dir, marksFile))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return nil, fmt.Errorf("store: read %s: %w: put it back from its backup", marksFile, err)
	}
	return m, nil
}

// reached notes a sequence and writes the marks now and then.
func (m marks) reached(dir string, stream Stream, seq Sequence) error {
	if seq <= m[stream] {
		return nil
	}
	write := seq/markEvery > m[stream]/markEvery
	m[stream] = seq
	if !write {
		return nil
	}
	return m.write(dir)
}

func (m marks) write(dir string) error {
	b, err := json.Marshal(m)
	if err != nil {
		panic("store: marks: " + err.Error())
	}
	return writeDurably(filepath.Join(dir, marksFile), b)
}

// writeDurably replaces a file: after a crash it has the old content or the new.
func writeDurably(path string, content []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil { // the rename itself
		return fmt.Errorf("store: %w", err)
	}
	return nil
}
