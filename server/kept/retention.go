package kept

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/server/records"
	"conclave/server/reply"
	"conclave/store"
)

// periods says how many days what is kept; 0: as long as the log itself. Records without their personal parts are kept for
// ever: the log would not verify without them.
type periods struct {
	Personal uint32 `json:"personal_days"` // the personal parts of records, and links that ran out
	Ledgers  uint32 `json:"ledgers_days"`  // sealed speech ledgers
	Marks    uint32 `json:"marks_days"`    // sealed keys of marks
}

// retained is what one round deleted.
type retained struct {
	Records uint64 `json:"records"` // whose personal parts were erased
	Ledgers int    `json:"ledgers"`
	Marks   int    `json:"marks"`
	Links   int    `json:"links"`
}

const (
	retentionKey store.Key = "retention.days"
	// retainedKey holds the last record whose personal part was erased for its age: a round begins behind it.
	retainedKey store.Key = "retention.erased"
	// retainEvery is the pause between rounds, retainFirst the one after the start.
	retainEvery = 12 * time.Hour
	retainFirst = 10 * time.Minute
	maxDays     = 36500
)

// retention returns the setting.
func (a *Archive) retention(ctx context.Context) (periods, error) {
	var r periods
	e, err := a.Store.Get(ctx, retentionKey)
	if errors.Is(err, store.ErrNotFound) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value, &r)
	}
	if err != nil {
		return r, fmt.Errorf("kept: retention: %w", err)
	}
	return r, nil
}

// setRetention changes the setting, which is recorded first.
func (a *Archive) setRetention(ctx context.Context, r periods) error {
	if max(r.Personal, r.Ledgers, r.Marks) > maxDays {
		return reply.Malformed
	}
	codes := []string{"retention", fmt.Sprintf("personal_%d", r.Personal), fmt.Sprintf("ledgers_%d", r.Ledgers), fmt.Sprintf("marks_%d", r.Marks)}
	if _, err := a.Audit.Record(ctx, audit.Record{Kind: audit.KindPolicyChanged, Time: a.now(), Outcome: "done", Codes: codes}); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err == nil {
		_, err = a.Store.Put(ctx, retentionKey, b)
	}
	if err != nil {
		return fmt.Errorf("kept: retention: %w", err)
	}
	return nil
}

// Run deletes, twice a day, what has been kept long enough, until ctx is done.
func (a *Archive) Run(ctx context.Context) {
	for wait := retainFirst; records.Pause(ctx, wait); wait = retainEvery {
		done, err := a.retain(ctx)
		if err != nil && ctx.Err() == nil {
			a.Log.Error("what was kept long enough is not deleted", "cause", err)
		} else if done != (retained{}) {
			a.Log.Info("deleted what was kept long enough", "records", done.Records, "ledgers", done.Ledgers, "marks", done.Marks, "links", done.Links)
		}
	}
}

// retain deletes what has been kept longer than the setting says. It may be run at any time, and again.
func (a *Archive) retain(ctx context.Context) (retained, error) {
	var done retained
	r, err := a.retention(ctx)
	if err != nil {
		return done, err
	}
	now := a.now()
	if r.Ledgers > 0 || r.Marks > 0 {
		meetings, err := a.Directory.Meetings(ctx)
		if err != nil {
			return done, err
		}
		for i := range meetings {
			if err := a.retainMeeting(ctx, &meetings[i], r, now, &done); err != nil {
				return done, err
			}
		}
	}
	if r.Personal == 0 {
		return done, nil
	}
	before := now.AddDate(0, 0, -int(r.Personal))
	done.Links, err = a.Directory.DropLinks(ctx, before, func(n int) error {
		_, err := a.Audit.Record(ctx, audit.Record{Kind: audit.KindDeleted, Time: now, Codes: []string{audit.DeletedLinks}, Size: uint64(n), Until: before})
		return err
	})
	if err != nil {
		return done, err
	}
	done.Records, err = a.retainPersonal(ctx, before, now)
	return done, err
}

// retainMeeting deletes what legs of a meeting handed in long enough ago, whether or not the meeting was ever ended. That it
// does is a record first.
func (a *Archive) retainMeeting(ctx context.Context, m *identity.Meeting, r periods, now time.Time, done *retained) error {
	drop := func(what string, days uint32, drop func(context.Context, conclave.MeetingID, time.Time, func(int) error) (int, error)) (int, error) {
		if days == 0 {
			return 0, nil
		}
		before := now.AddDate(0, 0, -int(days))
		return drop(ctx, m.ID, before, func(n int) error {
			_, err := a.Audit.Record(ctx, audit.Record{Kind: audit.KindDeleted, Time: now, Meeting: m.ID, Codes: []string{what}, Size: uint64(n), Until: before})
			return err
		})
	}
	n, err := drop(audit.DeletedLedgers, r.Ledgers, a.dropLedgers)
	if err != nil {
		return err
	}
	done.Ledgers += n
	if n, err = drop(audit.DeletedMarks, r.Marks, a.dropMarks); err != nil {
		return err
	}
	done.Marks += n
	return nil
}

// retainPersonal erases the personal parts of records before a day. An erasure reads the whole log: it is done only where
// there is a record old enough that no round before this one has reached.
func (a *Archive) retainPersonal(ctx context.Context, before, now time.Time) (uint64, error) {
	var last audit.Index
	e, err := a.Store.Get(ctx, retainedKey)
	if err == nil {
		err = json.Unmarshal(e.Value, &last)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, fmt.Errorf("kept: retention: %w", err)
	}
	next, err := a.Audit.Read(ctx, last+1, 1)
	if err != nil || len(next) == 0 || !next[0].Record.Time.Before(before) {
		return 0, err
	}
	reached := last
	erased, err := a.Audit.Erase(ctx, now, func(e audit.Entry) bool {
		if e.Index <= last || !e.Record.Time.Before(before) {
			return false
		}
		reached = max(reached, e.Index)
		return true
	})
	if err != nil {
		return 0, err
	}
	b, err := json.Marshal(reached)
	if err == nil {
		_, err = a.Store.Put(ctx, retainedKey, b)
	}
	if err != nil {
		return erased.Records, fmt.Errorf("kept: retention: %w", err)
	}
	return erased.Records, nil
}

func (a *Archive) showRetention(w http.ResponseWriter, r *http.Request) {
	setting, err := a.retention(r.Context())
	if err != nil {
		a.fail(w, "show retention", err)
		return
	}
	reply.JSON(w, http.StatusOK, setting)
}

func (a *Archive) changeRetention(w http.ResponseWriter, r *http.Request) {
	var m periods
	err := reply.Read(w, r, &m)
	if err == nil {
		err = a.setRetention(r.Context(), m)
	}
	if err != nil {
		a.fail(w, "change retention", err)
		return
	}
	reply.JSON(w, http.StatusOK, m)
}

func (a *Archive) retainNow(w http.ResponseWriter, r *http.Request) {
	done, err := a.retain(r.Context())
	if err != nil {
		a.fail(w, "delete what was kept long enough", err)
		return
	}
	reply.JSON(w, http.StatusOK, done)
}
