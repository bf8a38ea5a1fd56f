package sip

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// authenticator asks peers for a password (RFC 3261, Section 22; RFC 8760). Nonces carry their own time and code, so none is
// kept before it is used; of those that were used, the highest count is.
type authenticator struct {
	key [32]byte

	mu   sync.Mutex
	used map[string]usedNonce // guarded by mu
}

type usedNonce struct {
	count int
	until time.Time
}

const (
	nonceLife = 2 * time.Minute
	maxNonces = 4096
)

func (a *authenticator) nonce(now time.Time, trunk string) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano()))
	return base64.RawURLEncoding.EncodeToString(append(b, a.code(b, trunk)...))
}

func (a *authenticator) code(head []byte, trunk string) []byte {
	h := hmac.New(sha256.New, a.key[:])
	h.Write(head)
	h.Write([]byte(trunk))
	return h.Sum(nil)[:16]
}

func (a *authenticator) fresh(nonce, trunk string, now time.Time) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(b) != 24 || !hmac.Equal(b[8:], a.code(b[:8], trunk)) {
		return false
	}
	age := now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(b))))
	return age >= 0 && age < nonceLife
}

// once says whether a nonce's count is higher than any before: what was overheard is not said again.
func (a *authenticator) once(nonce string, count int, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.used == nil || len(a.used) >= maxNonces {
		kept := map[string]usedNonce{}
		for n, u := range a.used {
			if now.Before(u.until) {
				kept[n] = u
			}
		}
		if len(kept) >= maxNonces {
			return false // more calls than a trunk makes in two minutes
		}
		a.used = kept
	}
	if u, ok := a.used[nonce]; ok && count <= u.count {
		return false
	}
	a.used[nonce] = usedNonce{count, now.Add(nonceLife)}
	return true
}

// algorithms are those that a trunk is asked for. Many PBXs know none but MD5, and give up where another stands first;
// what the password is good for rests on TLS and on addresses too.
func (t *Trunk) algorithms() []string {
	if t.SHA256 {
		return []string{"SHA-256"}
	}
	return []string{"MD5", "SHA-256"}
}

// check says whether a request proves that it knows the trunk's password.
func (a *authenticator) check(t *Trunk, r *sip.Request, now time.Time) bool {
	for _, h := range r.GetHeaders("Authorization") {
		if a.good(t, r, h.Value(), now) {
			return true
		}
	}
	return false
}

func (a *authenticator) good(t *Trunk, r *sip.Request, header string, now time.Time) bool {
	if len(header) > 2048 {
		return false
	}
	c, err := digest.ParseCredentials(header)
	if err != nil || c.Username != t.User || c.Realm != t.realm() || c.QOP != "auth" || c.Nc < 1 || c.Cnonce == "" {
		return false
	}
	if c.Algorithm == "" {
		c.Algorithm = "MD5"
	}
	// The answer must be for this request: its URI, and a nonce of ours that was not used so.
	if !t.takes(c.Algorithm) || !sameURI(c.URI, r) || !a.fresh(c.Nonce, t.Name, now) {
		return false
	}
	want, err := digest.Digest(&digest.Challenge{Realm: c.Realm, Nonce: c.Nonce, Algorithm: c.Algorithm, QOP: []string{"auth"}},
		digest.Options{Method: r.Method.String(), URI: c.URI, Username: t.User, Password: t.Password, Count: c.Nc, Cnonce: c.Cnonce})
	if err != nil || subtle.ConstantTimeCompare([]byte(want.Response), []byte(c.Response)) != 1 {
		return false
	}
	return a.once(c.Nonce, c.Nc, now)
}

func (t *Trunk) takes(name string) bool {
	for _, a := range t.algorithms() {
		if strings.EqualFold(a, name) {
			return true
		}
	}
	return false
}

// sameURI compares the URI that was signed with the one that is asked for. Parameters are left aside, for proxies that add
// some, and so is a user that was left out, as some do; a nonce serves once, whatever is signed.
func sameURI(signed string, r *sip.Request) bool {
	var u sip.Uri
	if len(signed) > 512 || sip.ParseUri(signed, &u) != nil {
		return false
	}
	return (u.User == "" || u.User == r.Recipient.User) && strings.EqualFold(u.Host, r.Recipient.Host) && u.Port == r.Recipient.Port
}

func (t *Trunk) realm() string {
	if t.Realm != "" {
		return t.Realm
	}
	return "conclave"
}

// challenge asks for the password.
func (a *authenticator) challenge(t *Trunk, r *sip.Request, tx sip.ServerTransaction, now time.Time) {
	res := sip.NewResponseFromRequest(r, 401, "Unauthorized", nil)
	for _, name := range t.algorithms() {
		res.AppendHeader(sip.NewHeader("WWW-Authenticate",
			fmt.Sprintf(`Digest realm="%s", nonce="%s", algorithm=%s, qop="auth"`, t.realm(), a.nonce(now, t.Name), name)))
	}
	respond(tx, res)
}
