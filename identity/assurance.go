package identity

import (
	"sync"
	"time"

	"conclave"
)

// What vouched for a device's key when it was enrolled can end: a certificate runs out or its root is given up, a kind of
// authenticator is found broken. So it is looked at for each ruling, and again for each statement.

// Posture says whether the organisation's certificate vouches for a device now.
type Posture string

// The postures.
const (
	PostureNone    Posture = ""        // it never did
	PostureManaged Posture = "managed" // it does
	PostureLapsed  Posture = "lapsed"  // it did
)

// certificates remembers until when each managed device's chain holds, once it was verified: the roots are the same for as
// long as the server runs.
type certificates struct {
	mu    sync.Mutex
	until map[conclave.DeviceID]time.Time // guarded by mu; zero: it does not hold
}

// maxCertificates bounds what is remembered; past it all is verified anew.
const maxCertificates = 100_000

// Posture returns what the certificate of a device says of it now.
func (d *Directory) Posture(device *Device, now time.Time) Posture {
	if device.Assurance != conclave.AssuranceManaged && len(device.Chain) == 0 {
		return PostureNone
	}
	c := &d.certificates
	c.mu.Lock()
	defer c.mu.Unlock()
	until, known := c.until[device.ID]
	if !known {
		var err error
		if until, err = certified(device.Chain, device.LeafKey, d.rules.Cards, now); err != nil {
			until = time.Time{}
		}
		if c.until == nil || len(c.until) >= maxCertificates {
			c.until = map[conclave.DeviceID]time.Time{}
		}
		c.until[device.ID] = until
	}
	if now.Before(until) {
		return PostureManaged
	}
	return PostureLapsed
}

// CertifiedUntil returns when the certificate ends that vouches for a device now; zero: none does.
func (d *Directory) CertifiedUntil(device *Device, now time.Time) time.Time {
	if d.Posture(device, now) != PostureManaged {
		return time.Time{}
	}
	d.certificates.mu.Lock()
	defer d.certificates.mu.Unlock()
	return d.certificates.until[device.ID]
}

// Assurance is what vouches for a device's key now, by what was shown when it was enrolled.
func (d *Directory) Assurance(device *Device, now time.Time) conclave.Assurance {
	switch d.Posture(device, now) {
	case PostureManaged:
		return conclave.AssuranceManaged
	case PostureLapsed:
		return conclave.AssuranceSoftware
	}
	if p := device.Passkey; p != nil {
		if p.Hardware() && p.Vouched(d.rules.Metadata) {
			return conclave.AssuranceHardware
		}
		return conclave.AssuranceSoftware
	}
	return device.Assurance
}

// reassure has the next statement say what vouches for the key now. A managed device without its certificate gets none, nor
// one without hardware where the organisation asks for that.
func (d *Directory) reassure(device *Device, now time.Time) error {
	assurance := d.Assurance(device, now)
	switch {
	case d.Posture(device, now) == PostureLapsed:
		return problem("certificate_refused", "ask_administrator")
	case device.Passkey != nil && d.Rules().Hardware && assurance != conclave.AssuranceHardware:
		return problem("passkey_not_hardware", "use_hardware_key")
	}
	device.Assurance = assurance
	return nil
}
