package mls

import (
	"errors"
	"fmt"
	"time"
)

// Occasion is why a Verifier is asked about a leaf.
type Occasion uint8

// The occasions on which a leaf is verified (Section 5.3.1).
const (
	OccasionKeyPackage     Occasion = iota + 1 // a key package outside of any group
	OccasionAdd                                // an Add proposal, when received and when committed
	OccasionUpdate                             // an Update proposal, when received and when committed
	OccasionCommit                             // the path of a member's commit
	OccasionExternalCommit                     // the path of an external commit: somebody joins, or comes back
	OccasionTree                               // a tree that comes with a GroupInfo
)

// LeafCheck is a question to a Verifier.
type LeafCheck struct {
	Occasion Occasion
	Leaf     *LeafNode
	// Index is where the leaf stands or will stand; 0 for OccasionKeyPackage and for an Add that is not committed yet.
	Index LeafIndex
	// Group is the group's context with the extensions that hold for the leaf; nil for OccasionKeyPackage. Within a
	// commit its tree hash and transcript hash are not settled yet.
	Group *GroupContext
	// Predecessor is the leaf that this one replaces, for updates, members' commits, and external commits that remove
	// the joiner's old leaf; else nil. The new leaf must be a valid successor: it stands for the same client, which is
	// made sure of before the Verifier is asked (see SuccessorVerifier), and is good in whatever else the Verifier knows.
	Predecessor *LeafNode
	Now         time.Time
}

// Verifier is the authentication service of Section 5.3.1: it decides who may hold a leaf. There is none that accepts
// everything. The signatures of leaves are verified elsewhere.
type Verifier interface {
	// VerifyLeaf returns an error unless the credential belongs to the leaf's signature key, is good now, and may be in
	// the group. It is asked for every leaf on every Occasion. It must not write to the leaf, and may keep it.
	VerifyLeaf(LeafCheck) error
	// VerifyExternalSender is asked for each external sender that enters a group's context, and for all when joining.
	VerifyExternalSender(sender *ExternalSender, group *GroupContext, now time.Time) error
	// Client names the client that the leaf stands for. No two members of a group may have one name. The empty string
	// leaves it to signature keys, which are unique in any case. It must be cheap: it may be asked for each member.
	Client(leaf *LeafNode) string
}

// SuccessorVerifier is a Verifier that lets somebody take the place of another client. With any other, a leaf replaces
// only one of the same client: of the same name, or, where one of them has no name, of the same signature key or
// credential. Else whoever is let in at all could remove any member by an external commit.
type SuccessorVerifier interface {
	Verifier
	// VerifySuccessor returns an error unless the leaf may take the place of its Predecessor, which is another client's.
	// VerifyLeaf is asked as well.
	VerifySuccessor(LeafCheck) error
}

// DefaultMaxLifetime is the longest total lifetime of a key package's leaf unless Rules says otherwise.
const DefaultMaxLifetime = 90 * 24 * time.Hour

// Config is what Rules needs to know.
type Config struct {
	Verifier Verifier // must be set
	// Signatures verifies signatures; nil is VerifyEach.
	Signatures BatchVerifier
	// MaxLifetime is the longest total lifetime of a leaf that comes from a key package (Section 7.2). 0 is
	// DefaultMaxLifetime; a negative one is no limit.
	MaxLifetime time.Duration
	// TolerateExpired accepts leaves of a tree whose lifetime is over or not begun, which the RFC permits when joining;
	// it recommends against it.
	TolerateExpired bool
}

// Rules are the validation rules of RFC 9420 together with the application's Verifier. They hold no state and can be
// shared by groups and goroutines, if the Verifier can.
type Rules struct {
	cfg Config
}

// NewRules panics without a Verifier: nothing in this package works without one.
func NewRules(cfg Config) *Rules {
	if cfg.Verifier == nil {
		panic("mls: rules without a verifier")
	}
	if cfg.Signatures == nil {
		cfg.Signatures = VerifyEach
	}
	if cfg.MaxLifetime == 0 {
		cfg.MaxLifetime = DefaultMaxLifetime
	}
	return &Rules{cfg}
}

// VerifySignatures verifies checks with the configured BatchVerifier.
func (r *Rules) VerifySignatures(checks ...SignatureCheck) error {
	if len(checks) == 0 {
		return nil
	}
	return r.cfg.Signatures(checks)
}

var (
	errLeafSource   = errors.New("mls: leaf node has the wrong source")
	errLifetime     = errors.New("mls: leaf node is outside of its lifetime")
	errLongLifetime = errors.New("mls: lifetime of leaf node is too long")
)

// checkLifetime applies Section 7.2 to a leaf that comes from a key package.
func (r *Rules) checkLifetime(l *LeafNode, now time.Time) error {
	if l.Source != LeafFromKeyPackage {
		return nil
	}
	if l.Lifetime.NotAfter < l.Lifetime.NotBefore {
		return errLifetime
	}
	if r.cfg.MaxLifetime > 0 && l.Lifetime.NotAfter-l.Lifetime.NotBefore > uint64(r.cfg.MaxLifetime/time.Second) {
		return errLongLifetime
	}
	if !l.Lifetime.Contains(now) {
		return errLifetime
	}
	return nil
}

// checkTreeLifetime is checkLifetime for a leaf of a tree.
func (r *Rules) checkTreeLifetime(l *LeafNode, now time.Time) error {
	err := r.checkLifetime(l, now)
	if r.cfg.TolerateExpired && errors.Is(err, errLifetime) && l.Lifetime.NotAfter >= l.Lifetime.NotBefore {
		return nil
	}
	return err
}

