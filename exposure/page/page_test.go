package page

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/exposure"
)

var argument = regexp.MustCompile(`\{[a-z0-9]+\}`)

func TestAllLanguagesSayTheSame(t *testing.T) {
	for key, text := range english {
		want := argument.FindAllString(text, -1)
		slices.Sort(want)
		want = slices.Compact(want)
		for lang, table := range map[string]map[string]string{"de": german, "fr": french} {
			other, ok := table[key]
			if !ok {
				t.Errorf("%s has no words for %s", lang, key)
				continue
			}
			got := argument.FindAllString(other, -1)
			slices.Sort(got)
			got = slices.Compact(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s has arguments %v, want %v", lang, key, got, want)
			}
		}
	}
	for lang, table := range map[string]map[string]string{"de": german, "fr": french} {
		if len(table) != len(english) {
			for key := range table {
				if _, ok := english[key]; !ok {
					t.Errorf("%s has words for %s, which nobody says", lang, key)
				}
			}
		}
	}
}

func TestNoLineOfFrenchBeginsWithASignOfItsPunctuation(t *testing.T) {
	loose := regexp.MustCompile(` [:;?!»]|« `)
	for key, text := range french {
		if loose.MatchString(text) {
			t.Errorf("%s has a space at which a line may break: %q", key, text)
		}
	}
}

