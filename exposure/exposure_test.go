package exposure

import (
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
)

// exact is how true a report must be.
const exact = 200 * time.Millisecond

func off(a, b time.Duration) time.Duration { return max(a-b, b-a) }

func minutes(m float64) time.Duration { return time.Duration(m * float64(time.Minute)) }

func TestALineThatTurnsBadIsExposedUntilTheKeysAreChanged(t *testing.T) {
	s := newScript(t, 1)
	good := facts("kind", "endpoint", "network", "headquarters", "country", "DE")
	bad := facts("kind", "endpoint", "network", "unlisted", "country", "SG")
	s.enter(0, "anna", conclave.GradeGuarded, good)
	s.enter(minutes(1), "jan", conclave.GradeGuarded, good)
	s.rule(minutes(3.5), "jan", "admit", conclave.GradeGuarded, good) // renewed: the line is as it was
	jan := s.actor("jan")
	s.rule(minutes(5), "jan", "refuse", conclave.GradeSealed, bad, "network_not_approved", "travel_unannounced")
	s.record(minutes(5)+time.Millisecond, audit.Record{Kind: audit.KindFacts, Leg: jan.id, Device: jan.device, Facts: bad})
	s.out(minutes(5)+10*time.Millisecond, 420*time.Millisecond, "jan", audit.KindQuarantine, "network_not_approved")
	s.speak("anna", minutes(4.9), minutes(5.2))
	s.enter(minutes(7), "jan", conclave.GradeGuarded, good)
	timeline, spoken, bad2 := s.close(minutes(9))
	if len(bad2.Strange) != 0 || bad2.Extra != 0 || bad2.Shut != 0 {
		t.Errorf("ledgers: %+v", bad2)
	}
	r := Investigate(timeline, Options{Speech: spoken, Now: s.began})
	if len(r.Spans) != 1 {
		t.Fatalf("%d exposures: %+v", len(r.Spans), r.Spans)
	}
	e := r.Spans[0]
	if !slices.Equal(e.Causes, []Cause{CauseRefused}) || !slices.Equal(e.Codes, []string{"network_not_approved", "travel_unannounced"}) {
		t.Errorf("%v %v", e.Causes, e.Codes)
	}
	if want := s.began.Add(minutes(5)); !e.From.Equal(want) || e.MS != 430 {
		t.Errorf("from %v for %d ms", e.From, e.MS)
	}
	if e.Cut == nil || !e.Cut.Equal(s.began.Add(minutes(5)+10*time.Millisecond)) {
		t.Errorf("cut at %v", e.Cut)
	}
	if e.Earliest == nil || !e.Earliest.Equal(s.began.Add(minutes(3.5))) {
		t.Errorf("at the earliest %v", e.Earliest)
	}
	if len(e.Spoke) != 1 || off(time.Duration(e.Spoke[0].MS)*time.Millisecond, 430*time.Millisecond) > exact {
		t.Errorf("spoken in it: %+v", e.Spoke)
	}
	if r.Totals.Worst != CauseRefused || r.Totals.Legs != 1 || len(r.Totals.ByLevel) != 1 || r.Totals.ByLevel[0].Level != 2 {
		t.Errorf("%+v", r.Totals)
	}
}

