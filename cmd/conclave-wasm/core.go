//go:build js && wasm

package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"sync/atomic"
	"syscall/js"

	"conclave"
	"conclave/endpoint"
	"conclave/signal"
)

// core is what stands behind conclaveCore. Its functions are called by the worker's event loop and must not block: a
// blocked one would stop the very loop that it waits for.
type core struct {
	host js.Value
	run  *running // the meeting that is open; nil for none
}

// running is one open meeting.
type running struct {
	endpoint *endpoint.Endpoint
	page     *page
	over     atomic.Bool
}

var (
	errOpen   = errors.New("a meeting is open already")
	errClosed = errors.New("no meeting is open")
)

// command wraps a function of one JSON argument for the worker. What it cannot follow is told as an event.
func (c *core) command(name string, act func([]byte) error) js.Func {
	return js.FuncOf(func(_ js.Value, args []js.Value) any {
		var body []byte
		if len(args) > 0 && args[0].Type() == js.TypeString {
			body = []byte(args[0].String())
		}
		if err := act(body); err != nil {
			p := conclave.Problem{Code: "bad_command", Fix: "reload", Args: map[string]string{"command": name}}
			errors.As(err, &p)
			c.post(endpoint.Event{Kind: "failed", Failed: &endpoint.FailedEvent{Of: name, Reason: p}})
		}
		return nil
	})
}

// post hands an event to the page.
func (c *core) post(event any) {
	b, err := json.Marshal(event)
	if err != nil {
		panic("conclave-wasm: event: " + err.Error())
	}
	c.host.Call("post", string(b))
}

// opening is the argument of open.
type opening struct {
	Meeting      conclave.MeetingID      `json:"meeting"`
	URL          string                  `json:"url"`  // of the signalling: wss://…/v1/signal
	Host         string                  `json:"host"` // host:port of the page, for which the hello is signed
	Statement    []byte                  `json:"statement"`
	LeafKey      []byte                  `json:"leaf_key"`
	Organisation conclave.OrganisationID `json:"organisation"`
	Root         []byte                  `json:"root"`
	Client       signal.Client           `json:"client"`
	Facts        []conclave.Fact         `json:"facts"`
	Withdrawn    uint64                  `json:"withdrawn"`
}

func (c *core) open(body []byte) error {
	if c.run != nil && !c.run.over.Load() {
		return errOpen
	}
	var o opening
	if err := json.Unmarshal(body, &o); err != nil {
		return err
	}
	r := &running{page: newPage(c)}
	e, err := endpoint.New(endpoint.Config{
		Dial:         func(ctx context.Context) (endpoint.Conn, error) { return dial(ctx, c.host, o.URL) },
		Host:         o.Host,
		Identity:     endpoint.Identity{Statement: o.Statement, Signer: &signer{host: c.host, public: o.LeafKey}},
		Organisation: o.Organisation,
		Root:         ed25519.PublicKey(o.Root),
		Meeting:      o.Meeting,
		Client:       o.Client,
		Facts:        o.Facts,
		Withdrawn:    o.Withdrawn,
		Media:        r.page,
		Verify:       (&verifier{host: c.host}).verify,
		Emit:         func(e endpoint.Event) { c.post(e) },
	})
	if err != nil {
		return err
	}
	r.endpoint = e
	c.run = r
	go func() {
		defer r.over.Store(true)
		_ = e.Run(context.Background()) // what came of it was told as the last state
	}()
	return nil
}

// on runs act on the open meeting's endpoint.
func (c *core) on(act func(*endpoint.Endpoint) error) error {
	if c.run == nil || c.run.over.Load() {
		return errClosed
	}
	return act(c.run.endpoint)
}

// meeting hands a command on to the open meeting's endpoint.
func (c *core) meeting(name string) func([]byte) error {
	return func(body []byte) error {
		return c.on(func(e *endpoint.Endpoint) error { return e.Command(name, body) })
	}
}

// with decodes body and runs act with it on the open meeting's endpoint.
func with[T any](c *core, body []byte, act func(*endpoint.Endpoint, T) error) error {
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	return c.on(func(e *endpoint.Endpoint) error { return act(e, v) })
}

// media brings the page's end of the media path.
func (c *core) media(body []byte) error {
	if c.run == nil {
		return errClosed
	}
	var m signal.Media
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	c.run.page.answer(m)
	return nil
}

// stranger tells of a frame that no honest server forwards.
func (c *core) stranger(body []byte) error {
	type frame struct {
		Stream endpoint.Stream `json:"stream"`
		Leaf   int             `json:"leaf"`
	}
	return with(c, body, func(e *endpoint.Endpoint, f frame) error { return e.Stranger(f.Stream, f.Leaf) })
}

// opened tells whose frames open in a receiving slot.
func (c *core) opened(body []byte) error {
	type change struct {
		Stream endpoint.Stream `json:"stream"`
		Slot   int             `json:"slot"`
		Leaf   int             `json:"leaf"`
	}
	return with(c, body, func(e *endpoint.Endpoint, o change) error { return e.Opened(o.Stream, o.Slot, o.Leaf) })
}

// context returns a fresh context id for the stream of the given number, 0 if there is none at the moment.
func (c *core) context(_ js.Value, args []js.Value) any {
	if c.run == nil || c.run.over.Load() || len(args) != 1 || args[0].Type() != js.TypeNumber {
		return 0
	}
	id, ok := c.run.endpoint.Context(endpoint.Stream(args[0].Int()))
	if !ok {
		return 0
	}
	return int(id)
}
