package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"conclave/store"
)

// What lets something happen is recorded first (Record) and does not happen where that fails. What protects does not wait
// for a disk: a leg is cut off whether or not the record of it can be written now. Such a record is a note. It waits in
// memory, in its place and with its own time, until the disk takes it, and nothing is recorded past it: as long as a note
// waits nobody is let in.

const (
	// noteGrace is how long Note waits for its record: on a disk that is well the record stands before the act, as all
	// others do.
	noteGrace = 4 * time.Millisecond
	// Patience is how long Record waits for a disk: longer than one that is busy takes, and shorter than a room should
	// stand still.
	Patience = 2 * time.Second
	// noteRetry is the pause after a note could not be written. A record that is asked for meanwhile has it tried at once.
	noteRetry = 250 * time.Millisecond
	// maxNotes bounds the notes that wait, each of about a kilobyte. When they are so many a further one is dropped and
	// counted, and a record says how many were.
	maxNotes = 1 << 16
)

// ErrWaiting says that earlier records wait for the disk: nothing is recorded past them.
var ErrWaiting = errors.New("audit: earlier records wait for the disk")

// Clock is by what Write, Record and Note are patient: the machine's.
type Clock struct {
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// scribe writes records one after the other while Write runs.
type scribe struct {
	mu      sync.Mutex
	running bool           // Write runs: all records go through it; guarded by mu
	queue   []*waiting     // in the order in which they are to stand, the first may be being written; guarded by mu
	notes   int            // in queue; guarded by mu
	lost    uint64         // notes for which there was no room; guarded by mu
	flying  time.Time      // since when the first of queue is being written, by the machine's clock; zero: it is not; guarded by mu
	hung    bool           // the disk has let somebody wait for longer than Patience, and taken nothing since; guarded by mu
	failed  bool           // the last note could not be written; guarded by mu
	clock   Clock          // set before running
	asked   chan struct{}  // has a value when there is something new to look at
	reached store.Sequence // what is known to stand in the stream; owned by Write
}

// waiting is a record on its way to the stream.
type waiting struct {
	record Record
	note   bool
	left   bool           // nobody waits for it any more; guarded by scribe.mu
	sealed []byte         // as it goes into the stream; nil: not encoded yet. Owned by Write, as is after
	after  store.Sequence // where it was tried and failed: it may stand behind this all the same
	tried  bool
	done   chan struct{} // closed when index and err are set
	index  Index
	err    error
}

// Note records what happens whether or not it can be recorded now: what protects. It waits for a few milliseconds at most.
// Write must be running; else Note tries once and returns what came of it.
func (l *Log) Note(ctx context.Context, r Record) error {
	l.steady.tell(&r)
	s := &l.scribe
	s.mu.Lock()
	if !s.running {
		s.mu.Unlock()
		_, err := l.append(ctx, r)
		return err
	}
	if s.notes >= maxNotes {
		s.lost++
		s.mu.Unlock()
		return fmt.Errorf("audit: note %s: %w", r.Kind, ErrWaiting)
	}
	behind := len(s.queue) > 0 && (s.hung || s.failed || s.notes > 0)
	w := s.add(r, true)
	s.mu.Unlock()
	if behind {
		return nil // the disk is late already: who cuts off many does not wait for each
	}
	select {
	case <-w.done:
	case <-s.clock.After(noteGrace):
	}
	return nil
}

// Record implements Recorder. While earlier notes wait for the disk it fails with ErrWaiting.
func (l *Log) Record(ctx context.Context, r Record) (Index, error) {
	l.steady.tell(&r)
	s := &l.scribe
	s.mu.Lock()
	if !s.running {
		s.mu.Unlock()
		return l.append(ctx, r)
	}
	if s.hung && len(s.queue) > 0 {
		s.mu.Unlock()
		return 0, fmt.Errorf("audit: record %s: %w", r.Kind, ErrWaiting)
	}
	w := s.add(r, false)
	patience := Patience
	if !s.flying.IsZero() { // what is in the way has used up some of it
		patience = max(patience-s.clock.Now().Sub(s.flying), 0)
	}
	s.mu.Unlock()
	err := ErrWaiting
	select {
	case <-w.done:
		return w.index, w.err
	case <-s.clock.After(patience):
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-w.done: // at this very moment
		return w.index, w.err
	default:
	}
	w.left = true
	if i := slices.Index(s.queue, w); i > 0 || i == 0 && s.flying.IsZero() {
		s.queue = slices.Delete(s.queue, i, i+1) // nobody has tried to write it
	}
	if errors.Is(err, ErrWaiting) && !s.flying.IsZero() {
		s.hung = true
	}
	return 0, fmt.Errorf("audit: record %s: %w", r.Kind, err)
}

// add puts a record at the end and has it looked at. mu is held.
func (s *scribe) add(r Record, note bool) *waiting {
	w := &waiting{record: r, note: note, done: make(chan struct{})}
	s.queue = append(s.queue, w)
	if note {
		s.notes++
	}
	s.ask()
	return w
}

func (s *scribe) ask() {
	select {
	case s.asked <- struct{}{}:
	default: // it has a value already
	}
}

// Flush waits until all that was recorded and noted so far stands in the stream.
func (l *Log) Flush(ctx context.Context) error {
	s := &l.scribe
	s.mu.Lock()
	var last *waiting
	if n := len(s.queue); n > 0 {
		last = s.queue[n-1]
	}
	s.mu.Unlock()
	if last == nil {
		return nil
	}
	select {
	case <-last.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("audit: %w", ctx.Err())
	}
}

// Waiting returns how many notes wait for the disk, and whether it has failed to take the first of them.
func (l *Log) Waiting() (notes int, failed bool) {
	l.scribe.mu.Lock()
	defer l.scribe.mu.Unlock()
	return l.scribe.notes, l.scribe.failed || l.scribe.hung
}

// Write writes what is recorded and noted until ctx is done, and what is left then for at most rest. It returns how many
// notes it could not write. tell is called when the disk begins to refuse notes, with the cause, and when it has taken all
// again, with nil. One goroutine calls Write, once, after StartWriting.
func (l *Log) Write(ctx context.Context, rest time.Duration, tell func(cause error)) (unwritten int) {
	s := &l.scribe
	end := ctx.Done()
	told := false
	var late <-chan time.Time
	var retry <-chan time.Time
	for {
		s.mu.Lock()
		empty := len(s.queue) == 0
		if empty && end == nil {
			s.running = false
			s.mu.Unlock()
			return 0
		}
		s.mu.Unlock()
		if empty && told {
			told = false
			tell(nil)
		}
		if !empty && retry == nil {
			cause := l.attempt()
			if cause != nil {
				retry = s.clock.After(noteRetry)
			}
			if cause != nil && !told {
				told = true
				tell(cause)
			}
			select {
			case <-late:
				return s.giveUp()
			default:
				continue
			}
		}
		select {
		case <-s.asked:
			retry = nil
		case <-retry:
			retry = nil
		case <-end:
			end, late, retry = nil, s.clock.After(rest), nil
		case <-late:
			return s.giveUp()
		}
	}
}

// StartWriting has records go through Write, which the caller starts next.
func (l *Log) StartWriting(ctx context.Context, clock Clock) error {
	last, err := l.store.Last(ctx, store.Audit)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	l.scribe.mu.Lock()
	defer l.scribe.mu.Unlock()
	l.scribe.clock, l.scribe.reached, l.scribe.running = clock, last, true
	return nil
}

// giveUp ends with what waits unwritten.
func (s *scribe) giveUp() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.notes + int(s.lost)
	for _, w := range s.queue {
		w.err = ErrWaiting
		close(w.done)
	}
	s.queue, s.notes, s.running = nil, 0, false
	return n
}

