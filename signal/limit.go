package signal

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"conclave"
)

// Limits of what messages carry, beyond the size of the frame.
const (
	MaxStatement = 2 << 10 // a device statement, encoded
	MaxSignature = 256
	MaxFacts     = 32
	TicketSize   = 16  // octets of chance
	MaxText      = 256 // bytes of a fact's value or of a program's name
	MaxProposal  = 4 << 10
	// MaxCredential is RFC 8839's limit for an ICE ufrag and password.
	MaxCredential = 256
	MaxAssertion  = 8 << 10
	MaxGroup      = 100 // legs that are let in at once
	MaxReason     = 200 // bytes of an exception's reason
	// MaxExceptionMinutes: what is needed longer is a matter for the policy.
	MaxExceptionMinutes = 60
	MaxSealed           = 4 << 10 // what is sealed to the investigation key
)

var (
	errSize  = errors.New("a field is too long")
	errShape = errors.New("a field has no such form")
)

func (m *Hello) check() error {
	if len(m.Statement) > MaxStatement || len(m.Signature) > MaxSignature ||
		long(m.Client.Kind) || long(m.Client.Name) || long(m.Client.Version) || long(m.Client.Agent) {
		return errSize
	}
	if m.Resume != nil && len(m.Resume.Ticket) > TicketSize {
		return errSize
	}
	return checkFacts(m.Facts)
}

func (m *Join) check() error {
	if len(m.Assertion) > MaxAssertion || len(m.Fingerprint) != 0 && len(m.Fingerprint) != 32 {
		return errSize
	}
	return checkFacts(m.Facts)
}

func (m *Restate) check() error {
	if len(m.Statement) == 0 || len(m.Statement) > MaxStatement {
		return errSize
	}
	return nil
}

func (m *Facts) check() error { return checkFacts(m.Facts) }

func (m *Mission) check() error { return checkFacts(m.Facts) }

func (m *Decide) check() error {
	if len(m.Legs) > MaxGroup {
		return errSize
	}
	return nil
}

func (m *Except) check() error {
	if len(m.Reason) == 0 || len(m.Reason) > MaxReason || !utf8.ValidString(m.Reason) || strings.ContainsFunc(m.Reason, unicode.IsControl) {
		return errShape
	}
	if m.Minutes < 1 || m.Minutes > MaxExceptionMinutes {
		return errShape
	}
	return nil
}

func (m *Preside) check() error {
	if !slices.Contains(PresideActs, m.Act) || (m.Act == "offer") == (m.Leg == conclave.LegID{}) {
		return errShape
	}
	return nil
}

func (m *Probe) check() error {
	if len(m.Fingerprint) != 32 || len(m.Ufrag) > 256 {
		return errShape
	}
	return nil
}

func (m *Consistency) check() error {
	if m.From == 0 || m.From > m.To {
		return errShape
	}
	return nil
}

func (m *Ledger) check() error {
	if len(m.Sealed) == 0 || len(m.Sealed) > MaxSealed {
		return errSize
	}
	return nil
}

func (m *Mark) check() error {
	if len(m.Commitment) != 32 {
		return errShape
	}
	if len(m.Sealed) == 0 || len(m.Sealed) > MaxSealed {
		return errSize
	}
	return nil
}

func (m *Ring) check() error {
	if len(m.Person) == 0 || len(m.Person) > 128 {
		return errSize
	}
	return nil
}

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
