package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"conclave/escrow"
	"conclave/identity"
)

type keysOptions struct {
	data, root, out, names string
	holders, threshold     int
	locked                 bool
}

var keysInvestigation = command{
	name: "keys investigation", usage: "[--holders N] [--threshold K] [--names NAME,NAME,…] [--locked] [--out DIR] [--root FILE] [--data DIR]",
	about: "makes the investigation key, k of n holders of which open ledgers and marks",
	flags: func(f *flag.FlagSet) any {
		o := new(keysOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.root, "root", "", "the root key's `file`; without it, the one in the data folder")
		f.StringVar(&o.out, "out", ".", "the `folder` for the holders' files")
		f.StringVar(&o.names, "names", "", "the holders' `names`, with commas between")
		f.IntVar(&o.holders, "holders", 3, "how many holders there are: a `number`")
		f.IntVar(&o.threshold, "threshold", 2, "how many of them open together: a `number`")
		f.BoolVar(&o.locked, "locked", false, "lock each holder's file with a passphrase, which is asked for")
		return o
	},
	run: func(_ context.Context, k *call) error { return k.options.(*keysOptions).investigation(k) },
}

// investigation draws the key, writes a file for each holder, and puts the public half in force.
func (o *keysOptions) investigation(k *call) error {
	var names []string
	if o.names != "" {
		names = strings.Split(o.names, ",")
		if len(names) != o.holders {
			return usageError{fmt.Sprintf("%d names for %d holders", len(names), o.holders)}
		}
	}
	dir := filepath.Join(o.data, organisationDir)
	now := time.Now()
	org, err := identity.LoadOrganisation(dir, now)
	if err != nil {
		return err
	}
	key, err := escrow.Generate(rand.Reader)
	if err != nil {
		return err
	}
	defer key.Wipe()
	shares, err := key.Split(o.holders, o.threshold, rand.Reader)
	if err != nil {
		return usageError{strings.TrimPrefix(err.Error(), "escrow: ")}
	}
	defer func() {
		for _, s := range shares {
			s.Wipe()
		}
	}()
	if err := os.MkdirAll(o.out, 0o700); err != nil {
		return err
	}
	var files []string
	in := bufio.NewReader(k.stdin)
	for i, s := range shares {
		h := &escrow.Holder{Organisation: string(org.ID), Share: s}
		if names != nil {
			h.Name = strings.TrimSpace(names[i])
		}
		name, err := o.write(k, in, h, i+1)
		if err != nil {
			return err
		}
		files = append(files, name)
	}
	// The holders' files first: a key in force that nobody can open would be worse than none.
	root := o.root
	if root == "" {
		root = filepath.Join(dir, identity.RootFile)
	}
	var sync [32]byte
	if _, err := rand.Read(sync[:]); err != nil {
		return err
	}
	if err := identity.GrantInvestigation(dir, root, key.Public(), sync[:], now); err != nil {
		return err
	}
	fmt.Fprintf(k.stdout, "%d of these %d open what is sealed; give each to its holder and keep no copy:\n", o.threshold, o.holders)
	for _, name := range files {
		fmt.Fprintf(k.stdout, "  %s\n", name)
	}
	fmt.Fprintln(k.stdout, "Start the server again, and all legs from then on keep a ledger and mark what they play.")
	return nil
}

// write writes a holder's file, which must not be there yet.
func (o *keysOptions) write(k *call, in *bufio.Reader, h *escrow.Holder, number int) (string, error) {
	var passphrase []byte
	if o.locked {
		var err error
		who := h.Name
		if who == "" {
			who = fmt.Sprintf("holder %d", number)
		}
		if passphrase, err = askPassphrase(k, in, "Passphrase for "+who+": "); err != nil {
			return "", err
		}
		if len(passphrase) < 8 {
			return "", usageError{"a passphrase has eight letters at least"}
		}
		defer clear(passphrase)
	}
	text, err := h.Marshal(passphrase, rand.Reader)
	if err != nil {
		return "", errors.New(strings.TrimPrefix(err.Error(), "escrow: "))
	}
	defer clear(text)
	name := filepath.Join(o.out, fmt.Sprintf("holder-%d.txt", number))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s exists already: it may be the holder's file of an earlier key, so it is left as it is", name)
	}
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	return name, errors.Join(err, f.Sync(), f.Close())
}
