package server_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"conclave"
	"conclave/admission"
	"conclave/server/kept"
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
	var got kept.TracedMark
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
		var got kept.TracedMark
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || got.Person != "anna" || got.Name != "Anna Weber" {
			t.Errorf("after %s: %+v, %v", path, got, err)
		}
	}
}

// A leg that asks for media before its mark's key is committed to is ruled on as one without, whatever it says of itself: where policy
// forbids that it gets none, and once the key is there it is let back.
func TestALegWithoutACommittedKeyGetsNoMediaWherePolicyForbidsIt(t *testing.T) {
	w, _, _ := startInvestigated(t)
	w.AddPerson("anna", "Anna Weber")
	anna := w.Enrol("anna")
	media := &signal.Media{Ufrag: "abcd", Password: strings.Repeat("p", 22), Fingerprint: make([]byte, 32), ServerFingerprint: make([]byte, 32), Opus: 111, VP8: 96}
	looked := func(r *raw) {
		t.Helper()
		r.send(media)
		if f := expect[*signal.Failed](r); f.Of != "media" { // the offer itself is not good
			t.Fatalf("answered %+v", f)
		}
	}
	r := connect(t, w)
	r.admitted(anna, w.OpenMeeting("anna"))
	looked(r) // no rule asks for a key

	policy, err := admission.Load(append(admission.DefaultPolicy(), []byte(`
		@reason("mark_missing") @fix("reload")
		forbid (principal, action == Action::"join", resource)
		when { context.proven.hasTag("mark_key") && context.proven.getTag("mark_key") == "missing" };`)...), admission.DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	w.Server.SetPolicy(policy)
	r = connect(t, w)
	r.admitted(anna, w.OpenMeeting("anna"))
	r.send(sealedMark(1))
	looked(r)
	r = connect(t, w)
	r.admitted(anna, w.OpenMeeting("anna"))
	r.send(media)
	if q := expect[*signal.Quarantined](r); len(q.Reasons) != 1 || q.Reasons[0].Code != "mark_missing" {
		t.Fatalf("the leg is held back for %+v", q.Reasons)
	}
	r.send(sealedMark(1))
	expect[*signal.Admitted](r)
	looked(r)
}

// What a leg claims comes back to it once it was ruled on: only then does a page play unmarked sound.
func TestALegIsToldWhichOfItsClaimsWereRuledOn(t *testing.T) {
	w := servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, "")})
	w.AddPerson("anna", "Anna Weber")
	r := connect(t, w)
	r.admitted(w.Enrol("anna"), w.OpenMeeting("anna"))
	if m := expect[*signal.Facts](r); len(m.Facts) != 0 {
		t.Errorf("ruled on: %+v", m.Facts)
	}
	claimed := []conclave.Fact{{Name: "mark", Value: "absent"}}
	r.send(&signal.Facts{Facts: claimed})
	if m := expect[*signal.Facts](r); !slices.Equal(m.Facts, claimed) {
		t.Errorf("ruled on: %+v", m.Facts)
	}
	shut, err := admission.Load(append(admission.DefaultPolicy(), []byte(`
		@reason("mark_absent") @fix("reload")
		forbid (principal, action == Action::"join", resource)
		when { context.claimed.hasTag("mark") && context.claimed.getTag("mark") == "absent" };`)...), admission.DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	w.Server.SetPolicy(shut)
	r.send(&signal.Facts{Facts: claimed})
	for {
		switch m := r.next().(type) {
		case *signal.Facts:
			t.Fatalf("a leg that is put out is told that it may hear: %+v", m)
		case *signal.Quarantined:
			return
		case nil:
			t.Fatal("the connection ended")
		}
	}
}
