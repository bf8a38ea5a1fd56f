package mls

import "errors"

// ContentType is what a message carries (Section 6).
type ContentType uint8

// The content types of RFC 9420.
const (
	ContentApplication ContentType = 1
	ContentProposal    ContentType = 2
	ContentCommit      ContentType = 3
)

// SenderType is what a sender is to the group (Section 6).
type SenderType uint8

// The sender types of RFC 9420.
const (
	SenderMember            SenderType = 1
	SenderExternal          SenderType = 2
	SenderNewMemberProposal SenderType = 3
	SenderNewMemberCommit   SenderType = 4
)

// WireFormat is the kind of an MLSMessage (Section 17.2).
type WireFormat uint16

// The wire formats of RFC 9420.
const (
	WirePublicMessage  WireFormat = 1
	WirePrivateMessage WireFormat = 2
	WireWelcome        WireFormat = 3
	WireGroupInfo      WireFormat = 4
	WireKeyPackage     WireFormat = 5
)

// Sender says who sent a message (Section 6).
type Sender struct {
	Type  SenderType
	Leaf  LeafIndex // set for SenderMember
	Index uint32    // set for SenderExternal: the place in the group's external_senders
}

// MemberSender returns the sender of the member at leaf.
func MemberSender(leaf LeafIndex) Sender { return Sender{Type: SenderMember, Leaf: leaf} }

// MarshalMLS encodes.
func (s Sender) MarshalMLS(w *Writer) {
	w.Uint8(uint8(s.Type))
	switch s.Type {
	case SenderMember:
		w.Uint32(uint32(s.Leaf))
	case SenderExternal:
		w.Uint32(s.Index)
	}
}

// UnmarshalMLS decodes.
func (s *Sender) UnmarshalMLS(r *Reader) {
	s.Type = SenderType(r.Uint8())
	switch s.Type {
	case SenderMember:
		s.Leaf = LeafIndex(r.Uint32())
	case SenderExternal:
		s.Index = r.Uint32()
	case SenderNewMemberProposal, SenderNewMemberCommit:
	default:
		r.Fail(errUnknownValue)
	}
}

// FramedContent is what a message says, and where it stands (Section 6). One of the last three fields is set, as
// ContentType says.
type FramedContent struct {
	GroupID           GroupID
	Epoch             Epoch
	Sender            Sender
	AuthenticatedData []byte
	ContentType       ContentType
	ApplicationData   []byte
	Proposal          Proposal
	Commit            *Commit
}

// writeContent encodes the part that depends on the content type.
func (c *FramedContent) writeContent(w *Writer) {
	switch c.ContentType {
	case ContentApplication:
		w.Opaque(c.ApplicationData)
	case ContentProposal:
		WriteProposal(w, c.Proposal)
	case ContentCommit:
		c.Commit.MarshalMLS(w)
	default:
		panic("mls: encode: unknown content type")
	}
}

func (c *FramedContent) readContent(r *Reader) {
	switch c.ContentType {
	case ContentApplication:
		c.ApplicationData = r.Opaque(maxOpaque)
	case ContentProposal:
		c.Proposal = ReadProposal(r)
	case ContentCommit:
		c.Commit = new(Commit)
		c.Commit.UnmarshalMLS(r)
	default:
		r.Fail(errUnknownValue)
	}
}

// MarshalMLS encodes.
func (c *FramedContent) MarshalMLS(w *Writer) {
	w.Opaque(c.GroupID)
	w.Uint64(uint64(c.Epoch))
	c.Sender.MarshalMLS(w)
	w.Opaque(c.AuthenticatedData)
	w.Uint8(uint8(c.ContentType))
	c.writeContent(w)
}

// UnmarshalMLS decodes.
func (c *FramedContent) UnmarshalMLS(r *Reader) {
	c.GroupID = r.Opaque(maxSmall)
	c.Epoch = Epoch(r.Uint64())
	c.Sender.UnmarshalMLS(r)
	c.AuthenticatedData = r.Opaque(maxOpaque)
	c.ContentType = ContentType(r.Uint8())
	c.readContent(r)
}

// FramedContentAuthData authenticates a FramedContent (Section 6.1).
type FramedContentAuthData struct {
	Signature       []byte
	ConfirmationTag []byte // of a commit
}

