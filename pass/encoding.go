package pass

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"

	"conclave"
)

// version opens every encoding; another one is another format.
const version = 1

// Limits of fields, in bytes.
const (
	maxOrganisation = 253
	maxPerson       = 128
	maxName         = 128
	pointSize       = 65 // uncompressed P-256
	// maxTime ends the year 9999; it keeps sums of times from overflowing.
	maxTime = 253402300799
)

// The errors of encodings name a field, never its value.
var (
	errShape        = errors.New("truncated, too long, or of another version")
	errOrganisation = errors.New("organisation is empty or too long")
	errPerson       = errors.New("person is empty, too long, or has a control character")
	errName         = errors.New("name or unit is not printable text of its size")
	errRole         = errors.New("unknown role")
	errKey          = errors.New("key has not the form of its role")
	errAssurance    = errors.New("unknown assurance")
	errKind         = errors.New("kind does not fit gateway or assurance")
	errGrade        = errors.New("unknown grade")
	errLife         = errors.New("validity is empty, too long, or out of range")
)

// content encodes all but the signature.
func (g *Grant) content() ([]byte, error) {
	if err := g.check(); err != nil {
		return nil, fmt.Errorf("pass: encode grant: %w", err)
	}
	b := begin()
	short(b, string(g.Organisation))
	b.AddUint8(uint8(g.Role))
	short(b, string(g.Key))
	addTimes(b, g.NotBefore, g.NotAfter)
	return b.BytesOrPanic(), nil
}

func (g *Grant) check() error {
	if err := checkOrganisation(g.Organisation); err != nil {
		return err
	}
	switch g.Role {
	case RoleEnrolment, RoleAdmission, RoleLog, RoleInvestigation:
		if len(g.Key) != 32 {
			return errKey
		}
	case RoleRemoval:
		if !isPoint(g.Key) {
			return errKey
		}
	default:
		return errRole
	}
	return checkLife(g.NotBefore, g.NotAfter, MaxGrantLife)
}

// MarshalBinary implements encoding.BinaryMarshaler. It fails for what was not signed.
func (g *Grant) MarshalBinary() ([]byte, error) {
	content, err := g.content()
	return withSignature(content, g.Signature, err)
}

// ParseGrant decodes a grant; it verifies nothing. Errors hold a conclave.Problem (errors.As).
func ParseGrant(b []byte) (*Grant, error) {
	g := new(Grant)
	s, ok := open(b)
	ok = ok && readShort(&s, (*string)(&g.Organisation)) && s.ReadUint8((*uint8)(&g.Role)) && readKey(&s, &g.Key) &&
		readTimes(&s, &g.NotBefore, &g.NotAfter) && readSignature(&s, &g.Signature)
	if !ok {
		return nil, malformed("grant", errShape)
	}
	if err := g.check(); err != nil {
		return nil, malformed("grant", err)
	}
	return g, nil
}

func (s *Statement) content() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("pass: encode statement: %w", err)
	}
	b := begin()
	short(b, string(s.Organisation))
	short(b, string(s.Person))
	short(b, s.Name)
	short(b, s.Unit)
	short(b, string(s.LeafKey))
	b.AddUint8(uint8(s.Assurance))
	b.AddUint8(uint8(s.Kind))
	b.AddBytes(s.Gateway[:])
	addTimes(b, s.NotBefore, s.NotAfter)
	b.AddBytes(s.Signer[:])
	return b.BytesOrPanic(), nil
}

func (s *Statement) check() error {
	if err := checkOrganisation(s.Organisation); err != nil {
		return err
	}
	if len(s.Person) == 0 || len(s.Person) > maxPerson || !printable(string(s.Person)) {
		return errPerson
	}
	if len(s.Name) == 0 || len(s.Name) > maxName || !printable(s.Name) ||
		strings.TrimSpace(s.Name) == "" || len(s.Unit) > maxName || !printable(s.Unit) {
		return errName
	}
	if !isPoint(s.LeafKey) {
		return errKey
	}
	if s.Assurance > conclave.AssuranceManaged {
		return errAssurance
	}
	if s.Kind > KindGateway || (s.Gateway != conclave.DeviceID{}) != (s.Kind == KindPhone) ||
		(s.Kind == KindGuest || s.Kind == KindPhone) && s.Assurance != conclave.AssuranceGuest {
		return errKind
	}
	return checkLife(s.NotBefore, s.NotAfter, MaxStatementLife)
}

