package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/server/servertest"
)

func TestWithAPersonWhatTheirCallsLeftIsErasedAndNothingElse(t *testing.T) {
	w := servertest.Start(t)
	w.Enrol("anna")
	w.Enrol("ben")
	ctx := context.Background()
	call, other := conclave.DeviceID{1}, conclave.DeviceID{2}
	for _, r := range []audit.Record{
		{Kind: audit.KindRuling, Person: "ben", Device: call},
		{Kind: audit.KindRuling, Person: "anna", Device: other},
		{Kind: audit.KindExport, Person: "ben"}, // of no device: it must not stand for all that have none
		{Kind: audit.KindEnter, Device: call},
		{Kind: audit.KindEnter, Device: other},
		{Kind: audit.KindException, Reason: "of no device"},
	} {
		r.Time = time.Now()
		if _, err := w.Server.Audit().Record(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	q := httptest.NewRequest(http.MethodPost, "/records/erase", strings.NewReader(`{"person":"ben"}`))
	q.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	w.Server.AdminHandler().ServeHTTP(answer, q)
	if answer.Code != http.StatusOK {
		t.Fatal(answer.Body)
	}
	kept := map[conclave.DeviceID]int{}
	reasons := 0
	for _, e := range w.Records() {
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
