package endpoint

import (
	"encoding/json"
	"fmt"
	"maps"
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
		return command(e, body, func(m signal.Join) error { return e.JoinWith(m.Facts, m.Fingerprint, m.Assertion) })
	},
	"facts": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Facts) error { return e.Facts(m.Facts) })
	},
	"state": func(e *Endpoint, body []byte) error { return command(e, body, e.SetState) },
	"decide": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Decide) error {
			if len(m.Legs) > 0 {
				return e.DecideAll(m.Legs, m.Admit)
			}
			return e.Decide(m.Leg, m.Admit)
		})
	},
	"remove": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Remove) error { return e.Remove(m.Leg, m.Reason) })
	},
	"raise": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Raise) error { return e.Raise(m.Level) })
	},
	"pause": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Pause) error { return e.Pause(m.On, m.Anonymous) })
	},
	"preside": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Preside) error { return e.Preside(m.Act, m.Leg) })
	},
	"except": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Except) error { return e.Except(m.Leg, m.Reason, m.Minutes) })
	},
	"confirm": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Confirm) error { return e.Confirm(m.Exception, m.Yes) })
	},
	"read": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Read) error { return e.Read(m.ID) })
	},
	"mission": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Mission) error { return e.Mission(m.Level, m.Facts) })
	},
	"probe": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Probe) error { return e.Probe(m.Ufrag, m.Fingerprint) })
	},
	"ring": func(e *Endpoint, body []byte) error {
		return command(e, body, func(m signal.Ring) error { return e.Ring(m.Person) })
	},
	"leave":   func(e *Endpoint, _ []byte) error { return e.Leave() },
	"restart": func(e *Endpoint, _ []byte) error { return e.Restart() },
}

func command[M any](e *Endpoint, body []byte, act func(M) error) error {
	var m M
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("endpoint: command: %w", err)
	}
	return act(m)
}

// Commands returns the names that Command knows.
func Commands() []string { return slices.Sorted(maps.Keys(commands)) }

// Command does what a program asks for in JSON: the method of that name, with the fields of the message of that name
// (package signal). What comes of it is told as events; an error means that it was not understood.
func (e *Endpoint) Command(name string, body []byte) error {
	act := commands[name]
	if act == nil {
		return fmt.Errorf("endpoint: no command %q", name)
	}
	return act(e, body)
}
