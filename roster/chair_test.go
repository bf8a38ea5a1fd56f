package roster

import (
	"testing"

	"conclave"
)

// persons is members whose persons are called as their legs are.
func (s *stage) persons(names string) {
	s.Helper()
	s.members(names)
	for _, n := range []byte(names) {
		s.room.legs[id(n)].Person = conclave.PersonID(string(rune(n)))
	}
}

// chairs names whose legs are the chair's.
func (s *stage) chairs(want string) {
	s.Helper()
	got := ""
	for _, l := range s.room.Legs() {
		if l.Role == conclave.RoleChair {
			got += string(rune(l.ID[0]))
		}
	}
	if got != want {
		s.Errorf("the chair is %q, want %q", got, want)
	}
}

func (s *stage) handOver(from, to byte, seconds float64) {
	s.Helper()
	if err := s.room.MayOffer(id(from), id(to)); err != nil {
		s.Fatal(err)
	}
	s.want(s.room.Offer(id(from), id(to), at(seconds)), "changed")
	if err := s.room.MayTake(id(to), at(seconds)); err != nil {
		s.Fatal(err)
	}
	s.want(s.room.Take(id(to)), "changed")
}

func (s *stage) restart(seconds float64) {
	s.Helper()
	leaves := map[Leaf]conclave.DeviceID{}
	for _, l := range s.room.Legs() {
		if l.InTree {
			leaves[l.Leaf] = l.Device
		}
	}
	room, err := Restore(s.room.Snapshot(), leaves, nil, at(seconds))
	if err != nil {
		s.Fatal(err)
	}
	s.room = room
}

func TestTheChairAloneMutesAllAndClosesTheDoor(t *testing.T) {
	s := newStage(t)
	s.persons("ab")
	s.wantProblem(s.room.MayPreside(id('b')), "not_chair")
	s.want(s.room.Hush(id('a'), at(1)), "changed")
	if h := s.room.Hushed(); h == nil || h.By != id('a') || !h.Since.Equal(at(1)) {
		t.Errorf("muted by %+v", h)
	}
}

func TestAClosedDoorTurnsAwayWhoWasNeverInAndKeepsThePlacesOfWhoWas(t *testing.T) {
	s := newStage(t)
	s.persons("abcde")
	s.room.Lose(id('b'), at(1))
	s.room.Quarantine(id('c'), problems("not_alone"), at(1))
	s.room.Join(leg('f', Waiting), at(1))
	s.room.Join(leg('g', Admitted), at(1))
	asks := leg('h', Quarantined)
	asks.Reasons = problems("not_alone")
	s.room.Join(asks, at(1))
	if err := s.room.MayEnter(conclave.RoleMember); err != nil {
		t.Errorf("the door is open: %v", err)
	}
	s.want(s.room.Close(id('a'), true, at(2)), "ended f door_closed; gone f door_closed; ended g door_closed; gone g door_closed; ended h door_closed; gone h door_closed; changed")
	s.standing("am bm- dm em cq")
	s.wantProblem(s.room.MayEnter(conclave.RoleMember), "door_closed")
	if err := s.room.MayEnter(conclave.RoleChair); err != nil {
		t.Errorf("the chair could never open it: %v", err)
	}
	// Who was in comes back to their places: over a lost line, and out of a quarantine.
	if _, ok := s.room.Resume(id('b'), dev('b'), at(3)); !ok {
		t.Error("a lost line has lost its place")
	}
	s.admit('c', 4)
	if _, err := s.room.Enter(id('c'), 2, []Leaf{2}, at(5)); err != nil {
		t.Error(err)
	}
	s.want(s.room.Close(id('a'), false, at(6)), "changed")
	if err := s.room.MayEnter(conclave.RoleMember); err != nil || s.room.Shut() != nil {
		t.Errorf("open again: %v", err)
	}
}

func TestADoorStaysClosedOverARestartAndAnEmptyRoomUntilTheMeetingIsOver(t *testing.T) {
	s := newStage(t)
	s.persons("ab")
	s.room.Close(id('a'), true, at(1))
	s.restart(2)
	s.wantProblem(s.room.MayEnter(conclave.RoleMember), "door_closed")
	if shut := s.room.Shut(); shut == nil || shut.By != id('a') || !shut.Since.Equal(at(1)) {
		t.Errorf("closed by %+v", shut)
	}
	s.room.Drop(id('a'), problemLeft, at(3))
	s.room.Drop(id('b'), problemLeft, at(3))
	if s.room.Len() != 0 {
		t.Fatal("somebody is left")
	}
	room, err := Restore(s.room.Memory(), nil, nil, at(4))
	if err != nil {
		t.Fatal(err)
	}
	s.room = room
	s.wantProblem(s.room.MayEnter(conclave.RoleMember), "door_closed")
	s.room.End(problemLeft, at(5))
	if s.room.Memory() != nil {
		t.Error("something outlives the meeting")
	}
}

