package mls

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// ProtocolVersion is a version of MLS.
type ProtocolVersion uint16

// MLS10 is the version of RFC 9420.
const MLS10 ProtocolVersion = 1

// Capabilities is what a client can do (Section 7.2).
type Capabilities struct {
	Versions     []ProtocolVersion
	CipherSuites []CipherSuite
	Extensions   []ExtensionType
	Proposals    []ProposalType
	Credentials  []CredentialType
}

// MarshalMLS encodes.
func (c Capabilities) MarshalMLS(w *Writer) {
	writeCodes(w, c.Versions)
	writeCodes(w, c.CipherSuites)
	writeCodes(w, c.Extensions)
	writeCodes(w, c.Proposals)
	writeCodes(w, c.Credentials)
}

// UnmarshalMLS decodes.
func (c *Capabilities) UnmarshalMLS(r *Reader) {
	c.Versions = readCodes[ProtocolVersion](r)
	c.CipherSuites = readCodes[CipherSuite](r)
	c.Extensions = readCodes[ExtensionType](r)
	c.Proposals = readCodes[ProposalType](r)
	c.Credentials = readCodes[CredentialType](r)
}

// SupportsExtension tells whether t is listed or a default.
func (c *Capabilities) SupportsExtension(t ExtensionType) bool {
	return t.isDefault() || slices.Contains(c.Extensions, t)
}

// SupportsProposal tells whether t is listed or a default.
func (c *Capabilities) SupportsProposal(t ProposalType) bool {
	return t.isDefault() || slices.Contains(c.Proposals, t)
}

// SupportsCredential tells whether t is listed.
func (c *Capabilities) SupportsCredential(t CredentialType) bool {
	return slices.Contains(c.Credentials, t)
}

// Lifetime is the time in which a key package may be used, in seconds since 1970, both ends included (Section 7.2).
type Lifetime struct {
	NotBefore uint64
	NotAfter  uint64
}

// Contains tells whether now lies in the lifetime.
func (l Lifetime) Contains(now time.Time) bool {
	t := now.Unix()
	return t >= 0 && uint64(t) >= l.NotBefore && uint64(t) <= l.NotAfter
}

// LeafNodeSource is how a leaf came into the tree (Section 7.2).
type LeafNodeSource uint8

// The leaf node sources of RFC 9420.
const (
	LeafFromKeyPackage LeafNodeSource = 1
	LeafFromUpdate     LeafNodeSource = 2
	LeafFromCommit     LeafNodeSource = 3
)

// LeafNode describes a member, or somebody who would be one (Section 7.2). In a tree it is never written to.
type LeafNode struct {
	EncryptionKey EncryptionKey
	SignatureKey  SignatureKey
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafNodeSource
	Lifetime      Lifetime // set for LeafFromKeyPackage
	ParentHash    []byte   // set for LeafFromCommit
	Extensions    Extensions
	Signature     []byte
}

// marshalBody writes what the leaf and its TBS have in common.
func (l *LeafNode) marshalBody(w *Writer) {
	w.Opaque(l.EncryptionKey)
	w.Opaque(l.SignatureKey)
	l.Credential.MarshalMLS(w)
	l.Capabilities.MarshalMLS(w)
	w.Uint8(uint8(l.Source))
	switch l.Source {
	case LeafFromKeyPackage:
		w.Uint64(l.Lifetime.NotBefore)
		w.Uint64(l.Lifetime.NotAfter)
	case LeafFromCommit:
		w.Opaque(l.ParentHash)
	}
	l.Extensions.MarshalMLS(w)
}

// MarshalMLS encodes.
func (l *LeafNode) MarshalMLS(w *Writer) {
	l.marshalBody(w)
	w.Opaque(l.Signature)
}

