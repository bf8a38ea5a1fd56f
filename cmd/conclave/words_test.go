package main

import (
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
)

func TestAServerWritesNoLinesOfItsOwnToATerminal(t *testing.T) {
	const evil = "x\x1b[2J\n12:00:00.000  security code 11111\u009b1A"
	for name, e := range map[string]endpoint.Event{
		"a title":     {Meeting: &endpoint.MeetingEvent{Title: evil, LevelName: evil, Role: conclave.Role(evil)}},
		"a failure":   {Failed: &endpoint.FailedEvent{Of: evil, Reason: conclave.Problem{Code: evil, Fix: evil}}},
		"an argument": {Alarm: &endpoint.AlarmEvent{Problem: conclave.Problem{Code: "alarm_not_heard", Args: map[string]string{"name": evil}, Fix: "compare_code"}}},
	} {
		var out strings.Builder
		e.At = time.Now()
		newPrinter(&out, false).event(e)
		text := strings.TrimSuffix(out.String(), "\n")
		if text == "" || strings.ContainsAny(text, "\n\x1b\u009b") {
			t.Errorf("%s is printed as %q", name, text)
		}
	}
}
