package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"conclave"
)

func TestEveryAlarmNamesTheDifference(t *testing.T) {
	b, err := os.ReadFile("../../web/src/words/codes.json")
	if err != nil {
		t.Fatal(err)
	}
	var codes struct{ Alarms map[string][]string }
	if err := json.Unmarshal(b, &codes); err != nil || len(codes.Alarms) < 10 {
		t.Fatalf("%d alarms: %v", len(codes.Alarms), err)
	}
	for code, names := range codes.Alarms {
		args := make(map[string]string)
		for _, n := range names {
			args[n] = "<" + n + ">"
		}
		text := word(conclave.Problem{Code: code, Args: args, Fix: "leave_and_report"})
		for _, n := range names {
			if !strings.Contains(text, args[n]) {
				t.Errorf("%s does not say %s: %s", code, n, text)
			}
		}
		if strings.ContainsAny(text, "{}") {
			t.Errorf("%s is not given all that it says: %s", code, text)
		}
	}
}
