package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"conclave"
	"conclave/exposure"
	"conclave/exposure/page"
	"conclave/merkle"
)

type damageOptions struct {
	data, log, root, lang, out, from, until, zone                 string
	device, person, network, country, gateway, organisation, fact string
	reason, ledgers                                               string
	holders, witnesses                                            paths
	json, fresh                                                   bool
}

var damageCommand = command{
	name: "damage", usage: "--device|--person|--network|--country|--gateway|--organisation|--fact X [--from TIME] [--until TIME] [--holder FILE]… [--reason TEXT] [--witness KEY]… [--json] [--out FILE] [--data DIR | --log DIR]",
	about: "tells what something that turned out bad could hear, over all meetings",
	flags: func(f *flag.FlagSet) any {
		o := new(damageOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.log, "log", "", "the log's `folder`, or a copy of it; without it, the one in the data folder")
		f.StringVar(&o.root, "root", "", "the organisation's root key or its `hash`, as known from elsewhere")
		f.StringVar(&o.device, "device", "", "a `device`, by its 32 digits")
		f.StringVar(&o.person, "person", "", "a person, by `id`: all their devices")
		f.StringVar(&o.network, "network", "", "a `network`, by its name in the facts of lines")
		f.StringVar(&o.country, "country", "", "a `country`, by its two letters")
		f.StringVar(&o.gateway, "gateway", "", "a phone `gateway`, by its device")
		f.StringVar(&o.organisation, "organisation", "", "an `organisation`: the unit that the directory names for its people")
		f.StringVar(&o.fact, "fact", "", "any other fact of a line: `name=value`")
		f.StringVar(&o.from, "from", "", "since when: a `time`")
		f.StringVar(&o.until, "until", "", "until when: a `time`")
		f.Var(&o.holders, "holder", "a holder's `file`; as many as the investigation key needs, and the ledgers of the meetings that were exposed are opened: who spoke meanwhile")
		f.Var(&o.witnesses, "witness", "a witness's `key`: its cosignature must be there; the whole log is verified for it, whatever the index has")
		f.StringVar(&o.reason, "reason", "", "why the ledgers are opened: `words` that go into the log, for each meeting")
		f.StringVar(&o.ledgers, "ledgers", "", "a `folder` with the sealed ledgers, a file for each meeting, where no server runs; they are written there where one does")
		f.StringVar(&o.lang, "lang", "en", "the report's `language`: de, en or fr")
		f.StringVar(&o.zone, "zone", "Local", "the time `zone` of the report")
		f.StringVar(&o.out, "out", "", "`file` for the report; - is the standard output; without it, damage.html")
		f.BoolVar(&o.json, "json", false, "write the report as JSON: all meetings, minutes and people")
		f.BoolVar(&o.fresh, "fresh", false, "read the whole log anew, without the index beside it")
		return o
	},
	run: func(ctx context.Context, k *call) error { return k.options.(*damageOptions).run(ctx, k) },
}

// suspects lists what was given by its own flag.
func (o *damageOptions) suspects() (out []string) {
	for _, s := range []struct{ name, value string }{{"device", o.device}, {"person", o.person}, {"network", o.network}, {"country", o.country},
		{"gateway", o.gateway}, {"organisation", o.organisation}} {
		if s.value != "" {
			out = append(out, s.name+"="+s.value)
		}
	}
	if o.fact != "" {
		out = append(out, o.fact)
	}
	return out
}

