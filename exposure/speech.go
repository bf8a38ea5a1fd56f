package exposure

import (
	"cmp"
	"crypto/sha256"
	"runtime"
	"slices"
	"sync"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/escrow"
	"conclave/escrow/speech"
)

// Spoken is when a leg's person spoke, by the server's clock, as the leg's own ledger says.
type Spoken struct {
	Spans   []Interval    // in order, apart
	Covered []Interval    // what the ledger tells of; outside of it nobody knows
	Blocks  int           // minutes that were handed in, recorded, and opened
	Off     time.Duration // how far the spans may be off
	Merged  bool          // in some minute short silences were left out
	Odd     bool          // the ledger's clock does not fit the records: its times are worth little
}

// Sealed is a block of a ledger as the server kept it.
type Sealed struct {
	Leg    conclave.LegID `json:"leg"`
	Minute uint32         `json:"minute"`
	Sealed []byte         `json:"sealed"`
}

// Unrecorded says what is wrong with the blocks of a meeting.
type Unrecorded struct {
	Strange []audit.Index // recorded, but not among the blocks
	Deleted int           // recorded, and deleted for their age, as the log says
	Extra   int           // blocks of which there is no record, or for another leg: not looked at
	Shut    int           // recorded blocks that do not open
}

// tolerance is how far a leg's clock may contradict the records before its ledger counts as odd: the server's goroutines and
// disks take their time.
const tolerance = 2 * time.Second

// deletedNear is how far the record of a block may be from the moment that it was kept at.
const deletedNear = time.Minute

// OpenSpeech opens the sealed blocks of a meeting that its records commit to.
func (t *Timeline) OpenSpeech(key *escrow.Key, blocks []Sealed) (map[conclave.LegID]*Spoken, Unrecorded) {
	var bad Unrecorded
	found := map[[32]byte]bool{}
	var known []Sealed
	var recorded []time.Time
	for _, b := range blocks {
		sum := sha256.Sum256(b.Sealed)
		h, ok := t.commitments[sum]
		if !ok || h.leg != b.Leg || found[sum] {
			bad.Extra++
			continue
		}
		found[sum] = true
		known, recorded = append(known, b), append(recorded, h.at)
	}
	opened := map[conclave.LegID][]openBlock{}
	for i, block := range openAll(key, t.Meeting, known) {
		if block == nil {
			bad.Shut++
			continue
		}
		opened[known[i].Leg] = append(opened[known[i].Leg], openBlock{block, recorded[i]})
	}
	for sum, h := range t.commitments {
		switch {
		case found[sum]:
		case h.at.Before(t.deleted.Add(deletedNear)):
			bad.Deleted++
		default:
			bad.Strange = append(bad.Strange, h.record)
		}
	}
	slices.Sort(bad.Strange)
	out := map[conclave.LegID]*Spoken{}
	for id, list := range opened {
		if l := t.Leg(id); l != nil && len(l.Stays) > 0 && !l.Stays[0].From.IsZero() {
			out[id] = place(list, l.Stays[0].From)
		}
	}
	return out, bad
}

// openAll opens blocks on all cores, for over many meetings there are millions; nil is one that does not open.
func openAll(key *escrow.Key, meeting conclave.MeetingID, blocks []Sealed) []*speech.Block {
	out := make([]*speech.Block, len(blocks))
	cores := runtime.GOMAXPROCS(0)
	var wait sync.WaitGroup
	for core := range cores {
		wait.Go(func() {
			for i := core; i < len(blocks); i += cores {
				if b, err := speech.Open(key, meeting, blocks[i].Leg, blocks[i].Minute, blocks[i].Sealed); err == nil {
					out[i] = b
				}
			}
		})
	}
	wait.Wait()
	return out
}

// Ledgers returns how many blocks the records commit to.
func (t *Timeline) Ledgers() int { return len(t.commitments) }

type openBlock struct {
	*speech.Block
	recorded time.Time
}

// place puts a leg's spans into the server's time. The leg counted from the moment at which it learned that it was in: that
// is not before the record of its entering, and each block was sealed not after its own record. Both ends together bound
// how the clocks stand; the least delay of nearby blocks follows a clock that drifts.
func place(list []openBlock, entered time.Time) *Spoken {
	slices.SortFunc(list, func(a, b openBlock) int { return cmp.Compare(a.Minute, b.Minute) })
	began := make([]time.Time, len(list)) // at the latest, by each block
	for i, b := range list {
		began[i] = b.recorded.Add(-time.Duration(b.Sent) * time.Millisecond)
	}
	const near = 5
	latest := func(i int) time.Time {
		t := began[i]
		for _, other := range began[max(0, i-near):min(len(began), i+near+1)] {
			if other.Before(t) {
				t = other
			}
		}
		return t
	}
	// Half of what lies between the bounds is the way there: the way of the first blocks and of the word that the leg is in.
	way := max(latest(0).Sub(entered)/2, 0)
	s := &Spoken{Blocks: len(list), Off: way, Odd: latest(0).Sub(entered) < -tolerance}
	for i, b := range list {
		zero := latest(i).Add(-way).Add(time.Duration(b.Minute) * speech.Minute)
		s.Merged = s.Merged || b.Merged
		s.Covered = appendSpan(s.Covered, Interval{zero, zero.Add(time.Duration(b.Until) * time.Millisecond)})
		for _, p := range b.Spans {
			s.Spans = appendSpan(s.Spans, Interval{zero.Add(time.Duration(p.From) * time.Millisecond), zero.Add(time.Duration(p.To) * time.Millisecond)})
		}
		if i > 0 && (b.Minute == list[i-1].Minute) {
			s.Odd = true
		}
	}
	return s
}

// seam is what may lie between two minutes whose clocks were placed apart.
const seam = 250 * time.Millisecond

func appendSpan(list []Interval, i Interval) []Interval {
	if n := len(list); n > 0 && i.From.Sub(list[n-1].To) <= seam && !i.From.Before(list[n-1].From) {
		if i.To.After(list[n-1].To) {
			list[n-1].To = i.To
		}
		return list
	}
	if !i.From.Before(i.To) {
		return list
	}
	return append(list, i)
}

// within returns how much of list lies in an interval.
func within(list []Interval, in Interval) (sum time.Duration) {
	for _, i := range list {
		if d := overlap(i, in); d > 0 {
			sum += d
		}
	}
	return sum
}

func overlap(a, b Interval) time.Duration {
	from, to := a.From, a.To
	if b.From.After(from) {
		from = b.From
	}
	if b.To.Before(to) {
		to = b.To
	}
	return to.Sub(from)
}
