package server_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"conclave"
	"conclave/server"
	"conclave/server/servertest"
	"conclave/signal"
)

// sealedMark is of the size of a sealed key; the server cannot tell it from one.
func sealedMark(b byte) *signal.Mark {
	return &signal.Mark{Commitment: bytes.Repeat([]byte{b}, 32), Sealed: bytes.Repeat([]byte{b}, 16+1088+65+16)}
}

func TestALegsMarkIsKeptOnceAndRecorded(t *testing.T) {
	w := servertest.Start(t)
	w.AddPerson("anna", "Anna Weber")
	anna := w.Enrol("anna")
	m := w.OpenMeeting("anna")
	r := connect(t, w)
	admitted := r.admitted(anna, m)
	refusal := func(mark *signal.Mark) {
		t.Helper()
		r.send(mark)
		if f := expect[*signal.Failed](r); f.Of != "mark" || f.Reason.Code != "mark_refused" {
			t.Errorf("answered %+v", f)
		}
	}
	r.send(sealedMark(1))
	r.send(sealedMark(1)) // delivered already
	refusal(sealedMark(2))
	refusal(&signal.Mark{Commitment: make([]byte, 32), Sealed: make([]byte, 100)})
	answer := httptest.NewRecorder()
	w.Server.AdminHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/meetings/"+m.Text()+"/marks", nil))
	var got server.TracedMark
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
		t.Fatalf("one mark was expected: %v: %s", err, answer.Body)
	}
	if got.Leg != admitted.Leg || got.Meeting != m || !got.Recorded || got.Device != conclave.DeviceOf(anna.Point) || got.Name == "" || !bytes.Equal(got.Sealed, sealedMark(1).Sealed) || got.Grade == nil {
		t.Errorf("kept is %+v", got)
	}
	// The name stays when the device is taken out of use, and when the person is struck off.
	for _, path := range []string{"/devices/" + conclave.DeviceOf(anna.Point).Text() + "/revoke", "/people/anna/remove"} {
		adminPost(t, w, path, "{}")
		answer := httptest.NewRecorder()
		w.Server.AdminHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/meetings/"+m.Text()+"/marks", nil))
		var got server.TracedMark
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || got.Person != "anna" || got.Name != "Anna Weber" {
			t.Errorf("after %s: %+v, %v", path, got, err)
		}
	}
}
