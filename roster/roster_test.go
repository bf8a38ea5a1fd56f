package roster

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"conclave"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// stage plays a meeting: legs are named a to e, each on a device of its own unless told otherwise, a is the chair, and time
// is in seconds since the meeting began.
type stage struct {
	*testing.T
	room *Room
}

func newStage(t *testing.T) *stage { return &stage{t, New()} }

func id(name byte) conclave.LegID     { return conclave.LegID{name} }
func dev(name byte) conclave.DeviceID { return conclave.DeviceID{name} }
func at(seconds float64) time.Time    { return began.Add(time.Duration(seconds * float64(time.Second))) }
func role(name byte) conclave.Role {
	return map[bool]conclave.Role{true: "chair", false: "member"}[name == 'a']
}
func leg(name byte, s Standing) Leg { return legOn(name, name, s) }
func legOn(name, d byte, s Standing) Leg {
	return Leg{ID: id(name), Device: dev(d), Role: role(name), Standing: s, Pass: []byte("pass"), PassUntil: at(300)}
}

// members makes legs members, with leaves 0, 1, …
func (s *stage) members(names string) {
	s.Helper()
	for i, n := range []byte(names) {
		s.room.Join(leg(n, Admitted), at(0))
		if _, err := s.room.Enter(id(n), Leaf(i), nil, at(0)); err != nil {
			s.Fatal(err)
		}
	}
}

// want compares effects with words such as "cut b removed_other; propose b 1; changed".
func (s *stage) want(got []Effect, want string) {
	s.Helper()
	var words []string
	for _, e := range got {
		switch e := e.(type) {
		case LetIn:
			words = append(words, fmt.Sprintf("let in %c", e.Leg[0]))
		case Told:
			words = append(words, fmt.Sprintf("told %c %s", e.Leg[0], e.Reasons[0].Code))
		case Keyless:
			words = append(words, fmt.Sprintf("keyless %c", e.Leg[0]))
		case ExceptionOver:
			words = append(words, fmt.Sprintf("over %d %s", e.Exception.ID, e.Outcome))
		case Cut:
			words = append(words, fmt.Sprintf("cut %c", e.Leg[0]))
		case Ended:
			words = append(words, fmt.Sprintf("ended %c %s", e.Leg[0], e.Why.Code))
			if e.Why.Fix == "" {
				s.Errorf("%s has no fix", e.Why.Code)
			}
		case Propose:
			words = append(words, fmt.Sprintf("propose %c %d", e.Leg[0], e.Leaf))
		case Overdue:
			words = append(words, fmt.Sprintf("overdue %c %v", e.Leg[0], e.Since.Sub(began)))
		case Gone:
			words = append(words, fmt.Sprintf("gone %c %s", e.Leg[0], e.Why.Code))
		case Changed:
			words = append(words, "changed")
		case Dropped:
			words = append(words, "dropped")
		}
	}
	if text := strings.Join(words, "; "); text != want {
		s.Errorf("got  %q\nwant %q", text, want)
	}
}

func (s *stage) wantProblem(err error, code string) {
	s.Helper()
	var p conclave.Problem
	if !errors.As(err, &p) || p.Code != code || p.Fix == "" {
		s.Errorf("got %v, want problem %s with a fix", err, code)
	}
}

// standing compares who is in the room: letters with m for member, w, a, l for the others, - for lost.
func (s *stage) standing(want string) {
	s.Helper()
	var words []string
	for _, l := range s.room.Legs() {
		w := fmt.Sprintf("%c%c", l.ID[0], "?wamlq"[l.Standing])
		if !l.Lost.IsZero() {
			w += "-"
		}
		words = append(words, w)
	}
	if got := strings.Join(words, " "); got != want {
		s.Errorf("in the room are %q, want %q", got, want)
	}
}

