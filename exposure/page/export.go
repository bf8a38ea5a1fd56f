package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave/audit"
)

//go:embed export.html
var exportSource string

var exportTemplate = template.Must(template.Must(reportTemplate.Clone()).New("export").Parse(exportSource))

// Export is all that is kept on a person.
type Export struct {
	Organisation string           `json:"organisation"`
	Person       string           `json:"person"`
	Name         string           `json:"name,omitempty"`
	Made         time.Time        `json:"made"`
	Entry        map[string]any   `json:"entry"` // in the directory
	Devices      []map[string]any `json:"devices"`
	Meetings     []ExportMeeting  `json:"meetings"` // that name the person
	Records      []audit.Entry    `json:"records"`  // that name the person or a device of theirs, or are of what they did
	Stored       []ExportStored   `json:"stored"`   // what the store holds besides
	Logged       []ExportLogged   `json:"logged"`   // in the device log
	Kept         ExportKept       `json:"kept"`
	Record       audit.Index      `json:"record,omitempty"` // that this was made
}

// ExportMeeting is a meeting on whose list the person stands.
type ExportMeeting struct {
	Meeting string    `json:"meeting"`
	Title   string    `json:"title"`
	Chair   bool      `json:"chair"`
	Opened  time.Time `json:"opened"`
}

// ExportStored is a value of the store. What is sealed, or holds others too, is told without its content.
type ExportStored struct {
	Kind    string    `json:"kind"`
	Written time.Time `json:"written,omitzero"`
	Meeting string    `json:"meeting,omitempty"`
	Leg     string    `json:"leg,omitempty"`
	Device  string    `json:"device,omitempty"`
	Minute  *uint32   `json:"minute,omitempty"`
	Octets  int       `json:"octets"`
	Content any       `json:"content,omitempty"`
}

// ExportLogged is an entry of the device log.
type ExportLogged struct {
	Entry  audit.Index `json:"entry"`
	Kind   string      `json:"kind"`
	Device string      `json:"device"`
}

// ExportKept says for how many days what is kept; 0: as long as the log itself.
type ExportKept struct {
	Personal uint32 `json:"personal_days"`
	Ledgers  uint32 `json:"ledgers_days"`
	Marks    uint32 `json:"marks_days"`
}

// maxExported is how many records the page shows; the JSON has all.
const maxExported = 2000

type exportView struct {
	top
	Kick, Lead, None, More, Made                      string
	EntryHead, DevicesHead, MeetingsHead, RecordsHead string
	StoredHead                                        string
	Kept, Entry, Devices, Meetings, Stored            []pair
	Columns                                           []string
	Records                                           []exportedRecord
}

type exportedRecord struct{ No, Time, Kind, Detail string }

