package exposure

import (
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
)

// manyMeetings makes the records of meetings of an hour with ten legs.
func manyMeetings(meetings int, put func(audit.Entry)) {
	chance := mathrand.New(mathrand.NewPCG(7, 7))
	began := time.Date(2025, 1, 6, 8, 0, 0, 0, time.UTC)
	index := audit.Index(0)
	networks := []string{"headquarters", "branch", "unlisted", "hotel"}
	for m := range meetings {
		var id conclave.MeetingID
		copy(id[:], fmt.Sprintf("m%d", m))
		level := conclave.Level(m % 4)
		at := began.Add(time.Duration(m) * 17 * time.Minute)
		var records []audit.Record
		record := func(after time.Duration, r audit.Record) {
			r.Time, r.Meeting = at.Add(after), id
			records = append(records, r)
		}
		record(0, audit.Record{Kind: audit.KindMeetingOpened, Level: &level})
		for l := range 10 {
			leg, device := conclave.LegID{byte(m), byte(m >> 8), byte(l), 1}, conclave.DeviceID{byte(chance.IntN(200)), 1}
			grade := conclave.GradeSealed
			who := int(device[0])
			facts := []conclave.Fact{{Name: "network", Value: networks[chance.IntN(4)], Proven: true}, {Name: "country", Value: "DE", Proven: true},
				{Name: "request", Value: fmt.Sprintf("st=3&unit=Ministry+%d", who%5), Proven: true}}
			if who == 9 {
				facts = append(facts, conclave.Fact{Name: "gateway", Value: conclave.DeviceID{9}.Text(), Proven: true})
			}
			record(0, audit.Record{Kind: audit.KindRuling, Leg: leg, Device: device, Person: conclave.PersonID(fmt.Sprintf("p%d", who)), Outcome: "admit", Grade: &grade, Level: &level, Facts: facts})
			record(0, audit.Record{Kind: audit.KindPass, Leg: leg, Device: device, Until: at.Add(2 * time.Hour)})
			record(time.Second, audit.Record{Kind: audit.KindEnter, Leg: leg, Device: device, Epoch: uint64(l)})
			record(time.Hour, audit.Record{Kind: audit.KindLeave, Leg: leg, Device: device, Codes: []string{"left"}})
			record(time.Hour+time.Second, audit.Record{Kind: audit.KindRemoved, Leg: leg, Device: device, Epoch: 20})
		}
		slices.SortStableFunc(records, func(a, b audit.Record) int { return a.Time.Compare(b.Time) })
		for _, r := range records {
			index++
			put(audit.Entry{Index: index, Record: r})
		}
	}
}

func TestDamageRanksTheWorstMeetingsFirst(t *testing.T) {
	x := NewIndex()
	manyMeetings(40, func(e audit.Entry) { x.Add(e, []byte("leaf")) })
	s, err := ParseSuspicion("network=hotel")
	if err != nil {
		t.Fatal(err)
	}
	s.From = time.Date(2025, 1, 6, 9, 0, 0, 0, time.UTC)
	d := x.Assess([]Suspicion{s}, Options{Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Who: func(l *Leg) Who { return Who{Person: conclave.PersonID(fmt.Sprintf("p%d", l.Device[0]))} }}, nil)
	if len(d.Meetings) < 30 || d.MS == 0 || d.Searched.Meetings != 40 || d.Searched.Legs != 400 {
		t.Fatalf("%d meetings, %+v", len(d.Meetings), d.Searched)
	}
	last := d.Meetings[0]
	var sum int64
	for _, m := range d.Meetings {
		if m.Level > last.Level || m.Level == last.Level && m.MS > last.MS {
			t.Errorf("%v for %d ms stands behind %v for %d ms", m.Level, m.MS, last.Level, last.MS)
		}
		last = m
		sum += m.MS
		for _, p := range m.Spans {
			if p.From.Before(s.From) || p.From.Before(m.From) {
				t.Errorf("span from %v", p.From)
			}
		}
		if want := int(m.To.Sub(m.From)/time.Minute) + 1; len(m.Minutes) < want-1 || len(m.Minutes) > want+1 {
			t.Errorf("%d minutes of %v to %v", len(m.Minutes), m.From, m.To)
		}
	}
	if sum != d.MS || len(d.People) == 0 || len(d.ByLevel) != 4 {
		t.Errorf("sum %d of %d, %d people, %v", sum, d.MS, len(d.People), d.ByLevel)
	}
}

