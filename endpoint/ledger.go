package endpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"conclave"
	"conclave/escrow"
	"conclave/escrow/speech"
	"conclave/pass"
	"conclave/signal"
)

// ledger notes when the own person speaks, spans and no content, and hands in a block of it each minute, sealed to the
// organisation's investigation key. Silent minutes are handed in as well, in the same size and at the same moments: that a
// block comes says nothing. It is part of session and owned by its goroutine.
type ledger struct {
	key   []byte         // the investigation key, once a grant vouches for it; nil: no ledger
	leg   conclave.LegID // whose ledger this is
	began time.Time      // when the leg first entered; zero before
	phase time.Duration  // how long after each minute's end its block is handed in
	next  uint32         // the minute whose block is handed in next
	spans []spoken       // of that minute and later ones: in order, apart
	kept  []*signal.Ledger
}

// spoken is a span of speech in milliseconds since the leg first entered.
type spoken struct{ from, to int64 }

const (
	// Each leg hands in its blocks at the same moment of each minute, drawn at random when it enters: a hundred legs do not
	// come at once, and no leg's moment depends on what is said. The least leaves time for the owner's last report.
	ledgerPhase  = 2 * time.Second
	ledgerSpread = 18 * time.Second
	// ledgerKept is how many blocks are handed in again after a lost line: they may have been on their way. The server
	// takes each minute once. It is more than a place is kept in minutes.
	ledgerKept = 15
	// ledgerSpans bounds what a minute's reports take; a person who speaks has a few dozen.
	ledgerSpans = 1024
	minuteMS    = int64(speech.Minute / time.Millisecond)
)

// Spoke notes that the own person spoke between two moments, by Config.Now's clock. The owner of media reports spans that
// go on every second or so, in order, and nothing of what is said while the microphone is muted.
func (e *Endpoint) Spoke(from, to time.Time) error {
	return e.do(func(s *session) { s.ledger.note(from, to, s.cfg.Now()) })
}

func (l *ledger) note(from, to, now time.Time) {
	if l.key == nil || l.began.IsZero() {
		return
	}
	if to.After(now) {
		to = now
	}
	// A minute that was handed in is closed.
	first := max(from.Sub(l.began).Milliseconds(), int64(l.next)*minuteMS)
	last := to.Sub(l.began).Milliseconds()
	if n := len(l.spans); n > 0 && (first <= l.spans[n-1].to || n >= ledgerSpans) {
		l.spans[n-1].to = max(l.spans[n-1].to, last)
		return
	}
	if first < last {
		l.spans = append(l.spans, spoken{first, last})
	}
}

// openLedger takes the investigation key that the server gives, if the root vouches for it.
func (s *session) openLedger(m *signal.Admitted) {
	l := &s.ledger
	if l.leg != m.Leg {
		*l = ledger{leg: m.Leg}
	}
	l.key = nil
	if m.Investigation == nil {
		return
	}
	if !granted(s.trust.Trust, m.Investigation.Key, s.cfg.Now()) {
		// Who else would want to read when somebody spoke?
		sum := sha256.Sum256(m.Investigation.Key)
		s.alarm(about("alarm_investigation", "leave_and_report", "key", hex.EncodeToString(sum[:8])))
		return
	}
	l.key = m.Investigation.Key
}

// granted says whether the root vouches for an investigation key at now.
func granted(t *pass.Trust, key []byte, now time.Time) bool {
	if escrow.CheckPublic(key) != nil {
		return false
	}
	sum := sha256.Sum256(key)
	return slices.ContainsFunc(t.Grants(), func(b []byte) bool {
		g, err := pass.ParseGrant(b)
		return err == nil && g.Role == pass.RoleInvestigation && string(g.Key) == string(sum[:]) &&
			!now.Add(pass.MaxSkew).Before(g.NotBefore) && now.Before(g.NotAfter)
	})
}

// beginLedger starts the ledger's clock when the leg enters for the first time.
func (s *session) beginLedger() {
	l := &s.ledger
	if l.key == nil || !l.began.IsZero() {
		return
	}
	l.began = s.cfg.Now()
	l.phase = ledgerPhase + time.Duration(s.jitter()*float64(ledgerSpread))
	s.planLedger()
}

func (s *session) planLedger() {
	l := &s.ledger
	s.due[dueLedger] = l.began.Add(time.Duration(l.next+1)*speech.Minute + l.phase)
}

// writeLedger hands in the minute that is due, and any that a machine slept through.
func (s *session) writeLedger() {
	l := &s.ledger
	if l.key == nil || l.began.IsZero() {
		return
	}
	for i := 0; i < ledgerKept && s.cfg.Now().Sub(l.began) >= time.Duration(l.next+1)*speech.Minute; i++ {
		s.handInMinute(minuteMS)
	}
	if l.next < speech.MaxMinutes {
		s.planLedger()
	}
}

// closeLedger hands in what is left, before the leg leaves.
func (s *session) closeLedger() {
	l := &s.ledger
	if l.key == nil || l.began.IsZero() {
		return
	}
	s.writeLedger()
	s.forget(dueLedger)
	if rest := s.cfg.Now().Sub(l.began).Milliseconds() - int64(l.next)*minuteMS; rest > 0 && rest < minuteMS && l.next < speech.MaxMinutes {
		s.handInMinute(rest)
	}
}

// handInMinute seals and sends the next minute, of which until milliseconds have passed.
func (s *session) handInMinute(until int64) {
	l := &s.ledger
	start := int64(l.next) * minuteMS
	b := speech.Block{Minute: l.next, Sent: uint32(s.cfg.Now().Sub(l.began).Milliseconds()), Until: uint16(until)}
	var later []spoken
	for _, p := range l.spans {
		if from, to := p.from-start, min(p.to-start, minuteMS); from < to {
			b.Spans = append(b.Spans, speech.Span{From: uint16(max(from, 0)), To: uint16(to)})
		}
		if p.to > start+minuteMS {
			later = append(later, spoken{max(p.from, start+minuteMS), p.to})
		}
	}
	clear(l.spans)
	l.spans = later
	l.next++
	sealed, err := b.Seal(l.key, s.cfg.Meeting, l.leg)
	clear(b.Spans)
	if err != nil {
		s.cfg.Log.Warn("ledger not sealed", "cause", err)
		return
	}
	m := &signal.Ledger{Minute: b.Minute, Sealed: sealed}
	if len(l.kept) == ledgerKept {
		l.kept = slices.Delete(l.kept, 0, 1)
	}
	l.kept = append(l.kept, m)
	if s.state == StateIn || s.state == StateQuarantined {
		s.send(m)
	}
}

// ledgerAgain hands in once more what may have been lost with the line.
func (s *session) ledgerAgain() {
	for _, m := range s.ledger.kept {
		s.send(m)
	}
}
