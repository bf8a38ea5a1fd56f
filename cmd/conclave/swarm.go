package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/endpoint/device"
	"conclave/endpoint/headless"
	"conclave/endpoint/media"
	"conclave/signal"
)

type swarmOptions struct {
	data, server, level string
	legs                int
	stay, every         time.Duration
	json                bool
}

var swarmCommand = command{
	name: "swarm", usage: "[--legs N] [--for TIME] [--every TIME] [--server URL] [--data DIR] [--json]",
	about: "makes load: many legs in one meeting, from this process",
	flags: func(f *flag.FlagSet) any {
		o := new(swarmOptions)
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`: the swarm enters its own people there, and keeps their keys")
		f.StringVar(&o.server, "server", defaultServer, "the server's `address`")
		f.StringVar(&o.level, "level", "OPEN", "the meeting's `level`")
		f.IntVar(&o.legs, "legs", 20, "how many `legs`")
		f.DurationVar(&o.stay, "for", 20*time.Second, "how long all stay once they are in")
		f.DurationVar(&o.every, "every", 100*time.Millisecond, "pause between two joins; 0: all at once")
		f.BoolVar(&o.json, "json", false, "print one JSON object")
		return o
	},
	run: func(ctx context.Context, k *call) error { return k.options.(*swarmOptions).run(ctx, k) },
}

// maxLegs is what one group holds (the key id has 12 bits for a leaf), less those who are there already.
const maxLegs = 4000

// swarmer is one leg of the swarm and what it measured.
type swarmer struct {
	device *device.Device

	mu       sync.Mutex // guards all below
	asked    time.Time
	in       time.Duration // from asking to being a member
	heard    time.Duration // and to the first sound opened
	members  int           // in the room when that was
	lost     int           // lines
	alarms   int
	outcome  error
	counters media.Stats
}

// swarmReport is what a swarm measured. Times are in milliseconds from asking to be let in.
type swarmReport struct {
	Legs       int     `json:"legs"`
	In         int     `json:"in"`
	HeardAll   int     `json:"heard"` // legs that opened sound
	InMS       spread  `json:"in_ms"`
	HeardMS    spread  `json:"first_sound_ms"`
	Sent       uint64  `json:"packets_sent"`
	Received   uint64  `json:"packets_received"`
	Lost       uint64  `json:"packets_lost"`
	LossShare  float64 `json:"loss"`
	LinesLost  int     `json:"lines_lost"`
	Alarms     int     `json:"alarms"`
	FirstError string  `json:"first_error,omitempty"`
}

type spread struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

func (o *swarmOptions) run(ctx context.Context, k *call) error {
	if o.legs < 1 || o.legs > maxLegs {
		return usageError{fmt.Sprintf("a swarm has 1 to %d legs", maxLegs)}
	}
	say := func(format string, args ...any) {
		if !o.json {
			fmt.Fprintf(k.stdout, format+"\n", args...)
		}
	}
	say("entering %d people and their devices …", o.legs)
	meeting, swarm, err := o.prepare(ctx)
	if err != nil {
		return err
	}
	say("joining %s, one every %v …", address(o.server, meeting), o.every)
	report, err := o.fly(ctx, meeting, swarm)
	if err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(k.stdout).Encode(report)
	}
	say("%d of %d legs came in, %d heard sound", report.In, report.Legs, report.HeardAll)
	say("from asking to being in:      p50 %4.0f ms  p95 %4.0f ms  p99 %4.0f ms", report.InMS.P50, report.InMS.P95, report.InMS.P99)
	say("from asking to first sound:   p50 %4.0f ms  p95 %4.0f ms  p99 %4.0f ms", report.HeardMS.P50, report.HeardMS.P95, report.HeardMS.P99)
	say("packets: %d sent, %d received, %d lost (%.3f %%)", report.Sent, report.Received, report.Lost, 100*report.LossShare)
	say("lines lost: %d, alarms: %d", report.LinesLost, report.Alarms)
	if report.FirstError != "" {
		return fmt.Errorf("%d legs did not come in or stay; the first: %s", report.Legs-report.In, report.FirstError)
	}
	return nil
}

// prepare enters the swarm's people, opens a meeting for them and enrols their devices. Keys are kept from one run to the
// next: enrolling is bounded by the server.
func (o *swarmOptions) prepare(ctx context.Context) (conclave.MeetingID, []*swarmer, error) {
	var none conclave.MeetingID
	a := newAdmin(o.data)
	dir := filepath.Join(o.data, "swarm")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return none, nil, err
	}
	var people []string
	for i := range o.legs {
		id := fmt.Sprintf("swarm.%04d", i+1)
		if err := a.addPerson(ctx, id, fmt.Sprintf("Swarm %d", i+1), "Load", ""); err != nil {
			return none, nil, err
		}
		people = append(people, id)
	}
	meeting, _, err := a.openMeeting(ctx, newMeeting{Title: "Swarm", Level: o.level, Chair: people[0], People: people, Door: "invited"})
	if err != nil {
		return none, nil, err
	}
	var swarm []*swarmer
	for _, id := range people {
		d, err := o.enrol(ctx, a, meeting, id, filepath.Join(dir, id+".json"))
		if err != nil {
			return none, nil, err
		}
		swarm = append(swarm, &swarmer{device: d})
	}
	return meeting, swarm, nil
}

func (o *swarmOptions) enrol(ctx context.Context, a *admin, meeting conclave.MeetingID, person, key string) (*device.Device, error) {
	if _, err := os.Stat(key); err == nil {
		link := device.Link{Server: o.server, Meeting: meeting}
		return loadDevice(ctx, link, key, "Swarm", nil)
	}
	text, err := a.link(ctx, o.server, meeting, person, "room")
	if err != nil {
		return nil, err
	}
	link, err := parseLink(text)
	if err != nil {
		return nil, err
	}
	for {
		d, err := enrol(ctx, link, key, "Swarm", nil)
		var p conclave.Problem
		if !errors.As(err, &p) || p.Code != "too_many" {
			return d, err
		}
		select { // the server bounds enrolments
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fly lets all join, stay, and leave.
func (o *swarmOptions) fly(ctx context.Context, meeting conclave.MeetingID, swarm []*swarmer) (*swarmReport, error) {
	certificate, err := media.NewCertificate()
	if err != nil {
		return nil, err
	}
	dial, host, err := endpoint.Dial(o.server, nil)
	if err != nil {
		return nil, usageError{err.Error()}
	}
	flight, land := context.WithCancel(ctx)
	defer land()
	var wait sync.WaitGroup
	for _, s := range swarm {
		cfg := headless.Config{Certificate: &certificate, Endpoint: endpoint.Config{Dial: dial, Host: host,
			Identity: s.device.Identity(), Organisation: s.device.Organisation, Root: s.device.Root, Meeting: meeting,
			Client: signal.Client{Kind: "headless", Name: "conclave swarm", Version: "0"}}}
		l := &leg{emit: s.event}
		wait.Go(func() {
			err := l.run(flight, cfg)
			s.land(l.client, err)
		})
		if !pauseFor(ctx, o.every) {
			break
		}
	}
	o.settle(ctx, swarm)
	pauseFor(ctx, o.stay)
	land()
	wait.Wait()
	return report(swarm), nil
}

// settle waits until all are in and heard, or half a minute.
func (o *swarmOptions) settle(ctx context.Context, swarm []*swarmer) {
	for range 300 {
		ready := !slices.ContainsFunc(swarm, func(s *swarmer) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.outcome == nil && s.heard == 0
		})
		if ready || !pauseFor(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// pauseFor tells whether ctx lives on after so long.
func pauseFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *swarmer) event(e endpoint.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.State != nil:
		switch e.State.State {
		case endpoint.StateAsking:
			s.asked = time.Now()
		case endpoint.StateIn:
			if s.in == 0 {
				s.in = time.Since(s.asked)
			}
		case endpoint.StateReconnecting:
			s.lost++
		}
	case e.Heard != nil && s.heard == 0:
		s.heard = time.Since(s.asked)
	case e.Roster != nil:
		s.members = len(e.Roster.Members)
	case e.Alarm != nil:
		s.alarms++
	}
}

func (s *swarmer) land(c *headless.Client, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome = err
	if c != nil {
		s.counters = c.Stats()
	}
}

func report(swarm []*swarmer) *swarmReport {
	r := &swarmReport{Legs: len(swarm)}
	var in, heard []float64
	for _, s := range swarm {
		s.mu.Lock()
		if s.in > 0 {
			r.In++
			in = append(in, s.in.Seconds()*1000)
		}
		if s.heard > 0 {
			r.HeardAll++
			heard = append(heard, s.heard.Seconds()*1000)
		}
		r.Sent += s.counters.Sent
		r.Received += s.counters.Received
		r.Lost += s.counters.Lost
		r.LinesLost += s.lost
		r.Alarms += s.alarms
		if s.outcome != nil && r.FirstError == "" {
			r.FirstError = explain(s.outcome)
		}
		s.mu.Unlock()
	}
	r.InMS, r.HeardMS = spreadOf(in), spreadOf(heard)
	if total := r.Received + r.Lost; total > 0 {
		r.LossShare = float64(r.Lost) / float64(total)
	}
	return r
}

// spreadOf returns the nearest-rank percentiles of values.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	slices.Sort(values)
	at := func(share float64) float64 {
		return values[max(0, int(math.Ceil(share*float64(len(values))))-1)]
	}
	return spread{at(0.50), at(0.95), at(0.99)}
}
