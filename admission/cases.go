package admission

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave"
)

// The bounds of a table of cases.
const (
	MaxCases     = 256 << 10 // bytes
	maxCaseCount = 4000
)

// Case is one line of a table: a request, and what is expected of the ruling.
type Case struct {
	Line    int
	Name    string
	Request Request
	Now     time.Time
	Outcome conclave.Outcome
	Codes   []string // of the reasons, in any order
}

// Columns are those of a table of cases, beside "case" and "ruling", and what their cells may hold; "" is for the value that
// is least in favour.
//
//	level      a level's name; empty: the highest
//	grade      open, hop, sealed, guarded
//	assurance  guest, software, hardware, managed
//	statement  invalid, expired, valid
//	person     unknown, known, removed
//	role       none, invited, chair
//	let_in     no, yes
//	excepted   no, yes
//	door       chair, invited
//	state      over, early, running
//	unit       any text
//	proven     name=value, name=value, …
//	claimed    name=value, name=value, …
//	now        2026-03-02T09:30:00Z; empty: that
var Columns = []string{"level", "grade", "assurance", "statement", "person", "role", "let_in", "excepted", "door", "state", "unit", "proven", "claimed", "now"}

// caseTime is when cases are asked that do not say.
var caseTime = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

// The words for what the directory says of a person.
const (
	personUnknown = "unknown"
	personKnown   = "known"
	personRemoved = "removed"
)

func (p *Person) word() string {
	switch {
	case p.Removed:
		return personRemoved
	case p.Known:
		return personKnown
	}
	return personUnknown
}

// ParseRequest makes a request from cells by column, and says when it is asked; see Columns. levels are those of a policy.
func ParseRequest(cells map[string]string, levels Levels) (Request, time.Time, error) {
	var r Request
	now := caseTime
	r.Meeting.Level = conclave.Level(len(levels) - 1)
	for column := range cells {
		if !slices.Contains(Columns, column) {
			return r, now, fmt.Errorf("there is no %q; there are %s", column, strings.Join(Columns, ", "))
		}
	}
	for _, column := range Columns {
		cell := cells[column]
		if cell == "" {
			continue
		}
		if column == "now" {
			t, err := time.Parse(time.RFC3339, cell)
			if err != nil {
				return r, now, fmt.Errorf("now: %q is no time such as 2026-03-02T09:30:00Z", cell)
			}
			now = t
			continue
		}
		if err := setCell(&r, column, cell, levels); err != nil {
			return r, now, fmt.Errorf("%s: %w", column, err)
		}
	}
	switch cells["state"] {
	case "":
		r.Meeting.Ended = true
	case stateEarly:
		r.Meeting.From = now.Add(time.Hour)
	}
	return r, now, nil
}

func setCell(r *Request, column, cell string, levels Levels) error {
	var at int
	var err error
	switch column {
	case "level":
		if l, ok := levels.Find(cell); ok {
			r.Meeting.Level = l
			return nil
		}
		_, err = oneOf(cell, levelNames(levels)...)
	case "grade":
		at, err = oneOf(cell, gradeNames()...)
		r.Grade = conclave.Grade(at)
	case "assurance":
		at, err = oneOf(cell, assuranceNames...)
		r.Assurance = conclave.Assurance(at)
	case "statement":
		at, err = oneOf(cell, StatementInvalid.String(), StatementExpired.String(), StatementValid.String())
		r.Statement = Statement(at)
	case "person":
		at, err = oneOf(cell, personUnknown, personKnown, personRemoved)
		r.Person.Known, r.Person.Removed = at == 1, at == 2
	case "role":
		at, err = oneOf(cell, "none", "invited", "chair")
		r.Invited, r.Chair = at == 1, at == 2
	case "let_in":
		at, err = oneOf(cell, "no", "yes")
		r.LetIn = at == 1
	case "excepted":
		at, err = oneOf(cell, "no", "yes")
		r.Excepted = at == 1
	case "door":
		at, err = oneOf(cell, string(DoorChair), string(DoorInvited))
		r.Meeting.Door = []Door{DoorChair, DoorInvited}[at]
	case "state":
		at, err = oneOf(cell, stateOver, stateEarly, stateRunning)
		r.Meeting.Ended = at == 0
	case "unit":
		r.Person.Unit = cell
	case "proven", "claimed":
		var facts []conclave.Fact
		facts, err = parseFacts(cell, column == "proven")
		r.Facts = append(r.Facts, facts...)
	}
	return err
}

func oneOf(word string, words ...string) (int, error) {
	if i := slices.Index(words, word); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%q is none of %s", word, strings.Join(words, ", "))
}

func parseFacts(cell string, proven bool) ([]conclave.Fact, error) {
	var out []conclave.Fact
	for one := range strings.SplitSeq(cell, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(one), "=")
		if !ok || !codeForm.MatchString(name) || len(value) > 256 {
			return nil, fmt.Errorf("%q is not of the form name=value", strings.TrimSpace(one))
		}
		if slices.ContainsFunc(out, func(f conclave.Fact) bool { return f.Name == name }) {
			return nil, fmt.Errorf("%s stands twice", name)
		}
		out = append(out, conclave.Fact{Name: name, Value: value, Proven: proven})
	}
	if len(out) > maxFacts/2 {
		return nil, fmt.Errorf("over %d facts", maxFacts/2)
	}
	return out, nil
}