// attempt tries to write the first that waits. It returns an error where that is a note, which stays, and could not be written.
func (l *Log) attempt() error {
	s := &l.scribe
	s.mu.Lock()
	if len(s.queue) == 0 { // who waited for it has left
		s.mu.Unlock()
		return nil
	}
	if s.lost > 0 && len(s.queue) < maxNotes {
		s.queue = append(s.queue, &waiting{record: Record{Kind: KindUnrecorded, Time: s.queue[len(s.queue)-1].record.Time, Size: s.lost},
			note: true, done: make(chan struct{})})
		s.notes, s.lost = s.notes+1, 0
	}
	w := s.queue[0]
	s.flying = s.clock.Now()
	s.mu.Unlock()

	index, tried, err := l.write(w)

	s.mu.Lock()
	defer s.mu.Unlock()
	slow := s.clock.Now().Sub(s.flying) > Patience
	s.flying = time.Time{}
	if err != nil && w.note {
		s.failed, s.hung = true, s.hung || slow
		// Whoever wants to let something happen is not kept waiting for an uncertain time.
		s.queue = slices.DeleteFunc(s.queue, func(other *waiting) bool {
			if other.note {
				return false
			}
			other.err = fmt.Errorf("audit: record %s: %w: %w", other.record.Kind, ErrWaiting, err)
			close(other.done)
			return true
		})
		return err
	}
	s.queue = s.queue[1:]
	if w.note {
		s.notes--
	}
	if err == nil {
		s.failed, s.hung = false, false
	}
	// What may stand in the log, or does, and had no effect: the log says so.
	if !w.note && (err != nil && tried || err == nil && w.left) {
		s.queue = slices.Insert(s.queue, 0, &waiting{record: undone(&w.record), note: true, done: make(chan struct{})})
		s.notes++
		s.hung = s.hung || slow
	}
	w.index, w.err = index, err
	close(w.done)
	return nil
}

