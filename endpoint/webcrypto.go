package endpoint

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// WebCrypto writes an ECDSA signature as r and s side by side (IEEE P1363); MLS, and all else here, in DER.

const p256Scalar = 32 // bytes

var errRaw = errors.New("endpoint: signature is not one of P-256")

// SignatureFromRaw turns WebCrypto's form of a P-256 signature into DER.
func SignatureFromRaw(raw []byte) ([]byte, error) {
	if len(raw) != 2*p256Scalar {
		return nil, errRaw
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addInteger(b, raw[:p256Scalar])
		addInteger(b, raw[p256Scalar:])
	})
	return b.Bytes()
}

// addInteger adds an unsigned big-endian number as the shortest INTEGER.
func addInteger(b *cryptobyte.Builder, n []byte) {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) {
		if n[0] >= 0x80 {
			b.AddUint8(0)
		}
		b.AddBytes(n)
	})
}

// RawFromSignature turns a P-256 signature in DER into WebCrypto's form. Anything but the one proper encoding is an error.
func RawFromSignature(der []byte) ([]byte, error) {
	input := cryptobyte.String(der)
	var inner cryptobyte.String
	raw := make([]byte, 2*p256Scalar)
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !input.Empty() ||
		!readInteger(&inner, raw[:p256Scalar]) || !readInteger(&inner, raw[p256Scalar:]) || !inner.Empty() {
		return nil, errRaw
	}
	return raw, nil
}

// readInteger reads an unsigned number in its shortest form. ReadASN1Integer does the same, and brings big numbers with it: in
// the browser's core they are a thirtieth of all that is loaded.
func readInteger(s *cryptobyte.String, out []byte) bool {
	var n cryptobyte.String
	if !s.ReadASN1(&n, asn1.INTEGER) || n.Empty() || n[0] >= 0x80 {
		return false
	}
	if len(n) > 1 && n[0] == 0 { // for the sign of what follows, and for nothing else
		if n = n[1:]; n[0] < 0x80 {
			return false
		}
	}
	if len(n) > len(out) {
		return false
	}
	copy(out[len(out)-len(n):], n)
	return true
}
