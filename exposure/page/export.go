package page

import (
	_ "embed"
	"html/template"
	"io"
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
	Records      []audit.Entry    `json:"records"`  // that name the person or a device of theirs
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
	Kept, Entry, Devices, Meetings                    []pair
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
	v.Lead = w.say("export_lead", "records", w.number(int64(len(e.Records))), "entries", w.number(int64(min(len(e.Entry), 1)+len(e.Devices)+len(e.Meetings))))
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
			v.Entry = append(v.Entry, pair{key, text})
		}
	}
	for _, d := range e.Devices {
		text := func(key string) string { s, _ := d[key].(string); return s }
		v.Devices = append(v.Devices, pair{text("name"), strings.Trim(text("id")+", "+text("enrolled"), ", ")})
	}
	for _, m := range e.Meetings {
		v.Meetings = append(v.Meetings, pair{m.Title, w.date(m.Opened)})
	}
	v.Columns = []string{"", w.say("export_col_time"), w.say("export_col_kind"), w.say("export_col_detail")}
	for i := range e.Records[:min(len(e.Records), maxExported)] {
		r := &e.Records[i].Record
		var detail []string
		for _, f := range r.Facts {
			detail = append(detail, f.Name+" "+f.Value)
		}
		if r.Reason != "" {
			detail = append(detail, "“"+r.Reason+"”")
		}
		kind := string(r.Kind)
		if r.Outcome != "" {
			kind += ", " + r.Outcome
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
