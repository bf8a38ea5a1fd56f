package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/exposure/page"
	"conclave/identity"
	"conclave/pass"
)

type exportOptions struct{ data, lang, out, zone string }

var exportPerson = command{
	name: "export person", usage: "ID [--out FILE] [--lang de|en|fr] [--data DIR]",
	about: "gives a person all that is kept on them: as JSON and as a page",
	flags: func(f *flag.FlagSet) any {
		o := new(exportOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.out, "out", "", "`file` for the JSON; the page goes beside it with .html; without it, export-ID.json")
		f.StringVar(&o.lang, "lang", "en", "the page's `language`: de, en or fr")
		f.StringVar(&o.zone, "zone", "Local", "the time `zone` of the page")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		return k.options.(*exportOptions).run(ctx, k, conclave.PersonID(k.args[0]))
	},
}

func (o *exportOptions) run(ctx context.Context, k *call, person conclave.PersonID) error {
	if err := language(o.lang); err != nil {
		return err
	}
	zone, err := time.LoadLocation(o.zone)
	if err != nil {
		return usageError{fmt.Sprintf("there is no time zone %q", o.zone)}
	}
	e, err := gather(ctx, k, o.data, person)
	if err != nil {
		return err
	}
	name := o.out
	if name == "" {
		name = "export-" + filepath.Base(string(person)) + ".json"
	}
	var text, html bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return err
	}
	if err := page.Person(&html, e, page.Options{Language: o.lang, Zone: zone, Fonts: pageFonts()}); err != nil {
		return err
	}
	if name == "-" {
		_, err := k.stdout.Write(text.Bytes())
		return err
	}
	beside := name[:len(name)-len(filepath.Ext(name))] + ".html"
	if err := replaceFile(beside, html.Bytes()); err != nil {
		return err
	}
	return writeReport(k, name, text.Bytes(), fmt.Sprintf("%d records name %s, and %d things in the store; the page is %s", len(e.Records), string(person), len(e.Stored), beside))
}

// gather collects what the directory, the store and the logs say of a person, and has it recorded that they are given it.
func gather(ctx context.Context, k *call, data string, person conclave.PersonID) (*page.Export, error) {
	server := newAdmin(data)
	e := &page.Export{Person: string(person), Made: time.Now().UTC(), Meetings: []page.ExportMeeting{}, Records: []audit.Entry{},
		Devices: []map[string]any{}, Stored: []page.ExportStored{}, Logged: []page.ExportLogged{}}
	if err := server.ask(ctx, "/people/"+url.PathEscape(string(person)), nil, &e.Entry); err != nil && !isGuest(person, err) {
		return nil, err
	}
	if devices, ok := e.Entry["devices"].([]any); ok {
		for _, d := range devices {
			if m, ok := d.(map[string]any); ok {
				e.Devices = append(e.Devices, m)
			}
		}
	}
	delete(e.Entry, "devices")
	e.Name, _ = e.Entry["name"].(string)
	var m struct {
		Meetings []struct {
			ID     string              `json:"id"`
			Title  string              `json:"title"`
			Chair  conclave.PersonID   `json:"chair"`
			People []conclave.PersonID `json:"people"`
			Opened time.Time           `json:"opened"`
		} `json:"meetings"`
	}
	if err := server.ask(ctx, "/meetings", nil, &m); err != nil {
		return nil, err
	}
	for _, one := range m.Meetings {
		if one.Chair == person || slices.Contains(one.People, person) {
			e.Meetings = append(e.Meetings, page.ExportMeeting{Meeting: one.ID, Title: one.Title, Chair: one.Chair == person, Opened: one.Opened})
		}
	}
	traces, err := recordsOf(k, data, person, e)
	if err != nil {
		return nil, err
	}
	if err := storedOf(ctx, server, person, traces, e); err != nil {
		return nil, err
	}
	if len(e.Entry)+len(e.Records)+len(e.Stored) == 0 {
		return nil, conclave.Problem{Code: "person_unknown", Fix: "ask_administrator"}
	}
	if err := loggedOf(k, data, person, e); err != nil {
		return nil, err
	}
	var answer struct {
		Record       audit.Index     `json:"record"`
		Retention    page.ExportKept `json:"retention"`
		Organisation string          `json:"organisation"`
	}
	err = server.ask(ctx, "/exports", map[string]any{"person": person, "records": len(e.Records)}, &answer)
	e.Record, e.Kept, e.Organisation = answer.Record, answer.Retention, answer.Organisation
	return e, err
}

