package identity

import (
	"crypto/ed25519"
	"time"
)

func ed(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
}

// forge replaces the grants by ones that another root signed.
func forge(dir string) error {
	o, err := readOrganisation(dir)
	if err != nil {
		return err
	}
	if err := o.readKeys(dir); err != nil {
		return err
	}
	return o.writeGrants(dir, ed(9), now.Add(-time.Hour))
}
