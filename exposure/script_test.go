package exposure

import (
	"crypto/rand"
	"crypto/sha256"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/escrow"
	"conclave/escrow/speech"
)

// script is a scripted meeting: it writes the records that a server would, and knows the truth.
type script struct {
	t       *testing.T
	began   time.Time
	meeting conclave.MeetingID
	chance  *mathrand.Rand
	key     *escrow.Key
	entries []audit.Entry
	blocks  []Sealed
	legs    map[string]*actor
}

// actor is a leg of a script. Its clock runs apart from the server's.
type actor struct {
	id     conclave.LegID
	device conclave.DeviceID
	drift  float64       // of its clock, parts per one
	delay  time.Duration // from or to the server
	in     time.Duration // when the server let it in
	knows  time.Duration // when it learned so: its ledger's zero
	out    time.Duration
	speaks []Interval // truth, by the server's clock
}

func newScript(t *testing.T, seed uint64) *script {
	t.Helper()
	key, err := escrow.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, began: time.Date(2026, 4, 17, 11, 0, 0, 0, time.UTC), meeting: conclave.MeetingID{7}, chance: mathrand.New(mathrand.NewPCG(seed, 1)),
		key: key, legs: map[string]*actor{}}
	level := conclave.Level(2)
	s.record(-time.Hour, audit.Record{Kind: audit.KindMeetingOpened, Level: &level})
	return s
}

func (s *script) record(at time.Duration, r audit.Record) {
	r.Time, r.Meeting = s.began.Add(at), s.meeting
	s.entries = append(s.entries, audit.Entry{Index: audit.Index(len(s.entries) + 18_000), Record: r})
}

func (s *script) actor(name string) *actor {
	a := s.legs[name]
	if a == nil {
		a = &actor{drift: (s.chance.Float64() - 0.5) * 200e-6, delay: time.Duration(5+s.chance.IntN(75)) * time.Millisecond}
		copy(a.id[:], name)
		copy(a.device[:], name)
		s.legs[name] = a
	}
	return a
}

func grade(g conclave.Grade) *conclave.Grade { return &g }

func facts(pairs ...string) (out []conclave.Fact) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, conclave.Fact{Name: pairs[i], Value: pairs[i+1], Proven: true})
	}
	return out
}

// rule records a ruling on a leg's line.
func (s *script) rule(at time.Duration, name, outcome string, g conclave.Grade, f []conclave.Fact, codes ...string) {
	a := s.actor(name)
	level := conclave.Level(2)
	s.record(at, audit.Record{Kind: audit.KindRuling, Leg: a.id, Device: a.device, Outcome: outcome, Grade: grade(g), Level: &level, Facts: f, Codes: codes})
}

// enter lets a leg in, with a pass renewed to the end.
func (s *script) enter(at time.Duration, name string, g conclave.Grade, f []conclave.Fact) {
	a := s.actor(name)
	s.rule(at-50*time.Millisecond, name, "admit", g, f)
	s.record(at-40*time.Millisecond, audit.Record{Kind: audit.KindPass, Leg: a.id, Device: a.device, Until: s.began.Add(10 * time.Hour)})
	s.record(at, audit.Record{Kind: audit.KindEnter, Leg: a.id, Device: a.device, Epoch: uint64(len(s.entries)), Grade: grade(g)})
	if a.out == 0 {
		a.in, a.knows = at, at+a.delay
	}
}

// out puts a leg out; keys are changed without it a while after its media were cut.
func (s *script) out(at, keys time.Duration, name string, kind audit.Kind, codes ...string) {
	a := s.actor(name)
	s.record(at, audit.Record{Kind: kind, Leg: a.id, Device: a.device, Codes: codes, Epoch: uint64(len(s.entries))})
	s.record(at+keys, audit.Record{Kind: audit.KindRemoved, Leg: a.id, Device: a.device, Epoch: uint64(len(s.entries))})
	a.out = at + keys
}

func (s *script) speak(name string, from, to time.Duration) {
	a := s.actor(name)
	a.speaks = append(a.speaks, Interval{s.began.Add(from), s.began.Add(to)})
}

// ledgers hands in what everybody's client noted, each by its own clock, and returns the timeline.
func (s *script) close(end time.Duration) (*Timeline, map[conclave.LegID]*Spoken, Unrecorded) {
	s.t.Helper()
	for _, a := range s.legs {
		if a.in != 0 || a.knows != 0 {
			s.handIn(a, end)
		}
	}
	slices.SortStableFunc(s.entries, func(a, b audit.Entry) int { return a.Record.Time.Compare(b.Record.Time) })
	t := NewTimeline(s.meeting)
	for i := range s.entries {
		s.entries[i].Index = audit.Index(18_000 + i)
		t.Add(s.entries[i])
	}
	t.Close(s.began.Add(end))
	spoken, bad := t.OpenSpeech(s.key, s.blocks)
	return t, spoken, bad
}

func (s *script) handIn(a *actor, end time.Duration) {
	if a.out == 0 {
		a.out = end
	}
	local := func(at time.Duration) float64 { return float64((at - a.knows).Milliseconds()) * (1 + a.drift) }
	phase := time.Duration(2000+s.chance.IntN(18_000)) * time.Millisecond
	for minute := uint32(0); ; minute++ {
		start := float64(minute) * 60_000
		last := local(a.out) < start+60_000
		b := speech.Block{Minute: minute, Until: 60_000}
		sealedAt := a.knows + time.Duration((start+60_000)/(1+a.drift))*time.Millisecond + phase
		if last || sealedAt > a.out {
			sealedAt = a.out
		}
		if last {
			b.Until = uint16(max(local(a.out)-start, 0))
		}
		b.Sent = uint32(local(sealedAt))
		for _, i := range a.speaks {
			from, to := local(i.From.Sub(s.began))-start, local(i.To.Sub(s.began))-start
			from, to = max(from, 0), min(to, float64(b.Until))
			if from+1 < to {
				b.Spans = append(b.Spans, speech.Span{From: uint16(from), To: uint16(to)})
			}
		}
		sealed, err := b.Seal(s.key.Public(), s.meeting, a.id)
		if err != nil {
			s.t.Fatal(err)
		}
		sum := sha256.Sum256(sealed)
		s.blocks = append(s.blocks, Sealed{a.id, minute, sealed})
		arrives := sealedAt + a.delay + time.Duration(s.chance.IntN(40))*time.Millisecond
		s.record(arrives, audit.Record{Kind: audit.KindLedger, Leg: a.id, Device: a.device, Commitment: sum[:]})
		if last {
			return
		}
	}
}

// truth is how long somebody truly spoke in an interval.
func (s *script) truth(name string, in Interval) time.Duration {
	return within(s.legs[name].speaks, in)
}
