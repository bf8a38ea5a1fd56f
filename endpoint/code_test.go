package endpoint

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestEveryRosterHasASecurityCodeOfItsOwnAndTheSameForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		seen := map[[6]string]string{}
		look := func(roster string, clients ...*client) {
			t.Helper()
			alike(t, clients...)
			code := clients[0].code().Groups
			for _, c := range clients {
				if c.code().Groups != code {
					t.Errorf("%s: %s sees another code", roster, c.device.name)
				}
			}
			if before, twice := seen[code]; twice {
				t.Errorf("%s has the code of %s", roster, before)
			}
			seen[code] = roster
		}
		anna := h.in(h.device(h.org, "anna"))
		look("anna", anna)
		jan := h.in(h.device(h.org, "jan"))
		look("anna and jan", anna, jan)
		jan.stop()
		time.Sleep(2 * time.Second)
		look("anna again", anna)
		karin := h.in(h.device(h.org, "karin"))
		look("anna and karin, who has jan's leaf", anna, karin)
		anna.stop()
		karin.stop()
	})
}
