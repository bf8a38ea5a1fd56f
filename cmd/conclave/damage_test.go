package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
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
	"conclave/audit/folder"
	"conclave/exposure"
	"conclave/merkle"
	"conclave/pass"
)

// logFolder writes a log as a server would: real leaves, personal parts and a signed checkpoint.
type logFolder struct {
	t      testing.TB
	dir    string
	writer *folder.Writer
	edge   merkle.Edge
	key    ed25519.PrivateKey
	origin string
}

func newLogFolder(t testing.TB, dir string) *logFolder {
	t.Helper()
	_, root, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := &logFolder{t: t, dir: dir, origin: merkle.Origin("ministry.example", "audit")}
	if _, f.key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	removal, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := removal.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var grants [][]byte
	for role, key := range map[pass.Role][]byte{pass.RoleLog: f.key.Public().(ed25519.PublicKey), pass.RoleEnrolment: f.key.Public().(ed25519.PublicKey),
		pass.RoleAdmission: f.key.Public().(ed25519.PublicKey), pass.RoleRemoval: point} {
		g, err := pass.SignGrant(root, &pass.Grant{Organisation: "ministry.example", Role: role, Key: key, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		grants = append(grants, g)
	}
	f.writer, err = folder.OpenWriter(dir, folder.Organisation{ID: "ministry.example", Root: root.Public().(ed25519.PublicKey), Grants: grants})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *logFolder) add(r audit.Record) {
	leaf := struct {
		audit.Record
		Personal []byte `json:"personal,omitempty"`
	}{Record: r}
	var part []byte
	if r.Device != (conclave.DeviceID{}) || len(r.Facts) > 0 {
		var err error
		part, err = json.Marshal(struct {
			Salt   []byte            `json:"salt"`
			Device conclave.DeviceID `json:"device,omitzero"`
			Facts  []conclave.Fact   `json:"facts,omitempty"`
		}{make([]byte, 16), r.Device, r.Facts})
		if err != nil {
			f.t.Fatal(err)
		}
		sum := sha256.Sum256(append([]byte("Conclave personal part 1\x00"), part...))
		leaf.Personal, leaf.Device, leaf.Facts = sum[:], conclave.DeviceID{}, nil
	}
	b, err := json.Marshal(leaf)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.writer.Add(b, part); err != nil {
		f.t.Fatal(err)
	}
	f.edge.Append(merkle.LeafHash(b))
}

func (f *logFolder) publish() {
	c := merkle.Checkpoint{Origin: f.origin, Size: f.edge.Size(), Root: f.edge.Root()}
	signed, err := c.Sign(f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.writer.Publish(signed, time.Now()); err != nil {
		f.t.Fatal(err)
	}
}

// hour writes meetings of an hour with ten legs, passes renewed and ledgers handed in: 71 records a leg where full.
func (f *logFolder) hours(from, to int, full bool) {
	networks := []string{"headquarters", "branch", "unlisted", "hotel"}
	began := time.Date(2025, 1, 6, 8, 0, 0, 0, time.UTC)
	for m := from; m < to; m++ {
		var id conclave.MeetingID
		copy(id[:], fmt.Sprintf("m%d", m))
		level, at := conclave.Level(m%4), began.Add(time.Duration(m)*17*time.Minute)
		var records []audit.Record
		record := func(after time.Duration, r audit.Record) {
			r.Time, r.Meeting = at.Add(after), id
			records = append(records, r)
		}
		record(0, audit.Record{Kind: audit.KindMeetingOpened, Level: &level})
		for l := range 10 {
			leg, device := conclave.LegID{byte(m), byte(m >> 8), byte(l), 1}, conclave.DeviceID{byte(m*7 + l*13), 1}
			grade := conclave.GradeSealed
			facts := []conclave.Fact{{Name: "network", Value: networks[(m*l)%4], Proven: true}, {Name: "country", Value: "DE", Proven: true}}
			ruling := audit.Record{Kind: audit.KindRuling, Leg: leg, Device: device, Outcome: "admit", Grade: &grade, Level: &level, Facts: facts}
			every := time.Hour
			if full {
				every = 5 * time.Minute
			}
			for after := time.Duration(0); after < time.Hour; after += every {
				record(after, ruling)
				record(after, audit.Record{Kind: audit.KindPass, Leg: leg, Device: device, Until: at.Add(after + 2*every)})
			}
			record(time.Second, audit.Record{Kind: audit.KindEnter, Leg: leg, Device: device, Epoch: uint64(l)})
			for minute := 1; full && minute < 60; minute++ {
				record(time.Duration(minute)*time.Minute, audit.Record{Kind: audit.KindLedger, Leg: leg, Device: device, Commitment: make([]byte, 32)})
			}
			record(time.Hour, audit.Record{Kind: audit.KindLeave, Leg: leg, Device: device, Codes: []string{"left"}})
			record(time.Hour+time.Second, audit.Record{Kind: audit.KindRemoved, Leg: leg, Device: device, Epoch: 20})
		}
		slices.SortStableFunc(records, func(a, b audit.Record) int { return a.Time.Compare(b.Time) })
		for _, r := range records {
			f.add(r)
		}
	}
	f.publish()
}

func conclaveCommand(t testing.TB, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(context.Background(), args, strings.NewReader(""), &out, &out)
	return out.String(), err
}

// CONCLAVE_MEETINGS=10000 measures what the issue asks for; with CONCLAVE_FULL each leg has 90 records, as in an hour.
func TestDamageIsFoundOverManyMeetings(t *testing.T) {
	meetings, _ := strconv.Atoi(os.Getenv("CONCLAVE_MEETINGS"))
	full := os.Getenv("CONCLAVE_FULL") != ""
	meetings = max(meetings, 60)
	data := t.TempDir()
	f := newLogFolder(t, filepath.Join(data, auditDir))
	f.hours(0, meetings, full)
	ask := func() *exposure.Damage {
		t.Helper()
		began := time.Now()
		out, err := conclaveCommand(t, "damage", "--network", "hotel", "--from", "2025-01-06", "--until", "2030-01-01", "--json", "--out", filepath.Join(data, "d.json"), "--data", data)
		if err != nil {
			t.Fatal(err, out)
		}
		var d exposure.Damage
		b, err := os.ReadFile(filepath.Join(data, "d.json"))
		if err == nil {
			err = json.Unmarshal(b, &d)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d records, %d of %d meetings: %v", d.Log.Size, len(d.Meetings), d.Searched.Meetings, time.Since(began).Round(time.Millisecond))
		if !d.Log.Verified {
			t.Error("the log was not verified")
		}
		return &d
	}
	first := ask()
	second := ask() // from the index
	if first.Log.Indexed || !second.Log.Indexed {
		t.Errorf("said to come from the index: %v, then %v", first.Log.Indexed, second.Log.Indexed)
	}
	second.Log.Indexed = false
	first.Made, second.Made, first.TookMS, second.TookMS = time.Time{}, time.Time{}, 0, 0
	a, _ := json.Marshal(first)
	b, _ := json.Marshal(second)
	if string(a) != string(b) || len(first.Meetings) != meetings/2 {
		t.Errorf("%d meetings; from the index something else was found: %v", len(first.Meetings), string(a) != string(b))
	}
	f.hours(meetings, meetings+20, full)
	if third := ask(); len(third.Meetings) != meetings/2+10 {
		t.Errorf("after more meetings %d were found", len(third.Meetings))
	}
	out, err := conclaveCommand(t, "damage", "--network", "hotel", "--lang", "de", "--out", filepath.Join(data, "d.html"), "--data", data)
	if err != nil {
		t.Fatal(err, out)
	}
	if dir := os.Getenv("CONCLAVE_PAGES"); dir != "" {
		b, _ := os.ReadFile(filepath.Join(data, "d.html"))
		os.WriteFile(filepath.Join(dir, "damage.html"), b, 0o644)
	}
	info, err := os.Stat(filepath.Join(data, "d.html"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error("the report can be read by others", err)
	}
}

func TestDamageIsToldWithTheWitnessWhoMustHaveSigned(t *testing.T) {
	data := t.TempDir()
	f := newLogFolder(t, filepath.Join(data, auditDir))
	f.hours(0, 20, false)
	c := merkle.Checkpoint{Origin: f.origin, Size: f.edge.Size(), Root: f.edge.Root()}
	signed, err := c.Sign(f.key)
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	witness := merkle.WitnessKey("ally.example", key.Public().(ed25519.PublicKey))
	line, err := merkle.Cosign(&c, witness.Name(), key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	both, err := merkle.AddCosignature(signed, line, witness)
	if err != nil {
		t.Fatal(err)
	}
	cosigned := filepath.Join(data, auditDir, "cosigned")
	if err := os.WriteFile(cosigned, both, 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(key string) (exposure.LogPart, error) {
		t.Helper()
		out := filepath.Join(data, "d.json")
		_, err := conclaveCommand(t, "damage", "--network", "hotel", "--witness", key, "--json", "--out", out, "--data", data)
		var d exposure.Damage
		if b, readErr := os.ReadFile(out); readErr == nil {
			if err := json.Unmarshal(b, &d); err != nil {
				t.Fatal(err)
			}
		}
		return d.Log, err
	}
	for range 2 { // the second time from the index
		if got, err := ask(witness.String()); err != nil || !got.Verified || !slices.Equal(got.Witness, []string{"ally.example"}) {
			t.Errorf("cosigned: %+v, %v", got, err)
		}
	}
	other := merkle.WitnessKey("other.example", f.key.Public().(ed25519.PublicKey))
	if got, err := ask(other.String()); err == nil || got.Verified || !strings.Contains(got.Problem, "other.example") {
		t.Errorf("by somebody else: %+v, %v", got, err)
	}
	if err := os.Remove(cosigned); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(witness.String()); err == nil || got.Verified || !strings.Contains(got.Problem, "ally.example") {
		t.Errorf("without the cosignature: %+v, %v", got, err)
	}
	if _, err := ask("nonsense"); err == nil || !strings.Contains(err.Error(), "no witness's key") {
		t.Errorf("with no key: %v", err)
	}
}

func TestALogThatDoesNotHoldIsSaidToBeSo(t *testing.T) {
	data := t.TempDir()
	f := newLogFolder(t, filepath.Join(data, auditDir))
	f.hours(0, 20, false)
	// One octet of one record.
	name := filepath.Join(data, auditDir, filepath.FromSlash(merkle.BundlePath(1, merkle.TileWidth)))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte(`"outcome":"admit"`))
	b[i+12]++
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := conclaveCommand(t, "damage", "--network", "hotel", "--out", filepath.Join(data, "d.html"), "--data", data)
	if err == nil || !strings.Contains(err.Error(), "the log does not hold") && !strings.Contains(err.Error(), "was changed") {
		t.Errorf("%v: %s", err, out)
	}
}
