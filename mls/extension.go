package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// ExtensionType names an extension (Section 17.3).
type ExtensionType uint16

// The extension types of RFC 9420.
const (
	ExtensionApplicationID        ExtensionType = 0x0001
	ExtensionRatchetTree          ExtensionType = 0x0002
	ExtensionRequiredCapabilities ExtensionType = 0x0003
	ExtensionExternalPub          ExtensionType = 0x0004
	ExtensionExternalSenders      ExtensionType = 0x0005
)

// isDefault tells whether every client is taken to support t, so that it is never listed in capabilities (Section 7.2).
func (t ExtensionType) isDefault() bool {
	return t >= ExtensionApplicationID && t <= ExtensionExternalSenders
}

// IsGREASE tells whether a code point is one of the values that are sent to keep peers tolerant (Section 13.5).
func IsGREASE[C code](v C) bool {
	return v&0x0f0f == 0x0a0a && v>>8 == v&0xff && v != 0xfafa
}

// Extension is an extension with its data as it stands on the wire (Section 13.4).
type Extension struct {
	Type ExtensionType
	Data []byte
}

// Extensions is a list of extensions.
type Extensions []Extension

// Find returns the data of the extension of type t.
func (e Extensions) Find(t ExtensionType) (data []byte, ok bool) {
	for i := range e {
		if e[i].Type == t {
			return e[i].Data, true
		}
	}
	return nil, false
}

// With returns the list with x in the place of an extension of its type, or behind the others. e stays as it was.
func (e Extensions) With(x Extension) Extensions {
	out := slices.Clone(e)
	for i := range out {
		if out[i].Type == x.Type {
			out[i] = x
			return out
		}
	}
	return append(out, x)
}

// Without returns the list less the extension of type t. e stays as it was.
func (e Extensions) Without(t ExtensionType) Extensions {
	return slices.DeleteFunc(slices.Clone(e), func(x Extension) bool { return x.Type == t })
}

// Equal tells whether both lists have the same encoding.
func (e Extensions) Equal(f Extensions) bool {
	return slices.EqualFunc(e, f, func(a, b Extension) bool { return a.Type == b.Type && bytes.Equal(a.Data, b.Data) })
}

// checkUnique refuses a list with two extensions of one type.
func (e Extensions) checkUnique() error {
	for i := range e {
		for j := range i {
			if e[i].Type == e[j].Type {
				return errors.New("mls: extension stands twice in a list")
			}
		}
	}
	return nil
}

// maxExtensions bounds the extensions of one list.
const maxExtensions = 128

// MarshalMLS encodes.
func (e Extensions) MarshalMLS(w *Writer) {
	mark := w.Begin()
	for i := range e {
		w.Uint16(uint16(e[i].Type))
		w.Opaque(e[i].Data)
	}
	w.End(mark)
}

// UnmarshalMLS decodes.
func (e *Extensions) UnmarshalMLS(r *Reader) {
	var list Extensions
	outer := r.Begin()
	for r.More() {
		if len(list) == maxExtensions {
			r.Fail(errTooMany)
			break
		}
		// A ratchet tree is as large as the message it comes in.
		list = append(list, Extension{Type: ExtensionType(r.Uint16()), Data: r.Opaque(MaxMessageSize)})
	}
	r.End(outer)
	*e = list
}

// RequiredCapabilities is what all members of a group must be able to do (Section 11.1).
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// MarshalMLS encodes.
func (c RequiredCapabilities) MarshalMLS(w *Writer) {
	writeCodes(w, c.Extensions)
	writeCodes(w, c.Proposals)
	writeCodes(w, c.Credentials)
}

// UnmarshalMLS decodes.
func (c *RequiredCapabilities) UnmarshalMLS(r *Reader) {
	c.Extensions = readCodes[ExtensionType](r)
	c.Proposals = readCodes[ProposalType](r)
	c.Credentials = readCodes[CredentialType](r)
}

// ExternalSender is somebody outside the group who may send proposals (Section 12.1.8.1).
type ExternalSender struct {
	SignatureKey SignatureKey
	Credential   Credential
}

