package trace

import (
	"encoding/json"
	"errors"
	"iter"
	"testing"

	"conclave"
	"conclave/audit"
)

func TestAResultIsHeldAgainstTheLog(t *testing.T) {
	meeting, leg := conclave.MeetingID{1}, conclave.LegID{2}
	v := &Verdict{Outcome: Named, Named: []Leg{{Meeting: meeting, Leg: leg, Record: 3}}, Recorded: []Opening{{Meeting: meeting, Record: 5}}}
	result, digest, err := v.Digest()
	if err != nil {
		t.Fatal(err)
	}
	log := func(change func(list []audit.Entry) []audit.Entry) iter.Seq2[audit.Entry, error] {
		list := []audit.Entry{
			{Index: 3, Record: audit.Record{Kind: audit.KindMark, Meeting: meeting, Leg: leg}},
			{Index: 5, Record: audit.Record{Kind: audit.KindInvestigation, Meeting: meeting, Size: 1}},
			{Index: 6, Record: audit.Record{Kind: audit.KindInvestigation, Outcome: "named", Commitment: digest[:]}},
		}
		return func(yield func(audit.Entry, error) bool) {
			for _, e := range change(list) {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
	whole := func(l []audit.Entry) []audit.Entry { return l }
	if _, record, err := Verify(result, log(whole)); err != nil || record != 6 {
		t.Errorf("the result as it is: record %d, %v", record, err)
	}
	v.Named[0].Name = "another"
	changed, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Verify(append(changed, '\n'), log(whole)); !errors.Is(err, ErrNotInLog) {
		t.Errorf("a changed result: %v", err)
	}
	for name, change := range map[string]func([]audit.Entry) []audit.Entry{
		"no mark":               func(l []audit.Entry) []audit.Entry { return l[1:] },
		"another leg's mark":    func(l []audit.Entry) []audit.Entry { l[0].Record.Leg = conclave.LegID{9}; return l },
		"no opening":            func(l []audit.Entry) []audit.Entry { return append(l[:1:1], l[2]) },
		"another meeting's":     func(l []audit.Entry) []audit.Entry { l[1].Record.Meeting = conclave.MeetingID{9}; return l },
		"opened afterwards":     func(l []audit.Entry) []audit.Entry { l[1], l[2] = l[2], l[1]; return l },
		"another outcome":       func(l []audit.Entry) []audit.Entry { l[2].Record.Outcome = "no_mark"; return l },
		"nothing of the result": func(l []audit.Entry) []audit.Entry { return l[:2] },
	} {
		if _, _, err := Verify(result, log(change)); !errors.Is(err, ErrNotInLog) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Verify([]byte("{}"), log(whole)); err == nil || errors.Is(err, ErrNotInLog) {
		t.Errorf("what is no result: %v", err)
	}
}