func TestWhoIsAdmittedEntersAndWhoWaitsIsDecidedOnByTheChair(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	s.want(s.room.Join(leg('c', Waiting), at(1)), "changed")
	s.standing("am bm cw")
	_, err := s.room.Enter(id('c'), 2, nil, at(1))
	s.wantProblem(err, "leg_unknown") // nobody walks past the door
	_, err = s.room.Decide(id('b'), id('c'), true, at(2))
	s.wantProblem(err, "not_chair")
	_, err = s.room.Decide(id('c'), id('c'), true, at(2))
	s.wantProblem(err, "not_chair")
	effects, err := s.room.Decide(id('a'), id('c'), true, at(2))
	s.want(effects, "let in c; changed")
	if err != nil {
		t.Fatal(err)
	}
	s.want(s.room.Admit(id('c'), []byte("pass"), at(302), conclave.GradeSealed, at(2)), "changed")
	effects, _ = s.room.Enter(id('c'), 2, nil, at(3))
	s.want(effects, "changed")
	s.standing("am bm cm")
	_, err = s.room.Decide(id('a'), id('c'), true, at(4))
	s.wantProblem(err, "leg_unknown") // decided already
}

func TestTheChairDeclines(t *testing.T) {
	s := newStage(t)
	s.members("a")
	s.room.Join(leg('c', Waiting), at(1))
	effects, _ := s.room.Decide(id('a'), id('c'), false, at(2))
	s.want(effects, "ended c door_declined; gone c door_declined; changed")
	s.standing("am")
}

func TestARemovedLegHearsNothingAtOnceAndIsGoneWithTheCommit(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	_, err := s.room.Remove(id('b'), id('c'), "other", at(1))
	s.wantProblem(err, "not_chair")
	_, err = s.room.Remove(id('a'), id('a'), "other", at(1))
	s.wantProblem(err, "remove_self")
	_, err = s.room.Remove(id('a'), id('x'), "other", at(1))
	s.wantProblem(err, "leg_unknown")
	effects, _ := s.room.Remove(id('a'), id('c'), "not_cleared", at(1))
	s.want(effects, "cut c; ended c removed_not_cleared; propose c 2; changed")
	s.standing("am bm cl")
	effects, _ = s.room.Remove(id('a'), id('c'), "other", at(1))
	s.want(effects, "") // already on the way
	s.want(s.room.Lose(id('c'), at(1)), "")
	s.want(s.room.Committed([]Leaf{2}), "gone c removed_not_cleared; changed")
	s.standing("am bm")
}

func TestWhoWasRemovedComesBackOnlyByTheChairsWordAlsoAfterARestart(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	s.room.legs[id('c')].Person = "cleo"
	c, _ := s.room.Leg(id('c'))
	s.room.Remove(id('a'), id('c'), "other", at(1))
	s.room.Committed([]Leaf{2})
	if !s.room.SentAway(c.Person) || s.room.SentAway("somebody") {
		t.Fatal("the wrong one is sent away")
	}
	again, err := Restore(s.room.Memory(), map[Leaf]conclave.DeviceID{}, nil, at(2))
	if err != nil || !again.SentAway(c.Person) {
		t.Fatalf("forgotten over a restart: %v", err)
	}
	c.ID, c.Standing, c.InTree, c.LetIn = id('d'), Waiting, false, false
	s.room.Join(c, at(3))
	if _, err := s.room.Decide(id('a'), id('d'), true, at(4)); err != nil || s.room.SentAway(c.Person) {
		t.Fatalf("let in again, and still sent away: %v", err)
	}
	// Removed while another leg of theirs is past the door and a third on its way in: both have to ask anew.
	s.want(s.room.Quarantine(id('d'), []conclave.Problem{{Code: "line_too_weak"}}, at(5)), "cut d; told d line_too_weak; changed")
	c.ID, c.Device, c.Standing = id('e'), dev('e'), Admitted
	s.room.Join(c, at(6))
	c.ID, c.Device, c.Standing = id('f'), dev('f'), Waiting
	s.room.Join(c, at(6))
	effects, err := s.room.Remove(id('a'), id('f'), "other", at(7))
	if err != nil {
		t.Fatal(err)
	}
	s.want(effects, "ended e removed_other; gone e removed_other; ended f removed_other; gone f removed_other; changed")
	if d, _ := s.room.Leg(id('d')); d.LetIn {
		t.Error("one in quarantine comes back past the door")
	}
}