// MarshalMLS encodes.
func (s ExternalSender) MarshalMLS(w *Writer) {
	w.Opaque(s.SignatureKey)
	s.Credential.MarshalMLS(w)
}

// UnmarshalMLS decodes.
func (s *ExternalSender) UnmarshalMLS(r *Reader) {
	s.SignatureKey = r.Opaque(maxSmall)
	s.Credential.UnmarshalMLS(r)
}

// externalSenders is the data of the extension.
type externalSenders []ExternalSender

func (s externalSenders) MarshalMLS(w *Writer) {
	mark := w.Begin()
	for i := range s {
		s[i].MarshalMLS(w)
	}
	w.End(mark)
}

func (s *externalSenders) UnmarshalMLS(r *Reader) {
	outer := r.Begin()
	for r.More() {
		if len(*s) == maxExtensions {
			r.Fail(errTooMany)
			break
		}
		var one ExternalSender
		one.UnmarshalMLS(r)
		*s = append(*s, one)
	}
	r.End(outer)
}

// opaqueData is the data of an extension that holds one byte string.
type opaqueData []byte

func (d opaqueData) MarshalMLS(w *Writer)    { w.Opaque(d) }
func (d *opaqueData) UnmarshalMLS(r *Reader) { *d = r.Opaque(maxSmall) }

// RequiredCapabilitiesExtension encodes the extension.
func RequiredCapabilitiesExtension(c RequiredCapabilities) Extension {
	return Extension{ExtensionRequiredCapabilities, Marshal(c)}
}

// ExternalSendersExtension encodes the extension.
func ExternalSendersExtension(s []ExternalSender) Extension {
	return Extension{ExtensionExternalSenders, Marshal(externalSenders(s))}
}

// ExternalPubExtension encodes the extension, by which a GroupInfo lets others join without an invitation.
func ExternalPubExtension(key EncryptionKey) Extension {
	return Extension{ExtensionExternalPub, Marshal(opaqueData(key))}
}

// ApplicationIDExtension encodes the extension.
func ApplicationIDExtension(id []byte) Extension {
	return Extension{ExtensionApplicationID, Marshal(opaqueData(id))}
}

// RatchetTreeExtension encodes the extension.
func RatchetTreeExtension(t *RatchetTree) Extension {
	return Extension{ExtensionRatchetTree, Marshal(t)}
}

// decodeExtension decodes the data of the extension of type t into x; ok is false if the list has none.
func decodeExtension(e Extensions, t ExtensionType, x Unmarshaler) (ok bool, err error) {
	data, ok := e.Find(t)
	if !ok {
		return false, nil
	}
	if err := UnmarshalShared(data, x); err != nil {
		return false, fmt.Errorf("mls: extension %#04x: %w", uint16(t), err)
	}
	return true, nil
}

// RequiredCapabilities decodes the extension; nil if there is none.
func (e Extensions) RequiredCapabilities() (*RequiredCapabilities, error) {
	var c RequiredCapabilities
	if ok, err := decodeExtension(e, ExtensionRequiredCapabilities, &c); !ok {
		return nil, err
	}
	return &c, nil
}

// ExternalSenders decodes the extension; nil if there is none.
func (e Extensions) ExternalSenders() ([]ExternalSender, error) {
	var s externalSenders
	_, err := decodeExtension(e, ExtensionExternalSenders, &s)
	return s, err
}

// ExternalPub decodes the extension; nil if there is none.
func (e Extensions) ExternalPub() (EncryptionKey, error) {
	var d opaqueData
	_, err := decodeExtension(e, ExtensionExternalPub, &d)
	return EncryptionKey(d), err
}

// ApplicationID decodes the extension; nil if there is none.
func (e Extensions) ApplicationID() ([]byte, error) {
	var d opaqueData
	_, err := decodeExtension(e, ExtensionApplicationID, &d)
	return d, err
}

// RatchetTree decodes the extension; nil if there is none. The tree is not validated.
func (e Extensions) RatchetTree(suite CipherSuite) (*RatchetTree, error) {
	data, ok := e.Find(ExtensionRatchetTree)
	if !ok {
		return nil, nil
	}
	return ParseRatchetTree(suite, data)
}
