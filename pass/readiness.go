package pass

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"conclave"
)

// Readiness is the admission key's word on a test of a line: whether this person, with this device and from this place,
// would have been let into a meeting of a level. It lets nobody in; it says what to mend before a trip.
type Readiness struct {
	Organisation conclave.OrganisationID
	Person       conclave.PersonID
	Device       conclave.DeviceID
	Level        conclave.Level
	LevelName    string // in the organisation's words; at most 64 bytes
	Ready        bool
	Codes        []string // of what is missing; at most 16, empty if ready
	Network      string   // as proven, "" if unknown; at most 64 bytes
	Country      string   // ISO 3166-1, as proven, "" if unknown; at most 2 bytes
	Media        string   // how sound came when it was tried ("udp"), "" if it was not or did not; at most 64 bytes
	Grade        conclave.Grade
	PolicyHash   [32]byte
	NotBefore    time.Time // when it was tested
	NotAfter     time.Time // at most MaxReadinessLife after NotBefore
	Signer       KeyID     // of the admission key; set by SignReadiness
	Signature    []byte
}

// MaxReadinessLife is how long a test of a line is worth showing; the journey is a day away.
const MaxReadinessLife = 72 * time.Hour

const readinessLabel = "Conclave readiness 2\x00" // 1 had no Media

// Sizes within a Readiness.
const (
	maxCodes = 16
	maxWord  = 64
)

var errReadiness = errors.New("a word is too long or not printable, or codes and answer contradict each other")

// SignReadiness signs r with an admission key, sets Signer and Signature, and returns its encoding. It fails if a field
// breaks its limits.
func SignReadiness(key ed25519.PrivateKey, r *Readiness) ([]byte, error) {
	r.NotBefore, r.NotAfter = whole(r.NotBefore), whole(r.NotAfter)
	r.Signer = KeyIDOf(key.Public().(ed25519.PublicKey))
	content, err := r.content()
	if err != nil {
		return nil, err
	}
	r.Signature = ed25519.Sign(key, labelled(readinessLabel, content))
	return append(content, r.Signature...), nil
}

func (r *Readiness) content() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("pass: encode readiness: %w", err)
	}
	b := begin()
	short(b, string(r.Organisation))
	short(b, string(r.Person))
	b.AddBytes(r.Device[:])
	b.AddUint8(uint8(r.Level))
	short(b, r.LevelName)
	b.AddUint8(uint8(len(r.Codes)))
	for _, c := range r.Codes {
		short(b, c)
	}
	short(b, r.Network)
	short(b, r.Country)
	short(b, r.Media)
	b.AddUint8(uint8(r.Grade))
	b.AddBytes(r.PolicyHash[:])
	addTimes(b, r.NotBefore, r.NotAfter)
	b.AddBytes(r.Signer[:])
	return b.BytesOrPanic(), nil
}

func (r *Readiness) check() error {
	if err := checkOrganisation(r.Organisation); err != nil {
		return err
	}
	if len(r.Person) == 0 || len(r.Person) > maxPerson || !printable(string(r.Person)) {
		return errPerson
	}
	if r.Grade > conclave.GradeGuarded {
		return errGrade
	}
	if r.Ready != (len(r.Codes) == 0) || len(r.Codes) > maxCodes || len(r.Country) > 2 {
		return errReadiness
	}
	for _, word := range append([]string{r.LevelName, r.Network, r.Country, r.Media}, r.Codes...) {
		if len(word) > maxWord || !printable(word) {
			return errReadiness
		}
	}
	return checkLife(r.NotBefore, r.NotAfter, MaxReadinessLife)
}

// MarshalBinary implements encoding.BinaryMarshaler. It fails for what was not signed.
func (r *Readiness) MarshalBinary() ([]byte, error) {
	content, err := r.content()
	return withSignature(content, r.Signature, err)
}

// ParseReadiness decodes a readiness; it verifies nothing. Errors hold a conclave.Problem (errors.As).
func ParseReadiness(b []byte) (*Readiness, error) {
	r := new(Readiness)
	s, ok := open(b)
	var codes uint8
	ok = ok && readShort(&s, (*string)(&r.Organisation)) && readShort(&s, (*string)(&r.Person)) && s.CopyBytes(r.Device[:]) &&
		s.ReadUint8((*uint8)(&r.Level)) && readShort(&s, &r.LevelName) && s.ReadUint8(&codes) && codes <= maxCodes
	for i := uint8(0); ok && i < codes; i++ {
		var code string
		ok = readShort(&s, &code)
		r.Codes = append(r.Codes, code)
	}
	ok = ok && readShort(&s, &r.Network) && readShort(&s, &r.Country) && readShort(&s, &r.Media) && s.ReadUint8((*uint8)(&r.Grade)) &&
		s.CopyBytes(r.PolicyHash[:]) && readTimes(&s, &r.NotBefore, &r.NotAfter) && s.CopyBytes(r.Signer[:]) &&
		readSignature(&s, &r.Signature)
	if !ok {
		return nil, malformed("readiness", errShape)
	}
	r.Ready = len(r.Codes) == 0
	if err := r.check(); err != nil {
		return nil, malformed("readiness", err)
	}
	return r, nil
}

// Readiness decodes and verifies a readiness of the organisation that is in force at now. Errors hold a conclave.Problem
// (errors.As).
func (t *Trust) Readiness(b []byte, now time.Time) (*Readiness, error) {
	r, err := ParseReadiness(b)
	if err != nil {
		return nil, err
	}
	if r.Organisation != t.organisation {
		return nil, problem("organisation_unknown")
	}
	if err := checkForce("readiness", r.NotBefore, r.NotAfter, now); err != nil {
		return nil, err
	}
	check, err := t.check(RoleAdmission, r.Signer, now, readinessLabel, b, r.Signature, problem("readiness_signature"))
	if err != nil {
		return nil, err
	}
	return r, check.Verify()
}

// Format implements fmt.Formatter with a salted tag.
func (r Readiness) Format(f fmt.State, _ rune) {
	io.WriteString(f, conclave.Tag("readiness", r.Signature))
}
