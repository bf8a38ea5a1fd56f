package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"conclave"
	"conclave/identity"
	"conclave/store"
)

// initOptions are those of `conclaved init`.
type initOptions struct{ config, data, id, name, admin, adminName, adminUnit, server string }

// runInit makes the organisation and its first person, and prints the one-time link by which that person's first device is
// enrolled. It needs no server: none may run on the folder, and the store's lock says so.
func runInit(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o initOptions
	flags := flag.NewFlagSet("conclaved init", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.config, "config", "", "configuration `file` (default: "+configFile+" in the data folder, if it is there)")
	flags.StringVar(&o.data, "data", "", "data `folder` (default: data)")
	flags.StringVar(&o.id, "id", "", "the organisation's `name` in DNS, for instance ministry.example")
	flags.StringVar(&o.name, "name", "", "the organisation's `name` for people")
	flags.StringVar(&o.admin, "admin", "", "`id` of the first person, for instance anna.weber")
	flags.StringVar(&o.adminName, "admin-name", "", "the first person's `name`")
	flags.StringVar(&o.adminUnit, "admin-unit", "", "the first person's `unit`")
	flags.StringVar(&o.server, "server", "", "the `URL` under which people reach the server (default: https:// and the first of public_hosts)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || o.id == "" || o.name == "" || o.admin == "" || o.adminName == "" {
		return errors.New("usage: conclaved init --id ORGANISATION --name NAME --admin ID --admin-name NAME [--admin-unit UNIT] [--server URL] [--data DIR] [--config FILE]")
	}
	var reading []string
	for flag, value := range map[string]string{"--config": o.config, "--data": o.data} {
		if value != "" {
			reading = append(reading, flag, value)
		}
	}
	c, err := readConfig(reading, stderr)
	if err != nil {
		return err
	}
	// Nobody is served: what the configuration says of addresses counts from the first start on.
	c.Listen, c.Media = "127.0.0.1:0", "127.0.0.1:0"
	if o.server == "" && len(c.PublicHosts) > 0 {
		o.server = "https://" + c.PublicHosts[0]
	}
	if o.server == "" {
		return errors.New("under which URL do people reach this server? Say so with --server or public_hosts: the link leads there")
	}
	dir := filepath.Join(c.Data, "organisation")
	organisation, err := identity.NewOrganisation(dir, conclave.OrganisationID(o.id), o.name, rand.Reader, time.Now())
	if err != nil {
		return err
	}
	link, err := o.firstLink(ctx, c)
	if err != nil {
		return fmt.Errorf("the organisation is made, the first person is not (%w): start the server, then conclave person add and conclave link", err)
	}
	fmt.Fprintf(stdout, "made %s (%s) in %s\nMove %s to a medium that is kept under lock: whoever has it is the organisation.\n\n%s, once, within a day, as soon as the server runs:\n%s\n",
		organisation.Name, organisation.ID, dir, filepath.Join(dir, identity.RootFile), o.adminName, link)
	return nil
}

// firstLink enters the first person and issues their link, recorded like all that follow.
func (o *initOptions) firstLink(ctx context.Context, c *config) (link string, err error) {
	log := slog.New(slog.DiscardHandler)
	// As the server will read it.
	organisation, err := identity.LoadOrganisation(filepath.Join(c.Data, "organisation"), time.Now())
	if err != nil {
		return "", err
	}
	st, err := store.Open(ctx, filepath.Join(c.Data, "store"), log)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return "", err
	}
	defer listener.Close()
	s, err := newServer(ctx, c, false, listener, organisation, st, log)
	if err != nil {
		return "", err
	}
	ended, end := context.WithCancel(ctx)
	end()
	defer func() { err = errors.Join(err, s.Run(ended)) }()
	directory, id, now := s.Directory(), conclave.PersonID(o.admin), time.Now()
	if err := directory.AddPerson(ctx, identity.Person{ID: id, Name: o.adminName, Unit: o.adminUnit}, now); err != nil {
		return "", err
	}
	token, err := directory.IssueToken(ctx, id, rand.Reader, now)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(o.server, "/") + "/devices#e=" + token.Text() + "&r=" + organisation.RootHash(), nil
}
