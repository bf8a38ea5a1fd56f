package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"conclave"
	"conclave/pass"
)

// The files of an organisation's folder. Keys are PKCS#8 in PEM, mode 0600.
const (
	organisationFile = "organisation.json" // id, name, root public key: not secret
	grantsFile       = "grants"            // what the root key signed, PEM blocks of type grantBlock: not secret
	enrolmentFile    = "enrolment.key"     // Ed25519
	admissionFile    = "admission.key"     // Ed25519
	removalFile      = "removal.key"       // P-256
	logFile          = "log.key"           // Ed25519; signs checkpoints of the logs
	// RootFile holds the root key, which signs grants. The server never reads it: it belongs on a medium that is kept
	// under lock, and comes out once a year.
	RootFile = "root.key"

	keyBlock   = "PRIVATE KEY"
	grantBlock = "CONCLAVE GRANT"
)

// grantLife leaves a month of overlap for those who renew the grants each year.
const grantLife = pass.MaxGrantLife

// Organisation is what the server holds of its organisation: public data, and the working keys. It prints as its id.
type Organisation struct {
	ID   conclave.OrganisationID
	Name string
	Root ed25519.PublicKey
	// Grants are the root-signed working keys, encoded (package pass).
	Grants [][]byte
	// Trust verifies what the working keys signed.
	Trust *pass.Trust

	enrolment ed25519.PrivateKey
	admission ed25519.PrivateKey
	removal   *ecdsa.PrivateKey
	log       ed25519.PrivateKey

	investigation *Investigation // nil: none
	withdrawn     []byte         // the root's list of withdrawn keys, encoded; nil: none
}

type organisationJSON struct {
	ID   conclave.OrganisationID `json:"id"`
	Name string                  `json:"name"`
	Root []byte                  `json:"root"`
}

// NewOrganisation makes an organisation in the folder dir, which must not hold one yet: all keys, and grants of the
// working keys from now on for a year. id is by convention the organisation's DNS name; name is shown to people. The root
// key is written to RootFile in dir: the caller tells the administrator to move it away.
func NewOrganisation(dir string, id conclave.OrganisationID, name string, rand io.Reader, now time.Time) (*Organisation, error) {
	if _, err := os.Stat(filepath.Join(dir, organisationFile)); err == nil {
		return nil, fmt.Errorf("identity: %s already holds an organisation", dir)
	}
	if len(name) == 0 || len(name) > maxName {
		return nil, fmt.Errorf("identity: an organisation's name has 1 to %d bytes", maxName)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	var keys [4]ed25519.PrivateKey
	for i := range keys {
		var seed [ed25519.SeedSize]byte
		if _, err := io.ReadFull(rand, seed[:]); err != nil {
			return nil, fmt.Errorf("identity: draw a key: %w", err)
		}
		keys[i] = ed25519.NewKeyFromSeed(seed[:])
	}
	root, enrolment, admission, logKey := keys[0], keys[1], keys[2], keys[3]
	removal, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return nil, fmt.Errorf("identity: draw a key: %w", err)
	}
	for file, key := range map[string]any{RootFile: root, enrolmentFile: enrolment, admissionFile: admission, removalFile: removal, logFile: logKey} {
		if err := writeKey(filepath.Join(dir, file), key); err != nil {
			return nil, err
		}
	}
	o := &Organisation{ID: id, enrolment: enrolment, admission: admission, removal: removal, log: logKey}
	if err := o.writeGrants(dir, root, now); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(organisationJSON{id, name, root.Public().(ed25519.PublicKey)}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	// Last: its presence says that the others are there.
	if err := writeNew(filepath.Join(dir, organisationFile), append(b, '\n'), 0o644); err != nil {
		return nil, err
	}
	return LoadOrganisation(dir, now)
}

// RenewGrants signs the working keys in dir anew, from now on for a year, with the root key in the file rootFile.
func RenewGrants(dir, rootFile string, now time.Time) error {
	o, root, err := withRoot(dir, rootFile)
	if err != nil {
		return err
	}
	if err := o.writeGrants(dir, root, now); err != nil {
		return err
	}
	if o.investigation == nil {
		return nil
	}
	return GrantInvestigation(dir, rootFile, o.investigation.Key, o.investigation.Sync, now)
}

// writeGrants signs the working keys, and keeps the grants of those before them that are still good.
func (o *Organisation) writeGrants(dir string, root ed25519.PrivateKey, now time.Time) error {
	own, err := o.granted()
	if err != nil {
		return err
	}
	var text []byte
	add := func(b []byte, role pass.Role) {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: grantBlock, Headers: map[string]string{"Role": role.String()}, Bytes: b})...)
	}
	for _, g := range own {
		g.Organisation, g.NotBefore, g.NotAfter = o.ID, now, now.Add(grantLife)
		b, err := pass.SignGrant(root, &g)
		if err != nil {
			return fmt.Errorf("identity: sign the grant for %s: %w", g.Role, err)
		}
		add(b, g.Role)
	}
	former, err := o.former(own, now)
	if err != nil {
		return err
	}
	for _, b := range former {
		if g, err := pass.ParseGrant(b); err == nil {
			add(b, g.Role)
		}
	}
	return writeNew(filepath.Join(dir, grantsFile), text, 0o644)
}

