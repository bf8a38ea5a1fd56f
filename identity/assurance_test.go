package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"conclave"
	"conclave/identity/passkey"
	"conclave/identity/passkey/passkeytest"
	"conclave/pass"
	"conclave/signal"
)

// wantAssurance looks at a device as it is stored.
func (w world) wantAssurance(t *testing.T, what string, id conclave.DeviceID, at time.Time, posture Posture, want conclave.Assurance) {
	t.Helper()
	device, err := w.Device(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Posture(&device, at); got != posture {
		t.Errorf("%s: posture %q, want %q", what, got, posture)
	}
	if got := w.Assurance(&device, at); got != want {
		t.Errorf("%s: assurance %d, want %d", what, got, want)
	}
}

func renewalOf(t *testing.T, key *ecdsa.PrivateKey, statement []byte) Renewal {
	return Renewal{Statement: statement, Nonce: []byte("n"), Host: "h", Signature: sign(t, key, signal.RenewContent([]byte("n"), statement, "h"))}
}

func TestACertificateVouchesForAsLongAsItHolds(t *testing.T) {
	w := newWorld(t)
	ca, caKey := newCA(t)
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(ca)
	stranger, _ := newCA(t)
	others.AddCert(stranger)
	w.SetRules(Rules{Cards: roots})
	token, err := w.IssueTokenFor(t.Context(), "anna.weber", UseManaged, rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	key, e := enrolment(t, token)
	e.Chain = [][]byte{issue(t, ca, caKey, key, now.Add(20*time.Minute))}
	statement, device, err := w.Enrol(t.Context(), e, now)
	if err != nil {
		t.Fatal(err)
	}
	w.wantAssurance(t, "at first", device.ID, now, PostureManaged, conclave.AssuranceManaged)
	statement, _, err = w.Renew(t.Context(), renewalOf(t, key, statement), now.Add(10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	after := now.Add(20*time.Minute + time.Second)
	w.wantAssurance(t, "after its end", device.ID, after, PostureLapsed, conclave.AssuranceSoftware)
	_, _, err = w.Renew(t.Context(), renewalOf(t, key, statement), after)
	wantProblem(t, err, "certificate_refused")
	// A root that was given up vouches for nobody.
	w.SetRules(Rules{Cards: others})
	w.wantAssurance(t, "without its root", device.ID, now, PostureLapsed, conclave.AssuranceSoftware)
	_, _, err = w.Renew(t.Context(), renewalOf(t, key, statement), now.Add(10*time.Minute))
	wantProblem(t, err, "certificate_refused")
}

func TestAnAuthenticatorThatIsFoundBrokenIsHardwareNoLonger(t *testing.T) {
	w := newWorld(t)
	maker := passkeytest.NewMaker(t)
	parsed := func(status string) *passkey.Metadata {
		m, err := passkey.ParseMetadata(maker.Metadata(t, status))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	w.SetRules(Rules{Metadata: parsed("")})
	a := passkeytest.New(t, site.ID, site.Origins[0], maker)
	key, e := enrolment(t, w.token(t))
	w.withPasskey(t, &e, a)
	statement, device, err := w.Enrol(t.Context(), e, now)
	if err != nil {
		t.Fatal(err)
	}
	w.wantAssurance(t, "at first", device.ID, now, PostureNone, conclave.AssuranceHardware)
	for what, m := range map[string]*passkey.Metadata{"found broken": parsed("ATTESTATION_KEY_COMPROMISE"), "of no list": nil} {
		w.SetRules(Rules{Metadata: m})
		w.wantAssurance(t, what, device.ID, now, PostureNone, conclave.AssuranceSoftware)
		w.SetRules(Rules{Metadata: m, Hardware: true})
		_, err = w.ProposeRenewal(t.Context(), renewalOf(t, key, statement), now)
		wantProblem(t, err, "passkey_not_hardware")
	}
	// The next statement says what is so; and what is so again, once it is.
	for _, c := range []struct {
		metadata *passkey.Metadata
		want     conclave.Assurance
	}{{nil, conclave.AssuranceSoftware}, {parsed(""), conclave.AssuranceHardware}} {
		w.SetRules(Rules{Metadata: c.metadata})
		r := renewalOf(t, key, statement)
		p, err := w.ProposeRenewal(t.Context(), r, now)
		if err != nil {
			t.Fatal(err)
		}
		challenge := pass.VouchChallenge(p.Content)
		r.Vouch = &Vouch{Site: site, Content: p.Content, Assertion: a.Get(challenge[:])}
		if statement, _, err = w.Renew(t.Context(), r, now); err != nil {
			t.Fatal(err)
		}
		if s, err := pass.ParseStatement(statement); err != nil || s.Assurance != c.want {
			t.Errorf("the statement says %d, want %d: %v", s.Assurance, c.want, err)
		}
	}
}
