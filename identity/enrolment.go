package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity/passkey"
	"conclave/pass"
	"conclave/signal"
	"conclave/store"
)

// Passkeys says what an organisation asks of people's own devices.
type Passkeys string

// What may be asked.
const (
	PasskeysRequired  Passkeys = "required"  // no device of a person without one
	PasskeysPreferred Passkeys = "preferred" // where the browser has none, a software key does: assurance 1
	PasskeysOff       Passkeys = "off"       // they are not asked for
)

// Rules say how devices are enrolled. The zero value prefers passkeys and has nobody vouch for hardware.
type Rules struct {
	Passkeys Passkeys
	// Hardware refuses passkeys that are not proven to stay in their authenticator.
	Hardware bool
	// Metadata are the authenticators whose makers vouch for them; nil: none.
	Metadata *passkey.Metadata
	// Cards are the roots of certificates of smart cards and managed devices; nil: none.
	Cards *x509.CertPool
}

// SetRules has devices be enrolled by r. Call it before the directory is used.
func (d *Directory) SetRules(r Rules) {
	d.rules = r
	d.certificates.mu.Lock()
	defer d.certificates.mu.Unlock()
	d.certificates.until = nil
}

// Rules returns the rules by which devices are enrolled.
func (d *Directory) Rules() Rules {
	r := d.rules
	if r.Passkeys == "" {
		r.Passkeys = PasskeysPreferred
	}
	return r
}

// vouchLife is how long a person may take to touch their passkey once the statement is drawn up.
const vouchLife = 10 * time.Minute

// Enrolment is what a device sends to be enrolled.
type Enrolment struct {
	Token      Token
	LeafKey    []byte // uncompressed P-256 point
	Proof      []byte // by the leaf key over signal.EnrolContent(token), ECDSA with SHA-256, DER
	DeviceName string // may be empty
	// Passkey is nil for a key that no passkey vouches for.
	Passkey *NewPasskey
	// Chain are certificates (DER), that of the leaf key first: for UseManaged.
	Chain [][]byte
}

// NewPasskey is a passkey that was made for an enrolment, and what it vouches for.
type NewPasskey struct {
	Registration []byte // the browser's answer
	Challenge    []byte // ours, that it answers; the caller has checked that it is fresh
	Vouch
}

// Vouch is a passkey's word on a device statement.
type Vouch struct {
	Site      passkey.Site
	Content   []byte // of the statement, as Propose or ProposeRenewal gave it; nil before that
	Assertion []byte // the browser's answer under pass.VouchChallenge(Content)
}

// Proposal is a statement's content that a passkey is to vouch for.
type Proposal struct {
	Content    []byte
	Credential []byte // id of the passkey
}

// applicant is an enrolment whose claims hold.
type applicant struct {
	key      store.Key // of the token
	stored   storedToken
	revision store.Revision
	person   Person
	device   Device
}

// apply checks everything but the passkey's word on the statement.
func (d *Directory) apply(ctx context.Context, e *Enrolment, now time.Time) (*applicant, error) {
	if !goodText(e.DeviceName) {
		return nil, problem("device_name", "choose_other_name")
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), e.LeafKey)
	if err != nil || !verify(key, signal.EnrolContent(e.Token.Text()), e.Proof) {
		return nil, problem("enrolment_proof", "try_other_browser")
	}
	a := &applicant{key: tokenKey(e.Token.hash())}
	if a.stored, a.revision, err = d.token(ctx, e.Token, now); err != nil {
		return nil, err
	}
	if a.person, err = d.active(ctx, a.stored.Person); err != nil {
		return nil, err
	}
	a.device = Device{ID: conclave.DeviceOf(e.LeafKey), Person: a.person.ID, Name: e.DeviceName, LeafKey: e.LeafKey,
		Assurance: conclave.AssuranceSoftware, Enrolled: now.UTC(), Until: now.Add(statementLife).UTC(), Link: a.stored.kind()}
	return a, d.assure(a, e, now)
}

// assure finds out what vouches for the key, and whether that is enough.
func (d *Directory) assure(a *applicant, e *Enrolment, now time.Time) error {
	rules := d.Rules()
	switch {
	case a.stored.Use == UseManaged:
		if _, err := certified(e.Chain, e.LeafKey, rules.Cards, now); err != nil {
			return err
		}
		a.device.Assurance, a.device.Chain = conclave.AssuranceManaged, e.Chain
		return nil
	case e.Passkey == nil && (a.stored.Use == UseRoom || rules.Passkeys != PasskeysRequired):
		return nil
	case e.Passkey == nil:
		return problem("passkey_required", "use_passkey")
	}
	p, err := passkey.Register(e.Passkey.Registration, e.Passkey.Challenge, e.Passkey.Site, rules.Metadata)
	if err != nil {
		return err
	}
	if rules.Hardware && !p.Hardware() {
		return problem("passkey_not_hardware", "use_hardware_key")
	}
	a.device.Passkey, a.device.Assurance = p, p.Assurance()
	return nil
}

