package member

// The browser's core links no logger (log.go). Should one come in all the same, it finds a text for what holds secrets, as
// package encoding/json does.

// MarshalText hides the secrets.
func (g *Group) MarshalText() ([]byte, error) { return []byte("member.Group(redacted)"), nil }

// MarshalText hides the secrets.
func (s *Staged) MarshalText() ([]byte, error) { return []byte("member.Staged(redacted)"), nil }

// MarshalText hides the secrets.
func (s *Snapshot) MarshalText() ([]byte, error) { return []byte("member.Snapshot(redacted)"), nil }

// MarshalText hides the secrets.
func (k *KeyPackageSecrets) MarshalText() ([]byte, error) {
	return []byte("member.KeyPackageSecrets(redacted)"), nil
}

// MarshalText hides the secrets.
func (p PSK) MarshalText() ([]byte, error) { return []byte("member.PSK(redacted)"), nil }

// MarshalText hides the secrets.
func (r Resumption) MarshalText() ([]byte, error) { return []byte("member.Resumption(redacted)"), nil }
