package roster

import (
	"testing"
	"time"

	"conclave"
)

func problems(codes ...string) []conclave.Problem {
	var out []conclave.Problem
	for _, c := range codes {
		out = append(out, conclave.Problem{Code: c, Fix: "f"})
	}
	return out
}

func (s *stage) admit(name byte, seconds float64) {
	s.Helper()
	if s.room.Admit(id(name), []byte("pass"), at(seconds+300), conclave.GradeSealed, at(seconds)) == nil {
		s.Errorf("%c was not admitted", name)
	}
}

func TestALegInQuarantineIsKeylessWithTheCommitAndComesBack(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	s.want(s.room.Quarantine(id('b'), problems("line_too_weak"), at(1)), "cut b; propose b 1; told b line_too_weak; changed")
	s.standing("am cm bq")
	s.want(s.room.Quarantine(id('b'), problems("line_too_weak"), at(2)), "")
	s.want(s.room.Quarantine(id('b'), problems("not_alone", "line_too_weak"), at(2)), "told b not_alone; changed")
	if n := s.room.Going(); n != 1 {
		t.Errorf("%d leaves are to go", n)
	}
	s.want(s.room.Committed(nil), "propose b 1") // a commit that left it out
	s.want(s.room.Committed([]Leaf{1}), "keyless b; changed")
	s.want(s.room.Tick(at(20)), "")
	s.admit('b', 30)
	effects, err := s.room.Enter(id('b'), 1, nil, at(31))
	if err != nil {
		t.Fatal(err)
	}
	s.want(effects, "changed")
	s.standing("am cm bm")
}

func TestALegMayHealBeforeItsRemovalIsCommitted(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	s.room.Quarantine(id('b'), problems("line_too_weak"), at(1))
	s.admit('b', 2)
	s.want(s.room.Tick(at(6)), "overdue b 1s; propose b 1") // its old keys are still to be voided
	effects, _ := s.room.Enter(id('b'), 1, []Leaf{1}, at(7))
	s.want(effects, "keyless b; changed")
	s.want(s.room.Committed(nil), "")
	s.standing("am cm bm")
}

func TestAQuarantineEndsAfterItsTimeAndWithTheChairsWord(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	for _, n := range "abc" {
		s.room.Pass(id(byte(n)), []byte("p"), at(10000), conclave.GradeSealed)
	}
	s.room.Quarantine(id('b'), problems("line_too_weak"), at(1))
	s.room.Quarantine(id('c'), problems("line_too_weak"), at(2))
	effects, _ := s.room.Remove(id('a'), id('c'), "other", at(3))
	s.want(effects, "cut c; ended c removed_other; propose c 2; changed")
	s.want(s.room.Committed([]Leaf{1, 2}), "keyless b; gone c removed_other; changed")
	s.want(s.room.Tick(at(600.9)), "")
	s.want(s.room.Tick(at(601)), "ended b quarantine_over; gone b quarantine_over; changed")
}

func TestALegInQuarantineKeepsItsPlaceOverALostLineAndARestart(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	s.room.Quarantine(id('b'), problems("line_too_weak"), at(1))
	s.want(s.room.Lose(id('b'), at(2)), "changed")
	if _, ok := s.room.Resume(id('b'), dev('x'), at(3)); ok {
		t.Error("another device came back to the place")
	}
	if _, ok := s.room.Resume(id('b'), dev('b'), at(200)); !ok {
		t.Error("the place was not kept")
	}
	s.room.Pause(id('a'), true, true, at(201))
	for _, tree := range []map[Leaf]conclave.DeviceID{{0: dev('a'), 1: dev('b')}, {0: dev('a')}} {
		room, err := Restore(s.room.Snapshot(), tree, nil, at(210))
		if err != nil {
			t.Fatal(err)
		}
		l, ok := room.Leg(id('b'))
		if !ok || l.Standing != Quarantined || l.InTree != (len(tree) == 2) || l.Reasons[0].Code != "line_too_weak" {
			t.Errorf("after a restart: %+v", l)
		}
		if p := room.Paused(); p == nil || !p.Since.Equal(at(201)) {
			t.Error("the pause was forgotten")
		}
	}
}

