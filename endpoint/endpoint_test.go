package endpoint

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/signal"
)

type edKey = ed25519.PublicKey

// alike waits until all show the same code and hold the same key.
func alike(t *testing.T, clients ...*client) {
	t.Helper()
	for range 300 {
		same := true
		epoch, key := clients[0].epoch()
		for _, c := range clients[1:] {
			e, k := c.epoch()
			same = same && e == epoch && bytes.Equal(k, key) && c.code().Groups == clients[0].code().Groups
		}
		if same && key != nil && len(clients[0].names()) == len(clients) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, c := range clients {
		e, _ := c.epoch()
		t.Logf("%s: epoch %d, code %v, members %v:%s", c.device.name, e, c.code().Groups, c.names(), c.story())
	}
	t.Fatal("they never came to the same epoch")
}

func TestThoseWhoJoinShareKeysAndCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna := h.in(h.device(h.org, "anna"))
		if c := anna.code(); c.Why != "began" || !slices.Equal(c.Who, []string{"anna"}) {
			t.Errorf("the founder's code came of %q %v", c.Why, c.Who)
		}
		jan := h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		if c := anna.code(); c.Why != "came" || !slices.Equal(c.Who, []string{"jan"}) {
			t.Errorf("anna's code changed because of %q %v", c.Why, c.Who)
		}
		karin := h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		for _, m := range karin.roster().Members {
			if m.Grade != conclave.GradeSealed || m.Self != (m.Name == "karin") {
				t.Errorf("karin's roster has %+v", m)
			}
		}
		for _, g := range anna.code().Groups {
			if len(g) != 5 {
				t.Errorf("the code has a group %q", g)
			}
		}
		anna.SetState(signal.State{Muted: true, Hand: true})
		karin.await("anna's hand", func(e Event) bool {
			return e.Roster != nil && slices.ContainsFunc(e.Roster.Members, func(m Member) bool { return m.Name == "anna" && m.Hand && m.Muted })
		})
		for _, c := range []*client{anna, jan, karin} {
			if _, ok := c.find(func(e Event) bool { return e.Alarm != nil }); ok {
				t.Errorf("%s was alarmed:%s", c.device.name, c.story())
			}
			c.stop()
		}
	})
}

func TestManyWhoJoinAtOnceAllComeIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		first := h.in(h.device(h.org, "first"))
		all := []*client{first}
		for _, name := range []string{"b", "c", "d", "e"} {
			all = append(all, h.client(h.device(h.org, name)))
		}
		for _, c := range all {
			c.await("in", isState(StateIn))
		}
		alike(t, all...)
		for _, c := range all {
			c.stop()
		}
	})
}

func TestOneWhoIsRemovedHasNoKeyOfTheEpochAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		began := time.Now()
		h.locked(func() { h.remove(h.legOf(anna.device)) })
		jan.await("the removal", func(e Event) bool { return e.Code != nil && e.Code.Why == "removed" })
		if d := time.Since(began); d > 200*time.Millisecond {
			t.Errorf("the removal took %v", d)
		}
		alike(t, jan, karin)
		if err := <-anna.done; !errors.As(err, new(conclave.Problem)) {
			t.Errorf("anna's run ended with %v", err)
		}
		epoch, _ := jan.epoch()
		anna.mu.Lock()
		if anna.keys[epoch] != nil || !anna.closed || len(anna.keys) != 0 {
			t.Errorf("anna still holds keys of %d epochs", len(anna.keys))
		}
		anna.mu.Unlock()
		jan.stop()
		karin.stop()
	})
}

func TestTheNextInRankCommitsWhereTheFirstIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		// Anna's commits get lost: she is cut off from the house without either knowing.
		h.locked(func() {
			l := h.legOf(anna.device)
			l.conn = &pipe{up: make(chan []byte), down: make(chan []byte, 1000), done: make(chan struct{})}
		})
		began := time.Now()
		h.locked(func() { h.remove(h.legOf(karin.device)) })
		jan.await("the removal", func(e Event) bool { return e.Code != nil && e.Code.Why == "removed" })
		if d := time.Since(began); d < rankStep || d > 2*rankStep {
			t.Errorf("the second in rank committed after %v", d)
		}
		for _, c := range []*client{anna, jan, karin} {
			c.stop()
		}
	})
}

func TestOneWhoLeavesIsGoneForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		jan.Leave()
		if err := <-jan.done; err != nil {
			// The server's last word may be a reason.
			if !errors.As(err, new(conclave.Problem)) {
				t.Errorf("jan's run ended with %v", err)
			}
		}
		anna.await("jan's leave", func(e Event) bool { return e.Code != nil && e.Code.Why == "went" })
		if names := anna.names(); !slices.Equal(names, []string{"anna"}) {
			t.Errorf("anna sees %v", names)
		}
		anna.stop()
	})
}

func TestALostLineIsResumedWithItsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		anna.forget()
		h.locked(func() { h.down = true; h.legOf(anna.device).conn.Close() })
		anna.await("the loss", isState(StateReconnecting))
		karin := func() *client {
			h.locked(func() { h.down = false })
			return h.in(h.device(h.org, "karin"))
		}()
		began := time.Now()
		anna.await("in", isState(StateIn))
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("anna was back after %v", d)
		}
		alike(t, anna, jan, karin)
		anna.mu.Lock()
		if anna.offers != 2 {
			t.Errorf("anna made %d media paths, want a second one", anna.offers)
		}
		anna.mu.Unlock()
		for _, c := range []*client{anna, jan, karin} {
			c.stop()
		}
	})
}

func TestARemovalThatWasMissedIsFollowedAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		karin.forget()
		h.locked(func() {
			h.legOf(karin.device).conn.Close()
			h.remove(h.legOf(jan.device))
		})
		karin.await("in", isState(StateIn))
		alike(t, anna, karin)
		for _, c := range []*client{anna, karin} {
			if a := alarms(c); len(a) != 0 {
				t.Errorf("%s was alarmed: %v", c.device.name, a)
			}
			c.stop()
		}
	})
}

func TestAnOwnCommitThatWasOrderedAlthoughItFailedIsKnownAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		anna.forget()
		h.locked(func() {
			h.lie.failed = true
			h.remove(h.legOf(jan.device))
		})
		anna.await("in again", isState(StateIn))
		alike(t, anna, karin)
		for _, c := range []*client{anna, karin} {
			if a := alarms(c); len(a) != 0 {
				t.Errorf("%s was alarmed: %v", c.device.name, a)
			}
			c.stop()
		}
	})
}

func TestACommitThatTheLineSwallowedIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		anna.forget()
		h.locked(func() {
			h.lie.commits = true
			h.remove(h.legOf(jan.device))
		})
		time.Sleep(time.Second)
		h.locked(func() {
			h.lie.commits = false
			h.legOf(anna.device).conn.Close()
		})
		anna.await("the removal", func(e Event) bool { return e.Code != nil && e.Code.Why == "removed" })
		alike(t, anna)
		anna.stop()
	})
}

func TestASilentServerIsALostLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna := h.in(h.device(h.org, "anna"))
		anna.forget()
		h.locked(func() { h.silent = true })
		began := time.Now()
		anna.await("the loss", isState(StateReconnecting))
		if d := time.Since(began); d < silence-pingEvery || d > silence+2*pingEvery {
			t.Errorf("noticed after %v", d)
		}
		h.locked(func() { h.silent = false })
		anna.await("in", isState(StateIn))
		anna.stop()
	})
}

func TestAPlaceThatWasNotKeptIsTakenAnewByTheSameDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		h.locked(func() {
			l := h.legOf(anna.device)
			delete(h.legs, l.id) // its leaf stays: it will replace itself
			l.conn.Close()
		})
		alike(t, anna, jan)
		if names := jan.names(); len(names) != 2 {
			t.Errorf("jan sees %v", names)
		}
		anna.stop()
		jan.stop()
	})
}

func TestASecondStartOfADeviceReplacesTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		d := h.device(h.org, "anna")
		anna, jan := h.in(d), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		again := h.in(d)
		alike(t, again, jan)
		var p conclave.Problem
		if err := <-anna.done; !errors.As(err, &p) || p.Code != "replaced" {
			t.Errorf("the first start ended with %v", err)
		}
		again.stop()
		jan.stop()
	})
}