func TestWhatTurnsOutBadLaterIsExposedAsLongAsItWasSo(t *testing.T) {
	s := newScript(t, 2)
	hotel := facts("kind", "endpoint", "network", "hotel", "country", "SG")
	s.enter(0, "anna", conclave.GradeGuarded, facts("network", "headquarters"))
	s.enter(minutes(2), "jan", conclave.GradeSealed, hotel)
	s.rule(minutes(20), "jan", "admit", conclave.GradeGuarded, facts("network", "headquarters"))
	s.record(minutes(8), audit.Record{Kind: audit.KindShown, Leg: s.actor("anna").id, Outcome: "screen"})
	s.record(minutes(11), audit.Record{Kind: audit.KindShown, Leg: s.actor("anna").id})
	for m := 0.0; m < 38; m += 1.5 {
		s.speak("anna", minutes(m+0.1), minutes(m+0.6))
		if m > 2 {
			s.speak("jan", minutes(m+0.7), minutes(m+1.2))
		}
	}
	s.out(minutes(37), 90*time.Millisecond, "jan", audit.KindLeave, "left")
	timeline, spoken, _ := s.close(minutes(38))
	suspicion, err := ParseSuspicion("network=hotel")
	if err != nil {
		t.Fatal(err)
	}
	r := Investigate(timeline, Options{Speech: spoken, Suspicions: []Suspicion{suspicion}})
	if len(r.Spans) != 1 || r.Spans[0].Causes[0] != CauseSuspect || r.Spans[0].MS != minutes(18).Milliseconds() {
		t.Fatalf("%+v", r.Spans)
	}
	in := Interval{r.Spans[0].From, r.Spans[0].To}
	for _, h := range r.Spans[0].Spoke {
		for name, a := range s.legs {
			if a.id.Text() == h.Leg {
				if d := off(time.Duration(h.MS)*time.Millisecond, s.truth(name, in)); d > exact {
					t.Errorf("%s spoke %v off the truth", name, d)
				}
			}
		}
	}
	if len(r.Spans[0].Spoke) != 2 || len(r.Spans[0].Screens) != 1 || r.Spans[0].Screens[0].MS != minutes(3).Milliseconds() {
		t.Errorf("%+v", r.Spans[0])
	}
	for _, text := range []string{"device=" + conclave.DeviceID(s.actor("jan").device).Text(), "country=SG"} {
		one, err := ParseSuspicion(text)
		if err != nil {
			t.Fatal(err)
		}
		one.From, one.To = s.began.Add(minutes(10)), s.began.Add(minutes(12))
		if r := Investigate(timeline, Options{Suspicions: []Suspicion{one}}); len(r.Spans) != 1 || r.Spans[0].MS != minutes(2).Milliseconds() {
			t.Errorf("%s from 10 to 12: %+v", text, r.Spans)
		}
	}
}

// However the server's clock was set while a line was bad, or before, the exposure is as long as it was.
func TestAClockThatIsSetShortensNoExposure(t *testing.T) {
	hour := time.Hour
	for name, play := range map[string]func(at time.Duration, r *audit.Record){
		"it goes right": func(time.Duration, *audit.Record) {},
		"an hour ahead for a moment": func(at time.Duration, r *audit.Record) {
			if at > minutes(8) && at < minutes(9.5) {
				r.Steady, r.Time = r.Time, r.Time.Add(hour)
			}
		},
		"an hour ahead, and put right when the server started again": func(at time.Duration, r *audit.Record) {
			if at < minutes(9.5) {
				r.Time = r.Time.Add(hour)
			}
		},
		"an hour back in the middle": func(at time.Duration, r *audit.Record) {
			if at > minutes(20) {
				r.Steady, r.Time = r.Time, r.Time.Add(-hour)
			}
		},
		"an hour back when the server started again": func(at time.Duration, r *audit.Record) {
			if at > minutes(20) {
				r.Time = r.Time.Add(-hour)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 9)
			line := facts("network", "headquarters")
			s.enter(0, "anna", conclave.GradeGuarded, line)
			s.enter(minutes(1), "jan", conclave.GradeGuarded, line)
			s.rule(minutes(9), "anna", "admit", conclave.GradeGuarded, line)
			s.rule(minutes(10), "jan", "refuse", conclave.GradeSealed, facts("network", "unlisted"), "network_not_approved")
			for _, at := range []time.Duration{minutes(20), minutes(20) + 100*time.Millisecond, minutes(25)} {
				s.rule(at, "anna", "admit", conclave.GradeGuarded, line)
			}
			s.out(minutes(30), 0, "jan", audit.KindQuarantine, "network_not_approved")
			timeline := NewTimeline(s.meeting)
			for i, e := range s.entries {
				e.Index = audit.Index(i + 1)
				play(e.Record.Time.Sub(s.began), &e.Record)
				timeline.Add(e)
			}
			timeline.Close(timeline.last)
			if timeline.ClockSet != (name != "it goes right") {
				t.Errorf("the clock was set: %v", timeline.ClockSet)
			}
			found := timeline.Exposures(nil)
			if len(found) != 1 || off(found[0].To.Sub(found[0].From), minutes(20)) > exact {
				t.Errorf("%+v", found)
			}
		})
	}
}

