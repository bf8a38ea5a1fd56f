package member

import (
	"crypto/hmac"
	"crypto/hpke"
	"errors"

	"conclave/mls"
)

// epochSecrets are the secrets of one epoch (RFC 9420, Section 8). The
// encryption secret is not among them: the secret tree takes it over.
type epochSecrets struct {
	_             [0]func()
	suite         mls.CipherSuite
	senderData    []byte
	exporter      []byte
	external      []byte
	confirmation  []byte
	membership    []byte
	resumption    []byte
	authenticator []byte
	init          []byte
}

// joinerSecret mixes the init secret of the last epoch with the secret of a
// commit. The caller wipes what it passes and what it gets.
func joinerSecret(suite mls.CipherSuite, initSecret, commitSecret, context []byte) []byte {
	pre := suite.Extract(initSecret, commitSecret)
	defer wipe(pre)
	return suite.ExpandWithLabel(pre, "joiner", context, suite.HashSize())
}

// welcomeSecret is the part of memberSecrets that a new member needs before it
// knows the group context.
func welcomeSecret(suite mls.CipherSuite, joiner, psk []byte) []byte {
	pre := suite.Extract(joiner, psk)
	defer wipe(pre)
	return suite.DeriveSecret(pre, "welcome")
}

// memberSecrets goes from a joiner secret to the secrets of the epoch.
// welcome encrypts the GroupInfo of a Welcome, encryption is the root of the
// secret tree; both are the caller's to wipe.
func memberSecrets(suite mls.CipherSuite, joiner, psk, context []byte) (e *epochSecrets, welcome, encryption []byte) {
	pre := suite.Extract(joiner, psk)
	defer wipe(pre)
	welcome = suite.DeriveSecret(pre, "welcome")
	epoch := suite.ExpandWithLabel(pre, "epoch", context, suite.HashSize())
	defer wipe(epoch)
	e, encryption = deriveEpoch(suite, epoch)
	return e, welcome, encryption
}

// deriveEpoch derives what hangs on an epoch secret (Table 4). The caller
// wipes epoch.
func deriveEpoch(suite mls.CipherSuite, epoch []byte) (e *epochSecrets, encryption []byte) {
	d := func(label string) []byte { return suite.DeriveSecret(epoch, label) }
	return &epochSecrets{
		suite:         suite,
		senderData:    d("sender data"),
		exporter:      d("exporter"),
		external:      d("external"),
		confirmation:  d("confirm"),
		membership:    d("membership"),
		resumption:    d("resumption"),
		authenticator: d("authentication"),
		init:          d("init"),
	}, d("encryption")
}

// confirmationTag is the MAC over the confirmed transcript hash
// (Section 6.1).
func (e *epochSecrets) confirmationTag(confirmedTranscriptHash []byte) []byte {
	return e.suite.MAC(e.confirmation, confirmedTranscriptHash)
}

// confirms tells whether tag is the confirmation tag.
func (e *epochSecrets) confirms(confirmedTranscriptHash, tag []byte) bool {
	return hmac.Equal(e.confirmationTag(confirmedTranscriptHash), tag)
}

// export is MLS-Exporter (Section 8.5). length is in bytes.
func (e *epochSecrets) export(label string, context []byte, length int) ([]byte, error) {
	if length < 0 || length > 255*e.suite.HashSize() {
		return nil, errors.New("member: export: length out of range")
	}
	derived := e.suite.DeriveSecret(e.exporter, label)
	defer wipe(derived)
	return e.suite.ExpandWithLabel(derived, "exported", e.suite.Hash(context), length), nil
}

// externalKey is the key pair that joiners encrypt to (Section 8.3).
func (e *epochSecrets) externalKey() (hpke.PrivateKey, error) {
	return e.suite.DeriveKeyPair(e.external)
}

func (e *epochSecrets) wipe() {
	if e == nil {
		return
	}
	for _, s := range e.list() {
		wipe(*s)
		*s = nil
	}
}
