package server

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"conclave"
	"conclave/signal"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func caller(n int) [sha256.Size]byte { return callerTag("pbx", fmt.Sprint("+4930", n)) }

func TestGuessersOfPhoneCodesAreBrakedAloneAndTogether(t *testing.T) {
	var p phones
	alerts := 0
	wrong := func(who int, at time.Time) {
		if p.wasWrong(caller(who), at) {
			alerts++
		}
	}
	for i := range wrongPerCaller {
		if !p.mayTry(caller(1), noon) {
			t.Fatalf("a caller may be wrong %d times", i)
		}
		wrong(1, noon)
	}
	if p.mayTry(caller(1), noon) || alerts != 1 {
		t.Errorf("one caller guesses on; %d alerts", alerts)
	}
	if !p.mayTry(caller(2), noon) {
		t.Error("another caller pays for the first")
	}
	if p.mayTry(caller(1), noon.Add(5*time.Minute)) || !p.mayTry(caller(1), noon.Add(7*time.Minute)) {
		t.Error("a ninth of an hour gives one try back, and nothing less")
	}
	// Many, each below their own bound.
	at := noon.Add(7 * time.Minute)
	for i := range wrongInAll {
		if !p.mayTry(caller(1000+i), at) {
			t.Fatalf("all together may be wrong %d times", i)
		}
		wrong(1000+i, at)
	}
	if p.mayTry(caller(5000), at) {
		t.Error("all together guess on")
	}
	if alerts != 1 {
		t.Errorf("%d alerts within ten minutes", alerts)
	}
	if !p.mayTry(caller(5000), at.Add(11*time.Second)) {
		t.Error("the brake on all does not let go")
	}
	for i := range wrongInAll {
		wrong(7000+i, at.Add(alertEvery))
	}
	if alerts != 2 {
		t.Errorf("%d alerts when it goes on", alerts)
	}
	// The number that a caller's network claims is nowhere.
	if fmt.Sprintf("%v", caller(1)) == fmt.Sprintf("%v", sha256.Sum256([]byte("pbx\x00+49301"))) {
		t.Error("a number is hashed without a salt")
	}
}

func TestRingsAreBoundedForAPersonAndInAll(t *testing.T) {
	var p phones
	// Each meeting rings few of them: its own budget is another test's.
	var n byte
	rings := func(person conclave.PersonID, at time.Time) bool {
		n++
		return p.mayRing(conclave.MeetingID{n}, person, at) == nil
	}
	if !rings("bert", noon) || rings("bert", noon.Add(ringPause-time.Second)) || !rings("bert", noon.Add(ringPause)) {
		t.Error("a person is rung once a minute")
	}
	p = phones{}
	person := func(i int) conclave.PersonID { return conclave.PersonID(fmt.Sprint("p", i)) }
	for i := range ringsPerDay {
		if !rings(person(i), noon) {
			t.Fatalf("only %d rings", i)
		}
	}
	if rings("one-more", noon) {
		t.Errorf("more than %d rings at once", ringsPerDay)
	}
	// The budget comes back over the day, and who was denied is not made to wait for it.
	later := noon.Add(24 * time.Hour / ringsPerDay)
	if !rings("one-more", later) || rings("another", later) {
		t.Error("a two-hundredth of a day gives one ring back, and nothing more")
	}
	if n := len(p.rings); n > maxCallers {
		t.Errorf("%d people are remembered", n)
	}
}

