package page

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/exposure"
)

// laptop is what a laptop that was stolen was exposed to, over some meetings.
func laptop(state string) *exposure.Damage {
	began := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	until := began.AddDate(0, 0, 12)
	people := []exposure.Who{{Person: "anna.weber", Name: "Anna Weber", Unit: "Interior"}, {Person: "marta.rossi", Name: "Marta Rossi", Unit: "Foreign Affairs"},
		{Person: "daniel.okafor", Name: "Daniel Okafor", Unit: "Border Agency"}, {Person: "jan.novak", Name: "Jan Novák", Unit: "Transport"}}
	d := &exposure.Damage{Made: until.AddDate(0, 0, 1), What: []string{"device=5f2c0000000000000000000000000000"}, From: &began, Until: &until,
		Searched: exposure.Searched{Meetings: 1204, Legs: 9211, Records: 601_332}, Ledger: exposure.LedgerPart{State: state},
		Log: exposure.LogPart{Verified: true, Indexed: true, Size: 601_332, Root: []byte{0x7f, 0x3a, 0x91, 0xc2, 0x0b, 0xe4, 0xd8, 0x5e}}}
	levels := []string{"CONFIDENTIAL", "RESTRICTED", "INTERNAL"}
	spoken := map[exposure.Who]int64{}
	for i, level := range levels {
		at := began.AddDate(0, 0, 2*i)
		m := exposure.Damaged{Meeting: conclave.MeetingID{byte(i + 1)}, Title: fmt.Sprintf("Border liaison %d", i+1), From: at, To: at.Add(48 * time.Minute), Level: conclave.Level(3 - i), Name: level,
			MS: (48 * time.Minute).Milliseconds(), ByLevel: []exposure.LevelTotal{{Level: conclave.Level(3 - i), Name: level, MS: (48 * time.Minute).Milliseconds()}}}
		m.Spans = []exposure.DamagedSpan{{Who: people[3], Leg: "0401", From: m.From, To: m.To, Level: m.Level, Name: level, Facts: []conclave.Fact{{Name: "network", Value: "hotel"}, {Name: "country", Value: "SG"}}}}
		for k, who := range people[:3] {
			m.Present = append(m.Present, exposure.Heard{Who: who, Leg: fmt.Sprint(k), MS: m.MS - int64(k)*60_000})
		}
		if state == "opened" {
			m.Spoke, m.Opening = []exposure.Heard{}, audit.Index(601_340+i)
			for k, who := range people[:4-i] {
				h := exposure.Heard{Who: who, Leg: fmt.Sprint(k), Self: k == 3, MS: int64(900_000 / (k + 1 + i))}
				m.Spoke, spoken[who] = append(m.Spoke, h), spoken[who]+h.MS
				m.SpokeMS += h.MS
				d.SpokeMS += h.MS
			}
			if i == 1 {
				m.Unknown = []string{"0001"}
			}
		}
		d.MS += m.MS
		d.ByLevel = append(d.ByLevel, m.ByLevel...)
		d.Meetings = append(d.Meetings, m)
	}
	for _, who := range people[:3] {
		d.People = append(d.People, exposure.Heard{Who: who, MS: 3 * 45 * 60_000})
	}
	if state == "opened" {
		d.Ledger = exposure.LedgerPart{State: "opened", Blocks: 588, Opened: 588, Holders: []string{"Ute Sommer", "Paul Klein"}, OffMS: 84, Record: 601_340}
		for _, who := range people {
			d.Speakers = append(d.Speakers, exposure.Heard{Who: who, MS: spoken[who]})
		}
	}
	return d
}