func TestEachCauseOfAnExposureIsNamed(t *testing.T) {
	at := func(name string, play func(*script), want []Cause, span time.Duration) {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 3)
			s.enter(0, "anna", conclave.GradeGuarded, nil)
			play(s)
			timeline, _, _ := s.close(minutes(10))
			found := timeline.Exposures(nil)
			if len(found) != 1 || !slices.Equal(found[0].Causes, want) || off(found[0].To.Sub(found[0].From), span) > exact {
				for _, e := range found {
					t.Errorf("%v for %v", e.Causes, e.To.Sub(e.From))
				}
				t.Errorf("want %v for %v", want, span)
			}
		})
	}
	at("a phone behind our gateway", func(s *script) {
		s.enter(minutes(2), "phone", conclave.GradeHop, facts("kind", "hop"))
		s.out(minutes(5), time.Second, "phone", audit.KindLeave, "left")
	}, []Cause{CauseHop}, minutes(3)+time.Second)
	at("an ordinary phone", func(s *script) {
		s.enter(minutes(2), "phone", conclave.GradeOpen, facts("kind", "phone"))
		s.out(minutes(5), time.Second, "phone", audit.KindRemoval, "removed_other")
	}, []Cause{CauseOpen}, minutes(3)+time.Second)
	at("an exception", func(s *script) {
		s.enter(minutes(2), "jan", conclave.GradeSealed, nil)
		s.record(minutes(2), audit.Record{Kind: audit.KindException, Leg: s.actor("jan").id, Outcome: "admit"})
		s.record(minutes(4), audit.Record{Kind: audit.KindException, Leg: s.actor("jan").id, Outcome: "done"})
	}, []Cause{CauseException}, minutes(2))
	at("a pass that ran out", func(s *script) {
		jan := s.actor("jan")
		s.rule(minutes(1), "jan", "admit", conclave.GradeSealed, nil)
		s.record(minutes(1), audit.Record{Kind: audit.KindPass, Leg: jan.id})
		s.record(minutes(1), audit.Record{Kind: audit.KindEnter, Leg: jan.id})
		s.record(minutes(3), audit.Record{Kind: audit.KindPass, Leg: jan.id})
		jan.in = minutes(1)
	}, []Cause{CauseLapsed}, minutes(2))
	at("nobody let it in", func(s *script) {
		jan := s.actor("jan")
		s.record(minutes(1), audit.Record{Kind: audit.KindEnter, Leg: jan.id})
		jan.in = minutes(1)
	}, []Cause{CauseStranger}, minutes(9))
}

func TestAnExposureIsPartedWhereTheLevelIsRaised(t *testing.T) {
	s := newScript(t, 4)
	s.enter(0, "anna", conclave.GradeHop, nil)
	higher := conclave.Level(3)
	s.record(minutes(4), audit.Record{Kind: audit.KindLevelRaised, Level: &higher, Outcome: "wait"})
	s.record(minutes(5), audit.Record{Kind: audit.KindLevelRaised, Level: &higher, Outcome: "done"})
	timeline, _, _ := s.close(minutes(9))
	r := Investigate(timeline, Options{})
	if len(r.Spans) != 2 || r.Spans[0].Level != 2 || r.Spans[1].Level != 3 || off(time.Duration(r.Spans[1].MS)*time.Millisecond, minutes(4)) > exact {
		t.Errorf("%+v", r.Spans)
	}
}

