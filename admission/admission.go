// Package admission decides who gets a pass. A Policy is a file in the Cedar language that an officer for security can
// read; Rule holds a request against it and returns what is decided, with every reason and its way out.
//
// The package is pure: facts and time come in, a ruling goes out. It fails closed: a request that does not fit the
// schema, an error in any rule, or a question that no permit answers is a refusal. (Cedar by itself skips a forbid whose
// evaluation fails; see Rule.)
//
// Cedar's validator lives in an experimental part of cedar-go. It is used here only, and pinned.
package admission

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"conclave"
)

// Levels are an organisation's classifications, the lowest first. A conclave.Level is an index into them.
type Levels []LevelWords

// LevelWords name a level and say how its meetings run.
type LevelWords struct {
	Name     string            // in policies and on banners, for instance "RESTRICTED"
	Words    map[string]string // by language, "de", "en", "fr"; Name stands in for those that are missing
	Start    Start             // with whom a meeting begins; empty: StartAnyone
	Cosigned bool              // a meeting opens only once a witness has cosigned the record of its opening
	Banner   Banner            // how it is marked on screens
}

// Start says with whom a meeting begins. Its text form is the constant's.
type Start string

// With whom a meeting can begin.
const (
	StartAnyone Start = "anyone"
	StartChair  Start = "chair" // who comes before the chair waits alone, and sees nobody: what is said then leaks too
)

// DefaultLevels returns the levels of an organisation that has configured none.
func DefaultLevels() Levels {
	return Levels{
		{Name: "OPEN", Words: map[string]string{"de": "OFFEN", "en": "OPEN", "fr": "OUVERT"}},
		{Name: "INTERNAL", Words: map[string]string{"de": "INTERN", "en": "INTERNAL", "fr": "INTERNE"}},
		{Name: "RESTRICTED", Words: map[string]string{"de": "VS-NUR FÜR DEN DIENSTGEBRAUCH", "en": "RESTRICTED", "fr": "DIFFUSION RESTREINTE"}, Start: StartChair},
		{Name: "CONFIDENTIAL", Words: map[string]string{"de": "VS-VERTRAULICH", "en": "CONFIDENTIAL", "fr": "CONFIDENTIEL"}, Start: StartChair},
	}
}

// Find returns the level of that name.
func (l Levels) Find(name string) (conclave.Level, bool) {
	for i := range l {
		if l[i].Name == name {
			return conclave.Level(i), true
		}
	}
	return 0, false
}

// Name returns the name of a level, "" if there is none.
func (l Levels) Name(level conclave.Level) string {
	if int(level) >= len(l) {
		return ""
	}
	return l[level].Name
}

// StartsWithChair says whether meetings of a level begin with their chair.
func (l Levels) StartsWithChair(level conclave.Level) bool {
	return int(level) < len(l) && l[level].Start == StartChair
}

// Cosigned says whether a meeting of a level opens only with a witness's word on its record. So it is for a level that does
// not exist.
func (l Levels) Cosigned(level conclave.Level) bool {
	return int(level) >= len(l) || l[level].Cosigned
}

// Check refuses lists that a policy could not speak of.
func (l Levels) Check() error {
	if len(l) == 0 || len(l) > 16 {
		return errors.New("admission: levels: want 1 to 16")
	}
	for i := range l {
		if len(l[i].Name) == 0 || len(l[i].Name) > 64 || strings.ContainsFunc(l[i].Name, func(r rune) bool { return r < ' ' }) {
			return errors.New("admission: levels: a name is empty or too long")
		}
		if s := l[i].Start; s != "" && s != StartAnyone && s != StartChair {
			return fmt.Errorf("admission: levels: a meeting starts with \"anyone\" or with the \"chair\", not with %q", s)
		}
		if first, _ := l.Find(l[i].Name); int(first) != i {
			return errors.New("admission: levels: a name stands twice")
		}
	}
	return l.checkBanners()
}

// Door says who decides at a meeting's door. Its text form is the constant's.
type Door string

// The doors of a meeting.
const (
	DoorInvited Door = "invited" // who is invited walks in
	DoorChair   Door = "chair"   // the chair lets each one in
)

// Statement says what was found of a device statement. The zero value is the worst.
type Statement uint8

// What can be found of a statement.
const (
	StatementInvalid Statement = iota // absent, unreadable, not signed by the organisation, or another device's
	StatementExpired                  // good but for its time
	StatementValid
)

// StatementOf says what the error of pass.Trust.Statement means here; nil is valid.
func StatementOf(err error) Statement {
	var p conclave.Problem
	switch {
	case err == nil:
		return StatementValid
	case errors.As(err, &p) && p.Code == "statement_expired":
		return StatementExpired
	}
	return StatementInvalid
}

// Request is all that a ruling rests on. The zero value of each field is the one least in favour.
type Request struct {
	Person    Person
	Meeting   Meeting
	Invited   bool               // the person is on the meeting's list
	Chair     bool               // the person chairs the meeting
	LetIn     bool               // the chair has decided to let this leg in
	Excepted  bool               // two persons have made an exception for this leg, and it has not ended
	Statement Statement          // what was found of the device statement
	Assurance conclave.Assurance // of the device, from a valid statement
	Grade     conclave.Grade     // of the line, as are the facts: package line
	Facts     []conclave.Fact
}

// Person is what the directory says of who asks.
type Person struct {
	ID      conclave.PersonID
	Known   bool // stands in the directory
	Removed bool // stood there once
	Unit    string
}

// Meeting is what is asked for. For a meeting that does not exist, rule with its zero value and nobody invited: the
// answer is the same as for one that the person is not invited to.
type Meeting struct {
	ID    conclave.MeetingID
	Level conclave.Level
	Door  Door      // empty: DoorChair
	From  time.Time // zero: since ever
	Until time.Time // zero: until Ended
	Ended bool
}

// The states of a meeting, as policies call them.
const (
	stateEarly   = "early"
	stateRunning = "running"
	stateOver    = "over"
)

func (m *Meeting) state(now time.Time) string {
	switch {
	case m.Ended, !m.Until.IsZero() && !now.Before(m.Until):
		return stateOver
	case !m.From.IsZero() && now.Before(m.From):
		return stateEarly
	}
	return stateRunning
}

//go:embed default.cedar
var defaultPolicy []byte

//go:embed default.cases
var defaultCases []byte

//go:embed schema.cedarschema
var schemaSource []byte

// DefaultPolicy returns the text of the policy that Conclave comes with. It speaks of the DefaultLevels.
func DefaultPolicy() []byte { return append([]byte(nil), defaultPolicy...) }

// DefaultCases returns the table of cases that the default policy is held against; see ParseCases.
func DefaultCases() []byte { return append([]byte(nil), defaultCases...) }
