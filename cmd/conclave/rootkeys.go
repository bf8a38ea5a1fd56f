package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"conclave/identity"
	"conclave/pass"
)

// rootOptions are shared by the commands on what the root key grants. They work on the files: the server need not run, and
// takes what is new when it starts next.
type rootOptions struct{ data, root string }

func (o *rootOptions) dir() string { return filepath.Join(o.data, organisationDir) }

func (o *rootOptions) needRoot() error {
	if o.root == "" {
		return usageError{"this needs --root, the file of the root key: bring its medium"}
	}
	return nil
}

func rootFlags(f *flag.FlagSet) any {
	o := new(rootOptions)
	f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
	f.StringVar(&o.root, "root", "", "the `file` of the root key")
	return o
}

var keysShow = command{
	name: "keys show", usage: "[--data DIR]",
	about: "lists what the root key has granted, and until when",
	flags: dataFlag,
	run: func(_ context.Context, k *call) error {
		now := time.Now()
		keys, err := identity.Keys(filepath.Join(*k.options.(*string), organisationDir), now)
		if err != nil {
			return err
		}
		out := tabwriter.NewWriter(k.stdout, 0, 0, 2, ' ', 0)
		for _, key := range keys {
			state := "of before"
			switch {
			case key.Withdrawn:
				state = "withdrawn"
			case now.After(key.NotAfter):
				state = "run out"
			case key.InUse:
				state = "in use"
			}
			fmt.Fprintf(out, "%s\t%s\t%s\tuntil %s\t%s\n", key.Role, key.ID, state, key.NotAfter.Local().Format(time.DateOnly), untilWords(key.NotAfter.Sub(now)))
		}
		return out.Flush()
	},
}

func untilWords(left time.Duration) string {
	if left < 30*24*time.Hour {
		return "renew soon: conclave keys renew"
	}
	return ""
}

var keysRenew = command{
	name: "keys renew", usage: "--root FILE [--data DIR]",
	about: "has the root key grant all keys anew for a year; once a year, with the root key's medium",
	flags: rootFlags,
	run: func(_ context.Context, k *call) error {
		o := k.options.(*rootOptions)
		if err := o.needRoot(); err != nil {
			return err
		}
		if err := identity.RenewGrants(o.dir(), o.root, time.Now()); err != nil {
			return err
		}
		fmt.Fprintln(k.stdout, "granted anew; start the server again, and lock the root key away")
		return nil
	},
}

// The roles whose keys lie on the server, and can be lost with it.
var lostRoles = map[string]pass.Role{"enrolment": pass.RoleEnrolment, "admission": pass.RoleAdmission, "removal": pass.RoleRemoval, "log": pass.RoleLog}

var keysWithdraw = command{
	name: "keys withdraw", usage: "ROLE --root FILE [--data DIR]",
	about: "withdraws the enrolment, admission, removal or log key, if somebody else may have it, and puts a fresh one in its place",
	flags: rootFlags,
	run: func(_ context.Context, k *call) error {
		o := k.options.(*rootOptions)
		role, ok := lostRoles[k.args[0]]
		if !ok {
			return usageError{"a role is enrolment, admission, removal or log"}
		}
		if err := o.needRoot(); err != nil {
			return err
		}
		if err := identity.Withdraw(o.dir(), o.root, role, rand.Reader, time.Now()); err != nil {
			return err
		}
		fmt.Fprintf(k.stdout, "withdrawn, and replaced: %s; start the server again, and lock the root key away\n", role)
		if role == pass.RoleEnrolment {
			fmt.Fprintln(k.stdout, "every device now renews its enrolment before it joins: one touch of its passkey, or by itself")
		}
		return nil
	},
}
