package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"conclave/pass"
)

// withdrawnFile holds the root's list of withdrawn keys, encoded: not secret.
const withdrawnFile = "withdrawn"

// Withdrawn returns the root's list of withdrawn keys, encoded; nil if nothing was ever withdrawn.
func (o *Organisation) Withdrawn() []byte { return o.withdrawn }

// KeyInfo is what the administrator is told of a granted key.
type KeyInfo struct {
	Role      pass.Role
	ID        string // 16 hexadecimal digits
	NotBefore time.Time
	NotAfter  time.Time
	InUse     bool // it is this server's working key, not one of before
	Withdrawn bool
}

// Keys lists the grants in dir.
func Keys(dir string, now time.Time) ([]KeyInfo, error) {
	o, err := readOrganisation(dir)
	if err != nil {
		return nil, err
	}
	if err := o.readAll(dir); err != nil {
		return nil, err
	}
	own, err := o.granted()
	if err != nil {
		return nil, err
	}
	gone, _, err := o.withdrawnKeys()
	if err != nil {
		return nil, err
	}
	var out []KeyInfo
	for _, b := range o.Grants {
		g, err := pass.ParseGrant(b)
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		id := pass.KeyIDOf(g.Key)
		out = append(out, KeyInfo{Role: g.Role, ID: hex.EncodeToString(id[:]), NotBefore: g.NotBefore, NotAfter: g.NotAfter,
			InUse:     g.Role == pass.RoleInvestigation || slices.ContainsFunc(own, func(mine pass.Grant) bool { return mine.Role == g.Role && slices.Equal(mine.Key, g.Key) }),
			Withdrawn: slices.Contains(gone, pass.KeyHashOf(g.Key))})
	}
	return out, nil
}

// granted returns the keys that the root is to grant now, without times.
func (o *Organisation) granted() ([]pass.Grant, error) {
	point, err := o.removal.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	out := []pass.Grant{
		{Role: pass.RoleEnrolment, Key: o.enrolment.Public().(ed25519.PublicKey)},
		{Role: pass.RoleAdmission, Key: o.admission.Public().(ed25519.PublicKey)},
		{Role: pass.RoleRemoval, Key: point},
		{Role: pass.RoleLog, Key: o.log.Public().(ed25519.PublicKey)},
	}
	return out, nil
}

// former returns the grants of keys that are ours no more but still good: what they signed has not run out everywhere.
func (o *Organisation) former(own []pass.Grant, now time.Time) ([][]byte, error) {
	gone, _, err := o.withdrawnKeys()
	if err != nil {
		return nil, err
	}
	var kept [][]byte
	for _, b := range o.Grants {
		g, err := pass.ParseGrant(b)
		if err != nil || !now.Before(g.NotAfter) || g.Role == pass.RoleInvestigation ||
			slices.ContainsFunc(own, func(mine pass.Grant) bool { return slices.Equal(mine.Key, g.Key) }) ||
			slices.Contains(gone, pass.KeyHashOf(g.Key)) {
			continue
		}
		kept = append(kept, b)
	}
	// The newest of before are enough: one key was in use at a time.
	return kept[:min(len(kept), pass.MaxGrants-len(own))], nil
}

// readWithdrawn reads the list of withdrawn keys, if there is one.
func (o *Organisation) readWithdrawn(dir string) (err error) {
	o.withdrawn, err = os.ReadFile(filepath.Join(dir, withdrawnFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// readAll reads everything in dir and verifies nothing.
func (o *Organisation) readAll(dir string) error {
	return errors.Join(o.readKeys(dir), o.readGrants(dir), o.readWithdrawn(dir), o.readInvestigation(dir, time.Time{})) // also what has run out
}

// withdrawnKeys returns what the list in force names, and its counter.
func (o *Organisation) withdrawnKeys() ([]pass.KeyHash, uint64, error) {
	if o.withdrawn == nil {
		return nil, 0, nil
	}
	w, err := pass.ParseWithdrawal(o.withdrawn)
	if err != nil {
		return nil, 0, fmt.Errorf("identity: the list of withdrawn keys is damaged: put it back from its backup: %w", err)
	}
	return w.Keys, w.Counter, nil
}

// withRoot reads all keys in dir and the root key in rootFile, which must be the organisation's.
func withRoot(dir, rootFile string) (*Organisation, ed25519.PrivateKey, error) {
	o, err := readOrganisation(dir)
	if err != nil {
		return nil, nil, err
	}
	root, err := readKey[ed25519.PrivateKey](rootFile)
	if err != nil {
		return nil, nil, err
	}
	if !o.Root.Equal(root.Public()) {
		return nil, nil, fmt.Errorf("identity: %s is not the root key of %s", rootFile, o.ID)
	}
	return o, root, o.readAll(dir)
}

// Withdraw has the root withdraw the working key of a role, and puts a fresh one in its place: what the old one signed is
// good for nothing from the moment at which a client learns of it. Only the roles of enrolment, admission, removal and log
// have keys that can be lost with the server.
func Withdraw(dir, rootFile string, role pass.Role, rand io.Reader, now time.Time) error {
	o, root, err := withRoot(dir, rootFile)
	if err != nil {
		return err
	}
	own, err := o.granted()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(own, func(g pass.Grant) bool { return g.Role == role })
	if i < 0 || role == pass.RoleInvestigation {
		return fmt.Errorf("identity: there is no %s key to be withdrawn", role)
	}
	keys, counter, err := o.withdrawnKeys()
	if err != nil {
		return err
	}
	o.withdrawn, err = pass.SignWithdrawal(root, &pass.Withdrawal{Organisation: o.ID, Counter: counter + 1, Time: now,
		Keys: append(o.stillGranted(keys, now), pass.KeyHashOf(own[i].Key))})
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if err := o.replace(dir, role, rand); err != nil {
		return err
	}
	if err := o.writeGrants(dir, root, now); err != nil {
		return err
	}
	return writeNew(filepath.Join(dir, withdrawnFile), o.withdrawn, 0o644)
}

// stillGranted drops withdrawn keys whose grants have run out: they are good for nothing anyway.
func (o *Organisation) stillGranted(keys []pass.KeyHash, now time.Time) []pass.KeyHash {
	var oldest []pass.KeyHash
	for _, k := range keys {
		if len(keys) < pass.MaxWithdrawn || slices.ContainsFunc(o.Grants, func(b []byte) bool {
			g, err := pass.ParseGrant(b)
			return err == nil && now.Before(g.NotAfter) && pass.KeyHashOf(g.Key) == k
		}) {
			oldest = append(oldest, k)
		}
	}
	return oldest
}

// replace draws a fresh working key for a role and writes it.
func (o *Organisation) replace(dir string, role pass.Role, rand io.Reader) error {
	if role == pass.RoleRemoval {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand)
		if err != nil {
			return fmt.Errorf("identity: draw a key: %w", err)
		}
		o.removal = key
		return writeKey(filepath.Join(dir, removalFile), key)
	}
	var seed [ed25519.SeedSize]byte
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return fmt.Errorf("identity: draw a key: %w", err)
	}
	key := ed25519.NewKeyFromSeed(seed[:])
	switch role {
	case pass.RoleEnrolment:
		o.enrolment = key
		return writeKey(filepath.Join(dir, enrolmentFile), key)
	case pass.RoleAdmission:
		o.admission = key
		return writeKey(filepath.Join(dir, admissionFile), key)
	case pass.RoleLog:
		o.log = key
		return writeKey(filepath.Join(dir, logFile), key)
	}
	return fmt.Errorf("identity: there is no %s key to be replaced", role)
}