// MarshalBinary implements encoding.BinaryMarshaler. It fails for what was not signed.
func (s *Statement) MarshalBinary() ([]byte, error) {
	content, err := s.content()
	return withSignature(content, s.Signature, err)
}

// ParseStatement decodes a statement; it verifies nothing. Errors hold a conclave.Problem (errors.As).
func ParseStatement(b []byte) (*Statement, error) {
	x := new(Statement)
	s, ok := open(b)
	ok = ok && readShort(&s, (*string)(&x.Organisation)) && readShort(&s, (*string)(&x.Person)) &&
		readShort(&s, &x.Name) && readShort(&s, &x.Unit) && readKey(&s, &x.LeafKey) &&
		s.ReadUint8((*uint8)(&x.Assurance)) && s.ReadUint8((*uint8)(&x.Kind)) && s.CopyBytes(x.Gateway[:]) && readTimes(&s, &x.NotBefore, &x.NotAfter) &&
		s.CopyBytes(x.Signer[:]) && readSignature(&s, &x.Signature)
	if !ok {
		return nil, malformed("statement", errShape)
	}
	if err := x.check(); err != nil {
		return nil, malformed("statement", err)
	}
	return x, nil
}

func (p *Pass) content() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("pass: encode pass: %w", err)
	}
	b := begin()
	short(b, string(p.Organisation))
	b.AddBytes(p.Meeting[:])
	b.AddBytes(p.Device[:])
	b.AddUint8(uint8(p.Level))
	b.AddUint8(uint8(p.Grade))
	b.AddBytes(p.PolicyHash[:])
	addTimes(b, p.NotBefore, p.NotAfter)
	b.AddBytes(p.Signer[:])
	return b.BytesOrPanic(), nil
}

func (p *Pass) check() error {
	if err := checkOrganisation(p.Organisation); err != nil {
		return err
	}
	if p.Grade > conclave.GradeGuarded {
		return errGrade
	}
	return checkLife(p.NotBefore, p.NotAfter, MaxPassLife)
}

// MarshalBinary implements encoding.BinaryMarshaler. It fails for what was not signed.
func (p *Pass) MarshalBinary() ([]byte, error) {
	content, err := p.content()
	return withSignature(content, p.Signature, err)
}

