package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/store"
)

// tokenLife bounds how long a link that went astray is dangerous.
const tokenLife = 24 * time.Hour

// Token is the secret of a one-time link, 128 random bits. It is never stored or logged.
type Token struct {
	_     [0]func() // == is not constant-time
	value [16]byte
}

// NewToken draws a token.
func NewToken(rand io.Reader) (Token, error) {
	var t Token
	_, err := io.ReadFull(rand, t.value[:])
	return t, err
}

// ParseToken reads the form that stands in links: 22 characters of base64url.
func ParseToken(s string) (Token, error) {
	var t Token
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	// The decoder passes over line breaks.
	if err != nil || len(raw) != len(t.value) || len(s) != base64.RawURLEncoding.EncodedLen(len(raw)) {
		return t, problem("link_malformed", "ask_link")
	}
	copy(t.value[:], raw)
	return t, nil
}

// Text returns the form that stands in links.
func (t Token) Text() string { return base64.RawURLEncoding.EncodeToString(t.value[:]) }

// Format implements fmt.Formatter: a token never prints.
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, "token") }

// LogValue implements slog.LogValuer.
func (t Token) LogValue() slog.Value { return slog.StringValue("token") }

// hash is what is stored. The token is random in full, so plain SHA-256 suffices.
func (t Token) hash() [sha256.Size]byte {
	h := sha256.New()
	io.WriteString(h, "Conclave token 1\x00")
	h.Write(t.value[:])
	return [sha256.Size]byte(h.Sum(nil))
}

// Use says what a link enrols. The administrator chooses it; a client cannot.
type Use string

// The uses of a link.
const (
	// UseDevice is a person's own device: a passkey vouches for it as the organisation's rules ask.
	UseDevice Use = ""
	// UseRoom is a room kit or another machine that nobody touches: a software key, without a passkey.
	UseRoom Use = "room"
	// UseManaged is a smart card or a managed device: a certificate of the organisation's must vouch for the key.
	UseManaged Use = "managed"
)

// Source says who made a link.
type Source string

// Who makes links.
const (
	SourceAdministrator Source = "administrator"
	SourceSignIn        Source = "oidc"       // the person signed in at the organisation's provider
	SourceDevice        Source = "own_device" // the person, on a device that they have
	SourceInvitation    Source = "invitation" // a guest's link: who invited them stands in the record of the invitation
)

// LinkKind is what is kept of the link that a device was enrolled by.
type LinkKind struct {
	By  Source `json:"by"`
	Use Use    `json:"use,omitempty"`
	// Device is the one that the link was made on, where By is SourceDevice.
	Device conclave.DeviceID `json:"device,omitzero"`
}

// storedToken is a token's entry, found by the first half of its hash.
type storedToken struct {
	Hash    []byte            `json:"hash"`
	Person  conclave.PersonID `json:"person"`
	Use     Use               `json:"use,omitempty"`
	By      Source            `json:"by,omitempty"`    // "" for links that were made before it was kept
	On      conclave.DeviceID `json:"device,omitzero"` // where By is SourceDevice
	Expires time.Time         `json:"expires"`
	Used    *time.Time        `json:"used,omitempty"`
}

// kind is what a device enrolled by the link keeps of it; nil: nobody knows.
func (t *storedToken) kind() *LinkKind {
	if t.By == "" {
		return nil
	}
	return &LinkKind{By: t.By, Use: t.Use, Device: t.On}
}

func tokenKey(hash [sha256.Size]byte) store.Key {
	return "token." + store.Key(hex.EncodeToString(hash[:16]))
}

// IssueToken returns a fresh token for a person, good for one device of their own within 24 hours.
func (d *Directory) IssueToken(ctx context.Context, person conclave.PersonID, rand io.Reader, now time.Time) (Token, error) {
	return d.IssueTokenFor(ctx, person, UseDevice, rand, now)
}

// IssueTokenFor is IssueToken for another use.
func (d *Directory) IssueTokenFor(ctx context.Context, person conclave.PersonID, use Use, rand io.Reader, now time.Time) (Token, error) {
	var codes []string
	if use != UseDevice {
		codes = []string{string(use)}
	}
	return d.issue(ctx, storedToken{Person: person, Use: use, By: SourceAdministrator}, codes, rand, now)
}

// IssueTokenSignedIn is IssueToken for a person who has signed in, and to whom nobody has given a link.
func (d *Directory) IssueTokenSignedIn(ctx context.Context, person conclave.PersonID, rand io.Reader, now time.Time) (Token, error) {
	return d.issue(ctx, storedToken{Person: person, By: SourceSignIn}, []string{string(SourceSignIn)}, rand, now)
}

