package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/audit/folder"
	"conclave/identity"
	"conclave/merkle"
	"conclave/pass"
	"conclave/store"
)

// devicesDir holds the device log's copy in the data folder.
const devicesDir = "devices"

// storeDir holds the server's store in the data folder.
const storeDir = "store"

type auditOptions struct {
	root        string
	witnesses   paths
	checkpoints paths
	json        bool
}

var auditVerify = command{
	name: "audit verify", usage: "FOLDER|FILE.zip [--root HASH|FILE] [--witness KEY]… [--checkpoint FILE]… [--json]",
	about: "says whether a copy of the audit log or the device log, or an evidence bundle, holds, and if not, what is wrong",
	flags: func(f *flag.FlagSet) any {
		o := new(auditOptions)
		f.StringVar(&o.root, "root", "", "the organisation's root key `hash` as it stands in links, or a file with the root key")
		f.Var(&o.witnesses, "witness", "verifier `key` of a witness whose signature must be there; may be repeated")
		f.Var(&o.checkpoints, "checkpoint", "a checkpoint `file` seen elsewhere, or a folder with one, that the log must go on from; may be repeated")
		f.BoolVar(&o.json, "json", false, "write JSON")
		return o
	},
	run: func(_ context.Context, k *call) error {
		o := k.options.(*auditOptions)
		options, err := o.read()
		if err != nil {
			return err
		}
		if isEvidence(k.args[0]) {
			return o.verifyEvidence(k, k.args[0], options)
		}
		dir, err := copyOf(k.args[0])
		if err != nil {
			return err
		}
		b := newBar(k.stderr, "verifying")
		options.Progress = func(done, all merkle.Size) { b.at(uint64(done), uint64(all)) }
		result, err := folder.Verify(os.DirFS(dir), options)
		b.done()
		var wrong *folder.Wrong
		if err != nil && !errors.As(err, &wrong) {
			return err
		}
		if o.json {
			if err := writeVerdict(k.stdout, result, wrong); err != nil {
				return err
			}
		}
		if wrong != nil {
			return wrong
		}
		if !o.json {
			tellVerified(k.stdout, result)
		}
		return nil
	},
}

// copyOf takes a server's data folder for the copy in it. A folder that is not there is no log that does not hold.
func copyOf(path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	if inner := filepath.Join(path, auditDir); isFile(filepath.Join(inner, "checkpoint")) {
		return inner, nil
	}
	return path, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func writeVerdict(w io.Writer, result *folder.Result, wrong *folder.Wrong) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Holds  bool           `json:"holds"`
		Wrong  *folder.Wrong  `json:"wrong,omitempty"`
		Result *folder.Result `json:"result,omitempty"`
	}{wrong == nil, wrong, result})
}

// read turns the flags into what verification needs.
func (o *auditOptions) read() (folder.Options, error) {
	root, err := readRoot(o.root)
	if err != nil {
		return folder.Options{}, err
	}
	out := folder.Options{Root: root, Others: map[string][]byte{}}
	if out.Witnesses, err = witnessKeys(o.witnesses); err != nil {
		return out, err
	}
	for _, path := range o.checkpoints {
		name := path
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			path = filepath.Join(path, "checkpoint")
		}
		if out.Others[name], err = os.ReadFile(path); err != nil {
			return out, err
		}
	}
	return out, nil
}

// readRoot takes a root key's hash, or a file with the key: that of the organisation, or another copy's.
func readRoot(s string) (string, error) {
	if s == "" || len(s) == 22 && !strings.ContainsAny(s, "/.") {
		return s, nil
	}
	b, err := os.ReadFile(s)
	if err != nil {
		return "", usageError{fmt.Sprintf("--root %q is neither a hash of 22 characters nor a file", s)}
	}
	var file struct {
		Root []byte `json:"root"`
	}
	if err := json.Unmarshal(b, &file); err != nil || len(file.Root) != 32 {
		return "", fmt.Errorf("%s holds no root key", s)
	}
	return base64.StdEncoding.EncodeToString(file.Root), nil
}

