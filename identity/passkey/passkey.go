// Package passkey verifies what passkeys say: that one was made for this organisation's site by a person whom it verified
// (registration), and that it was touched again for a certain purpose (assertion). It tells hardware that its maker vouches
// for from software and from keys that leave the machine with a cloud account. It keeps nothing; package identity does.
//
// Source: Web Authentication Level 3 (https://www.w3.org/TR/webauthn-3/), Sections 7.1 and 7.2.
package passkey

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/metadata"
	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/google/uuid"

	"conclave"
)

// MaxResponse bounds what a browser sends of a ceremony, in bytes of JSON: the attestation of a TPM has about 6 kB.
const MaxResponse = 12 << 10

// maxID bounds a credential's id, in bytes (Section 4, Credential ID: at most 1023).
const maxID = 1023

// Site is this server as authenticators know it.
type Site struct {
	ID      string   // the relying party's id: a host without its port
	Origins []string // scheme, host and port of the pages that may ask
}

// Credential is a registered passkey: what is kept of it. It prints as a tag.
type Credential struct {
	ID        []byte `json:"id"`
	PublicKey []byte `json:"public_key"` // COSE_Key
	Site      string `json:"site"`       // the relying party's id that it was made for
	// Attested says that the operator's metadata know this kind of authenticator and that its maker's certificate vouches
	// for this one.
	Attested bool `json:"attested"`
	// BackupEligible says that the key may leave its authenticator, for instance with a cloud account.
	BackupEligible bool   `json:"backup_eligible"`
	Model          string `json:"model,omitempty"` // in the metadata's words, where attested
	// AAGUID is the kind of authenticator, where attested: what is known of it can become worse.
	AAGUID []byte `json:"aaguid,omitempty"`
	Count  uint32 `json:"count"` // the signature counter when it was last seen
}

// Hardware says whether the key is proven to stay in its authenticator.
func (c *Credential) Hardware() bool { return c.Attested && !c.BackupEligible }

// Vouched says whether the operator's metadata still vouch for an attested passkey's kind, which may have been found broken
// since it was registered.
func (c *Credential) Vouched(known *Metadata) bool {
	id, err := uuid.FromBytes(c.AAGUID)
	if !c.Attested || known == nil || err != nil {
		return false
	}
	entry := known.entries[id]
	return entry != nil && known.provider.ValidateStatusReports(context.Background(), entry.StatusReports) == nil
}

// Assurance is what the passkey makes of a device whose key it vouches for, as long as it is Vouched.
func (c *Credential) Assurance() conclave.Assurance {
	if c.Hardware() {
		return conclave.AssuranceHardware
	}
	return conclave.AssuranceSoftware
}

// algorithms are the signatures that a new passkey may use, as in the options that the browser is given.
var algorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgRS256},
}

// Algorithms returns the COSE numbers of the signatures that a new passkey may use, the preferred one first.
func Algorithms() []int {
	var out []int
	for _, a := range algorithms {
		out = append(out, int(a.Algorithm))
	}
	return out
}

// Register verifies the answer to navigator.credentials.create, as the browser's toJSON gives it, and returns the passkey.
// known may be nil: then none is attested. Errors hold a conclave.Problem.
func Register(response, challenge []byte, site Site, known *Metadata) (*Credential, error) {
	if len(response) > MaxResponse || !oneObject(response) {
		return nil, problemRefused
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return nil, refused(err)
	}
	object := &parsed.Response.AttestationObject
	if err := checkClientData(&parsed.Response.CollectedClientData, protocol.CreateCeremony, challenge, site); err != nil {
		return nil, err
	}
	if !object.AuthData.Flags.UserVerified() {
		return nil, problemUnverified
	}
	_, err = parsed.Verify(text(challenge), site.ID, site.Origins, nil, nil, protocol.TopOriginExplicitVerificationMode, false,
		true, true, nil, algorithms, protocol.AttestationPolicy{}, protocol.SignaturePolicy{})
	if err != nil {
		return nil, refused(err)
	}
	flags, data := object.AuthData.Flags, object.AuthData.AttData
	if len(data.CredentialID) == 0 || len(data.CredentialID) > maxID || flags.HasBackupState() && !flags.HasBackupEligible() {
		return nil, problemRefused
	}
	c := &Credential{ID: data.CredentialID, PublicKey: data.CredentialPublicKey, Site: site.ID,
		BackupEligible: flags.HasBackupEligible(), Count: object.AuthData.Counter}
	if c.Model, c.Attested = known.vouch(object); c.Attested {
		c.AAGUID = data.AAGUID
	}
	return c, nil
}

