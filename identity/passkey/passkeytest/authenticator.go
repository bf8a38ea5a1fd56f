// Package passkeytest is an authenticator in software for tests: it makes passkeys and assertions as a browser hands them
// on, with and without a maker's attestation.
package passkeytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Maker makes authenticators of one kind, and vouches for them.
type Maker struct {
	AAGUID [16]byte
	Batch  bool // its certificates have the maker's own name and key, as Chromium's virtual authenticator does
	root   *x509.Certificate
	key    *ecdsa.PrivateKey
}

var subject = pkix.Name{Country: []string{"DE"}, Organization: []string{"Test Maker"}, OrganizationalUnit: []string{"Authenticator Attestation"}, CommonName: "Test Key"}

// NewMaker returns a maker with a root certificate of its own.
func NewMaker(t testing.TB) *Maker {
	t.Helper()
	m := &Maker{AAGUID: [16]byte{0xC0, 1}, key: newKey(t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	m.root = certify(t, template, template, &m.key.PublicKey, m.key)
	return m
}

// Metadata returns an operator's metadata file that knows the maker's authenticators; status is of FIDO's words, "" for none.
func (m *Maker) Metadata(t testing.TB, status string) []byte {
	t.Helper()
	reports := []any{}
	if status != "" {
		reports = append(reports, map[string]any{"status": status, "effectiveDate": "2020-01-01"})
	}
	a := m.AAGUID
	b, err := json.Marshal(map[string]any{"entries": []any{map[string]any{
		"aaguid":                 fmt.Sprintf("%x-%x-%x-%x-%x", a[:4], a[4:6], a[6:8], a[8:10], a[10:]),
		"timeOfLastStatusChange": "2020-01-01", "statusReports": reports,
		"metadataStatement": map[string]any{"description": "Test Key", "attestationTypes": []string{"basic_full"},
			"attestationRootCertificates": []string{base64.StdEncoding.EncodeToString(m.root.Raw)}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Authenticator holds one passkey.
type Authenticator struct {
	Site           string // the relying party's id
	Origin         string
	Unverified     bool // it does not verify who touches it
	BackupEligible bool
	Count          uint32
	ID             []byte
	t              testing.TB
	maker          *Maker
	key            *ecdsa.PrivateKey
}

// New returns an authenticator for a site. maker may be nil: then nobody vouches for it.
func New(t testing.TB, site, origin string, maker *Maker) *Authenticator {
	t.Helper()
	a := &Authenticator{Site: site, Origin: origin, t: t, maker: maker, key: newKey(t), ID: make([]byte, 16)}
	rand.Read(a.ID)
	return a
}

// Create answers navigator.credentials.create, as toJSON gives it.
func (a *Authenticator) Create(challenge []byte) []byte {
	a.t.Helper()
	client := a.clientData("webauthn.create", challenge)
	point, err := a.key.PublicKey.Bytes()
	if err != nil {
		a.t.Fatal(err)
	}
	cose := a.encode(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	data := a.authData(0x40)
	if a.maker != nil {
		data = append(data, a.maker.AAGUID[:]...)
	} else {
		data = append(data, make([]byte, 16)...)
	}
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.ID)))
	data = append(append(data, a.ID...), cose...)
	object := map[string]any{"fmt": "none", "authData": data, "attStmt": map[string]any{}}
	if a.maker != nil {
		object["fmt"], object["attStmt"] = "packed", a.maker.attest(a.t, data, client)
	}
	return a.answer(map[string]any{"clientDataJSON": encode64(client), "attestationObject": encode64(a.encode(object)), "transports": []string{"usb"}})
}

// Get answers navigator.credentials.get, as toJSON gives it.
func (a *Authenticator) Get(challenge []byte) []byte {
	a.t.Helper()
	a.Count++
	client, data := a.clientData("webauthn.get", challenge), a.authData(0)
	hash := sha256.Sum256(client)
	sum := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
	if err != nil {
		a.t.Fatal(err)
	}
	return a.answer(map[string]any{"clientDataJSON": encode64(client), "authenticatorData": encode64(data), "signature": encode64(sig)})
}

func (a *Authenticator) answer(response map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"id": encode64(a.ID), "rawId": encode64(a.ID), "type": "public-key", "response": response,
		"clientExtensionResults": map[string]any{}, "authenticatorAttachment": "cross-platform"})
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

func (a *Authenticator) clientData(kind string, challenge []byte) []byte {
	b, err := json.Marshal(map[string]any{"type": kind, "challenge": encode64(challenge), "origin": a.Origin, "crossOrigin": false})
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

// authData is the authenticator data (Section 6.1) up to the counter.
func (a *Authenticator) authData(flags byte) []byte {
	flags |= 1
	if !a.Unverified {
		flags |= 4
	}
	if a.BackupEligible {
		flags |= 8
	}
	hash := sha256.Sum256([]byte(a.Site))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.Count)
}

func (a *Authenticator) encode(v any) []byte {
	b, err := cbor.Marshal(v)
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

// attest makes a packed attestation (Section 8.2) by a certificate of the maker's.
func (m *Maker) attest(t testing.TB, authData, clientData []byte) map[string]any {
	t.Helper()
	key := newKey(t)
	if m.Batch {
		key = m.key
	}
	aaguid, err := asn1.Marshal(m.AAGUID[:])
	if err != nil {
		t.Fatal(err)
	}
	cert := certify(t, &x509.Certificate{SerialNumber: big.NewInt(2), BasicConstraintsValid: true,
		Subject:   subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 45724, 1, 1, 4}, Value: aaguid}}}, m.root, &key.PublicKey, m.key)
	hash := sha256.Sum256(clientData)
	sum := sha256.Sum256(append(append([]byte{}, authData...), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"alg": -7, "sig": sig, "x5c": [][]byte{cert.Raw}}
}

func certify(t testing.TB, template, parent *x509.Certificate, key *ecdsa.PublicKey, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
