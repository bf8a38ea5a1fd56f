package pass

import "conclave"

// The browser's core links no logger (log.go). Should one come in all the same, it finds a tag, as package encoding/json
// does.

// MarshalText returns a salted tag.
func (g Grant) MarshalText() ([]byte, error) {
	return []byte(conclave.Tag("grant", g.Signature)), nil
}

// MarshalText returns a salted tag.
func (s Statement) MarshalText() ([]byte, error) {
	return []byte(conclave.Tag("statement", s.Signature)), nil
}

// MarshalText returns a salted tag.
func (p Pass) MarshalText() ([]byte, error) {
	return []byte(conclave.Tag("pass", p.Signature)), nil
}

// MarshalText returns a salted tag.
func (r Readiness) MarshalText() ([]byte, error) {
	return []byte(conclave.Tag("readiness", r.Signature)), nil
}
