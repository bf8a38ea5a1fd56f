package kept

import (
	"net/http"
	"testing"

	"conclave"
	"conclave/audit"
)

func TestWithAPersonWhatTheirCallsLeftIsErasedAndNothingElse(t *testing.T) {
	w := newWorld(t)
	w.addPerson(t, "anna")
	w.addPerson(t, "ben")
	call, other := conclave.DeviceID{1}, conclave.DeviceID{2}
	for _, r := range []audit.Record{
		{Kind: audit.KindRuling, Person: "ben", Device: call},
		{Kind: audit.KindRuling, Person: "anna", Device: other},
		{Kind: audit.KindExport, Person: "ben"}, // of no device: it must not stand for all that have none
		{Kind: audit.KindEnter, Device: call},
		{Kind: audit.KindEnter, Device: other},
		{Kind: audit.KindException, Reason: "of no device"},
	} {
		w.record(t, r)
	}
	if code, body := w.post(t, "/records/erase", `{"person":"ben"}`); code != http.StatusOK {
		t.Fatal(body)
	}
	kept := map[conclave.DeviceID]int{}
	reasons := 0
	for _, e := range w.records(t) {
		if e.Record.Person == "ben" {
			t.Errorf("record %d names ben", e.Index)
		}
		kept[e.Record.Device]++
		if e.Record.Reason != "" {
			reasons++
		}
	}
	if kept[call] != 0 || kept[other] != 2 || reasons != 1 {
		t.Errorf("of the call %d are left, of another %d, of none with a reason %d", kept[call], kept[other], reasons)
	}
}