func TestOldEpochsAreRetiredAndLeavesRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		hear(anna, jan)
		anna.mu.Lock()
		if len(anna.keys) != 2 {
			t.Errorf("anna holds %d epochs, want the old one for its grace", len(anna.keys))
		}
		anna.mu.Unlock()
		time.Sleep(grace + time.Second)
		anna.mu.Lock()
		if len(anna.keys) != 1 {
			t.Errorf("anna holds %d epochs after the grace", len(anna.keys))
		}
		anna.mu.Unlock()
		before, _ := anna.epoch()
		time.Sleep(61 * time.Minute)
		after, _ := anna.epoch()
		if after < before+2 {
			t.Errorf("in an hour the epoch went from %d to %d: each of the two renews its leaf", before, after)
		}
		alike(t, anna, jan)
		if c := anna.code(); c.Why != "renewed" {
			t.Errorf("the code changed because of %q", c.Why)
		}
		// Passes last five minutes: they were renewed all the while.
		karin := h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		for _, c := range []*client{anna, jan, karin} {
			if _, ok := c.find(func(e Event) bool { return e.Alarm != nil }); ok {
				t.Errorf("%s was alarmed:%s", c.device.name, c.story())
			}
			c.stop()
		}
	})
}

func TestAnUnreachableServerIsSaidSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.down = true
		c := h.client(h.device(h.org, "anna"))
		began := time.Now()
		var p conclave.Problem
		if err := <-c.done; !errors.As(err, &p) || p.Code != "server_unreachable" {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("said after %v", d)
		}
	})
}

func TestContextIdsAreNeverHandedOutTwiceUnderOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna := h.client(h.device(h.org, "anna"))
		if _, ok := anna.Context(Microphone); ok {
			t.Error("an id before there are keys")
		}
		anna.await("in", isState(StateIn))
		screen, _ := anna.Context(Screen)
		epoch, _ := anna.epoch()
		seen := map[uint16]bool{screen: true}
		for len(seen) < contextCount {
			id, ok := anna.Context(Camera)
			if !ok {
				t.Fatalf("none left after %d", len(seen))
			}
			if id < FirstContext || id > lastContext || seen[id] {
				t.Fatalf("got %#x again, or out of range", id)
			}
			seen[id] = true
		}
		if _, ok := anna.Context(Microphone); ok {
			t.Fatal("an id more than there are")
		}
		// The want of ids brings a new epoch; its ids pass over those of the one before, which may still be in use.
		time.Sleep(time.Second)
		if after, _ := anna.epoch(); after != epoch+1 {
			t.Fatalf("epoch %d after %d", after, epoch)
		}
		if _, ok := anna.Context(Microphone); ok {
			t.Fatal("an id that the epoch before used")
		}
		time.Sleep(time.Second)
		id, ok := anna.Context(Microphone)
		if !ok || id == screen {
			t.Errorf("got %#x, %v; the screen still sends under %#x", id, ok, screen)
		}
		anna.stop()
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		if err := anna.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		jan.await("anna's leave", func(e Event) bool { return e.Code != nil && e.Code.Why == "went" })
		jan.stop()
	})
}

// The server has let a leg into the group, and the line dies with the word of it: founder or not, it comes in anew.
func TestOneThatWasLetInAndDidNotHearItComesInAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		heard := map[string]bool{}
		h.lie.entered = func(e *signal.Entered) {
			for _, l := range h.legs {
				if l.leaf == e.Leaf && !heard[l.device.name] {
					heard[l.device.name] = true
					l.conn.Close()
				}
			}
		}
		anna := h.in(h.device(h.org, "anna"))
		jan := h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		if len(heard) != 2 {
			t.Fatalf("lines broke for %v", heard)
		}
		for _, c := range []*client{anna, jan} {
			if _, ok := c.find(func(e Event) bool { return e.Alarm != nil }); ok {
				t.Errorf("%s was alarmed:%s", c.device.name, c.story())
			}
			c.stop()
		}
	})
}
