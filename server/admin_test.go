package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"conclave"
	"conclave/server/servertest"
)

// adminPost sends a request as the administrator and returns the answer's body.
func adminPost(t testing.TB, w *servertest.World, path, body string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	w.Server.AdminHandler().ServeHTTP(rec, r)
	if rec.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func adminGet(t testing.TB, w *servertest.World, path string) (int, string) {
	t.Helper()
	rec := httptest.NewRecorder()
	w.Server.AdminHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec.Code, rec.Body.String()
}

func TestTheAdministratorSeesPeopleMeetingsAndRecords(t *testing.T) {
	w := servertest.Start(t)
	adminPost(t, w, "/people", `{"id":"anna","name":"Anna Weber","unit":"Border"}`)
	d := w.Enrol("anna")
	device := conclave.DeviceOf(d.Point).Text()
	if code, body := adminGet(t, w, "/people/anna"); code != http.StatusOK || !strings.Contains(body, device) || !strings.Contains(body, "Border") {
		t.Errorf("person: %d %s", code, body)
	}
	var opened struct{ Pointer conclave.MeetingID }
	body := adminPost(t, w, "/meetings", `{"title":"Liaison","level":"INTERNAL","chair":"anna","people":[],"door":"chair"}`)
	if err := json.Unmarshal([]byte(body), &opened); err != nil {
		t.Fatal(err)
	}
	anna := come(t, w, d, "anna", opened.Pointer).in()
	if code, body := adminGet(t, w, "/meetings/"+opened.Pointer.Text()); code != http.StatusOK ||
		!strings.Contains(body, `"level_name":"INTERNAL"`) || !strings.Contains(body, `"standing":"member"`) {
		t.Errorf("meeting: %d %s", code, body)
	}
	anna.noAlarm()
	if code, body := adminGet(t, w, "/records?from=2"); code != http.StatusOK || strings.Contains(body, "Anna Weber") || strings.Contains(body, "Liaison") ||
		!strings.Contains(body, `"kind":"enter"`) || strings.Contains(body, `"index":1,`) {
		t.Errorf("records: %d %s", code, body)
	}
	for path, want := range map[string]string{
		"/people/nobody": "person_unknown", "/meetings/x": "meeting_unknown",
		"/meetings/" + conclave.MeetingID{1}.Text(): "meeting_unknown", "/nothing": "request_malformed",
	} {
		if code, body := adminGet(t, w, path); code == http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}
