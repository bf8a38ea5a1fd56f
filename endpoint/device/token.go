package device

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"conclave/endpoint"
	"conclave/mls"
)

// Token is a P-256 key that stays in hardware: a smart card, a TPM, a security module. Its methods have the shape of a PKCS#11
// session with one key (PKCS #11 v3.1, Section 6.3): C_GetAttributeValue for CKA_EC_POINT and CKA_VALUE of its certificates,
// C_Sign with CKM_ECDSA. It may be used by several goroutines.
type Token interface {
	// Public returns the public key, an uncompressed point of 65 bytes.
	Public() []byte
	// Sign signs a SHA-256 digest and returns the signature as CKM_ECDSA does: r and s of 32 bytes each, side by side.
	Sign(digest [sha256.Size]byte) ([]byte, error)
	// Chain returns certificates in DER, the key's own first; empty if it has none.
	Chain() [][]byte
}

// ErrToken means that a token is not the one that a device was enrolled with.
var ErrToken = errors.New("device: this is not the token that the device was enrolled with")

// tokenSigner is a Token as the endpoint wants it.
type tokenSigner struct{ token Token }

func (s tokenSigner) Public() []byte { return s.token.Public() }

func (s tokenSigner) Sign(message []byte) ([]byte, error) {
	raw, err := s.token.Sign(sha256.Sum256(message))
	if err != nil {
		return nil, fmt.Errorf("device: sign with the token: %w", err)
	}
	return endpoint.SignatureFromRaw(raw)
}

// EnrolToken is Enrol for a key in hardware: the administrator's link says that it is a managed device, and the token's
// certificate vouches for the key.
func EnrolToken(ctx context.Context, client *http.Client, link Link, deviceName string, token Token, now time.Time) (*Device, error) {
	d := &Device{signer: tokenSigner{token}}
	if err := d.enrol(ctx, client, link, deviceName, token.Chain(), now); err != nil {
		return nil, err
	}
	return d, nil
}

// LoadToken reads the file of a device whose key is in token.
func LoadToken(path string, token Token) (*Device, error) {
	f, err := read(path)
	if err != nil {
		return nil, err
	}
	if len(f.Key) != 0 {
		return nil, fmt.Errorf("%w: %s has a key of its own", ErrFile, path)
	}
	d, err := f.device(path, tokenSigner{token})
	if err == nil && !bytes.Equal(f.TokenKey, token.Public()) {
		return nil, ErrToken
	}
	return d, err
}

var _ mls.Signer = tokenSigner{}