// checkKeys applies what Section 5.1.1 asks of a leaf's keys.
func checkKeys(suite CipherSuite, l *LeafNode) error {
	if err := suite.CheckEncryptionKey(l.EncryptionKey); err != nil {
		return err
	}
	return suite.CheckSignatureKey(l.SignatureKey)
}

// CheckKeyPackage validates a key package on its own (Section 10.1): form, keys, lifetime, signatures, credential.
func (r *Rules) CheckKeyPackage(k *KeyPackage, now time.Time) error {
	if err := r.checkKeyPackage(k, now); err != nil {
		return err
	}
	if err := r.VerifySignatures(k.SignatureChecks()...); err != nil {
		return fmt.Errorf("mls: key package: %w", err)
	}
	return r.verifyLeaf(LeafCheck{Occasion: OccasionKeyPackage, Leaf: k.LeafNode, Now: now})
}

// checkKeyPackage is CheckKeyPackage less signatures and credential.
func (r *Rules) checkKeyPackage(k *KeyPackage, now time.Time) error {
	if err := k.checkForm(); err != nil {
		return err
	}
	if k.Version != MLS10 {
		return errors.New("mls: key package has another protocol version")
	}
	if !k.CipherSuite.Supported() {
		return errSuite
	}
	if k.LeafNode.Source != LeafFromKeyPackage {
		return errLeafSource
	}
	if string(k.InitKey) == string(k.LeafNode.EncryptionKey) {
		return errors.New("mls: key package uses one key as init key and encryption key")
	}
	if err := k.CipherSuite.CheckEncryptionKey(k.InitKey); err != nil {
		return err
	}
	if err := checkKeys(k.CipherSuite, k.LeafNode); err != nil {
		return err
	}
	if err := k.LeafNode.CheckCapabilities(); err != nil {
		return err
	}
	if err := k.Extensions.checkUnique(); err != nil {
		return err
	}
	for i := range k.Extensions {
		// GREASE there need not be listed (Section 13.5), and others do not list it.
		if t := k.Extensions[i].Type; !IsGREASE(t) && !k.LeafNode.Capabilities.SupportsExtension(t) {
			return errors.New("mls: key package has an extension that its leaf does not support")
		}
	}
	return r.checkLifetime(k.LeafNode, now)
}

var errSuccessor = errors.New("mls: leaf takes the place of another client")

// checkSuccessor makes sure that a leaf stands for the client of its Predecessor, unless the Verifier lets it be another.
func (r *Rules) checkSuccessor(c LeafCheck) error {
	old := c.Predecessor
	if old == nil {
		return nil
	}
	was, is := r.cfg.Verifier.Client(old), r.cfg.Verifier.Client(c.Leaf)
	if was == is && was != "" {
		return nil
	}
	if (was == "" || is == "") && (string(old.SignatureKey) == string(c.Leaf.SignatureKey) || old.Credential.Equal(&c.Leaf.Credential)) {
		return nil
	}
	v, ok := r.cfg.Verifier.(SuccessorVerifier)
	if !ok {
		return errSuccessor
	}
	if err := v.VerifySuccessor(c); err != nil {
		return fmt.Errorf("%w: %w", errSuccessor, err)
	}
	return nil
}

func (r *Rules) verifyLeaf(c LeafCheck) error {
	if err := r.checkSuccessor(c); err != nil {
		return err
	}
	if err := r.cfg.Verifier.VerifyLeaf(c); err != nil {
		return fmt.Errorf("mls: verify leaf: %w", err)
	}
	return nil
}

// verifyExternalSenders asks the Verifier for those of ctx that old does not list; old may be nil.
func (r *Rules) verifyExternalSenders(old, ctx *GroupContext, now time.Time) error {
	senders, err := ctx.Extensions.ExternalSenders()
	if err != nil {
		return err
	}
	if old != nil {
		before, _ := old.Extensions.Find(ExtensionExternalSenders)
		after, _ := ctx.Extensions.Find(ExtensionExternalSenders)
		if string(before) == string(after) {
			return nil
		}
	}
	for i := range senders {
		if err := ctx.CipherSuite.CheckSignatureKey(senders[i].SignatureKey); err != nil {
			return fmt.Errorf("mls: external sender: %w", err)
		}
		if err := r.cfg.Verifier.VerifyExternalSender(&senders[i], ctx, now); err != nil {
			return fmt.Errorf("mls: verify external sender: %w", err)
		}
	}
	return nil
}

// checkGroup applies what a leaf owes to a group of the given context whose members are those of tree (Section 7.3):
// suite, capabilities, credential types.
func checkGroup(l *LeafNode, ctx *GroupContext, required *RequiredCapabilities) error {
	if err := l.CheckCapabilities(); err != nil {
		return err
	}
	return l.CheckGroupExtensions(ctx.Extensions, required)
}

// checkCredentialTypes makes sure that every member supports the credential type of every other.
func checkCredentialTypes(t *RatchetTree) error {
	var used []CredentialType
	for _, l := range t.Members() {
		if !containsType(used, l.Credential.Type) {
			used = append(used, l.Credential.Type)
		}
	}
	for _, l := range t.Members() {
		for _, c := range used {
			if !l.Capabilities.SupportsCredential(c) {
				return errors.New("mls: member does not support a credential type in use")
			}
		}
	}
	return nil
}

func containsType(list []CredentialType, t CredentialType) bool {
	for _, x := range list {
		if x == t {
			return true
		}
	}
	return false
}