// tellVerified says in a sentence what holds, and below what else should be known.
func tellVerified(w io.Writer, r *folder.Result) {
	if r.Log == folder.Devices {
		fmt.Fprintf(w, "The device log of %s holds: its %d entries are those that were signed.\n", r.Organisation, r.Records)
	} else if r.Records == 0 {
		fmt.Fprintf(w, "The log of %s holds: it has no records yet.\n", r.Organisation)
	} else {
		fmt.Fprintf(w, "The log of %s holds: %d records from %s to %s are those that were signed.\n", r.Organisation, r.Records, moment(r.First), moment(r.Last))
	}
	if !r.Pinned {
		fmt.Fprintf(w, "Nothing was compared with what you know of the organisation: its root key's hash is %s; give it with --root.\n", r.RootHash)
	}
	if r.Checkpoints > 0 && r.Log == folder.Devices {
		fmt.Fprintf(w, "It goes on from %d earlier checkpoints.\n", r.Checkpoints)
	} else if r.Checkpoints > 0 {
		fmt.Fprintf(w, "It goes on from %d earlier checkpoints. %d personal parts are those committed to.\n", r.Checkpoints, r.Parts)
	}
	for _, e := range r.Erased {
		fmt.Fprintf(w, "Erased on %s: the personal parts of %d records.\n", e.At.Format(time.DateOnly), e.Records)
	}
	for _, c := range r.Cosigned {
		fmt.Fprintf(w, "%s has signed %d records, on %s by its clock.\n", c.Witness, c.Records, moment(c.At))
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, n)
	}
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

type showOptions struct {
	person  string
	from    uint64
	count   uint64
	kind    string
	meeting string
	root    string
	json    bool
	key     bool
}

var auditShow = command{
	name: "audit show", usage: "FOLDER [--from N] [--count N] [--kind KIND] [--meeting ID] [--person ID] [--json] [--key] [--root HASH|FILE]",
	about: "reads records from a copy of the audit log, or entries of the device log",
	flags: func(f *flag.FlagSet) any {
		o := new(showOptions)
		f.Uint64Var(&o.from, "from", 1, "the first record's `number`")
		f.Uint64Var(&o.count, "count", 0, "at most so many `records`; 0: all")
		f.StringVar(&o.kind, "kind", "", "only records of a `kind`, for instance ruling")
		f.StringVar(&o.meeting, "meeting", "", "only records of a `meeting`")
		f.StringVar(&o.person, "person", "", "of the device log, only entries about a person's `id`")
		f.BoolVar(&o.json, "json", false, "write JSON, a line for each record")
		f.BoolVar(&o.key, "key", false, "write the log's verifier key, for a witness, and nothing else")
		f.StringVar(&o.root, "root", "", "the organisation's root key `hash`, or a file with the root key")
		return o
	},
	run: func(_ context.Context, k *call) error {
		o := k.options.(*showOptions)
		root, err := readRoot(o.root)
		if err != nil {
			return err
		}
		var meeting conclave.MeetingID
		if o.meeting != "" {
			if meeting, err = conclave.ParseMeetingID(o.meeting[strings.LastIndexByte(o.meeting, '/')+1:]); err != nil {
				return usageError{fmt.Sprintf("%q is no meeting", o.meeting)}
			}
		}
		dir, err := copyOf(k.args[0])
		if err != nil {
			return err
		}
		r, err := folder.Open(os.DirFS(dir), root)
		if err != nil {
			return err
		}
		if o.key {
			for _, key := range r.Keys() {
				fmt.Fprintln(k.stdout, key)
			}
			return nil
		}
		if r.Organisation().Log == folder.Devices {
			return o.showDevices(k.stdout, r)
		}
		shown := uint64(0)
		for e, err := range r.Entries(audit.Index(o.from)) {
			if err != nil {
				return err
			}
			if o.kind != "" && e.Record.Kind != audit.Kind(o.kind) || o.meeting != "" && e.Record.Meeting != meeting {
				continue
			}
			if err := showEntry(k.stdout, e, o.json); err != nil {
				return err
			}
			if shown++; shown == o.count {
				break
			}
		}
		return nil
	},
}

// loggedKinds are the kinds of entries of the device log.
var loggedKinds = map[pass.LogKind]string{pass.LogStatement: "statement", pass.LogGrant: "grant", pass.LogRevocation: "revocation"}

