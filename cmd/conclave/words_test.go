package main

import (
	"slices"
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

func TestEveryProblemIsWordedOnce(t *testing.T) {
	var seen []string
	for line := range strings.Lines(problemsText) {
		part := strings.Split(strings.TrimSpace(line), "|")
		if len(part) != 4 {
			t.Errorf("not of four parts: %q", line)
			continue
		}
		if slices.Contains(seen, part[0]) {
			t.Errorf("%s is worded twice: the last would win", part[0])
		}
		seen = append(seen, part[0])
	}
}

func TestADateIsSaidAsADate(t *testing.T) {
	p := conclave.Problem{Code: "device_before", Args: map[string]string{"device": "Laptop", "date": "2026-09-01T12:00:00Z"}, Fix: "revoke_if_not_you"}
	if got := word(p); !strings.Contains(got, `"Laptop" was set up in your name, on 2026-09-01. If`) {
		t.Errorf("%q", got)
	}
	p.Args["date"] = "soon"
	if got := word(p); !strings.Contains(got, "on soon.") {
		t.Errorf("%q", got)
	}
}

func TestTheRemedyIsThatOfTheFix(t *testing.T) {
	// One problem may have another way out than the usual one.
	if got := word(conclave.Problem{Code: "server_unreachable", Fix: "ask_administrator"}); !strings.Contains(got, "administrator") {
		t.Errorf("%q", got)
	}
	if got := word(conclave.Problem{Code: "person_unknown", Fix: "ask_administrator"}); strings.Contains(got, "You are") {
		t.Errorf("an administrator is told %q", got)
	}
}