func TestAPersonIsLeftAloneAfterARingAndADayHasItsRings(t *testing.T) {
	p, now := new(phones), time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	var meeting byte // each rings few
	rings := func(person conclave.PersonID) string {
		meeting++
		if why := p.mayRing(conclave.MeetingID{meeting}, person, now); why != nil {
			return why.Code
		}
		return ""
	}
	if why := rings("anna"); why != "" {
		t.Fatal(why)
	}
	now = now.Add(ringPause - time.Second)
	if why := rings("anna"); why != "phone_ring_too_soon" {
		t.Errorf("rung again after %v: %q", ringPause-time.Second, why)
	}
	if why := rings("ben"); why != "" {
		t.Errorf("another person waits too: %q", why)
	}
	now = now.Add(time.Second)
	if why := rings("anna"); why != "" {
		t.Errorf("not rung again after %v: %q", ringPause, why)
	}
	n := 0
	for ; rings(conclave.PersonID(fmt.Sprint("person", n))) == ""; n++ {
		if n > 2*ringsPerDay {
			t.Fatal("there is no end of rings")
		}
	}
	if why := rings("carla"); why != "phone_rings_spent" || n < ringsPerDay-4 {
		t.Errorf("after %d rings more: %q", n, why)
	}
	now = now.Add(10 * time.Minute)
	if why := rings("carla"); why != "" {
		t.Errorf("ten minutes later, as people are told: %q", why)
	}
}

// Nobody is rung the whole day, and a meeting that has all rung again and again leaves the others their calls.
func TestRingsAreBoundedForAPersonsDayAndForAMeeting(t *testing.T) {
	p, now := new(phones), time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	rings := func(meeting byte, person conclave.PersonID) string {
		if why := p.mayRing(conclave.MeetingID{meeting}, person, now); why != nil {
			return why.Code
		}
		return ""
	}
	const times = ringsPerPerson
	for i := range times {
		if why := rings(byte(i), "bert"); why != "" { // whatever the meeting
			t.Fatalf("ring %d: %q", i, why)
		}
		now = now.Add(ringPause)
	}
	if why := rings(200, "bert"); why != "phone_rings_person" {
		t.Errorf("after %d rings: %q", times, why)
	}
	if now = now.Add(2 * time.Hour); rings(200, "bert") != "" || rings(200, "bert") != "phone_ring_too_soon" {
		t.Error("two hours later, as people are told, there is one more")
	}
	if now = now.Add(ringPause); rings(200, "bert") != "phone_rings_person" {
		t.Error("two hours later there is more than one more")
	}

	p = new(phones)
	person := func(i int) conclave.PersonID { return conclave.PersonID(fmt.Sprint("p", i)) }
	for i := range ringsPerMeeting {
		if why := rings(1, person(i)); why != "" {
			t.Fatalf("ring %d of a meeting: %q", i, why)
		}
	}
	for range ringsPerDay { // what is denied costs the others nothing
		if why := rings(1, "carla"); why != "phone_rings_meeting" {
			t.Fatalf("after %d rings: %q", ringsPerMeeting, why)
		}
	}
	if why := rings(2, "carla"); why != "" {
		t.Errorf("another meeting rings nobody any more: %q", why)
	}
	if now = now.Add(10 * time.Minute); rings(1, "david") != "" {
		t.Error("ten minutes later, as people are told, there is one more")
	}
}

// A call takes the place of its person's other one when it may come in, not when it asks: who is refused ends nothing.
func TestACallThatIsRefusedEndsNoOther(t *testing.T) {
	gateway, m := conclave.DeviceID{9}, conclave.MeetingID{1}
	good, bad := &phoneCall{gateway: gateway, person: "anna", meeting: m}, &phoneCall{gateway: gateway, person: "anna", meeting: m}
	p := phones{calls: map[signal.CallID]*phoneCall{{1}: good, {2}: bad}, legs: map[conclave.DeviceID]*phoneCall{}}
	if !p.seat(signal.CallID{1}, gateway, conclave.DeviceID{1}) || !p.seat(signal.CallID{2}, gateway, conclave.DeviceID{2}) {
		t.Fatal("a call has no seat")
	}
	p.unseat(conclave.DeviceID{2}) // it was refused
	if older := p.replaced(conclave.DeviceID{2}); older != nil {
		t.Error("a refused call replaces another")
	}
	if _, ok := p.leg(conclave.DeviceID{1}); !ok {
		t.Fatal("the good call is gone")
	}
	if !p.seat(signal.CallID{2}, gateway, conclave.DeviceID{2}) || p.replaced(conclave.DeviceID{2}) != good {
		t.Error("a call that may come in does not take the place of the one before")
	}
}
