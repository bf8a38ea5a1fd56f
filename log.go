//go:build !js

package conclave

import "log/slog"

// Nothing is logged in a browser, and log/slog would be a tenth of a megabyte on the way there: so these stand apart.

// LogValue implements slog.LogValuer with a salted tag.
func (id MeetingID) LogValue() slog.Value { return slog.StringValue(Tag("meeting", id[:])) }

// LogValue implements slog.LogValuer with a salted tag.
func (id LegID) LogValue() slog.Value { return slog.StringValue(Tag("leg", id[:])) }

// LogValue implements slog.LogValuer with a salted tag.
func (id DeviceID) LogValue() slog.Value { return slog.StringValue(Tag("device", id[:])) }

// LogValue implements slog.LogValuer with a salted tag.
func (id PersonID) LogValue() slog.Value { return slog.StringValue(Tag("person", []byte(id))) }
