package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
)

type replayOptions struct {
	data, log, root, since, until, zone string
	levels                              *string
	json                                bool
	show                                int
}

var policyReplay = command{
	name: "policy replay", usage: "FILE [--since TIME] [--until TIME] [--levels A,B,…] [--json] [--data DIR | --log DIR]",
	about: "tells which past rulings a policy would have made otherwise",
	flags: func(f *flag.FlagSet) any {
		o := &replayOptions{levels: levelsFlag(f)}
		f.StringVar(&o.data, "data", defaultData, "the server's data `folder`")
		f.StringVar(&o.log, "log", "", "the log's `folder`, or a copy of it; without it, the one in the data folder")
		f.StringVar(&o.root, "root", "", "the organisation's root key or its `hash`, as known from elsewhere")
		f.StringVar(&o.since, "since", "", "since when: a `time`")
		f.StringVar(&o.until, "until", "", "until when: a `time`")
		f.StringVar(&o.zone, "zone", "Local", "the time `zone` of times")
		f.IntVar(&o.show, "show", 20, "list so `many` changed rulings; all stand in the JSON")
		f.BoolVar(&o.json, "json", false, "answer in JSON")
		return o
	},
	run: func(_ context.Context, k *call) error {
		return k.options.(*replayOptions).run(k, k.args[0])
	},
}

// replayed is what came of it.
type replayed struct {
	Policy  string         `json:"policy"` // hash of the new one
	Rulings int            `json:"rulings"`
	Same    int            `json:"same"`
	Unknown int            `json:"unknown"` // depend on what devices claimed, which is not recorded
	Blind   int            `json:"blind"`   // records that do not hold what the ruling rested on, or no longer
	Changes map[string]int `json:"changes"` // "admit to refuse"
	Changed []changed      `json:"changed"`
	Devices int            `json:"devices"` // that a change would concern
}

type changed struct {
	Record  audit.Index        `json:"record"`
	Time    time.Time          `json:"time"`
	Meeting conclave.MeetingID `json:"meeting"`
	Leg     conclave.LegID     `json:"leg"`
	Device  conclave.DeviceID  `json:"device,omitzero"`
	Level   string             `json:"level"`
	Was     string             `json:"was"`
	Now     string             `json:"now"`
	WasFor  []string           `json:"was_for,omitempty"`
	NowFor  []string           `json:"now_for,omitempty"`
}

func (o *replayOptions) run(k *call, path string) error {
	policy, err := loadPolicy(path, *o.levels)
	if err != nil {
		return err
	}
	zone, err := time.LoadLocation(o.zone)
	if err != nil {
		return usageError{fmt.Sprintf("there is no time zone %q", o.zone)}
	}
	since, err := parseMoment(o.since, zone)
	if err != nil {
		return err
	}
	until, err := parseUntil(o.until, zone)
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
	if err := e.whole(k, o.root); err != nil {
		return err
	}
	result, err := e.replay(policy, since, until, newBar(k.stderr, "replaying"))
	if err != nil {
		return err
	}
	if o.json {
		out := json.NewEncoder(k.stdout)
		out.SetIndent("", "  ")
		return out.Encode(result)
	}
	return o.print(k, result, zone)
}

// replay holds a policy against the rulings of a log.
func (e *evidence) replay(policy *admission.Policy, since, until time.Time, b *bar) (*replayed, error) {
	hash := policy.Hash()
	out := &replayed{Policy: fmt.Sprintf("%x", hash), Changes: map[string]int{}, Changed: []changed{}}
	devices := map[conclave.DeviceID]bool{}
	head := []byte(`{"kind":"` + string(audit.KindRuling) + `"`)
	for leaf, err := range e.reader.Leaves(1) {
		if err != nil {
			return nil, err
		}
		b.at(uint64(leaf.Index), e.part.Size)
		if !strings.HasPrefix(string(leaf.Leaf[:min(len(leaf.Leaf), len(head))]), string(head)) {
			continue
		}
		entry, err := leaf.Record()
		if err != nil {
			return nil, err
		}
		r := &entry.Record
		if r.Time.Before(since) || !until.IsZero() && !r.Time.Before(until) {
			continue
		}
		out.Rulings++
		c, verdict := ruleAgain(policy, &entry)
		switch verdict {
		case "same":
			out.Same++
		case "unknown":
			out.Unknown++
		case "blind":
			out.Blind++
		default:
			out.Changes[c.Was+" to "+c.Now]++
			out.Changed = append(out.Changed, c)
			devices[c.Device] = true
		}
	}
	b.done()
	out.Devices = len(devices)
	return out, nil
}