// undone is the record that an earlier one, whether it stands in the log or not, had no effect.
func undone(r *Record) Record {
	return Record{Kind: KindUndone, Time: r.Time, Meeting: r.Meeting, Leg: r.Leg, By: r.By, Codes: []string{string(r.Kind)}, Epoch: r.Epoch}
}

// write writes one record; tried says whether it may stand in the stream though it failed.
func (l *Log) write(w *waiting) (index Index, tried bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	s := &l.scribe
	if w.sealed == nil {
		if w.sealed, err = l.encode(ctx, w.record); err != nil {
			return 0, false, err
		}
	}
	if w.tried { // it may stand there already
		if at, err := l.standing(ctx, w); at != 0 || err != nil {
			return Index(at), true, err
		}
	}
	w.tried, w.after = true, s.reached
	seq, err := l.store.Append(ctx, store.Audit, w.sealed)
	l.wake()
	if err != nil {
		return 0, true, fmt.Errorf("audit: record %s: %w", w.record.Kind, err)
	}
	s.reached = max(s.reached, seq)
	return Index(seq), true, nil
}

// standing looks for a record that was tried earlier, and returns where it stands; 0: nowhere.
func (l *Log) standing(ctx context.Context, w *waiting) (store.Sequence, error) {
	for from := w.after + 1; ; {
		records, err := l.store.Read(ctx, store.Audit, from, batch)
		if err != nil {
			return 0, fmt.Errorf("audit: %w", err)
		}
		for _, r := range records {
			l.scribe.reached = max(l.scribe.reached, r.Sequence)
			if bytes.Equal(r.Value, w.sealed) {
				return r.Sequence, nil
			}
		}
		if len(records) < batch {
			return 0, nil
		}
		from += store.Sequence(len(records))
	}
}

// Undoes says whether a record says of another, earlier one, that it had no effect.
func (r *Record) Undoes(earlier *Record) bool {
	return r.Kind == KindUndone && slices.Contains(r.Codes, string(earlier.Kind)) && r.Meeting == earlier.Meeting && r.Leg == earlier.Leg &&
		r.Epoch == earlier.Epoch && r.Time.Equal(earlier.Time)
}
