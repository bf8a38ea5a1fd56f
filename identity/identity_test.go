package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/pass"
	"conclave/signal"
	"conclave/store"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type world struct {
	*Directory
	org *Organisation
	log *audit.Log
}

func newWorld(t *testing.T) world {
	t.Helper()
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "store"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	org, err := NewOrganisation(filepath.Join(t.TempDir(), "organisation"), "ministry.example", "Ministry", rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	w := world{org: org, log: audit.NewLog(st)}
	w.Directory = NewDirectory(st, org, w.log)
	if err := w.AddPerson(t.Context(), Person{ID: "anna.weber", Name: "Anna Weber", Unit: "Border"}, now); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w world) token(t *testing.T) Token {
	t.Helper()
	token, err := w.IssueToken(t.Context(), "anna.weber", rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func leafKey(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return key, point
}

func sign(t *testing.T, key *ecdsa.PrivateKey, content []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(content)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func enrolment(t *testing.T, token Token) (*ecdsa.PrivateKey, Enrolment) {
	key, point := leafKey(t)
	return key, Enrolment{Token: token, LeafKey: point, Proof: sign(t, key, signal.EnrolContent(token.Text())), DeviceName: "Laptop"}
}

func wantProblem(t *testing.T, err error, code string) {
	t.Helper()
	var p conclave.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Errorf("got %v, want problem %s", err, code)
	} else if p.Fix == "" {
		t.Errorf("problem %s without a fix", code)
	}
}

func TestATokenEnrolsOneDeviceOnce(t *testing.T) {
	w := newWorld(t)
	token := w.token(t)
	_, e := enrolment(t, token)
	b, device, err := w.Enrol(t.Context(), e, now)
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.org.Trust.Statement(b, now)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "Anna Weber" || s.Unit != "Border" || s.Person != "anna.weber" || !bytes.Equal(s.LeafKey, e.LeafKey) || s.Device() != device.ID {
		t.Error("the statement says something else")
	}
	_, other := enrolment(t, token)
	_, _, err = w.Enrol(t.Context(), other, now)
	wantProblem(t, err, "link_used")
	entries, err := w.log.Read(t.Context(), 1, 100)
	if err != nil || entries[len(entries)-1].Record.Kind != audit.KindEnrolment || entries[len(entries)-1].Record.Device != device.ID {
		t.Errorf("the last record is not the enrolment: %v", err)
	}
}

func TestOfManyWhoRaceForALinkOneIsEnrolled(t *testing.T) {
	w := newWorld(t)
	token := w.token(t)
	var wg sync.WaitGroup
	var won atomic.Int32
	for range 16 {
		_, e := enrolment(t, token)
		wg.Go(func() {
			if _, _, err := w.Enrol(t.Context(), e, now); err == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d devices were enrolled", won.Load())
	}
}

func TestAnEnrolmentThatIsNotRightIsRefusedAndLeavesTheTokenGood(t *testing.T) {
	w := newWorld(t)
	token := w.token(t)
	stranger, _ := NewToken(rand.Reader)
	for name, c := range map[string]struct {
		change func(*Enrolment)
		at     time.Time
		code   string
	}{
		"an unknown token":      {func(e *Enrolment) { _, *e = enrolment(t, stranger) }, now, "link_unknown"},
		"a token a day later":   {func(*Enrolment) {}, now.Add(24 * time.Hour), "link_expired"},
		"another's proof":       {func(e *Enrolment) { _, o := enrolment(t, token); e.Proof = o.Proof }, now, "enrolment_proof"},
		"another token's proof": {func(e *Enrolment) { e.Token = stranger }, now, "enrolment_proof"},
		"no key":                {func(e *Enrolment) { e.LeafKey = nil }, now, "enrolment_proof"},
		"a compressed key":      {func(e *Enrolment) { e.LeafKey = e.LeafKey[:33] }, now, "enrolment_proof"},
		"a name with a newline": {func(e *Enrolment) { e.DeviceName = "a\nb" }, now, "device_name"},
		"a name with RTL marks": {func(e *Enrolment) { e.DeviceName = "a\u202eb" }, now, "device_name"},
	} {
		_, e := enrolment(t, token)
		c.change(&e)
		_, _, err := w.Enrol(t.Context(), e, c.at)
		t.Run(name, func(t *testing.T) { wantProblem(t, err, c.code) })
	}
	_, e := enrolment(t, token)
	if _, _, err := w.Enrol(t.Context(), e, now.Add(23*time.Hour)); err != nil {
		t.Errorf("the token is spoilt: %v", err)
	}
}

func TestAStatementIsRenewedForTheSameKeyOnly(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	key, e := enrolment(t, w.token(t))
	b, device, err := w.Enrol(ctx, e, now)
	if err != nil {
		t.Fatal(err)
	}
	nonce := []byte("nonce")
	r := Renewal{Statement: b, Nonce: nonce, Host: "host:1", Signature: sign(t, key, signal.RenewContent(nonce, b, "host:1"))}
	later := now.Add(8 * 24 * time.Hour) // the old one has run out
	renewed, _, err := w.Renew(ctx, r, later)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := w.org.Trust.Statement(renewed, later.Add(6*24*time.Hour)); err != nil || s.Device() != device.ID {
		t.Errorf("the renewed statement: %v", err)
	}
	other, _ := leafKey(t)
	forged := r
	forged.Signature = sign(t, other, signal.RenewContent(nonce, b, "host:1"))
	_, _, err = w.Renew(ctx, forged, later)
	wantProblem(t, err, "renewal_proof")
	elsewhere := r
	elsewhere.Host = "other:1"
	_, _, err = w.Renew(ctx, elsewhere, later)
	wantProblem(t, err, "renewal_proof")
	_, _, err = w.Renew(ctx, r, later.Add(100*24*time.Hour))
	wantProblem(t, err, "device_lapsed")
	if err := w.RevokeDevice(ctx, device.ID, later); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.Renew(ctx, r, later)
	wantProblem(t, err, "device_revoked")
}

func TestOneWhoIsStruckOffHasNoDeviceAndGetsNone(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	unused := w.token(t)
	_, e := enrolment(t, w.token(t))
	_, device, err := w.Enrol(ctx, e, now)
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := w.RemovePerson(ctx, "anna.weber", now)
	if err != nil || len(revoked) != 1 || revoked[0] != device.ID {
		t.Fatalf("revoked %v, %v", revoked, err)
	}
	_, err = w.Device(ctx, device.ID)
	wantProblem(t, err, "device_revoked")
	_, e = enrolment(t, unused)
	_, _, err = w.Enrol(ctx, e, now)
	wantProblem(t, err, "person_removed")
	_, err = w.IssueToken(ctx, "anna.weber", rand.Reader, now)
	wantProblem(t, err, "person_removed")
	_, err = w.OpenMeeting(ctx, Meeting{Title: "x", Chair: "anna.weber", Door: DoorInvited}, rand.Reader, now)
	wantProblem(t, err, "person_removed")
	if p, err := w.Person(ctx, "anna.weber"); err != nil || p.Removed == nil {
		t.Errorf("the directory says %v, %v", p.Removed, err)
	}
	if again, err := w.RemovePerson(ctx, "anna.weber", now); err != nil || len(again) != 0 {
		t.Errorf("struck off twice: %v, %v", again, err)
	}
	if err := w.AddPerson(ctx, Person{ID: "anna.weber", Name: "Anna Weber"}, now); err != nil {
		t.Fatal(err)
	}
	_, err = w.Device(ctx, device.ID)
	wantProblem(t, err, "device_revoked")
}

func TestAMeetingHasARandomPointerAndKnowsWhoIsInvited(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	m, err := w.OpenMeeting(ctx, Meeting{Title: "Border liaison", Level: 1, Chair: "anna.weber", Door: DoorInvited}, rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Meeting(ctx, m.ID)
	if err != nil || !got.Invited("anna.weber") || got.Invited("ben") || got.Ended != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = w.Meeting(ctx, conclave.MeetingID{1})
	wantProblem(t, err, "meeting_unknown")
	_, err = w.OpenMeeting(ctx, Meeting{Title: "x", Chair: "nobody", Door: DoorChair}, rand.Reader, now)
	wantProblem(t, err, "person_unknown")
	if err := w.EndMeeting(ctx, m.ID, now); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.Meeting(ctx, m.ID); got.Ended == nil {
		t.Error("the meeting goes on")
	}
}

func TestPersonIDsAreWordsOfTheStore(t *testing.T) {
	for id, good := range map[string]bool{
		"anna.weber": true, "a": true, "a-b_c.9": true, "": false, ".a": false, "a.": false, "a..b": false,
		"Anna": false, "a b": false, "a*": false, strings.Repeat("a", 65): false,
	} {
		if goodID(id) != good {
			t.Errorf("%q: good is %v", id, !good)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	w := newWorld(t)
	token := w.token(t)
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "token", token, "organisation", w.org)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb, token, w.org)
	}
	if strings.Contains(out.String(), token.Text()) || strings.Contains(out.String(), fmt.Sprintf("%x", token.value[:])) || out.Len() > 600 {
		t.Errorf("printed %s", out.String())
	}
}

func TestAnOrganisationComesBackFromItsFolder(t *testing.T) {
	dir := t.TempDir()
	made, err := NewOrganisation(dir, "ministry.example", "Ministry", rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewOrganisation(dir, "other.example", "Other", rand.Reader, now); err == nil {
		t.Error("a second organisation was made over the first")
	}
	if err := os.Rename(filepath.Join(dir, RootFile), filepath.Join(t.TempDir(), RootFile)); err != nil {
		t.Fatal(err)
	}
	got, err := LoadOrganisation(dir, now.Add(300*24*time.Hour)) // without the root key
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != made.ID || got.RootHash() != made.RootHash() || len(got.RootHash()) != 22 || len(got.Grants) != 4 {
		t.Error("another organisation came back")
	}
	b, err := got.SignPass(&pass.Pass{Meeting: conclave.MeetingID{1}, NotBefore: now, NotAfter: now.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.Trust.Pass(b, now); err != nil {
		t.Error(err)
	}
}

func TestAnOrganisationThatDoesNotHoldIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(dir string) error
		at   time.Time
		says string
	}{
		"nothing there": {func(dir string) error { return os.Remove(filepath.Join(dir, organisationFile)) }, now, "conclaved init"},
		"an open key":   {func(dir string) error { return os.Chmod(filepath.Join(dir, admissionFile), 0o640) }, now, "chmod 600"},
		"no key":        {func(dir string) error { return os.Remove(filepath.Join(dir, removalFile)) }, now, removalFile},
		"another key":   {func(dir string) error { return writeKey(filepath.Join(dir, enrolmentFile), ed(2)) }, now, "enrolment key"},
		"a key's kind": {func(dir string) error {
			return os.Rename(filepath.Join(dir, removalFile), filepath.Join(dir, admissionFile))
		}, now, "another kind"},
		"lapsed grants":  {func(string) error { return nil }, now.Add(401 * 24 * time.Hour), "grant_missing"},
		"forged grants":  {func(dir string) error { return forge(dir) }, now, "grant_signature"},
		"broken grants":  {func(dir string) error { return os.WriteFile(filepath.Join(dir, grantsFile), nil, 0o644) }, now, "grant_missing"},
		"a broken entry": {func(dir string) error { return os.WriteFile(filepath.Join(dir, organisationFile), []byte("{"), 0o644) }, now, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := NewOrganisation(dir, "ministry.example", "Ministry", rand.Reader, now); err != nil {
				t.Fatal(err)
			}
			if err := c.harm(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadOrganisation(dir, c.at); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want one that says %q", err, c.says)
			}
		})
	}
}

func TestGrantsAreRenewedWithTheRootKeyOnly(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewOrganisation(dir, "ministry.example", "Ministry", rand.Reader, now); err != nil {
		t.Fatal(err)
	}
	later := now.Add(390 * 24 * time.Hour)
	if err := RenewGrants(dir, filepath.Join(dir, enrolmentFile), later); err == nil {
		t.Error("renewed with another key")
	}
	if err := RenewGrants(dir, filepath.Join(dir, RootFile), later); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrganisation(dir, later.Add(390*24*time.Hour)); err != nil {
		t.Error(err)
	}
}

func TestAPersonsDevicesAreListedAlsoTheRevoked(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	if err := w.AddPerson(ctx, Person{ID: "ben", Name: "Ben"}, now); err != nil {
		t.Fatal(err)
	}
	var ids []conclave.DeviceID
	for range 2 {
		_, e := enrolment(t, w.token(t))
		_, d, err := w.Enrol(ctx, e, now)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, d.ID)
	}
	if err := w.RevokeDevice(ctx, ids[0], now); err != nil {
		t.Fatal(err)
	}
	devices, err := w.Devices(ctx, "anna.weber")
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, %v", len(devices), err)
	}
	for _, d := range devices {
		if (d.Revoked != nil) != (d.ID == ids[0]) {
			t.Errorf("revoked: %v", d.Revoked)
		}
	}
	if none, err := w.Devices(ctx, "ben"); err != nil || len(none) != 0 {
		t.Errorf("ben has %d devices, %v", len(none), err)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("AAAAAAAAAAAAAAAAAAAAAB")   // not canonical
	f.Add("AAAAAAAAAAA\nAAAAAAAAAAA") // which the decoder passes over
	f.Fuzz(func(t *testing.T, s string) {
		if token, err := ParseToken(s); err == nil && token.Text() != s {
			t.Errorf("%q and %q are one token", s, token.Text())
		}
	})
}

// A thief who renews all the time, and a disk that fails halfway, keep no device in use.
func TestADeviceIsRevokedWhateverComesBetween(t *testing.T) {
	w := newWorld(t)
	_, e := enrolment(t, w.token(t))
	_, device, err := w.Enrol(t.Context(), e, now)
	if err != nil {
		t.Fatal(err)
	}
	st := w.store
	touched := between{st, new(sync.Once), func() {
		entry, err := st.Get(t.Context(), deviceKey(device.ID))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Put(t.Context(), deviceKey(device.ID), entry.Value); err != nil {
			t.Fatal(err)
		}
	}}
	f := &failing{Store: touched, fail: true}
	w.Directory = NewDirectory(f, w.org, w.record)
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	if err := w.RevokeDevice(gone, device.ID, now); !errors.Is(err, errDisk) {
		t.Fatalf("revoked while the device log could not be written: %v", err)
	}
	_, err = w.Device(t.Context(), device.ID)
	wantProblem(t, err, "device_revoked")
	f.fail = false
	log, err := w.DeviceLog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := log.tree.Size()
	for range 2 { // entered once, though it is asked for twice
		if err := w.RevokeDevice(t.Context(), device.ID, now); err != nil {
			t.Fatal(err)
		}
		if log.tree.Size() != before+1 {
			t.Errorf("the device log went from %d to %d", before, log.tree.Size())
		}
	}
}