// ParseCases reads a table: cells are divided by "|", the first row names the columns, "case" and "ruling" among them. Rows
// that are empty or begin with "#" count for nothing. The row whose case is "otherwise" has no ruling: its cells hold for
// all cells that are empty in the rows below, until the next such row. A ruling is "admit", or "wait" or "refuse" with the
// codes of all reasons: "refuse: line_too_weak, device_too_weak". The error names the line of the first mistake.
func ParseCases(source []byte, levels Levels) ([]Case, error) {
	if err := levels.Check(); err != nil {
		return nil, err
	}
	if len(source) > MaxCases {
		return nil, fmt.Errorf("admission: parse cases: over %d bytes", MaxCases)
	}
	t := table{levels: levels, names: map[string]bool{}}
	number := 0
	for line := range strings.Lines(string(source)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if err := t.row(number, cells); err != nil {
			return nil, fmt.Errorf("admission: parse cases line %d: %w", number, err)
		}
	}
	if len(t.cases) == 0 {
		return nil, errors.New("admission: parse cases: there are none")
	}
	return t.cases, nil
}

// table is what was read so far.
type table struct {
	levels    Levels
	head      []string
	otherwise []string
	names     map[string]bool
	cases     []Case
}

const (
	columnCase   = "case"
	columnRuling = "ruling"
	rowOtherwise = "otherwise"
)

func (t *table) row(number int, cells []string) error {
	if t.head == nil {
		return t.setHead(cells)
	}
	if len(cells) != len(t.head) {
		return fmt.Errorf("%d cells, but %d columns", len(cells), len(t.head))
	}
	c := Case{Line: number}
	values := map[string]string{}
	var ruling string
	for i, column := range t.head {
		cell := cells[i]
		if cell == "" && t.otherwise != nil && column != columnCase && column != columnRuling {
			cell = t.otherwise[i]
		}
		switch column {
		case columnCase:
			c.Name = cell
		case columnRuling:
			ruling = cell
		default:
			values[column] = cell
		}
	}
	var err error
	if c.Request, c.Now, err = ParseRequest(values, t.levels); err != nil {
		return err
	}
	if c.Name == rowOtherwise {
		if ruling != "" {
			return errors.New("the row \"otherwise\" has no ruling")
		}
		t.otherwise = cells
		return nil
	}
	switch {
	case c.Name == "":
		return errors.New("a case needs a name")
	case t.names[c.Name]:
		return fmt.Errorf("the case %q stands twice", c.Name)
	case len(t.cases) == maxCaseCount:
		return fmt.Errorf("over %d cases", maxCaseCount)
	}
	if c.Outcome, c.Codes, err = parseRuling(ruling); err != nil {
		return err
	}
	t.names[c.Name] = true
	t.cases = append(t.cases, c)
	return nil
}

func (t *table) setHead(cells []string) error {
	for i, column := range cells {
		if slices.Contains(cells[:i], column) {
			return fmt.Errorf("the column %q stands twice", column)
		}
		if column != columnCase && column != columnRuling && !slices.Contains(Columns, column) {
			return fmt.Errorf("there is no column %q; there are case, %s, ruling", column, strings.Join(Columns, ", "))
		}
	}
	if !slices.Contains(cells, columnCase) || !slices.Contains(cells, columnRuling) {
		return errors.New("the first row names the columns, \"case\" and \"ruling\" among them")
	}
	t.head = cells
	return nil
}

// outcomeNames are in the order of conclave.Outcome.
var outcomeNames = []string{"refuse", "wait", "admit"}

func parseRuling(cell string) (conclave.Outcome, []string, error) {
	word, list, reasons := strings.Cut(cell, ":")
	at, err := oneOf(strings.TrimSpace(word), outcomeNames...)
	outcome := conclave.Outcome(at)
	if err != nil {
		return outcome, nil, fmt.Errorf("ruling: %w", err)
	}
	if reasons == (outcome == conclave.Admit) {
		return outcome, nil, errors.New("ruling: refuse and wait have the codes of their reasons behind a colon, admit has none")
	}
	var codes []string
	for code := range strings.SplitSeq(list, ",") {
		if code = strings.TrimSpace(code); reasons && !codeForm.MatchString(code) {
			return outcome, nil, fmt.Errorf("ruling: %q is no code", code)
		} else if reasons {
			codes = append(codes, code)
		}
	}
	return outcome, codes, nil
}

// RulingText returns a ruling in the form that it has in a table of cases.
func RulingText(r conclave.Ruling) string {
	if len(r.Reasons) == 0 {
		return outcomeNames[r.Outcome]
	}
	return outcomeNames[r.Outcome] + ": " + strings.Join(codesOf(r.Reasons), ", ")
}

func codesOf(reasons []conclave.Problem) []string {
	var out []string
	for _, r := range reasons {
		if !slices.Contains(out, r.Code) {
			out = append(out, r.Code)
		}
	}
	return out
}

// Want returns the expected ruling in the form that it has in the table.
func (c *Case) Want() string {
	if len(c.Codes) == 0 {
		return outcomeNames[c.Outcome]
	}
	return outcomeNames[c.Outcome] + ": " + strings.Join(c.Codes, ", ")
}

// Try rules on a case and says whether the ruling is the expected one.
func (p *Policy) Try(c *Case) (conclave.Ruling, bool) {
	got := p.Rule(c.Request, c.Now)
	codes, want := codesOf(got.Reasons), slices.Clone(c.Codes)
	slices.Sort(codes)
	slices.Sort(want)
	return got, got.Outcome == c.Outcome && slices.Equal(codes, slices.Compact(want))
}
