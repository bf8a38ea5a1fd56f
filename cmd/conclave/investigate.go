package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"conclave"
	"conclave/exposure"
	"conclave/exposure/page"
	"conclave/merkle"
)

// paths is a flag that may be given several times.
type paths []string

func (p *paths) String() string     { return strings.Join(*p, ",") }
func (p *paths) Set(v string) error { *p = append(*p, v); return nil }

type investigateOptions struct {
	data, log, root, lang, out, reason, ledgers, from, until, zone string
	evidence                                                       string
	holders, suspects, witnesses                                   paths
	json                                                           bool
}

var investigateCommand = command{
	name: "investigate", usage: "MEETING [--holder FILE]… [--suspect WHAT]… [--lang de|en|fr] [--json] [--out FILE] [--evidence FILE.zip] [--data DIR | --log DIR]",
	about: "tells who could hear what in a meeting, on which line, and how long",
	flags: func(f *flag.FlagSet) any {
		o := new(investigateOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.log, "log", "", "the log's `folder`, or a copy of it; without it, the one in the data folder")
		f.StringVar(&o.root, "root", "", "the organisation's root key or its `hash`, as known from elsewhere: a log of another is refused")
		f.StringVar(&o.lang, "lang", "en", "the report's `language`: de, en or fr")
		f.StringVar(&o.out, "out", "", "`file` for the report; - is the standard output; without it, exposure-….html")
		f.BoolVar(&o.json, "json", false, "write the report as JSON")
		f.StringVar(&o.evidence, "evidence", "", "write a bundle too: a `file` with report, records, proofs and keys, which conclave audit verify checks by itself")
		f.Var(&o.holders, "holder", "a holder's `file`; as many as the investigation key needs, and the ledgers are opened: who spoke when")
		f.StringVar(&o.reason, "reason", "", "why the ledgers are opened: `words` that go into the log")
		f.StringVar(&o.ledgers, "ledgers", "", "a `file` with the meeting's sealed ledgers, where no server runs; it is written where one does and it does not exist")
		f.Var(&o.suspects, "suspect", "`what` turned out bad: device=…, person=…, or a fact of the line such as network=hotel")
		f.StringVar(&o.from, "from", "", "since when: a `time`")
		f.StringVar(&o.until, "until", "", "until when: a `time`")
		f.StringVar(&o.zone, "zone", "Local", "the time `zone` of the report")
		f.Var(&o.witnesses, "witness", "a witness's `key`: its cosignature must be there")
		return o
	},
	run: func(ctx context.Context, k *call) error { return k.options.(*investigateOptions).run(ctx, k) },
}

