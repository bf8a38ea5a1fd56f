package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/cmd/conclave/trace"
	"conclave/escrow"
	"conclave/watermark"
)

// What trace exits with, beside the codes of all verbs: 0 is one leg named, or several.
const (
	exitInconclusive = 3 // a mark of ours, and nobody can be named
	exitNoMark       = 4 // no mark of ours
)

type traceOptions struct {
	data, meeting, since, until, reason, page, marks, save, sync string
	holders                                                      paths
	json, narrow, unrecorded                                     bool
	workers                                                      int
}

var traceCommand = command{
	name: "trace", usage: "FILE --holder FILE… --reason TEXT [--meeting POINTER | --since TIME --until TIME] [--json] [--page FILE] [--data DIR | --marks FILE --sync FILE]",
	about: "names the leg to which a recording was played; its page is in English",
	flags: func(f *flag.FlagSet) any {
		o := new(traceOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.Var(&o.holders, "holder", "a holder's `file`; as many as the investigation key needs")
		f.StringVar(&o.reason, "reason", "", "why the keys are opened: `words` that go into the log")
		f.StringVar(&o.meeting, "meeting", "", "the meeting's `pointer`; without it, all meetings of the period are searched")
		f.StringVar(&o.since, "since", "", "since when: a `date` or time, as 2026-04-17 or 2026-04-17T11:00:00Z")
		f.StringVar(&o.until, "until", "", "until when")
		f.StringVar(&o.page, "page", "", "`file` for the report's page")
		f.BoolVar(&o.json, "json", false, "print the result as JSON")
		f.StringVar(&o.marks, "marks", "", "a `file` with the sealed keys, where no server runs")
		f.StringVar(&o.save, "save", "", "write the sealed keys to this `file`, for --marks elsewhere")
		f.StringVar(&o.sync, "sync", "", "the organisation's sync key, a `file`; without it, the one in the data folder")
		f.BoolVar(&o.narrow, "narrow", false, "search no changes of speed, tempo or pitch beyond 0.2 %")
		f.BoolVar(&o.unrecorded, "unrecorded", false, "search although no server can record that the keys are opened")
		f.IntVar(&o.workers, "workers", runtime.NumCPU(), "how many processor cores to use: a `number`")
		return o
	},
	run: func(ctx context.Context, k *call) error { return k.options.(*traceOptions).run(ctx, k) },
}

func (o *traceOptions) run(ctx context.Context, k *call) error {
	now := time.Now()
	if len(o.holders) == 0 || strings.TrimSpace(o.reason) == "" {
		return usageError{"the keys of marks are opened by holders of the investigation key, for a reason: give --holder FILE for each, and --reason TEXT"}
	}
	file, sound, err := o.load(ctx, k)
	if err != nil {
		return err
	}
	server := newAdmin(o.data)
	marks, err := o.read(ctx, server)
	if err != nil {
		return err
	}
	if len(marks) == 0 {
		return errors.New("no leg marked anything in these meetings: there is nothing to search for")
	}
	sync, err := o.readSync()
	if err != nil {
		return err
	}
	key, _, err := combine(k, o.holders)
	if err != nil {
		return err
	}
	defer key.Wipe()
	recorded, err := o.record(ctx, server, marks)
	if err != nil {
		return err
	}
	verdict, err := o.search(ctx, k, sound, marks, sync, key, file, now)
	if err != nil {
		return err
	}
	verdict.Reason, verdict.Recorded, verdict.Unrecorded = o.reason, recorded, recorded == nil
	return o.tell(ctx, k, server, verdict)
}

func (o *traceOptions) load(ctx context.Context, k *call) (trace.File, *trace.Recording, error) {
	name := k.args[0]
	sum, err := trace.Hash(name)
	if err != nil {
		return trace.File{}, nil, err
	}
	r, err := trace.Load(ctx, name)
	if err != nil {
		return trace.File{}, nil, errors.New(strings.TrimPrefix(err.Error(), "trace: "))
	}
	if r.Damaged {
		fmt.Fprintf(k.stderr, "The file is damaged: %v of it could be read.\n", r.Length().Round(time.Second))
	}
	return trace.File{Name: filepath.Base(name), SHA256: sum, Seconds: r.Length().Seconds(), ReadBy: r.ReadBy, Damaged: r.Damaged}, r, nil
}

// read gets the sealed keys, from a file or the server.
func (o *traceOptions) read(ctx context.Context, server *admin) (trace.Marks, error) {
	if o.marks != "" {
		f, err := os.Open(o.marks)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return trace.ReadMarks(f)
	}
	path := "/marks"
	if o.meeting != "" {
		id, err := conclave.ParseMeetingID(meetingOf(o.meeting))
		if err != nil {
			return nil, usageError{"that is no meeting: give the pointer that conclave meeting list shows, or the link"}
		}
		path = "/meetings/" + id.Text() + "/marks"
	}
	query := url.Values{}
	for _, end := range []struct {
		name, value string
		parse       func(string, *time.Location) (time.Time, error)
	}{{"since", o.since, parseMoment}, {"until", o.until, parseUntil}} {
		t, err := end.parse(end.value, time.Local)
		if err != nil {
			return nil, err
		}
		if !t.IsZero() {
			query.Set(end.name, t.Format(time.RFC3339))
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin"+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := server.http.Do(request)
	if err != nil {
		return nil, codedError{exitUnreachable, fmt.Errorf("no server answers at %s: start conclaved first, or give --marks FILE and --sync FILE", server.socket)}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server gives no marks: %s", response.Status)
	}
	marks, err := trace.ReadMarks(response.Body)
	if err != nil || o.save == "" {
		return marks, err
	}
	f, err := os.OpenFile(o.save, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return marks, errors.Join(marks.Write(f), f.Close())
}

// meetingOf takes the pointer out of a link.
func meetingOf(s string) string {
	if _, after, ok := strings.Cut(s, "/m/"); ok {
		s, _, _ = strings.Cut(after, "#")
		s, _, _ = strings.Cut(s, "?")
	}
	return s
}

// syncFiles is where the organisation's sync key may lie in the data folder.
var syncFiles = []string{"sync", "sync.key", filepath.Join("keys", "sync")}

// readSync reads the sync key: 32 bytes, or as hex.
func (o *traceOptions) readSync() (*watermark.Sync, error) {
	names := []string{o.sync}
	if o.sync == "" {
		names = nil
		for _, n := range syncFiles {
			names = append(names, filepath.Join(o.data, organisationDir, n), filepath.Join(o.data, n))
		}
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) && o.sync == "" {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(b) != watermark.SyncSize {
			if b, err = hex.DecodeString(strings.TrimSpace(string(b))); err != nil {
				return nil, fmt.Errorf("%s is no sync key", name)
			}
		}
		return watermark.NewSync(b)
	}
	return nil, errors.New("there is no sync key in the data folder: give it with --sync FILE")
}

// record writes into the log that the keys are about to be opened, before they are.
func (o *traceOptions) record(ctx context.Context, server *admin, marks trace.Marks) ([]trace.Opening, error) {
	var out []trace.Opening
	for meeting, n := range marks.Meetings() {
		var answer struct {
			Record audit.Index `json:"record"`
		}
		err := server.ask(ctx, "/investigations", map[string]any{"meeting": meeting.Text(), "reason": "trace: " + o.reason, "blocks": n}, &answer)
		if err != nil && o.marks != "" && o.unrecorded {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the opening of the keys could not be recorded, so that they stay shut (--marks with --unrecorded searches all the same, and says so): %w", err)
		}
		out = append(out, trace.Opening{Meeting: meeting, Record: answer.Record})
	}
	return out, nil
}

func (o *traceOptions) search(ctx context.Context, k *call, sound *trace.Recording, marks trace.Marks, sync *watermark.Sync, key *escrow.Key, file trace.File, now time.Time) (*trace.Verdict, error) {
	legs, dropped, err := marks.Open(key, now)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "trace: "))
	}
	search := watermark.Search{Sync: sync, Suspects: trace.Suspects(legs), Wide: !o.narrow, Far: !o.narrow, Workers: o.workers, Progress: progress(k.stderr)}
	result, channel, err := trace.Find(ctx, search, sound)
	fmt.Fprint(k.stderr, "\r\033[K")
	if errors.Is(err, watermark.ErrShort) || errors.Is(err, watermark.ErrLong) {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "watermark: "))
	}
	if err != nil {
		return nil, err
	}
	file.Channel = channel
	verdict := trace.Judge(result, legs, file, now)
	verdict.Dropped = dropped
	return verdict, nil
}

