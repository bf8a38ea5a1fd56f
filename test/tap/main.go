// Command tap is an endpoint for tests: it joins a meeting and tells what the server forwards to it, sealed as it came and
// opened. With a second link it also plays an endpoint that will be removed, keeps every key it was ever given, and tries
// those on what the first one hears afterwards. It is no part of what is shipped.
//
//	tap --listen FILE [--tones anna=523,ben=787]
//	tap --url http://localhost:8080 --meeting POINTER --token TOKEN [--removed TOKEN] [--tones anna=523,ben=787]
//
// It prints JSON lines: endpoint events under "tap" or "removed", and a "report" for each line on its standard input.
package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"

	"conclave"
	"conclave/endpoint"
	"conclave/opus"
	"conclave/signal"
)

var (
	tones  = map[string]float64{}
	saying sync.Mutex
)

// say prints one line.
func say(kind string, v any) {
	saying.Lock()
	defer saying.Unlock()
	json.NewEncoder(os.Stdout).Encode(map[string]any{kind: v})
}

// share is the share of pcm's power at hz (Goertzel's algorithm).
func share(pcm []int16, hz float64) float64 {
	c := 2 * math.Cos(2*math.Pi*hz/opus.SampleRate)
	var a, b, power float64
	for _, s := range pcm {
		x := float64(s)
		a, b = x+c*a-b, a
		power += x * x
	}
	if power < float64(len(pcm)) {
		return 0
	}
	return (a*a + b*b - c*a*b) * 2 / (power * float64(len(pcm)))
}

func main() {
	if err := run(os.Args[1:], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "tap:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader) error {
	flags := flag.NewFlagSet("tap", flag.ContinueOnError)
	url := flags.String("url", "", "the server")
	meeting := flags.String("meeting", "", "the meeting's pointer")
	token := flags.String("token", "", "one-time token of the endpoint that stays")
	removed := flags.String("removed", "", "one-time token of the endpoint that will be removed")
	list := flags.String("tones", "", "name=hertz,…")
	listen := flags.String("listen", "", "only tell what tones are in this Ogg/Opus `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, pair := range strings.Split(*list, ",") {
		name, hz, _ := strings.Cut(pair, "=")
		if f, err := strconv.ParseFloat(hz, 64); err == nil {
			tones[name] = f
		}
	}
	if *listen != "" {
		return listenTo(*listen)
	}
	pointer, err := conclave.ParseMeetingID(*meeting)
	if err != nil {
		return err
	}
	var gone *ear
	if *removed != "" {
		gone = newEar(nil)
		if _, err := join(*url, *removed, pointer, "removed", gone); err != nil {
			return err
		}
	}
	stays := newEar(gone)
	names, err := join(*url, *token, pointer, "tap", stays)
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(stdin); lines.Scan(); {
		say("report", stays.report(names.of))
	}
	return nil
}

// listenTo prints in how many tenths of a second of a recording each tone stands out.
func listenTo(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	packets, err := opus.ReadOgg(f)
	if err != nil {
		return err
	}
	count := map[string]int{}
	l := listener{}
	if l.decoder, err = opus.NewDecoder(); err != nil {
		return err
	}
	for _, p := range packets {
		l.hear(p, count)
	}
	say("listen", count)
	return nil
}

// names are those of the roster by leaf.
type names struct {
	mu     sync.Mutex // guards byLeaf
	byLeaf map[int]string
}

func (n *names) of(leaf int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byLeaf[leaf]
}

func (n *names) set(members []endpoint.Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.byLeaf = map[int]string{}
	for _, m := range members {
		n.byLeaf[int(m.Leaf)] = m.Name
	}
}

// join enrols a device and lets it into the meeting, where it stays until the process ends.
func join(url, token string, meeting conclave.MeetingID, kind string, e *ear) (*names, error) {
	identity, org, err := enrol(url, token)
	if err != nil {
		return nil, err
	}
	dial, host, err := endpoint.Dial(url, nil)
	if err != nil {
		return nil, err
	}
	var p *endpoint.Endpoint
	n := &names{}
	p, err = endpoint.New(endpoint.Config{
		Dial: dial, Host: host, Identity: identity, Organisation: org.ID, Root: ed25519.PublicKey(org.Root), Meeting: meeting,
		Client: signal.Client{Kind: "headless", Name: "tap", Version: "0"}, Media: e,
		Emit: func(event endpoint.Event) {
			say(kind, event)
			if event.State != nil && event.State.State == endpoint.StateChecked {
				p.Join(nil)
			}
			if event.Roster != nil {
				n.set(event.Roster.Members)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	go func() {
		if err := p.Run(context.Background()); err != nil {
			say(kind, map[string]string{"ended": err.Error()})
		}
	}()
	return n, nil
}
