package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/pass"
	"conclave/server/reply"
)

// Whoever is not enrolled, or not renewed, leaves a record: a link that was used by somebody else is the first sign of a
// stranger in a person's name. Anybody may ask, so the records are bounded, and say how many others there were.

const (
	refusalsPerSecond = 0.2
	refusalsBurst     = 60
)

// refusals bounds the records of those who were not enrolled.
type refusals struct {
	mu     sync.Mutex
	bucket bucket // guarded by mu
	others uint64 // that were not recorded since the last one that was; guarded by mu
}

// take says whether a refusal is recorded, and how many before it were not.
func (f *refusals) take(now time.Time) (others uint64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.bucket.take(refusalsPerSecond, refusalsBurst, now) {
		f.others++
		return 0, false
	}
	others, f.others = f.others, 0
	return others, true
}

// refused records that a device was not enrolled or renewed for a reason that a person is told; other errors are no refusals.
// Whom a link was for is not told to who tries it.
func (s *Server) refused(ctx context.Context, kind audit.Kind, e *identity.Enrolment, meeting conclave.MeetingID, cause error) {
	var p conclave.Problem
	if !errors.As(cause, &p) || p.Code == reply.Malformed.Code {
		return
	}
	rec := audit.Record{Kind: kind, Meeting: meeting, Codes: []string{p.Code}}
	if e.LeafKey != nil {
		rec.Device = conclave.DeviceOf(e.LeafKey)
	}
	var err error
	if meeting == (conclave.MeetingID{}) {
		rec.Person, err = s.directory.LinkHolder(ctx, e.Token)
	} else {
		rec.Person, err = s.directory.InvitationHolder(ctx, e.Token)
	}
	if err != nil {
		s.cfg.Log.Error("a refusal is recorded without whom it is about", "cause", err)
	}
	s.noteRefused(ctx, rec)
}

// renewalRefused is refused for a device that asked for its next statement.
func (s *Server) renewalRefused(ctx context.Context, statement []byte, cause error) {
	var p conclave.Problem
	parsed, err := pass.ParseStatement(statement)
	if err != nil || !errors.As(cause, &p) || p.Code == reply.Malformed.Code {
		return
	}
	// The name in a statement that nobody has verified is not worth a record; the device's key is whose it is.
	s.noteRefused(ctx, audit.Record{Kind: audit.KindRenewal, Device: parsed.Device(), Codes: []string{p.Code}})
}

func (s *Server) noteRefused(ctx context.Context, rec audit.Record) {
	others, ok := s.refusals.take(s.now())
	if !ok {
		return
	}
	rec.Time, rec.Outcome, rec.Size = s.now(), outcomeWord(conclave.Refuse), others
	if err := s.audit.Note(context.WithoutCancel(ctx), rec); err != nil {
		s.cfg.Log.Error("a refusal is not recorded", "kind", rec.Kind, "cause", err)
	}
}