func TestTheLastMembersQuarantineDropsTheGroupAndItMakesTheNext(t *testing.T) {
	s := newStage(t)
	s.members("a")
	s.want(s.room.Quarantine(id('a'), problems("line_too_weak"), at(1)), "cut a; propose a 0; told a line_too_weak; changed; keyless a; dropped; changed")
	s.admit('a', 2)
	effects, _ := s.room.Enter(id('a'), 0, nil, at(3))
	s.want(effects, "changed")
}

func TestOneAtTheDoorWhoseLineIsWeakStaysThereUntilItIsGood(t *testing.T) {
	s := newStage(t)
	s.members("a")
	s.room.Join(leg('b', Waiting), at(1))
	s.want(s.room.Quarantine(id('b'), problems("not_alone"), at(2)), "cut b; told b not_alone; changed")
	s.want(s.room.Hold(id('b'), false, at(3)), "changed")
	s.standing("am bw")
	s.room.Quarantine(id('b'), problems("not_alone"), at(4))
	s.want(s.room.Lose(id('b'), at(5)), "gone b left; changed")
}

func TestTheDeviceOfALegInQuarantineMayComeAnew(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	s.room.Quarantine(id('b'), problems("line_too_weak"), at(1))
	s.want(s.room.Join(legOn('c', 'b', Admitted), at(2)), "cut b; ended b leg_replaced; propose b 1; changed")
	effects, _ := s.room.Enter(id('c'), 1, []Leaf{1}, at(3))
	s.want(effects, "gone b leg_replaced; changed")
	s.standing("am cm")
}

func TestALevelIsRaisedOverNobodyWhoHasNotEntered(t *testing.T) {
	s := newStage(t)
	s.members("a")
	s.room.Join(leg('b', Admitted), at(1))
	s.want(s.room.Hold(id('b'), false, at(2)), "changed")
	if _, err := s.room.Enter(id('b'), 1, nil, at(2)); err == nil {
		t.Error("one who was held back entered")
	}
	if s.room.Hold(id('a'), true, at(2)) != nil {
		t.Error("a member was held back")
	}
}

func TestAnybodyPausesAndTheChairOrWhoPausedContinues(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	s.room.Join(leg('d', Waiting), at(0))
	s.wantProblem(s.room.MayPause(id('d'), true, at(2)), "leg_unknown")
	if err := s.room.MayPause(id('b'), true, at(2)); err != nil {
		t.Fatal(err)
	}
	s.want(s.room.Pause(id('b'), true, false, at(1)), "changed")
	s.wantProblem(s.room.MayPause(id('c'), true, at(2)), "paused_already")
	s.wantProblem(s.room.MayPause(id('c'), false, at(2)), "not_yours_to_continue")
	for _, n := range "ab" {
		if err := s.room.MayPause(id(byte(n)), false, at(2)); err != nil {
			t.Errorf("%c may not continue: %v", n, err)
		}
	}
	s.room.Pause(id('b'), false, false, at(2))
	s.room.Pause(id('b'), true, true, at(3))
	if s.room.Paused().By != (conclave.LegID{}) {
		t.Error("a pause without a name has one")
	}
	s.wantProblem(s.room.MayPause(id('b'), false, at(2)), "not_yours_to_continue")
}

func TestAnExceptionTakesTwoPersonsAReasonAndAnEnd(t *testing.T) {
	s := newStage(t)
	for i, n := range "abc" {
		l := leg(byte(n), Admitted)
		l.Person = conclave.PersonID(n)
		s.room.Join(l, at(0))
		s.room.Enter(id(byte(n)), Leaf(i), nil, at(0))
	}
	again := legOn('e', 'e', Admitted) // the chair's second device
	again.Person = "a"
	s.room.Join(again, at(0))
	s.room.Enter(id('e'), 3, nil, at(0))
	guest := leg('d', Quarantined)
	guest.Reasons = problems("device_too_weak")
	s.room.Join(guest, at(1))

	_, err := s.room.Except(id('b'), id('d'), nil, "the minister", 10*time.Minute, at(2))
	s.wantProblem(err, "not_chair")
	_, err = s.room.Except(id('a'), id('c'), nil, "the minister", 10*time.Minute, at(2))
	s.wantProblem(err, "leg_unknown") // nothing stands in its way
	e, err := s.room.Except(id('a'), id('d'), guest.Reasons, "the minister", 10*time.Minute, at(2))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.room.Except(id('a'), id('d'), nil, "the minister", 10*time.Minute, at(2))
	s.wantProblem(err, "exception_twice")
	for _, by := range "aed" { // who asked, on whatever device, and for whom it is
		if _, err := s.room.MayConfirm(id(byte(by)), e.ID); err == nil {
			t.Errorf("%c may confirm", by)
		}
	}
	if _, err := s.room.MayConfirm(id('b'), e.ID); err != nil {
		t.Fatal(err)
	}
	if s.room.Excepted(id('d'), at(3)) {
		t.Error("one person's word was enough")
	}
	s.want(s.room.Confirm(id('b'), e.ID, true, at(10)), "let in d; changed")
	if !s.room.Excepted(id('d'), at(10)) || s.room.Excepted(id('d'), at(610)) || s.room.Excepted(id('c'), at(10)) {
		t.Error("the exception is not for this leg and this time")
	}
	s.admit('d', 10)
	s.room.Enter(id('d'), 4, nil, at(11))
	for _, l := range s.room.Legs() {
		s.room.Pass(l.ID, []byte("p"), at(10000), l.Grade)
	}
	if next, ok := s.room.Next(); !ok || next != at(610) {
		t.Errorf("next is %v", next)
	}
	s.want(s.room.Tick(at(610)), "over 1 done; changed")
	if len(s.room.Exceptions()) != 0 {
		t.Error("it is not over")
	}
}