// Write encodes; the form depends on the content type.
func (a *FramedContentAuthData) Write(w *Writer, t ContentType) {
	w.Opaque(a.Signature)
	if t == ContentCommit {
		w.Opaque(a.ConfirmationTag)
	}
}

// Read decodes; the form depends on the content type.
func (a *FramedContentAuthData) Read(r *Reader, t ContentType) {
	a.Signature = r.Opaque(maxSmall)
	if t == ContentCommit {
		a.ConfirmationTag = r.Opaque(maxSmall)
	}
}

// AuthenticatedContent is a content with its authentication, before or after it is protected on the wire (Section 6).
type AuthenticatedContent struct {
	WireFormat WireFormat // WirePublicMessage or WirePrivateMessage
	Content    FramedContent
	Auth       FramedContentAuthData
}

// MarshalMLS encodes.
func (a *AuthenticatedContent) MarshalMLS(w *Writer) {
	w.Uint16(uint16(a.WireFormat))
	a.Content.MarshalMLS(w)
	a.Auth.Write(w, a.Content.ContentType)
}

// UnmarshalMLS decodes.
func (a *AuthenticatedContent) UnmarshalMLS(r *Reader) {
	a.WireFormat = WireFormat(r.Uint16())
	if a.WireFormat != WirePublicMessage && a.WireFormat != WirePrivateMessage {
		r.Fail(errUnknownValue)
	}
	a.Content.UnmarshalMLS(r)
	a.Auth.Read(r, a.Content.ContentType)
}

const framedContentLabel = "FramedContentTBS"

// TBS encodes what the signature covers, less the label: FramedContentTBS. ctx is the context of the message's epoch; it
// counts for members and for external commits only.
func (a *AuthenticatedContent) TBS(ctx *GroupContext) []byte {
	var w Writer
	a.writeTBS(&w, ctx)
	return w.buf
}

func (a *AuthenticatedContent) writeTBS(w *Writer, ctx *GroupContext) {
	w.Uint16(uint16(MLS10))
	w.Uint16(uint16(a.WireFormat))
	a.Content.MarshalMLS(w)
	if t := a.Content.Sender.Type; t == SenderMember || t == SenderNewMemberCommit {
		ctx.MarshalMLS(w)
	}
}

// TBM encodes what the membership tag covers: AuthenticatedContentTBM (Section 6.2).
func (a *AuthenticatedContent) TBM(ctx *GroupContext) []byte {
	var w Writer
	a.writeTBS(&w, ctx)
	a.Auth.Write(&w, a.Content.ContentType)
	return w.buf
}

// Sign sets the signature.
func (a *AuthenticatedContent) Sign(s Signer, ctx *GroupContext) error {
	if err := a.Content.checkForm(); err != nil {
		return err
	}
	sig, err := SignWithLabel(s, framedContentLabel, a.TBS(ctx))
	if err != nil {
		return err
	}
	a.Auth.Signature = sig
	return nil
}

// SignatureCheck returns what verifies the signature by key, which SenderKey finds.
func (a *AuthenticatedContent) SignatureCheck(suite CipherSuite, key SignatureKey, ctx *GroupContext) SignatureCheck {
	return SignatureCheck{suite, key, SignContent(framedContentLabel, a.TBS(ctx)), a.Auth.Signature}
}

// ProposalRef returns the reference of the proposal that a carries (Section 5.2).
func (a *AuthenticatedContent) ProposalRef(suite CipherSuite) ProposalRef {
	return suite.RefHash("MLS 1.0 Proposal Reference", Marshal(a))
}

// PublicMessage is a message that is signed and not encrypted (Section 6.2).
type PublicMessage struct {
	Content       FramedContent
	Auth          FramedContentAuthData
	MembershipTag []byte // of a member
}

// Authenticated returns the message as an AuthenticatedContent.
func (m *PublicMessage) Authenticated() *AuthenticatedContent {
	return &AuthenticatedContent{WireFormat: WirePublicMessage, Content: m.Content, Auth: m.Auth}
}

// MarshalMLS encodes.
func (m *PublicMessage) MarshalMLS(w *Writer) {
	m.Content.MarshalMLS(w)
	m.Auth.Write(w, m.Content.ContentType)
	if m.Content.Sender.Type == SenderMember {
		w.Opaque(m.MembershipTag)
	}
}

