package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/escrow"
	"conclave/escrow/speech"
	"conclave/exposure"
)

// holderFiles splits a key among three holders, of whom two are needed.
func holderFiles(t *testing.T, key *escrow.Key, dir string) (files []string) {
	t.Helper()
	shares, err := key.Split(3, 2, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range shares {
		b, err := (&escrow.Holder{Organisation: "ministry.example", Name: fmt.Sprint("holder ", i+1), Share: s}).Marshal(nil, rand.Reader)
		name := filepath.Join(dir, fmt.Sprint("holder-", i+1))
		if err == nil {
			err = os.WriteFile(name, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	return files
}

// spoken writes meetings of 20 minutes in which leg l of four speaks for 2l+1 seconds of each minute; leg 3 is in a hotel for the
// whole of every other meeting. The sealed minutes go into a file for each meeting.
func (f *logFolder) spoken(meetings int, key *escrow.Key, dir string) {
	f.t.Helper()
	const minutes = 20
	for m := range meetings {
		id := conclave.MeetingID{byte(m), byte(m >> 8), 0x5e}
		level, at := conclave.Level(2), time.Date(2025, 2, 3, 8, 0, 0, 0, time.UTC).Add(time.Duration(m)*time.Hour)
		var records []audit.Record
		var sealed bytes.Buffer
		record := func(after time.Duration, r audit.Record) {
			r.Time, r.Meeting = at.Add(after), id
			records = append(records, r)
		}
		record(0, audit.Record{Kind: audit.KindMeetingOpened, Level: &level})
		for l := range 4 {
			leg, device, grade, network := conclave.LegID{byte(m), byte(m >> 8), byte(l), 2}, conclave.DeviceID{byte(l), 7}, conclave.GradeSealed, "headquarters"
			if l == 3 && m%2 == 0 {
				network = "hotel"
			}
			record(0, audit.Record{Kind: audit.KindRuling, Leg: leg, Device: device, Outcome: "admit", Grade: &grade, Level: &level, Facts: []conclave.Fact{{Name: "network", Value: network, Proven: true}}})
			record(0, audit.Record{Kind: audit.KindPass, Leg: leg, Device: device, Until: at.Add(2 * time.Hour)})
			record(time.Second, audit.Record{Kind: audit.KindEnter, Leg: leg, Device: device, Epoch: uint64(l)})
			for minute := range uint32(minutes) {
				b := speech.Block{Minute: minute, Until: 60_000, Sent: (minute+1)*60_000 + 100, Spans: []speech.Span{{From: 5_000, To: uint16(6_000 + 2_000*l)}}}
				block, err := b.Seal(key.Public(), id, leg)
				if err != nil {
					f.t.Fatal(err)
				}
				sum := sha256.Sum256(block)
				record(time.Second+time.Duration(b.Sent)*time.Millisecond+20*time.Millisecond, audit.Record{Kind: audit.KindLedger, Leg: leg, Device: device, Commitment: sum[:]})
				if err := json.NewEncoder(&sealed).Encode(exposure.Sealed{Leg: leg, Minute: minute, Sealed: block}); err != nil {
					f.t.Fatal(err)
				}
			}
			end := time.Second + minutes*time.Minute + 500*time.Millisecond
			record(end, audit.Record{Kind: audit.KindLeave, Leg: leg, Device: device, Codes: []string{"left"}})
			record(end+100*time.Millisecond, audit.Record{Kind: audit.KindRemoved, Leg: leg, Device: device, Epoch: 20})
		}
		slices.SortStableFunc(records, func(a, b audit.Record) int { return a.Time.Compare(b.Time) })
		for _, r := range records {
			f.add(r)
		}
		if err := os.WriteFile(filepath.Join(dir, id.Text()+".jsonl"), sealed.Bytes(), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	f.publish()
}

// Over many meetings, from a copy of the log and of the sealed ledgers, every speaker's seconds come out as they were.
// CONCLAVE_MEETINGS=500 measures how long it takes.
func TestDamageOpensTheLedgersOfAllMeetingsThatItFound(t *testing.T) {
	meetings, _ := strconv.Atoi(os.Getenv("CONCLAVE_MEETINGS"))
	meetings = max(meetings, 30)
	dir := t.TempDir()
	log, ledgers := filepath.Join(dir, auditDir), filepath.Join(dir, "ledgers")
	if err := os.Mkdir(ledgers, 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := escrow.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	holders := holderFiles(t, key, dir)
	newLogFolder(t, log).spoken(meetings, key, ledgers)
	ask := func(more ...string) (*exposure.Damage, string, error) {
		t.Helper()
		began := time.Now()
		out, err := conclaveCommand(t, append([]string{"damage", "--network", "hotel", "--json", "--out", filepath.Join(dir, "d.json"), "--log", log, "--data", filepath.Join(dir, "nowhere")}, more...)...)
		if err != nil {
			return nil, out, err
		}
		var d exposure.Damage
		b, err := os.ReadFile(filepath.Join(dir, "d.json"))
		if err == nil {
			err = json.Unmarshal(b, &d)
		}
		t.Logf("%d minutes of %d meetings opened in %v", d.Ledger.Opened, len(d.Meetings), time.Since(began).Round(time.Millisecond))
		return &d, out, err
	}
	open := []string{"--ledgers", ledgers, "--holder", holders[0], "--holder", holders[2], "--reason", "a leak"}
	d, out, err := ask(open...)
	if err != nil {
		t.Fatal(err, out)
	}
	hit := (meetings + 1) / 2
	if len(d.Meetings) != hit || d.Ledger.Opened != 80*hit || d.Ledger.Blocks != 80*hit || len(d.Speakers) != 4 || !d.Log.Verified {
		t.Fatalf("%d meetings, %+v, %d speakers", len(d.Meetings), d.Ledger, len(d.Speakers))
	}
	for i, h := range d.Speakers {
		l := 3 - i // who spoke most stands first
		want := time.Duration(2*l+1) * time.Second * 20 * time.Duration(hit)
		got := time.Duration(h.MS) * time.Millisecond
		if h.Device != (conclave.DeviceID{byte(l), 7}).Text() || max(got-want, want-got) > 200*time.Millisecond*time.Duration(hit) {
			t.Errorf("%d. %s spoke for %v, truth %v", i+1, h.Device, got, want)
		}
	}
	if !strings.Contains(out, "1. "+conclave.DeviceID{3, 7}.Text()+" spoke for ") || !strings.Contains(out, "stands in no log") {
		t.Errorf("told: %s", out)
	}
	// Without keys, with another's, and with one holder alone.
	if d, out, err = ask(); err != nil || d.Speakers != nil || !strings.Contains(out, "is sealed") {
		t.Errorf("without keys: %v, %s", err, out)
	}
	other, err := escrow.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strangers := holderFiles(t, other, t.TempDir())
	if _, out, err = ask("--ledgers", ledgers, "--holder", strangers[0], "--holder", strangers[1]); err == nil || !strings.Contains(err.Error(), "opens with this key") {
		t.Errorf("with another key: %v, %s", err, out)
	}
	if _, out, err = ask("--ledgers", ledgers, "--holder", holders[0]); err == nil || !strings.Contains(err.Error(), "2 of 3 holders are needed") {
		t.Errorf("with one holder: %v, %s", err, out)
	}
}
