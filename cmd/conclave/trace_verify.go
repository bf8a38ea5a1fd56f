package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"conclave/audit/folder"
	"conclave/cmd/conclave/trace"
)

type traceVerifyOptions struct{ root string }

var traceVerify = command{
	name: "trace verify", usage: "RESULT.json FOLDER [--root HASH|FILE]",
	about: "says whether a copy of the audit log bears out a trace's result",
	flags: func(f *flag.FlagSet) any {
		o := new(traceVerifyOptions)
		f.StringVar(&o.root, "root", "", "the organisation's root key `hash`, or a file with the root key")
		return o
	},
	run: func(_ context.Context, k *call) error {
		root, err := readRoot(k.options.(*traceVerifyOptions).root)
		if err != nil {
			return err
		}
		result, err := os.ReadFile(k.args[0])
		if err != nil {
			return err
		}
		// First the log itself, then what it says.
		path, err := copyOf(k.args[1])
		if err != nil {
			return err
		}
		dir := os.DirFS(path)
		if _, err := folder.Verify(dir, folder.Options{Root: root}); err != nil {
			return err
		}
		r, err := folder.Open(dir, root)
		if err != nil {
			return err
		}
		verdict, record, err := trace.Verify(result, r.Entries(1))
		if errors.Is(err, trace.ErrNotInLog) {
			return codedError{exitFound, errors.New(strings.TrimPrefix(err.Error(), "trace: "))}
		}
		if err != nil {
			return errors.New(strings.TrimPrefix(err.Error(), "trace: "))
		}
		fmt.Fprintf(k.stdout, "The log bears this result out: it is record %d, and the marks and openings that it names stand before it.\n%s\n", record, verdict.Sentence)
		return nil
	},
}
