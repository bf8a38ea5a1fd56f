package mls

import "bytes"

// PSKType tells an external pre-shared key from one of an earlier epoch (Section 8.4).
type PSKType uint8

// The PSK types of RFC 9420.
const (
	PSKExternal   PSKType = 1
	PSKResumption PSKType = 2
)

// ResumptionPSKUsage is what a resumption PSK is for (Section 8.4).
type ResumptionPSKUsage uint8

// The usages of RFC 9420.
const (
	ResumptionApplication ResumptionPSKUsage = 1
	ResumptionReInit      ResumptionPSKUsage = 2
	ResumptionBranch      ResumptionPSKUsage = 3
)

// PreSharedKeyID names a pre-shared key (Section 8.4).
type PreSharedKeyID struct {
	Type PSKType
	// ID is set for PSKExternal.
	ID []byte
	// Usage, GroupID and Epoch are set for PSKResumption.
	Usage   ResumptionPSKUsage
	GroupID GroupID
	Epoch   Epoch
	// Nonce is fresh for every use, HashSize bytes.
	Nonce []byte
}

// SameKey tells whether both name the same key, whatever their nonces.
func (p *PreSharedKeyID) SameKey(q *PreSharedKeyID) bool {
	return p.Type == q.Type && bytes.Equal(p.ID, q.ID) && p.Usage == q.Usage && bytes.Equal(p.GroupID, q.GroupID) && p.Epoch == q.Epoch
}

// MarshalMLS encodes.
func (p PreSharedKeyID) MarshalMLS(w *Writer) {
	w.Uint8(uint8(p.Type))
	switch p.Type {
	case PSKExternal:
		w.Opaque(p.ID)
	case PSKResumption:
		w.Uint8(uint8(p.Usage))
		w.Opaque(p.GroupID)
		w.Uint64(uint64(p.Epoch))
	default:
		panic("mls: encode: unknown PSK type")
	}
	w.Opaque(p.Nonce)
}

// UnmarshalMLS decodes.
func (p *PreSharedKeyID) UnmarshalMLS(r *Reader) {
	p.Type = PSKType(r.Uint8())
	switch p.Type {
	case PSKExternal:
		p.ID = r.Opaque(maxSmall)
	case PSKResumption:
		p.Usage = ResumptionPSKUsage(r.Uint8())
		if p.Usage < ResumptionApplication || p.Usage > ResumptionBranch {
			r.Fail(errUnknownValue)
		}
		p.GroupID = r.Opaque(maxSmall)
		p.Epoch = Epoch(r.Uint64())
	default:
		r.Fail(errUnknownValue)
	}
	p.Nonce = r.Opaque(maxSmall)
}

// PSKLabel is the context under which a PSK enters the psk_secret (Section 8.4).
type PSKLabel struct {
	ID    PreSharedKeyID
	Index uint16
	Count uint16
}

// MarshalMLS encodes.
func (l PSKLabel) MarshalMLS(w *Writer) {
	l.ID.MarshalMLS(w)
	w.Uint16(l.Index)
	w.Uint16(l.Count)
}
