package exposure

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/merkle"
)

// Index is what Damage needs of all meetings, so that a question over ten thousand of them does not read millions of
// records each time. It follows a log: records are added once, in order, and their hashes with them, so that what it was
// made of can be held against a signed checkpoint. It holds personal data as the records do: an erasure makes it void.
type Index struct {
	Edge     *merkle.Edge // over all leaves that were added
	Meetings map[conclave.MeetingID]*Timeline
	Revoked  map[conclave.DeviceID]time.Time // when devices were revoked
	// Void is set when a record tells of an erasure: what was erased may stand here. The index is to be made anew, from the
	// records as they are now.
	Void bool
}

// NewIndex returns the index of an empty log.
func NewIndex() *Index {
	return &Index{Edge: new(merkle.Edge), Meetings: map[conclave.MeetingID]*Timeline{}, Revoked: map[conclave.DeviceID]time.Time{}}
}

// kindHead is how the JSON of every leaf begins.
var kindHead = []byte(`{"kind":"`)

// Wanted says whether the index must see what a leaf tells of: most leaves need not be decoded.
func Wanted(leaf []byte) bool {
	rest, ok := bytes.CutPrefix(leaf, kindHead)
	kind, _, end := bytes.Cut(rest, []byte(`"`))
	if !ok || !end {
		return true
	}
	switch audit.Kind(kind) {
	case audit.KindLedger, audit.KindMark, audit.KindCommit, audit.KindRenewal, audit.KindLinkIssued, audit.KindStarted, audit.KindGround, audit.KindTrip,
		audit.KindDecision, audit.KindCommitRefused, audit.KindRemovalOverdue, audit.KindGroupDropped:
		return false
	}
	return true
}

// Skip takes a leaf that is not wanted.
func (x *Index) Skip(leaf []byte) { x.Edge.Append(merkle.LeafHash(leaf)) }

// Add takes the next record and its leaf.
func (x *Index) Add(e audit.Entry, leaf []byte) {
	x.Edge.Append(merkle.LeafHash(leaf))
	switch e.Record.Kind {
	case audit.KindErasure:
		x.Void = true
	case audit.KindDeviceRevoked:
		x.Revoked[e.Record.Device] = e.Record.Time
	}
	if e.Record.Meeting == (conclave.MeetingID{}) {
		return
	}
	t := x.Meetings[e.Record.Meeting]
	if t == nil {
		t = NewTimeline(e.Record.Meeting)
		t.lean = true
		x.Meetings[e.Record.Meeting] = t
	}
	t.Add(e)
}

// The encoding: integers as in encoding/binary, times in milliseconds since 1970, texts once in a table. It is ours alone:
// one that does not fit is made anew.
const indexHead = "conclave exposure index 3\n"

var errIndex = errors.New("exposure: not an index of this version")

type writer struct {
	buf   []byte
	texts map[string]uint64
	table []string
}

func (w *writer) uint(n uint64) { w.buf = binary.AppendUvarint(w.buf, n) }
func (w *writer) raw(b []byte)  { w.buf = append(w.buf, b...) }
func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.uint(0)
		return
	}
	w.uint(uint64(t.UnixMicro()) + 1)
}

func (w *writer) text(s string) {
	n, ok := w.texts[s]
	if !ok {
		n = uint64(len(w.table))
		w.texts[s] = n
		w.table = append(w.table, s)
	}
	w.uint(n)
}

func list[T any](w *writer, items []T, put func(*T)) {
	w.uint(uint64(len(items)))
	for i := range items {
		put(&items[i])
	}
}

// Encode returns the index as it is kept.
func (x *Index) Encode() []byte {
	w := &writer{texts: map[string]uint64{}}
	w.uint(uint64(x.Edge.Size()))
	partial := x.Edge.Partial()
	list(w, partial, func(t *merkle.Tile) {
		w.uint(uint64(t.Level))
		w.uint(t.N)
		list(w, t.Hashes, func(h *merkle.Hash) { w.raw(h[:]) })
	})
	w.uint(uint64(len(x.Revoked)))
	for id, at := range x.Revoked {
		w.raw(id[:])
		w.time(at)
	}
	w.uint(uint64(len(x.Meetings)))
	for _, t := range x.Meetings {
		w.timeline(t)
	}
	var out writer
	out.raw([]byte(indexHead))
	list(&out, w.table, func(s *string) { out.uint(uint64(len(*s))); out.raw([]byte(*s)) })
	return append(out.buf, w.buf...)
}

func (w *writer) timeline(t *Timeline) {
	w.raw(t.Meeting[:])
	w.time(t.Opened)
	w.time(t.Ended)
	w.time(t.last)
	w.uint(uint64(t.later))
	w.uint(t.Count)
	list(w, t.Levels, func(l *LevelSpan) { w.time(l.From); w.uint(uint64(l.Level)); w.uint(uint64(l.Record)) })
	list(w, t.Legs, func(p **Leg) {
		l := *p
		w.raw(l.ID[:])
		w.raw(l.Device[:])
		w.text(string(l.Person))
		w.text(l.Unit)
		list(w, l.Lines, w.line)
		list(w, l.Stays, func(m *Membership) {
			w.time(m.From)
			w.time(m.Cut)
			w.time(m.Until)
			w.uint(m.First)
			w.uint(m.Last)
			w.uint(uint64(m.Records[0]))
			w.uint(uint64(m.Records[1]))
			list(w, m.Passes, w.interval)
		})
		list(w, l.Screens, w.interval)
		list(w, l.Excepts, func(e *Exception) { w.time(e.From); w.time(e.To); w.time(e.Until); w.uint(uint64(e.Record)) })
	})
}