func TestARemovalThatNobodyCommitsIsRepeatedAndRecorded(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	s.room.Remove(id('a'), id('c'), "other", at(10))
	if next, ok := s.room.Next(); !ok || next != at(15) {
		t.Errorf("next is %v", next)
	}
	s.want(s.room.Tick(at(14.9)), "")
	s.want(s.room.Tick(at(15)), "overdue c 10s; propose c 2")
	s.want(s.room.Tick(at(15.1)), "")
	s.want(s.room.Tick(at(20)), "overdue c 10s; propose c 2")
}

func TestARemovalOutlivesTheEpochInWhichItWasProposed(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	s.room.Remove(id('a'), id('c'), "other", at(10))
	s.want(s.room.Committed(nil), "propose c 2") // a commit that left it out
	s.room.Join(leg('d', Admitted), at(11))
	effects, _ := s.room.Enter(id('d'), 3, nil, at(11))
	s.want(effects, "propose c 2; changed") // an external commit cannot have it
}

func TestALegLeavesByItsOwnProposalOrByOurs(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	s.want(s.room.Leave(id('b'), true, at(1)), "cut b; ended b left; changed")
	s.want(s.room.Leave(id('c'), false, at(1)), "cut c; ended c left; propose c 2; changed")
	s.want(s.room.Committed([]Leaf{1, 2}), "gone b left; gone c left; changed")
	s.room.Join(leg('d', Waiting), at(2))
	s.want(s.room.Leave(id('d'), false, at(3)), "ended d left; gone d left; changed")
}

func TestAPlaceIsKeptForSixtySeconds(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	s.want(s.room.Lose(id('b'), at(10)), "changed")
	s.want(s.room.Lose(id('b'), at(11)), "")
	s.standing("am bm- cm")
	if next, _ := s.room.Next(); next != at(12) {
		t.Errorf("next is %v", next.Sub(began))
	}
	s.want(s.room.Tick(at(12)), "cut b; propose b 1; told b line_lost; changed")
	s.want(s.room.Committed([]Leaf{1}), "keyless b; changed")
	if next, _ := s.room.Next(); next != at(70) {
		t.Errorf("next is %v", next.Sub(began))
	}
	s.want(s.room.Tick(at(69)), "")
	if _, ok := s.room.Resume(id('b'), dev('x'), at(69)); ok {
		t.Error("another device took the place")
	}
	effects, ok := s.room.Resume(id('b'), dev('b'), at(69))
	s.want(effects, "changed")
	if !ok {
		t.Error("the place was not kept")
	}
	s.want(s.room.Admit(id('b'), []byte("p"), at(400), conclave.GradeSealed, at(69)), "changed")
	effects, _ = s.room.Enter(id('b'), 1, nil, at(69))
	s.want(effects, "changed")
	s.room.Lose(id('b'), at(100))
	s.want(s.room.Tick(at(102)), "cut b; propose b 1; told b line_lost; changed")
	s.want(s.room.Tick(at(160)), "overdue b 1m42s; propose b 1; cut b; ended b place_lost; propose b 1; changed")
	if _, ok := s.room.Resume(id('b'), dev('b'), at(161)); ok {
		t.Error("one on the way out came back to its place")
	}
}

// Who is back within two seconds finds its keys: a change of network costs the room nothing.
func TestAMemberThatIsBackAtOnceKeepsItsKeys(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	s.room.Lose(id('b'), at(10))
	s.want(s.room.Tick(at(11)), "")
	effects, _ := s.room.Resume(id('b'), dev('b'), at(11))
	s.want(effects, "changed")
	s.want(s.room.Tick(at(20)), "")
	s.standing("am bm")
}

// Where nobody's line is there nobody speaks, and nobody could change the keys: once one is back, the others have ten seconds.
func TestWhereAllLinesAreLostTheKeysGoOnceSomebodyIsBack(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	s.room.Lose(id('a'), at(10))
	s.room.Lose(id('b'), at(10))
	s.want(s.room.Tick(at(30)), "")
	if next, _ := s.room.Next(); next != at(70) {
		t.Errorf("next is %v", next.Sub(began))
	}
	s.room.Resume(id('a'), dev('a'), at(31))
	if next, _ := s.room.Next(); next != at(41) {
		t.Errorf("next is %v", next.Sub(began))
	}
	s.want(s.room.Tick(at(40)), "")
	s.want(s.room.Tick(at(41)), "cut b; propose b 1; told b line_lost; changed")
	s.standing("am bq-")
	if _, ok := s.room.Resume(id('b'), dev('b'), at(69)); !ok {
		t.Error("the place was not kept")
	}
	// A place that nobody took away is not kept for ever.
	s = newStage(t)
	s.members("ab")
	s.room.Lose(id('a'), at(10))
	s.room.Lose(id('b'), at(10))
	if _, ok := s.room.Resume(id('b'), dev('b'), at(70)); ok {
		t.Error("the place was kept too long")
	}
}

