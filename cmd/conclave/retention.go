package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
)

type retentionOptions struct {
	data, personal, ledgers, marks string
	now                            bool
}

// retention is the setting, in days; 0: as long as the log itself.
type retention struct {
	Personal uint32 `json:"personal_days"`
	Ledgers  uint32 `json:"ledgers_days"`
	Marks    uint32 `json:"marks_days"`
}

var retentionCommand = command{
	name: "retention", usage: "[--personal DAYS] [--ledgers DAYS] [--marks DAYS] [--now] [--data DIR]",
	about: "shows or sets how long what is kept",
	flags: func(f *flag.FlagSet) any {
		o := new(retentionOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.personal, "personal", "", "`days` for the personal parts of records; 0: as long as the log")
		f.StringVar(&o.ledgers, "ledgers", "", "`days` for sealed speech ledgers, from when each was handed in; 0: as long as the log")
		f.StringVar(&o.marks, "marks", "", "`days` for the sealed keys of marks, from when each was handed in; 0: as long as the log")
		f.BoolVar(&o.now, "now", false, "delete what is past its time now, rather than within twelve hours")
		return o
	},
	run: func(ctx context.Context, k *call) error { return k.options.(*retentionOptions).run(ctx, k) },
}

func (o *retentionOptions) run(ctx context.Context, k *call) error {
	server := newAdmin(o.data)
	var r retention
	if err := server.ask(ctx, "/retention", nil, &r); err != nil {
		return err
	}
	set := false
	for _, f := range []struct {
		text string
		to   *uint32
	}{{o.personal, &r.Personal}, {o.ledgers, &r.Ledgers}, {o.marks, &r.Marks}} {
		if f.text == "" {
			continue
		}
		days, err := strconv.ParseUint(f.text, 10, 16)
		if err != nil {
			return usageError{fmt.Sprintf("%q is no number of days", f.text)}
		}
		*f.to, set = uint32(days), true
	}
	if set {
		if err := server.ask(ctx, "/retention", r, &r); err != nil {
			return err
		}
	}
	for _, line := range []struct {
		what string
		days uint32
	}{{"personal parts of records", r.Personal}, {"sealed speech ledgers", r.Ledgers}, {"sealed keys of marks", r.Marks}} {
		keep := "as long as the log itself"
		if line.days > 0 {
			keep = fmt.Sprintf("%d days", line.days)
		}
		fmt.Fprintf(k.stdout, "%-26s %s\n", line.what, keep)
	}
	if !o.now {
		return nil
	}
	var done struct {
		Records uint64 `json:"records"`
		Ledgers int    `json:"ledgers"`
		Marks   int    `json:"marks"`
		Links   int    `json:"links"`
	}
	if err := server.ask(ctx, "/retention/now", struct{}{}, &done); err != nil {
		return err
	}
	fmt.Fprintf(k.stdout, "deleted: personal parts of %d records, %d ledgers, %d marks, %d links that had run out\n", done.Records, done.Ledgers, done.Marks, done.Links)
	return nil
}
