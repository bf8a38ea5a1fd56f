package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Phones: the codes by which callers are known, and the gateway that brings their calls.

type phoneCodeOptions struct {
	data, person, meeting string
	life                  time.Duration
	void                  bool
}

var phoneCode = command{
	name: "phone code", usage: "--person ID --meeting MEETING [--life TIME] [--void] [--data DIR]",
	about: "prints a code with which a person may call in to a meeting; with --void, takes all of theirs for it back",
	flags: func(f *flag.FlagSet) any {
		o := new(phoneCodeOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.person, "person", "", "`id` of the person")
		f.StringVar(&o.meeting, "meeting", "", "the `meeting`, by its link or pointer")
		f.DurationVar(&o.life, "life", 12*time.Hour, "how `long` the code is good, at most 168h")
		f.BoolVar(&o.void, "void", false, "take the person's codes for the meeting back instead")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*phoneCodeOptions)
		if o.person == "" || o.meeting == "" {
			return usageError{"a phone code needs --person and --meeting: it is for one person and one meeting"}
		}
		id, err := pointerOf(o.meeting)
		if err != nil {
			return err
		}
		if o.void {
			var m struct {
				Codes int `json:"codes"`
			}
			if err := newAdmin(o.data).ask(ctx, "/phone/codes/revoke", map[string]any{"person": o.person, "meeting": id}, &m); err != nil {
				return err
			}
			fmt.Fprintf(k.stdout, "codes taken back: %d\n", m.Codes)
			return nil
		}
		var m struct {
			Code    string    `json:"code"`
			Expires time.Time `json:"expires"`
		}
		if err := newAdmin(o.data).ask(ctx, "/phone/codes", map[string]any{"person": o.person, "meeting": id, "minutes": int(o.life / time.Minute)}, &m); err != nil {
			return err
		}
		fmt.Fprintf(k.stdout, "%s\ngood until %s\n", grouped(m.Code), m.Expires.Local().Format("2006-01-02 15:04"))
		return nil
	},
}

// grouped writes digits in fours, as they are read to somebody.
func grouped(code string) string {
	var out []string
	for len(code) > 4 {
		out, code = append(out, code[:4]), code[4:]
	}
	return strings.Join(append(out, code), " ")
}

type phoneGatewayOptions struct{ data, server, name string }

var phoneGateway = command{
	name: "phone gateway", usage: "--name NAME [--server URL] [--data DIR]",
	about: "prints a link with which one phone gateway is enrolled within a day (conclave-phone --enrol)",
	flags: func(f *flag.FlagSet) any {
		o := new(phoneGatewayOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.server, "server", defaultServer, "the `address` under which the gateway reaches the server")
		f.StringVar(&o.name, "name", "", "the gateway's `name`")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*phoneGatewayOptions)
		if o.name == "" {
			return usageError{"a gateway needs --name"}
		}
		var m issued
		if err := newAdmin(o.data).ask(ctx, "/phone/gateways", map[string]string{"name": o.name}, &m); err != nil {
			return err
		}
		fmt.Fprintln(k.stdout, strings.TrimSuffix(o.server, "/")+"/gateway#e="+m.Token+"&r="+m.RootHash)
		return nil
	},
}

var phoneRevoke = command{
	name: "phone revoke", usage: "GATEWAY [--data DIR]",
	about: "takes a phone gateway out of use, named by the 32 digits in the records; its calls end at once",
	flags: dataFlag,
	run: func(ctx context.Context, k *call) error {
		if err := newAdmin(*k.options.(*string)).ask(ctx, "/phone/gateways/"+url.PathEscape(k.args[0])+"/revoke", struct{}{}, nil); err != nil {
			return err
		}
		fmt.Fprintln(k.stdout, "revoked")
		return nil
	},
}
