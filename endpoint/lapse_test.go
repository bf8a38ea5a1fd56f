package endpoint

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/pass"
	"conclave/signal"
)

func TestMembersPutOutWhosePassLapsesThoughTheServerSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		_, before := anna.epoch()
		before = bytes.Clone(before)
		h.locked(func() { h.deaf = jan.device })
		time.Sleep(pass.MaxPassLife + lapse + 5*time.Second)
		alike(t, anna, karin)
		if _, key := anna.epoch(); bytes.Equal(key, before) {
			t.Fatal("the keys did not change")
		}
		for _, c := range []*client{anna, karin} {
			if names := c.names(); slices.Contains(names, "jan") {
				t.Errorf("%s still sees %v", c.device.name, names)
			}
			c.mu.Lock()
			if !slices.Equal(c.barred, []uint32{1}) || c.held {
				t.Errorf("%s has barred %v, and sends nothing: %v", c.device.name, c.barred, c.held)
			}
			c.mu.Unlock()
			if _, ok := c.find(isAlarm("alarm_pass_lapsed")); !ok {
				t.Errorf("%s was told nothing", c.device.name)
			}
			if _, ok := c.find(isAlarm("alarm_proposal")); ok {
				t.Errorf("%s did not believe the other", c.device.name)
			}
		}
		h.locked(func() {
			if h.asked != 1 {
				t.Errorf("%d members proposed the removal: one is enough", h.asked)
			}
		})
		anna.stop()
		jan.stop()
		karin.stop()
	})
}

func TestMembersPutOutWhoseStatementRunsOutWhateverPassTheServerSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		short := h.device(h.org, "jan")
		short.statement = h.org.StatementBetween(short.signer.Public(), "jan", "jan", time.Now(), time.Now().Add(time.Minute))
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(short), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		time.Sleep(time.Minute + lapse + 5*time.Second)
		alike(t, anna, karin)
		anna.await("the alarm", isAlarm("alarm_pass_lapsed"))
		anna.stop()
		jan.stop()
		karin.stop()
	})
}

func TestNobodySpeaksToOneWhosePassLapsedLongAgoAndWhomTheServerKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		h.locked(func() { h.deaf, h.lie.commits = jan.device, true })
		time.Sleep(pass.MaxPassLife + lapse + removalLimit + 5*time.Second)
		anna.await("the alarm", isAlarm("alarm_lapsed_heard"))
		anna.mu.Lock()
		if !anna.held || !slices.Equal(anna.barred, []uint32{1}) {
			t.Errorf("anna sends on: %v, hears %v", !anna.held, anna.barred)
		}
		anna.mu.Unlock()
		// The pass comes after all, and commits are ordered again: all goes on, under new keys.
		h.locked(func() { h.deaf, h.lie.commits = nil, false; h.renew() })
		time.Sleep(10 * time.Second)
		anna.mu.Lock()
		if anna.held {
			t.Error("anna goes on sending nothing")
		}
		anna.mu.Unlock()
		anna.stop()
		jan.stop()
	})
}

func TestALevelIsRaisedByTheServersProposalAndAMembersCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		h.locked(func() {
			h.meeting.Level = 3
			h.renew()
			h.change(h.meeting)
		})
		time.Sleep(2 * time.Second)
		alike(t, anna, jan)
		h.locked(func() {
			h.tell(&signal.Changed{Meeting: signal.Meeting{Title: "Border liaison", Level: 3, LevelName: "CONFIDENTIAL", PolicyHash: h.meeting.PolicyHash[:]}})
		})
		anna.await("the level", func(e Event) bool { return e.Meeting != nil && e.Meeting.Level == 3 })
		karin := h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		for _, c := range []*client{anna, jan, karin} {
			if e, ok := c.find(func(e Event) bool { return e.Alarm != nil }); ok {
				t.Errorf("%s was alarmed: %s", c.device.name, e.Alarm.Problem.Code)
			}
			c.stop()
		}
	})
}

func TestWhoHasNoPassForTheRaisedLevelIsPutOutAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		h.locked(func() { // a server that does not rule anew first
			h.meeting.Level = 3
			h.renew(jan.device)
			h.change(h.meeting)
		})
		time.Sleep(5 * time.Second)
		alike(t, anna, karin)
		if names := anna.names(); slices.Contains(names, "jan") {
			t.Errorf("anna still sees %v", names)
		}
		anna.mu.Lock()
		if !slices.Equal(anna.barred, []uint32{1}) {
			t.Errorf("anna hears %v no more", anna.barred)
		}
		anna.mu.Unlock()
		anna.stop()
		jan.stop()
		karin.stop()
	})
}

func TestNoServerLowersALevelOrMakesTheMeetingAnother(t *testing.T) {
	for name, change := range map[string]func(*pass.MeetingContext){
		"a lower level":                       func(m *pass.MeetingContext) { m.Level-- },
		"another meeting":                     func(m *pass.MeetingContext) { m.Meeting[0]++ },
		"another meeting at a higher level":   func(m *pass.MeetingContext) { m.Meeting[0]++; m.Level++ },
		"another policy at once":              func(m *pass.MeetingContext) { m.PolicyHash[0]++ },
		"another policy for a lower level":    func(m *pass.MeetingContext) { m.FormerPolicy = m.PolicyHash; m.PolicyHash[0]++; m.Level-- },
		"a former policy that there was none": func(m *pass.MeetingContext) { m.FormerPolicy = [32]byte{9} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
				alike(t, anna, jan)
				_, before := anna.epoch()
				before = bytes.Clone(before)
				h.locked(func() {
					to := h.meeting
					change(&to)
					h.change(to)
				})
				for _, c := range []*client{anna, jan} {
					c.await("the alarm", isAlarm("alarm_proposal"))
				}
				time.Sleep(5 * time.Second)
				if _, key := anna.epoch(); !bytes.Equal(key, before) {
					t.Error("somebody committed it")
				}
				// Nor does its word alone change anything.
				h.locked(func() {
					h.tell(&signal.Changed{Meeting: signal.Meeting{Title: "x", Level: 1, LevelName: "x", PolicyHash: h.meeting.PolicyHash[:]}})
				})
				if e := anna.await("the alarm", isAlarm("alarm_level")); e.Alarm.Problem.Args["said"] != "x (1)" {
					t.Errorf("the alarm names %v", e.Alarm.Problem.Args)
				}
				h.locked(func() {
					h.tell(&signal.Changed{Meeting: signal.Meeting{Title: "x", Level: h.meeting.Level, LevelName: "x", PolicyHash: make([]byte, 32)}})
				})
				anna.await("the alarm", isAlarm("alarm_policy"))
				anna.stop()
				jan.stop()
			})
		})
	}
}

func TestOneWhoComesBackIsToldNoLowerLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna := h.in(h.device(h.org, "anna"))
		h.locked(func() {
			h.meeting.Level--
			h.lie.admitted = func(a *signal.Admitted) { a.Resumed, a.Commits = false, nil }
			l := h.legOf(anna.device)
			l.member = false
			h.follower = nil
			l.conn.say(&signal.Quarantined{Reasons: []conclave.Problem{{Code: "line_too_weak", Fix: "x"}}, Since: time.Now()})
			l.conn.say(h.admitted(l, nil))
		})
		anna.await("the refusal", isAlarm("pass_level"))
		anna.stop()
	})
}
