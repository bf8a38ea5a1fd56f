package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/endpoint/device"
	"conclave/endpoint/headless"
	"conclave/signal"
)

type joinOptions struct {
	key, name, token, play, video, record string
	json, loop, commands                  bool
	stay                                  time.Duration
}

var joinCommand = command{
	name: "join", usage: "LINK --key FILE [--token COMMAND] [--play FILE] [--video FILE] [--loop] [--record DIR] [--for TIME] [--json] [--commands]",
	about: "joins a meeting without a face: plays, records, and prints what happens",
	flags: func(f *flag.FlagSet) any {
		o := new(joinOptions)
		f.StringVar(&o.key, "key", "", "the device's key `file`; made by enrolling if the link can")
		f.StringVar(&o.key, "device", "", "the same as --key")
		f.StringVar(&o.name, "name", defaultDevice(), "what to call the device when it enrols")
		tokenFlag(f, &o.token)
		f.StringVar(&o.play, "play", "", "sound `file` to play: .ogg (Opus) or .wav; without, sealed silence is sent")
		f.StringVar(&o.video, "video", "", "video `file` to show: .ivf (VP8)")
		f.BoolVar(&o.loop, "loop", false, "play again from the beginning at the end")
		f.StringVar(&o.record, "record", "", "`folder` to record into, a file for each speaker")
		f.DurationVar(&o.stay, "for", 0, "leave after so long in the meeting, for instance 30s")
		f.BoolVar(&o.json, "json", false, "print JSON lines")
		f.BoolVar(&o.commands, "commands", false, "read commands as JSON lines: {\"do\":\"pause\",\"on\":true}")
		return o
	},
	run: func(ctx context.Context, k *call) error { return k.options.(*joinOptions).run(ctx, k) },
}

func (o *joinOptions) run(ctx context.Context, k *call) error {
	if o.key == "" {
		return usageError{"joining needs --key: the file of this device's key"}
	}
	link, err := parseLink(k.args[0])
	if err != nil {
		return err
	}
	if link.Meeting == (conclave.MeetingID{}) && link.Token != "" {
		return usageError{"this link enrols a device and names no meeting: conclave enrol --link … --key …"}
	}
	token, closeToken, err := openToken(o.token, k.stderr)
	if err != nil {
		return err
	}
	defer closeToken()
	d, err := loadDevice(ctx, link, o.key, o.name, token)
	if err != nil {
		return err
	}
	cfg, err := o.config(link, d)
	if err != nil {
		return err
	}
	out := newPrinter(k.stdout, o.json)
	leg := &leg{emit: out.event, stay: o.stay, shown: signal.State{Camera: cfg.Video != nil}, keep: func(withdrawn uint64) error {
		d.Withdrawn = withdrawn
		return d.Save(o.key)
	}}
	if o.record != "" {
		if leg.recorder, err = headless.NewRecorder(o.record); err != nil {
			return err
		}
		cfg.Heard = leg.recorder.Frame
	}
	if o.commands {
		leg.commands = k.stdin
	}
	err = leg.run(ctx, cfg)
	if leg.recorder != nil {
		err = errors.Join(err, leg.recorder.Close())
	}
	return err
}

