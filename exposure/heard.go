package exposure

import (
	"fmt"
	"time"

	"conclave"
	"conclave/audit"
)

// Opened is what the ledgers of one meeting say, once they were opened.
type Opened struct {
	Speech map[conclave.LegID]*Spoken
	Bad    Unrecorded
	Record audit.Index // that they were opened; 0: it stands in no log
	Blocks int         // that the records commit to
}

// Hear adds who spoke while the meetings were exposed. open opens the ledgers of a meeting, or returns nil where there are
// none. progress is told how many of all meetings were opened.
func (d *Damage) Hear(o Options, open func(conclave.MeetingID) (*Opened, error), progress func(done, all int)) error {
	o = o.filled()
	d.Ledger = LedgerPart{State: "none", Holders: o.Holders}
	people := map[Who]int64{}
	for i := range d.Meetings {
		m := &d.Meetings[i]
		opened, err := open(m.Meeting)
		if err != nil {
			return fmt.Errorf("meeting %s: %w", m.Meeting.Text(), err)
		}
		if progress != nil {
			progress(i+1, len(d.Meetings))
		}
		if opened == nil {
			continue
		}
		m.hear(&o, opened)
		d.Ledger.add(opened)
		d.SpokeMS += m.SpokeMS
		for _, h := range m.Spoke {
			people[h.Who] += h.MS
		}
	}
	if d.Ledger.State == "opened" {
		d.Speakers = ranked(people)
	}
	return nil
}

// hear measures how long each leg spoke while the meeting was exposed. The words of the exposed leg itself count too, and
// are marked: what listened on its line heard them first.
func (m *Damaged) hear(o *Options, opened *Opened) {
	m.Spoke, m.Opening = []Heard{}, opened.Record
	for _, l := range m.timeline.Legs {
		var spoke, unclear time.Duration
		s := opened.Speech[l.ID]
		for _, in := range m.union {
			present := presence(l, in)
			if s == nil {
				unclear += present
				continue
			}
			spoke += within(s.Spans, in)
			unclear += present - covered(l, s, in)
		}
		if unclear > time.Second {
			m.Unknown = append(m.Unknown, l.ID.Text())
		}
		if ms := spoke.Milliseconds(); ms > 0 {
			m.Spoke = append(m.Spoke, Heard{Who: o.Who(l), Leg: l.ID.Text(), Self: m.exposed[l], MS: ms})
			m.SpokeMS += ms
		}
	}
	byMost(m.Spoke)
}

// add counts the ledgers of one more meeting.
func (p *LedgerPart) add(o *Opened) {
	p.State = "opened"
	p.Blocks += o.Blocks
	for _, s := range o.Speech {
		p.Opened += s.Blocks
		p.OffMS = max(p.OffMS, s.Off.Milliseconds())
		p.SpokenMS += length(s.Spans).Milliseconds()
	}
	p.Missing = append(p.Missing, o.Bad.Strange...)
	p.Deleted += o.Bad.Deleted
	p.Shut += o.Bad.Shut
	p.Extra += o.Bad.Extra
	if o.Record != 0 && (p.Record == 0 || o.Record < p.Record) {
		p.Record = o.Record // the first of them
	}
}
