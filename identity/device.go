package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/identity/passkey"
	"conclave/pass"
	"conclave/signal"
	"conclave/store"
)

const (
	// statementLife is what every verifier takes at most.
	statementLife = pass.MaxStatementLife
	// renewalGrace is how long after its statement ran out a device may still renew it: a month's leave. Its key is known
	// to us, so nothing is weaker than before; a device that is lost longer is enrolled anew.
	renewalGrace = 30 * 24 * time.Hour
)

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
	// Passkey vouches for each statement; nil: none does.
	Passkey *passkey.Credential `json:"passkey,omitempty"`
	// Chain are the certificates (DER) that vouch for a managed device's or a card's key; nil for all others. They are looked
	// at again: what they vouched for once ends with them.
	Chain [][]byte `json:"chain,omitempty"`
	// Evidence is the hash of what was shown at the enrolment, 32 bytes; nil: nothing was.
	Evidence []byte `json:"evidence,omitempty"`
	// Link is what it was enrolled by; nil for one that was enrolled before that was kept.
	Link *LinkKind `json:"link,omitempty"`
	// Guest is set for a guest's: Person then stands in no directory.
	Guest *Guest `json:"guest,omitempty"`
}

// lapsed says that its statement ran out so long ago that it is not renewed any more.
func (d *Device) lapsed(now time.Time) bool { return now.After(d.Until.Add(renewalGrace)) }

// Renewal is what a device sends to have its statement renewed.
type Renewal struct {
	Statement []byte // the last one, encoded
	Nonce     []byte // that the server handed out, checked by the caller
	Host      string // that the device dialled, checked by the caller
	Signature []byte // by the leaf key over signal.RenewContent
	Vouch     *Vouch // by the device's passkey, where it has one
}

// renewing returns the device that a renewal is for, and its person, once it has proven its key.
func (d *Directory) renewing(ctx context.Context, r *Renewal, now time.Time) (Device, Person, store.Revision, error) {
	fail := func(err error) (Device, Person, store.Revision, error) { return Device{}, Person{}, 0, err }
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
	if device.lapsed(now) {
		return fail(problem("device_lapsed", "enrol_again"))
	}
	person, err := d.holder(ctx, &device, now)
	if err != nil {
		return fail(err)
	}
	return device, person, revision, d.reassure(&device, now)
}

// ProposeRenewal draws up the next statement for the device's passkey to vouch for. The proposal is empty where the device
// has none: it renews without.
func (d *Directory) ProposeRenewal(ctx context.Context, r Renewal, now time.Time) (Proposal, error) {
	device, person, _, err := d.renewing(ctx, &r, now)
	if err != nil || device.Passkey == nil {
		return Proposal{}, err
	}
	return d.propose(person, &device, now)
}

// Renew returns a fresh statement for a device that is enrolled and not revoked.
func (d *Directory) Renew(ctx context.Context, r Renewal, now time.Time) ([]byte, Device, error) {
	fail := func(err error) ([]byte, Device, error) { return nil, Device{}, err }
	device, person, revision, err := d.renewing(ctx, &r, now)
	if err != nil {
		return fail(err)
	}
	from := now
	if device.Passkey != nil {
		if r.Vouch == nil {
			return fail(problem("passkey_wanted", "touch_passkey"))
		}
		if from, err = d.vouched(person, &device, r.Vouch, now); err != nil {
			return fail(err)
		}
	}
	var statement []byte
	err = d.recorded(ctx, audit.Record{Kind: audit.KindRenewal, Time: now.UTC(), Device: device.ID}, func() error {
		if statement, err = d.sign(ctx, person, &device, from); err != nil {
			return err
		}
		device.Until = d.until(&device, from).UTC()
		return d.change(ctx, device, revision)
	})
	if err != nil {
		return fail(err)
	}
	return statement, device, nil
}