func TestAnEntryThatHadNoEffectOpensNoStay(t *testing.T) {
	s := newScript(t, 4)
	s.enter(0, "anna", conclave.GradeGuarded, nil)
	s.rule(minutes(1), "jan", "admit", conclave.GradeHop, nil)
	jan := s.actor("jan")
	entry := audit.Record{Kind: audit.KindEnter, Leg: jan.id, Device: jan.device, Epoch: 7}
	s.record(minutes(1), entry)
	s.record(minutes(1), audit.Record{Kind: audit.KindUndone, Leg: jan.id, Codes: []string{string(audit.KindEnter)}, Epoch: 7})
	timeline, _, _ := s.close(minutes(9))
	if l := timeline.Leg(jan.id); len(l.Stays) != 0 {
		t.Errorf("jan was in: %+v", l.Stays)
	}
	if r := Investigate(timeline, Options{}); len(r.Spans) != 0 {
		t.Errorf("exposed: %+v", r.Spans)
	}
}

func TestLedgersThatWereDeletedOnRecordAreNotMissing(t *testing.T) {
	s := newScript(t, 6)
	s.enter(0, "anna", conclave.GradeGuarded, nil)
	timeline, _, _ := s.close(minutes(9))
	if timeline.Ledgers() == 0 {
		t.Fatal("no ledgers")
	}
	key := s.key
	if _, bad := timeline.OpenSpeech(key, nil); len(bad.Strange) != timeline.Ledgers() || bad.Deleted != 0 {
		t.Errorf("without the record: %+v", bad)
	}
	timeline.Add(audit.Entry{Index: 1 << 20, Record: audit.Record{Kind: audit.KindDeleted, Meeting: timeline.Meeting, Time: s.began.Add(minutes(100)),
		Codes: []string{audit.DeletedLedgers}, Until: s.began.Add(minutes(60))}})
	if _, bad := timeline.OpenSpeech(key, nil); len(bad.Strange) != 0 || bad.Deleted != timeline.Ledgers() {
		t.Errorf("with it: %+v", bad)
	}
}

func TestAQuietMeetingHasNoExposure(t *testing.T) {
	s := newScript(t, 5)
	s.enter(0, "anna", conclave.GradeGuarded, nil)
	s.enter(minutes(1), "jan", conclave.GradeSealed, nil)
	s.out(minutes(8), 100*time.Millisecond, "jan", audit.KindLeave, "left")
	s.record(minutes(2), audit.Record{Kind: audit.KindRuling, Leg: conclave.LegID{99}, Outcome: "refuse", Codes: []string{"not_invited"}})
	timeline, spoken, _ := s.close(minutes(9))
	r := Investigate(timeline, Options{Speech: spoken})
	if len(r.Spans) != 0 || r.Totals.ExposedMS != 0 {
		t.Errorf("%+v", r.Spans)
	}
	for _, l := range r.Legs {
		if len(l.Stays) > 0 && l.Ledger != "whole" {
			t.Errorf("ledger of %s is %s, %d ms missing", l.Leg, l.Ledger, l.Unclear)
		}
	}
}

func TestBlocksThatNobodyRecordedAreNotBelieved(t *testing.T) {
	s := newScript(t, 6)
	s.enter(0, "anna", conclave.GradeGuarded, nil)
	s.speak("anna", minutes(1), minutes(2))
	timeline, spoken, _ := s.close(minutes(5))
	whole := spoken[s.legs["anna"].id].Blocks
	missing := slices.Delete(slices.Clone(s.blocks), 1, 2)
	twice := append(slices.Clone(s.blocks), s.blocks[0])
	moved := slices.Clone(s.blocks)
	moved[0].Leg = conclave.LegID{42}
	changed := slices.Clone(s.blocks)
	changed[2].Sealed = slices.Clone(changed[2].Sealed)
	changed[2].Sealed[900] ^= 1
	swapped := slices.Clone(s.blocks)
	swapped[0].Minute, swapped[1].Minute = 1, 0
	for name, c := range map[string]struct {
		blocks              []Sealed
		opened, extra, shut int
		strange             int
	}{
		"one is missing": {missing, whole - 1, 0, 0, 1}, "one comes twice": {twice, whole, 1, 0, 0}, "another leg's": {moved, whole - 1, 1, 0, 1},
		"changed": {changed, whole - 1, 1, 0, 1}, "minutes swapped": {swapped, whole - 2, 0, 2, 0},
	} {
		spoken, bad := timeline.OpenSpeech(s.key, c.blocks)
		if got := spoken[s.legs["anna"].id].Blocks; got != c.opened || bad.Extra != c.extra || bad.Shut != c.shut || len(bad.Strange) != c.strange {
			t.Errorf("%s: %d opened, %+v", name, got, bad)
		}
	}
}