// IssueTokenOn is IssueToken at the wish of the person, who made it on a device that they have.
func (d *Directory) IssueTokenOn(ctx context.Context, device Device, rand io.Reader, now time.Time) (Token, error) {
	return d.issue(ctx, storedToken{Person: device.Person, By: SourceDevice, On: device.ID}, []string{string(SourceDevice)}, rand, now)
}

// issue draws the token of what is to be stored, and fills in the rest.
func (d *Directory) issue(ctx context.Context, s storedToken, codes []string, rand io.Reader, now time.Time) (Token, error) {
	if s.Use != UseDevice && s.Use != UseRoom && s.Use != UseManaged {
		return Token{}, problem("link_use", "choose_use")
	}
	if _, err := d.active(ctx, s.Person); err != nil {
		return Token{}, err
	}
	t, err := NewToken(rand)
	if err != nil {
		return Token{}, fmt.Errorf("identity: draw a token: %w", err)
	}
	if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindLinkIssued, Time: now.UTC(), Person: s.Person, Device: s.On, Codes: codes}); err != nil {
		return Token{}, err
	}
	hash := t.hash()
	s.Hash, s.Expires = hash[:], now.Add(tokenLife).UTC()
	return t, d.put(ctx, tokenKey(hash), s)
}

// Link says what a link is good for and whom it is for, without using it up.
func (d *Directory) Link(ctx context.Context, t Token, now time.Time) (Use, Person, error) {
	stored, _, err := d.token(ctx, t, now)
	if err != nil {
		return "", Person{}, err
	}
	p, err := d.active(ctx, stored.Person)
	return stored.Use, p, err
}

// LinkHolder returns whom a link is or was for, "" where there is no such link. Whoever holds the link is not told.
func (d *Directory) LinkHolder(ctx context.Context, t Token) (conclave.PersonID, error) {
	stored, _, err := d.token(ctx, t, time.Time{})
	var p conclave.Problem
	if err != nil && !errors.As(err, &p) {
		return "", err
	}
	return stored.Person, nil
}

// token finds what is stored of t. The search key is a hash, so its timing tells nothing of other tokens.
func (d *Directory) token(ctx context.Context, t Token, now time.Time) (storedToken, store.Revision, error) {
	var stored storedToken
	hash := t.hash()
	revision, err := d.get(ctx, tokenKey(hash), &stored)
	if errors.Is(err, store.ErrNotFound) || err == nil && subtle.ConstantTimeCompare(stored.Hash, hash[:]) != 1 {
		return storedToken{}, 0, problem("link_unknown", "ask_link")
	}
	switch {
	case err != nil:
		return stored, 0, err
	case stored.Used != nil:
		return stored, 0, problem("link_used", "ask_link")
	case !now.Before(stored.Expires):
		return stored, 0, problem("link_expired", "ask_link")
	}
	return stored, revision, nil
}

// spend marks a token as used, at the revision at which it was read: of two who race for one link, one gets nothing.
func (d *Directory) spend(ctx context.Context, stored storedToken, key store.Key, revision store.Revision, now time.Time) error {
	used := now.UTC()
	stored.Used = &used
	err := d.putOver(ctx, key, stored, revision)
	if errors.Is(err, store.ErrConflict) {
		return problem("link_used", "ask_link")
	}
	return err
}

// DropLinks deletes what is kept of one-time links and invitations that ran out before a moment, used or not, once record has
// written how many there are.
func (d *Directory) DropLinks(ctx context.Context, before time.Time, record func(n int) error) (int, error) {
	var gone []store.Key
	for _, word := range []store.Key{"token", "invitation", "gatewaytoken"} {
		entries, err := d.store.List(ctx, word)
		if err != nil {
			return 0, fmt.Errorf("identity: %w", err)
		}
		for _, e := range entries {
			var link struct {
				Expires time.Time `json:"expires"`
			}
			if err := json.Unmarshal(e.Value, &link); err != nil {
				return 0, fmt.Errorf("identity: a stored value cannot be read: %v", err)
			}
			if link.Expires.Before(before) {
				gone = append(gone, e.Key)
			}
		}
	}
	if len(gone) == 0 {
		return 0, nil
	}
	if err := record(len(gone)); err != nil {
		return 0, err
	}
	for _, key := range gone {
		if err := d.store.Delete(ctx, key); err != nil {
			return 0, fmt.Errorf("identity: %w", err)
		}
	}
	return len(gone), nil
}
