package line

import (
	"testing"
	"time"

	"conclave"
)

func TestALineFallsAtOnceAndRisesAfterAWhile(t *testing.T) {
	start := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	var s Steady
	for _, step := range []struct {
		ms    int
		seen  conclave.Grade
		want  conclave.Grade
		again int // ms; 0: never
	}{
		{0, conclave.GradeSealed, conclave.GradeSealed, 0}, // the first counts as it is
		{100, conclave.GradeGuarded, conclave.GradeSealed, 900},
		{899, conclave.GradeGuarded, conclave.GradeSealed, 900},
		{900, conclave.GradeGuarded, conclave.GradeGuarded, 0},
		{1000, conclave.GradeOpen, conclave.GradeOpen, 0}, // at once
		{1010, conclave.GradeGuarded, conclave.GradeOpen, 1810},
		{1100, conclave.GradeSealed, conclave.GradeOpen, 1810},
		{1200, conclave.GradeGuarded, conclave.GradeOpen, 2000},
		{1810, conclave.GradeGuarded, conclave.GradeSealed, 2000}, // the open line is long enough ago
		{2000, conclave.GradeGuarded, conclave.GradeGuarded, 0},
	} {
		grade, again := s.Sample(Assessment{Grade: step.seen}, start.Add(time.Duration(step.ms)*time.Millisecond))
		var want time.Time
		if step.again > 0 {
			want = start.Add(time.Duration(step.again) * time.Millisecond)
		}
		if grade != step.want || !again.Equal(want) {
			t.Errorf("at %d ms: %s, again %v", step.ms, grade, again.Sub(start))
		}
	}
}

func TestALooseContactDoesNotSettle(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	var s Steady
	alone := func(value string) Assessment {
		return Assessment{Grade: conclave.GradeSealed, Facts: []conclave.Fact{{Name: "alone", Value: value}}}
	}
	if s.Sample(alone("yes"), now); !settled(&s, now) {
		t.Error("a line that never changed is not settled")
	}
	for i := range 20 {
		now = now.Add(500 * time.Millisecond)
		s.Sample(alone([]string{"no", "yes"}[i%2]), now)
		if settled(&s, now) || settled(&s, now.Add(499*time.Millisecond)) {
			t.Fatal("it settled between two changes")
		}
	}
	if _, at := s.Settled(now); !at.Equal(now.Add(Hold)) || !settled(&s, at) {
		t.Errorf("it settles at %v", at)
	}
	if Hold > time.Second {
		t.Error("who mends a line shall be back within two seconds")
	}
}

func settled(s *Steady, now time.Time) bool {
	ok, _ := s.Settled(now)
	return ok
}

func TestALineThatChangesForeverKeepsNoMore(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	var s Steady
	for i := range 100_000 {
		now = now.Add(10 * time.Microsecond)
		s.Sample(Assessment{Grade: conclave.Grade(i % 4)}, now)
		if len(s.samples) > 1000 {
			t.Fatalf("%d samples are kept", len(s.samples))
		}
	}
}
