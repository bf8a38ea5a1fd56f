//go:build js && wasm

package main

import (
	"errors"
	"time"

	"conclave/endpoint"
)

var errSpan = errors.New("a span of speech lies outside of the last hour")

// spoke notes that the own person spoke, for the speech ledger: {"from":…,"to":…} in milliseconds since 1970.
func (c *core) spoke(body []byte) error {
	type span struct {
		From float64 `json:"from"`
		To   float64 `json:"to"`
	}
	return with(c, body, func(e *endpoint.Endpoint, s span) error {
		if age := float64(time.Now().UnixMilli()) - s.From; !(age >= -1000 && age < 3.6e6 && s.From < s.To) {
			return errSpan
		}
		return e.Spoke(time.UnixMilli(int64(s.From)), time.UnixMilli(int64(s.To)))
	})
}
