package kept

import (
	"context"
	"net/http"
	"slices"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/server/reply"
)

// TracedMark is a sealed key with what the record and the directory say of its leg: one line of what conclave trace
// reads from a running server, or from a folder that was copied.
type TracedMark struct {
	Mark
	Title  string            `json:"title"` // of the meeting
	Until  time.Time         `json:"until,omitzero"`
	Device conclave.DeviceID `json:"device,omitzero"` // absent where it was erased
	Person conclave.PersonID `json:"person,omitempty"`
	Name   string            `json:"name,omitempty"`
	Grade  *conclave.Grade   `json:"grade,omitempty"`
	Facts  []conclave.Fact   `json:"facts,omitempty"`
	// Recorded says that the log has the commitment.
	Recorded bool `json:"recorded"`
}

// serveMarks gives the administrator sealed keys, one JSON value a line: of a meeting, or of all meetings with a mark of
// between since and until (RFC 3339).
func (a *Archive) serveMarks(w http.ResponseWriter, r *http.Request) {
	marks, err := a.tracedMarks(r)
	if err != nil {
		a.fail(w, "read marks", err)
		return
	}
	reply.Lines(w, marks)
}

func (a *Archive) tracedMarks(r *http.Request) ([]TracedMark, error) {
	var meeting conclave.MeetingID
	if p := r.PathValue("pointer"); p != "" {
		var err error
		if meeting, err = conclave.ParseMeetingID(p); err != nil {
			return nil, err
		}
	}
	span := func(name string) (time.Time, error) {
		v := r.URL.Query().Get(name)
		if v == "" {
			return time.Time{}, nil
		}
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return t, reply.Malformed
		}
		return t, nil
	}
	since, err := span("since")
	if err != nil {
		return nil, err
	}
	until, err := span("until")
	if err != nil {
		return nil, err
	}
	marks, err := a.marks(r.Context(), meeting)
	if err != nil {
		return nil, err
	}
	legs, err := a.legsOf(r.Context(), marks)
	if err != nil {
		return nil, err
	}
	titles := make(map[conclave.MeetingID]string)
	var out []TracedMark
	for _, m := range marks {
		t := legs[m.Leg]
		t.Mark = m
		if !until.IsZero() && m.Time.After(until) || !since.IsZero() && !t.Until.IsZero() && t.Until.Before(since) {
			continue
		}
		title, ok := titles[m.Meeting]
		if !ok {
			if known, err := a.Directory.Meeting(r.Context(), m.Meeting); err == nil {
				title = known.Title
			}
			titles[m.Meeting] = title
		}
		t.Title = title
		if err := a.whose(r.Context(), t); err != nil {
			return nil, err
		}
		out = append(out, *t)
	}
	return out, nil
}

// whose fills in the person of a leg: whom its ruling named or, where that was erased or says nothing, whom the directory has
// for its device, whether or not both are still good.
func (a *Archive) whose(ctx context.Context, t *TracedMark) error {
	device, err := a.Directory.KnownDevice(ctx, t.Device)
	known, err := identity.Found(err)
	if err != nil {
		return err
	}
	if known && t.Person == "" {
		t.Person = device.Person
	}
	if known && device.Guest != nil {
		t.Name = device.Guest.Name
		return nil
	}
	var person identity.Person
	if person, err = a.Directory.Person(ctx, t.Person); err == nil {
		t.Name = person.Name
	}
	return nil
}

// legsOf reads from the log what became of the legs whose marks are given.
func (a *Archive) legsOf(ctx context.Context, marks []Mark) (map[conclave.LegID]*TracedMark, error) {
	legs := make(map[conclave.LegID]*TracedMark, len(marks))
	commitments := make(map[conclave.LegID]string, len(marks))
	first := audit.Index(0)
	for _, m := range marks {
		legs[m.Leg], commitments[m.Leg] = new(TracedMark), string(m.Commitment)
		if first == 0 || m.Record < first {
			first = m.Record
		}
	}
	if len(marks) == 0 {
		return legs, nil
	}
	// What a leg's line was is told before it hands in its key: somewhat earlier records are read as well.
	const before, page = 2000, 1000
	from := audit.Index(1)
	if first > before {
		from = first - before
	}
	ended := make(map[conclave.MeetingID]time.Time)
	for {
		entries, err := a.Audit.Read(ctx, from, page)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			from = e.Index + 1
			if e.Record.Kind == audit.KindMeetingEnded || e.Record.Kind == audit.KindGroupDropped {
				ended[e.Record.Meeting] = e.Record.Time
			}
			if t := legs[e.Record.Leg]; t != nil {
				t.follow(&e.Record, commitments[e.Record.Leg])
			}
		}
		if len(entries) < page {
			break
		}
	}
	for _, m := range marks {
		if t := legs[m.Leg]; t.Until.IsZero() {
			t.Until = ended[m.Meeting]
		}
	}
	return legs, nil
}

// follow takes a record of the leg into account.
func (t *TracedMark) follow(r *audit.Record, commitment string) {
	switch r.Kind {
	case audit.KindMark:
		t.Recorded = string(r.Commitment) == commitment
	case audit.KindLeave, audit.KindRemoved:
		t.Until = r.Time
	}
	if r.Device != (conclave.DeviceID{}) && r.By == (conclave.LegID{}) {
		t.Device = r.Device
	}
	if r.Person != "" && r.Kind == audit.KindRuling {
		t.Person = r.Person
	}
	if r.Grade != nil && t.Until.IsZero() {
		t.Grade = r.Grade
	}
	if len(r.Facts) > 0 && t.Until.IsZero() {
		t.Facts = r.Facts
	}
}

// recordTrace writes into the log what a search for marks came to: its digest. The log's checkpoint signs it.
func (a *Archive) recordTrace(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Outcome string `json:"outcome"`
		Digest  []byte `json:"digest"`
	}
	err := reply.Read(w, r, &m)
	if err == nil && (len(m.Digest) != 32 || !slices.Contains([]string{"named", "inconclusive", "no_mark"}, m.Outcome)) {
		err = reply.Malformed
	}
	var index audit.Index
	if err == nil {
		index, err = a.Audit.Record(r.Context(), audit.Record{Kind: audit.KindInvestigation, Time: a.now(), Outcome: m.Outcome, Commitment: m.Digest})
	}
	if err != nil {
		a.fail(w, "record a trace", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Record audit.Index `json:"record"`
	}{index})
}