// meeting is a meeting of 38 minutes with a phone, an exception, a line that turns bad and a hotel.
func meeting() (*exposure.Report, *exposure.Timeline) {
	began := time.Date(2026, 4, 17, 9, 0, 0, 0, time.UTC)
	id := conclave.MeetingID{1, 2, 3}
	t := exposure.NewTimeline(id)
	n := audit.Index(18_200)
	at := func(d time.Duration, r audit.Record) {
		r.Time, r.Meeting = began.Add(d), id
		n++
		t.Add(audit.Entry{Index: n, Record: r})
	}
	level, grades := conclave.Level(2), []conclave.Grade{conclave.GradeOpen, conclave.GradeHop, conclave.GradeSealed, conclave.GradeGuarded}
	leg := func(i byte) conclave.LegID { return conclave.LegID{i} }
	facts := func(pairs ...string) (out []conclave.Fact) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, conclave.Fact{Name: pairs[i], Value: pairs[i+1], Proven: true})
		}
		return out
	}
	rule := func(d time.Duration, i byte, outcome string, g conclave.Grade, f []conclave.Fact, codes ...string) {
		at(d, audit.Record{Kind: audit.KindRuling, Leg: leg(i), Device: conclave.DeviceID{i}, Outcome: outcome, Grade: &grades[g], Level: &level, Facts: f, Codes: codes})
	}
	enter := func(d time.Duration, i byte, g conclave.Grade, f []conclave.Fact) {
		rule(d, i, "admit", g, f)
		at(d, audit.Record{Kind: audit.KindPass, Leg: leg(i), Until: began.Add(2 * time.Hour)})
		at(d, audit.Record{Kind: audit.KindEnter, Leg: leg(i), Device: conclave.DeviceID{i}, Epoch: uint64(n)})
	}
	out := func(d, keys time.Duration, i, by byte, kind audit.Kind, codes ...string) {
		r := audit.Record{Kind: kind, Leg: leg(i), Codes: codes}
		if by != 0 {
			r.By = leg(by)
		}
		at(d, r)
		at(d+keys, audit.Record{Kind: audit.KindRemoved, Leg: leg(i), Epoch: uint64(n), Codes: codes})
	}
	at(-time.Hour, audit.Record{Kind: audit.KindMeetingOpened, Level: &level})
	enter(0, 1, conclave.GradeGuarded, facts("network", "headquarters", "country", "DE"))
	enter(20*time.Second, 2, conclave.GradeGuarded, facts("network", "headquarters", "country", "DE"))
	enter(70*time.Second, 3, conclave.GradeSealed, facts("network", "unlisted", "country", "DE"))
	enter(2*time.Minute+41*time.Second, 4, conclave.GradeSealed, facts("network", "hotel", "country", "SG"))
	rule(9*time.Minute, 3, "admit", conclave.GradeSealed, facts("network", "unlisted", "country", "DE"))
	at(11*time.Minute+8*time.Second, audit.Record{Kind: audit.KindFacts, Leg: leg(3)})
	rule(11*time.Minute+8010*time.Millisecond, 3, "refuse", conclave.GradeSealed, facts("network", "unlisted", "country", "CH"), "travel_unannounced", "network_not_approved")
	out(11*time.Minute+8012*time.Millisecond, 430*time.Millisecond, 3, 0, audit.KindQuarantine, "travel_unannounced", "network_not_approved")
	rule(14*time.Minute, 3, "admit", conclave.GradeGuarded, facts("network", "headquarters", "country", "DE"))
	at(14*time.Minute, audit.Record{Kind: audit.KindHealed, Leg: leg(3)})
	enter(14*time.Minute+time.Second, 3, conclave.GradeGuarded, facts("network", "headquarters", "country", "DE"))
	enter(18*time.Minute, 5, conclave.GradeHop, facts("kind", "hop", "country", "DE"))
	at(20*time.Minute, audit.Record{Kind: audit.KindShown, Leg: leg(2), Outcome: "screen"})
	at(24*time.Minute, audit.Record{Kind: audit.KindShown, Leg: leg(2)})
	out(26*time.Minute, 300*time.Millisecond, 5, 1, audit.KindRemoval, "removed_other")
	at(29*time.Minute, audit.Record{Kind: audit.KindLost, Leg: leg(2)})
	at(29*time.Minute+26*time.Second, audit.Record{Kind: audit.KindResumed, Leg: leg(2)})
	for i := range byte(4) {
		out(38*time.Minute+time.Duration(i)*2*time.Second, 100*time.Millisecond, i+1, 0, audit.KindLeave, "left")
	}
	at(39*time.Minute, audit.Record{Kind: audit.KindMeetingEnded})
	t.Close(began.Add(39 * time.Minute))
	people := map[byte]exposure.Who{1: {Person: "anna.weber", Name: "Anna Weber", Unit: "Interior"}, 2: {Person: "marta.rossi", Name: "Marta Rossi", Unit: "Foreign Affairs"},
		3: {Person: "jan.novak", Name: "Jan Novák", Unit: "Transport"}, 4: {Person: "daniel.okafor", Name: "Daniel Okafor", Unit: "Border Agency"}, 5: {Name: "+49 30 ••• 471"}}
	suspicion, _ := exposure.ParseSuspicion("network=hotel")
	spoken := map[conclave.LegID]*exposure.Spoken{}
	for i := range byte(5) {
		s := &exposure.Spoken{Blocks: 38, Off: 36 * time.Millisecond, Covered: []exposure.Interval{{From: began, To: began.Add(39 * time.Minute)}}}
		for at := time.Duration(i) * 31 * time.Second; at < 38*time.Minute; at += 140*time.Second + time.Duration(i)*7*time.Second {
			if i != 4 || at > 18*time.Minute && at < 25*time.Minute {
				s.Spans = append(s.Spans, exposure.Interval{From: began.Add(at), To: began.Add(at + 24*time.Second + time.Duration(i)*time.Second)})
			}
		}
		spoken[leg(i+1)] = s
	}
	r := exposure.Investigate(t, exposure.Options{
		Title: "Border liaison, weekly", Now: began.Add(26 * time.Hour), Speech: spoken, Suspicions: []exposure.Suspicion{suspicion},
		Level: func(l conclave.Level) string { return []string{"OPEN", "INTERNAL", "RESTRICTED", "CONFIDENTIAL"}[l] },
		Who:   func(l *exposure.Leg) exposure.Who { return people[l.ID[0]] }, Holders: []string{"Ute Sommer", "Paul Klein"}, Opening: 18_911,
		Log: exposure.LogPart{Verified: true, Size: 18_912, Root: []byte{0x7f, 0x3a, 0x91, 0xc2, 0x0b, 0xe4, 0xd8, 0x5e}, Sealed: began.Add(25 * time.Hour), Witness: []string{"Audit Office", "Data Protection Office"}},
	})
	return r, t
}

// fonts are those of the web client, where a page is written for the eye.
func fonts(t *testing.T) (out []Font) {
	if os.Getenv("CONCLAVE_PAGES") == "" {
		return nil
	}
	for family, file := range map[string]string{"Atkinson Hyperlegible Next": "next", "Atkinson Hyperlegible Mono": "mono"} {
		b, err := os.ReadFile("../../web/node_modules/@fontsource-variable/atkinson-hyperlegible-" + file + "/files/atkinson-hyperlegible-" + file + "-latin-wght-normal.woff2")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Font{Family: family, WOFF2: b})
	}
	return out
}

