package endpoint

import (
	"crypto/rand"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/mls"
	"conclave/signal"
)

// hear has each client hear all others, as an honest server lets it.
func hear(clients ...*client) {
	for _, c := range clients {
		for slot, m := range c.roster().Members {
			if !m.Self {
				c.Opened(Microphone, slot, int(m.Leaf))
			}
		}
	}
}

func alarms(c *client) []conclave.Problem {
	var out []conclave.Problem
	c.find(func(e Event) bool {
		if e.Alarm != nil {
			out = append(out, e.Alarm.Problem)
		}
		return false
	})
	return out
}

func TestWhoIsHeardRaisesNoAlarmAndWhoIsWithheldDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		hear(anna, jan, karin)
		time.Sleep(3 * unheardAll)
		for _, c := range []*client{anna, jan, karin} {
			if a := alarms(c); len(a) != 0 {
				t.Errorf("%s was alarmed with everybody heard: %v", c.device.name, a)
			}
		}
		// The server goes on counting karin as present and holds her sound back from anna, as it must in a fork.
		for slot, m := range anna.roster().Members {
			if m.Name == "karin" {
				anna.Opened(Microphone, slot, -1)
			}
		}
		began := time.Now()
		e := anna.await("the alarm", isAlarm("alarm_not_heard"))
		if d := time.Since(began); d < unheardFor || d > unheardFor+2*listenEvery {
			t.Errorf("karin was missed after %v", d)
		}
		if e.Alarm.Problem.Args["name"] != "karin" {
			t.Errorf("anna misses %v", e.Alarm.Problem.Args)
		}
		if a := alarms(jan); len(a) != 0 {
			t.Errorf("jan hears all and was alarmed: %v", a)
		}
		for _, c := range []*client{anna, jan, karin} {
			c.stop()
		}
	})
}

func TestAForkIsNotHiddenByWhatTheServerSaysOfALeg(t *testing.T) {
	for name, lie := range map[string]func(*signal.RosterLeg){
		"another leg each time":    func(l *signal.RosterLeg) { rand.Read(l.Leg[:]) },
		"a line that stays lost":   func(l *signal.RosterLeg) { l.Lost = new(time.Time) },
		"a line lost just now":     func(l *signal.RosterLeg) { now := time.Now(); l.Lost = &now },
		"both, the one for ever":   func(l *signal.RosterLeg) { l.Lost = new(time.Time); rand.Read(l.Leg[:]) },
		"nothing, as it should be": func(*signal.RosterLeg) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
				alike(t, anna, jan, karin)
				hear(anna, jan, karin)
				var leaf uint32
				for slot, m := range anna.roster().Members {
					if m.Name == "karin" {
						leaf = m.Leaf
						anna.Opened(Microphone, slot, -1)
					}
				}
				h.locked(func() {
					h.lie.roster = func(r *signal.Roster) {
						for i := range r.Legs {
							if r.Legs[i].Leaf == leaf {
								lie(&r.Legs[i])
							}
						}
					}
				})
				h.keepTelling(awayFor + 2*unheardFor)
				if !slices.ContainsFunc(alarms(anna), func(p conclave.Problem) bool {
					return p.Code == "alarm_not_heard" && p.Args["name"] == "karin"
				}) {
					t.Errorf("anna noticed nothing:%s", anna.story())
				}
				for _, c := range []*client{anna, jan, karin} {
					c.stop()
				}
			})
		})
	}
}

func TestOneKeptApartFromTheRoomIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		hear(jan, karin)
		began := time.Now()
		anna.await("the alarm", isAlarm("alarm_nobody_heard"))
		if d := time.Since(began); d > unheardAll+2*listenEvery {
			t.Errorf("anna was told after %v", d)
		}
		for _, c := range []*client{anna, jan, karin} {
			c.stop()
		}
	})
}

// crowd brings in five of a room with two slots, and has the server say so.
func crowd(t *testing.T) (h *house, all []*client) {
	h = newHouse(t)
	h.lie.admitted = func(a *signal.Admitted) { a.Slots.Audio = 2 }
	for _, name := range []string{"anna", "jan", "karin", "lena", "mia"} {
		all = append(all, h.in(h.device(h.org, name)))
	}
	alike(t, all...)
	h.locked(func() { h.tell(&signal.Slots{Audio: []int{-1, -1}, Crowded: true}) })
	return h, all
}

