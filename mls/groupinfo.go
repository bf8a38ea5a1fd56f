package mls

// GroupID names a group. It is chosen by its founder.
type GroupID []byte

// Epoch numbers the states of a group, from 0.
type Epoch uint64

// GroupContext is what the members of a group agree on in an epoch (Section 8.1).
type GroupContext struct {
	Version                 ProtocolVersion
	CipherSuite             CipherSuite
	GroupID                 GroupID
	Epoch                   Epoch
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              Extensions
}

// MarshalMLS encodes.
func (c *GroupContext) MarshalMLS(w *Writer) {
	w.Uint16(uint16(c.Version))
	w.Uint16(uint16(c.CipherSuite))
	w.Opaque(c.GroupID)
	w.Uint64(uint64(c.Epoch))
	w.Opaque(c.TreeHash)
	w.Opaque(c.ConfirmedTranscriptHash)
	c.Extensions.MarshalMLS(w)
}

// UnmarshalMLS decodes.
func (c *GroupContext) UnmarshalMLS(r *Reader) {
	c.Version = ProtocolVersion(r.Uint16())
	c.CipherSuite = CipherSuite(r.Uint16())
	c.GroupID = r.Opaque(maxSmall)
	c.Epoch = Epoch(r.Uint64())
	c.TreeHash = r.Opaque(maxSmall)
	c.ConfirmedTranscriptHash = r.Opaque(maxSmall)
	c.Extensions.UnmarshalMLS(r)
}

// Clone returns a copy whose fields can be set without touching c. Byte slices are shared.
func (c *GroupContext) Clone() *GroupContext {
	d := *c
	return &d
}

// GroupInfo describes an epoch to those who would join (Section 12.4.3).
type GroupInfo struct {
	GroupContext    *GroupContext
	Extensions      Extensions
	ConfirmationTag []byte
	Signer          LeafIndex
	Signature       []byte
}

func (g *GroupInfo) marshalBody(w *Writer) {
	g.GroupContext.MarshalMLS(w)
	g.Extensions.MarshalMLS(w)
	w.Opaque(g.ConfirmationTag)
	w.Uint32(uint32(g.Signer))
}

// MarshalMLS encodes.
func (g *GroupInfo) MarshalMLS(w *Writer) {
	g.marshalBody(w)
	w.Opaque(g.Signature)
}

// UnmarshalMLS decodes.
func (g *GroupInfo) UnmarshalMLS(r *Reader) {
	g.GroupContext = new(GroupContext)
	g.GroupContext.UnmarshalMLS(r)
	g.Extensions.UnmarshalMLS(r)
	g.ConfirmationTag = r.Opaque(maxSmall)
	g.Signer = LeafIndex(r.Uint32())
	g.Signature = r.Opaque(maxSmall)
}

const groupInfoLabel = "GroupInfoTBS"

// TBS encodes what the signature covers, less the label: GroupInfoTBS.
func (g *GroupInfo) TBS() []byte {
	var w Writer
	g.marshalBody(&w)
	return w.buf
}

// Sign sets the signature, by the key of the leaf Signer.
func (g *GroupInfo) Sign(s Signer) error {
	if err := g.checkForm(); err != nil {
		return err
	}
	sig, err := SignWithLabel(s, groupInfoLabel, g.TBS())
	if err != nil {
		return err
	}
	g.Signature = sig
	return nil
}

// SignatureCheck returns what verifies the signature by the given key, that of the leaf Signer.
func (g *GroupInfo) SignatureCheck(key SignatureKey) SignatureCheck {
	return SignatureCheck{g.GroupContext.CipherSuite, key, SignContent(groupInfoLabel, g.TBS()), g.Signature}
}

// GroupSecrets is what a Welcome tells one new member (Section 12.4.3.1).
type GroupSecrets struct {
	_            [0]func() // secrets are not compared
	JoinerSecret []byte
	PathSecret   []byte // nil if there is none
	PSKs         []PreSharedKeyID
}

// MarshalMLS encodes.
func (s *GroupSecrets) MarshalMLS(w *Writer) {
	w.Opaque(s.JoinerSecret)
	w.Optional(s.PathSecret != nil)
	if s.PathSecret != nil {
		w.Opaque(s.PathSecret)
	}
	mark := w.Begin()
	for i := range s.PSKs {
		s.PSKs[i].MarshalMLS(w)
	}
	w.End(mark)
}

// UnmarshalMLS decodes.
func (s *GroupSecrets) UnmarshalMLS(r *Reader) {
	s.JoinerSecret = r.Opaque(maxSmall)
	if r.Optional() {
		s.PathSecret = r.Opaque(maxSmall)
	}
	outer := r.Begin()
	for r.More() {
		if len(s.PSKs) == maxCodes {
			r.Fail(errTooMany)
			break
		}
		var id PreSharedKeyID
		id.UnmarshalMLS(r)
		s.PSKs = append(s.PSKs, id)
	}
	r.End(outer)
}

// EncryptedGroupSecrets is a GroupSecrets for the owner of one key package (Section 12.4.3.1).
type EncryptedGroupSecrets struct {
	NewMember KeyPackageRef
	Secrets   HPKECiphertext
}

// Welcome lets the owners of the key packages it names join (Section 12.4.3.1).
type Welcome struct {
	CipherSuite        CipherSuite
	Secrets            []EncryptedGroupSecrets
	EncryptedGroupInfo []byte
}

// MarshalMLS encodes.
func (m *Welcome) MarshalMLS(w *Writer) {
	w.Uint16(uint16(m.CipherSuite))
	mark := w.Begin()
	for i := range m.Secrets {
		w.Opaque(m.Secrets[i].NewMember)
		m.Secrets[i].Secrets.MarshalMLS(w)
	}
	w.End(mark)
	w.Opaque(m.EncryptedGroupInfo)
}

// UnmarshalMLS decodes.
func (m *Welcome) UnmarshalMLS(r *Reader) {
	m.CipherSuite = CipherSuite(r.Uint16())
	outer := r.Begin()
	for r.More() {
		if len(m.Secrets) == maxList {
			r.Fail(errTooMany)
			break
		}
		var s EncryptedGroupSecrets
		s.NewMember = r.Opaque(maxSmall)
		s.Secrets.UnmarshalMLS(r)
		m.Secrets = append(m.Secrets, s)
	}
	r.End(outer)
	m.EncryptedGroupInfo = r.Opaque(MaxMessageSize)
}
