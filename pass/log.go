//go:build !js

package pass

import (
	"log/slog"

	"conclave"
)

// Nothing is logged in a browser, and log/slog would be a tenth of a megabyte on the way there: so these stand apart.

// LogValue implements slog.LogValuer with a salted tag.
func (g Grant) LogValue() slog.Value { return slog.StringValue(conclave.Tag("grant", g.Signature)) }

// LogValue implements slog.LogValuer with a salted tag.
func (s Statement) LogValue() slog.Value {
	return slog.StringValue(conclave.Tag("statement", s.Signature))
}

// LogValue implements slog.LogValuer with a salted tag.
func (p Pass) LogValue() slog.Value { return slog.StringValue(conclave.Tag("pass", p.Signature)) }

// LogValue implements slog.LogValuer with a salted tag.
func (r Readiness) LogValue() slog.Value {
	return slog.StringValue(conclave.Tag("readiness", r.Signature))
}