// Person draws all that is kept on a person, for that person.
func Person(out io.Writer, e *Export, o Options) error {
	w := newWords(o.Language, o.Zone)
	name := e.Name
	if name == "" {
		name = e.Person
	}
	v := &exportView{top: top{Lang: w.lang, Style: styles(o.Fonts), Title: w.say("export_title", "name", name)}}
	v.Style += printed(w, "")
	v.Kick = w.say("export_kick", "organisation", e.Organisation, "date", w.date(e.Made))
	v.Lead = w.say("export_lead", "records", w.number(int64(len(e.Records))), "entries", w.number(int64(min(len(e.Entry), 1)+len(e.Devices)+len(e.Meetings)+len(e.Stored)+len(e.Logged))))
	days := func(n uint32) string {
		if n == 0 {
			return w.say("export_forever")
		}
		return w.count("export_days", int(n))
	}
	v.Kept = []pair{{w.say("export_kept_records"), days(e.Kept.Personal)}, {w.say("export_kept_ledgers"), days(e.Kept.Ledgers)}, {w.say("export_kept_marks"), days(e.Kept.Marks)}}
	v.EntryHead, v.DevicesHead, v.MeetingsHead, v.RecordsHead, v.None = w.say("export_entry"), w.say("export_devices"), w.say("export_meetings"), w.say("export_records"), w.say("export_none")
	for _, key := range []string{"id", "name", "unit", "phone", "added", "removed"} {
		if text, ok := e.Entry[key].(string); ok && text != "" {
			v.Entry = append(v.Entry, pair{w.say("export_" + key), text})
		}
	}
	for _, d := range e.Devices {
		text := func(key string) string { s, _ := d[key].(string); return s }
		parts := []string{text("id"), text("enrolled")}
		if at, err := time.Parse(time.RFC3339, text("enrolled")); err == nil {
			parts[1] = w.say("export_enrolled", "date", w.date(at)+", "+w.clock(at))
		}
		if link, ok := d["link"].(map[string]any); ok {
			for _, key := range []string{"by", "use"} {
				if code, _ := link[key].(string); code != "" {
					parts = append(parts, w.first(code, "export_link_"))
				}
			}
		}
		v.Devices = append(v.Devices, pair{text("name"), strings.Trim(strings.Join(parts, ", "), ", ")})
	}
	for _, m := range e.Meetings {
		v.Meetings = append(v.Meetings, pair{m.Title, w.date(m.Opened)})
	}
	v.StoredHead, v.Stored = w.say("export_stored"), stored(w, e)
	v.Columns = []string{"", w.say("export_col_time"), w.say("export_col_kind"), w.say("export_col_detail")}
	for i := range e.Records[:min(len(e.Records), maxExported)] {
		r := &e.Records[i].Record
		var detail []string
		for _, f := range r.Facts {
			detail = append(detail, w.first(f.Name, "name_", "record_name_")+" "+w.value(f.Value))
		}
		if r.Reason != "" {
			detail = append(detail, w.say("export_quoted", "text", r.Reason))
		}
		kind := w.first(string(r.Kind), "kind_")
		if r.Outcome != "" {
			kind += ", " + w.first(r.Outcome, "outcome_")
		}
		v.Records = append(v.Records, exportedRecord{strconv.FormatUint(uint64(e.Records[i].Index), 10), w.date(r.Time) + ", " + w.clock(r.Time), kind, strings.Join(detail, ", ")})
	}
	if n := len(e.Records) - maxExported; n > 0 {
		v.More = w.say("export_more", "n", w.number(int64(n)))
	}
	if e.Record != 0 {
		v.Made = w.say("export_made", "n", w.number(int64(e.Record)))
	}
	return exportTemplate.ExecuteTemplate(out, "export", v)
}

// stored sums up by kind what the store holds: hundreds of minutes are no reading. The JSON has each.
func stored(w *words, e *Export) (out []pair) {
	type sum struct {
		n           int
		first, last time.Time
		said        []string
	}
	sums, order := map[string]*sum{}, []string{}
	for i := range e.Stored {
		one := &e.Stored[i]
		s := sums[one.Kind]
		if s == nil {
			s = &sum{first: one.Written, last: one.Written}
			sums[one.Kind], order = s, append(order, one.Kind)
		}
		s.n++
		if one.Written.Before(s.first) {
			s.first = one.Written
		}
		if one.Written.After(s.last) {
			s.last = one.Written
		}
		if text := said(one.Content, e.Person); text != "" && len(s.said) < maxSaid {
			s.said = append(s.said, text)
		}
	}
	for _, kind := range order {
		s := sums[kind]
		text := w.count("export_stored_n", s.n, "from", w.date(s.first), "to", w.date(s.last))
		if len(s.said) > 0 {
			text += ": " + strings.Join(s.said, "; ")
		}
		out = append(out, pair{w.say("stored_" + kind), text})
	}
	if n := len(e.Logged); n > 0 {
		out = append(out, pair{w.say("stored_devices"), w.count("export_logged", n)})
	}
	return out
}

// said is what a value says, as text: its names and values in order, but for the person whose page it is.
func said(v any, person string) string {
	switch v := v.(type) {
	case map[string]any:
		var out []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			text := said(v[name], person)
			if name == "person" && text == person || text == "" {
				continue
			}
			if _, plain := v[name].(string); plain || !strings.Contains(text, " ") {
				text = name + " " + text
			}
			out = append(out, text)
		}
		return strings.Join(out, ", ")
	case []any:
		var out []string
		for _, one := range v {
			if text := said(one, person); text != "" {
				out = append(out, text)
			}
		}
		return strings.Join(out, "; ")
	case nil:
		return ""
	}
	return fmt.Sprint(v)
}

// maxSaid is of how many values of a kind the page shows the content.
const maxSaid = 8
