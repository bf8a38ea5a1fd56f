package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/escrow"
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
	holders, suspects, witnesses                                   paths
	json                                                           bool
}

var investigateCommand = command{
	name: "investigate", usage: "MEETING [--holder FILE]… [--suspect WHAT]… [--lang de|en|fr] [--json] [--out FILE] [--data DIR | --log DIR]",
	about: "tells who could hear what in a meeting, on which line, and how long",
	flags: func(f *flag.FlagSet) any {
		o := new(investigateOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.log, "log", "", "the log's `folder`, or a copy of it; without it, the one in the data folder")
		f.StringVar(&o.root, "root", "", "the organisation's root key or its `hash`, as known from elsewhere: a log of another is refused")
		f.StringVar(&o.lang, "lang", "en", "the report's `language`: de, en or fr")
		f.StringVar(&o.out, "out", "", "`file` for the report; - is the standard output; without it, exposure-….html")
		f.BoolVar(&o.json, "json", false, "write the report as JSON")
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
	timeline, err := e.timeline(id)
	if err != nil {
		return err
	}
	if timeline.Count == 0 {
		return fmt.Errorf("the log in %s has no record of that meeting", log)
	}
	timeline.Close(latest(e.part.Sealed, timeline.Ended))
	report, err := o.report(ctx, k, id, timeline, e, suspicions)
	if err != nil {
		return err
	}
	if err := o.write(k, id, report, zone, log); err != nil {
		return err
	}
	if !e.part.Verified {
		return codedError{exitFailed, fmt.Errorf("the log does not hold, and the report says so: %s", e.part.Problem)}
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
		if err != nil {
			return nil, usageError{fmt.Sprintf("%q is no witness's key", text)}
		}
		out = append(out, key)
	}
	return out, nil
}

// timeline reads what the log says of one meeting. Most leaves of a log are of others: they are passed over by their bytes.
func (e *evidence) timeline(id conclave.MeetingID) (*exposure.Timeline, error) {
	t := exposure.NewTimeline(id)
	mark := []byte(`"meeting":"` + id.Text() + `"`)
	for leaf, err := range e.reader.Leaves(1) {
		if err != nil {
			if e.part.Verified {
				return nil, err
			}
			return t, nil // as far as it can be read: the report says that the log does not hold
		}
		if !bytes.Contains(leaf.Leaf, mark) {
			continue
		}
		entry, err := leaf.Record()
		if err != nil {
			if e.part.Verified {
				return nil, err
			}
			continue
		}
		t.Add(entry)
	}
	return t, nil
}

func (o *investigateOptions) report(ctx context.Context, k *call, id conclave.MeetingID, t *exposure.Timeline, e *evidence, suspicions []exposure.Suspicion) (*exposure.Report, error) {
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
		if err := o.open(ctx, k, server, id, t, &options, known != nil); err != nil {
			return nil, err
		}
	}
	options.Log = e.part
	return exposure.Investigate(t, options), nil
}

// open opens the ledgers. That it does is a record first, where there is a server that can write one.
func (o *investigateOptions) open(ctx context.Context, k *call, server *admin, id conclave.MeetingID, t *exposure.Timeline, options *exposure.Options, online bool) error {
	key, holders, err := combine(k, o.holders)
	if err != nil {
		return err
	}
	defer key.Wipe()
	blocks, err := o.blocks(ctx, server, id, online)
	if err != nil {
		return err
	}
	if online {
		var answer struct {
			Record audit.Index `json:"record"`
		}
		reason := o.reason
		if reason == "" {
			reason = "opened by " + strings.Join(holders, ", ")
		}
		if err := server.ask(ctx, "/investigations", map[string]any{"meeting": id.Text(), "reason": reason, "blocks": len(blocks)}, &answer); err != nil {
			return fmt.Errorf("the opening of the ledgers could not be recorded, so that they stay shut: %w", err)
		}
		options.Opening = answer.Record
	} else {
		fmt.Fprintln(k.stderr, "No server answers: that these ledgers are opened stands in no log.")
	}
	options.Speech, options.Bad = t.OpenSpeech(key, blocks)
	options.Holders = holders
	if options.Bad.Deleted > 0 {
		fmt.Fprintf(k.stderr, "%d minutes of the ledgers were deleted for their age, as the log says.\n", options.Bad.Deleted)
	}
	if options.Bad.Shut > 0 && len(options.Speech) == 0 {
		return errors.New("none of the ledgers opens with this key: it is another one than they were sealed to")
	}
	return nil
}

