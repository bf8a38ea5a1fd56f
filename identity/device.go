package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/pass"
	"conclave/signal"
	"conclave/store"
)

const (
	// tokenLife bounds how long a link that went astray is dangerous.
	tokenLife = 24 * time.Hour
	// statementLife is what every verifier takes at most.
	statementLife = pass.MaxStatementLife
	// renewalGrace is how long after its statement ran out a device may still renew it: a month's leave. Its key is known
	// to us, so nothing is weaker than before; a device that is lost longer is enrolled anew.
	renewalGrace = 30 * 24 * time.Hour
)

// Token is the secret of a one-time link, 128 random bits. It is never stored or logged.
type Token struct {
	_     [0]func() // == is not constant-time
	value [16]byte
}

// NewToken draws a token.
func NewToken(rand io.Reader) (Token, error) {
	var t Token
	_, err := io.ReadFull(rand, t.value[:])
	return t, err
}

// ParseToken reads the form that stands in links: 22 characters of base64url.
func ParseToken(s string) (Token, error) {
	var t Token
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != len(t.value) {
		return t, problem("link_malformed", "ask_link")
	}
	copy(t.value[:], raw)
	return t, nil
}

// Text returns the form that stands in links.
func (t Token) Text() string { return base64.RawURLEncoding.EncodeToString(t.value[:]) }

// Format implements fmt.Formatter: a token never prints.
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, "token") }

// LogValue implements slog.LogValuer.
func (t Token) LogValue() slog.Value { return slog.StringValue("token") }

// hash is what is stored. The token is random in full, so plain SHA-256 suffices.
func (t Token) hash() [sha256.Size]byte {
	h := sha256.New()
	io.WriteString(h, "Conclave token 1\x00")
	h.Write(t.value[:])
	return [sha256.Size]byte(h.Sum(nil))
}

// storedToken is a token's entry, found by the first half of its hash.
type storedToken struct {
	Hash    []byte            `json:"hash"`
	Person  conclave.PersonID `json:"person"`
	Expires time.Time         `json:"expires"`
	Used    *time.Time        `json:"used,omitempty"`
}

func tokenKey(hash [sha256.Size]byte) store.Key {
	return "token." + store.Key(hex.EncodeToString(hash[:16]))
}

// Device is an enrolled device.
type Device struct {
	ID        conclave.DeviceID  `json:"id"`
	Person    conclave.PersonID  `json:"person"`
	Name      string             `json:"name"` // what the person calls it
	LeafKey   []byte             `json:"leaf_key"`
	Assurance conclave.Assurance `json:"assurance"`
	Enrolled  time.Time          `json:"enrolled"`
	Until     time.Time          `json:"until"` // end of the last statement
	Revoked   *time.Time         `json:"revoked,omitempty"`
}

// IssueToken returns a fresh token for a person, good for one device within 24 hours.
func (d *Directory) IssueToken(ctx context.Context, person conclave.PersonID, rand io.Reader, now time.Time) (Token, error) {
	if _, err := d.active(ctx, person); err != nil {
		return Token{}, err
	}
	t, err := NewToken(rand)
	if err != nil {
		return Token{}, fmt.Errorf("identity: draw a token: %w", err)
	}
	if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindLinkIssued, Time: now.UTC()}); err != nil {
		return Token{}, err
	}
	hash := t.hash()
	return t, d.put(ctx, tokenKey(hash), storedToken{Hash: hash[:], Person: person, Expires: now.Add(tokenLife).UTC()})
}

// Enrolment is what a device sends to be enrolled.
type Enrolment struct {
	Token      Token
	LeafKey    []byte // uncompressed P-256 point
	Proof      []byte // by the leaf key over signal.EnrolContent(token), ECDSA with SHA-256, DER
	DeviceName string // may be empty
}

// Enrol uses up a token and returns the device's statement, encoded. Errors hold a conclave.Problem where the person can
// do something.
func (d *Directory) Enrol(ctx context.Context, e Enrolment, now time.Time) ([]byte, Device, error) {
	fail := func(err error) ([]byte, Device, error) { return nil, Device{}, err }
	if !goodText(e.DeviceName) {
		return fail(problem("device_name", "choose_other_name"))
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), e.LeafKey)
	if err != nil || !verify(key, signal.EnrolContent(e.Token.Text()), e.Proof) {
		return fail(problem("enrolment_proof", "try_other_browser"))
	}
	stored, revision, err := d.token(ctx, e.Token, now)
	if err != nil {
		return fail(err)
	}
	person, err := d.active(ctx, stored.Person)
	if err != nil {
		return fail(err)
	}
	device := Device{
		ID: conclave.DeviceOf(e.LeafKey), Person: person.ID, Name: e.DeviceName, LeafKey: e.LeafKey,
		Assurance: conclave.AssuranceSoftware, Enrolled: now.UTC(), Until: now.Add(statementLife).UTC(),
	}
	statement, err := d.sign(person, device, now)
	if err != nil {
		return fail(err)
	}
	// Used up before the device exists: of two who race for one link, one gets nothing, and a crash here costs a new link.
	used := now.UTC()
	stored.Used = &used
	b, err := json.Marshal(stored)
	if err != nil {
		return fail(fmt.Errorf("identity: %w", err))
	}
	if _, err := d.store.CompareAndPut(ctx, tokenKey(e.Token.hash()), b, revision); errors.Is(err, store.ErrConflict) {
		return fail(problem("link_used", "ask_link"))
	} else if err != nil {
		return fail(fmt.Errorf("identity: %w", err))
	}
	if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindEnrolment, Time: used, Device: device.ID, Outcome: "admit"}); err != nil {
		return fail(err)
	}
	if b, err = json.Marshal(device); err != nil {
		return fail(fmt.Errorf("identity: %w", err))
	}
	if _, err := d.store.Create(ctx, deviceKey(device.ID), b); errors.Is(err, store.ErrConflict) {
		return fail(problem("device_known", "open_without_link"))
	} else if err != nil {
		return fail(fmt.Errorf("identity: %w", err))
	}
	return statement, device, nil
}

