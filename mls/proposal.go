package mls

import "errors"

// ProposalType names a kind of proposal (Section 17.4).
type ProposalType uint16

// The proposal types of RFC 9420.
const (
	ProposalAdd                    ProposalType = 1
	ProposalUpdate                 ProposalType = 2
	ProposalRemove                 ProposalType = 3
	ProposalPSK                    ProposalType = 4
	ProposalReInit                 ProposalType = 5
	ProposalExternalInit           ProposalType = 6
	ProposalGroupContextExtensions ProposalType = 7
)

func (t ProposalType) isDefault() bool {
	return t >= ProposalAdd && t <= ProposalGroupContextExtensions
}

// Proposal is one change to the group: *Add, *Update, *Remove, *PreSharedKey, *ReInit, *ExternalInit or
// *GroupContextExtensions (Section 12.1). Other types are refused when decoded: they have no length on the wire, and a
// member that cannot apply a proposal must not accept its commit.
type Proposal interface {
	Marshaler
	Unmarshaler
	// Type returns the code point on the wire. MarshalMLS and UnmarshalMLS do not touch it.
	Type() ProposalType
}

// Add adds a client to the group (Section 12.1.1).
type Add struct {
	KeyPackage *KeyPackage
}

// Update replaces the sender's leaf (Section 12.1.2).
type Update struct {
	LeafNode *LeafNode
}

// Remove removes a member (Section 12.1.3).
type Remove struct {
	Removed LeafIndex
}

// PreSharedKey asks that a pre-shared key enter the key schedule (Section 12.1.4).
type PreSharedKey struct {
	PSK PreSharedKeyID
}

// ReInit asks that the group be closed and opened anew with other parameters (Section 12.1.5).
type ReInit struct {
	GroupID     GroupID
	Version     ProtocolVersion
	CipherSuite CipherSuite
	Extensions  Extensions
}

// ExternalInit is the part of an external commit from which members derive its init secret (Section 12.1.6).
type ExternalInit struct {
	KEMOutput []byte
}

// GroupContextExtensions replaces all extensions of the group context (Section 12.1.7).
type GroupContextExtensions struct {
	Extensions Extensions
}

// Type returns ProposalAdd.
func (*Add) Type() ProposalType { return ProposalAdd }

// Type returns ProposalUpdate.
func (*Update) Type() ProposalType { return ProposalUpdate }

// Type returns ProposalRemove.
func (*Remove) Type() ProposalType { return ProposalRemove }

// Type returns ProposalPSK.
func (*PreSharedKey) Type() ProposalType { return ProposalPSK }

// Type returns ProposalReInit.
func (*ReInit) Type() ProposalType { return ProposalReInit }

// Type returns ProposalExternalInit.
func (*ExternalInit) Type() ProposalType { return ProposalExternalInit }

// Type returns ProposalGroupContextExtensions.
func (*GroupContextExtensions) Type() ProposalType { return ProposalGroupContextExtensions }

// MarshalMLS encodes.
func (p *Add) MarshalMLS(w *Writer) { p.KeyPackage.MarshalMLS(w) }

// MarshalMLS encodes.
func (p *Update) MarshalMLS(w *Writer) { p.LeafNode.MarshalMLS(w) }

// MarshalMLS encodes.
func (p *Remove) MarshalMLS(w *Writer) { w.Uint32(uint32(p.Removed)) }

// MarshalMLS encodes.
func (p *PreSharedKey) MarshalMLS(w *Writer) { p.PSK.MarshalMLS(w) }

// MarshalMLS encodes.
func (p *ReInit) MarshalMLS(w *Writer) {
	w.Opaque(p.GroupID)
	w.Uint16(uint16(p.Version))
	w.Uint16(uint16(p.CipherSuite))
	p.Extensions.MarshalMLS(w)
}

// MarshalMLS encodes.
func (p *ExternalInit) MarshalMLS(w *Writer) { w.Opaque(p.KEMOutput) }

// MarshalMLS encodes.
func (p *GroupContextExtensions) MarshalMLS(w *Writer) { p.Extensions.MarshalMLS(w) }

// UnmarshalMLS decodes.
func (p *Add) UnmarshalMLS(r *Reader) {
	p.KeyPackage = new(KeyPackage)
	p.KeyPackage.UnmarshalMLS(r)
}

// UnmarshalMLS decodes.
func (p *Update) UnmarshalMLS(r *Reader) {
	p.LeafNode = new(LeafNode)
	p.LeafNode.UnmarshalMLS(r)
}

// UnmarshalMLS decodes.
func (p *Remove) UnmarshalMLS(r *Reader) { p.Removed = LeafIndex(r.Uint32()) }

// UnmarshalMLS decodes.
func (p *PreSharedKey) UnmarshalMLS(r *Reader) { p.PSK.UnmarshalMLS(r) }

// UnmarshalMLS decodes.
func (p *ReInit) UnmarshalMLS(r *Reader) {
	p.GroupID = r.Opaque(maxSmall)
	p.Version = ProtocolVersion(r.Uint16())
	p.CipherSuite = CipherSuite(r.Uint16())
	p.Extensions.UnmarshalMLS(r)
}

// UnmarshalMLS decodes.
func (p *ExternalInit) UnmarshalMLS(r *Reader) { p.KEMOutput = r.Opaque(maxSmall) }

// UnmarshalMLS decodes.
func (p *GroupContextExtensions) UnmarshalMLS(r *Reader) { p.Extensions.UnmarshalMLS(r) }

var errProposalType = errors.New("unknown proposal type")

// WriteProposal encodes p with its type in front.
func WriteProposal(w *Writer, p Proposal) {
	w.Uint16(uint16(p.Type()))
	p.MarshalMLS(w)
}

// ReadProposal decodes what WriteProposal wrote. It returns nil if r has failed.
func ReadProposal(r *Reader) Proposal {
	var p Proposal
	switch ProposalType(r.Uint16()) {
	case ProposalAdd:
		p = new(Add)
	case ProposalUpdate:
		p = new(Update)
	case ProposalRemove:
		p = new(Remove)
	case ProposalPSK:
		p = new(PreSharedKey)
	case ProposalReInit:
		p = new(ReInit)
	case ProposalExternalInit:
		p = new(ExternalInit)
	case ProposalGroupContextExtensions:
		p = new(GroupContextExtensions)
	default:
		r.Fail(errProposalType)
		return nil
	}
	p.UnmarshalMLS(r)
	if r.Err() != nil {
		return nil
	}
	return p
}

// ProposalRef names a proposal that was sent before the commit (Section 5.2).
type ProposalRef []byte

// ProposalOrRef is a proposal in a commit: itself, or its reference (Section 12.4). Exactly one field is set.
type ProposalOrRef struct {
	Proposal Proposal
	Ref      ProposalRef
}

const (
	proposalByValue     = 1
	proposalByReference = 2
)

// MarshalMLS encodes.
func (p ProposalOrRef) MarshalMLS(w *Writer) {
	if p.Proposal != nil {
		w.Uint8(proposalByValue)
		WriteProposal(w, p.Proposal)
		return
	}
	w.Uint8(proposalByReference)
	w.Opaque(p.Ref)
}

// UnmarshalMLS decodes.
func (p *ProposalOrRef) UnmarshalMLS(r *Reader) {
	switch r.Uint8() {
	case proposalByValue:
		p.Proposal = ReadProposal(r)
	case proposalByReference:
		p.Ref = r.Opaque(maxSmall)
	default:
		r.Fail(errUnknownValue)
	}
}
