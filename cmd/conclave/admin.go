package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"conclave"
	"conclave/identity"
)

const (
	defaultData   = "data"
	defaultServer = "http://localhost:8080"
	// organisationDir holds the organisation's keys in the data folder, adminSocket is where a running server listens for
	// its administrator; both are conclaved's.
	organisationDir = "organisation"
	adminSocket     = "admin.sock"
)

// admin asks a running server over its socket, which only its own user can open.
type admin struct {
	http   *http.Client
	socket string
}

func newAdmin(data string) *admin {
	socket := filepath.Join(data, adminSocket)
	var d net.Dialer
	return &admin{socket: socket, http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
	}}}
}

// maxAnswer bounds what the server answers; a meeting of a thousand people is far below.
const maxAnswer = 4 << 20

// ask sends body (nil: GET) and decodes the answer into out, which may be nil.
func (a *admin) ask(ctx context.Context, path string, body, out any) error {
	method, reader := http.MethodGet, io.Reader(nil)
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		method, reader = http.MethodPost, bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, reader)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := a.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return codedError{exitUnreachable, fmt.Errorf("no server answers at %s: start conclaved first, or give its data folder with --data", a.socket)}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		var failed struct {
			Problem conclave.Problem `json:"problem"`
		}
		if json.Unmarshal(answer, &failed) == nil && failed.Problem.Code != "" {
			return failed.Problem
		}
		return fmt.Errorf("the server answers %s", response.Status)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return errors.New("the server answers what this version does not understand: use the conclave of the same version")
	}
	return nil
}

type initOptions struct{ data, id, name string }

var initCommand = command{
	name: "init", usage: "--id ORGANISATION --name NAME [--data DIR]",
	about: "makes an organisation's keys alone; conclaved init makes its first person too",
	flags: func(f *flag.FlagSet) any {
		o := new(initOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.id, "id", "", "the organisation's `name` in DNS, for instance ministry.example")
		f.StringVar(&o.name, "name", "", "the organisation's `name` for people")
		return o
	},
	run: func(_ context.Context, k *call) error {
		o := k.options.(*initOptions)
		if o.id == "" || o.name == "" {
			return usageError{"an organisation needs --id (its name in DNS) and --name"}
		}
		dir := filepath.Join(o.data, organisationDir)
		made, err := identity.NewOrganisation(dir, conclave.OrganisationID(o.id), o.name, rand.Reader, time.Now())
		if err != nil {
			return err
		}
		fmt.Fprintf(k.stdout, "made %s (%s) in %s\nMove %s to a medium that is kept under lock: whoever has it is the organisation.\n",
			made.Name, made.ID, dir, filepath.Join(dir, identity.RootFile))
		return nil
	},
}

type personOptions struct{ data, name, unit, phone string }

var personAdd = command{
	name: "person add", usage: "ID --name NAME [--unit UNIT] [--phone NUMBER] [--data DIR]",
	about: "enters a person, or changes name and unit",
	flags: func(f *flag.FlagSet) any {
		o := new(personOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.name, "name", "", "the person's `name`, shown to others")
		f.StringVar(&o.unit, "unit", "", "the person's `unit`, shown beside the name")
		f.StringVar(&o.phone, "phone", "", "`number` (+4930…) or SIP address at which the phone gateway may ring the person")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*personOptions)
		if o.name == "" {
			return usageError{"a person needs --name"}
		}
		if err := newAdmin(o.data).addPerson(ctx, k.args[0], o.name, o.unit, o.phone); err != nil {
			return err
		}
		fmt.Fprintf(k.stdout, "entered %s (%s)\n", o.name, k.args[0])
		return nil
	},
}

func (a *admin) addPerson(ctx context.Context, id, name, unit, phone string) error {
	return a.ask(ctx, "/people", map[string]string{"id": id, "name": name, "unit": unit, "phone": phone}, nil)
}

var personList = command{
	name: "person list", usage: "[--data DIR]",
	about: "lists the people of the directory by their ids, those who were removed too",
	flags: dataFlag,
	run: func(ctx context.Context, k *call) error {
		var m struct {
			People []struct {
				ID      string     `json:"id"`
				Name    string     `json:"name"`
				Unit    string     `json:"unit"`
				Removed *time.Time `json:"removed"`
			} `json:"people"`
		}
		if err := newAdmin(*k.options.(*string)).ask(ctx, "/people", nil, &m); err != nil {
			return err
		}
		out := tabwriter.NewWriter(k.stdout, 0, 0, 2, ' ', 0)
		for _, one := range m.People {
			state := ""
			if one.Removed != nil {
				state = "removed " + one.Removed.Local().Format("2006-01-02")
			}
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", one.ID, plain(one.Name), plain(one.Unit), state)
		}
		return out.Flush()
	},
}