// A hundred meetings by chance: who comes when, whose line turns bad when, who speaks when; clocks that drift by up to 100
// parts in a million over two hours and lines of up to 80 ms. The report must tell each exposure, and who spoke how long in
// it, to within exact.
func TestReportsAreTrueToAFifthOfASecond(t *testing.T) {
	var worstSpan, worstSpoke time.Duration
	spans := 0
	for seed := range uint64(100) {
		chance := mathrand.New(mathrand.NewPCG(seed, 99))
		s := newScript(t, 1000+seed)
		type bad struct {
			name     string
			from, to time.Duration
		}
		var truth []bad
		end := minutes(20 + 100*chance.Float64())
		for i := range 3 + chance.IntN(5) {
			name := fmt.Sprintf("p%d", i)
			in := time.Duration(chance.Int64N(int64(end / 3)))
			s.enter(in, name, conclave.GradeGuarded, facts("network", "headquarters"))
			for at := in + minutes(0.1); at < end; {
				long := time.Duration(200+chance.IntN(20_000)) * time.Millisecond
				if at+long < end {
					s.speak(name, at, at+long)
				}
				at += long + time.Duration(1000+chance.IntN(60_000))*time.Millisecond
			}
			if chance.IntN(2) == 0 {
				continue
			}
			turns := in + time.Duration(chance.Int64N(int64(end-in-minutes(2))))
			a := s.actor(name)
			s.rule(turns+5*time.Millisecond, name, "refuse", conclave.GradeSealed, facts("network", "unlisted"), "network_not_approved")
			s.record(turns+6*time.Millisecond, audit.Record{Kind: audit.KindFacts, Leg: a.id, Device: a.device})
			keys := time.Duration(100+chance.IntN(60_000)) * time.Millisecond // a slow room: up to a minute
			s.out(turns+9*time.Millisecond, keys, name, audit.KindQuarantine, "network_not_approved")
			truth = append(truth, bad{name, turns, turns + 9*time.Millisecond + keys})
		}
		timeline, spoken, _ := s.close(end)
		r := Investigate(timeline, Options{Speech: spoken})
		if len(r.Spans) != len(truth) {
			t.Fatalf("seed %d: %d exposures, in truth %d", seed, len(r.Spans), len(truth))
		}
		for _, want := range truth {
			i := slices.IndexFunc(r.Spans, func(e SpanPart) bool { return e.Leg == s.legs[want.name].id.Text() })
			e := r.Spans[i]
			spans++
			worstSpan = max(worstSpan, off(e.From.Sub(s.began), want.from), off(e.To.Sub(s.began), want.to))
			for name, a := range s.legs {
				in := Interval{s.began.Add(want.from), s.began.Add(want.to)}
				if a.in > want.from { // came in within it
					in.From = s.began.Add(max(a.knows, want.from))
				}
				if a.out < want.to { // was out before its end
					in.To = s.began.Add(a.out)
				}
				said := max(s.truth(name, in), 0)
				var told time.Duration
				for _, h := range e.Spoke {
					if h.Leg == a.id.Text() {
						told = time.Duration(h.MS) * time.Millisecond
					}
				}
				worstSpoke = max(worstSpoke, off(told, said))
				if off(told, said) > exact {
					t.Errorf("seed %d: %s spoke %v in it, told %v (drift %.0f ppm, delay %v, out %v)", seed, name, said, told, a.drift*1e6, a.delay, a.out)
				}
			}
		}
	}
	t.Logf("%d exposures: ends at most %v off, speech at most %v", spans, worstSpan, worstSpoke)
	if worstSpan > exact || spans < 100 {
		t.Errorf("%d spans, at most %v off", spans, worstSpan)
	}
}