// progress draws how far a search is, where somebody looks at it.
func progress(w io.Writer) func(float64) {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	var mu sync.Mutex // guards last
	last := -1
	return func(share float64) {
		mu.Lock()
		defer mu.Unlock()
		if now := int(share * 100); now > last {
			last = now
			fmt.Fprintf(f, "\r[%-40s] %3d %%", strings.Repeat("#", now*40/100), now)
		}
	}
}

// tell has the result recorded and signed by way of the log, and prints it.
func (o *traceOptions) tell(ctx context.Context, k *call, server *admin, v *trace.Verdict) error {
	b, digest, err := v.Digest()
	if err != nil {
		return err
	}
	var seal struct {
		Record audit.Index `json:"record"`
	}
	if !v.Unrecorded {
		if err := server.ask(ctx, "/traces", map[string]any{"outcome": v.Outcome, "digest": digest[:]}, &seal); err != nil {
			return fmt.Errorf("the result could not be recorded: %w", err)
		}
	}
	if o.page != "" {
		f, err := os.OpenFile(o.page, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		if err := errors.Join(v.Page(f, seal.Record), f.Close()); err != nil {
			return err
		}
	}
	if o.json {
		if _, err := k.stdout.Write(b); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(k.stdout, v.Sentence)
	}
	if seal.Record > 0 {
		fmt.Fprintf(k.stderr, "This result is in the log, signed with its next checkpoint: record %d, SHA-256 %x\n", seal.Record, digest)
	}
	switch v.Outcome {
	case trace.Named:
		return nil
	case trace.Inconclusive:
		return codedError{exitInconclusive, errors.New("inconclusive")}
	}
	return codedError{exitNoMark, errors.New("no mark of ours")}
}
