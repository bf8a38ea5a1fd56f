package device

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"conclave"
	"conclave/identity"
	"conclave/pass"
	"conclave/server/servertest"
)

// softToken is a token in software.
type softToken struct {
	key    *ecdsa.PrivateKey
	chain  [][]byte
	broken bool
}

func (s *softToken) Public() []byte {
	b, err := s.key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return b
}

func (s *softToken) Sign(digest [sha256.Size]byte) ([]byte, error) {
	if s.broken {
		return nil, errors.New("CKR_DEVICE_REMOVED")
	}
	r, t, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		return nil, err
	}
	return append(r.FillBytes(make([]byte, 32)), t.FillBytes(make([]byte, 32))...), nil
}

func (s *softToken) Chain() [][]byte { return s.chain }

// newTokens returns tokens whose certificates are of one authority, and the authority's roots.
func newTokens(t *testing.T, n int) (*x509.CertPool, []*softToken) {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	certify := func(c, parent *x509.Certificate, k *ecdsa.PublicKey, by *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, k, by)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	caKey := key()
	life := func(c x509.Certificate) *x509.Certificate {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		return &c
	}
	template := life(x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Cards"}, IsCA: true, BasicConstraintsValid: true})
	ca := certify(template, template, &caKey.PublicKey, caKey)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	var out []*softToken
	for i := range n {
		k := key()
		c := certify(life(x509.Certificate{SerialNumber: big.NewInt(int64(2 + i)), Subject: pkix.Name{CommonName: "Room"}}), ca, &k.PublicKey, caKey)
		out = append(out, &softToken{key: k, chain: [][]byte{c.Raw}})
	}
	return roots, out
}

func TestADeviceWithATokenIsManagedAndItsFileHoldsNoKey(t *testing.T) {
	roots, tokens := newTokens(t, 2)
	w := servertest.StartWith(t, servertest.Options{Enrolment: identity.Rules{Passkeys: identity.PasskeysRequired, Cards: roots}})
	w.AddPerson("room.4", "Room 4")
	managed := func() Link {
		token, err := w.Server.Directory().IssueTokenFor(t.Context(), "room.4", identity.UseManaged, rand.Reader, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		l, err := ParseLink(fmt.Sprintf("%s/m/%s#e=%s&r=%s", w.URL, conclave.MeetingID{7}.Text(), token.Text(), w.Organisation.RootHash()))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	d, err := EnrolToken(t.Context(), http.DefaultClient, managed(), "room 4", tokens[0], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s, err := pass.ParseStatement(d.Statement)
	if err != nil || s.Assurance != conclave.AssuranceManaged {
		t.Errorf("assurance %d, %v", s.Assurance, err)
	}
	path := filepath.Join(t.TempDir(), "room.key")
	if err := d.Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); !errors.Is(err, ErrFile) {
		t.Errorf("read without its token: %v", err)
	}
	if _, err := LoadToken(path, tokens[1]); !errors.Is(err, ErrFile) {
		t.Errorf("read with another token: %v", err)
	}
	again, err := LoadToken(path, tokens[0])
	if err != nil {
		t.Fatal(err)
	}
	if renewed, err := again.Renew(t.Context(), http.DefaultClient, w.URL, time.Now().Add(5*24*time.Hour)); err == nil && !renewed {
		t.Error("five days later nothing was renewed")
	}
	// Without its certificate, or with the token pulled out, nothing is enrolled.
	bare := &softToken{key: tokens[1].key}
	_, err = EnrolToken(t.Context(), http.DefaultClient, managed(), "", bare, time.Now())
	wantProblem(t, err, "certificate_refused")
	if _, err = EnrolToken(t.Context(), http.DefaultClient, managed(), "", &softToken{key: bare.key, broken: true}, time.Now()); err == nil {
		t.Error("enrolled without a signature")
	}
	// An ordinary link makes no managed device of it.
	_, err = EnrolToken(t.Context(), http.DefaultClient, linkTo(t, w, "room.4"), "", tokens[1], time.Now())
	wantProblem(t, err, "passkey_required")
}

func TestAGuestsLinkEnrolsAGuest(t *testing.T) {
	w := servertest.Start(t)
	w.AddPerson("anna", "Anna Weber")
	meeting := w.OpenMeeting("anna")
	token, err := w.Server.Directory().Invite(t.Context(), meeting, "Lena Berg", "Ally", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l, err := ParseLink(fmt.Sprintf("%s/g/%s#i=%s&r=%s", w.URL, meeting.Text(), token.Text(), w.Organisation.RootHash()))
	if err != nil || !l.Guest || l.Meeting != meeting {
		t.Fatalf("%+v, %v", l, err)
	}
	d, err := Enrol(t.Context(), http.DefaultClient, l, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s, err := pass.ParseStatement(d.Statement)
	if err != nil || s.Kind != pass.KindGuest || s.Name != "Lena Berg" || s.Assurance != conclave.AssuranceGuest {
		t.Errorf("%v, assurance %d, %v", s.Kind, s.Assurance, err)
	}
	if _, err := ParseLink(fmt.Sprintf("%s/g/%s#e=%s&r=%s", w.URL, meeting.Text(), token.Text(), w.Organisation.RootHash())); err == nil {
		t.Error("a colleague's token in a guest's link")
	}
}
