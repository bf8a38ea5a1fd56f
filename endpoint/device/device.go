// Package device is an enrolled device of a native client: its key file, its enrolment with a link's token, and the
// renewal of its statement. The browser keeps the like in IndexedDB (web/src/core).
//
// What a server answers is examined down from the root key that the link pins, before anything is kept. The key file is
// for its owner alone (mode 0600); its format is JSON, version 1.
package device

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/mls"
	"conclave/pass"
	"conclave/signal"
)

// Device is an enrolled device. Its key never prints.
type Device struct {
	_            [0]func() // secrets are not compared
	Organisation conclave.OrganisationID
	Name         string // the organisation's
	Root         ed25519.PublicKey
	Statement    []byte
	// Withdrawn is the counter of the newest list of withdrawn keys that was shown to this device (endpoint.Config).
	Withdrawn uint64
	scalar    []byte
	signer    mls.Signer
}

// Format implements fmt.Formatter: a device prints as the salted tag of its id, whatever the verb.
func (d *Device) Format(f fmt.State, _ rune) { io.WriteString(f, d.tag()) }

// LogValue implements slog.LogValuer.
func (d *Device) LogValue() slog.Value { return slog.StringValue(d.tag()) }

func (d *Device) tag() string {
	if d == nil || d.signer == nil {
		return "device"
	}
	id := conclave.DeviceOf(d.signer.Public())
	return conclave.Tag("device", id[:])
}

// file is the key file.
type file struct {
	Version          int                     `json:"version"`
	Key              []byte                  `json:"key,omitempty"`       // P-256 scalar, 32 bytes
	TokenKey         []byte                  `json:"token_key,omitempty"` // the public key of a token that has the key
	Statement        []byte                  `json:"statement"`
	Organisation     conclave.OrganisationID `json:"organisation"`
	OrganisationName string                  `json:"organisation_name"`
	Root             []byte                  `json:"root"`
	Withdrawn        uint64                  `json:"withdrawn,omitempty"`
}

const (
	version  = 1
	maxFile  = 16 << 10
	maxReply = 256 << 10
	// renewBefore leaves days in which the server may be away; a statement holds for seven.
	renewBefore = 3 * 24 * time.Hour
	// pinSize is how much of the root key's hash stands in a link.
	pinSize = 16
)

// Errors that callers branch on.
var (
	// ErrFile means that a key file is damaged or not for its owner alone.
	ErrFile = errors.New("device: unusable key file")
)

// Identity is what an endpoint needs of the device.
func (d *Device) Identity() endpoint.Identity {
	return endpoint.Identity{Statement: d.Statement, Signer: d.signer}
}

// Person returns the name and unit in the statement, and how long it holds.
func (d *Device) Person() (name, unit string, until time.Time) {
	s, err := pass.ParseStatement(d.Statement)
	if err != nil {
		return "", "", time.Time{}
	}
	return s.Name, s.Unit, s.NotAfter
}

// Load reads a key file. It refuses one that others may read.
func Load(path string) (*Device, error) {
	f, err := read(path)
	if err != nil {
		return nil, err
	}
	if len(f.TokenKey) != 0 {
		return nil, fmt.Errorf("%w: the key of %s is in a token", ErrFile, path)
	}
	signer, err := mls.NewSigner(mls.MLKEM768P256, f.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %s is damaged: enrol again", ErrFile, path)
	}
	d, err := f.device(path, signer)
	if err != nil {
		return nil, err
	}
	d.scalar = f.Key
	return d, nil
}

// read reads a file that is for its owner alone.
func read(path string) (*file, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s can be read by others: chmod 600 it", ErrFile, path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%w: %s is too large", ErrFile, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	defer clear(b)
	f := new(file)
	if err := json.Unmarshal(b, f); err != nil || f.Version != version || len(f.Root) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: %s is damaged: enrol again", ErrFile, path)
	}
	return f, nil
}

// device returns the device of a file, whose statement must be for signer's key.
func (f *file) device(path string, signer mls.Signer) (*Device, error) {
	d := &Device{Organisation: f.Organisation, Name: f.OrganisationName, Root: f.Root, Statement: f.Statement, Withdrawn: f.Withdrawn, signer: signer}
	s, err := pass.ParseStatement(d.Statement)
	if err != nil || !bytes.Equal(s.LeafKey, signer.Public()) {
		return nil, fmt.Errorf("%w: the statement in %s is not for its key: enrol again", ErrFile, path)
	}
	return d, nil
}

