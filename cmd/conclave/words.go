package main

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"conclave"
)

// The words for problems: one line each, code|fix|sentence|what to do. The web client has them in more languages.
//
//go:embed problems.txt
var problemsText string

type wording struct{ fix, sentence, remedy string }

// wordings by problem code, and by "fix:" and the code of a fix.
var wordings = sync.OnceValue(func() map[string]wording {
	out := make(map[string]wording)
	for line := range strings.Lines(problemsText) {
		part := strings.Split(strings.TrimSpace(line), "|")
		if len(part) != 4 {
			continue
		}
		out[part[0]] = wording{part[1], part[2], part[3]}
		if _, ok := out["fix:"+part[1]]; !ok {
			out["fix:"+part[1]] = wording{remedy: part[3]}
		}
	}
	return out
})

// word says a problem to a person: what is wrong, and the way out.
func word(p conclave.Problem) string {
	w, ok := wordings()[p.Code]
	if !ok {
		w = wording{p.Fix, "Something is wrong (" + plain(p.Code) + ").", wordings()["fix:"+p.Fix].remedy}
	}
	if other, ok := wordings()["fix:"+p.Fix]; ok && p.Fix != w.fix {
		w.remedy = other.remedy
	}
	text := w.sentence
	if w.remedy != "" {
		text += " " + w.remedy
	}
	for name, value := range p.Args {
		if at, err := time.Parse(time.RFC3339, value); err == nil && name == "date" {
			value = at.Local().Format(time.DateOnly)
		}
		text = strings.ReplaceAll(text, "{"+name+"}", plain(value))
	}
	return text
}

// plain is text of a server as it may go to a terminal: on one line, and no command to it. A server could else write
// sentences in our name, a security code among them.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// explain words an error: the problem in it if there is one, else its own text.
func explain(err error) string {
	var p conclave.Problem
	if errors.As(err, &p) {
		return word(p)
	}
	return fmt.Sprint(err)
}
