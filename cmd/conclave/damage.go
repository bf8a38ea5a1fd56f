package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"conclave"
	"conclave/exposure"
	"conclave/exposure/page"
)

type damageOptions struct {
	data, log, root, lang, out, from, until, zone                 string
	device, person, network, country, gateway, organisation, fact string
	json, fresh                                                   bool
}

var damageCommand = command{
	name: "damage", usage: "--device|--person|--network|--country|--gateway|--organisation|--fact X [--from TIME] [--until TIME] [--json] [--out FILE] [--data DIR | --log DIR]",
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
		return codedError{exitFailed, fmt.Errorf("the log does not hold, and the report says so: %s", e.part.Problem)}
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
	return d, nil
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
			again += " --" + flag + " " + value
		}
		for flag, value := range map[string]string{"from": o.from, "until": o.until} {
			if value != "" {
				again += " --" + flag + " " + value
			}
		}
		if err := page.Damage(&b, d, page.Options{Language: o.lang, Zone: zone, Fonts: pageFonts(), Again: again, Verify: "conclave audit verify " + log}); err != nil {
			return err
		}
		if name == "" {
			name = "damage.html"
		}
	}
	return writeReport(k, name, b.Bytes(), fmt.Sprintf("%d of %d meetings, %v exposed in all, found in %.1f s", len(d.Meetings), d.Searched.Meetings,
		(time.Duration(d.MS)*time.Millisecond).Round(time.Second), float64(d.TookMS)/1000))
}