func (o *damageOptions) run(ctx context.Context, k *call) error {
	began := time.Now()
	if err := language(o.lang); err != nil {
		return err
	}
	zone, err := time.LoadLocation(o.zone)
	if err != nil {
		return usageError{fmt.Sprintf("there is no time zone %q", o.zone)}
	}
	suspects := o.suspects()
	if len(suspects) == 0 {
		return usageError{"say what turned out bad: --device, --person, --network, --country, --gateway, --organisation or --fact"}
	}
	suspicions, err := parseSuspicions(suspects, o.from, o.until, zone)
	if err != nil {
		return err
	}
	witnesses, err := witnessKeys(o.witnesses)
	if err != nil {
		return err
	}
	log, index := o.log, ""
	if log == "" {
		log, index = filepath.Join(o.data, auditDir), filepath.Join(o.data, indexFile)
	}
	if o.fresh {
		index = ""
	}
	e, err := openEvidence(log, o.root)
	if err != nil {
		return err
	}
	if len(witnesses) > 0 {
		b := newBar(k.stderr, "verifying the log")
		err := e.verify(o.root, witnesses, func(done, all merkle.Size) { b.at(uint64(done), uint64(all)) })
		b.done()
		if err != nil {
			return err
		}
	}
	b := newBar(k.stderr, "reading the log")
	x, err := e.index(index, b.at)
	b.done()
	if err != nil {
		return err
	}
	d, err := o.assess(ctx, k, x, e, suspicions)
	if err != nil {
		return err
	}
	d.TookMS = time.Since(began).Milliseconds()
	if err := o.write(k, d, zone, log); err != nil {
		return err
	}
	if !e.part.Verified {
		return codedError{exitFound, fmt.Errorf("the log does not hold, and the report says so: %s", e.part.Problem)}
	}
	return nil
}

