package kept

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
	"conclave/identity"
	"conclave/server/reply"
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
)

var ledgerRefused = conclave.Problem{Code: "ledger_refused", Fix: "update_client"}

func ledgerKey(meeting conclave.MeetingID, leg conclave.LegID, minute uint32) store.Key {
	return store.Key(fmt.Sprintf("%s.%s.%s.%05d", ledgerPrefix, meeting.Text(), leg.Text(), minute))
}

// hasBeen says whether a minute of a leg's may have been, so long after its meeting was opened. It counts in minutes: as a
// time.Duration the largest numbers would wrap round.
func hasBeen(minute uint32, open time.Duration) bool {
	return int64(minute) <= int64(open/time.Minute)+ledgerAhead
}

// Ledger is a sealed block as it is kept.
type Ledger struct {
	Leg    conclave.LegID `json:"leg"`
	Minute uint32         `json:"minute"`
	Sealed []byte         `json:"sealed"`
	// Kept is when it was handed in.
	Kept time.Time `json:"-"`
}

// KeepLedger keeps a block that a leg hands in, once record has written its commitment. One that is there already is taken for
// delivered: legs hand in anew what may have been lost with their line. Another one for the same minute is refused: what is
// sealed is sealed.
func (a *Archive) KeepLedger(ctx context.Context, meeting *identity.Meeting, l Ledger, record func(commitment []byte) error) error {
	if len(l.Sealed) != ledgerSealed || !hasBeen(l.Minute, a.now().Sub(meeting.Opened)) {
		return ledgerRefused
	}
	key := ledgerKey(meeting.ID, l.Leg, l.Minute)
	switch old, err := a.Store.Get(ctx, key); {
	case err == nil && string(old.Value) == string(l.Sealed):
		return nil
	case err == nil:
		return ledgerRefused
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	sum := sha256.Sum256(l.Sealed)
	if err := record(sum[:]); err != nil {
		return err
	}
	// From here on a missing block is seen in the log.
	if _, err := a.Store.Create(ctx, key, l.Sealed); err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("kept: keep a ledger: %w", err)
	}
	return nil
}

// Ledgers returns the sealed blocks of a meeting, in no order.
func (a *Archive) Ledgers(ctx context.Context, meeting conclave.MeetingID) ([]Ledger, error) {
	prefix := store.Key(ledgerPrefix + "." + meeting.Text())
	entries, err := a.Store.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("kept: read ledgers: %w", err)
	}
	out := make([]Ledger, 0, len(entries))
	for _, e := range entries {
		leg, minute, ok := strings.Cut(strings.TrimPrefix(string(e.Key), string(prefix)+"."), ".")
		l := Ledger{Sealed: e.Value, Kept: e.Written}
		n, err := strconv.ParseUint(minute, 10, 32)
		if !ok || err != nil || l.Leg.UnmarshalText([]byte(leg)) != nil {
			return nil, errors.New("kept: a ledger is kept under no such name")
		}
		l.Minute = uint32(n)
		out = append(out, l)
	}
	return out, nil
}

// dropLedgers deletes the blocks of a meeting that were handed in before a moment, once record has written how many there are.
func (a *Archive) dropLedgers(ctx context.Context, meeting conclave.MeetingID, before time.Time, record func(n int) error) (int, error) {
	blocks, err := a.Ledgers(ctx, meeting)
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
		if err := a.Store.Delete(ctx, ledgerKey(meeting, b.Leg, b.Minute)); err != nil {
			return 0, fmt.Errorf("kept: delete ledgers: %w", err)
		}
	}
	return len(blocks), nil
}

// serveLedgers gives the administrator a meeting's sealed blocks, one JSON value a line: an hour of a hundred legs is 10 MB.
func (a *Archive) serveLedgers(w http.ResponseWriter, r *http.Request) {
	meeting, err := conclave.ParseMeetingID(r.PathValue("pointer"))
	var blocks []Ledger
	if err == nil {
		blocks, err = a.Ledgers(r.Context(), meeting)
	}
	if err != nil {
		a.fail(w, "read ledgers", err)
		return
	}
	reply.Lines(w, blocks)
}