func TestDamageSaysWhoSpokeOrWhyNobodyKnows(t *testing.T) {
	for _, lang := range Languages {
		w := newWords(lang, nil)
		for state, want := range map[string][]string{
			"opened": {w.say("damage_speakers"), w.say("damage_col_spoke"), w.count("damage_spoke", 4, "long", w.ms(laptop("opened").SpokeMS)), w.say("own_words"), w.count("spoke_gaps", 1), w.say("check_openings", "n", w.number(601_340)), w.count("damage_limit_gaps", 1)},
			"sealed": {w.say("lead_sealed"), w.say("damage_limit_speech"), w.say("damage_col_present")},
			"none":   {w.say("lead_unknown"), w.say("limit_ledger_none")},
		} {
			var b bytes.Buffer
			if err := Damage(&b, laptop(state), Options{Language: lang, Fonts: fonts(t), Verify: "conclave audit verify data/audit", Again: "conclave damage --device 5f2c0000000000000000000000000000"}); err != nil {
				t.Fatal(err)
			}
			text := b.String()
			if dir := os.Getenv("CONCLAVE_PAGES"); dir != "" {
				if err := os.WriteFile(dir+"/damage."+state+"."+lang+".html", b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for _, one := range want {
				if !strings.Contains(text, one) {
					t.Errorf("%s, %s: the page lacks %q", lang, state, one)
				}
			}
			if state != "opened" && strings.Contains(text, w.say("damage_speakers")) {
				t.Errorf("%s, %s: speakers are ranked", lang, state)
			}
			for _, bad := range []string{"<script", "ZgotmplZ", "NaN", "%!"} {
				if strings.Contains(text, bad) {
					t.Errorf("%s: the page has %q", lang, bad)
				}
			}
			if left := argument.FindAllString(regexp.MustCompile(`(?s)<style>.*</style>`).ReplaceAllString(text, ""), -1); len(left) > 0 {
				t.Errorf("%s: arguments without a value: %v", lang, left)
			}
		}
	}
}

func TestTheExportHasWordsForEveryKindOfRecord(t *testing.T) {
	source, err := os.ReadFile("../../audit/audit.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\tKind\w+ +Kind = "(\w+)"`).FindAllSubmatch(source, -1)
	if len(found) < 40 {
		t.Fatalf("only %d kinds were found: the search is broken", len(found))
	}
	for _, m := range found {
		if key := "kind_" + string(m[1]); !newWords("en", nil).has(key) {
			t.Errorf("there are no words for %s", key)
		}
	}
}

func TestTheExportHasWordsForAllThatIsStored(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	e := &Export{Organisation: "Ministry", Person: "anna.weber", Name: "Anna Weber", Made: at.AddDate(0, 1, 0), Entry: map[string]any{"id": "anna.weber", "name": "Anna Weber", "unit": "Interior"},
		Devices: []map[string]any{{"id": "5f2c", "name": "Laptop", "enrolled": "2026-03-02T09:00:00Z",
			"link": map[string]any{"by": "own_device", "device": "77aa"}}}, Meetings: []ExportMeeting{{"AQ", "Weekly", true, at}},
		Records: []audit.Entry{{Index: 12, Record: audit.Record{Kind: audit.KindRuling, Time: at, Outcome: "admit", Reason: "Notfall",
			Facts: []conclave.Fact{{Name: "network", Value: "headquarters"}, {Name: "device_age", Value: "known"}}}}},
		Logged: []ExportLogged{{4, "statement", "5f2c"}}, Kept: ExportKept{365, 90, 90}, Record: 19}
	kinds := []string{"token", "phonecode", "invitation", "trip", "notice", "devicenotice", "history", "ledger", "ledger", "mark", "room", "group", "pending", "commit", "device"}
	for i, kind := range kinds {
		one := ExportStored{Kind: kind, Written: at.AddDate(0, 0, i), Octets: 100}
		if kind == "trip" {
			one.Content = map[string]any{"person": "anna.weber", "trips": []any{map[string]any{"country": "SG", "from": "2026-03-02", "until": "2026-03-05"}}}
		}
		e.Stored = append(e.Stored, one)
	}
	for _, lang := range Languages {
		var b bytes.Buffer
		if err := Person(&b, e, Options{Language: lang, Fonts: fonts(t)}); err != nil {
			t.Fatal(err)
		}
		if dir := os.Getenv("CONCLAVE_PAGES"); dir != "" {
			if err := os.WriteFile(dir+"/export."+lang+".html", b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := "country SG, from 2026-03-02, until 2026-03-05"; !strings.Contains(b.String(), want) {
			t.Errorf("%s: the page lacks %q", lang, want)
		}
		w := newWords(lang, nil)
		// The person reads words, not codes: of the entry, and of each record.
		for _, want := range map[string][]string{"de": {"Kennung", "Bescheid, eingelassen", "Netz headquarters", "dieses Gerät bekannt", "„Notfall“", "5f2c, eingerichtet am 2.\u00a0März\u00a02026, 09:00:00, mit einem Link von einem anderen eigenen Gerät"},
			"en": {"Id", "ruling, admitted", "network headquarters", "this device known", "“Notfall”", "5f2c, enrolled on 2\u00a0March\u00a02026, 09:00:00, by a link made on another own device"},
			"fr": {"Identifiant", "décision d’admission, admis", "réseau headquarters", "cet appareil connu", "«\u00a0Notfall\u202f»", "5f2c, enregistré le 2\u00a0mars\u00a02026, 09:00:00, par un lien créé sur un autre de ses appareils"}}[lang] {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: the page lacks %q", lang, want)
			}
		}
		for _, kind := range append(kinds, "devices") {
			if key := "stored_" + kind; !w.has(key) || !strings.Contains(b.String(), w.say(key)) {
				t.Errorf("%s: the page has no words for %s", lang, kind)
			}
		}
	}
}