// goRound gives the second slot to one after the other for two seconds each, as the server does; the first has anna for
// good. The one called out is given no turn.
func goRound(rounds int, all []*client, out string) {
	for range rounds {
		for _, whose := range all[1:] {
			if whose.device.name == out {
				continue
			}
			for _, c := range all {
				for _, m := range c.roster().Members {
					if !m.Self && m.Name == all[0].device.name {
						c.Opened(Microphone, 0, int(m.Leaf))
					}
					if !m.Self && m.Name == whose.device.name {
						c.Opened(Microphone, 1, int(m.Leaf))
					}
				}
			}
			time.Sleep(2 * time.Second)
		}
	}
}

func TestWhoHasATurnInACrowdedRoomIsNotMissedAndWhoHasNoneIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := crowd(t)
		goRound(20, all, "")
		for _, c := range all {
			if a := alarms(c); len(a) != 0 {
				t.Errorf("%s was alarmed while all had their turns: %v", c.device.name, a)
			}
		}
		// karin is in another epoch, or the server keeps her sound back. Her last turn ended four seconds ago.
		began := time.Now().Add(-4 * time.Second)
		limit := unheardFor + 4*turnFor
		for _, c := range []*client{all[0], all[1], all[3], all[4]} {
			for len(alarms(c)) == 0 && time.Since(began) < 2*limit {
				goRound(1, all, "karin")
			}
			if a := alarms(c); len(a) == 0 || a[0].Code != "alarm_not_heard" || a[0].Args["name"] != "karin" {
				t.Errorf("%s was alarmed by %v", c.device.name, a)
			}
		}
		// A round takes six seconds now.
		if d := time.Since(began); d < limit || d > limit+2*listenEvery+6*time.Second {
			t.Errorf("karin was missed after %v, not %v", d, limit)
		}
		for _, c := range all {
			c.stop()
		}
	})
}

func TestARoomThatIsCrowdedNowAndAgainHidesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, all := crowd(t)
		anna := all[0]
		for n := range 10 {
			goRound(1, all, "karin")
			h.locked(func() { h.tell(&signal.Slots{Audio: []int{-1, -1}, Crowded: n%2 == 1}) })
		}
		if !slices.ContainsFunc(alarms(anna), func(p conclave.Problem) bool { return p.Args["name"] == "karin" }) {
			t.Errorf("anna noticed nothing:%s", anna.story())
		}
		for _, c := range all {
			c.stop()
		}
	})
}

func TestAServerThatCallsASmallRoomCrowdedIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		h.locked(func() { h.tell(&signal.Slots{Audio: []int{0, 1}, Crowded: true}) })
		anna.await("who is missed", isAlarm("alarm_not_heard"))
		if _, ok := anna.find(func(e Event) bool { return e.Slots != nil && e.Slots.Crowded }); ok {
			t.Error("anna tells her loudness in a room of two")
		}
		anna.stop()
		jan.stop()
	})
}

func TestTheNearestInTheTreeCommitsFirst(t *testing.T) {
	members := []mls.LeafIndex{0, 1, 2, 3, 4, 5, 6, 7, 8}
	order := func(going, away []mls.LeafIndex) []mls.LeafIndex {
		out := make([]mls.LeafIndex, len(members))
		for i := range out {
			out[i] = 99
		}
		for _, m := range members {
			if !slices.Contains(away, m) {
				out[rank(m, going, away, members)] = m
			}
		}
		return out
	}
	got := order([]mls.LeafIndex{5}, []mls.LeafIndex{5})
	if want := []mls.LeafIndex{4, 6, 7, 0, 1, 2, 3, 8, 99}; !slices.Equal(got, want) {
		t.Errorf("leaf 5 is removed by %v, want %v", got, want)
	}
	got = order([]mls.LeafIndex{5}, []mls.LeafIndex{5, 4, 0})
	if want := []mls.LeafIndex{6, 7, 1, 2, 3, 8, 99, 99, 99}; !slices.Equal(got, want) {
		t.Errorf("with 4 and 0 away leaf 5 is removed by %v, want %v", got, want)
	}
}
