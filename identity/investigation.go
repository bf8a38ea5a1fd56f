package identity

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"conclave/pass"
)

// The investigation key: what legs seal their speech ledgers and the keys of their marks to. Its private half exists in shares
// alone, with their holders; the folder has the public half, the root's grant for it, and the key by which marks are
// found in time.
const (
	investigationFile  = "investigation.pub"   // the HPKE public key (package escrow): not secret
	investigationGrant = "investigation.grant" // PEM, of type grantBlock: not secret
	syncFile           = "sync"                // 32 bytes; all members' clients learn it, and nobody else need
	syncSize           = 32
)

// Investigation is what a leg is told of the investigation key.
type Investigation struct {
	Key  []byte // the public key
	Sync []byte
}

// Investigation returns the investigation key, nil if the organisation has none. The caller must not change it.
func (o *Organisation) Investigation() *Investigation { return o.investigation }

// GrantInvestigation puts an investigation key in force, in place of an earlier one: it signs the grant with the root key in
// rootFile, from now on for a year, and writes what the server needs into dir. sync is kept where there is one: marks
// of before are found by it.
func GrantInvestigation(dir, rootFile string, public, sync []byte, now time.Time) error {
	o, err := readOrganisation(dir)
	if err != nil {
		return err
	}
	root, err := readKey[ed25519.PrivateKey](rootFile)
	if err != nil {
		return err
	}
	if !o.Root.Equal(root.Public()) {
		return fmt.Errorf("identity: %s is not the root key of %s", rootFile, o.ID)
	}
	if len(sync) != syncSize {
		return errors.New("identity: a sync key has 32 bytes")
	}
	sum := sha256.Sum256(public)
	b, err := pass.SignGrant(root, &pass.Grant{Organisation: o.ID, Role: pass.RoleInvestigation, Key: sum[:], NotBefore: now, NotAfter: now.Add(grantLife)})
	if err != nil {
		return fmt.Errorf("identity: sign the grant for %s: %w", pass.RoleInvestigation, err)
	}
	if _, err := os.Stat(filepath.Join(dir, syncFile)); errors.Is(err, fs.ErrNotExist) {
		if err := writeNew(filepath.Join(dir, syncFile), sync, 0o600); err != nil {
			return err
		}
	}
	if err := writeNew(filepath.Join(dir, investigationFile), public, 0o644); err != nil {
		return err
	}
	grant := pem.EncodeToMemory(&pem.Block{Type: grantBlock, Headers: map[string]string{"Role": pass.RoleInvestigation.String()}, Bytes: b})
	// Last: without it the key is not in force.
	return writeNew(filepath.Join(dir, investigationGrant), grant, 0o644)
}

// readInvestigation reads the investigation key, if there is one, and adds its grant to the others.
func (o *Organisation) readInvestigation(dir string, now time.Time) error {
	text, err := os.ReadFile(filepath.Join(dir, investigationGrant))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	public, err := os.ReadFile(filepath.Join(dir, investigationFile))
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	sync, err := os.ReadFile(filepath.Join(dir, syncFile))
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	block, _ := pem.Decode(text)
	sum := sha256.Sum256(public)
	if block == nil || block.Type != grantBlock || len(sync) != syncSize {
		return fmt.Errorf("identity: %s or %s in %s is damaged: put it back from its backup", investigationGrant, syncFile, dir)
	}
	g, err := pass.ParseGrant(block.Bytes)
	if err != nil || g.Role != pass.RoleInvestigation || !slices.Equal(g.Key, sum[:]) {
		return fmt.Errorf("identity: %s in %s is not of the key in %s", investigationGrant, dir, investigationFile)
	}
	if !now.Before(g.NotAfter) {
		return fmt.Errorf("identity: the grant of the investigation key has run out: sign it anew with the root key")
	}
	o.Grants = append(o.Grants, block.Bytes)
	o.investigation = &Investigation{Key: public, Sync: sync}
	return nil
}
