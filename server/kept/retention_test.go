package kept

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
)

func TestWhatWasKeptLongEnoughIsDeletedAndTheLogSaysSo(t *testing.T) {
	w := newWorld(t)
	w.addPerson(t, "anna")
	if _, err := w.Directory.IssueToken(t.Context(), "anna", rand.Reader, w.now()); err != nil {
		t.Fatal(err)
	}
	w.record(t, audit.Record{Kind: audit.KindRuling, Person: "anna", Device: conclave.DeviceID{1}, Facts: []conclave.Fact{{Name: "country", Value: "SG"}}})
	w.record(t, audit.Record{Kind: audit.KindEnter, Device: conclave.DeviceID{1}})
	personal := func() (n int) {
		for _, e := range w.records(t) {
			if e.Record.Person != "" || len(e.Record.Facts) > 0 || e.Record.Device != (conclave.DeviceID{}) {
				n++
			}
		}
		return n
	}
	before := personal()
	if before < 2 {
		t.Fatal("nothing personal was recorded")
	}
	if done, err := w.retain(t.Context()); err != nil || done != (retained{}) {
		t.Fatalf("without a setting %+v was deleted, %v", done, err)
	}
	if err := w.setRetention(t.Context(), periods{Personal: 30, Ledgers: 10, Marks: 10}); err != nil {
		t.Fatal(err)
	}
	if done, err := w.retain(t.Context()); err != nil || done.Records != 0 {
		t.Fatalf("at once %+v was deleted, %v", done, err)
	}
	w.clock = w.clock.Add(32 * 24 * time.Hour) // the link was good for a day
	done, err := w.retain(t.Context())
	if err != nil || int(done.Records) != before {
		t.Fatalf("%+v of %d was deleted, %v", done, before, err)
	}
	if personal() != 0 {
		t.Error("personal parts are left")
	}
	if left, err := w.Store.List(t.Context(), "token"); err != nil || done.Links != 1 || len(left) != 0 {
		t.Errorf("%d links were deleted, %d are left, %v", done.Links, len(left), err)
	}
	var erasures int
	for _, e := range w.records(t) {
		if e.Record.Kind == audit.KindErasure {
			erasures++
		}
	}
	if erasures != 1 {
		t.Errorf("%d erasures on record", erasures)
	}
	if again, err := w.retain(t.Context()); err != nil || again.Records != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	if err := w.setRetention(t.Context(), periods{Personal: 1 << 30}); err == nil {
		t.Error("a million years were taken")
	}
}

func TestWhatLegsHandedInIsDeletedForItsAgeThoughTheMeetingNeverEnded(t *testing.T) {
	w := newWorld(t)
	w.addPerson(t, "anna")
	m := w.openMeeting(t, "anna")
	leg := conclave.LegID{7}
	mark := Mark{Meeting: m.ID, Leg: leg, Time: w.now(), Commitment: make([]byte, 32), Sealed: make([]byte, markSealed)}
	if err := w.KeepMark(t.Context(), mark, func() (audit.Index, error) { return 1, nil }); err != nil {
		t.Fatal(err)
	}
	for minute := range uint32(2) {
		l := Ledger{Leg: leg, Minute: minute, Sealed: bytes.Repeat([]byte{byte(minute)}, ledgerSealed)}
		if err := w.KeepLedger(t.Context(), m, l, func([]byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.setRetention(t.Context(), periods{Ledgers: 10, Marks: 20}); err != nil {
		t.Fatal(err)
	}
	began := w.clock
	for _, c := range []struct {
		days           int
		ledgers, marks int
	}{{0, 0, 0}, {9, 0, 0}, {11, 2, 0}, {11, 0, 0}, {21, 0, 1}, {30, 0, 0}} {
		w.clock = began.AddDate(0, 0, c.days)
		done, err := w.retain(t.Context())
		if err != nil || done.Ledgers != c.ledgers || done.Marks != c.marks {
			t.Errorf("after %d days: %+v, %v", c.days, done, err)
		}
	}
	var got []audit.Record
	for _, e := range w.records(t) {
		if e.Record.Kind == audit.KindDeleted && e.Record.Meeting == m.ID {
			got = append(got, e.Record)
		}
	}
	if len(got) != 2 || got[0].Codes[0] != audit.DeletedLedgers || got[0].Size != 2 || got[1].Codes[0] != audit.DeletedMarks || got[1].Size != 1 {
		t.Errorf("recorded %+v", got)
	}
}