func TestALegThatIsNoMemberVanishesWithItsConnection(t *testing.T) {
	s := newStage(t)
	s.members("a")
	s.room.Join(leg('b', Waiting), at(1))
	s.room.Join(leg('c', Admitted), at(2))
	s.want(s.room.Lose(id('b'), at(3)), "gone b left; changed")
	s.want(s.room.Lose(id('c'), at(3)), "gone c left; changed")
	s.standing("am")
}

func TestAnAdmittedLegHasHalfAMinuteToEnter(t *testing.T) {
	s := newStage(t)
	s.room.Join(leg('b', Admitted), at(1))
	s.want(s.room.Tick(at(30)), "")
	s.room.Tried(id('b'), at(30)) // another was first
	s.want(s.room.Tick(at(59)), "")
	s.want(s.room.Tick(at(60)), "ended b enter_late; gone b enter_late; changed")
}

func TestADeviceIsInTheRoomOnce(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	// A second page on b's device replaces the first once it enters, with the first's leaf taken away in the same commit.
	s.want(s.room.Join(legOn('c', 'b', Admitted), at(5)), "changed")
	effects, _ := s.room.Enter(id('c'), 1, []Leaf{1}, at(6))
	s.want(effects, "cut b; ended b leg_replaced; gone b leg_replaced; changed")
	s.standing("am cm")
	// One that has not entered makes way at once.
	s.room.Join(legOn('d', 'd', Waiting), at(7))
	s.want(s.room.Join(legOn('e', 'd', Waiting), at(8)), "ended d leg_replaced; gone d leg_replaced; changed")
}

func TestARemovedDeviceThatComesBackTakesItsOldLeafAway(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	s.room.Remove(id('a'), id('b'), "other", at(1))
	s.room.Join(legOn('c', 'b', Admitted), at(2))
	effects, _ := s.room.Enter(id('c'), 1, []Leaf{1}, at(3))
	s.want(effects, "gone b removed_other; changed")
	s.standing("am cm")
}

func TestAPassThatIsNotRenewedQuarantinesTheLeg(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	s.room.Pass(id('a'), []byte("p2"), at(450), conclave.GradeOpen)
	s.want(s.room.Tick(at(299)), "")
	s.want(s.room.Tick(at(300)), "cut b; propose b 1; told b pass_lapsed; changed")
	s.standing("am bq")
}

func TestAPassOfALostLegThatRunsOutEndsItsPlace(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	s.room.Pass(id('a'), []byte("p2"), at(450), conclave.GradeOpen)
	s.room.Lose(id('b'), at(290))
	s.want(s.room.Tick(at(300)), "cut b; ended b pass_lapsed; propose b 1; changed")
}

func TestTheGroupIsDroppedWhenNobodyIsLeftToCommit(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	s.room.Leave(id('b'), true, at(1))
	s.want(s.room.Leave(id('a'), true, at(2)), "cut a; ended a left; changed; gone a left; gone b left; dropped; changed")
	s.standing("")

	s = newStage(t)
	s.members("abc")
	s.room.Lose(id('a'), at(10))
	s.room.Remove(id('a'), id('c'), "other", at(11))
	s.room.Leave(id('b'), true, at(12)) // a is lost but may come back and commit
	s.standing("am- bl cl")
	s.want(s.room.Tick(at(70)), "cut a; ended a place_lost; propose a 0; changed; overdue b 12s; propose b 1; overdue c 11s; propose c 2; "+
		"gone a place_lost; gone b left; gone c removed_other; dropped; changed")
}

