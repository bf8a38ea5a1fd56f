package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/endpoint/device"
	"conclave/endpoint/headless"
	"conclave/identity"
	"conclave/signal"
)

// The two speakers: made by scripts/demo-media.mjs.
//
//go:embed demo
var demoMedia embed.FS

type demoPerson struct{ id, name, unit, media string }

var (
	demoPeople = []demoPerson{
		{id: "anna.weber", name: "Anna Weber", unit: "Interior"}, // the chair
		{id: "daniel.okafor", name: "Daniel Okafor", unit: "Transport"},
		{id: "karin.lindqvist", name: "Karin Lindqvist", unit: "Foreign Affairs"},
	}
	demoSpeakers = []demoPerson{
		{id: "marta.rossi", name: "Marta Rossi", unit: "Border Police", media: "marta"},
		{id: "jan.novak", name: "Jan Novák", unit: "Customs", media: "jan"},
	}
)

const (
	demoTitle   = "Border liaison, weekly"
	demoLevel   = "RESTRICTED"
	demoFile    = "demo.json" // in the data folder: the meeting, so that a second run goes on in it
	serverStart = 20 * time.Second
	serverStop  = 10 * time.Second
)

// demoSettings are the levels that Conclave comes with, but that RESTRICTED meetings start without their chair: the two who
// are talking were there first.
const demoSettings = `[[level]]
name = "OPEN"
words = { de = "OFFEN", en = "OPEN", fr = "OUVERT" }

[[level]]
name = "INTERNAL"
words = { de = "INTERN", en = "INTERNAL", fr = "INTERNE" }

[[level]]
name = "RESTRICTED"
words = { de = "VS-NUR FÜR DEN DIENSTGEBRAUCH", en = "RESTRICTED", fr = "DIFFUSION RESTREINTE" }
start = "anyone"

[[level]]
name = "CONFIDENTIAL"
words = { de = "VS-VERTRAULICH", en = "CONFIDENTIAL", fr = "CONFIDENTIEL" }
start = "chair"
`

type demoOptions struct{ data, listen, media string }

var demoCommand = command{
	name: "demo", usage: "[--data DIR] [--listen ADDRESS] [--media ADDRESS]",
	about: "runs a server with a meeting in which two are talking already",
	flags: func(f *flag.FlagSet) any {
		o := new(demoOptions)
		f.StringVar(&o.data, "data", defaultData, "data `folder`; kept from run to run")
		f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "TCP `address` of the page")
		f.StringVar(&o.media, "media", "0.0.0.0:7000", "UDP `address` of sound and picture")
		return o
	},
	run: func(ctx context.Context, k *call) error { return k.options.(*demoOptions).run(ctx, k) },
}

func (o *demoOptions) run(ctx context.Context, k *call) error {
	_, port, err := net.SplitHostPort(o.listen)
	if err != nil {
		return usageError{"--listen is an address with a port, such as 127.0.0.1:8080"}
	}
	server := "http://localhost:" + port
	if err := o.checkPorts(); err != nil {
		return err
	}
	if err := o.makeOrganisation(); err != nil {
		return err
	}
	child, err := o.startServer(ctx, server)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { cancel(child.wait()) }()
	err = o.hold(ctx, k.stdout, server)
	child.stop()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// checkPorts says in time, and in one sentence, that somebody else is there.
func (o *demoOptions) checkPorts() error {
	l, err := net.Listen("tcp", o.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("TCP port %s is taken: stop the program that listens there, or give another one with --listen 127.0.0.1:8081 (make run DEMO='--listen 127.0.0.1:8081')", o.listen)
	}
	if err != nil {
		return err
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", o.media)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("UDP port %s is taken: stop the program that listens there, or give another one with --media 0.0.0.0:7001 (make run DEMO='--media 0.0.0.0:7001')", o.media)
	}
	if err != nil {
		return err
	}
	return u.Close()
}

func (o *demoOptions) makeOrganisation() error {
	dir := filepath.Join(o.data, organisationDir)
	if _, err := os.Stat(filepath.Join(dir, "organisation.json")); err == nil {
		return nil
	}
	settings := filepath.Join(o.data, "conclaved.toml")
	if _, err := os.Stat(settings); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(o.data, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(settings, []byte(demoSettings), 0o600); err != nil {
			return err
		}
	}
	_, err := identity.NewOrganisation(dir, "demo.conclave.example", "Demonstration", rand.Reader, time.Now())
	return err
}

// serverProcess is conclaved as a child.
type serverProcess struct {
	command *exec.Cmd
	log     string
	done    chan struct{}
	err     error // set before done is closed
}

// startServer starts the conclaved beside this program and waits until it answers.
func (o *demoOptions) startServer(ctx context.Context, server string) (*serverProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	program := filepath.Join(filepath.Dir(self), "conclaved")
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("conclaved is missing beside this program (%s): build both with make", filepath.Dir(self))
	}
	log, err := os.OpenFile(filepath.Join(o.data, "conclaved.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &serverProcess{command: exec.Command(program, "--data", o.data, "--listen", o.listen, "--media", o.media), log: log.Name(), done: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = log, log
	// In a group of its own, so that Ctrl-C reaches us alone, and the speakers leave before the server ends.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start conclaved: %w", err)
	}
	go func() { p.err = p.command.Wait(); close(p.done) }()
	deadline := time.Now().Add(serverStart)
	for !healthy(ctx, server) {
		select {
		case <-p.done:
			return nil, p.wait()
		default:
		}
		if time.Now().After(deadline) || !pauseFor(ctx, 50*time.Millisecond) {
			p.stop()
			return nil, fmt.Errorf("conclaved does not answer; what it says stands in %s", p.log)
		}
	}
	return p, nil
}

func healthy(ctx context.Context, server string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/v1/health", nil)
	if err != nil {
		return false
	}
	response, err := web.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// wait waits for an end that nobody asked for, and says where to look.
func (p *serverProcess) wait() error {
	<-p.done
	last := ""
	if b, err := os.ReadFile(p.log); err == nil {
		lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
		last = ": " + string(lines[len(lines)-1])
	}
	return fmt.Errorf("conclaved ended by itself%s (all it said stands in %s)", last, p.log)
}

func (p *serverProcess) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(serverStop):
		_ = p.command.Process.Kill()
		<-p.done
	}
}