func TestTheChairIsHandedOverToWhoAccepts(t *testing.T) {
	s := newStage(t)
	s.persons("abc")
	s.wantProblem(s.room.MayOffer(id('b'), id('c')), "not_chair")
	s.wantProblem(s.room.MayOffer(id('a'), id('a')), "chair_not_possible")
	s.wantProblem(s.room.MayOffer(id('a'), id('z')), "leg_unknown")
	s.wantProblem(s.room.MayTake(id('b'), at(1)), "chair_not_offered")
	s.want(s.room.Offer(id('a'), id('b'), at(1)), "changed")
	s.wantProblem(s.room.MayTake(id('c'), at(2)), "chair_not_offered") // another's
	s.wantProblem(s.room.MayTake(id('a'), at(2)), "chair_not_offered")
	s.chairs("a")
	if next, ok := s.room.Next(); !ok || next.After(at(1).Add(OfferDue)) {
		t.Errorf("next at %v", next)
	}
	// Either of the two ends it, nobody else.
	_, err := s.room.Withdraw(id('c'))
	s.wantProblem(err, "chair_not_offered")
	if _, err = s.room.Withdraw(id('b')); err != nil || s.room.Offered() != nil {
		t.Errorf("not declined: %v", err)
	}
	s.handOver('a', 'b', 3)
	s.chairs("b")
	s.wantProblem(s.room.MayPreside(id('a')), "not_chair")
	s.want(s.room.Settle(at(4)), "")
	s.handOver('b', 'c', 5)
	s.chairs("c")
	s.handOver('c', 'a', 6)
	s.chairs("a")
	if s.room.Given() != "" {
		t.Error("the meeting's own chair has it by a gift")
	}
}

func TestAnOfferLapsesAndGoesWithWhoeverItIsBetween(t *testing.T) {
	for name, end := range map[string]func(*stage){
		"time":               func(s *stage) {},
		"who offered leaves": func(s *stage) { s.room.Leave(id('a'), true, at(2)) },
		"who is asked goes":  func(s *stage) { s.room.Quarantine(id('b'), problems("not_alone"), at(2)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.persons("abc")
			s.room.Offer(id('a'), id('b'), at(1))
			when := at(3)
			if end(s); name == "time" {
				s.want(s.room.Settle(at(1).Add(OfferDue-1)), "")
				when = at(1).Add(OfferDue)
			}
			s.want(s.room.Settle(when), "changed")
			s.wantProblem(s.room.MayTake(id('b'), when), "chair_not_offered")
		})
	}
}

func TestAChairThatWasGivenFallsBackWhenItsHolderIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(*stage)
		falls bool
	}{
		"leaves":         {func(s *stage) { s.room.Leave(id('b'), true, at(2)) }, true},
		"a bad line":     {func(s *stage) { s.room.Quarantine(id('b'), problems("not_alone"), at(2)) }, true},
		"is put out":     {func(s *stage) { s.room.Drop(id('b'), problemLapsed, at(2)) }, true},
		"its line lost":  {func(s *stage) { s.room.Lose(id('b'), at(2)); s.room.Tick(at(5)) }, false},
		"a restart":      {func(s *stage) { s.restart(2) }, false},
		"the other goes": {func(s *stage) { s.room.Leave(id('a'), true, at(2)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.persons("abc")
			s.handOver('a', 'b', 1)
			c.end(s)
			effects := s.room.Settle(at(5))
			if !c.falls {
				s.want(effects, "")
				if s.room.Given() != "b" {
					t.Error("the chair is taken from who has it")
				}
				return
			}
			if len(effects) != 2 || effects[0] != (ChairBack{"b", "a"}) {
				t.Fatalf("%+v", effects)
			}
			s.chairs("a")
			s.want(s.room.Settle(at(6)), "")
		})
	}
}

func TestAPlaceThatIsKeptNoLongerIsTheEndOfItsChair(t *testing.T) {
	s := newStage(t)
	s.persons("abc")
	for _, n := range "abc" {
		s.room.Pass(id(byte(n)), []byte("p"), at(10000), conclave.GradeSealed)
	}
	s.handOver('a', 'b', 1)
	s.room.Lose(id('b'), at(2))
	s.room.Tick(at(5))
	s.room.Committed([]Leaf{1})
	s.want(s.room.Settle(at(61)), "")
	s.room.Tick(at(63))
	if effects := s.room.Settle(at(63)); len(effects) != 2 {
		t.Errorf("%+v", effects)
	}
	s.chairs("a")
}
