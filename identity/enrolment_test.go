package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity/passkey"
	"conclave/identity/passkey/passkeytest"
	"conclave/pass"
	"conclave/signal"
)

var (
	site      = passkey.Site{ID: "meet.example", Origins: []string{"https://meet.example"}}
	challenge = bytes.Repeat([]byte{5}, 32)
)

// withPasskey completes an enrolment: the passkey is made, and touched for the statement.
func (w world) withPasskey(t *testing.T, e *Enrolment, a *passkeytest.Authenticator) {
	t.Helper()
	e.Passkey = &NewPasskey{Registration: a.Create(challenge), Challenge: challenge, Vouch: Vouch{Site: site}}
	p, err := w.Propose(t.Context(), *e, now)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.Credential, a.ID) {
		t.Error("the proposal is for another passkey")
	}
	if _, err := pass.Vouched(p.Content, e.LeafKey); err != nil {
		t.Error(err)
	}
	hash := pass.VouchChallenge(p.Content)
	e.Passkey.Content, e.Passkey.Assertion = p.Content, a.Get(hash[:])
}

func hardware(t *testing.T) (*passkeytest.Maker, Rules) {
	maker := passkeytest.NewMaker(t)
	m, err := passkey.ParseMetadata(maker.Metadata(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	return maker, Rules{Passkeys: PasskeysRequired, Metadata: m}
}

func TestAPasskeyVouchesForTheStatement(t *testing.T) {
	maker, rules := hardware(t)
	for name, c := range map[string]struct {
		maker  *passkeytest.Maker
		backup bool
		want   conclave.Assurance
	}{
		"hardware": {maker, false, conclave.AssuranceHardware},
		"synced":   {maker, true, conclave.AssuranceSoftware},
		"software": {nil, false, conclave.AssuranceSoftware},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.SetRules(rules)
			a := passkeytest.New(t, site.ID, site.Origins[0], c.maker)
			a.BackupEligible = c.backup
			key, e := enrolment(t, w.token(t))
			w.withPasskey(t, &e, a)
			b, device, err := w.Enrol(t.Context(), e, now.Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			s, err := w.org.Trust.Statement(b, now.Add(time.Minute))
			if err != nil || s.Assurance != c.want || device.Assurance != c.want || len(device.Evidence) != 32 {
				t.Errorf("assurance %d, %v", device.Assurance, err)
			}
			if !bytes.HasPrefix(b, e.Passkey.Content) {
				t.Error("something else was signed than was touched for")
			}
			w.renews(t, key, b, a)
		})
	}
}

// renews goes through a renewal in its two steps, and tries it without the passkey.
func (w world) renews(t *testing.T, key *ecdsa.PrivateKey, statement []byte, a *passkeytest.Authenticator) {
	t.Helper()
	later := now.Add(5 * 24 * time.Hour)
	r := Renewal{Statement: statement, Nonce: []byte("n"), Host: "h", Signature: sign(t, key, signal.RenewContent([]byte("n"), statement, "h"))}
	_, _, err := w.Renew(t.Context(), r, later)
	wantProblem(t, err, "passkey_wanted")
	p, err := w.ProposeRenewal(t.Context(), r, later)
	if err != nil {
		t.Fatal(err)
	}
	hash := pass.VouchChallenge(p.Content)
	r.Vouch = &Vouch{Site: site, Content: p.Content, Assertion: a.Get(challenge)}
	_, _, err = w.Renew(t.Context(), r, later)
	wantProblem(t, err, "passkey_stale")
	assertion := a.Get(hash[:])
	r.Vouch = &Vouch{Site: site, Content: p.Content, Assertion: assertion}
	_, _, err = w.Renew(t.Context(), r, later.Add(11*time.Minute))
	wantProblem(t, err, "passkey_stale")
	fresh, device, err := w.Renew(t.Context(), r, later)
	if err != nil || !device.Until.Equal(later.Add(statementLife)) {
		t.Fatalf("until %v: %v", device.Until, err)
	}
	if _, err := w.org.Trust.Statement(fresh, later); err != nil {
		t.Error(err)
	}
	// The same touch does not count twice.
	_, _, err = w.Renew(t.Context(), r, later)
	wantProblem(t, err, "passkey_copied")
}

func TestAnEnrolmentIsRefusedForEachReason(t *testing.T) {
	maker, required := hardware(t)
	strict := required
	strict.Hardware = true
	for name, c := range map[string]struct {
		rules  Rules
		maker  *passkeytest.Maker
		change func(*Enrolment, *passkeytest.Authenticator)
		code   string
	}{
		"no passkey where one is required": {required, maker, func(e *Enrolment, _ *passkeytest.Authenticator) { e.Passkey = nil }, "passkey_required"},
		"software where hardware is":       {strict, nil, func(*Enrolment, *passkeytest.Authenticator) {}, "passkey_not_hardware"},
		"no touch":                         {required, maker, func(e *Enrolment, _ *passkeytest.Authenticator) { e.Passkey.Assertion = nil }, "passkey_refused"},
		"a touch for something else": {required, maker, func(e *Enrolment, a *passkeytest.Authenticator) {
			e.Passkey.Assertion = a.Get(challenge)
		}, "passkey_stale"},
		"another's statement": {required, maker, func(e *Enrolment, a *passkeytest.Authenticator) {
			e.Passkey.Content[60] ^= 1
			hash := pass.VouchChallenge(e.Passkey.Content)
			e.Passkey.Assertion = a.Get(hash[:])
		}, "passkey_stale"},
		"another's passkey": {required, maker, func(e *Enrolment, _ *passkeytest.Authenticator) {
			other := passkeytest.New(t, site.ID, site.Origins[0], maker)
			hash := pass.VouchChallenge(e.Passkey.Content)
			e.Passkey.Assertion = other.Get(hash[:])
		}, "passkey_other"},
		"another challenge": {required, maker, func(e *Enrolment, _ *passkeytest.Authenticator) { e.Passkey.Challenge = []byte("x") }, "passkey_stale"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.SetRules(required)
			a := passkeytest.New(t, site.ID, site.Origins[0], c.maker)
			token := w.token(t)
			_, e := enrolment(t, token)
			w.withPasskey(t, &e, a)
			w.SetRules(c.rules)
			good := *e.Passkey
			good.Content = bytes.Clone(good.Content)
			c.change(&e, a)
			_, _, err := w.Enrol(t.Context(), e, now)
			wantProblem(t, err, c.code)
			if _, err := w.Device(t.Context(), conclave.DeviceOf(e.LeafKey)); err == nil {
				t.Error("the device was enrolled")
			}
			// The link is good for another try.
			w.SetRules(Rules{Passkeys: PasskeysOff})
			_, again := enrolment(t, token)
			if _, _, err := w.Enrol(t.Context(), again, now); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAFreshAssertionIsOfTheDevicesOwnPasskey(t *testing.T) {
	w := newWorld(t)
	a := passkeytest.New(t, site.ID, site.Origins[0], nil)
	_, e := enrolment(t, w.token(t))
	w.withPasskey(t, &e, a)
	_, device, err := w.Enrol(t.Context(), e, now)
	if err != nil {
		t.Fatal(err)
	}
	touch := a.Get(challenge)
	if err := w.Assert(t.Context(), device.ID, touch, challenge, site); err != nil {
		t.Error(err)
	}
	wantProblem(t, w.Assert(t.Context(), device.ID, touch, challenge, site), "passkey_copied")
	wantProblem(t, w.Assert(t.Context(), device.ID, passkeytest.New(t, site.ID, site.Origins[0], nil).Get(challenge), challenge, site), "passkey_other")
	_, bare := enrolment(t, w.token(t))
	_, without, err := w.Enrol(t.Context(), bare, now)
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, w.Assert(t.Context(), without.ID, a.Get(challenge), challenge, site), "passkey_none")
}

func TestAManagedDeviceNeedsTheOrganisationsCertificate(t *testing.T) {
	w := newWorld(t)
	ca, caKey := newCA(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	stranger, strangerKey := newCA(t)
	for name, c := range map[string]struct {
		roots *x509.CertPool
		chain func(leaf *ecdsa.PrivateKey) [][]byte
		code  string
	}{
		"its certificate": {roots, func(k *ecdsa.PrivateKey) [][]byte { return [][]byte{issue(t, ca, caKey, k, now.Add(time.Hour))} }, ""},
		"none":            {roots, func(*ecdsa.PrivateKey) [][]byte { return nil }, "certificate_refused"},
		"nobody vouches":  {nil, func(k *ecdsa.PrivateKey) [][]byte { return [][]byte{issue(t, ca, caKey, k, now.Add(time.Hour))} }, "certificate_refused"},
		"a stranger vouches": {roots, func(k *ecdsa.PrivateKey) [][]byte {
			return [][]byte{issue(t, stranger, strangerKey, k, now.Add(time.Hour))}
		}, "certificate_refused"},
		"another key's": {roots, func(*ecdsa.PrivateKey) [][]byte {
			return [][]byte{issue(t, ca, caKey, strangerKey, now.Add(time.Hour))}
		}, "certificate_refused"},
		"one that has run out":  {roots, func(k *ecdsa.PrivateKey) [][]byte { return [][]byte{issue(t, ca, caKey, k, now.Add(-time.Minute))} }, "certificate_refused"},
		"what cannot be parsed": {roots, func(*ecdsa.PrivateKey) [][]byte { return [][]byte{{1}} }, "certificate_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			w.SetRules(Rules{Passkeys: PasskeysRequired, Cards: c.roots})
			token, err := w.IssueTokenFor(t.Context(), "anna.weber", UseManaged, rand.Reader, now)
			if err != nil {
				t.Fatal(err)
			}
			key, e := enrolment(t, token)
			e.Chain = c.chain(key)
			_, device, err := w.Enrol(t.Context(), e, now)
			if c.code != "" {
				wantProblem(t, err, c.code)
			} else if err != nil || device.Assurance != conclave.AssuranceManaged {
				t.Errorf("assurance %d, %v", device.Assurance, err)
			}
		})
	}
}

func TestARoomKitEnrolsWithoutAPasskeyWhereTheLinkSaysSo(t *testing.T) {
	w := newWorld(t)
	w.SetRules(Rules{Passkeys: PasskeysRequired})
	token, err := w.IssueTokenFor(t.Context(), "anna.weber", UseRoom, rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	_, e := enrolment(t, token)
	if _, device, err := w.Enrol(t.Context(), e, now); err != nil || device.Assurance != conclave.AssuranceSoftware {
		t.Error(err)
	}
	_, err = w.IssueTokenFor(t.Context(), "anna.weber", "root", rand.Reader, now)
	wantProblem(t, err, "link_use")
}

func TestOtherDevicesAreToldOfANewOneOnce(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	var devices []Device
	for i := range 3 {
		_, e := enrolment(t, w.token(t))
		_, d, err := w.Enrol(ctx, e, now.Add(time.Duration(i)*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		devices = append(devices, d)
	}
	for i, d := range devices {
		notices, err := w.Notices(ctx, d.ID)
		if err != nil || len(notices) != 2 {
			t.Fatalf("device %d has %d notices, %v", i, len(notices), err)
		}
		for j, n := range notices {
			want := "device_enrolled" // after it
			if j < i {
				want = "device_before"
			}
			if n.Notice.Code != want || n.Notice.Args["device"] != "Laptop" || n.Notice.Fix == "" || n.Link == "" {
				t.Errorf("device %d, notice %d: %+v", i, j, n.Notice.Code)
			}
			if err := w.Seen(ctx, d.ID, n.ID); err != nil {
				t.Error(err)
			}
		}
		if rest, err := w.Notices(ctx, d.ID); err != nil || len(rest) != 0 {
			t.Errorf("%d are left, %v", len(rest), err)
		}
	}
	for i := range maxNotices + 10 {
		if err := w.Notify(ctx, "anna.weber", conclave.DeviceID{}, Notice{Notice: problem("call_refused", "use_app")}, now.Add(time.Duration(i))); err != nil {
			t.Fatal(err)
		}
	}
	if notices, _ := w.Notices(ctx, devices[0].ID); len(notices) != maxNotices {
		t.Errorf("%d notices wait", len(notices))
	}
}

func newCA(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Cards"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func issue(t *testing.T, ca *x509.Certificate, caKey, key *ecdsa.PrivateKey, until time.Time) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Card"},
		NotBefore: now.Add(-time.Hour), NotAfter: until}, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// unwritable is a record that cannot be written.
type unwritable struct{}

func (unwritable) Record(context.Context, audit.Record) (audit.Index, error) { return 0, errDisk }

func TestNothingIsSignedOrUsedUpForAnEnrolmentThatCannotBeRecorded(t *testing.T) {
	w := newWorld(t)
	key, e := enrolment(t, w.token(t))
	log, err := w.DeviceLog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	size := log.tree.Size()
	w.record = unwritable{}
	if _, _, err := w.Enrol(t.Context(), e, now); !errors.Is(err, errDisk) {
		t.Fatalf("enrolled: %v", err)
	}
	if log.tree.Size() != size {
		t.Error("a statement that no record is of stands in the device log")
	}
	w.record = w.log
	statement, device, err := w.Enrol(t.Context(), e, now)
	if err != nil {
		t.Fatalf("the link was used up: %v", err)
	}
	size = log.tree.Size()
	w.record = unwritable{}
	later := now.Add(time.Hour)
	r := Renewal{Statement: statement, Nonce: make([]byte, 32), Host: "meet.example"}
	r.Signature = sign(t, key, signal.RenewContent(r.Nonce, r.Statement, r.Host))
	if _, _, err := w.Renew(t.Context(), r, later); !errors.Is(err, errDisk) {
		t.Fatalf("renewed: %v", err)
	}
	if again, err := w.Device(t.Context(), device.ID); err != nil || log.tree.Size() != size || !again.Until.Equal(device.Until) {
		t.Errorf("a renewal that no record is of: %+v, %v", again, err)
	}
}

func TestAnEnrolmentThatComesToNothingIsRecordedAsThat(t *testing.T) {
	w := newWorld(t)
	key, e := enrolment(t, w.token(t))
	if _, _, err := w.Enrol(t.Context(), e, now); err != nil {
		t.Fatal(err)
	}
	e.Token = w.token(t) // the same device once more, with another link
	e.Proof = sign(t, key, signal.EnrolContent(e.Token.Text()))
	_, _, err := w.Enrol(t.Context(), e, now)
	wantProblem(t, err, "device_known")
	entries, err := w.log.Read(t.Context(), 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	last := entries[len(entries)-1].Record
	if last.Kind != audit.KindEnrolment || last.Outcome != "refuse" || !slices.Equal(last.Codes, []string{"device_known"}) || last.Device != conclave.DeviceOf(e.LeafKey) {
		t.Errorf("recorded %+v", last)
	}
}

func TestWhomAnActIsAboutStandsInItsRecord(t *testing.T) {
	w := newWorld(t)
	if err := w.AddPerson(t.Context(), Person{ID: "ben.berg", Name: "Ben", Unit: "Border"}, now); err != nil {
		t.Fatal(err)
	}
	m, err := w.OpenMeeting(t.Context(), Meeting{Title: "Weekly", Chair: "anna.weber", People: []conclave.PersonID{"ben.berg"}, Door: DoorInvited}, rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.Invite(t.Context(), m.ID, "Eva Guest", "Elsewhere", rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	_, e := enrolment(t, token)
	_, guest, err := w.EnrolGuest(t.Context(), e, m.ID, now)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := w.IssuePhoneCode(t.Context(), "ben.berg", m.ID, 0, rand.Reader, now); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := w.RevokePhoneCodes(t.Context(), "ben.berg", m.ID, now); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	entries, err := w.log.Read(t.Context(), 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	found := map[audit.Kind]audit.Record{}
	for _, e := range entries {
		found[e.Record.Kind] = e.Record
	}
	if r := found[audit.KindMeetingOpened]; r.Person != "anna.weber" || !slices.Equal(r.People, []conclave.PersonID{"ben.berg", "anna.weber"}) {
		t.Errorf("a meeting: %+v", r)
	}
	if r := found[audit.KindInvitation]; !slices.Equal(r.Codes, []string{"administrator"}) || len(r.People) != 0 || r.Person != guest.Person || r.Meeting != m.ID {
		t.Errorf("an invitation of %s: %+v", guest.Person, r)
	}
	if r := found[audit.KindCodesVoided]; r.Person != "ben.berg" || r.Meeting != m.ID || r.Size != 2 {
		t.Errorf("codes voided: %+v", r)
	}
}
