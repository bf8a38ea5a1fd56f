package mls

import "errors"

// What was decoded can be encoded. What an application puts together need not: a message of another kind leaves a nil
// field behind, a part was forgotten, a type is none that has an encoding. The checks of this file find that before
// anything is encoded or signed, so that it is an error and no panic.

var (
	errIncomplete = errors.New("mls: a part is missing")
	errNoEncoding = errors.New("mls: a type has no encoding")
)

// CheckForm tells whether p can be encoded: that it is of a kind that MLS knows, and that no part is missing.
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
		return present(p)
	case *ExternalInit:
		return present(p)
	case *GroupContextExtensions:
		return present(p)
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
	return nil
}

func (l *LeafNode) checkForm() error {
	if l == nil {
		return errIncomplete
	}
	return l.Credential.checkForm()
}

func (k *KeyPackage) checkForm() error {
	if k == nil {
		return errIncomplete
	}
	return k.LeafNode.checkForm()
}

func (p *PreSharedKeyID) checkForm() error {
	if p.Type != PSKExternal && p.Type != PSKResumption {
		return errNoEncoding
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
	if g == nil || g.GroupContext == nil {
		return errIncomplete
	}
	return nil
}