// UnmarshalMLS decodes.
func (m *PublicMessage) UnmarshalMLS(r *Reader) {
	m.Content.UnmarshalMLS(r)
	m.Auth.Read(r, m.Content.ContentType)
	if m.Content.Sender.Type == SenderMember {
		m.MembershipTag = r.Opaque(maxSmall)
	}
}

// PrivateMessage is a message that is signed and encrypted (Section 6.3).
type PrivateMessage struct {
	GroupID             GroupID
	Epoch               Epoch
	ContentType         ContentType
	AuthenticatedData   []byte
	EncryptedSenderData []byte
	Ciphertext          []byte
}

// MarshalMLS encodes.
func (m *PrivateMessage) MarshalMLS(w *Writer) {
	w.Opaque(m.GroupID)
	w.Uint64(uint64(m.Epoch))
	w.Uint8(uint8(m.ContentType))
	w.Opaque(m.AuthenticatedData)
	w.Opaque(m.EncryptedSenderData)
	w.Opaque(m.Ciphertext)
}

// UnmarshalMLS decodes.
func (m *PrivateMessage) UnmarshalMLS(r *Reader) {
	m.GroupID = r.Opaque(maxSmall)
	m.Epoch = Epoch(r.Uint64())
	m.ContentType = ContentType(r.Uint8())
	if m.ContentType < ContentApplication || m.ContentType > ContentCommit {
		r.Fail(errUnknownValue)
	}
	m.AuthenticatedData = r.Opaque(maxOpaque)
	m.EncryptedSenderData = r.Opaque(maxSmall)
	m.Ciphertext = r.Opaque(MaxMessageSize)
}

// ContentAAD encodes what the content's encryption binds: PrivateContentAAD (Section 6.3.1).
func (m *PrivateMessage) ContentAAD() []byte {
	var w Writer
	m.writeHeader(&w)
	w.Opaque(m.AuthenticatedData)
	return w.buf
}

// SenderDataAAD encodes what the sender data's encryption binds (Section 6.3.2).
func (m *PrivateMessage) SenderDataAAD() []byte {
	var w Writer
	m.writeHeader(&w)
	return w.buf
}

func (m *PrivateMessage) writeHeader(w *Writer) {
	w.Opaque(m.GroupID)
	w.Uint64(uint64(m.Epoch))
	w.Uint8(uint8(m.ContentType))
}

// PrivateContent encodes a PrivateMessageContent with padding zero bytes behind (Section 6.3.1).
func (a *AuthenticatedContent) PrivateContent(padding int) []byte {
	var w Writer
	a.Content.writeContent(&w)
	a.Auth.Write(&w, a.Content.ContentType)
	w.Raw(make([]byte, padding))
	return w.buf
}

var errPadding = errors.New("padding is not all zero")

// ReadPrivateContent decodes a PrivateMessageContent into the content and authentication of a, whose other fields
// (above all Content.ContentType) must be set. Slices of a lie inside b.
func (a *AuthenticatedContent) ReadPrivateContent(b []byte) error {
	r := NewReader(b)
	a.Content.readContent(r)
	a.Auth.Read(r, a.Content.ContentType)
	for _, p := range r.Rest() {
		if p != 0 {
			r.Fail(errPadding)
			break
		}
	}
	if err := r.Finish(); err != nil {
		return errors.New("mls: decode private message content: " + err.Error())
	}
	return nil
}

// SenderData says who sent a PrivateMessage and with which key (Section 6.3.2).
type SenderData struct {
	Leaf       LeafIndex
	Generation uint32
	ReuseGuard [4]byte
}

// MarshalMLS encodes.
func (d SenderData) MarshalMLS(w *Writer) {
	w.Uint32(uint32(d.Leaf))
	w.Uint32(d.Generation)
	w.Raw(d.ReuseGuard[:])
}

// UnmarshalMLS decodes.
func (d *SenderData) UnmarshalMLS(r *Reader) {
	d.Leaf = LeafIndex(r.Uint32())
	d.Generation = r.Uint32()
	copy(d.ReuseGuard[:], r.Raw(4))
}

// Message is an MLSMessage, the outermost form of everything on the wire (Section 6). One field is set.
type Message struct {
	Public     *PublicMessage
	Private    *PrivateMessage
	Welcome    *Welcome
	GroupInfo  *GroupInfo
	KeyPackage *KeyPackage
}

