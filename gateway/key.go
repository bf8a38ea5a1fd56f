package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
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
	"sync"
	"time"

	"conclave"
	"conclave/mls"
	"conclave/pass"
	"conclave/signal"
)

// Key is the gateway's own key with its statement. It never prints.
type Key struct {
	_            [0]func() // secrets are not compared
	Organisation conclave.OrganisationID
	Root         ed25519.PublicKey // pinned when it was enrolled
	scalar       []byte
	signer       mls.Signer

	mu        sync.Mutex
	statement []byte // guarded by mu
}

// Format implements fmt.Formatter.
func (k *Key) Format(f fmt.State, _ rune) { io.WriteString(f, "gateway key") }

// LogValue implements slog.LogValuer.
func (k *Key) LogValue() slog.Value { return slog.StringValue("gateway key") }

// Statement returns the gateway's statement, encoded.
func (k *Key) Statement() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.statement
}

type keyFile struct {
	Version      int                     `json:"version"`
	Key          []byte                  `json:"key"` // P-256 scalar
	Statement    []byte                  `json:"statement"`
	Organisation conclave.OrganisationID `json:"organisation"`
	Root         []byte                  `json:"root"`
}

// ErrKey means that a key file is damaged, or not for its owner alone.
var ErrKey = errors.New("gateway: unusable key file")

// LoadKey reads a key file (mode 0600).
func LoadKey(path string) (*Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s can be read by others: chmod 600 it", ErrKey, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	defer clear(b)
	var f keyFile
	if len(b) > 16<<10 || json.Unmarshal(b, &f) != nil || f.Version != 1 || len(f.Root) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: %s is damaged: enrol the gateway again", ErrKey, path)
	}
	k := &Key{Organisation: f.Organisation, Root: f.Root, scalar: f.Key, statement: f.Statement}
	if k.signer, err = mls.NewSigner(mls.MLKEM768P256, k.scalar); err != nil {
		return nil, fmt.Errorf("%w: %s is damaged: enrol the gateway again", ErrKey, path)
	}
	s, err := pass.ParseStatement(f.Statement)
	if err != nil || s.Kind != pass.KindGateway || !bytes.Equal(s.LeafKey, k.signer.Public()) {
		return nil, fmt.Errorf("%w: %s holds no gateway's key", ErrKey, path)
	}
	return k, nil
}

// Save writes the key file in place of an earlier one; a crash leaves one of the two.
func (k *Key) Save(path string) error {
	b, err := json.MarshalIndent(keyFile{1, k.scalar, k.Statement(), k.Organisation, k.Root}, "", "  ")
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	defer clear(b)
	t, err := os.CreateTemp(filepath.Dir(path), ".gateway-*") // mode 0600
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	defer os.Remove(t.Name())
	_, err = t.Write(append(b, '\n'))
	if err == nil {
		err = t.Sync()
	}
	if err := errors.Join(err, t.Close()); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return os.Rename(t.Name(), path)
}

// renew takes a statement for the same key, verified from the pinned root down.
func (k *Key) renew(statement []byte, grants [][]byte, now time.Time) error {
	trust, err := pass.NewTrust(k.Organisation, k.Root, grants, now)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	s, err := trust.Statement(statement, now)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	if s.Kind != pass.KindGateway || !bytes.Equal(s.LeafKey, k.signer.Public()) {
		return errors.New("gateway: the statement is for another key")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.statement = statement
	return nil
}

// Enrol makes a key and has it enrolled with a link as `conclave phone gateway` prints it:
// https://host/gateway#e=TOKEN&r=PIN. The pin is of the organisation's root key.
func Enrol(ctx context.Context, link string, config *tls.Config, now time.Time) (*Key, error) {
	u, err := url.Parse(strings.TrimSpace(link))
	if err != nil || u.Host == "" || u.Path != "/gateway" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("gateway: a link looks like https://host/gateway#…")
	}
	fragment, err := url.ParseQuery(u.Fragment)
	token, pin := fragment.Get("e"), fragment.Get("r")
	if err != nil || token == "" || pin == "" {
		return nil, errors.New("gateway: the link is cut short")
	}
	k := new(Key)
	if k.scalar, err = mls.MLKEM768P256.GenerateSignatureKey(rand.Reader); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if k.signer, err = mls.NewSigner(mls.MLKEM768P256, k.scalar); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	proof, err := k.signer.Sign(signal.GatewayEnrolContent(token))
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	var a struct {
		Statement    []byte `json:"statement"`
		Organisation struct {
			ID conclave.OrganisationID `json:"id"`
		} `json:"organisation"`
		Root   []byte   `json:"root"`
		Grants [][]byte `json:"grants"`
	}
	body := map[string]any{"token": token, "leaf_key": k.signer.Public(), "proof": proof}
	if err := post(ctx, httpClient(config), u.Scheme+"://"+u.Host+"/v1/gateway/enrol", body, &a); err != nil {
		return nil, err
	}
	hash := sha256.Sum256(a.Root)
	if pin != base64.RawURLEncoding.EncodeToString(hash[:16]) {
		return nil, conclave.Problem{Code: "root_mismatch", Fix: "ask_link"}
	}
	k.Organisation, k.Root = a.Organisation.ID, a.Root
	return k, k.renew(a.Statement, a.Grants, now)
}

func post(ctx context.Context, client *http.Client, url string, body, out any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("gateway: ask the server: %w", err)
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(response.Body, 256<<10))
	if err != nil {
		return fmt.Errorf("gateway: ask the server: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		var failed struct {
			Problem conclave.Problem `json:"problem"`
		}
		if json.Unmarshal(reply, &failed) == nil && failed.Problem.Code != "" {
			return failed.Problem
		}
		return fmt.Errorf("gateway: the server answers %s", response.Status)
	}
	return json.Unmarshal(reply, out)
}