// UnmarshalMLS decodes.
func (l *LeafNode) UnmarshalMLS(r *Reader) {
	l.EncryptionKey = r.Opaque(maxSmall)
	l.SignatureKey = r.Opaque(maxSmall)
	l.Credential.UnmarshalMLS(r)
	l.Capabilities.UnmarshalMLS(r)
	l.Source = LeafNodeSource(r.Uint8())
	switch l.Source {
	case LeafFromKeyPackage:
		l.Lifetime.NotBefore = r.Uint64()
		l.Lifetime.NotAfter = r.Uint64()
	case LeafFromUpdate:
	case LeafFromCommit:
		l.ParentHash = r.Opaque(maxSmall)
	default:
		r.Fail(errUnknownValue)
	}
	l.Extensions.UnmarshalMLS(r)
	l.Signature = r.Opaque(maxSmall)
}

// Compact returns a copy that keeps nothing else in memory, e.g. the message it came in.
func (l *LeafNode) Compact() *LeafNode {
	c := new(LeafNode)
	if err := UnmarshalShared(Marshal(l), c); err != nil {
		panic("mls: leaf node does not read what it wrote: " + err.Error())
	}
	return c
}

// TBS encodes what the leaf's signature covers, less the label: LeafNodeTBS. groupID and index count for the sources
// update and commit only.
func (l *LeafNode) TBS(groupID GroupID, index LeafIndex) []byte {
	w := NewWriter(512 + len(l.EncryptionKey) + len(l.Credential.Identity))
	l.marshalBody(w)
	if l.Source != LeafFromKeyPackage {
		w.Opaque(groupID)
		w.Uint32(uint32(index))
	}
	return w.buf
}

const leafNodeLabel = "LeafNodeTBS"

// Sign sets the leaf's signature. For a key package groupID and index are ignored.
func (l *LeafNode) Sign(s Signer, groupID GroupID, index LeafIndex) error {
	if err := l.checkForm(); err != nil {
		return err
	}
	sig, err := SignWithLabel(s, leafNodeLabel, l.TBS(groupID, index))
	if err != nil {
		return err
	}
	l.Signature = sig
	return nil
}

// SignatureCheck returns what verifies the leaf's signature.
func (l *LeafNode) SignatureCheck(suite CipherSuite, groupID GroupID, index LeafIndex) SignatureCheck {
	return SignatureCheck{suite, l.SignatureKey, SignContent(leafNodeLabel, l.TBS(groupID, index)), l.Signature}
}

// CheckCapabilities applies what of Section 7.3 needs only the leaf: the leaf can do what it uses itself. That it lists the
// suite of its group Section 7.3 does not ask, and some members of other implementations do not: a leaf whose keys and signature are of
// the suite has shown that it can do it.
func (l *LeafNode) CheckCapabilities() error {
	c := &l.Capabilities
	if !slices.Contains(c.Versions, MLS10) {
		return errors.New("mls: leaf does not support protocol version mls10")
	}
	if !c.SupportsCredential(l.Credential.Type) {
		return errors.New("mls: leaf does not support its own credential type")
	}
	if err := l.Extensions.checkUnique(); err != nil {
		return err
	}
	for i := range l.Extensions {
		if !c.SupportsExtension(l.Extensions[i].Type) {
			return fmt.Errorf("mls: leaf does not support its own extension %#04x", uint16(l.Extensions[i].Type))
		}
	}
	return nil
}

// CheckGroupExtensions tells whether the leaf supports all extensions of a group context, and all that its
// required_capabilities asks for (Sections 7.3 and 11.1).
func (l *LeafNode) CheckGroupExtensions(e Extensions, required *RequiredCapabilities) error {
	c := &l.Capabilities
	for i := range e {
		if !c.SupportsExtension(e[i].Type) {
			return fmt.Errorf("mls: leaf does not support extension %#04x of the group", uint16(e[i].Type))
		}
	}
	if required == nil {
		return nil
	}
	for _, t := range required.Extensions {
		if !c.SupportsExtension(t) {
			return fmt.Errorf("mls: leaf does not support required extension %#04x", uint16(t))
		}
	}
	for _, t := range required.Proposals {
		if !c.SupportsProposal(t) {
			return fmt.Errorf("mls: leaf does not support required proposal %#04x", uint16(t))
		}
	}
	for _, t := range required.Credentials {
		if !c.SupportsCredential(t) {
			return fmt.Errorf("mls: leaf does not support required credential %#04x", uint16(t))
		}
	}
	return nil
}
