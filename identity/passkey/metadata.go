package passkey

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/go-webauthn/webauthn/metadata"
	"github.com/go-webauthn/webauthn/metadata/providers/memory"
	"github.com/google/uuid"
)

// maxMetadata bounds a metadata file; FIDO's whole list has about 8 MB.
const maxMetadata = 64 << 20

// Metadata are the kinds of authenticators that an operator trusts, with their makers' certificates. It is immutable.
type Metadata struct {
	entries  map[uuid.UUID]*metadata.Entry
	provider metadata.Provider
	// unanchored is provider but for the certificates, which signedBy then looks at.
	unanchored metadata.Provider
}

// ReadMetadata reads a file of the operator's: FIDO's list as it is published (a signed BLOB, whose signature is verified
// down from FIDO's root), or JSON of the same shape without a signature, for authenticators that the operator bought and
// vouches for: {"entries":[{"aaguid":…,"metadataStatement":{…},"statusReports":[…],"timeOfLastStatusChange":…}]}.
func ReadMetadata(path string) (*Metadata, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("passkey: %w", err)
	}
	if info.Size() > maxMetadata {
		return nil, fmt.Errorf("passkey: %s is larger than any list of authenticators", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("passkey: %w", err)
	}
	m, err := ParseMetadata(b)
	if err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, path)
	}
	return m, nil
}

// ParseMetadata is ReadMetadata for the file's content.
func ParseMetadata(b []byte) (*Metadata, error) {
	payload := new(metadata.PayloadJSON)
	b = bytes.TrimSpace(b)
	own := bytes.HasPrefix(b, []byte("{"))
	if own {
		if err := json.Unmarshal(b, payload); err != nil {
			return nil, fmt.Errorf("passkey: parse metadata: %v", err)
		}
	} else {
		d, err := metadata.NewDecoder(metadata.WithIgnoreEntryParsingErrors())
		if err != nil {
			return nil, fmt.Errorf("passkey: %w", err)
		}
		if payload, err = d.DecodeBytes(b); err != nil {
			return nil, fmt.Errorf("passkey: verify the signed metadata: %v", err)
		}
	}
	m := &Metadata{entries: map[uuid.UUID]*metadata.Entry{}}
	for i, e := range payload.Entries {
		if e.AaGUID == "" {
			continue // of the protocols before FIDO2
		}
		entry, err := e.Parse()
		if err != nil && !own {
			continue // one maker's mistake in FIDO's list must not cost all others; that kind is not vouched for then
		}
		if err != nil {
			return nil, fmt.Errorf("passkey: parse metadata: entry %d: %v", i+1, err)
		}
		if entry.AaGUID != uuid.Nil { // nobody's: it would be everybody's
			m.entries[entry.AaGUID] = &entry
		}
	}
	if len(m.entries) == 0 {
		return nil, errors.New("passkey: the metadata name no authenticator")
	}
	for anchored, provider := range map[bool]*metadata.Provider{true: &m.provider, false: &m.unanchored} {
		var err error
		*provider, err = memory.New(memory.WithMetadata(m.entries), memory.WithValidateEntry(true), memory.WithValidateTrustAnchor(anchored),
			memory.WithValidateStatus(true), memory.WithValidateAttestationTypes(true))
		if err != nil {
			return nil, fmt.Errorf("passkey: %w", err)
		}
	}
	return m, nil
}

// Len returns how many kinds of authenticators are known.
func (m *Metadata) Len() int {
	if m == nil {
		return 0
	}
	return len(m.entries)
}
