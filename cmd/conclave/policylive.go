package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"text/tabwriter"
)

// The verbs that change what a running server rules on.

var policyReload = command{
	name: "policy reload", usage: "[--data DIR]",
	about: "has the server read policy, networks, databases and calendar anew; every leg is ruled anew at once",
	flags: dataFlag,
	run: func(ctx context.Context, k *call) error {
		var m struct {
			Changed bool   `json:"changed"`
			Hash    []byte `json:"hash"`
		}
		if err := newAdmin(*k.options.(*string)).ask(ctx, "/policy/reload", struct{}{}, &m); err != nil {
			return err
		}
		what := "the same policy"
		if m.Changed {
			what = "a new policy"
		}
		fmt.Fprintf(k.stdout, "in force: %s; hash %x\n", what, m.Hash)
		return nil
	},
}

type tripOptions struct{ data, person, country, from, until string }

func (o *tripOptions) path() string { return "/people/" + url.PathEscape(o.person) + "/trips" }

func tripFlags(days bool) func(*flag.FlagSet) any {
	return func(f *flag.FlagSet) any {
		o := new(tripOptions)
		f.StringVar(&o.data, "data", defaultData, "data `folder` of the server")
		f.StringVar(&o.person, "person", "", "the person's `id`")
		f.StringVar(&o.country, "country", "", "two letters of the `country`")
		if days {
			f.StringVar(&o.from, "from", "", "first `day`, as 2026-02-03")
			f.StringVar(&o.until, "until", "", "last `day`")
		}
		return o
	}
}

var tripAdd = command{
	name: "trip add", usage: "--person ID --country XX --from DAY --until DAY [--data DIR]",
	about: "announces a person's trip",
	flags: tripFlags(true),
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*tripOptions)
		if o.person == "" || o.country == "" || o.from == "" || o.until == "" {
			return usageError{"a trip needs --person, --country, --from and --until"}
		}
		body := map[string]string{"country": o.country, "from": o.from, "until": o.until}
		if err := newAdmin(o.data).ask(ctx, o.path(), body, nil); err != nil {
			return err
		}
		fmt.Fprintln(k.stdout, "announced")
		return nil
	},
}

var tripList = command{
	name: "trip list", usage: "--person ID [--data DIR]",
	about: "lists a person's announced trips",
	flags: tripFlags(false),
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*tripOptions)
		if o.person == "" {
			return usageError{"whose trips? Say so with --person"}
		}
		var m struct {
			Trips []struct{ Country, From, Until string } `json:"trips"`
		}
		if err := newAdmin(o.data).ask(ctx, o.path(), nil, &m); err != nil {
			return err
		}
		out := tabwriter.NewWriter(k.stdout, 0, 0, 2, ' ', 0)
		for _, t := range m.Trips {
			fmt.Fprintf(out, "%s\t%s\t%s\n", t.Country, t.From, t.Until)
		}
		return out.Flush()
	},
}

var tripRemove = command{
	name: "trip remove", usage: "--person ID [--country XX] [--data DIR]",
	about: "takes a person's trips back: those to a country, or all",
	flags: tripFlags(false),
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*tripOptions)
		if o.person == "" {
			return usageError{"whose trips? Say so with --person"}
		}
		var m struct {
			Removed int `json:"removed"`
		}
		if err := newAdmin(o.data).ask(ctx, o.path()+"/remove", map[string]string{"country": o.country}, &m); err != nil {
			return err
		}
		fmt.Fprintf(k.stdout, "removed: %d\n", m.Removed)
		return nil
	},
}
