package endpoint

import (
	"fmt"
	"io"
	"time"

	"conclave"
	"conclave/escrow"
	"conclave/signal"
	"conclave/watermark"
)

// Marker is a Media that marks all that it plays. It is told before the first path of a leg is made.
type Marker interface {
	// Mark brings what to mark with from now on; nil: the organisation wants no marks. It runs on the endpoint's owner
	// goroutine and must return at once.
	Mark(*Marking)
}

// Marking is what a leg marks the sound with that it plays.
type Marking struct {
	Sync  *watermark.Sync
	Code  *watermark.Code
	Began time.Time // the mark's time zero, by Config.Now's clock
}

// mark is the key with which this leg marks what it plays. The leg draws it itself and tells it to nobody but, sealed, the
// investigators: if it came from the server, or from the group's keys, others could make recordings that point at
// this leg. It is part of session and owned by its goroutine.
type mark struct {
	leg  conclave.LegID
	sent *signal.Mark // handed in again after a lost line; nil: no mark
}

// markPurpose is what a mark's key is sealed for (escrow.Seal).
var markPurpose = []byte("Conclave mark 1")

// openMark draws the leg's key if there is somebody to seal it to, hands it in sealed, and tells the owner of media. It
// comes after openLedger, which has looked whether the root vouches for the investigation key. It returns false where a mark is wanted
// and there is no key for it: such a leg hears nothing.
func (s *session) openMark(m *signal.Admitted) bool {
	marker, ok := s.cfg.Media.(Marker)
	if !ok {
		return true
	}
	if s.ledger.key == nil {
		s.mark = mark{leg: m.Leg}
		marker.Mark(nil)
		return true
	}
	if s.mark.leg != m.Leg || s.mark.sent == nil {
		marking, sent, err := newMarking(s.cfg.Rand, s.cfg.Meeting, m, s.cfg.Now())
		if err != nil {
			s.abandon(conclave.Problem{Code: "mark_refused", Fix: "reload"}, err)
			return false
		}
		s.mark = mark{leg: m.Leg, sent: sent}
		marker.Mark(marking)
	}
	s.send(s.mark.sent)
	return true
}

// newMarking draws a leg's key.
func newMarking(rand io.Reader, meeting conclave.MeetingID, m *signal.Admitted, now time.Time) (*Marking, *signal.Mark, error) {
	var b [watermark.KeySize]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return nil, nil, fmt.Errorf("endpoint: draw a mark's key: %w", err)
	}
	defer clear(b[:])
	key, err := watermark.NewKey(b[:])
	if err != nil {
		return nil, nil, err
	}
	defer key.Wipe() // the cipher that was made of it is all that marking takes
	sync, err := watermark.NewSync(m.Investigation.Sync)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := SealMark(m.Investigation.Key, meeting, m.Leg, key)
	if err != nil {
		return nil, nil, err
	}
	commitment := key.Commitment(meeting, m.Leg)
	return &Marking{Sync: sync, Code: key.Code(), Began: now}, &signal.Mark{Commitment: commitment[:], Sealed: sealed}, nil
}

// SealMark seals a leg's key to an investigation key (package escrow).
func SealMark(public []byte, meeting conclave.MeetingID, leg conclave.LegID, key *watermark.Key) ([]byte, error) {
	b := key.Bytes()
	defer clear(b)
	return escrow.Seal(public, markPurpose, markOf(meeting, leg), b)
}

// OpenMark opens a leg's key and holds it against its commitment in the record.
func OpenMark(key *escrow.Key, meeting conclave.MeetingID, leg conclave.LegID, m *signal.Mark) (*watermark.Key, error) {
	b, err := key.Open(markPurpose, markOf(meeting, leg), m.Sealed)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	k, err := watermark.NewKey(b)
	if err != nil {
		return nil, err
	}
	if c := k.Commitment(meeting, leg); string(c[:]) != string(m.Commitment) {
		return nil, fmt.Errorf("endpoint: a mark's key is not the one in the record")
	}
	return k, nil
}

func markOf(meeting conclave.MeetingID, leg conclave.LegID) []byte {
	return append(append(make([]byte, 0, len(meeting)+len(leg)), meeting[:]...), leg[:]...)
}