// blocks gets the sealed ledgers of a server, or of a file that was got before.
func (o *investigateOptions) blocks(ctx context.Context, server *admin, id conclave.MeetingID, online bool) ([]exposure.Sealed, error) {
	if o.ledgers != "" {
		if b, err := os.ReadFile(o.ledgers); err == nil {
			return readBlocks(bytes.NewReader(b))
		} else if !online {
			return nil, err
		}
	}
	if !online {
		return nil, usageError{"no server answers: give the meeting's sealed ledgers with --ledgers FILE, as investigate wrote it where the server ran"}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin/meetings/"+id.Text()+"/ledgers", nil)
	if err != nil {
		return nil, err
	}
	response, err := server.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server gives no ledgers: %s", response.Status)
	}
	var kept bytes.Buffer
	blocks, err := readBlocks(io.TeeReader(response.Body, &kept))
	if err == nil && o.ledgers != "" {
		err = replaceFile(o.ledgers, kept.Bytes())
	}
	return blocks, err
}

// maxBlocks bounds what is read: a week of a hundred legs.
const maxBlocks = 1_000_000

func readBlocks(in io.Reader) (out []exposure.Sealed, err error) {
	dec := json.NewDecoder(in)
	for {
		var b exposure.Sealed
		if err := dec.Decode(&b); err == io.EOF {
			return out, nil
		} else if err != nil || len(out) == maxBlocks {
			return nil, errors.New("the sealed ledgers cannot be read")
		}
		out = append(out, b)
	}
}

// combine reads holders' files, asks for their passphrases where they are locked, and makes the key.
func combine(k *call, files []string) (*escrow.Key, []string, error) {
	var shares []*escrow.Share
	var names []string
	in := bufio.NewReader(k.stdin)
	defer func() {
		for _, s := range shares {
			s.Wipe()
		}
	}()
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return nil, nil, err
		}
		if info.Mode().Perm()&0o077 != 0 {
			return nil, nil, fmt.Errorf("%s can be read by others: chmod 600 it", name)
		}
		b, err := readPart(name, escrow.MaxHolderFile)
		if err != nil {
			return nil, nil, err
		}
		h, err := escrow.ParseHolder(b, nil)
		if errors.Is(err, escrow.ErrLocked) {
			var passphrase []byte
			if passphrase, err = askPassphrase(k, in, "Passphrase for "+name+": "); err != nil {
				return nil, nil, err
			}
			h, err = escrow.ParseHolder(b, passphrase)
			clear(passphrase)
		}
		clear(b)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "escrow: "))
		}
		shares = append(shares, h.Share)
		if h.Name == "" {
			h.Name = fmt.Sprintf("holder %d", h.Share.Number)
		}
		names = append(names, h.Name)
	}
	key, err := escrow.Combine(shares)
	if errors.Is(err, escrow.ErrTooFew) && len(shares) > 0 {
		return nil, nil, fmt.Errorf("%d of %d holders are needed, %d are here", shares[0].Threshold, shares[0].Holders, len(shares))
	}
	if err != nil {
		return nil, nil, errors.New(strings.TrimPrefix(err.Error(), "escrow: "))
	}
	return key, names, nil
}

// askPassphrase reads a line, which a terminal does not show.
func askPassphrase(k *call, in *bufio.Reader, prompt string) ([]byte, error) {
	fmt.Fprint(k.stderr, prompt)
	if f, ok := k.stdin.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			for _, mode := range []string{"-echo", "echo"} {
				stty := exec.Command("stty", mode)
				stty.Stdin = f
				if mode == "-echo" {
					_ = stty.Run() // without stty it is shown: better than not at all
				} else {
					defer func() { _ = stty.Run(); fmt.Fprintln(k.stderr) }()
				}
			}
		}
	}
	line, err := in.ReadBytes('\n')
	if err != nil && len(line) == 0 {
		return nil, errors.New("no passphrase was given")
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

func (o *investigateOptions) write(k *call, id conclave.MeetingID, r *exposure.Report, zone *time.Location, log string) error {
	var b bytes.Buffer
	extension := ".html"
	if o.json {
		extension = ".json"
		out := json.NewEncoder(&b)
		out.SetIndent("", "  ")
		if err := out.Encode(r); err != nil {
			return err
		}
	} else {
		again := "conclave investigate " + id.Text() + " --log " + log
		for _, s := range o.suspects {
			again += " --suspect " + s
		}
		if err := page.Report(&b, r, page.Options{Language: o.lang, Zone: zone, Fonts: pageFonts(), Again: again, Verify: "conclave audit verify " + log}); err != nil {
			return err
		}
	}
	name := o.out
	if name == "" {
		name = "exposure-" + id.Text()[:8] + extension
	}
	return writeReport(k, name, b.Bytes(), fmt.Sprintf("%d exposures, %v in all", len(r.Spans), (time.Duration(r.Totals.ExposedMS)*time.Millisecond).String()))
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
