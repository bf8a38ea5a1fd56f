package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/escrow"
	"conclave/server/kept"
	"conclave/signal"
	"conclave/watermark"
)

// maxMarks bounds how many legs are searched in one go.
const maxMarks = 200_000

// Marks are the sealed keys of the legs among which is searched.
type Marks []kept.TracedMark

// ReadMarks reads sealed keys, one JSON value a line, as a server gives them or as they were saved.
func ReadMarks(r io.Reader) (Marks, error) {
	var list Marks
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if len(list) == maxMarks {
			return nil, fmt.Errorf("trace: more than %d legs", maxMarks)
		}
		var m kept.TracedMark
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil || len(m.Commitment) != 32 {
			return nil, fmt.Errorf("trace: line %d of the marks cannot be read", len(list)+1)
		}
		list = append(list, m)
	}
	return list, lines.Err()
}

// Write writes sealed keys for ReadMarks.
func (list Marks) Write(w io.Writer) error {
	out := json.NewEncoder(w)
	for i := range list {
		if err := out.Encode(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// Meetings are the meetings of the legs, each with its number of legs.
func (list Marks) Meetings() map[conclave.MeetingID]int {
	out := make(map[conclave.MeetingID]int)
	for _, m := range list {
		out[m.Meeting]++
	}
	return out
}

// Opened is a leg whose key was opened.
type Opened struct {
	kept.TracedMark
	suspect watermark.Suspect
}

// longest is how long a leg can have marked: the browser's code is for a day.
const longest = 24 * time.Hour

// slack is added to each leg's time: its clock and the server's differ, and buffers play on.
const slack = 2 * time.Minute

var errNothing = errors.New("trace: none of the sealed keys opens with these holders' files: they are another organisation's, or of an earlier investigation key")

// Open opens the keys. A key that does not fit its commitment, or whose commitment is not in the log, counts for nothing: it
// is told in dropped.
func (list Marks) Open(key *escrow.Key, now time.Time) (legs []Opened, dropped int, err error) {
	for _, m := range list {
		k, err := endpoint.OpenMark(key, m.Meeting, m.Leg, &signal.Mark{Commitment: m.Commitment, Sealed: m.Sealed})
		if err != nil || !m.Recorded {
			dropped++
			continue
		}
		until := m.Until
		if until.IsZero() || until.Before(m.Time) {
			until = now
		}
		marked := min(max(until.Sub(m.Time), 0), longest) + slack
		legs = append(legs, Opened{m, watermark.Suspect{Code: k.Code(), Tiles: int(marked / watermark.TileDuration)}})
		k.Wipe()
	}
	if len(legs) == 0 && len(list) > 0 {
		return nil, dropped, errNothing
	}
	return legs, dropped, nil
}

// Suspects returns the legs for a search, in their order.
func Suspects(legs []Opened) []watermark.Suspect {
	out := make([]watermark.Suspect, len(legs))
	for i := range legs {
		out[i] = legs[i].suspect
	}
	return out
}