// showDevices writes entries of the device log. They name nobody to whom the person's id is unknown.
func (o *showOptions) showDevices(w io.Writer, r *folder.Reader) error {
	want := pass.PersonTag(r.Organisation().ID, conclave.PersonID(o.person))
	shown := uint64(0)
	for l, err := range r.Leaves(audit.Index(o.from)) {
		if err != nil {
			return err
		}
		entry, err := pass.ParseLogLeaf(l.Leaf)
		if err != nil {
			return err
		}
		kind := loggedKinds[entry.Kind]
		if o.kind != "" && o.kind != kind || o.person != "" && entry.Person != want {
			continue
		}
		if o.json {
			err = json.NewEncoder(w).Encode(struct {
				Index  audit.Index       `json:"index"`
				Kind   string            `json:"kind"`
				Person string            `json:"person_tag"`
				Device conclave.DeviceID `json:"device,omitzero"`
				Hash   string            `json:"hash"`
			}{l.Index, kind, fmt.Sprintf("%x", entry.Person), entry.Device, fmt.Sprintf("%x", entry.Object)})
		} else {
			_, err = fmt.Fprintf(w, "%d\t%s\tperson=%x\tdevice=%s\thash=%x\n", l.Index, kind, entry.Person, entry.Device.Text(), entry.Object)
		}
		if err != nil {
			return err
		}
		if shown++; shown == o.count {
			break
		}
	}
	return nil
}

func showEntry(w io.Writer, e audit.Entry, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(e)
	}
	r := &e.Record
	line := fmt.Sprintf("%d\t%s\t%s", e.Index, r.Time.UTC().Format("2006-01-02 15:04:05.000"), plain(string(r.Kind)))
	add := func(name, value string) {
		if value != "" {
			line += "\t" + name + "=" + value
		}
	}
	add("outcome", plain(r.Outcome))
	add("codes", plain(strings.Join(r.Codes, ",")))
	if r.Grade != nil {
		add("grade", r.Grade.String())
	}
	if r.Level != nil {
		add("level", strconv.Itoa(int(*r.Level)))
	}
	if r.Epoch != 0 {
		add("epoch", strconv.FormatUint(r.Epoch, 10))
	}
	if r.Meeting != (conclave.MeetingID{}) {
		add("meeting", r.Meeting.Text())
	}
	if r.Leg != (conclave.LegID{}) {
		add("leg", r.Leg.Text())
	}
	if r.Device != (conclave.DeviceID{}) {
		add("device", r.Device.Text())
	}
	if r.By != (conclave.LegID{}) {
		add("by", r.By.Text())
	}
	for _, of := range []struct {
		name string
		at   time.Time
	}{{"steady", r.Steady}, {"until", r.Until}} {
		if !of.at.IsZero() {
			add(of.name, of.at.UTC().Format("2006-01-02T15:04:05.000"))
		}
	}
	for _, of := range []struct {
		name string
		sum  []byte
	}{{"policy", r.Policy}, {"tree_hash", r.TreeHash}, {"commitment", r.Commitment}} {
		if len(of.sum) > 0 {
			add(of.name, hex.EncodeToString(of.sum[:min(len(of.sum), 8)])+"…")
		}
	}
	add("person", plain(string(r.Person)))
	add("reason", plain(r.Reason))
	for _, f := range r.Facts {
		add(plain(f.Name), plain(f.Value))
	}
	if e.Erased {
		line += "\tpersonal part erased"
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

type eraseOptions struct {
	data, person, before string
	devices              paths
}

var auditErase = command{
	name: "audit erase", usage: "[--person ID] [--device ID]… [--before DATE] [--data DIR]",
	about: "erases the personal parts of records; the log goes on verifying",
	flags: func(f *flag.FlagSet) any {
		o := new(eraseOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.person, "person", "", "records of a person's `id`, and of their devices")
		f.Var(&o.devices, "device", "records of a device's `id`; may be repeated")
		f.StringVar(&o.before, "before", "", "records before a `date`, such as 2026-04-17; with a person or device, theirs alone")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*eraseOptions)
		before, err := parseMoment(o.before, time.Local)
		if err != nil {
			return err
		}
		request := struct {
			Person  conclave.PersonID   `json:"person"`
			Devices []conclave.DeviceID `json:"devices"`
			Before  time.Time           `json:"before"`
		}{Person: conclave.PersonID(o.person), Before: before}
		for _, d := range o.devices {
			var id conclave.DeviceID
			if err := id.UnmarshalText([]byte(d)); err != nil {
				return usageError{fmt.Sprintf("%q is no device: an id has 32 hexadecimal digits", d)}
			}
			request.Devices = append(request.Devices, id)
		}
		if o.person == "" && len(o.devices) == 0 && before.IsZero() {
			return usageError{"say whose records: --person, --device or --before"}
		}
		var done struct {
			Records uint64 `json:"records"`
		}
		if err := newAdmin(o.data).ask(ctx, "/records/erase", request, &done); err != nil {
			return err
		}
		// The index names who was erased until somebody asks again.
		if err := os.Remove(filepath.Join(o.data, indexFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the personal parts are erased, but not %s, which names them too: delete it: %v", filepath.Join(o.data, indexFile), err)
		}
		fmt.Fprintf(k.stdout, "erased the personal parts of %d records; copies of the folder %s made earlier still hold them\n", done.Records, auditDir)
		return nil
	},
}

type restoreOptions struct{ data, log, devices, root string }

var auditRestore = command{
	name: "audit restore", usage: "[--data DIR] [--log FOLDER] [--devices FOLDER] [--root HASH|FILE]",
	about: "brings back what the server's store has lost of audit log and device log, from their copies; stop the server first",
	flags: func(f *flag.FlagSet) any {
		o := new(restoreOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.log, "log", "", "a copy of the audit log: a `folder`; by default the one in the data folder")
		f.StringVar(&o.devices, "devices", "", "a copy of the device log: a `folder`; by default the one in the data folder, if it is there")
		f.StringVar(&o.root, "root", "", "the organisation's root key `hash`, or a file with the root key; by default the server's")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*restoreOptions)
		if o.log == "" {
			o.log = filepath.Join(o.data, auditDir)
		}
		if o.root == "" {
			o.root = filepath.Join(o.data, organisationDir, "organisation.json")
		}
		root, err := readRoot(o.root)
		if err != nil {
			return err
		}
		// A copy that does not hold brings nothing back.
		r, err := verified(k, o.log, root, "verifying the copy")
		if err != nil {
			return err
		}
		devices, err := o.openDevices(k, root)
		if err != nil {
			return err
		}
		st, err := store.OpenShort(ctx, filepath.Join(o.data, storeDir), slog.New(slog.NewTextHandler(k.stderr, &slog.HandlerOptions{Level: slog.LevelError})))
		if err != nil {
			return err
		}
		b := newBar(k.stderr, "bringing back records")
		added, err := audit.Restore(ctx, st, copyLeaves(r, b))
		b.done()
		var entries uint64
		if err == nil && devices != nil {
			b = newBar(k.stderr, "bringing back the device log")
			entries, err = identity.RestoreDeviceLog(ctx, st, plainLeaves(devices, b))
			b.done()
		}
		if closed := st.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(k.stdout, "brought back %d records and %d entries of the device log; start the server\n", added, entries)
		return nil
	},
}