var personShow = command{
	name: "person show", usage: "ID [--data DIR]",
	about: "shows a person and their devices as JSON",
	flags: dataFlag,
	run: func(ctx context.Context, k *call) error {
		return newAdmin(*k.options.(*string)).show(ctx, k.stdout, "/people/"+url.PathEscape(k.args[0]))
	},
}

var personRemove = command{
	name: "person remove", usage: "ID [--data DIR]",
	about: "strikes a person off: their devices are revoked and put out of running meetings at once",
	flags: dataFlag,
	run: func(ctx context.Context, k *call) error {
		var m struct {
			Devices int `json:"devices"`
		}
		err := newAdmin(*k.options.(*string)).ask(ctx, "/people/"+url.PathEscape(k.args[0])+"/remove", struct{}{}, &m)
		if err != nil {
			return err
		}
		fmt.Fprintf(k.stdout, "removed %s; devices revoked: %d\n", k.args[0], m.Devices)
		return nil
	},
}

var deviceRevoke = command{
	name: "device revoke", usage: "DEVICE [--data DIR]",
	about: "takes a device out of use, named by the 32 digits that person show gives, and out of running meetings at once",
	flags: dataFlag,
	run: func(ctx context.Context, k *call) error {
		if err := newAdmin(*k.options.(*string)).ask(ctx, "/devices/"+url.PathEscape(k.args[0])+"/revoke", struct{}{}, nil); err != nil {
			return err
		}
		fmt.Fprintln(k.stdout, "revoked")
		return nil
	},
}

var meetingList = command{
	name: "meeting list", usage: "[--data DIR]",
	about: "lists the meetings with when they were opened and end, the newest first",
	flags: dataFlag,
	run: func(ctx context.Context, k *call) error {
		var m struct {
			Meetings []struct {
				ID        string     `json:"id"`
				Title     string     `json:"title"`
				LevelName string     `json:"level_name"`
				Opened    time.Time  `json:"opened"`
				Until     time.Time  `json:"until"`
				Ended     *time.Time `json:"ended"`
				Running   bool       `json:"running"`
			} `json:"meetings"`
		}
		if err := newAdmin(*k.options.(*string)).ask(ctx, "/meetings", nil, &m); err != nil {
			return err
		}
		out := tabwriter.NewWriter(k.stdout, 0, 0, 2, ' ', 0)
		for _, one := range m.Meetings {
			state := "open"
			switch {
			case one.Ended != nil || !time.Now().Before(one.Until):
				state = "over"
			case one.Running:
				state = "running"
			}
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", one.ID, one.Opened.Local().Format("2006-01-02 15:04"), one.Until.Local().Format("2006-01-02 15:04"), state, one.LevelName, one.Title)
		}
		return out.Flush()
	},
}

// show prints what the server answers, as indented JSON.
func (a *admin) show(ctx context.Context, out io.Writer, path string) error {
	var m json.RawMessage
	if err := a.ask(ctx, path, nil, &m); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, m, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, b.String())
	return err
}

// address returns a meeting's address without anybody's token.
func address(server string, pointer conclave.MeetingID) string {
	return strings.TrimSuffix(server, "/") + "/m/" + pointer.Text()
}

// pointerOf reads a pointer, or a link with one.
func pointerOf(text string) (conclave.MeetingID, error) {
	if u, err := url.Parse(text); err == nil {
		if _, p, ok := strings.Cut(u.Path, "/m/"); ok {
			text = p
		}
	}
	id, err := conclave.ParseMeetingID(text)
	if err != nil {
		return id, usageError{"a meeting is named by its link, or by the 22 characters behind /m/ in it"}
	}
	return id, nil
}

func dataFlag(f *flag.FlagSet) any {
	data := new(string)
	f.StringVar(data, "data", defaultData, "the server's data `folder`")
	return data
}

var meetingShow = command{
	name: "meeting show", usage: "MEETING [--data DIR]",
	about: "shows a meeting as JSON, with its room if it is running",
	flags: dataFlag,
	run: func(ctx context.Context, k *call) error {
		id, err := pointerOf(k.args[0])
		if err != nil {
			return err
		}
		return newAdmin(*k.options.(*string)).show(ctx, k.stdout, "/meetings/"+id.Text())
	},
}

var meetingEnd = command{
	name: "meeting end", usage: "MEETING [--data DIR]",
	about: "ends a meeting for all",
	flags: dataFlag,
	run: func(ctx context.Context, k *call) error {
		id, err := pointerOf(k.args[0])
		if err != nil {
			return err
		}
		if err := newAdmin(*k.options.(*string)).ask(ctx, "/meetings/"+id.Text()+"/end", struct{}{}, nil); err != nil {
			return err
		}
		fmt.Fprintln(k.stdout, "ended")
		return nil
	},
}
