package main

import (
	"errors"
	"strings"
	"testing"
)

func TestAWrongCommandLineIsToldOnceAndApartFromOtherMistakes(t *testing.T) {
	for _, args := range [][]string{{"--bad"}, {"stray"}} {
		var out strings.Builder
		if _, err := readConfig(args, &out); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v", args, err)
		}
		if out.Len() > 0 {
			t.Errorf("%v: said twice: %q", args, out.String())
		}
	}
	var out strings.Builder
	if _, err := readConfig([]string{"--config", "nowhere.toml"}, &out); err == nil || errors.Is(err, errUsage) {
		t.Errorf("a missing file: %v", err)
	}
}
