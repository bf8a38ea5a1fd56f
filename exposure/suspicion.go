package exposure

import (
	"errors"
	"slices"
	"strings"

	"conclave"
)

var errSuspicion = errors.New("exposure: what is suspected is given as device=…, person=…, organisation=…, or a fact of the line such as network=…, country=…, gateway=…")

// ParseSuspicion reads what is suspected: "device=5f2c…" (32 digits), "person=anna.weber", "organisation=Ministry of the
// Interior" (whoever's unit in the directory it was), or name=value of a proven fact of the line. Its times are open.
func ParseSuspicion(text string) (Suspicion, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" || value == "" || len(text) > 400 {
		return Suspicion{}, errSuspicion
	}
	s := Suspicion{Text: text}
	switch name {
	case "device":
		var id conclave.DeviceID
		if err := id.UnmarshalText([]byte(value)); err != nil {
			return Suspicion{}, errSuspicion
		}
		s.Match = func(l *Leg, _ *Line) bool { return l.Device == id }
	case "person":
		s.Match = func(l *Leg, _ *Line) bool { return string(l.Person) == value }
	case "organisation":
		s.Match = func(l *Leg, _ *Line) bool { return strings.EqualFold(l.Unit, value) }
	default:
		if strings.ContainsFunc(name, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
			return Suspicion{}, errSuspicion
		}
		s.Match = func(_ *Leg, n *Line) bool {
			return n != nil && slices.ContainsFunc(n.Facts, func(f conclave.Fact) bool {
				return f.Name == name && f.Proven && strings.EqualFold(f.Value, value)
			})
		}
	}
	return s, nil
}