// Assert verifies a fresh assertion of a device's passkey over challenge, for a join.
func (d *Directory) Assert(ctx context.Context, id conclave.DeviceID, response, challenge []byte, site passkey.Site) error {
	device, revision, err := d.device(ctx, id)
	if err != nil {
		return err
	}
	if device.Passkey == nil {
		return problem("passkey_none", "enrol_again")
	}
	if device.Passkey, err = device.Passkey.Assert(response, challenge, site); err != nil {
		return err
	}
	if device.Passkey.Count == 0 {
		return nil // it counts nothing: nothing has changed
	}
	// Over the revision that was read: of two with one counter, one is refused.
	if err := d.change(ctx, device, revision); errors.Is(err, store.ErrConflict) {
		return problem("passkey_stale", "passkey_again")
	} else if err != nil {
		return err
	}
	return nil
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

// KnownDevice returns a device that is or was enrolled, a revoked one too, or a Problem device_unknown.
func (d *Directory) KnownDevice(ctx context.Context, id conclave.DeviceID) (Device, error) {
	var device Device
	_, err := d.get(ctx, deviceKey(id), &device)
	if errors.Is(err, store.ErrNotFound) {
		return device, problem("device_unknown", "enrol_again")
	}
	return device, err
}

// change writes a device over the revision that was read: a renewal must not undo a revocation that came between.
func (d *Directory) change(ctx context.Context, device Device, revision store.Revision) error {
	return d.putOver(ctx, deviceKey(device.ID), device, revision)
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

// RevokeDevice makes a device useless from the next ruling on, and enters that in the device log. Of one that is revoked
// already it enters what is missing: whoever was told of an error tries once more.
func (d *Directory) RevokeDevice(ctx context.Context, id conclave.DeviceID, now time.Time) error {
	ctx = context.WithoutCancel(ctx) // who asked may hang up: what has begun is finished
	device, err := d.revoke(ctx, id, now.UTC())
	if err != nil {
		return err
	}
	log, err := d.DeviceLog(ctx)
	if err != nil {
		return err
	}
	return log.addRevocation(ctx, device.Person, id) // once, however often it is asked for
}

// revoke marks a device as revoked, however often it is renewed meanwhile, and returns it as it is now.
func (d *Directory) revoke(ctx context.Context, id conclave.DeviceID, at time.Time) (Device, error) {
	for recorded := false; ; recorded = true {
		var device Device
		revision, err := d.get(ctx, deviceKey(id), &device)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return device, problem("device_unknown", "enrol_again")
		case err != nil || device.Revoked != nil:
			return device, err
		}
		if !recorded {
			if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindDeviceRevoked, Time: at, Device: id}); err != nil {
				return device, err
			}
		}
		device.Revoked = &at
		if err := d.change(ctx, device, revision); err != nil && !errors.Is(err, store.ErrConflict) {
			return device, err
		}
	}
}

// Holder returns the person that a device's statement names, where it may still name one: from the directory, or a guest's
// from its invitation.
func (d *Directory) Holder(ctx context.Context, device Device, now time.Time) (Person, error) {
	return d.holder(ctx, &device, now)
}

// holder returns the person that a device's statement names: from the directory, or a guest's from its invitation.
func (d *Directory) holder(ctx context.Context, device *Device, now time.Time) (Person, error) {
	if device.Guest == nil {
		return d.active(ctx, device.Person)
	}
	return d.guest(ctx, device, now)
}

// until is the end of a device's statement from some moment on.
func (d *Directory) until(device *Device, from time.Time) time.Time {
	until := from.Add(statementLife)
	if device.Guest != nil && device.Guest.Until.Before(until) {
		until = device.Guest.Until
	}
	return until
}

func (d *Directory) statement(p Person, device *Device, from time.Time) *pass.Statement {
	s := &pass.Statement{Organisation: d.organisation.ID, Person: p.ID, Name: p.Name, Unit: p.Unit, LeafKey: device.LeafKey,
		Assurance: device.Assurance, NotBefore: from, NotAfter: d.until(device, from)}
	if device.Guest != nil {
		s.Kind = pass.KindGuest
	}
	return s
}

func (d *Directory) sign(ctx context.Context, p Person, device *Device, from time.Time) ([]byte, error) {
	statement, err := pass.SignStatement(d.organisation.enrolment, d.statement(p, device, from))
	if err != nil {
		return nil, fmt.Errorf("identity: sign statement: %w", err)
	}
	// Nobody is given what does not stand in the device log.
	return statement, d.logged(ctx, p.ID, conclave.DeviceOf(device.LeafKey), statement)
}

func verify(key *ecdsa.PublicKey, content, signature []byte) bool {
	sum := sha256.Sum256(content)
	return ecdsa.VerifyASN1(key, sum[:], signature)
}