// Assert verifies the answer to navigator.credentials.get, as the browser's toJSON gives it, under challenge. It returns
// the credential as it is to be kept from now on. Errors hold a conclave.Problem.
func (c *Credential) Assert(response, challenge []byte, site Site) (*Credential, error) {
	if len(response) > MaxResponse || !oneObject(response) {
		return nil, problemRefused
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return nil, refused(err)
	}
	if !bytes.Equal(parsed.RawID, c.ID) {
		return nil, problemOther
	}
	if c.Site != site.ID {
		return nil, problemSite
	}
	if err := checkClientData(&parsed.Response.CollectedClientData, protocol.AssertCeremony, challenge, site); err != nil {
		return nil, err
	}
	data := parsed.Response.AuthenticatorData
	if !data.Flags.UserVerified() {
		return nil, problemUnverified
	}
	err = parsed.Verify(text(challenge), site.ID, "", site.Origins, nil, nil, protocol.TopOriginExplicitVerificationMode, false,
		true, true, c.PublicKey, protocol.SignaturePolicy{})
	if err != nil {
		return nil, refused(err)
	}
	// Section 6.1.3: whether a credential may be backed up never changes.
	if data.Flags.HasBackupEligible() != c.BackupEligible || data.Flags.HasBackupState() && !c.BackupEligible {
		return nil, problemRefused
	}
	// Section 6.1.1: a counter that does not rise means that there are two of this key. Those that count nothing stay at 0.
	if (data.Counter > 0 || c.Count > 0) && data.Counter <= c.Count {
		return nil, problemCopied
	}
	next := *c
	next.Count = data.Counter
	return &next, nil
}

// checkClientData says which of the things that a person can mend is wrong; Verify looks at all of it again.
func checkClientData(data *protocol.CollectedClientData, ceremony protocol.CeremonyType, challenge []byte, site Site) error {
	switch {
	case data.Type != ceremony, data.CrossOrigin:
		return problemRefused
	case data.Challenge != text(challenge):
		return problemStale
	case !protocol.IsOriginInHaystack(data.Origin, site.Origins):
		return problemSite
	}
	return nil
}

// oneObject bounds the nesting before the parser sees it, and refuses what follows the value.
func oneObject(response []byte) bool {
	d := json.NewDecoder(bytes.NewReader(response))
	depth := 0
	for {
		token, err := d.Token()
		if err != nil {
			return errors.Is(err, io.EOF) && depth == 0
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth > 8 {
			return false
		}
	}
}

func text(challenge []byte) string { return base64.RawURLEncoding.EncodeToString(challenge) }

// vouch says whether the maker of the authenticator vouches for it, and how the operator's metadata call it.
func (m *Metadata) vouch(object *protocol.AttestationObject) (model string, ok bool) {
	chain, _ := object.AttStatement["x5c"].([]any)
	// The authenticator's own key vouches for nothing.
	if m == nil || len(chain) == 0 || object.Format == string(protocol.AttestationFormatCompound) {
		return "", false
	}
	id, err := uuid.FromBytes(object.AuthData.AttData.AAGUID)
	if err != nil {
		return "", false
	}
	entry := m.entries[id]
	if entry == nil {
		return "", false
	}
	valid := func(p metadata.Provider) bool {
		return protocol.ValidateMetadataWithAuthenticatorData(context.Background(), p, id, object.Type, object.Format, chain, &object.AuthData) == nil
	}
	if !valid(m.provider) && !(signedBy(chain[0], entry.MetadataStatement.AttestationRootCertificates, time.Now()) && valid(m.unanchored)) {
		return "", false
	}
	return entry.MetadataStatement.Description, true
}

// signedBy says whether one of the anchors has signed a certificate itself. A path so short is valid whatever else the two
// have in common (RFC 5280, Section 6.1.1 (d): of an anchor, name and key count); crypto/x509 refuses it where both have
// one name and one key, as some makers' batch certificates do.
func signedBy(certificate any, anchors []*x509.Certificate, now time.Time) bool {
	der, ok := certificate.([]byte)
	if !ok {
		return false
	}
	c, err := x509.ParseCertificate(der)
	if err != nil || now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return false
	}
	return slices.ContainsFunc(anchors, func(a *x509.Certificate) bool {
		return a.IsCA && !now.Before(a.NotBefore) && !now.After(a.NotAfter) && bytes.Equal(a.RawSubject, c.RawIssuer) &&
			a.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
	})
}