func TestThePageAnswersFirstAndCarriesNothingFromElsewhere(t *testing.T) {
	r, _ := meeting()
	for _, lang := range Languages {
		var b bytes.Buffer
		if err := Report(&b, r, Options{Language: lang, Fonts: fonts(t), Verify: "conclave audit verify data/audit", Again: "conclave investigate AQID --data data"}); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if dir := os.Getenv("CONCLAVE_PAGES"); dir != "" {
			if err := os.WriteFile(dir+"/report."+lang+".html", b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, bad := range []string{"<script", "http://", "https://", "onload", "url(/", "src=\"", "NaN", "Inf", "ZgotmplZ", "%!"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: the page has %q", lang, bad)
			}
		}
		if left := argument.FindAllString(regexp.MustCompile(`(?s)<style>.*</style>`).ReplaceAllString(text, ""), -1); len(left) > 0 {
			t.Errorf("%s: arguments without a value: %v", lang, left)
		}
		for _, want := range []string{"Jan Novák", "Anna Weber", "RESTRICTED", "7f3a 91c2 0be4 d85e"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the page lacks %q", lang, want)
			}
		}
		w := newWords(lang, nil)
		for key := range english {
			if strings.Contains(text, ">"+key+"<") {
				t.Errorf("%s: a key stands in the page: %s", lang, key)
			}
		}
		if i, j := strings.Index(text, w.say("lead_level", "level", "RESTRICTED")), strings.Index(text, "<svg role"); i < 0 || j < i {
			t.Errorf("%s: the answer does not stand first", lang)
		}
	}
}

func TestWhatOthersWroteIsText(t *testing.T) {
	r, _ := meeting()
	evil := `<img src=x onerror=alert(1)>"'{{.}}`
	r.Title = evil
	for i := range r.Legs {
		r.Legs[i].Name, r.Legs[i].Unit, r.Legs[i].RemovedBy = evil, evil, evil
	}
	for i := range r.Spans {
		r.Spans[i].Name, r.Spans[i].Reason, r.Spans[i].Suspects = evil, evil, []string{evil}
		r.Spans[i].Facts = []conclave.Fact{{Name: "network", Value: evil}}
	}
	for i := range r.Steps {
		r.Steps[i].Name, r.Steps[i].By = evil, evil
	}
	r.Levels[0].Name, r.Log.Problem, r.Ledger.Holders = evil, evil, []string{evil}
	var b bytes.Buffer
	if err := Report(&b, r, Options{Again: evil}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<img") {
		t.Error("markup got in")
	}
}

func TestSpansOfTimeAreSaidAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{430 * time.Millisecond: "0,43 s", 9 * time.Second: "9,0 s", 26 * time.Second: "26 s", 250 * time.Second: "4 min 10 s",
		5 * time.Minute: "5 min", 64*time.Minute + 20*time.Second: "1 h 04 min"} {
		if got := strings.ReplaceAll(newWords("de", nil).long(d), "\u00a0", " "); got != want {
			t.Errorf("%v is said as %q, want %q", d, got, want)
		}
	}
}

func TestEverySheetIsMarkedAndNumbered(t *testing.T) {
	r, _ := meeting()
	for lang, number := range map[string]string{"en": `"page " counter(page) " of " counter(pages) ""`, "de": `"Seite " counter(page) " von " counter(pages) ""`} {
		var out bytes.Buffer
		if err := Report(&out, r, Options{Language: lang}); err != nil {
			t.Fatal(err)
		}
		level, _ := topLevel(r)
		for _, want := range []string{"@top-center{content:" + cssText(level), "@bottom-center{content:" + cssText(level), number} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: the page lacks %s", lang, want)
			}
		}
	}
	if got := cssText(`"}</style>`); strings.ContainsAny(got[1:len(got)-1], `"<}`) {
		t.Errorf("a level's name leaves its string: %s", got)
	}
}

func TestMarkersNeitherOverlapNorLeaveTheChart(t *testing.T) {
	at := []float64{1000, 1001, 1050, 1056, 1056, 1056}
	spread(at)
	for i := range at {
		if at[i] > chartRight+6 || i > 0 && at[i]-at[i-1] < 23.9 {
			t.Fatalf("%v", at)
		}
	}
	many := make([]float64, 100)
	spread(many)
	if !slices.IsSorted(many) || many[0] < 0 || many[99] > chartRight+6 {
		t.Errorf("%v", many)
	}
}

func TestTheValuesOfFactsAreWorded(t *testing.T) {
	facts := []conclave.Fact{{Name: "network", Value: "unlisted"}, {Name: "transport", Value: "this machine"}, {Name: "media", Value: "udp"}, {Name: "country", Value: "SG"}}
	if got, want := factsText(newWords("de", nil), facts), "Netz kein freigegebenes, Weg zum Server auf dem Rechner des Servers selbst, Weg des Tons direkt, Land SG"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
