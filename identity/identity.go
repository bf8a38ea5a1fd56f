// Package identity knows the organisation's people, their devices and its meetings, and holds its working keys. A person
// gets a one-time link; with it one device is enrolled: its key proves that it is there, and gets a device statement that
// names the person, to be renewed every few days. It does not decide who may join what (package admission).
//
// What it keeps stands in the store under the prefixes person, device, token and meeting, one JSON value each. Every change
// that matters to an investigation is recorded before it is made (package audit).
package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"conclave"
	"conclave/audit"
	"conclave/store"
)

// Limits of what the directory takes.
const (
	maxName   = 128 // bytes of a person's, unit's, device's or meeting's name; a statement's limit (package pass)
	maxPeople = 1000
	maxAhead  = 400 * 24 * time.Hour // how far in the future a meeting may lie
)

// Person is a human known to the organisation.
type Person struct {
	ID   conclave.PersonID `json:"id"` // [a-z0-9] first, then also . _ -; at most 64 bytes
	Name string            `json:"name"`
	Unit string            `json:"unit"`
	// Phone is the number ("+4930…") or SIP address at which the gateway may ring the person; "" for none.
	Phone string    `json:"phone,omitempty"`
	Added time.Time `json:"added"`
	// Removed is when the person was struck off; nil: they stand there.
	Removed *time.Time `json:"removed,omitempty"`
}

// Door says who decides on invited people whose line is good enough.
type Door string

// The doors.
const (
	DoorInvited Door = "invited" // nobody: they walk in
	DoorChair   Door = "chair"   // the chair, on each of them
)

// Meeting is a meeting as it was called.
type Meeting struct {
	ID     conclave.MeetingID  `json:"id"`
	Title  string              `json:"title"`
	Level  conclave.Level      `json:"level"`
	Chair  conclave.PersonID   `json:"chair"`
	People []conclave.PersonID `json:"people"` // invited, the chair among them
	Door   Door                `json:"door"`
	From   time.Time           `json:"from,omitzero"`  // nobody comes in before; zero: since ever
	Until  time.Time           `json:"until,omitzero"` // it is over then; never zero in what the directory returns
	Opened time.Time           `json:"opened"`
	Ended  *time.Time          `json:"ended,omitempty"`
}

// Invited says whether a person stands on the list.
func (m *Meeting) Invited(person conclave.PersonID) bool {
	for _, p := range m.People {
		if p == person {
			return true
		}
	}
	return false
}

// Lengths bound meetings: none goes on for ever, and a link that was forgotten opens nothing.
type Lengths struct {
	Usual   time.Duration // of a meeting that is opened without an end; zero: UsualLength, or Longest if that is shorter
	Longest time.Duration // from its beginning; zero: LongestLength
}

// What holds where nothing else is configured. A day is longer than any conversation, and a month than a series of them that
// nobody looks at again.
const (
	UsualLength   = 24 * time.Hour
	LongestLength = 31 * 24 * time.Hour
)

// Check says whether l is in order.
func (l Lengths) Check() error {
	full := l.full()
	if l.Usual < 0 || l.Longest < 0 || full.Longest > maxAhead || full.Usual > full.Longest {
		return fmt.Errorf("identity: a meeting's usual length may not be over the longest, nor that over %v", maxAhead)
	}
	return nil
}

// full is l with what holds where it says nothing.
func (l Lengths) full() Lengths {
	if l.Longest == 0 {
		l.Longest = LongestLength
	}
	if l.Usual == 0 {
		l.Usual = min(UsualLength, l.Longest)
	}
	return l
}

// Directory is the organisation's directory. It may be used by several goroutines.
type Directory struct {
	store        store.Store
	organisation *Organisation
	record       audit.Recorder
	rules        Rules
	lengths      Lengths
	certificates certificates

	logMu sync.Mutex
	log   *DeviceLog // guarded by logMu; nil until it is first asked for
}

// NewDirectory returns the directory that st holds.
func NewDirectory(st store.Store, o *Organisation, record audit.Recorder) *Directory {
	return &Directory{store: st, organisation: o, record: record}
}

// SetLengths bounds the meetings that are opened from now on. Call it before the directory is used.
func (d *Directory) SetLengths(l Lengths) { d.lengths = l }

func problem(code, fix string) conclave.Problem { return conclave.Problem{Code: code, Fix: fix} }

// AddPerson enters a person, or changes the name and unit of one who is there. One who was struck off is back then, without
// the devices of before. Errors hold a conclave.Problem where the
// caller can mend it.
func (d *Directory) AddPerson(ctx context.Context, p Person, now time.Time) error {
	if !goodID(string(p.ID)) || reserved(p.ID) {
		return problem("person_id", "choose_other_id")
	}
	if !goodText(p.Name) || p.Name == "" || !goodText(p.Unit) {
		return problem("person_name", "choose_other_name")
	}
	if !goodPhone(p.Phone) {
		return problem("person_phone", "choose_other_number")
	}
	p.Added, p.Removed = now.UTC(), nil
	if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindPersonAdded, Time: now.UTC(), Person: p.ID}); err != nil {
		return err
	}
	return d.put(ctx, personKey(p.ID), p)
}

