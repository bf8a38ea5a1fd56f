package endpoint

import (
	"testing"
	"testing/synctest"
	"time"

	"conclave"
)

// restate gives a client another statement for its device.
func (h *house) restate(c *client) {
	h.t.Helper()
	fresh := h.org.StatementBetween(c.device.signer.Public(), conclave.PersonID(c.device.name), c.device.name,
		time.Now().Add(time.Second), time.Now().Add(7*24*time.Hour))
	if err := c.Renewed(fresh); err != nil {
		h.t.Fatal(err)
	}
}

func TestARenewedStatementStandsInTheLeafWithItsOwnProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		h.restate(jan)
		anna.await("jan's leaf", func(e Event) bool { return e.Code != nil && e.Code.Why == "renewed" })
		alike(t, anna, jan, karin)
		// It is jan, beside anna, who commits her removal; karin follows it.
		h.locked(func() { h.remove(h.legOf(anna.device)) })
		karin.await("the removal", func(e Event) bool { return e.Code != nil && e.Code.Why == "removed" })
		alike(t, jan, karin)
		for _, c := range []*client{jan, karin} {
			if a := alarms(c); len(a) != 0 {
				t.Errorf("%s was alarmed: %v", c.device.name, a)
			}
			c.stop()
		}
	})
}

func TestUntilTheServerGoesByItTheFormerStatementStandsInTheLeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		h.locked(func() { h.restateHook = func() bool { return true } }) // the word is lost
		h.restate(jan)
		h.locked(func() { h.remove(h.legOf(anna.device)) })
		karin.await("the removal", func(e Event) bool { return e.Code != nil && e.Code.Why == "removed" })
		alike(t, jan, karin)
		// Over the next connection it is said anew, in the hello.
		h.locked(func() { h.legOf(jan.device).conn.Close() })
		karin.forget()
		karin.await("jan's leaf", func(e Event) bool { return e.Code != nil && e.Code.Why == "renewed" })
		alike(t, jan, karin)
		for _, c := range []*client{jan, karin} {
			if a := alarms(c); len(a) != 0 {
				t.Errorf("%s was alarmed: %v", c.device.name, a)
			}
			c.stop()
		}
	})
}

func TestAFreshStatementWithoutAPlaceInTheLogIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna := h.in(h.device(h.org, "anna"))
		h.locked(func() { h.lie.restated = true })
		h.restate(anna)
		if err := <-anna.done; err == nil || len(alarms(anna)) == 0 {
			t.Errorf("ended with %v", err)
		}
	})
}
