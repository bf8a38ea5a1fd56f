// Package folder is the audit log, or the device log, as a plain folder: what anybody can copy, keep and verify with nothing else at hand. The
// server writes it (Writer), auditors verify and read it (Verify, Reader).
//
//	checkpoint        the newest signed state of the log
//	cosigned          the newest one that witnesses have signed too
//	checkpoints/N     earlier ones, of N records: one for each hour and each start
//	tile/…            hashes and records, as in C2SP tlog-tiles
//	personal/…        the personal parts of records, one line of JSON each, in files of 256 records
//	organisation      the organisation's id, its root key, the grants that name the log's key, and which log it is
//
// All but the personal parts follows from the records alone. The folder is confidential as a whole; without personal/ it
// holds no person's name, device or network.
package folder

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"conclave"
	"conclave/audit"
	"conclave/merkle"
	"conclave/pass"
)

// The names in the folder.
const (
	checkpointFile   = "checkpoint"
	cosignedFile     = "cosigned"
	keptFolder       = "checkpoints"
	personalFolder   = "personal"
	organisationFile = "organisation"
)

// Organisation says whose log it is and who may sign for it.
type Organisation struct {
	ID     conclave.OrganisationID `json:"id"`
	Root   []byte                  `json:"root"`   // Ed25519
	Grants [][]byte                `json:"grants"` // signed by Root (package pass)
	// Log is which of the organisation's logs it is: empty for the audit log, or Devices.
	Log string `json:"log,omitempty"`
}

// Devices is the device log, whose leaves are those of package pass. It has no personal parts.
const Devices = "devices"

// RootHash is what links and people know the root key by: the first 16 octets of its SHA-256 in unpadded base64url.
func (o *Organisation) RootHash() string {
	sum := sha256.Sum256(o.Root)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// rootIs says whether a root key, or its hash, is the organisation's.
func (o *Organisation) rootIs(root string) bool {
	return root == o.RootHash() || root == base64.StdEncoding.EncodeToString(o.Root)
}

// Origin is the log's name.
func (o *Organisation) Origin() string {
	if o.Log == Devices {
		return merkle.Origin(string(o.ID), Devices)
	}
	return merkle.Origin(string(o.ID), "audit")
}

func (o *Organisation) encode() ([]byte, error) {
	b, err := json.MarshalIndent(o, "", "  ")
	return append(b, '\n'), err
}

func parseOrganisation(b []byte) (*Organisation, error) {
	o := new(Organisation)
	malformed := errors.New("malformed")
	if len(b) > pass.MaxGrants*pass.MaxSize*2 {
		return nil, malformed
	}
	if err := json.Unmarshal(b, o); err != nil || len(o.Root) != ed25519.PublicKeySize || o.ID == "" || o.Log != "" && o.Log != Devices {
		return nil, malformed
	}
	// It is shown before anybody has said that it is the right one: it must not rewrite the screen that it is shown on.
	if strings.ContainsFunc(string(o.ID), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil, malformed
	}
	if again, err := o.encode(); err != nil || !bytes.Equal(again, b) {
		return nil, malformed
	}
	return o, nil
}

// LogKeys returns the log's keys, as the root granted them. That a grant has run out does not matter here: what it signed while
// it held stays signed.
func (o *Organisation) LogKeys() ([]merkle.Key, error) {
	var keys []merkle.Key
	held := false
	for _, b := range o.Grants {
		g, err := pass.ParseGrant(b)
		if err != nil {
			return nil, errors.New("a grant is malformed")
		}
		if g.Role == pass.RoleLog {
			keys = append(keys, merkle.LogKey(o.Origin(), g.Key))
		}
		// It verifies all signatures, and wants a moment at which the other roles are granted too.
		_, err = pass.NewTrust(o.ID, o.Root, o.Grants, g.NotBefore)
		held = held || err == nil
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("the root key has granted no key for logs")
	case !held:
		return nil, errors.New("the grants are not what the root key signed")
	}
	return keys, nil
}

// personalPath returns where the personal parts of bundle n stand.
func personalPath(n uint64) string {
	return personalFolder + strings.TrimPrefix(merkle.BundlePath(n, merkle.TileWidth), "tile/entries")
}

// line is one record's personal part in a file.
type line struct {
	Record audit.Index     `json:"record"`
	Part   json.RawMessage `json:"part"`
}

func (l line) encode() ([]byte, error) {
	b, err := json.Marshal(l)
	return append(b, '\n'), err
}

// parseParts reads a file of personal parts: those of records from first to first+255, in order.
func parseParts(b []byte, first audit.Index) (map[audit.Index][]byte, error) {
	parts := map[audit.Index][]byte{}
	last := first - 1
	for text := range bytes.Lines(b) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("the line behind record %d cannot be read", last)
		}
		if l.Record <= last || l.Record >= first+merkle.TileWidth {
			return nil, fmt.Errorf("the line behind record %d is out of place", last)
		}
		if again, err := l.encode(); err != nil || !bytes.Equal(again, text) {
			return nil, fmt.Errorf("the line of record %d is not as it was written", l.Record)
		}
		parts[l.Record], last = l.Part, l.Record
	}
	return parts, nil
}