// claims are what endpoints may have claimed, which no record keeps: where the ruling depends on it, nobody knows.
var claims = [][]conclave.Fact{
	nil,
	{{Name: "alone", Value: "yes"}, {Name: "radio", Value: "no"}},
	{{Name: "alone", Value: "yes"}, {Name: "radio", Value: "yes"}},
	{{Name: "alone", Value: "no"}, {Name: "radio", Value: "no"}},
	{{Name: "alone", Value: "no"}, {Name: "radio", Value: "yes"}},
}

func ruleAgain(policy *admission.Policy, entry *audit.Entry) (changed, string) {
	r := &entry.Record
	c := changed{Record: entry.Index, Time: r.Time, Meeting: r.Meeting, Leg: r.Leg, Device: r.Device, Was: r.Outcome, WasFor: r.Codes}
	if r.Grade == nil || r.Level == nil || int(*r.Level) >= len(policy.Levels()) {
		return c, "blind"
	}
	request, err := admission.Replay(r.Facts, *r.Grade, *r.Level, r.Time)
	if err != nil {
		return c, "blind"
	}
	c.Level = policy.Levels().Name(*r.Level)
	proven := request.Facts
	for i, claimed := range claims {
		request.Facts = append(slices.Clip(proven), claimed...)
		ruling := policy.Rule(request, r.Time)
		now := map[conclave.Outcome]string{conclave.Admit: "admit", conclave.Wait: "wait", conclave.Refuse: "refuse"}[ruling.Outcome]
		if i > 0 && now != c.Now {
			return c, "unknown"
		}
		if i == 0 {
			c.Now, c.NowFor = now, audit.Codes(ruling.Reasons)
		}
	}
	if c.Now == c.Was {
		return c, "same"
	}
	return c, "changed"
}

func (o *replayOptions) print(k *call, r *replayed, zone *time.Location) error {
	fmt.Fprintf(k.stdout, "%d rulings since then; the policy (%s…) would have made %d of them otherwise, for %d devices\n", r.Rulings, r.Policy[:12], len(r.Changed), r.Devices)
	for _, change := range slices.SortedFunc(maps.Keys(r.Changes), func(a, b string) int { return cmp.Or(r.Changes[b]-r.Changes[a], strings.Compare(a, b)) }) {
		fmt.Fprintf(k.stdout, "  %6d  %s\n", r.Changes[change], change)
	}
	fmt.Fprintf(k.stdout, "  %6d  the same\n", r.Same)
	if r.Unknown > 0 {
		fmt.Fprintf(k.stdout, "  %6d  not known: they depend on what the device claimed of itself, which no record keeps\n", r.Unknown)
	}
	if r.Blind > 0 {
		fmt.Fprintf(k.stdout, "  %6d  not known: the record does not hold what the ruling rested on, or it was erased\n", r.Blind)
	}
	if len(r.Changed) == 0 || o.show <= 0 {
		return nil
	}
	out := tabwriter.NewWriter(k.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "\nrecord\twhen\tlevel\twas\twould be\tbecause")
	for _, c := range r.Changed[:min(len(r.Changed), o.show)] {
		because := c.NowFor
		if c.Now == "admit" {
			because = []string{"no longer: " + strings.Join(c.WasFor, ", ")}
		}
		fmt.Fprintf(out, "%d\t%s\t%s\t%s\t%s\t%s\n", c.Record, c.Time.In(zone).Format("2006-01-02 15:04:05"), c.Level, c.Was, c.Now, strings.Join(because, ", "))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if n := len(r.Changed) - o.show; n > 0 {
		fmt.Fprintf(k.stdout, "and %d more: --json lists all\n", n)
	}
	return nil
}
