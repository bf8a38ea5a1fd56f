package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"

	"conclave"
	"conclave/endpoint/device"
)

type enrolOptions struct{ link, key, name, token string }

var enrolCommand = command{
	name: "enrol", usage: "--link LINK --key FILE [--name NAME] [--token COMMAND]",
	about: "enrols this machine with a personal link",
	flags: func(f *flag.FlagSet) any {
		o := new(enrolOptions)
		f.StringVar(&o.link, "link", "", "the personal `link`")
		f.StringVar(&o.key, "key", "", "`file` to keep the device's key in")
		f.StringVar(&o.name, "name", defaultDevice(), "what to call this device")
		tokenFlag(f, &o.token)
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*enrolOptions)
		if o.link == "" || o.key == "" {
			return usageError{"enrolling needs --link and --key"}
		}
		link, err := parseLink(o.link)
		if err != nil {
			return err
		}
		if _, err := os.Stat(o.key); err == nil {
			return fmt.Errorf("%s is there already: a device is enrolled once; give another file", o.key)
		}
		token, closeToken, err := openToken(o.token, k.stderr)
		if err != nil {
			return err
		}
		defer closeToken()
		d, err := enrol(ctx, link, o.key, o.name, token)
		if err != nil {
			return err
		}
		name, unit, until := d.Person()
		fmt.Fprintf(k.stdout, "enrolled as %s, %s, at %s; until %s\n", name, unit, d.Name, until.Local().Format(time.DateOnly))
		return nil
	},
}

func defaultDevice() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "headless"
	}
	return name
}

func parseLink(text string) (device.Link, error) {
	link, err := device.ParseLink(text)
	if err != nil {
		return link, usageError{"this is no link: one looks like https://host/m/… (put it in quotes, since it may hold a &)"}
	}
	return link, nil
}

// web asks the server. It follows no redirects: a token goes to the server that the link names, and to no other.
var web = &http.Client{Timeout: 15 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func tokenFlag(f *flag.FlagSet, command *string) {
	f.StringVar(command, "token", "", "`command` of a helper that has the key in a card or another token: docs/operating.md")
}

// openToken starts the helper of a token; without one it returns nil, and the key is in the file.
func openToken(command string, stderr io.Writer) (device.Token, func(), error) {
	if command == "" {
		return nil, func() {}, nil
	}
	h, err := device.StartHelper(command, stderr)
	if err != nil {
		return nil, nil, err
	}
	return h, func() { _ = h.Close() }, nil
}

// load reads a key file, or that of a device whose key is in token.
func load(key string, token device.Token) (*device.Device, error) {
	if token != nil {
		return device.LoadToken(key, token)
	}
	return device.Load(key)
}

// enrol enrols a fresh key, or that of token.
func enrol(ctx context.Context, link device.Link, key, name string, token device.Token) (*device.Device, error) {
	if link.Token == "" {
		return nil, conclave.Problem{Code: "link_without_token", Fix: "ask_link"}
	}
	var d *device.Device
	var err error
	if token != nil {
		d, err = device.EnrolToken(ctx, web, link, name, token, time.Now())
	} else {
		d, err = device.Enrol(ctx, web, link, name, time.Now())
	}
	if err != nil {
		return nil, err
	}
	return d, d.Save(key)
}

// loadDevice returns the device of a key file: enrolled with the link if the file is not there yet, its statement renewed
// if that is due.
func loadDevice(ctx context.Context, link device.Link, key, name string, token device.Token) (*device.Device, error) {
	d, err := load(key, token)
	if errors.Is(err, fs.ErrNotExist) {
		if link.Token == "" {
			return nil, conclave.Problem{Code: "not_enrolled", Fix: "ask_link"}
		}
		return enrol(ctx, link, key, name, token)
	}
	if err != nil {
		return nil, err
	}
	renewed, err := d.Renew(ctx, web, link.Server, time.Now())
	if renewed {
		err = d.Save(key)
	}
	if _, _, until := d.Person(); err != nil && time.Now().After(until) {
		return nil, err
	}
	return d, nil
}
