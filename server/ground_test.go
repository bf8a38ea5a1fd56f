package server_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"conclave/admission"
	"conclave/audit"
	"conclave/line"
	"conclave/network"
	"conclave/server"
	"conclave/server/servertest"
)

// What a ruling rested on must be told from its records: what is known of networks and risks, trips, and who was entered,
// invited to enrol and struck off by whom.
func TestWhatRulingsRestOnIsRecordedWhenItChanges(t *testing.T) {
	var ground server.Ground
	w := servertest.StartWith(t, servertest.Options{Reload: func() (server.Ground, error) { return ground, nil }})
	digests := func() (all []string) {
		for _, e := range w.Records() {
			if e.Record.Kind == audit.KindGround {
				all = append(all, string(e.Record.Commitment))
			}
		}
		return all
	}
	calendar, err := network.ParseCalendar([]byte("SG | 2026-02-03 | 2026-02-08 | Singapore Airshow"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := network.ParseList([]byte("192.0.2.0/24 tor"))
	if err != nil {
		t.Fatal(err)
	}
	house := line.Networks{{Name: "house", Prefix: netip.MustParsePrefix("10.1.0.0/16")}}
	for i, next := range []server.Ground{
		{}, // as it was
		{Networks: house},
		{Networks: house, Places: &network.Ground{Calendar: calendar}},
		{Networks: house, Places: &network.Ground{Calendar: calendar, Listed: list}},
		{Networks: house, Places: &network.Ground{Calendar: calendar, Listed: list, Home: []network.Country{"DE"}}},
	} {
		next.Policy = admission.Default()
		ground = next
		for range 2 { // the second time nothing is other
			if _, err := w.Server.Reload(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if got := digests(); len(got) != i+1 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != i+1 {
			t.Errorf("after change %d: %d records", i, len(got))
		}
	}
	w.Restart()
	if got := digests(); len(got) != 6 {
		t.Errorf("at the start: %d records", len(got))
	}

	from := len(w.Records())
	adminPost(t, w, "/people", `{"id":"anna","name":"Anna","unit":""}`)
	adminPost(t, w, "/links", `{"person":"anna"}`)
	adminPost(t, w, "/links", `{"person":"anna","use":"room"}`)
	trip := `{"country":"SG","from":"2099-02-01","until":"2099-02-10"}`
	adminPost(t, w, "/people/anna/trips", trip)
	adminPost(t, w, "/people/anna/trips", trip)
	adminPost(t, w, "/people/anna/trips/remove", `{}`)
	adminPost(t, w, "/people/anna/remove", `{}`)
	var got []string
	for _, e := range w.Records()[from:] {
		r := e.Record
		var facts []string
		for _, f := range r.Facts {
			facts = append(facts, f.Value)
		}
		got = append(got, strings.TrimSpace(fmt.Sprint(r.Kind, " ", string(r.Person), " ", r.Outcome, strings.Join(r.Codes, ","), strings.Join(facts, ","))))
	}
	want := []string{"person_added anna", "link_issued anna", "link_issued anna room", "trip anna doneSG,2099-02-01,2099-02-10",
		"trip anna refuseSG,2099-02-01,2099-02-10", "person_removed anna"}
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q", got)
	}
}
