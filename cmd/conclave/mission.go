package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/endpoint/device"
	"conclave/endpoint/media"
	"conclave/identity"
	"conclave/pass"
	"conclave/signal"
)

// A mission tests the line before a trip, from the place itself, and brings home a document that others can check.

type missionOptions struct {
	key, token, server, level, out string
	levels                         *string
	json                           bool
}

var missionCommand = command{
	name: "mission", usage: "--key FILE --level LEVEL [--token COMMAND] [--server URL] [--out FILE] [--levels A,B,…] [--json]",
	about: "tests from here whether this device and line would do for a meeting of a level",
	flags: func(f *flag.FlagSet) any {
		o := &missionOptions{levels: levelsFlag(f)}
		f.StringVar(&o.key, "key", "", "the device's key `file`")
		tokenFlag(f, &o.token)
		f.StringVar(&o.server, "server", defaultServer, "the server's `URL`")
		f.StringVar(&o.level, "level", "", "the `level` to test for, for instance RESTRICTED")
		f.StringVar(&o.out, "out", "", "`file` to keep the signed answer in")
		f.BoolVar(&o.json, "json", false, "print JSON")
		return o
	},
	run: func(ctx context.Context, k *call) error {
		o := k.options.(*missionOptions)
		level, ok := parseLevels(*o.levels).Find(o.level)
		switch {
		case len(k.args) > 0 || o.key == "" || o.level == "":
			return usageError{"usage: conclave mission --key FILE --level LEVEL; conclave mission --help tells more"}
		case !ok:
			return usageError{fmt.Sprintf("there is no level %q; there are %s", o.level, *o.levels)}
		}
		token, closeToken, err := openToken(o.token, k.stderr)
		if err != nil {
			return err
		}
		defer closeToken()
		d, err := load(o.key, token)
		if errors.Is(err, os.ErrNotExist) {
			return conclave.Problem{Code: "not_enrolled", Fix: "ask_link"}
		}
		if err != nil {
			return err
		}
		m, err := runMission(ctx, d, o.server, level)
		if err != nil {
			return err
		}
		return o.tell(k.stdout, m, d)
	},
}

// missionTime is how long a test may take: a few messages, and some seconds where sound does not get through.
const missionTime = 40 * time.Second

// missionResult is what a test brings.
type missionResult struct {
	line   *endpoint.LineEvent
	probed *endpoint.ProbedEvent
	ready  *endpoint.ReadyEvent
}

// runMission tries the way of sound, and then asks the server once.
func runMission(ctx context.Context, d *device.Device, server string, level conclave.Level) (*missionResult, error) {
	dial, host, err := endpoint.Dial(server, nil)
	if err != nil {
		return nil, usageError{strings.TrimPrefix(err.Error(), "endpoint: ")}
	}
	asked := ctx
	ctx, cancel := context.WithTimeout(ctx, missionTime)
	defer cancel()
	var mu sync.Mutex
	m, failed := new(missionResult), error(nil)
	way, err := newWay()
	if err != nil {
		return nil, err
	}
	defer way.close()
	var e *endpoint.Endpoint
	emit := func(event endpoint.Event) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case event.Line != nil && m.line == nil:
			m.line = event.Line
			// One command after the other: the queue holds each.
			_ = e.Probe(way.ufrag, way.fingerprint)
		case event.Probing != nil:
			way.try(ctx, event.Probing.Server)
		case event.Probed != nil && m.probed == nil:
			m.probed = event.Probed
			_ = e.Mission(level, nil)
		case event.Failed != nil && event.Failed.Of == "probe":
			failed = event.Failed.Reason
			cancel()
		case event.Ready != nil:
			m.ready = event.Ready
			cancel()
		case event.Failed != nil && event.Failed.Of == "mission":
			failed = event.Failed.Reason
			cancel()
		case event.State != nil && event.State.State == endpoint.StateReconnecting:
			failed = conclave.Problem{Code: "server_unreachable", Fix: "check_connection"}
			cancel()
		}
	}
	if e, err = endpoint.New(endpoint.Config{Dial: dial, Host: host, Identity: d.Identity(), Organisation: d.Organisation, Root: d.Root,
		Client: signal.Client{Kind: "headless", Name: "conclave", Version: "0"}, Emit: emit}); err != nil {
		return nil, err
	}
	err = e.Run(ctx)
	mu.Lock()
	defer mu.Unlock()
	switch {
	case m.ready != nil:
		return m, nil
	case failed != nil:
		return nil, failed
	case asked.Err() != nil:
		return nil, asked.Err()
	case err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return nil, err
	}
	return nil, conclave.Problem{Code: "server_unreachable", Fix: "try_later"}
}

