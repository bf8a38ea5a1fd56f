package server

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"conclave"
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
	if !p.mayRing("bert", noon) || p.mayRing("bert", noon.Add(ringPause-time.Second)) || !p.mayRing("bert", noon.Add(ringPause)) {
		t.Error("a person is rung once a minute")
	}
	p = phones{}
	person := func(i int) conclave.PersonID { return conclave.PersonID(fmt.Sprint("p", i)) }
	for i := range ringsPerDay {
		if !p.mayRing(person(i), noon) {
			t.Fatalf("only %d rings", i)
		}
	}
	if p.mayRing("one-more", noon) {
		t.Errorf("more than %d rings at once", ringsPerDay)
	}
	// The budget comes back over the day, and who was denied is not made to wait for it.
	later := noon.Add(24 * time.Hour / ringsPerDay)
	if !p.mayRing("one-more", later) || p.mayRing("another", later) {
		t.Error("a two-hundredth of a day gives one ring back, and nothing more")
	}
	if n := len(p.rings); n > maxCallers {
		t.Errorf("%d people are remembered", n)
	}
}