func (w *writer) interval(i *Interval) { w.time(i.From); w.time(i.To) }

func (w *writer) line(n *Line) {
	w.time(n.At)
	w.time(n.Good)
	w.uint(uint64(n.Grade))
	w.uint(uint64(n.Level))
	w.uint(uint64(n.Record))
	w.text(n.Outcome)
	list(w, n.Codes, func(s *string) { w.text(*s) })
	list(w, n.Facts, func(f *conclave.Fact) { w.text(f.Name); w.text(f.Value) })
}

// reader reads what writer wrote; after bad all is zero.
type reader struct {
	buf   []byte
	table []string
	bad   bool
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.buf)
	if size <= 0 {
		r.bad, r.buf = true, nil
		return 0
	}
	r.buf = r.buf[size:]
	return n
}

func (r *reader) raw(b []byte) {
	if copy(b, r.buf) < len(b) {
		r.bad, r.buf = true, nil
		return
	}
	r.buf = r.buf[len(b):]
}

func (r *reader) time() time.Time {
	n := r.uint()
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(n - 1)).UTC()
}

func (r *reader) text() string {
	n := r.uint()
	if n >= uint64(len(r.table)) {
		r.bad = true
		return ""
	}
	return r.table[n]
}

// items reads a list; each item takes a byte at least, which bounds it.
func items[T any](r *reader, get func(*T)) []T {
	n := r.uint()
	if n > uint64(len(r.buf)) {
		r.bad, r.buf = true, nil
	}
	if n == 0 || r.bad {
		return nil
	}
	out := make([]T, n)
	for i := range out {
		if get(&out[i]); r.bad {
			return nil
		}
	}
	return out
}

// DecodeIndex reads an index as Encode wrote it.
func DecodeIndex(b []byte) (*Index, error) {
	rest, ok := bytes.CutPrefix(b, []byte(indexHead))
	if !ok {
		return nil, errIndex
	}
	r := &reader{buf: rest}
	r.table = items(r, func(s *string) {
		n := r.uint()
		if n > uint64(len(r.buf)) {
			r.bad = true
			return
		}
		*s = string(r.buf[:n])
		r.buf = r.buf[n:]
	})
	x := NewIndex()
	size := merkle.Size(r.uint())
	tiles := items(r, func(t *merkle.Tile) {
		t.Level, t.N = int(r.uint()), r.uint()
		t.Hashes = items(r, func(h *merkle.Hash) { r.raw(h[:]) })
	})
	for n := r.uint(); n > 0 && !r.bad; n-- {
		var id conclave.DeviceID
		r.raw(id[:])
		x.Revoked[id] = r.time()
	}
	for n := r.uint(); n > 0 && !r.bad; n-- {
		t := r.timeline()
		x.Meetings[t.Meeting] = t
	}
	if r.bad || len(r.buf) > 0 {
		return nil, errIndex
	}
	var err error
	x.Edge, err = merkle.RestoreEdge(size, func(level int, n uint64, width int) ([]merkle.Hash, error) {
		for _, t := range tiles {
			if t.Level == level && t.N == n && len(t.Hashes) == width {
				return t.Hashes, nil
			}
		}
		return nil, errIndex
	})
	if err != nil {
		return nil, errIndex
	}
	return x, nil
}

func (r *reader) timeline() *Timeline {
	t := NewTimeline(conclave.MeetingID{})
	t.lean = true
	r.raw(t.Meeting[:])
	t.Opened, t.Ended, t.last, t.later, t.Count = r.time(), r.time(), r.time(), time.Duration(r.uint()), r.uint()
	t.Levels = items(r, func(l *LevelSpan) {
		l.From, l.Level, l.Record = r.time(), conclave.Level(r.uint()), audit.Index(r.uint())
	})
	t.Legs = items(r, func(p **Leg) {
		l := new(Leg)
		*p = l
		r.raw(l.ID[:])
		r.raw(l.Device[:])
		l.Person, l.Unit = conclave.PersonID(r.text()), r.text()
		l.Lines = items(r, r.line)
		l.Stays = items(r, func(m *Membership) {
			m.Leg, m.From, m.Cut, m.Until, m.First, m.Last = l.ID, r.time(), r.time(), r.time(), r.uint(), r.uint()
			m.Records[0], m.Records[1] = audit.Index(r.uint()), audit.Index(r.uint())
			m.Passes = items(r, r.interval)
		})
		l.Screens = items(r, r.interval)
		l.Excepts = items(r, func(e *Exception) {
			e.From, e.To, e.Until, e.Record = r.time(), r.time(), r.time(), audit.Index(r.uint())
		})
	})
	for _, l := range t.Legs {
		t.byID[l.ID] = l
	}
	return t
}

func (r *reader) interval(i *Interval) { i.From, i.To = r.time(), r.time() }

func (r *reader) line(n *Line) {
	n.At, n.Good, n.Grade, n.Level, n.Record = r.time(), r.time(), conclave.Grade(r.uint()), conclave.Level(r.uint()), audit.Index(r.uint())
	n.Outcome = r.text()
	n.Codes = items(r, func(s *string) { *s = r.text() })
	n.Facts = items(r, func(f *conclave.Fact) { f.Name, f.Value, f.Proven = r.text(), r.text(), true })
}

// sorted returns the meetings in the order of their opening.
func (x *Index) sorted() []*Timeline {
	return slices.SortedFunc(maps.Values(x.Meetings), func(a, b *Timeline) int {
		return cmp.Or(a.Opened.Compare(b.Opened), bytes.Compare(a.Meeting[:], b.Meeting[:]))
	})
}
