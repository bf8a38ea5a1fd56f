//go:build js && wasm

package main

import (
	"context"
	"sync"
	"syscall/js"

	"conclave/endpoint"
	"conclave/signal"
)

// page is the endpoint's Media: the PeerConnection of the page and its frames worker.
type page struct {
	core   *core
	mu     sync.Mutex        // guards wanted
	wanted chan signal.Media // takes the page's answer to the latest media_wanted; nil when none is awaited
}

func newPage(c *core) *page { return &page{core: c} }

type mediaWanted struct {
	Event string `json:"event"`
	Media struct {
		Slots  signal.SlotCounts `json:"slots"`
		Server signal.Server     `json:"server"`
	} `json:"media"`
}

// Offer asks the page for a new PeerConnection and waits for what it says of it.
func (p *page) Offer(ctx context.Context, slots signal.SlotCounts, server signal.Server) (signal.Media, error) {
	answer := make(chan signal.Media, 1)
	p.mu.Lock()
	p.wanted = answer
	p.mu.Unlock()
	m := mediaWanted{Event: "media_wanted"}
	m.Media.Slots, m.Media.Server = slots, server
	p.core.post(m)
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		return signal.Media{}, ctx.Err()
	}
}

// answer takes the page's media; one that nobody asked for is dropped.
func (p *page) answer(m signal.Media) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted != nil {
		p.wanted <- m
		p.wanted = nil
	}
}

func (p *page) Ready() {
	p.core.post(struct {
		Event string `json:"event"`
	}{"media_ready"})
}

// Keys hands the epoch's key to the frames worker, by way of the script, and wipes this program's copy.
func (p *page) Keys(k endpoint.EpochKeys) {
	members := make([]any, len(k.Members))
	for i, m := range k.Members {
		members[i] = m
	}
	p.core.host.Call("epoch", float64(k.Epoch), k.Leaf, toJS(k.BaseKey), members, k.First)
	clear(k.BaseKey)
}

func (p *page) Retire(epoch uint64) { p.core.host.Call("retire", float64(epoch)) }

func (p *page) Slots(s signal.Slots) {
	p.core.host.Call("slots", ints(s.Audio), ints(s.Camera), ints(s.Screen), s.Crowded)
}

func (p *page) Bar(leaf uint32) { p.core.host.Call("bar", leaf) }

func (p *page) Hold(on bool) { p.core.host.Call("hold", on) }

func (p *page) Suspend() { p.core.host.Call("suspended") }

func (p *page) Close() { p.core.host.Call("closed") }

func ints(list []int) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

// toJS copies b into a new Uint8Array.
func toJS(b []byte) js.Value {
	a := js.Global().Get("Uint8Array").New(len(b))
	js.CopyBytesToJS(a, b)
	return a
}

// toGo copies a Uint8Array.
func toGo(a js.Value) []byte {
	b := make([]byte, a.Get("length").Int())
	js.CopyBytesToGo(b, a)
	return b
}
