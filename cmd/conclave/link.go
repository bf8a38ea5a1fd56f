package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"conclave"
	"conclave/qr"
)

type linkOptions struct {
	data, server, person, use string
	qr                        bool
}

var linkCommand = command{
	name: "link", usage: "MEETING --person ID [--use device|room|managed] [--qr] [--server URL] [--data DIR]",
	about: "prints a personal link, good for one device within a day",
	flags: func(f *flag.FlagSet) any {
		o := new(linkOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.server, "server", defaultServer, "the `address` under which people reach the server")
		f.StringVar(&o.person, "person", "", "`id` of the person")
		f.BoolVar(&o.qr, "qr", false, "draw it as a QR code too, for a phone's camera")
		f.StringVar(&o.use, "use", "device", "what is enrolled: a person's own `device`, a room (a machine that nobody touches, without a passkey), or managed (a card or managed device with a certificate)")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*linkOptions)
		if o.person == "" {
			return usageError{"a link needs --person: it is personal"}
		}
		if o.use == "device" {
			o.use = ""
		}
		id, err := pointerOf(k.args[0])
		if err != nil {
			return err
		}
		link, err := newAdmin(o.data).link(ctx, o.server, id, o.person, o.use)
		if err != nil {
			return err
		}
		return printLink(k.stdout, link, o.qr)
	},
}

// printLink prints a link, and draws it if wished: so it gets into a phone without a mail.
func printLink(w io.Writer, link string, draw bool) error {
	fmt.Fprintln(w, link)
	if !draw {
		return nil
	}
	code, err := qr.Encode(link)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, code.Terminal())
	return err
}

// issued is a token with the pin of the root key.
type issued struct {
	Token    string `json:"token"`
	RootHash string `json:"root_hash"`
}

// link makes a personal link: the token and the root's pin stand in the fragment, which no browser sends to a server. use is
// empty for a person's own device.
func (a *admin) link(ctx context.Context, server string, meeting conclave.MeetingID, person, use string) (string, error) {
	var m issued
	if err := a.ask(ctx, "/links", map[string]string{"person": person, "use": use}, &m); err != nil {
		return "", err
	}
	return address(server, meeting) + "#e=" + m.Token + "&r=" + m.RootHash, nil
}

type inviteOptions struct {
	data, server, name, unit, by string
	qr                           bool
}

var inviteCommand = command{
	name: "invite", usage: "MEETING --name NAME [--unit UNIT] [--by ID] [--qr] [--server URL] [--data DIR]",
	about: "prints a guest's one-time invitation to one meeting, for somebody outside the directory",
	flags: func(f *flag.FlagSet) any {
		o := new(inviteOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.server, "server", defaultServer, "the `address` under which people reach the server")
		f.StringVar(&o.name, "name", "", "the guest's `name`, which the room will see")
		f.BoolVar(&o.qr, "qr", false, "draw it as a QR code too, for a phone's camera")
		f.StringVar(&o.unit, "unit", "", "the guest's `organisation`, shown beside the name")
		f.StringVar(&o.by, "by", "", "`id` of the person who asked for it, for the record; without it, the record says that it was you")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*inviteOptions)
		if o.name == "" {
			return usageError{"an invitation needs --name: it is personal, and the room sees that name"}
		}
		id, err := pointerOf(k.args[0])
		if err != nil {
			return err
		}
		var m issued
		err = newAdmin(o.data).ask(ctx, "/meetings/"+url.PathEscape(id.Text())+"/invitations", map[string]string{"name": o.name, "unit": o.unit, "by": o.by}, &m)
		if err != nil {
			return err
		}
		return printLink(k.stdout, strings.TrimSuffix(o.server, "/")+"/g/"+id.Text()+"#i="+m.Token+"&r="+m.RootHash, o.qr)
	},
}

type meetingOptions struct {
	data, server, title, level, chair, people, door string
	from, until                                     string
	length                                          time.Duration
}

var meetingOpen = command{
	name: "meeting open", usage: "--title TITLE --chair ID --people ID,ID [--level LEVEL] [--door invited|chair] [--from TIME] [--until TIME | --for TIME] [--data DIR]",
	about: "opens a meeting and prints its address, and when it is over",
	flags: func(f *flag.FlagSet) any {
		o := new(meetingOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.server, "server", defaultServer, "the `address` under which people reach the server")
		f.StringVar(&o.title, "title", "", "the meeting's `title`, told to those who are let in")
		f.StringVar(&o.level, "level", "OPEN", "the meeting's `level`, by the organisation's name for it")
		f.StringVar(&o.chair, "chair", "", "`id` of the chair")
		f.StringVar(&o.people, "people", "", "`ids` of the invited, with commas between")
		f.StringVar(&o.door, "door", "invited", "who is let in: `invited`, or chair for those whom the chair admits one by one")
		f.StringVar(&o.from, "from", "", "`time` before which nobody comes in: 2026-11-23T14:00 on this machine's clock, RFC 3339, or +2h from now")
		f.StringVar(&o.until, "until", "", "`time` from which the meeting is over, written likewise (default: what the server has as the usual length of meetings)")
		f.DurationVar(&o.length, "for", 0, "`length` from its beginning, instead of --until: 90m, 2h")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*meetingOptions)
		if o.title == "" || o.chair == "" {
			return usageError{"a meeting needs --title and --chair"}
		}
		m := newMeeting{Title: o.title, Level: o.level, Chair: o.chair, Door: o.door,
			People: strings.FieldsFunc(o.people, func(r rune) bool { return r == ',' || r == ' ' })}
		var err error
		now := time.Now()
		if m.From, err = parseTime(o.from, now); err != nil {
			return err
		}
		if m.Until, err = parseTime(o.until, now); err != nil {
			return err
		}
		switch {
		case o.length < 0 || o.length > 0 && o.until != "":
			return usageError{"a meeting ends with --until or after --for, which is a length such as 90m"}
		case o.length > 0 && m.From.After(now):
			m.Until = m.From.Add(o.length)
		case o.length > 0:
			m.Until = now.Add(o.length)
		}
		pointer, until, err := newAdmin(o.data).openMeeting(ctx, m)
		if err != nil {
			return err
		}
		fmt.Fprintln(k.stdout, address(o.server, pointer))
		fmt.Fprintf(k.stderr, "over %s\n", until.Local().Format("2006-01-02 15:04"))
		return nil
	},
}

// newMeeting is what a meeting is opened with.
type newMeeting struct {
	Title  string    `json:"title"`
	Level  string    `json:"level"`
	Chair  string    `json:"chair"`
	People []string  `json:"people"`
	Door   string    `json:"door"`
	From   time.Time `json:"from,omitzero"`
	Until  time.Time `json:"until,omitzero"`
}

// openMeeting returns the meeting's pointer and when it is over.
func (a *admin) openMeeting(ctx context.Context, meeting newMeeting) (conclave.MeetingID, time.Time, error) {
	var m struct {
		Pointer conclave.MeetingID `json:"pointer"`
		Until   time.Time          `json:"until"`
	}
	if meeting.People == nil {
		meeting.People = []string{}
	}
	err := a.ask(ctx, "/meetings", meeting, &m)
	return m.Pointer, m.Until, err
}

// parseTime reads a moment as people write it; empty is none.
func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ahead, ok := strings.CutPrefix(text, "+"); ok {
		if d, err := time.ParseDuration(ahead); err == nil && d > 0 {
			return now.Add(d), nil
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{fmt.Sprintf("%q is no time: write 2026-11-23T14:00, or +2h for two hours from now", text)}
}