// Save writes the key file in place of an earlier one; a crash leaves one of the two.
func (d *Device) Save(path string) error {
	f := file{Version: version, Key: d.scalar, Statement: d.Statement, Organisation: d.Organisation, OrganisationName: d.Name, Root: d.Root, Withdrawn: d.Withdrawn}
	if d.scalar == nil {
		f.TokenKey = d.signer.Public()
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	defer clear(b)
	t, err := os.CreateTemp(filepath.Dir(path), ".device-*") // mode 0600
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	defer os.Remove(t.Name())
	_, err = t.Write(append(b, '\n'))
	if err == nil {
		err = t.Sync()
	}
	if err := errors.Join(err, t.Close()); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	if err := os.Rename(t.Name(), path); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	return nil
}

// Link is what a personal link says.
type Link struct {
	Server  string             // scheme and host
	Meeting conclave.MeetingID // zero: the link enrols a device, and names none
	Token   string             // empty: none
	Guest   bool               // it is a guest's invitation
	Pin     string             // of the root key; empty: none
}

// devicesPath is where a link leads that enrols a device and names no meeting.
const devicesPath = "/devices"

var errLink = errors.New("device: a link looks like https://host/m/…")

// ParseLink reads a link as it is printed and mailed.
func ParseLink(text string) (Link, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return Link{}, errLink
	}
	pointer, ok := strings.CutPrefix(u.Path, "/m/")
	guest := false
	if !ok && u.Path != devicesPath {
		if pointer, guest = strings.CutPrefix(u.Path, "/g/"); !guest {
			return Link{}, errLink
		}
	}
	l := Link{Guest: guest, Server: u.Scheme + "://" + u.Host}
	if u.Path != devicesPath {
		if l.Meeting, err = conclave.ParseMeetingID(pointer); err != nil {
			return Link{}, errLink
		}
	}
	fragment, err := url.ParseQuery(u.Fragment)
	if err != nil {
		return Link{}, errLink
	}
	token := "e"
	if guest {
		token = "i"
	}
	l.Token, l.Pin = fragment.Get(token), fragment.Get("r")
	if (l.Token == "") != (l.Pin == "") || u.Path == devicesPath && l.Token == "" {
		return Link{}, errLink
	}
	return l, nil
}

// answer is what the server says to an enrolment or a renewal.
type answer struct {
	Statement    []byte `json:"statement"`
	Organisation struct {
		ID   conclave.OrganisationID `json:"id"`
		Name string                  `json:"name"`
	} `json:"organisation"`
	Root   []byte   `json:"root"`
	Grants [][]byte `json:"grants"`
}

// Enrol makes a key and has it enrolled with the link's token. Errors hold a conclave.Problem where the person can do
// something.
func Enrol(ctx context.Context, client *http.Client, link Link, deviceName string, now time.Time) (*Device, error) {
	scalar, err := mls.MLKEM768P256.GenerateSignatureKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	signer, err := mls.NewSigner(mls.MLKEM768P256, scalar)
	if err != nil {
		return nil, fmt.Errorf("device: %w", err)
	}
	d := &Device{scalar: scalar, signer: signer}
	if err := d.enrol(ctx, client, link, deviceName, nil, now); err != nil {
		return nil, err
	}
	return d, nil
}

// enrol has the device's key enrolled; chain are its certificates, if it has any.
func (d *Device) enrol(ctx context.Context, client *http.Client, link Link, deviceName string, chain [][]byte, now time.Time) error {
	proof, err := d.signer.Sign(signal.EnrolContent(link.Token))
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	body := map[string]any{"token": link.Token, "leaf_key": d.signer.Public(), "proof": proof}
	path := "/v1/enrol"
	if link.Guest {
		path, body["meeting"] = "/v1/guest", link.Meeting
	} else {
		body["device_name"] = deviceName
	}
	if len(chain) > 0 {
		body["chain"] = chain
	}
	var a answer
	if err := post(ctx, client, link.Server+path, body, &a); err != nil {
		return err
	}
	hash := sha256.Sum256(a.Root)
	if link.Pin != base64.RawURLEncoding.EncodeToString(hash[:pinSize]) {
		return conclave.Problem{Code: "root_mismatch", Fix: "ask_link"}
	}
	d.Organisation, d.Name, d.Root, d.Statement = a.Organisation.ID, a.Organisation.Name, a.Root, a.Statement
	return d.examine(a.Grants, now)
}

// examine verifies the statement under the pinned root.
func (d *Device) examine(grants [][]byte, now time.Time) error {
	trust, err := pass.NewTrust(d.Organisation, d.Root, grants, now)
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	s, err := trust.Statement(d.Statement, now)
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	if !bytes.Equal(s.LeafKey, d.signer.Public()) {
		return conclave.Problem{Code: "statement_key", Fix: "enrol_again"}
	}
	return nil
}

// Renew has the statement renewed where less than three days of it are left, and tells whether it was.
func (d *Device) Renew(ctx context.Context, client *http.Client, server string, now time.Time) (bool, error) {
	if _, _, until := d.Person(); until.Sub(now) >= renewBefore {
		return false, nil
	}
	u, err := url.Parse(server)
	if err != nil {
		return false, errLink
	}
	var n struct {
		Nonce []byte `json:"nonce"`
	}
	if err := post(ctx, client, server+"/v1/nonce", struct{}{}, &n); err != nil {
		return false, err
	}
	sig, err := d.signer.Sign(signal.RenewContent(n.Nonce, d.Statement, u.Host))
	if err != nil {
		return false, fmt.Errorf("device: %w", err)
	}
	var a answer
	err = post(ctx, client, server+"/v1/renew", map[string]any{"statement": d.Statement, "nonce": n.Nonce, "signature": sig}, &a)
	if err != nil {
		return false, err
	}
	old := d.Statement
	d.Statement = a.Statement
	if err := d.examine(a.Grants, now); err != nil {
		d.Statement = old
		return false, err
	}
	return true, nil
}

// post asks the server, and returns the problem that it answers with.
func post(ctx context.Context, client *http.Client, url string, body, out any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("device: ask the server: %w", err)
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(response.Body, maxReply))
	if err != nil {
		return fmt.Errorf("device: ask the server: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		var failed struct {
			Problem conclave.Problem `json:"problem"`
		}
		if json.Unmarshal(reply, &failed) == nil && failed.Problem.Code != "" {
			return failed.Problem
		}
		return fmt.Errorf("device: the server answers %s", response.Status)
	}
	if err := json.Unmarshal(reply, out); err != nil {
		return errors.New("device: the server answers what nobody understands")
	}
	return nil
}
