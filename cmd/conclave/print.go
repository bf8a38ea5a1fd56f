package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"conclave"
	"conclave/endpoint"
)

// printer writes events: as JSON lines, or as sentences for people. Events may come from several goroutines.
type printer struct {
	mu      sync.Mutex // guards all below
	out     io.Writer
	json    bool
	names   map[uint32]string
	members string // as last said
	heard   map[string]bool
}

func newPrinter(out io.Writer, asJSON bool) *printer {
	return &printer{out: out, json: asJSON, names: make(map[uint32]string), heard: make(map[string]bool)}
}

func (p *printer) event(e endpoint.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.json {
		b, err := json.Marshal(e)
		if err != nil {
			panic("conclave: event: " + err.Error())
		}
		fmt.Fprintf(p.out, "%s\n", b)
		return
	}
	if text := p.sentence(e); text != "" {
		fmt.Fprintf(p.out, "%s  %s\n", e.At.Local().Format("15:04:05.000"), text)
	}
}

var stateWords = map[endpoint.State]string{
	endpoint.StateConnecting:   "connecting",
	endpoint.StateAsking:       "asking to be let in",
	endpoint.StateWaiting:      "waiting at the door: the chair has been asked",
	endpoint.StateEntering:     "let in; agreeing on keys",
	endpoint.StateIn:           "in the meeting",
	endpoint.StateReconnecting: "line lost; reconnecting",
	endpoint.StateRefused:      "refused",
	endpoint.StateEnded:        "out of the meeting",
}

func (p *printer) sentence(e endpoint.Event) string {
	switch {
	case e.State != nil:
		return join(stateWords[e.State.State], e.State.Reasons)
	case e.Line != nil:
		return join(fmt.Sprintf("line of %s, %s, at %s: %s", e.Line.Person, e.Line.Unit, plain(e.Line.Organisation), e.Line.Grade), e.Line.Findings)
	case e.Meeting != nil:
		return fmt.Sprintf("%s, %s, as %s", plain(e.Meeting.Title), plain(e.Meeting.LevelName), plain(string(e.Meeting.Role)))
	case e.Roster != nil:
		return p.roster(e.Roster)
	case e.Code != nil:
		return fmt.Sprintf("security code %s (%s%s)", strings.Join(e.Code.Groups[:], " "), e.Code.Why, names(e.Code.Who))
	case e.Alarm != nil:
		return "ALARM: " + word(e.Alarm.Problem)
	case e.Failed != nil:
		return "could not " + plain(e.Failed.Of) + ": " + word(e.Failed.Reason)
	case e.Heard != nil:
		return p.hear(e.Heard)
	}
	return ""
}

func (p *printer) roster(r *endpoint.RosterEvent) string {
	var list []string
	clear(p.names)
	for _, m := range r.Members {
		p.names[m.Leaf] = m.Name
		text := m.Name
		if m.Self {
			text += " (you)"
		}
		if m.Lost != nil {
			text += " (line lost)"
		}
		list = append(list, text)
	}
	text := fmt.Sprintf("%d in the room: %s", len(list), strings.Join(list, ", "))
	for _, g := range r.Waiting {
		text += fmt.Sprintf("; %s, %s, waits at the door", g.Name, g.Unit)
	}
	if text == p.members {
		return ""
	}
	p.members = text
	return text
}

func (p *printer) hear(h *endpoint.HeardEvent) string {
	name := p.names[h.Leaf]
	if name == "" {
		name = fmt.Sprintf("leaf %d", h.Leaf)
	}
	verb := map[string]string{"microphone": "hear", "camera": "see", "screen": "see the screen of"}[h.Stream]
	if h.Frames <= 1 {
		return fmt.Sprintf("you %s %s", verb, name)
	}
	return fmt.Sprintf("%s of %s: %d frames opened", h.Stream, name, h.Frames)
}

func names(who []string) string {
	if len(who) == 0 {
		return ""
	}
	return ": " + strings.Join(who, ", ")
}

func join(text string, reasons []conclave.Problem) string {
	for _, r := range reasons {
		text += "\n              " + word(r)
	}
	return text
}
