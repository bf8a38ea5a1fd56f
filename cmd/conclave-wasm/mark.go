//go:build js && wasm

package main

import (
	"syscall/js"
	"time"

	"conclave/endpoint"
	"conclave/watermark"
)

// longestLeg is how long a leg marks before its code begins again: nobody sits in one page for longer.
const longestLeg = 24 * time.Hour

// Mark implements endpoint.Marker: it hands the signs and the code to the page, whose worklet marks all that is played. The
// key itself stays here.
func (p *page) Mark(m *endpoint.Marking) {
	if p.core.host.Get("mark").Type() != js.TypeFunction {
		return
	}
	if m == nil {
		p.core.host.Call("mark", js.Null(), js.Null(), 0)
		return
	}
	code := make([]byte, longestLeg/watermark.TileDuration)
	m.Code.Fill(code, 0)
	p.core.host.Call("mark", toJS(m.Sync.Signs()), toJS(code), float64(time.Since(m.Began).Milliseconds()))
	clear(code)
}
