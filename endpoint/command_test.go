package endpoint

import (
	"slices"
	"testing"
)

func TestEveryCommandIsKnownAndNoOther(t *testing.T) {
	e := &Endpoint{commands: make(chan func(*session), commandsQueue)}
	for _, name := range Commands() {
		if err := e.Command(name, []byte("{}")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := e.Command("join", []byte(`[{"name":"alone","value":"yes"}]`)); err != nil {
		t.Error(err)
	}
	for _, c := range [][2]string{{"shout", "{}"}, {"", "{}"}, {"raise", `{"level":"high"}`}, {"pause", "["}} {
		if e.Command(c[0], []byte(c[1])) == nil {
			t.Errorf("%s %s was followed", c[0], c[1])
		}
	}
	if !slices.Contains(Commands(), "raise") {
		t.Error("raise is no command")
	}
}

func FuzzCommand(f *testing.F) {
	f.Add("raise", []byte(`{"level":2}`))
	f.Add("join", []byte(`{"facts":[{"name":"a","value":"b"}],"assertion":"e30="}`))
	f.Add("decide", []byte(`{"legs":["0011223344556677"],"admit":true}`))
	f.Add("except", []byte(`{"leg":"0011223344556677","reason":"x","minutes":5}`))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		e := &Endpoint{commands: make(chan func(*session), 1)}
		_ = e.Command(name, body)
	})
}