// WireFormat tells which field is set; 0 if none is.
func (m *Message) WireFormat() WireFormat {
	switch {
	case m.Public != nil:
		return WirePublicMessage
	case m.Private != nil:
		return WirePrivateMessage
	case m.Welcome != nil:
		return WireWelcome
	case m.GroupInfo != nil:
		return WireGroupInfo
	case m.KeyPackage != nil:
		return WireKeyPackage
	}
	return 0
}

// MarshalMLS encodes.
func (m *Message) MarshalMLS(w *Writer) {
	w.Uint16(uint16(MLS10))
	f := m.WireFormat()
	w.Uint16(uint16(f))
	switch f {
	case WirePublicMessage:
		m.Public.MarshalMLS(w)
	case WirePrivateMessage:
		m.Private.MarshalMLS(w)
	case WireWelcome:
		m.Welcome.MarshalMLS(w)
	case WireGroupInfo:
		m.GroupInfo.MarshalMLS(w)
	case WireKeyPackage:
		m.KeyPackage.MarshalMLS(w)
	default:
		panic("mls: encode: empty message")
	}
}

var errVersion = errors.New("unknown protocol version")

// UnmarshalMLS decodes.
func (m *Message) UnmarshalMLS(r *Reader) {
	if ProtocolVersion(r.Uint16()) != MLS10 {
		r.Fail(errVersion)
		return
	}
	switch WireFormat(r.Uint16()) {
	case WirePublicMessage:
		m.Public = new(PublicMessage)
		m.Public.UnmarshalMLS(r)
	case WirePrivateMessage:
		m.Private = new(PrivateMessage)
		m.Private.UnmarshalMLS(r)
	case WireWelcome:
		m.Welcome = new(Welcome)
		m.Welcome.UnmarshalMLS(r)
	case WireGroupInfo:
		m.GroupInfo = new(GroupInfo)
		m.GroupInfo.UnmarshalMLS(r)
	case WireKeyPackage:
		m.KeyPackage = new(KeyPackage)
		m.KeyPackage.UnmarshalMLS(r)
	default:
		r.Fail(errUnknownValue)
	}
}

var errOtherKind = errors.New("mls: message is of another kind")

// ReadWelcome takes a Welcome out of an encoded MLSMessage; one of another kind is an error.
func ReadWelcome(message []byte) (*Welcome, error) {
	var m Message
	if err := Unmarshal(message, &m); err != nil {
		return nil, err
	}
	if m.Welcome == nil {
		return nil, errOtherKind
	}
	return m.Welcome, nil
}

// ReadGroupInfo takes a GroupInfo out of an encoded MLSMessage; one of another kind is an error. Nothing in it is verified
// yet: NewFollower, Follower.CheckGroupInfo, Rules.CheckJoin and member.JoinExternal do that.
func ReadGroupInfo(message []byte) (*GroupInfo, error) {
	var m Message
	if err := Unmarshal(message, &m); err != nil {
		return nil, err
	}
	if m.GroupInfo == nil {
		return nil, errOtherKind
	}
	return m.GroupInfo, nil
}

// ReadKeyPackage takes a KeyPackage out of an encoded MLSMessage; one of another kind is an error. Rules.CheckKeyPackage
// verifies it.
func ReadKeyPackage(message []byte) (*KeyPackage, error) {
	var m Message
	if err := Unmarshal(message, &m); err != nil {
		return nil, err
	}
	if m.KeyPackage == nil {
		return nil, errOtherKind
	}
	return m.KeyPackage, nil
}

// ConfirmedTranscriptHash returns the hash of all commits up to and with a, from the interim hash before it
// (Section 8.2).
func (a *AuthenticatedContent) ConfirmedTranscriptHash(suite CipherSuite, interimBefore []byte) []byte {
	var w Writer
	w.Raw(interimBefore)
	w.Uint16(uint16(a.WireFormat))
	a.Content.MarshalMLS(&w)
	w.Opaque(a.Auth.Signature)
	return suite.Hash(w.buf)
}

// InterimTranscriptHash binds the confirmation tag of an epoch to its confirmed transcript hash (Section 8.2). At epoch 0
// it is that of an empty confirmed hash and the founder's tag.
func InterimTranscriptHash(suite CipherSuite, confirmed, confirmationTag []byte) []byte {
	var w Writer
	w.Raw(confirmed)
	w.Opaque(confirmationTag)
	return suite.Hash(w.buf)
}
