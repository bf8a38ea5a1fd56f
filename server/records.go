package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/server/reply"
)

// problemNotCosigned is why a meeting whose level demands witnesses does not open.
var problemNotCosigned = conclave.Problem{Code: "record_not_cosigned", Fix: "wait_for_witnesses"}

// recordStart records that the server started.
func (s *Server) recordStart(ctx context.Context) error {
	codes, err := s.logs.LastEnd(ctx, s.audit)
	if err == nil {
		_, err = s.audit.Record(ctx, audit.Record{Kind: audit.KindStarted, Time: s.now(), Codes: codes})
	}
	return err
}

// witnessed says whether a meeting may open: where its level demands it, witnesses must have signed the log with the record
// of its opening, and not have been away since.
func (s *Server) witnessed(m *identity.Meeting) error {
	if !s.policy().Levels().Cosigned(m.Level) {
		return nil
	}
	if _, ok := s.audit.Cosigned(s.now()); !ok || !s.audit.Covered(m.Opened) {
		return problemNotCosigned
	}
	return nil
}

// unopened refuses who asks for a meeting that may not open; other errors are handed on.
func (v *visitor) unopened(ctx context.Context, j *judgement, leg conclave.LegID, err error) error {
	var p conclave.Problem
	if !errors.As(err, &p) {
		return err
	}
	if _, err := v.audit.Record(ctx, audit.Record{Kind: audit.KindRuling, Time: v.now(), Meeting: v.meeting, Leg: leg, Device: v.asker.device,
		Outcome: outcomeWord(conclave.Refuse), Level: &j.request.Meeting.Level, Codes: []string{p.Code}}); err != nil {
		return err
	}
	v.refuse([]conclave.Problem{p})
	return nil
}

// eraseRecords erases the personal parts of records: of a person and their devices, of devices, or older than a time.
func (s *Server) eraseRecords(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Person  conclave.PersonID   `json:"person"`
		Devices []conclave.DeviceID `json:"devices"`
		Before  time.Time           `json:"before"`
	}
	if err := reply.Read(w, r, &q); err != nil {
		s.fail(w, "erase records", err)
		return
	}
	if q.Person == "" && len(q.Devices) == 0 && q.Before.IsZero() {
		s.fail(w, "erase records", reply.Malformed)
		return
	}
	devices := map[conclave.DeviceID]bool{}
	for _, d := range q.Devices {
		devices[d] = true
	}
	if q.Person != "" {
		// A person may be struck off already; their devices are known none the less.
		known, err := s.directory.Devices(r.Context(), q.Person)
		if err != nil {
			s.fail(w, "erase records", err)
			return
		}
		for _, d := range known {
			devices[d.ID] = true
		}
	}
	done, err := s.audit.Erase(r.Context(), s.now(), func(e audit.Entry) bool {
		// The key of a phone call stands in no directory: what it was ruled on as says whose it is, and comes before all else of it.
		if q.Person != "" && e.Record.Kind == audit.KindRuling && e.Record.Person == q.Person && e.Record.Device != (conclave.DeviceID{}) {
			devices[e.Record.Device] = true
		}
		if !q.Before.IsZero() && !e.Record.Time.Before(q.Before) {
			return false
		}
		return q.Person == "" && len(devices) == 0 || e.Record.Concerns(q.Person) || devices[e.Record.Device]
	})
	if err != nil {
		s.fail(w, "erase records", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Records uint64 `json:"records"`
	}{done.Records})
}
