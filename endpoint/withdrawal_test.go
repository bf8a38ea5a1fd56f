package endpoint

import (
	"testing"
	"testing/synctest"
	"time"

	"conclave/pass"
	"conclave/signal"
)

// A key that the root has withdrawn opens nothing, and a server that shows an older list of them, or none, is not followed.
func TestAWithdrawnKeyStaysWithdrawn(t *testing.T) {
	list := func(t *testing.T, h *house, counter uint64, keys ...pass.KeyHash) []byte {
		b, err := pass.SignWithdrawal(h.org.Root, &pass.Withdrawal{Organisation: h.org.ID, Counter: counter, Time: time.Now(), Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	admission := func(h *house) pass.KeyHash {
		for _, g := range h.org.Grants {
			if p, err := pass.ParseGrant(g); err == nil && p.Role == pass.RoleAdmission {
				return pass.KeyHashOf(p.Key)
			}
		}
		panic("no admission key")
	}
	for name, c := range map[string]struct {
		seen  uint64 // the counter that the device remembers
		shown func(t *testing.T, h *house) []byte
		code  string // "": it is let in
	}{
		"nothing was ever withdrawn":     {0, func(*testing.T, *house) []byte { return nil }, ""},
		"another key is withdrawn":       {2, func(t *testing.T, h *house) []byte { return list(t, h, 3, pass.KeyHash{1}) }, ""},
		"the admission key is withdrawn": {0, func(t *testing.T, h *house) []byte { return list(t, h, 1, admission(h)) }, "grant_missing"},
		"the list is an older one":       {3, func(t *testing.T, h *house) []byte { return list(t, h, 2) }, "withdrawal_old"},
		"the list is kept back":          {3, func(*testing.T, *house) []byte { return nil }, "withdrawal_old"},
		"another signed it": {0, func(t *testing.T, h *house) []byte {
			b := list(t, h, 1)
			b[len(b)-1] ^= 1
			return b
		}, "withdrawal_signature"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				shown := c.shown(t, h)
				h.lie.admitted = func(a *signal.Admitted) { a.Withdrawn = shown }
				m := h.client(h.device(h.org, "anna"), func(cfg *Config) { cfg.Withdrawn = c.seen })
				if c.code != "" {
					wantGone(t, m, c.code)
					return
				}
				m.await("in", isState(StateIn))
				_, told := m.find(func(e Event) bool { return e.Keys != nil && e.Keys.Withdrawn == 3 })
				if told != (c.seen == 2) {
					t.Errorf("told of a newer list: %v", told)
				}
				m.stop()
			})
		})
	}
}
