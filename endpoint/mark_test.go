package endpoint

import (
	"crypto/rand"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/escrow"
	"conclave/signal"
	"conclave/watermark"
)

func TestAMarksKeyOpensForTheInvestigatorsAndItsOwnLegOnly(t *testing.T) {
	investigation, err := escrow.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	meeting, leg := conclave.MeetingID{1}, conclave.LegID{2}
	admitted := &signal.Admitted{Leg: leg, Investigation: &signal.Investigation{Key: investigation.Public(), Sync: make([]byte, 32)}}
	marking, sent, err := newMarking(rand.Reader, meeting, admitted, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	key, err := OpenMark(investigation, meeting, leg, sent)
	if err != nil {
		t.Fatal(err)
	}
	var a, b [100]byte
	marking.Code.Fill(a[:], 0)
	key.Code().Fill(b[:], 0)
	if a != b {
		t.Error("the leg marks with another code than the investigators have")
	}
	if _, err := OpenMark(investigation, meeting, conclave.LegID{3}, sent); err == nil {
		t.Error("a key opens as another leg's")
	}
	if _, err := OpenMark(investigation, conclave.MeetingID{3}, leg, sent); err == nil {
		t.Error("a key opens as another meeting's")
	}
	other, _ := watermark.NewKey(make([]byte, watermark.KeySize))
	forged, err := SealMark(investigation.Public(), meeting, leg, other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenMark(investigation, meeting, leg, &signal.Mark{Commitment: sent.Commitment, Sealed: forged}); err == nil {
		t.Error("a key that was put in later fits the record")
	}
}

// marking is a client's media that mark.
type markingMedia struct {
	noMedia
	told []*Marking
}

func (m *markingMedia) Mark(k *Marking) { m.told = append(m.told, k) }

func TestALegHandsInItsMarkOnceItIsAdmitted(t *testing.T) {
	for _, vouched := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			key := investigated(t, h, vouched)
			m := &markingMedia{}
			s := &session{Endpoint: &Endpoint{cfg: Config{Media: m, Rand: rand.Reader, Now: time.Now, Meeting: h.meeting.Meeting, Log: silent{}}}}
			a := &signal.Admitted{Leg: conclave.LegID{7}, Investigation: &signal.Investigation{Key: key.Public(), Sync: make([]byte, 32)}}
			if vouched {
				s.ledger.key = key.Public()
			}
			s.openMark(a)
			first := s.mark.sent
			s.openMark(a) // the line was lost, and is back
			if len(m.told) == 0 || (m.told[0] != nil) != vouched {
				t.Fatalf("vouched %v: media were told %v", vouched, m.told)
			}
			if !vouched {
				return
			}
			if s.mark.sent != first || len(m.told) != 1 {
				t.Error("a leg that comes back marks with another key")
			}
			s.openMark(&signal.Admitted{Leg: conclave.LegID{8}, Investigation: a.Investigation})
			if slices.Equal(s.mark.sent.Commitment, first.Commitment) || len(m.told) != 2 {
				t.Error("another leg marks with the same key")
			}
			if _, err := OpenMark(key, h.meeting.Meeting, conclave.LegID{8}, s.mark.sent); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestALegThatCannotDrawAMarksKeyDoesNotComeIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		key := investigated(t, h, true)
		m := &markingMedia{}
		s := &session{Endpoint: &Endpoint{cfg: Config{Media: m, Rand: rand.Reader, Now: time.Now, Meeting: h.meeting.Meeting, Log: silent{}, Emit: func(Event) {}}}}
		s.ledger.key, s.alarms = key.Public(), map[string]time.Time{}
		// Signs of the wrong length: nothing can be marked with them.
		if s.openMark(&signal.Admitted{Leg: conclave.LegID{7}, Investigation: &signal.Investigation{Key: key.Public(), Sync: make([]byte, 3)}}) {
			t.Error("the leg goes on")
		}
		if len(m.told) != 0 {
			t.Errorf("media were told %v, which has them play unmarked", m.told)
		}
		if s.state != StateEnded {
			t.Errorf("the leg is %v", s.state)
		}
	})
}
