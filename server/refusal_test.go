package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/server"
	"conclave/server/servertest"
	"conclave/signal"
)

// refusals returns the records of those who were not enrolled or not renewed.
func refusals(w *servertest.World) (out []audit.Record) {
	for _, e := range w.Records() {
		if r := e.Record; (r.Kind == audit.KindEnrolment || r.Kind == audit.KindRenewal) && r.Outcome == "refuse" {
			out = append(out, r)
		}
	}
	return out
}

func TestWhoIsNotEnrolledOrRenewedIsRecorded(t *testing.T) {
	w := servertest.Start(t)
	w.AddPerson("anna", "")
	token := w.Link("anna")
	enrol := func(d *servertest.Device) int {
		code, _ := postJSON(t, w, "/v1/enrol", map[string]any{"token": token, "leaf_key": d.Point, "proof": d.Sign(signal.EnrolContent(token)), "device_name": "Laptop"})
		return code
	}
	if code := enrol(w.NewDevice()); code != http.StatusOK {
		t.Fatal(code)
	}
	stranger := w.NewDevice()
	if code := enrol(stranger); code == http.StatusOK {
		t.Fatal("a link was used twice")
	}
	postJSON(t, w, "/v1/enrol/start", map[string]any{"token": token})
	of := conclave.DeviceOf(stranger.Point)
	if got := refusals(w); len(got) != 2 || got[0].Person != "anna" || got[0].Device != of || !slices.Equal(got[0].Codes, []string{"link_used"}) ||
		got[1].Person != "anna" || got[1].Device != (conclave.DeviceID{}) {
		t.Errorf("recorded %+v", got)
	}
	// A device that nobody has enrolled asks to be renewed.
	b := w.Enrol("ben")
	nonce := askNonce(t, w)
	b.Key = stranger.Key
	postJSON(t, w, "/v1/renew", map[string]any{"statement": b.Statement, "nonce": nonce, "signature": b.Sign(signal.RenewContent(nonce, b.Statement, w.Host))})
	if got := refusals(w); len(got) != 3 || got[2].Kind != audit.KindRenewal || got[2].Device != conclave.DeviceOf(b.Point) || got[2].Codes[0] != "renewal_proof" {
		t.Errorf("recorded %+v", got)
	}
}

func TestAFloodOfRefusedEnrolmentsIsCountedAndNotRecordedOneByOne(t *testing.T) {
	now := time.Now()
	w := servertest.StartWith(t, servertest.Options{Now: func() time.Time { return now },
		Limits: server.Limits{Connections: 100, PerAddress: 100, Rate: 1000, Burst: 1000, Requests: 1e6}})
	const asked = 200
	for i := range asked {
		postJSON(t, w, "/v1/enrol/start", map[string]any{"token": fmt.Sprintf("%022d", i)})
	}
	now = now.Add(time.Hour)
	postJSON(t, w, "/v1/enrol/start", map[string]any{"token": fmt.Sprintf("%022d", asked)})
	got := refusals(w)
	if len(got) == 0 || len(got) >= asked/2 {
		t.Fatalf("%d records of %d refusals", len(got), asked)
	}
	others := uint64(0)
	for _, r := range got {
		others += r.Size
	}
	if others+uint64(len(got)) != asked+1 {
		t.Errorf("%d recorded and %d others, of %d", len(got), others, asked+1)
	}
}

func TestWhoFindsTheRoomFullIsRecorded(t *testing.T) {
	w := servertest.StartWith(t, servertest.Options{MaxLegs: 1})
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	come(t, w, a, "anna", m).in()
	come(t, w, b, "ben", m).await("a full room", 0, func(e endpoint.Event) bool {
		return e.State != nil && e.State.State == endpoint.StateRefused && e.State.Reasons[0].Code == "room_full"
	})
	all := kindsOf(w, m, audit.KindRuling)
	if last := all[len(all)-1].Record; last.Outcome != "refuse" || !slices.Equal(last.Codes, []string{"room_full"}) || last.Device != conclave.DeviceOf(b.Point) {
		t.Errorf("recorded %+v", last)
	}
}

func TestWhoDeclinedAnExceptionIsRecorded(t *testing.T) {
	w := servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, exceptable)})
	a, b, c := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo")
	m := openRestricted(w, "anna", "ben", "cleo")
	anna, ben, cleo := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in(), come(t, w, c, "cleo", m).in()
	alike(t, anna, ben, cleo)
	leg, bens := anna.leg("cleo"), anna.leg("ben")
	cleo.Facts([]conclave.Fact{{Name: "radio", Value: "yes"}})
	cleo.await("quarantine", 0, reason("headset_radio"))
	anna.Except(leg, "no other headset", 1)
	wait(t, "the question", 20*time.Second, func() bool { return len(ben.roster().Exceptions) == 1 })
	ben.Confirm(ben.roster().Exceptions[0].ID, false)
	wait(t, "the answer", 20*time.Second, func() bool { return len(anna.roster().Exceptions) == 0 })
	var got []audit.Entry
	// Anna may not even have been told of the question when she sees none.
	wait(t, "the record", 20*time.Second, func() bool { got = kindsOf(w, m, audit.KindException); return len(got) == 2 })
	if got[1].Record.Outcome != "refuse" || got[1].Record.By != bens {
		t.Errorf("recorded %+v", got)
	}
}
