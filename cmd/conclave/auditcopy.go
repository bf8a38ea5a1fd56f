package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"conclave/audit/folder"
	"conclave/merkle"
)

type copyOptions struct {
	root, authority string
	witnesses       paths
}

var auditCopy = command{
	name: "audit copy", usage: "URL FOLDER [--root HASH|FILE] [--witness KEY]… [--ca FILE]",
	about: "keeps a copy of a server's device log, and refuses one that does not go on from what the copy held before",
	flags: func(f *flag.FlagSet) any {
		o := new(copyOptions)
		f.StringVar(&o.root, "root", "", "the organisation's root key `hash` as it stands in links, or a file with the root key")
		f.Var(&o.witnesses, "witness", "verifier `key` of a witness whose signature must be there; may be repeated")
		f.StringVar(&o.authority, "ca", "", "certificate `file` (PEM) of the authority of the server's certificate; default: the system's")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*copyOptions)
		options, err := (&auditOptions{root: o.root, witnesses: o.witnesses}).read()
		if err != nil {
			return err
		}
		client, err := o.client()
		if err != nil {
			return err
		}
		c := &copier{url: strings.TrimSuffix(k.args[0], "/") + "/v1/devicelog/", dir: k.args[1], client: client, options: options}
		result, err := c.run(ctx)
		if err != nil {
			return err
		}
		tellVerified(k.stdout, result)
		return nil
	},
}

func (o *copyOptions) client() (*http.Client, error) {
	client := &http.Client{Timeout: 30 * time.Second}
	if o.authority == "" {
		return client, nil
	}
	b, err := os.ReadFile(o.authority)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate", o.authority)
	}
	client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}}
	return client, nil
}

// copier brings a folder up to a server's device log.
type copier struct {
	url, dir string
	client   *http.Client
	options  folder.Options
	fresh    []string // the files that were fetched
}

// run fetches what the folder lacks and verifies all of it. Where it does not hold the folder stays what it was.
func (c *copier) run(ctx context.Context) (*folder.Result, error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	before, err := os.ReadFile(c.path("checkpoint"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if before != nil {
		c.options.Others = map[string][]byte{"what this copy held before": before}
	}
	heads := map[string][]byte{}
	for _, name := range []string{"organisation", "checkpoint", "cosigned"} {
		b, err := c.get(ctx, name)
		if name == "cosigned" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		heads[name] = b
	}
	newest, err := newestOf(heads)
	if err != nil {
		return nil, err
	}
	result, err := c.fill(ctx, newest, heads)
	if err != nil {
		for _, name := range c.fresh {
			os.Remove(c.path(name))
		}
		return nil, err
	}
	for _, name := range []string{"organisation", "cosigned", "checkpoint"} {
		if b := heads[name]; b != nil {
			if err := c.write(name, b); err != nil {
				return nil, err
			}
		}
	}
	return result, nil
}

// newestOf returns the size of the newest checkpoint that was fetched, whose signature is verified with all else.
func newestOf(heads map[string][]byte) (merkle.Size, error) {
	var newest merkle.Size
	for _, name := range []string{"checkpoint", "cosigned"} {
		if heads[name] == nil {
			continue
		}
		c, err := merkle.Unverified(heads[name])
		if err != nil {
			return 0, fmt.Errorf("the server's %s cannot be read: %w", name, err)
		}
		newest = max(newest, c.Size)
	}
	return newest, nil
}

// fill fetches hashes and entries up to size and verifies them under the checkpoints in heads.
func (c *copier) fill(ctx context.Context, size merkle.Size, heads map[string][]byte) (*folder.Result, error) {
	for level := 0; uint64(size)>>(level*merkle.TileHeight) > 0; level++ {
		rows := uint64(size) >> (level * merkle.TileHeight)
		for n := uint64(0); n*merkle.TileWidth < rows; n++ {
			width := int(min(rows-n*merkle.TileWidth, merkle.TileWidth))
			names := []func(int) string{func(w int) string { return merkle.Tile{Level: level, N: n, Hashes: make([]merkle.Hash, w)}.Path() }}
			if level == 0 {
				names = append(names, func(w int) string { return merkle.BundlePath(n, w) })
			}
			for _, name := range names {
				if err := c.fetch(ctx, name, width); err != nil {
					return nil, err
				}
			}
		}
	}
	return folder.Verify(headed{os.DirFS(c.dir), heads}, c.options)
}

// fetch fetches a file that has a width in its name: while it is, the server may have put a full one in its place.
func (c *copier) fetch(ctx context.Context, name func(width int) string, width int) error {
	for _, w := range []int{width, merkle.TileWidth} {
		path := name(w)
		if _, err := os.Stat(c.path(path)); err == nil {
			return nil
		}
		b, err := c.get(ctx, path)
		if errors.Is(err, fs.ErrNotExist) && w < merkle.TileWidth {
			continue
		}
		if err != nil {
			return err
		}
		c.fresh = append(c.fresh, path)
		return c.write(path, b)
	}
	return nil
}

func (c *copier) path(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }

func (c *copier) write(name string, b []byte) error {
	path := c.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// maxServed bounds one file of a log: a bundle of 256 entries of the greatest size.
const maxServed = merkle.TileWidth * (merkle.MaxLeaf + 2)

// get fetches one file; the error is fs.ErrNotExist where there is none. A server that has had enough is asked again.
func (c *copier) get(ctx context.Context, name string) ([]byte, error) {
	for {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+name, nil)
		if err != nil {
			return nil, usageError{fmt.Sprintf("%q is no URL such as https://meet.example", c.url)}
		}
		r, err := c.client.Do(q)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.LimitReader(r.Body, maxServed))
		r.Body.Close()
		switch {
		case err != nil:
			return nil, err
		case r.StatusCode == http.StatusOK:
			return b, nil
		case r.StatusCode == http.StatusNotFound:
			return nil, fmt.Errorf("the server has no %s: %w", name, fs.ErrNotExist)
		case r.StatusCode != http.StatusTooManyRequests:
			return nil, fmt.Errorf("the server answers with status %d", r.StatusCode)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// headed is a folder under checkpoints that do not lie in it yet.
type headed struct {
	fs.FS
	heads map[string][]byte
}

// ReadFile implements fs.ReadFileFS.
func (h headed) ReadFile(name string) ([]byte, error) {
	if b := h.heads[name]; b != nil {
		return b, nil
	}
	if name == "cosigned" {
		return nil, fs.ErrNotExist
	}
	return fs.ReadFile(h.FS, name)
}
