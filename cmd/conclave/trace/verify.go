package trace

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"conclave/audit"
)

// ErrNotInLog is returned for a result that the log does not bear out.
var ErrNotInLog = errors.New("trace: the log does not bear this result out")

// Verify holds a result, as --json prints it, against the entries of a log whose own signatures were verified: its digest stands in the
// log; before it stand the opening of the keys of each meeting that it names, and the mark of each leg that it names. It returns the
// result and its record.
func Verify(result []byte, entries iter.Seq2[audit.Entry, error]) (*Verdict, audit.Index, error) {
	v := new(Verdict)
	if err := json.Unmarshal(result, v); err != nil || v.Outcome == "" {
		return nil, 0, errors.New("trace: this is no result of conclave trace --json")
	}
	if v.Unrecorded {
		return v, 0, fmt.Errorf("%w: it was made without a record", ErrNotInLog)
	}
	digest := sha256.Sum256(result)
	marks, openings := make(map[audit.Index]audit.Record), make(map[audit.Index]audit.Record)
	for e, err := range entries {
		if err != nil {
			return v, 0, err
		}
		switch e.Record.Kind {
		case audit.KindMark:
			marks[e.Index] = e.Record
		case audit.KindInvestigation:
			if !bytes.Equal(e.Record.Commitment, digest[:]) {
				openings[e.Index] = e.Record
				continue
			}
			if e.Record.Outcome != string(v.Outcome) {
				return v, 0, fmt.Errorf("%w: record %d has another outcome", ErrNotInLog, e.Index)
			}
			return v, e.Index, v.borneOut(marks, openings)
		}
	}
	return v, 0, fmt.Errorf("%w: no record has its digest; it was changed, or this is a copy of another log or an older one", ErrNotInLog)
}

// borneOut holds what a verdict says of the records before it against these.
func (v *Verdict) borneOut(marks, openings map[audit.Index]audit.Record) error {
	for _, o := range v.Recorded {
		if r, ok := openings[o.Record]; !ok || r.Meeting != o.Meeting {
			return fmt.Errorf("%w: record %d is no opening of the keys of that meeting", ErrNotInLog, o.Record)
		}
	}
	for i := range v.Named {
		l := &v.Named[i]
		if r, ok := marks[l.Record]; !ok || r.Meeting != l.Meeting || r.Leg != l.Leg {
			return fmt.Errorf("%w: record %d is not the mark of leg %s", ErrNotInLog, l.Record, l.Leg.Text())
		}
		opened := false
		for _, o := range v.Recorded {
			opened = opened || o.Meeting == l.Meeting
		}
		if !opened {
			return fmt.Errorf("%w: it names no opening of the keys of meeting %s", ErrNotInLog, l.Meeting.Text())
		}
	}
	return nil
}