// LoadOrganisation reads the organisation in the folder dir and checks that the root key grants each working key its role
// at now. An error says what is missing and what to do.
func LoadOrganisation(dir string, now time.Time) (*Organisation, error) {
	o, err := readOrganisation(dir)
	if err != nil {
		return nil, err
	}
	if err := o.readKeys(dir); err != nil {
		return nil, err
	}
	if err := o.readGrants(dir); err != nil {
		return nil, err
	}
	if err := o.readWithdrawn(dir); err != nil {
		return nil, err
	}
	if err := o.readInvestigation(dir, now); err != nil {
		return nil, err
	}
	if o.Trust, err = pass.NewTrust(o.ID, o.Root, o.Grants, now); err != nil {
		return nil, fmt.Errorf("identity: the grants in %s do not hold: %w; sign them anew with the root key", filepath.Join(dir, grantsFile), err)
	}
	if o.withdrawn != nil {
		if o.Trust, _, err = o.Trust.Without(o.withdrawn, 1, now); err != nil {
			return nil, fmt.Errorf("identity: the list of withdrawn keys does not hold: %w", err)
		}
	}
	return o, o.checkGranted(now)
}

// readGrants reads what the root key signed.
func (o *Organisation) readGrants(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, grantsFile))
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	o.Grants = nil
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil
		}
		if block.Type == grantBlock {
			o.Grants = append(o.Grants, block.Bytes)
		}
	}
}

func readOrganisation(dir string) (*Organisation, error) {
	b, err := os.ReadFile(filepath.Join(dir, organisationFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("identity: there is no organisation in %s: make one with conclaved init", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	var j organisationJSON
	if err := json.Unmarshal(b, &j); err != nil || len(j.Root) != ed25519.PublicKeySize || j.ID == "" {
		return nil, fmt.Errorf("identity: %s in %s is damaged: put it back from its backup", organisationFile, dir)
	}
	return &Organisation{ID: j.ID, Name: j.Name, Root: j.Root}, nil
}

func (o *Organisation) readKeys(dir string) (err error) {
	if o.enrolment, err = readKey[ed25519.PrivateKey](filepath.Join(dir, enrolmentFile)); err != nil {
		return err
	}
	if o.admission, err = readKey[ed25519.PrivateKey](filepath.Join(dir, admissionFile)); err != nil {
		return err
	}
	if o.removal, err = readKey[*ecdsa.PrivateKey](filepath.Join(dir, removalFile)); err != nil {
		return err
	}
	o.log, err = readKey[ed25519.PrivateKey](filepath.Join(dir, logFile))
	return err
}

// checkGranted says whether our own keys are the ones that the root granted: clients would refuse others.
func (o *Organisation) checkGranted(now time.Time) error {
	own, err := o.granted()
	if err != nil {
		return err
	}
	for _, mine := range own {
		if !slices.ContainsFunc(o.Trust.Grants(), func(b []byte) bool {
			g, err := pass.ParseGrant(b)
			return err == nil && g.Role == mine.Role && slices.Equal(g.Key, mine.Key) && !now.Before(g.NotBefore.Add(-pass.MaxSkew)) && now.Before(g.NotAfter)
		}) {
			return fmt.Errorf("identity: no grant in force for the %s key: sign the grants anew with the root key", mine.Role)
		}
	}
	return nil
}

// RootHash returns what stands in links so that a client pins the right root: the first 16 bytes of SHA-256 over the root
// key, in unpadded base64url.
func (o *Organisation) RootHash() string {
	sum := sha256.Sum256(o.Root)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// SignPass signs p with the admission key.
func (o *Organisation) SignPass(p *pass.Pass) ([]byte, error) {
	p.Organisation = o.ID
	return pass.SignPass(o.admission, p)
}

// SignReadiness signs r with the admission key.
func (o *Organisation) SignReadiness(r *pass.Readiness) ([]byte, error) {
	r.Organisation = o.ID
	return pass.SignReadiness(o.admission, r)
}

// LogKey returns the key that signs checkpoints of the audit log and the device log.
func (o *Organisation) LogKey() ed25519.PrivateKey { return o.log }

// RemovalKey returns the key of the groups' external sender.
func (o *Organisation) RemovalKey() *ecdsa.PrivateKey { return o.removal }

// Format implements fmt.Formatter: the keys never print.
func (o *Organisation) Format(f fmt.State, _ rune) { io.WriteString(f, "organisation "+string(o.ID)) }

// LogValue implements slog.LogValuer.
func (o *Organisation) LogValue() slog.Value { return slog.StringValue(string(o.ID)) }

func writeKey(path string, key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return writeNew(path, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), 0o600)
}

func readKey[K any](path string) (K, error) {
	var none K
	info, err := os.Stat(path)
	if err != nil {
		return none, fmt.Errorf("identity: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return none, fmt.Errorf("identity: %s can be read by others: chmod 600 it", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return none, fmt.Errorf("identity: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return none, fmt.Errorf("identity: %s holds no key", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return none, fmt.Errorf("identity: %s holds no key that can be read", path)
	}
	k, ok := key.(K)
	if !ok {
		return none, fmt.Errorf("identity: %s holds a key of another kind", path)
	}
	return k, nil
}

// writeNew writes a file and syncs it; one that exists is replaced as a whole.
func writeNew(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}
