package admission

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"conclave"
)

// A ruling on what a record keeps is the ruling that was made, whatever the request, as long as nothing was claimed.
func TestARulingMadeAgainFromItsRecordIsTheSame(t *testing.T) {
	p := Default()
	chance := rand.New(rand.NewPCG(3, 4))
	yes := func() bool { return chance.IntN(2) == 0 }
	now := time.Date(2026, 4, 17, 9, 0, 0, 0, time.UTC)
	outcomes := map[conclave.Outcome]int{}
	for range 20_000 {
		r := Request{
			Person:  Person{ID: "anna", Known: chance.IntN(8) > 0, Removed: chance.IntN(8) == 0, Unit: []string{"", "Interior & Transport", "Ünit=%"}[chance.IntN(3)]},
			Invited: chance.IntN(6) > 0, Chair: chance.IntN(4) == 0, LetIn: yes(), Excepted: chance.IntN(6) == 0,
			Statement: []Statement{StatementValid, StatementValid, StatementValid, StatementExpired, StatementInvalid}[chance.IntN(5)],
			Assurance: conclave.Assurance(chance.IntN(4)), Grade: conclave.Grade(chance.IntN(4)),
			Meeting: Meeting{Level: conclave.Level(chance.IntN(len(p.Levels()))), Door: []Door{DoorInvited, DoorChair, ""}[chance.IntN(3)], Ended: chance.IntN(12) == 0},
		}
		if chance.IntN(12) == 0 {
			r.Meeting.From = now.Add(time.Minute)
		}
		for _, f := range ProvenFacts() {
			if len(f.Values) > 0 && chance.IntN(4) > 0 {
				r.Facts = append(r.Facts, conclave.Fact{Name: f.Name, Value: f.Values[min(chance.IntN(2*len(f.Values)), len(f.Values)-1)%len(f.Values)], Proven: true})
			}
		}
		want := p.Rule(r, now)
		back, err := Replay(append(slices.Clone(r.Facts), r.Fact(now)), r.Grade, r.Meeting.Level, now)
		if err != nil {
			t.Fatal(err)
		}
		got := p.Rule(back, now)
		if got.Outcome != want.Outcome || len(got.Reasons) != len(want.Reasons) {
			t.Fatalf("%+v was ruled %v, and again %v", r, want, got)
		}
		outcomes[got.Outcome]++
	}
	if len(outcomes) != 3 {
		t.Errorf("not all outcomes were tried: %v", outcomes)
	}
	if _, err := Replay([]conclave.Fact{{Name: "network", Value: "x", Proven: true}}, 0, 0, now); err == nil {
		t.Error("a record without its request was ruled on")
	}
}
