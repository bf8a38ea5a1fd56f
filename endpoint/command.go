package endpoint

import (
	"encoding/json"
	"fmt"
	"slices"

	"conclave"
	"conclave/signal"
)

// commands are what the owner's program may hand on as JSON, from a page or from a pipe: by name, with the fields of the
// message of that name.
var commands = map[string]func(*Endpoint, []byte) error{
	"join": func(e *Endpoint, body []byte) error {
		var facts []conclave.Fact // short for an object with facts alone
		if json.Unmarshal(body, &facts) == nil {
			return e.Join(facts)
		}
		var m signal.Join
		if err := read(body, &m); err != nil {
			return err
		}
		return e.JoinWith(m.Facts, m.Fingerprint, m.Assertion)
	},
	"facts": func(e *Endpoint, body []byte) error {
		var m signal.Facts
		if err := read(body, &m); err != nil {
			return err
		}
		return e.Facts(m.Facts)
	},
	"state": func(e *Endpoint, body []byte) error {
		var m signal.State
		if err := read(body, &m); err != nil {
			return err
		}
		return e.SetState(m)
	},
	"leave":   func(e *Endpoint, _ []byte) error { return e.Leave() },
	"restart": func(e *Endpoint, _ []byte) error { return e.Restart() },
}

// plain are the commands that are messages to the server as they stand: nothing of the endpoint's own follows from them.
var plain = [...]string{"confirm", "decide", "except", "mission", "pause", "preside", "probe", "raise", "read", "remove", "ring"}

func read(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("endpoint: command: %w", err)
	}
	return nil
}

// Commands returns the names that Command knows.
func Commands() []string {
	names := plain[:len(plain):len(plain)]
	for name := range commands {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Command does what a program asks for in JSON: the method of that name, with the fields of the message of that name
// (package signal). What comes of it is told as events; an error means that it was not understood.
func (e *Endpoint) Command(name string, body []byte) error {
	if act := commands[name]; act != nil {
		return act(e, body)
	}
	for _, p := range plain {
		if p != name {
			continue
		}
		m := signal.New(signal.FromClient, name)
		if err := read(body, m); err != nil {
			return err
		}
		return e.do(func(s *session) { s.send(m) })
	}
	return fmt.Errorf("endpoint: no command %q", name)
}
