package exposure

import (
	"errors"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
)

// hotelMeeting is a scripted meeting in which jan sits in a hotel for a while; the beginning of its damage and its end are known.
func hotelMeeting(t *testing.T, seed uint64, ledgers bool) (*script, *Opened, Interval) {
	s := newScript(t, seed)
	s.meeting = conclave.MeetingID{byte(seed), 7}
	good, hotel := facts("network", "headquarters"), facts("network", "hotel", "country", "SG")
	s.enter(0, "anna", conclave.GradeGuarded, good)
	s.enter(minutes(0.5), "marta", conclave.GradeGuarded, good)
	s.enter(minutes(1), "jan", conclave.GradeGuarded, good)
	from, to := minutes(2+s.chance.Float64()), minutes(8+s.chance.Float64())
	s.rule(from, "jan", "admit", conclave.GradeSealed, hotel)
	s.rule(to, "jan", "admit", conclave.GradeGuarded, good)
	for _, name := range []string{"anna", "marta", "jan"} {
		for at := 1 + s.chance.Float64(); at < 11; at += 0.7 + s.chance.Float64() {
			s.speak(name, minutes(at), minutes(at+0.1+0.4*s.chance.Float64()))
		}
	}
	s.out(minutes(11.5), 90*time.Millisecond, "jan", audit.KindLeave, "left")
	if !ledgers {
		s.legs = map[string]*actor{} // nobody hands in anything
	}
	timeline, spoken, bad := s.close(minutes(12))
	return s, &Opened{Speech: spoken, Bad: bad, Record: audit.Index(seed), Blocks: timeline.Ledgers()}, Interval{s.began.Add(from), s.began.Add(to)}
}

// Over all meetings the speakers are ranked by how long they spoke while something listened, and that is true to 200 ms a meeting.
func TestDamageRanksSpeakersByWhatWasExposedOfThem(t *testing.T) {
	x := NewIndex()
	scripts, opened, when := map[conclave.MeetingID]*script{}, map[conclave.MeetingID]*Opened{}, map[conclave.MeetingID]Interval{}
	for seed := uint64(1); seed <= 12; seed++ {
		s, o, in := hotelMeeting(t, seed, true)
		scripts[s.meeting], opened[s.meeting], when[s.meeting] = s, o, in
		for _, e := range s.entries {
			x.Add(e, nil)
		}
	}
	suspicion, err := ParseSuspicion("network=hotel")
	if err != nil {
		t.Fatal(err)
	}
	options := Options{Now: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), Holders: []string{"Ada", "Cem"},
		Who: func(l *Leg) Who { return Who{Person: conclave.PersonID(l.ID[:4])} }}
	d := x.Assess([]Suspicion{suspicion}, options, nil)
	if len(d.Meetings) != 12 || d.Speakers != nil || d.Meetings[0].Spoke != nil || d.Ledger.State != "sealed" {
		t.Fatalf("before the ledgers are opened: %d meetings, speakers %v, %+v", len(d.Meetings), d.Speakers, d.Ledger)
	}
	asked := 0
	if err := d.Hear(options, func(id conclave.MeetingID) (*Opened, error) { return opened[id], nil }, func(done, all int) { asked = done }); err != nil {
		t.Fatal(err)
	}
	truth := map[conclave.PersonID]time.Duration{}
	for i := range d.Meetings {
		m := &d.Meetings[i]
		s, in := scripts[m.Meeting], when[m.Meeting]
		if !m.From.Equal(in.From) || !m.To.Equal(in.To) || m.Opening != opened[m.Meeting].Record || len(m.Unknown) != 0 {
			t.Errorf("exposed from %v to %v, not %v; record %d; unknown %v", m.From, m.To, in, m.Opening, m.Unknown)
		}
		told := map[string]time.Duration{}
		for k, h := range m.Spoke {
			told[h.Leg] = time.Duration(h.MS) * time.Millisecond
			if k > 0 && h.MS > m.Spoke[k-1].MS {
				t.Error("who spoke most does not stand first")
			}
			if h.Self != (h.Person == "jan\x00") {
				t.Errorf("own words: %+v", h)
			}
		}
		for name, a := range s.legs {
			want := s.truth(name, in)
			if off(told[a.id.Text()], want) > exact {
				t.Errorf("%s spoke for %v, is said to have for %v", name, want, told[a.id.Text()])
			}
			truth[conclave.PersonID(a.id[:4])] += want
		}
	}
	var sum int64
	for i, h := range d.Speakers {
		if i > 0 && h.MS > d.Speakers[i-1].MS {
			t.Error("the speakers are not ranked")
		}
		if got := time.Duration(h.MS) * time.Millisecond; off(got, truth[h.Person]) > exact*time.Duration(len(d.Meetings)) {
			t.Errorf("%s: %v, truth %v", h.Person, got, truth[h.Person])
		}
		sum += h.MS
	}
	if len(d.Speakers) != 3 || sum != d.SpokeMS || asked != 12 || d.Ledger.State != "opened" || d.Ledger.Opened != d.Ledger.Blocks || d.Ledger.Record != 1 {
		t.Errorf("%d speakers, %d ms of %d, asked for %d, %+v", len(d.Speakers), sum, d.SpokeMS, asked, d.Ledger)
	}
}

func TestWhereLedgersAreMissingNobodyIsSaidToHaveBeenSilent(t *testing.T) {
	suspicion, _ := ParseSuspicion("network=hotel")
	assess := func(s *script) *Damage {
		x := NewIndex()
		for _, e := range s.entries {
			x.Add(e, nil)
		}
		return x.Assess([]Suspicion{suspicion}, Options{Now: s.began.Add(time.Hour)}, nil)
	}
	s, _, _ := hotelMeeting(t, 1, false)
	d := assess(s)
	if err := d.Hear(Options{}, func(conclave.MeetingID) (*Opened, error) { return nil, nil }, nil); err != nil {
		t.Fatal(err)
	}
	if d.Ledger.State != "none" || d.Speakers != nil || d.Meetings[0].Spoke != nil {
		t.Errorf("without ledgers: %+v, %v", d.Ledger, d.Speakers)
	}
	s, o, _ := hotelMeeting(t, 2, true)
	delete(o.Speech, s.actor("anna").id)
	d = assess(s)
	if err := d.Hear(Options{}, func(conclave.MeetingID) (*Opened, error) { return o, nil }, nil); err != nil {
		t.Fatal(err)
	}
	if u := d.Meetings[0].Unknown; len(u) != 1 || u[0] != s.actor("anna").id.Text() || len(d.Meetings[0].Spoke) != 2 {
		t.Errorf("without anna's ledger: unknown %v, spoke %+v", u, d.Meetings[0].Spoke)
	}
	refused := errors.New("refused")
	if err := assess(s).Hear(Options{}, func(conclave.MeetingID) (*Opened, error) { return nil, refused }, nil); !errors.Is(err, refused) {
		t.Errorf("what cannot be opened: %v", err)
	}
}
