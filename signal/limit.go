package signal

import (
	"errors"
	"slices"
	"strings"

	"conclave"
)

// Limits of what messages carry, beyond the size of the frame.
const (
	MaxStatement = 2 << 10 // a device statement, encoded
	MaxSignature = 256
	MaxFacts     = 32
	MaxText      = 256 // bytes of a fact's value or of a program's name
	MaxProposal  = 4 << 10
	// MaxCredential is RFC 8839's limit for an ICE ufrag and password.
	MaxCredential = 256
)

var (
	errSize  = errors.New("a field is too long")
	errShape = errors.New("a field has no such form")
)

func (m *Hello) check() error {
	if len(m.Statement) > MaxStatement || len(m.Signature) > MaxSignature ||
		long(m.Client.Kind) || long(m.Client.Name) || long(m.Client.Version) {
		return errSize
	}
	return checkFacts(m.Facts)
}

func (m *Join) check() error { return checkFacts(m.Facts) }

func (m *Enter) check() error {
	if len(m.GroupInfo) == 0 || (len(m.Commit) == 0) == (len(m.Tree) == 0) {
		return errShape
	}
	return nil
}

func (m *Commit) check() error {
	if len(m.Message) == 0 {
		return errShape
	}
	return nil
}

func (m *Proposal) check() error {
	if len(m.Message) == 0 || len(m.Message) > MaxProposal {
		return errSize
	}
	return nil
}

func (m *Media) check() error {
	// RFC 8839, Section 5.4: at least 4 and 22 characters.
	if len(m.Ufrag) < 4 || len(m.Ufrag) > MaxCredential || len(m.Password) < 22 || len(m.Password) > MaxCredential ||
		len(m.Signature) > MaxSignature {
		return errSize
	}
	if len(m.Fingerprint) != 32 || len(m.ServerFingerprint) != 32 || m.Opus < 64 || m.Opus > 127 || m.VP8 < 35 || m.VP8 > 127 {
		return errShape
	}
	return nil
}

func (m *Remove) check() error {
	if !slices.Contains(RemoveReasons, m.Reason) {
		return errShape
	}
	return nil
}

func (m *Leave) check() error {
	if len(m.Proposal) > MaxProposal {
		return errSize
	}
	return nil
}

func long(s string) bool { return len(s) > MaxText || strings.ContainsRune(s, 0) }

func checkFacts(facts []conclave.Fact) error {
	if len(facts) > MaxFacts {
		return errSize
	}
	for _, f := range facts {
		if len(f.Name) > 64 || long(f.Value) {
			return errSize
		}
		if f.Proven {
			return errShape // an endpoint claims; only we prove
		}
	}
	return nil
}