// isGuest says whether an error means no more than that somebody stands in no directory, who is a guest.
func isGuest(person conclave.PersonID, err error) bool {
	var p conclave.Problem
	return identity.IsGuest(person) && errors.As(err, &p) && p.Code == "person_unknown"
}

// legAt is a leg in its meeting.
type legAt struct {
	Meeting conclave.MeetingID `json:"meeting"`
	Leg     conclave.LegID     `json:"leg"`
}

// traces are by what the store knows a person besides their id.
type traces struct {
	devices []string
	legs    []legAt
}

// recordsOf reads the records that name a person or one of their devices, and those of what they did with others.
func recordsOf(k *call, data string, person conclave.PersonID, e *page.Export) (*traces, error) {
	log, err := openEvidence(filepath.Join(data, auditDir), "")
	if err != nil {
		return nil, err
	}
	if err := log.whole(k, ""); err != nil {
		return nil, err
	}
	theirs, legs := map[string]bool{}, map[legAt]bool{}
	for _, d := range e.Devices {
		if id, ok := d["id"].(string); ok {
			theirs[id] = true
		}
	}
	out := new(traces)
	b := newBar(k.stderr, "reading the log")
	defer b.done()
	for entry, err := range log.reader.Entries(1) {
		if err != nil {
			return nil, err
		}
		b.at(uint64(entry.Index), log.part.Size)
		r := &entry.Record
		if r.Person == person && r.Device != (conclave.DeviceID{}) && (r.Kind == audit.KindRuling || r.Kind == audit.KindEnrolment) {
			theirs[r.Device.Text()] = true // the key of a phone call, or of a guest, stands in no directory
		}
		at := legAt{r.Meeting, r.Leg}
		switch {
		case r.Concerns(person) || theirs[r.Device.Text()]:
			if len(r.People) > 0 { // whom else it is about is nothing that this person is given
				r.Person, r.People = "", []conclave.PersonID{person}
			}
			if r.Leg != (conclave.LegID{}) && !legs[at] {
				legs[at] = true
				out.legs = append(out.legs, at)
			}
		case r.By != (conclave.LegID{}) && legs[legAt{r.Meeting, r.By}]:
			// What they did, to somebody else: whom, and that one's device and line, are that one's.
			r.Person, r.People, r.Device, r.Facts = "", nil, conclave.DeviceID{}, nil
		default:
			continue
		}
		e.Records = append(e.Records, entry)
	}
	for id := range theirs {
		out.devices = append(out.devices, id)
	}
	slices.Sort(out.devices)
	return out, nil
}

// storedOf asks the server what its store holds beside directory and records.
func storedOf(ctx context.Context, server *admin, person conclave.PersonID, t *traces, e *page.Export) error {
	const atOnce = 200 // legs and devices in one request: each takes about 100 bytes of its body
	devices, legs := t.devices, t.legs
	for first := true; first || len(devices) > 0 || len(legs) > 0; first = false {
		n, m := min(len(devices), atOnce), min(len(legs), atOnce)
		var answer struct {
			Kept []page.ExportStored `json:"kept"`
		}
		question := map[string]any{"whole": first, "devices": orEmpty(devices[:n]), "legs": append([]legAt{}, legs[:m]...)}
		if err := server.ask(ctx, "/people/"+url.PathEscape(string(person))+"/kept", question, &answer); err != nil {
			return err
		}
		e.Stored = append(e.Stored, answer.Kept...)
		devices, legs = devices[n:], legs[m:]
	}
	return nil
}

// loggedOf reads the entries of the device log about a person: it names nobody to whom the person's id is unknown.
func loggedOf(k *call, data string, person conclave.PersonID, e *page.Export) error {
	dir := filepath.Join(data, devicesDir)
	if !isFile(filepath.Join(dir, "checkpoint")) {
		return nil
	}
	r, err := verified(k, dir, "", "verifying the device log")
	if err != nil {
		return err
	}
	want := pass.PersonTag(r.Organisation().ID, person)
	for l, err := range r.Leaves(1) {
		if err != nil {
			return err
		}
		entry, err := pass.ParseLogLeaf(l.Leaf)
		if err != nil {
			return err
		}
		if entry.Person == want {
			e.Logged = append(e.Logged, page.ExportLogged{Entry: l.Index, Kind: loggedKinds[entry.Kind], Device: entry.Device.Text()})
		}
	}
	return nil
}
