package server_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/server/kept"
	"conclave/server/servertest"
	"conclave/store"
)

type keptLeg struct {
	Meeting conclave.MeetingID `json:"meeting"`
	Leg     conclave.LegID     `json:"leg"`
}

// keptOn asks what the store holds of a person, as conclave export does.
func keptOn(t *testing.T, w *servertest.World, person conclave.PersonID, devices []conclave.DeviceID, legs []keptLeg) ([]kept.Item, string) {
	t.Helper()
	question, err := json.Marshal(map[string]any{"whole": true, "devices": devices, "legs": legs})
	if err != nil {
		t.Fatal(err)
	}
	q := httptest.NewRequest(http.MethodPost, "/people/"+string(person)+"/kept", strings.NewReader(string(question)))
	q.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	w.Server.AdminHandler().ServeHTTP(answer, q)
	var m struct {
		Kept []kept.Item `json:"kept"`
	}
	if answer.Code != http.StatusOK || json.Unmarshal(answer.Body.Bytes(), &m) != nil {
		t.Fatalf("%d: %s", answer.Code, answer.Body)
	}
	return m.Kept, answer.Body.String()
}

// Whatever the store holds of a person is found, for each word of its keys, and nobody else is told with it.
func TestAPersonIsGivenAllThatTheStoreHoldsOfThem(t *testing.T) {
	ctx := context.Background()
	w := servertest.Start(t)
	a, b := w.Enrol("annaweber"), w.Enrol("benlind")
	w.Enrol("annaweber") // of which her first device is told
	m := w.OpenMeetingWith(identity.Meeting{Title: "Kept", Chair: "annaweber", People: []conclave.PersonID{"benlind"}, Door: identity.DoorInvited})
	d, st := w.Server.Directory(), w.Server.Store()
	for _, person := range []conclave.PersonID{"annaweber", "benlind"} {
		if _, _, err := d.IssuePhoneCode(ctx, person, m, 0, rand.Reader, time.Now()); err != nil {
			t.Fatal(err)
		}
		today := time.Now().UTC().Format(time.DateOnly)
		q := httptest.NewRequest(http.MethodPost, "/people/"+string(person)+"/trips", strings.NewReader(`{"country":"SG","from":"`+today+`","until":"`+today+`"}`))
		q.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		if w.Server.AdminHandler().ServeHTTP(answer, q); answer.Code != http.StatusOK {
			t.Fatal(answer.Body)
		}
	}
	if _, err := d.Invite(ctx, m, "Gustav Gast", "Press", rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	anna, ben := come(t, w, a, "annaweber", m).in(), come(t, w, b, "benlind", m).in()
	alike(t, anna, ben)
	legs := map[conclave.DeviceID]keptLeg{}
	var guest conclave.PersonID
	for _, e := range w.Records() {
		if e.Record.Kind == audit.KindEnter {
			legs[e.Record.Device] = keptLeg{m, e.Record.Leg}
		}
		if e.Record.Kind == audit.KindInvitation {
			guest = e.Record.Person
		}
	}
	annas, bens := conclave.DeviceOf(a.Point), conclave.DeviceOf(b.Point)
	// What clients hand in, and what is there for moments only.
	put := func(key, value string) {
		t.Helper()
		if _, err := st.Put(ctx, store.Key(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for id, person := range map[conclave.DeviceID]string{annas: "annaweber", bens: "benlind"} {
		l := legs[id]
		put("ledger."+m.Text()+"."+l.Leg.Text()+".00003", strings.Repeat("x", 1681))
		put("mark."+m.Text()+"."+l.Leg.Text(), `{"sealed":"AAAA"}`)
		put("notice."+person, `[{"id":"person.1","notice":{"for":"`+person+`"}}]`)
	}
	put("pending."+m.Text(), `{"messages":["`+annas.Text()+`"]}`)
	// Of earlier commits those in which her leaf is; they hold keys, not names.
	put("commit."+m.Text()+".77", `{"message":"`+base64.StdEncoding.EncodeToString(append([]byte("commit of "), a.Point...))+`"}`)
	put("commit."+m.Text()+".78", `{"message":"`+base64.StdEncoding.EncodeToString(append([]byte("commit of "), b.Point...))+`"}`)

	all, text := keptOn(t, w, "annaweber", []conclave.DeviceID{annas}, []keptLeg{legs[annas]})
	for _, word := range kept.Personal() {
		if word == "device" { // a guest's, who stands in no directory
			continue
		}
		if !slices.ContainsFunc(all, func(k kept.Item) bool { return k.Kind == word && !k.Written.IsZero() && k.Octets > 0 }) {
			t.Errorf("nothing under %q was found: %s", word, text)
		}
	}
	if n := len(slices.DeleteFunc(slices.Clone(all), func(k kept.Item) bool { return k.Kind != "commit" })); n != 1 {
		t.Errorf("she is given %d commits", n)
	}
	for _, other := range []string{"benlind", bens.Text(), legs[bens].Leg.Text(), "Gustav", `"hash"`, `"salt"`, "xxxx", "AAAA"} {
		if strings.Contains(text, other) {
			t.Errorf("she is given %q: %s", other, text)
		}
	}
	if theirs, text := keptOn(t, w, guest, nil, nil); len(theirs) != 1 || !strings.Contains(text, "Gustav Gast") || !strings.Contains(text, `"by":"administrator"`) {
		t.Errorf("the guest is given %s", text)
	}
	if none, text := keptOn(t, w, "nobody", nil, nil); len(none) != 0 {
		t.Errorf("nobody is given %s", text)
	}
}

func TestAServerKeepsNothingThatTheListDoesNotName(t *testing.T) {
	if _, err := servertest.Start(t).Server.Store().Put(context.Background(), "novelty.1", []byte("x")); err == nil {
		t.Error("it was put")
	}
}