// RemovePerson strikes a person off: their devices are revoked, no link is issued to them and no statement renewed. It
// returns the devices that were revoked now. Rulings from now on refuse the person even where a device was missed, for
// instance one that was being enrolled at the same moment.
func (d *Directory) RemovePerson(ctx context.Context, id conclave.PersonID, now time.Time) ([]conclave.DeviceID, error) {
	p, err := d.Person(ctx, id)
	if err != nil {
		return nil, err
	}
	if p.Removed == nil {
		at := now.UTC()
		p.Removed = &at
		if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindPersonRemoved, Time: at, Person: id}); err != nil {
			return nil, err
		}
		if err := d.put(ctx, personKey(id), p); err != nil {
			return nil, err
		}
	}
	devices, err := d.Devices(ctx, id)
	if err != nil {
		return nil, err
	}
	var revoked []conclave.DeviceID
	var failed []error // of one: the others are revoked all the same
	for _, device := range devices {
		if err := d.RevokeDevice(ctx, device.ID, now); err != nil {
			failed = append(failed, err)
		}
		if device.Revoked == nil {
			revoked = append(revoked, device.ID)
		}
	}
	return revoked, errors.Join(failed...)
}

// active is Person for one who stands in the directory, or a Problem person_removed.
func (d *Directory) active(ctx context.Context, id conclave.PersonID) (Person, error) {
	p, err := d.Person(ctx, id)
	if err == nil && p.Removed != nil {
		err = problem("person_removed", "ask_administrator")
	}
	return p, err
}

// Found tells a directory's "no" from its failure.
func Found(err error) (bool, error) {
	var p conclave.Problem
	if err != nil && !errors.As(err, &p) {
		return false, err
	}
	return err == nil, nil
}

// Person returns a person, one who was struck off too, or a Problem person_unknown.
func (d *Directory) Person(ctx context.Context, id conclave.PersonID) (Person, error) {
	var p Person
	if !goodID(string(id)) {
		return p, problem("person_unknown", "ask_administrator")
	}
	_, err := d.get(ctx, personKey(id), &p)
	if errors.Is(err, store.ErrNotFound) {
		return p, problem("person_unknown", "ask_administrator")
	}
	return p, err
}

// People lists all people, those who were removed too, by their ids.
func (d *Directory) People(ctx context.Context) ([]Person, error) {
	entries, err := d.store.List(ctx, "person")
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	people := []Person{}
	for _, e := range entries {
		var p Person
		if err := json.Unmarshal(e.Value, &p); err != nil {
			return nil, fmt.Errorf("identity: a stored value cannot be read: %v", err)
		}
		people = append(people, p)
	}
	slices.SortFunc(people, func(a, b Person) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return people, nil
}

// OpenMeeting enters a meeting under a fresh pointer. Title, Level, Chair, People, Door, From and Until are the caller's;
// the chair is invited in any case, and without Until it ends as the directory's lengths say, from From or now on.
func (d *Directory) OpenMeeting(ctx context.Context, m Meeting, rand io.Reader, now time.Time) (Meeting, error) {
	if !goodText(m.Title) || m.Title == "" {
		return m, problem("meeting_title", "choose_other_name")
	}
	if m.Door != DoorInvited && m.Door != DoorChair {
		return m, problem("meeting_door", "choose_door")
	}
	lengths, begins := d.lengths.full(), now
	if m.From.After(now) {
		begins = m.From
	}
	if m.Until.IsZero() {
		m.Until = begins.Add(lengths.Usual)
	}
	switch {
	case !m.Until.After(begins), begins.Sub(now) > maxAhead:
		return m, problem("meeting_time", "choose_time")
	case m.Until.Sub(begins) > lengths.Longest:
		return m, conclave.Problem{Code: "meeting_long", Args: map[string]string{"hours": strconv.Itoa(int(lengths.Longest.Hours()))}, Fix: "choose_end"}
	}
	m.From, m.Until = m.From.UTC(), m.Until.UTC()
	if len(m.People) > maxPeople {
		return m, problem("meeting_people", "invite_fewer")
	}
	if !m.Invited(m.Chair) {
		m.People = append(m.People, m.Chair)
	}
	for _, id := range m.People {
		if _, err := d.active(ctx, id); err != nil {
			return m, err
		}
	}
	var err error
	if m.ID, err = conclave.NewMeetingID(rand); err != nil {
		return m, fmt.Errorf("identity: draw a pointer: %w", err)
	}
	m.Opened, m.Ended = now.UTC(), nil
	if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindMeetingOpened, Time: m.Opened, Meeting: m.ID, Level: &m.Level,
		Person: m.Chair, People: m.People, Until: m.Until}); err != nil {
		return m, err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return m, fmt.Errorf("identity: %w", err)
	}
	if _, err := d.store.Create(ctx, meetingKey(m.ID), b); err != nil {
		return m, fmt.Errorf("identity: %w", err)
	}
	return m, nil
}

