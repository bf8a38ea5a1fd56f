package mls

import (
	"bytes"
	"errors"
)

// CredentialType names a kind of credential (Section 17.5).
type CredentialType uint16

// The credential types of RFC 9420.
const (
	CredentialBasic CredentialType = 1
	CredentialX509  CredentialType = 2
)

// Credential says who holds a signature key (Section 5.3). Whether that is true is for the Verifier.
type Credential struct {
	Type CredentialType
	// Identity is set for CredentialBasic.
	Identity []byte
	// Certificates is set for CredentialX509: DER, the end entity first.
	Certificates [][]byte
}

// BasicCredential returns a basic credential that carries identity.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialBasic, Identity: identity}
}

// X509Credential returns a credential of a chain of DER certificates, the end entity first.
func X509Credential(chain [][]byte) Credential {
	return Credential{Type: CredentialX509, Certificates: chain}
}

// Equal tells whether both have the same encoding.
func (c *Credential) Equal(d *Credential) bool {
	if c.Type != d.Type || !bytes.Equal(c.Identity, d.Identity) || len(c.Certificates) != len(d.Certificates) {
		return false
	}
	for i := range c.Certificates {
		if !bytes.Equal(c.Certificates[i], d.Certificates[i]) {
			return false
		}
	}
	return true
}

// maxChain bounds the certificates of one credential; public chains have two to four.
const maxChain = 16

var errCredentialType = errors.New("unknown credential type")

// MarshalMLS encodes.
func (c Credential) MarshalMLS(w *Writer) {
	w.Uint16(uint16(c.Type))
	switch c.Type {
	case CredentialBasic:
		w.Opaque(c.Identity)
	case CredentialX509:
		mark := w.Begin()
		for _, cert := range c.Certificates {
			w.Opaque(cert)
		}
		w.End(mark)
	default:
		panic("mls: encode: unknown credential type")
	}
}

// UnmarshalMLS decodes. An unknown type is an error: its value has no length on the wire, so nothing behind it could be
// read.
func (c *Credential) UnmarshalMLS(r *Reader) {
	c.Type = CredentialType(r.Uint16())
	switch c.Type {
	case CredentialBasic:
		c.Identity = r.Opaque(maxSmall)
	case CredentialX509:
		outer := r.Begin()
		for r.More() {
			if len(c.Certificates) == maxChain {
				r.Fail(errTooMany)
				break
			}
			c.Certificates = append(c.Certificates, r.Opaque(maxSmall))
		}
		r.End(outer)
	default:
		r.Fail(errCredentialType)
	}
}