// Whatever turned out bad is found over ten thousand meetings in at most five seconds.
func TestDamageOverTenThousandMeetingsTakesSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("half a million records")
	}
	x := NewIndex()
	manyMeetings(10_000, func(e audit.Entry) { x.Add(e, nil) })
	for _, text := range []string{"device=" + conclave.DeviceID{17, 1}.Text(), "person=p17", "network=hotel", "country=DE", "gateway=" + conclave.DeviceID{9}.Text(), "organisation=Ministry 3"} {
		s, err := ParseSuspicion(text)
		if err != nil {
			t.Fatal(err)
		}
		best := time.Hour
		var d *Damage
		for range 2 { // one of them, since the machine may do other things
			began := time.Now()
			d = x.Assess([]Suspicion{s}, Options{Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, nil)
			best = min(best, time.Since(began))
		}
		t.Logf("%s: %d of %d meetings in %v", text, len(d.Meetings), d.Searched.Meetings, best.Round(time.Millisecond))
		if best > 5*time.Second || len(d.Meetings) == 0 || d.Searched.Meetings != 10_000 {
			t.Errorf("%s: %d of %d meetings in %v", text, len(d.Meetings), d.Searched.Meetings, best)
		}
	}
}

func TestAnIndexComesBackAsItWas(t *testing.T) {
	x := NewIndex()
	manyMeetings(30, func(e audit.Entry) { x.Add(e, []byte(fmt.Sprint(e.Index))) })
	back, err := DecodeIndex(x.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if back.Edge.Root() != x.Edge.Root() || back.Edge.Size() != x.Edge.Size() || len(back.Meetings) != 30 {
		t.Fatal("another index came back")
	}
	s, _ := ParseSuspicion("country=DE")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a, b := x.Assess([]Suspicion{s}, Options{Now: now}, nil), back.Assess([]Suspicion{s}, Options{Now: now}, nil)
	ja, _ := json.Marshal(a)
	jb, _ := json.Marshal(b)
	if !reflect.DeepEqual(ja, jb) || len(ja) < 1000 {
		t.Error("and it says something else")
	}
}

// Meetings that go on when the index is made are carried on when it is read back.
func TestAnIndexGoesOnWhereItStopped(t *testing.T) {
	s, _ := ParseSuspicion("network=hotel")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var all []audit.Entry
	manyMeetings(12, func(e audit.Entry) { all = append(all, e) })
	whole := NewIndex()
	for _, e := range all {
		whole.Add(e, nil)
	}
	parted := NewIndex()
	for i, e := range all {
		if i%37 == 0 {
			var err error
			if parted, err = DecodeIndex(parted.Encode()); err != nil {
				t.Fatal(err)
			}
		}
		parted.Add(e, nil)
	}
	a, _ := json.Marshal(whole.Assess([]Suspicion{s}, Options{Now: now}, nil))
	b, _ := json.Marshal(parted.Assess([]Suspicion{s}, Options{Now: now}, nil))
	if string(a) != string(b) {
		t.Errorf("%d bytes, and %d", len(a), len(b))
	}
}

func FuzzDecodeIndex(f *testing.F) {
	x := NewIndex()
	manyMeetings(2, func(e audit.Entry) { x.Add(e, nil) })
	f.Add(x.Encode())
	f.Add([]byte(indexHead))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := DecodeIndex(b); err == nil {
			if _, err := DecodeIndex(x.Encode()); err != nil {
				t.Fatal("what was read does not come back")
			}
		}
	})
}

func BenchmarkAssessTenThousandMeetings(b *testing.B) {
	x := NewIndex()
	manyMeetings(10_000, func(e audit.Entry) { x.Add(e, nil) })
	kept := x.Encode()
	s, _ := ParseSuspicion("network=hotel")
	b.ReportMetric(float64(len(kept)), "bytes")
	for b.Loop() {
		x, err := DecodeIndex(kept)
		if err != nil {
			b.Fatal(err)
		}
		if d := x.Assess([]Suspicion{s}, Options{Now: time.Now()}, nil); len(d.Meetings) < 5000 {
			b.Fatal(len(d.Meetings))
		}
	}
}