// Meeting returns a meeting, or a Problem meeting_unknown.
func (d *Directory) Meeting(ctx context.Context, id conclave.MeetingID) (Meeting, error) {
	var m Meeting
	_, err := d.get(ctx, meetingKey(id), &m)
	if errors.Is(err, store.ErrNotFound) {
		return m, problem("meeting_unknown", "check_link")
	}
	d.bound(&m)
	return m, err
}

// bound gives an end to a meeting that was opened before every meeting had one.
func (d *Directory) bound(m *Meeting) {
	if m.Until.IsZero() && !m.Opened.IsZero() {
		m.Until = m.Opened.Add(d.lengths.full().Longest)
		if m.From.After(m.Opened) {
			m.Until = m.From.Add(d.lengths.full().Longest)
		}
	}
}

// Meetings returns all meetings, those that are over among them, the newest first.
func (d *Directory) Meetings(ctx context.Context) ([]Meeting, error) {
	entries, err := d.store.List(ctx, "meeting")
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	meetings := []Meeting{}
	for _, e := range entries {
		var m Meeting
		if err := json.Unmarshal(e.Value, &m); err != nil {
			return nil, fmt.Errorf("identity: a stored value cannot be read: %v", err)
		}
		d.bound(&m)
		meetings = append(meetings, m)
	}
	slices.SortFunc(meetings, func(a, b Meeting) int { return b.Opened.Compare(a.Opened) })
	return meetings, nil
}

// EndMeeting marks a meeting as over. It does not put anybody out.
func (d *Directory) EndMeeting(ctx context.Context, id conclave.MeetingID, now time.Time) error {
	recorded := false
	return d.changeMeeting(ctx, id, func(m *Meeting) (bool, error) {
		if m.Ended != nil {
			return false, nil
		}
		at := now.UTC()
		m.Ended = &at
		if recorded {
			return true, nil
		}
		recorded = true
		_, err := d.record.Record(ctx, audit.Record{Kind: audit.KindMeetingEnded, Time: at, Meeting: id})
		return true, err
	})
}

// RaiseMeeting raises a meeting's level. There is no way down, and none back from its end: both are refused.
func (d *Directory) RaiseMeeting(ctx context.Context, id conclave.MeetingID, level conclave.Level) error {
	return d.changeMeeting(ctx, id, func(m *Meeting) (bool, error) {
		switch {
		case m.Ended != nil:
			return false, problem("meeting_over", "ask_chair_for_meeting")
		case level < m.Level:
			return false, problem("level_not_higher", "open_new_meeting")
		}
		m.Level = level
		return true, nil
	})
}

// changeMeeting writes what change makes of a meeting over what it read: of two changes at once none undoes the other.
// change says whether there is anything to write; it may be called again.
func (d *Directory) changeMeeting(ctx context.Context, id conclave.MeetingID, change func(*Meeting) (bool, error)) error {
	for {
		var m Meeting
		revision, err := d.get(ctx, meetingKey(id), &m)
		if errors.Is(err, store.ErrNotFound) {
			return problem("meeting_unknown", "check_link")
		}
		if err != nil {
			return err
		}
		write, err := change(&m)
		if err != nil || !write {
			return err
		}
		if err := d.putOver(ctx, meetingKey(id), m, revision); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func (d *Directory) get(ctx context.Context, key store.Key, v any) (store.Revision, error) {
	e, err := d.store.Get(ctx, key)
	if err != nil {
		return 0, fmt.Errorf("identity: %w", err)
	}
	if err := json.Unmarshal(e.Value, v); err != nil {
		return 0, fmt.Errorf("identity: a stored value cannot be read: %v", err)
	}
	return e.Revision, nil
}

func (d *Directory) put(ctx context.Context, key store.Key, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if _, err := d.store.Put(ctx, key, b); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// putOver writes v over the revision that was read, or returns store.ErrConflict.
func (d *Directory) putOver(ctx context.Context, key store.Key, v any, revision store.Revision) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if _, err := d.store.CompareAndPut(ctx, key, b, revision); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// reserved keeps ids that we give to those who stand in no directory: a colleague shall never look like one of them.
func reserved(id conclave.PersonID) bool {
	return strings.HasPrefix(string(id), guestPrefix) || strings.HasPrefix(string(id), "gateway.")
}

func personKey(id conclave.PersonID) store.Key   { return "person." + store.Key(id) }
func meetingKey(id conclave.MeetingID) store.Key { return "meeting." + store.Key(id.Text()) }
func deviceKey(id conclave.DeviceID) store.Key   { return "device." + store.Key(id.Text()) }

// goodID takes ids that are words of the store's keys: dots part them, so none may be empty.
func goodID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	dot := true // before the first: none may stand there
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-':
			dot = false
		case c == '.' && !dot:
			dot = true
		default:
			return false
		}
	}
	return !dot
}

// goodText takes what may stand in a statement: short, valid, nothing that moves the cursor.
func goodText(s string) bool {
	if len(s) > maxName || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
