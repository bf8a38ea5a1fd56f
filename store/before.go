package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The engine was seen to delete a stream's folder when it could not read it after a kill -9 (nats-server 2.15.2, "Error
// recreating stream: corrupt state file"), though all that was wrong was a block that had just been begun. So what it finds at a
// start is linked beside it before it looks; a stream that it has lost is put back without index and empty blocks, and
// the engine starts once more.

const (
	beforeDir = "engine.before"
	indexFile = "index.db"
)

func streamsDir(dir string) string {
	return filepath.Join(dir, "engine", "jetstream", "$G", "streams")
}

// keepBefore links all streams' files into beforeDir, after it has put back what a start that was killed has lost.
func keepBefore(dir string) error {
	if _, err := putBack(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, beforeDir)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	names, err := os.ReadDir(streamsDir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for _, n := range names {
		if err := linkTree(filepath.Join(streamsDir(dir), n.Name()), filepath.Join(dir, beforeDir, n.Name())); err != nil {
			return err
		}
	}
	return nil
}

// putBack puts streams that are in beforeDir and no longer in the engine's folder back, and says whether there was one.
func putBack(dir string) (bool, error) {
	names, err := os.ReadDir(filepath.Join(dir, beforeDir))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	found := false
	for _, n := range names {
		from, to := filepath.Join(dir, beforeDir, n.Name()), filepath.Join(streamsDir(dir), n.Name())
		// A folder that is deleted goes file by file: without its meta file it is none any more.
		if _, err := os.Stat(filepath.Join(to, "meta.inf")); err == nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(from, "meta.inf")); err != nil {
			continue // a start that was killed while it linked
		}
		if err := os.RemoveAll(to); err != nil {
			return found, fmt.Errorf("store: %w", err)
		}
		if err := linkTree(from, to); err != nil {
			return found, err
		}
		if err := dropEmptyBlocks(filepath.Join(to, "msgs")); err != nil {
			return found, err
		}
		found = true
	}
	return found, nil
}

// dropEmptyBlocks removes what is left of blocks that were begun when the process was killed: a block without a record, and
// its key; and all that the engine can make anew.
func dropEmptyBlocks(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for _, n := range names {
		stem, kind := strings.TrimSuffix(n.Name(), filepath.Ext(n.Name())), filepath.Ext(n.Name())
		keep := false
		if kind == ".blk" || kind == ".key" {
			info, err := os.Stat(filepath.Join(dir, stem+".blk"))
			keep = err == nil && info.Size() > 0
		}
		if keep {
			continue
		}
		if err := os.Remove(filepath.Join(dir, n.Name())); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}

// linkTree links a folder's files into another, the stream's meta file last: where it is, all are.
func linkTree(from, to string) error {
	var last [][2]string
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case rel == "meta.inf":
			last = append(last, [2]string{path, target})
			return nil
		case d.Name() == indexFile:
			return nil // the engine makes it anew
		}
		return os.Link(path, target)
	})
	for _, l := range last {
		if err == nil {
			err = os.Link(l[0], l[1])
		}
	}
	if err != nil {
		return fmt.Errorf("store: keep the streams: %w", err)
	}
	return nil
}