// certified says whether a card's or a managed device's certificate vouches for the leaf key, and until when it does, with
// all that it rests on.
func certified(chain [][]byte, leafKey []byte, roots *x509.CertPool, now time.Time) (until time.Time, err error) {
	refused := problem("certificate_refused", "ask_administrator")
	if roots == nil || len(chain) == 0 || len(chain) > 5 {
		return until, refused
	}
	var certs []*x509.Certificate
	intermediates := x509.NewCertPool()
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return until, refused
		}
		certs = append(certs, c)
		if i > 0 {
			intermediates.AddCert(c)
		}
	}
	key, ok := certs[0].PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return until, refused
	}
	point, err := key.Bytes()
	if err != nil || !bytes.Equal(point, leafKey) {
		return until, refused
	}
	paths, err := certs[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return until, refused
	}
	for _, path := range paths {
		end := path[0].NotAfter
		for _, c := range path[1:] {
			if c.NotAfter.Before(end) {
				end = c.NotAfter
			}
		}
		if end.After(until) {
			until = end
		}
	}
	return until, nil
}

// Propose draws up the statement of a device whose passkey shall vouch for it. It uses up nothing.
func (d *Directory) Propose(ctx context.Context, e Enrolment, now time.Time) (Proposal, error) {
	if e.Passkey == nil {
		return Proposal{}, problem("passkey_required", "use_passkey")
	}
	a, err := d.apply(ctx, &e, now)
	if err != nil {
		return Proposal{}, err
	}
	return d.propose(a.person, &a.device, now)
}

func (d *Directory) propose(p Person, device *Device, now time.Time) (Proposal, error) {
	s := d.statement(p, device, now)
	content, err := s.Content(d.organisation.enrolment.Public().(ed25519.PublicKey))
	if err != nil {
		return Proposal{}, fmt.Errorf("identity: %w", err)
	}
	return Proposal{Content: content, Credential: device.Passkey.ID}, nil
}

// vouched checks a passkey's word on a device's statement and returns the time from which the statement holds. The
// device's passkey is then as it is to be kept.
func (d *Directory) vouched(p Person, device *Device, v *Vouch, now time.Time) (time.Time, error) {
	stale := problem("passkey_stale", "passkey_again")
	said, err := pass.ParseStatementContent(v.Content)
	if err != nil || now.Sub(said.NotBefore) > vouchLife || said.NotBefore.After(now) {
		return now, stale
	}
	// What was touched for must be what we would say now: nothing of it comes from the client but the moment.
	want, err := d.propose(p, device, said.NotBefore)
	if err != nil {
		return now, err
	}
	if !bytes.Equal(want.Content, v.Content) {
		return now, stale
	}
	challenge := pass.VouchChallenge(v.Content)
	device.Passkey, err = device.Passkey.Assert(v.Assertion, challenge[:], v.Site)
	return said.NotBefore, err
}

// Enrol uses up a token and returns the device's statement, encoded. Errors hold a conclave.Problem where the person can
// do something. The person's other devices are told of the new one, and the new one of them.
func (d *Directory) Enrol(ctx context.Context, e Enrolment, now time.Time) ([]byte, Device, error) {
	fail := func(err error) ([]byte, Device, error) { return nil, Device{}, err }
	a, err := d.apply(ctx, &e, now)
	if err != nil {
		return fail(err)
	}
	from := now
	if a.device.Passkey != nil {
		if from, err = d.vouched(a.person, &a.device, &e.Passkey.Vouch, now); err != nil {
			return fail(err)
		}
		a.device.Evidence = evidence(e.Passkey)
	}
	a.device.Until = from.Add(statementLife).UTC()
	var statement []byte
	err = d.recorded(ctx, audit.Record{Kind: audit.KindEnrolment, Time: now.UTC(), Device: a.device.ID}, func() error {
		if statement, err = d.sign(ctx, a.person, &a.device, from); err != nil {
			return err
		}
		// Used up before the device exists: a crash here costs a new link.
		if err := d.spend(ctx, a.stored, a.key, a.revision, now); err != nil {
			return err
		}
		return d.enter(ctx, &a.device)
	})
	if err != nil {
		return fail(err)
	}
	return statement, a.device, d.tellOfEachOther(ctx, &a.device, now)
}

// recorded records that a device is enrolled or renewed, and has do carry it out: nothing is signed, logged or used up without
// the record. Where do fails a second record says that it came to nothing.
func (d *Directory) recorded(ctx context.Context, rec audit.Record, do func() error) error {
	rec.Outcome = "admit"
	if _, err := d.record.Record(ctx, rec); err != nil {
		return err
	}
	err := do()
	if err == nil {
		return nil
	}
	p := problem("server_trouble", "try_again")
	errors.As(err, &p)
	rec.Outcome, rec.Codes = "refuse", append(slices.Clip(rec.Codes), p.Code)
	if _, unrecorded := d.record.Record(context.WithoutCancel(ctx), rec); unrecorded != nil {
		return errors.Join(err, unrecorded)
	}
	return err
}

// enter writes a new device.
func (d *Directory) enter(ctx context.Context, device *Device) error {
	b, err := json.Marshal(device)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if _, err := d.store.Create(ctx, deviceKey(device.ID), b); errors.Is(err, store.ErrConflict) {
		return problem("device_known", "open_without_link")
	} else if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// evidence is the hash of what was shown for a device: the passkey's registration, and its word on the first statement.
func evidence(p *NewPasskey) []byte {
	h := sha256.New()
	h.Write([]byte("Conclave evidence 1\x00"))
	for _, part := range [][]byte{p.Registration, p.Content, p.Assertion} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	return h.Sum(nil)
}