// hold holds the meeting until ctx ends.
func (o *demoOptions) hold(ctx context.Context, out io.Writer, server string) error {
	a := newAdmin(o.data)
	meeting, err := o.meeting(ctx, a)
	if err != nil {
		return err
	}
	ended := make(chan error, len(demoSpeakers))
	for _, p := range demoSpeakers {
		l, cfg, err := o.speaker(ctx, a, server, meeting, p)
		if err != nil {
			return err
		}
		go func() { ended <- l.run(ctx, cfg) }()
	}
	if err := o.invite(ctx, a, out, server, meeting); err != nil {
		return err
	}
	var first error
	for range demoSpeakers {
		if err := <-ended; err != nil && first == nil {
			first = fmt.Errorf("a speaker of the demonstration is out: %s", explain(err))
		}
	}
	return first
}

// meeting returns the demonstration's meeting: that of the last run, or a new one.
func (o *demoOptions) meeting(ctx context.Context, a *admin) (conclave.MeetingID, error) {
	var kept struct {
		Meeting conclave.MeetingID `json:"meeting"`
	}
	file := filepath.Join(o.data, demoFile)
	if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &kept) == nil {
		var m struct {
			Ended *time.Time `json:"ended"`
			Until time.Time  `json:"until"`
			Level string     `json:"level_name"`
		}
		if err := a.ask(ctx, "/meetings/"+kept.Meeting.Text(), nil, &m); err == nil && m.Ended == nil && time.Now().Before(m.Until) && m.Level == demoLevel {
			// One whose level was raised keeps it for good: the two who talk would not be let in.
			return kept.Meeting, nil
		}
	}
	var ids []string
	for _, p := range append(demoPeople[:len(demoPeople):len(demoPeople)], demoSpeakers...) {
		if err := a.addPerson(ctx, p.id, p.name, p.unit, ""); err != nil {
			return kept.Meeting, err
		}
		ids = append(ids, p.id)
	}
	var err error
	if kept.Meeting, _, err = a.openMeeting(ctx, newMeeting{Title: demoTitle, Level: demoLevel, Chair: ids[0], People: ids, Door: "invited"}); err != nil {
		return kept.Meeting, err
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return kept.Meeting, err
	}
	return kept.Meeting, os.WriteFile(file, append(b, '\n'), 0o600)
}

// speaker makes one of the two who are talking.
func (o *demoOptions) speaker(ctx context.Context, a *admin, server string, meeting conclave.MeetingID, p demoPerson) (*leg, headless.Config, error) {
	fail := func(err error) (*leg, headless.Config, error) { return nil, headless.Config{}, err }
	key := filepath.Join(o.data, "demo-"+p.media+".json")
	link := device.Link{Server: server, Meeting: meeting}
	if _, err := os.Stat(key); errors.Is(err, fs.ErrNotExist) {
		text, err := a.link(ctx, server, meeting, p.id, "")
		if err != nil {
			return fail(err)
		}
		if link, err = parseLink(text); err != nil {
			return fail(err)
		}
	}
	d, err := loadDevice(ctx, link, key, "Demonstration", nil)
	if err != nil {
		return fail(err)
	}
	cfg, err := new(joinOptions).config(link, d)
	if err != nil {
		return fail(err)
	}
	sound, err := demoMedia.ReadFile("demo/" + p.media + ".ogg")
	if err != nil {
		return fail(err)
	}
	if cfg.Sound, err = headless.ReadSound(bytes.NewReader(sound), ".ogg", true); err != nil {
		return fail(err)
	}
	video, err := demoMedia.ReadFile("demo/" + p.media + ".ivf")
	if err != nil {
		return fail(err)
	}
	if cfg.Video, err = headless.ReadVideo(video, true); err != nil {
		return fail(err)
	}
	return &leg{emit: func(endpoint.Event) {}, shown: signal.State{Camera: true}}, cfg, nil
}

// invite prints one personal link for each person.
func (o *demoOptions) invite(ctx context.Context, a *admin, out io.Writer, server string, meeting conclave.MeetingID) error {
	fmt.Fprintf(out, "\n%s · %s · %s and %s are talking\n\n", demoTitle, demoLevel, demoSpeakers[0].name, demoSpeakers[1].name)
	for i, p := range demoPeople {
		link, err := a.link(ctx, server, meeting, p.id, "")
		if err != nil {
			return err
		}
		role := p.unit
		if i == 0 {
			role += ", chair"
		}
		fmt.Fprintf(out, "  %-16s %-18s %s\n", p.name, role, link)
	}
	fmt.Fprintf(out, "\nA link enrols one browser, once; after that %s is enough there. Ctrl-C stops all; the data stay in %s.\n",
		address(server, meeting), o.data)
	return nil
}
