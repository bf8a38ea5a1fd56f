package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/exposure/page"
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
	return writeReport(k, name, text.Bytes(), fmt.Sprintf("%d records name %s; the page is %s", len(e.Records), string(person), beside))
}

// gather collects what the directory and the log say of a person, and has it recorded that they are given it.
func gather(ctx context.Context, k *call, data string, person conclave.PersonID) (*page.Export, error) {
	server := newAdmin(data)
	e := &page.Export{Person: string(person), Made: time.Now().UTC(), Meetings: []page.ExportMeeting{}, Records: []audit.Entry{}, Devices: []map[string]any{}}
	if err := server.ask(ctx, "/people/"+url.PathEscape(string(person)), nil, &e.Entry); err != nil {
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
	if err := recordsOf(k, data, person, e); err != nil {
		return nil, err
	}
	var answer struct {
		Record       audit.Index     `json:"record"`
		Retention    page.ExportKept `json:"retention"`
		Organisation string          `json:"organisation"`
	}
	err := server.ask(ctx, "/exports", map[string]any{"person": person, "records": len(e.Records)}, &answer)
	e.Record, e.Kept, e.Organisation = answer.Record, answer.Retention, answer.Organisation
	return e, err
}

// recordsOf reads the records that name a person or one of their devices.
func recordsOf(k *call, data string, person conclave.PersonID, e *page.Export) error {
	log, err := openEvidence(filepath.Join(data, auditDir), "")
	if err != nil {
		return err
	}
	if err := log.whole(k, ""); err != nil {
		return err
	}
	theirs := map[string]bool{}
	for _, d := range e.Devices {
		if id, ok := d["id"].(string); ok {
			theirs[id] = true
		}
	}
	for entry, err := range log.reader.Entries(1) {
		if err != nil {
			return err
		}
		r := &entry.Record
		if r.Kind == audit.KindRuling && r.Person == person && r.Device != (conclave.DeviceID{}) {
			theirs[r.Device.Text()] = true // the key of a phone call stands in no directory
		}
		if r.Concerns(person) || theirs[r.Device.Text()] {
			if len(r.People) > 0 { // whom else it is about is nothing that this person is given
				r.Person, r.People = "", []conclave.PersonID{person}
			}
			e.Records = append(e.Records, entry)
		}
	}
	return nil
}
