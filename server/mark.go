package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/roster"
	"conclave/server/reply"
	"conclave/signal"
	"conclave/store"
)

// Marks: each leg draws the key with which it marks what it plays, and hands it in sealed. The server commits to it in the
// log and keeps it; it can neither read it nor put another in its place.

const (
	// markPrefix is where the keys lie: mark.<meeting>.<leg>.
	markPrefix = "mark"
	// markSealed is the size of a sealed key: 16 bytes and what sealing adds (package escrow).
	markSealed = 16 + 1088 + 65 + 16
)

// What is proven of a leg's mark: its key's commitment stands in the record, or it asks for media without one.
const (
	keyCommitted = "committed"
	keyMissing   = "missing"
)

var problemMark = conclave.Problem{Code: "mark_refused", Fix: "update_client"}

// Mark is a leg's sealed key as it is kept. It names no person: whose a device is, the directory says.
type Mark struct {
	Meeting    conclave.MeetingID `json:"meeting"`
	Leg        conclave.LegID     `json:"leg"`
	Time       time.Time          `json:"time"`   // when it was handed in
	Record     audit.Index        `json:"record"` // where its commitment stands
	Commitment []byte             `json:"commitment"`
	Sealed     []byte             `json:"sealed"`
}

func markKey(meeting conclave.MeetingID, leg conclave.LegID) store.Key {
	return store.Key(fmt.Sprintf("%s.%s.%s", markPrefix, meeting.Text(), leg.Text()))
}

// mark keeps the key that a leg hands in, once for each leg: the same again is taken for delivered, another is refused.
func (r *room) mark(leg roster.Leg, m *signal.Mark) error {
	if leg.Standing == roster.Waiting {
		return problemTurn
	}
	if len(m.Sealed) != markSealed {
		return problemMark
	}
	key := markKey(r.meeting.ID, leg.ID)
	switch old, err := r.cfg.Store.Get(r.ctx, key); {
	case err == nil:
		var kept Mark
		if json.Unmarshal(old.Value, &kept) == nil && string(kept.Sealed) == string(m.Sealed) && string(kept.Commitment) == string(m.Commitment) {
			r.committed(leg.ID)
			return nil
		}
		return problemMark
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	now := r.now()
	var index audit.Index
	err := r.await(func() (err error) {
		index, err = r.audit.Record(r.ctx, audit.Record{Kind: audit.KindMark, Time: now, Meeting: r.meeting.ID, Leg: leg.ID, Device: leg.Device, Grade: &leg.Grade,
			Commitment: m.Commitment, Size: uint64(len(m.Sealed))})
		return err
	})
	if err != nil {
		return err
	}
	value, err := json.Marshal(Mark{Meeting: r.meeting.ID, Leg: leg.ID, Time: now, Record: index, Commitment: m.Commitment, Sealed: m.Sealed})
	if err != nil {
		return err
	}
	if _, err := r.cfg.Store.Create(r.ctx, key, value); err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("server: keep a mark: %w", err)
	}
	r.committed(leg.ID)
	return nil
}

// committed notes that a leg's key is committed to. A leg that was ruled on as one without is ruled anew.
func (r *room) committed(id conclave.LegID) {
	s := r.seats[id]
	if s == nil || s.asker.mark == keyCommitted {
		return
	}
	before := s.asker.mark
	s.asker.mark = keyCommitted
	if before == keyMissing {
		r.ruleAnew(id)
	}
}

// uncommitted rules anew on a leg that asks for media before it has handed in its mark's key, where the organisation wants
// marks: it hears nothing before policy has looked at that.
func (r *room) uncommitted(id conclave.LegID) {
	s := r.seats[id]
	if s == nil || s.asker.mark != "" || r.cfg.Organisation.Investigation() == nil {
		return
	}
	s.asker.mark = keyMissing
	r.ruleAnew(id)
}

// Marks returns the sealed keys of a meeting, or with the zero meeting of all, by time.
func Marks(ctx context.Context, st store.Store, meeting conclave.MeetingID) ([]Mark, error) {
	prefix := store.Key(markPrefix)
	if meeting != (conclave.MeetingID{}) {
		prefix += store.Key("." + meeting.Text())
	}
	entries, err := st.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("server: read marks: %w", err)
	}
	out := make([]Mark, 0, len(entries))
	for _, e := range entries {
		var m Mark
		if json.Unmarshal(e.Value, &m) != nil || !strings.HasSuffix(string(e.Key), "."+m.Leg.Text()) {
			return nil, errors.New("server: a mark cannot be read")
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Mark) int { return cmp.Or(a.Time.Compare(b.Time), slices.Compare(a.Leg[:], b.Leg[:])) })
	return out, nil
}

// dropMarks deletes the sealed keys of a meeting that were handed in before a moment, once record has written how many there are.
func dropMarks(ctx context.Context, st store.Store, meeting conclave.MeetingID, before time.Time, record func(n int) error) (int, error) {
	marks, err := Marks(ctx, st, meeting)
	if err != nil {
		return 0, err
	}
	marks = slices.DeleteFunc(marks, func(m Mark) bool { return !m.Time.Before(before) })
	if len(marks) == 0 {
		return 0, nil
	}
	if err := record(len(marks)); err != nil {
		return 0, err
	}
	for _, m := range marks {
		if err := st.Delete(ctx, markKey(meeting, m.Leg)); err != nil {
			return 0, fmt.Errorf("server: delete marks: %w", err)
		}
	}
	return len(marks), nil
}

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
func (s *Server) serveMarks(w http.ResponseWriter, r *http.Request) {
	marks, err := s.tracedMarks(r)
	if err != nil {
		s.fail(w, "read marks", err)
		return
	}
	reply.Lines(w, marks)
}

func (s *Server) tracedMarks(r *http.Request) ([]TracedMark, error) {
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
	marks, err := Marks(r.Context(), s.cfg.Store, meeting)
	if err != nil {
		return nil, err
	}
	legs, err := s.legsOf(r.Context(), marks)
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
			if known, err := s.directory.Meeting(r.Context(), m.Meeting); err == nil {
				title = known.Title
			}
			titles[m.Meeting] = title
		}
		t.Title = title
		if err := s.whose(r.Context(), t); err != nil {
			return nil, err
		}
		out = append(out, *t)
	}
	return out, nil
}

// whose fills in the person of a leg: whom its ruling named or, where that was erased or says nothing, whom the directory has
// for its device, whether or not both are still good.
func (s *Server) whose(ctx context.Context, t *TracedMark) error {
	device, err := s.directory.KnownDevice(ctx, t.Device)
	known, err := found(err)
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
	if person, err = s.directory.Person(ctx, t.Person); err == nil {
		t.Name = person.Name
	}
	return nil
}

// legsOf reads from the log what became of the legs whose marks are given.
func (s *Server) legsOf(ctx context.Context, marks []Mark) (map[conclave.LegID]*TracedMark, error) {
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
		entries, err := s.audit.Read(ctx, from, page)
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
func (s *Server) recordTrace(w http.ResponseWriter, r *http.Request) {
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
		index, err = s.audit.Record(r.Context(), audit.Record{Kind: audit.KindInvestigation, Time: s.now(), Outcome: m.Outcome, Commitment: m.Digest})
	}
	if err != nil {
		s.fail(w, "record a trace", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Record audit.Index `json:"record"`
	}{index})
}