func (o *investigateOptions) run(ctx context.Context, k *call) error {
	id, err := pointerOf(k.args[0])
	if err != nil {
		return err
	}
	if err := language(o.lang); err != nil {
		return err
	}
	zone, err := time.LoadLocation(o.zone)
	if err != nil {
		return usageError{fmt.Sprintf("there is no time zone %q", o.zone)}
	}
	suspicions, err := parseSuspicions(o.suspects, o.from, o.until, zone)
	if err != nil {
		return err
	}
	witnesses, err := witnessKeys(o.witnesses)
	if err != nil {
		return err
	}
	log := o.log
	if log == "" {
		log = filepath.Join(o.data, auditDir)
	}
	e, err := openEvidence(log, o.root)
	if err != nil {
		return err
	}
	b := newBar(k.stderr, "verifying the log")
	err = e.verify(o.root, witnesses, func(done, all merkle.Size) { b.at(uint64(done), uint64(all)) })
	b.done()
	if err != nil {
		return err
	}
	timeline := exposure.NewTimeline(id)
	b = newBar(k.stderr, "reading the meeting's records")
	err = e.timelines(map[string]*exposure.Timeline{id.Text(): timeline}, b.at)
	b.done()
	if err != nil {
		return err
	}
	if timeline.Count == 0 {
		return fmt.Errorf("the log in %s has no record of that meeting", log)
	}
	timeline.Close(latest(e.part.Sealed, timeline.Ended))
	report, online, err := o.report(ctx, k, id, timeline, e, suspicions)
	if err != nil {
		return err
	}
	if err := o.write(k, id, report, zone, log); err != nil {
		return err
	}
	if o.evidence != "" && e.part.Verified {
		if err := o.bundle(ctx, k, e, timeline, report, zone, witnesses, online && o.log == ""); err != nil {
			return err
		}
	}
	if !e.part.Verified {
		return codedError{exitFound, fmt.Errorf("the log does not hold, and the report says so: %s", e.part.Problem)}
	}
	return nil
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// parseSuspicions reads --suspect with its times.
func parseSuspicions(texts []string, from, until string, zone *time.Location) (out []exposure.Suspicion, err error) {
	begin, err := parseMoment(from, zone)
	if err != nil {
		return nil, err
	}
	end, err := parseUntil(until, zone)
	if err != nil {
		return nil, err
	}
	if !end.IsZero() && !begin.Before(end) {
		return nil, usageError{"--from must be before --until"}
	}
	for _, text := range texts {
		s, err := exposure.ParseSuspicion(text)
		if err != nil {
			return nil, usageError{strings.TrimPrefix(err.Error(), "exposure: ")}
		}
		s.From, s.To = begin, end
		out = append(out, s)
	}
	return out, nil
}

func witnessKeys(texts []string) (out []merkle.Key, err error) {
	for _, text := range texts {
		key, err := merkle.ParseKey(text)
		if err != nil || !key.Witness() {
			return nil, usageError{fmt.Sprintf("%q is no witness's key: it prints it when it starts", text)}
		}
		out = append(out, key)
	}
	return out, nil
}

func (o *investigateOptions) report(ctx context.Context, k *call, id conclave.MeetingID, t *exposure.Timeline, e *evidence, suspicions []exposure.Suspicion) (report *exposure.Report, online bool, err error) {
	options := exposure.Options{Now: time.Now().UTC(), Suspicions: suspicions}
	server := newAdmin(o.data)
	known, err := server.names(ctx, t.Legs)
	if err != nil {
		fmt.Fprintln(k.stderr, "No server answers: the report names people as the records do, without the directory.")
		known = nil
	}
	if known != nil {
		var m struct {
			Title string `json:"title"`
		}
		if server.ask(ctx, "/meetings/"+id.Text(), nil, &m) == nil {
			options.Title = m.Title
		}
	}
	options.Who, options.Level = known.who, known.level(o.lang)
	if len(o.holders) > 0 {
		opener, err := newOpener(k, server, known != nil, o.holders, o.reason)
		if err != nil {
			return nil, false, err
		}
		defer opener.key.Wipe()
		opened, err := opener.open(ctx, t, o.ledgers)
		if err != nil {
			return nil, false, err
		}
		options.Speech, options.Bad, options.Opening, options.Holders = opened.Speech, opened.Bad, opened.Record, opener.holders
		if opened.Bad.Deleted > 0 {
			fmt.Fprintf(k.stderr, "%d minutes of the ledgers were deleted for their age, as the log says.\n", opened.Bad.Deleted)
		}
		if opened.Bad.Shut > 0 && len(opened.Speech) == 0 {
			return nil, false, errOtherKey
		}
	}
	options.Log = e.part
	return exposure.Investigate(t, options), known != nil, nil
}

// page draws the report.
func (o *investigateOptions) page(r *exposure.Report, zone *time.Location, verify, again string) ([]byte, error) {
	var b bytes.Buffer
	err := page.Report(&b, r, page.Options{Language: o.lang, Zone: zone, Fonts: pageFonts(), Again: again, Verify: verify})
	return b.Bytes(), err
}

func reportJSON(r *exposure.Report) ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	return append(b, '\n'), err
}

func (o *investigateOptions) write(k *call, id conclave.MeetingID, r *exposure.Report, zone *time.Location, log string) error {
	var b []byte
	var err error
	extension := ".html"
	if o.json {
		extension = ".json"
		b, err = reportJSON(r)
	} else {
		again := "conclave investigate " + id.Text() + " --log " + quoted(log)
		for _, s := range o.suspects {
			again += " --suspect " + quoted(s)
		}
		b, err = o.page(r, zone, "conclave audit verify "+quoted(log), again)
	}
	if err != nil {
		return err
	}
	name := o.out
	if name == "" {
		name = "exposure-" + id.Text()[:8] + extension
	}
	return writeReport(k, name, b, fmt.Sprintf("%d exposures, %v in all", len(r.Spans), (time.Duration(r.Totals.ExposedMS)*time.Millisecond).String()))
}

// writeReport writes a report where its owner alone can read it, and says where.
func writeReport(k *call, name string, content []byte, said string) error {
	if name == "-" {
		_, err := k.stdout.Write(content)
		return err
	}
	if err := replaceFile(name, content); err != nil {
		return err
	}
	fmt.Fprintf(k.stdout, "%s; the report is in %s\n", said, name)
	return nil
}
