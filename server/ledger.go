package server

import (
	"conclave"
	"conclave/audit"
	"conclave/roster"
	"conclave/server/kept"
	"conclave/signal"
)

// A leg has one block of its speech ledger a minute; after a lost line, or a machine's sleep, it has some at once. A meeting may
// have been opened weeks ago: without this a leg could fill the disk and the log with minutes that it was not there for.
const (
	ledgerRate  = 1.0 / 30
	ledgerBurst = 60
)

// ledger keeps a block that a leg hands in.
func (r *room) ledger(leg roster.Leg, m *signal.Ledger) error {
	if leg.Standing == roster.Waiting || leg.Standing == roster.Admitted {
		return problemTurn
	}
	block := kept.Ledger{Leg: leg.ID, Minute: m.Minute, Sealed: m.Sealed}
	return r.kept.KeepLedger(r.ctx, &r.meeting, block, func(commitment []byte) error {
		if !r.mayHandIn(leg.ID) {
			return problemTooMany
		}
		return r.record(audit.Record{Kind: audit.KindLedger, Leg: leg.ID, Device: leg.Device, Commitment: commitment, Size: uint64(len(m.Sealed))})
	})
}

// mayHandIn counts a block of a leg.
func (r *room) mayHandIn(leg conclave.LegID) bool {
	return r.spent(leg).ledger.take(ledgerRate, ledgerBurst, r.now())
}

// show takes what a leg shows of itself. That it begins or stops sharing its screen is a record, which what was exposed is
// told by; what is on it nobody but the members sees.
func (r *room) show(leg roster.Leg, m *signal.State) {
	if m.Screen != leg.Shown.Screen && leg.Standing == roster.Member {
		rec := audit.Record{Kind: audit.KindShown, Leg: leg.ID, Device: leg.Device}
		if m.Screen {
			rec.Outcome = "screen"
		}
		r.note(rec)
	}
	r.act(r.roster.Show(leg.ID, roster.Shown{Muted: m.Muted, Camera: m.Camera, Screen: m.Screen, Hand: m.Hand}))
}