// openDevices opens the copy of the device log, once it is verified; nil where there is none.
func (o *restoreOptions) openDevices(k *call, root string) (*folder.Reader, error) {
	dir := o.devices
	if dir == "" {
		if dir = filepath.Join(o.data, devicesDir); !isFile(filepath.Join(dir, "checkpoint")) {
			return nil, nil
		}
	}
	r, err := verified(k, dir, root, "verifying the device log's copy")
	if err != nil {
		return nil, err
	}
	if r.Organisation().Log != folder.Devices {
		return nil, usageError{fmt.Sprintf("%s is no copy of a device log", dir)}
	}
	return r, nil
}

// verified opens a copy that holds.
func verified(k *call, dir, root, what string) (*folder.Reader, error) {
	b := newBar(k.stderr, what)
	defer b.done()
	if _, err := folder.Verify(os.DirFS(dir), folder.Options{Root: root, Progress: func(done, all merkle.Size) { b.at(uint64(done), uint64(all)) }}); err != nil {
		return nil, err
	}
	return folder.Open(os.DirFS(dir), root)
}

func plainLeaves(r *folder.Reader, b *bar) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for l, err := range r.Leaves(1) {
			b.at(uint64(l.Index), uint64(r.Checkpoint().Size))
			if !yield(l.Leaf, err) || err != nil {
				return
			}
		}
	}
}

func copyLeaves(r *folder.Reader, b *bar) iter.Seq2[audit.CopyLeaf, error] {
	return func(yield func(audit.CopyLeaf, error) bool) {
		for l, err := range r.Leaves(1) {
			b.at(uint64(l.Index), uint64(r.Checkpoint().Size))
			if !yield(audit.CopyLeaf{Leaf: l.Leaf, Part: l.Part}, err) || err != nil {
				return
			}
		}
	}
}