// ParsePass decodes a pass; it verifies nothing. Errors hold a conclave.Problem (errors.As).
func ParsePass(b []byte) (*Pass, error) {
	p := new(Pass)
	s, ok := open(b)
	ok = ok && readShort(&s, (*string)(&p.Organisation)) && s.CopyBytes(p.Meeting[:]) && s.CopyBytes(p.Device[:]) &&
		s.ReadUint8((*uint8)(&p.Level)) && s.ReadUint8((*uint8)(&p.Grade)) && s.CopyBytes(p.PolicyHash[:]) &&
		readTimes(&s, &p.NotBefore, &p.NotAfter) && s.CopyBytes(p.Signer[:]) && readSignature(&s, &p.Signature)
	if !ok {
		return nil, malformed("pass", errShape)
	}
	if err := p.check(); err != nil {
		return nil, malformed("pass", err)
	}
	return p, nil
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (m *MeetingContext) MarshalBinary() ([]byte, error) {
	b := begin()
	b.AddBytes(m.Meeting[:])
	b.AddUint8(uint8(m.Level))
	b.AddBytes(m.PolicyHash[:])
	b.AddBytes(m.FormerPolicy[:])
	return b.Bytes()
}

// ParseMeetingContext decodes the data of ExtensionMeeting. Errors hold a conclave.Problem (errors.As).
func ParseMeetingContext(b []byte) (*MeetingContext, error) {
	m := new(MeetingContext)
	s, ok := open(b)
	if !ok || !s.CopyBytes(m.Meeting[:]) || !s.ReadUint8((*uint8)(&m.Level)) || !s.CopyBytes(m.PolicyHash[:]) ||
		!s.CopyBytes(m.FormerPolicy[:]) || !s.Empty() {
		return nil, malformed("meeting", errShape)
	}
	return m, nil
}

func begin() *cryptobyte.Builder {
	b := cryptobyte.NewBuilder(make([]byte, 0, 512))
	b.AddUint8(version)
	return b
}

// open checks size and version, and copies, so that what is decoded shares nothing with b.
func open(b []byte) (cryptobyte.String, bool) {
	if len(b) > MaxSize {
		return nil, false
	}
	s := cryptobyte.String(append([]byte(nil), b...))
	var v uint8
	return s, s.ReadUint8(&v) && v == version
}

// short adds s behind its length in one octet; check has bounded it.
func short(b *cryptobyte.Builder, s string) {
	b.AddUint8(uint8(len(s)))
	b.AddBytes([]byte(s))
}

func readShort(s *cryptobyte.String, out *string) bool {
	var body cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&body) {
		return false
	}
	*out = string(body)
	return true
}

func readKey(s *cryptobyte.String, out *[]byte) bool {
	return s.ReadUint8LengthPrefixed((*cryptobyte.String)(out))
}

func addTimes(b *cryptobyte.Builder, from, to time.Time) {
	b.AddUint64(uint64(from.Unix()))
	b.AddUint64(uint64(to.Unix()))
}

func readTimes(s *cryptobyte.String, from, to *time.Time) bool {
	var f, t uint64
	if !s.ReadUint64(&f) || !s.ReadUint64(&t) || f > maxTime || t > maxTime {
		return false
	}
	*from, *to = time.Unix(int64(f), 0).UTC(), time.Unix(int64(t), 0).UTC()
	return true
}

// readSignature takes the last 64 bytes; more or fewer are no signature.
func readSignature(s *cryptobyte.String, out *[]byte) bool {
	return s.ReadBytes(out, ed25519.SignatureSize) && s.Empty()
}

func withSignature(content, signature []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if len(signature) != ed25519.SignatureSize {
		return nil, errors.New("pass: encode: not signed")
	}
	return append(content, signature...), nil
}

func checkOrganisation(o conclave.OrganisationID) error {
	if len(o) == 0 || len(o) > maxOrganisation || !printable(string(o)) {
		return errOrganisation
	}
	return nil
}

func checkLife(from, to time.Time, longest time.Duration) error {
	if from.Unix() < 0 || to.Unix() > maxTime || !from.Before(to) || to.Sub(from) > longest {
		return errLife
	}
	return nil
}

// isPoint checks the form alone: whoever verifies with the key finds out whether it lies on the curve.
func isPoint(key []byte) bool { return len(key) == pointSize && key[0] == 4 }

// printable refuses what could make one name look like another or break a line: control characters, those that are not
// seen (of no width, of another space's width, tags), and those that change the direction of what follows (UAX #9). The
// directory takes the same. Letters that look alike it does not tell apart.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// What follows keeps names, keys and passes out of logs, whatever the verb.

// Format implements fmt.Formatter with a salted tag.
func (g Grant) Format(f fmt.State, _ rune) { io.WriteString(f, conclave.Tag("grant", g.Signature)) }

// Format implements fmt.Formatter with a salted tag.
func (s Statement) Format(f fmt.State, _ rune) {
	io.WriteString(f, conclave.Tag("statement", s.Signature))
}

// Format implements fmt.Formatter with a salted tag.
func (p Pass) Format(f fmt.State, _ rune) { io.WriteString(f, conclave.Tag("pass", p.Signature)) }