func (o *damageOptions) assess(ctx context.Context, k *call, x *exposure.Index, e *evidence, suspicions []exposure.Suspicion) (*exposure.Damage, error) {
	server := newAdmin(o.data)
	titles := map[string]string{}
	// A person is all their devices: whose a device is the directory knows, the records mostly do not.
	legs := x.Legs(suspicions)
	if o.person != "" {
		legs = x.AllLegs()
	}
	known, err := server.names(ctx, legs)
	if err != nil {
		fmt.Fprintln(k.stderr, "No server answers: the report names people and meetings as the records do, without the directory.")
		known = nil
	} else {
		titles = server.titles(ctx)
	}
	for i := range suspicions {
		if person, ok := strings.CutPrefix(suspicions[i].Text, "person="); ok {
			suspicions[i].Match = func(l *exposure.Leg, _ *exposure.Line) bool { return string(known.who(l).Person) == person }
		}
	}
	if err := named(x, suspicions); err != nil {
		return nil, err
	}
	b := newBar(k.stderr, "searching")
	d := x.Assess(suspicions, exposure.Options{Now: time.Now().UTC(), Level: known.level(o.lang), Who: known.who, Log: e.part},
		func(done, all int) { b.at(uint64(done), uint64(all)) })
	b.done()
	for i := range d.Meetings {
		d.Meetings[i].Title = titles[d.Meetings[i].Meeting.Text()]
	}
	if len(o.holders) > 0 && len(d.Meetings) > 0 {
		if err := o.hear(ctx, k, server, d, e, exposure.Options{Level: known.level(o.lang), Who: known.who}, known != nil); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// hear opens the ledgers of the meetings that were found. The index knows nothing of them: their records are read anew, once.
func (o *damageOptions) hear(ctx context.Context, k *call, server *admin, d *exposure.Damage, e *evidence, options exposure.Options, online bool) error {
	opener, err := newOpener(k, server, online, o.holders, o.reason)
	if err != nil {
		return err
	}
	defer opener.key.Wipe()
	if o.ledgers != "" && online {
		if err := os.MkdirAll(o.ledgers, 0o700); err != nil {
			return err
		}
	}
	wanted := map[string]*exposure.Timeline{}
	for i := range d.Meetings {
		id := d.Meetings[i].Meeting
		wanted[id.Text()] = exposure.NewTimeline(id)
	}
	b := newBar(k.stderr, "reading the ledgers' records")
	err = e.timelines(wanted, b.at)
	b.done()
	if err != nil {
		return err
	}
	d.Log = e.part
	options.Holders = opener.holders
	b = newBar(k.stderr, "opening the ledgers")
	defer b.done()
	err = d.Hear(options, func(id conclave.MeetingID) (*exposure.Opened, error) {
		t := wanted[id.Text()]
		if t.Ledgers() == 0 {
			return nil, nil
		}
		t.Close(time.Now().UTC())
		file := ""
		if o.ledgers != "" {
			file = filepath.Join(o.ledgers, id.Text()+".jsonl")
		}
		return opener.open(ctx, t, file)
	}, func(done, all int) { b.at(uint64(done), uint64(all)) })
	if err != nil {
		return err
	}
	if d.Ledger.Shut > 0 && d.Ledger.Opened == 0 {
		return errOtherKey
	}
	return nil
}

// named refuses to answer on what no record names: that nothing could be heard would be an answer on a misspelt name too.
func named(x *exposure.Index, suspicions []exposure.Suspicion) error {
	if len(x.Legs(suspicions)) > 0 || len(x.Meetings) == 0 {
		return nil
	}
	name, value, _ := strings.Cut(suspicions[0].Text, "=")
	text := fmt.Sprintf("no record names the %s %q, so this says nothing of what could be heard", strings.ReplaceAll(name, "_", " "), value)
	if values := x.Values(name); len(values) > 0 {
		text += "; the records know " + strings.Join(values[:min(len(values), 20)], ", ")
	}
	return codedError{exitFailed, errors.New(text)}
}

// titles are the meetings' titles, as far as the server has them.
func (a *admin) titles(ctx context.Context) map[string]string {
	var m struct {
		Meetings []struct {
			ID    conclave.MeetingID `json:"id"`
			Title string             `json:"title"`
		} `json:"meetings"`
	}
	out := map[string]string{}
	if a.ask(ctx, "/meetings", nil, &m) == nil {
		for _, one := range m.Meetings {
			out[one.ID.Text()] = one.Title
		}
	}
	return out
}

func (o *damageOptions) write(k *call, d *exposure.Damage, zone *time.Location, log string) error {
	var b bytes.Buffer
	name := o.out
	if o.json {
		out := json.NewEncoder(&b)
		out.SetIndent("", " ")
		if err := out.Encode(d); err != nil {
			return err
		}
		if name == "" {
			name = "damage.json"
		}
	} else {
		again := "conclave damage --log " + log
		for _, s := range o.suspects() {
			flag, value, _ := strings.Cut(s, "=")
			if s == o.fact {
				flag, value = "fact", s
			}
			again += " --" + flag + " " + quoted(value)
		}
		for _, f := range [][2]string{{"from", o.from}, {"until", o.until}} {
			if f[1] != "" {
				again += " --" + f[0] + " " + quoted(f[1])
			}
		}
		if err := page.Damage(&b, d, page.Options{Language: o.lang, Zone: zone, Fonts: pageFonts(), Again: again, Verify: "conclave audit verify " + log}); err != nil {
			return err
		}
		if name == "" {
			name = "damage.html"
		}
	}
	if err := writeReport(k, name, b.Bytes(), fmt.Sprintf("%d of %d meetings, %v exposed in all, found in %.1f s", len(d.Meetings), d.Searched.Meetings,
		(time.Duration(d.MS)*time.Millisecond).Round(time.Second), float64(d.TookMS)/1000)); err != nil || name == "-" {
		return err
	}
	return tellSpeakers(k.stdout, d)
}

// told is how many speakers are named on the terminal; the report has all.
const told = 5

// tellSpeakers says who spoke most while meetings were exposed, or why nobody knows.
func tellSpeakers(w io.Writer, d *exposure.Damage) error {
	switch {
	case len(d.Meetings) == 0:
		return nil
	case d.Ledger.State == "sealed":
		_, err := fmt.Fprintln(w, "who spoke meanwhile is sealed: give the holders' files with --holder, and --reason")
		return err
	case d.Ledger.State == "none":
		_, err := fmt.Fprintln(w, "who spoke meanwhile is not known: no ledgers were kept")
		return err
	case len(d.Speakers) == 0:
		_, err := fmt.Fprintln(w, "nobody spoke meanwhile, as far as the ledgers tell")
		return err
	}
	for i, h := range d.Speakers[:min(len(d.Speakers), told)] {
		name := h.Name
		for _, other := range []string{string(h.Person), h.Device, "somebody without a name"} {
			if name == "" {
				name = other
			}
		}
		if _, err := fmt.Fprintf(w, "%d. %s spoke for %.1f s meanwhile\n", i+1, plain(name), float64(h.MS)/1000); err != nil {
			return err
		}
	}
	if n := len(d.Speakers) - told; n > 0 {
		_, err := fmt.Fprintf(w, "and %d more: the report has all\n", n)
		return err
	}
	return nil
}
