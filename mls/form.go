package mls

import "errors"

// What was decoded can be encoded, and decoded again. What an application puts together need not: a message of another
// kind leaves a nil field behind, a part was forgotten, a type is none that has an encoding, a part is longer than any
// decoder reads. The checks of this file find that before anything is encoded or signed, so that it is an error: no panic,
// and no message that nobody can read.

var (
	errIncomplete = errors.New("mls: a part is missing")
	errNoEncoding = errors.New("mls: a type has no encoding")
	errOversized  = errors.New("mls: a part is longer than anybody reads")
)

// maxExtensionData bounds the data of all extensions of one list but a GroupInfo's, so that what they stand in fits into
// a message.
const maxExtensionData = MaxMessageSize / 2

// fits tells whether no part is longer than max.
func fits(max int, parts ...[]byte) bool {
	for _, p := range parts {
		if len(p) > max {
			return false
		}
	}
	return true
}

// CheckForm tells whether p can be encoded and read by others: that it is of a kind that MLS knows, and that no part is
// missing or too long.
func CheckForm(p Proposal) error {
	switch p := p.(type) {
	case *Add:
		if p == nil {
			return errIncomplete
		}
		return p.KeyPackage.checkForm()
	case *Update:
		if p == nil {
			return errIncomplete
		}
		return p.LeafNode.checkForm()
	case *Remove:
		return present(p)
	case *PreSharedKey:
		if p == nil {
			return errIncomplete
		}
		return p.PSK.checkForm()
	case *ReInit:
		if p == nil {
			return errIncomplete
		}
		if !fits(maxSmall, p.GroupID) {
			return errOversized
		}
		return p.Extensions.checkForm()
	case *ExternalInit:
		if p != nil && !fits(maxSmall, p.KEMOutput) {
			return errOversized
		}
		return present(p)
	case *GroupContextExtensions:
		if p == nil {
			return errIncomplete
		}
		return p.Extensions.checkForm()
	case nil:
		return errIncomplete
	}
	return errNoEncoding
}

func present[T any](p *T) error {
	if p == nil {
		return errIncomplete
	}
	return nil
}

func (c *Credential) checkForm() error {
	if c.Type != CredentialBasic && c.Type != CredentialX509 {
		return errNoEncoding
	}
	if !fits(maxSmall, c.Identity) || len(c.Certificates) > maxChain || !fits(maxSmall, c.Certificates...) {
		return errOversized
	}
	return nil
}

func (c *Capabilities) checkForm() error {
	if max(len(c.Versions), len(c.CipherSuites), len(c.Extensions), len(c.Proposals), len(c.Credentials)) > maxCodes {
		return errOversized
	}
	return nil
}

func (e Extensions) checkForm() error {
	n := 0
	for i := range e {
		n += len(e[i].Data)
	}
	if len(e) > maxExtensions || n > maxExtensionData {
		return errOversized
	}
	return nil
}

func (l *LeafNode) checkForm() error {
	if l == nil {
		return errIncomplete
	}
	if !fits(maxSmall, l.EncryptionKey, l.SignatureKey, l.ParentHash, l.Signature) {
		return errOversized
	}
	if err := l.Credential.checkForm(); err != nil {
		return err
	}
	if err := l.Capabilities.checkForm(); err != nil {
		return err
	}
	if l.Source < LeafFromKeyPackage || l.Source > LeafFromCommit {
		return errLeafSource
	}
	return l.Extensions.checkForm()
}

func (k *KeyPackage) checkForm() error {
	if k == nil {
		return errIncomplete
	}
	if !fits(maxSmall, k.InitKey, k.Signature) {
		return errOversized
	}
	if err := k.LeafNode.checkForm(); err != nil {
		return err
	}
	return k.Extensions.checkForm()
}

func (p *PreSharedKeyID) checkForm() error {
	if p.Type != PSKExternal && p.Type != PSKResumption {
		return errNoEncoding
	}
	if p.Type == PSKResumption && (p.Usage < ResumptionApplication || p.Usage > ResumptionBranch) {
		return errNoEncoding
	}
	if !fits(maxSmall, p.ID, p.GroupID, p.Nonce) {
		return errOversized
	}
	return nil
}

func (p *UpdatePath) checkForm() error {
	if p == nil {
		return errIncomplete
	}
	return p.LeafNode.checkForm()
}

func (c *Commit) checkForm() error {
	if c == nil {
		return errIncomplete
	}
	if len(c.Proposals) > maxList {
		return errOversized
	}
	for i := range c.Proposals {
		if c.Proposals[i].Proposal == nil {
			continue
		}
		if err := CheckForm(c.Proposals[i].Proposal); err != nil {
			return err
		}
	}
	if c.Path == nil {
		return nil
	}
	return c.Path.checkForm()
}

func (c *FramedContent) checkForm() error {
	if !fits(maxSmall, c.GroupID) || !fits(maxOpaque, c.AuthenticatedData, c.ApplicationData) {
		return errOversized
	}
	switch c.ContentType {
	case ContentApplication:
		return nil
	case ContentProposal:
		return CheckForm(c.Proposal)
	case ContentCommit:
		return c.Commit.checkForm()
	}
	return errNoEncoding
}

func (g *GroupInfo) checkForm() error {
	if g == nil {
		return errIncomplete
	}
	if !fits(maxSmall, g.ConfirmationTag, g.Signature) {
		return errOversized
	}
	return g.GroupContext.checkForm()
}

func (c *GroupContext) checkForm() error {
	if c == nil {
		return errIncomplete
	}
	if !fits(maxSmall, c.GroupID, c.TreeHash, c.ConfirmedTranscriptHash) {
		return errOversized
	}
	return c.Extensions.checkForm()
}
