// Package conclave is the vocabulary of the house: the identifiers, levels, grades, facts, rulings and problems that all
// floors speak of. It holds types and their text forms, no logic. Its words are explained in docs/architecture.md.
//
// Identifiers are personal or secret-bearing: a meeting's pointer lets one ask for admission, a person's id names a human.
// They therefore print as a short tag that is salted anew in every process, in every fmt verb and in slog; convert
// explicitly (Text, string) where the real value is meant.
package conclave

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// MeetingID is a meeting's pointer: 128 random bits, which say nothing of the meeting. Its text form is 22 characters of
// unpadded base64url.
type MeetingID [16]byte

// LegID names one endpoint's presence in one meeting. The server draws it; its text form is 16 hexadecimal digits.
type LegID [8]byte

// DeviceID names an enrolled device: the first 16 bytes of SHA-256 over its public leaf key as it stands in the MLS leaf.
type DeviceID [16]byte

// OrganisationID names an organisation, by convention its DNS name. At most 253 bytes. It is public.
type OrganisationID string

// PersonID names a human within an organisation, for instance "anna.weber". At most 128 bytes.
type PersonID string

// NewMeetingID draws a pointer from rand.
func NewMeetingID(rand io.Reader) (MeetingID, error) {
	var id MeetingID
	_, err := io.ReadFull(rand, id[:])
	return id, err
}

// NewLegID draws a leg's name from rand.
func NewLegID(rand io.Reader) (LegID, error) {
	var id LegID
	_, err := io.ReadFull(rand, id[:])
	return id, err
}

// DeviceOf returns the id of the device that holds leafKey, an encoded public signature key.
func DeviceOf(leafKey []byte) DeviceID {
	sum := sha256.Sum256(leafKey)
	return DeviceID(sum[:16])
}

var errText = errors.New("conclave: malformed identifier")

// Text returns the form that stands in links.
func (id MeetingID) Text() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id MeetingID) MarshalText() ([]byte, error) { return []byte(id.Text()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it accepts the canonical 22 characters only.
func (id *MeetingID) UnmarshalText(b []byte) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(b))
	// The decoder passes over line breaks, which would make a second spelling.
	if err != nil || len(raw) != len(id) || len(b) != base64.RawURLEncoding.EncodedLen(len(id)) {
		return errText
	}
	copy(id[:], raw)
	return nil
}

// ParseMeetingID reads the text form.
func ParseMeetingID(s string) (MeetingID, error) {
	var id MeetingID
	err := id.UnmarshalText([]byte(s))
	return id, err
}

// Text returns 16 hexadecimal digits.
func (id LegID) Text() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id LegID) MarshalText() ([]byte, error) { return []byte(id.Text()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *LegID) UnmarshalText(b []byte) error { return unhex(id[:], b) }

// Text returns 32 hexadecimal digits.
func (id DeviceID) Text() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id DeviceID) MarshalText() ([]byte, error) { return []byte(id.Text()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *DeviceID) UnmarshalText(b []byte) error { return unhex(id[:], b) }

func unhex(dst, text []byte) error {
	if len(text) != 2*len(dst) {
		return errText
	}
	if _, err := hex.Decode(dst, text); err != nil {
		return errText
	}
	return nil
}

// salt makes the tags of one process useless in another.
var salt = func() (s [16]byte) {
	rand.Read(s[:])
	return s
}()

// Tag returns a short name for b that is the same within this process only: for logs.
func Tag(kind string, b []byte) string {
	h := sha256.New()
	h.Write(salt[:])
	h.Write([]byte(kind))
	h.Write(b)
	return kind + "~" + hex.EncodeToString(h.Sum(nil)[:4])
}

// Format implements fmt.Formatter with a salted tag, whatever the verb.
func (id MeetingID) Format(f fmt.State, _ rune) { io.WriteString(f, Tag("meeting", id[:])) }

// Format implements fmt.Formatter with a salted tag, whatever the verb.
func (id LegID) Format(f fmt.State, _ rune) { io.WriteString(f, Tag("leg", id[:])) }

// Format implements fmt.Formatter with a salted tag, whatever the verb.
func (id DeviceID) Format(f fmt.State, _ rune) { io.WriteString(f, Tag("device", id[:])) }

// Format implements fmt.Formatter with a salted tag, whatever the verb.
func (id PersonID) Format(f fmt.State, _ rune) { io.WriteString(f, Tag("person", []byte(id))) }

// Level is the classification of a meeting: its place in the organisation's ordered list, 0 the lowest.
type Level uint8

// Grade says how well a line is protected. Greater is better; the zero value is the weakest.
type Grade uint8

// The grades of a line.
const (
	GradeOpen    Grade = iota // an ordinary phone, or unknown
	GradeHop                  // encrypted only to our phone gateway
	GradeSealed               // enrolled device, end-to-end, any network
	GradeGuarded              // enrolled device, approved network or tunnel
)

var gradeNames = [...]string{"open", "hop", "sealed", "guarded"}

// String returns the grade's word in the design's vocabulary.
func (g Grade) String() string {
	if int(g) >= len(gradeNames) {
		return "invalid"
	}
	return gradeNames[g]
}

// MarshalText implements encoding.TextMarshaler.
func (g Grade) MarshalText() ([]byte, error) {
	if int(g) >= len(gradeNames) {
		return nil, errText
	}
	return []byte(gradeNames[g]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *Grade) UnmarshalText(b []byte) error {
	for i, name := range gradeNames {
		if name == string(b) {
			*g = Grade(i)
			return nil
		}
	}
	return errText
}

// Assurance says what vouches for a device's key.
type Assurance uint8

// The assurances of a device.
const (
	AssuranceGuest    Assurance = iota // a personal invitation, nothing else
	AssuranceSoftware                  // a software key
	AssuranceHardware                  // attested hardware
	AssuranceManaged                   // smart card or managed device
)

// Fact is one statement on a line. Proven facts were checked by us; all others are what the endpoint says.
type Fact struct {
	Name   string `json:"name"`  // "network", "transport", "browser": at most 64 bytes, [a-z_]
	Value  string `json:"value"` // at most 256 bytes
	Proven bool   `json:"proven"`
}

// Problem is what a person is told: a stable code that the client's catalogues word in each language, its arguments, and
// the code of the one thing to do about it.
type Problem struct {
	Code string            `json:"code"`           // "enrolment_used": [a-z0-9_], at most 64 bytes
	Args map[string]string `json:"args,omitempty"` // at most 8, each at most 256 bytes
	Fix  string            `json:"fix"`            // catalogue code of the way out; never empty
}

// Error implements error with the code alone: arguments may be personal.
func (p Problem) Error() string { return "conclave: problem " + p.Code }

// Outcome is what a ruling decides.
type Outcome uint8

// The outcomes of a ruling. The zero value refuses.
const (
	Refuse Outcome = iota
	Wait           // at the door, until the chair decides
	Admit
)

// Ruling is what policy decides on a request.
type Ruling struct {
	Outcome Outcome
	Grade   Grade
	Reasons []Problem // why not, or what could be better; never empty when refused
}

// Role is what a leg may do in its room, inside policy.
type Role string

// The roles of a leg.
const (
	RoleMember Role = "member"
	RoleChair  Role = "chair"
)