func TestTheEndPutsEverybodyOut(t *testing.T) {
	s := newStage(t)
	s.members("ab")
	s.room.Join(leg('c', Waiting), at(1))
	s.room.Leave(id('b'), true, at(1))
	s.want(s.room.End(conclave.Problem{Code: "meeting_over", Fix: "close"}, at(2)),
		"cut a; ended a meeting_over; gone a meeting_over; gone b meeting_over; cut c; ended c meeting_over; gone c meeting_over; dropped")
	if s.room.Len() != 0 {
		t.Error("somebody stayed")
	}
}

func TestWhatALegShowsIsShown(t *testing.T) {
	s := newStage(t)
	s.members("a")
	s.want(s.room.Show(id('a'), Shown{Muted: true}), "changed")
	s.want(s.room.Show(id('a'), Shown{Muted: true}), "")
	s.room.Join(leg('b', Waiting), at(1))
	s.want(s.room.Show(id('b'), Shown{Hand: true}), "") // not at the door
}

func TestAfterARestartEveryMemberIsLostAndKeepsItsPlace(t *testing.T) {
	s := newStage(t)
	s.members("abc")
	s.room.Join(leg('d', Waiting), at(1))
	s.room.Join(leg('e', Admitted), at(1))
	s.room.Lose(id('b'), at(2))
	s.room.Remove(id('a'), id('c'), "other", at(3))
	tree := map[Leaf]conclave.DeviceID{0: dev('a'), 1: dev('b'), 2: dev('c'), 3: dev('x')}
	newLeg := func() conclave.LegID { return id('X') }
	room, err := Restore(s.room.Snapshot(), tree, newLeg, at(400))
	if err != nil {
		t.Fatal(err)
	}
	s.room = room
	s.standing("am- bm- cl Xl") // door and admitted ask again; a leaf without a leg is put out
	s.want(s.room.Tick(at(400)), "overdue c 3s; propose c 2; overdue X 6m40s; propose X 3")
	// All come back over some seconds: whoever is first does not have the others put out.
	s.room.Resume(id('a'), dev('a'), at(401))
	if next, _ := s.room.Next(); next != at(405) { // of what is overdue
		t.Errorf("next is %v", next.Sub(began))
	}
	if effects := s.room.Tick(at(410)); len(effects) != 4 {
		t.Errorf("nine seconds after one is back: %v", effects)
	}
	s.standing("am bm- cl Xl")
	if _, ok := s.room.Resume(id('b'), dev('b'), at(459)); !ok {
		t.Error("the place was not kept over the restart")
	}
	got, _ := s.room.Leg(id('c'))
	if got.Why.Code != "removed_other" || got.Leaf != 2 {
		t.Errorf("the removal was forgotten: %+v", got)
	}
	// A leg that the tree does not know, or knows as another device, is not restored.
	room, _ = Restore(s.room.Snapshot(), map[Leaf]conclave.DeviceID{1: dev('b'), 2: dev('y')}, newLeg, at(500))
	s.room = room
	s.standing("bm- Xl")
	if _, err := Restore([]byte("{"), nil, nil, at(0)); err == nil {
		t.Error("restored from nonsense")
	}
}

func TestASnapshotHoldsEveryFieldOfALeg(t *testing.T) {
	r := New()
	want := Leg{ID: id('a'), Device: dev('a'), Person: "anna", Statement: []byte("s"), Role: conclave.RoleChair, Grade: conclave.GradeHop,
		Facts: []conclave.Fact{{Name: "n", Value: "v", Proven: true}}, Pass: []byte("p"), PassUntil: at(9), Standing: Leaving, Since: at(1),
		InTree: true, LetIn: true, Early: true, Seen: true, Reasons: []conclave.Problem{{Code: "r", Fix: "f"}},
		Leaf: 7, Shown: Shown{true, true, true, true}, Lost: at(2), Why: conclave.Problem{Code: "c", Args: map[string]string{"a": "b"}, Fix: "f"},
		Going: at(3), Overdue: at(4), Ticket: []byte("t")}
	if v := reflect.ValueOf(want); v.NumField() != 23 {
		t.Fatalf("a leg has %d fields: this test must fill them all", v.NumField())
	}
	r.legs[want.ID] = &want
	back, err := Restore(r.Snapshot(), map[Leaf]conclave.DeviceID{7: dev('a')}, nil, at(10))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := back.Leg(want.ID)
	want.Overdue = at(10) // due at once
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}