// token finds what is stored of t. The search key is a hash, so its timing tells nothing of other tokens.
func (d *Directory) token(ctx context.Context, t Token, now time.Time) (storedToken, store.Revision, error) {
	var stored storedToken
	hash := t.hash()
	revision, err := d.get(ctx, tokenKey(hash), &stored)
	if errors.Is(err, store.ErrNotFound) || err == nil && subtle.ConstantTimeCompare(stored.Hash, hash[:]) != 1 {
		return stored, 0, problem("link_unknown", "ask_link")
	}
	switch {
	case err != nil:
		return stored, 0, err
	case stored.Used != nil:
		return stored, 0, problem("link_used", "ask_link")
	case !now.Before(stored.Expires):
		return stored, 0, problem("link_expired", "ask_link")
	}
	return stored, revision, nil
}

// Renewal is what a device sends to have its statement renewed.
type Renewal struct {
	Statement []byte // the last one, encoded
	Nonce     []byte // that the server handed out, checked by the caller
	Host      string // that the device dialled, checked by the caller
	Signature []byte // by the leaf key over signal.RenewContent
}

// Renew returns a fresh statement for a device that is enrolled and not revoked.
func (d *Directory) Renew(ctx context.Context, r Renewal, now time.Time) ([]byte, Device, error) {
	fail := func(err error) ([]byte, Device, error) { return nil, Device{}, err }
	s, err := pass.ParseStatement(r.Statement)
	if err != nil {
		return fail(problem("statement_malformed", "enrol_again"))
	}
	device, revision, err := d.device(ctx, s.Device())
	if err != nil {
		return fail(err)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), device.LeafKey)
	if err != nil || !verify(key, signal.RenewContent(r.Nonce, r.Statement, r.Host), r.Signature) {
		return fail(problem("renewal_proof", "enrol_again"))
	}
	if now.After(device.Until.Add(renewalGrace)) {
		return fail(problem("device_lapsed", "enrol_again"))
	}
	person, err := d.active(ctx, device.Person)
	if err != nil {
		return fail(err)
	}
	statement, err := d.sign(person, device, now)
	if err != nil {
		return fail(err)
	}
	if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindRenewal, Time: now.UTC(), Device: device.ID, Outcome: "admit"}); err != nil {
		return fail(err)
	}
	device.Until = now.Add(statementLife).UTC()
	return statement, device, d.change(ctx, device, revision)
}

// Device returns an enrolled device that is not revoked, or a Problem device_unknown or device_revoked.
func (d *Directory) Device(ctx context.Context, id conclave.DeviceID) (Device, error) {
	device, _, err := d.device(ctx, id)
	return device, err
}

func (d *Directory) device(ctx context.Context, id conclave.DeviceID) (Device, store.Revision, error) {
	var device Device
	revision, err := d.get(ctx, deviceKey(id), &device)
	if errors.Is(err, store.ErrNotFound) {
		return device, 0, problem("device_unknown", "enrol_again")
	}
	if err == nil && device.Revoked != nil {
		return device, 0, problem("device_revoked", "ask_administrator")
	}
	return device, revision, err
}

// change writes a device over the revision that was read: a renewal must not undo a revocation that came between.
func (d *Directory) change(ctx context.Context, device Device, revision store.Revision) error {
	b, err := json.Marshal(device)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if _, err := d.store.CompareAndPut(ctx, deviceKey(device.ID), b, revision); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// Devices returns all devices of a person, those that are revoked among them, in no order. It reads all devices of the
// organisation: it is for the administrator, not for a ruling.
func (d *Directory) Devices(ctx context.Context, person conclave.PersonID) ([]Device, error) {
	entries, err := d.store.List(ctx, "device")
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	devices := []Device{}
	for _, e := range entries {
		var device Device
		if err := json.Unmarshal(e.Value, &device); err != nil {
			return nil, fmt.Errorf("identity: a stored value cannot be read: %v", err)
		}
		if device.Person == person {
			devices = append(devices, device)
		}
	}
	return devices, nil
}

// RevokeDevice makes a device useless from the next ruling on.
func (d *Directory) RevokeDevice(ctx context.Context, id conclave.DeviceID, now time.Time) error {
	device, revision, err := d.device(ctx, id)
	if err != nil {
		return err
	}
	at := now.UTC()
	device.Revoked = &at
	if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindDeviceRevoked, Time: at, Device: id}); err != nil {
		return err
	}
	return d.change(ctx, device, revision)
}

func (d *Directory) sign(p Person, device Device, now time.Time) ([]byte, error) {
	statement, err := pass.SignStatement(d.organisation.enrolment, &pass.Statement{
		Organisation: d.organisation.ID, Person: p.ID, Name: p.Name, Unit: p.Unit, LeafKey: device.LeafKey,
		Assurance: device.Assurance, NotBefore: now, NotAfter: now.Add(statementLife),
	})
	if err != nil {
		return nil, fmt.Errorf("identity: sign statement: %w", err)
	}
	return statement, nil
}

func verify(key *ecdsa.PublicKey, content, signature []byte) bool {
	sum := sha256.Sum256(content)
	return ecdsa.VerifyASN1(key, sum[:], signature)
}