// config is what a headless endpoint needs for this link and device.
func (o *joinOptions) config(link device.Link, d *device.Device) (headless.Config, error) {
	dial, host, err := endpoint.Dial(link.Server, nil)
	if err != nil {
		return headless.Config{}, err
	}
	cfg := headless.Config{Endpoint: endpoint.Config{Dial: dial, Host: host, Identity: d.Identity(), Organisation: d.Organisation,
		Root: d.Root, Withdrawn: d.Withdrawn, Meeting: link.Meeting, Client: signal.Client{Kind: "headless", Name: "conclave", Version: "0"}}}
	if o.play != "" {
		if cfg.Sound, err = headless.LoadSound(o.play, o.loop); err != nil {
			return cfg, err
		}
	}
	if o.video != "" {
		if cfg.Video, err = headless.LoadVideo(o.video, o.loop); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

// leg runs one headless endpoint that asks to be let in by itself.
type leg struct {
	client   *headless.Client
	emit     func(endpoint.Event)
	recorder *headless.Recorder
	stay     time.Duration // 0: until told
	shown    signal.State
	commands io.Reader // nil: none
	// keep keeps the counter of withdrawn keys with the device; nil: nothing is kept.
	keep func(withdrawn uint64) error

	entered bool              // has been in
	refusal *conclave.Problem // what stood in the way at the door; nil: nothing
	timer   *time.Timer       // for stay
}

// run returns nil when the leg has left as it should.
func (l *leg) run(ctx context.Context, cfg headless.Config) error {
	cfg.Endpoint.Emit = l.event
	client, err := headless.New(cfg)
	if err != nil {
		return err
	}
	l.client = client
	if l.commands != nil {
		go l.obey() // it ends with its input, which is the program's own
	}
	err = client.Run(ctx)
	if l.timer != nil {
		l.timer.Stop()
	}
	return l.outcome(err)
}

func (l *leg) event(e endpoint.Event) {
	if l.recorder != nil {
		l.recorder.Event(e)
	}
	l.emit(e)
	if e.Keys != nil && l.keep != nil {
		if err := l.keep(e.Keys.Withdrawn); err != nil {
			l.emit(endpoint.Event{At: e.At, Kind: "failed", Failed: &endpoint.FailedEvent{Of: "keys", Reason: conclave.Problem{Code: "key_file_unwritable", Fix: "ask_administrator"}}})
		}
	}
	if e.State == nil {
		return
	}
	switch e.State.State {
	case endpoint.StateChecked:
		_ = l.client.Join(nil) // the queue holds one command: this
	case endpoint.StateRefused:
		if e.State.Again && l.commands == nil {
			_ = l.client.Leave() // nobody is here who could mend it
		}
	case endpoint.StateQuarantined:
		if !l.entered && l.commands == nil && len(e.State.Reasons) > 0 {
			l.refusal = &e.State.Reasons[0] // stands at the door for others to except; nobody is here who could mend it
			_ = l.client.Leave()
		}
	case endpoint.StateIn:
		if !l.entered {
			l.entered = true
			_ = l.client.SetState(l.shown)
			if l.stay > 0 {
				l.timer = time.AfterFunc(l.stay, func() { _ = l.client.Leave() })
			}
		}
	}
}

// maxCommand bounds a line of commands.
const maxCommand = 64 << 10

// obey follows commands until they end. What is not understood is told as an event, as in the browser.
func (l *leg) obey() {
	lines := bufio.NewScanner(l.commands)
	lines.Buffer(make([]byte, 0, 4<<10), maxCommand)
	for lines.Scan() {
		var what struct {
			Do string `json:"do"`
		}
		line := bytes.Clone(lines.Bytes())
		err := json.Unmarshal(line, &what)
		if err == nil {
			err = l.client.Command(what.Do, line)
		}
		if err != nil {
			l.emit(endpoint.Event{Kind: "failed", At: time.Now(), Failed: &endpoint.FailedEvent{Of: what.Do,
				Reason: conclave.Problem{Code: "bad_command", Fix: "reload", Args: map[string]string{"command": what.Do}}}})
		}
	}
}

// outcome tells an end that was wished for from one that was not.
func (l *leg) outcome(err error) error {
	var p conclave.Problem
	if l.refusal != nil && !l.entered {
		return codedError{exitRefused, *l.refusal}
	}
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil
	case !errors.As(err, &p):
		return err
	}
	switch {
	case p.Code == "server_unreachable":
		return codedError{exitUnreachable, p}
	case !l.entered:
		return codedError{exitRefused, p}
	case p.Code == "meeting_over":
		return nil
	}
	return codedError{exitPutOut, p}
}
