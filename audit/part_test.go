package audit

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"conclave"
)

func TestALeafHoldsNothingPersonal(t *testing.T) {
	r := Record{Kind: KindException, Time: time.Unix(1, 0).UTC(), Person: "anna.weber", Device: conclave.DeviceID{0xAB, 0xCD}, Reason: "her train is late",
		Facts: []conclave.Fact{{Name: "network", Value: "hotel"}}, Outcome: "wait"}
	leafBytes, partBytes, err := split(r, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"anna", "abcd", "train", "hotel"} {
		if strings.Contains(string(leafBytes), word) {
			t.Errorf("the leaf holds %q: %s", word, leafBytes)
		}
		if !strings.Contains(string(partBytes), word) {
			t.Errorf("the part lacks %q", word)
		}
	}
	if got, missing, err := Join(leafBytes, partBytes); err != nil || missing || !reflect.DeepEqual(got, r) {
		t.Errorf("joined %+v, %v, %v", got, missing, err)
	}
	if got, missing, err := Join(leafBytes, nil); err != nil || !missing || got.Person != "" || got.Outcome != "wait" {
		t.Errorf("without its part: %+v, %v, %v", got, missing, err)
	}
	if _, _, err := Join(leafBytes, bytes.Replace(partBytes, []byte("hotel"), []byte("motel"), 1)); err == nil {
		t.Error("a changed part was believed")
	}
	// The same facts of the same person commit to something else each time.
	again, _, _ := split(r, rand.Reader)
	if bytes.Equal(again, leafBytes) {
		t.Error("two leaves of the same person are alike")
	}
}

// Each field of a record is either the leaf's or the personal part's: who adds one decides.
func TestNoFieldIsForgotten(t *testing.T) {
	personal := map[string]bool{"Person": true, "People": true, "Device": true, "Reason": true, "Facts": true}
	public := map[string]bool{"Kind": true, "Time": true, "Steady": true, "Meeting": true, "Leg": true, "By": true, "Outcome": true, "Grade": true, "Level": true, "Codes": true,
		"Policy": true, "Epoch": true, "TreeHash": true, "Leaf": true, "Until": true, "Commitment": true, "Size": true, "Erased": true}
	for f := range reflect.TypeFor[Record]().Fields() {
		if !personal[f.Name] && !public[f.Name] {
			t.Errorf("is %s personal? Say so here, and split it off if it is", f.Name)
		}
	}
}

func FuzzJoin(f *testing.F) {
	l, p, _ := split(Record{Kind: KindPass, Person: "a"}, rand.Reader)
	f.Add(l, p)
	f.Add([]byte(`{"kind":"started"}`), []byte(nil))
	f.Fuzz(func(t *testing.T, l, p []byte) {
		r, _, err := Join(l, p)
		if err != nil {
			return
		}
		if _, err := json.Marshal(r); err != nil && r.Time.Year() < 10000 && r.Until.Year() < 10000 {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte("{}\x00\x00\x00\x00\x00\x00\x00\x00\x01sealed"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err == nil && !bytes.HasPrefix(b, m.leaf) {
			t.Error("another leaf")
		}
	})
}
