package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/netip"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/line"
	"conclave/server/servertest"
	"conclave/signal"
)

// cards are those of an organisation, and who issues them.
type cards struct {
	authority *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newCards(t *testing.T) cards {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Cards"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cards{authority, key}
}

func (c cards) rules() identity.Rules {
	roots := x509.NewCertPool()
	roots.AddCert(c.authority)
	return identity.Rules{Cards: roots}
}

// enrol enrols a device of a person that a certificate vouches for, up to a time.
func (c cards) enrol(t *testing.T, w *servertest.World, person conclave.PersonID, until time.Time) *servertest.Device {
	t.Helper()
	w.AddPerson(person, "")
	d := w.NewDevice()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Card"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until}, c.authority, &d.Key.PublicKey, c.key)
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.Server.Directory().IssueTokenFor(t.Context(), person, identity.UseManaged, rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d.Statement, _, err = w.Server.Directory().Enrol(t.Context(), identity.Enrolment{Token: token, LeafKey: d.Point, Proof: d.Sign(signal.EnrolContent(token.Text())),
		DeviceName: "Card", Chain: [][]byte{der}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A certificate vouches for a device as long as it holds, and not a moment longer: a leg that was let into a CONFIDENTIAL meeting
// because of it is out, without keys, at its end, though the statement and the pass would have held longer.
func TestTheEndOfACertificateChangesARulingDuringAMeeting(t *testing.T) {
	issuer := newCards(t)
	w := servertest.StartWith(t, servertest.Options{TLS: true, Enrolment: issuer.rules(),
		Networks: line.Networks{{Name: "headquarters", Prefix: netip.MustParsePrefix("127.0.0.0/8")}}})
	ends := time.Now().Add(8 * time.Second).Truncate(time.Second)
	a, b := issuer.enrol(t, w, "anna", time.Now().Add(time.Hour)), issuer.enrol(t, w, "ben", ends)
	m := w.OpenMeetingWith(identity.Meeting{Title: "Closed", Level: 3, Chair: "anna", People: []conclave.PersonID{"anna", "ben"}, Door: identity.DoorInvited})
	anna := come(t, w, a, "anna", m).in()
	ben := come(t, w, b, "ben", m)
	var leg conclave.LegID
	anna.await("ben at the door", 0, func(e endpoint.Event) bool {
		if e.Roster == nil || len(e.Roster.Waiting) == 0 {
			return false
		}
		leg = e.Roster.Waiting[0].Leg
		return true
	})
	anna.Decide(leg, true)
	ben.in()
	alike(t, anna, ben)
	ben.await("quarantine", 0, reason("assertion_missing")) // the touch that a card spares
	if late := time.Since(ends); late < 0 || late > time.Second {
		t.Errorf("ruled on %v after the certificate's end", late)
	}
	if _, key := ben.keys.now(); key != nil {
		t.Error("ben has keys")
	}
	alike(t, anna)
	anna.noAlarm()
}
