package identity

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"

	"conclave"
	"conclave/audit"
	"conclave/store"
)

// between is a store in which something else happens once, after the next read.
type between struct {
	store.Store
	once *sync.Once
	do   func()
}

func (b between) Get(ctx context.Context, key store.Key) (store.Entry, error) {
	e, err := b.Store.Get(ctx, key)
	b.once.Do(b.do)
	return e, err
}

func TestAChangeOfAMeetingDoesNotUndoAnotherAtTheSameMoment(t *testing.T) {
	w := newWorld(t)
	st := w.store
	meeting := func() conclave.MeetingID {
		m, err := w.OpenMeeting(t.Context(), Meeting{Title: "Test", Level: 1, Chair: "anna.weber", Door: DoorInvited}, rand.Reader, now)
		if err != nil {
			t.Fatal(err)
		}
		return m.ID
	}
	other := NewDirectory(st, w.org, w.log)
	during := func(do func(), change func() error) error {
		w.store = between{st, new(sync.Once), do}
		defer func() { w.store = st }()
		return change()
	}

	over := meeting()
	err := during(func() {
		if err := other.EndMeeting(t.Context(), over, now); err != nil {
			t.Fatal(err)
		}
	}, func() error { return w.RaiseMeeting(t.Context(), over, 2) })
	wantProblem(t, err, "meeting_over")
	if m, err := other.Meeting(t.Context(), over); err != nil || m.Ended == nil || m.Level != 1 {
		t.Errorf("raised while it ended: %+v, %v", m, err)
	}

	raised := meeting()
	if err := during(func() {
		if err := other.RaiseMeeting(t.Context(), raised, 2); err != nil {
			t.Fatal(err)
		}
	}, func() error { return w.EndMeeting(t.Context(), raised, now) }); err != nil {
		t.Fatal(err)
	}
	if m, err := other.Meeting(t.Context(), raised); err != nil || m.Ended == nil || m.Level != 2 {
		t.Errorf("ended while it was raised: %+v, %v", m, err)
	}
	entries, err := w.log.Read(t.Context(), 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	ends := 0
	for _, e := range entries {
		if e.Record.Kind == audit.KindMeetingEnded && e.Record.Meeting == raised {
			ends++
		}
	}
	if ends != 1 {
		t.Errorf("its end is recorded %d times", ends)
	}
}
