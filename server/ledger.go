package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/roster"
	"conclave/server/reply"
	"conclave/signal"
	"conclave/store"
)

// Speech ledgers: each leg hands in a sealed block a minute. The server commits to it in the log and keeps it; it can read
// nothing of it, for it has not the key (and does not link package escrow).

const (
	// ledgerPrefix is where the blocks lie: ledger.<meeting>.<leg>.<minute>.
	ledgerPrefix = "ledger"
	// ledgerSealed is the size of a sealed block; all have it, so that none says anything by its size (speech.SealedSize).
	ledgerSealed = 512 + 1088 + 65 + 16
	// ledgerAhead is how far the minutes of a leg may be ahead of the meeting's: clocks differ, and the last is cut short.
	ledgerAhead = 2
	// A leg has one block a minute; after a lost line, or a machine's sleep, it has some at once. A meeting may have been
	// opened weeks ago: without this a leg could fill the disk and the log with minutes that it was not there for.
	ledgerRate  = 1.0 / 30
	ledgerBurst = 60
)

var problemLedger = conclave.Problem{Code: "ledger_refused", Fix: "update_client"}

func ledgerKey(meeting conclave.MeetingID, leg conclave.LegID, minute uint32) store.Key {
	return store.Key(fmt.Sprintf("%s.%s.%s.%05d", ledgerPrefix, meeting.Text(), leg.Text(), minute))
}

// hasBeen says whether a minute of a leg's may have been, so long after its meeting was opened. It counts in minutes: as a
// time.Duration the largest numbers would wrap round.
func hasBeen(minute uint32, open time.Duration) bool {
	return int64(minute) <= int64(open/time.Minute)+ledgerAhead
}

// ledger keeps a block that a leg hands in. One that it has already is taken for delivered: legs hand in anew what may have
// been lost with their line. Another one for the same minute is refused: what is sealed is sealed.
func (r *room) ledger(leg roster.Leg, m *signal.Ledger) error {
	if leg.Standing == roster.Waiting || leg.Standing == roster.Admitted {
		return problemTurn
	}
	if len(m.Sealed) != ledgerSealed || !hasBeen(m.Minute, r.now().Sub(r.meeting.Opened)) {
		return problemLedger
	}
	key := ledgerKey(r.meeting.ID, leg.ID, m.Minute)
	switch old, err := r.cfg.Store.Get(r.ctx, key); {
	case err == nil && string(old.Value) == string(m.Sealed):
		return nil
	case err == nil:
		return problemLedger
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	if !r.mayHandIn(leg.ID) {
		return problemTooMany
	}
	sum := sha256.Sum256(m.Sealed)
	if err := r.record(audit.Record{Kind: audit.KindLedger, Leg: leg.ID, Device: leg.Device, Commitment: sum[:], Size: uint64(len(m.Sealed))}); err != nil {
		return err
	}
	// From here on a missing block is seen in the log.
	if _, err := r.cfg.Store.Create(r.ctx, key, m.Sealed); err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("server: keep a ledger: %w", err)
	}
	return nil
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

// Ledger is a sealed block as it is kept.
type Ledger struct {
	Leg    conclave.LegID `json:"leg"`
	Minute uint32         `json:"minute"`
	Sealed []byte         `json:"sealed"`
	// Kept is when it was handed in.
	Kept time.Time `json:"-"`
}

// Ledgers returns the sealed blocks of a meeting, in no order.
func Ledgers(ctx context.Context, st store.Store, meeting conclave.MeetingID) ([]Ledger, error) {
	prefix := store.Key(ledgerPrefix + "." + meeting.Text())
	entries, err := st.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("server: read ledgers: %w", err)
	}
	out := make([]Ledger, 0, len(entries))
	for _, e := range entries {
		leg, minute, ok := strings.Cut(strings.TrimPrefix(string(e.Key), string(prefix)+"."), ".")
		l := Ledger{Sealed: e.Value, Kept: e.Written}
		n, err := strconv.ParseUint(minute, 10, 32)
		if !ok || err != nil || l.Leg.UnmarshalText([]byte(leg)) != nil {
			return nil, errors.New("server: a ledger is kept under no such name")
		}
		l.Minute = uint32(n)
		out = append(out, l)
	}
	return out, nil
}

// dropLedgers deletes the blocks of a meeting that were handed in before a moment, once record has written how many there are.
func dropLedgers(ctx context.Context, st store.Store, meeting conclave.MeetingID, before time.Time, record func(n int) error) (int, error) {
	blocks, err := Ledgers(ctx, st, meeting)
	if err != nil {
		return 0, err
	}
	blocks = slices.DeleteFunc(blocks, func(b Ledger) bool { return !b.Kept.Before(before) })
	if len(blocks) == 0 {
		return 0, nil
	}
	if err := record(len(blocks)); err != nil {
		return 0, err
	}
	for _, b := range blocks {
		if err := st.Delete(ctx, ledgerKey(meeting, b.Leg, b.Minute)); err != nil {
			return 0, fmt.Errorf("server: delete ledgers: %w", err)
		}
	}
	return len(blocks), nil
}

// serveLedgers gives the administrator a meeting's sealed blocks, one JSON value a line: an hour of a hundred legs is 10 MB.
func (s *Server) serveLedgers(w http.ResponseWriter, r *http.Request) {
	meeting, err := conclave.ParseMeetingID(r.PathValue("pointer"))
	var blocks []Ledger
	if err == nil {
		blocks, err = Ledgers(r.Context(), s.cfg.Store, meeting)
	}
	if err != nil {
		s.fail(w, "read ledgers", err)
		return
	}
	reply.Lines(w, blocks)
}

// recordInvestigation writes into the log that sealed ledgers or marks of a meeting are about to be opened, by whom and
// why, or that a report was made, by its digest. The investigator's program opens nothing before this has answered.
func (s *Server) recordInvestigation(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Meeting conclave.MeetingID `json:"meeting"`
		Reason  string             `json:"reason"`
		Blocks  uint64             `json:"blocks"`
		Report  []byte             `json:"report,omitempty"`
	}
	err := reply.Read(w, r, &m)
	if err == nil && (len(m.Reason) > signal.MaxText || len(m.Report) != 0 && len(m.Report) != sha256.Size) {
		err = reply.Malformed
	}
	var index audit.Index
	if err == nil {
		index, err = s.audit.Record(r.Context(), audit.Record{Kind: audit.KindInvestigation, Time: s.now(), Meeting: m.Meeting, Reason: m.Reason, Size: m.Blocks, Commitment: m.Report})
	}
	if err != nil {
		s.fail(w, "record an investigation", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Record audit.Index `json:"record"`
	}{index})
}
