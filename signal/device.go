package signal

import (
	"crypto/sha256"

	"conclave"
)

// What a device signs about its person's devices, over HTTP.

// DevicesContent is what a leaf key signs to be told its person's devices, over a nonce of POST /v1/nonce.
func DevicesContent(nonce, statement []byte, host string) []byte {
	return content("Conclave devices 1", nonce, statement, []byte(host))
}

// RevokeContent is what a leaf key signs to have a device of its person taken out of use; TouchOf it is what the
// device's passkey is touched for, where it has one.
func RevokeContent(nonce, statement []byte, device conclave.DeviceID, host string) []byte {
	return content("Conclave revoke 1", nonce, statement, device[:], []byte(host))
}

// LinkContent is what a leaf key signs to have a link made for a further device of its person; TouchOf it is what the
// device's passkey is touched for.
func LinkContent(nonce, statement []byte, host string) []byte {
	return content("Conclave link 1", nonce, statement, []byte(host))
}

// TouchOf is the challenge of an assertion over a content of this package.
func TouchOf(content []byte) [sha256.Size]byte { return sha256.Sum256(content) }