func TestAnExceptionThatNobodyConfirmsLapsesAndADeclinedOneIsOver(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	for _, n := range "ab" {
		s.room.Pass(id(byte(n)), []byte("p"), at(10000), conclave.GradeSealed)
	}
	s.room.legs[id('a')].Person, s.room.legs[id('b')].Person = "a", "b"
	for _, n := range "cd" {
		l := leg(byte(n), Quarantined)
		l.Person = conclave.PersonID(n)
		s.room.Join(l, at(1))
		if _, err := s.room.Except(id('a'), id(byte(n)), nil, "why", time.Minute, at(1)); err != nil {
			t.Fatal(err)
		}
	}
	s.want(s.room.Confirm(id('b'), 2, false, at(2)), "over 2 refuse; changed")
	s.want(s.room.Tick(at(301)), "over 1 refuse; changed")
}

func TestAPauseThatNobodyIsInToEndIsEverybodysAfterAWhile(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	for _, n := range "abc" {
		s.room.Pass(id(byte(n)), []byte("p"), at(10000), conclave.GradeSealed)
	}
	s.room.Pause(id('b'), true, true, at(10))
	s.want(s.room.Tick(at(500)), "") // the chair is in: it is theirs
	s.wantProblem(s.room.MayPause(id('c'), false, at(500)), "not_yours_to_continue")
	s.room.Drop(id('a'), problemLeft, at(500))
	s.room.Committed([]Leaf{0})
	if next, ok := s.room.Next(); !ok || next.After(at(500)) {
		t.Errorf("next at %v", next)
	}
	s.want(s.room.Tick(at(500)), "changed")
	if err := s.room.MayPause(id('c'), false, at(500)); err != nil || !s.room.PauseOpen(at(500)) {
		t.Error(err)
	}
	s.room.Pause(id('c'), false, false, at(501))
	s.want(s.room.Tick(at(501)), "changed")

	// Who paused under a name is known by another leg too; while they are away, the others wait no longer than that.
	people := map[byte]conclave.PersonID{'d': "dora", 'e': "dora"}
	join := func(name byte, leaf Leaf) {
		l := leg(name, Admitted)
		l.Person, l.PassUntil = people[name], at(10000)
		s.room.Join(l, at(600))
		if _, err := s.room.Enter(id(name), leaf, nil, at(600)); err != nil {
			t.Fatal(err)
		}
	}
	join('d', 5)
	s.room.Pause(id('d'), true, false, at(600))
	s.room.Drop(id('d'), problemLeft, at(610))
	s.room.Committed([]Leaf{5})
	s.wantProblem(s.room.MayPause(id('c'), false, at(719)), "not_yours_to_continue")
	if !s.room.PauseOpen(at(720)) {
		t.Error("after two minutes it is nobody's")
	}
	join('e', 6)
	if s.room.PauseOpen(at(720)) || s.room.Paused().By != id('e') {
		t.Errorf("dora is back: %+v", s.room.Paused())
	}
	if err := s.room.MayPause(id('e'), false, at(720)); err != nil {
		t.Error(err)
	}
}