// tell prints the answer, keeps it if wished, and returns an error that exits with 3 where it is a no.
func (o *missionOptions) tell(w io.Writer, m *missionResult, d *device.Device) error {
	if o.json {
		if err := json.NewEncoder(w).Encode(struct {
			Line  *endpoint.LineEvent   `json:"line"`
			Media *endpoint.ProbedEvent `json:"media"`
			Ready *endpoint.ReadyEvent  `json:"ready"`
		}{m.line, m.probed, m.ready}); err != nil {
			return err
		}
	} else {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(table, "line\t%s\n", m.line.Grade)
		for _, f := range append(m.line.Facts[:len(m.line.Facts):len(m.line.Facts)], m.probed.Facts...) {
			how := "claimed"
			if f.Proven {
				how = "proven"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", plain(f.Name), plain(f.Value), how)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if o.out != "" {
		b, err := json.MarshalIndent(missionFile{d.Organisation, d.Root, m.ready.Grants, m.ready.Document}, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.out, append(b, '\n'), 0o600); err != nil {
			return err
		}
	}
	if m.ready.Ready {
		if !o.json {
			fmt.Fprintf(w, "ready for %s; tested now, worth showing until %s\n", plain(m.ready.LevelName), m.ready.Until.Local().Format("2006-01-02 15:04"))
		}
		return nil
	}
	return codedError{exitRefused, fmt.Errorf("not ready for %s:%s", plain(m.ready.LevelName), join("", m.ready.Reasons))}
}

// way is this machine's end of a way of sound that is tried.
type way struct {
	transport   *media.Transport
	ufrag       string
	fingerprint []byte
	connecting  sync.WaitGroup
}

func newWay() (*way, error) {
	t, err := media.New(media.Config{})
	if err != nil {
		return nil, fmt.Errorf("open a UDP socket: %w", err)
	}
	l := t.Local()
	return &way{transport: t, ufrag: l.Ufrag, fingerprint: l.Fingerprint[:]}, nil
}

// try connects. What comes of it the server says: it knows whether it was reached.
func (w *way) try(ctx context.Context, server signal.Server) {
	remote := media.Remote{Ufrag: server.Ufrag, Password: server.Password}
	copy(remote.Fingerprint[:], server.Fingerprint)
	for _, c := range server.Candidates {
		if a, err := netip.ParseAddrPort(c); err == nil {
			remote.Candidates = append(remote.Candidates, a)
		}
	}
	w.connecting.Go(func() { _ = w.transport.Connect(ctx, remote) })
}

func (w *way) close() {
	w.transport.Close()
	w.connecting.Wait()
}

// missionFile is a test's answer as it is kept: with it, and the root's hash by another way, anybody can check it.
type missionFile struct {
	Organisation conclave.OrganisationID `json:"organisation"`
	Root         []byte                  `json:"root"`
	Grants       [][]byte                `json:"grants"`
	Document     []byte                  `json:"document"`
}

type verifyOptions struct{ data, root string }

var missionVerify = command{
	name: "mission verify", usage: "FILE [--root HASH] [--data DIR]",
	about: "checks a kept answer of a mission under the organisation's root key",
	flags: func(f *flag.FlagSet) any {
		o := new(verifyOptions)
		f.StringVar(&o.root, "root", "", "the root key's `hash`, as it stands in links behind r=; without it, the organisation in --data")
		f.StringVar(&o.data, "data", defaultData, "data `folder` of the server")
		return o
	},
	run: func(_ context.Context, k *call) error {
		return verifyMission(k.stdout, k.args[0], k.options.(*verifyOptions), time.Now())
	},
}

// maxMissionFile bounds the file, in bytes; it has about two thousand.
const maxMissionFile = 64 << 10

func verifyMission(w io.Writer, path string, o *verifyOptions, now time.Time) error {
	source, err := readPart(path, maxMissionFile)
	if err != nil {
		return err
	}
	var file missionFile
	if len(source) > maxMissionFile || json.Unmarshal(source, &file) != nil || len(file.Root) != ed25519.PublicKeySize {
		return conclave.Problem{Code: "readiness_malformed", Fix: "test_again"}
	}
	want := o.root
	if want == "" {
		organisation, err := identity.LoadOrganisation(filepath.Join(o.data, organisationDir), now)
		if err != nil {
			return fmt.Errorf("%w; give the root key's hash with --root", err)
		}
		want = organisation.RootHash()
	}
	sum := sha256.Sum256(file.Root)
	if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:16])), []byte(want)) != 1 {
		return conclave.Problem{Code: "root_mismatch", Fix: "ask_link"}
	}
	trust, err := pass.NewTrust(file.Organisation, file.Root, file.Grants, now)
	if err != nil {
		return err
	}
	r, err := trust.Readiness(file.Document, now)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "organisation\t%s\nperson\t%s\ndevice\t%s\nlevel\t%s\nline\t%s\nnetwork\t%s\ncountry\t%s\nsound\t%s\ntested\t%s\nuntil\t%s\npolicy\t%x\n",
		plain(string(r.Organisation)), plain(string(r.Person)), r.Device.Text(), plain(r.LevelName), r.Grade, orNone(plain(r.Network)), orNone(plain(r.Country)), orNone(plain(r.Media)),
		r.NotBefore.Local().Format(time.RFC3339), r.NotAfter.Local().Format(time.RFC3339), r.PolicyHash)
	if err := table.Flush(); err != nil {
		return err
	}
	if r.Ready {
		fmt.Fprintf(w, "ready for %s\n", plain(r.LevelName))
		return nil
	}
	var reasons []conclave.Problem
	for _, code := range r.Codes {
		reasons = append(reasons, conclave.Problem{Code: code})
	}
	return codedError{exitRefused, fmt.Errorf("not ready for %s:%s", plain(r.LevelName), join("", reasons))}
}
