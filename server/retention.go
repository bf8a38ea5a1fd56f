package server

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

// Retention says how many days what is kept; 0: as long as the log itself. Records without their personal parts are kept for
// ever: the log would not verify without them.
type Retention struct {
	Personal uint32 `json:"personal_days"` // the personal parts of records, and links that ran out
	Ledgers  uint32 `json:"ledgers_days"`  // sealed speech ledgers
	Marks    uint32 `json:"marks_days"`    // sealed keys of marks
}

// Retained is what one round deleted.
type Retained struct {
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

// Retention returns the setting.
func (s *Server) Retention(ctx context.Context) (Retention, error) {
	var r Retention
	e, err := s.cfg.Store.Get(ctx, retentionKey)
	if errors.Is(err, store.ErrNotFound) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value, &r)
	}
	if err != nil {
		return r, fmt.Errorf("server: retention: %w", err)
	}
	return r, nil
}

// SetRetention changes the setting, which is recorded first.
func (s *Server) SetRetention(ctx context.Context, r Retention) error {
	if max(r.Personal, r.Ledgers, r.Marks) > maxDays {
		return reply.Malformed
	}
	codes := []string{"retention", fmt.Sprintf("personal_%d", r.Personal), fmt.Sprintf("ledgers_%d", r.Ledgers), fmt.Sprintf("marks_%d", r.Marks)}
	if _, err := s.audit.Record(ctx, audit.Record{Kind: audit.KindPolicyChanged, Time: s.now(), Outcome: "done", Codes: codes}); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err == nil {
		_, err = s.cfg.Store.Put(ctx, retentionKey, b)
	}
	if err != nil {
		return fmt.Errorf("server: retention: %w", err)
	}
	return nil
}

// startRetention deletes, twice a day, what has been kept long enough, until the server ends.
func (s *Server) startRetention() {
	s.wait.Add(1)
	go func() {
		defer s.wait.Done()
		for wait := retainFirst; records.Pause(s.ctx, wait); wait = retainEvery {
			done, err := s.Retain(s.ctx)
			if err != nil && s.ctx.Err() == nil {
				s.cfg.Log.Error("what was kept long enough is not deleted", "cause", err)
			} else if done != (Retained{}) {
				s.cfg.Log.Info("deleted what was kept long enough", "records", done.Records, "ledgers", done.Ledgers, "marks", done.Marks, "links", done.Links)
			}
		}
	}()
}

// Retain deletes what has been kept longer than the setting says. It may be run at any time, and again.
func (s *Server) Retain(ctx context.Context) (Retained, error) {
	var done Retained
	r, err := s.Retention(ctx)
	if err != nil {
		return done, err
	}
	now := s.now()
	if r.Ledgers > 0 || r.Marks > 0 {
		meetings, err := s.directory.Meetings(ctx)
		if err != nil {
			return done, err
		}
		for i := range meetings {
			if err := s.retainMeeting(ctx, &meetings[i], r, now, &done); err != nil {
				return done, err
			}
		}
	}
	if r.Personal == 0 {
		return done, nil
	}
	before := now.AddDate(0, 0, -int(r.Personal))
	done.Links, err = s.directory.DropLinks(ctx, before, func(n int) error {
		_, err := s.audit.Record(ctx, audit.Record{Kind: audit.KindDeleted, Time: now, Codes: []string{audit.DeletedLinks}, Size: uint64(n), Until: before})
		return err
	})
	if err != nil {
		return done, err
	}
	done.Records, err = s.retainPersonal(ctx, before, now)
	return done, err
}

// retainMeeting deletes what legs of a meeting handed in long enough ago, whether or not the meeting was ever ended. That it
// does is a record first.
func (s *Server) retainMeeting(ctx context.Context, m *identity.Meeting, r Retention, now time.Time, done *Retained) error {
	drop := func(what string, days uint32, drop func(context.Context, store.Store, conclave.MeetingID, time.Time, func(int) error) (int, error)) (int, error) {
		if days == 0 {
			return 0, nil
		}
		before := now.AddDate(0, 0, -int(days))
		return drop(ctx, s.cfg.Store, m.ID, before, func(n int) error {
			_, err := s.audit.Record(ctx, audit.Record{Kind: audit.KindDeleted, Time: now, Meeting: m.ID, Codes: []string{what}, Size: uint64(n), Until: before})
			return err
		})
	}
	n, err := drop(audit.DeletedLedgers, r.Ledgers, dropLedgers)
	if err != nil {
		return err
	}
	done.Ledgers += n
	if n, err = drop(audit.DeletedMarks, r.Marks, dropMarks); err != nil {
		return err
	}
	done.Marks += n
	return nil
}

// retainPersonal erases the personal parts of records before a day. An erasure reads the whole log: it is done only where
// there is a record old enough that no round before this one has reached.
func (s *Server) retainPersonal(ctx context.Context, before, now time.Time) (uint64, error) {
	var last audit.Index
	e, err := s.cfg.Store.Get(ctx, retainedKey)
	if err == nil {
		err = json.Unmarshal(e.Value, &last)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, fmt.Errorf("server: retention: %w", err)
	}
	next, err := s.audit.Read(ctx, last+1, 1)
	if err != nil || len(next) == 0 || !next[0].Record.Time.Before(before) {
		return 0, err
	}
	reached := last
	erased, err := s.audit.Erase(ctx, now, func(e audit.Entry) bool {
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
		_, err = s.cfg.Store.Put(ctx, retainedKey, b)
	}
	if err != nil {
		return erased.Records, fmt.Errorf("server: retention: %w", err)
	}
	return erased.Records, nil
}

func (s *Server) showRetention(w http.ResponseWriter, r *http.Request) {
	setting, err := s.Retention(r.Context())
	if err != nil {
		s.fail(w, "show retention", err)
		return
	}
	reply.JSON(w, http.StatusOK, setting)
}

func (s *Server) changeRetention(w http.ResponseWriter, r *http.Request) {
	var m Retention
	err := reply.Read(w, r, &m)
	if err == nil {
		err = s.SetRetention(r.Context(), m)
	}
	if err != nil {
		s.fail(w, "change retention", err)
		return
	}
	reply.JSON(w, http.StatusOK, m)
}

func (s *Server) retainNow(w http.ResponseWriter, r *http.Request) {
	done, err := s.Retain(r.Context())
	if err != nil {
		s.fail(w, "delete what was kept long enough", err)
		return
	}
	reply.JSON(w, http.StatusOK, done)
}

// recordExport writes into the log that a person is given all that is kept on them, before they are.
func (s *Server) recordExport(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Person  conclave.PersonID `json:"person"`
		Records uint64            `json:"records"`
	}
	err := reply.Read(w, r, &m)
	var index audit.Index
	if err == nil {
		index, err = s.audit.Record(r.Context(), audit.Record{Kind: audit.KindExport, Time: s.now(), Person: m.Person, Size: m.Records})
	}
	if err != nil {
		s.fail(w, "record an export", err)
		return
	}
	setting, err := s.Retention(r.Context())
	if err != nil {
		s.fail(w, "record an export", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Record       audit.Index `json:"record"`
		Retention    Retention   `json:"retention"`
		Organisation string      `json:"organisation"`
	}{index, setting, s.cfg.Organisation.Name})
}
